//! Makes the next snapshot from the last one.
//!
//! Cost of each `set_*` is logarithmic in the whole and linear in the row. An
//! equal row is left alone and keeps its generation, so pushing too much is
//! slow but never stales a flow.

use std::net::IpAddr;

use super::{
    EndpointRow, EniKind, EniRow, HashMap, LoadBalancerRow, NatGatewayRow, NetworkAclRow,
    PeeringRow, PrefixListRow, Route, RouteOrigin, RouteTable, RouteTableRow, SecurityGroupRow,
    Settings, Slab, Snapshot, Stamped, SubnetRow, TargetGroupRow, VpcRow,
};
use crate::addr::{
    EndpointId, EniId, LoadBalancerId, NatGatewayId, NetworkAclId, PeeringId, Prefix, PrefixListId,
    RouteTableId, SecurityGroupId, SubnetId, TargetGroupId, VpcId,
};

/// Collects changes to the tables.
#[derive(Debug, Default)]
pub struct Builder {
    next: Snapshot,
    /// A route differs from the base,
    routes_changed: bool,
    /// or something else.
    changed: bool,
    /// Something has changed of what says where load balancers keep addresses.
    ends_changed: bool,
}

impl Builder {
    /// Starts from `base`; the result has the next version.
    pub fn from(base: &Snapshot) -> Self {
        let mut next = base.clone();
        next.version += 1;
        Self {
            next,
            routes_changed: false,
            changed: false,
            ends_changed: false,
        }
    }

    /// Starts from nothing.
    pub fn new(settings: Settings) -> Self {
        let next = Snapshot {
            version: 1,
            settings,
            ..Snapshot::default()
        };
        Self {
            next,
            routes_changed: false,
            changed: false,
            ends_changed: false,
        }
    }

    /// Whether anything differs from the base.
    pub fn is_changed(&self) -> bool {
        self.changed || self.routes_changed
    }

    /// The finished snapshot.
    pub fn finish(mut self) -> Snapshot {
        if self.ends_changed {
            let ends = kept_ends(&self.next);
            if ends != self.next.kept_ends {
                self.next.meeting_generation = self.next.version;
            }
            self.next.kept_ends = ends;
        }
        if self.changed {
            self.next.others_generation = self.next.version;
        }
        self.next
    }

    /// What has been built so far.
    pub fn view(&self) -> &Snapshot {
        &self.next
    }

    /// Replaces the process-wide settings.
    pub fn set_settings(&mut self, settings: Settings) {
        if self.next.settings != settings {
            self.next.settings = settings;
            self.next.settings_generation = self.next.version;
            self.changed = true;
        }
    }

    /// Puts or removes a VPC.
    pub fn set_vpc(&mut self, id: VpcId, row: Option<VpcRow>) {
        if row.is_none() {
            self.next.vpc_index.remove(&id);
        }
        let version = self.next.version;
        self.changed |= put(&mut self.next.vpcs, id, row, version);
    }

    /// Puts or removes a subnet.
    pub fn set_subnet(&mut self, id: SubnetId, row: Option<SubnetRow>) {
        let version = self.next.version;
        self.changed |= put(&mut self.next.subnets, id, row, version);
    }

    /// Puts or removes a route table, all of it. Routes that stay as they were
    /// keep their generations. Linear in the table.
    pub fn set_route_table(&mut self, id: RouteTableId, row: Option<RouteTableRow>) {
        let version = self.next.version;
        let old = self.next.route_tables.row(id);
        let table = row.map(|row| RouteTable::compile(row, old, version));
        if old.map(RouteTable::row) == table.as_ref().map(RouteTable::row) {
            return;
        }
        self.next.route_log.add(version, id, None);
        self.put_route_table(id, table);
    }

    /// Puts, replaces or removes the one route of this prefix and origin in a table
    /// that exists; the rest is shared with the version before.
    pub fn set_route(
        &mut self,
        id: RouteTableId,
        prefix: Prefix,
        origin: RouteOrigin,
        route: Option<Route>,
    ) {
        let version = self.next.version;
        let old = self.next.route_tables.row(id);
        let changed = old.and_then(|old| old.with_route((prefix, origin), route, version));
        if changed.is_some() {
            let range = (prefix.address(), prefix.last());
            self.next.route_log.add(version, id, Some(range));
            self.put_route_table(id, changed);
        }
    }

    fn put_route_table(&mut self, id: RouteTableId, mut table: Option<RouteTable>) {
        if let Some(table) = &mut table {
            let (v4, v6) = table.lpm_mut();
            self.next.shared_v4.adopt(v4);
            self.next.shared_v6.adopt(v6);
        }
        if let Some(old) = self.next.route_tables.row(id) {
            let (v4, v6) = old.lpm();
            self.next.shared_v4.release(v4);
            self.next.shared_v6.release(v6);
        }
        let version = self.next.version;
        let stamped = table.map(|row| Stamped {
            generation: version,
            row,
        });
        self.next.route_tables.set(id, stamped);
        self.routes_changed = true;
    }

