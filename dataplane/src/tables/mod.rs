//! Table snapshots: what the control plane pushes and the walk reads.
//!
//! A [`Snapshot`] never changes. [`Builder`] makes the next one from the last,
//! sharing what is equal; [`Tables`] publishes it to the workers. A row carries
//! the version at which it changed: flow entries remember these *generations*
//! and notice when something they were decided from has moved on.

mod builder;
mod changes;
mod compare;
mod generations;
mod publish;
mod route_table;
mod rows;
mod shared;
mod slab;
mod winners;

pub use builder::Builder;
pub use publish::{Published, Tables};
pub use route_table::{RouteHit, RouteTable};
pub use rows::*;
pub use slab::{Slab, Stamped};

pub use crate::flow::TrackingTimeouts;
pub use crate::gwlb::{Stickiness, Target, TargetHealth};
pub use crate::lpm::Level;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::addr::{EniId, Mac, Prefix, SecurityGroupId, VpcId, is_public};
use crate::flow::Shard;
use crate::packet::FiveTuple;

/// TTL that each kind of hop takes away (ASSUMPTION: AWS documents none;
/// `aws-behaviour.md` §1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// By the VPC router.
    pub ttl_vpc_router: u8,
    /// By the internet gateway.
    pub ttl_igw: u8,
    /// By a virtual private gateway.
    pub ttl_vgw: u8,
    /// By a gateway load balancer endpoint.
    pub ttl_gateway_endpoint: u8,
    /// By a NAT gateway: AWS says that traceroute shows its private address.
    pub ttl_nat_gateway: u8,
    /// Fresh TTL of the leg that a load balancer owns.
    pub ttl_load_balancer: u8,
    /// Faults for tests that prove the demo's checks; all off in every build.
    pub sabotage: Sabotage,
}

/// Switches that break one promise each, so that tests can show that the demo
/// notices. Reached only through the library: no command or file sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sabotage {
    /// PrivateLink keeps the client's source address.
    pub no_source_nat: bool,
    /// The provider may start flows toward the consumer.
    pub two_way: bool,
    /// GENEVE returns are accepted unchecked.
    pub no_geneve_checks: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl_vpc_router: 0,
            ttl_igw: 0,
            ttl_vgw: 1,
            ttl_gateway_endpoint: 0,
            ttl_nat_gateway: 1,
            ttl_load_balancer: 64,
            sabotage: Sabotage::default(),
        }
    }
}

/// A map that snapshots share; the hash is a few multiplications, and seeded.
pub(crate) type HashMap<K, V> = GenericHashMap<K, V, crate::flow::RowHash, DefaultSharedPtr>;

/// Where an address lives within one VPC; kept by the builder from the ENI rows.
#[derive(Clone, Debug, Default)]
pub struct VpcIndex {
    /// Every interface address.
    pub(crate) addresses: HashMap<IpAddr, EniId>,
    /// Delegated prefixes.
    pub prefixes: Vec<(Prefix, EniId)>,
    /// Every interface by MAC address.
    pub(crate) macs: HashMap<Mac, EniId>,
}

impl VpcIndex {
    /// The interface that owns `address`, itself or by a delegated prefix.
    pub fn owner(&self, address: IpAddr) -> Option<EniId> {
        self.addresses.get(&address).copied().or_else(|| {
            self.prefixes
                .iter()
                .find(|(prefix, _)| prefix.contains(address))
                .map(|&(_, eni)| eni)
        })
    }
}

/// Everything the walk may read, at one version. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows with each published change; 0 is empty.
    pub version: u64,
    /// Process-wide choices.
    pub settings: Settings,
    /// Version at which they last changed.
    pub(crate) settings_generation: u64,
    /// Version at which anything but a route last changed.
    pub(crate) others_generation: u64,
    /// Version at which the tuples last changed by which packets meet
    /// ([`Self::meeting`]), or may have.
    pub(crate) meeting_generation: u64,
    /// The last changes of routes.
    pub(crate) route_log: changes::RouteLog,
    /// VPCs.
    pub vpcs: Slab<VpcRow>,
    /// Subnets.
    pub subnets: Slab<SubnetRow>,
    /// Interfaces.
    pub enis: Slab<EniRow>,
    /// Route tables, compiled.
    pub route_tables: Slab<RouteTable>,
    /// Security groups.
    pub security_groups: Slab<SecurityGroupRow>,
    /// Network ACLs.
    pub network_acls: Slab<NetworkAclRow>,
    /// Prefix lists.
    pub prefix_lists: Slab<PrefixListRow>,
    /// VPC endpoints.
    pub endpoints: Slab<EndpointRow>,
    /// Load balancers.
    pub load_balancers: Slab<LoadBalancerRow>,
    /// Target groups.
    pub target_groups: Slab<TargetGroupRow>,
    /// Peering connections.
    pub peerings: Slab<PeeringRow>,
    /// NAT gateways.
    pub nat_gateways: Slab<NatGatewayRow>,
    /// Derived from ENI rows: who lives where.
    pub(crate) vpc_index: HashMap<VpcId, VpcIndex>,
    /// Derived: private addresses of each group's interfaces, with their owners.
    pub(crate) group_members: HashMap<SecurityGroupId, HashMap<IpAddr, EniId>>,
    /// Derived: delegated prefixes of each group's interfaces, with their owners.
    pub(crate) group_prefixes: HashMap<SecurityGroupId, HashMap<Prefix, EniId>>,
    /// Derived: generation of each group's membership.
    pub(crate) group_generation: HashMap<SecurityGroupId, u64>,
    /// Derived: public address (or internet host's address, or IPv6 address) → owner.
    pub(crate) public: HashMap<IpAddr, EniId>,
    /// Derived: search structures of small route tables, equal ones once.
    pub(crate) shared_v4: shared::Shared<u32>,
    /// The same, IPv6.
    pub(crate) shared_v6: shared::Shared<u128>,
    /// Derived: delegated IPv6 prefix → owner, as far as the internet reaches it.
    pub(crate) public_prefixes: HashMap<Prefix, EniId>,
    /// Derived: where load balancers that keep their clients' addresses are called, and
    /// their targets: address and port.
    pub(crate) kept_ends: HashMap<(IpAddr, u16), ()>,
    /// Derived: the internet host that has every public address which nobody
    /// else has, the way to the real network.
    pub(crate) uplink: Option<EniId>,
}

