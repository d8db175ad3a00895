//! `vpclab drops`: packets that were dropped, with who dropped them, by which
//! rule, and what to change.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::pipeline::Pipeline;
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::time::Instant;
use vpclab_dataplane::walk::Hop;
use vpclab_dataplane::worker::{DropRecord, Drops};

use crate::filter::{Filter, Packet};
use crate::trace;

/// The answer of `vpclab drops`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DropsReport {
    /// Where to go on: the number of the next drop, at each packet worker.
    pub next: Vec<u64>,
    /// The drops, oldest first.
    pub drops: Vec<DropReport>,
    /// Drops by reason that were left out: more than were asked for, or no longer
    /// kept (`missed`).
    pub left_out: BTreeMap<String, u64>,
}

/// A packet that was dropped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DropReport {
    /// When, in seconds since 1970.
    pub time: f64,
    /// The interface by which it came in: host, device and ENI.
    pub at: String,
    /// Its five-tuple, or what else is known of it.
    pub packet: String,
    /// Length of its frame in bytes.
    pub len: u32,
    /// vpclab's name of the reason.
    pub reason: String,
    /// Reachability Analyzer's code, where AWS has one.
    pub code: Option<String>,
    /// The reason in a sentence.
    pub explanation: String,
    /// What dropped it: component, AWS id, name.
    pub component: Option<String>,
    /// The rule, entry or route that decided.
    pub rule: Option<String>,
    /// What to change, where something can be.
    pub fix: Option<String>,
    /// True if the same packet would pass now: the lab has changed since, or the
    /// drop depends on what was in flight.
    pub would_pass_now: bool,
}

/// Reasons that hosts cause all by themselves: shown on request only.
const NOISE: [DropReason; 2] = [DropReason::NotUnicast, DropReason::NeighborUnknown];
/// Most walks between two batches of packets.
const WALKS_MAX: usize = 64;

/// Whether a drop is noise: multicast and ARP for nobody, which every Linux host
/// sends unasked.
pub fn is_noise(reason: DropReason) -> bool {
    NOISE.contains(&reason)
}

/// Which drops are asked for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// At these interfaces only.
    pub at: Option<&'a [EniId]>,
    /// That a filter lets through.
    pub filter: Option<&'a Filter>,
    /// Noise too.
    pub all: bool,
    /// At most so many, the latest.
    pub limit: usize,
}

/// The drops that are wanted, and by reason those that were too many.
pub fn select(drops: &Drops, wanted: &Wanted<'_>) -> (Vec<DropRecord>, BTreeMap<String, u64>) {
    let asked = |record: &&DropRecord| {
        let here = wanted.at.is_none_or(|enis| enis.contains(&record.eni));
        let loud = wanted.all || !is_noise(record.reason);
        let fits = wanted.filter.is_none_or(|filter| {
            let frame = record.frame();
            filter.wants(&Packet::of_frame(
                record.eni,
                frame.bytes(),
                Some(record.reason),
            ))
        });
        here && loud && fits
    };
    let mut chosen: Vec<_> = drops.records.iter().filter(asked).copied().collect();
    let mut left_out = BTreeMap::new();
    let surplus = chosen.len().saturating_sub(wanted.limit);
    for record in chosen.drain(..surplus) {
        *left_out.entry(record.reason.name().to_owned()).or_default() += 1;
    }
    if drops.missed > 0 {
        left_out.insert("missed".to_owned(), drops.missed);
    }
    (chosen, left_out)
}

/// What decided, found by walking a packet again.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The hop where it ended for the same reason.
    pub hop: Option<Hop>,
    /// It would not end now.
    pub passes: bool,
}

/// Walks each packet once more, as it would go now. To be called between two
/// batches: the same packet is walked once, and not too many are.
pub fn explain(
    pipeline: &Pipeline,
    tables: &Snapshot,
    now: Instant,
    records: &[DropRecord],
) -> Vec<Verdict> {
    let mut known: HashMap<(EniId, DropReason, &[u8]), Verdict> = HashMap::new();
    let mut verdicts = Vec::new();
    for record in records {
        // Without IP identification and checksum, retries of a packet are alike.
        let key = (record.eni, record.reason, record.head());
        if let Some(verdict) = known.get(&key) {
            verdicts.push(verdict.clone());
            continue;
        }
        let verdict = if known.len() < WALKS_MAX {
            explain_one(pipeline, tables, now, record)
        } else {
            Verdict::default()
        };
        known.insert(key, verdict.clone());
        verdicts.push(verdict);
    }
    verdicts
}

/// What several workers found of the same packets. Only the owner of a packet's
/// flow knows its state; the others walk it as a first packet. Who ends it for
/// the same reason names the hop.
pub fn agreed(workers: Vec<Vec<Verdict>>) -> Vec<Verdict> {
    let mut workers = workers.into_iter();
    let mut all = workers.next().unwrap_or_default();
    for verdicts in workers {
        for (known, verdict) in all.iter_mut().zip(verdicts) {
            known.hop = known.hop.or(verdict.hop);
            known.passes &= verdict.passes;
        }
    }
    all
}

fn explain_one(
    pipeline: &Pipeline,
    tables: &Snapshot,
    now: Instant,
    record: &DropRecord,
) -> Verdict {
    let Some(path) = pipeline.explain(now, tables, &record.frame()) else {
        return Verdict::default();
    };
    let ended = path.drop_reason();
    let hop = path.hops.last().copied();
    Verdict {
        hop: hop.filter(|_| ended == Some(record.reason)),
        passes: ended.is_none(),
    }
}

/// A drop in words.
pub fn report(
    record: &DropRecord,
    verdict: &Verdict,
    at: String,
    time: Duration,
    tables: &Snapshot,
    names: trace::Names<'_>,
) -> DropReport {
    let reason = record.reason;
    let words = verdict
        .hop
        .map(|hop| trace::why(tables, reason, &hop, names));
    let (component, rule, fix) = match words {
        Some(why) => (Some(why.component), Some(why.rule), why.fix),
        None => (None, None, None),
    };
    DropReport {
        time: time.as_secs_f64(),
        at,
        packet: describe(record),
        len: record.len,
        reason: reason.name().to_owned(),
        code: reason.aws_code().map(str::to_owned),
        explanation: reason.description().to_owned(),
        component,
        rule,
        fix,
        would_pass_now: verdict.passes,
    }
}

/// The five-tuple; within a tunnel, that of the packet inside as well.
fn describe(record: &DropRecord) -> String {
    use vpclab_dataplane::packet::ethertype;
    let frame = record.frame();
    let packet = Packet::of_frame(record.eni, frame.bytes(), None);
    match (packet.tuple, packet.inner, packet.ethertype) {
        (Some(tuple), Some((inner, _)), _) => format!("{tuple} (geneve: {inner})"),
        (Some(tuple), None, _) => tuple.to_string(),
        (None, _, ethertype::ARP) => "arp".to_owned(),
        (None, _, ethertype::IPV4) => "malformed IPv4".to_owned(),
        (None, _, ethertype::IPV6) => "malformed IPv6".to_owned(),
        (None, _, other) => format!("ethertype 0x{other:04x}"),
    }
}
