//! Prefix lists, VPCs, subnets, security groups and network ACLs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::PortMatch;

use super::{Applier, VpcNames};
use crate::api::{
    AclEntry, ApiError, AssociateDhcpOptions, AssociateVpcCidrBlock, AttachInternetGateway,
    AttachVpnGateway, AuthorizeSecurityGroup, CreateDhcpOptions, CreateInternetGateway,
    CreateManagedPrefixList, CreateNetworkAcl, CreateNetworkAclEntry, CreateSecurityGroup,
    CreateSubnet, CreateVpc, CreateVpnGateway, Ipv6Block, ModifySubnetAttribute,
    ModifyVpcAttribute, Permission, ReplaceNetworkAclAssociation, RevokeSecurityGroup,
    network_acl_association,
};
use crate::model::{
    AddressFamily, DhcpValues, Direction, NetworkAclId, PrefixListId, RulePeer, SecurityGroupId,
    SubnetId,
};
use crate::topology::located::{Item, Value};
use crate::topology::resolve::{DEFAULT, within};
use crate::topology::schema::{
    DhcpOptions, NetworkAclRule, RuleAction, SecurityGroup, Subnet, Vpc,
};
use crate::topology::values::{self, CidrOrName, Gateway, IcmpType, Ports, Protocol};

impl Applier<'_, '_> {
    pub(super) fn prefix_list(&mut self, name: &Value<String>) -> Result<(), ApiError> {
        let blocks = self.topology.prefix_list_blocks(name);
        let ipv6 = blocks
            .first()
            .is_some_and(|block| block.address().is_ipv6());
        let create = CreateManagedPrefixList {
            prefix_list_name: name.value.clone(),
            address_family: if ipv6 {
                AddressFamily::Ipv6
            } else {
                AddressFamily::Ipv4
            },
            max_entries: u32::try_from(blocks.len()).unwrap_or(u32::MAX),
            entries: blocks.into_iter().map(Into::into).collect(),
            name: Some(name.value.clone()),
        };
        self.name(format_args!("prefix-list/{}/{ipv6}", name.value));
        let id = self.run(name.at, create)?;
        self.names.prefix_lists.insert(name.value.clone(), id);
        Ok(())
    }

