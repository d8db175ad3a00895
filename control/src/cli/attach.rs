//! `vpclab attach`: an ENI for something that the lab did not make.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use vpclab_dataplane::addr::Prefix;

use super::{CliError, Exit, Globals};
use crate::host::attach::device::{make_interface, make_machine_tap};
use crate::host::attach::place::Place;
use crate::host::attach::taps::{self, PersistentTap};
use crate::host::attach::{AttachPlan, Attached, Held};
use crate::host::plan::InterfacePlan;
use crate::host::protocol::Request;
use crate::host::runtime_dir::RuntimeDir;
use crate::host::{client, netlink};
use crate::report::{AttachReport, AttachedReport};

/// Arguments of `vpclab attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The topology says which hosts wait: `attach: true`.\n\n\
    A container:        vpclab attach web --pid $(docker inspect -f '{{.State.Pid}}' NAME)\n\
    A network:          vpclab attach web --netns /run/netns/NAME\n\
    A virtual machine:  vpclab attach web --tap vm0; then QEMU with the options it prints\n\n\
    Something of another user's, or of root's, needs this command as root (sudo); the lab \
    itself may be an ordinary user's. The interface goes with the process (--pid), with `detach`, \
    or with the lab.")]
pub struct Args {
    /// Host of the topology, or one of its ENIs (`web/eth1`, eni-…).
    #[arg(value_name = "HOST|ENI")]
    pub what: String,
    /// Into the network of this process.
    #[arg(long, value_name = "PID", conflicts_with = "netns", required_unless_present_any = ["netns", "tap"])]
    pub pid: Option<i32>,
    /// Into the network namespace at this path.
    #[arg(long, value_name = "PATH")]
    pub netns: Option<PathBuf>,
    /// For a virtual machine: a TAP of this name, for QEMU to open; in this
    /// network unless --pid or --netns names another.
    #[arg(long, value_name = "NAME")]
    pub tap: Option<String>,
    /// Name of the interface there [default: eth0, eth1… as in the host].
    #[arg(long, conflicts_with = "tap")]
    pub name: Option<String>,
    /// Leave the default route there as it is.
    #[arg(long, conflicts_with = "tap")]
    pub no_default_route: bool,
    /// Route this block through the ENI, too.
    #[arg(long, value_name = "CIDR", conflicts_with = "tap")]
    pub route: Vec<String>,
}

/// Makes the interface and hands it to the lab.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab_of_caller(globals)?;
    let routes = args
        .route
        .iter()
        .map(|text| block(text))
        .collect::<Result<Vec<_>, _>>()?;
    let place = match (args.pid, args.netns) {
        (Some(pid), _) => Place::Process(pid),
        (None, Some(path)) => Place::Path(std::path::absolute(path)?),
        (None, None) => Place::Here,
    };
    let request = Request::AttachPlan {
        name: args.what.clone(),
    };
    let plan: AttachPlan = serde_json::from_value(client::ask(&lab, &request)?)
        .map_err(|error| CliError::fault(error.to_string()))?;
    let name = args.tap.as_ref().or(args.name.as_ref());
    let interfaces = named(plan.interfaces, name, &args.what)?;

    // Before this process moves: it may not come back.
    let connection = client::connect(&lab)?;
    let described = place.describe();
    let inode = place.inode();
    let namespace = place.file();
    let process = place.process()?;
    place.enter()?;
    let mut held = Vec::new();
    for plan in &interfaces {
        let tap = match &args.tap {
            None => None,
            Some(device) => Some(PersistentTap {
                device: device.clone(),
                alias: format!("vpclab {} {}", lab.name(), plan.label),
                namespace: namespace.clone(),
                inode: inode.clone()?,
            }),
        };
        let port = make(&lab, plan, tap.as_ref(), args.no_default_route, &routes)?;
        let copy = process.as_ref().map(OwnedFd::try_clone).transpose()?;
        held.push(Held {
            attached: Attached {
                eni: plan.label.clone(),
                device: plan.device.clone(),
                place: described.clone(),
                tap,
                with_process: copy.is_some(),
            },
            port,
            process: copy,
        });
    }
    let attached: Vec<_> = held.iter().map(|held| held.attached.clone()).collect();
    let request = Request::Attach {
        interfaces: attached.clone(),
    };
    let handed = client::hand_over(connection, &request, &held);
    if let Err(error) = handed {
        for tap in attached.iter().filter_map(|attached| attached.tap.as_ref()) {
            // The first error is the one to tell.
            let _ = taps::delete(&lab, tap);
        }
        return Err(error);
    }
    report(&plan.host, &interfaces, &attached, globals)?;
    Ok(Exit::Ok)
}

