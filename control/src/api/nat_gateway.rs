//! NAT gateways and their addresses (aws-behaviour.md §4.2).

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::address::Claims;
use super::interface::delete_interface;
use super::{Action, ApiError, RequesterManagedInterface, Transaction};
use crate::model::*;
use crate::quotas::Quota;

/// `CreateNatGateway`
#[derive(Clone, Debug, Default)]
pub struct CreateNatGateway {
    /// Its subnet.
    pub subnet: SubnetId,
    /// Public unless given.
    pub connectivity: Connectivity,
    /// A public one's Elastic IP.
    pub allocation: Option<AllocationId>,
    /// Its primary private address; the lowest free one unless given.
    pub private_ip: Option<Ipv4Addr>,
    /// Further Elastic IPs of a public one, each with a private address of its own.
    pub secondary_allocations: Vec<AllocationId>,
    /// Further private addresses; those of a public one are for its further Elastic IPs.
    pub secondary_private_ips: Vec<Ipv4Addr>,
    /// How many further private addresses a private one gets besides.
    pub secondary_private_ip_count: u32,
    /// `Name` tag.
    pub name: Option<String>,
    /// What AWS finds out only after it has answered (no internet gateway, an
    /// Elastic IP in use, a full subnet) makes a gateway in state `failed`, as there;
    /// else it is refused.
    pub keep_failed: bool,
}

/// Codes of what is found out late (VPC guide "NAT gateway creation fails").
const LATE: [&str; 3] = [
    "Gateway.NotAttached",
    "Resource.AlreadyAssociated",
    "InsufficientFreeAddressesInSubnet",
];

impl Action for CreateNatGateway {
    type Output = NatGatewayId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<NatGatewayId, ApiError> {
        let subnet = tx.require(&self.subnet)?;
        self.check_addresses()?;
        let elastic = self.elastic(tx)?;
        let zone = |gateway: &&Arc<NatGateway>| {
            let own = tx.model().get(&gateway.subnet);
            gateway.interface.is_some() && own.is_some_and(|own| own.zone == subnet.zone)
        };
        let have = tx
            .model()
            .nat_gateways()
            .iter()
            .filter(|gateway| gateway.meta.scope() == tx.scope())
            .filter(zone)
            .count() as u64;
        let quota = Quota::NatGatewaysPerZone;
        tx.check_quota(quota, have, 1, "NatGatewayLimitExceeded")?;
        let mut gateway = NatGateway {
            id: tx.mint(),
            meta: tx.meta(self.name.as_deref()),
            vpc: subnet.vpc.clone(),
            subnet: subnet.id.clone(),
            connectivity: self.connectivity,
            interface: None,
            failure: None,
        };
        let id = gateway.id.clone();
        match self.place(tx, &subnet, &elastic) {
            Ok(plan) => self.build(tx, gateway, &subnet, plan, &elastic)?,
            Err(error) if self.keep_failed && LATE.contains(&&*error.code) => {
                gateway.failure = Some(NatFailure {
                    code: Arc::from(&*error.code),
                    message: Arc::from(error.message),
                });
                tx.put(gateway);
            }
            Err(error) => return Err(error),
        }
        Ok(id)
    }
}

impl CreateNatGateway {
    /// What does not go together, whatever there is.
    fn check_addresses(&self) -> Result<(), ApiError> {
        let private = self.connectivity == Connectivity::Private;
        let named = self.secondary_private_ips.len();
        if private && (self.allocation.is_some() || !self.secondary_allocations.is_empty()) {
            return Err(ApiError::invalid_combination(
                "AllocationId cannot be specified when ConnectivityType is private",
            ));
        }
        if !private && self.allocation.is_none() {
            return Err(ApiError::missing("AllocationId"));
        }
        if !private && self.secondary_private_ip_count > 0 {
            return Err(ApiError::invalid_combination(
                "SecondaryPrivateIpAddressCount cannot be specified when ConnectivityType is public",
            ));
        }
        if named > 0 && self.secondary_private_ip_count > 0 {
            return Err(ApiError::invalid_combination(
                "Give SecondaryPrivateIpAddress or SecondaryPrivateIpAddressCount, not both",
            ));
        }
        if !private && named > 0 && named != self.secondary_allocations.len() {
            return Err(ApiError::invalid_value(format!(
                "{named} secondary private addresses for {} secondary Elastic IPs; give one for \
                 each, or none",
                self.secondary_allocations.len()
            )));
        }
        Ok(())
    }

