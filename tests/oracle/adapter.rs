//! The one place where the neutral world becomes the data plane's rows, and
//! where frames go through the data plane.

use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::addr as a;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::pipeline::{Config, Pipeline, Sink};
use vpclab_dataplane::tables as t;
use vpclab_dataplane::time::{Duration, Instant};

use crate::world as w;

/// What a frame led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Port and bytes of each frame that left.
    pub out: Vec<(w::Id, Vec<u8>)>,
    /// Frames for a node's own stack.
    pub local: Vec<(w::Id, Vec<u8>)>,
    /// Names of the reasons of drops.
    pub drops: Vec<&'static str>,
}

/// What each frame of a batch led to: one follows the other, as they entered.
#[derive(Default)]
struct Batch(Vec<Observed>);

impl Batch {
    fn now(&mut self) -> &mut Observed {
        self.0.last_mut().expect("a frame has entered")
    }
}

impl Sink for Batch {
    const WATCHES: bool = true;

    fn transmit(&mut self, port: a::EniId, frame: Frame) {
        self.now().out.push((port.0, frame.bytes().to_vec()));
    }
    fn local(&mut self, eni: a::EniId, frame: Frame) {
        self.now().local.push((eni.0, frame.bytes().to_vec()));
    }
    fn dropped(&mut self, _: a::EniId, reason: DropReason, _: &[u8]) {
        self.now().drops.push(reason.name());
    }
    fn received(&mut self, _: a::EniId, _: &[u8]) {
        self.0.push(Observed::default());
    }
}

/// The sets of instructions of this machine, the least first.
pub fn levels() -> Vec<t::Level> {
    t::Level::available().collect()
}

/// What the data plane chooses when it runs is no more than this from now on.
pub fn limit_to(level: t::Level) {
    level.limit();
}

/// The data plane under test.
pub struct Subject {
    tables: t::Snapshot,
    pipeline: Pipeline,
    batch: Vec<Frame>,
}

impl Subject {
    pub fn new(rows: Vec<w::Change>, seed: u64) -> Self {
        let mut builder = t::Builder::new(t::Settings::default());
        for change in rows {
            put(&mut builder, change);
        }
        let pipeline = Pipeline::new(Config {
            connections: 8192,
            gwlb_flows: 4096,
            fragments: 4096,
            seed,
            ..Config::default()
        });
        Self {
            tables: builder.finish(),
            pipeline,
            batch: Vec::new(),
        }
    }

    pub fn change(&mut self, change: w::Change) {
        let mut builder = t::Builder::from(&self.tables);
        put(&mut builder, change);
        self.tables = builder.finish();
    }

    /// Frames, all in one batch, and what each led to.
    pub fn send(&mut self, now: w::Seconds, frames: &[(w::Id, Vec<u8>)]) -> Vec<Observed> {
        let mut seen = Batch::default();
        let frame = |(port, bytes): &(w::Id, Vec<u8>)| Frame::from_bytes(a::EniId(*port), bytes);
        self.batch.extend(frames.iter().map(frame));
        let now = Instant::from_secs(now);
        self.pipeline
            .process(now, &self.tables, &mut self.batch, &mut seen);
        seen.0
    }

    /// Whether a route table says these of these destinations: one by one, and all
    /// looked up together with the instructions in use.
    pub fn routes(
        &self,
        table: w::Id,
        expected: &[(IpAddr, Option<w::Route>)],
    ) -> Result<(), String> {
        let row = self.tables.route_tables.row(a::RouteTableId(table));
        let row = row.ok_or_else(|| format!("no route table {table}"))?;
        let asked: Vec<IpAddr> = expected.iter().map(|(address, _)| *address).collect();
        let together = row.lookup_bulk(&asked);
        for ((address, expected), together) in expected.iter().zip(together) {
            let expected = expected.as_ref().map(route);
            let alone = row.lookup(*address).map(|hit| hit.route);
            if alone != expected.as_ref() || together != expected.as_ref() {
                return Err(format!(
                    "  table {table}, {address}\n  must: {expected:?}\n  did: {alone:?}, in bulk {together:?}\n"
                ));
            }
        }
        Ok(())
    }

    /// Cached and walked packets so far.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        let counters = self.pipeline.counters();
        (counters.flow_hits, counters.flow_misses)
    }

    /// Whether the frame accounts balance.
    pub fn balances(&self) -> bool {
        let (left, right) = self.pipeline.counters().balance();
        left == right
    }
}

fn label() -> Arc<str> {
    Arc::from("x")
}

fn prefix(cidr: w::Cidr) -> a::Prefix {
    let whole = a::Prefix::new(cidr.address, cidr.len as u8);
    whole.unwrap_or(a::Prefix::host(cidr.address))
}

fn prefixes(cidrs: &[w::Cidr]) -> Vec<a::Prefix> {
    cidrs.iter().copied().map(prefix).collect()
}

