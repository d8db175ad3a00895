//! The control plane's part of a lab, and what things are called.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::tables::{EndpointKind, EniRow, LoadBalancerKind, Snapshot, TargetHealth};
use vpclab_dataplane::time::Instant;

use super::plane::Services;
use crate::api::ControlPlane;
use crate::health::{HealthChanges, HealthChecks};
use crate::local::{LocalServices, Now};
use crate::model::{Id, InterfaceKind, NetworkInterface, NetworkInterfaceId, Through, VpcEndpoint};

/// The control plane, and the services that act on its behalf.
pub(crate) struct Brain {
    pub(crate) control: ControlPlane,
    health: HealthChecks,
    /// Frames for the stacks of load balancers' nodes.
    received: Vec<(EniId, Frame)>,
    local: LocalServices,
    /// Frames for the services on hosts' links.
    asked: Vec<(EniId, Frame)>,
    /// The model may have changed since the last sync.
    pub(crate) changed: bool,
    synced: u64,
}

/// Health news change the model, which may make news; more rounds than this
/// would mean that they chase each other.
const SYNC_ROUNDS_MAX: usize = 16;

impl Brain {
    pub(crate) fn new(control: ControlPlane, seed: u64) -> Self {
        Self {
            control,
            health: HealthChecks::new(seed),
            received: Vec::new(),
            local: LocalServices::new(seed),
            asked: Vec::new(),
            changed: true,
            synced: 0,
        }
    }

    /// Starts anew with another seed.
    pub(crate) fn reset(&mut self, seed: u64) {
        self.health = HealthChecks::new(seed);
        self.received.clear();
        self.local = LocalServices::new(seed);
        self.asked.clear();
        self.changed = true;
    }

    /// Brings health checks in step with the model. True if it had changed.
    pub(crate) fn sync(&mut self, now: Instant) -> bool {
        let version = self.control.tables().load().version;
        if !self.changed && version == self.synced {
            return false;
        }
        for _ in 0..SYNC_ROUNDS_MAX {
            let changes = self.health.sync(now, self.control.model());
            if changes.is_empty() {
                break;
            }
            self.apply(changes);
        }
        self.changed = false;
        self.synced = self.control.tables().load().version;
        true
    }

    /// Tells the model what the probes found. A refusal means that the group or
    /// target went away meanwhile, and with it the news.
    fn apply(&mut self, changes: HealthChanges) {
        for change in changes.health {
            let _gone = self.control.execute(change);
        }
        for change in changes.drained {
            let _gone = self.control.execute(change);
        }
        self.changed = true;
    }

    /// Every registered target's health.
    pub(crate) fn target_health(&self) -> Vec<TargetHealth> {
        let groups = self.control.model().target_groups().iter();
        let targets = groups.flat_map(|group| group.targets.iter());
        targets.map(|target| target.health).collect()
    }

    /// Whether the checks of every target have come to a result.
    pub(crate) fn is_health_known(&self) -> bool {
        let health = self.target_health();
        health.iter().all(|&health| health != TargetHealth::Initial)
    }

    /// Every interface by everything it is called: its id, its name, and for
    /// interfaces of hosts the host's name (`fw` and `fw/eth0`, `fw/eth1`…).
    pub(crate) fn interfaces(&self) -> BTreeMap<String, EniId> {
        let model = self.control.model();
        let mut names = BTreeMap::new();
        let mut called: Vec<(String, EniId)> = Vec::new();
        for interface in model.interfaces().iter() {
            let Some(row) = model.row(&interface.id) else {
                continue;
            };
            names.insert(interface.id.to_string(), EniId(row));
            called.extend(nicknames(interface).map(|name| (name, EniId(row))));
        }
        // Of two with one name the older has it.
        called.sort_by_key(|&(_, row)| row);
        for (name, row) in called {
            names.entry(name).or_insert(row);
        }
        names
    }

    /// Where services of AWS's answer.
    pub(crate) fn service_ports(&self) -> BTreeMap<EniId, Through> {
        let model = self.control.model();
        let ports = model.service_ports().into_iter();
        ports
            .filter_map(|(id, through)| Some((EniId(model.row(&id)?), through)))
            .collect()
    }

    /// The presences of a load balancer by its name or ARN.
    pub(crate) fn load_balancer(&self, kind: LoadBalancerKind, name: &str) -> Option<Presences> {
        let snapshot = self.control.tables().snapshot();
        let model = self.control.model();
        let is_called = |text: &str| text == name || text.contains(&format!("/{name}/"));
        let (_, row) = snapshot.load_balancers.iter().find(|(row, balancer)| {
            let by_arn = || {
                let mut all = model.load_balancers().iter();
                all.any(|lb| model.row(&lb.id) == Some(*row) && is_called(lb.id.as_str()))
            };
            balancer.kind == kind && (is_called(&balancer.label) || by_arn())
        })?;
        let enis = row.nodes.iter().map(|node| node.eni);
        Some(self.presences(&snapshot, name, enis))
    }