    fn elastic(&self, tx: &Transaction<'_>) -> Result<Vec<Arc<ElasticIp>>, ApiError> {
        let all: Vec<&AllocationId> = self
            .allocation
            .iter()
            .chain(&self.secondary_allocations)
            .collect();
        own_elastic(tx, &all, 0)
    }

    /// Its private addresses, the primary one first; or what AWS finds out late.
    fn place(
        &self,
        tx: &mut Transaction<'_>,
        subnet: &Subnet,
        elastic: &[Arc<ElasticIp>],
    ) -> Result<Vec<Ipv4Addr>, ApiError> {
        if self.connectivity == Connectivity::Public {
            let gateways = tx.model().count::<InternetGateway>(&subnet.vpc.resource());
            if gateways == 0 {
                return Err(ApiError::new(
                    "Gateway.NotAttached",
                    format!("Network {} has no Internet gateway attached", subnet.vpc),
                ));
            }
            check_unused(elastic)?;
        }
        let mut claims = Claims::new(subnet);
        let primary = self.private_ip.map(|ip| claims.take(tx, ip)).transpose()?;
        let mut more = Vec::new();
        for &ip in &self.secondary_private_ips {
            more.push(claims.take(tx, ip)?);
        }
        let mut all = vec![match primary {
            Some(ip) => ip,
            None => claims.next_ipv4(tx)?,
        }];
        let missing = elastic.len().saturating_sub(1 + more.len());
        all.append(&mut more);
        for _ in 0..missing + self.secondary_private_ip_count as usize {
            all.push(claims.next_ipv4(tx)?);
        }
        check_private_count(tx, all.len())?;
        Ok(all)
    }

    fn build(
        &self,
        tx: &mut Transaction<'_>,
        mut gateway: NatGateway,
        subnet: &Subnet,
        addresses: Vec<Ipv4Addr>,
        elastic: &[Arc<ElasticIp>],
    ) -> Result<(), ApiError> {
        let kind = InterfaceKind::NatGateway(gateway.id.clone());
        let interface = RequesterManagedInterface {
            private_ip_address: addresses.first().copied(),
            description: format!("Interface for NAT Gateway {}", gateway.id),
            ..RequesterManagedInterface::new(kind, subnet.id.clone())
        };
        let interface = interface.apply(tx)?;
        tx.update(&interface, |held| {
            held.private_addresses.clone_from(&addresses)
        });
        for (elastic, private) in elastic.iter().zip(addresses) {
            associate(tx, &elastic.id, &interface, private);
        }
        gateway.interface = Some(interface);
        tx.put(gateway);
        Ok(())
    }
}

/// `DeleteNatGateway`. Routes that lead to it become blackholes, its Elastic IPs
/// come free. ASSUMPTION: it is gone at once; AWS shows it for an hour.
#[derive(Clone, Debug, Default)]
pub struct DeleteNatGateway {
    /// The gateway.
    pub nat_gateway: NatGatewayId,
}

impl Action for DeleteNatGateway {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let gateway = tx.require(&self.nat_gateway)?;
        if let Some(interface) = &gateway.interface {
            delete_interface(tx, interface);
        }
        tx.remove(&gateway.id);
        Ok(())
    }
}

/// `AssociateNatGatewayAddress`: further Elastic IPs of a public gateway.
#[derive(Clone, Debug, Default)]
pub struct AssociateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway: NatGatewayId,
    /// The Elastic IPs.
    pub allocations: Vec<AllocationId>,
    /// A private address for each; the lowest free ones unless given.
    pub private_ips: Vec<Ipv4Addr>,
}

