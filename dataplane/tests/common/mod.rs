//! A small world made of table rows, and frames to send through it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

pub mod change;
pub mod hostile;
pub mod journey;
pub mod random;
pub mod tape;
pub mod worlds;

use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::*;
use vpclab_dataplane::pipeline::{Config, Pipeline, Sink};
use vpclab_dataplane::tables::*;
use vpclab_dataplane::time::{Duration, Instant};

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn label(text: &str) -> Arc<str> {
    Arc::from(text)
}

pub fn allow_all() -> NetworkAclRow {
    let rule = |cidr| NetworkAclRule {
        number: 100,
        allow: true,
        protocol: None,
        ports: PortMatch::Any,
        cidr,
    };
    let rules = vec![rule(Prefix::ANY_V4), rule(Prefix::ANY_V6)];
    NetworkAclRow {
        label: label("acl"),
        ingress: rules.clone(),
        egress: rules,
    }
}

pub fn rule(protocol: Option<u8>, ports: PortMatch, peer: Peer) -> SecurityGroupRule {
    SecurityGroupRule {
        label: label("sgr"),
        protocol,
        ports,
        peer,
    }
}

/// Everything a frame's journey left behind.
#[derive(Default)]
pub struct Seen {
    pub out: Vec<(EniId, Frame)>,
    pub local: Vec<(EniId, Frame)>,
    pub drops: Vec<(EniId, DropReason)>,
}

impl Sink for Seen {
    fn transmit(&mut self, port: EniId, frame: Frame) {
        self.out.push((port, frame));
    }
    fn local(&mut self, eni: EniId, frame: Frame) {
        self.local.push((eni, frame));
    }
    fn dropped(&mut self, port: EniId, reason: DropReason, _bytes: &[u8]) {
        self.drops.push((port, reason));
    }
}

pub struct World {
    pub tables: Snapshot,
    pub pipeline: Pipeline,
    pub now: Instant,
}

impl World {
    pub fn new() -> Self {
        Self {
            tables: Builder::new(Settings::default()).finish(),
            pipeline: Pipeline::new(Config {
                connections: 1024,
                gwlb_flows: 256,
                fragments: 16,
                seed: 7,
                ..Config::default()
            }),
            now: Instant::from_secs(1),
        }
    }

