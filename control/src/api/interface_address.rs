//! Further addresses and delegated prefixes of an interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vpclab_dataplane::addr::Prefix;

use super::address::{Claims, in_use};
use super::interface::{check_slots, require_own};
use super::{Action, ApiError, Transaction};
use crate::model::*;

/// `AssignPrivateIpAddresses`: addresses or prefixes, given or chosen.
#[derive(Clone, Debug, Default)]
pub struct AssignPrivateIpAddresses {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
    /// These addresses.
    pub private_ip_addresses: Vec<Ipv4Addr>,
    /// So many addresses of the subnet.
    pub secondary_private_ip_address_count: u32,
    /// These /28 prefixes.
    pub ipv4_prefixes: Vec<Prefix>,
    /// So many /28 prefixes of the subnet.
    pub ipv4_prefix_count: u32,
    /// Takes the addresses from another interface of the subnet, where they are
    /// secondary.
    pub allow_reassignment: bool,
}

/// What was assigned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Prefixes.
    pub prefixes: Vec<Prefix>,
}

impl Action for AssignPrivateIpAddresses {
    type Output = Assigned;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Assigned, ApiError> {
        let interface = require_own(tx, &self.network_interface)?;
        let subnet = tx.require(&interface.subnet)?;
        let mut claims = Claims::new(&subnet);
        let mut prefixes = Vec::new();
        for prefix in self.ipv4_prefixes {
            check_family(prefix, true)?;
            prefixes.push(claims.take_prefix(tx, prefix)?);
        }
        let mut addresses = Vec::new();
        for address in self.private_ip_addresses {
            let moved = self.allow_reassignment
                && take_from_other(tx, &claims, &interface, address, &mut addresses)?;
            if !moved {
                addresses.push(claims.take(tx, address)?);
            }
        }
        for _ in 0..self.ipv4_prefix_count {
            prefixes.push(claims.next_prefix(tx, true)?);
        }
        for _ in 0..self.secondary_private_ip_address_count {
            addresses.push(claims.next_ipv4(tx)?);
        }
        let held = interface.prefixes.iter().filter(|p| p.is_ipv4()).count();
        let private = &interface.private_addresses;
        check_slots(tx, held + private.len() + prefixes.len() + addresses.len())?;
        tx.update(&interface.id, |interface| {
            interface.private_addresses.extend(&addresses);
            interface.prefixes.extend(&prefixes);
        });
        Ok(Assigned {
            addresses: addresses.into_iter().map(IpAddr::V4).collect(),
            prefixes,
        })
    }
}

/// Takes a secondary address from its present interface, Elastic IP and all;
/// false if nobody has it.
fn take_from_other(
    tx: &mut Transaction<'_>,
    claims: &Claims<'_>,
    to: &NetworkInterface,
    address: Ipv4Addr,
    moved: &mut Vec<Ipv4Addr>,
) -> Result<bool, ApiError> {
    let ip = IpAddr::V4(address);
    claims.check_place(ip)?;
    let used = tx.model().indexes().address_use(&to.subnet, ip);
    let Some((_, owner)) = used else {
        return Ok(false);
    };
    let owner = owner.clone();
    let from = tx.require(&owner)?;
    let movable = from.id != to.id
        && !from.requester_managed
        && from.private_addresses.iter().skip(1).any(|a| *a == address);
    if !movable {
        // The primary address is fixed for life; a delegated prefix moves whole.
        return Err(in_use(
            ip,
            format!("{owner}, where it is not a secondary address that can move"),
        ));
    }
    for elastic in tx.referrers::<ElasticIp>(&owner) {
        tx.update(&elastic.id, |elastic| {
            let held = elastic.association.as_mut();
            if let Some(held) = held.filter(|held| held.private == address) {
                held.interface = to.id.clone();
            }
        });
    }
    tx.update(&owner, |from| {
        from.private_addresses.retain(|a| *a != address)
    });
    moved.push(address);
    Ok(true)
}

/// `UnassignPrivateIpAddresses`
#[derive(Clone, Debug, Default)]
pub struct UnassignPrivateIpAddresses {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
    /// Secondary addresses.
    pub private_ip_addresses: Vec<Ipv4Addr>,
    /// Delegated /28 prefixes.
    pub ipv4_prefixes: Vec<Prefix>,
}