impl Action for AssociateNatGatewayAddress {
    type Output = Vec<Ipv4Addr>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Vec<Ipv4Addr>, ApiError> {
        let (gateway, interface) = require_working(tx, &self.nat_gateway)?;
        require_connectivity(&gateway, Connectivity::Public)?;
        if self.allocations.is_empty() {
            return Err(ApiError::missing("AllocationId"));
        }
        let named = self.private_ips.len();
        if named > 0 && named != self.allocations.len() {
            return Err(ApiError::invalid_value(format!(
                "{named} private addresses for {} Elastic IPs; give one for each, or none",
                self.allocations.len()
            )));
        }
        let have = interface.private_addresses.len();
        let all: Vec<&AllocationId> = self.allocations.iter().collect();
        let elastic = own_elastic(tx, &all, have)?;
        check_unused(&elastic)?;
        let count = self.allocations.len() - named;
        let private = add_private(tx, &interface, &self.private_ips, count)?;
        for (elastic, &private) in elastic.iter().zip(&private) {
            associate(tx, &elastic.id, &interface.id, private);
        }
        Ok(private)
    }
}

/// `DisassociateNatGatewayAddress`: by association; the primary one stays.
/// ASSUMPTION: at once, connections that use it end.
#[derive(Clone, Debug, Default)]
pub struct DisassociateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway: NatGatewayId,
    /// `eipassoc-…`
    pub associations: Vec<String>,
}

impl Action for DisassociateNatGatewayAddress {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let (gateway, interface) = require_working(tx, &self.nat_gateway)?;
        require_connectivity(&gateway, Connectivity::Public)?;
        if self.associations.is_empty() {
            return Err(ApiError::missing("AssociationId"));
        }
        for text in &self.associations {
            let elastic = tx.referrers::<ElasticIp>(&interface.id).into_iter();
            let found = elastic
                .filter_map(|address| Some((address.id.clone(), address.association.clone()?)))
                .find(|(_, held)| *held.id == **text);
            let Some((allocation, held)) = found else {
                return Err(ApiError::new(
                    "InvalidAssociationID.NotFound",
                    format!(
                        "The association ID '{text}' does not exist at {}",
                        gateway.id
                    ),
                ));
            };
            drop_private(tx, &gateway, &interface.id, held.private)?;
            tx.update(&allocation, |elastic| elastic.association = None);
        }
        Ok(())
    }
}

/// `AssignPrivateNatGatewayAddress`: further addresses of a private gateway.
#[derive(Clone, Debug, Default)]
pub struct AssignPrivateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway: NatGatewayId,
    /// These addresses,
    pub private_ips: Vec<Ipv4Addr>,
    /// or so many free ones.
    pub count: u32,
}

impl Action for AssignPrivateNatGatewayAddress {
    type Output = Vec<Ipv4Addr>;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<Vec<Ipv4Addr>, ApiError> {
        let (gateway, interface) = require_working(tx, &self.nat_gateway)?;
        require_connectivity(&gateway, Connectivity::Private)?;
        match (self.private_ips.is_empty(), self.count) {
            (true, 0) => Err(ApiError::missing("PrivateIpAddress")),
            (false, 1..) => Err(ApiError::invalid_combination(
                "Give PrivateIpAddress or PrivateIpAddressCount, not both",
            )),
            _ => add_private(tx, &interface, &self.private_ips, self.count as usize),
        }
    }
}

/// `UnassignPrivateNatGatewayAddress`: the primary one stays. ASSUMPTION: at once.
#[derive(Clone, Debug, Default)]
pub struct UnassignPrivateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway: NatGatewayId,
    /// The addresses.
    pub private_ips: Vec<Ipv4Addr>,
}

impl Action for UnassignPrivateNatGatewayAddress {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let (gateway, interface) = require_working(tx, &self.nat_gateway)?;
        require_connectivity(&gateway, Connectivity::Private)?;
        if self.private_ips.is_empty() {
            return Err(ApiError::missing("PrivateIpAddress"));
        }
        for &ip in &self.private_ips {
            drop_private(tx, &gateway, &interface.id, ip)?;
        }
        Ok(())
    }
}

