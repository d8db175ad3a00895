//! Instances: hosts behind interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::interface::{Association, GroupItem, InterfaceItem, Ipv6Address, PrivateAddress};
use super::shape::{Attribute, DONE, Done, time};
use crate::api::{self, ApiError, Caller, InstanceInterface, InterfaceSource};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    Instance, InstanceId, InstanceState, Model, NetworkInterface, NetworkInterfaceId, Plug,
    SecurityGroup, SecurityGroupId, SubnetId, VpcId,
};

calls! {
    Read: DescribeInstances DescribeInstanceAttribute DescribeInstanceStatus;
    Write: ModifyInstanceAttribute;
    Hosts: RunInstances StartInstances StopInstances TerminateInstances;
}

/// Instances of one request, at most.
const COUNT_MAX: u32 = 1000;

/// The interfaces of an instance, by device index; none if the caller has no
/// such instance.
pub(super) fn interfaces(
    model: &Model,
    caller: &Caller,
    instance: &str,
) -> Vec<Arc<NetworkInterface>> {
    let id = InstanceId::from(instance);
    let mut all: Vec<_> = model
        .referrers::<NetworkInterface>(&id)
        .filter(|eni| eni.meta.owner == caller.account && eni.meta.region == caller.region)
        .cloned()
        .collect();
    all.sort_by_key(|eni| eni.attachment.as_ref().map(|held| held.device_index));
    all
}

/// What is behind an interface that an instance gets now.
pub(super) fn plug_of(at: &At<'_, '_>, id: &InstanceId) -> Result<Plug, ApiError> {
    let instance = at.tx.require(id)?;
    match instance.state {
        InstanceState::Running => Ok(at.backend.plug()),
        InstanceState::Stopped => Ok(Plug::Waiting),
        InstanceState::Terminated => Err(ApiError::new(
            "IncorrectInstanceState",
            format!("The instance '{id}' is terminated"),
        )),
    }
}

/// `RunInstances`. What concerns disks, processors and credentials is accepted and
/// means nothing: an instance is a host behind interfaces.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunInstances {
    image_id: String,
    instance_type: Option<String>,
    min_count: u32,
    max_count: u32,
    subnet_id: Option<SubnetId>,
    #[serde(default)]
    security_group_id: Vec<SecurityGroupId>,
    #[serde(default)]
    security_group: Vec<String>,
    private_ip_address: Option<Ipv4Addr>,
    ipv6_address_count: Option<u32>,
    #[serde(default)]
    ipv6_address: Vec<Ipv6Address>,
    #[serde(default)]
    network_interface: Vec<InterfaceSpecification>,
    key_name: Option<String>,
    user_data: Option<String>,
    #[serde(default)]
    disable_api_termination: bool,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
    placement: Option<Placement>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    block_device_mapping: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    ebs_optimized: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    monitoring: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    iam_instance_profile: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    credit_specification: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    cpu_options: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    instance_initiated_shutdown_behavior: Option<IgnoredAny>,
    #[expect(
        dead_code,
        reason = "accepted: there is no metadata service to set up yet"
    )]
    metadata_options: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    enclave_options: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    hibernation_options: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    maintenance_options: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    private_dns_name_options: Option<IgnoredAny>,
    #[expect(dead_code, reason = "accepted, and means nothing")]
    disable_api_stop: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Placement {
    availability_zone: Option<String>,
    tenancy: Option<String>,
}

/// `NetworkInterface.N` of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InterfaceSpecification {
    device_index: u16,
    network_interface_id: Option<NetworkInterfaceId>,
    subnet_id: Option<SubnetId>,
    description: String,
    private_ip_address: Option<Ipv4Addr>,
    private_ip_addresses: Vec<PrivateAddress>,
    secondary_private_ip_address_count: u32,
    security_group_id: Vec<SecurityGroupId>,
    ipv6_address_count: Option<u32>,
    ipv6_addresses: Vec<Ipv6Address>,
    associate_public_ip_address: Option<bool>,
    delete_on_termination: Option<bool>,
    /// Accepted: there are no other cards.
    network_card_index: u16,
}