impl Action for UnassignPrivateIpAddresses {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let interface = require_own(tx, &self.network_interface)?;
        for address in &self.private_ip_addresses {
            let secondary = interface.private_addresses.iter().skip(1);
            if !secondary.clone().any(|held| held == address) {
                return Err(not_held(address, &interface.id, "a secondary address"));
            }
        }
        check_held(&interface, &self.ipv4_prefixes)?;
        for elastic in tx.referrers::<ElasticIp>(&interface.id) {
            let held = elastic.association.as_ref();
            if held.is_some_and(|held| self.private_ip_addresses.contains(&held.private)) {
                tx.update(&elastic.id, |elastic| elastic.association = None);
            }
        }
        tx.update(&interface.id, |interface| {
            let gone = &self.private_ip_addresses;
            interface.private_addresses.retain(|a| !gone.contains(a));
            interface
                .prefixes
                .retain(|p| !self.ipv4_prefixes.contains(p));
        });
        Ok(())
    }
}

/// `AssignIpv6Addresses`: addresses or prefixes, given or chosen.
#[derive(Clone, Debug, Default)]
pub struct AssignIpv6Addresses {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
    /// These addresses.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// So many addresses of the subnet.
    pub ipv6_address_count: u32,
    /// These /80 prefixes.
    pub ipv6_prefixes: Vec<Prefix>,
    /// So many /80 prefixes of the subnet.
    pub ipv6_prefix_count: u32,
}

impl Action for AssignIpv6Addresses {
    type Output = Assigned;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Assigned, ApiError> {
        let interface = require_own(tx, &self.network_interface)?;
        let subnet = tx.require(&interface.subnet)?;
        let mut claims = Claims::new(&subnet);
        let (mut addresses, mut prefixes) = (Vec::new(), Vec::new());
        for prefix in self.ipv6_prefixes {
            check_family(prefix, false)?;
            prefixes.push(claims.take_prefix(tx, prefix)?);
        }
        for address in self.ipv6_addresses {
            addresses.push(claims.take(tx, address)?);
        }
        for _ in 0..self.ipv6_prefix_count {
            prefixes.push(claims.next_prefix(tx, false)?);
        }
        for _ in 0..self.ipv6_address_count {
            addresses.push(claims.next_ipv6(tx)?);
        }
        let held = interface.prefixes.iter().filter(|p| !p.is_ipv4()).count();
        let own = interface.ipv6_addresses.len();
        check_slots(tx, held + own + prefixes.len() + addresses.len())?;
        tx.update(&interface.id, |interface| {
            interface.ipv6_addresses.extend(&addresses);
            interface.prefixes.extend(&prefixes);
        });
        Ok(Assigned {
            addresses: addresses.into_iter().map(IpAddr::V6).collect(),
            prefixes,
        })
    }
}

/// `UnassignIpv6Addresses`
#[derive(Clone, Debug, Default)]
pub struct UnassignIpv6Addresses {
    /// The interface.
    pub network_interface: NetworkInterfaceId,
    /// Addresses.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Delegated /80 prefixes.
    pub ipv6_prefixes: Vec<Prefix>,
}

impl Action for UnassignIpv6Addresses {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let interface = require_own(tx, &self.network_interface)?;
        for address in &self.ipv6_addresses {
            if !interface.ipv6_addresses.contains(address) {
                return Err(not_held(address, &interface.id, "an address"));
            }
        }
        check_held(&interface, &self.ipv6_prefixes)?;
        tx.update(&interface.id, |interface| {
            let gone = &self.ipv6_addresses;
            interface.ipv6_addresses.retain(|a| !gone.contains(a));
            interface
                .prefixes
                .retain(|p| !self.ipv6_prefixes.contains(p));
        });
        Ok(())
    }
}

fn check_family(prefix: Prefix, ipv4: bool) -> Result<(), ApiError> {
    if prefix.is_ipv4() == ipv4 {
        return Ok(());
    }
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    Err(ApiError::invalid_value(format!(
        "Prefix {prefix} is not an {family} prefix"
    )))
}

fn check_held(interface: &NetworkInterface, prefixes: &[Prefix]) -> Result<(), ApiError> {
    let foreign = prefixes.iter().find(|p| !interface.prefixes.contains(p));
    foreign.map_or(Ok(()), |p| Err(not_held(p, &interface.id, "a prefix")))
}

