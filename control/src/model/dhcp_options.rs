//! DHCP options: what hosts of a VPC are told with their addresses
//! (V:VPC_DHCP_Options).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::hash;
use super::{DhcpOptionsId, Id, Meta, Model, References, Resource, VpcId, resource_fields};

/// A set of DHCP options. It does not change: a VPC is given another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpOptions {
    /// Id.
    pub id: DhcpOptionsId,
    /// Owner, region, name.
    pub meta: Meta,
    /// What it says.
    pub values: DhcpValues,
}

/// What a set of DHCP options says. What is empty is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpValues {
    /// `domain-name`: one name, or several with spaces between (option 15).
    pub domain_name: Option<Arc<str>>,
    /// `domain-name-servers`: four at most (options 6 and 23).
    pub domain_name_servers: Vec<NameServer>,
    /// `ntp-servers`: four at most (options 42 and 56).
    pub ntp_servers: Vec<IpAddr>,
    /// `netbios-name-servers`: four at most (option 44).
    pub netbios_name_servers: Vec<Ipv4Addr>,
    /// `netbios-node-type`: 1, 2, 4 or 8 (option 46).
    pub netbios_node_type: Option<u8>,
    /// `ipv6-address-preferred-lease-time` in seconds.
    pub ipv6_preferred_lease_s: Option<u32>,
}

/// A resolver for hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameServer {
    /// `AmazonProvidedDNS`: the VPC's own resolver.
    Amazon,
    /// This one.
    At(IpAddr),
}

impl NameServer {
    /// AWS's name of the VPC's own.
    pub const AMAZON: &'static str = "AmazonProvidedDNS";
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amazon => f.write_str(Self::AMAZON),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl DhcpValues {
    /// What VPCs of a region say unless they are told otherwise.
    pub fn of_region(region: &str) -> Self {
        let domain = super::private_domain(region);
        Self {
            domain_name: Some(Arc::from(domain)),
            domain_name_servers: vec![NameServer::Amazon],
            ..Self::default()
        }
    }

    /// All of it by AWS's keys, as AWS orders them.
    pub fn listed(&self) -> Vec<(&'static str, Vec<String>)> {
        let all = [
            ("domain-name", texts(&self.domain_name)),
            ("domain-name-servers", texts(&self.domain_name_servers)),
            ("ntp-servers", texts(&self.ntp_servers)),
            ("netbios-name-servers", texts(&self.netbios_name_servers)),
            ("netbios-node-type", texts(&self.netbios_node_type)),
            (
                "ipv6-address-preferred-lease-time",
                texts(&self.ipv6_preferred_lease_s),
            ),
        ];
        let mut all = Vec::from(all);
        all.retain(|(_, values)| !values.is_empty());
        all
    }
}

fn texts<'a, T: ToString + 'a>(values: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    values.into_iter().map(ToString::to_string).collect()
}

impl DhcpOptions {
    /// The id of the set that an account's VPCs in a region begin with: it is there
    /// whatever else is made, so it follows from the account and the region.
    pub fn default_id(owner: &str, region: &str) -> DhcpOptionsId {
        let number = hash(0, &super::scope(owner, region).text);
        DhcpOptionsId::from_text(Arc::from(format!(
            "{}0{number:016x}",
            DhcpOptionsId::PREFIX
        )))
    }

    /// That set. Nobody made it and no file has it, so it is dated: a file that
    /// changes does not take it away.
    pub(crate) fn of_region(owner: &Arc<str>, region: &Arc<str>) -> Self {
        Self {
            id: Self::default_id(owner, region),
            meta: Meta {
                owner: owner.clone(),
                region: region.clone(),
                name: None,
                tags: super::Tags::new(),
                created_s: 1,
            },
            values: DhcpValues::of_region(region),
        }
    }
}

impl Resource for DhcpOptions {
    resource_fields!(DhcpOptionsId);

    fn references(&self, _to: &mut References) {}
}

impl Model {
    /// The DHCP options of a VPC; none if it is told to have none.
    pub fn dhcp_options_of(&self, vpc: &VpcId) -> Option<&Arc<DhcpOptions>> {
        self.get(self.get(vpc)?.dhcp_options.as_ref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_and_region_has_a_default_set() {
        let id = DhcpOptions::default_id("111122223333", "us-east-1");
        assert!(id.is_well_formed(), "{id}");
        for (owner, region) in [("111122223333", "eu-west-1"), ("444455556666", "us-east-1")] {
            assert_ne!(DhcpOptions::default_id(owner, region), id);
        }
        let domain = |region| DhcpValues::of_region(region).domain_name.unwrap();
        assert_eq!(&*domain("us-east-1"), "ec2.internal");
        assert_eq!(&*domain("eu-west-1"), "eu-west-1.compute.internal");
    }
}