    pub fn edit(&mut self, change: impl FnOnce(&mut Builder)) {
        let mut builder = Builder::from(&self.tables);
        change(&mut builder);
        self.tables = builder.finish();
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    pub fn vpc(&mut self, id: u32, cidrs: &[&str], igw: bool, edge: Option<u32>) {
        let row = VpcRow {
            label: label(&format!("vpc-{id}")),
            cidrs: cidrs.iter().map(|c| c.parse().unwrap()).collect(),
            igw: igw.then(|| IgwRow {
                label: label("igw"),
                edge_table: edge.map(RouteTableId),
            }),
            vgw: None,
            on_prem: None,
            internet: id == 0,
            dns_support: true,
        };
        self.edit(|b| {
            b.set_vpc(VpcId(id), Some(row));
            b.set_network_acl(NetworkAclId(id), Some(allow_all()));
        });
    }

    pub fn table(&mut self, id: u32, routes: &[(&str, RouteTarget)]) {
        let routes = routes
            .iter()
            .map(|(prefix, target)| Route {
                prefix: prefix.parse().unwrap(),
                target: target.clone(),
                origin: if *target == RouteTarget::Local {
                    RouteOrigin::Local
                } else {
                    RouteOrigin::Static
                },
                label: label("route"),
            })
            .collect();
        let row = RouteTableRow {
            label: label(&format!("rtb-{id}")),
            routes,
        };
        self.edit(|b| b.set_route_table(RouteTableId(id), Some(row)));
    }

    pub fn subnet(&mut self, id: u32, vpc: u32, cidrs: &[&str], table: u32) {
        let row = SubnetRow {
            label: label(&format!("subnet-{id}")),
            vpc: VpcId(vpc),
            cidrs: cidrs.iter().map(|c| c.parse().unwrap()).collect(),
            router_mac: Mac([0x0a, 0, 0, 0, 0, id as u8]),
            route_table: RouteTableId(table),
            network_acl: NetworkAclId(vpc),
            az: AzId(0),
            down: false,
        };
        self.edit(|b| b.set_subnet(SubnetId(id), Some(row)));
    }

    pub fn group(
        &mut self,
        id: u32,
        ingress: Vec<SecurityGroupRule>,
        egress: Vec<SecurityGroupRule>,
    ) {
        let row = SecurityGroupRow {
            label: label(&format!("sg-{id}")),
            ingress,
            egress,
        };
        self.edit(|b| b.set_security_group(SecurityGroupId(id), Some(row)));
    }

    pub fn eni(&mut self, id: u32, subnet: u32, addresses: &[&str], groups: &[u32], kind: EniKind) {
        let vpc = self.tables.subnets.row(SubnetId(subnet)).unwrap().vpc;
        let row = EniRow {
            label: label(&format!("eni-{id}")),
            vpc,
            subnet: SubnetId(subnet),
            mac: Mac([2, 0, 0, 0, 0, id as u8]),
            addresses: addresses.iter().map(|a| ip(a)).collect(),
            prefixes: vec![],
            public: vec![],
            groups: groups.iter().map(|&g| SecurityGroupId(g)).collect(),
            source_dest_check: true,
            kind,
            attached: true,
            deny_all_igw_traffic: false,
            mtu: if vpc.0 == 0 { 1500 } else { 9001 },
            timeouts: TrackingTimeouts::default(),
        };
        self.edit(|b| b.set_eni(EniId(id), Some(row)));
    }

    pub fn eni_edit(&mut self, id: u32, change: impl FnOnce(&mut EniRow)) {
        let mut row = self.tables.enis.row(EniId(id)).unwrap().clone();
        change(&mut row);
        self.edit(|b| b.set_eni(EniId(id), Some(row)));
    }

    /// Sends a frame in by the port of `from`.
    pub fn send(&mut self, from: u32, mut frame: Frame) -> Seen {
        frame.port = EniId(from);
        self.send_all(vec![frame])
    }

    /// Sends frames in a batch, each from its port.
    pub fn send_all(&mut self, mut frames: Vec<Frame>) -> Seen {
        let mut seen = Seen::default();
        self.pipeline
            .process(self.now, &self.tables, &mut frames, &mut seen);
        let (left, right) = self.pipeline.counters().balance();
        assert_eq!(left, right, "frames in and out must balance");
        seen
    }

    /// A frame from ENI `from` to its router.
    pub fn frame(&self, from: u32, tuple: &FiveTuple, flags: u8, payload: &[u8]) -> Frame {
        let eni = self.tables.enis.row(EniId(from)).unwrap();
        let router = self.tables.subnets.row(eni.subnet).unwrap().router_mac;
        build(eni.mac, router, tuple, flags, payload)
    }

    /// Sends a TCP packet.
    pub fn tcp(&mut self, from: u32, src: &str, dst: &str, flags: u8) -> Seen {
        let frame = self.frame(from, &tcp(src, dst), flags, b"");
        self.send(from, frame)
    }
}

pub fn tcp(src: &str, dst: &str) -> FiveTuple {
    tuple(protocol::TCP, src, dst)
}

pub fn tuple(protocol: u8, src: &str, dst: &str) -> FiveTuple {
    let (src, dst): (std::net::SocketAddr, std::net::SocketAddr) =
        (src.parse().unwrap(), dst.parse().unwrap());
    FiveTuple {
        src: src.ip(),
        dst: dst.ip(),
        protocol,
        sport: src.port(),
        dport: dst.port(),
    }
}

/// A whole frame with valid checksums.
pub fn build(src_mac: Mac, dst_mac: Mac, tuple: &FiveTuple, flags: u8, payload: &[u8]) -> Frame {
    let mut frame = Frame::with_capacity(128 + payload.len());
    let ends = Endpoints {
        src_mac,
        dst_mac,
        src: tuple.src,
        dst: tuple.dst,
    };
    let header: Vec<u8> = match tuple.protocol {
        protocol::TCP => {
            let mut h = vec![0; 20];
            h[..2].copy_from_slice(&tuple.sport.to_be_bytes());
            h[2..4].copy_from_slice(&tuple.dport.to_be_bytes());
            h[7] = 9;
            h[12] = 0x50;
            h[13] = flags;
            h
        }
        protocol::UDP => {
            let mut h = vec![0; 8];
            h[..2].copy_from_slice(&tuple.sport.to_be_bytes());
            h[2..4].copy_from_slice(&tuple.dport.to_be_bytes());
            h[4..6].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
            h[7] = 1;
            h
        }
        protocol::ICMP => vec![
            8,
            0,
            0,
            0,
            (tuple.sport >> 8) as u8,
            tuple.sport as u8,
            0,
            1,
        ],
        _ => vec![],
    };
    put_ip(
        &mut frame,
        &ends,
        tuple.protocol,
        64,
        header.len() + payload.len(),
    );
    frame.extend(&header);
    frame.extend(payload);
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
    checksum::fill_transport(frame.bytes_mut(), &headers);
    frame
}

/// The headers of a frame, its checksums proved.
pub fn read(frame: &Frame) -> Headers {
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
    assert!(
        checksum::verify_transport(frame.bytes(), &headers),
        "transport checksum"
    );
    headers
}
