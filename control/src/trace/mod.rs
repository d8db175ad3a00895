//! `vpclab trace`: the data plane's own walk of a packet that is not sent,
//! with names, reasons and what to change.

mod fix;
mod insights;
mod resolve;
mod words;

pub(crate) use words::{short, traffic};

pub use insights::Found;
pub use resolve::{Ask, Misunderstood, names};

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{FiveTuple, protocol};
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::time::Instant;
use vpclab_dataplane::trace::{End, Leg, Probe, Trace, trace};
use vpclab_dataplane::walk::{Component, Hop};

use crate::cli::CliError;
use crate::host::protocol::TraceRequest;
use crate::model::Model;

/// Turns an AWS id into the name that the lab gave it, if it gave one.
pub type Names<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What to trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Interface that sends.
    pub from: EniId,
    /// Destination address.
    pub to: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Source port; the identifier of an ICMP echo.
    pub source_port: u16,
    /// Destination port; ignored for ICMP.
    pub port: u16,
}

/// One hop of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HopReport {
    /// Where: what it is, its AWS id and its name.
    pub component: String,
    /// The rule or route that decided there.
    pub rule: String,
    /// The packet before the hop.
    pub before: String,
    /// The packet after it.
    pub after: String,
    /// `pass`, or `drop: ` and the reason's name.
    pub verdict: String,
}

/// The answer of `vpclab trace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceReport {
    /// Whether the packet arrives and its reply comes back.
    pub reachable: bool,
    /// Reachability Analyzer code of the drop; `null` if reachable, or if AWS
    /// has no code for it.
    pub code: Option<String>,
    /// vpclab's name of the drop reason.
    pub reason: Option<String>,
    /// What happened, in a sentence.
    pub explanation: String,
    /// What to change, where something can be.
    pub fix: Option<String>,
    /// The way there.
    pub forward: Vec<HopReport>,
    /// The way back; empty if there is none.
    pub reply: Vec<HopReport>,
}

/// Why a query makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// The sender is not in the tables.
    #[error("the sending interface does not exist")]
    NoSuchInterface,
    /// The sender has no address of the destination's family.
    #[error("{eni} has no address of the family of {to}; give it one or trace another address")]
    NoSuchFamily {
        /// The sender.
        eni: String,
        /// The destination.
        to: IpAddr,
    },
}

/// Answers a request in the words of a user: names in, names out.
///
/// # Errors
/// When the request names what does not exist, with what to write instead.
pub fn answer(
    model: &Model,
    tables: &Snapshot,
    request: &TraceRequest,
    seed: u64,
) -> Result<TraceReport, CliError> {
    let ask = Ask {
        from: &request.from,
        to: &request.to,
        port: request.port,
        protocol: &request.protocol,
        source_port: request.source_port,
    };
    let query = ask
        .resolve(model)
        .map_err(|wrong| CliError::usage(wrong.message).fix(wrong.fix))?;
    let names = names(model);
    report(tables, &query, seed, &|id| names.get(id).cloned())
        .map_err(|error| CliError::usage(error.to_string()))
}

/// Traces `query`. `seed` is the running pipeline's, so that the same targets
/// are chosen.
///
/// # Errors
/// When the sender does not exist or cannot send to that family.
pub fn report(
    tables: &Snapshot,
    query: &Query,
    seed: u64,
    names: Names<'_>,
) -> Result<TraceReport, TraceError> {
    Ok(describe(tables, &walk(tables, query, seed)?, names))
}

/// The same, as Reachability Analyzer tells it.
///
/// # Errors
/// As [`report`].
pub fn found(
    tables: &Snapshot,
    query: &Query,
    seed: u64,
    names: Names<'_>,
) -> Result<Found, TraceError> {
    Ok(Found::new(tables, &walk(tables, query, seed)?, names))
}

fn walk(tables: &Snapshot, query: &Query, seed: u64) -> Result<Trace, TraceError> {
    let eni = tables
        .enis
        .row(query.from)
        .ok_or(TraceError::NoSuchInterface)?;
    let src = eni
        .addresses
        .iter()
        .find(|a| a.is_ipv4() == query.to.is_ipv4());
    let src = *src.ok_or_else(|| TraceError::NoSuchFamily {
        eni: eni.label.to_string(),
        to: query.to,
    })?;
    let icmp = matches!(query.protocol, protocol::ICMP | protocol::ICMPV6);
    let tuple = FiveTuple {
        src,
        dst: query.to,
        protocol: query.protocol,
        sport: query.source_port,
        dport: if icmp { 0 } else { query.port },
    };
    let probe = Probe {
        from: query.from,
        tuple,
    };
    Ok(trace(tables, &probe, seed, Instant::ZERO))
}

