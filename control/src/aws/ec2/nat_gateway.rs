//! NAT gateways.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::time;
use super::vpc_endpoint::unsupported;
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Known, describe, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    AllocationId, Connectivity, ElasticIp, Model, NatGateway, NatGatewayId, NetworkInterfaceId,
    SubnetId, VpcId,
};

calls! {
    Read: DescribeNatGateways;
    Write: CreateNatGateway DeleteNatGateway AssociateNatGatewayAddress
        DisassociateNatGatewayAddress AssignPrivateNatGatewayAddress
        UnassignPrivateNatGatewayAddress;
}

/// `CreateNatGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateNatGateway {
    subnet_id: Option<SubnetId>,
    availability_mode: Option<String>,
    connectivity_type: Option<String>,
    allocation_id: Option<AllocationId>,
    private_ip_address: Option<Ipv4Addr>,
    #[serde(default)]
    secondary_allocation_id: Vec<AllocationId>,
    #[serde(default)]
    secondary_private_ip_address: Vec<Ipv4Addr>,
    #[serde(default)]
    secondary_private_ip_address_count: u32,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// A gateway, made: it works by the time that anyone looks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneGateway {
    nat_gateway: GatewayItem,
}

impl Call for CreateNatGateway {
    type Answer = OneGateway;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneGateway, ApiError> {
        let tags = tags::specified(&self.tag_specification, "natgateway")?;
        match self.availability_mode.as_deref() {
            None | Some("zonal") => {}
            Some("regional") => {
                return Err(unsupported(
                    "Regional NAT gateways are not emulated; AvailabilityMode is zonal",
                ));
            }
            Some(other) => {
                return Err(ApiError::invalid_value(format!(
                    "Value ({other}) for parameter AvailabilityMode is invalid: zonal or regional"
                )));
            }
        }
        let connectivity = match self.connectivity_type.as_deref() {
            None | Some("public") => Connectivity::Public,
            Some("private") => Connectivity::Private,
            Some(other) => {
                return Err(ApiError::invalid_value(format!(
                    "Value ({other}) for parameter ConnectivityType is invalid: public or private"
                )));
            }
        };
        let id = at.run(api::CreateNatGateway {
            subnet: self
                .subnet_id
                .ok_or_else(|| ApiError::missing("SubnetId"))?,
            connectivity,
            allocation: self.allocation_id,
            private_ip: self.private_ip_address,
            secondary_allocations: self.secondary_allocation_id,
            secondary_private_ips: self.secondary_private_ip_address,
            secondary_private_ip_count: self.secondary_private_ip_address_count,
            name: None,
            keep_failed: true,
        })?;
        tags::put(at, &id, tags);
        let gateway = at.tx.require(&id)?;
        Ok(OneGateway {
            nat_gateway: GatewayItem {
                state: "pending",
                failure_code: None,
                failure_message: None,
                ..GatewayItem::new(&gateway, at.model())
            },
        })
    }
}

/// `DeleteNatGateway`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteNatGateway {
    nat_gateway_id: NatGatewayId,
}

/// A gateway, gone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    nat_gateway_id: NatGatewayId,
}

impl Call for DeleteNatGateway {
    type Answer = Deleted;

    fn call(self, at: &mut At<'_, '_>) -> Result<Deleted, ApiError> {
        at.run(api::DeleteNatGateway {
            nat_gateway: self.nat_gateway_id.clone(),
        })?;
        Ok(Deleted {
            nat_gateway_id: self.nat_gateway_id,
        })
    }
}

/// The addresses that a request was about.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    nat_gateway_id: NatGatewayId,
    nat_gateway_address_set: Vec<AddressItem>,
}

