//! How large a packet each kind of hop carries, and what becomes of a larger one:
//! every hop × {fits, too large with DF, without DF, IPv6, super-packet}, and the
//! MSS of a SYN behind it. Sources: EC2 "Network MTU", VPC "NAT gateway basics",
//! PrivateLink "Quotas", GWLB "Gateway Load Balancers", VPN "Customer gateway best
//! practices".

use std::fmt::Write as _;

use vpclab::api::*;
use vpclab::appliance::Appliance;
use vpclab::model::{Destination, Direction, RouteTargetSpec, RulePeer};
use vpclab_dataplane::packet::{Checksum, Fragment, Frame, Offload, Segmentation, protocol};
use vpclab_tests::{Packet, Seen, World, cidr, seconds};

/// One VPC with every kind of hop, and what lies behind them.
const HOPS: &str = "
name: hops
vpcs:
  main:
    cidr: 10.0.0.0/16
    ipv6: 2001:db8:1::/56
    igw: true
    vgw: true
    subnets:
      app: {cidr: 10.0.1.0/24, ipv6: '2001:db8:1:1::/64', route_table: app}
      near: {cidr: 10.0.2.0/24, ipv6: '2001:db8:1:2::/64'}
      services: {cidr: 10.0.3.0/24, ipv6: '2001:db8:1:3::/64', route_table: services}
      nat: {cidr: 10.0.4.0/24, route_table: nat}
      guarded: {cidr: 10.0.5.0/24, ipv6: '2001:db8:1:5::/64'}
    route_tables:
      app:
        propagate: true
        routes:
          - {to: 10.1.0.0/16, via: to-peer}
          - {to: '2001:db8:2::/56', via: to-peer}
          - {to: 10.3.0.0/16, via: nat}
          - {to: 10.0.5.0/24, via: inspect}
          - {to: '2001:db8:1:5::/64', via: inspect}
          - {to: 0.0.0.0/0, via: igw}
          - {to: '::/0', via: igw}
      services: {propagate: true, routes: [{to: 10.1.0.0/16, via: to-peer}]}
      nat: {routes: [{to: 10.3.0.0/16, via: to-third}]}
    security_groups:
      open: {ingress: [{proto: all, from: [0.0.0.0/0, '::/0']}]}
  peer:
    cidr: 10.1.0.0/16
    ipv6: 2001:db8:2::/56
    subnets: {peer: {cidr: 10.1.1.0/24, ipv6: '2001:db8:2:1::/64'}}
    route_tables: {peer: {main: true, routes: [{to: 10.0.0.0/16, via: to-peer}]}}
    security_groups:
      open: {ingress: [{proto: all, from: [0.0.0.0/0, '::/0']}]}
  third:
    cidr: 10.3.0.0/16
    subnets: {third: {cidr: 10.3.1.0/24}}
    route_tables: {third: {main: true, routes: [{to: 10.0.0.0/16, via: to-third}]}}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
  provider:
    cidr: 10.4.0.0/16
    ipv6: 2001:db8:4::/56
    subnets: {servers: {cidr: 10.4.1.0/24, ipv6: '2001:db8:4:1::/64'}}
    security_groups:
      open: {ingress: [{proto: all, from: [0.0.0.0/0, '::/0']}]}
peerings:
  to-peer: {vpcs: [main, peer]}
  to-third: {vpcs: [main, third]}
hosts:
  app: {subnet: app, address: 10.0.1.10, ipv6: '2001:db8:1:1::10', groups: main/open, eip: 203.0.113.10}
  twin: {subnet: app, address: 10.0.1.11, ipv6: '2001:db8:1:1::11', groups: main/open}
  near: {subnet: near, address: 10.0.2.10, ipv6: '2001:db8:1:2::10', groups: main/open}
  guarded: {subnet: guarded, address: 10.0.5.10, ipv6: '2001:db8:1:5::10', groups: main/open}
  peer: {subnet: peer, address: 10.1.1.10, ipv6: '2001:db8:2:1::10', groups: peer/open}
  third: {subnet: third, address: 10.3.1.10, groups: third/open}
  server: {subnet: servers, address: 10.4.1.10, ipv6: '2001:db8:4:1::10', groups: provider/open}
  client: {subnet: servers, address: 10.4.1.30, groups: provider/open}
  fw: {subnet: servers, address: 10.4.1.20, groups: provider/open}
nat_gateways:
  nat: {subnet: nat, address: 10.0.4.5, type: private}
on_prem:
  office: {cidrs: 192.168.0.0/16, vpn: main, hosts: {laptop: {addresses: 192.168.1.8}}}
