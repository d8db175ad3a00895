//! The routes of a table that can win, by prefix, each with a *slot* that the
//! search structure leads to.
//!
//! A small table is a list: a route's slot is its place. A large one shares
//! structure with the version before, so that one route can change in a table of a
//! million; there a route keeps its slot for as long as it is there.

use std::iter::once;
use std::ops::RangeInclusive;
use std::sync::Arc;

use imbl::{OrdMap, Vector};

use super::Route;
use crate::addr::Prefix;

/// The most routes of a list. A change copies it, and the search structure of so
/// few is built anew in any case.
const FEW: usize = 128;
/// At so few a large table becomes a list again; well below [`FEW`], so that a table
/// of about that size does not go back and forth.
const FEW_AGAIN: usize = FEW / 2;

/// A route that decides for its prefix.
#[derive(Clone, Debug)]
pub(super) struct Winner {
    pub(super) route: Route,
    /// When the route came to be what it is: the version, and a number within it.
    /// No two routes of a table ever have the same.
    pub(super) stamp: u64,
}

/// Routes by prefix. Cloning is cheap and shares memory.
#[derive(Clone, Debug)]
pub(super) enum Winners {
    /// By prefix.
    Few(Arc<[Winner]>),
    Many(Box<Many>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    by_prefix: OrdMap<Prefix, u32>,
    slots: Vector<Option<Winner>>,
    free: Vector<u32>,
}

/// What a change did to slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// All prefixes lead where they led.
    Nothing,
    /// A prefix came or went; the slots of the others are what they were.
    One,
    /// Those of other prefixes are others now.
    Many,
}

impl Default for Winners {
    fn default() -> Self {
        Self::Few(Arc::new([]))
    }
}

impl Winners {
    /// From routes in order of their prefixes, each of which is there once.
    pub(super) fn from_sorted(all: Vec<Winner>) -> Self {
        if all.len() <= FEW {
            return Self::Few(all.into());
        }
        let prefixes = all.iter().map(|winner| winner.route.prefix);
        Self::Many(Box::new(Many {
            by_prefix: prefixes.zip(0u32..).collect(),
            slots: all.into_iter().map(Some).collect(),
            free: Vector::new(),
        }))
    }

    /// Number of routes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(all) => all.len(),
            Self::Many(many) => many.by_prefix.len(),
        }
    }

    /// The route of a slot.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> Option<&Winner> {
        match self {
            Self::Few(all) => all.get(slot as usize),
            Self::Many(many) => many.slots.get(slot as usize)?.as_ref(),
        }
    }

    /// The slot of a prefix.
    pub(super) fn slot(&self, prefix: Prefix) -> Option<u32> {
        match self {
            Self::Few(all) => place(all, prefix).ok().map(|place| place as u32),
            Self::Many(many) => many.by_prefix.get(&prefix).copied(),
        }
    }

    /// The route of a prefix.
    pub(super) fn get(&self, prefix: Prefix) -> Option<&Winner> {
        self.at(self.slot(prefix)?)
    }

    /// Prefixes with their slots, in order.
    pub(super) fn range(
        &self,
        range: RangeInclusive<Prefix>,
    ) -> impl Iterator<Item = (Prefix, u32)> {
        // One of the two is empty.
        let (few, first, many) = match self {
            Self::Few(all) => {
                let first = place(all, *range.start()).unwrap_or_else(|place| place);
                (all.get(first..).unwrap_or_default(), first as u32, None)
            }
            Self::Many(many) => (&[][..], 0, Some(&many.by_prefix)),
        };
        let last = *range.end();
        let few = few.iter().zip(first..);
        let few = few.map(|(winner, slot)| (winner.route.prefix, slot));
        let few = few.take_while(move |(prefix, _)| *prefix <= last);
        let many = many
            .into_iter()
            .flat_map(move |all| all.range(range.clone()));
        few.chain(many.map(|(prefix, slot)| (*prefix, *slot)))
    }

    /// All routes by prefix.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Winner> {
        let all = Prefix::ANY_V4..=Prefix::host(std::net::Ipv6Addr::from(u128::MAX).into());
        self.range(all).filter_map(|(_, slot)| self.at(slot))
    }

    /// Puts the route of a prefix, or takes it away.
    pub(super) fn set(&mut self, prefix: Prefix, winner: Option<Winner>) -> Moved {
        match self {
            Self::Few(all) => {
                let (next, moved) = few_with(all, prefix, winner);
                match next {
                    Some(next) if next.len() > FEW => *self = Self::from_sorted(next.to_vec()),
                    Some(next) => *all = next,
                    None => {}
                }
                moved
            }
            Self::Many(many) => {
                let moved = many.set(prefix, winner);
                if moved == Moved::Nothing || many.by_prefix.len() > FEW_AGAIN {
                    return moved;
                }
                *self = Self::from_sorted(self.iter().cloned().collect());
                Moved::Many
            }
        }
    }
}

fn place(all: &[Winner], prefix: Prefix) -> Result<usize, usize> {
    all.binary_search_by(|winner| winner.route.prefix.cmp(&prefix))
}

