//! What exists before the first action: the pseudo-VPC of internet hosts, with
//! one subnet that holds every address, one table that leads everywhere inside
//! it and an ACL that allows all. Its ids are not AWS-shaped, so no request can
//! name them.

use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::*;

/// The pseudo-VPC of internet hosts.
pub(crate) const INTERNET_VPC: &str = "vpc-internet";
/// Who owns it, and its region.
pub(crate) const INTERNET_OWNER: &str = "internet";
/// Its subnet.
pub(crate) const INTERNET_SUBNET: &str = "subnet-internet";
const INTERNET_TABLE: &str = "rtb-internet";
const INTERNET_ACL: &str = "acl-internet";

impl Model {
    /// A model without resources; ids follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut model = Self::empty(seed);
        let meta = Meta {
            owner: Arc::from(INTERNET_OWNER),
            region: Arc::from(INTERNET_OWNER),
            name: None,
            tags: Tags::new(),
            created_s: 0,
        };
        model.put(Vpc {
            id: INTERNET_VPC.into(),
            meta: meta.clone(),
            cidrs: vec![association("vpc-cidr-assoc-internet", Prefix::ANY_V4)],
            ipv6_cidrs: vec![association("vpc-cidr-assoc-internet6", Prefix::ANY_V6)],
            dns_support: false,
            dns_hostnames: false,
            usage_metrics: false,
            dhcp_options: None,
            default_security_group: "sg-internet".into(),
            default_network_acl: INTERNET_ACL.into(),
            is_default: false,
            internet: true,
            on_prem: None,
        });
        let zone: Arc<str> = Arc::from("internet");
        let az = model.zone_or_new(&zone);
        model.put(Subnet {
            id: INTERNET_SUBNET.into(),
            meta: meta.clone(),
            vpc: INTERNET_VPC.into(),
            zone,
            az,
            cidr: Prefix::ANY_V4,
            ipv6_cidr: Some(Prefix::ANY_V6),
            map_public_ip_on_launch: false,
            assign_ipv6_address_on_creation: false,
            default_for_az: false,
        });
        let routes = [Prefix::ANY_V4, Prefix::ANY_V6]
            .map(|prefix| (Destination::Cidr(prefix), Route::local()));
        model.put(RouteTable {
            id: INTERNET_TABLE.into(),
            meta: meta.clone(),
            vpc: INTERNET_VPC.into(),
            routes: routes.into_iter().collect(),
            propagating: BTreeSet::new(),
        });
        model.put(RouteTableAssociation {
            id: "rtbassoc-internet".into(),
            meta: meta.clone(),
            route_table: INTERNET_TABLE.into(),
            used_by: RouteTableUse::Main(INTERNET_VPC.into()),
        });
        let entries = NetworkAcl::allow_all(true);
        model.put(NetworkAcl {
            id: INTERNET_ACL.into(),
            meta: meta.clone(),
            vpc: INTERNET_VPC.into(),
            is_default: true,
            ingress: entries.clone(),
            egress: entries,
        });
        model.put(NetworkAclAssociation {
            id: "aclassoc-internet".into(),
            meta,
            network_acl: INTERNET_ACL.into(),
            subnet: INTERNET_SUBNET.into(),
        });
        model
    }
}

fn association(id: &str, block: Prefix) -> CidrAssociation {
    CidrAssociation {
        id: Arc::from(id),
        block,
    }
}

/// An on-premises network as resources: like the internet's, of its own prefixes.
#[derive(Debug)]
pub(crate) struct OnPremNetwork {
    pub(crate) vpc: Vpc,
    pub(crate) subnet: Subnet,
    pub(crate) table: RouteTable,
    pub(crate) table_use: RouteTableAssociation,
    pub(crate) acl: NetworkAcl,
    pub(crate) acl_use: NetworkAclAssociation,
}

impl Model {
    /// The network of that name; nothing is put.
    pub(crate) fn on_prem_network(
        &self,
        name: &str,
        cidrs: &[Prefix],
        address: std::net::Ipv4Addr,
    ) -> Option<OnPremNetwork> {
        let internet = self.get(&VpcId::from(INTERNET_VPC))?;
        let subnet = self.get(&SubnetId::from(INTERNET_SUBNET))?;
        let meta = Meta {
            name: Some(Arc::from(name)),
            ..internet.meta.clone()
        };
        let vpc = VpcId::from(format!("vpc-on-prem-{name}"));
        let acl = NetworkAclId::from(format!("acl-on-prem-{name}"));
        let table = RouteTableId::from(format!("rtb-on-prem-{name}"));
        let own = SubnetId::from(format!("subnet-on-prem-{name}"));
        let entries = NetworkAcl::allow_all(false);
        let block = |(n, cidr): (usize, &Prefix)| {
            association(&format!("vpc-cidr-assoc-on-prem-{name}-{n}"), *cidr)
        };
        Some(OnPremNetwork {
            vpc: Vpc {
                id: vpc.clone(),
                meta: meta.clone(),
                cidrs: cidrs.iter().enumerate().map(block).collect(),
                ipv6_cidrs: Vec::new(),
                default_network_acl: acl.clone(),
                internet: false,
                on_prem: Some(address),
                ..Vpc::clone(internet)
            },
            subnet: Subnet {
                id: own.clone(),
                meta: meta.clone(),
                vpc: vpc.clone(),
                ipv6_cidr: None,
                ..Subnet::clone(subnet)
            },
            table: RouteTable {
                id: table.clone(),
                meta: meta.clone(),
                vpc: vpc.clone(),
                routes: Routes::default(),
                propagating: BTreeSet::new(),
            },
            table_use: RouteTableAssociation {
                id: format!("rtbassoc-on-prem-{name}").into(),
                meta: meta.clone(),
                route_table: table,
                used_by: RouteTableUse::Main(vpc.clone()),
            },
            acl: NetworkAcl {
                id: acl.clone(),
                meta: meta.clone(),
                vpc,
                is_default: true,
                ingress: entries.clone(),
                egress: entries,
            },
            acl_use: NetworkAclAssociation {
                id: format!("aclassoc-on-prem-{name}").into(),
                meta,
                network_acl: acl,
                subnet: own,
            },
        })
    }
}
