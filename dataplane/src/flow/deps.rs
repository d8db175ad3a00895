//! What a cached decision was made from: interned sets of generations.
//!
//! Many flows are decided from the same rows. Each such set is kept once, and
//! checked once per table version: a packet then costs one comparison of
//! versions, and a change stales exactly the flows that it concerns.

use std::collections::HashMap;
use std::net::IpAddr;

use super::hash::{Seed, Seeded};
use crate::addr::{RouteTableId, SecurityGroupId};

/// A kind of row with a generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Object {
    /// The process-wide settings; there is one row of them, 0.
    Settings,
    /// VPC row.
    Vpc,
    /// Subnet row.
    Subnet,
    /// Interface row.
    Eni,
    /// Security group row.
    SecurityGroup,
    /// Network ACL row.
    NetworkAcl,
    /// Prefix list row.
    PrefixList,
    /// Endpoint row.
    Endpoint,
    /// Load balancer row.
    LoadBalancer,
    /// Target group row.
    TargetGroup,
}

/// One thing that a decision was made from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dep {
    /// A row.
    Row(Object, u32, u64),
    /// The members of a security group.
    Members(SecurityGroupId, u64),
    /// The route that decides for a range of destinations.
    Route {
        /// Table.
        table: RouteTableId,
        /// First and last destination with this answer.
        cell: (IpAddr, IpAddr),
        /// Generation of the route.
        generation: u64,
    },
}

impl Dep {
    /// A dependency on the present state of a row.
    pub fn row(tables: &impl Generations, object: Object, id: u32) -> Self {
        Self::Row(object, id, tables.row(object, id))
    }

    /// A dependency on the present members of a group.
    pub fn members(tables: &impl Generations, group: SecurityGroupId) -> Self {
        Self::Members(group, tables.members(group))
    }

    fn holds(&self, tables: &impl Generations) -> bool {
        match *self {
            Self::Row(object, id, then) => tables.row(object, id) == then,
            Self::Members(group, then) => tables.members(group) == then,
            Self::Route {
                table,
                cell,
                generation,
            } => tables.route(table, cell.0) == Some((cell, generation)),
        }
    }
}

/// What answers for the generations of everything a decision can rest on.
pub trait Generations {
    /// Grows with every change of anything.
    fn version(&self) -> u64;
    /// When a row last changed; 0 where there is none.
    fn row(&self, object: Object, id: u32) -> u64;
    /// When the members of a group last changed.
    fn members(&self, group: SecurityGroupId) -> u64;
    /// For the route that decides for `destination`: the range of
    /// destinations with the same answer, and when the route last changed.
    fn route(&self, table: RouteTableId, destination: IpAddr) -> Option<((IpAddr, IpAddr), u64)>;
}

/// Names an interned set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DepsId(u32);

#[derive(Debug)]
struct DepSet {
    deps: Box<[Dep]>,
    users: u32,
    /// The table version for which `valid` was found.
    checked: u64,
    valid: bool,
}

/// All interned sets of one pipeline.
#[derive(Debug)]
pub struct DepSets {
    sets: Vec<DepSet>,
    free: Vec<u32>,
    by_content: HashMap<Box<[Dep]>, u32, Seeded>,
    /// The sets asked for last: new connections come in runs that were decided
    /// from the same, and comparing is cheaper than hashing.
    recent: [u32; RECENT],
    next: usize,
}

const RECENT: usize = 4;

impl DepSets {
    /// None yet.
    pub fn new(seed: Seed) -> Self {
        Self {
            sets: Vec::new(),
            free: Vec::new(),
            by_content: HashMap::with_hasher(Seeded(seed)),
            recent: [u32::MAX; RECENT],
            next: 0,
        }
    }

    /// The set with exactly these members, if it is one of the last asked for.
    fn recent(&self, deps: &[Dep]) -> Option<u32> {
        self.recent.into_iter().find(|&index| {
            let set = self.sets.get(index as usize);
            set.is_some_and(|set| set.users > 0 && *set.deps == *deps)
        })
    }

    /// The set with exactly these members, in use once more. Allocates only
    /// for a set not seen before.
    pub fn intern(&mut self, deps: &[Dep], version: u64) -> DepsId {
        let known = self.recent(deps).or_else(|| {
            let index = self.by_content.get(deps).copied()?;
            if let Some(place) = self.recent.get_mut(self.next) {
                *place = index;
                self.next = (self.next + 1) % RECENT;
            }
            Some(index)
        });
        if let Some(index) = known
            && let Some(set) = self.sets.get_mut(index as usize)
        {
            set.users += 1;
            set.checked = version;
            set.valid = true;
            return DepsId(index);
        }
        let set = DepSet {
            deps: deps.into(),
            users: 1,
            checked: version,
            valid: true,
        };
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.sets.len() as u32,
        };
        self.by_content.insert(set.deps.clone(), index);
        match self.sets.get_mut(index as usize) {
            Some(place) => *place = set,
            None => self.sets.push(set),
        }
        DepsId(index)
    }

    /// Gives up one use.
    pub fn release(&mut self, id: DepsId) {
        let Some(set) = self.sets.get_mut(id.0 as usize) else {
            return;
        };
        set.users = set.users.saturating_sub(1);
        if set.users == 0 {
            self.by_content.remove(&set.deps);
            self.free.push(id.0);
        }
    }

    /// Whether everything in the set is as it was. One comparison unless the
    /// tables changed since the last call.
    pub fn hold(&mut self, id: DepsId, tables: &impl Generations) -> bool {
        let Some(set) = self.sets.get_mut(id.0 as usize) else {
            return false;
        };
        if set.checked != tables.version() {
            set.checked = tables.version();
            set.valid = set.deps.iter().all(|dep| dep.holds(tables));
        }
        set.valid
    }

    /// Number of sets in use.
    pub fn len(&self) -> usize {
        self.sets.len() - self.free.len()
    }

    /// Whether no set is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
