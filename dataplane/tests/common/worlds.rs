//! Worlds that several test files use.

use super::*;

/// `vpce-0a1b2c3d4e5f60718`, the endpoint of the worked GENEVE packets.
pub const VPCE: u64 = 0xa1b2_c3d4_e5f6_0718;

pub fn any(prefix: &str) -> Peer {
    Peer::Cidr(prefix.parse().unwrap())
}

/// A group's rules that let everything of both families pass.
pub fn everything() -> Vec<SecurityGroupRule> {
    ["0.0.0.0/0", "::/0"]
        .map(|cidr| rule(None, PortMatch::Any, any(cidr)))
        .to_vec()
}

pub fn target(address: &str, port: u16, health: TargetHealth) -> Target {
    Target {
        address: ip(address),
        port,
        az: Some(AzId(0)),
        health,
        failures: 0,
    }
}

pub fn target_group(vpc: u32, targets: Vec<Target>) -> TargetGroupRow {
    TargetGroupRow {
        label: label("tg"),
        vpc: VpcId(vpc),
        targets,
        stickiness: Stickiness::FiveTuple,
        failover: Failover::NoRebalance,
        reset_on_unhealthy: false,
        reset_on_deregistration: false,
        reset_on_idle: false,
        proxy_protocol: false,
        preserve_client_ip: false,
    }
}

/// A load balancer with one node, whose only listener leads to target group 0.
pub fn load_balancer(
    kind: LoadBalancerKind,
    vpc: u32,
    node: u32,
    listener: (u8, u16),
) -> LoadBalancerRow {
    LoadBalancerRow {
        label: label("lb"),
        kind,
        vpc: VpcId(vpc),
        nodes: vec![LoadBalancerNode {
            az: AzId(0),
            eni: EniId(node),
        }],
        listeners: vec![Listener {
            protocol: listener.0,
            port: listener.1,
            target_group: Some(TargetGroupId(0)),
            tcp_idle: Duration::from_secs(350),
        }],
        cross_zone: false,
        enforce_privatelink_groups: kind == LoadBalancerKind::Network,
    }
}

pub fn endpoint(vpc: u32, kind: EndpointKind) -> EndpointRow {
    EndpointRow {
        label: label("vpce-0a1b2c3d4e5f60718"),
        vpce: VPCE,
        vpc: VpcId(vpc),
        available: true,
        kind,
    }
}

/// One VPC, two subnets, hosts 1 (10.0.1.10) and 2 (10.0.2.10); groups let
/// everything within the VPC pass, tracked.
pub fn east_west() -> World {
    let mut w = World::new();
    w.vpc(1, &["10.0.0.0/16"], false, None);
    w.table(1, &[("10.0.0.0/16", RouteTarget::Local)]);
    w.subnet(1, 1, &["10.0.1.0/24"], 1);
    w.subnet(2, 1, &["10.0.2.0/24"], 1);
    let all = || vec![rule(None, PortMatch::Any, any("10.0.0.0/16"))];
    w.group(1, all(), all());
    w.eni(1, 1, &["10.0.1.10"], &[1], EniKind::Host);
    w.eni(2, 2, &["10.0.2.10"], &[1], EniKind::Host);
    w
}

/// Consumer VPC 1 and provider VPC 2, both 10.0.0.0/16. ENI 1 client
/// (10.0.1.10), 2 endpoint (10.0.2.20), 3 node (10.0.1.30), 4 server
/// (10.0.2.40:8443); the service is TCP 443.
pub fn privatelink() -> World {
    let mut w = World::new();
    for vpc in [1, 2] {
        w.vpc(vpc, &["10.0.0.0/16"], false, None);
        w.table(vpc, &[("10.0.0.0/16", RouteTarget::Local)]);
        w.subnet(vpc * 10, vpc, &["10.0.1.0/24"], vpc);
        w.subnet(vpc * 10 + 1, vpc, &["10.0.2.0/24"], vpc);
    }
    w.group(1, everything(), everything());
    let node = EniKind::LoadBalancer(LoadBalancerId(0));
    w.eni(1, 10, &["10.0.1.10"], &[1], EniKind::Host);
    w.eni(
        2,
        11,
        &["10.0.2.20"],
        &[1],
        EniKind::Endpoint(EndpointId(0)),
    );
    w.eni(3, 20, &["10.0.1.30"], &[], node);
    w.eni(4, 21, &["10.0.2.40"], &[1], EniKind::Host);
    w.edit(|b| {
        let targets = vec![target("10.0.2.40", 8443, TargetHealth::Healthy)];
        b.set_target_group(TargetGroupId(0), Some(target_group(2, targets)));
        let balancer = load_balancer(LoadBalancerKind::Network, 2, 3, (6, 443));
        b.set_load_balancer(LoadBalancerId(0), Some(balancer));
        let kind = EndpointKind::Interface {
            load_balancers: vec![LoadBalancerId(0)],
            enis: vec![EniId(2)],
        };
        b.set_endpoint(EndpointId(0), Some(endpoint(1, kind)));
    });
    w
}

