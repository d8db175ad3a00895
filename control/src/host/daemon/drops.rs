//! What `drops` and captures say of packets that were dropped.

use std::collections::HashMap;
use std::net::IpAddr;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::FiveTuple;
use vpclab_dataplane::worker::{CaptureEvent, DropRecord};

use super::Lab;
use crate::cli::CliError;
use crate::filter::{self, Filter};
use crate::host::Context;
use crate::host::capture::{origin_of, since_origin};
use crate::host::protocol::DropsRequest;
use crate::report::Names;
use crate::report::drops::{self, DropsReport, Wanted};

/// The drops since a number, or the latest ones.
pub(super) fn answer(lab: &Lab, request: &DropsRequest) -> Result<DropsReport, CliError> {
    let at = request.port.as_deref();
    let at = at.map(|port| lab.model.ports(port)).transpose()?;
    let filter = parse(lab, request.filter.as_deref())?;
    let from = request.since.as_deref().unwrap_or(&[]);
    let mut found = lab.worker.drops(from).context("drops")?;
    if request.since.is_none() {
        // Nobody asked for what is long gone.
        found.missed = 0;
    }
    let wanted = Wanted {
        at: at.as_deref(),
        filter: filter.as_ref(),
        all: request.all,
        limit: request.limit,
    };
    let (records, mut left_out) = drops::select(&found, &wanted);
    if request.since.is_none() {
        left_out.clear();
    }
    let asked = records.clone();
    let verdicts = lab
        .worker
        .visit_each(move |pipeline, tables, now| drops::explain(pipeline, tables, now, &asked))
        .context("drops")?;
    let verdicts = drops::agreed(verdicts);
    let (tables, names, ends) = {
        let control = lab.model.control();
        let names = Names::of(control.model());
        let ends = names.interfaces(control.model());
        (control.tables().load(), names, ends)
    };
    let clock = lab.worker.clock();
    let origin = origin_of(clock);
    let drops = records.iter().zip(&verdicts).map(|(record, verdict)| {
        let at = ends.get(&record.eni).cloned();
        let at = at.unwrap_or_else(|| format!("eni #{}", record.eni.0));
        let time = origin + since_origin(clock, record.at);
        let name = |id: &str| names.get(id).map(str::to_owned);
        drops::report(record, verdict, at, time, &tables, &name)
    });
    Ok(DropsReport {
        next: found.next,
        drops: drops.collect(),
        left_out,
    })
}

/// A filter in which the lab's names mean something.
pub(super) fn parse(lab: &Lab, text: Option<&str>) -> Result<Option<Filter>, CliError> {
    let Some(text) = text else { return Ok(None) };
    let filter = Filter::parse(text, &LabNames(lab));
    let filter = filter.map_err(|error| CliError::usage(error.message).fix(error.fix))?;
    Ok(Some(filter))
}

struct LabNames<'a>(&'a Lab);

impl filter::Names for LabNames<'_> {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let enis = self.interfaces(name)?;
        let control = self.0.model.control();
        let model = control.model();
        let mut by_row = HashMap::new();
        for interface in model.interfaces().iter() {
            if let Some(row) = model.row(&interface.id) {
                by_row.insert(EniId(row), interface);
            }
        }
        let interfaces = enis.iter().filter_map(|eni| by_row.get(eni));
        let addresses = interfaces.flat_map(|it| {
            let public = crate::report::ps::public_addresses(model, it);
            it.addresses().chain(public).collect::<Vec<_>>()
        });
        Some(addresses.collect())
    }

    fn interfaces(&self, name: &str) -> Option<Vec<EniId>> {
        self.0.model.ports(name).ok()
    }
}

/// Most explanations that are remembered.
const EXPLAINED_MAX: usize = 1024;

/// Comments of captured packets that were dropped: the same as `drops` says. A
/// packet that is dropped again and again is explained once, until the lab
/// changes.
#[derive(Debug, Default)]
pub(super) struct Explainer {
    known: HashMap<(EniId, DropReason, Option<FiveTuple>), String>,
    version: u64,
}

impl Explainer {
    /// Why it was dropped, if it was.
    pub(super) fn comment(&mut self, lab: &Lab, event: &CaptureEvent) -> Option<String> {
        let reason = event.dropped?;
        let packet = filter::Packet::of_frame(event.eni, &event.bytes, None);
        let key = (event.eni, reason, packet.tuple);
        let version = lab.model.tables().load().version;
        if self.version != version || self.known.len() >= EXPLAINED_MAX {
            self.known.clear();
            self.version = version;
        }
        if let Some(comment) = self.known.get(&key) {
            return Some(comment.clone());
        }
        let comment = explained(lab, event, reason);
        self.known.insert(key, comment.clone());
        Some(comment)
    }
}

fn explained(lab: &Lab, event: &CaptureEvent, reason: DropReason) -> String {
    let mut comment = format!("dropped: {}: {}", reason.name(), reason.description());
    let record = DropRecord::new(event.at, event.eni, reason, &event.bytes);
    let verdicts = lab.worker.visit_each(move |pipeline, tables, now| {
        drops::explain(pipeline, tables, now, std::slice::from_ref(&record))
    });
    let verdicts = drops::agreed(verdicts.unwrap_or_default());
    let Some(hop) = verdicts.first().and_then(|it| it.hop) else {
        return comment;
    };
    let control = lab.model.control();
    let names = Names::of(control.model());
    let name = |id: &str| names.get(id).map(str::to_owned);
    let why = crate::trace::why(&control.tables().load(), reason, &hop, &name);
    comment.push_str(&format!(" By {}: {}.", why.component, why.rule));
    if let Some(fix) = why.fix {
        comment.push_str(&format!(" To change that: {fix}."));
    }
    comment
}