internet:
  hosts:
    site: {addresses: [198.51.100.7, '2001:db8:ffff::7']}
    bucket: {addresses: 52.216.1.1}
load_balancers:
  web:
    type: network
    subnets: servers
    dualstack: true
    listeners:
      - {proto: tcp, port: 80, target_group: web}
      - {proto: udp, port: 10, target_group: six}
      - {proto: udp, port: 9, target_group: datagrams}
  firewalls: {type: gateway, subnets: servers, listeners: [{target_group: firewalls}]}
target_groups:
  web: {protocol: tcp, port: 80, targets: server}
  datagrams: {protocol: udp, port: 9, targets: server, health_check: {protocol: tcp, port: 80}}
  six: {protocol: udp, port: 9, targets: '2001:db8:4:1::10', health_check: {protocol: tcp, port: 80}}
  firewalls: {protocol: geneve, targets: fw}
endpoint_services:
  web: {load_balancers: web}
  firewalls: {load_balancers: firewalls}
endpoints:
  service: {service: web, subnets: main/services, address: 10.0.3.100, dualstack: true, groups: main/open}
  inspect: {service: firewalls, subnets: main/services, dualstack: true}
  s3: {type: gateway, service: s3, route_tables: main/app}
";

/// What becomes of a packet that is larger than a hop carries.
#[derive(Clone, Copy, PartialEq)]
enum Larger {
    /// Fragmented, or dropped with DF; the sender is told, by this address.
    Told(&'static str),
    /// Fragmented, or dropped with DF; nobody is told.
    Split,
    /// Dropped.
    Lost,
}

use Larger::{Lost, Split, Told};

/// A hop, and the way over it.
struct Hop {
    name: &'static str,
    from: &'static str,
    src: [&'static str; 2],
    to: &'static str,
    dst: [&'static str; 2],
    /// Bytes of IP packet that it carries.
    carries: usize,
    larger: Larger,
    /// The MSS that a SYN with one of 8961 has behind it.
    mss: u16,
}

/// A way without IPv6.
const fn v4(
    name: &'static str,
    [from, src]: [&'static str; 2],
    [to, dst]: [&'static str; 2],
    carries: usize,
    larger: Larger,
    mss: u16,
) -> Hop {
    Hop {
        name,
        from,
        src: [src, ""],
        to,
        dst: [dst, ""],
        carries,
        larger,
        mss,
    }
}

/// A way from `app` with both families.
const fn both(
    name: &'static str,
    to: &'static str,
    dst: [&'static str; 2],
    carries: usize,
    larger: Larger,
) -> Hop {
    Hop {
        name,
        from: "app",
        src: APP,
        to,
        dst,
        carries,
        larger,
        mss: WANTED_MSS,
    }
}

const APP: [&str; 2] = ["10.0.1.10", "2001:db8:1:1::10"];
const WANTED_MSS: u16 = 8961;
const ROUTER: Larger = Told("10.0.1.1");
const ROUTER_V6: &str = "fe80:ec2::1";

#[rustfmt::skip]
const MATRIX: [Hop; 17] = [
    both("same subnet", "twin", ["10.0.1.11", "2001:db8:1:1::11"], 9001, ROUTER),
    both("between subnets", "near", ["10.0.2.10", "2001:db8:1:2::10"], 9001, ROUTER),
    both("internet gateway, out", "site", ["198.51.100.7", "2001:db8:ffff::7"], 1500, ROUTER),
    // The internet has no one router: the far end speaks for it.
    Hop {
        from: "site", src: ["198.51.100.7", "2001:db8:ffff::7"],
        ..both("internet gateway, in", "app", ["203.0.113.10", APP[1]], 1500, Told("203.0.113.10"))
    },
    v4("NAT gateway", ["app", APP[0]], ["third", "10.3.1.10"], 8500, Told("10.0.4.5"), 8460),
    both("peering, one region", "peer", ["10.1.1.10", "2001:db8:2:1::10"], 9001, ROUTER),
    both("peering, two regions", "far", ["10.2.1.10", "2001:db8:3:1::10"], 8500, ROUTER),
    v4("VPN, out", ["app", APP[0]], ["laptop", "192.168.1.8"], 1446, Split, 1406),
    v4("VPN, in", ["laptop", "192.168.1.8"], ["app", APP[0]], 1446, Split, 1406),
    Hop { mss: 8460, ..both("interface endpoint", "server", ["10.0.3.100", "service"], 8500, Lost) },
    v4("interface endpoint, from a peer", ["peer", "10.1.1.10"], ["server", "10.0.3.100"], 8500, Lost, 8460),
    v4("interface endpoint, by VPN", ["laptop", "192.168.1.8"], ["server", "10.0.3.100"], 1446, Split, 1406),
    v4("load balancer", ["client", "10.4.1.30"], ["server", "10.4.1.4"], 9001, Told("10.4.1.1"), WANTED_MSS),
    both("GWLB endpoint", "guarded", ["10.0.5.10", "2001:db8:1:5::10"], 8500, Lost),
    // The service is an internet host, with its MTU, and says so itself.
    v4("gateway endpoint", ["app", APP[0]], ["bucket", "52.216.1.1"], 1500, Told("52.216.1.1"), WANTED_MSS),
    // Behind an endpoint and its balancer the client is told nothing either.
    v4("interface endpoint, back", ["server", "10.4.1.10"], ["app", "10.0.3.100"], 8500, Lost, 8460),
    v4("NAT gateway, back", ["third", "10.3.1.10"], ["app", "10.0.4.5"], 8500, Told("10.0.4.5"), 8460),
];

/// The lab, with a peer in another region and everything healthy.
fn hops() -> World {
    let mut w = World::new(HOPS);
    let there = Caller::new(DEFAULT_ACCOUNT, "eu-west-1");
    let main = w.vpc("main");
    let control = w.lab.control_mut();
    let block = Some(cidr("10.2.0.0/16"));
    let far = control.execute_as(
        &there,
        CreateVpc {
            cidr_block: block,
            ipv6_cidr_block: Ipv6Block::Given(cidr("2001:db8:3::/56")),
            ..CreateVpc::default()
        },
    );
    let far = far.unwrap();
    let subnet = CreateSubnet {
        vpc: far.vpc.clone(),
        cidr_block: Some(cidr("10.2.1.0/24")),
        ipv6_cidr_block: Some(cidr("2001:db8:3:1::/64")),
        ..CreateSubnet::default()
    };
    let subnet = control.execute_as(&there, subnet).unwrap();
    let allow = AuthorizeSecurityGroup {
        group: far.default_security_group.clone(),
        direction: Direction::Ingress,
        permissions: ["0.0.0.0/0", "::/0"]
            .map(|all| Permission::all(RulePeer::Cidr(cidr(all))))
            .into(),
    };
    control.execute_as(&there, allow).unwrap();
    let interface = CreateNetworkInterface {
        subnet,
        private_ip_address: Some("10.2.1.10".parse().unwrap()),
        ipv6_addresses: vec!["2001:db8:3:1::10".parse().unwrap()],
        ..CreateNetworkInterface::default()
    };
    let interface = control.execute_as(&there, interface).unwrap();
    let attach = AttachNetworkInterface {
        network_interface: interface,
        host: "far".into(),
        ..AttachNetworkInterface::default()
    };
    control.execute_as(&there, attach).unwrap();
    let ask = CreateVpcPeeringConnection {
        vpc: main,
        peer_vpc: far.vpc,
        peer_owner: None,
        peer_region: Some("eu-west-1".into()),
        name: None,
    };
    let peering = control.execute(ask).unwrap();
    let accept = AcceptVpcPeeringConnection {
        peering: peering.clone(),
    };
    control.execute_as(&there, accept).unwrap();
    let route_table = w.table("main/app");
    for block in ["10.2.0.0/16", "2001:db8:3::/56"] {
        w.apply(CreateRoute {
            route_table: route_table.clone(),
            destination: Destination::Cidr(cidr(block)),
            target: RouteTargetSpec::VpcPeeringConnection(peering.clone()),
        });
    }
    w.host("server").tcp_listen(80).echo();
    w.host("fw").run_appliance(Appliance::new(), Some(80));
    w.healthy();
    w.mute(&[
        "app", "twin", "near", "guarded", "peer", "third", "server", "far", "laptop", "site",
        "bucket", "client",
    ]);
    w
}

/// A way through the matrix's lab, with ports of its own for each packet.
struct Way<'a> {
    w: &'a mut World,
    hop: &'a Hop,
    port: u16,
}

impl Way<'_> {
    /// A packet of this many bytes, and what is then seen.
    fn packet(&mut self, v6: usize, protocol: u8) -> Packet {
        self.port += 1;
        let port = self.port;
        let end = |address: &str, port: u16| match v6 {
            0 => format!("{address}:{port}"),
            _ => format!("[{address}]:{port}"),
        };
        let (mut src, mut dst) = (self.hop.src[v6], end(self.hop.dst[v6], 9));
        if self.hop.dst[v6] == "service" {
            dst = end(&self.endpoint_v6(), 10);
        }
        let mut from = port;
        if protocol == protocol::TCP {
            dst = end(self.hop.dst[v6], 80);
        }
        if self.hop.name.ends_with("back") {
            // An answer to what was sent by the way there.
            let there = match self.hop.from {
                "server" => "10.0.3.100",
                _ => "10.3.1.10",
            };
            let asked = if protocol == protocol::TCP { 80 } else { 9 };
            let to = end(there, asked);
            let question = match protocol {
                protocol::TCP => Packet::syn(end(APP[0], port), to),
                _ => Packet::udp(end(APP[0], port), to),
            };
            self.w.take(self.hop.from);
            self.w.send("app", &question);
            let seen = self.w.take(self.hop.from);
            let seen = seen.first().expect("the question arrives");
            dst = seen.from();
            from = seen.headers.tuple.dport;
            src = self.hop.src[0];
        }
        let src = end(src, from);
        match protocol {
            protocol::TCP => Packet::ack(src, dst),
            protocol::ICMP => Packet::ping(src, self.hop.dst[v6]),
            _ => Packet::udp(src, dst),
        }
    }

    /// The IPv6 address that the endpoint was given.
    fn endpoint_v6(&self) -> String {
        let model = self.w.control().model();
        let endpoint = model.get(&self.w.vpce("service")).unwrap();
        let interface = model.get(&endpoint.interfaces[0].interface).unwrap();
        interface.ipv6_addresses[0].to_string()
    }

    /// Datagrams, except where only TCP and echo pass.
    fn datagram(&mut self, v6: usize) -> Packet {
        match self.hop.name {
            "gateway endpoint" => self.packet(v6, protocol::ICMP),
            _ => self.packet(v6, protocol::UDP),
        }
    }

    fn send(&mut self, packet: &Packet) -> String {
        let host = self.w.host(self.hop.from);
        let bytes = packet.frame(host.mac(), self.w.router_mac(self.hop.from));
        let len = payload_len(&bytes);
        self.observe(
            Frame::from_bytes(self.w.lab.eni(self.hop.from), &bytes),
            len,
        )
    }

    /// Sends a frame; what came of it.
    fn observe(&mut self, frame: Frame, payload: usize) -> String {
        let (from, to) = (self.hop.from, self.hop.to);
        self.w.take(from);
        self.w.take(to);
        self.w.host(from).send_frame(frame);
        self.w.settle();
        let icmp = |seen: &&Seen| seen.headers.is_icmp_error() || is_too_big_v6(seen);
        if let Some(told) = self.w.take(from).iter().find(icmp) {
            let at = usize::from(told.headers.l4);
            let mtu = u32::from_be_bytes(told.bytes[at + 4..at + 8].try_into().unwrap());
            return format!("ICMP {mtu} from {}", told.headers.tuple.src);
        }
        let got = self.w.take(to);
        let pieces = got
            .iter()
            .filter(|seen| seen.headers.fragment != Fragment::Whole);
        let (pieces, bytes) = (
            pieces.count(),
            got.iter().map(|seen| payload_len(&seen.bytes)),
        );
        let bytes: usize = bytes.sum();
        match (got.len(), pieces) {
            (0, _) => "lost".to_owned(),
            (_, 0) if bytes == payload => "passes".to_owned(),
            (_, 1..) if bytes == payload => "fragments".to_owned(),
            _ => format!("{} packets with {bytes} of {payload} bytes", got.len()),
        }
    }

    /// A TCP packet of `size` bytes, and as many of them in one super-packet.
    fn super_packet(&mut self, size: usize) -> String {
        let packet = self.packet(0, protocol::TCP);
        let host = self.w.host(self.hop.from);
        let router = self.w.router_mac(self.hop.from);
        let syn = packet
            .clone()
            .flags(vpclab_dataplane::packet::tcp_flag::SYN);
        if !self.hop.name.ends_with("back") {
            self.w.send(self.hop.from, &syn);
        }
        let segment = size - 40;
        let count = (60_000 / size).min(3);
        let bytes = packet
            .ip_len(40 + count * segment)
            .frame(host.mac(), router);
        let len = payload_len(&bytes);
        let mut frame = Frame::from_bytes(self.w.lab.eni(self.hop.from), &bytes);
        frame.offload = Offload {
            checksum: Checksum::Verified,
            segmentation: Segmentation::Tcp(segment as u16),
        };
        self.observe(frame, len)
    }

    /// The MSS that the receiver of a SYN sees.
    fn mss(&mut self) -> String {
        let packet = self.packet(0, protocol::TCP);
        let flags = match self.hop.name.ends_with("back") {
            true => {
                vpclab_dataplane::packet::tcp_flag::SYN | vpclab_dataplane::packet::tcp_flag::ACK
            }
            false => vpclab_dataplane::packet::tcp_flag::SYN,
        };
        self.w.take(self.hop.to);
        self.w
            .send(self.hop.from, &packet.flags(flags).mss(WANTED_MSS));
        let got = self.w.take(self.hop.to);
        let syn = got
            .iter()
            .find(|seen| seen.has(vpclab_dataplane::packet::tcp_flag::SYN));
        syn.map_or("lost".to_owned(), |syn| {
            let at = usize::from(syn.headers.l4) + 22;
            u16::from_be_bytes(syn.bytes[at..at + 2].try_into().unwrap()).to_string()
        })
    }
}

/// "Packet too big" of ICMPv6.
fn is_too_big_v6(seen: &Seen) -> bool {
    seen.headers.tuple.protocol == protocol::ICMPV6 && seen.headers.icmp_type == 2
}

/// Bytes behind the transport header; of a later fragment, behind the IP header.
fn payload_len(frame: &[u8]) -> usize {
    let headers = vpclab_dataplane::packet::parse_ip(frame, 14).unwrap();
    let ip = usize::from(headers.l4 - headers.l3);
    let transport = match (headers.fragment, headers.tuple.protocol) {
        (Fragment::Later, _) => 0,
        (_, protocol::TCP) => 20,
        _ => 8,
    };
    headers.ip_len as usize - ip - transport
}

/// Every hop × {fits, too large with DF, without DF, IPv6, super-packet} gives what
/// AWS documents, with one table as the answer.
#[test]
fn mtu_matrix_of_every_hop() {
    let mut w = hops();
    let mut table = String::new();
    let mut wrong = String::new();
    for (row, hop) in MATRIX.iter().enumerate() {
        let mut way = Way {
            w: &mut w,
            hop,
            port: 2000 + 100 * row as u16,
        };
        let (most, more) = (hop.carries, hop.carries + 1);
        let mut cells = vec![];
        for size in [most, more] {
            let packet = way.datagram(0).ip_len(size);
            cells.push(way.send(&packet));
        }
        let packet = way.datagram(0).ip_len(more).may_fragment();
        cells.push(way.send(&packet));
        for size in [most, more] {
            cells.push(match hop.src[1] {
                "" => "–".to_owned(),
                _ => {
                    let packet = way.packet(1, protocol::UDP).ip_len(size);
                    way.send(&packet)
                }
            });
        }
        cells.push(way.super_packet(most));
        cells.push(way.super_packet(more));
        cells.push(way.mss());
        let told = |by: &str| format!("ICMP {most} from {by}");
        let larger = match hop.larger {
            Told(by) => told(by),
            Split | Lost => "lost".to_owned(),
        };
        let cut = if hop.larger == Lost {
            "lost"
        } else {
            "fragments"
        };
        let [six, larger_six] = match (hop.src[1], hop.larger) {
            ("", _) => ["–".to_owned(), "–".to_owned()],
            (_, Told(_)) => ["passes".to_owned(), told(ROUTER_V6)],
            _ => ["passes".to_owned(), "lost".to_owned()],
        };
        let expected = [
            "passes".to_owned(),
            larger.clone(),
            cut.to_owned(),
            six,
            larger_six,
            "passes".to_owned(),
            larger,
            hop.mss.to_string(),
        ];
        writeln!(table, "| {} | {most} | {} |", hop.name, cells.join(" | ")).unwrap();
        if cells != expected {
            writeln!(wrong, "{} must be | {}", hop.name, expected.join(" | ")).unwrap();
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "\n{table}\n{wrong}");
    let document = include_str!("../../docs/mtu.md");
    assert!(document.contains(&table), "docs/mtu.md must have\n{table}");
}

/// What a host asks of the services on its link crosses no hop: it fits if it fits
/// the link, in one piece.
#[test]
fn mtu_of_the_resolver_is_the_links() {
    let mut w = hops();
    let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x0cip-10-0-2-10\x03ec2\x08internal\0\0\x01\0\x01";
    let ask = Packet::udp("10.0.1.10:4000", "10.0.0.2:53").payload(query);
    w.take("app");
    w.send("app", &ask);
    w.run_for(seconds(1));
    assert_eq!(w.take("app")[0].from(), "10.0.0.2:53");
    let (host, router) = (w.host("app"), w.router_mac("app"));
    for piece in ask.fragments(host.mac(), router, 52) {
        host.send_raw(&piece);
    }
    w.run_for(seconds(1));
    assert!(w.take("app").is_empty(), "a service takes no fragments");
}
