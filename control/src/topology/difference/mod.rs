//! Another file for a lab that runs: what differs is changed, the rest stays.
//!
//! The new file is made by API actions on a control plane of its own, which
//! refuses what AWS refuses. Ids follow from names and what was chosen is chosen
//! again, so the two models differ exactly where the files do; one transaction
//! then makes the running one the same. What AWS cannot change in place has
//! another id: it goes, and its successor comes.

mod facts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::tables::TargetHealth;
use vpclab_dataplane::time::{Duration, Instant};

use super::error::Mistake;
use super::located::At;
use super::{Kept, Names, Topology, TopologyError};
use crate::api::{ApiError, ControlPlane, SetZoneState};
use crate::model::{
    Kind, Model, NetworkInterface, NetworkInterfaceId, Plug, ResourceId, Target, TargetGroup,
};

/// What becomes of a thing.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// It goes.
    Removed,
    /// It stays, and something of it changes.
    Changed,
    /// It comes.
    Added,
}

/// A change to one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What kind of thing: `route table`.
    pub kind: String,
    /// Its name in the file, or what describes it.
    pub name: String,
    /// What becomes of it.
    pub verb: Verb,
    /// What changes, in words; empty unless it stays.
    pub details: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verb {
            Verb::Removed => '-',
            Verb::Changed => '~',
            Verb::Added => '+',
        };
        write!(f, "{mark} {} {}", self.kind, self.name)?;
        match self.details.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.details.join("; ")),
        }
    }
}

/// A file as it would be, or is, in a running lab.
#[derive(Debug)]
pub struct Difference {
    /// The control plane that the file makes.
    made: ControlPlane,
    /// What its names became.
    pub names: Names,
    /// What differs from the running one.
    pub changes: Vec<Change>,
}

impl Difference {
    /// The model as it will be.
    pub fn model(&self) -> &Model {
        self.made.model()
    }

    /// Makes it so, in one change.
    ///
    /// # Errors
    /// The state file cannot be written; then nothing has changed.
    pub fn commit(&self, control: &mut ControlPlane) -> Result<(), ApiError> {
        control.become_as(&self.made).map(drop)
    }
}

impl Topology {
    /// What must change in `control`, which `old` made, to become this file.
    ///
    /// # Errors
    /// The first refusal, with its line.
    pub fn difference(
        &self,
        control: &ControlPlane,
        old: &Self,
        names: &Names,
        now: Instant,
    ) -> Result<Difference, TopologyError> {
        self.changeable(old)
            .map_err(|mistake| mistake.in_file(&self.file))?;
        let live = control.model();
        let mut made = control.blank();
        made.edit(|next| carry_own(live, next));
        let names = self.apply_keeping(&mut made, &Kept::of(live, names))?;
        self.keep_zones_down(live, old, &mut made);
        made.edit(|tx| {
            carry_targets(live, tx, now);
            carry_public(live, tx);
            carry_plugs(live, tx);
        });
        if let Some((user, gone)) = dangling(made.model()) {
            let message = format!(
                "{gone} cannot go: {user}, which the AWS API made, needs it; delete that first, or \
                 keep {gone} in the file"
            );
            return Err(Mistake::new(At::default(), message).in_file(&self.file));
        }
        let changes = changes(live, made.model());
        Ok(Difference {
            made,
            names,
            changes,
        })
    }

    /// What holds for a lab from its start to its end.
    fn changeable(&self, old: &Self) -> Result<(), Mistake> {
        let fixed = [
            (
                "region",
                self.region() == old.region(),
                old.region().to_owned(),
            ),
            ("seed", self.seed() == old.seed(), old.seed().to_string()),
            (
                "time_scale",
                self.time_scale() == old.time_scale(),
                old.time_scale().to_string(),
            ),
        ];
        match fixed.into_iter().find(|(_, same, _)| !same) {
            None => Ok(()),
            Some((what, _, was)) => Err(Mistake::new(
                At::default(),
                format!(
                    "{what} was {was} when the lab started and cannot change while it runs; \
                     end the lab first: vpclab down"
                ),
            )),
        }
    }

