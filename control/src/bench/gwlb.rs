//! Gateway load balancer: east-west traffic that crosses an appliance. Of each
//! connection four packets go round: into the tunnel and, validated, out of it
//! again, in both directions.

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::{ETHERNET_LEN, Frame, GENEVE_OUTER_LEN, tcp_flag};

use super::connections::{CHUNK, Connection, End};
use super::driver::{self, Came, Driver, innermost};
use super::eastwest::{client_ends, hosts_for};
use super::frames::{FrameStore, Segment};
use super::path::{self, CachedPath};
use super::topology::{World, acl_rules, hosts, idle_rules};
use super::{BenchError, Case, Kind, Options, Size, Suite, Work};

/// The suite.
#[derive(Debug)]
pub struct Gwlb;

/// Which packets are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From hosts: each is put into its tunnel.
    In,
    /// From appliances: each is validated and taken out of its tunnel.
    Out,
    /// Both, mixed.
    Both,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::In => "encap",
            Self::Out => "decap",
            Self::Both => "both",
        }
    }

    fn takes(self, from_appliance: bool) -> bool {
        self == Self::Both || (self == Self::Out) == from_appliance
    }
}

impl Suite for Gwlb {
    fn name(&self) -> &'static str {
        "gwlb"
    }

    fn about(&self) -> &'static str {
        "established connections through an appliance: GENEVE put on one way, validated and taken off the other"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let mut cases = Vec::new();
        for way in [Way::Both, Way::In, Way::Out] {
            for (kind, size, flows) in options.kinds() {
                let size = size.within(MTU);
                // One way alone: to compare with peers, with small frames of IPv4.
                let is_compared = !kind.is_v6() && size == Size::Bytes(64);
                if way != Way::Both && !is_compared {
                    continue;
                }
                let options = options.clone();
                let prepare = move || {
                    let work = established(&options, kind, size, flows, way)?;
                    let work: Box<dyn Work> = Box::new(work);
                    Ok(work)
                };
                let name = format!("{}-{kind}-{size}/flows={flows}", way.name());
                cases.push(Case::new(name, prepare).flows(flows));
            }
        }
        cases
    }
}

/// The largest IP packet that a gateway load balancer carries.
const MTU: usize = 8_500;
/// Port of the servers.
const PORT: u16 = 443;
/// More flows than this do not fit the cookie's slots.
const FLOWS_MAX: u64 = 8_000_000;

/// A connection, and by which appliance's port its packets go.
#[derive(Clone, Copy, Debug)]
struct Inspected {
    connection: Connection,
    appliance: EniId,
}

/// Connections between two subnets, inspected on their way.
///
/// # Errors
/// When the lab cannot be made or a connection not opened.
pub fn established(
    options: &Options,
    kind: Kind,
    size: Size,
    flows: u64,
    way: Way,
) -> Result<CachedPath, BenchError> {
    if flows > FLOWS_MAX {
        let what = format!("a gateway load balancer has slots for {FLOWS_MAX} flows");
        return Err(BenchError::NotHere(what));
    }
    let count = hosts_for(flows);
    let world = World::new(&yaml(kind, count))?;
    let tables = world.snapshot();
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for n in 0..count {
        let client = world.eni(&format!("client{n}"))?;
        let (mac, router) = world.macs(&tables, client)?;
        clients.push((client, mac, router, world.address(&tables, client, kind)?));
        let server = world.eni(&format!("server{n}"))?;
        servers.push(world.address(&tables, server, kind)?);
    }
    let pick = |n: u64| servers.get((n % count) as usize).copied();
    let ends = client_ends(flows, kind, &clients, |n| pick(n).unwrap_or(clients[0].3));
    // A connection has two sessions: before the appliance, and behind it.
    let config = path::config(options, 2 * flows, flows);
    let mut driver = Driver::new(config, tables);
    let inspected = open(&mut driver, ends)?;

    let mut order: Vec<u32> = (0..inspected.len() as u32 * 2).collect();
    path::shuffle(&mut order, options.seed);
    let longest = size.longest();
    let mut planned: Vec<Came> = Vec::new();
    for (nth, chunk) in order.chunks(CHUNK).enumerate() {
        packets(
            &mut driver,
            &inspected,
            chunk,
            size,
            nth * CHUNK,
            way,
            &mut planned,
        )?;
    }
    path::shuffle(&mut planned, options.seed + 1);
    let mut store = FrameStore::with_capacity(planned.len(), longest + GENEVE_OUTER_LEN);
    for frame in &planned {
        store.push(frame.port, &frame.bytes);
    }
    drop(planned);
    let judge = move |port: EniId, frame: &Frame| judge(&inspected, port, frame);
    Ok(CachedPath::new(
        options,
        driver,
        longest,
        store,
        Box::new(judge),
    ))
}

