//! `vpclab test`: what a topology expects of itself, by trace and by packets.
//!
//! Each expectation is judged twice: the data plane's walk says what would
//! happen, and simulated hosts find out what does, on the same data plane, in
//! virtual time. Both must say what is expected, and so agree.

mod junit;
mod packets;
mod report;

pub use junit::junit;
pub use report::{ExpectReport, Outcome};

use vpclab_dataplane::drop::DropReason;

use crate::cli::{CliError, Destination};
use crate::host::protocol::TraceRequest;
use crate::lab::Lab;
use crate::topology::Topology;
use crate::topology::located::Item;
use crate::topology::schema::Expectation;
use crate::trace::{Ask, TraceReport};

/// First source port, as `vpclab trace` assumes; each expectation has its own.
const FIRST_PORT: u16 = 49_152;

/// Builds the lab in this process and judges every expectation of the file.
///
/// # Errors
/// A file that makes no sense, or that expects nothing.
pub fn run(topology: &Topology) -> Result<ExpectReport, CliError> {
    if topology.expect.is_empty() {
        return Err(
            CliError::usage(format!("{} expects nothing", topology.file)).fix(
                "add what is to hold: `expect: [{from: client, to: \"web:80\", reachable: true}]`",
            ),
        );
    }
    let (mut control, _) = topology.closed().control_plane()?;
    // Every host is simulated, also those that wait for `vpclab attach`.
    control
        .plug_all("the test")
        .map_err(|error| CliError::fault(error.message))?;
    let lab = Lab::new(control).seed(topology.seed());
    let mut packets = packets::Packets::new(lab)?;
    let mut outcomes = Vec::new();
    for (number, expectation) in topology.expect.iter().enumerate() {
        outcomes.push(judge(topology, &mut packets, number, expectation)?);
    }
    Ok(ExpectReport::new(&topology.name, &topology.file, outcomes))
}

fn judge(
    topology: &Topology,
    packets: &mut packets::Packets,
    number: usize,
    expectation: &Item<Expectation>,
) -> Result<Outcome, CliError> {
    let place = format!("{}:{}", topology.file, expectation.at.line);
    let destination: Destination = expectation
        .to
        .parse()
        .map_err(|error| CliError::usage(format!("{place}: {error}")))?;
    let protocol = expectation
        .proto
        .as_ref()
        .map_or("tcp", |proto| proto.as_str());
    let offset = u16::try_from(number % 10_000).unwrap_or(0);
    let request = TraceRequest {
        from: expectation.from.value.clone(),
        to: destination.host,
        port: destination.port,
        protocol: protocol.to_owned(),
        source_port: FIRST_PORT + offset,
    };
    let ask = Ask {
        from: &request.from,
        to: &request.to,
        port: request.port,
        protocol: &request.protocol,
        source_port: request.source_port,
    };
    let wrong = |message: String| CliError::usage(format!("{place}: {message}"));
    let query = ask
        .resolve(packets.lab().control().model())
        .map_err(|error| wrong(error.message).fix(error.fix))?;
    let tables = packets.lab().snapshot();
    let names = crate::trace::names(packets.lab().control().model());
    let names = |id: &str| names.get(id).cloned();
    let trace = crate::trace::report(&tables, &query, topology.seed(), &names)
        .map_err(|error| wrong(error.to_string()))?;
    let wanted = expectation.reachable.unwrap_or(expectation.code.is_none());
    let sent = packets.send(&query, &trace, wanted)?;

    let mut wrong = Vec::new();
    let word = |reachable| {
        if reachable {
            "reachable"
        } else {
            "not reachable"
        }
    };
    if trace.reachable != wanted {
        wrong.push(format!(
            "expected to be {}; by trace it is {}",
            word(wanted),
            word(trace.reachable)
        ));
    }
    if sent.answered != wanted {
        let how = match (&sent.dropped[..], sent.answered) {
            (_, true) => "an answer came".to_owned(),
            ([], _) => "no answer came".to_owned(),
            (reasons, _) => format!("no answer came; dropped: {}", reasons.join(", ")),
        };
        wrong.push(format!(
            "expected to be {}; by packets: {how}",
            word(wanted)
        ));
    }
    if trace.reachable != sent.answered {
        wrong.push(
            "trace and packets do not agree: a fault of vpclab's own, please report it".to_owned(),
        );
    }
    if let Some(code) = &expectation.code {
        wrong.extend(code_differs(code, &trace));
    }
    if let (false, false, Some(reason)) = (wanted, sent.answered, &trace.reason)
        && !sent
            .dropped
            .iter()
            .any(|dropped| same_reason(reason, dropped))
    {
        wrong.push(format!(
            "by trace the reason is {reason}; the packets were dropped for: {}",
            if sent.dropped.is_empty() {
                "nothing".to_owned()
            } else {
                sent.dropped.join(", ")
            }
        ));
    }
    let via: Vec<&str> = expectation.via.iter().map(|name| name.as_str()).collect();
    wrong.extend(not_crossed(&via, &trace));
    wrong.extend(packets.not_crossed(&via));
    if let Some(seen) = &expectation.seen_as
        && sent.seen_as.map(|address| address.to_string()).as_ref() != Some(&seen.value)
    {
        let saw = sent
            .seen_as
            .map_or("nobody".to_owned(), |address| address.to_string());
        wrong.push(format!(
            "expected to be seen as {}; the other end saw {saw}",
            seen.value
        ));
    }
    Ok(Outcome {
        name: expectation.name.clone().unwrap_or_else(|| {
            format!(
                "{} → {} {protocol} {}",
                expectation.from.value,
                expectation.to.value,
                if wanted { "reachable" } else { "not reachable" }
            )
        }),
        place,
        passed: wrong.is_empty(),
        wrong,
        answered: sent.answered,
        dropped: sent.dropped,
        trace,
    })
}

/// Whether a drop is what a trace foretold. A host asks for its neighbour first:
/// where the trace finds nobody at an address, the question is what is dropped.
fn same_reason(traced: &str, dropped: &str) -> bool {
    let unassigned = DropReason::AddressUnassigned.name();
    let unknown = DropReason::NeighborUnknown.name();
    traced == dropped || (traced == unassigned && dropped == unknown)
}

fn code_differs(code: &str, trace: &TraceReport) -> Option<String> {
    let is = [&trace.code, &trace.reason];
    if is.iter().any(|text| text.as_deref() == Some(code)) {
        return None;
    }
    let is: Vec<_> = is.into_iter().flatten().map(String::as_str).collect();
    Some(format!(
        "expected for {code}; by trace it is {}",
        if is.is_empty() {
            "reachable".to_owned()
        } else {
            is.join(", ")
        }
    ))
}

/// What of `via` the trace's way does not cross, in that order.
fn not_crossed(via: &[&str], trace: &TraceReport) -> Option<String> {
    let mut hops = trace.forward.iter();
    for name in via {
        let named = format!("({name})");
        let is_it = |component: &str| {
            component
                .split(' ')
                .any(|word| word == *name || word == named)
        };
        if !hops.any(|hop| is_it(&hop.component)) {
            return Some(format!(
                "expected to cross {}; by trace it does not cross {name} there",
                via.join(", then ")
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests;
