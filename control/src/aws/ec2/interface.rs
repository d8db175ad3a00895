//! Network interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::Prefix;

use super::region::zone_id;
use super::shape::{Attribute, Cidr, DONE, Done, time};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, naming, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    AllocationId, Attachment, ElasticIp, Id, InstanceId, InterfaceKind, Model, NetworkInterface,
    NetworkInterfaceId, SecurityGroupId, SubnetId, VpcId,
};

calls! {
    Read: DescribeNetworkInterfaces DescribeNetworkInterfaceAttribute;
    Write: CreateNetworkInterface DeleteNetworkInterface ModifyNetworkInterfaceAttribute
        ResetNetworkInterfaceAttribute;
    Hosts: AttachNetworkInterface DetachNetworkInterface;
}

/// `CreateNetworkInterface`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateNetworkInterface {
    subnet_id: SubnetId,
    #[serde(default)]
    description: String,
    private_ip_address: Option<Ipv4Addr>,
    #[serde(default)]
    private_ip_addresses: Vec<PrivateAddress>,
    #[serde(default)]
    secondary_private_ip_address_count: u32,
    #[serde(default)]
    security_group_id: Vec<SecurityGroupId>,
    ipv6_address_count: Option<u32>,
    #[serde(default)]
    ipv6_addresses: Vec<Ipv6Address>,
    #[serde(default)]
    ipv4_prefix: Vec<Ipv4Prefix>,
    #[serde(default)]
    ipv6_prefix: Vec<Ipv6Prefix>,
    interface_type: Option<String>,
    connection_tracking_specification: Option<Tracking>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// One of an interface's addresses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PrivateAddress {
    pub(super) private_ip_address: Ipv4Addr,
    #[serde(default)]
    pub(super) primary: bool,
}

/// An IPv6 address.
#[derive(Debug, Deserialize, Serialize)]
pub struct Ipv6Address {
    #[serde(rename(deserialize = "Ipv6Address", serialize = "ipv6Address"))]
    pub(super) address: Ipv6Addr,
}

/// A delegated /28.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipv4Prefix {
    ipv4_prefix: Cidr,
}

/// A delegated /80.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipv6Prefix {
    ipv6_prefix: Cidr,
}

/// Idle timeouts, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tracking {
    tcp_established_timeout: Option<u64>,
    udp_timeout: Option<u64>,
    udp_stream_timeout: Option<u64>,
}

/// An interface, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneInterface {
    network_interface: InterfaceItem,
}

impl Call for CreateNetworkInterface {
    type Answer = OneInterface;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneInterface, ApiError> {
        let tags = tags::specified(&self.tag_specification, "network-interface")?;
        if let Some(other) = self.interface_type.filter(|kind| kind != "interface") {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!("Interfaces of type '{other}' are not emulated"),
            ));
        }
        let (primary, secondary): (Vec<_>, Vec<_>) = self
            .private_ip_addresses
            .iter()
            .partition(|address| address.primary);
        let mut primary: Vec<_> = primary
            .into_iter()
            .map(|it| it.private_ip_address)
            .collect();
        primary.extend(self.private_ip_address);
        primary.dedup();
        if let [one, other, ..] = primary[..] {
            return Err(ApiError::invalid_combination(format!(
                "An interface has one primary address, not both {one} and {other}"
            )));
        }
        let v4 = self.ipv4_prefix.iter().map(|it| it.ipv4_prefix.0);
        let v6 = self.ipv6_prefix.iter().map(|it| it.ipv6_prefix.0);
        let id = at.run(api::CreateNetworkInterface {
            subnet: self.subnet_id,
            private_ip_address: primary.first().copied(),
            secondary_private_ip_addresses: secondary
                .iter()
                .map(|it| it.private_ip_address)
                .collect(),
            secondary_private_ip_address_count: self.secondary_private_ip_address_count,
            ipv6_addresses: self.ipv6_addresses.iter().map(|it| it.address).collect(),
            ipv6_address_count: self.ipv6_address_count,
            prefixes: v4.chain(v6).collect(),
            groups: self.security_group_id,
            description: self.description,
            name: None,
        })?;
        if let Some(tracking) = self.connection_tracking_specification {
            track(at, &id, tracking)?;
        }
        tags::put(at, &id, tags);
        let interface = at.tx.require(&id)?;
        Ok(OneInterface {
            network_interface: InterfaceItem::new(&interface, at.model()),
        })
    }
}

