//! What is found other than by id: kept by the model, never written by actions.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use vpclab_dataplane::addr::Prefix;

use super::{INTERNET_SUBNET, Id, Kind, NetworkInterfaceId, ResourceId, Sorted, SubnetId, VpcId};

/// The ids that a resource refers to.
#[derive(Debug, Default)]
pub struct References(pub(super) std::collections::BTreeSet<ResourceId>);

impl References {
    /// Adds a reference.
    pub fn add<I: Id>(&mut self, id: &I) {
        self.0.insert(id.resource());
    }

    /// Adds several.
    pub fn extend<'a, I: Id>(&mut self, ids: impl IntoIterator<Item = &'a I>) {
        self.0.extend(ids.into_iter().map(Id::resource));
    }
}

/// Reverse references, secondary ids and addresses.
#[derive(Clone, Debug, Default)]
pub struct Indexes {
    /// (referred to, kind of the referrers) → their ids; none is empty.
    referrers: OrdMap<(ResourceId, Kind), Sorted<Arc<str>, ()>>,
    /// Ids of parts (associations, attachments, rules) and names → resource.
    aliases: OrdMap<Arc<str>, ResourceId>,
    /// Private addresses in use.
    addresses: OrdMap<(SubnetId, IpAddr), NetworkInterfaceId>,
    /// Delegated prefixes in use, by first address.
    prefixes: OrdMap<(SubnetId, IpAddr), (Prefix, NetworkInterfaceId)>,
    /// How many IPv4 addresses of a subnet are in use, those of prefixes too.
    used_ipv4: OrdMap<SubnetId, u64>,
    /// No address below this one is free (a place to start looking).
    lowest_free: OrdMap<(SubnetId, bool), IpAddr>,
    /// Public addresses: Elastic IPs, auto-assigned ones and internet hosts.
    public: OrdMap<IpAddr, ResourceId>,
    /// IPv6 blocks of VPCs by first address.
    ipv6_blocks: OrdMap<IpAddr, (Prefix, VpcId)>,
}

