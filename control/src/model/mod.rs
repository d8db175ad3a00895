//! The model: every resource as plain data, in structure-sharing maps, so that
//! a transaction is a clone that is kept or dropped.
//!
//! A resource names others by id ([`Resource::references`]); the model keeps the
//! reverse index, which answers "what is in this VPC", "may this be deleted" and
//! "which rows does this change touch" without walking the whole.

mod aws_list;
mod client_token;
mod dhcp_options;
mod endpoint;
mod endpoint_service;
mod health_check;
mod hosted_zone;
mod id;
mod index;
mod insights;
mod instance;
mod interface;
mod ip_ranges;
mod load_balancer;
mod names;
mod nat_gateway;
mod network_acl;
mod peering;
mod prefix_list;
mod private_dns;
mod route_table;
mod routes;
mod security_group;
mod sorted;
mod start;
mod subnet;
mod table;
mod target_group;
mod vpc;
mod vpn;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use vpclab_dataplane::addr::AzId;

pub use aws_list::{AWS_OWNER, AwsList};
pub use client_token::ClientToken;
pub use dhcp_options::{DhcpOptions, DhcpValues, NameServer};
pub use endpoint::{EndpointInterface, VpcEndpoint, VpcEndpointState, VpcEndpointType};
pub use endpoint_service::{AWS_SERVICE_OWNER, AwsService, EndpointService, Through};
pub use health_check::{CheckPort, CheckProtocol, HealthCheck, Matcher, ProbeFailure};
pub use hosted_zone::{HostedZone, RecordValue};
pub use id::*;
pub use index::{Indexes, References};
pub use insights::{Explanation, NetworkInsightsAnalysis, NetworkInsightsPath, PathComponent};
pub use instance::{Instance, InstanceState};
pub(crate) use interface::device_alias;
pub use interface::{
    Attachment, ElasticIp, ElasticIpAssociation, InterfaceKind, NetworkInterface, Plug,
};
pub use ip_ranges::{IpRanges, PUBLISHED};
pub(crate) use load_balancer::load_balancer_alias;
pub use load_balancer::{LbProtocol, Listener, LoadBalancer, Node};
pub use names::{EndpointName, private_domain, private_name, public_domain, public_name};
pub use nat_gateway::{Connectivity, NatFailure, NatGateway};
pub use network_acl::{NetworkAcl, NetworkAclAssociation, NetworkAclEntry};
pub use peering::{PeeringEnd, PeeringState, VpcPeeringConnection};
pub use prefix_list::{AddressFamily, PrefixList};
pub use private_dns::{PrivateDns, PrivateDnsState};
pub use route_table::{
    Destination, Route, RouteOrigin, RouteTable, RouteTableAssociation, RouteTableUse,
    RouteTargetSpec,
};
pub use routes::Routes;
pub use security_group::{Direction, RulePeer, SecurityGroup, SecurityGroupRule};
pub use sorted::{Difference, Sorted};
pub(crate) use start::{INTERNET_OWNER, INTERNET_SUBNET, INTERNET_VPC};
pub use subnet::Subnet;
pub use table::Table;
pub(crate) use target_group::target_group_alias;
pub use target_group::{Target, TargetGroup, TargetGroupAttributes, TargetId, TargetType};
pub(crate) use vpc::on_prem_alias;
pub use vpc::{CidrAssociation, InternetGateway, Vpc};
pub use vpn::{CustomerGateway, VpnConnection, VpnGateway};

/// What every resource carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The account it belongs to.
    pub owner: Arc<str>,
    /// The region it lives in.
    pub region: Arc<str>,
    /// The `Name` tag.
    pub name: Option<Arc<str>>,
    /// The other tags.
    pub tags: Tags,
    /// When it was made, in seconds since 1970; 0 if a file says that it is.
    pub created_s: u64,
}

/// Tags by key.
pub type Tags = BTreeMap<Arc<str>, Arc<str>>;

impl Meta {
    /// The account's part of the region, which "per region" quotas count in.
    pub fn scope(&self) -> ResourceId {
        scope(&self.owner, &self.region)
    }

    /// All tags, `Name` too, by key.
    pub fn all_tags(&self) -> Tags {
        let mut all = self.tags.clone();
        let name = self.name.clone();
        all.extend(name.map(|name| (Arc::from("Name"), name)));
        all
    }

    /// Makes these all the tags, `Name` too.
    pub fn set_tags(&mut self, mut tags: Tags) {
        self.name = tags.remove("Name");
        self.tags = tags;
    }
}