fn track(at: &mut At<'_, '_>, id: &NetworkInterfaceId, tracking: Tracking) -> Result<(), ApiError> {
    at.run(api::ModifyNetworkInterfaceAttribute {
        network_interface: id.clone(),
        tcp_established_timeout: tracking.tcp_established_timeout,
        udp_timeout: tracking.udp_timeout,
        udp_stream_timeout: tracking.udp_stream_timeout,
        ..api::ModifyNetworkInterfaceAttribute::default()
    })
}

/// `DeleteNetworkInterface`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteNetworkInterface {
    network_interface_id: NetworkInterfaceId,
}

impl Call for DeleteNetworkInterface {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::DeleteNetworkInterface {
            network_interface: self.network_interface_id,
        })?;
        Ok(DONE)
    }
}

/// `AttachNetworkInterface`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachNetworkInterface {
    network_interface_id: NetworkInterfaceId,
    instance_id: InstanceId,
    device_index: u16,
}

/// An attachment, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    attachment_id: Arc<str>,
}

impl Call for AttachNetworkInterface {
    type Answer = Attached;

    fn call(self, at: &mut At<'_, '_>) -> Result<Attached, ApiError> {
        let plug = super::instance::plug_of(at, &self.instance_id)?;
        let attachment_id = at.run(api::AttachNetworkInterface {
            network_interface: self.network_interface_id.clone(),
            host: self.instance_id.to_string(),
            device_index: Some(self.device_index),
            associate_public_ip_address: None,
        })?;
        at.run(api::PlugNetworkInterface {
            network_interface: self.network_interface_id,
            plug,
        })?;
        Ok(Attached { attachment_id })
    }
}

/// `DetachNetworkInterface`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DetachNetworkInterface {
    attachment_id: String,
    /// Accepted: detaching needs no force here.
    #[serde(default)]
    #[expect(dead_code, reason = "changes nothing")]
    force: bool,
}

impl Call for DetachNetworkInterface {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let (interface, held) = by_attachment(at, &self.attachment_id)?;
        if held.device_index == 0 && held.host.starts_with(InstanceId::PREFIX) {
            return Err(ApiError::new(
                "OperationNotPermitted",
                format!(
                    "The network interface at device index 0 of '{}' cannot be detached",
                    held.host
                ),
            ));
        }
        at.run(api::DetachNetworkInterface {
            network_interface: interface.id.clone(),
        })?;
        Ok(DONE)
    }
}

/// The interface that is attached so.
fn by_attachment(
    at: &At<'_, '_>,
    attachment: &str,
) -> Result<(Arc<NetworkInterface>, Attachment), ApiError> {
    let owner = at.model().indexes().alias(attachment);
    let id = owner.map(|owner| NetworkInterfaceId::from_text(owner.text.clone()));
    let interface = id.and_then(|id| at.tx.require(&id).ok());
    let held = interface
        .as_ref()
        .and_then(|interface| interface.attachment.clone());
    interface.zip(held).ok_or_else(|| {
        ApiError::new(
            "InvalidAttachmentID.NotFound",
            format!("The attachment ID '{attachment}' does not exist"),
        )
    })
}

/// `ModifyNetworkInterfaceAttribute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyNetworkInterfaceAttribute {
    network_interface_id: NetworkInterfaceId,
    description: Option<Attribute<String>>,
    source_dest_check: Option<Attribute<bool>>,
    #[serde(default)]
    security_group_id: Vec<SecurityGroupId>,
    connection_tracking_specification: Option<Tracking>,
    attachment: Option<AttachmentChange>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttachmentChange {
    attachment_id: String,
    delete_on_termination: bool,
}

impl Call for ModifyNetworkInterfaceAttribute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let tracking = self.connection_tracking_specification.unwrap_or_default();
        let groups = Some(self.security_group_id).filter(|groups| !groups.is_empty());
        at.run(api::ModifyNetworkInterfaceAttribute {
            network_interface: self.network_interface_id.clone(),
            groups,
            source_dest_check: self.source_dest_check.map(|it| it.value),
            description: self.description.map(|it| it.value),
            tcp_established_timeout: tracking.tcp_established_timeout,
            udp_timeout: tracking.udp_timeout,
            udp_stream_timeout: tracking.udp_stream_timeout,
        })?;
        if let Some(change) = self.attachment {
            let (interface, _) = by_attachment(at, &change.attachment_id)?;
            at.tx.update(&interface.id, |interface| {
                if let Some(held) = &mut interface.attachment {
                    held.delete_on_termination = change.delete_on_termination;
                }
            });
        }
        Ok(DONE)
    }
}

