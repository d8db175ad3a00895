//! Network interfaces and Elastic IP addresses.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use vpclab_dataplane::addr::{Mac, Prefix};
use vpclab_dataplane::tables::TrackingTimeouts;

use super::{
    AllocationId, Id, Indexes, InstanceId, LoadBalancerArn, Meta, NatGatewayId, NetworkInterfaceId,
    References, Resource, SecurityGroupId, SubnetId, VpcEndpointId, VpcId, resource_fields,
};

/// What stands behind an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterfaceKind {
    /// A host, or nothing yet.
    Host,
    /// An interface endpoint.
    Endpoint(VpcEndpointId),
    /// A gateway load balancer endpoint.
    GatewayEndpoint(VpcEndpointId),
    /// A node of a network or gateway load balancer.
    LoadBalancer(LoadBalancerArn),
    /// A NAT gateway.
    NatGateway(NatGatewayId),
}

/// A host on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// `eni-attach-…`
    pub id: Arc<str>,
    /// The host (an instance id or a name).
    pub host: Arc<str>,
    /// 0 is the primary interface (`eth0`).
    pub device_index: u16,
    /// Who puts the host there.
    pub plug: Plug,
    /// Whether the interface ends with its instance.
    pub delete_on_termination: bool,
    /// Since when, in seconds since 1970; 0 if a file says so.
    pub since_s: u64,
}

/// What is behind an attached interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plug {
    /// A host that the lab makes.
    #[default]
    Lab,
    /// Nothing yet: it waits for somebody to plug something in.
    Waiting,
    /// Something that was plugged in, in words.
    Foreign(Arc<str>),
    /// The way to and from the real network of the machine.
    Gateway,
    /// A service of AWS's.
    Service,
}

/// An elastic network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    /// Id.
    pub id: NetworkInterfaceId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Free text.
    pub description: Arc<str>,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// MAC address.
    pub mac: Mac,
    /// Private IPv4 addresses, the primary one first.
    pub private_addresses: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Delegated prefixes.
    pub prefixes: Vec<Prefix>,
    /// Security groups.
    pub groups: Vec<SecurityGroupId>,
    /// Source/destination check.
    pub source_dest_check: bool,
    /// What stands behind it.
    pub kind: InterfaceKind,
    /// The host on it.
    pub attachment: Option<Attachment>,
    /// Owned by a service (endpoint, load balancer): users may not change it.
    pub requester_managed: bool,
    /// Refuses all traffic of an internet gateway.
    pub deny_all_igw_traffic: bool,
    /// Largest IP packet.
    pub mtu: u32,
    /// Connection-tracking timeouts.
    pub timeouts: TrackingTimeouts,
    /// Public address given on attaching, gone on detaching.
    pub auto_public: Option<Ipv4Addr>,
    /// Lives in the pseudo-VPC of internet hosts.
    pub internet: bool,
    /// Lives in the pseudo-VPC of an on-premises network.
    #[serde(default)]
    pub on_prem: bool,
}

impl NetworkInterface {
    /// Every address, the primary IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.private_addresses.iter().copied().map(IpAddr::V4);
        v4.chain(self.ipv6_addresses.iter().copied().map(IpAddr::V6))
    }

    /// Whether it is no interface of AWS's: a host of the internet, or on premises.
    pub fn is_outside(&self) -> bool {
        self.internet || self.on_prem
    }

    /// Whether something runs behind it: a host, or a service of AWS's.
    pub fn is_attached(&self) -> bool {
        let plugged = |at: &Attachment| at.plug != Plug::Waiting;
        self.kind != InterfaceKind::Host || self.attachment.as_ref().is_some_and(plugged)
    }

    /// Whether it is the way to and from the real network of the machine.
    pub fn is_gateway(&self) -> bool {
        let at = self.attachment.as_ref();
        at.is_some_and(|at| at.plug == Plug::Gateway)
    }

    /// Whether a service of AWS's is behind it, on the internet.
    pub fn is_service(&self) -> bool {
        let at = self.attachment.as_ref();
        at.is_some_and(|at| at.plug == Plug::Service)
    }

    /// The primary IPv4 address.
    pub fn primary(&self) -> Option<Ipv4Addr> {
        self.private_addresses.first().copied()
    }
}

