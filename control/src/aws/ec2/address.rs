//! Elastic IP addresses.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::shape::{DONE, Done};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{Filter, Known, Wanted, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    AllocationId, ElasticIp, InstanceId, Model, NetworkInterface, NetworkInterfaceId,
};

calls! {
    Read: DescribeAddresses DescribeAddressesAttribute;
    Write: AllocateAddress ReleaseAddress AssociateAddress DisassociateAddress;
}

/// `AllocateAddress`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocateAddress {
    domain: Option<String>,
    address: Option<Ipv4Addr>,
    tag_specification: Vec<TagSpecification>,
}

/// An address, allocated.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocated {
    allocation_id: AllocationId,
    public_ip: Ipv4Addr,
    domain: &'static str,
    public_ipv4_pool: &'static str,
    network_border_group: Arc<str>,
}

impl Call for AllocateAddress {
    type Answer = Allocated;

    fn call(self, at: &mut At<'_, '_>) -> Result<Allocated, ApiError> {
        let tags = tags::specified(&self.tag_specification, "elastic-ip")?;
        if let Some(domain) = self.domain.filter(|domain| domain != "vpc") {
            return Err(ApiError::invalid_value(format!(
                "Value ({domain}) for parameter domain is invalid; it is 'vpc'"
            )));
        }
        let made = at.run(api::AllocateAddress {
            address: self.address,
            name: None,
        })?;
        tags::put(at, &made.allocation, tags);
        Ok(Allocated {
            allocation_id: made.allocation,
            public_ip: made.public_ip,
            domain: "vpc",
            public_ipv4_pool: "amazon",
            network_border_group: at.caller().region.clone(),
        })
    }
}

/// `ReleaseAddress`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReleaseAddress {
    allocation_id: Option<AllocationId>,
    /// Accepted: a region has one border group here.
    network_border_group: Option<String>,
}

impl Call for ReleaseAddress {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let allocation = self
            .allocation_id
            .ok_or_else(|| ApiError::missing("allocationId"))?;
        at.run(api::ReleaseAddress { allocation })?;
        Ok(DONE)
    }
}

/// `AssociateAddress`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AssociateAddress {
    allocation_id: Option<AllocationId>,
    public_ip: Option<Ipv4Addr>,
    network_interface_id: Option<NetworkInterfaceId>,
    instance_id: Option<InstanceId>,
    private_ip_address: Option<Ipv4Addr>,
    allow_reassociation: Option<bool>,
}

/// An association, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssociatedAddress {
    #[serde(rename = "return")]
    done: bool,
    association_id: Arc<str>,
}

impl Call for AssociateAddress {
    type Answer = AssociatedAddress;

    fn call(self, at: &mut At<'_, '_>) -> Result<AssociatedAddress, ApiError> {
        let allocation = match (self.allocation_id, self.public_ip) {
            (Some(id), _) => id,
            (None, Some(public)) => by_public(at, public)?.id.clone(),
            (None, None) => return Err(ApiError::missing("allocationId")),
        };
        let network_interface = match (self.network_interface_id, self.instance_id) {
            (Some(id), None) => id,
            (None, Some(instance)) => {
                at.tx.require(&instance)?;
                let all = super::instance::interfaces(at.model(), at.caller(), instance.as_str());
                let first = all.first().ok_or_else(|| {
                    ApiError::new(
                        "InvalidInstanceID",
                        format!("The instance '{instance}' has no network interface"),
                    )
                })?;
                first.id.clone()
            }
            (None, None) => return Err(ApiError::missing("networkInterfaceId")),
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid_combination(
                    "Give InstanceId or NetworkInterfaceId, not both",
                ));
            }
        };
        let association_id = at.run(api::AssociateAddress {
            allocation,
            network_interface,
            private_ip_address: self.private_ip_address,
            allow_reassociation: self.allow_reassociation,
        })?;
        Ok(AssociatedAddress {
            done: true,
            association_id,
        })
    }
}

/// The caller's address.
fn by_public(at: &At<'_, '_>, public: Ipv4Addr) -> Result<Arc<ElasticIp>, ApiError> {
    let owner = at.model().indexes().public_owner(public.into());
    let id = owner.map(|owner| AllocationId::from(&*owner.text));
    id.and_then(|id| at.tx.require(&id).ok()).ok_or_else(|| {
        ApiError::new(
            "InvalidAddress.NotFound",
            format!("Address '{public}' not found"),
        )
    })
}

/// `DisassociateAddress`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DisassociateAddress {
    association_id: Option<String>,
    public_ip: Option<Ipv4Addr>,
}