    pub(super) fn create_vpc(&mut self, name: &Value<String>, vpc: &Vpc) -> Result<(), ApiError> {
        let primary = vpc.cidr.first();
        let at = primary.map_or(name.at, |cidr| cidr.at);
        let create = CreateVpc {
            cidr_block: primary.map(|cidr| cidr.value.0),
            ipv6_cidr_block: match vpc.ipv6.as_ref().map(|ipv6| ipv6.value) {
                None | Some(values::Ipv6Block::None) => Ipv6Block::None,
                Some(values::Ipv6Block::Next) => match self.kept.block(name) {
                    Some(block) => Ipv6Block::Given(block),
                    None => Ipv6Block::AmazonProvided,
                },
                Some(values::Ipv6Block::Block(block)) => Ipv6Block::Given(block),
            },
            name: Some(name.value.clone()),
        };
        self.name(format_args!("vpc/{}/{:?}", name.value, create.cidr_block));
        let made = self.run(at, create)?;
        let mut names = VpcNames {
            id: made.vpc,
            main_route_table: made.main_route_table,
            default_security_group: made.default_security_group,
            default_network_acl: made.default_network_acl,
            ipv6: made.ipv6_cidr_block,
            internet_gateway: None,
            vpn_gateway: None,
            subnets: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            security_groups: BTreeMap::new(),
            network_acls: BTreeMap::new(),
        };
        self.vpc_extras(name, vpc, &names)?;
        if let Some(igw) = vpc.igw.as_ref().filter(|igw| igw.value != Gateway::Off) {
            let own = match &igw.value {
                Gateway::Named(own) => own.clone(),
                _ => name.value.clone(),
            };
            let id = self.run(igw.at, CreateInternetGateway { name: Some(own) })?;
            let (internet_gateway, vpc) = (id.clone(), names.id.clone());
            self.run(
                igw.at,
                AttachInternetGateway {
                    internet_gateway,
                    vpc,
                },
            )?;
            names.internet_gateway = Some(id);
        }
        if let Some(options) = &vpc.dhcp_options {
            self.dhcp_options(name, options, &names)?;
        }
        if let Some(vgw) = vpc.vgw.as_ref().filter(|vgw| vgw.value != Gateway::Off) {
            let own = match &vgw.value {
                Gateway::Named(own) => own.clone(),
                _ => name.value.clone(),
            };
            let create = CreateVpnGateway {
                name: Some(own),
                asn: None,
            };
            self.name(format_args!("{}/vgw", names.id));
            let id = self.run(vgw.at, create)?;
            let attach = AttachVpnGateway {
                vpn_gateway: id.clone(),
                vpc: names.id.clone(),
            };
            self.run(vgw.at, attach)?;
            names.vpn_gateway = Some(id);
        }
        self.create_subnets(name, vpc, &mut names)?;
        for (group, body) in vpc.security_groups.iter() {
            let create = CreateSecurityGroup {
                group_name: group.value.clone(),
                description: body
                    .description
                    .clone()
                    .unwrap_or_else(|| group.value.clone()),
                vpc: names.id.clone(),
                name: Some(group.value.clone()),
            };
            self.name(format_args!(
                "{}/group/{}/{}",
                names.id, group.value, create.description
            ));
            let id = self.run(group.at, create)?;
            names.security_groups.insert(group.value.clone(), id);
        }
        for (acl, body) in vpc.network_acls.iter() {
            let create = CreateNetworkAcl {
                vpc: names.id.clone(),
                name: Some(acl.value.clone()),
            };
            self.name(format_args!("{}/acl/{}", names.id, acl.value));
            let id = self.run(acl.at, create)?;
            self.acl_rules(&id, Direction::Ingress, &body.ingress)?;
            self.acl_rules(&id, Direction::Egress, &body.egress)?;
            names.network_acls.insert(acl.value.clone(), id);
        }
        for (subnet_name, subnet) in vpc.subnets.iter() {
            self.use_acl(name, subnet_name, subnet, &names)?;
        }
        self.names.vpcs.insert(name.value.clone(), names);
        Ok(())
    }

    fn create_subnets(
        &mut self,
        vpc_name: &str,
        vpc: &Vpc,
        names: &mut VpcNames,
    ) -> Result<(), ApiError> {
        let mut used: Vec<Prefix> = vpc
            .subnets
            .iter()
            .filter_map(|(_, subnet)| match subnet.ipv6.as_ref()?.value {
                values::Ipv6Block::Block(block) => Some(block),
                _ => None,
            })
            .collect();
        let had = |name: &str| self.kept.block(&format!("{vpc_name}/{name}"));
        let had: BTreeMap<&str, Prefix> = vpc
            .subnets
            .iter()
            .filter(|(_, subnet)| {
                let wanted = subnet.ipv6.as_ref().map(|ipv6| ipv6.value);
                wanted == Some(values::Ipv6Block::Next)
            })
            .filter_map(|(name, _)| Some((name.as_str(), had(name)?)))
            .filter(|(_, block)| {
                let inside = names.ipv6.is_some_and(|of_vpc| of_vpc.covers(*block));
                inside && !used.iter().any(|other| other.overlaps(*block))
            })
            .collect();
        used.extend(had.values());
        for (name, subnet) in vpc.subnets.iter() {
            let ipv6 = match subnet.ipv6.as_ref().map(|ipv6| ipv6.value) {
                Some(values::Ipv6Block::Block(block)) => Some(block),
                Some(values::Ipv6Block::Next) => {
                    let chosen = || names.ipv6.and_then(|of_vpc| next_64(of_vpc, &used));
                    let block = had.get(name.as_str()).copied().or_else(chosen);
                    used.extend(block);
                    block
                }
                Some(values::Ipv6Block::None) | None => None,
            };
            let region = self.topology.region();
            // Written or not, the region's first zone is the same subnet.
            let zone = subnet.az.as_ref();
            let zone = zone.map_or_else(|| format!("{region}a"), |az| az.name(region));
            let create = CreateSubnet {
                vpc: names.id.clone(),
                cidr_block: Some(subnet.cidr.value.0),
                ipv6_cidr_block: ipv6,
                availability_zone: Some(zone),
                name: Some(name.value.clone()),
            };
            let at = subnet
                .az
                .as_ref()
                .map_or(subnet.cidr.at, |az| az.at.max(subnet.cidr.at));
            self.name(format_args!(
                "{}/subnet/{}/{}/{:?}",
                names.id, name.value, subnet.cidr.value.0, create.availability_zone
            ));
            let id = self.run(at, create)?;
            if subnet.map_public_ip.is_some() {
                let modify = ModifySubnetAttribute {
                    subnet: id.clone(),
                    map_public_ip_on_launch: subnet.map_public_ip,
                    ..ModifySubnetAttribute::default()
                };
                self.run(name.at, modify)?;
            }
            names.subnets.insert(name.value.clone(), id);
        }
        Ok(())
    }