impl RunInstances {
    /// The interfaces of one new instance.
    fn interfaces(&self, at: &At<'_, '_>) -> Result<Vec<InstanceInterface>, ApiError> {
        let top = self.subnet_id.is_some()
            || !self.security_group_id.is_empty()
            || self.private_ip_address.is_some();
        if !self.network_interface.is_empty() && top {
            return Err(ApiError::invalid_combination(
                "Network interfaces and an instance-level subnet, security groups or private \
                 address may not be specified on the same request",
            ));
        }
        if self.network_interface.is_empty() {
            let subnet = self.subnet_id.clone().ok_or_else(|| {
                ApiError::new(
                    "VPCIdNotSpecified",
                    "No default VPC for this user: give SubnetId or NetworkInterface.1.SubnetId",
                )
            })?;
            let create = api::CreateNetworkInterface {
                groups: self.groups(at, &subnet)?,
                subnet,
                private_ip_address: self.private_ip_address,
                ipv6_addresses: self.ipv6_address.iter().map(|it| it.address).collect(),
                ipv6_address_count: self.ipv6_address_count,
                ..api::CreateNetworkInterface::default()
            };
            return Ok(vec![InstanceInterface {
                device_index: 0,
                delete_on_termination: true,
                source: InterfaceSource::New(Box::new(create)),
            }]);
        }
        self.network_interface
            .iter()
            .map(InterfaceSpecification::interface)
            .collect()
    }

    /// Groups by id and by name.
    fn groups(&self, at: &At<'_, '_>, subnet: &SubnetId) -> Result<Vec<SecurityGroupId>, ApiError> {
        let mut groups = self.security_group_id.clone();
        let subnet = at.tx.require(subnet)?;
        for name in &self.security_group {
            let mut all = at.model().referrers::<SecurityGroup>(&subnet.vpc);
            let found = all.find(|group| *group.group_name == **name);
            groups.push(found.map(|group| group.id.clone()).ok_or_else(|| {
                ApiError::new(
                    "InvalidGroup.NotFound",
                    format!(
                        "The security group '{name}' does not exist in {}",
                        subnet.vpc
                    ),
                )
            })?);
        }
        Ok(groups)
    }
}

impl InterfaceSpecification {
    fn interface(&self) -> Result<InstanceInterface, ApiError> {
        let new = self.subnet_id.clone().map(|subnet| {
            let mut primary = self.private_ip_address;
            let mut secondary = Vec::new();
            for address in &self.private_ip_addresses {
                match address.primary {
                    true => primary = Some(address.private_ip_address),
                    false => secondary.push(address.private_ip_address),
                }
            }
            InterfaceSource::New(Box::new(api::CreateNetworkInterface {
                subnet,
                private_ip_address: primary,
                secondary_private_ip_addresses: secondary,
                secondary_private_ip_address_count: self.secondary_private_ip_address_count,
                ipv6_addresses: self.ipv6_addresses.iter().map(|it| it.address).collect(),
                ipv6_address_count: self.ipv6_address_count,
                groups: self.security_group_id.clone(),
                description: self.description.clone(),
                ..api::CreateNetworkInterface::default()
            }))
        });
        let existing = self
            .network_interface_id
            .clone()
            .map(InterfaceSource::Existing);
        let is_new = new.is_some();
        let source = match (existing, new) {
            (Some(source), None) | (None, Some(source)) => source,
            (None, None) => return Err(ApiError::missing("NetworkInterface.SubnetId")),
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid_combination(
                    "Give NetworkInterfaceId for an interface that exists, or SubnetId for a new \
                     one, not both",
                ));
            }
        };
        Ok(InstanceInterface {
            device_index: self.device_index,
            delete_on_termination: self.delete_on_termination.unwrap_or(is_new),
            source,
        })
    }
}

impl Call for RunInstances {
    type Answer = Reservation;

