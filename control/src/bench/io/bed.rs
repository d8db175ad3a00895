//! Two namespaces, and what lies between them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::io::{Port, TapPort};
use vpclab_dataplane::pipeline::Config;
use vpclab_dataplane::worker::{Clock, Handle, Options as WorkerOptions, team};

use super::router::{self, Router};
use crate::bench::topology::World;
use crate::host::namespace::{Namespaces, RESOLV_CONF};
use crate::host::netlink::Existing;
use crate::host::plan::{GatewayPlan, InterfacePlan};
use crate::host::{HostError, from_model, netlink, wiring_errors};

/// MTU of every interface, so that all carry segments of one size.
const MTU: u32 = 1500;
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
}

impl Kind {
    /// The peers first: what comes later is compared with them.
    pub(super) const ALL: [Self; 4] = [
        Self::Mover,
        Self::Router,
        Self::Masquerade,
        Self::PrivateLink,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mover => "bare-mover",
            Self::Router => "kernel-router",
            Self::Masquerade => "kernel-masquerade",
            Self::PrivateLink => "privatelink",
        }
    }
}

/// What runs between the namespaces; ends when dropped.
enum Between {
    Mover(Arc<AtomicBool>, Vec<JoinHandle<std::io::Result<()>>>),
    Kernel(Router),
    Workers(Handle, Vec<JoinHandle<std::io::Result<()>>>),
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
    _neighbour: Option<Namespaces>,
}

impl Bed {
    pub(super) fn new(kind: Kind) -> Result<Self, HostError> {
        match kind {
            Kind::Mover => mover(),
            Kind::Router => kernel(false),
            Kind::Masquerade => kernel(true),
            Kind::PrivateLink => workers(),
        }
    }

    /// What was set of what lies between, in figures.
    pub(super) fn settings(&self) -> Vec<(&'static str, f64)> {
        match &self.between {
            Between::Kernel(router) => vec![(router::STEERED, f64::from(router.steered))],
            Between::Mover(..) | Between::Workers(..) => Vec::new(),
        }
    }
}

/// The first and the last of the CPUs that this process may use.
fn cores() -> [usize; 2] {
    let this = nix::unistd::Pid::from_raw(0);
    let allowed = nix::sched::sched_getaffinity(this).unwrap_or_default();
    let is_allowed = |cpu: &usize| allowed.is_set(*cpu).unwrap_or(false);
    let mut all = (0..nix::sched::CpuSet::count()).filter(is_allowed);
    let first = all.next().unwrap_or(0);
    [first, all.next_back().unwrap_or(first)]
}

fn namespaces() -> Result<Namespaces, HostError> {
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

fn tap(namespaces: &Namespaces, plan: &InterfacePlan) -> Result<TapPort, HostError> {
    namespaces.in_network(|| {
        let ports = TapPort::open(&plan.device, 1).map_err(wiring_errors::explain_tun)?;
        netlink::configure(std::slice::from_ref(plan), Existing::Refuse)?;
        let port = ports.into_iter().next();
        port.ok_or_else(|| HostError::new("a TAP without a queue"))
    })
}

fn mover() -> Result<Bed, HostError> {
    let (client, server) = (namespaces()?, namespaces()?);
    let taps = [
        tap(&client, &interface(DEVICE, [10, 9, 0, 1], None, 1))?,
        tap(&server, &interface(DEVICE, [10, 9, 0, 2], None, 2))?,
    ];
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let cores = cores();
    let thread = spawn("mover", move || super::mover::run(&taps, cores[1], &told))?;
    let address = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
    Ok(Bed {
        between: Between::Mover(stop, vec![thread]),
        client,
        server,
        service: address,
        pinged: address,
        client_mac: Mac([2, 0, 0, 0, 0, 1]),
        cores,
        _neighbour: None,
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
        _neighbour: None,
    })
}

fn workers() -> Result<Bed, HostError> {
    let world = World::new(YAML).map_err(|error| HostError::new(error.to_string()))?;
    let (local, _) = sync_channel(1);
    let tables = Arc::clone(world.control.tables());
    let cores = cores();
    let options = WorkerOptions {
        core: Some(cores[1]),
        ..WorkerOptions::default()
    };
    let (workers, handle) = team(
        1,
        Config::default(),
        &tables,
        Clock::start(),
        options,
        &local,
    )
    .map_err(|error| HostError::new(format!("workers: {error}")))?;
    let mut threads = Vec::new();
    for worker in workers {
        threads.push(spawn("packets", move || worker.run())?);
    }
    let (mut hosts, mut macs) = (Vec::new(), Vec::new());
    for host in from_model::hosts(world.control.model()) {
        let namespaces = namespaces()?;
        for plan in &host.interfaces {
            let plan = InterfacePlan {
                mtu: MTU,
                ..plan.clone()
            };
            let port: Box<dyn Port> = Box::new(tap(&namespaces, &plan)?);
            handle
                .add_port(EniId(plan.eni), port)
                .map_err(|error| HostError::new(error.to_string()))?;
            macs.push(Mac(plan.mac));
        }
        hosts.push(namespaces);
    }
    let hosts = <[Namespaces; 3]>::try_from(hosts);
    let (Ok([client, neighbour, server]), Some(&client_mac)) = (hosts, macs.first()) else {
        return Err(HostError::new("the benchmark's lab has other hosts"));
    };
    Ok(Bed {
        between: Between::Workers(handle, threads),
        client,
        server,
        service: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 100)),
        pinged: IpAddr::V4(Ipv4Addr::new(10, 0, 9, 10)),
        client_mac,
        cores,
        _neighbour: Some(neighbour),
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

fn spawn(
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
        let threads = match &mut self.between {
            Between::Mover(stop, threads) => {
                stop.store(true, Ordering::Relaxed);
                std::mem::take(threads)
            }
            Between::Workers(handle, threads) => {
                let _ = handle.stop();
                std::mem::take(threads)
            }
            Between::Kernel(_) => Vec::new(),
        };
        for thread in threads {
            let _ = thread.join();
        }
    }
}
