//! A neutral description of a world: what both sides are told. Plain data, in
//! the words of the AWS documentation; nothing here decides anything.

use std::collections::BTreeMap;
use std::net::IpAddr;

pub type Id = u32;
pub type Mac = [u8; 6];

/// Seconds.
pub type Seconds = u64;

/// An address block. Host bits need not be zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    pub address: IpAddr,
    pub len: u32,
}

impl Cidr {
    /// Compared bit by bit, from the left.
    pub fn contains(&self, other: IpAddr) -> bool {
        let (mine, theirs) = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (
                u128::from(u32::from(a)) << 96,
                u128::from(u32::from(b)) << 96,
            ),
            (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a), u128::from(b)),
            _ => return false,
        };
        let differing = mine ^ theirs;
        differing.leading_zeros() >= self.len
    }

    /// Whether `other` lies in this block.
    pub fn covers(&self, other: &Cidr) -> bool {
        other.len >= self.len && self.contains(other.address)
    }

    pub fn is_everything(&self) -> bool {
        self.len == 0
    }

    /// Address number `n` of the block, counted from its first.
    pub fn nth(&self, n: u32) -> IpAddr {
        match self.address {
            IpAddr::V4(a) => {
                let mask = if self.len == 0 {
                    0
                } else {
                    u32::MAX << (32 - self.len)
                };
                IpAddr::V4(((u32::from(a) & mask) + n).into())
            }
            IpAddr::V6(a) => {
                let mask = if self.len == 0 {
                    0
                } else {
                    u128::MAX << (128 - self.len)
                };
                IpAddr::V6(((u128::from(a) & mask) + u128::from(n)).into())
            }
        }
    }

    /// The last address of the block.
    pub fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(a) => {
                let host = u32::MAX.checked_shr(self.len).unwrap_or(0);
                IpAddr::V4((u32::from(a) | host).into())
            }
            IpAddr::V6(a) => {
                let host = u128::MAX.checked_shr(self.len).unwrap_or(0);
                IpAddr::V6((u128::from(a) | host).into())
            }
        }
    }

    /// The last address of an IPv4 block.
    pub fn broadcast(&self) -> Option<IpAddr> {
        match self.address {
            IpAddr::V4(a) if self.len > 0 => {
                let host = (1u64 << (32 - self.len)) as u32;
                Some(IpAddr::V4((u32::from(a) | host.wrapping_sub(1)).into()))
            }
            _ => None,
        }
    }
}

