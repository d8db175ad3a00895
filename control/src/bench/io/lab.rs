//! A lab of vpclab's: workers on the last cores, a TAP in each host's namespaces.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::io::Port;
use vpclab_dataplane::pipeline::Config;
use vpclab_dataplane::worker::{Clock, Handle, Options as WorkerOptions, team};

use super::bed::{MTU, namespaces, packet_cores, spawn, tap};
use crate::bench::topology::World;
use crate::host::namespace::Namespaces;
use crate::host::plan::InterfacePlan;
use crate::host::{HostError, from_model};

/// The host that keeps the MTU of its model: tunnels go there.
pub(super) const APPLIANCE: &str = "appliance";

/// A host, its first interface and its namespaces.
pub(super) struct Host {
    name: String,
    pub(super) mac: Mac,
    pub(super) namespaces: Namespaces,
}

/// Running workers with hosts. They end when dropped.
pub(super) struct Lab {
    handle: Handle,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
    hosts: Vec<Host>,
}

impl Lab {
    /// A lab of this topology, with so many workers and queues of every interface.
    pub(super) fn new(yaml: &str, queues: usize) -> Result<Self, HostError> {
        let options = WorkerOptions {
            core: Some(packet_cores(queues)?),
            ..WorkerOptions::default()
        };
        let world = World::new(yaml).map_err(|error| HostError::new(error.to_string()))?;
        let (local, _) = sync_channel(1);
        let tables = Arc::clone(world.control.tables());
        let clock = Clock::start();
        let (workers, handle) = team(queues, Config::default(), &tables, clock, options, &local)
            .map_err(|error| HostError::new(format!("workers: {error}")))?;
        let mut lab = Self {
            handle,
            threads: Vec::new(),
            hosts: Vec::new(),
        };
        for worker in workers {
            lab.threads.push(spawn("packets", move || worker.run())?);
        }
        for host in from_model::hosts(world.control.model()) {
            let namespaces = namespaces()?;
            for plan in &host.interfaces {
                let mtu = if host.name == APPLIANCE {
                    plan.mtu
                } else {
                    MTU
                };
                let plan = InterfacePlan {
                    mtu,
                    ..plan.clone()
                };
                let taps = tap(&namespaces, &plan, queues)?.into_iter();
                let ports = taps.map(|port| Box::new(port) as Box<dyn Port>).collect();
                lab.handle
                    .add_queues(EniId(plan.eni), ports)
                    .map_err(|error| HostError::new(error.to_string()))?;
            }
            let mac = host.interfaces.first().map_or([0; 6], |plan| plan.mac);
            lab.hosts.push(Host {
                name: host.name,
                mac: Mac(mac),
                namespaces,
            });
        }
        Ok(lab)
    }

    /// Takes out one of the hosts.
    pub(super) fn host(&mut self, name: &str) -> Result<Host, HostError> {
        let place = self.hosts.iter().position(|host| host.name == name);
        let place =
            place.ok_or_else(|| HostError::new(format!("the benchmark's lab has no {name}")))?;
        Ok(self.hosts.swap_remove(place))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.handle.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Two subnets, and what is between them.
pub(super) fn east_west(between: &str) -> String {
    let routes = match between {
        "" => "",
        _ => {
            "
    route_tables:
      clients: {routes: [{to: 10.0.2.0/24, via: inspect}]}
      servers: {routes: [{to: 10.0.1.0/24, via: inspect}]}"
        }
    };
    let [clients, servers] = match between {
        "" => ["", ""],
        _ => [", route_table: clients", ", route_table: servers"],
    };
    format!(
        "name: bench-io
hosts:
  client: {{subnet: main/clients, address: 10.0.1.10, groups: all}}
  server: {{subnet: main/servers, address: 10.0.2.10, groups: all}}{between}
vpcs:
  main:
    cidr: 10.0.0.0/16
    subnets:
      clients: {{cidr: 10.0.1.0/24, az: a{clients}}}
      servers: {{cidr: 10.0.2.0/24, az: a{servers}}}
      inspection: {{cidr: 10.0.3.0/24, az: a}}{routes}
    security_groups:
      all:
        ingress: [{{proto: tcp, ports: 5201, from: 10.0.0.0/16}}]
  appliances:
    cidr: 10.2.0.0/16
    subnets:
      appliances: {{cidr: 10.2.1.0/24, az: a}}
    security_groups:
      appliance:
        ingress: [{{proto: udp, ports: 6081, from: 10.2.1.0/24}}]
"
    )
}

/// An appliance behind a gateway load balancer, its endpoint in their way.
pub(super) const INSPECTED: &str = "
  appliance: {subnet: appliances/appliances, groups: appliance}
load_balancers:
  firewalls: {type: gateway, subnets: appliances, listeners: [{target_group: firewalls}]}
target_groups:
  firewalls: {protocol: geneve, targets: appliance}
endpoint_services:
  firewalls: {load_balancers: firewalls, acceptance_required: false}
endpoints:
  inspect: {type: gateway_load_balancer, service: firewalls, subnets: main/inspection}";
