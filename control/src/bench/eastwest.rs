//! East-west: two subnets of one VPC. Each packet is judged by source check,
//! the sender's groups, its subnet's ACL, the route table, the other subnet's
//! ACL and the receiver's groups; established, so all of it is one cached pass.

use std::net::IpAddr;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::packet::FiveTuple;
use vpclab_dataplane::tables::Snapshot;

use super::connections::{End, Expected};
use super::first_packet::FirstPackets;
use super::path::CachedPath;
use super::topology::{World, acl_rules, hosts, idle_rules, routes};
use super::{BenchError, Case, Kind, Options, Size, Suite, Work};

/// The suite.
#[derive(Debug)]
pub struct EastWest;

impl Suite for EastWest {
    fn name(&self) -> &'static str {
        "eastwest"
    }

    fn about(&self) -> &'static str {
        "established connections between two subnets: groups, network ACLs and routes, both directions"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let case = |(kind, size, flows): (Kind, Size, u64)| {
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

/// Port of the servers.
const PORT: u16 = 443;

/// How many hosts of one kind share `flows` flows.
pub(super) fn hosts_for(flows: u64) -> u64 {
    match flows {
        0..=1 => 1,
        2..=1_000 => 16,
        1_001..=1_000_000 => 64,
        // Source ports are what limits the flows of one host.
        _ => flows.div_ceil(60_000),
    }
}

/// What filters the packets, besides the rules that let them pass; YAML items.
#[derive(Clone, Debug)]
pub(super) struct Filters {
    /// Outbound rules of the clients' group.
    pub(super) to: String,
    /// Inbound rules of the servers' group.
    pub(super) from: String,
    /// Entries of both ACLs, both directions.
    pub(super) acl: String,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            to: idle_rules("to"),
            from: idle_rules("from"),
            acl: acl_rules(),
        }
    }
}

/// A server: its port, its MAC address and its router's, its address.
type Server = (EniId, (Mac, Mac), IpAddr);

/// Hosts in two subnets of one VPC.
struct Lab {
    tables: Snapshot,
    clients: Vec<(EniId, Mac, Mac, IpAddr)>,
    servers: Vec<Server>,
    kind: Kind,
    seed: u64,
}

impl Lab {
    fn new(
        options: &Options,
        kind: Kind,
        flows: u64,
        filters: &Filters,
    ) -> Result<Self, BenchError> {
        let count = hosts_for(flows);
        Self::of(
            &World::new(&yaml(count, kind, filters))?,
            options,
            kind,
            count,
        )
    }

    fn of(world: &World, options: &Options, kind: Kind, count: u64) -> Result<Self, BenchError> {
        let tables = world.snapshot();
        let mut clients = Vec::new();
        let mut servers = Vec::new();
        for n in 0..count {
            let client = world.eni(&format!("client{n}"))?;
            let (mac, router) = world.macs(&tables, client)?;
            clients.push((client, mac, router, world.address(&tables, client, kind)?));
            let server = world.eni(&format!("server{n}"))?;
            let macs = world.macs(&tables, server)?;
            servers.push((server, macs, world.address(&tables, server, kind)?));
        }
        Ok(Self {
            tables,
            clients,
            servers,
            kind,
            seed: options.seed,
        })
    }

    fn ends(&self, flows: u64) -> impl ExactSizeIterator<Item = End> {
        client_ends(flows, self.kind, &self.clients, |n| {
            let pick = Seed(self.seed).words(&[n]) % self.servers.len().max(1) as u64;
            let server = self.servers.get(pick as usize);
            server.map_or(IpAddr::from([0; 4]), |server| server.2)
        })
    }
}

/// Whether what arrived of `client` is its packet, at its server.
fn check_arrival(servers: &[Server], client: &End, came: &Expected) -> Result<(), String> {
    let tuple = client.tuple;
    let owner = servers.iter().find(|(.., address)| *address == tuple.dst);
    let right = owner.is_some_and(|&(port, (mac, router), _)| {
        let macs = (router, mac);
        *came == Expected { port, macs, tuple }
    });
    if right {
        Ok(())
    } else {
        Err(format!("{tuple} arrived as {came:?}"))
    }
}

/// Connections between the hosts of two subnets.
///
/// # Errors
/// When the lab cannot be made or a connection not opened.
pub fn established(
    options: &Options,
    kind: Kind,
    size: Size,
    flows: u64,
) -> Result<CachedPath, BenchError> {
    let lab = Lab::new(options, kind, flows, &Filters::default())?;
    let ends = lab.ends(flows);
    CachedPath::both_directions(options, size, lab.tables.clone(), ends, |connection| {
        check_arrival(&lab.servers, &connection.client, &connection.expected(0))
    })
}