    fn call(self, at: &mut At<'_, '_>) -> Result<Reservation, ApiError> {
        if !self.image_id.starts_with("ami-") {
            return Err(ApiError::new(
                "InvalidAMIID.Malformed",
                format!("Invalid id: '{}' (expecting 'ami-…')", self.image_id),
            ));
        }
        if self.min_count == 0 || self.max_count < self.min_count || self.max_count > COUNT_MAX {
            return Err(ApiError::invalid_value(format!(
                "MinCount {} and MaxCount {} are invalid: 1 ≤ MinCount ≤ MaxCount ≤ {COUNT_MAX}",
                self.min_count, self.max_count
            )));
        }
        let tenancy = self
            .placement
            .as_ref()
            .and_then(|placement| placement.tenancy.as_deref());
        if let Some(tenancy) = tenancy.filter(|tenancy| !matches!(*tenancy, "" | "default")) {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!("Tenancy '{tenancy}' is not emulated"),
            ));
        }
        let mut instance_tags = Vec::new();
        let mut interface_tags = Vec::new();
        for spec in &self.tag_specification {
            match spec.resource_type.as_str() {
                "instance" => instance_tags.extend(spec.tag.clone()),
                "network-interface" => interface_tags.extend(spec.tag.clone()),
                // There are no disks to tag.
                "volume" => {}
                other => {
                    return Err(ApiError::invalid_value(format!(
                        "'{other}' is not a valid taggable resource type for this operation"
                    )));
                }
            }
        }
        let (instance_tags, interface_tags) =
            (tags::tags(&instance_tags)?, tags::tags(&interface_tags)?);
        let public = self
            .network_interface
            .iter()
            .find_map(|spec| spec.associate_public_ip_address);
        let reservation = at.tx.mint_text("r-");
        let mut made = Vec::new();
        for launch_index in 0..self.max_count {
            let id = at.run(api::RunInstance {
                image: self.image_id.clone(),
                instance_type: self
                    .instance_type
                    .clone()
                    .unwrap_or_else(|| "m1.small".to_owned()),
                key_name: self.key_name.clone(),
                user_data: self.user_data.clone(),
                reservation: reservation.clone(),
                launch_index,
                interfaces: self.interfaces(at)?,
                associate_public_ip_address: public,
                termination_protected: self.disable_api_termination,
                plug: at.backend.plug(),
            })?;
            let instance = at.tx.require(&id)?;
            let wanted = self
                .placement
                .as_ref()
                .and_then(|it| it.availability_zone.as_ref());
            let subnet = at.tx.require(&instance.subnet)?;
            if let Some(wanted) = wanted.filter(|zone| ***zone != *subnet.zone) {
                return Err(ApiError::invalid_value(format!(
                    "Placement.AvailabilityZone {wanted} is not the zone of {} ({})",
                    subnet.id, subnet.zone
                )));
            }
            tags::put(at, &id, instance_tags.clone());
            for eni in interfaces(at.model(), at.caller(), id.as_str()) {
                tags::put(at, &eni.id, interface_tags.clone());
            }
            made.push(at.tx.require(&id)?);
        }
        Ok(Reservation::new(&made, at.model()))
    }
}

/// Instances that were asked for together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    reservation_id: Arc<str>,
    owner_id: Arc<str>,
    group_set: Vec<GroupItem>,
    instances_set: Vec<InstanceItem>,
}

impl Reservation {
    fn new(instances: &[Arc<Instance>], model: &Model) -> Self {
        let first = instances.first();
        Self {
            reservation_id: first.map(|it| it.reservation.clone()).unwrap_or_default(),
            owner_id: first.map(|it| it.meta.owner.clone()).unwrap_or_default(),
            group_set: Vec::new(),
            instances_set: instances
                .iter()
                .map(|it| InstanceItem::new(it, model))
                .collect(),
        }
    }
}

/// An instance in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceItem {
    instance_id: InstanceId,
    image_id: Arc<str>,
    instance_type: Arc<str>,
    instance_state: StateItem,
    private_dns_name: String,
    dns_name: &'static str,
    reason: &'static str,
    key_name: Option<Arc<str>>,
    ami_launch_index: u32,
    launch_time: String,
    placement: PlacementItem,
    monitoring: MonitoringItem,
    subnet_id: Option<SubnetId>,
    vpc_id: Option<VpcId>,
    private_ip_address: Option<Ipv4Addr>,
    ip_address: Option<Ipv4Addr>,
    ipv6_address: Option<Ipv6Addr>,
    source_dest_check: Option<bool>,
    group_set: Vec<GroupItem>,
    network_interface_set: Vec<InterfaceItem>,
    architecture: &'static str,
    hypervisor: &'static str,
    virtualization_type: &'static str,
    root_device_type: &'static str,
    block_device_mapping: Vec<String>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
