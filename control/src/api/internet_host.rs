//! Hosts of the internet, beyond every gateway. No AWS action: they are the
//! world outside.

use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::addr::{Prefix, is_public};
use vpclab_dataplane::tables::TrackingTimeouts;

use super::address::in_use;
use super::{Action, ApiError, Transaction};
use crate::model::*;

/// Puts a host on the internet.
#[derive(Clone, Debug, Default)]
pub struct CreateInternetHost {
    /// Its name.
    pub name: String,
    /// Its public addresses, of either family.
    pub addresses: Vec<IpAddr>,
}

/// Puts the gateway to and from the real network of the machine on the internet.
#[derive(Clone, Debug, Default)]
pub struct CreateNetworkGateway {
    /// Its own addresses, from which published ports are entered.
    pub addresses: Vec<IpAddr>,
    /// Whether it has every public address that nobody in the lab has.
    pub uplink: bool,
}

/// The gateway's name as a host. No host of a topology can have it.
pub const NETWORK_GATEWAY: &str = "this.machine";

/// Takes an internet host away.
#[derive(Clone, Debug, Default)]
pub struct DeleteInternetHost {
    /// Its interface.
    pub network_interface: NetworkInterfaceId,
}

impl Action for CreateNetworkGateway {
    type Output = NetworkInterfaceId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkInterfaceId, ApiError> {
        let host = CreateInternetHost {
            name: NETWORK_GATEWAY.to_owned(),
            addresses: self.addresses,
        };
        let id = host.apply(tx)?;
        tx.update(&id, |interface| {
            interface.description = Arc::from("gateway to the real network");
            if self.uplink {
                interface.prefixes = vec![Prefix::ANY_V4, Prefix::ANY_V6];
            }
            if let Some(attachment) = &mut interface.attachment {
                attachment.plug = Plug::Gateway;
            }
        });
        Ok(id)
    }
}

impl Action for CreateInternetHost {
    type Output = NetworkInterfaceId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NetworkInterfaceId, ApiError> {
        if self.addresses.is_empty() {
            return Err(ApiError::missing("addresses"));
        }
        for (position, &address) in self.addresses.iter().enumerate() {
            check_address(tx, address)?;
            if self.addresses.iter().take(position).any(|a| *a == address) {
                return Err(in_use(address, &self.name));
            }
        }
        Ok(put(tx, &self.name, self.addresses))
    }
}

impl Action for DeleteInternetHost {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let interface = tx.require(&self.network_interface)?;
        if !interface.internet {
            return Err(ApiError::invalid_value(format!(
                "'{}' is not an internet host",
                interface.id
            )));
        }
        tx.remove(&interface.id);
        Ok(())
    }
}

/// A host of the internet, with addresses that nobody has.
pub(super) fn put(
    tx: &mut Transaction<'_>,
    name: &str,
    addresses: Vec<IpAddr>,
) -> NetworkInterfaceId {
    let id: NetworkInterfaceId = tx.mint();
    let attachment = tx.mint_text("eni-attach-");
    let mac = super::interface::new_mac(tx);
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(address) => v4.push(address),
            IpAddr::V6(address) => v6.push(address),
        }
    }
    tx.put(NetworkInterface {
        id: id.clone(),
        meta: tx.meta(Some(name)),
        description: Arc::from("internet host"),
        vpc: INTERNET_VPC.into(),
        subnet: INTERNET_SUBNET.into(),
        mac,
        private_addresses: v4,
        ipv6_addresses: v6,
        prefixes: Vec::new(),
        groups: Vec::new(),
        source_dest_check: true,
        kind: InterfaceKind::Host,
        attachment: Some(Attachment {
            id: attachment,
            host: Arc::from(name),
            device_index: 0,
            plug: Plug::Lab,
            delete_on_termination: false,
            since_s: 0,
        }),
        requester_managed: false,
        deny_all_igw_traffic: false,
        mtu: 1500,
        timeouts: TrackingTimeouts::default(),
        auto_public: None,
        internet: true,
        on_prem: false,
    });
    id
}

