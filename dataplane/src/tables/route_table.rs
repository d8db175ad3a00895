//! A route table, compiled for lookup.
//!
//! AWS: longest prefix first; of equal prefixes static, then prefix list, then
//! propagated; a propagated route never beats an overlapping local one, even
//! when it is longer (VPC guide "Route priority", VPN guide "Route priority").
//!
//! Routes have *slots* ([`Winners`]), and the search structure leads to slots: a new
//! target changes a slot and nothing else, and one route can change in a table of a
//! million.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;

use super::winners::{Moved, Winner, Winners};
use super::{Route, RouteOrigin, RouteTableRow};
use crate::addr::Prefix;
use crate::lpm::{Intervals, Key, Lpm, NO_MATCH, Structure};

/// A compiled route table. Cloning is cheap and shares structure.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    label: Arc<str>,
    /// The route of each prefix; what the search structures' values stand for.
    winners: Winners,
    /// Routes that do not win: of a prefix that another route has, or inside a
    /// local route.
    losers: OrdMap<(Prefix, RouteOrigin), Route>,
    locals: Arc<[Prefix]>,
    /// The last stamp given out.
    stamp: u64,
    v4: Lpm<u32>,
    v6: Lpm<u128>,
}

/// Stamps of one version.
const STAMP_BITS: u32 = 24;

/// Below this many prefixes of a family a huge table becomes an ordinary one again.
const HUGE_MIN: usize = 4096;

/// The route that decides for a destination.
#[derive(Clone, Copy, Debug)]
pub struct RouteHit<'a> {
    /// The route.
    pub route: &'a Route,
    /// Names what this route is: another route, or this one changed, has another.
    pub generation: u64,
    /// Addresses for which the same route decides: a change to another prefix
    /// leaves this cell, and the flows decided by it, alone.
    pub cell: (IpAddr, IpAddr),
}

/// A family's addresses as prefixes have them.
trait Family: Key {
    fn address(self) -> IpAddr;
    fn of(address: IpAddr) -> Option<Self>;
}

impl Family for u32 {
    fn address(self) -> IpAddr {
        IpAddr::V4(self.into())
    }
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address.into()),
            IpAddr::V6(_) => None,
        }
    }
}

impl Family for u128 {
    fn address(self) -> IpAddr {
        IpAddr::V6(self.into())
    }
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address.into()),
        }
    }
}

impl RouteTable {
    /// Compiles all routes of `row`; the oracle of [`Self::with_route`]. What is
    /// as in `old` keeps its generation. Linear in the table.
    pub(super) fn compile(row: RouteTableRow, old: Option<&Self>, version: u64) -> Self {
        let locals = row.routes.iter().filter(|r| r.origin == RouteOrigin::Local);
        let mut table = Self {
            label: row.label,
            locals: locals.map(|route| route.prefix).collect(),
            stamp: old.map_or(0, |old| old.stamp).max(version << STAMP_BITS),
            ..Self::default()
        };
        let mut routes = row.routes;
        // Stable: of two equal routes the first counts.
        routes.sort_by_key(|route| (route.prefix, route.origin));
        routes.dedup_by_key(|route| (route.prefix, route.origin));
        let mut winners: Vec<Winner> = Vec::with_capacity(routes.len());
        for route in routes {
            let prefix = route.prefix;
            let last = winners.last().map(|winner| winner.route.prefix);
            if table.is_shadowed(&route) || last == Some(prefix) {
                table.losers.insert((prefix, route.origin), route);
                continue;
            }
            let kept = old.and_then(|old| old.winners.get(prefix));
            let stamp = match kept.filter(|kept| kept.route == route) {
                Some(kept) => kept.stamp,
                None => table.next_stamp(),
            };
            winners.push(Winner { route, stamp });
        }
        table.winners = Winners::from_sorted(winners);
        table.v4 = Lpm::build(table.prefixes::<u32>());
        table.v6 = Lpm::build(table.prefixes::<u128>());
        table
    }