    /// The presences of an endpoint by its name or id.
    pub(crate) fn endpoint(&self, name: &str) -> Option<Presences> {
        let snapshot = self.control.tables().snapshot();
        let model = self.control.model();
        let is_called = |endpoint: &VpcEndpoint| {
            endpoint.id.as_str() == name || endpoint.meta.name.as_deref() == Some(name)
        };
        let endpoint = model.vpc_endpoints().iter().find(|e| is_called(e))?;
        let row = snapshot.endpoints.row(model.row(&endpoint.id)?)?;
        let enis = match &row.kind {
            EndpointKind::Interface { enis, .. }
            | EndpointKind::Remote { enis, .. }
            | EndpointKind::Service { enis } => enis.clone(),
            EndpointKind::GatewayLoadBalancer { eni, .. } => vec![*eni],
            EndpointKind::Gateway { .. } => Vec::new(),
        };
        Some(self.presences(&snapshot, name, enis.into_iter()))
    }

    fn presences(
        &self,
        snapshot: &Snapshot,
        name: &str,
        enis: impl Iterator<Item = EniId>,
    ) -> Presences {
        let model = self.control.model();
        let presences = enis.filter_map(|eni| {
            let row = snapshot.enis.row(eni)?;
            let interface = model.get(&NetworkInterfaceId::from_text(row.label.clone()))?;
            Some(Presence {
                zone: model.get(&interface.subnet)?.zone.to_string(),
                eni,
                addresses: row.addresses.clone(),
            })
        });
        Presences {
            name: name.to_owned(),
            presences: presences.collect(),
        }
    }
}

fn nicknames(interface: &NetworkInterface) -> impl Iterator<Item = String> {
    let host = matches!(interface.kind, InterfaceKind::Host)
        .then_some(interface.attachment.as_ref())
        .flatten();
    let device = host.map(|at| format!("{}/eth{}", at.host, at.device_index));
    let alone = host
        .filter(|at| at.device_index == 0)
        .map(|at| at.host.to_string());
    let named = interface.meta.name.as_ref().map(ToString::to_string);
    device.into_iter().chain(alone).chain(named)
}

/// Where an endpoint or a load balancer has an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Zone (`us-east-1a`).
    pub zone: String,
    /// The interface.
    pub eni: EniId,
    /// Its addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
}

/// The interfaces of an endpoint or a load balancer, one per zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presences {
    name: String,
    presences: Vec<Presence>,
}

impl Presences {
    /// All of them.
    pub fn all(&self) -> &[Presence] {
        &self.presences
    }

    /// The one in a zone: `us-east-1b`, `b` or `az2`.
    ///
    /// # Panics
    /// If there is none.
    pub fn in_zone(&self, zone: &str) -> &Presence {
        match self.presences.iter().find(|p| is_zone(&p.zone, zone)) {
            Some(presence) => presence,
            None => panic!("{} has no interface in zone {zone}: {self:?}", self.name),
        }
    }

    /// The primary address in a zone.
    ///
    /// # Panics
    /// If there is none.
    pub fn address(&self, zone: &str) -> IpAddr {
        let presence = self.in_zone(zone);
        match presence.addresses.first() {
            Some(&address) => address,
            None => panic!("{} has no address in zone {zone}", self.name),
        }
    }

    /// The interface in a zone.
    ///
    /// # Panics
    /// If there is none.
    pub fn eni(&self, zone: &str) -> EniId {
        self.in_zone(zone).eni
    }
}

fn is_zone(zone: &str, asked: &str) -> bool {
    let numbered = asked.strip_prefix("az").and_then(|n| n.parse::<u8>().ok());
    let letter = match numbered {
        Some(n @ 1..=26) => Some((b'a' + n - 1) as char),
        _ => asked.parse().ok(),
    };
    zone == asked || letter.is_some_and(|letter| zone.ends_with(letter))
}

/// The time of day at a lab's start: midnight of the first of January 2026.
const START_UNIX_NS: u64 = 1_767_225_600 * 1_000_000_000;

const fn clock(now: Instant) -> Now {
    Now {
        lab: now,
        unix_ns: START_UNIX_NS + now.as_nanos(),
    }
}

impl Services for Brain {
    fn receive(&mut self, _: Instant, eni: EniId, frame: Frame) {
        let tables = self.control.tables().load();
        match tables.enis.row(eni).is_some_and(EniRow::is_host) {
            true => self.asked.push((eni, frame)),
            false => self.received.push((eni, frame)),
        }
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>, answers: &mut Vec<Frame>) {
        let tables = self.control.tables().snapshot();
        let model = self.control.model();
        self.local
            .poll(clock(now), model, &tables, &mut self.asked, answers);
        let changes = self.health.poll(now, &mut self.received, out);
        if !changes.is_empty() {
            self.apply(changes);
            self.sync(now);
            // The lab's names and hosts have not seen this change yet.
            self.changed = true;
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if !self.received.is_empty() || !self.asked.is_empty() {
            return Some(Instant::ZERO);
        }
        let own = [self.health.next_deadline(), self.local.next_deadline()];
        own.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_go_by_short_names() {
        for asked in ["us-east-1b", "b", "az2"] {
            assert!(is_zone("us-east-1b", asked), "{asked}");
            assert!(!is_zone("us-east-1a", asked), "{asked}");
        }
        assert!(!is_zone("us-east-1b", "us-east-1"));
        assert!(!is_zone("us-east-1b", "az0"));
    }
}
