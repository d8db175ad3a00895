//! Two namespaces, and what lies between them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vpclab_dataplane::addr::Mac;
use vpclab_dataplane::io::TapPort;

use super::appliance::{Appliance, Sends};
use super::lab::{Host, Lab};
use super::router::{self, Router};
use crate::host::namespace::{Namespaces, RESOLV_CONF};
use crate::host::netlink::Existing;
use crate::host::plan::{GatewayPlan, InterfacePlan};
use crate::host::{HostError, netlink, wiring_errors};

/// MTU of the hosts' interfaces, so that all carry segments of one size.
pub(super) const MTU: u32 = 1500;
/// The interface of every host.
pub(super) const DEVICE: &str = "eth0";
/// What the server listens to.
pub(super) const TCP_PORT: u16 = 5201;
pub(super) const UDP_PORT: u16 = 9000;
/// How long something is awaited that should come at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bare io_uring mover between two TAPs.
    Mover,
    /// The kernel's router between two veth pairs.
    Router,
    /// The same with connection tracking and masquerade.
    Masquerade,
    /// vpclab.
    PrivateLink,
    /// Two bare movers, one for each queue of the two TAPs.
    MoverOfTwo,
    /// vpclab with two workers, one for each queue.
    PrivateLinkOfTwo,
    /// vpclab from one subnet to another.
    Direct,
    /// The same through an appliance, GENEVE packet by packet.
    OneByOne,
    /// The same with an appliance that takes and sends trains of them.
    Trains,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mover => "bare-mover",
            Self::Router => "kernel-router",
            Self::Masquerade => "kernel-masquerade",
            Self::PrivateLink => "privatelink",
            Self::MoverOfTwo => "bare-mover/queues=2",
            Self::PrivateLinkOfTwo => "privatelink/queues=2",
            Self::Direct => "direct",
            Self::OneByOne => "one-by-one",
            Self::Trains => "trains",
        }
    }
}

/// What runs between the namespaces; ends when dropped.
enum Between {
    Mover(Arc<AtomicBool>, Vec<JoinHandle<std::io::Result<()>>>),
    Kernel(Router),
    // The appliance first: it is a host of the lab.
    Lab {
        appliance: Option<Appliance>,
        _lab: Lab,
    },
}

/// Two namespaces that can talk. Everything is gone with it.
pub(super) struct Bed {
    // First: the TAPs are the workers'.
    between: Between,
    pub(super) client: Namespaces,
    pub(super) server: Namespaces,
    /// What clients connect to.
    pub(super) service: IpAddr,
    /// What answers pings: PrivateLink's endpoints do not.
    pub(super) pinged: IpAddr,
    /// The client's interface.
    pub(super) client_mac: Mac,
    /// Where a generator runs, and where what lies between.
    pub(super) cores: [usize; 2],
}

impl Bed {
    pub(super) fn new(kind: Kind) -> Result<Self, HostError> {
        match kind {
            Kind::Mover => mover(1),
            Kind::MoverOfTwo => mover(2),
            Kind::Router => kernel(false),
            Kind::Masquerade => kernel(true),
            Kind::PrivateLink => privatelink(1),
            Kind::PrivateLinkOfTwo => privatelink(2),
            Kind::Direct => inspected(None),
            Kind::OneByOne => inspected(Some(Sends::OneByOne)),
            Kind::Trains => inspected(Some(Sends::Trains)),
        }
    }

    /// An error if what lies between has an appliance that ended by itself.
    pub(super) fn check(&mut self) -> Result<(), HostError> {
        match &mut self.between {
            Between::Lab {
                appliance: Some(appliance),
                ..
            } => appliance.check(),
            Between::Lab { .. } | Between::Kernel(_) | Between::Mover(..) => Ok(()),
        }
    }

    /// What was set of what lies between, in figures.
    pub(super) fn settings(&self) -> Vec<(&'static str, f64)> {
        match &self.between {
            Between::Kernel(router) => vec![(router::STEERED, f64::from(router.steered))],
            Between::Lab { appliance, .. } => {
                let appliance = appliance.as_ref();
                appliance.map(Appliance::settings).unwrap_or_default()
            }
            Between::Mover(..) => Vec::new(),
        }
    }
}

/// The first and the last of the CPUs that this process may use.
pub(super) fn cores() -> [usize; 2] {
    let this = nix::unistd::Pid::from_raw(0);
    let allowed = nix::sched::sched_getaffinity(this).unwrap_or_default();
    let is_allowed = |cpu: &usize| allowed.is_set(*cpu).unwrap_or(false);
    let mut all = (0..nix::sched::CpuSet::count()).filter(is_allowed);
    let first = all.next().unwrap_or(0);
    [first, all.next_back().unwrap_or(first)]
}

/// Where `count` threads run that handle packets: the last ones.
pub(super) fn packet_cores(count: usize) -> Result<usize, HostError> {
    let [first, last] = cores();
    let start = (last + 1).checked_sub(count).filter(|&core| core >= first);
    start.ok_or_else(|| HostError::new(format!("{count} queues need {count} cores")))
}

pub(super) fn namespaces() -> Result<Namespaces, HostError> {
    Namespaces::create(Path::new(RESOLV_CONF))
}

