//! `IpPermissions`: what security-group rules allow, as EC2 writes it.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::PortMatch;

use crate::api::{ApiError, Permission};
use crate::aws::call::At;
use crate::model::{
    Direction, Id, Model, PrefixListId, RulePeer, SecurityGroup, SecurityGroupId,
    SecurityGroupRule, VpcId, VpcPeeringConnection, VpcPeeringConnectionId,
};

/// A permission of a request: one protocol, several peers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct IpPermission {
    pub(super) ip_protocol: Option<String>,
    pub(super) from_port: Option<i32>,
    pub(super) to_port: Option<i32>,
    pub(super) ip_ranges: Vec<IpRange>,
    pub(super) ipv6_ranges: Vec<Ipv6Range>,
    pub(super) prefix_list_ids: Vec<PrefixListPeer>,
    pub(super) groups: Vec<GroupPeer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct IpRange {
    pub(super) cidr_ip: String,
    pub(super) description: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Ipv6Range {
    pub(super) cidr_ipv6: String,
    pub(super) description: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PrefixListPeer {
    pub(super) prefix_list_id: PrefixListId,
    pub(super) description: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GroupPeer {
    pub(super) group_id: Option<SecurityGroupId>,
    pub(super) group_name: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) vpc_id: Option<String>,
    /// Both follow from the group; clients send back what they were told.
    #[serde(rename = "VpcPeeringConnectionId")]
    pub(super) _peering: Option<String>,
    #[serde(rename = "PeeringStatus")]
    pub(super) _status: Option<String>,
    pub(super) description: String,
}

impl IpPermission {
    /// As the control plane takes them: one peer each.
    pub(super) fn permissions(
        &self,
        at: &At<'_, '_>,
        group: &SecurityGroup,
    ) -> Result<Vec<Permission>, ApiError> {
        let protocol = self.ip_protocol.as_deref();
        let protocol = protocol.ok_or_else(|| ApiError::missing("ipProtocol"))?;
        let (protocol, ports) = protocol_and_ports(protocol, self.from_port, self.to_port)?;
        let mut peers = Vec::new();
        for range in &self.ip_ranges {
            peers.push((
                RulePeer::Cidr(block(&range.cidr_ip, true)?),
                &range.description,
            ));
        }
        for range in &self.ipv6_ranges {
            peers.push((
                RulePeer::Cidr(block(&range.cidr_ipv6, false)?),
                &range.description,
            ));
        }
        for list in &self.prefix_list_ids {
            peers.push((
                RulePeer::PrefixList(list.prefix_list_id.clone()),
                &list.description,
            ));
        }
        for peer in &self.groups {
            let id = match (&peer.group_id, &peer.group_name) {
                (Some(id), _) => id.clone(),
                (None, Some(name)) => by_name(at.model(), group, name)?,
                (None, None) => return Err(ApiError::missing("groupId")),
            };
            // Whose it is, and in which VPC, must be so if it is said.
            let held = at.model().get(&id);
            let differs = |given: &Option<String>, own: Option<&str>| {
                let pair = given.as_deref().zip(own);
                pair.is_some_and(|(given, own)| given != own)
            };
            if differs(&peer.user_id, held.map(|held| &*held.meta.owner))
                || differs(&peer.vpc_id, held.map(|held| held.vpc.as_str()))
            {
                return Err(ApiError::new(
                    SecurityGroupId::NOT_FOUND,
                    format!("The security group '{id}' does not exist there"),
                ));
            }
            peers.push((RulePeer::Group(id), &peer.description));
        }
        if peers.is_empty() {
            return Err(ApiError::invalid_value(
                "A permission needs a peer: IpRanges, Ipv6Ranges, PrefixListIds or Groups",
            ));
        }
        let permission = |(peer, description): (RulePeer, &String)| Permission {
            protocol,
            ports,
            peer,
            description: description.clone(),
        };
        Ok(peers.into_iter().map(permission).collect())
    }
}

/// A block of one family.
pub(super) fn block(text: &str, ipv4: bool) -> Result<Prefix, ApiError> {
    let parsed = Prefix::from_str(text)
        .ok()
        .filter(|block| block.is_ipv4() == ipv4);
    parsed.ok_or_else(|| {
        let family = if ipv4 { "IPv4" } else { "IPv6" };
        ApiError::invalid_value(format!(
            "CIDR block {text} is malformed: an {family} block is needed"
        ))
    })
}

/// The group of the same VPC with this name.
fn by_name(model: &Model, group: &SecurityGroup, name: &str) -> Result<SecurityGroupId, ApiError> {
    let mut all = model.referrers::<SecurityGroup>(&group.vpc);
    let found = all.find(|other| *other.group_name == *name);
    found.map(|other| other.id.clone()).ok_or_else(|| {
        ApiError::new(
            "InvalidGroup.NotFound",
            format!(
                "The security group '{name}' does not exist in {}",
                group.vpc
            ),
        )
    })
}

/// Protocol and ports as the control plane has them. For ICMP the ports are type
/// and code, and −1 is any.
pub(super) fn protocol_and_ports(
    protocol: &str,
    from: Option<i32>,
    to: Option<i32>,
) -> Result<(Option<u8>, PortMatch), ApiError> {
    let number = match protocol.to_ascii_lowercase().as_str() {
        "-1" | "all" => None,
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp" => Some(1),
        "icmpv6" => Some(58),
        other => Some(other.parse::<u8>().map_err(|_| {
            ApiError::invalid_value(format!(
                "Invalid value '{protocol}' for IP protocol: tcp, udp, icmp, icmpv6, -1 or a number"
            ))
        })?),
    };
    let byte = |value: i32, what: &str| {
        u8::try_from(value)
            .map_err(|_| ApiError::invalid_value(format!("ICMP {what} ({value}) is out of range")))
    };
    let port = |value: i32| {
        u16::try_from(value)
            .map_err(|_| ApiError::invalid_value(format!("Invalid port ({value}): 0 to 65535")))
    };
    let ports = match number {
        Some(1 | 58) => match (from.unwrap_or(-1), to.unwrap_or(-1)) {
            (-1, _) => PortMatch::Any,
            (kind, -1) => PortMatch::Icmp(byte(kind, "type")?, None),
            (kind, code) => PortMatch::Icmp(byte(kind, "type")?, Some(byte(code, "code")?)),
        },
        Some(6 | 17) => match (from, to) {
            (None | Some(-1), None | Some(-1)) => PortMatch::Any,
            (Some(from), Some(to)) => match (port(from)?, port(to)?) {
                (0, u16::MAX) => PortMatch::Any,
                (from, to) => PortMatch::Range(from, to),
            },
            _ => {
                return Err(ApiError::invalid_combination(
                    "FromPort and ToPort are given both or not at all",
                ));
            }
        },
        // AWS takes ports with any other protocol, and has no use for them.
        _ => PortMatch::Any,
    };
    Ok((number, ports))
}

/// How EC2 names a protocol in answers.
pub(super) fn protocol_name(protocol: Option<u8>) -> String {
    match protocol {
        None => "-1".to_owned(),
        Some(6) => "tcp".to_owned(),
        Some(17) => "udp".to_owned(),
        Some(1) => "icmp".to_owned(),
        Some(58) => "icmpv6".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// `fromPort` and `toPort` of an answer.
pub(super) fn from_to(protocol: Option<u8>, ports: PortMatch) -> (Option<i32>, Option<i32>) {
    match ports {
        PortMatch::Range(from, to) => (Some(from.into()), Some(to.into())),
        PortMatch::Icmp(kind, code) => (Some(kind.into()), Some(code.map_or(-1, i32::from))),
        PortMatch::Any => match protocol {
            Some(6 | 17) => (Some(0), Some(65535)),
            Some(1 | 58) => (Some(-1), Some(-1)),
            _ => (None, None),
        },
    }
}

/// A permission of an answer.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PermissionItem {
    ip_protocol: String,
    from_port: Option<i32>,
    to_port: Option<i32>,
    ip_ranges: Vec<IpRangeItem>,
    ipv6_ranges: Vec<Ipv6RangeItem>,
    prefix_list_ids: Vec<PrefixListItem>,
    groups: Vec<GroupItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IpRangeItem {
    cidr_ip: String,
    description: Option<Arc<str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ipv6RangeItem {
    cidr_ipv6: String,
    description: Option<Arc<str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrefixListItem {
    prefix_list_id: PrefixListId,
    description: Option<Arc<str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupItem {
    group_id: SecurityGroupId,
    user_id: Arc<str>,
    vpc_id: Option<VpcId>,
    vpc_peering_connection_id: Option<VpcPeeringConnectionId>,
    peering_status: Option<&'static str>,
    description: Option<Arc<str>>,
}

impl PermissionItem {
    /// A group's rules of one direction; those of the same protocol and ports
    /// are one permission.
    pub(super) fn all(group: &SecurityGroup, direction: Direction, model: &Model) -> Vec<Self> {
        let mut items: Vec<Self> = Vec::new();
        for rule in group
            .rules
            .iter()
            .filter(|rule| rule.direction == direction)
        {
            let ip_protocol = protocol_name(rule.protocol);
            let (from_port, to_port) = from_to(rule.protocol, rule.ports);
            let same = items.iter().position(|item| {
                item.ip_protocol == ip_protocol
                    && (item.from_port, item.to_port) == (from_port, to_port)
            });
            let at = same.unwrap_or_else(|| {
                items.push(Self {
                    ip_protocol,
                    from_port,
                    to_port,
                    ..Self::default()
                });
                items.len() - 1
            });
            items[at].add(group, rule, model);
        }
        items
    }

    fn add(&mut self, group: &SecurityGroup, rule: &SecurityGroupRule, model: &Model) {
        let description = described(rule);
        match &rule.peer {
            RulePeer::Cidr(block) if block.is_ipv4() => self.ip_ranges.push(IpRangeItem {
                cidr_ip: block.to_string(),
                description,
            }),
            RulePeer::Cidr(block) => self.ipv6_ranges.push(Ipv6RangeItem {
                cidr_ipv6: block.to_string(),
                description,
            }),
            RulePeer::PrefixList(id) => self.prefix_list_ids.push(PrefixListItem {
                prefix_list_id: id.clone(),
                description,
            }),
            RulePeer::Group(id) => {
                let other = model.get(id);
                let of_peer = other.filter(|other| other.vpc != group.vpc);
                let mut peerings = model.referrers::<VpcPeeringConnection>(&group.vpc);
                let peering = of_peer
                    .and_then(|other| peerings.find(|held| held.joins(&group.vpc, &other.vpc)));
                self.groups.push(GroupItem {
                    group_id: id.clone(),
                    user_id: other.map_or(&group.meta, |other| &other.meta).owner.clone(),
                    vpc_id: of_peer.map(|other| other.vpc.clone()),
                    vpc_peering_connection_id: peering.map(|held| held.id.clone()),
                    peering_status: peering.map(|held| held.state.name()),
                    description,
                });
            }
        }
    }
}

/// A rule's description, unless it is empty.
pub(super) fn described(rule: &SecurityGroupRule) -> Option<Arc<str>> {
    Some(rule.description.clone()).filter(|text| !text.is_empty())
}
