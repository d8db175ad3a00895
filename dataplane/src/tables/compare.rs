//! Comparing snapshots by what they say, not by when it was said: the full
//! compile is the oracle of the incremental one.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::net::IpAddr;

use super::{HashMap, RouteTable, Slab, Snapshot};
use crate::addr::{EniId, Mac, Prefix};

impl Snapshot {
    /// The first difference between the rows (and what is derived from them) of
    /// two snapshots, generations and versions aside. Route tables are compared
    /// with their routes in order.
    pub fn row_difference(&self, other: &Self) -> Option<String> {
        slab("vpc", &self.vpcs, &other.vpcs)
            .or_else(|| slab("subnet", &self.subnets, &other.subnets))
            .or_else(|| slab("eni", &self.enis, &other.enis))
            .or_else(|| tables(&self.route_tables, &other.route_tables))
            .or_else(|| slab("group", &self.security_groups, &other.security_groups))
            .or_else(|| slab("acl", &self.network_acls, &other.network_acls))
            .or_else(|| slab("list", &self.prefix_lists, &other.prefix_lists))
            .or_else(|| slab("endpoint", &self.endpoints, &other.endpoints))
            .or_else(|| slab("lb", &self.load_balancers, &other.load_balancers))
            .or_else(|| slab("target group", &self.target_groups, &other.target_groups))
            .or_else(|| slab("peering", &self.peerings, &other.peerings))
            .or_else(|| slab("nat gateway", &self.nat_gateways, &other.nat_gateways))
            .or_else(|| {
                let value = |s: &Self| s.settings;
                differ("settings", &value(self), &value(other))
            })
            .or_else(|| differ("vpc index", &self.locations(), &other.locations()))
            .or_else(|| differ("group members", &self.members(), &other.members()))
            .or_else(|| {
                differ(
                    "public owners",
                    &sorted(&self.public),
                    &sorted(&other.public),
                )
            })
            .or_else(|| differ("uplink", &self.uplink, &other.uplink))
            .or_else(|| {
                let ours = sorted(&self.kept_ends);
                differ("kept ends", &ours, &sorted(&other.kept_ends))
            })
            .or_else(|| {
                let ours = sorted(&self.public_prefixes);
                differ("public prefixes", &ours, &sorted(&other.public_prefixes))
            })
    }

    fn locations(&self) -> BTreeMap<u32, Located> {
        let located = |index: &super::VpcIndex| {
            let mut prefixes = index.prefixes.clone();
            prefixes.sort();
            (sorted(&index.addresses), prefixes, sorted(&index.macs))
        };
        let all = self.vpc_index.iter().map(|(id, at)| (id.0, located(at)));
        all.filter(|(_, (addresses, prefixes, macs))| {
            !(addresses.is_empty() && prefixes.is_empty() && macs.is_empty())
        })
        .collect()
    }

    fn members(&self) -> BTreeMap<u32, BTreeMap<IpAddr, EniId>> {
        let all = self.group_members.iter();
        all.filter(|(_, members)| !members.is_empty())
            .map(|(id, members)| (id.0, sorted(members)))
            .collect()
    }
}

type Located = (
    BTreeMap<IpAddr, EniId>,
    Vec<(Prefix, EniId)>,
    BTreeMap<Mac, EniId>,
);

fn sorted<K: Clone + Ord + Hash + Eq, V: Clone>(map: &HashMap<K, V>) -> BTreeMap<K, V> {
    map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn differ<T: PartialEq + Debug>(what: &str, ours: &T, theirs: &T) -> Option<String> {
    (ours != theirs).then(|| format!("{what}: {ours:?} against {theirs:?}"))
}

fn slab<T: PartialEq + Debug>(what: &str, ours: &Slab<T>, theirs: &Slab<T>) -> Option<String> {
    let (ours, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (ours.iter().collect(), theirs.iter().collect());
    let indices = ours.keys().chain(theirs.keys());
    indices.copied().find_map(|index| {
        differ(
            &format!("{what} {index}"),
            &ours.get(&index),
            &theirs.get(&index),
        )
    })
}

fn tables(ours: &Slab<RouteTable>, theirs: &Slab<RouteTable>) -> Option<String> {
    let rows = |slab: &Slab<RouteTable>| -> BTreeMap<u32, _> {
        slab.iter().map(|(i, t)| (i, t.row())).collect()
    };
    differ("route tables", &rows(ours), &rows(theirs)).or_else(|| {
        let both = ours.iter().zip(theirs.iter());
        both.map(|((_, ours), (_, theirs))| (ours, theirs))
            .find_map(|(ours, theirs)| answers(ours, theirs))
    })
}

/// Tables of equal rows must also answer alike; both ends of each route tell.
fn answers(ours: &RouteTable, theirs: &RouteTable) -> Option<String> {
    let ends = ours.winning().map(|(route, _)| route.prefix);
    ends.flat_map(|prefix| [prefix.address(), prefix.last()])
        .find_map(|address| {
            let hit = |table: &RouteTable| table.lookup(address).map(|hit| hit.route.clone());
            differ(&format!("route to {address}"), &hit(ours), &hit(theirs))
        })
}