/// A list with one route changed, and what became of slots; `None` if it has been
/// changed in place.
fn few_with(
    all: &mut Arc<[Winner]>,
    prefix: Prefix,
    winner: Option<Winner>,
) -> (Option<Arc<[Winner]>>, Moved) {
    let found = place(all, prefix);
    let (Ok(place) | Err(place)) = found;
    let (before, after) = all.split_at(place);
    let next = match (found, winner) {
        (Err(_), None) => return (None, Moved::Nothing),
        (Ok(_), Some(winner)) => {
            if let Some(held) = Arc::make_mut(all).get_mut(place) {
                *held = winner;
            }
            return (None, Moved::Nothing);
        }
        (Err(_), Some(winner)) => {
            let (before, after) = (before.iter().cloned(), after.iter().cloned());
            before.chain(once(winner)).chain(after).collect()
        }
        (Ok(_), None) => {
            let after = after.get(1..).unwrap_or_default();
            before.iter().chain(after).cloned().collect()
        }
    };
    (Some(next), Moved::Many)
}

impl Many {
    fn set(&mut self, prefix: Prefix, winner: Option<Winner>) -> Moved {
        let slot = self.by_prefix.get(&prefix).copied();
        let moved = match slot.is_some() == winner.is_some() {
            true => Moved::Nothing,
            false => Moved::One,
        };
        match (slot, winner) {
            (None, None) => {}
            (Some(slot), Some(winner)) => drop(self.slots.set(slot as usize, Some(winner))),
            (Some(slot), None) => {
                self.by_prefix.remove(&prefix);
                self.slots.set(slot as usize, None);
                self.free.push_back(slot);
            }
            (None, Some(winner)) => {
                let slot = match self.free.pop_back() {
                    Some(slot) => {
                        self.slots.set(slot as usize, Some(winner));
                        slot
                    }
                    None => {
                        self.slots.push_back(Some(winner));
                        self.slots.len() as u32 - 1
                    }
                };
                self.by_prefix.insert(prefix, slot);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::addr::EniId;
    use crate::flow::Seed;
    use crate::tables::{RouteOrigin, RouteTarget};

    fn winner(prefix: Prefix, stamp: u64) -> Winner {
        let route = Route {
            prefix,
            target: RouteTarget::Eni(EniId(stamp as u32)),
            origin: RouteOrigin::Static,
            label: "route".into(),
        };
        Winner { route, stamp }
    }

    /// Grows beyond a list and shrinks again, beside a map: routes are found by prefix, by
    /// slot and in order, versions before stay what they were, no slot is anybody else's
    /// after a change that says so, and those of routes that went are used again.
    #[test]
    fn they_are_a_map_whose_slots_stay_as_it_says() {
        let random = |n: u64| Seed(5).words(&[n]);
        let mut all = Winners::default();
        let mut model: BTreeMap<Prefix, u64> = BTreeMap::new();
        let (mut most, mut forms, mut said) = (0, Vec::new(), [0; 3]);
        for step in 0..5_400u64 {
            let word = random(step);
            let key = word % 300;
            let prefix = match key {
                0 => Prefix::ANY_V4,
                1 => Prefix::host(std::net::Ipv6Addr::from(u128::MAX).into()),
                2 => Prefix::host(std::net::Ipv4Addr::BROADCAST.into()),
                _ => Prefix::host(std::net::Ipv4Addr::from(key as u32 * 7).into()),
            };
            // It grows for a while, then shrinks.
            let comes = (step / 900).is_multiple_of(2) || word >> 20 & 7 == 0;
            let (before, was) = (all.clone(), model.clone());
            let moved = all.set(prefix, comes.then(|| winner(prefix, step)));
            let held = match comes {
                true => model.insert(prefix, step),
                false => model.remove(&prefix),
            };
            match moved {
                Moved::Nothing => assert_eq!(held.is_some(), comes, "it says that all stay"),
                Moved::One | Moved::Many => assert_ne!(held.is_some(), comes),
            }
            said[moved as usize] += 1;
            let is_list = matches!(all, Winners::Few(_));
            forms.push(is_list);
            forms.dedup();
            for (held, old) in [(&all, &model), (&before, &was)] {
                let listed = held
                    .iter()
                    .map(|winner| (winner.route.prefix, winner.stamp));
                assert!(listed.eq(old.iter().map(|(prefix, stamp)| (*prefix, *stamp))));
                assert_eq!(held.len(), old.len());
            }
            let ends = [prefix, Prefix::host(std::net::Ipv4Addr::from(1_400).into())];
            let range = *ends.iter().min().unwrap()..=*ends.iter().max().unwrap();
            let found = all.range(range.clone()).map(|(prefix, _)| prefix);
            assert!(
                found.eq(model.range(range).map(|(prefix, _)| *prefix)),
                "step {step}"
            );
            assert_eq!(
                all.get(prefix).map(|w| w.stamp),
                model.get(&prefix).copied()
            );
            let others = model.keys().filter(|other| **other != prefix);
            for other in others.filter(|_| moved != Moved::Many) {
                assert_eq!(
                    before.slot(*other),
                    all.slot(*other),
                    "step {step}, {moved:?}"
                );
            }
            // A tree's slots are as many as it ever had routes.
            most = if is_list { 0 } else { most.max(model.len()) };
            if let Winners::Many(many) = &all {
                assert!(
                    many.slots.len() <= most.max(FEW + 1),
                    "{} slots",
                    many.slots.len()
                );
            }
        }
        assert_eq!(forms, [true, false, true, false, true, false, true]);
        assert!(said.iter().all(|times| *times > 200), "{said:?}");
    }
}