fn put(builder: &mut t::Builder, change: w::Change) {
    match change {
        w::Change::Settings(row) => builder.set_settings(t::Settings {
            ttl_vpc_router: row.ttl_router,
            ttl_igw: row.ttl_igw,
            ttl_load_balancer: row.ttl_balancer,
            ttl_nat_gateway: row.ttl_nat,
            ..t::Settings::default()
        }),
        w::Change::Vpc(id, row) => builder.set_vpc(
            a::VpcId(id),
            Some(t::VpcRow {
                label: label(),
                cidrs: prefixes(&row.cidrs),
                igw: row.igw.map(|igw| t::IgwRow {
                    label: label(),
                    edge_table: igw.edge_table.map(a::RouteTableId),
                }),
                vgw: None,
                on_prem: None,
                internet: row.internet,
                dns_support: true,
            }),
        ),
        w::Change::Subnet(id, row) => builder.set_subnet(
            a::SubnetId(id),
            Some(t::SubnetRow {
                label: label(),
                vpc: a::VpcId(row.vpc),
                cidrs: prefixes(&row.cidrs),
                router_mac: a::Mac(row.router_mac),
                route_table: a::RouteTableId(row.table),
                network_acl: a::NetworkAclId(row.acl),
                az: a::AzId(row.az),
                down: false,
            }),
        ),
        w::Change::Eni(id, row) => {
            if let Some(w::Kind::Nat(nat)) = row.as_ref().map(|row| row.kind) {
                let row = t::NatGatewayRow {
                    label: label(),
                    eni: a::EniId(id),
                };
                builder.set_nat_gateway(a::NatGatewayId(nat), Some(row));
            }
            builder.set_eni(a::EniId(id), row.map(|row| eni(&row)));
        }
        w::Change::Table(id, routes) => builder.set_route_table(
            a::RouteTableId(id),
            Some(t::RouteTableRow {
                label: label(),
                routes: routes.iter().map(route).collect(),
            }),
        ),
        w::Change::Group(id, row) => builder.set_security_group(
            a::SecurityGroupId(id),
            Some(t::SecurityGroupRow {
                label: label(),
                ingress: row.ingress.iter().map(group_rule).collect(),
                egress: row.egress.iter().map(group_rule).collect(),
            }),
        ),
        w::Change::Acl(id, row) => builder.set_network_acl(
            a::NetworkAclId(id),
            Some(t::NetworkAclRow {
                label: label(),
                ingress: row.ingress.iter().map(acl_rule).collect(),
                egress: row.egress.iter().map(acl_rule).collect(),
            }),
        ),
        w::Change::List(id, row) => builder.set_prefix_list(
            a::PrefixListId(id),
            Some(t::PrefixListRow {
                label: label(),
                entries: prefixes(&row),
            }),
        ),
        w::Change::Endpoint(id, row) => builder.set_endpoint(
            a::EndpointId(id),
            Some(t::EndpointRow {
                label: label(),
                vpce: row.number,
                vpc: a::VpcId(row.vpc),
                available: row.available,
                kind: endpoint_kind(row.kind),
            }),
        ),
        w::Change::Balancer(id, row) => {
            builder.set_load_balancer(a::LoadBalancerId(id), Some(balancer(row)));
        }
        w::Change::TargetGroup(id, row) => {
            builder.set_target_group(a::TargetGroupId(id), Some(target_group(row)));
        }
        w::Change::Peering(id, row) => builder.set_peering(
            a::PeeringId(id),
            row.map(|row| t::PeeringRow {
                label: label(),
                vpcs: row.vpcs.map(a::VpcId),
                cross_region: row.far,
            }),
        ),
    }
}

fn eni(row: &w::Eni) -> t::EniRow {
    let public = |&(private, public): &(IpAddr, IpAddr)| t::PublicAddress { private, public };
    t::EniRow {
        label: label(),
        vpc: a::VpcId(row.vpc),
        subnet: a::SubnetId(row.subnet),
        mac: a::Mac(row.mac),
        addresses: row.addresses.clone(),
        prefixes: prefixes(&row.prefixes),
        public: row.elastic.iter().map(public).collect(),
        groups: row
            .groups
            .iter()
            .map(|&id| a::SecurityGroupId(id))
            .collect(),
        source_dest_check: row.check,
        kind: match row.kind {
            w::Kind::Host => t::EniKind::Host,
            w::Kind::Endpoint(id) => t::EniKind::Endpoint(a::EndpointId(id)),
            w::Kind::GatewayEndpoint(id) => t::EniKind::GatewayEndpoint(a::EndpointId(id)),
            w::Kind::Node(id) => t::EniKind::LoadBalancer(a::LoadBalancerId(id)),
            w::Kind::Nat(id) => t::EniKind::NatGateway(a::NatGatewayId(id)),
        },
        attached: row.attached,
        deny_all_igw_traffic: row.deny_igw,
        mtu: row.mtu,
        timeouts: t::TrackingTimeouts {
            tcp_established: Duration::from_secs(row.timeouts.tcp),
            udp: Duration::from_secs(row.timeouts.udp),
            udp_stream: Duration::from_secs(row.timeouts.udp_stream),
        },
    }
}