/// The same, and the world that they are in: what changes there is seen by
/// [`CachedPath::drive_published`].
pub(super) fn established_in(
    options: &Options,
    size: Size,
    flows: u64,
) -> Result<(World, CachedPath), BenchError> {
    let count = hosts_for(flows);
    let kind = Kind::Tcp4;
    let world = World::new(&yaml(count, kind, &Filters::default()))?;
    let lab = Lab::of(&world, options, kind, count)?;
    let ends = lab.ends(flows);
    let path =
        CachedPath::both_directions(options, size, lab.tables.clone(), ends, |connection| {
            check_arrival(&lab.servers, &connection.client, &connection.expected(0))
        })?;
    Ok((world, path))
}

/// The tables, and the clients' ends of `flows` connections.
pub(super) fn ends(
    options: &Options,
    flows: u64,
) -> Result<(Snapshot, impl ExactSizeIterator<Item = End>), BenchError> {
    let lab = Lab::new(options, Kind::Tcp4, flows, &Filters::default())?;
    let addresses: Vec<IpAddr> = lab.servers.iter().map(|server| server.2).collect();
    let seed = Seed(options.seed);
    let ends = client_ends(flows, lab.kind, lab.clients, move |n| {
        let pick = seed.words(&[n]) % addresses.len().max(1) as u64;
        let address = addresses.get(pick as usize);
        address.copied().unwrap_or(IpAddr::from([0; 4]))
    });
    Ok((lab.tables, ends))
}

/// The first packets of such connections.
///
/// # Errors
/// When the lab cannot be made.
pub fn opening(options: &Options, kind: Kind, flows: u64) -> Result<FirstPackets, BenchError> {
    opening_with(options, kind, flows, &Filters::default())
}

/// The same with these filters.
pub(super) fn opening_with(
    options: &Options,
    kind: Kind,
    flows: u64,
    filters: &Filters,
) -> Result<FirstPackets, BenchError> {
    let lab = Lab::new(options, kind, flows, filters)?;
    let ends: Vec<End> = lab.ends(flows).collect();
    let Lab {
        tables, servers, ..
    } = lab;
    FirstPackets::new(options, tables, ends, move |client, came| {
        check_arrival(&servers, client, came)
    })
}

/// The client's end of each flow: clients in turn, their source ports one after
/// the other, toward the address that `server` says.
pub(super) fn client_ends(
    flows: u64,
    kind: Kind,
    clients: impl AsRef<[(EniId, Mac, Mac, IpAddr)]>,
    server: impl Fn(u64) -> IpAddr,
) -> impl ExactSizeIterator<Item = End> {
    let count = clients.as_ref().len().max(1) as u32;
    (0..flows as u32).map(move |n| {
        let (port, src_mac, dst_mac, src) = clients
            .as_ref()
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
            protocol: kind.protocol(),
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

fn yaml(count: u64, kind: Kind, filters: &Filters) -> String {
    let Filters { to, from, acl } = filters;
    let proto = kind.transport();
    format!(
        "name: bench-eastwest
quotas:
  rules-per-network-acl: 40
  inbound-or-outbound-rules-per-security-group: 1000
vpcs:
  main:
    cidr: 10.0.0.0/16
{six}    igw: true
    subnets:
      clients: {{cidr: 10.0.0.0/18{clients6}, az: a, route_table: clients, network_acl: clients}}
      servers: {{cidr: 10.0.64.0/18{servers6}, az: a, route_table: servers, network_acl: servers}}
    route_tables:
      clients: {{routes: {routes}}}
      servers: {{routes: {routes}}}
    network_acls:
      clients: {{ingress: {acl}, egress: {acl}}}
      servers: {{ingress: {acl}, egress: {acl}}}
    security_groups:
      clients:
        egress: [{to}{{proto: {proto}, ports: {PORT}, to: servers}}]
      servers:
        ingress: [{from}{{proto: {proto}, ports: {PORT}, from: clients}}]
        egress: []
hosts:
{clients}{servers}",
        six = if kind.is_v6() {
            "    ipv6: 2001:db8:1::/56\n"
        } else {
            ""
        },
        clients6 = kind.block("2001:db8:1:1::/64"),
        servers6 = kind.block("2001:db8:1:2::/64"),
        routes = routes("igw"),
        clients = hosts("client", count, "subnet: main/clients, groups: clients"),
        servers = hosts("server", count, "subnet: main/servers, groups: servers"),
    )
}
