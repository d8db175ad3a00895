//! PrivateLink: everything of east-west on the consumer's side, then the
//! endpoint, NAT both ways at the load balancer's node, and the provider's
//! groups and ACLs. The two VPCs have the same addresses.

use std::net::IpAddr;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::tables::Snapshot;

use super::connections::{Connection, End, Expected};
use super::eastwest::{client_ends, hosts_for};
use super::path::CachedPath;
use super::topology::{World, acl_rules, hosts, idle_rules, routes};
use super::{BenchError, Case, Options, Size, Suite, Work};

/// The suite.
#[derive(Debug)]
pub struct PrivateLink;

impl Suite for PrivateLink {
    fn name(&self) -> &'static str {
        "privatelink"
    }

    fn about(&self) -> &'static str {
        "established TCP through an interface endpoint and its load balancer, NAT both ways, both directions"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let case = |(size, flows): (Size, u64)| {
            let size = size.within(MTU);
            let options = options.clone();
            let prepare = move || {
                let work: Box<dyn Work> = Box::new(established(&options, size, flows)?);
                Ok(work)
            };
            Case::new(format!("tcp4-{size}/flows={flows}"), prepare).flows(flows)
        };
        options.grid().into_iter().map(case).collect()
    }
}

/// The endpoint's address.
const ENDPOINT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 128, 100));
/// The load balancer's node.
const NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 128, 50));
/// The largest IP packet that an endpoint takes.
const MTU: usize = 8_500;
/// Port of the service.
const PORT: u16 = 443;

/// A lab with an endpoint, `clients` in front of it and `servers` behind.
pub(super) struct Lab {
    pub(super) tables: Snapshot,
    clients: Vec<(EniId, Mac, Mac, IpAddr)>,
    servers: Vec<(EniId, IpAddr)>,
}

impl Lab {
    /// Makes the lab.
    pub(super) fn new(clients: u64, servers: u64) -> Result<Self, BenchError> {
        let world = World::new(&yaml(clients, servers))?;
        let tables = world.snapshot();
        let mut lab = Self {
            tables,
            clients: Vec::new(),
            servers: Vec::new(),
        };
        for n in 0..clients {
            let eni = world.eni(&format!("client{n}"))?;
            let (mac, router) = world.macs(&lab.tables, eni)?;
            let address = world.address(&lab.tables, eni)?;
            lab.clients.push((eni, mac, router, address));
        }
        for n in 0..servers {
            let eni = world.eni(&format!("server{n}"))?;
            lab.servers.push((eni, world.address(&lab.tables, eni)?));
        }
        Ok(lab)
    }

    /// The clients' ends of `flows` connections to the endpoint.
    pub(super) fn ends(&self, flows: u64) -> impl ExactSizeIterator<Item = End> {
        client_ends(flows, &self.clients, |_| ENDPOINT)
    }

    /// Whether what arrived of a client's packet is what PrivateLink makes of it.
    pub(super) fn check_arrival(&self, client: &End, came: &Expected) -> Result<(), String> {
        let server = End::answering(came);
        self.check(&Connection {
            client: *client,
            server,
        })
    }

    /// Whether a connection was translated as PrivateLink does it.
    pub(super) fn check(&self, connection: &Connection) -> Result<(), String> {
        let seen = connection.server.tuple;
        let target = self
            .servers
            .iter()
            .find(|(_, address)| *address == seen.src);
        let right = target.is_some_and(|(eni, _)| *eni == connection.server.port)
            && seen.sport == PORT
            && seen.dst == NODE
            && seen.dport >= 1_024;
        if right {
            Ok(())
        } else {
            Err(format!(
                "{} arrived at {:?}, whose answer goes {seen}",
                connection.client.tuple, connection.server.port
            ))
        }
    }
}

/// Connections through the endpoint.
///
/// # Errors
/// When the lab cannot be made or a connection not opened.
pub fn established(options: &Options, size: Size, flows: u64) -> Result<CachedPath, BenchError> {
    let lab = lab_for(flows)?;
    let ends = lab.ends(flows);
    CachedPath::both_directions(options, size, lab.tables.clone(), ends, |connection| {
        lab.check(connection)
    })
}

/// A lab that has room for `flows` connections.
pub(super) fn lab_for(flows: u64) -> Result<Lab, BenchError> {
    // A node has 55 000 source ports toward a target.
    let servers = flows.div_ceil(40_000).max(hosts_for(flows).min(8));
    Lab::new(hosts_for(flows), servers)
}

fn yaml(clients: u64, servers: u64) -> String {
    let acl = acl_rules();
    let targets: Vec<String> = (0..servers).map(|n| format!("server{n}")).collect();
    format!(
        "name: bench-privatelink
vpcs:
  consumer:
    cidr: 10.0.0.0/16
    igw: true
    subnets:
      clients: {{cidr: 10.0.0.0/18, az: a, route_table: clients, network_acl: filter}}
      endpoints: {{cidr: 10.0.128.0/24, az: a, route_table: clients, network_acl: filter}}
    route_tables:
      clients: {{routes: {routes}}}
    network_acls:
      filter: {{ingress: {acl}, egress: {acl}}}
    security_groups:
      clients:
        egress: [{to}{{proto: tcp, ports: {PORT}, to: endpoint}}]
      endpoint:
        ingress: [{from}{{proto: tcp, ports: {PORT}, from: clients}}]
        egress: []
  provider:
    cidr: 10.0.0.0/16
    subnets:
      servers: {{cidr: 10.0.0.0/18, az: a, network_acl: filter}}
      balancer: {{cidr: 10.0.128.0/24, az: a, network_acl: filter}}
    network_acls:
      filter: {{ingress: {acl}, egress: {acl}}}
    security_groups:
      balancer:
        ingress: [{from}{{proto: tcp, ports: {PORT}, from: 10.0.0.0/18}}]
        egress: [{to}{{proto: tcp, ports: {PORT}, to: servers}}]
      servers:
        ingress: [{from}{{proto: tcp, ports: {PORT}, from: balancer}}]
        egress: []
hosts:
{client_hosts}{server_hosts}
load_balancers:
  web:
    type: network
    subnets: balancer
    addresses: {{balancer: {NODE}}}
    groups: balancer
    listeners: [{{proto: tcp, port: {PORT}, target_group: servers}}]
target_groups:
  servers:
    protocol: tcp
    port: {PORT}
    targets: [{targets}]
endpoint_services:
  web: {{load_balancers: web, acceptance_required: false}}
endpoints:
  service: {{type: interface, service: web, subnets: consumer/endpoints, address: {ENDPOINT}, groups: endpoint}}
",
        routes = routes("igw"),
        to = idle_rules("to"),
        from = idle_rules("from"),
        client_hosts = hosts("client", clients, "subnet: consumer/clients, groups: clients"),
        server_hosts = hosts("server", servers, "subnet: provider/servers, groups: servers"),
        targets = targets.join(", "),
    )
}