struct StateItem {
    code: u16,
    name: &'static str,
}

impl StateItem {
    fn new(state: InstanceState) -> Self {
        let (code, name) = state.code_and_name();
        Self { code, name }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlacementItem {
    availability_zone: Arc<str>,
    group_name: &'static str,
    tenancy: &'static str,
}

#[derive(Debug, Serialize)]
struct MonitoringItem {
    state: &'static str,
}

impl InstanceItem {
    fn new(instance: &Instance, model: &Model) -> Self {
        let caller = Caller::new(&instance.meta.owner, &instance.meta.region);
        let interfaces = interfaces(model, &caller, instance.id.as_str());
        let first = interfaces.first();
        let primary = first.and_then(|eni| eni.primary());
        let public = first
            .zip(primary)
            .and_then(|(eni, ip)| Association::of(eni, ip, model));
        let gone = instance.state == InstanceState::Terminated;
        let zone = model
            .get(&instance.subnet)
            .map(|subnet| subnet.zone.clone());
        let region = &instance.meta.region;
        Self {
            instance_id: instance.id.clone(),
            image_id: instance.image.clone(),
            instance_type: instance.instance_type.clone(),
            instance_state: StateItem::new(instance.state),
            private_dns_name: primary.map_or_else(String::new, |ip| {
                let name = ip.to_string().replace('.', "-");
                match &**region {
                    "us-east-1" => format!("ip-{name}.ec2.internal"),
                    region => format!("ip-{name}.{region}.compute.internal"),
                }
            }),
            dns_name: "",
            reason: "",
            key_name: instance.key_name.clone(),
            ami_launch_index: instance.launch_index,
            launch_time: time(instance.meta.created_s),
            placement: PlacementItem {
                availability_zone: zone.unwrap_or_default(),
                group_name: "",
                tenancy: "default",
            },
            monitoring: MonitoringItem { state: "disabled" },
            subnet_id: (!gone).then(|| instance.subnet.clone()),
            vpc_id: (!gone).then(|| instance.vpc.clone()),
            private_ip_address: primary,
            ip_address: public.map(|held| held.public_ip),
            ipv6_address: first.and_then(|eni| eni.ipv6_addresses.first().copied()),
            source_dest_check: first.map(|eni| eni.source_dest_check),
            group_set: first
                .map(|eni| GroupItem::all(eni, model))
                .unwrap_or_default(),
            network_interface_set: interfaces
                .iter()
                .map(|eni| InterfaceItem::new(eni, model))
                .collect(),
            architecture: "x86_64",
            hypervisor: "xen",
            virtualization_type: "hvm",
            root_device_type: "ebs",
            block_device_mapping: Vec::new(),
            tag_set: tags::items(&instance.meta.all_tags()),
        }
    }
}

describe! {
    /// `DescribeInstances`
    DescribeInstances { instance_id: InstanceId }
}

/// `DescribeInstances`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservations {
    reservation_set: Vec<Reservation>,
    next_token: Option<String>,
}

impl Call for DescribeInstances {
    type Answer = Reservations;

