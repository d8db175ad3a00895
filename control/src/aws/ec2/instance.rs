//! Instances: hosts behind interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::interface::{Association, GroupItem, InterfaceItem};
use super::shape::{Attribute, DONE, Done, time};
use crate::api::{self, ApiError, Caller};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, each, one};
use crate::aws::tags::{self, TagItem};
use crate::model::{
    Instance, InstanceId, InstanceState, Model, NetworkInterface, Plug, SecurityGroupId, SubnetId,
    VpcId, private_name, public_name,
};

calls! {
    Read: DescribeInstances DescribeInstanceAttribute DescribeInstanceStatus;
    Write: ModifyInstanceAttribute;
    Hosts: StartInstances StopInstances TerminateInstances;
}

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
    pub(super) fn new(instances: &[Arc<Instance>], model: &Model) -> Self {
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
    dns_name: String,
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
            private_dns_name: primary
                .map(|ip| private_name(ip, region))
                .unwrap_or_default(),
            dns_name: public
                .as_ref()
                .filter(|_| {
                    model
                        .get(&instance.vpc)
                        .is_some_and(|vpc| vpc.dns_hostnames)
                })
                .map(|held| public_name(held.public_ip, region))
                .unwrap_or_default(),
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
