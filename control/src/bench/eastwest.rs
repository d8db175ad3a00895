//! East-west: two subnets of one VPC. Each packet is judged by source check,
//! the sender's groups, its subnet's ACL, the route table, the other subnet's
//! ACL and the receiver's groups; established, so all of it is one cached pass.

use std::net::IpAddr;

use vpclab_dataplane::addr::Mac;
use vpclab_dataplane::packet::{FiveTuple, protocol};

use super::connections::End;
use super::path::EstablishedPath;
use super::topology::{World, acl_rules, hosts, idle_rules, routes};
use super::{BenchError, Case, Options, Size, Suite, Work};

/// The suite.
#[derive(Debug)]
pub struct EastWest;

impl Suite for EastWest {
    fn name(&self) -> &'static str {
        "eastwest"
    }

    fn about(&self) -> &'static str {
        "established TCP between two subnets: groups, network ACLs and routes, both directions"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let case = |(size, flows): (Size, u64)| {
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

/// Port of the servers.
const PORT: u16 = 443;

/// How many hosts of one kind share `flows` flows.
pub(super) fn hosts_for(flows: u64) -> u64 {
    match flows {
        0..=1 => 1,
        2..=1_000 => 16,
        1_001..=1_000_000 => 64,
        // Source ports are what limits the flows of one host.
        _ => flows.div_ceil(40_000),
    }
}

/// Connections between the hosts of two subnets.
///
/// # Errors
/// When the lab cannot be made or a connection not opened.
pub fn established(
    options: &Options,
    size: Size,
    flows: u64,
) -> Result<EstablishedPath, BenchError> {
    let count = hosts_for(flows);
    let world = World::new(&yaml(count))?;
    let tables = world.snapshot();
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for n in 0..count {
        let client = world.eni(&format!("client{n}"))?;
        let (mac, router) = world.macs(&tables, client)?;
        clients.push((client, mac, router, world.address(&tables, client)?));
        let server = world.eni(&format!("server{n}"))?;
        servers.push((
            server,
            world.macs(&tables, server)?,
            world.address(&tables, server)?,
        ));
    }
    let ends = client_ends(flows, &clients, |n| {
        let pick = vpclab_dataplane::flow::Seed(options.seed).words(&[n]) % count;
        servers
            .get(pick as usize)
            .map_or(IpAddr::from([0; 4]), |server| server.2)
    });
    let check = |connection: &super::Connection| {
        let (client, server) = (&connection.client, &connection.server);
        let owner = servers
            .iter()
            .find(|(.., address)| *address == client.tuple.dst);
        let reached = owner.is_some_and(|(port, (mac, router), _)| {
            server.port == *port && server.src_mac == *mac && server.dst_mac == *router
        });
        if reached && server.tuple == client.tuple.reversed() {
            Ok(())
        } else {
            Err(format!("{} arrived as {server:?}", client.tuple))
        }
    };
    EstablishedPath::new(options, size, tables, ends, check)
}

/// The client's end of each flow: clients in turn, their source ports one after
/// the other, toward the address that `server` says.
pub(super) fn client_ends(
    flows: u64,
    clients: &[(vpclab_dataplane::addr::EniId, Mac, Mac, IpAddr)],
    server: impl Fn(u64) -> IpAddr,
) -> impl ExactSizeIterator<Item = End> {
    let count = clients.len().max(1) as u32;
    (0..flows as u32).map(move |n| {
        let (port, src_mac, dst_mac, src) = clients
            .get((n % count) as usize)
            .copied()
            .unwrap_or_else(|| {
                (
                    Default::default(),
                    Mac::default(),
                    Mac::default(),
                    IpAddr::from([0; 4]),
                )
            });
        let tuple = FiveTuple {
            src,
            dst: server(u64::from(n)),
            protocol: protocol::TCP,
            sport: 1_024 + (n / count) as u16,
            dport: PORT,
        };
        End {
            port,
            src_mac,
            dst_mac,
            tuple,
        }
    })
}

fn yaml(count: u64) -> String {
    let acl = acl_rules();
    format!(
        "name: bench-eastwest
vpcs:
  main:
    cidr: 10.0.0.0/16
    igw: true
    subnets:
      clients: {{cidr: 10.0.0.0/18, az: a, route_table: clients, network_acl: clients}}
      servers: {{cidr: 10.0.64.0/18, az: a, route_table: servers, network_acl: servers}}
    route_tables:
      clients: {{routes: {routes}}}
      servers: {{routes: {routes}}}
    network_acls:
      clients: {{ingress: {acl}, egress: {acl}}}
      servers: {{ingress: {acl}, egress: {acl}}}
    security_groups:
      clients:
        egress: [{to}{{proto: tcp, ports: {PORT}, to: servers}}]
      servers:
        ingress: [{from}{{proto: tcp, ports: {PORT}, from: clients}}]
        egress: []
hosts:
{clients}{servers}",
        routes = routes("igw"),
        to = idle_rules("to"),
        from = idle_rules("from"),
        clients = hosts("client", count, "subnet: main/clients, groups: clients"),
        servers = hosts("server", count, "subnet: main/servers, groups: servers"),
    )
}