    fn call(self, at: &mut At<'_, '_>) -> Result<Reservations, ApiError> {
        let mut page = self.wanted().select(at, FILTERS)?;
        page.items.sort_by(|a, b| {
            (&a.reservation, a.launch_index).cmp(&(&b.reservation, b.launch_index))
        });
        let reservations = page.items.chunk_by(|a, b| a.reservation == b.reservation);
        Ok(Reservations {
            reservation_set: reservations
                .map(|made| Reservation::new(made, at.model()))
                .collect(),
            next_token: page.next_token,
        })
    }
}

/// The values of an instance's interfaces.
fn of_interfaces<T: ToString>(
    instance: &Instance,
    model: &Model,
    value: impl Fn(&NetworkInterface) -> Vec<T>,
) -> Vec<String> {
    let all = model.referrers::<NetworkInterface>(&instance.id);
    each(all.flat_map(|eni| value(eni)))
}

const FILTERS: &[Known<Instance>] = &[
    ("instance-id", |it, _| one(&it.id)),
    ("image-id", |it, _| one(&it.image)),
    ("instance-type", |it, _| one(&it.instance_type)),
    ("instance-state-name", |it, _| {
        one(it.state.code_and_name().1)
    }),
    ("instance-state-code", |it, _| {
        one(it.state.code_and_name().0)
    }),
    ("key-name", |it, _| each(&it.key_name)),
    ("owner-id", |it, _| one(&it.meta.owner)),
    ("reservation-id", |it, _| one(&it.reservation)),
    ("vpc-id", |it, _| one(&it.vpc)),
    ("subnet-id", |it, _| one(&it.subnet)),
    ("network-interface.vpc-id", |it, _| one(&it.vpc)),
    ("network-interface.subnet-id", |it, model| {
        of_interfaces(it, model, |eni| vec![eni.subnet.clone()])
    }),
    ("network-interface.network-interface-id", |it, model| {
        of_interfaces(it, model, |eni| vec![eni.id.clone()])
    }),
    ("availability-zone", |it, model| {
        each(model.get(&it.subnet).map(|subnet| subnet.zone.clone()))
    }),
    ("private-ip-address", |it, model| {
        of_interfaces(it, model, |eni| eni.primary().into_iter().collect())
    }),
    ("ip-address", |it, model| {
        of_interfaces(it, model, |eni| {
            let held = eni.primary().and_then(|ip| Association::of(eni, ip, model));
            held.map(|held| held.public_ip).into_iter().collect()
        })
    }),
    ("instance.group-id", |it, model| {
        of_interfaces(it, model, |eni| eni.groups.clone())
    }),
    ("network-interface.group-id", |it, model| {
        of_interfaces(it, model, |eni| eni.groups.clone())
    }),
];

/// Instances and what became of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    instances_set: Vec<ChangeItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeItem {
    instance_id: InstanceId,
    current_state: StateItem,
    previous_state: StateItem,
}

macro_rules! state_calls {
    ($($name:ident: $state:ident, $run:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $name {
            instance_id: Vec<InstanceId>,
            #[serde(default)]
            #[expect(dead_code, reason = "it is always at once")]
            force: bool,
        }

        impl Call for $name {
            type Answer = Changes;

            fn call(self, at: &mut At<'_, '_>) -> Result<Changes, ApiError> {
                let run: fn(&mut At<'_, '_>, InstanceId) -> Result<InstanceState, ApiError> = $run;
                let mut instances_set = Vec::new();
                for id in self.instance_id {
                    let before = run(at, id.clone())?;
                    instances_set.push(ChangeItem {
                        instance_id: id,
                        current_state: StateItem::new(InstanceState::$state),
                        previous_state: StateItem::new(before),
                    });
                }
                Ok(Changes { instances_set })
            }
        }
    )*};
}

state_calls! {
    StopInstances: Stopped, |at, instance| at.run(api::StopInstance { instance });
    TerminateInstances: Terminated, |at, instance| at.run(api::TerminateInstance { instance });
    StartInstances: Running, |at, instance| {
        let plug = at.backend.plug();
        at.run(api::StartInstance { instance, plug })
    };
}

/// `ModifyInstanceAttribute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyInstanceAttribute {
    instance_id: InstanceId,
    source_dest_check: Option<Attribute<bool>>,
    disable_api_termination: Option<Attribute<bool>>,
    #[serde(default)]
    group_id: Vec<SecurityGroupId>,
}

impl Call for ModifyInstanceAttribute {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let instance = at.tx.require(&self.instance_id)?;
        if let Some(protected) = self.disable_api_termination {
            at.run(api::ProtectInstance {
                instance: instance.id.clone(),
                termination_protected: protected.value,
            })?;
        }
        let groups = Some(self.group_id).filter(|groups| !groups.is_empty());
        if self.source_dest_check.is_none() && groups.is_none() {
            return Ok(DONE);
        }
        let mut all = interfaces(at.model(), at.caller(), instance.id.as_str());
        let (Some(only), None) = (all.pop(), all.pop()) else {
            return Err(ApiError::new(
                "InvalidInstanceID",
                format!(
                    "There are multiple interfaces attached to instance '{}'. Please specify an \
                     interface ID for the operation instead",
                    instance.id
                ),
            ));
        };
        at.run(api::ModifyNetworkInterfaceAttribute {
            network_interface: only.id.clone(),
            groups,
            source_dest_check: self.source_dest_check.map(|it| it.value),
            ..api::ModifyNetworkInterfaceAttribute::default()
        })?;
        Ok(DONE)
    }
}

