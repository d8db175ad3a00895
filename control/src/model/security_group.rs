//! Security groups.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::PortMatch;

use super::{
    Meta, PrefixListId, References, Resource, SecurityGroupId, Tags, VpcId, resource_fields,
};

/// The way of the traffic that a rule judges.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum Direction {
    /// Inbound.
    #[default]
    Ingress,
    /// Outbound.
    Egress,
}

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RulePeer {
    /// A block.
    Cidr(Prefix),
    /// Every entry of a prefix list.
    PrefixList(PrefixListId),
    /// The interfaces of a group.
    Group(SecurityGroupId),
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    /// `sgr-…`
    pub id: Arc<str>,
    /// Which way.
    pub direction: Direction,
    /// IP protocol; `None` is all.
    pub protocol: Option<u8>,
    /// Ports or ICMP types.
    pub ports: PortMatch,
    /// Source or destination.
    pub peer: RulePeer,
    /// Free text.
    pub description: Arc<str>,
    /// Its tags, `Name` too.
    pub tags: Tags,
}

impl SecurityGroupRule {
    /// Whether two rules allow exactly the same (AWS refuses the second).
    pub fn is_same(&self, other: &Self) -> bool {
        self.direction == other.direction
            && self.protocol == other.protocol
            && self.ports == other.ports
            && self.peer == other.peer
    }
}

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Id.
    pub id: SecurityGroupId,
    /// Owner, region, name tag.
    pub meta: Meta,
    /// Its own name, unique in the VPC.
    pub group_name: Arc<str>,
    /// Free text.
    pub description: Arc<str>,
    /// Its VPC.
    pub vpc: VpcId,
    /// Whether it is the VPC's default group.
    pub is_default: bool,
    /// Rules, oldest first.
    pub rules: Vec<SecurityGroupRule>,
}

impl Resource for SecurityGroup {
    resource_fields!(SecurityGroupId);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
        for rule in &self.rules {
            match &rule.peer {
                RulePeer::Cidr(_) => {}
                RulePeer::PrefixList(id) => to.add(id),
                RulePeer::Group(id) if *id != self.id => to.add(id),
                RulePeer::Group(_) => {}
            }
        }
    }

    fn aliases(&self, to: &mut Vec<Arc<str>>) {
        to.extend(self.rules.iter().map(|rule| rule.id.clone()));
    }
}

impl SecurityGroupRule {
    /// A rule for every protocol and port.
    pub fn all(id: Arc<str>, direction: Direction, peer: RulePeer) -> Self {
        Self {
            id,
            direction,
            protocol: None,
            ports: PortMatch::Any,
            peer,
            description: Arc::default(),
            tags: Tags::new(),
        }
    }
}
