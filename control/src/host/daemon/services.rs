//! AWS's services: who answers behind endpoints, kept in step with the model.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use vpclab_dataplane::addr::EniId;

use super::Lab;
use crate::api::aws_service_name;
use crate::host::HostError;
use crate::host::gateway::Gateway;
use crate::model::{Model, Through};
use crate::topology::Topology;
use crate::topology::difference::{Change, Verb};
use crate::upstream::proxy::{Proxy, Upstreams};
use crate::upstream::{Client, PORT, Upstream};

/// What runs for services.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    upstreams: Upstreams,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    /// There from the first service on.
    proxy: Option<Proxy>,
    /// Each interface at which a service answers.
    ports: BTreeMap<EniId, (Through, Gateway)>,
}

/// Who answers from now on, by the lab's file.
pub(super) fn configure(lab: &Lab, topology: &Topology) {
    let upstreams = lab.services.upstreams.write();
    *upstreams.unwrap_or_else(PoisonError::into_inner) = of(topology);
}

/// Answers wherever the model has a service. Connections of interfaces that stay
/// are not disturbed.
///
/// # Errors
/// The operating system has no thread or pipe for it.
pub(super) fn sync(lab: &Lab, model: &Model) -> Result<(), HostError> {
    let ports = model.service_ports().into_iter();
    let wanted: BTreeMap<EniId, Through> = ports
        .filter_map(|(id, through)| Some((EniId(model.row(&id)?), through)))
        .collect();
    let tables = lab.model.tables();
    let running = lab.services.running.lock();
    let mut running = running.unwrap_or_else(PoisonError::into_inner);
    let gone = running.ports.extract_if(.., |eni, (through, gateway)| {
        wanted.get(eni) != Some(through) || !gateway.is_at(&tables, *eni)
    });
    for (_, (_, gateway)) in gone.collect::<Vec<_>>() {
        gateway.stop(&lab.worker);
    }
    for (eni, through) in wanted {
        if running.ports.contains_key(&eni) {
            continue;
        }
        let proxy = match &running.proxy {
            Some(proxy) => proxy.clone(),
            None => {
                let started = Proxy::start(Arc::clone(&lab.services.upstreams))?;
                running.proxy.insert(started).clone()
            }
        };
        let way = through.clone();
        let gateway = Gateway::serve(&tables, &lab.worker, eni, move |tuple| {
            let client = Client {
                through: way.clone(),
                address: tuple.src,
            };
            (tuple.dport == PORT).then(|| proxy.open(client))?
        })?;
        running.ports.insert(eni, (through, gateway));
    }
    Ok(())
}

/// Who answers for which service, by its full name.
fn of(topology: &Topology) -> BTreeMap<Arc<str>, Upstream> {
    let region = topology.region();
    let all = topology.services.iter().filter_map(|(name, upstream)| {
        let short = aws_service_name(region, &name.value).ok()?;
        let name = Arc::from(format!("com.amazonaws.{region}.{short}"));
        Some((name, upstream.value.0.clone()))
    });
    all.collect()
}

/// Services for which another answers from now on; those that come and go are told
/// by the model.
pub(super) fn changes(old: &Topology, new: &Topology) -> Vec<Change> {
    let old = of(old);
    let changed = of(new).into_iter().filter_map(|(name, upstream)| {
        let was = old.get(&name).filter(|was| **was != upstream)?;
        Some(Change {
            kind: "upstream".to_owned(),
            name: name.to_string(),
            verb: Verb::Changed,
            details: vec![format!("{was} → {upstream}")],
        })
    });
    changed.collect()
}