/// An interface of a host that is none of vpclab's.
pub(super) fn interface(
    device: &str,
    address: [u8; 4],
    gateway: Option<[u8; 4]>,
    mac: u8,
) -> InterfacePlan {
    InterfacePlan {
        eni: 0,
        label: String::new(),
        device: device.to_owned(),
        mac: [2, 0, 0, 0, 0, mac],
        mtu: MTU,
        addresses: vec![(IpAddr::from(address), 24)],
        gateways: gateway
            .map(|gateway| GatewayPlan {
                address: IpAddr::from(gateway),
                onlink: false,
            })
            .into_iter()
            .collect(),
    }
}

/// A TAP in a host, as so many ports.
pub(super) fn tap(
    namespaces: &Namespaces,
    plan: &InterfacePlan,
    queues: usize,
) -> Result<Vec<TapPort>, HostError> {
    namespaces.in_network(|| {
        let ports = TapPort::open(&plan.device, queues).map_err(wiring_errors::explain_tun)?;
        netlink::configure(std::slice::from_ref(plan), Existing::Refuse)?;
        Ok(ports)
    })
}

fn mover(queues: usize) -> Result<Bed, HostError> {
    let start = packet_cores(queues)?;
    let (client, server) = (namespaces()?, namespaces()?);
    let near = tap(&client, &interface(DEVICE, [10, 9, 0, 1], None, 1), queues)?;
    let far = tap(&server, &interface(DEVICE, [10, 9, 0, 2], None, 2), queues)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    for (core, taps) in (start..).zip(near.into_iter().zip(far)) {
        let (taps, told) = (<[TapPort; 2]>::from(taps), Arc::clone(&stop));
        let run = move || super::mover::run(&taps, core, &told);
        threads.push(spawn("mover", run)?);
    }
    let address = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
    Ok(Bed {
        between: Between::Mover(stop, threads),
        client,
        server,
        service: address,
        pinged: address,
        client_mac: Mac([2, 0, 0, 0, 0, 1]),
        cores: cores(),
    })
}

fn kernel(masquerade: bool) -> Result<Bed, HostError> {
    let (client, server) = (namespaces()?, namespaces()?);
    let cores = cores();
    let router = router::between(&client, &server, masquerade, cores[1])?;
    let address = IpAddr::from(router::SERVER);
    Ok(Bed {
        between: Between::Kernel(router),
        client,
        server,
        service: address,
        pinged: address,
        client_mac: Mac([2, 0, 0, 0, 0, 1]),
        cores,
    })
}

fn privatelink(queues: usize) -> Result<Bed, HostError> {
    let mut lab = Lab::new(YAML, queues)?;
    let (client, server) = (lab.host("client")?, lab.host("server")?);
    Ok(Bed {
        between: Between::Lab {
            appliance: None,
            _lab: lab,
        },
        client_mac: client.mac,
        client: client.namespaces,
        server: server.namespaces,
        service: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 100)),
        pinged: IpAddr::V4(Ipv4Addr::new(10, 0, 9, 10)),
        cores: cores(),
    })
}

/// From the subnet of clients to that of servers, by way of an appliance if there is one.
fn inspected(appliance: Option<Sends>) -> Result<Bed, HostError> {
    let text = match appliance {
        None => super::lab::east_west(""),
        Some(_) => super::lab::east_west(super::lab::INSPECTED),
    };
    let mut lab = Lab::new(&text, 1)?;
    let (client, server) = (lab.host("client")?, lab.host("server")?);
    let appliance = match appliance {
        None => None,
        Some(sends) => {
            let Host { namespaces, .. } = lab.host(super::lab::APPLIANCE)?;
            Some(Appliance::start(&namespaces, sends)?)
        }
    };
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 10));
    Ok(Bed {
        between: Between::Lab {
            appliance,
            _lab: lab,
        },
        client_mac: client.mac,
        client: client.namespaces,
        server: server.namespaces,
        service: address,
        pinged: address,
        cores: cores(),
    })
}

/// Hosts by name: client, neighbour, server.
const YAML: &str = "name: bench-io
vpcs:
  consumer:
    cidr: 10.0.0.0/16
    subnets:
      app: {cidr: 10.0.1.0/24, az: a}
      other: {cidr: 10.0.9.0/24, az: a}
    security_groups:
      all:
        ingress: [{proto: all, from: 10.0.0.0/16}]
  provider:
    cidr: 10.0.0.0/16
    subnets:
      servers: {cidr: 10.0.3.0/24, az: a}
      balancer: {cidr: 10.0.2.0/24, az: a}
    security_groups:
      every:
        ingress: [{proto: all, from: 10.0.0.0/16}]
hosts:
  client: {subnet: consumer/app, address: 10.0.1.10, groups: all}
  neighbour: {subnet: consumer/other, address: 10.0.9.10, groups: all}
  server: {subnet: servers, address: 10.0.3.10, groups: every}
load_balancers:
  nlb:
    type: network
    subnets: balancer
    groups: every
    listeners:
      - {proto: tcp, port: 5201, target_group: streams}
      - {proto: udp, port: 9000, target_group: datagrams}
target_groups:
  streams: {protocol: tcp, port: 5201, targets: server}
  datagrams: {protocol: udp, port: 9000, targets: server}
endpoint_services:
  service: {load_balancers: nlb, acceptance_required: false}
endpoints:
  endpoint: {type: interface, service: service, subnets: consumer/app, address: 10.0.1.100, groups: all}
";

pub(super) fn spawn(
    name: &str,
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<JoinHandle<std::io::Result<()>>, HostError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread
        .spawn(work)
        .map_err(|error| HostError::new(format!("thread: {error}")))
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Between::Mover(stop, threads) = &mut self.between {
            stop.store(true, Ordering::Relaxed);
            for thread in threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}