/// `ResetNetworkInterfaceAttribute`: the source/destination check is on again.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResetNetworkInterfaceAttribute {
    network_interface_id: NetworkInterfaceId,
    /// The only attribute that there is to reset.
    #[serde(default)]
    #[expect(dead_code, reason = "changes nothing")]
    source_dest_check: Option<String>,
}

impl Call for ResetNetworkInterfaceAttribute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        at.run(api::ModifyNetworkInterfaceAttribute {
            network_interface: self.network_interface_id,
            source_dest_check: Some(true),
            ..api::ModifyNetworkInterfaceAttribute::default()
        })?;
        Ok(DONE)
    }
}

/// `DescribeNetworkInterfaceAttribute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeNetworkInterfaceAttribute {
    network_interface_id: NetworkInterfaceId,
    attribute: InterfaceAttribute,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum InterfaceAttribute {
    Description,
    GroupSet,
    SourceDestCheck,
    Attachment,
}

/// The attribute that was asked for.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceAttributes {
    network_interface_id: NetworkInterfaceId,
    description: Option<Attribute<Arc<str>>>,
    source_dest_check: Option<Attribute<bool>>,
    group_set: Option<Vec<GroupItem>>,
    attachment: Option<AttachmentItem>,
}

impl Call for DescribeNetworkInterfaceAttribute {
    type Answer = InterfaceAttributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<InterfaceAttributes, ApiError> {
        let interface = at.tx.require(&self.network_interface_id)?;
        let mut item = InterfaceItem::new(&interface, at.model());
        let mut answer = InterfaceAttributes {
            network_interface_id: self.network_interface_id,
            ..InterfaceAttributes::default()
        };
        match self.attribute {
            InterfaceAttribute::Description => {
                answer.description = Some(Attribute::new(item.description))
            }
            InterfaceAttribute::GroupSet => answer.group_set = Some(item.group_set),
            InterfaceAttribute::SourceDestCheck => {
                answer.source_dest_check = Some(Attribute::new(item.source_dest_check));
            }
            InterfaceAttribute::Attachment => answer.attachment = item.attachment.take(),
        }
        Ok(answer)
    }
}

describe! {
    /// `DescribeNetworkInterfaces`
    DescribeNetworkInterfaces { network_interface_id: NetworkInterfaceId }
}

/// `DescribeNetworkInterfaces`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interfaces {
    network_interface_set: Vec<InterfaceItem>,
    next_token: Option<String>,
}

impl Call for DescribeNetworkInterfaces {
    type Answer = Interfaces;

    fn call(self, at: &mut At<'_, '_>) -> Result<Interfaces, ApiError> {
        let page = self.wanted().select_by(at, FILTERS, find)?;
        let item = |interface: &Arc<NetworkInterface>| InterfaceItem::new(interface, at.model());
        Ok(Interfaces {
            network_interface_set: page.items.iter().map(item).collect(),
            next_token: page.next_token,
        })
    }
}

/// Interfaces by what they name, and by address.
fn find(model: &Model, filter: &str, value: &str) -> Option<Vec<NetworkInterfaceId>> {
    match filter {
        "network-interface-id" => Some(vec![value.into()]),
        "vpc-id" => naming(model, &VpcId::from(value)),
        "subnet-id" => naming(model, &SubnetId::from(value)),
        "group-id" => naming(model, &SecurityGroupId::from(value)),
        "attachment.instance-id" if value.starts_with(InstanceId::PREFIX) => {
            naming(model, &InstanceId::from(value))
        }
        "private-ip-address" | "addresses.private-ip-address" | "ipv6-addresses.ipv6-address" => {
            let address = value.parse().ok()?;
            let subnets = model.subnets().iter();
            let owner = |subnet: &SubnetId| model.indexes().address_owner(subnet, address);
            Some(
                subnets
                    .filter_map(|subnet| owner(&subnet.id).cloned())
                    .collect(),
            )
        }
        _ => None,
    }
}

fn of_attachment<T: ToString>(
    interface: &NetworkInterface,
    value: impl Fn(&Attachment) -> T,
) -> Vec<String> {
    each(interface.attachment.as_ref().map(value))
}

/// The public addresses of an interface.
fn public(it: &NetworkInterface, model: &Model) -> Vec<String> {
    let public = |ip: &Ipv4Addr| Some(Association::of(it, *ip, model)?.public_ip);
    each(it.private_addresses.iter().filter_map(public))
}