/// The interface, with the routes that were asked for.
fn make(
    lab: &RuntimeDir,
    plan: &InterfacePlan,
    tap: Option<&PersistentTap>,
    no_default_route: bool,
    routes: &[Prefix],
) -> Result<OwnedFd, CliError> {
    if let Some(tap) = tap {
        // Written down first, so that nothing is forgotten in between.
        taps::note(lab, tap)?;
        let made = make_machine_tap(plan, &tap.alias);
        if made.is_err() {
            let _ = taps::delete(lab, tap);
        }
        return made;
    }
    let mut wanted = plan.clone();
    if no_default_route {
        wanted.gateways.clear();
    }
    let port = make_interface(&wanted)?;
    for &route in routes {
        let family = |address: IpAddr| address.is_ipv4() == route.is_ipv4();
        let gateway = plan.gateways.iter().find(|gateway| family(gateway.address));
        let gateway = gateway.ok_or_else(|| {
            CliError::usage(format!("{} has no first hop for {route}", plan.label))
                .fix("only a host's first interface (eth0) routes, by the families it has")
        })?;
        netlink::add_route(plan, route, *gateway)?;
    }
    Ok(port)
}

/// The interfaces under the name that was chosen, if one was.
fn named(
    mut interfaces: Vec<InterfacePlan>,
    name: Option<&String>,
    asked: &str,
) -> Result<Vec<InterfacePlan>, CliError> {
    if let Some(name) = name {
        if interfaces.len() != 1 {
            let message = format!("{asked} has {} interfaces, not one", interfaces.len());
            return Err(CliError::usage(message).fix(format!("attach each: {asked}/eth0, …")));
        }
        for interface in &mut interfaces {
            interface.device.clone_from(name);
        }
    }
    Ok(interfaces)
}

fn block(text: &str) -> Result<Prefix, CliError> {
    text.parse().map_err(|_| {
        CliError::usage(format!("`{text}` is no address block")).fix("write it so: 10.0.0.0/16")
    })
}

fn report(
    host: &str,
    interfaces: &[InterfacePlan],
    attached: &[Attached],
    globals: &Globals,
) -> Result<(), CliError> {
    if globals.json {
        let interfaces: Vec<_> = interfaces
            .iter()
            .zip(attached)
            .map(|(plan, attached)| AttachedReport {
                eni: plan.label.clone(),
                device: plan.device.clone(),
                place: attached.place.clone(),
                mac: mac(plan),
                mtu: plan.mtu,
                addresses: addresses(plan),
                gateways: plan.gateways.iter().map(|it| it.address).collect(),
                tap: attached.tap.is_some(),
            })
            .collect();
        return super::print_json(&AttachReport {
            host: host.to_owned(),
            interfaces,
        });
    }
    let mut text = String::new();
    for (plan, attached) in interfaces.iter().zip(attached) {
        text.push_str(&format!("{host} ({}) is {attached}\n", plan.label));
        if attached.tap.is_some() {
            text.push_str(&machine_options(plan));
        }
    }
    super::print(&text)
}

/// What a virtual machine needs to be the host.
fn machine_options(plan: &InterfacePlan) -> String {
    let gateways: Vec<_> = plan
        .gateways
        .iter()
        .map(|gateway| gateway.address.to_string())
        .collect();
    format!(
        "  qemu:   -netdev tap,id={device},ifname={device},script=no,downscript=no,vnet_hdr=on \
         -device virtio-net-pci,netdev={device},mac={},host_mtu={}\n  \
         inside: address {}, default route by {}\n",
        mac(plan),
        plan.mtu,
        addresses(plan).join(", "),
        gateways.join(", "),
        device = plan.device,
    )
}

fn addresses(plan: &InterfacePlan) -> Vec<String> {
    let all = plan.addresses.iter();
    all.map(|(address, len)| format!("{address}/{len}"))
        .collect()
}

fn mac(plan: &InterfacePlan) -> String {
    vpclab_dataplane::addr::Mac(plan.mac).to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    #[test]
    fn a_place_is_needed_and_only_one() {
        let parse = |text: &str| Cli::try_parse_from(text.split(' '));
        assert!(parse("vpclab attach web --pid 7 --name eth1").is_ok());
        assert!(parse("vpclab attach web --tap vm0 --netns /run/netns/x").is_ok());
        for wrong in [
            "vpclab attach web",
            "vpclab attach web --pid 7 --netns /x",
            "vpclab attach --pid 7",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