pub(super) fn check_address(tx: &Transaction<'_>, address: IpAddr) -> Result<(), ApiError> {
    if !is_public(address) {
        return Err(ApiError::invalid_value(format!(
            "'{address}' cannot be on the internet; use a public address such as 203.0.113.80"
        )));
    }
    if let Some(owner) = tx.model().indexes().public_owner(address) {
        return Err(in_use(address, owner));
    }
    if let Some((block, vpc)) = tx
        .model()
        .indexes()
        .ipv6_overlap(vpclab_dataplane::addr::Prefix::host(address))
    {
        return Err(ApiError::invalid_value(format!(
            "'{address}' lies in {block} of {vpc}; choose another"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    fn host(address: &str) -> CreateInternetHost {
        CreateInternetHost {
            name: "server".into(),
            addresses: vec![address.parse().unwrap()],
        }
    }

    #[test]
    fn an_internet_host_is_found_by_its_public_address() {
        let mut control = ControlPlane::default();
        let eni = control.execute(host("203.0.113.80")).unwrap();
        let tables = control.tables().snapshot();
        let row = control.model().row(&eni).unwrap();
        let owner = tables.public_owner("203.0.113.80".parse().unwrap());
        assert_eq!(owner.map(u32::from), Some(row));
        let row = tables.enis.row(row).unwrap();
        assert_eq!((row.mtu, row.attached), (1500, true));
        assert!(tables.vpcs.row(row.vpc).unwrap().internet);
        assert_consistent(&control);
    }

    #[test]
    fn the_uplink_has_what_nobody_else_has() {
        let mut control = ControlPlane::default();
        let web = control.execute(host("203.0.113.80")).unwrap();
        let owner = |control: &ControlPlane, address: &str| {
            let tables = control.tables().snapshot();
            tables.public_owner(address.parse().unwrap()).map(u32::from)
        };
        assert_eq!(owner(&control, "8.8.8.8"), None);
        let gateway = CreateNetworkGateway {
            addresses: vec!["192.0.2.1".parse().unwrap()],
            uplink: true,
        };
        let gateway = control.execute(gateway).unwrap();
        let row = control.model().row(&gateway);
        assert_eq!(owner(&control, "8.8.8.8"), row);
        assert_eq!(owner(&control, "2001:db8::9"), row);
        assert_eq!(owner(&control, "203.0.113.80"), control.model().row(&web));
        for local in ["169.254.169.254", "127.0.0.1", "::1", "fd00::1"] {
            assert_eq!(owner(&control, local), None, "{local}");
        }
        assert_consistent(&control);
        // What was decided from the uplink is decided again once somebody in
        // the lab has an address of its own.
        let generation = |control: &ControlPlane| {
            let tables = control.tables().snapshot();
            tables.enis.generation(row.unwrap())
        };
        let before = generation(&control);
        control.execute(host("203.0.113.81")).unwrap();
        assert!(generation(&control) > before);
        assert_consistent(&control);
        let delete = DeleteInternetHost {
            network_interface: gateway,
        };
        control.execute(delete).unwrap();
        assert_eq!(owner(&control, "8.8.8.8"), None);
        assert_consistent(&control);
    }

    #[test]
    fn private_and_used_addresses_are_refused() {
        let mut control = ControlPlane::default();
        for bad in ["10.0.0.1", "100.64.0.1", "169.254.1.1", "fd00::1"] {
            refused(&mut control, host(bad), "InvalidParameterValue", bad);
        }
        let nothing = CreateInternetHost::default();
        refused(&mut control, nothing, "MissingParameter", "addresses");
        let eni = control.execute(host("203.0.113.80")).unwrap();
        let again = host("203.0.113.80");
        refused(
            &mut control,
            again.clone(),
            "InvalidIPAddress.InUse",
            "203.0.113.80",
        );
        let delete = DeleteInternetHost {
            network_interface: eni,
        };
        control.execute(delete).unwrap();
        control.execute(again).unwrap();
        assert_consistent(&control);
    }
}