impl Addresses {
    /// Those that `wanted` says, in this state for now.
    fn of(
        at: &At<'_, '_>,
        id: &NatGatewayId,
        status: &'static str,
        wanted: impl Fn(&AddressItem) -> bool,
    ) -> Result<Self, ApiError> {
        let gateway = at.tx.require(id)?;
        let all = AddressItem::all(&gateway, at.model()).into_iter();
        let item = |item: AddressItem| AddressItem { status, ..item };
        Ok(Self {
            nat_gateway_id: id.clone(),
            nat_gateway_address_set: all.filter(wanted).map(item).collect(),
        })
    }
}

/// `AssociateNatGatewayAddress`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssociateNatGatewayAddress {
    nat_gateway_id: NatGatewayId,
    #[serde(default)]
    allocation_id: Vec<AllocationId>,
    #[serde(default)]
    private_ip_address: Vec<Ipv4Addr>,
}

impl Call for AssociateNatGatewayAddress {
    type Answer = Addresses;

    fn call(self, at: &mut At<'_, '_>) -> Result<Addresses, ApiError> {
        let given = at.run(api::AssociateNatGatewayAddress {
            nat_gateway: self.nat_gateway_id.clone(),
            allocations: self.allocation_id,
            private_ips: self.private_ip_address,
        })?;
        Addresses::of(at, &self.nat_gateway_id, "associating", |item| {
            given.contains(&item.private_ip)
        })
    }
}

/// `DisassociateNatGatewayAddress`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisassociateNatGatewayAddress {
    nat_gateway_id: NatGatewayId,
    #[serde(default)]
    association_id: Vec<String>,
    max_drain_duration_seconds: Option<u32>,
}

impl Call for DisassociateNatGatewayAddress {
    type Answer = Addresses;

    fn call(self, at: &mut At<'_, '_>) -> Result<Addresses, ApiError> {
        check_drain(self.max_drain_duration_seconds)?;
        let named = |item: &AddressItem| {
            let own = item.association_id.as_deref();
            own.is_some_and(|own| self.association_id.iter().any(|id| id == own))
        };
        let gone = Addresses::of(at, &self.nat_gateway_id, "disassociating", named)?;
        at.run(api::DisassociateNatGatewayAddress {
            nat_gateway: self.nat_gateway_id,
            associations: self.association_id,
        })?;
        Ok(gone)
    }
}

/// `AssignPrivateNatGatewayAddress`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AssignPrivateNatGatewayAddress {
    nat_gateway_id: NatGatewayId,
    #[serde(default)]
    private_ip_address: Vec<Ipv4Addr>,
    #[serde(default)]
    private_ip_address_count: u32,
}

impl Call for AssignPrivateNatGatewayAddress {
    type Answer = Addresses;

    fn call(self, at: &mut At<'_, '_>) -> Result<Addresses, ApiError> {
        let given = at.run(api::AssignPrivateNatGatewayAddress {
            nat_gateway: self.nat_gateway_id.clone(),
            private_ips: self.private_ip_address,
            count: self.private_ip_address_count,
        })?;
        Addresses::of(at, &self.nat_gateway_id, "assigning", |item| {
            given.contains(&item.private_ip)
        })
    }
}

/// `UnassignPrivateNatGatewayAddress`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UnassignPrivateNatGatewayAddress {
    nat_gateway_id: NatGatewayId,
    #[serde(default)]
    private_ip_address: Vec<Ipv4Addr>,
    max_drain_duration_seconds: Option<u32>,
}

impl Call for UnassignPrivateNatGatewayAddress {
    type Answer = Addresses;

    fn call(self, at: &mut At<'_, '_>) -> Result<Addresses, ApiError> {
        check_drain(self.max_drain_duration_seconds)?;
        let named = |item: &AddressItem| self.private_ip_address.contains(&item.private_ip);
        let gone = Addresses::of(at, &self.nat_gateway_id, "unassigning", named)?;
        at.run(api::UnassignPrivateNatGatewayAddress {
            nat_gateway: self.nat_gateway_id,
            private_ips: self.private_ip_address,
        })?;
        Ok(gone)
    }
}