/// Client and endpoint of [`privatelink_of`], by family.
pub const CLIENT: [&str; 2] = ["10.0.1.10", "[fd00:0:0:1::10]"];
pub const SERVICE: [&str; 2] = ["10.0.2.20", "[fd00:0:0:2::20]"];

/// [`privatelink`] in one family (0: IPv4, 1: IPv6), with a service on UDP 53 too.
pub fn privatelink_of(family: usize) -> World {
    privatelink_with(family, |_| {})
}

/// The same, of whose target group something else is said too.
pub fn privatelink_with(family: usize, say: impl FnOnce(&mut TargetGroupRow)) -> World {
    let mut w = privatelink();
    for (vpc, first) in [(1, "fd00:0"), (2, "fd01:7")] {
        let block = format!("{first}::/48");
        let blocks = ["10.0.0.0/16", &block];
        w.vpc(vpc, &blocks, false, None);
        w.table(vpc, &blocks.map(|block| (block, RouteTarget::Local)));
        let of = |n: u32| [format!("10.0.{n}.0/24"), format!("{first}:0:{n}::/64")];
        for n in [0, 1] {
            let blocks = of(n + 1);
            w.subnet(vpc * 10 + n, vpc, &[&blocks[0], &blocks[1]], vpc);
        }
    }
    for (eni, address) in [
        (1, "fd00:0:0:1::10"),
        (2, "fd00:0:0:2::20"),
        (3, "fd01:7:0:1:5:6:7:30"),
        (4, "fd01:7:0:2:5:6:7:40"),
    ] {
        w.eni_edit(eni, |row| row.addresses.push(ip(address)));
    }
    w.edit(|b| {
        let address = ["10.0.2.40", "fd01:7:0:2:5:6:7:40"][family];
        let targets = vec![target(address, 8443, TargetHealth::Healthy)];
        let mut group = target_group(2, targets);
        say(&mut group);
        b.set_target_group(TargetGroupId(0), Some(group));
        let mut balancer = load_balancer(LoadBalancerKind::Network, 2, 3, (6, 443));
        let dns = Listener {
            protocol: protocol::UDP,
            port: 53,
            ..balancer.listeners[0]
        };
        balancer.listeners.push(dns);
        b.set_load_balancer(LoadBalancerId(0), Some(balancer));
        let kind = EndpointKind::Interface {
            load_balancers: vec![LoadBalancerId(0)],
            enis: vec![EniId(2)],
        };
        b.set_endpoint(EndpointId(0), Some(endpoint(1, kind)));
    });
    w
}

/// The provider's side of [`privatelink`], and ENI 5 (10.0.1.11), a client there that
/// calls the node itself; whether its address is kept.
pub fn direct(kept: bool) -> World {
    let mut w = privatelink();
    w.eni(5, 20, &["10.0.1.11"], &[1], EniKind::Host);
    w.edit(|b| {
        let targets = vec![target("10.0.2.40", 8443, TargetHealth::Healthy)];
        let row = TargetGroupRow {
            preserve_client_ip: kept,
            ..target_group(2, targets)
        };
        b.set_target_group(TargetGroupId(0), Some(row));
    });
    w
}