    pub(super) fn group_rules(
        &mut self,
        vpc: &str,
        name: &Value<String>,
        group: &SecurityGroup,
    ) -> Result<(), ApiError> {
        let id = self
            .vpc(vpc)?
            .security_groups
            .get(&name.value)
            .cloned()
            .unwrap_or_default();
        for rule in &group.ingress {
            let ports = ports(&rule.proto, &rule.ports, &rule.icmp_type);
            let text = rule.description.as_deref();
            self.authorize(
                vpc,
                &id,
                Direction::Ingress,
                (&rule.proto, ports, text),
                &rule.from,
            )?;
        }
        let Some(egress) = &group.egress else {
            return Ok(());
        };
        // A group begins with rules that allow everything out.
        let all = self.tx.require(&id)?;
        let out = all
            .rules
            .iter()
            .filter(|rule| rule.direction == Direction::Egress);
        let revoke = RevokeSecurityGroup {
            group: id.clone(),
            direction: Direction::Egress,
            permissions: Vec::new(),
            rule_ids: out.map(|rule| rule.id.clone()).collect(),
        };
        self.run(name.at, revoke)?;
        for rule in egress {
            let ports = ports(&rule.proto, &rule.ports, &rule.icmp_type);
            let text = rule.description.as_deref();
            self.authorize(
                vpc,
                &id,
                Direction::Egress,
                (&rule.proto, ports, text),
                &rule.to,
            )?;
        }
        Ok(())
    }

    fn authorize(
        &mut self,
        vpc: &str,
        group: &SecurityGroupId,
        direction: Direction,
        (proto, ports, text): (&Value<Protocol>, PortMatch, Option<&str>),
        peers: &[Value<CidrOrName>],
    ) -> Result<(), ApiError> {
        for peer in peers {
            let at = peer.at;
            let peer = match &peer.value {
                CidrOrName::Cidr(block) => RulePeer::Cidr(*block),
                CidrOrName::Name(name) => match self.names.prefix_lists.get(name) {
                    Some(list) => RulePeer::PrefixList(list.clone()),
                    None if let Some(list) = self.topology.aws_list(name) => {
                        RulePeer::PrefixList(PrefixListId::from(list.id))
                    }
                    None => {
                        let reference = Value {
                            value: name.clone(),
                            at,
                        };
                        let found = self.topology.rule_group(vpc, &reference);
                        let (vpc, group) = found.map_err(|mistake| self.unexpected(mistake))?;
                        RulePeer::Group(self.group_id(&vpc, &group)?)
                    }
                },
            };
            let permission = Permission {
                protocol: proto.value.0,
                ports,
                peer,
                description: text.unwrap_or_default().to_owned(),
            };
            // A rule keeps its id wherever it stands among the others.
            self.name(format_args!("{group}/{direction:?}/{permission:?}"));
            let (group, permissions) = (group.clone(), vec![permission]);
            self.run(
                at,
                AuthorizeSecurityGroup {
                    group,
                    direction,
                    permissions,
                },
            )?;
        }
        Ok(())
    }

