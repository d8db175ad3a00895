//! What a cached decision was made from: interned sets of generations.
//!
//! Many flows are decided from the same rows. Each such set is kept once, and
//! checked once per table version: a packet then costs one comparison of
//! versions, and a change stales exactly the flows that it concerns.

use std::collections::HashMap;
use std::net::IpAddr;

use super::hash::{Seed, Seeded};
use super::standing::Standing;
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
    /// Peering connection row.
    Peering,
    /// NAT gateway row.
    NatGateway,
}

impl Object {
    /// Each at the place of its number.
    const ALL: [Self; 12] = [
        Self::Settings,
        Self::Vpc,
        Self::Subnet,
        Self::Eni,
        Self::SecurityGroup,
        Self::NetworkAcl,
        Self::PrefixList,
        Self::Endpoint,
        Self::LoadBalancer,
        Self::TargetGroup,
        Self::Peering,
        Self::NatGateway,
    ];
}

/// What a decision read, noted as it is read: words, without looking for equal
/// ones. Generations are not fetched: whoever decides and whoever keeps the
/// decision have the same tables before them.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    words: Vec<u64>,
}

/// Kinds of words beside those of [`Object`], which are lower. A route's word is
/// followed by the first address of its cell, in one word or two.
const MEMBERS: u64 = 16;
const ROUTE_V4: u64 = 17;
const ROUTE_V6: u64 = 18;

impl Reads {
    /// Nothing read; holds no memory.
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// Begins anew, in the same memory.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// A row was read, or found not to be there.
    #[inline]
    pub fn row(&mut self, object: Object, id: u32) {
        self.push(object as u64, id);
    }

    /// The members of a group were.
    pub fn members(&mut self, group: SecurityGroupId) {
        self.push(MEMBERS, group.0);
    }

    /// A route was: the one for the destinations of the cell that begins here.
    #[inline]
    pub fn route(&mut self, table: RouteTableId, first: IpAddr) {
        match first {
            IpAddr::V4(first) => {
                self.words.push(ROUTE_V4 << 32 | u64::from(table.0));
                self.words.push(u64::from(first.to_bits()));
            }
            IpAddr::V6(first) => {
                let bits = first.to_bits();
                self.words.push(ROUTE_V6 << 32 | u64::from(table.0));
                self.words.extend([(bits >> 64) as u64, bits as u64]);
            }
        }
    }

    #[inline]
    fn push(&mut self, kind: u64, id: u32) {
        let word = kind << 32 | u64::from(id);
        // Hops that follow each other often read the same row.
        if self.words.last() != Some(&word) {
            self.words.push(word);
        }
    }

    /// A cheap hash: one multiplication a word.
    #[inline]
    fn hash(&self, secret: u64) -> u64 {
        self.words.iter().fold(secret, |state, word| {
            (state.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }

    /// Everything read, once each, as it is now.
    fn deps(&self, tables: &impl Generations, deps: &mut Vec<Dep>) {
        deps.clear();
        let mut words = self.words.iter().copied();
        while let Some(word) = words.next() {
            let id = word as u32;
            let mut address = || words.next().unwrap_or_default();
            let dep = match word >> 32 {
                MEMBERS => Dep::Members(SecurityGroupId(id), tables.members(SecurityGroupId(id))),
                ROUTE_V4 => Dep::route(tables, id, IpAddr::V4((address() as u32).into())),
                ROUTE_V6 => {
                    let high = u128::from(address()) << 64;
                    Dep::route(
                        tables,
                        id,
                        IpAddr::V6((high | u128::from(address())).into()),
                    )
                }
                kind => match Object::ALL.get(kind as usize) {
                    Some(&object) => Dep::Row(object, id, tables.row(object, id)),
                    None => continue,
                },
            };
            if !deps.contains(&dep) {
                deps.push(dep);
            }
        }
    }
}

/// One thing that a decision was made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dep {
    /// A row.
    Row(Object, u32, u64),
    /// The members of a security group.
    Members(SecurityGroupId, u64),
    /// The route that decides for a range of destinations: the first of them,
    /// and the range with the route's generation, if there is a route.
    Route(RouteTableId, IpAddr, Option<((IpAddr, IpAddr), u64)>),
}

impl Dep {
    fn route(tables: &impl Generations, table: u32, first: IpAddr) -> Self {
        let table = RouteTableId(table);
        Self::Route(table, first, tables.route(table, first))
    }

    fn holds(&self, tables: &impl Generations) -> bool {
        match *self {
            Self::Row(object, id, then) => tables.row(object, id) == then,
            Self::Members(group, then) => tables.members(group) == then,
            Self::Route(table, first, then) => tables.route(table, first) == then,
        }
    }
}

/// The first and last destination of a range.
pub type RouteRange = (IpAddr, IpAddr);

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
    fn route(&self, table: RouteTableId, destination: IpAddr) -> Option<(RouteRange, u64)>;
    /// Whether anything but routes changed after a version, or a route of which
    /// `touches` (its table, and its destinations; none if all of the table may have
    /// changed) says that it matters. Where that is not known any more: yes.
    fn changed_since(
        &self,
        version: u64,
        touches: impl FnMut(RouteTableId, Option<RouteRange>) -> bool,
    ) -> bool;
}

/// Names an interned set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DepsId(u32);

#[derive(Debug, Default)]
struct DepSet {
    reads: Reads,
    hash: u64,
    deps: Vec<Dep>,
    users: u32,
    /// The table version for which `valid` was found.
    checked: u64,
    valid: bool,
}

impl DepSet {
    /// `floor`: what was found at this version or a later one is so still.
    fn holds(&mut self, floor: u64, tables: &impl Generations) -> bool {
        if self.checked < floor {
            self.checked = tables.version();
            self.valid = self.deps.iter().all(|dep| dep.holds(tables));
        }
        self.valid
    }

