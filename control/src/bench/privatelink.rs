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
use super::{BenchError, Case, Kind, Options, Size, Suite, Work};

/// The suite.
#[derive(Debug)]
pub struct PrivateLink;

impl Suite for PrivateLink {
    fn name(&self) -> &'static str {
        "privatelink"
    }

    fn about(&self) -> &'static str {
        "established connections through an interface endpoint and its load balancer, NAT both ways, both directions"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let case = |(kind, size, flows): (Kind, Size, u64)| {
            let size = size.within(MTU);
            let options = options.clone();
            let prepare = move || {
                let work: Box<dyn Work> = Box::new(established(&options, kind, size, flows)?);
                Ok(work)
            };
            Case::new(format!("{kind}-{size}/flows={flows}"), prepare).flows(flows)
        };
        options.kinds().into_iter().map(case).collect()
    }
}

/// The endpoint's IPv4 address.
const ENDPOINT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 128, 100));
/// The load balancer's node.
const NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 128, 50));
/// The first 64 bits of its IPv6 address: its subnet's.
const NODE6: [u16; 4] = [0x2001, 0xdb8, 2, 2];
/// The largest IP packet that an endpoint takes.
const MTU: usize = 8_500;
/// Port of the service.
const PORT: u16 = 443;

/// A server: its port, its MAC address and its router's, its address.
type Server = (EniId, (Mac, Mac), IpAddr);

/// A lab with an endpoint, `clients` in front of it and `servers` behind.
pub(super) struct Lab {
    pub(super) tables: Snapshot,
    clients: Vec<(EniId, Mac, Mac, IpAddr)>,
    servers: Vec<Server>,
    endpoint: IpAddr,
    kind: Kind,
}

impl Lab {
    /// Makes the lab.
    pub(super) fn new(kind: Kind, clients: u64, servers: u64) -> Result<Self, BenchError> {
        let world = World::new(&yaml(kind, clients, servers))?;
        let tables = world.snapshot();
        let mut lab = Self {
            tables,
            clients: Vec::new(),
            servers: Vec::new(),
            endpoint: endpoint(&world, kind)?,
            kind,
        };
        for n in 0..clients {
            let eni = world.eni(&format!("client{n}"))?;
            let (mac, router) = world.macs(&lab.tables, eni)?;
            let address = world.address(&lab.tables, eni, kind)?;
            lab.clients.push((eni, mac, router, address));
        }
        for n in 0..servers {
            let eni = world.eni(&format!("server{n}"))?;
            let macs = world.macs(&lab.tables, eni)?;
            let address = world.address(&lab.tables, eni, kind)?;
            lab.servers.push((eni, macs, address));
        }
        Ok(lab)
    }