    fn acl_rules(
        &mut self,
        acl: &NetworkAclId,
        direction: Direction,
        rules: &[Item<NetworkAclRule>],
    ) -> Result<(), ApiError> {
        for rule in rules {
            let all = Value {
                value: Protocol(None),
                at: rule.at,
            };
            let proto = rule.proto.as_ref().unwrap_or(&all);
            let entry = AclEntry {
                network_acl: acl.clone(),
                direction,
                rule_number: rule.rule.value,
                allow: rule.action == RuleAction::Allow,
                protocol: proto.value.0,
                ports: ports(proto, &rule.ports, &rule.icmp_type),
                cidr: rule.cidr.value.0,
            };
            self.run(rule.rule.at, CreateNetworkAclEntry(entry))?;
        }
        Ok(())
    }

    fn use_acl(
        &mut self,
        vpc: &str,
        name: &Value<String>,
        subnet: &Subnet,
        names: &VpcNames,
    ) -> Result<(), ApiError> {
        let Some(reference) = &subnet.network_acl else {
            return Ok(());
        };
        let own = within(vpc, reference).map_err(|mistake| self.unexpected(mistake))?;
        if own.value == DEFAULT {
            return Ok(());
        }
        let acl = names
            .network_acls
            .get(&own.value)
            .cloned()
            .unwrap_or_default();
        let id: SubnetId = names.subnets.get(&name.value).cloned().unwrap_or_default();
        let Some(held) = network_acl_association(self.tx.model(), &id) else {
            return Err(self.missing(reference.at, name));
        };
        self.name(format_args!("{id}/acl"));
        let replace = ReplaceNetworkAclAssociation {
            association: held,
            network_acl: acl,
        };
        self.run(reference.at, replace).map(drop)
    }

    /// What `CreateVpc` does not take: further blocks, attributes.
    fn vpc_extras(
        &mut self,
        name: &Value<String>,
        vpc: &Vpc,
        names: &VpcNames,
    ) -> Result<(), ApiError> {
        for cidr in vpc.cidr.iter().skip(1) {
            let associate = AssociateVpcCidrBlock {
                vpc: names.id.clone(),
                cidr_block: Some(cidr.value.0),
                ipv6_cidr_block: Ipv6Block::None,
            };
            self.run(cidr.at, associate)?;
        }
        if vpc.enable_dns_support.is_some() || vpc.enable_dns_hostnames.is_some() {
            let modify = ModifyVpcAttribute {
                vpc: names.id.clone(),
                enable_dns_support: vpc.enable_dns_support,
                enable_dns_hostnames: vpc.enable_dns_hostnames,
                usage_metrics: None,
            };
            self.run(name.at, modify)?;
        }
        Ok(())
    }