    /// This table with `route` as the one of `prefix` and `origin`, or without any;
    /// `None` if that is how it is. Logarithmic in the table, but for local routes.
    pub(super) fn with_route(
        &self,
        (prefix, origin): (Prefix, RouteOrigin),
        route: Option<Route>,
        version: u64,
    ) -> Option<Self> {
        let route = route.map(|route| Route {
            prefix,
            origin,
            ..route
        });
        if self.route(prefix, origin) == route.as_ref() {
            return None;
        }
        if origin == RouteOrigin::Local {
            // What it shadows is all over the table.
            let mut row = self.row();
            row.routes
                .retain(|r| (r.prefix, r.origin) != (prefix, origin));
            row.routes.extend(route);
            return Some(Self::compile(row, Some(self), version));
        }
        let mut next = self.clone();
        next.stamp = next.stamp.max(version << STAMP_BITS);
        let held: Vec<Route> = self.contenders(prefix).cloned().collect();
        let others = held.into_iter().filter(|held| held.origin != origin);
        let mut contenders: Vec<Route> = others.chain(route).collect();
        contenders.sort_by_key(|route| route.origin);
        let wins = contenders.iter().position(|route| !next.is_shadowed(route));
        let winner = wins.map(|place| contenders.remove(place));
        next.losers.remove(&(prefix, origin));
        for loser in contenders {
            next.losers.insert((prefix, loser.origin), loser);
        }
        if let Some(winner) = &winner {
            next.losers.remove(&(prefix, winner.origin));
        }
        next.set_winner(prefix, winner);
        Some(next)
    }

    fn set_winner(&mut self, prefix: Prefix, route: Option<Route>) {
        let held = self.winners.get(prefix);
        if held.map(|held| &held.route) == route.as_ref() {
            return;
        }
        let winner = route.map(|route| Winner {
            route,
            stamp: self.next_stamp(),
        });
        let moved = self.winners.set(prefix, winner);
        match moved {
            Moved::Nothing => {}
            Moved::One if prefix.is_ipv4() => self.v4 = self.searched(&self.v4, prefix),
            Moved::One => self.v6 = self.searched(&self.v6, prefix),
            Moved::Many => {
                self.v4 = Lpm::build(self.prefixes::<u32>());
                self.v6 = Lpm::build(self.prefixes::<u128>());
            }
        }
    }

    /// The search structure after `prefix` came or went: a huge one is changed in
    /// place, others are built anew.
    fn searched<K: Family>(&self, old: &Lpm<K>, prefix: Prefix) -> Lpm<K> {
        self.patched(old, prefix)
            .unwrap_or_else(|| Lpm::build(self.prefixes::<K>()))
    }

    fn patched<K: Family>(&self, old: &Lpm<K>, prefix: Prefix) -> Option<Lpm<K>> {
        if old.structure() != Structure::Rank || self.winners.len() < HUGE_MIN {
            return None;
        }
        let (first, last) = Lpm::stretch_of(K::of(prefix.address())?, prefix.len());
        let block = (0..=prefix.len()).find_map(|len| {
            let block = Prefix::new(first.address(), len)?;
            (block.last() == last.address() && block.address() == first.address()).then_some(block)
        })?;
        let shorter = (0..block.len()).rev();
        let mut covering = shorter.filter_map(|len| {
            let around = Prefix::new(first.address(), len)?;
            self.winners.slot(around)
        });
        let background = covering.next().unwrap_or(NO_MATCH);
        let inside = self.winners.range(block..=Prefix::host(last.address()));
        let inside = inside
            .filter_map(|(prefix, slot)| Some((K::of(prefix.address())?, prefix.len(), slot)));
        let stretch = Intervals::stretch((first, last), background, inside);
        old.replaced((first, last), &stretch)
    }

