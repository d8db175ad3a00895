//! What load balancers, endpoints and NAT gateways count, by the names of their
//! CloudWatch metrics. Counters begin at zero with the daemon.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use vpclab_dataplane::accounts::{Accounts, BalancerCounts};
use vpclab_dataplane::addr::{EndpointId, EniId};
use vpclab_dataplane::nat::GatewayCounts;
use vpclab_dataplane::tables::LoadBalancerKind;

use crate::model::{LoadBalancer, Model, NatGateway, Node, VpcEndpoint};

/// Values by CloudWatch's names.
pub type Metrics = BTreeMap<String, u64>;

/// What all workers have counted.
#[derive(Debug, Default)]
pub struct Counted {
    /// Load balancers and endpoints; `None` is nothing yet.
    accounts: Option<Accounts>,
    nat_gateways: HashMap<EniId, GatewayCounts>,
}

type Named<T> = [(&'static str, fn(&T) -> u64)];

/// Namespace `AWS/GatewayELB`.
const GATEWAY: &Named<BalancerCounts> = &[
    ("ActiveFlowCount", |it| it.active),
    ("NewFlowCount", |it| it.created),
    ("ProcessedBytes", |it| it.bytes),
    ("RejectedFlowCount", |it| it.rejected),
    ("RejectedFlowCount_TCP", |it| it.rejected_tcp),
    ("PacketsDroppedCount_InvalidGeneveTunnel", |it| {
        it.invalid_tunnel
    }),
    ("PacketsDroppedCount_InvalidGwlbEndpointId", |it| {
        it.invalid_endpoint_id
    }),
    ("PacketsDroppedCount_InvalidGwlbFlowCookie", |it| {
        it.invalid_cookie
    }),
];

/// Namespace `AWS/NetworkELB`.
const NETWORK: &Named<BalancerCounts> = &[
    ("ActiveFlowCount", |it| it.active),
    ("NewFlowCount", |it| it.created),
    ("ProcessedBytes", |it| it.bytes),
    ("RejectedFlowCount", |it| it.rejected),
    ("RejectedFlowCount_TCP", |it| it.rejected_tcp),
];

/// Namespace `AWS/PrivateLinkEndpoints`.
const ENDPOINT: &Named<BalancerCounts> = &[
    ("ActiveConnections", |it| it.active),
    ("NewConnections", |it| it.created),
    ("BytesProcessed", |it| it.bytes),
    ("PacketsDropped", |it| it.dropped),
    ("RstPacketsReceived", |it| it.resets),
];

/// Namespace `AWS/NATGateway`.
const NAT: &Named<GatewayCounts> = &[
    ("ActiveConnectionCount", |it| it.active),
    ("ConnectionAttemptCount", |it| it.attempts),
    ("ConnectionEstablishedCount", |it| it.established),
    ("ErrorPortAllocation", |it| it.port_allocation_errors),
    ("IdleTimeoutCount", |it| it.idle_timeouts),
    ("PacketsDropCount", |it| it.dropped),
    ("PacketsInFromSource", |it| it.packets[0]),
    ("PacketsOutToDestination", |it| it.packets[0]),
    ("PacketsInFromDestination", |it| it.packets[1]),
    ("PacketsOutToSource", |it| it.packets[1]),
    ("BytesInFromSource", |it| it.bytes[0]),
    ("BytesOutToDestination", |it| it.bytes[0]),
    ("BytesInFromDestination", |it| it.bytes[1]),
    ("BytesOutToSource", |it| it.bytes[1]),
];

impl Counted {
    /// Adds what one worker has counted.
    pub fn add<S: BuildHasher>(
        &mut self,
        accounts: &Accounts,
        nat_gateways: &HashMap<EniId, GatewayCounts, S>,
    ) {
        match &mut self.accounts {
            Some(sum) => sum.add(accounts),
            None => self.accounts = Some(accounts.clone()),
        }
        for (gateway, counts) in nat_gateways {
            self.nat_gateways.entry(*gateway).or_default().add(counts);
        }
    }

    /// Of a load balancer's node: of one zone.
    pub fn node(&self, model: &Model, node: &Node) -> BalancerCounts {
        let row = model.row(&node.interface).map(EniId);
        let accounts = self.accounts.as_ref();
        let sum = accounts.map(|all| all.sum(|account| row.is_some() && account.node == row));
        sum.unwrap_or_default()
    }

    /// Of an endpoint, with all its interfaces.
    pub fn endpoint(&self, model: &Model, endpoint: &VpcEndpoint) -> BalancerCounts {
        let row = model.row(&endpoint.id).map(EndpointId);
        let accounts = self.accounts.as_ref();
        let sum = accounts.map(|all| all.sum(|account| row.is_some() && account.endpoint == row));
        sum.unwrap_or_default()
    }

    /// Of a NAT gateway; `None` of one that does not work.
    pub fn nat_gateway(&self, model: &Model, gateway: &NatGateway) -> Option<GatewayCounts> {
        let row = EniId(model.row(gateway.interface.as_ref()?)?);
        Some(self.nat_gateways.get(&row).copied().unwrap_or_default())
    }

    pub(super) fn of_balancer(&self, model: &Model, balancer: &LoadBalancer) -> Metrics {
        let mut sum = BalancerCounts::default();
        for node in &balancer.nodes {
            sum.add(&self.node(model, node));
        }
        match balancer.kind {
            LoadBalancerKind::Gateway => named(GATEWAY, &sum),
            LoadBalancerKind::Network => named(NETWORK, &sum),
        }
    }

    pub(super) fn of_endpoint(&self, model: &Model, endpoint: &VpcEndpoint) -> Metrics {
        match endpoint.interfaces.is_empty() {
            // A gateway endpoint has no metrics.
            true => Metrics::new(),
            false => named(ENDPOINT, &self.endpoint(model, endpoint)),
        }
    }

    pub(super) fn of_nat_gateway(&self, model: &Model, gateway: &NatGateway) -> Metrics {
        let counts = self.nat_gateway(model, gateway);
        counts.map_or(Metrics::new(), |counts| named(NAT, &counts))
    }
}

fn named<T>(names: &Named<T>, counts: &T) -> Metrics {
    let values = names
        .iter()
        .map(|(name, read)| ((*name).to_owned(), read(counts)));
    values.collect()
}
