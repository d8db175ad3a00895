//! Hosts of the internet, beyond every gateway. No AWS action: they are the
//! world outside.

use std::net::IpAddr;
use std::sync::Arc;

use vpclab_dataplane::tables::TrackingTimeouts;

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

/// Takes an internet host away.
#[derive(Clone, Debug, Default)]
pub struct DeleteInternetHost {
    /// Its interface.
    pub network_interface: NetworkInterfaceId,
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
        let id: NetworkInterfaceId = tx.mint();
        let attachment = tx.mint_text("eni-attach-");
        let mac = super::interface::new_mac(tx);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in self.addresses {
            match address {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        tx.put(NetworkInterface {
            id: id.clone(),
            meta: tx.meta(Some(&self.name)),
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
                host: Arc::from(self.name),
                device_index: 0,
            }),
            requester_managed: false,
            deny_all_igw_traffic: false,
            mtu: 1500,
            timeouts: TrackingTimeouts::default(),
            auto_public: None,
            internet: true,
        });
        Ok(id)
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

fn check_address(tx: &Transaction<'_>, address: IpAddr) -> Result<(), ApiError> {
    let barred = match address {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            let shared = first == 100 && (64..128).contains(&second);
            a.is_private()
                || shared
                || a.is_loopback()
                || a.is_link_local()
                || first >= 224
                || first == 0
        }
        IpAddr::V6(a) => a.segments()[0] & 0xe000 != 0x2000,
    };
    if barred {
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

fn in_use(address: IpAddr, owner: impl std::fmt::Display) -> ApiError {
    ApiError::new(
        "InvalidIPAddress.InUse",
        format!("Address '{address}' is in use by {owner}"),
    )
}