const FILTERS: &[Known<NetworkInterface>] = &[
    ("network-interface-id", |it, _| one(&it.id)),
    ("vpc-id", |it, _| one(&it.vpc)),
    ("subnet-id", |it, _| one(&it.subnet)),
    ("group-id", |it, _| each(&it.groups)),
    ("group-name", |it, model| {
        each(
            it.groups
                .iter()
                .filter_map(|id| Some(&model.get(id)?.group_name)),
        )
    }),
    ("description", |it, _| one(&it.description)),
    ("private-ip-address", |it, _| each(it.primary())),
    ("addresses.private-ip-address", |it, _| {
        each(&it.private_addresses)
    }),
    ("addresses.primary", |_, _| one(true)),
    ("ipv6-addresses.ipv6-address", |it, _| {
        each(&it.ipv6_addresses)
    }),
    ("mac-address", |it, _| one(it.mac)),
    ("owner-id", |it, _| one(&it.meta.owner)),
    ("requester-managed", |it, _| one(it.requester_managed)),
    ("source-dest-check", |it, _| one(it.source_dest_check)),
    ("status", |it, _| one(status(it))),
    ("interface-type", |it, model| one(interface_type(it, model))),
    ("availability-zone", |it, model| {
        each(model.get(&it.subnet).map(|subnet| subnet.zone.clone()))
    }),
    ("attachment.attachment-id", |it, _| {
        of_attachment(it, |held| held.id.clone())
    }),
    ("attachment.instance-id", |it, _| {
        of_attachment(it, |held| held.host.clone())
    }),
    ("attachment.device-index", |it, _| {
        of_attachment(it, |held| held.device_index)
    }),
    ("attachment.status", |it, _| {
        of_attachment(it, |_| "attached")
    }),
    ("attachment.delete-on-termination", |it, _| {
        of_attachment(it, |held| held.delete_on_termination)
    }),
    ("attachment.instance-owner-id", |it, _| {
        of_attachment(it, |_| it.meta.owner.clone())
    }),
    ("association.public-ip", public),
    ("addresses.association.public-ip", public),
    ("association.association-id", |it, model| {
        let elastic = model.referrers::<ElasticIp>(&it.id);
        each(elastic.filter_map(|elastic| Some(elastic.association.as_ref()?.id.clone())))
    }),
    ("association.allocation-id", |it, model| {
        each(
            model
                .referrers::<ElasticIp>(&it.id)
                .map(|elastic| elastic.id.clone()),
        )
    }),
];

fn status(interface: &NetworkInterface) -> &'static str {
    match interface.requester_managed || interface.attachment.is_some() {
        true => "in-use",
        false => "available",
    }
}

fn interface_type(interface: &NetworkInterface, model: &Model) -> &'static str {
    match &interface.kind {
        InterfaceKind::Host => "interface",
        InterfaceKind::Endpoint(_) => "vpc_endpoint",
        InterfaceKind::GatewayEndpoint(_) => "gateway_load_balancer_endpoint",
        InterfaceKind::NatGateway(_) => "nat_gateway",
        InterfaceKind::LoadBalancer(arn) => {
            let gateway = model.get(arn).is_some_and(|balancer| {
                balancer.kind == vpclab_dataplane::tables::LoadBalancerKind::Gateway
            });
            if gateway {
                "gateway_load_balancer"
            } else {
                "network_load_balancer"
            }
        }
    }
}

/// An interface in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceItem {
    network_interface_id: NetworkInterfaceId,
    subnet_id: SubnetId,
    vpc_id: VpcId,
    availability_zone: Arc<str>,
    availability_zone_id: String,
    owner_id: Arc<str>,
    description: Arc<str>,
    interface_type: &'static str,
    requester_managed: bool,
    requester_id: Option<&'static str>,
    status: &'static str,
    mac_address: String,
    private_ip_address: Option<Ipv4Addr>,
    private_ip_addresses_set: Vec<AddressItem>,
    ipv6_addresses_set: Vec<Ipv6Address>,
    ipv4_prefix_set: Vec<Ipv4PrefixItem>,
    ipv6_prefix_set: Vec<Ipv6PrefixItem>,
    group_set: Vec<GroupItem>,
    source_dest_check: bool,
    deny_all_igw_traffic: Option<bool>,
    attachment: Option<AttachmentItem>,
    association: Option<Association>,
    tag_set: Vec<TagItem>,
}

/// A group that an interface is in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupItem {
    group_id: SecurityGroupId,
    group_name: Arc<str>,
}

impl GroupItem {
    pub(super) fn all(interface: &NetworkInterface, model: &Model) -> Vec<Self> {
        Self::of(&interface.groups, model)
    }