/// `DescribeInstanceAttribute`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstanceAttribute {
    instance_id: InstanceId,
    attribute: InstanceAttribute,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum InstanceAttribute {
    InstanceType,
    UserData,
    DisableApiTermination,
    DisableApiStop,
    InstanceInitiatedShutdownBehavior,
    SourceDestCheck,
    GroupSet,
    EbsOptimized,
}

/// The attribute that was asked for.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceAttributes {
    instance_id: InstanceId,
    instance_type: Option<Attribute<Arc<str>>>,
    user_data: Option<Attribute<Arc<str>>>,
    disable_api_termination: Option<Attribute<bool>>,
    disable_api_stop: Option<Attribute<bool>>,
    instance_initiated_shutdown_behavior: Option<Attribute<&'static str>>,
    source_dest_check: Option<Attribute<bool>>,
    group_set: Option<Vec<GroupItem>>,
    ebs_optimized: Option<Attribute<bool>>,
}

impl Call for DescribeInstanceAttribute {
    type Answer = InstanceAttributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<InstanceAttributes, ApiError> {
        let instance = at.tx.require(&self.instance_id)?;
        let item = InstanceItem::new(&instance, at.model());
        let mut answer = InstanceAttributes {
            instance_id: self.instance_id,
            ..InstanceAttributes::default()
        };
        match self.attribute {
            InstanceAttribute::InstanceType => {
                answer.instance_type = Some(Attribute::new(instance.instance_type.clone()));
            }
            InstanceAttribute::UserData => {
                answer.user_data = Some(Attribute::new(
                    instance.user_data.clone().unwrap_or_default(),
                ));
            }
            InstanceAttribute::DisableApiTermination => {
                answer.disable_api_termination =
                    Some(Attribute::new(instance.termination_protected));
            }
            InstanceAttribute::DisableApiStop => {
                answer.disable_api_stop = Some(Attribute::new(false))
            }
            InstanceAttribute::InstanceInitiatedShutdownBehavior => {
                answer.instance_initiated_shutdown_behavior = Some(Attribute::new("stop"));
            }
            InstanceAttribute::SourceDestCheck => {
                answer.source_dest_check = item.source_dest_check.map(Attribute::new);
            }
            InstanceAttribute::GroupSet => answer.group_set = Some(item.group_set),
            InstanceAttribute::EbsOptimized => answer.ebs_optimized = Some(Attribute::new(false)),
        }
        Ok(answer)
    }
}

/// `DescribeInstanceStatus`: what runs is well.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeInstanceStatus {
    instance_id: Vec<InstanceId>,
    include_all_instances: bool,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// `DescribeInstanceStatus`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statuses {
    instance_status_set: Vec<StatusItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusItem {
    instance_id: InstanceId,
    availability_zone: Arc<str>,
    instance_state: StateItem,
    instance_status: Health,
    system_status: Health,
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
}

impl Call for DescribeInstanceStatus {
    type Answer = Statuses;

    fn call(self, at: &mut At<'_, '_>) -> Result<Statuses, ApiError> {
        let running = crate::aws::select::Filter {
            name: "instance-state-name".to_owned(),
            value: vec!["running".to_owned()],
        };
        let wanted = crate::aws::select::Wanted {
            ids: self.instance_id,
            filters: (!self.include_all_instances)
                .then_some(running)
                .into_iter()
                .collect(),
            max_results: self.max_results,
            next_token: self.next_token,
        };
        let page = wanted.select(at, FILTERS)?;
        let item = |instance: &Arc<Instance>| {
            let zone = at
                .model()
                .get(&instance.subnet)
                .map(|subnet| subnet.zone.clone());
            let status = match instance.state {
                InstanceState::Running => "ok",
                _ => "not-applicable",
            };
            StatusItem {
                instance_id: instance.id.clone(),
                availability_zone: zone.unwrap_or_default(),
                instance_state: StateItem::new(instance.state),
                instance_status: Health { status },
                system_status: Health { status },
            }
        };
        Ok(Statuses {
            instance_status_set: page.items.iter().map(item).collect(),
            next_token: page.next_token,
        })
    }
}
