//! What the store keeps of a model, and the model again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ApiError;
use crate::model::{Kind, Model, NetworkInterface, Plug, ResourceId};
use crate::store::{Change, Entry, Store, StoreError};

/// How ids go on.
const MINTER: &str = "minter";
/// The zones, by number.
const ZONES: &str = "zones";
/// The topology whose changes have been made.
const TEXT: &str = "topology";

fn key(id: &ResourceId) -> String {
    format!("{}/{}", id.kind.name(), id.text)
}

/// Writes what differs between two models, of which only `touched` was put or
/// removed.
pub(super) fn commit(
    store: &mut dyn Store,
    before: &Model,
    after: &Model,
    touched: &BTreeSet<ResourceId>,
) -> Result<(), ApiError> {
    let mut changes = Vec::new();
    for id in touched {
        let value = after.stored(id);
        // What is not kept (health, say) may be all that changed.
        if value != before.stored(id) {
            changes.push(Change {
                key: key(id),
                value,
            });
        }
    }
    let own = |key: &str, value: String| Change {
        key: key.to_owned(),
        value: Some(value),
    };
    if after.minted() != before.minted() {
        changes.push(own(MINTER, json(&after.minted())));
    }
    let zones = after.zones();
    if zones != before.zones() {
        changes.push(own(ZONES, json(&zones)));
    }
    if changes.is_empty() {
        return Ok(());
    }
    store.commit(&changes).map(drop).map_err(unwritable)
}

/// Writes all of a model into an empty store.
pub(super) fn commit_all(store: &mut dyn Store, model: &Model, text: &str) -> Result<(), ApiError> {
    let mut changes: Vec<Change> = own_ids(model)
        .map(|id| Change {
            value: model.stored(&id),
            key: key(&id),
        })
        .collect();
    for (key, value) in [
        (MINTER, json(&model.minted())),
        (ZONES, json(&model.zones())),
        (TEXT, json(&text)),
    ] {
        changes.push(Change {
            key: key.to_owned(),
            value: Some(value),
        });
    }
    store.commit(&changes).map(drop).map_err(unwritable)
}

/// Notes the topology whose changes have been made.
pub(super) fn commit_text(store: &mut dyn Store, text: &str) -> Result<(), ApiError> {
    let change = Change {
        key: TEXT.to_owned(),
        value: Some(json(&text)),
    };
    store.commit(&[change]).map(drop).map_err(unwritable)
}

/// The resources that somebody made: the internet is always there.
fn own_ids(model: &Model) -> impl Iterator<Item = ResourceId> {
    let start = Model::new(0).ids();
    model
        .ids()
        .into_iter()
        .filter(move |id| !start.contains(id))
}

/// The model that a store keeps, and its topology; none if it is empty.
///
/// # Errors
/// A key or value that this version does not understand.
pub(super) fn restore(
    store: &mut dyn Store,
) -> Result<Option<(Model, Option<String>)>, StoreError> {
    let entries = store.load()?;
    if entries.is_empty() {
        return Ok(None);
    }
    let mut model = Model::new(0);
    let mut text = None;
    let damaged = |entry: &Entry, why: &str| StoreError {
        file: entry.key.clone(),
        why: format!("cannot be understood: {why}"),
    };
    // Zones first: subnets name them by number.
    for entry in entries.iter().filter(|entry| entry.key == ZONES) {
        let zones: Vec<Arc<str>> = serde_json::from_str(&entry.value)
            .map_err(|error| damaged(entry, &error.to_string()))?;
        for zone in &zones {
            model.zone_or_new(zone);
        }
    }
    for entry in &entries {
        let result = match entry.key.as_str() {
            ZONES => Ok(()),
            TEXT => serde_json::from_str(&entry.value).map(|kept| text = Some(kept)),
            MINTER => serde_json::from_str(&entry.value).map(|position| model.mint_from(position)),
            key => {
                let kind = key
                    .split_once('/')
                    .and_then(|(kind, _)| Kind::by_name(kind));
                let kind = kind.ok_or_else(|| damaged(entry, "no such kind of resource"))?;
                model.put_stored(kind, &entry.value)
            }
        };
        result.map_err(|error| damaged(entry, &error.to_string()))?;
    }
    let_go(&mut model);
    super::dhcp_options::complete(&mut model);
    Ok(Some((model, text)))
}

/// Whatever was attached from outside went with the process that held it.
fn let_go(model: &mut Model) {
    let foreign = |interface: &&Arc<NetworkInterface>| {
        let plug = interface.attachment.as_ref().map(|held| &held.plug);
        matches!(plug, Some(Plug::Foreign(_)))
    };
    let attached: Vec<_> = model.interfaces().iter().filter(foreign).cloned().collect();
    for interface in attached {
        let mut waiting = NetworkInterface::clone(&interface);
        if let Some(held) = &mut waiting.attachment {
            held.plug = Plug::Waiting;
        }
        model.put(waiting);
    }
}

fn json(value: &impl serde::Serialize) -> String {
    // Numbers and texts only.
    serde_json::to_string(value).unwrap_or_default()
}

