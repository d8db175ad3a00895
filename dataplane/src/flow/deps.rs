//! What a cached decision was made from: interned sets of generations.
//!
//! Many flows are decided from the same rows. Each such set is kept once, and
//! checked once per table version: a packet then costs one comparison of
//! versions, and a change stales exactly the flows that it concerns.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::addr::{RouteTableId, SecurityGroupId};
use crate::tables::Snapshot;

/// A kind of row with a generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Object {
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
    pub fn row(tables: &Snapshot, object: Object, id: u32) -> Self {
        Self::Row(object, id, generation(tables, object, id))
    }

    /// A dependency on the present members of a group.
    pub fn members(tables: &Snapshot, group: SecurityGroupId) -> Self {
        Self::Members(
            group,
            tables.group_generation.get(&group).copied().unwrap_or(0),
        )
    }

    fn holds(&self, tables: &Snapshot) -> bool {
        match *self {
            Self::Row(object, id, generation_then) => {
                generation(tables, object, id) == generation_then
            }
            Self::Members(group, generation_then) => {
                tables.group_generation.get(&group).copied().unwrap_or(0) == generation_then
            }
            Self::Route {
                table,
                cell,
                generation,
            } => tables
                .route_tables
                .row(table)
                .and_then(|table| table.lookup(cell.0))
                .is_some_and(|hit| hit.generation == generation && hit.cell == cell),
        }
    }
}

fn generation(tables: &Snapshot, object: Object, id: u32) -> u64 {
    match object {
        Object::Vpc => tables.vpcs.generation(id),
        Object::Subnet => tables.subnets.generation(id),
        Object::Eni => tables.enis.generation(id),
        Object::SecurityGroup => tables.security_groups.generation(id),
        Object::NetworkAcl => tables.network_acls.generation(id),
        Object::PrefixList => tables.prefix_lists.generation(id),
        Object::Endpoint => tables.endpoints.generation(id),
        Object::LoadBalancer => tables.load_balancers.generation(id),
        Object::TargetGroup => tables.target_groups.generation(id),
    }
}

/// Names an interned set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
#[derive(Debug, Default)]
pub struct DepSets {
    sets: Vec<DepSet>,
    free: Vec<u32>,
    by_content: HashMap<Box<[Dep]>, u32>,
}

impl DepSets {
    /// The set with exactly these members, in use once more. Allocates only
    /// for a set not seen before.
    pub fn intern(&mut self, deps: &[Dep], version: u64) -> DepsId {
        if let Some(&index) = self.by_content.get(deps)
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
    pub fn hold(&mut self, id: DepsId, tables: &Snapshot) -> bool {
        let Some(set) = self.sets.get_mut(id.0 as usize) else {
            return false;
        };
        if set.checked != tables.version {
            set.checked = tables.version;
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