    /// (address, length, slot) of a family, in order.
    fn prefixes<K: Family>(&self) -> impl Iterator<Item = (K, u8, u32)> {
        let any = Prefix::new(K::MIN.address(), 0).unwrap_or(Prefix::ANY_V4);
        let range = any..=Prefix::host(K::MAX.address());
        self.winners
            .range(range)
            .filter_map(|(prefix, slot)| Some((K::of(prefix.address())?, prefix.len(), slot)))
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// A propagated route never beats a local one that covers it.
    fn is_shadowed(&self, route: &Route) -> bool {
        route.origin == RouteOrigin::Propagated
            && self.locals.iter().any(|local| local.covers(route.prefix))
    }

    /// All routes of a prefix.
    fn contenders(&self, prefix: Prefix) -> impl Iterator<Item = &Route> {
        let losers = self.losers.range((prefix, RouteOrigin::Local)..);
        let losers = losers.take_while(move |((of, _), _)| *of == prefix);
        let winner = self.winners.get(prefix).map(|winner| &winner.route);
        winner.into_iter().chain(losers.map(|(_, route)| route))
    }

    fn route(&self, prefix: Prefix, origin: RouteOrigin) -> Option<&Route> {
        self.contenders(prefix).find(|route| route.origin == origin)
    }

    /// AWS id.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// As configured, by prefix and origin. Linear in the table.
    pub fn row(&self) -> RouteTableRow {
        let winners = self.winning().map(|(route, _)| route);
        let mut routes: Vec<Route> = winners.chain(self.losers.values()).cloned().collect();
        routes.sort_by_key(|route| (route.prefix, route.origin));
        RouteTableRow {
            label: self.label.clone(),
            routes,
        }
    }

    /// The route that wins for exactly this prefix.
    pub fn route_of(&self, prefix: Prefix) -> Option<&Route> {
        self.winners.get(prefix).map(|winner| &winner.route)
    }

    /// The routes that can win, by prefix, with their generations.
    pub fn winning(&self) -> impl Iterator<Item = (&Route, u64)> {
        let winners = self.winners.iter();
        winners.map(|winner| (&winner.route, winner.stamp))
    }

    /// The route that decides for `destination`, if any covers it.
    pub fn lookup(&self, destination: IpAddr) -> Option<RouteHit<'_>> {
        let (cell, slot) = match destination {
            IpAddr::V4(address) => {
                let (first, last, slot) = self.v4.interval(u32::from(address));
                ((first.address(), last.address()), slot)
            }
            IpAddr::V6(address) => {
                let (first, last, slot) = self.v6.interval(u128::from(address));
                ((first.address(), last.address()), slot)
            }
        };
        let winner = self.winners.at(slot)?;
        Some(RouteHit {
            route: &winner.route,
            generation: winner.stamp,
            cell,
        })
    }