    /// Puts or removes a security group.
    pub fn set_security_group(&mut self, id: SecurityGroupId, row: Option<SecurityGroupRow>) {
        let version = self.next.version;
        self.changed |= put(&mut self.next.security_groups, id, row, version);
    }

    /// Puts or removes a network ACL; rules are sorted here.
    pub fn set_network_acl(&mut self, id: NetworkAclId, row: Option<NetworkAclRow>) {
        let row = row.map(|mut row| {
            row.ingress.sort_by_key(|rule| rule.number);
            row.egress.sort_by_key(|rule| rule.number);
            row
        });
        let version = self.next.version;
        self.changed |= put(&mut self.next.network_acls, id, row, version);
    }

    /// Puts or removes a prefix list.
    pub fn set_prefix_list(&mut self, id: PrefixListId, row: Option<PrefixListRow>) {
        let version = self.next.version;
        self.changed |= put(&mut self.next.prefix_lists, id, row, version);
    }

    /// Puts or removes an endpoint.
    pub fn set_endpoint(&mut self, id: EndpointId, row: Option<EndpointRow>) {
        let version = self.next.version;
        self.changed |= put(&mut self.next.endpoints, id, row, version);
    }

    /// Puts or removes a load balancer.
    pub fn set_load_balancer(&mut self, id: LoadBalancerId, row: Option<LoadBalancerRow>) {
        let version = self.next.version;
        let changed = put(&mut self.next.load_balancers, id, row, version);
        self.changed |= changed;
        self.ends_changed |= changed;
    }

    /// Puts or removes a target group.
    pub fn set_target_group(&mut self, id: TargetGroupId, row: Option<TargetGroupRow>) {
        let version = self.next.version;
        let changed = put(&mut self.next.target_groups, id, row, version);
        self.changed |= changed;
        self.ends_changed |= changed;
    }

    /// Puts or removes a peering connection.
    pub fn set_peering(&mut self, id: PeeringId, row: Option<PeeringRow>) {
        let version = self.next.version;
        self.changed |= put(&mut self.next.peerings, id, row, version);
    }

    /// Puts or removes a NAT gateway.
    pub fn set_nat_gateway(&mut self, id: NatGatewayId, row: Option<NatGatewayRow>) {
        let version = self.next.version;
        self.changed |= put(&mut self.next.nat_gateways, id, row, version);
    }

    /// Puts or removes an interface, and with it what is found by address.
    pub fn set_eni(&mut self, id: EniId, row: Option<EniRow>) {
        if self.next.enis.row(id) == row.as_ref() {
            return;
        }
        let is_node =
            |row: Option<&EniRow>| matches!(row?.kind, EniKind::LoadBalancer(_)).then_some(());
        let node = is_node(row.as_ref()).or(is_node(self.next.enis.row(id)));
        self.ends_changed |= node.is_some();
        let internet = |snapshot: &Snapshot, row: &EniRow| {
            snapshot.vpcs.row(row.vpc).is_some_and(|vpc| vpc.internet)
        };
        if let Some(old) = self.next.enis.row(id).cloned() {
            let in_internet = internet(&self.next, &old);
            self.unindex(id, &old, in_internet);
        }
        if let Some(new) = &row {
            let in_internet = internet(&self.next, new);
            self.overrule_prefixes(new);
            self.overrule_uplink(id, new, in_internet);
            self.index(id, new, in_internet);
        }
        let version = self.next.version;
        self.changed |= put(&mut self.next.enis, id, row, version);
    }

    /// An address inside another interface's delegated prefix is no longer that
    /// one's: what was decided from its row must be decided again.
    fn overrule_prefixes(&mut self, row: &EniRow) {
        let Some(index) = self.next.vpc_index.get(&row.vpc) else {
            return;
        };
        let overruled: Vec<EniId> = index
            .prefixes
            .iter()
            .filter(|(prefix, _)| row.addresses.iter().any(|&a| prefix.contains(a)))
            .map(|&(_, owner)| owner)
            .collect();
        for owner in overruled {
            self.stamp(owner);
        }
    }

    /// A public address that somebody gets is no longer the uplink's: the same.
    fn overrule_uplink(&mut self, id: EniId, row: &EniRow, internet: bool) {
        let Some(uplink) = self.next.uplink.filter(|&uplink| uplink != id) else {
            return;
        };
        let is_new = |address| !self.next.public.contains_key(&address);
        if public_addresses(row, internet).any(is_new) || public_prefixes(row).next().is_some() {
            self.stamp(uplink);
        }
    }

    /// What was decided from this interface's row must be decided again.
    fn stamp(&mut self, id: EniId) {
        let row = self.next.enis.row(id).cloned();
        let stamped = row.map(|row| Stamped {
            generation: self.next.version,
            row,
        });
        self.next.enis.set(id, stamped);
    }

    /// Packets to `address` may meet elsewhere now.
    fn note_meeting(&mut self, address: IpAddr) {
        // Nothing stands for an IPv6 address.
        if address.is_ipv4() {
            self.next.meeting_generation = self.next.version;
        }
    }