    /// A set of the VPC's own.
    fn dhcp_options(
        &mut self,
        vpc: &Value<String>,
        options: &Item<DhcpOptions>,
        names: &VpcNames,
    ) -> Result<(), ApiError> {
        let mut netbios = Vec::new();
        for server in options.netbios_name_servers.iter() {
            let IpAddr::V4(address) = server.value.0 else {
                self.at = server.at;
                return Err(ApiError::invalid_value(format!(
                    "{} is IPv6; NetBIOS name servers have IPv4 addresses",
                    server.value.0
                )));
            };
            netbios.push(address);
        }
        let servers = options.domain_name_servers.iter();
        let values = DhcpValues {
            domain_name: options.domain_name.as_deref().map(Into::into),
            domain_name_servers: servers.map(|it| it.value).collect(),
            ntp_servers: options.ntp_servers.iter().map(|it| it.value.0).collect(),
            netbios_name_servers: netbios,
            netbios_node_type: (options.netbios_node_type.as_ref())
                // What is no byte is no type either: that is what is said then.
                .map(|kind| u8::try_from(kind.value).unwrap_or(0)),
            ipv6_preferred_lease_s: (options.ipv6_address_preferred_lease_time.as_ref())
                .map(|lease| lease.value),
        };
        // A set does not change: with other values it is another.
        self.name(format_args!("{}/dhcp/{values:?}", names.id));
        let create = CreateDhcpOptions {
            values,
            name: Some(vpc.value.clone()),
        };
        let set = self.run(options.at, create)?;
        let associate = AssociateDhcpOptions {
            dhcp_options: Some(set),
            vpc: names.id.clone(),
        };
        self.run(options.at, associate)
    }
}

/// Ports, or ICMP types, of a rule.
fn ports(
    proto: &Value<Protocol>,
    ports: &Option<Value<Ports>>,
    icmp: &Option<Value<IcmpType>>,
) -> PortMatch {
    if proto.is_icmp() {
        let icmp = icmp.as_ref().map(|icmp| icmp.value);
        return match icmp.and_then(|icmp| Some((icmp.kind?, icmp.code))) {
            Some((kind, code)) => PortMatch::Icmp(kind, code),
            None => PortMatch::Any,
        };
    }
    match ports.as_ref().map(|ports| ports.value) {
        None | Some(Ports::ALL) => PortMatch::Any,
        Some(ports) => PortMatch::Range(ports.from, ports.to),
    }
}

/// The first /64 of a block that overlaps no other.
fn next_64(block: Prefix, used: &[Prefix]) -> Option<Prefix> {
    (0u128..)
        .map_while(|n| block.nth(n.checked_shl(64)?))
        .filter_map(|address: IpAddr| Prefix::new(address, 64))
        .find(|candidate| !used.iter().any(|other| other.overlaps(*candidate)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::located::At;

    #[test]
    fn the_next_64_is_the_lowest_that_is_free() {
        let block: Prefix = "2001:db8:0:100::/62".parse().expect("block");
        let used: Vec<Prefix> = ["2001:db8:0:100::/64", "2001:db8:0:102::/63"]
            .map(|text| text.parse().expect("block"))
            .to_vec();
        assert_eq!(
            next_64(block, &used[..1]).map(|b| b.to_string()).as_deref(),
            Some("2001:db8:0:101::/64")
        );
        let full = [used, vec!["2001:db8:0:101::/64".parse().expect("block")]].concat();
        assert_eq!(next_64(block, &full), None);
    }

    #[test]
    fn all_ports_and_all_types_are_any() {
        let at = At::default();
        let tcp = Value {
            value: Protocol(Some(6)),
            at,
        };
        let icmp = Value {
            value: Protocol(Some(1)),
            at,
        };
        let range = |from, to| {
            Some(Value {
                value: Ports { from, to },
                at,
            })
        };
        let kind = |kind, code| {
            Some(Value {
                value: IcmpType { kind, code },
                at,
            })
        };
        assert_eq!(ports(&tcp, &range(0, 65535), &None), PortMatch::Any);
        assert_eq!(ports(&tcp, &range(80, 80), &None), PortMatch::Range(80, 80));
        assert_eq!(ports(&icmp, &None, &None), PortMatch::Any);
        assert_eq!(
            ports(&icmp, &None, &kind(Some(3), Some(4))),
            PortMatch::Icmp(3, Some(4))
        );
        assert_eq!(ports(&icmp, &None, &kind(None, None)), PortMatch::Any);
    }
}
