//! Elastic IP addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use vpclab_dataplane::addr::is_public;

use super::address::{in_use, next_public};
use super::interface::require_own;
use super::{Action, ApiError, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `AllocateAddress`
#[derive(Clone, Debug, Default)]
pub struct AllocateAddress {
    /// The address; the next free one of 198.18.0.0/15 unless given.
    pub address: Option<Ipv4Addr>,
    /// `Name` tag.
    pub name: Option<String>,
}

/// An allocated address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocateAddressOutput {
    /// Its id.
    pub allocation: AllocationId,
    /// The address.
    pub public_ip: Ipv4Addr,
}

impl Action for AllocateAddress {
    type Output = AllocateAddressOutput;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Self::Output, ApiError> {
        let have = tx.model().count::<ElasticIp>(&tx.scope());
        let quota = Quota::ElasticIpsPerRegion;
        tx.check_quota(quota, have, 1, "AddressLimitExceeded")?;
        let public = match self.address {
            None => next_public(tx)?,
            Some(address) => {
                let ip = IpAddr::V4(address);
                if !is_public(ip) {
                    return Err(ApiError::invalid_value(format!(
                        "'{address}' cannot be public; use an address such as 203.0.113.10"
                    )));
                }
                if let Some(owner) = tx.model().indexes().public_owner(ip) {
                    return Err(in_use(ip, owner));
                }
                address
            }
        };
        let id: AllocationId = tx.mint();
        tx.put(ElasticIp {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            public,
            association: None,
        });
        Ok(AllocateAddressOutput {
            allocation: id,
            public_ip: public,
        })
    }
}

/// `AssociateAddress`
#[derive(Clone, Debug, Default)]
pub struct AssociateAddress {
    /// The Elastic IP.
    pub allocation: AllocationId,
    /// The interface.
    pub network_interface: NetworkInterfaceId,
    /// Its private address; the primary one unless given.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Whether an association that exists may end; yes unless given.
    pub allow_reassociation: Option<bool>,
}

impl Action for AssociateAddress {
    type Output = Arc<str>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Arc<str>, ApiError> {
        let elastic = tx.require(&self.allocation)?;
        let interface = require_own(tx, &self.network_interface)?;
        let reassociate = self.allow_reassociation.unwrap_or(true);
        if tx
            .model()
            .count::<InternetGateway>(&interface.vpc.resource())
            == 0
        {
            return Err(ApiError::new(
                "Gateway.NotAttached",
                format!(
                    "Network {} is not attached to any internet gateway; attach one before {} can \
                     have a public address",
                    interface.vpc, interface.id
                ),
            ));
        }
        let private = self.private_ip_address.or(interface.primary());
        let Some(private) = private.filter(|ip| interface.private_addresses.contains(ip)) else {
            return Err(ApiError::invalid_value(format!(
                "{} has no private address {}",
                interface.id,
                private.map_or_else(|| "at all".to_owned(), |ip| format!("'{ip}'"))
            )));
        };
        if let Some(held) = &elastic.association {
            refuse_managed(tx, &elastic, held)?;
        }
        if let Some(held) = &elastic.association
            && !reassociate
        {
            return Err(ApiError::new(
                "Resource.AlreadyAssociated",
                format!(
                    "resource {} is already associated with associate-id {}",
                    elastic.id, held.id
                ),
            ));
        }
        for other in tx.referrers::<ElasticIp>(&interface.id) {
            let held = other.association.as_ref();
            if other.id == elastic.id || held.is_none_or(|held| held.private != private) {
                continue;
            }
            if !reassociate {
                return Err(ApiError::new(
                    "Resource.AlreadyAssociated",
                    format!(
                        "{private} of {} is already associated with {}",
                        interface.id, other.public
                    ),
                ));
            }
            tx.update(&other.id, |other| other.association = None);
        }
        if interface.primary() == Some(private) && interface.auto_public.is_some() {
            tx.update(&interface.id, |interface| interface.auto_public = None);
        }
        let id = tx.mint_text("eipassoc-");
        tx.update(&elastic.id, |elastic| {
            elastic.association = Some(ElasticIpAssociation {
                id: id.clone(),
                interface: interface.id.clone(),
                private,
            });
        });
        Ok(id)
    }
}

/// `DisassociateAddress`
#[derive(Clone, Debug, Default)]
pub struct DisassociateAddress {
    /// `eipassoc-…`
    pub association: String,
}

impl Action for DisassociateAddress {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let found = tx.model().indexes().alias(&self.association);
        let id = found.map(|id| AllocationId::from_text(id.text.clone()));
        let elastic = id.and_then(|id| tx.require(&id).ok());
        let Some(elastic) = elastic else {
            return Err(ApiError::new(
                "InvalidAssociationID.NotFound",
                format!("The association ID '{}' does not exist", self.association),
            ));
        };
        if let Some(held) = &elastic.association {
            refuse_managed(tx, &elastic, held)?;
        }
        tx.update(&elastic.id, |elastic| elastic.association = None);
        Ok(())
    }
}

/// An address that a NAT gateway has is not for its owner to move.
fn refuse_managed(
    tx: &Transaction<'_>,
    elastic: &ElasticIp,
    held: &ElasticIpAssociation,
) -> Result<(), ApiError> {
    let holder = tx.model().get(&held.interface);
    match holder.map(|holder| &holder.kind) {
        Some(InterfaceKind::NatGateway(gateway)) => Err(ApiError::new(
            "OperationNotPermitted",
            format!(
                "{} is the address of {gateway}; delete that, or use DisassociateNatGatewayAddress",
                elastic.id
            ),
        )),
        _ => Ok(()),
    }
}