    /// The routes that decide for many destinations, as [`Self::lookup`] finds each,
    /// with the bulk lookups of `lpm`.
    pub fn lookup_bulk(&self, destinations: &[IpAddr]) -> Vec<Option<&Route>> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in destinations {
            match address {
                IpAddr::V4(address) => v4.push(address.to_bits()),
                IpAddr::V6(address) => v6.push(address.to_bits()),
            }
        }
        let mut slots4 = vec![NO_MATCH; v4.len()];
        let mut slots6 = vec![NO_MATCH; v6.len()];
        self.v4.lookup_bulk(&v4, &mut slots4);
        self.v6.lookup_bulk(&v6, &mut slots6);
        let (mut slots4, mut slots6) = (slots4.iter(), slots6.iter());
        let slot = |address: &IpAddr| match address {
            IpAddr::V4(_) => slots4.next(),
            IpAddr::V6(_) => slots6.next(),
        };
        let slots = destinations.iter().map(slot);
        slots
            .map(|slot| Some(&self.winners.at(*slot?)?.route))
            .collect()
    }

    /// Uses the search structures of an equal table, in place of its own.
    pub(super) fn lpm_mut(&mut self) -> (&mut Lpm<u32>, &mut Lpm<u128>) {
        (&mut self.v4, &mut self.v6)
    }

    /// The search structures.
    pub(super) fn lpm(&self) -> (&Lpm<u32>, &Lpm<u128>) {
        (&self.v4, &self.v6)
    }

    /// What addresses are looked up in, IPv4 and IPv6, with its bytes. What
    /// tables share counts for each of them.
    pub fn searches(&self) -> [(Structure, usize); 2] {
        [
            (self.v4.structure(), self.v4.memory()),
            (self.v6.structure(), self.v6.memory()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::RouteTarget;
    use super::*;
    use crate::addr::{EniId, PrefixListId};

    fn route(prefix: &str, eni: u32, origin: RouteOrigin) -> Route {
        let target = RouteTarget::Eni(EniId(eni));
        Route {
            prefix: prefix.parse().unwrap(),
            target,
            origin,
            label: Arc::from("x"),
        }
    }

    fn table(routes: Vec<Route>, old: Option<&RouteTable>, version: u64) -> RouteTable {
        RouteTable::compile(
            RouteTableRow {
                label: Arc::from("rtb"),
                routes,
            },
            old,
            version,
        )
    }

    fn target(table: &RouteTable, address: &str) -> Option<u32> {
        match table.lookup(address.parse().unwrap())?.route.target {
            RouteTarget::Eni(EniId(n)) => Some(n),
            _ => None,
        }
    }

    #[test]
    fn equal_prefixes_static_then_list_then_propagated() {
        use RouteOrigin::{PrefixList, Propagated, Static};
        let all = vec![
            route("10.1.0.0/16", 3, Propagated),
            route("10.1.0.0/16", 5, PrefixList(PrefixListId(9))),
            route("10.1.0.0/16", 2, PrefixList(PrefixListId(4))),
            route("10.1.0.0/16", 1, Static),
        ];
        assert_eq!(target(&table(all.clone(), None, 1), "10.1.2.3"), Some(1));
        assert_eq!(
            target(&table(all[..3].to_vec(), None, 1), "10.1.2.3"),
            Some(2)
        );
        assert_eq!(
            target(&table(all[..1].to_vec(), None, 1), "10.1.2.3"),
            Some(3)
        );
    }

    #[test]
    fn a_propagated_route_inside_local_loses_though_longer() {
        let routes = vec![
            route("10.0.0.0/16", 1, RouteOrigin::Local),
            route("10.0.1.0/24", 2, RouteOrigin::Propagated),
        ];
        assert_eq!(target(&table(routes, None, 1), "10.0.1.5"), Some(1));
    }

    #[test]
    fn only_the_changed_routes_get_a_new_generation() {
        let first = table(
            vec![
                route("10.0.0.0/16", 1, RouteOrigin::Local),
                route("10.9.0.0/16", 2, RouteOrigin::Static),
            ],
            None,
            1,
        );
        let second = table(
            vec![
                route("10.0.0.0/16", 1, RouteOrigin::Local),
                route("10.9.0.0/16", 3, RouteOrigin::Static),
            ],
            Some(&first),
            2,
        );
        let age = |table: &RouteTable, address: &str| {
            table.lookup(address.parse().unwrap()).unwrap().generation
        };
        assert_eq!(age(&first, "10.0.0.1"), age(&second, "10.0.0.1"));
        assert!(age(&first, "10.9.0.1") < age(&second, "10.9.0.1"));
    }

    /// The route behind a hole is another one, though the hole is as wide as what
    /// filled it and as old.
    #[test]
    fn a_route_that_fills_a_hole_of_another_is_told_from_it() {
        use RouteOrigin::Static;
        let all = [
            ("10.0.0.0/16", 1),
            ("10.0.0.0/24", 2),
            ("10.0.1.0/24", 3),
            ("10.0.2.0/24", 4),
        ];
        let routes = all.map(|(prefix, eni)| route(prefix, eni, Static)).to_vec();
        let before = table(routes, None, 5);
        let at = "10.0.1.9".parse().unwrap();
        let filled = before.lookup(at).unwrap();
        let prefix = "10.0.1.0/24".parse().unwrap();
        let after = before.with_route((prefix, Static), None, 6).unwrap();
        let hole = after.lookup(at).unwrap();
        assert_eq!(filled.cell, hole.cell);
        assert_ne!(filled.generation, hole.generation);
    }

    /// One change after another gives what a compile of all routes gives, and
    /// only routes that changed have another generation; while the table grows
    /// beyond a list, and when it has become one again.
    #[test]
    fn changes_one_by_one_agree_with_the_full_compile() {
        use RouteOrigin::{Local, PrefixList, Propagated, Static};
        let origins = [
            Local,
            Static,
            PrefixList(PrefixListId(1)),
            PrefixList(PrefixListId(2)),
            Propagated,
            Static,
        ];
        let random = |n: u64| crate::flow::Seed(3).words(&[n]);
        let mut now = table(vec![route("0.0.0.0/0", 0, Static)], None, 1);
        let is_list = |table: &RouteTable| matches!(table.winners, Winners::Few(_));
        let (mut most, mut losers, mut forms) = (0, 0, Vec::new());
        for version in 2..1_500 {
            let word = random(version);
            let byte = |n: u32| (word >> (8 * n)) as u8;
            // A local route comes or goes now and then.
            let origin = origins[usize::from(byte(0) % 6).max(usize::from(byte(1) > 20))];
            let block = match byte(2) % 4 {
                0 => format!("10.{}.0.0/{}", byte(3) % 4, 8 + byte(4) % 12),
                1 => format!("10.{}.{}.0/24", byte(3) % 4, byte(4) % 16),
                2 => format!("10.0.{}.{}/28", byte(3) % 4, byte(4)),
                _ => format!("2600:{}::/{}", byte(3) % 8, 16 + byte(4) % 48),
            };
            let prefix: Prefix = block.parse().unwrap();
            let mut new = (byte(5) % 3 > 0).then(|| route(&block, u32::from(byte(6)), origin));
            let (mut prefix, mut origin) = (prefix, origin);
            // In the end one of those that are there goes, more often than not.
            if version > 900 && byte(5) % 3 > 0 {
                let held = now.row().routes;
                let gone = held.get(word as usize % held.len().max(1));
                (prefix, origin) = gone.map_or((prefix, origin), |gone| (gone.prefix, gone.origin));
                new = None;
            }
            let Some(next) = now.with_route((prefix, origin), new.clone(), version) else {
                assert_eq!(now.route(prefix, origin), new.as_ref());
                continue;
            };
            assert_eq!(next.route(prefix, origin), new.as_ref());
            let full = RouteTable::compile(next.row(), None, version);
            assert_eq!(full.row(), next.row());
            for (held, _) in full.winning() {
                for address in [held.prefix.address(), held.prefix.last()] {
                    let (ours, theirs) = (next.lookup(address), full.lookup(address));
                    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
                    assert_eq!((ours.route, ours.cell), (theirs.route, theirs.cell));
                    if let Some(before) = now.lookup(address).filter(|b| b.route == ours.route) {
                        assert_eq!(before.generation, ours.generation, "{address}");
                    }
                }
            }
            now = next;
            (most, losers) = (most.max(now.winners.len()), losers.max(now.losers.len()));
            forms.push(is_list(&now));
            forms.dedup();
        }
        assert!(most > 150 && losers > 20, "{most} {losers}");
        assert_eq!(
            forms,
            [true, false, true],
            "a list, then none, then one again"
        );
    }

    /// The same in a table that is huge in both families, where changes are made
    /// in place; what is looked at is around each change.
    #[test]
    fn a_huge_table_is_changed_in_place() {
        use RouteOrigin::Static;
        let random = |n: u64| crate::flow::Seed(4).words(&[n]);
        let v4 =
            (0..20_000u64).map(|n| format!("10.{}.{}.{}/30", n >> 8 & 255, n & 255, n % 64 * 4));
        let v6 = (0..2_000u64).map(|n| format!("2600:{:x}:{:x}::/48", n & 15, n));
        let blocks: Vec<String> = v4.chain(v6).chain(["0.0.0.0/0".into()]).collect();
        let routes = blocks.iter().map(|block| route(block, 1, Static)).collect();
        let mut now = table(routes, None, 1);
        assert_eq!(now.v4.structure(), Structure::Rank);
        assert_eq!(now.v6.structure(), Structure::Rank);
        for version in 2..200u64 {
            let word = random(version);
            let at = &blocks[(word % blocks.len() as u64) as usize];
            let (address, _) = at.split_once('/').unwrap();
            let block = match word >> 32 & 3 {
                0 => at.clone(),
                1 => format!("{address}/{}", 9 + (word >> 40) % 12),
                2 => format!("{address}/24"),
                _ => format!("{address}/31"),
            };
            let prefix: Prefix = block.parse().unwrap();
            let new = (word >> 50 & 1 == 0).then(|| route(&block, version as u32, Static));
            let Some(next) = now.with_route((prefix, Static), new, version) else {
                continue;
            };
            if version % 20 == 0 {
                let full = RouteTable::compile(next.row(), None, version);
                assert_eq!(full.v4.structure(), Structure::Rank);
                let probes = [prefix.address(), prefix.last()];
                let blocks = blocks.iter().map(|b| b.parse::<Prefix>().unwrap());
                for address in blocks.map(Prefix::address).chain(probes) {
                    let (ours, theirs) = (next.lookup(address), full.lookup(address));
                    assert_eq!(ours.map(|hit| hit.route), theirs.map(|hit| hit.route));
                }
            }
            now = next;
        }
    }
}
