//! `RunInstances`.

use std::net::Ipv4Addr;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::instance::{Reservation, interfaces};
use super::interface::{Ipv6Address, PrivateAddress};
use crate::api::{self, ApiError, InstanceInterface, InterfaceSource, default_subnet};
use crate::aws::call::{At, Call, calls};
use crate::aws::tags::{self, TagSpecification};
use crate::model::{NetworkInterfaceId, SecurityGroup, SecurityGroupId, SubnetId};

calls! {
    Hosts: RunInstances;
}

/// Instances of one request, at most.
const COUNT_MAX: u32 = 1000;

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
            let zone = self
                .placement
                .as_ref()
                .and_then(|it| it.availability_zone.as_deref());
            let subnet = self
                .subnet_id
                .clone()
                .or_else(|| default_subnet(at.tx, zone));
            let subnet = subnet.ok_or_else(|| {
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