/// The world of the worked GENEVE packets. App VPC 1 (10.0/16) with an IGW and
/// an edge table, appliance VPC 2 (10.100/16). ENI 1 app (10.0.1.10, EIP
/// 198.51.100.1, 2001:db8:1:1::10), 2 endpoint, 3 node (10.100.0.10),
/// 4 appliance (10.100.0.20), 5 internet host (203.0.113.80, 2001:db8:f::53).
pub fn worked() -> World {
    let mut w = World::new();
    let gwlbe = || RouteTarget::GatewayEndpoint(EndpointId(0));
    let local = [
        ("10.0.0.0/16", RouteTarget::Local),
        ("2001:db8:1::/48", RouteTarget::Local),
    ];
    let with = |more: [(&'static str, RouteTarget); 2]| [local.clone(), more].concat();
    let everywhere = |target: RouteTarget| [("0.0.0.0/0", target.clone()), ("::/0", target)];
    w.vpc(0, &[], false, None);
    w.table(0, &[]);
    w.subnet(1, 0, &["0.0.0.0/0", "::/0"], 0);
    w.vpc(1, &["10.0.0.0/16", "2001:db8:1::/48"], true, Some(12));
    w.vpc(2, &["10.100.0.0/16"], false, None);
    w.table(10, &with(everywhere(gwlbe())));
    w.table(11, &with(everywhere(RouteTarget::InternetGateway)));
    let edge = [("10.0.1.0/24", gwlbe()), ("2001:db8:1:1::/64", gwlbe())];
    w.table(12, &with(edge));
    w.table(20, &[("10.100.0.0/16", RouteTarget::Local)]);
    w.subnet(10, 1, &["10.0.1.0/24", "2001:db8:1:1::/64"], 10);
    w.subnet(11, 1, &["10.0.2.0/24", "2001:db8:1:2::/64"], 11);
    w.subnet(20, 2, &["10.100.0.0/24"], 20);
    w.group(1, everything(), everything());
    let app = ["10.0.1.10", "2001:db8:1:1::10"];
    w.eni(1, 10, &app, &[1], EniKind::Host);
    w.eni_edit(1, |eni| {
        eni.public = vec![PublicAddress {
            private: ip("10.0.1.10"),
            public: ip("198.51.100.1"),
        }];
    });
    let gateway = EniKind::GatewayEndpoint(EndpointId(0));
    w.eni(2, 11, &["10.0.2.20"], &[], gateway);
    let node = EniKind::LoadBalancer(LoadBalancerId(0));
    w.eni(3, 20, &["10.100.0.10"], &[], node);
    w.eni(4, 20, &["10.100.0.20"], &[1], EniKind::Host);
    let internet = ["203.0.113.80", "2001:db8:f::53"];
    w.eni(5, 1, &internet, &[], EniKind::Host);
    w.edit(|b| {
        let targets = vec![target("10.100.0.20", 6081, TargetHealth::Healthy)];
        b.set_target_group(TargetGroupId(0), Some(target_group(2, targets)));
        let balancer = load_balancer(LoadBalancerKind::Gateway, 2, 3, (0, 0));
        b.set_load_balancer(LoadBalancerId(0), Some(balancer));
        let kind = EndpointKind::GatewayLoadBalancer {
            load_balancers: vec![LoadBalancerId(0)],
            eni: EniId(2),
        };
        b.set_endpoint(EndpointId(0), Some(endpoint(1, kind)));
    });
    w
}

/// [`worked`] with a second endpoint, ENI 6 (10.0.3.20), which packets to the internet pass
/// behind the first; the same appliance is behind both.
pub fn inspected_twice() -> World {
    let mut w = worked();
    let second = RouteTarget::GatewayEndpoint(EndpointId(1));
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(11, &[local.clone(), ("0.0.0.0/0", second)]);
    w.table(13, &[local, ("0.0.0.0/0", RouteTarget::InternetGateway)]);
    w.subnet(12, 1, &["10.0.3.0/24"], 13);
    let gateway = EniKind::GatewayEndpoint(EndpointId(1));
    w.eni(6, 12, &["10.0.3.20"], &[], gateway);
    w.edit(|b| {
        let kind = EndpointKind::GatewayLoadBalancer {
            load_balancers: vec![LoadBalancerId(0)],
            eni: EniId(6),
        };
        b.set_endpoint(EndpointId(1), Some(endpoint(1, kind)));
    });
    w
}

/// Hosts 1 and 2 (10.0.1.10, 10.0.1.11) behind NAT gateway 3 (10.0.0.5, public
/// 203.0.113.5) in subnet 2; internet host 4 (198.51.100.7), and 5 (10.0.2.20) in
/// a subnet of the VPC with a public address, 203.0.113.20.
pub fn nat_gateway() -> World {
    let mut w = World::new();
    w.pipeline = Pipeline::new(Config {
        connections: 1 << 17,
        fragments: 16,
        seed: 7,
        ..Config::default()
    });
    w.vpc(0, &[], false, None);
    w.vpc(1, &["10.0.0.0/16"], true, None);
    let local = ("10.0.0.0/16", RouteTarget::Local);
    w.table(
        1,
        &[local.clone(), ("0.0.0.0/0", RouteTarget::Eni(EniId(3)))],
    );
    w.table(2, &[local, ("0.0.0.0/0", RouteTarget::InternetGateway)]);
    w.subnet(1, 1, &["10.0.1.0/24"], 1);
    w.subnet(2, 1, &["10.0.0.0/24"], 2);
    w.subnet(3, 1, &["10.0.2.0/24"], 2);
    w.subnet(9, 0, &["0.0.0.0/0"], 9);
    w.group(1, vec![], everything());
    w.group(2, everything(), everything());
    w.eni(1, 1, &["10.0.1.10"], &[1], EniKind::Host);
    w.eni(2, 1, &["10.0.1.11"], &[1], EniKind::Host);
    w.eni(
        3,
        2,
        &["10.0.0.5"],
        &[],
        EniKind::NatGateway(NatGatewayId(0)),
    );
    w.eni(4, 9, &["198.51.100.7", "198.51.100.8"], &[], EniKind::Host);
    w.eni(5, 3, &["10.0.2.20"], &[2], EniKind::Host);
    for (eni, private, public) in [
        (3, "10.0.0.5", "203.0.113.5"),
        (5, "10.0.2.20", "203.0.113.20"),
    ] {
        let (private, public) = (ip(private), ip(public));
        w.eni_edit(eni, |row| {
            row.public.push(PublicAddress { private, public })
        });
    }
    w.edit(|b| {
        let row = NatGatewayRow {
            label: label("nat-0a1b2c3d4e5f60718"),
            eni: EniId(3),
        };
        b.set_nat_gateway(NatGatewayId(0), Some(row));
    });
    w
}

/// The frame with another TTL.
pub fn with_ttl(mut frame: Frame, ttl: u8) -> Frame {
    let bytes = frame.bytes_mut();
    bytes[22] = ttl;
    checksum::fill_ipv4_header(&mut bytes[14..34]);
    frame
}

/// Changes the settings of a world.
pub fn settings(w: &mut World, change: impl FnOnce(&mut Settings)) {
    let mut settings = w.tables.settings;
    change(&mut settings);
    w.edit(|b| b.set_settings(settings));
}

/// The frame with these TCP numbers.
pub fn numbered(mut frame: Frame, seq: u32, ack: u32) -> Frame {
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
    let l4 = usize::from(headers.l4);
    let bytes = frame.bytes_mut();
    bytes[l4 + 4..l4 + 8].copy_from_slice(&seq.to_be_bytes());
    bytes[l4 + 8..l4 + 12].copy_from_slice(&ack.to_be_bytes());
    checksum::fill_transport(frame.bytes_mut(), &headers);
    frame
}

/// What an appliance does: outer addresses and MACs swapped, the rest as it came.
pub fn bounce(mut frame: Frame) -> Frame {
    let bytes = frame.bytes_mut();
    for at in 0..6 {
        bytes.swap(at, at + 6);
    }
    for at in 26..30 {
        bytes.swap(at, at + 4);
    }
    frame
}

/// The only frame of a journey, which left by `port`.
pub fn only(mut out: Vec<(EniId, Frame)>, port: u32) -> Frame {
    assert_eq!(out.len(), 1, "one frame expected");
    let (at, frame) = out.remove(0);
    assert_eq!(at, EniId(port));
    frame
}