/// Connections are not drained here, whatever the time.
fn check_drain(seconds: Option<u32>) -> Result<(), ApiError> {
    match seconds {
        Some(seconds) if !(1..=4000).contains(&seconds) => Err(ApiError::invalid_value(format!(
            "Value ({seconds}) for parameter MaxDrainDurationSeconds is invalid: 1 to 4000"
        ))),
        _ => Ok(()),
    }
}

describe! {
    /// `DescribeNatGateways`
    DescribeNatGateways { nat_gateway_id: NatGatewayId }
}

/// `DescribeNatGateways`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateways {
    nat_gateway_set: Vec<GatewayItem>,
    next_token: Option<String>,
}

impl Call for DescribeNatGateways {
    type Answer = Gateways;

    fn call(self, at: &mut At<'_, '_>) -> Result<Gateways, ApiError> {
        let page = self.wanted().select(at, FILTERS)?;
        let item = |gateway: &Arc<NatGateway>| GatewayItem::new(gateway, at.model());
        Ok(Gateways {
            nat_gateway_set: page.items.iter().map(item).collect(),
            next_token: page.next_token,
        })
    }
}

const FILTERS: &[Known<NatGateway>] = &[
    ("nat-gateway-id", |it, _| one(&it.id)),
    ("state", |it, _| one(it.state())),
    ("subnet-id", |it, _| one(&it.subnet)),
    ("vpc-id", |it, _| one(&it.vpc)),
];

/// A gateway in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayItem {
    nat_gateway_id: NatGatewayId,
    vpc_id: VpcId,
    subnet_id: SubnetId,
    connectivity_type: &'static str,
    state: &'static str,
    failure_code: Option<Arc<str>>,
    failure_message: Option<Arc<str>>,
    nat_gateway_address_set: Vec<AddressItem>,
    create_time: String,
    tag_set: Vec<TagItem>,
}

impl GatewayItem {
    fn new(gateway: &NatGateway, model: &Model) -> Self {
        let failure = gateway.failure.as_ref();
        Self {
            nat_gateway_id: gateway.id.clone(),
            vpc_id: gateway.vpc.clone(),
            subnet_id: gateway.subnet.clone(),
            connectivity_type: gateway.connectivity.name(),
            state: gateway.state(),
            failure_code: failure.map(|failure| failure.code.clone()),
            failure_message: failure.map(|failure| failure.message.clone()),
            nat_gateway_address_set: AddressItem::all(gateway, model),
            create_time: time(gateway.meta.created_s),
            tag_set: tags::items(&gateway.meta.all_tags()),
        }
    }
}

/// An address of a gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressItem {
    network_interface_id: NetworkInterfaceId,
    private_ip: Ipv4Addr,
    allocation_id: Option<AllocationId>,
    association_id: Option<Arc<str>>,
    public_ip: Option<Ipv4Addr>,
    is_primary: bool,
    status: &'static str,
}

impl AddressItem {
    /// The primary one first.
    fn all(gateway: &NatGateway, model: &Model) -> Vec<Self> {
        let interface = gateway.interface.as_ref().and_then(|id| model.get(id));
        let Some(interface) = interface else {
            return Vec::new();
        };
        let elastic = |private: Ipv4Addr| {
            let mut all = model.referrers::<ElasticIp>(&interface.id);
            all.find_map(|it| {
                let held = it.association.as_ref()?;
                (held.private == private).then(|| (it.id.clone(), held.id.clone(), it.public))
            })
        };
        let item = |(index, &private): (usize, &Ipv4Addr)| {
            let held = elastic(private);
            Self {
                network_interface_id: interface.id.clone(),
                private_ip: private,
                allocation_id: held.as_ref().map(|(id, _, _)| id.clone()),
                association_id: held.as_ref().map(|(_, id, _)| id.clone()),
                public_ip: held.map(|(_, _, public)| public),
                is_primary: index == 0,
                status: "succeeded",
            }
        };
        let addresses = interface.private_addresses.iter();
        addresses.enumerate().map(item).collect()
    }
}
