//! All health checks of a control plane: one prober per load-balancer node,
//! one state per target, kept in step with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use vpclab_dataplane::addr::{AzId, EniId};
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::tables::TargetHealth;
use vpclab_dataplane::time::{Duration, Instant};

use super::prober::{NodeConfig, ProbeResult, ProbeTarget, Prober};
use super::state::TargetState;
use crate::api::{FinishDeregistration, SetTargetHealth};
use crate::model::{
    HealthCheck, Listener, LoadBalancer, Model, NetworkInterface, NetworkInterfaceId, Target,
    TargetGroup, TargetGroupArn, TargetId,
};

/// Names a target: its group, what names it there, its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetKey {
    /// Target group.
    pub target_group: TargetGroupArn,
    /// Target.
    pub target: TargetId,
    /// Port.
    pub port: u16,
}

/// What the control plane has to execute.
#[derive(Debug, Default)]
pub struct HealthChanges {
    /// Targets whose health changed.
    pub health: Vec<SetTargetHealth>,
    /// Groups with targets whose deregistration delay is over.
    pub drained: Vec<FinishDeregistration>,
}

impl HealthChanges {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.health.is_empty() && self.drained.is_empty()
    }
}

/// The health checks of every load balancer. Sans-IO.
#[derive(Default)]
pub struct HealthChecks {
    seed: u64,
    /// A probe waits at least this long.
    patience: Duration,
    nodes: BTreeMap<NetworkInterfaceId, Node>,
    /// Which node stands behind a port of the data plane.
    ports: BTreeMap<EniId, NetworkInterfaceId>,
    targets: BTreeMap<TargetKey, Watched>,
    draining: BTreeSet<(Instant, TargetGroupArn)>,
}

struct Node {
    prober: Prober<TargetKey>,
    /// When the prober next has something to do of its own accord.
    deadline: Option<Instant>,
    rx: Vec<Frame>,
}

/// A target that at least one node probes.
struct Watched {
    check: Arc<HealthCheck>,
    state: TargetState<NetworkInterfaceId>,
    /// Health as the model has it.
    published: TargetHealth,
}

impl HealthChecks {
    /// No checks yet; equal seeds and inputs give equal probes.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Lets every probe wait at least this long, whatever its timeout.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Takes over what the model says now. To be called after every change;
    /// the answer is to be executed, then synced again.
    pub fn sync(&mut self, now: Instant, model: &Model) -> HealthChanges {
        let mut changes = HealthChanges::default();
        let wanted = wanted_nodes(model);
        let mut users: BTreeMap<TargetKey, BTreeSet<NetworkInterfaceId>> = BTreeMap::new();
        for (node, (_, targets)) in &wanted {
            for target in targets {
                let of_target = users.entry(target.key.clone()).or_default();
                of_target.insert(node.clone());
            }
        }
        self.sync_targets(model, &users, &mut changes);
        self.sync_nodes(now, wanted);
        changes
    }

    fn sync_targets(
        &mut self,
        model: &Model,
        users: &BTreeMap<TargetKey, BTreeSet<NetworkInterfaceId>>,
        changes: &mut HealthChanges,
    ) {
        let mut old = std::mem::take(&mut self.targets);
        self.draining.clear();
        for group in model.target_groups().iter() {
            let check = Arc::new(group.health_check.clone());
            for target in &group.targets {
                if let Some(until) = target.draining_until {
                    self.draining.insert((until, group.id.clone()));
                    continue;
                }
                let key = key_of(group, target);
                let Some(nodes) = users.get(&key) else {
                    if target.health != TargetHealth::Unused {
                        let change = (TargetHealth::Unused, None);
                        changes.health.push(set_health(&key, change));
                    }
                    continue;
                };
                if target.health == TargetHealth::Unused {
                    let change = (TargetHealth::Initial, None);
                    changes.health.push(set_health(&key, change));
                }
                let mut state = old
                    .remove(&key)
                    .map_or_else(TargetState::default, |w| w.state);
                state.retain(|node| nodes.contains(node));
                let mut watched = Watched {
                    check: check.clone(),
                    state,
                    published: target.health,
                };
                changes.health.extend(watched.news(&key));
                self.targets.insert(key, watched);
            }
        }
    }

    fn sync_nodes(&mut self, now: Instant, wanted: WantedNodes) {
        let mut old = std::mem::take(&mut self.nodes);
        self.ports.clear();
        for (id, (config, targets)) in wanted {
            let kept = old
                .remove(&id)
                .filter(|node| *node.prober.config() == config);
            self.ports.insert(config.eni, id.clone());
            let mut node = kept.unwrap_or_else(|| Node {
                prober: Prober::new(config, self.seed ^ fnv(id.as_str())).patience(self.patience),
                deadline: None,
                rx: Vec::new(),
            });
            node.prober.set_targets(now, targets);
            node.deadline = node.prober.next_deadline(now);
            self.nodes.insert(id, node);
        }
    }