/// The gateway, if it works, and its interface.
fn require_working(
    tx: &Transaction<'_>,
    id: &NatGatewayId,
) -> Result<(Arc<NatGateway>, Arc<NetworkInterface>), ApiError> {
    let gateway = tx.require(id)?;
    let interface = gateway.interface.as_ref().and_then(|id| tx.model().get(id));
    match interface.cloned() {
        Some(interface) => Ok((gateway, interface)),
        None => Err(ApiError::new(
            "IncorrectState",
            format!(
                "{id} is in state {}; delete it and make another",
                gateway.state()
            ),
        )),
    }
}

fn require_connectivity(gateway: &NatGateway, wanted: Connectivity) -> Result<(), ApiError> {
    if gateway.connectivity == wanted {
        return Ok(());
    }
    Err(ApiError::new(
        "InvalidParameter",
        format!(
            "{} is {}; this is for {} NAT gateways",
            gateway.id,
            gateway.connectivity.name(),
            wanted.name()
        ),
    ))
}

/// The caller's Elastic IPs, each named once, and no more than a gateway has.
fn own_elastic(
    tx: &Transaction<'_>,
    ids: &[&AllocationId],
    have: usize,
) -> Result<Vec<Arc<ElasticIp>>, ApiError> {
    let mut all = Vec::new();
    for (position, id) in ids.iter().enumerate() {
        if ids.iter().take(position).any(|other| other == id) {
            return Err(ApiError::invalid_value(format!("'{id}' is named twice")));
        }
        all.push(tx.require(*id)?);
    }
    let quota = Quota::ElasticIpsPerNatGateway;
    let (have, more) = (have as u64, all.len() as u64);
    tx.check_quota(quota, have, more, "AddressLimitExceeded")?;
    Ok(all)
}

fn check_unused(elastic: &[Arc<ElasticIp>]) -> Result<(), ApiError> {
    match elastic.iter().find(|elastic| elastic.association.is_some()) {
        None => Ok(()),
        Some(elastic) => Err(ApiError::new(
            "Resource.AlreadyAssociated",
            format!("Elastic IP address {} is already associated", elastic.id),
        )),
    }
}

fn check_private_count(tx: &Transaction<'_>, count: usize) -> Result<(), ApiError> {
    let quota = Quota::PrivateIpsPerNatGateway;
    tx.check_quota(quota, 0, count as u64, "PrivateIpAddressLimitExceeded")
}

fn associate(
    tx: &mut Transaction<'_>,
    elastic: &AllocationId,
    interface: &NetworkInterfaceId,
    private: Ipv4Addr,
) {
    let id = tx.mint_text("eipassoc-");
    tx.update(elastic, |elastic| {
        elastic.association = Some(ElasticIpAssociation {
            id,
            interface: interface.clone(),
            private,
        });
    });
}

/// These addresses and `count` free ones; returns all of them.
fn add_private(
    tx: &mut Transaction<'_>,
    interface: &NetworkInterface,
    named: &[Ipv4Addr],
    count: usize,
) -> Result<Vec<Ipv4Addr>, ApiError> {
    let subnet = tx.require(&interface.subnet)?;
    let mut claims = Claims::new(&subnet);
    let mut more = Vec::new();
    for &ip in named {
        more.push(claims.take(tx, ip)?);
    }
    check_private_count(tx, interface.private_addresses.len() + named.len() + count)?;
    for _ in 0..count {
        more.push(claims.next_ipv4(tx)?);
    }
    tx.update(&interface.id, |held| held.private_addresses.extend(&more));
    Ok(more)
}

fn drop_private(
    tx: &mut Transaction<'_>,
    gateway: &NatGateway,
    interface: &NetworkInterfaceId,
    ip: Ipv4Addr,
) -> Result<(), ApiError> {
    let held = tx.require(interface)?;
    if held.primary() == Some(ip) {
        return Err(ApiError::invalid_value(format!(
            "{ip} is the primary address of {}, which it keeps for life",
            gateway.id
        )));
    }
    if !held.private_addresses.contains(&ip) {
        return Err(ApiError::invalid_value(format!(
            "{} has no private address '{ip}'",
            gateway.id
        )));
    }
    tx.update(interface, |held| {
        held.private_addresses.retain(|other| *other != ip);
    });
    Ok(())
}

#[cfg(test)]
#[path = "nat_gateway_tests.rs"]
mod tests;