impl std::fmt::Debug for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Vpc {
    pub cidrs: Vec<Cidr>,
    pub igw: Option<Igw>,
    /// The pseudo-VPC of the internet's hosts.
    pub internet: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Igw {
    pub edge_table: Option<Id>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    pub vpc: Id,
    pub cidrs: Vec<Cidr>,
    pub router_mac: Mac,
    pub table: Id,
    pub acl: Id,
    pub az: u16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Host,
    Endpoint(Id),
    GatewayEndpoint(Id),
    Node(Id),
    /// A NAT gateway's interface.
    Nat(Id),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeouts {
    pub tcp: Seconds,
    pub udp: Seconds,
    pub udp_stream: Seconds,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Eni {
    pub vpc: Id,
    pub subnet: Id,
    pub mac: Mac,
    pub addresses: Vec<IpAddr>,
    pub prefixes: Vec<Cidr>,
    /// Private and public address.
    pub elastic: Vec<(IpAddr, IpAddr)>,
    pub groups: Vec<Id>,
    pub check: bool,
    pub kind: Kind,
    pub attached: bool,
    pub deny_igw: bool,
    pub mtu: u32,
    pub timeouts: Timeouts,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RouteTo {
    Local,
    Igw,
    Eni(Id),
    GatewayEndpoint(Id),
    Peering(Id),
    Blackhole,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    Local,
    Static,
    List(Id),
    Propagated,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub to: Cidr,
    pub target: RouteTo,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ports {
    Any,
    Range(u16, u16),
    Icmp(u8, Option<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Peer {
    Cidr(Cidr),
    List(Id),
    Group(Id),
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupRule {
    pub protocol: Option<u8>,
    pub ports: Ports,
    pub peer: Peer,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub ingress: Vec<GroupRule>,
    pub egress: Vec<GroupRule>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AclRule {
    pub number: u16,
    pub allow: bool,
    pub protocol: Option<u8>,
    pub ports: Ports,
    pub cidr: Cidr,
}

/// Rules in any order.
#[derive(Clone, Debug, PartialEq)]
pub struct Acl {
    pub ingress: Vec<AclRule>,
    pub egress: Vec<AclRule>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum EndpointKind {
    Interface { balancers: Vec<Id>, enis: Vec<Id> },
    Gateway { balancers: Vec<Id>, eni: Id },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The low 64 bits of its id.
    pub number: u64,
    pub vpc: Id,
    pub available: bool,
    pub kind: EndpointKind,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub protocol: u8,
    pub port: u16,
    pub group: Option<Id>,
    pub tcp_idle: Seconds,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Balancer {
    /// A gateway load balancer; else a network load balancer.
    pub gateway: bool,
    pub vpc: Id,
    /// Zone and interface.
    pub nodes: Vec<(u16, Id)>,
    pub listeners: Vec<Listener>,
    pub cross_zone: bool,
    pub enforce: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Health {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
    Unused,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub address: IpAddr,
    pub port: u16,
    pub az: Option<u16>,
    pub health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sticky {
    Five,
    Three,
    Two,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TargetGroup {
    pub vpc: Id,
    pub targets: Vec<Target>,
    pub sticky: Sticky,
    pub rebalance: bool,
    pub reset_on_idle: bool,
    /// Targets see the addresses of clients that call a node.
    pub keeps: bool,
}

/// An active peering connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peering {
    pub vpcs: [Id; 2],
    /// Its ends are in different regions.
    pub far: bool,
}

/// TTL that hops take away, and the fresh one of a load balancer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub ttl_router: u8,
    pub ttl_igw: u8,
    pub ttl_balancer: u8,
    pub ttl_nat: u8,
}

#[derive(Clone, Debug)]
pub struct World {
    pub settings: Settings,
    pub vpcs: BTreeMap<Id, Vpc>,
    pub subnets: BTreeMap<Id, Subnet>,
    pub enis: BTreeMap<Id, Eni>,
    pub tables: BTreeMap<Id, Vec<Route>>,
    pub groups: BTreeMap<Id, Group>,
    pub acls: BTreeMap<Id, Acl>,
    pub lists: BTreeMap<Id, Vec<Cidr>>,
    pub endpoints: BTreeMap<Id, Endpoint>,
    pub balancers: BTreeMap<Id, Balancer>,
    pub target_groups: BTreeMap<Id, TargetGroup>,
    pub peerings: BTreeMap<Id, Peering>,
}

/// One row put in place of another; `None` takes it away.
#[derive(Clone, Debug)]
pub enum Change {
    Settings(Settings),
    Vpc(Id, Vpc),
    Subnet(Id, Subnet),
    Eni(Id, Option<Eni>),
    Table(Id, Vec<Route>),
    Group(Id, Group),
    Acl(Id, Acl),
    List(Id, Vec<Cidr>),
    Endpoint(Id, Endpoint),
    Balancer(Id, Balancer),
    TargetGroup(Id, TargetGroup),
    Peering(Id, Option<Peering>),
}

impl World {
    pub fn empty() -> Self {
        Self {
            settings: Settings {
                ttl_router: 0,
                ttl_igw: 0,
                ttl_balancer: 64,
                ttl_nat: 1,
            },
            vpcs: BTreeMap::new(),
            subnets: BTreeMap::new(),
            enis: BTreeMap::new(),
            tables: BTreeMap::new(),
            groups: BTreeMap::new(),
            acls: BTreeMap::new(),
            lists: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            balancers: BTreeMap::new(),
            target_groups: BTreeMap::new(),
            peerings: BTreeMap::new(),
        }
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Settings(row) => self.settings = row,
            Change::Vpc(id, row) => _ = self.vpcs.insert(id, row),
            Change::Subnet(id, row) => _ = self.subnets.insert(id, row),
            Change::Eni(id, Some(row)) => _ = self.enis.insert(id, row),
            Change::Eni(id, None) => _ = self.enis.remove(&id),
            Change::Table(id, row) => _ = self.tables.insert(id, row),
            Change::Group(id, row) => _ = self.groups.insert(id, row),
            Change::Acl(id, row) => _ = self.acls.insert(id, row),
            Change::List(id, row) => _ = self.lists.insert(id, row),
            Change::Endpoint(id, row) => _ = self.endpoints.insert(id, row),
            Change::Balancer(id, row) => _ = self.balancers.insert(id, row),
            Change::TargetGroup(id, row) => _ = self.target_groups.insert(id, row),
            Change::Peering(id, Some(row)) => _ = self.peerings.insert(id, row),
            Change::Peering(id, None) => _ = self.peerings.remove(&id),
        }
    }

    /// Every row, as changes to an empty world.
    pub fn rows(&self) -> Vec<Change> {
        let mut rows = vec![Change::Settings(self.settings)];
        rows.extend(
            self.vpcs
                .iter()
                .map(|(id, row)| Change::Vpc(*id, row.clone())),
        );
        rows.extend(
            self.subnets
                .iter()
                .map(|(id, row)| Change::Subnet(*id, row.clone())),
        );
        rows.extend(
            self.tables
                .iter()
                .map(|(id, row)| Change::Table(*id, row.clone())),
        );
        rows.extend(
            self.groups
                .iter()
                .map(|(id, row)| Change::Group(*id, row.clone())),
        );
        rows.extend(
            self.acls
                .iter()
                .map(|(id, row)| Change::Acl(*id, row.clone())),
        );
        rows.extend(
            self.lists
                .iter()
                .map(|(id, row)| Change::List(*id, row.clone())),
        );
        rows.extend(
            self.enis
                .iter()
                .map(|(id, row)| Change::Eni(*id, Some(row.clone()))),
        );
        rows.extend(
            self.endpoints
                .iter()
                .map(|(id, row)| Change::Endpoint(*id, row.clone())),
        );
        rows.extend(
            self.balancers
                .iter()
                .map(|(id, row)| Change::Balancer(*id, row.clone())),
        );
        rows.extend(
            self.target_groups
                .iter()
                .map(|(id, row)| Change::TargetGroup(*id, row.clone())),
        );
        rows.extend(
            self.peerings
                .iter()
                .map(|(id, row)| Change::Peering(*id, Some(*row))),
        );
        rows
    }
}