    /// The routes that it rests on.
    fn routes(&self) -> impl Iterator<Item = (RouteTableId, Option<RouteRange>)> {
        self.deps.iter().filter_map(|dep| match *dep {
            Dep::Route(table, _, then) => Some((table, then.map(|(range, _)| range))),
            _ => None,
        })
    }
}

/// All interned sets of one pipeline.
#[derive(Debug)]
pub struct DepSets {
    sets: Vec<DepSet>,
    free: Vec<u32>,
    /// By the hash of what was read, the set made last.
    by_hash: HashMap<u64, u32, Seeded>,
    secret: u64,
    standing: Standing,
}

impl DepSets {
    /// None yet.
    pub fn new(seed: Seed) -> Self {
        Self {
            sets: Vec::new(),
            free: Vec::new(),
            by_hash: HashMap::with_hasher(Seeded(seed)),
            secret: seed.words(&[6]),
            standing: Standing::new(seed),
        }
    }

    /// Takes the version of the tables into account: what was found to stand at the
    /// version that is returned, or at a later one, stands.
    #[inline]
    pub fn look(&mut self, tables: &impl Generations) -> u64 {
        self.standing.look(tables)
    }

    /// The set of what was read from `tables`, in use once more. Allocates only
    /// for a set not seen before.
    ///
    /// A set that was read alike and still holds is equal: every generation in
    /// it is that of `tables`, as are those just read. One that holds no more
    /// stays with its users, and those who come now get another.
    pub fn intern(&mut self, reads: &Reads, tables: &impl Generations) -> DepsId {
        self.look(tables);
        // As it is now, and not only as far as those who use it go: a range may have
        // grown, and who comes now may be in the new part.
        let now = tables.version();
        let hash = reads.hash(self.secret);
        if let Some(&index) = self.by_hash.get(&hash)
            && let Some(set) = self.sets.get_mut(index as usize)
            && set.users > 0
            && set.reads.words == reads.words
            && set.holds(now, tables)
        {
            set.users += 1;
            return DepsId(index);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.sets.push(DepSet::default());
            self.sets.len() as u32 - 1
        });
        // In the memory of the set that was here before.
        if let Some(set) = self.sets.get_mut(index as usize) {
            set.reads.words.clone_from(&reads.words);
            set.hash = hash;
            reads.deps(tables, &mut set.deps);
            (set.users, set.checked, set.valid) = (1, tables.version(), true);
            for (table, range) in set.routes() {
                self.standing.add(table, range);
            }
        }
        self.by_hash.insert(hash, index);
        DepsId(index)
    }

    /// Gives up one use.
    pub fn release(&mut self, id: DepsId) {
        let Some(set) = self.sets.get_mut(id.0 as usize) else {
            return;
        };
        set.users = set.users.saturating_sub(1);
        if set.users == 0 {
            for (table, range) in set.routes() {
                self.standing.remove(table, range);
            }
            if self.by_hash.get(&set.hash) == Some(&id.0) {
                self.by_hash.remove(&set.hash);
            }
            self.free.push(id.0);
        }
    }

    /// Whether everything in the set is as it was. One comparison unless the
    /// tables changed since the last call.
    pub fn hold(&mut self, id: DepsId, tables: &impl Generations) -> bool {
        let floor = self.look(tables);
        self.sets
            .get_mut(id.0 as usize)
            .is_some_and(|set| set.holds(floor, tables))
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