/// An account's part of a region.
pub fn scope(owner: &str, region: &str) -> ResourceId {
    ResourceId {
        kind: Kind::Scope,
        text: Arc::from(format!("{owner}/{region}")),
    }
}

/// A kind of resource that the model holds.
pub trait Resource: Stored + Clone + Debug + 'static {
    /// What names it.
    type Id: Id<Resource = Self>;

    /// Its id.
    fn id(&self) -> &Self::Id;

    /// Owner, region, name.
    fn meta(&self) -> &Meta;

    /// The same, to change.
    fn meta_mut(&mut self) -> &mut Meta;

    /// The ids that it names, whether or not they exist. Its owner's scope is
    /// added by the model.
    fn references(&self, to: &mut References);

    /// Ids of its parts, and names that must lead to it.
    fn aliases(&self, _to: &mut Vec<Arc<str>>) {}

    /// Whether it is the lab's own, and no account sees it.
    fn is_hidden(&self) -> bool {
        false
    }

    /// Keeps further indexes; called with what was and what will be.
    fn reindex(_old: Option<&Self>, _new: Option<&Self>, _indexes: &mut Indexes) {}
}

macro_rules! tables {
    ($($field:ident: $kind:ident, $name:literal;)*) => {
        /// Every resource of the process, of all accounts and regions.
        #[derive(Clone, Debug)]
        pub struct Model {
            $($field: Table<$kind>,)*
            indexes: Indexes,
            zones: OrdMap<Arc<str>, AzId>,
            zones_down: OrdSet<Arc<str>>,
            minter: Minter,
        }

        impl Model {
            fn empty(seed: u64) -> Self {
                Self {
                    $($field: Table::default(),)*
                    indexes: Indexes::default(),
                    zones: OrdMap::new(),
                    zones_down: OrdSet::new(),
                    minter: Minter::new(seed),
                }
            }

            /// The data-plane row of any resource.
            pub fn row_of(&self, id: &ResourceId) -> Option<u32> {
                match id.kind {
                    Kind::Scope => None,
                    $(Kind::$kind => self.$field.row_of_text(&id.text),)*
                }
            }

            /// The ids of all that is not the same in `other`.
            pub(crate) fn differences(&self, other: &Self) -> BTreeSet<ResourceId> {
                let mut found = BTreeSet::new();
                $(for (one, two) in [(self, other), (other, self)] {
                    let differs = one.$field.iter().filter(|resource| {
                        two.$field.get(&resource.id).is_none_or(|same| *same != **resource)
                    });
                    found.extend(differs.map(|resource| resource.id.resource()));
                })*
                found
            }

            /// Makes a resource what it is in `from`, or takes it away.
            pub(crate) fn adopt(&mut self, from: &Self, id: &ResourceId) {
                match id.kind {
                    Kind::Scope => {}
                    $(Kind::$kind => {
                        let id = Id::from_text(id.text.clone());
                        match from.$field.get(&id) {
                            Some(resource) => self.put($kind::clone(resource)),
                            None => drop(self.remove(&id)),
                        }
                    })*
                }
            }

            /// Owner, region and tags of any resource.
            pub fn meta_of(&self, id: &ResourceId) -> Option<&Meta> {
                match id.kind {
                    Kind::Scope => None,
                    $(Kind::$kind => {
                        let found = self.$field.get(&Id::from_text(id.text.clone()));
                        found.map(|resource| &resource.meta)
                    })*
                }
            }

            /// What a resource names.
            pub(crate) fn references_of(&self, id: &ResourceId) -> BTreeSet<ResourceId> {
                match id.kind {
                    Kind::Scope => BTreeSet::new(),
                    $(Kind::$kind => {
                        names(self.$field.get(&Id::from_text(id.text.clone())).map(|held| &**held)).0
                    })*
                }
            }

            /// A resource as the store keeps it, in JSON.
            pub(crate) fn stored(&self, id: &ResourceId) -> Option<String> {
                match id.kind {
                    Kind::Scope => None,
                    $(Kind::$kind => {
                        let found = self.$field.get(&Id::from_text(id.text.clone()))?;
                        // Plain data: there is nothing that JSON cannot say.
                        serde_json::to_string(&**found).ok()
                    })*
                }
            }

            /// Puts a resource as the store kept it.
            pub(crate) fn put_stored(&mut self, kind: Kind, json: &str) -> serde_json::Result<()> {
                match kind {
                    Kind::Scope => {}
                    $(Kind::$kind => self.put::<$kind>(serde_json::from_str(json)?),)*
                }
                Ok(())
            }

            /// Replaces the tags of any resource.
            pub(crate) fn set_tags_of(&mut self, id: &ResourceId, tags: Tags) {
                match id.kind {
                    Kind::Scope => {}
                    $(Kind::$kind => {
                        let found = self.$field.get(&Id::from_text(id.text.clone()));
                        if let Some(mut resource) = found.map(|found| $kind::clone(found)) {
                            resource.meta.set_tags(tags);
                            self.put(resource);
                        }
                    })*
                }
            }

            /// The `Name` tag of any resource.
            pub fn name_of(&self, id: &ResourceId) -> Option<Arc<str>> {
                self.meta_of(id)?.name.clone()
            }

            /// The ids of all resources, in the order in which rows are compiled.
            pub fn ids(&self) -> BTreeSet<ResourceId> {
                let mut all = BTreeSet::new();
                $(all.extend(self.$field.iter().map(|resource| resource.id.resource()));)*
                all
            }

            $(
                #[doc = concat!("All ", $name, ", by id.")]
                pub fn $field(&self) -> &Table<$kind> {
                    &self.$field
                }
            )*
        }

        $(
            impl Stored for $kind {
                fn table(model: &Model) -> &Table<Self> {
                    &model.$field
                }

                fn table_mut(model: &mut Model) -> &mut Table<Self> {
                    &mut model.$field
                }
            }
        )*
    };
}