    fn index(&mut self, id: EniId, row: &EniRow, internet: bool) {
        let index = self.next.vpc_index.entry(row.vpc).or_default();
        for &address in &row.addresses {
            index.addresses.insert(address, id);
        }
        for &prefix in &row.prefixes {
            index.prefixes.push((prefix, id));
        }
        index.macs.insert(row.mac, id);
        for address in public_addresses(row, internet) {
            self.note_meeting(address);
            self.next.public.insert(address, id);
        }
        for prefix in public_prefixes(row) {
            self.next.public_prefixes.insert(prefix, id);
        }
        if internet && is_uplink(row) {
            self.next.uplink = Some(id);
        }
        for &group in &row.groups {
            let members = self.next.group_members.entry(group).or_default();
            members.extend(row.addresses.iter().map(|&address| (address, id)));
            let prefixes = self.next.group_prefixes.entry(group).or_default();
            prefixes.extend(row.prefixes.iter().map(|&prefix| (prefix, id)));
            self.next.group_generation.insert(group, self.next.version);
        }
    }

    fn unindex(&mut self, id: EniId, row: &EniRow, internet: bool) {
        if let Some(index) = self.next.vpc_index.get_mut(&row.vpc) {
            for address in &row.addresses {
                // A moved address may already belong to another interface.
                if index.addresses.get(address) == Some(&id) {
                    index.addresses.remove(address);
                }
            }
            index.prefixes.retain(|&(_, owner)| owner != id);
            if index.macs.get(&row.mac) == Some(&id) {
                index.macs.remove(&row.mac);
            }
        }
        for address in public_addresses(row, internet) {
            self.note_meeting(address);
            if self.next.public.get(&address) == Some(&id) {
                self.next.public.remove(&address);
            }
        }
        for prefix in public_prefixes(row) {
            if self.next.public_prefixes.get(&prefix) == Some(&id) {
                self.next.public_prefixes.remove(&prefix);
            }
        }
        if self.next.uplink == Some(id) {
            self.next.uplink = None;
        }
        for &group in &row.groups {
            let members = self.next.group_members.entry(group).or_default();
            for address in &row.addresses {
                // As above: the address may have moved within the group.
                if members.get(address) == Some(&id) {
                    members.remove(address);
                }
            }
            let prefixes = self.next.group_prefixes.entry(group).or_default();
            for prefix in &row.prefixes {
                if prefixes.get(prefix) == Some(&id) {
                    prefixes.remove(prefix);
                }
            }
            self.next.group_generation.insert(group, self.next.version);
        }
    }
}

/// The addresses by which the internet reaches this interface.
fn public_addresses(row: &EniRow, internet: bool) -> impl Iterator<Item = IpAddr> {
    let reachable_v6 = !row.deny_all_igw_traffic && matches!(row.kind, EniKind::Host);
    let own = row
        .addresses
        .iter()
        .copied()
        .filter(move |&a| internet || (reachable_v6 && is_global_v6(a)));
    own.chain(row.public.iter().map(|pair| pair.public))
}

/// Private IPv6 addresses (fc00::/7) are not advertised to the internet, and
/// VPCs may have equal ones (VPC User Guide "Private IPv6 addresses").
fn is_global_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if !v6.is_unique_local())
}

/// Whether an internet host has the whole internet behind it.
fn is_uplink(row: &EniRow) -> bool {
    row.prefixes.iter().any(|prefix| prefix.len() == 0)
}

/// The delegated prefixes by which the internet reaches this interface.
fn public_prefixes(row: &EniRow) -> impl Iterator<Item = Prefix> {
    let reachable = !row.deny_all_igw_traffic && matches!(row.kind, EniKind::Host);
    row.prefixes
        .iter()
        .copied()
        .filter(move |prefix| reachable && prefix.len() > 0 && is_global_v6(prefix.address()))
}

/// Where load balancers that keep their clients' addresses are called, and their
/// targets. Linear in listeners, nodes and targets.
fn kept_ends(snapshot: &Snapshot) -> HashMap<(IpAddr, u16), ()> {
    let mut ends = HashMap::default();
    let keeps = |group: TargetGroupId| {
        let row = snapshot.target_groups.row(group);
        row.filter(|row| row.preserve_client_ip)
    };
    for (_, balancer) in snapshot.load_balancers.iter() {
        for listener in &balancer.listeners {
            let Some(group) = listener.target_group.and_then(keeps) else {
                continue;
            };
            for target in &group.targets {
                ends.insert((target.address, target.port), ());
            }
            let nodes = balancer.nodes.iter();
            for node in nodes.filter_map(|node| snapshot.enis.row(node.eni)) {
                for &address in &node.addresses {
                    ends.insert((address, listener.port), ());
                }
            }
        }
    }
    ends
}

/// Puts a row unless an equal one is there; says whether anything changed.
fn put<T: PartialEq>(slab: &mut Slab<T>, id: impl Into<u32>, row: Option<T>, version: u64) -> bool {
    let id = id.into();
    if slab.row(id) == row.as_ref() {
        return false;
    }
    slab.set(
        id,
        row.map(|row| Stamped {
            generation: version,
            row,
        }),
    );
    true
}
