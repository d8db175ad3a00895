//! Network interfaces: create, change, attach to a host, delete.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use vpclab_dataplane::addr::{Mac, Prefix};
use vpclab_dataplane::tables::TrackingTimeouts;
use vpclab_dataplane::time::Duration;

use super::address::{Claims, next_public};
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateNetworkInterface`. Addresses not given are chosen.
#[derive(Clone, Debug, Default)]
pub struct CreateNetworkInterface {
    /// Its subnet.
    pub subnet: SubnetId,
    /// Primary IPv4 address.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Further IPv4 addresses.
    pub secondary_private_ip_addresses: Vec<Ipv4Addr>,
    /// Number of further IPv4 addresses to choose.
    pub secondary_private_ip_address_count: u32,
    /// IPv6 addresses.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Number of IPv6 addresses to choose; `None` follows the subnet's
    /// `assign_ipv6_address_on_creation`.
    pub ipv6_address_count: Option<u32>,
    /// Delegated prefixes, /28 and /80.
    pub prefixes: Vec<Prefix>,
    /// Security groups; the VPC's default group unless given.
    pub groups: Vec<SecurityGroupId>,
    /// Free text.
    pub description: String,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateNetworkInterface {
    type Output = NetworkInterfaceId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkInterfaceId, ApiError> {
        let subnet = tx.require(&self.subnet)?;
        let groups = if self.groups.is_empty() {
            let vpc = tx.model().get(&subnet.vpc);
            vpc.map(|vpc| vpc.default_security_group.clone())
                .into_iter()
                .collect()
        } else {
            self.groups
        };
        let mut claims = Claims::new(&subnet);
        // Given addresses first, so that a chosen one never takes their place.
        let primary = self.private_ip_address;
        let primary = primary.map(|ip| claims.take(tx, ip)).transpose()?;
        let mut secondary = Vec::new();
        for ip in self.secondary_private_ip_addresses {
            secondary.push(claims.take(tx, ip)?);
        }
        let mut ipv6 = Vec::new();
        for ip in self.ipv6_addresses {
            ipv6.push(claims.take(tx, ip)?);
        }
        let mut prefixes = Vec::new();
        for prefix in self.prefixes {
            prefixes.push(claims.take_prefix(tx, prefix)?);
        }
        let mut private = vec![match primary {
            Some(ip) => ip,
            None => claims.next_ipv4(tx)?,
        }];
        private.append(&mut secondary);
        for _ in 0..self.secondary_private_ip_address_count {
            private.push(claims.next_ipv4(tx)?);
        }
        let by_subnet = u32::from(subnet.assign_ipv6_address_on_creation && ipv6.is_empty());
        for _ in 0..self.ipv6_address_count.unwrap_or(by_subnet) {
            ipv6.push(claims.next_ipv6(tx)?);
        }
        let new = NewInterface {
            private_addresses: private,
            ipv6_addresses: ipv6,
            prefixes,
            groups,
            description: &self.description,
            name: self.name.as_deref(),
            ..NewInterface::of(&subnet, InterfaceKind::Host)
        };
        new.put(tx)
    }
}

/// What an interface is made from, once its addresses are chosen.
#[derive(Clone, Debug)]
pub(super) struct NewInterface<'a> {
    subnet: &'a Subnet,
    kind: InterfaceKind,
    private_addresses: Vec<Ipv4Addr>,
    ipv6_addresses: Vec<Ipv6Addr>,
    prefixes: Vec<Prefix>,
    groups: Vec<SecurityGroupId>,
    description: &'a str,
    name: Option<&'a str>,
    deny_all_igw_traffic: bool,
}

impl<'a> NewInterface<'a> {
    fn of(subnet: &'a Subnet, kind: InterfaceKind) -> Self {
        Self {
            subnet,
            kind,
            private_addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
            prefixes: Vec::new(),
            groups: Vec::new(),
            description: "",
            name: None,
            deny_all_igw_traffic: false,
        }
    }

    fn put(self, tx: &mut Transaction<'_>) -> Result<NetworkInterfaceId, ApiError> {
        check_groups(tx, &self.subnet.vpc, &self.groups)?;
        let v6_prefixes = self.prefixes.iter().filter(|p| !p.is_ipv4()).count();
        let v4_prefixes = self.prefixes.len() - v6_prefixes;
        check_slots(tx, self.private_addresses.len() + v4_prefixes)?;
        check_slots(tx, self.ipv6_addresses.len() + v6_prefixes)?;
        let have = tx.model().count::<NetworkInterface>(&tx.scope());
        let quota = Quota::NetworkInterfacesPerRegion;
        tx.check_quota(quota, have, 1, "NetworkInterfaceLimitExceeded")?;
        let id: NetworkInterfaceId = tx.mint();
        let mac = new_mac(tx);
        tx.put(NetworkInterface {
            id: id.clone(),
            meta: tx.meta(self.name),
            description: Arc::from(self.description),
            vpc: self.subnet.vpc.clone(),
            subnet: self.subnet.id.clone(),
            mac,
            private_addresses: self.private_addresses,
            ipv6_addresses: self.ipv6_addresses,
            prefixes: self.prefixes,
            groups: self.groups,
            source_dest_check: self.kind == InterfaceKind::Host,
            requester_managed: self.kind != InterfaceKind::Host,
            kind: self.kind,
            attachment: None,
            deny_all_igw_traffic: self.deny_all_igw_traffic,
            mtu: 9001,
            timeouts: TrackingTimeouts::default(),
            auto_public: None,
            internet: false,
            on_prem: false,
        });
        Ok(id)
    }
}

/// An interface that a service (endpoint, load balancer) puts into a subnet.
#[derive(Clone, Debug)]
pub struct RequesterManagedInterface {
    /// What stands behind it.
    pub kind: InterfaceKind,
    /// Its subnet.
    pub subnet: SubnetId,
    /// IPv4 address; chosen unless given.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Whether it gets an IPv4 address at all.
    pub ipv4: bool,
    /// Whether it gets an IPv6 address.
    pub ipv6: bool,
    /// Security groups; none means that no group filters.
    pub groups: Vec<SecurityGroupId>,
    /// Refuses all traffic of an internet gateway.
    pub deny_all_igw_traffic: bool,
    /// Free text.
    pub description: String,
}

impl RequesterManagedInterface {
    /// One with a chosen IPv4 address and no group.
    pub fn new(kind: InterfaceKind, subnet: SubnetId) -> Self {
        Self {
            kind,
            subnet,
            private_ip_address: None,
            ipv4: true,
            ipv6: false,
            groups: Vec::new(),
            deny_all_igw_traffic: false,
            description: String::new(),
        }
    }
}

impl Action for RequesterManagedInterface {
    type Output = NetworkInterfaceId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkInterfaceId, ApiError> {
        let subnet = tx.require(&self.subnet)?;
        let mut claims = Claims::new(&subnet);
        let mut private_addresses = Vec::new();
        match self.private_ip_address {
            Some(ip) => private_addresses.push(claims.take(tx, ip)?),
            None if self.ipv4 => private_addresses.push(claims.next_ipv4(tx)?),
            None => {}
        }
        let mut ipv6_addresses = Vec::new();
        if self.ipv6 {
            ipv6_addresses.push(claims.next_ipv6(tx)?);
        }
        let new = NewInterface {
            private_addresses,
            ipv6_addresses,
            groups: self.groups,
            description: &self.description,
            deny_all_igw_traffic: self.deny_all_igw_traffic,
            ..NewInterface::of(&subnet, self.kind)
        };
        // A node keeps its id when others come or go beside it.
        tx.mint_within(subnet.id.as_str(), |tx| new.put(tx))
    }
}

/// `DeleteNetworkInterface`. Routes that lead to it become blackholes, its
/// Elastic IPs come free.
#[derive(Clone, Debug, Default)]
pub struct DeleteNetworkInterface {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
}

impl Action for DeleteNetworkInterface {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let interface = require_own(tx, &self.network_interface)?;
        if let Some(at) = &interface.attachment {
            return Err(ApiError::new(
                "InvalidNetworkInterface.InUse",
                format!(
                    "Network interface '{}' is in use by {}; detach it first",
                    interface.id, at.host
                ),
            ));
        }
        delete_interface(tx, &interface.id);
        Ok(())
    }
}

/// Takes an interface away, frees its Elastic IPs, and deregisters it.
pub(super) fn delete_interface(tx: &mut Transaction<'_>, id: &NetworkInterfaceId) {
    for address in tx.referrers::<ElasticIp>(id) {
        tx.update(&address.id, |address| address.association = None);
    }
    let itself = TargetId::Interface(id.clone());
    for group in tx.referrers::<TargetGroup>(id) {
        tx.update(&group.id, |group| {
            group.targets.retain(|it| it.id != itself)
        });
    }
    tx.remove(id);
}

/// `ModifyNetworkInterfaceAttribute`
#[derive(Clone, Debug, Default)]
pub struct ModifyNetworkInterfaceAttribute {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
    /// New security groups, one at least.
    pub groups: Option<Vec<SecurityGroupId>>,
    /// Source/destination check.
    pub source_dest_check: Option<bool>,
    /// Free text.
    pub description: Option<String>,
    /// Idle timeout of established TCP, 60–432000 s.
    pub tcp_established_timeout: Option<u64>,
    /// Idle timeout of UDP seen one way, 30–60 s.
    pub udp_timeout: Option<u64>,
    /// Idle timeout of UDP streams, 60–180 s.
    pub udp_stream_timeout: Option<u64>,
}

impl Action for ModifyNetworkInterfaceAttribute {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let interface = require_own(tx, &self.network_interface)?;
        if let Some(groups) = &self.groups {
            if groups.is_empty() {
                return Err(ApiError::missing("groups"));
            }
            check_groups(tx, &interface.vpc, groups)?;
        }
        let tcp = timeout(
            "TcpEstablishedTimeout",
            self.tcp_established_timeout,
            60,
            432_000,
        )?;
        let udp = timeout("UdpTimeout", self.udp_timeout, 30, 60)?;
        let stream = timeout("UdpStreamTimeout", self.udp_stream_timeout, 60, 180)?;
        tx.update(&interface.id, |interface| {
            if let Some(groups) = self.groups {
                interface.groups = groups;
            }
            if let Some(check) = self.source_dest_check {
                interface.source_dest_check = check;
            }
            if let Some(text) = self.description {
                interface.description = Arc::from(text);
            }
            let timeouts = &mut interface.timeouts;
            timeouts.tcp_established = tcp.unwrap_or(timeouts.tcp_established);
            timeouts.udp = udp.unwrap_or(timeouts.udp);
            timeouts.udp_stream = stream.unwrap_or(timeouts.udp_stream);
        });
        Ok(())
    }
}

/// `AttachNetworkInterface`: a host begins to run behind the interface.
#[derive(Clone, Debug, Default)]
pub struct AttachNetworkInterface {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
    /// The host: an instance id or a name.
    pub host: String,
    /// Its place in the host (0 is `eth0`); the next free one unless given.
    pub device_index: Option<u16>,
    /// Whether a first interface gets a public address; the subnet's
    /// `map_public_ip_on_launch` decides unless given.
    pub associate_public_ip_address: Option<bool>,
}

impl Action for AttachNetworkInterface {
    type Output = Arc<str>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Arc<str>, ApiError> {
        let interface = require_own(tx, &self.network_interface)?;
        if self.host.is_empty() {
            return Err(ApiError::missing("host"));
        }
        if let Some(at) = &interface.attachment {
            return Err(ApiError::new(
                "InvalidNetworkInterface.InUse",
                format!("Interface '{}' is in use by {}", interface.id, at.host),
            ));
        }
        let device_index = self.free_device_index(tx, &interface)?;
        let subnet = tx.model().get(&interface.subnet);
        let mapped = subnet.is_some_and(|subnet| subnet.map_public_ip_on_launch);
        let elastic = tx.referrers::<ElasticIp>(&interface.id);
        let wanted = self.associate_public_ip_address.unwrap_or(mapped);
        let auto_public = if wanted && device_index == 0 && elastic.is_empty() {
            Some(next_public(tx)?)
        } else {
            None
        };
        let id = tx.mint_text("eni-attach-");
        let now = tx.meta(None).created_s;
        tx.update(&interface.id, |interface| {
            interface.auto_public = auto_public;
            interface.attachment = Some(Attachment {
                id: id.clone(),
                host: Arc::from(self.host),
                device_index,
                plug: Plug::Lab,
                delete_on_termination: false,
                since_s: now,
            });
        });
        Ok(id)
    }
}

impl AttachNetworkInterface {
    fn free_device_index(
        &self,
        tx: &Transaction<'_>,
        interface: &NetworkInterface,
    ) -> Result<u16, ApiError> {
        let holder = |index: u16| {
            let alias = device_alias(&interface.meta, &self.host, index);
            tx.model().indexes().alias(&alias)
        };
        match self.device_index {
            Some(index) => match holder(index) {
                Some(other) => Err(ApiError::invalid_value(format!(
                    "Instance '{}' already has an interface attached at device index '{index}': \
                     {other}",
                    self.host
                ))),
                None => Ok(index),
            },
            None => Ok((0..u16::MAX).find(|&i| holder(i).is_none()).unwrap_or(0)),
        }
    }
}

/// `DetachNetworkInterface`: the host is gone. Routes that lead to the interface
/// are blackholes until another attaches.
#[derive(Clone, Debug, Default)]
pub struct DetachNetworkInterface {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
}

impl Action for DetachNetworkInterface {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let interface = require_own(tx, &self.network_interface)?;
        if interface.attachment.is_none() {
            return Err(ApiError::new(
                "IncorrectState",
                format!("Interface '{}' is not attached", interface.id),
            ));
        }
        tx.update(&interface.id, |interface| {
            interface.attachment = None;
            interface.auto_public = None;
        });
        Ok(())
    }
}

/// The interface, if the caller may change it.
pub(super) fn require_own(
    tx: &Transaction<'_>,
    id: &NetworkInterfaceId,
) -> Result<Arc<NetworkInterface>, ApiError> {
    let interface = tx.require(id)?;
    if interface.requester_managed || interface.is_outside() {
        return Err(ApiError::new(
            "OperationNotPermitted",
            format!("You do not have permission to change '{id}': a service manages it"),
        ));
    }
    Ok(interface)
}

/// Refuses more addresses of one family than an interface holds.
pub(super) fn check_slots(tx: &Transaction<'_>, count: usize) -> Result<(), ApiError> {
    let quota = Quota::AddressesPerInterface;
    tx.check_quota(quota, 0, count as u64, "PrivateIpAddressLimitExceeded")
}

fn check_groups(
    tx: &Transaction<'_>,
    vpc: &VpcId,
    groups: &[SecurityGroupId],
) -> Result<(), ApiError> {
    for (position, id) in groups.iter().enumerate() {
        let group = tx.require(id)?;
        if group.vpc != *vpc {
            return Err(ApiError::new(
                "InvalidGroup.NotFound",
                format!(
                    "The security group '{id}' belongs to {}, not {vpc}",
                    group.vpc
                ),
            ));
        }
        if groups.iter().take(position).any(|other| other == id) {
            return Err(ApiError::new(
                "InvalidGroup.Duplicate",
                format!("The security group '{id}' is named twice"),
            ));
        }
    }
    tx.check_quota(
        Quota::SecurityGroupsPerInterface,
        0,
        groups.len() as u64,
        "SecurityGroupsPerInterfaceLimitExceeded",
    )
}

fn timeout(
    name: &str,
    seconds: Option<u64>,
    least: u64,
    most: u64,
) -> Result<Option<Duration>, ApiError> {
    match seconds {
        Some(s) if !(least..=most).contains(&s) => Err(ApiError::invalid_value(format!(
            "Value ({s}) for {name} is invalid: {least} to {most} seconds"
        ))),
        other => Ok(other.map(Duration::from_secs)),
    }
}

/// A locally administered address that no interface of this process had before.
pub(crate) fn new_mac(tx: &mut Transaction<'_>) -> Mac {
    let [.., b, c, d, e, f] = tx.mint_count().to_be_bytes();
    Mac([0x02, b, c, d, e, f])
}

#[cfg(test)]
#[path = "interface_tests.rs"]
mod tests;
