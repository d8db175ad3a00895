//! Network ACLs and which subnets they guard.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::PortMatch;

use super::{
    Meta, NetworkAclAssociationId, NetworkAclId, References, Resource, SubnetId, VpcId,
    resource_fields,
};

/// An entry; its rule number is its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAclEntry {
    /// Allow or deny.
    pub allow: bool,
    /// IP protocol; `None` is all.
    pub protocol: Option<u8>,
    /// Ports or ICMP types.
    pub ports: PortMatch,
    /// Source (inbound) or destination (outbound).
    pub cidr: Prefix,
}

/// A network ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// Id.
    pub id: NetworkAclId,
    /// Owner, region, name.
    pub meta: Meta,
    /// Its VPC.
    pub vpc: VpcId,
    /// Whether it is the VPC's default ACL.
    pub is_default: bool,
    /// Inbound entries by number.
    pub ingress: BTreeMap<u16, NetworkAclEntry>,
    /// Outbound entries by number.
    pub egress: BTreeMap<u16, NetworkAclEntry>,
}

impl Resource for NetworkAcl {
    resource_fields!(NetworkAclId);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
    }
}

/// A subnet's ACL. Every subnet has exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAclAssociation {
    /// Id.
    pub id: NetworkAclAssociationId,
    /// Owner, region, name.
    pub meta: Meta,
    /// The ACL.
    pub network_acl: NetworkAclId,
    /// The subnet.
    pub subnet: SubnetId,
}

impl Resource for NetworkAclAssociation {
    resource_fields!(NetworkAclAssociationId);

    fn references(&self, to: &mut References) {
        to.add(&self.network_acl);
        to.add(&self.subnet);
    }
}

impl NetworkAcl {
    /// The entries of a default ACL: 100 allows all IPv4, 101 all IPv6.
    pub fn allow_all(ipv6: bool) -> BTreeMap<u16, NetworkAclEntry> {
        let allow = |cidr| NetworkAclEntry {
            allow: true,
            protocol: None,
            ports: PortMatch::Any,
            cidr,
        };
        let v6 = ipv6.then(|| (101, allow(Prefix::ANY_V6)));
        [(100, allow(Prefix::ANY_V4))]
            .into_iter()
            .chain(v6)
            .collect()
    }
}
