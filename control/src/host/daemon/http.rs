//! What the lab's HTTP port serves of this daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use vpclab_dataplane::nat::GatewayCounts;

use super::{Lab, gateway, load, show};
use crate::aws;
use crate::cli::CliError;
use crate::host::runtime_dir::State;
use crate::http::metrics::{BalancerSample, EndpointSample, EniSample, Sample, TargetSample};
use crate::http::{self, Source};
use crate::model::Model;
use crate::report::ps::{Inputs, PsReport, balancer_kind};
use crate::report::{Counted, Names};

/// Listens as the lab's state asks for; says where, unless nowhere.
pub(super) fn start(lab: &Arc<Lab>, state: &State) -> Result<Option<SocketAddr>, CliError> {
    let before = lab.dir.http_port();
    let listener = http::bind(load::http(state)?, before).map_err(|error| {
        CliError::usage(error.to_string())
            .fix("take another: --http PORT; or leave it out: then the next free one serves")
    })?;
    let Some(listener) = listener else {
        return Ok(None);
    };
    let source = Arc::clone(lab) as Arc<dyn Source>;
    let api = aws::router(Arc::clone(lab) as Arc<dyn aws::Backend>);
    let address = http::serve(listener, http::router(source).merge(api))?;
    lab.dir.save_http_port(address.port())?;
    Ok(Some(address))
}

impl Source for Lab {
    fn sample(&self) -> Result<Sample, String> {
        sample(self).map_err(|error| error.to_string())
    }

    fn health(&self) -> Result<String, String> {
        let readiness = self.readiness();
        readiness.map_err(|failure| failure.message)?;
        // The packet worker answers.
        self.worker.counters().map_err(|gone| gone.to_string())?;
        Ok(self.dir.name().to_owned())
    }
}

fn sample(lab: &Lab) -> Result<Sample, CliError> {
    let gone = |error: vpclab_dataplane::worker::WorkerGone| CliError::fault(error.to_string());
    let counters = lab.worker.counters().map_err(gone)?;
    let flows = lab
        .worker
        .visit_each(|pipeline, _, _| pipeline.connections().sessions.len())
        .map_err(gone)?
        .iter()
        .sum::<usize>();
    let counted = show::counted(lab)?;
    let ports: BTreeMap<_, _> = counters.ports.iter().copied().collect();
    let uptime_s = show::uptime_s(lab);
    let inputs = Inputs {
        lab: lab.dir.name(),
        uptime_s: uptime_s as u64,
        http: None,
        time_scale: lab.time_scale(),
        faults: &BTreeMap::new(),
        hosts: &lab.model.hosts(),
        programs: &BTreeMap::new(),
        ports: &ports,
        counted: &counted,
        gateway: None,
    };
    let (report, balancers, endpoints, nat_gateways) = {
        let control = lab.model.control();
        let model = control.model();
        (
            PsReport::new(model, &inputs),
            balancers(model, &counted),
            endpoints(model, &counted),
            nat_gateways(model, &counted),
        )
    };
    let enis = report.hosts.iter().flat_map(|host| {
        host.interfaces.iter().map(|port| EniSample {
            id: port.id.clone(),
            host: host.name.clone(),
            device: port.device.clone(),
            port: port.counters.unwrap_or_default(),
        })
    });
    let targets = report.target_groups.iter().flat_map(|group| {
        group.targets.iter().map(|target| TargetSample {
            group: group.name.clone(),
            target: target.socket(),
            health: target.health.clone(),
        })
    });
    Ok(Sample {
        uptime_s,
        flows: flows as u64,
        enis: enis.collect(),
        targets: targets.collect(),
        endpoints,
        balancers,
        nat_gateways,
        gateway: gateway::report(lab),
        resident_bytes: resident_bytes(),
        lab: report.lab,
        counters,
    })
}

/// What the nodes of load balancers have counted.
fn balancers(model: &Model, counted: &Counted) -> Vec<BalancerSample> {
    let all = model.load_balancers().iter();
    let nodes = all.flat_map(|balancer| balancer.nodes.iter().map(move |node| (balancer, node)));
    let samples = nodes.map(|(balancer, node)| BalancerSample {
        name: balancer.name.to_string(),
        kind: balancer_kind(balancer.kind),
        zone: model
            .get(&node.subnet)
            .map(|subnet| subnet.zone.to_string())
            .unwrap_or_default(),
        counts: counted.node(model, node),
    });
    samples.collect()
}

/// What each endpoint has counted.
fn endpoints(model: &Model, counted: &Counted) -> Vec<EndpointSample> {
    let names = Names::of(model);
    let samples = model.vpc_endpoints().iter().map(|endpoint| {
        let name = endpoint.meta.name.as_deref();
        EndpointSample {
            name: name.unwrap_or(endpoint.id.as_str()).to_owned(),
            service: names.short(&endpoint.service_name).to_owned(),
            available: endpoint.state.name() == "available",
            // A gateway endpoint has none.
            counts: (!endpoint.interfaces.is_empty()).then(|| counted.endpoint(model, endpoint)),
        }
    });
    samples.collect()
}

/// What each NAT gateway has counted.
fn nat_gateways(model: &Model, counted: &Counted) -> Vec<(String, GatewayCounts)> {
    let working = model.nat_gateways().iter().filter_map(|gateway| {
        let name = gateway.meta.name.as_deref();
        let name = name.unwrap_or(gateway.id.as_str()).to_owned();
        Some((name, counted.nat_gateway(model, gateway)?))
    });
    working.collect()
}

/// Resident memory of this process; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