    /// Zones that a command took down stay so, unless the files differ in them.
    fn keep_zones_down(&self, live: &Model, old: &Self, made: &mut ControlPlane) {
        let of = |topology: &Self| -> BTreeSet<String> {
            let zones = topology.faults.zones_down.iter();
            zones.map(|zone| zone.name(topology.region())).collect()
        };
        if of(self) != of(old) {
            return;
        }
        let own = of(self);
        let by_command = live.zones_down().map(ToString::to_string);
        let changed = by_command
            .filter(|zone| !own.contains(zone))
            .map(|zone| (zone, true))
            .chain(own.iter().cloned().map(|zone| {
                let down = live.is_zone_down(&zone);
                (zone, down)
            }));
        for (availability_zone, down) in changed.collect::<Vec<_>>() {
            // A zone without subnets has nothing to be down.
            let _ = made.execute(SetZoneState {
                availability_zone,
                down,
            });
        }
    }
}

/// What the AWS API made stays, whatever the file says. It is there first, so that
/// nothing of the file's takes its addresses or names.
fn carry_own(live: &Model, next: &mut Model) {
    for id in live.ids() {
        if live.meta_of(&id).is_some_and(|meta| meta.created_s > 0) {
            next.adopt(live, &id);
        }
    }
}

/// Something that the API made and what it names, but is not there.
fn dangling(model: &Model) -> Option<(ResourceId, ResourceId)> {
    let own = |id: &ResourceId| model.meta_of(id).is_some_and(|meta| meta.created_s > 0);
    model.ids().into_iter().filter(own).find_map(|id| {
        let mut named = model.references_of(&id).into_iter();
        let gone = named.find(|to| to.kind != Kind::Scope && model.meta_of(to).is_none());
        gone.map(|gone| (id, gone))
    })
}

/// Targets that stay keep their health; those that go drain first.
fn carry_targets(live: &Model, made: &mut Model, now: Instant) {
    let groups: Vec<TargetGroup> = made
        .target_groups()
        .iter()
        .map(|group| TargetGroup::clone(group))
        .collect();
    for mut group in groups {
        let Some(before) = live.get(&group.id) else {
            continue;
        };
        for target in &mut group.targets {
            let same = |old: &&Target| (&old.id, old.port) == (&target.id, target.port);
            let old = before.targets.iter().find(same);
            if let Some(old) = old.filter(|old| old.draining_until.is_none()) {
                target.health = old.health;
                target.failure = old.failure;
            }
        }
        let delay = before.attributes.deregistration_delay_s;
        for old in &before.targets {
            let stays = group
                .targets
                .iter()
                .any(|target| (&target.id, target.port) == (&old.id, old.port));
            if stays
                || (old.draining_until.is_none()
                    && (delay == 0 || old.health == TargetHealth::Unused))
            {
                continue;
            }
            let mut drains = old.clone();
            let until = now + Duration::from_secs(delay.into());
            drains.health = TargetHealth::Draining;
            drains.failure = None;
            drains.draining_until = drains.draining_until.or(Some(until));
            group.targets.push(drains);
        }
        made.put(group);
    }
}

/// Interfaces that wait to be attached keep what is attached to them.
fn carry_plugs(live: &Model, made: &mut Model) {
    let attached = |it: &NetworkInterface| {
        let plug = it.attachment.as_ref().map(|held| held.plug.clone());
        plug.filter(|plug| matches!(plug, Plug::Foreign(_)))
    };
    let kept: Vec<_> = made
        .interfaces()
        .iter()
        .filter(|it| {
            it.attachment
                .as_ref()
                .is_some_and(|held| held.plug == Plug::Waiting)
        })
        .filter_map(|it| Some((NetworkInterface::clone(it), attached(live.get(&it.id)?)?)))
        .collect();
    for (mut interface, plug) in kept {
        if let Some(held) = &mut interface.attachment {
            held.plug = plug;
        }
        made.put(interface);
    }
}

