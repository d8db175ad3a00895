//! Ids of resources, as AWS writes them (`vpc-` and 17 hex digits).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Resource;

/// An id that names one kind of resource.
pub trait Id: Clone + Ord + fmt::Display + fmt::Debug + Default + 'static {
    /// What it names.
    type Resource: Resource<Id = Self>;
    /// The kind of resource.
    const KIND: Kind;
    /// How every such id begins.
    const PREFIX: &'static str;
    /// AWS's error code for an id that names nothing.
    const NOT_FOUND: &'static str;
    /// AWS's error code for a text that cannot be such an id.
    const MALFORMED: &'static str;

    /// The id with this text, unchecked.
    fn from_text(text: Arc<str>) -> Self;

    /// The text.
    fn text(&self) -> &Arc<str>;

    /// The id with its kind.
    fn resource(&self) -> ResourceId {
        ResourceId {
            kind: Self::KIND,
            text: self.text().clone(),
        }
    }

    /// Whether the text can be such an id at all: the prefix and 8 or 17 hex
    /// digits, or an ARN.
    fn is_well_formed(&self) -> bool {
        let Some(rest) = self.text().strip_prefix(Self::PREFIX) else {
            return false;
        };
        let hex = rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        Self::PREFIX.starts_with("arn:") || (hex && matches!(rest.len(), 8 | 17))
    }
}

/// Any resource's id, with its kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceId {
    /// The kind of resource.
    pub kind: Kind,
    /// The id.
    pub text: Arc<str>,
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident => $kind:ident, $prefix:literal, $not_found:literal, $malformed:literal;)*) => {
        /// The kinds of resource. Rows are compiled in this order, so a kind
        /// whose rows others look at comes before them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kind {
            /// An account's part of a region: what quotas "per region" count in.
            Scope,
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Its name in keys of the store.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Scope => "Scope",
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            /// The kind with this name.
            pub fn by_name(name: &str) -> Option<Self> {
                [$(Self::$kind,)*].into_iter().find(|kind| kind.name() == name)
            }

            /// AWS's error code for an id of this kind that names nothing.
            pub const fn not_found(self) -> &'static str {
                match self {
                    Self::Scope => "InvalidID",
                    $(Self::$kind => $not_found,)*
                }
            }
        }

        /// The kind of resource that an id or ARN names, by how it begins.
        pub fn kind_of(text: &str) -> Option<Kind> {
            if let Some(arn) = text.strip_prefix("arn:") {
                let resource = arn.splitn(5, ':').nth(4)?;
                return match resource.split('/').next()? {
                    "targetgroup" => Some(Kind::TargetGroup),
                    "loadbalancer" => Some(Kind::LoadBalancer),
                    "listener" => Some(Kind::Listener),
                    _ => None,
                };
            }
            // `vpce-svc-` begins like `vpce-`.
            [$((<$name as Id>::PREFIX, Kind::$kind),)*]
                .into_iter()
                .filter(|(prefix, _)| text.starts_with(prefix))
                .max_by_key(|(prefix, _)| prefix.len())
                .map(|(_, kind)| kind)
        }

        $(
            $(#[$doc])*
            #[derive(
                Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
            )]
            #[serde(transparent)]
            pub struct $name(Arc<str>);

            impl $name {
                /// The text of the id.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl Id for $name {
                type Resource = super::$kind;
                const KIND: Kind = Kind::$kind;
                const PREFIX: &'static str = $prefix;
                const NOT_FOUND: &'static str = $not_found;
                const MALFORMED: &'static str = $malformed;

                fn from_text(text: Arc<str>) -> Self {
                    Self(text)
                }

                fn text(&self) -> &Arc<str> {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }

            impl From<&str> for $name {
                fn from(text: &str) -> Self {
                    Self(Arc::from(text))
                }
            }

            impl From<String> for $name {
                fn from(text: String) -> Self {
                    Self(Arc::from(text))
                }
            }
        )*
    };
}

