//! One look at the lab for `top`.

use std::cmp::Reverse;

use vpclab_dataplane::time::Instant;

use super::{Lab, show};
use crate::cli::CliError;
use crate::host::Context;
use crate::report::flows::FlowSample;
use crate::top::TopReport;

/// More flows than a screen has lines.
const FLOWS_MAX: usize = 200;

pub(super) fn answer(lab: &Lab) -> Result<TopReport, CliError> {
    let ps = show::ps(lab)?;
    let looks = lab
        .worker
        .visit_each(|pipeline, _, now| {
            let mut samples = FlowSample::all(pipeline, now);
            let count = samples.len();
            samples.sort_by_key(|it| Reverse(it.bytes()));
            samples.truncate(FLOWS_MAX);
            (samples, count)
        })
        .context("flows")?;
    let clock = lab.worker.clock();
    let at = clock.real(clock.now().since(Instant::ZERO));
    let flow_count: usize = looks.iter().map(|(_, count)| count).sum();
    let mut samples: Vec<_> = looks.into_iter().flat_map(|(samples, _)| samples).collect();
    samples.sort_by_key(|it| Reverse(it.bytes()));
    samples.truncate(FLOWS_MAX);
    let counters = lab.worker.counters().context("counters")?;
    let name = show::ends(lab);
    Ok(TopReport {
        at_ns: at.as_nanos(),
        ps,
        counters: counters.pipeline.named().collect(),
        flow_count: flow_count as u64,
        flows: samples.iter().map(|it| it.report(&name)).collect(),
    })
}
