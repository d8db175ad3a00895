//! The routes of a table, with what must be known of all of them at once: a
//! change of one in a million looks at no other.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{
    Destination, Id, PrefixListId, ResourceId, Route, RouteOrigin, RouteTargetSpec, Sorted,
};

/// Routes by destination. Cloning is cheap and shares structure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Destination, Route)>", into = "Vec<(Destination, Route)>")]
pub struct Routes {
    by_destination: Sorted<Destination, Route>,
    /// How many routes name a resource, as target or as destination.
    named: Sorted<ResourceId, u64>,
    /// Routes to blocks made by `CreateRoute`: IPv4, IPv6.
    created: [u64; 2],
}

impl Routes {
    /// Puts a route, new or changed.
    pub fn insert(&mut self, destination: Destination, route: Route) {
        self.count(&destination, &route, true);
        if let Some(old) = self.by_destination.insert(destination.clone(), route) {
            self.count(&destination, &old, false);
        }
    }

    /// Takes a route away; nothing happens if it does not exist.
    pub fn remove(&mut self, destination: &Destination) {
        if let Some(route) = self.by_destination.remove(destination) {
            self.count(destination, &route, false);
        }
    }

    /// What the routes name, each once.
    pub fn named(&self) -> impl Iterator<Item = &ResourceId> {
        self.named.keys()
    }

    /// Routes of a family to blocks that `CreateRoute` made.
    pub fn created(&self, ipv4: bool) -> u64 {
        self.created[usize::from(!ipv4)]
    }

    /// The prefix lists that are destinations.
    pub fn prefix_lists(&self) -> impl Iterator<Item = &PrefixListId> {
        // Lists come after all blocks.
        let lists = self.by_destination.keys().rev();
        lists.map_while(|destination| match destination {
            Destination::PrefixList(id) => Some(id),
            Destination::Cidr(_) => None,
        })
    }

    fn count(&mut self, destination: &Destination, route: &Route, more: bool) {
        let target = match &route.target {
            RouteTargetSpec::Local => None,
            RouteTargetSpec::InternetGateway(id) => Some(id.resource()),
            RouteTargetSpec::NetworkInterface(id) => Some(id.resource()),
            RouteTargetSpec::VpcEndpoint(id) => Some(id.resource()),
            RouteTargetSpec::VpcPeeringConnection(id) => Some(id.resource()),
            RouteTargetSpec::NatGateway(id) => Some(id.resource()),
            RouteTargetSpec::VpnGateway(id) => Some(id.resource()),
        };
        let list = match destination {
            Destination::PrefixList(id) => Some(id.resource()),
            Destination::Cidr(block) => {
                if route.origin == RouteOrigin::CreateRoute {
                    step(&mut self.created[usize::from(!block.is_ipv4())], more);
                }
                None
            }
        };
        for id in target.into_iter().chain(list) {
            let mut uses = self.named.get(&id).copied().unwrap_or(0);
            step(&mut uses, more);
            match uses {
                0 => self.named.remove(&id),
                _ => self.named.insert(id, uses),
            };
        }
    }
}

fn step(count: &mut u64, more: bool) {
    *count = if more {
        count.saturating_add(1)
    } else {
        count.saturating_sub(1)
    };
}

/// To read; changes go by [`Routes::insert`] and [`Routes::remove`].
impl Deref for Routes {
    type Target = Sorted<Destination, Route>;

    fn deref(&self) -> &Self::Target {
        &self.by_destination
    }
}

impl From<Vec<(Destination, Route)>> for Routes {
    fn from(all: Vec<(Destination, Route)>) -> Self {
        all.into_iter().collect()
    }
}

impl From<Routes> for Vec<(Destination, Route)> {
    fn from(routes: Routes) -> Self {
        let routes = routes.iter();
        routes
            .map(|(to, route)| (to.clone(), route.clone()))
            .collect()
    }
}

impl FromIterator<(Destination, Route)> for Routes {
    fn from_iter<I: IntoIterator<Item = (Destination, Route)>>(routes: I) -> Self {
        let mut all = Self {
            by_destination: routes.into_iter().collect(),
            ..Self::default()
        };
        for (destination, route) in all.by_destination.clone().iter() {
            all.count(destination, route, true);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NetworkInterfaceId;

    #[test]
    fn what_routes_name_is_counted() {
        let eni: NetworkInterfaceId = "eni-0123456789abcdef0".into();
        let to = |target: &RouteTargetSpec| Route {
            target: target.clone(),
            origin: RouteOrigin::CreateRoute,
        };
        let target = RouteTargetSpec::NetworkInterface(eni.clone());
        let blocks = ["10.1.0.0/16", "10.2.0.0/16", "2600::/32"];
        let blocks = blocks.map(|block| Destination::Cidr(block.parse().unwrap()));
        let mut routes: Routes = blocks.iter().map(|b| (b.clone(), to(&target))).collect();
        assert_eq!((routes.created(true), routes.created(false)), (2, 1));
        routes.insert(blocks[0].clone(), Route::local());
        routes.remove(&blocks[2]);
        routes.remove(&blocks[2]);
        assert_eq!((routes.created(true), routes.created(false)), (1, 0));
        assert_eq!(routes.named().collect::<Vec<_>>(), [&eni.resource()]);
        routes.remove(&blocks[1]);
        assert_eq!(routes.named().count(), 0);
        let list = PrefixListId::from("pl-0123456789abcdef0");
        routes.insert(Destination::PrefixList(list.clone()), to(&target));
        assert_eq!(routes.prefix_lists().collect::<Vec<_>>(), [&list]);
        assert_eq!(routes.named().count(), 2);
    }
}