/// Where the model keeps a kind; implemented by the list below.
pub trait Stored: Sized {
    /// The table.
    fn table(model: &Model) -> &Table<Self>
    where
        Self: Resource;

    #[doc(hidden)]
    fn table_mut(model: &mut Model) -> &mut Table<Self>
    where
        Self: Resource;
}

tables! {
    dhcp_options: DhcpOptions, "sets of DHCP options";
    vpcs: Vpc, "VPCs";
    prefix_lists: PrefixList, "managed prefix lists";
    security_groups: SecurityGroup, "security groups";
    network_acls: NetworkAcl, "network ACLs";
    network_acl_associations: NetworkAclAssociation, "associations of network ACLs";
    route_tables: RouteTable, "route tables";
    route_table_associations: RouteTableAssociation, "associations of route tables";
    subnets: Subnet, "subnets";
    internet_gateways: InternetGateway, "internet gateways";
    vpn_gateways: VpnGateway, "virtual private gateways";
    customer_gateways: CustomerGateway, "customer gateways";
    vpn_connections: VpnConnection, "VPN connections";
    vpc_peering_connections: VpcPeeringConnection, "VPC peering connections";
    interfaces: NetworkInterface, "network interfaces";
    elastic_ips: ElasticIp, "Elastic IP addresses";
    target_groups: TargetGroup, "target groups";
    load_balancers: LoadBalancer, "network and gateway load balancers";
    listeners: Listener, "listeners";
    endpoint_services: EndpointService, "endpoint services";
    vpc_endpoints: VpcEndpoint, "VPC endpoints";
    nat_gateways: NatGateway, "NAT gateways";
    hosted_zones: HostedZone, "hosted zones";
    instances: Instance, "instances";
    insights_paths: NetworkInsightsPath, "paths to analyse";
    insights_analyses: NetworkInsightsAnalysis, "analyses of paths";
    client_tokens: ClientToken, "client tokens";
}

impl Model {
    /// The resource with this id.
    pub fn get<I: Id>(&self, id: &I) -> Option<&Arc<I::Resource>> {
        I::Resource::table(self).get(id)
    }

    /// Its row in the data plane.
    pub fn row<I: Id>(&self, id: &I) -> Option<u32> {
        I::Resource::table(self).row(id)
    }

    /// Every resource of kind `R` that names `target`: the subnets of a VPC,
    /// the route tables that lead to an interface.
    pub fn referrers<R: Resource>(&self, target: &impl Id) -> impl Iterator<Item = &Arc<R>> {
        self.indexes
            .referrers(&target.resource(), R::Id::KIND)
            .filter_map(|text| R::table(self).get(&R::Id::from_text(text.clone())))
    }

    /// How many resources of kind `R` name `target`.
    pub fn count<R: Resource>(&self, target: &ResourceId) -> u64 {
        self.indexes.count(target, R::Id::KIND)
    }