ids! {
    /// A VPC.
    VpcId => Vpc, "vpc-", "InvalidVpcID.NotFound", "InvalidVpcID.Malformed";
    /// A set of DHCP options.
    DhcpOptionsId => DhcpOptions, "dopt-", "InvalidDhcpOptionID.NotFound", "InvalidDhcpOptionsId.Malformed";
    /// A managed prefix list.
    PrefixListId => PrefixList, "pl-", "InvalidPrefixListID.NotFound", "InvalidPrefixListId.Malformed";
    /// A security group.
    SecurityGroupId => SecurityGroup, "sg-", "InvalidGroup.NotFound", "InvalidGroupId.Malformed";
    /// A network ACL.
    NetworkAclId => NetworkAcl, "acl-", "InvalidNetworkAclID.NotFound", "InvalidNetworkAclId.Malformed";
    /// The association of a network ACL with a subnet.
    NetworkAclAssociationId => NetworkAclAssociation, "aclassoc-", "InvalidAssociationID.NotFound", "InvalidAssociationID.Malformed";
    /// A route table.
    RouteTableId => RouteTable, "rtb-", "InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed";
    /// The association of a route table with a subnet, an internet gateway,
    /// or (main) a VPC.
    RouteTableAssociationId => RouteTableAssociation, "rtbassoc-", "InvalidAssociationID.NotFound", "InvalidAssociationID.Malformed";
    /// A subnet.
    SubnetId => Subnet, "subnet-", "InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed";
    /// An internet gateway.
    InternetGatewayId => InternetGateway, "igw-", "InvalidInternetGatewayID.NotFound", "InvalidInternetGatewayId.Malformed";
    /// A virtual private gateway.
    VpnGatewayId => VpnGateway, "vgw-", "InvalidVpnGatewayID.NotFound", "InvalidVpnGatewayId.Malformed";
    /// A customer gateway.
    CustomerGatewayId => CustomerGateway, "cgw-", "InvalidCustomerGatewayID.NotFound", "InvalidCustomerGatewayId.Malformed";
    /// A VPN connection.
    VpnConnectionId => VpnConnection, "vpn-", "InvalidVpnConnectionID.NotFound", "InvalidVpnConnectionId.Malformed";
    /// A VPC peering connection.
    VpcPeeringConnectionId => VpcPeeringConnection, "pcx-", "InvalidVpcPeeringConnectionID.NotFound", "InvalidVpcPeeringConnectionId.Malformed";
    /// A network interface.
    NetworkInterfaceId => NetworkInterface, "eni-", "InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterfaceId.Malformed";
    /// An Elastic IP address.
    AllocationId => ElasticIp, "eipalloc-", "InvalidAllocationID.NotFound", "InvalidAllocationID.Malformed";
    /// A target group, by ARN.
    TargetGroupArn => TargetGroup, "arn:", "TargetGroupNotFound", "ValidationError";
    /// A network or gateway load balancer, by ARN.
    LoadBalancerArn => LoadBalancer, "arn:", "LoadBalancerNotFound", "ValidationError";
    /// A listener, by ARN.
    ListenerArn => Listener, "arn:", "ListenerNotFound", "ValidationError";
    /// An endpoint service.
    EndpointServiceId => EndpointService, "vpce-svc-", "InvalidVpcEndpointServiceId.NotFound", "InvalidVpcEndpointServiceId.Malformed";
    /// A VPC endpoint.
    VpcEndpointId => VpcEndpoint, "vpce-", "InvalidVpcEndpointId.NotFound", "InvalidVpcEndpointId.Malformed";
    /// A NAT gateway.
    NatGatewayId => NatGateway, "nat-", "NatGatewayNotFound", "NatGatewayMalformed";
    /// A hosted zone of DNS.
    HostedZoneId => HostedZone, "Z", "NoSuchHostedZone", "InvalidInput";
    /// An instance.
    InstanceId => Instance, "i-", "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed";
    /// A path to analyse.
    NetworkInsightsPathId => NetworkInsightsPath, "nip-", "InvalidNetworkInsightsPathId.NotFound", "InvalidNetworkInsightsPathId.Malformed";
    /// An analysis of a path.
    NetworkInsightsAnalysisId => NetworkInsightsAnalysis, "nia-", "InvalidNetworkInsightsAnalysisId.NotFound", "InvalidNetworkInsightsAnalysisId.Malformed";
    /// A client token that was used.
    ClientTokenId => ClientToken, "token-", "InvalidID", "InvalidID";
}

