//! What `ps`, `inspect` and `flows` are answered: reports of what is.

use std::collections::BTreeMap;

use vpclab_dataplane::flow::Ingress;
use vpclab_dataplane::time::Instant;

use super::{Lab, drops, gateway};
use crate::cli::CliError;
use crate::host::init_client::InitClient;
use crate::host::protocol::FlowsRequest;
use crate::host::{Context, from_model};
use crate::report::flows::FlowSample;
use crate::report::ps::Inputs;
use crate::report::{Counted, FlowsReport, InspectReport, Names, PsReport};

/// Hosts, endpoints, load balancers and targets.
pub(super) fn ps(lab: &Lab) -> Result<PsReport, CliError> {
    let status = InitClient::connect_as_child(&lab.dir)?.status()?;
    let counters = lab.worker.counters().context("counters")?;
    let ports: BTreeMap<_, _> = counters.ports.iter().copied().collect();
    let mut hosts = lab.model.hosts();
    hosts.extend(from_model::foreign(lab.model.control().model()));
    let inputs = Inputs {
        lab: lab.dir.name(),
        uptime_s: uptime_s(lab) as u64,
        http: lab.http_at(),
        time_scale: lab.time_scale(),
        faults: &status.faults,
        hosts: &hosts,
        programs: &status.programs,
        ports: &ports,
        counted: &counted(lab)?,
        gateway: gateway::report(lab),
    };
    Ok(PsReport::new(lab.model.control().model(), &inputs))
}

/// What the workers have counted of load balancers, endpoints and NAT gateways.
pub(super) fn counted(lab: &Lab) -> Result<Counted, CliError> {
    let workers = lab.worker.visit_each(|pipeline, _, now| {
        let connections = pipeline.connections();
        (connections.accounts(now), connections.nat_counts())
    });
    let mut all = Counted::default();
    for (accounts, nat_gateways) in &workers.context("counters")? {
        all.add(accounts, nat_gateways);
    }
    Ok(all)
}

/// Seconds since the daemon started: the clock began with it.
pub(super) fn uptime_s(lab: &Lab) -> f64 {
    let clock = lab.worker.clock();
    clock.real(clock.now().since(Instant::ZERO)).as_nanos() as f64 / 1e9
}

/// What `id` means (all interfaces without one), and the lab's counters.
pub(super) fn inspect(lab: &Lab, id: Option<&str>) -> Result<InspectReport, CliError> {
    let counters = lab.worker.counters().context("counters")?;
    let ports = id.map(|id| lab.model.ports(id)).transpose();
    let gateway = gateway::report(lab);
    let control = lab.model.control();
    let report = |wanted| {
        InspectReport::new(control.model(), lab.dir.name(), id, wanted, &counters)
            .with_searches(control.model(), &control.tables().load())
            .with_gateway(gateway, id.is_some())
    };
    match ports {
        Ok(wanted) => Ok(report(wanted.as_deref())),
        // Not everything has interfaces.
        Err(error) => {
            let report = report(Some(&[]));
            if report.resources.is_empty() {
                return Err(error);
            }
            Ok(report)
        }
    }
}

/// Live connections: what each end sends, and how much went each way.
pub(super) fn flows(lab: &Lab, request: &FlowsRequest) -> Result<FlowsReport, CliError> {
    let wanted = request.port.as_deref().map(|port| lab.model.ports(port));
    let wanted = wanted.transpose()?;
    let filter = drops::parse(lab, request.filter.as_deref())?;
    let samples = lab
        .worker
        .visit_each(|pipeline, _, now| FlowSample::all(pipeline, now))
        .context("flows")?
        .concat();
    let name = ends(lab);
    let asked = |sample: &&FlowSample| {
        let here = wanted.as_ref().is_none_or(|wanted| {
            let mut ends = sample.ingresses();
            ends.any(|end| matches!(end, Ingress::Eni(eni) if wanted.contains(&eni)))
        });
        here && filter.as_ref().is_none_or(|filter| sample.fits(filter))
    };
    let flows = samples.iter().filter(asked);
    let mut flows: Vec<_> = flows.map(|sample| sample.report(&name)).collect();
    flows.sort_by(|a, b| b.age_s.cmp(&a.age_s).then_with(|| a.id.cmp(&b.id)));
    Ok(FlowsReport { flows })
}

/// How the ends of flows are called.
pub(super) fn ends(lab: &Lab) -> impl Fn(Ingress) -> String + use<> {
    let names = {
        let control = lab.model.control();
        Names::of(control.model()).interfaces(control.model())
    };
    move |ingress| match ingress {
        Ingress::Eni(eni) => names.get(&eni).cloned().unwrap_or_default(),
        Ingress::Gwlb(serial) => format!("gwlb flow {serial}"),
    }
}