    /// The clients' ends of `flows` connections to the endpoint.
    pub(super) fn ends(&self, flows: u64) -> impl ExactSizeIterator<Item = End> {
        client_ends(flows, self.kind, &self.clients, |_| self.endpoint)
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
            .find(|(.., address)| *address == seen.src);
        let End {
            port,
            src_mac,
            dst_mac,
            ..
        } = connection.server;
        let right = target.is_some_and(|&(eni, macs, _)| (eni, macs) == (port, (src_mac, dst_mac)))
            && seen.sport == PORT
            && match seen.dst {
                IpAddr::V4(_) => seen.dst == NODE,
                IpAddr::V6(node) => node.segments().starts_with(&NODE6),
            }
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
pub fn established(
    options: &Options,
    kind: Kind,
    size: Size,
    flows: u64,
) -> Result<CachedPath, BenchError> {
    let lab = lab_for(kind, flows)?;
    let ends = lab.ends(flows);
    CachedPath::both_directions(options, size, lab.tables.clone(), ends, |connection| {
        lab.check(connection)
    })
}

/// A lab that has room for `flows` connections.
pub(super) fn lab_for(kind: Kind, flows: u64) -> Result<Lab, BenchError> {
    // A node has 55 000 source ports toward a target.
    let servers = flows.div_ceil(50_000).max(hosts_for(flows).min(8));
    Lab::new(kind, hosts_for(flows), servers)
}

/// The endpoint's address of this family.
fn endpoint(world: &World, kind: Kind) -> Result<IpAddr, BenchError> {
    if !kind.is_v6() {
        return Ok(ENDPOINT);
    }
    let model = world.control.model();
    let endpoint = world.names.endpoints.get("service");
    let endpoint = endpoint.and_then(|id| model.get(id));
    let interface = endpoint.and_then(|it| model.get(&it.interfaces.first()?.interface));
    let address = interface.and_then(|it| it.ipv6_addresses.first().copied());
    address
        .map(IpAddr::V6)
        .ok_or_else(|| BenchError::wrong("the benchmark's endpoint has no IPv6 address"))
}

fn yaml(kind: Kind, clients: u64, servers: u64) -> String {
    let acl = acl_rules();
    let proto = kind.transport();
    let (mut six, mut dualstack) = (["", ""], "");
    let mut targets: Vec<String> = (0..servers).map(|n| format!("server{n}")).collect();
    let mut server_hosts = hosts(
        "server",
        servers,
        "subnet: provider/servers, groups: servers",
    );
    if kind.is_v6() {
        six = ["    ipv6: 2001:db8:1::/56\n", "    ipv6: 2001:db8:2::/56\n"];
        dualstack = ", dualstack: true";
        targets = (0..servers)
            .map(|n| format!("'2001:db8:2:1::{:x}'", 0x100 + n))
            .collect();
        server_hosts.clear();
        for (n, address) in targets.iter().enumerate() {
            let keys = format!("subnet: provider/servers, groups: servers, ipv6: {address}");
            server_hosts.push_str(&format!("  server{n}: {{{keys}}}\n"));
        }
    }
    format!(
        "name: bench-privatelink
vpcs:
  consumer:
    cidr: 10.0.0.0/16
{six0}    igw: true
    subnets:
      clients: {{cidr: 10.0.0.0/18{clients6}, az: a, route_table: clients, network_acl: filter}}
      endpoints: {{cidr: 10.0.128.0/24{endpoints6}, az: a, route_table: clients, network_acl: filter}}
    route_tables:
      clients: {{routes: {routes}}}
    network_acls:
      filter: {{ingress: {acl}, egress: {acl}}}
    security_groups:
      clients:
        egress: [{to}{{proto: {proto}, ports: {PORT}, to: endpoint}}]
      endpoint:
        ingress: [{from}{{proto: {proto}, ports: {PORT}, from: clients}}]
        egress: []
  provider:
    cidr: 10.0.0.0/16
{six1}    subnets:
      servers: {{cidr: 10.0.0.0/18{servers6}, az: a, network_acl: filter}}
      balancer: {{cidr: 10.0.128.0/24{balancer6}, az: a, network_acl: filter}}
    network_acls:
      filter: {{ingress: {acl}, egress: {acl}}}
    security_groups:
      balancer:
        ingress: [{from}{{proto: {proto}, ports: {PORT}, from: {consumers}}}]
        egress: [{to}{{proto: {proto}, ports: {PORT}, to: servers}}]
      servers:
        ingress: [{from}{{proto: {proto}, ports: {PORT}, from: balancer}}]
        egress: []
hosts:
{client_hosts}{server_hosts}
load_balancers:
  web:
    type: network
    subnets: balancer{dual_balancer}
    addresses: {{balancer: {NODE}}}
    groups: balancer
    listeners: [{{proto: {proto}, port: {PORT}, target_group: servers}}]
target_groups:
  servers:
    protocol: {proto}
    port: {PORT}
    health_check: {{protocol: tcp, port: {PORT}}}
    targets: [{targets}]
endpoint_services:
  web: {{load_balancers: web, acceptance_required: false}}
endpoints:
  service: {{type: interface, service: web, subnets: consumer/endpoints, address: {ENDPOINT}{dualstack}, groups: endpoint}}
",
        routes = routes("igw"),
        to = idle_rules("to"),
        from = idle_rules("from"),
        client_hosts = hosts("client", clients, "subnet: consumer/clients, groups: clients"),
        six0 = six[0],
        six1 = six[1],
        clients6 = kind.block("2001:db8:1:1::/64"),
        endpoints6 = kind.block("2001:db8:1:2::/64"),
        servers6 = kind.block("2001:db8:2:1::/64"),
        balancer6 = kind.block("2001:db8:2:2::/64"),
        consumers = if kind.is_v6() {
            "'2001:db8:1:1::/64'"
        } else {
            "10.0.0.0/18"
        },
        dual_balancer = if kind.is_v6() {
            "\n    dualstack: true"
        } else {
            ""
        },
        targets = targets.join(", "),
    )
}