fn route(route: &w::Route) -> t::Route {
    t::Route {
        prefix: prefix(route.to),
        target: match route.target {
            w::RouteTo::Local => t::RouteTarget::Local,
            w::RouteTo::Igw => t::RouteTarget::InternetGateway,
            w::RouteTo::Eni(id) => t::RouteTarget::Eni(a::EniId(id)),
            w::RouteTo::GatewayEndpoint(id) => t::RouteTarget::GatewayEndpoint(a::EndpointId(id)),
            w::RouteTo::Peering(id) => t::RouteTarget::Peering(a::PeeringId(id)),
            w::RouteTo::Blackhole => t::RouteTarget::Blackhole,
        },
        origin: match route.origin {
            w::Origin::Local => t::RouteOrigin::Local,
            w::Origin::Static => t::RouteOrigin::Static,
            w::Origin::List(id) => t::RouteOrigin::PrefixList(a::PrefixListId(id)),
            w::Origin::Propagated => t::RouteOrigin::Propagated,
        },
        label: label(),
    }
}

fn ports(ports: w::Ports) -> t::PortMatch {
    match ports {
        w::Ports::Any => t::PortMatch::Any,
        w::Ports::Range(from, to) => t::PortMatch::Range(from, to),
        w::Ports::Icmp(kind, code) => t::PortMatch::Icmp(kind, code),
    }
}

fn group_rule(rule: &w::GroupRule) -> t::SecurityGroupRule {
    t::SecurityGroupRule {
        label: label(),
        protocol: rule.protocol,
        ports: ports(rule.ports),
        peer: match rule.peer {
            w::Peer::Cidr(cidr) => t::Peer::Cidr(prefix(cidr)),
            w::Peer::List(id) => t::Peer::PrefixList(a::PrefixListId(id)),
            w::Peer::Group(id) => t::Peer::Group(a::SecurityGroupId(id)),
        },
    }
}

fn acl_rule(rule: &w::AclRule) -> t::NetworkAclRule {
    t::NetworkAclRule {
        number: rule.number,
        allow: rule.allow,
        protocol: rule.protocol,
        ports: ports(rule.ports),
        cidr: prefix(rule.cidr),
    }
}

fn endpoint_kind(kind: w::EndpointKind) -> t::EndpointKind {
    let ids = |ids: Vec<w::Id>| ids.into_iter().map(a::LoadBalancerId).collect();
    match kind {
        w::EndpointKind::Interface { balancers, enis } => t::EndpointKind::Interface {
            load_balancers: ids(balancers),
            enis: enis.into_iter().map(a::EniId).collect(),
        },
        w::EndpointKind::Gateway { balancers, eni } => t::EndpointKind::GatewayLoadBalancer {
            load_balancers: ids(balancers),
            eni: a::EniId(eni),
        },
    }
}

fn balancer(row: w::Balancer) -> t::LoadBalancerRow {
    t::LoadBalancerRow {
        label: label(),
        kind: if row.gateway {
            t::LoadBalancerKind::Gateway
        } else {
            t::LoadBalancerKind::Network
        },
        vpc: a::VpcId(row.vpc),
        nodes: row
            .nodes
            .iter()
            .map(|&(az, eni)| t::LoadBalancerNode {
                az: a::AzId(az),
                eni: a::EniId(eni),
            })
            .collect(),
        listeners: row
            .listeners
            .iter()
            .map(|listener| t::Listener {
                protocol: listener.protocol,
                port: listener.port,
                target_group: listener.group.map(a::TargetGroupId),
                tcp_idle: Duration::from_secs(listener.tcp_idle),
            })
            .collect(),
        cross_zone: row.cross_zone,
        enforce_privatelink_groups: row.enforce,
    }
}

fn target_group(row: w::TargetGroup) -> t::TargetGroupRow {
    let target = |target: w::Target| t::Target {
        address: target.address,
        port: target.port,
        az: target.az.map(a::AzId),
        health: match target.health {
            w::Health::Initial => t::TargetHealth::Initial,
            w::Health::Healthy => t::TargetHealth::Healthy,
            w::Health::Unhealthy => t::TargetHealth::Unhealthy,
            w::Health::Draining => t::TargetHealth::Draining,
            w::Health::Unused => t::TargetHealth::Unused,
        },
        failures: 0,
    };
    t::TargetGroupRow {
        label: label(),
        vpc: a::VpcId(row.vpc),
        targets: row.targets.into_iter().map(target).collect(),
        stickiness: match row.sticky {
            w::Sticky::Five => t::Stickiness::FiveTuple,
            w::Sticky::Three => t::Stickiness::ThreeTuple,
            w::Sticky::Two => t::Stickiness::TwoTuple,
        },
        failover: if row.rebalance {
            t::Failover::Rebalance
        } else {
            t::Failover::NoRebalance
        },
        reset_on_unhealthy: false,
        reset_on_deregistration: false,
        reset_on_idle: row.reset_on_idle,
        proxy_protocol: false,
        preserve_client_ip: row.keeps,
    }
}