    /// Takes in frames that the data plane handed out with the node's
    /// interface (`Sink::local`), and sends what is due to `tx`: frames to
    /// process as entering by their port.
    pub fn poll(
        &mut self,
        now: Instant,
        rx: &mut Vec<(EniId, Frame)>,
        tx: &mut Vec<Frame>,
    ) -> HealthChanges {
        let mut changes = HealthChanges::default();
        for (port, frame) in rx.drain(..) {
            let node = self.ports.get(&port).and_then(|id| self.nodes.get_mut(id));
            if let Some(node) = node {
                node.rx.push(frame);
            }
        }
        let mut results: Vec<ProbeResult<TargetKey>> = Vec::new();
        for (id, node) in &mut self.nodes {
            let due = node.deadline.is_some_and(|at| at <= now);
            if node.rx.is_empty() && !due {
                continue;
            }
            node.prober.poll(now, &mut node.rx, tx, &mut results);
            node.deadline = node.prober.next_deadline(now);
            for result in results.drain(..) {
                if let Some(watched) = self.targets.get_mut(&result.key) {
                    let check = watched.check.clone();
                    watched.state.observe(id.clone(), &check, result.outcome);
                    changes.health.extend(watched.news(&result.key));
                }
            }
        }
        while let Some((until, group)) = self.draining.pop_first() {
            if until > now {
                self.draining.insert((until, group));
                break;
            }
            changes.drained.push(FinishDeregistration {
                target_group_arn: group,
                now,
            });
        }
        changes
    }

    /// When [`Self::poll`] next has something to do without a frame coming in.
    pub fn next_deadline(&self) -> Option<Instant> {
        let probes = self.nodes.values().filter_map(|node| node.deadline);
        let draining = self.draining.first().map(|&(until, _)| until);
        probes.chain(draining).min()
    }
}

impl Watched {
    /// What to tell the model, if the probes found something new. Nothing is
    /// said while they are undecided, so a restart does not disturb flows.
    fn news(&mut self, key: &TargetKey) -> Option<SetTargetHealth> {
        let (health, failure) = self.state.health();
        let known = health == TargetHealth::Initial || health == self.published;
        if known {
            return None;
        }
        self.published = health;
        Some(set_health(key, (health, failure)))
    }
}

fn set_health(
    key: &TargetKey,
    (health, failure): (TargetHealth, Option<crate::model::ProbeFailure>),
) -> SetTargetHealth {
    SetTargetHealth {
        target_group_arn: key.target_group.clone(),
        target: key.target.clone(),
        port: key.port,
        health,
        failure,
    }
}

fn key_of(group: &TargetGroup, target: &Target) -> TargetKey {
    TargetKey {
        target_group: group.id.clone(),
        target: target.id.clone(),
        port: target.port,
    }
}

type WantedNodes = BTreeMap<NetworkInterfaceId, (NodeConfig, Vec<ProbeTarget<TargetKey>>)>;

/// Every node with what it has to probe.
fn wanted_nodes(model: &Model) -> WantedNodes {
    let mut wanted = BTreeMap::new();
    for balancer in model.load_balancers().iter() {
        let groups: BTreeSet<&TargetGroupArn> = model
            .referrers::<Listener>(&balancer.id)
            .map(|listener| &listener.target_group)
            .collect();
        let zones: Vec<AzId> = node_places(model, balancer).map(|(_, az)| az).collect();
        for (interface, az) in node_places(model, balancer) {
            let Some(config) = node_config(model, interface) else {
                continue;
            };
            let mut targets = Vec::new();
            for group in groups.iter().filter_map(|arn| model.get(*arn)) {
                let check = Arc::new(group.health_check.clone());
                for target in &group.targets {
                    let zone = target.zone(group, model);
                    let used = match zone {
                        None => true,
                        Some(zone) if balancer.cross_zone => zones.contains(&zone),
                        Some(zone) => zone == az,
                    };
                    if used && target.draining_until.is_none() {
                        targets.extend(probe_target(model, interface, group, target, &check));
                    }
                }
            }
            wanted.insert(interface.id.clone(), (config, targets));
        }
    }
    wanted
}

fn node_places<'a>(
    model: &'a Model,
    balancer: &'a LoadBalancer,
) -> impl Iterator<Item = (&'a Arc<NetworkInterface>, AzId)> {
    balancer.nodes.iter().filter_map(|node| {
        let subnet = model.get(&node.subnet)?;
        Some((model.get(&node.interface)?, subnet.az))
    })
}

fn node_config(model: &Model, interface: &NetworkInterface) -> Option<NodeConfig> {
    Some(NodeConfig {
        eni: EniId(model.row(&interface.id)?),
        mac: interface.mac,
        addresses: interface.addresses().collect(),
        router_mac: crate::compile::router_mac(model.row(&interface.subnet)?),
    })
}

fn probe_target(
    model: &Model,
    node: &NetworkInterface,
    group: &TargetGroup,
    target: &Target,
    check: &Arc<HealthCheck>,
) -> Option<ProbeTarget<TargetKey>> {
    let address = target.address(model)?;
    let same_family = |own: IpAddr| own.is_ipv4() == address.is_ipv4();
    if !node.addresses().any(same_family) {
        return None;
    }
    let used = model.indexes().address_use(&node.subnet, address);
    let neighbour = used.and_then(|(_, id)| model.get(id)).map(|eni| eni.mac);
    Some(ProbeTarget {
        key: key_of(group, target),
        address: SocketAddr::new(address, check.port_for(target.port)),
        check: check.clone(),
        proxy_protocol: group.attributes.proxy_protocol,
        neighbour,
    })
}

/// FNV-1a: gives each node a seed of its own.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