impl Indexes {
    /// The ids of everything of `kind` that refers to `target`.
    pub fn referrers(
        &self,
        target: &ResourceId,
        kind: Kind,
    ) -> impl Iterator<Item = &Arc<str>> + use<'_> {
        let held = self.referrers.get(&(target.clone(), kind));
        held.into_iter().flat_map(|held| held.keys())
    }

    /// Everything that refers to `target`.
    pub(crate) fn users(&self, target: &ResourceId) -> impl Iterator<Item = ResourceId> + use<'_> {
        let target = target.clone();
        self.referrers
            .range((target.clone(), Kind::Scope)..)
            .take_while(move |((to, _), _)| *to == target)
            .flat_map(|((_, kind), held)| {
                held.keys().map(|text| ResourceId {
                    kind: *kind,
                    text: text.clone(),
                })
            })
    }

    /// How many of `kind` refer to `target`.
    pub fn count(&self, target: &ResourceId, kind: Kind) -> u64 {
        let held = self.referrers.get(&(target.clone(), kind));
        held.map_or(0, |held| held.len() as u64)
    }

    /// The resource that a secondary id or name belongs to.
    pub fn alias(&self, text: &str) -> Option<&ResourceId> {
        self.aliases.get(text)
    }

    /// The block in use that holds a private address, and its user: the address
    /// itself, or a delegated prefix.
    pub fn address_use(
        &self,
        subnet: &SubnetId,
        address: IpAddr,
    ) -> Option<(Prefix, &NetworkInterfaceId)> {
        let key = (subnet.clone(), address);
        if let Some(owner) = self.addresses.get(&key) {
            return Some((Prefix::host(address), owner));
        }
        let (prefix, owner) = self.prefix_at_or_before(subnet, address)?;
        prefix.contains(address).then_some((*prefix, owner))
    }

    /// Who uses a private address of a subnet, itself or by a prefix.
    pub fn address_owner(&self, subnet: &SubnetId, address: IpAddr) -> Option<&NetworkInterfaceId> {
        self.address_use(subnet, address).map(|(_, owner)| owner)
    }

    /// Whether any address of `block` is in use in the subnet.
    pub fn is_used(&self, subnet: &SubnetId, block: Prefix) -> bool {
        let last = (subnet.clone(), block.last());
        let range = (subnet.clone(), block.address())..=last;
        self.addresses.range(range.clone()).next().is_some()
            || self.prefixes.range(range).next().is_some()
            || self
                .prefix_at_or_before(subnet, block.address())
                .is_some_and(|(prefix, _)| prefix.overlaps(block))
    }

    fn prefix_at_or_before(
        &self,
        subnet: &SubnetId,
        address: IpAddr,
    ) -> Option<&(Prefix, NetworkInterfaceId)> {
        let key = (subnet.clone(), address);
        let ((held, _), found) = self.prefixes.get_prev(&key)?;
        (held == subnet).then_some(found)
    }

    /// Where to start looking for a free address of a family.
    pub fn lowest_free(&self, subnet: &SubnetId, ipv4: bool) -> Option<IpAddr> {
        self.lowest_free.get(&(subnet.clone(), ipv4)).copied()
    }

    /// Notes that no address below `address` is free.
    pub(crate) fn set_lowest_free(&mut self, subnet: &SubnetId, address: IpAddr) {
        let key = (subnet.clone(), address.is_ipv4());
        self.lowest_free.insert(key, address);
    }

    /// Who owns a public address.
    pub fn public_owner(&self, address: IpAddr) -> Option<&ResourceId> {
        self.public.get(&address)
    }

    /// A VPC's IPv6 block that shares an address with `block`.
    pub fn ipv6_overlap(&self, block: Prefix) -> Option<&(Prefix, VpcId)> {
        let before = self.ipv6_blocks.get_prev(&block.address());
        let after = self.ipv6_blocks.get_next(&block.address());
        before
            .into_iter()
            .chain(after)
            .map(|(_, entry)| entry)
            .find(|(other, _)| other.overlaps(block))
    }

    pub(super) fn refer(&mut self, from: &ResourceId, to: &ResourceId) {
        let held = self.referrers.entry((to.clone(), from.kind)).or_default();
        held.insert(from.text.clone(), ());
    }

    pub(super) fn unrefer(&mut self, from: &ResourceId, to: &ResourceId) {
        let key = (to.clone(), from.kind);
        let Some(held) = self.referrers.get_mut(&key) else {
            return;
        };
        held.remove(&from.text);
        if held.is_empty() {
            self.referrers.remove(&key);
        }
    }

    pub(super) fn set_alias(&mut self, text: Arc<str>, owner: ResourceId) {
        self.aliases.insert(text, owner);
    }

    pub(super) fn drop_alias(&mut self, text: &Arc<str>, owner: &ResourceId) {
        if self.aliases.get(text) == Some(owner) {
            self.aliases.remove(text);
        }
    }

    pub(super) fn add_address(
        &mut self,
        subnet: &SubnetId,
        ip: IpAddr,
        owner: &NetworkInterfaceId,
    ) {
        let key = (subnet.clone(), ip);
        if self.addresses.insert(key, owner.clone()).is_none() {
            self.use_ipv4(subnet, Prefix::host(ip), true);
        }
    }

    /// Counts the IPv4 addresses of a block as used, or as free again.
    fn use_ipv4(&mut self, subnet: &SubnetId, block: Prefix, used: bool) {
        if !block.is_ipv4() {
            return;
        }
        let size = 1u64 << (32 - block.len().min(32));
        let count = self.used_ipv4.entry(subnet.clone()).or_default();
        *count = match used {
            true => *count + size,
            false => count.saturating_sub(size),
        };
        if *count == 0 {
            self.used_ipv4.remove(subnet);
        }
    }

    /// How many IPv4 addresses of a subnet are in use, those of prefixes too.
    pub fn used_ipv4(&self, subnet: &SubnetId) -> u64 {
        self.used_ipv4.get(subnet).copied().unwrap_or(0)
    }

    pub(super) fn drop_address(
        &mut self,
        subnet: &SubnetId,
        ip: IpAddr,
        owner: &NetworkInterfaceId,
    ) {
        let key = (subnet.clone(), ip);
        if self.addresses.get(&key) == Some(owner) {
            self.addresses.remove(&key);
            self.use_ipv4(subnet, Prefix::host(ip), false);
            self.freed(subnet, ip);
        }
    }

    pub(super) fn add_prefix(
        &mut self,
        subnet: &SubnetId,
        prefix: Prefix,
        owner: &NetworkInterfaceId,
    ) {
        let key = (subnet.clone(), prefix.address());
        let old = self.prefixes.insert(key, (prefix, owner.clone()));
        if old.is_none() {
            self.use_ipv4(subnet, prefix, true);
        }
    }

    pub(super) fn drop_prefix(
        &mut self,
        subnet: &SubnetId,
        prefix: Prefix,
        owner: &NetworkInterfaceId,
    ) {
        let key = (subnet.clone(), prefix.address());
        if self
            .prefixes
            .get(&key)
            .is_some_and(|(_, held)| held == owner)
        {
            self.prefixes.remove(&key);
            self.use_ipv4(subnet, prefix, false);
            self.freed(subnet, prefix.address());
        }
    }

    fn freed(&mut self, subnet: &SubnetId, ip: IpAddr) {
        let key = (subnet.clone(), ip.is_ipv4());
        if self.lowest_free.get(&key).is_some_and(|hint| ip < *hint) {
            self.lowest_free.insert(key, ip);
        }
    }

    pub(super) fn add_public(&mut self, address: IpAddr, owner: ResourceId) {
        self.public.insert(address, owner);
    }

    pub(super) fn drop_public(&mut self, address: IpAddr, owner: &ResourceId) {
        if self.public.get(&address) == Some(owner) {
            self.public.remove(&address);
            // The pool of Elastic IPs is looked through as that subnet.
            self.freed(&INTERNET_SUBNET.into(), address);
        }
    }

    pub(super) fn add_ipv6_block(&mut self, block: Prefix, vpc: &VpcId) {
        self.ipv6_blocks
            .insert(block.address(), (block, vpc.clone()));
    }

    pub(super) fn drop_ipv6_block(&mut self, block: Prefix) {
        self.ipv6_blocks.remove(&block.address());
    }
}