/// Opens a connection from each end; every packet of it visits the appliance.
fn open(
    driver: &mut Driver,
    mut clients: impl ExactSizeIterator<Item = End>,
) -> Result<Vec<Inspected>, BenchError> {
    let mut all = Vec::new();
    loop {
        let chunk: Vec<End> = clients.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            return Ok(all);
        }
        let (ports, arrived) = visit(driver, &chunk, tcp_flag::SYN)?;
        let mut servers = Vec::new();
        for one in &arrived {
            let (_, at) = driver::read(one.port, &one.bytes)?;
            servers.push(End::answering(&at));
        }
        visit(driver, &servers, tcp_flag::SYN | tcp_flag::ACK)?;
        visit(driver, &chunk, tcp_flag::ACK)?;
        for ((client, server), appliance) in chunk.iter().zip(&servers).zip(ports) {
            if server.tuple != client.tuple.reversed() {
                let what = format!("{} arrived as {}", client.tuple, server.tuple.reversed());
                return Err(BenchError::Wrong(what));
            }
            let (client, server) = (*client, *server);
            let connection = Connection { client, server };
            all.push(Inspected {
                connection,
                appliance,
            });
        }
    }
}

/// A packet from each end to its appliance, and on from there. Returns the
/// ports of the appliances, and what arrived in the end.
fn visit(
    driver: &mut Driver,
    ends: &[End],
    flags: u8,
) -> Result<(Vec<EniId>, Vec<Came>), BenchError> {
    let mut frame = Frame::with_capacity(128);
    for (id, end) in ends.iter().enumerate() {
        Segment::of(end, flags, id as u32).write(&mut frame, 64);
        driver.add(end.port, frame.bytes());
    }
    let mut ports = Vec::new();
    for came in driver.send()? {
        ports.push(came.port);
        driver.add(came.port, &returned(came.bytes));
    }
    Ok((ports, driver.send()?))
}

/// Adds to `planned` what is sent for these packets: as hosts send them, and as
/// appliances return them. `first` is the place of the first among all.
fn packets(
    driver: &mut Driver,
    inspected: &[Inspected],
    ids: &[u32],
    size: Size,
    first: usize,
    way: Way,
    planned: &mut Vec<Came>,
) -> Result<(), BenchError> {
    let mut frame = Frame::with_capacity(size.longest());
    let sender = |id: u32| {
        let one = inspected.get(id as usize / 2);
        one.map(|one| *one.connection.sender(id % 2))
    };
    for (place, &id) in ids.iter().enumerate() {
        let Some(end) = sender(id) else { continue };
        let len = size.of((first + place) as u64);
        Segment::of(&end, tcp_flag::ACK, place as u32).write(&mut frame, len);
        driver.add(end.port, frame.bytes());
        if way.takes(false) {
            Segment::of(&end, tcp_flag::ACK, id).write(&mut frame, len);
            let bytes = frame.bytes().to_vec();
            planned.push(Came {
                port: end.port,
                bytes,
            });
        }
    }
    for (came, &id) in driver.send()?.into_iter().zip(ids) {
        let bytes = returned(came.bytes);
        // The same packet with its own number instead of its place in the batch.
        let (Some(end), Some(tunnel)) = (sender(id), bytes.get(..ETHERNET_LEN + GENEVE_OUTER_LEN))
        else {
            continue;
        };
        if way.takes(true) {
            let inner = bytes.len() - GENEVE_OUTER_LEN;
            Segment::of(&end, tcp_flag::ACK, id).write(&mut frame, inner);
            let inner = frame.bytes().get(ETHERNET_LEN..).unwrap_or_default();
            let bytes = [tunnel, inner].concat();
            planned.push(Came {
                port: came.port,
                bytes,
            });
        }
    }
    Ok(())
}