/// Interfaces that stay keep the public address that they were given.
fn carry_public(live: &Model, made: &mut Model) {
    let ids: Vec<NetworkInterfaceId> = made.interfaces().iter().map(|it| it.id.clone()).collect();
    for id in ids {
        let before = live.get(&id).and_then(|old| old.auto_public);
        let Some(mut interface) = made.get(&id).map(|it| NetworkInterface::clone(it)) else {
            continue;
        };
        let (Some(before), Some(chosen)) = (before, interface.auto_public) else {
            continue;
        };
        if before == chosen {
            continue;
        }
        // Whoever was given it meanwhile takes the other one.
        let holder = made
            .interfaces()
            .iter()
            .find(|it| it.auto_public == Some(before))
            .map(|it| NetworkInterface::clone(it));
        if holder.is_none() && made.indexes().public_owner(before.into()).is_some() {
            continue;
        }
        interface.auto_public = None;
        made.put(interface.clone());
        if let Some(mut holder) = holder {
            holder.auto_public = Some(chosen);
            made.put(holder);
        }
        interface.auto_public = Some(before);
        made.put(interface);
    }
}

/// A thing that differs: what was told of it, and what is to be.
#[derive(Default)]
struct Thing {
    /// Ids that go, and that come; parts have none of their own.
    ids: (usize, usize),
    stays: bool,
    old: BTreeMap<String, String>,
    new: BTreeMap<String, String>,
}

impl Thing {
    fn verb(&self) -> Verb {
        match self.ids {
            _ if self.stays => Verb::Changed,
            (0, 0) => Verb::Changed,
            (_, 0) => Verb::Removed,
            (0, _) => Verb::Added,
            _ => Verb::Changed,
        }
    }
}

/// What differs, in words: what goes, what changes, what comes.
fn changes(live: &Model, made: &Model) -> Vec<Change> {
    let mut things: BTreeMap<(&'static str, String), Thing> = BTreeMap::new();
    for id in live.differences(made) {
        let (before, after) = (facts::of(live, &id), facts::of(made, &id));
        let Some(any) = after.as_ref().or(before.as_ref()) else {
            continue;
        };
        let thing = things.entry((any.kind, any.name.clone())).or_default();
        match (any.part, before.is_some(), after.is_some()) {
            (true, ..) => {}
            (_, true, true) => thing.stays = true,
            (_, true, false) => thing.ids.0 += 1,
            (_, false, _) => thing.ids.1 += 1,
        }
        thing
            .old
            .extend(before.into_iter().flat_map(|facts| facts.facts));
        thing
            .new
            .extend(after.into_iter().flat_map(|facts| facts.facts));
    }
    let mut found: Vec<Change> = things
        .into_iter()
        .map(|((kind, name), thing)| {
            let verb = thing.verb();
            let details = match verb {
                Verb::Changed => details(&thing),
                _ => Vec::new(),
            };
            Change {
                kind: kind.to_owned(),
                name,
                verb,
                details,
            }
        })
        .filter(|change| change.verb != Verb::Changed || !change.details.is_empty())
        .collect();
    found.sort_by(|a, b| (a.verb, &a.kind, &a.name).cmp(&(b.verb, &b.kind, &b.name)));
    found
}

fn details(thing: &Thing) -> Vec<String> {
    let (old, new) = (&thing.old, &thing.new);
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut words = Vec::new();
    if !thing.stays && thing.ids != (0, 0) {
        words.push("replaced".to_owned());
    }
    for name in names {
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old != new => words.push(format!("{name} {old} → {new}")),
            (Some(old), None) => words.push(format!("- {name} {old}").trim_end().to_owned()),
            (None, Some(new)) => words.push(format!("+ {name} {new}").trim_end().to_owned()),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests;