impl Call for DisassociateAddress {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        let association = match (self.association_id, self.public_ip) {
            (Some(id), _) => id,
            (None, Some(public)) => {
                let held = by_public(at, public)?.association.clone();
                let held = held.ok_or_else(|| {
                    ApiError::new(
                        "InvalidAssociationID.NotFound",
                        format!("Address '{public}' is not associated"),
                    )
                })?;
                held.id.to_string()
            }
            (None, None) => return Err(ApiError::missing("associationId")),
        };
        at.run(api::DisassociateAddress { association })?;
        Ok(DONE)
    }
}

/// `DescribeAddresses`: not paged, as at AWS.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeAddresses {
    allocation_id: Vec<AllocationId>,
    public_ip: Vec<Ipv4Addr>,
    filter: Vec<Filter>,
}

/// `DescribeAddresses`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    addresses_set: Vec<AddressItem>,
}

impl Call for DescribeAddresses {
    type Answer = Addresses;

    fn call(self, at: &mut At<'_, '_>) -> Result<Addresses, ApiError> {
        let mut ids = self.allocation_id;
        for public in self.public_ip {
            ids.push(by_public(at, public)?.id.clone());
        }
        let mut wanted = Wanted {
            ids,
            filters: self.filter,
            max_results: None,
            next_token: None,
        };
        let mut addresses_set = Vec::new();
        loop {
            let page = wanted.clone().select(at, FILTERS)?;
            addresses_set.extend(page.items.iter().map(|it| AddressItem::new(it, at.model())));
            wanted.next_token = page.next_token;
            if wanted.next_token.is_none() {
                return Ok(Addresses { addresses_set });
            }
        }
    }
}

const FILTERS: &[Known<ElasticIp>] = &[
    ("allocation-id", |it, _| one(&it.id)),
    ("public-ip", |it, _| one(it.public)),
    ("domain", |_, _| one("vpc")),
    ("association-id", |it, _| {
        each(it.association.as_ref().map(|held| &held.id))
    }),
    ("network-interface-id", |it, _| {
        each(it.association.as_ref().map(|held| &held.interface))
    }),
    ("private-ip-address", |it, _| {
        each(it.association.as_ref().map(|held| held.private))
    }),
    ("instance-id", |it, model| {
        each(holder(it, model).and_then(instance))
    }),
    ("network-interface-owner-id", |it, _| {
        each(it.association.as_ref().map(|_| &it.meta.owner))
    }),
];

fn holder<'a>(address: &ElasticIp, model: &'a Model) -> Option<&'a Arc<NetworkInterface>> {
    model.get(&address.association.as_ref()?.interface)
}

fn instance(interface: &Arc<NetworkInterface>) -> Option<Arc<str>> {
    Some(interface.attachment.as_ref()?.host.clone())
}

/// An address in answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressItem {
    allocation_id: AllocationId,
    public_ip: Ipv4Addr,
    domain: &'static str,
    public_ipv4_pool: &'static str,
    network_border_group: Arc<str>,
    association_id: Option<Arc<str>>,
    network_interface_id: Option<NetworkInterfaceId>,
    network_interface_owner_id: Option<Arc<str>>,
    private_ip_address: Option<Ipv4Addr>,
    instance_id: Option<Arc<str>>,
    tag_set: Vec<TagItem>,
}

impl AddressItem {
    fn new(address: &ElasticIp, model: &Model) -> Self {
        let held = address.association.as_ref();
        Self {
            allocation_id: address.id.clone(),
            public_ip: address.public,
            domain: "vpc",
            public_ipv4_pool: "amazon",
            network_border_group: address.meta.region.clone(),
            association_id: held.map(|held| held.id.clone()),
            network_interface_id: held.map(|held| held.interface.clone()),
            network_interface_owner_id: held.map(|_| address.meta.owner.clone()),
            private_ip_address: held.map(|held| held.private),
            instance_id: holder(address, model).and_then(instance),
            tag_set: tags::items(&address.meta.all_tags()),
        }
    }
}

/// `DescribeAddressesAttribute`: reverse names, of which there are none.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeAddressesAttribute {
    allocation_id: Vec<AllocationId>,
    /// Accepted: there is one attribute.
    attribute: Option<String>,
    /// Accepted: no page is full.
    max_results: Option<u32>,
    /// Accepted: no page is full.
    next_token: Option<String>,
}

/// `DescribeAddressesAttribute`'s answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressAttributes {
    address_set: Vec<AddressAttribute>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressAttribute {
    allocation_id: AllocationId,
    public_ip: Ipv4Addr,
}

impl Call for DescribeAddressesAttribute {
    type Answer = AddressAttributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<AddressAttributes, ApiError> {
        let mut address_set = Vec::new();
        for id in self.allocation_id {
            let address = at.tx.require(&id)?;
            address_set.push(AddressAttribute {
                allocation_id: id,
                public_ip: address.public,
            });
        }
        Ok(AddressAttributes { address_set })
    }
}
