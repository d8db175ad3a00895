//! A route table, compiled for lookup.
//!
//! AWS: longest prefix first; of equal prefixes static, then prefix list, then
//! propagated; a propagated route never beats an overlapping local one, even
//! when it is longer (VPC guide "Route priority", VPN guide "Route priority").

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Route, RouteOrigin, RouteTableRow};
use crate::addr::Prefix;
use crate::lpm::{Lpm, NO_MATCH};

/// A compiled route table.
#[derive(Clone, Debug)]
pub struct RouteTable {
    row: RouteTableRow,
    /// Indices into `row.routes` of the routes that can win, with generations.
    winners: Vec<Winner>,
    v4: Lpm<u32>,
    v6: Lpm<u128>,
}

#[derive(Clone, Copy, Debug)]
struct Winner {
    route: usize,
    generation: u64,
}

/// The route that decides for a destination.
#[derive(Clone, Copy, Debug)]
pub struct RouteHit<'a> {
    /// The route.
    pub route: &'a Route,
    /// Version at which this route came to be what it is.
    pub generation: u64,
    /// First and last address for which the same route decides: a change to
    /// another prefix leaves this cell, and the flows decided by it, alone.
    pub cell: (IpAddr, IpAddr),
}

impl RouteTable {
    pub(super) fn compile(row: RouteTableRow, old: Option<&Self>, version: u64) -> Self {
        let locals: Vec<Prefix> = row
            .routes
            .iter()
            .filter(|route| route.origin == RouteOrigin::Local)
            .map(|route| route.prefix)
            .collect();
        let mut best: BTreeMap<Prefix, usize> = BTreeMap::new();
        for (index, route) in row.routes.iter().enumerate() {
            let shadowed = route.origin == RouteOrigin::Propagated
                && locals.iter().any(|local| local.covers(route.prefix));
            if shadowed {
                continue;
            }
            best.entry(route.prefix)
                .and_modify(|held| {
                    if row
                        .routes
                        .get(*held)
                        .is_none_or(|held| route.origin < held.origin)
                    {
                        *held = index;
                    }
                })
                .or_insert(index);
        }
        let before: BTreeMap<Prefix, (&Route, u64)> = old
            .map(|old| {
                old.winning()
                    .map(|(route, age)| (route.prefix, (route, age)))
                    .collect()
            })
            .unwrap_or_default();
        let (mut v4, mut v6, mut winners) = (Vec::new(), Vec::new(), Vec::new());
        for (&prefix, &index) in &best {
            let Some(route) = row.routes.get(index) else {
                continue;
            };
            let generation = match before.get(&prefix) {
                Some(&(old_route, age)) if old_route == route => age,
                _ => version,
            };
            let value = winners.len() as u32;
            winners.push(Winner {
                route: index,
                generation,
            });
            match prefix.address() {
                IpAddr::V4(address) => v4.push((u32::from(address), prefix.len(), value)),
                IpAddr::V6(address) => v6.push((u128::from(address), prefix.len(), value)),
            }
        }
        Self {
            row,
            winners,
            v4: Lpm::build(v4),
            v6: Lpm::build(v6),
        }
    }

    /// As configured.
    pub fn row(&self) -> &RouteTableRow {
        &self.row
    }

    /// The routes that can win, with their generations.
    pub fn winning(&self) -> impl Iterator<Item = (&Route, u64)> {
        self.winners
            .iter()
            .filter_map(|w| Some((self.row.routes.get(w.route)?, w.generation)))
    }

    /// The route that decides for `destination`, if any covers it.
    pub fn lookup(&self, destination: IpAddr) -> Option<RouteHit<'_>> {
        let (cell, value) = match destination {
            IpAddr::V4(address) => {
                let (first, last, value) = self.v4.interval(u32::from(address));
                ((IpAddr::V4(first.into()), IpAddr::V4(last.into())), value)
            }
            IpAddr::V6(address) => {
                let (first, last, value) = self.v6.interval(u128::from(address));
                ((IpAddr::V6(first.into()), IpAddr::V6(last.into())), value)
            }
        };
        if value == NO_MATCH {
            return None;
        }
        let winner = self.winners.get(value as usize)?;
        let route = self.row.routes.get(winner.route)?;
        Some(RouteHit {
            route,
            generation: winner.generation,
            cell,
        })
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
        let age = |address: &str| second.lookup(address.parse().unwrap()).unwrap().generation;
        assert_eq!(age("10.0.0.1"), 1);
        assert_eq!(age("10.9.0.1"), 2);
    }
}