/// Makes new ids from a seed and a counter, so that a lab built twice has the
/// same ids.
///
/// What a file names gets its ids by name instead ([`Minter::enter`]): then a
/// thing keeps its id when others come or go beside it in the file.
#[derive(Clone, Debug)]
pub struct Minter {
    seed: u64,
    count: u64,
    scopes: Option<Box<Scopes>>,
}

/// Numbers by the name of what they are for.
#[derive(Clone, Debug, Default)]
struct Scopes {
    current: u64,
    /// How many numbers each name has had.
    counts: std::collections::BTreeMap<u64, u64>,
}

impl Minter {
    /// Starts a sequence of ids.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            count: 0,
            scopes: None,
        }
    }

    /// Goes on where another was.
    pub(super) fn at(seed: u64, count: u64) -> Self {
        Self {
            count,
            ..Self::new(seed)
        }
    }

    /// Where it is: seed and count.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.seed, self.count)
    }

    /// From now on numbers belong to this name: the first one for it is always
    /// the same, whatever was made before.
    pub fn enter(&mut self, name: &str) {
        self.scopes.get_or_insert_default().current = hash(0, name);
    }

    /// The same for a part of what has been entered; returns what
    /// [`Self::back`] takes. Without a name nothing changes.
    pub fn within(&mut self, part: &str) -> u64 {
        let Some(scopes) = &mut self.scopes else {
            return 0;
        };
        let outer = scopes.current;
        scopes.current = hash(outer, part);
        outer
    }

    /// Leaves a part.
    pub fn back(&mut self, outer: u64) {
        if let Some(scopes) = &mut self.scopes {
            scopes.current = outer;
        }
    }

    /// Numbers go by the counter again.
    pub fn leave(&mut self) {
        self.scopes = None;
    }

    /// A number that this minter never gave before (SplitMix64, a bijection of
    /// the counter; by name, apart as far as 64 bits can tell).
    pub fn next_number(&mut self) -> u64 {
        let (seed, count) = match &mut self.scopes {
            None => {
                self.count += 1;
                (self.seed, self.count)
            }
            Some(scopes) => {
                let count = scopes.counts.entry(scopes.current).or_default();
                *count += 1;
                (self.seed ^ scopes.current, *count)
            }
        };
        let mut z = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below 2^40 that was never given before.
    pub fn next_small(&mut self) -> u64 {
        let number = self.next_number();
        match self.scopes {
            None => self.count,
            // The upper half: counters do not get that far.
            Some(_) => (number & 0x7f_ffff_ffff) | 0x80_0000_0000,
        }
    }

    /// `prefix`, a zero and 16 hex digits, as AWS's ids look.
    pub fn text(&mut self, prefix: &str) -> Arc<str> {
        Arc::from(format!("{prefix}0{:016x}", self.next_number()))
    }

    /// A new id of a kind with hex ids.
    pub fn id<I: Id>(&mut self) -> I {
        I::from_text(self.text(I::PREFIX))
    }
}

/// FNV-1a, from an outer hash.
pub(crate) fn hash(outer: u64, text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ outer, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_ids_whatever_was_made_before() {
        let (mut a, mut b) = (Minter::new(7), Minter::new(7));
        a.enter("vpc/a");
        let first: VpcId = a.id();
        b.next_number();
        b.enter("vpc/b");
        let other: VpcId = b.id();
        b.enter("vpc/a");
        assert_eq!(first, b.id());
        assert_ne!(first, other);
        // A name that is entered again goes on.
        a.enter("vpc/b");
        a.enter("vpc/a");
        assert_ne!(first, a.id());
        let outer = a.within("part");
        let small = a.next_small();
        assert!((1 << 39..1 << 40).contains(&small));
        a.back(outer);
        a.leave();
        assert!(a.next_small() < 10);
    }

    #[test]
    fn ids_are_aws_shaped_and_reproducible() {
        let (mut a, mut b) = (Minter::new(7), Minter::new(7));
        let id: VpcId = a.id();
        assert!(id.is_well_formed(), "{id}");
        assert_eq!(id.as_str().len(), "vpc-".len() + 17);
        assert_eq!(id, b.id());
        assert_ne!(id, a.id());
        for bad in ["vpc-1", "subnet-12345678", "vpc-XYZ45678", "vpc-internet"] {
            assert!(!VpcId::from(bad).is_well_formed(), "{bad}");
        }
    }
}
