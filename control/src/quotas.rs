//! Every limit of the control plane, with AWS's name and default
//! (`amazon-vpc-limits` and the ELB guides' quota pages). A lab may raise them.

macro_rules! quotas {
    ($($(#[$doc:meta])* $quota:ident = $name:literal, $default:literal;)*) => {
        /// A limit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quota {
            $($(#[$doc])* $quota,)*
        }

        impl Quota {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$quota,)*];

            /// AWS's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$quota => $name,)*
                }
            }

            /// AWS's default.
            pub const fn default_value(self) -> u64 {
                match self {
                    $(Self::$quota => $default,)*
                }
            }
        }
    };
}

quotas! {
    /// Per account and region.
    VpcsPerRegion = "VPCs per Region", 5;
    /// Subnets of a VPC.
    SubnetsPerVpc = "Subnets per VPC", 200;
    /// IPv4 blocks of a VPC.
    Ipv4CidrBlocksPerVpc = "IPv4 CIDR blocks per VPC", 5;
    /// IPv6 blocks of a VPC.
    Ipv6CidrBlocksPerVpc = "IPv6 CIDR blocks per VPC", 5;
    /// Route tables of a VPC, the main one included.
    RouteTablesPerVpc = "Route tables per VPC", 200;
    /// Static routes of one family; a prefix list counts by its maximum.
    RoutesPerRouteTable = "Routes per route table", 500;
    /// Routes that gateways propagate.
    PropagatedRoutesPerRouteTable = "Propagated routes per route table", 100;
    /// Network ACLs of a VPC.
    NetworkAclsPerVpc = "Network ACLs per VPC", 200;
    /// Entries of one direction.
    RulesPerNetworkAcl = "Rules per network ACL", 20;
    /// Per account and region.
    SecurityGroupsPerRegion = "VPC security groups per Region", 2_500;
    /// Rules of one direction and family; a prefix list counts by its maximum.
    RulesPerSecurityGroup = "Inbound or outbound rules per security group", 60;
    /// Groups on one interface.
    SecurityGroupsPerInterface = "Security groups per network interface", 5;
    /// Per account and region.
    NetworkInterfacesPerRegion = "Network interfaces per Region", 5_000;
    /// Addresses and prefixes of one family on one interface.
    AddressesPerInterface = "Private IPv4 addresses per network interface", 50;
    /// Per account and region.
    InternetGatewaysPerRegion = "Internet gateways per Region", 5;
    /// Per account and region.
    VpnGatewaysPerRegion = "Virtual private gateways per Region", 5;
    /// Per account and region.
    CustomerGatewaysPerRegion = "Customer gateways per Region", 50;
    /// Active peering connections of a VPC.
    PeeringsPerVpc = "Active VPC peering connections per VPC", 50;
    /// Peering requests of a VPC that nobody has answered.
    OutstandingPeeringRequests = "Outstanding VPC peering connection requests", 25;
    /// Per account and region.
    ElasticIpsPerRegion = "EC2-VPC Elastic IPs", 5;
    /// NAT gateways of an account in a zone.
    NatGatewaysPerZone = "NAT gateways per Availability Zone", 5;
    /// Elastic IPs of a public NAT gateway.
    ElasticIpsPerNatGateway = "Elastic IP addresses per public NAT gateway", 2;
    /// Private addresses of a NAT gateway.
    PrivateIpsPerNatGateway = "Private IP addresses per NAT gateway", 8;
    /// Prefix lists of an account in a region.
    PrefixListsPerRegion = "Prefix lists per Region", 100;
    /// Entries of a prefix list.
    EntriesPerPrefixList = "Maximum number of entries per prefix list", 1_000;
    /// Interface and gateway load balancer endpoints of a VPC.
    InterfaceEndpointsPerVpc = "Interface and Gateway Load Balancer endpoints per VPC", 50;
    /// Gateway endpoints of an account in a region.
    GatewayEndpointsPerRegion = "Gateway VPC endpoints per Region", 20;
    /// Service-network endpoints of a VPC.
    ServiceNetworkEndpointsPerVpc = "Service network endpoints per VPC", 50;
    /// Resource endpoints of a VPC.
    ResourceEndpointsPerVpc = "Resource endpoints per VPC", 200;
    /// Network load balancers of an account in a region.
    NetworkLoadBalancersPerRegion = "Network Load Balancers per Region", 50;
    /// Gateway load balancers of an account in a region.
    GatewayLoadBalancersPerRegion = "Gateway Load Balancers per Region", 100;
    /// Target groups of an account in a region.
    TargetGroupsPerRegion = "Target Groups per Region", 3_000;
    /// Listeners of a network load balancer.
    ListenersPerNetworkLoadBalancer = "Listeners per Network Load Balancer", 50;
    /// Targets of a network load balancer in one zone.
    TargetsPerZonePerNetworkLoadBalancer = "Targets per Availability Zone per Network Load Balancer", 500;
    /// Targets of a GENEVE group.
    TargetsPerGatewayTargetGroup = "Targets per Target Group (GENEVE)", 300;
    /// Bytes of an endpoint policy.
    EndpointPolicySize = "VPC endpoint policy size", 20_480;
}

/// The limits in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    overrides: std::collections::BTreeMap<Quota, u64>,
}

impl Quotas {
    /// The limit in force.
    pub fn value(&self, quota: Quota) -> u64 {
        let own = self.overrides.get(&quota).copied();
        own.unwrap_or(quota.default_value())
    }

    /// Sets a limit.
    pub fn set(&mut self, quota: Quota, value: u64) {
        self.overrides.insert(quota, value);
    }

    /// The same limits with one changed.
    #[must_use]
    pub fn with(mut self, quota: Quota, value: u64) -> Self {
        self.set(quota, value);
        self
    }

    /// Sets a limit by AWS's name, in any case, with spaces or dashes.
    ///
    /// # Errors
    /// When no limit has this name; the error names those that come close.
    pub fn set_by_name(&mut self, name: &str, value: u64) -> Result<(), UnknownQuota> {
        let found = Quota::ALL
            .iter()
            .find(|quota| folded(quota.name()) == folded(name));
        match found {
            Some(&quota) => {
                self.set(quota, value);
                Ok(())
            }
            None => Err(UnknownQuota(name.to_owned())),
        }
    }
}

/// No limit has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no quota is called '{0}'; the names are: {names}", names = all_names())]
pub struct UnknownQuota(String);

fn folded(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

fn all_names() -> String {
    let names: Vec<&str> = Quota::ALL.iter().map(|quota| quota.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_found_by_its_name_in_any_spelling() {
        let mut quotas = Quotas::default();
        assert_eq!(quotas.value(Quota::VpcsPerRegion), 5);
        quotas.set_by_name("vpcs-per-region", 9).unwrap();
        assert_eq!(quotas.value(Quota::VpcsPerRegion), 9);
        let error = quotas.set_by_name("vpcs", 9).unwrap_err().to_string();
        assert!(error.contains("'vpcs'") && error.contains("VPCs per Region"));
    }

    #[test]
    fn no_two_limits_share_a_name() {
        let mut names: Vec<String> = Quota::ALL.iter().map(|q| folded(q.name())).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Quota::ALL.len());
    }
}