/// `ReleaseAddress`: one that is not associated.
#[derive(Clone, Debug, Default)]
pub struct ReleaseAddress {
    /// The Elastic IP.
    pub allocation: AllocationId,
}

impl Action for ReleaseAddress {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let elastic = tx.require(&self.allocation)?;
        if let Some(held) = &elastic.association {
            return Err(in_use(
                elastic.public,
                format!("{} ({})", held.interface, held.id),
            ));
        }
        tx.remove(&elastic.id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    fn lab() -> (ControlPlane, SubnetId, NetworkInterfaceId, AllocationId) {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        internet_gateway(&mut control, &vpc);
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let eni = interface(&mut control, &subnet);
        let elastic = control.execute(AllocateAddress::default()).unwrap();
        assert_eq!(elastic.public_ip.to_string(), "198.18.0.1");
        (control, subnet, eni, elastic.allocation)
    }

    fn associate(elastic: &AllocationId, eni: &NetworkInterfaceId) -> AssociateAddress {
        AssociateAddress {
            allocation: elastic.clone(),
            network_interface: eni.clone(),
            ..AssociateAddress::default()
        }
    }

    fn owner(control: &ControlPlane, public: &str) -> Option<u32> {
        let tables = control.tables().snapshot();
        tables.public_owner(public.parse().unwrap()).map(u32::from)
    }

    #[test]
    fn an_address_leads_to_the_interface_it_is_associated_with() {
        let (mut control, subnet, eni, elastic) = lab();
        let first = control.execute(associate(&elastic, &eni)).unwrap();
        assert_eq!(owner(&control, "198.18.0.1"), control.model().row(&eni));
        let other = interface(&mut control, &subnet);
        let no = AssociateAddress {
            allow_reassociation: Some(false),
            ..associate(&elastic, &other)
        };
        refused(&mut control, no, "Resource.AlreadyAssociated", &first);
        let second = control.execute(associate(&elastic, &other)).unwrap();
        assert_eq!(owner(&control, "198.18.0.1"), control.model().row(&other));
        let release = ReleaseAddress {
            allocation: elastic,
        };
        refused(
            &mut control,
            release.clone(),
            "InvalidIPAddress.InUse",
            other.as_str(),
        );
        let stale = DisassociateAddress {
            association: first.to_string(),
        };
        refused(&mut control, stale, "InvalidAssociationID.NotFound", &first);
        let end = DisassociateAddress {
            association: second.to_string(),
        };
        control.execute(end).unwrap();
        assert_eq!(owner(&control, "198.18.0.1"), None);
        control.execute(release).unwrap();
        assert_consistent(&control);
    }

    #[test]
    fn a_vpc_without_gateway_has_no_public_addresses() {
        let (mut control, _, _, elastic) = lab();
        let other = vpc_with(&mut control, "10.1.0.0/16");
        let subnet = subnet(&mut control, &other, "10.1.1.0/24");
        let eni = interface(&mut control, &subnet);
        let request = associate(&elastic, &eni);
        refused(&mut control, request, "Gateway.NotAttached", other.as_str());
    }

    #[test]
    fn a_gateway_stays_while_addresses_are_mapped() {
        let (mut control, _, eni, elastic) = lab();
        control.execute(associate(&elastic, &eni)).unwrap();
        let gateway = control.model().internet_gateways().iter().next().unwrap();
        let detach = DetachInternetGateway {
            internet_gateway: gateway.id.clone(),
            vpc: gateway.vpc.clone().unwrap(),
        };
        refused(&mut control, detach, "DependencyViolation", eni.as_str());
    }

    #[test]
    fn wrong_addresses_are_refused() {
        let (mut control, _, eni, elastic) = lab();
        let private = AssociateAddress {
            private_ip_address: Some("10.0.1.99".parse().unwrap()),
            ..associate(&elastic, &eni)
        };
        refused(&mut control, private, "InvalidParameterValue", "10.0.1.99");
        for (address, code) in [
            ("10.0.0.1", "InvalidParameterValue"),
            ("198.18.0.1", "InvalidIPAddress.InUse"),
        ] {
            let request = AllocateAddress {
                address: Some(address.parse().unwrap()),
                name: None,
            };
            refused(&mut control, request, code, address);
        }
        control.quotas_mut().set(Quota::ElasticIpsPerRegion, 1);
        let more = AllocateAddress::default();
        refused(&mut control, more, "AddressLimitExceeded", "Elastic IPs");
    }

    #[test]
    fn a_subnet_that_maps_public_addresses_gives_one_until_an_elastic_ip_comes() {
        let (mut control, subnet, _, elastic) = lab();
        let request = ModifySubnetAttribute {
            subnet: subnet.clone(),
            map_public_ip_on_launch: Some(true),
            ..ModifySubnetAttribute::default()
        };
        control.execute(request).unwrap();
        let eni = interface(&mut control, &subnet);
        assert_eq!(owner(&control, "198.18.0.2"), control.model().row(&eni));
        control.execute(associate(&elastic, &eni)).unwrap();
        assert_eq!(owner(&control, "198.18.0.2"), None);
        assert_eq!(owner(&control, "198.18.0.1"), control.model().row(&eni));
        let again = control.execute(AllocateAddress::default()).unwrap();
        assert_eq!(
            again.public_ip.to_string(),
            "198.18.0.2",
            "it is free again"
        );
        assert_consistent(&control);
    }
}
