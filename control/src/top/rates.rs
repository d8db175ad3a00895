//! Rates from two looks at a lab.

use std::collections::HashMap;

use vpclab_dataplane::drop::DropReason;

use super::TopReport;
use crate::report::ps::PortCountersReport;

/// An ENI of a host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EniRow {
    pub name: String,
    pub address: String,
    pub out_pps: f64,
    pub out_bps: f64,
    pub in_pps: f64,
    pub in_bps: f64,
    /// Packets that its port did not take, in all.
    pub lost: u64,
}

/// A reason for which packets were dropped.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DropRow {
    pub reason: String,
    pub per_second: f64,
    pub total: u64,
    pub meaning: &'static str,
}

/// A target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TargetRow {
    pub group: String,
    pub target: String,
    pub host: String,
    pub health: String,
    pub why: String,
}

/// A flow.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FlowRow {
    pub what: String,
    pub seen: Option<String>,
    pub from: String,
    pub to: String,
    pub pps: f64,
    pub bps: f64,
    pub bytes: u64,
    pub state: String,
}

/// The whole lab per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub pps: f64,
    pub bps: f64,
    pub drops: f64,
    pub new_flows: f64,
}

/// All that is shown, computed once a look.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub totals: Totals,
    pub enis: Vec<EniRow>,
    pub drops: Vec<DropRow>,
    pub targets: Vec<TargetRow>,
    pub flows: Vec<FlowRow>,
}

impl Rates {
    /// What happened between two looks; without an earlier one, nothing did.
    pub(super) fn between(before: Option<&TopReport>, now: &TopReport) -> Self {
        // A daemon that was started again counts from zero.
        let before = before.filter(|it| it.at_ns < now.at_ns);
        let seconds = before.map_or(1.0, |it| (now.at_ns - it.at_ns) as f64 / 1e9);
        let rate = |now: u64, before: Option<u64>| {
            before.map_or(0.0, |before| now.saturating_sub(before) as f64 / seconds)
        };
        let old_ports = ports(before);
        let mut totals = Totals::default();
        let mut enis = Vec::new();
        for host in &now.ps.hosts {
            for port in &host.interfaces {
                let counters = port.counters.unwrap_or_default();
                let old = old_ports.get(port.id.as_str());
                let per_second =
                    |pick: fn(&PortCountersReport) -> u64| rate(pick(&counters), old.map(pick));
                let row = EniRow {
                    name: format!("{} {}", host.name, port.device),
                    address: port
                        .addresses
                        .first()
                        .map_or(String::new(), ToString::to_string),
                    out_pps: per_second(|it| it.rx),
                    out_bps: per_second(|it| it.rx_bytes) * 8.0,
                    in_pps: per_second(|it| it.tx),
                    in_bps: per_second(|it| it.tx_bytes) * 8.0,
                    lost: counters.refused + counters.errors,
                };
                totals.pps += row.out_pps;
                totals.bps += row.out_bps;
                enis.push(row);
            }
        }
        let old = |name: &str| before.map(|it| it.counters.get(name).copied().unwrap_or(0));
        let counter = |name: &str| now.counters.get(name).copied().unwrap_or(0);
        totals.new_flows = rate(counter("flow.created"), old("flow.created"));
        let mut drops = Vec::new();
        for (name, &total) in &now.counters {
            if let Some(reason) = name.strip_prefix("drop.") {
                let per_second = rate(total, old(name));
                totals.drops += per_second;
                drops.push(DropRow {
                    reason: reason.to_owned(),
                    per_second,
                    total,
                    meaning: meaning(reason),
                });
            }
        }
        Self {
            totals,
            enis,
            drops,
            targets: targets(now),
            flows: flows(before, now, seconds),
        }
    }
}

fn ports(report: Option<&TopReport>) -> HashMap<&str, PortCountersReport> {
    let hosts = report.iter().flat_map(|it| &it.ps.hosts);
    let ports = hosts.flat_map(|host| &host.interfaces);
    ports
        .filter_map(|port| Some((port.id.as_str(), port.counters?)))
        .collect()
}

fn meaning(reason: &str) -> &'static str {
    let known = DropReason::ALL.iter().find(|it| it.name() == reason);
    known.map_or("", |it| it.description())
}

fn targets(report: &TopReport) -> Vec<TargetRow> {
    let groups = report.ps.target_groups.iter();
    groups
        .flat_map(|group| {
            group.targets.iter().map(|target| TargetRow {
                group: group.name.clone(),
                target: target.socket(),
                host: target.host.clone().unwrap_or_default(),
                health: target.health.clone(),
                why: target.description.clone().unwrap_or_default(),
            })
        })
        .collect()
}

fn flows(before: Option<&TopReport>, now: &TopReport, seconds: f64) -> Vec<FlowRow> {
    let old: HashMap<&str, (u64, u64)> = before
        .iter()
        .flat_map(|it| &it.flows)
        .map(|flow| (flow.id.as_str(), (flow.packets(), flow.bytes())))
        .collect();
    let flows = now.flows.iter().map(|flow| {
        let (packets, bytes) = match old.get(flow.id.as_str()) {
            Some(&(packets, bytes)) => (
                flow.packets().saturating_sub(packets),
                flow.bytes().saturating_sub(bytes),
            ),
            // It is new: all of it happened since the last look.
            None if before.is_some() && flow.age_s as f64 <= seconds + 1.0 => {
                (flow.packets(), flow.bytes())
            }
            None => (0, 0),
        };
        FlowRow {
            what: flow.what().to_owned(),
            seen: flow.translated.clone(),
            from: flow.opener.place().to_owned(),
            to: flow.answerer.place().to_owned(),
            pps: packets as f64 / seconds,
            bps: bytes as f64 * 8.0 / seconds,
            bytes: flow.bytes(),
            state: flow.state.clone(),
        }
    });
    flows.collect()
}