    /// Groups by their ids.
    pub(super) fn of(groups: &[SecurityGroupId], model: &Model) -> Vec<Self> {
        let item = |id: &SecurityGroupId| Self {
            group_id: id.clone(),
            group_name: model
                .get(id)
                .map(|group| group.group_name.clone())
                .unwrap_or_default(),
        };
        groups.iter().map(item).collect()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentItem {
    attachment_id: Arc<str>,
    device_index: u16,
    network_card_index: u16,
    instance_id: Arc<str>,
    instance_owner_id: Arc<str>,
    attach_time: String,
    delete_on_termination: bool,
    status: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ipv4PrefixItem {
    ipv4_prefix: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ipv6PrefixItem {
    ipv6_prefix: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddressItem {
    private_ip_address: Ipv4Addr,
    primary: bool,
    association: Option<Association>,
}

/// A private address's public one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Association {
    pub(super) public_ip: Ipv4Addr,
    ip_owner_id: Arc<str>,
    allocation_id: Option<AllocationId>,
    association_id: Option<Arc<str>>,
}

impl Association {
    pub(super) fn of(
        interface: &NetworkInterface,
        private: Ipv4Addr,
        model: &Model,
    ) -> Option<Self> {
        let elastic = model
            .referrers::<ElasticIp>(&interface.id)
            .find_map(|elastic| {
                let held = elastic
                    .association
                    .as_ref()
                    .filter(|held| held.private == private)?;
                Some(Self {
                    public_ip: elastic.public,
                    ip_owner_id: elastic.meta.owner.clone(),
                    allocation_id: Some(elastic.id.clone()),
                    association_id: Some(held.id.clone()),
                })
            });
        let auto = interface
            .auto_public
            .filter(|_| interface.primary() == Some(private));
        elastic.or_else(|| {
            Some(Self {
                public_ip: auto?,
                ip_owner_id: Arc::from("amazon"),
                allocation_id: None,
                association_id: None,
            })
        })
    }
}

impl AddressItem {
    pub(super) fn all(interface: &NetworkInterface, model: &Model) -> Vec<Self> {
        let item = |private: &Ipv4Addr| Self {
            private_ip_address: *private,
            primary: interface.primary() == Some(*private),
            association: Association::of(interface, *private, model),
        };
        interface.private_addresses.iter().map(item).collect()
    }
}

impl InterfaceItem {
    pub(super) fn new(interface: &NetworkInterface, model: &Model) -> Self {
        let zone = model
            .get(&interface.subnet)
            .map(|subnet| subnet.zone.clone());
        let zone = zone.unwrap_or_default();
        let (v4, v6): (Vec<_>, Vec<_>) = interface
            .prefixes
            .iter()
            .copied()
            .partition(|p: &Prefix| p.is_ipv4());
        let primary = interface.primary();
        let attachment = interface.attachment.as_ref().map(|held| AttachmentItem {
            attachment_id: held.id.clone(),
            device_index: held.device_index,
            network_card_index: 0,
            instance_id: held.host.clone(),
            instance_owner_id: interface.meta.owner.clone(),
            attach_time: time(held.since_s),
            delete_on_termination: held.delete_on_termination,
            status: "attached",
        });
        Self {
            network_interface_id: interface.id.clone(),
            subnet_id: interface.subnet.clone(),
            vpc_id: interface.vpc.clone(),
            availability_zone_id: zone_id(&zone),
            availability_zone: zone,
            owner_id: interface.meta.owner.clone(),
            description: interface.description.clone(),
            interface_type: interface_type(interface, model),
            requester_managed: interface.requester_managed,
            requester_id: interface.requester_managed.then_some("amazon-vpc"),
            status: status(interface),
            mac_address: interface.mac.to_string(),
            private_ip_address: primary,
            private_ip_addresses_set: AddressItem::all(interface, model),
            ipv6_addresses_set: interface
                .ipv6_addresses
                .iter()
                .map(|&address| Ipv6Address { address })
                .collect(),
            ipv4_prefix_set: v4
                .into_iter()
                .map(|prefix| Ipv4PrefixItem {
                    ipv4_prefix: prefix.to_string(),
                })
                .collect(),
            ipv6_prefix_set: v6
                .into_iter()
                .map(|prefix| Ipv6PrefixItem {
                    ipv6_prefix: prefix.to_string(),
                })
                .collect(),
            group_set: GroupItem::all(interface, model),
            source_dest_check: interface.source_dest_check,
            deny_all_igw_traffic: interface.deny_all_igw_traffic.then_some(true),
            attachment,
            association: primary.and_then(|ip| Association::of(interface, ip, model)),
            tag_set: tags::items(&interface.meta.all_tags()),
        }
    }
}