fn unwritable(error: StoreError) -> ApiError {
    ApiError::new(
        "ServiceUnavailable",
        format!("Nothing was changed: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;
    use crate::compile;
    use crate::model::*;

    /// A store in memory that can be out of order.
    #[derive(Debug, Default, Clone)]
    struct Memory {
        entries: Arc<std::sync::Mutex<std::collections::BTreeMap<String, String>>>,
        broken: Arc<std::sync::atomic::AtomicBool>,
    }

    impl Store for Memory {
        fn load(&mut self) -> Result<Vec<Entry>, StoreError> {
            let entries = self.entries.lock().unwrap().clone().into_iter();
            let entry = |(key, value)| Entry {
                key,
                value,
                revision: 1,
            };
            Ok(entries.map(entry).collect())
        }

        fn commit(&mut self, changes: &[Change]) -> Result<u64, StoreError> {
            if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(StoreError {
                    file: "memory".into(),
                    why: "the disk is full".into(),
                });
            }
            let mut entries = self.entries.lock().unwrap();
            for change in changes {
                match &change.value {
                    Some(value) => entries.insert(change.key.clone(), value.clone()),
                    None => entries.remove(&change.key),
                };
            }
            Ok(1)
        }

        fn watch(&mut self) -> std::sync::mpsc::Receiver<crate::store::Event> {
            std::sync::mpsc::channel().1
        }
    }

    fn again(store: &Memory) -> ControlPlane {
        let restored =
            ControlPlane::restore(ControlPlaneOptions::default(), Box::new(store.clone()));
        restored.unwrap().expect("it is not empty")
    }

    #[test]
    fn every_example_is_restored_as_it_was_rows_included() {
        for text in [
            include_str!("../../../examples/privatelink.yaml"),
            include_str!("../../../examples/gwlb-inspection.yaml"),
            include_str!("../../../examples/three-tier.yaml"),
            include_str!("../../../examples/inspection-nat.yaml"),
            include_str!("../../../examples/s3-gateway.yaml"),
            include_str!("../../../examples/hybrid.yaml"),
            include_str!("../../../examples/aws-services.yaml"),
        ] {
            let topology = crate::topology::Topology::parse("example", text).unwrap();
            let (mut control, _) = topology.control_plane_keeping(&Default::default()).unwrap();
            let store = Memory::default();
            control.keep_in(Box::new(store.clone()), text).unwrap();
            let restored = again(&store);
            assert_eq!(
                restored.model().differences(control.model()),
                BTreeSet::new()
            );
            assert_eq!(restored.file_text().map(String::as_str), Some(text));
            let settings = control.tables().load().settings;
            let full = compile::full(restored.model(), settings);
            assert_eq!(
                full.row_difference(&compile::full(restored.model(), settings)),
                None
            );
            assert_eq!(restored.inconsistency(), None);
        }
    }

    #[test]
    fn changes_are_kept_as_they_are_made_and_ids_go_on() {
        let mut control = ControlPlane::default();
        let store = Memory::default();
        control.keep_in(Box::new(store.clone()), "").unwrap();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let eni = interface(&mut control, &subnet);
        let mut restored = again(&store);
        assert_eq!(
            restored.model().differences(control.model()),
            BTreeSet::new()
        );
        // The next id is the next one in both.
        let next = |control: &mut ControlPlane| interface(control, &subnet);
        assert_eq!(next(&mut restored), next(&mut control));
        let detach = DetachNetworkInterface {
            network_interface: eni.clone(),
        };
        control.execute(detach).unwrap();
        let delete = DeleteNetworkInterface {
            network_interface: eni.clone(),
        };
        control.execute(delete).unwrap();
        assert!(again(&store).model().get(&eni).is_none());
        assert_consistent(&again(&store));
    }

    #[test]
    fn what_cannot_be_kept_is_refused_and_not_done() {
        let mut control = ControlPlane::default();
        let store = Memory::default();
        control.keep_in(Box::new(store.clone()), "").unwrap();
        let vpc = vpc(&mut control);
        store
            .broken
            .store(true, std::sync::atomic::Ordering::Relaxed);
        let delete = DeleteVpc { vpc: vpc.clone() };
        refused(
            &mut control,
            delete.clone(),
            "ServiceUnavailable",
            "the disk is full",
        );
        assert!(control.model().get(&vpc).is_some());
        store
            .broken
            .store(false, std::sync::atomic::Ordering::Relaxed);
        control.execute(delete).unwrap();
        assert!(again(&store).model().get(&vpc).is_none());
    }

    #[test]
    fn a_damaged_store_is_named() {
        let store = Memory::default();
        for (key, value) in [("Vpc/vpc-1", "{"), ("Nothing/x", "{}")] {
            *store.entries.lock().unwrap() = [(key.to_owned(), value.to_owned())].into();
            let restored =
                ControlPlane::restore(ControlPlaneOptions::default(), Box::new(store.clone()));
            assert!(restored.unwrap_err().to_string().contains(key));
        }
    }

    #[test]
    fn what_was_attached_from_outside_waits_again() {
        let mut control = ControlPlane::default();
        let store = Memory::default();
        control.keep_in(Box::new(store.clone()), "").unwrap();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let eni = interface(&mut control, &subnet);
        let plug = PlugNetworkInterface {
            network_interface: eni.clone(),
            plug: Plug::Foreign("a container".into()),
        };
        control.execute(plug).unwrap();
        let restored = again(&store);
        let held = restored
            .model()
            .get(&eni)
            .unwrap()
            .attachment
            .clone()
            .unwrap();
        assert_eq!(held.plug, Plug::Waiting);
    }
}