impl Resource for NetworkInterface {
    resource_fields!(NetworkInterfaceId);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
        to.add(&self.subnet);
        to.extend(&self.groups);
        let host = self.attachment.as_ref().map(|held| &held.host);
        if let Some(instance) = host.filter(|host| host.starts_with(InstanceId::PREFIX)) {
            to.add(&InstanceId::from_text(instance.clone()));
        }
        match &self.kind {
            InterfaceKind::Host => {}
            InterfaceKind::Endpoint(id) | InterfaceKind::GatewayEndpoint(id) => to.add(id),
            InterfaceKind::LoadBalancer(id) => to.add(id),
            InterfaceKind::NatGateway(id) => to.add(id),
        }
    }

    fn is_hidden(&self) -> bool {
        self.is_outside()
    }

    fn aliases(&self, to: &mut Vec<Arc<str>>) {
        if let Some(at) = &self.attachment {
            to.push(at.id.clone());
            to.push(device_alias(&self.meta, &at.host, at.device_index));
        }
    }

    fn reindex(old: Option<&Self>, new: Option<&Self>, indexes: &mut Indexes) {
        if let Some(old) = old {
            let kept = |ip: &IpAddr| new.is_some_and(|new| new.addresses().any(|a| a == *ip));
            for address in old.addresses().filter(|ip| !kept(ip)) {
                indexes.drop_address(&old.subnet, address, &old.id);
            }
            for &prefix in &old.prefixes {
                if !new.is_some_and(|new| new.prefixes.contains(&prefix)) {
                    indexes.drop_prefix(&old.subnet, prefix, &old.id);
                }
            }
            for address in old.public_addresses() {
                indexes.drop_public(address, &old.id.resource());
            }
        }
        if let Some(new) = new {
            for address in new.addresses() {
                indexes.add_address(&new.subnet, address, &new.id);
            }
            for &prefix in &new.prefixes {
                indexes.add_prefix(&new.subnet, prefix, &new.id);
            }
            for address in new.public_addresses() {
                indexes.add_public(address, new.id.resource());
            }
        }
    }
}

impl NetworkInterface {
    /// Public addresses that are its own: an auto-assigned one, or all of an
    /// internet host.
    fn public_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let own = self.addresses().filter(|_| self.internet);
        own.chain(self.auto_public.map(IpAddr::V4))
    }
}

/// The name under which a host's n-th interface is found.
pub(crate) fn device_alias(meta: &Meta, host: &str, device_index: u16) -> Arc<str> {
    Arc::from(format!(
        "device/{}/{}/{host}/{device_index}",
        meta.owner, meta.region
    ))
}

/// An Elastic IP address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticIpAssociation {
    /// `eipassoc-…`
    pub id: Arc<str>,
    /// The interface.
    pub interface: NetworkInterfaceId,
    /// The private address that it stands for.
    pub private: Ipv4Addr,
}

/// An Elastic IP address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticIp {
    /// Allocation id.
    pub id: AllocationId,
    /// Owner, region, name.
    pub meta: Meta,
    /// The address.
    pub public: Ipv4Addr,
    /// Where it is in use.
    pub association: Option<ElasticIpAssociation>,
}

impl Resource for ElasticIp {
    resource_fields!(AllocationId);

    fn references(&self, to: &mut References) {
        to.extend(self.association.iter().map(|held| &held.interface));
    }

    fn aliases(&self, to: &mut Vec<Arc<str>>) {
        to.extend(self.association.iter().map(|held| held.id.clone()));
    }

    fn reindex(old: Option<&Self>, new: Option<&Self>, indexes: &mut Indexes) {
        if let Some(old) = old {
            indexes.drop_public(IpAddr::V4(old.public), &old.id.resource());
        }
        if let Some(new) = new {
            indexes.add_public(IpAddr::V4(new.public), new.id.resource());
        }
    }
}
