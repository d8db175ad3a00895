//! DHCP options: sets, and which of them a VPC has.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Action, ApiError, Transaction};
use crate::model::*;

/// Servers of one kind, at most (V:VPC_DHCP_Options).
const SERVERS_MAX: usize = 4;
/// Bytes of a domain name, or of several: DHCP has one for the length.
const DOMAIN_LEN_MAX: usize = 255;
/// Seconds that an IPv6 address may be preferred for.
const LEASE_S: std::ops::RangeInclusive<u32> = 140..=2_147_483_647;

/// `CreateDhcpOptions`
#[derive(Clone, Debug, Default)]
pub struct CreateDhcpOptions {
    /// What the set says: something at least.
    pub values: DhcpValues,
    /// `Name` tag.
    pub name: Option<String>,
}

impl Action for CreateDhcpOptions {
    type Output = DhcpOptionsId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<DhcpOptionsId, ApiError> {
        check(&self.values)?;
        let id: DhcpOptionsId = tx.mint();
        tx.put(DhcpOptions {
            id: id.clone(),
            meta: tx.meta(self.name.as_deref()),
            values: self.values,
        });
        Ok(id)
    }
}

/// `DeleteDhcpOptions`: a set that no VPC has.
#[derive(Clone, Debug, Default)]
pub struct DeleteDhcpOptions {
    /// The set.
    pub dhcp_options: DhcpOptionsId,
}

impl Action for DeleteDhcpOptions {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let options = tx.require(&self.dhcp_options)?;
        tx.refuse_if_used::<Vpc>(&options.id)?;
        tx.remove(&options.id);
        Ok(())
    }
}

/// `AssociateDhcpOptions`: hosts hear of it when they next ask.
#[derive(Clone, Debug, Default)]
pub struct AssociateDhcpOptions {
    /// The set; none for no options at all.
    pub dhcp_options: Option<DhcpOptionsId>,
    /// The VPC.
    pub vpc: VpcId,
}

impl Action for AssociateDhcpOptions {
    type Output = ();

    fn apply(self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        tx.require(&self.vpc)?;
        if let Some(id) = &self.dhcp_options {
            tx.require(id)?;
        }
        tx.update(&self.vpc, |vpc| vpc.dhcp_options = self.dhcp_options);
        Ok(())
    }
}

/// The set that the caller's VPCs begin with.
pub(super) fn default_options(tx: &mut Transaction<'_>) -> DhcpOptionsId {
    let caller = tx.caller();
    let options = DhcpOptions::of_region(&caller.account, &caller.region);
    let id = options.id.clone();
    if tx.model().get(&id).is_none() {
        tx.put(options);
    }
    id
}

/// VPCs of a state file from before there were DHCP options get their region's.
pub(super) fn complete(model: &mut Model) {
    if !model.dhcp_options().is_empty() {
        return;
    }
    let without = |vpc: &&Arc<Vpc>| !vpc.is_outside() && vpc.dhcp_options.is_none();
    let vpcs: Vec<_> = model.vpcs().iter().filter(without).cloned().collect();
    for vpc in vpcs {
        let options = DhcpOptions::of_region(&vpc.meta.owner, &vpc.meta.region);
        let mut vpc = Vpc::clone(&vpc);
        vpc.dhcp_options = Some(options.id.clone());
        model.put(options);
        model.put(vpc);
    }
}