fn not_held(what: impl std::fmt::Display, id: &NetworkInterfaceId, kind: &str) -> ApiError {
    ApiError::invalid_value(format!("'{what}' is not {kind} of interface '{id}'"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    fn lab() -> (ControlPlane, NetworkInterfaceId, NetworkInterfaceId) {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
        let a = interface(&mut control, &subnet);
        let b = interface(&mut control, &subnet);
        (control, a, b)
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn assign(eni: &NetworkInterfaceId, address: &str) -> AssignPrivateIpAddresses {
        AssignPrivateIpAddresses {
            network_interface: eni.clone(),
            private_ip_addresses: vec![ip(address)],
            ..AssignPrivateIpAddresses::default()
        }
    }

    fn owner(control: &ControlPlane, of: &NetworkInterfaceId, address: &str) -> Option<u32> {
        let tables = control.tables().snapshot();
        let row = tables.enis.row(control.model().row(of).unwrap()).unwrap();
        let owner = tables.owner(row.vpc, address.parse().unwrap());
        owner.map(u32::from)
    }

    #[test]
    fn a_secondary_address_moves_only_when_allowed() {
        let (mut control, a, b) = lab();
        control.execute(assign(&a, "10.0.1.50")).unwrap();
        assert_eq!(owner(&control, &a, "10.0.1.50"), control.model().row(&a));
        let take = assign(&b, "10.0.1.50");
        refused(
            &mut control,
            take.clone(),
            "InvalidIPAddress.InUse",
            "10.0.1.50",
        );
        let take = AssignPrivateIpAddresses {
            allow_reassignment: true,
            ..take
        };
        control.execute(take).unwrap();
        assert_eq!(owner(&control, &a, "10.0.1.50"), control.model().row(&b));
        assert_consistent(&control);
        // Both are in the default group, which must still know the address.
        let tables = control.tables().snapshot();
        let group = control
            .model()
            .get(&b)
            .unwrap()
            .groups
            .first()
            .cloned()
            .unwrap();
        let group = control.model().row(&group).unwrap().into();
        assert!(tables.is_group_member(group, "10.0.1.50".parse().unwrap()));
    }

    #[test]
    fn a_primary_address_never_moves() {
        let (mut control, a, b) = lab();
        let primary = control.model().get(&b).unwrap().primary().unwrap();
        let take = AssignPrivateIpAddresses {
            allow_reassignment: true,
            ..assign(&a, &primary.to_string())
        };
        refused(&mut control, take, "InvalidIPAddress.InUse", b.as_str());
        let drop = UnassignPrivateIpAddresses {
            network_interface: b,
            private_ip_addresses: vec![primary],
            ..UnassignPrivateIpAddresses::default()
        };
        let primary = primary.to_string();
        refused(&mut control, drop, "InvalidParameterValue", &primary);
    }

    #[test]
    fn delegated_prefixes_keep_clear_of_addresses_and_of_each_other() {
        let (mut control, a, b) = lab();
        let request = AssignPrivateIpAddresses {
            network_interface: a.clone(),
            ipv4_prefix_count: 1,
            ..AssignPrivateIpAddresses::default()
        };
        let got = control.execute(request.clone()).unwrap();
        assert_eq!(
            got.prefixes,
            [cidr("10.0.1.16/28")],
            ".0/28 holds addresses"
        );
        assert_eq!(owner(&control, &a, "10.0.1.20"), control.model().row(&a));
        let inside = assign(&b, "10.0.1.20");
        refused(&mut control, inside, "InvalidIPAddress.InUse", a.as_str());
        for (bad, code) in [
            ("10.0.1.16/28", "InvalidIPAddress.InUse"),
            ("10.0.1.240/28", "InvalidIPAddress.InUse"),
            ("10.0.1.32/27", "InvalidParameterValue"),
            ("10.0.2.32/28", "InvalidParameterValue"),
        ] {
            let request = AssignPrivateIpAddresses {
                network_interface: b.clone(),
                ipv4_prefixes: vec![cidr(bad)],
                ..AssignPrivateIpAddresses::default()
            };
            refused(&mut control, request, code, bad.split('/').next().unwrap());
        }
        let drop = UnassignPrivateIpAddresses {
            network_interface: a.clone(),
            ipv4_prefixes: vec![cidr("10.0.1.16/28")],
            ..UnassignPrivateIpAddresses::default()
        };
        control.execute(drop).unwrap();
        assert_eq!(
            control.execute(request).unwrap().prefixes,
            [cidr("10.0.1.16/28")]
        );
        assert_consistent(&control);
    }

    #[test]
    fn an_interface_has_so_many_slots() {
        let (mut control, a, _) = lab();
        let request = AssignPrivateIpAddresses {
            network_interface: a,
            secondary_private_ip_address_count: 50,
            ..AssignPrivateIpAddresses::default()
        };
        let code = "PrivateIpAddressLimitExceeded";
        refused(&mut control, request, code, "Private IPv4 addresses");
    }
}