    /// What is found other than by id.
    pub fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    pub(crate) fn indexes_mut(&mut self) -> &mut Indexes {
        &mut self.indexes
    }

    /// The number of a zone, if anything lives in it.
    pub fn zone(&self, name: &str) -> Option<AzId> {
        self.zones.get(name).copied()
    }

    /// The number of a zone; a zone not seen before gets the next one.
    pub(crate) fn zone_or_new(&mut self, name: &Arc<str>) -> AzId {
        let next = AzId(self.zones.len() as u16);
        *self.zones.entry(name.clone()).or_insert(next)
    }

    /// An empty model that goes on where this one is: same zones, other ids.
    pub(crate) fn blank(&self) -> Self {
        let mut blank = Self::new(0);
        blank.zones = self.zones.clone();
        blank.minter = self.minter.clone();
        blank
    }

    /// Takes over how `from` finds things. Both must hold the same resources.
    pub(crate) fn adopt_indexes(&mut self, from: &Self) {
        self.indexes = from.indexes.clone();
        self.zones = from.zones.clone();
        self.minter = from.minter.clone();
    }

    /// Whether the zone is down, by a fault that the lab was told to make.
    pub fn is_zone_down(&self, name: &str) -> bool {
        self.zones_down.contains(name)
    }

    /// The zones that are down, by name.
    pub fn zones_down(&self) -> impl Iterator<Item = &Arc<str>> {
        self.zones_down.iter()
    }

    pub(crate) fn set_zone_down(&mut self, name: &Arc<str>, down: bool) {
        match down {
            true => self.zones_down.insert(name.clone()),
            false => self.zones_down.remove(name),
        };
    }

    /// The zones by number.
    pub(crate) fn zones(&self) -> Vec<Arc<str>> {
        let mut all: Vec<_> = self.zones.iter().collect();
        all.sort_by_key(|(_, number)| **number);
        all.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// How ids go on, as the store keeps it.
    pub(crate) fn minted(&self) -> (u64, u64) {
        self.minter.position()
    }

    /// Ids go on from here.
    pub(crate) fn mint_from(&mut self, (seed, count): (u64, u64)) {
        self.minter = Minter::at(seed, count);
    }

    pub(crate) fn minter(&mut self) -> &mut Minter {
        &mut self.minter
    }

    /// Puts a resource, new or changed.
    pub(crate) fn put<R: Resource>(&mut self, resource: R) {
        let old = R::table(self).get(resource.id()).cloned();
        self.reindex(old.as_deref(), Some(&resource));
        R::table_mut(self).put(Arc::new(resource));
    }

    /// Takes a resource away.
    pub(crate) fn remove<I: Id>(&mut self, id: &I) -> Option<Arc<I::Resource>> {
        let old = I::Resource::table_mut(self).remove(id)?;
        self.reindex(Some(&*old), None);
        Some(old)
    }

    fn reindex<R: Resource>(&mut self, old: Option<&R>, new: Option<&R>) {
        let Some(id) = new.or(old).map(|resource| resource.id().resource()) else {
            return;
        };
        let (before, after) = (names(old), names(new));
        for gone in before.0.difference(&after.0) {
            self.indexes.unrefer(&id, gone);
        }
        for added in after.0.difference(&before.0) {
            self.indexes.refer(&id, added);
        }
        let (mut before, mut after) = (Vec::new(), Vec::new());
        old.inspect(|old| old.aliases(&mut before));
        new.inspect(|new| new.aliases(&mut after));
        for gone in before.iter().filter(|alias| !after.contains(alias)) {
            self.indexes.drop_alias(gone, &id);
        }
        for alias in after {
            self.indexes.set_alias(alias, id.clone());
        }
        R::reindex(old, new, &mut self.indexes);
    }
}

fn names<R: Resource>(resource: Option<&R>) -> References {
    let mut references = References::default();
    if let Some(resource) = resource {
        references.0.insert(resource.meta().scope());
        resource.references(&mut references);
    }
    references
}

/// The accessors that are the same for every resource.
macro_rules! resource_fields {
    ($id:ident) => {
        type Id = $crate::model::$id;

        fn id(&self) -> &Self::Id {
            &self.id
        }

        fn meta(&self) -> &$crate::model::Meta {
            &self.meta
        }

        fn meta_mut(&mut self) -> &mut $crate::model::Meta {
            &mut self.meta
        }
    };
}
use resource_fields;