/// Why a packet ended at a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// What it is, its AWS id and its name.
    pub component: String,
    /// The rule or route that decided there.
    pub rule: String,
    /// What to change, where something can be.
    pub fix: Option<String>,
}

/// Puts the hop at which a packet was dropped into words.
pub fn why(tables: &Snapshot, reason: DropReason, hop: &Hop, names: Names<'_>) -> Why {
    Why {
        component: words::component(tables, hop.component, names),
        rule: words::rule(tables, hop, names),
        fix: fix::fix(tables, reason, hop, names),
    }
}

/// Puts a trace into words.
pub fn describe(tables: &Snapshot, trace: &Trace, names: Names<'_>) -> TraceReport {
    let reason = trace.reason();
    let reply = trace.reply.as_ref();
    let failed = match trace.forward.end {
        End::Dropped { .. } => Some(&trace.forward),
        End::Delivered(..) | End::Answered => reply,
    };
    let explanation = match (reason, trace.forward.end) {
        (Some(reason), End::Dropped { .. }) => reason.description().to_owned(),
        (Some(reason), _) => {
            format!(
                "The packet arrives, but not its reply. {}",
                reason.description()
            )
        }
        (None, End::Answered) => match trace.forward.hops.last().map(|hop| hop.component) {
            Some(Component::Service(_, service)) => {
                let name = words::service_name(service);
                format!("The {name} answers, past groups, ACLs and routes.")
            }
            _ => "The VPC router answers.".to_owned(),
        },
        (None, End::Delivered(at, _)) => {
            format!(
                "Reaches {}; the reply comes back.",
                words::eni(tables, at, names)
            )
        }
        (None, End::Dropped { .. }) => String::new(),
    };
    let last_hop = failed.and_then(|leg| leg.hops.last());
    TraceReport {
        reachable: trace.is_reachable(),
        code: reason.and_then(|r| r.aws_code()).map(str::to_owned),
        reason: reason.map(|r| r.name().to_owned()),
        explanation,
        fix: reason.and_then(|reason| fix::fix(tables, reason, last_hop?, names)),
        forward: hops(tables, &trace.forward, names),
        reply: reply
            .map(|leg| hops(tables, leg, names))
            .unwrap_or_default(),
    }
}

fn hops(tables: &Snapshot, leg: &Leg, names: Names<'_>) -> Vec<HopReport> {
    leg.hops
        .iter()
        .map(|hop| HopReport {
            component: words::component(tables, hop.component, names),
            rule: words::rule(tables, hop, names),
            before: hop.before.to_string(),
            after: hop.after.to_string(),
            verdict: match hop.dropped {
                None => "pass".to_owned(),
                Some(reason) => format!("drop: {}", reason.name()),
            },
        })
        .collect()
}

impl fmt::Display for TraceReport {
    /// One line a hop: a mark, the component, what decided; the packet's
    /// addresses where they changed. Names stand for the ids of what has one;
    /// `{:#}` says both.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = f.alternate();
        let say = |text: &str| match full {
            true => text.to_owned(),
            false => words::short(text),
        };
        for (title, hops) in [("there", &self.forward), ("back", &self.reply)] {
            let Some(first) = hops.first() else { continue };
            writeln!(f, "{title}: {}", first.before)?;
            let components: Vec<_> = hops.iter().map(|hop| say(&hop.component)).collect();
            let widths = components.iter().map(|component| component.chars().count());
            let width = widths.max().unwrap_or(0);
            for (hop, component) in hops.iter().zip(&components) {
                let mark = if hop.verdict == "pass" { ' ' } else { '✗' };
                writeln!(f, "  {mark} {component:width$}  {}", say(&hop.rule))?;
                if hop.before != hop.after {
                    writeln!(f, "    {:width$}  → {}", "", hop.after)?;
                }
            }
        }
        if self.reachable {
            return writeln!(f, "reachable: {}", say(&self.explanation));
        }
        let code = self
            .code
            .as_deref()
            .or(self.reason.as_deref())
            .unwrap_or("unknown");
        writeln!(f, "not reachable ({code}): {}", self.explanation)?;
        if let Some(fix) = &self.fix {
            writeln!(f, "to change that: {fix}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