/// The values that AWS would refuse.
fn check(values: &DhcpValues) -> Result<(), ApiError> {
    if *values == DhcpValues::default() {
        return Err(ApiError::missing("DhcpConfiguration"));
    }
    let refused = |key: &str, why: String| {
        let message = format!("Value for DHCP option {key} is invalid: {why}");
        Err(ApiError::invalid_value(message))
    };
    for (key, count) in [
        ("domain-name-servers", values.domain_name_servers.len()),
        ("ntp-servers", values.ntp_servers.len()),
        ("netbios-name-servers", values.netbios_name_servers.len()),
    ] {
        if count > SERVERS_MAX {
            return refused(key, format!("{count} servers are more than {SERVERS_MAX}"));
        }
    }
    if let Some(domain) = &values.domain_name {
        let printable = domain.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if domain.trim().is_empty() || domain.len() > DOMAIN_LEN_MAX || !printable {
            let why = format!("'{domain}' is no name of 1 to {DOMAIN_LEN_MAX} characters");
            return refused("domain-name", why);
        }
    }
    if let Some(kind) = values.netbios_node_type
        && !matches!(kind, 1 | 2 | 4 | 8)
    {
        return refused("netbios-node-type", format!("{kind} is not 1, 2, 4 or 8"));
    }
    if let Some(lease) = values.ipv6_preferred_lease_s
        && !LEASE_S.contains(&lease)
    {
        let why = format!("{lease} is not {} to {}", LEASE_S.start(), LEASE_S.end());
        return refused("ipv6-address-preferred-lease-time", why);
    }
    let unusable = |address: &IpAddr| address.is_unspecified() || address.is_multicast();
    let servers = values.domain_name_servers.iter();
    let servers = servers.filter_map(|server| match server {
        NameServer::Amazon => None,
        NameServer::At(address) => Some(*address),
    });
    let netbios = values.netbios_name_servers.iter().map(|&it| it.into());
    let mut all = servers
        .chain(values.ntp_servers.iter().copied())
        .chain(netbios);
    match all.find(unusable) {
        Some(address) => refused("servers", format!("{address} is nobody's address")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    #[test]
    fn a_vpc_begins_with_its_regions_set_and_is_given_others() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let options = |control: &ControlPlane| {
            let found = control.model().dhcp_options_of(&vpc);
            found.map(|options| options.values.clone())
        };
        let default = control.model().get(&vpc).unwrap().dhcp_options.clone();
        assert_eq!(options(&control), Some(DhcpValues::of_region("us-east-1")));
        let values = DhcpValues {
            domain_name: Some("corp.example".into()),
            ntp_servers: vec!["169.254.169.123".parse().unwrap()],
            ..DhcpValues::default()
        };
        let create = CreateDhcpOptions {
            values: values.clone(),
            name: None,
        };
        let own = control.execute(create).unwrap();
        let associate = |dhcp_options| AssociateDhcpOptions {
            dhcp_options,
            vpc: vpc.clone(),
        };
        control.execute(associate(Some(own.clone()))).unwrap();
        assert_eq!(options(&control), Some(values));
        let delete = DeleteDhcpOptions {
            dhcp_options: own.clone(),
        };
        refused(
            &mut control,
            delete.clone(),
            "DependencyViolation",
            vpc.as_str(),
        );
        control.execute(associate(None)).unwrap();
        assert_eq!(options(&control), None);
        control.execute(delete).unwrap();
        let code = "InvalidDhcpOptionID.NotFound";
        refused(
            &mut control,
            associate(Some(own.clone())),
            code,
            own.as_str(),
        );
        control.execute(associate(default)).unwrap();
        assert_eq!(options(&control), Some(DhcpValues::of_region("us-east-1")));
        assert_consistent(&control);
    }

    #[test]
    fn what_dhcp_cannot_say_is_refused() {
        let mut control = ControlPlane::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut refuse = |values, code, named| {
            let create = CreateDhcpOptions { values, name: None };
            refused(&mut control, create, code, named);
        };
        refuse(
            DhcpValues::default(),
            "MissingParameter",
            "DhcpConfiguration",
        );
        let many = DhcpValues {
            ntp_servers: (1..=5).map(address).collect(),
            ..DhcpValues::default()
        };
        refuse(many, "InvalidParameterValue", "5 servers");
        let nobody = DhcpValues {
            domain_name_servers: vec![NameServer::At([0, 0, 0, 0].into())],
            ..DhcpValues::default()
        };
        refuse(nobody, "InvalidParameterValue", "0.0.0.0");
        let name = DhcpValues {
            domain_name: Some("a\nb".into()),
            ..DhcpValues::default()
        };
        refuse(name, "InvalidParameterValue", "domain-name");
        let kind = DhcpValues {
            netbios_node_type: Some(3),
            ..DhcpValues::default()
        };
        refuse(kind, "InvalidParameterValue", "3 is not");
        let lease = DhcpValues {
            ipv6_preferred_lease_s: Some(139),
            ..DhcpValues::default()
        };
        refuse(lease, "InvalidParameterValue", "139");
    }

    #[test]
    fn vpcs_of_an_older_state_file_get_their_regions_set() {
        let mut control = ControlPlane::default();
        let vpc = vpc(&mut control);
        let mut model = control.model().clone();
        let id = model.get(&vpc).unwrap().dhcp_options.clone().unwrap();
        let mut older = Vpc::clone(model.get(&vpc).unwrap());
        older.dhcp_options = None;
        model.put(older);
        // It has sets: then none was meant.
        complete(&mut model);
        assert_eq!(model.dhcp_options_of(&vpc), None);
        model.remove(&id);
        complete(&mut model);
        assert_eq!(model.dhcp_options_of(&vpc).unwrap().id, id);
        let internet = VpcId::from(INTERNET_VPC);
        assert_eq!(model.dhcp_options_of(&internet), None);
    }
}