/// What an appliance makes of a tunnelled frame: both pairs of outer addresses
/// change places, the ports and everything within stay.
fn returned(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(header) = bytes.first_chunk_mut::<34>() {
        for n in 0..6 {
            header.swap(n, 6 + n);
        }
        for n in 26..30 {
            header.swap(n, 4 + n);
        }
    }
    bytes
}

/// What came out is right if it is at its appliance, still the sender's tuple, in
/// the tunnel; or at the other end, as that end must receive it.
fn judge(inspected: &[Inspected], port: EniId, frame: &Frame) -> Result<u32, BenchError> {
    let bytes = frame.bytes();
    let (headers, id) = innermost(bytes)?;
    let Some(one) = inspected.get(id as usize / 2) else {
        return Err(BenchError::wrong(format!("packet {id} was never sent")));
    };
    if usize::from(headers.l3) > ETHERNET_LEN {
        let sent = one.connection.sender(id % 2).tuple;
        if port == one.appliance && headers.tuple == sent {
            return Ok(id << 1 | 1);
        }
        let tuple = headers.tuple;
        let what = format!("packet {id} ({sent}) is tunnelled to {port:?} as {tuple}");
        return Err(BenchError::Wrong(what));
    }
    let (_, came) = driver::read(port, bytes)?;
    let expected = one.connection.expected(id % 2);
    if came == expected {
        Ok(id << 1)
    } else {
        let what = format!("packet {id} came out as {came:?} instead of {expected:?}");
        Err(BenchError::Wrong(what))
    }
}

fn yaml(kind: Kind, count: u64) -> String {
    let acl = acl_rules();
    let proto = kind.transport();
    let (six, clients, servers, dualstack) = if kind.is_v6() {
        let (clients, servers) = ("'2001:db8:1:1::/64'", "'2001:db8:1:2::/64'");
        let six = "    ipv6: 2001:db8:1::/56\n";
        (six, clients, servers, ", dualstack: true")
    } else {
        ("", "10.0.0.0/18", "10.0.64.0/18", "")
    };
    format!(
        "name: bench-gwlb
vpcs:
  main:
    cidr: 10.0.0.0/16
{six}    subnets:
      clients: {{cidr: 10.0.0.0/18{clients6}, az: a, route_table: clients, network_acl: filter}}
      servers: {{cidr: 10.0.64.0/18{servers6}, az: a, route_table: servers, network_acl: filter}}
      inspection: {{cidr: 10.0.128.0/24{inspection6}, az: a, network_acl: filter}}
    route_tables:
      clients: {{routes: [{{to: {servers}, via: inspect}}]}}
      servers: {{routes: [{{to: {clients}, via: inspect}}]}}
    network_acls:
      filter: {{ingress: {acl}, egress: {acl}}}
    security_groups:
      clients:
        egress: [{to}{{proto: {proto}, ports: {PORT}, to: {servers}}}]
      servers:
        ingress: [{from}{{proto: {proto}, ports: {PORT}, from: {clients}}}]
        egress: []
  appliances:
    cidr: 10.2.0.0/16
    subnets:
      appliances: {{cidr: 10.2.1.0/24, az: a}}
    security_groups:
      appliance:
        ingress: [{{proto: udp, ports: 6081, from: 10.2.1.0/24}}]
hosts:
{client_hosts}{server_hosts}{appliances}
load_balancers:
  firewalls: {{type: gateway, subnets: appliances, listeners: [{{target_group: firewalls}}]}}
target_groups:
  firewalls: {{protocol: geneve, targets: [appliance0, appliance1]}}
endpoint_services:
  firewalls: {{load_balancers: firewalls, acceptance_required: false}}
endpoints:
  inspect: {{type: gateway_load_balancer, service: firewalls, subnets: inspection{dualstack}}}
",
        to = idle_rules("to"),
        from = idle_rules("from"),
        clients6 = kind.block("2001:db8:1:1::/64"),
        servers6 = kind.block("2001:db8:1:2::/64"),
        inspection6 = kind.block("2001:db8:1:3::/64"),
        client_hosts = hosts("client", count, "subnet: main/clients, groups: clients"),
        server_hosts = hosts("server", count, "subnet: main/servers, groups: servers"),
        appliances = hosts(
            "appliance",
            2,
            "subnet: appliances/appliances, groups: appliance"
        ),
    )
}
