//! The way to and from the real network, if the topology asks for one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vpclab_dataplane::addr::EniId;

use super::Lab;
use crate::cli::CliError;
use crate::host::gateway::{Gateway, Listener, public_address};
use crate::model::Model;
use crate::report::gateway::{GatewayReport, PublishedReport};
use crate::topology::Topology;
use crate::topology::difference::{Change, Verb};

/// The gateway, while the lab has one.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Option<Gateway>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Gateway>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What listens for the ports that the topology publishes: what does already,
/// and new sockets. Changes nothing yet.
///
/// # Errors
/// A port that is in use.
pub(super) fn prepare(lab: &Lab, topology: &Topology) -> Result<Vec<Listener>, CliError> {
    let slot = lab.gateway.lock();
    let held = slot.as_ref().map_or(&[][..], |gateway| &gateway.listeners);
    let publish = topology.publish.iter().map(|one| &one.value);
    let listeners =
        publish.map(
            |publish| match held.iter().find(|listener| listener.is_at(publish)) {
                Some(listener) => Ok(listener.with(publish.clone())),
                None => Listener::open(publish.clone()),
            },
        );
    listeners.collect()
}

/// Makes it so. Connections of ports that stay are not disturbed.
pub(super) fn apply(
    lab: &Lab,
    topology: &Topology,
    mut listeners: Vec<Listener>,
) -> Result<(), CliError> {
    let mut slot = lab.gateway.lock();
    let eni = {
        let control = lab.model.control();
        let model = control.model();
        for listener in &mut listeners {
            listener.target = target(model, listener)?;
        }
        let mut all = model.interfaces().iter();
        let gateway = all.find(|interface| interface.is_gateway());
        gateway
            .and_then(|gateway| model.row(&gateway.id))
            .map(EniId)
    };
    let tables = lab.model.tables();
    let stays = |gateway: &Gateway| eni.is_some_and(|eni| gateway.is_at(&tables, eni));
    if let Some(gone) = slot.take_if(|gateway| !stays(gateway)) {
        gone.stop(&lab.worker);
    }
    let Some(eni) = eni else {
        return Ok(());
    };
    let mut gateway = match slot.take() {
        Some(gateway) => gateway,
        None => Gateway::start(&tables, &lab.worker, eni)?,
    };
    gateway.configure(listeners, topology.internet.uplink);
    for listener in &gateway.listeners {
        tracing::info!(publish = listener.publish.to_string(), "published");
    }
    *slot = Some(gateway);
    Ok(())
}

/// The interface that a published port leads to.
fn target(model: &Model, listener: &Listener) -> Result<EniId, CliError> {
    let publish = &listener.publish;
    let mut all = model.interfaces().iter();
    let interface = all.find(|interface| {
        let held = interface.attachment.as_ref();
        held.is_some_and(|held| *held.host == *publish.host && held.device_index == publish.device)
    });
    let row = interface.and_then(|interface| model.row(&interface.id));
    let nobody = || CliError::fault(format!("{publish}: no such interface"));
    row.map(EniId).ok_or_else(nobody)
}

/// Published ports that come, go, or lead elsewhere.
pub(super) fn changes(old: &Topology, new: &Topology) -> Vec<Change> {
    let by_place = |topology: &Topology| -> BTreeMap<(SocketAddr, bool), (String, String)> {
        let all = topology.publish.iter().map(|one| &one.value);
        all.map(|it| ((it.listen, it.udp), (it.place(), it.target())))
            .collect()
    };
    let (old, new) = (by_place(old), by_place(new));
    let mut changes = Vec::new();
    let mut change = |name: &str, verb, details| {
        changes.push(Change {
            kind: "published port".to_owned(),
            name: name.to_owned(),
            verb,
            details,
        });
    };
    for (key, (place, target)) in &new {
        match old.get(key) {
            None => change(place, Verb::Added, Vec::new()),
            Some((_, was)) if was != target => {
                change(place, Verb::Changed, vec![format!("to {was} → {target}")]);
            }
            Some(_) => {}
        }
    }
    for (place, _) in old
        .iter()
        .filter(|(key, _)| !new.contains_key(key))
        .map(|(_, it)| it)
    {
        change(place, Verb::Removed, Vec::new());
    }
    changes
}

/// The gateway as it is.
pub(super) fn report(lab: &Lab) -> Option<GatewayReport> {
    let slot = lab.gateway.lock();
    let gateway = slot.as_ref()?;
    let tables = lab.model.tables();
    let tables = tables.load();
    let published = gateway.listeners.iter().map(|listener| {
        let publish = &listener.publish;
        let address = public_address(&tables, listener.target);
        PublishedReport {
            protocol: if publish.udp { "udp" } else { "tcp" }.to_owned(),
            listen: publish.listen,
            host: publish.host.clone(),
            port: publish.port,
            target: address.map(|address| SocketAddr::new(address, publish.port)),
        }
    });
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Some(GatewayReport {
        uplink: gateway.uplink,
        published: published.collect(),
        tcp: load(&gateway.stats.tcp),
        datagrams: load(&gateway.stats.datagrams),
        no_room: load(&gateway.stats.no_room),
        not_carried: load(&gateway.stats.not_carried),
    })
}