impl Snapshot {
    /// Different search structures of small route tables, IPv4 and IPv6.
    pub fn shared_searches(&self) -> (usize, usize) {
        (self.shared_v4.len(), self.shared_v6.len())
    }

    /// The interface of `vpc` that owns `address`.
    pub fn owner(&self, vpc: VpcId, address: IpAddr) -> Option<EniId> {
        self.vpc_index.get(&vpc)?.owner(address)
    }

    /// The interface of `vpc` with this MAC address.
    pub fn eni_by_mac(&self, vpc: VpcId, mac: Mac) -> Option<EniId> {
        self.vpc_index.get(&vpc)?.macs.get(&mac).copied()
    }

    /// Whether `address` is a private address of an interface in `group`, its
    /// own or one of a delegated prefix.
    pub fn is_group_member(&self, group: SecurityGroupId, address: IpAddr) -> bool {
        let listed = self.group_members.get(&group);
        if listed.is_some_and(|members| members.contains_key(&address)) {
            return true;
        }
        let prefixes = self.group_prefixes.get(&group);
        prefixes.is_some_and(|prefixes| {
            delegated(address).is_some_and(|prefix| prefixes.contains_key(&prefix))
        })
    }

    /// The private address that an internet gateway turns `address` into; itself
    /// if nobody has it as a public one.
    pub fn private_of(&self, address: IpAddr) -> IpAddr {
        if address.is_ipv6() {
            return address;
        }
        self.public_owner(address)
            .and_then(|owner| self.enis.row(owner))
            .and_then(|eni| eni.public.iter().find(|pair| pair.public == address))
            .map_or(address, |pair| pair.private)
    }

    /// The tuple by which the packets of a flow meet at one worker, in either
    /// direction and before and after each translation that keeps a client's address
    /// and port: inside, without the internet gateway's translation; and with nothing
    /// in place of such a load balancer, and of its target.
    pub(crate) fn meeting(&self, tuple: &FiveTuple) -> FiveTuple {
        let end = |address, port| {
            let address = self.private_of(address);
            match address {
                _ if !self.is_kept_end(address, port) => (address, port),
                IpAddr::V4(_) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
                IpAddr::V6(_) => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
            }
        };
        let ((src, sport), (dst, dport)) =
            (end(tuple.src, tuple.sport), end(tuple.dst, tuple.dport));
        FiveTuple {
            src,
            dst,
            sport,
            dport,
            ..*tuple
        }
    }

    /// Whether packets with this tuple, and their replies, come to a worker.
    pub(crate) fn leads_to(&self, shard: &Shard, tuple: &FiveTuple) -> bool {
        shard.count() == 1 || shard.owns(&self.meeting(tuple))
    }

    /// Whether any load balancer keeps its clients' addresses.
    pub(crate) fn keeps_ends(&self) -> bool {
        !self.kept_ends.is_empty()
    }

    /// Whether a load balancer that keeps its clients' addresses is called there, or
    /// has a target there.
    pub(crate) fn is_kept_end(&self, address: IpAddr, port: u16) -> bool {
        self.keeps_ends() && self.kept_ends.contains_key(&(address, port))
    }

    /// The interface that the internet reaches by `address`: an Elastic IP's
    /// interface, an internet host, or the owner of an IPv6 address; of public
    /// addresses that nobody has, the uplink.
    pub fn public_owner(&self, address: IpAddr) -> Option<EniId> {
        let owner = self.public.get(&address).copied().or_else(|| {
            let prefix = address.is_ipv6().then(|| delegated(address))??;
            self.public_prefixes.get(&prefix).copied()
        });
        owner.or_else(|| self.uplink.filter(|_| is_public(address)))
    }
}

/// The prefix that an address lies in if it is delegated: these are always /28
/// or /80 (EC2 "Prefix delegation").
fn delegated(address: IpAddr) -> Option<Prefix> {
    Prefix::new(address, if address.is_ipv4() { 28 } else { 80 })
}
