//! The one brain: where a packet goes, and why.
//!
//! A pure function of the table snapshot, the packet's headers and the
//! connection state. The order of the hops is the order of the calls here and
//! in the files beside this one, each of which names the hop that comes next:
//!
//! ```text
//! source_check → security_group (out) → network_acl (out) → route ─┬→ deliver
//!      │ ╰→ service (resolver, metadata, time, DHCP)                ├→ igw ─→ internet
//!      ▲                                                           ├→ peering ─→ deliver
//!      │                                                           ├→ vgw ─→ on premises
//!      │ entered by a port                                         ├→ gwlb (into a tunnel)
//!      │                                                           ├→ nat_gateway → route
//!      │                                                           └→ privatelink → load balancer ─┐
//! gwlb (out of a tunnel) ─→ route                                                       route ◄────┘
//! (what answers a client whose address a load balancer kept) source_check → node → route
//! deliver: network_acl (in) → security_group (in) → destination check → port
//! ```
//!
//! AWS: VPC User Guide, "Infrastructure security"; `aws-behaviour.md` §3.3.

mod client_address;
mod connections;
mod deliver;
mod gateway_endpoint;
mod gwlb;
mod igw;
mod nat_gateway;
mod network_acl;
mod path;
mod peering;
mod pick;
mod privatelink;
mod route;
mod security_group;
mod service;
mod source_check;
mod vgw;

pub use connections::{Connections, Known};
pub use path::{Component, Hop, Path, Rule, Verdict};
pub use pick::Pick;
pub(crate) use service::is_dhcp;
pub use service::{
    METADATA_V4, METADATA_V6, RESOLVER_V4, RESOLVER_V6, Service, TIME_V4, TIME_V6, service_for,
};
pub(crate) use source_check::mac_of_link_local;

use std::cell::Cell;
use std::net::IpAddr;

use crate::addr::{EndpointId, EniId, Mac, SubnetId};
use crate::drop::DropReason;
use crate::flow::{Direction, Ingress, Limits, Object, Outcome, Rewrite, SizeLimit, Tunnel};
use crate::packet::{FiveTuple, Headers, protocol};
use crate::tables::{EniRow, Snapshot};
use crate::time::Instant;

/// Most route lookups between two port crossings. ASSUMPTION: AWS documents no
/// limit; loops must end (`aws-behaviour.md` §1.5).
const LOOKUPS_MAX: u8 = 32;

/// Outer IPv4, UDP and GENEVE with AWS's options, in bytes.
const TUNNEL_OVERHEAD: u32 = 68;

/// How a packet meets the first hop.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// From the host behind an interface, in a frame to this MAC address.
    Port(EniId, Mac),
    /// At a gateway load balancer's node, as if delivered there.
    Node(EniId),
}

/// A GENEVE packet's inside.
#[derive(Clone, Copy, Debug)]
pub struct Geneve {
    /// Option 1.
    pub vpce: Option<u64>,
    /// Option 3.
    pub cookie: Option<u32>,
    /// The inner packet.
    pub inner: View,
}

/// One packet to be judged: what is on the outside, and what a tunnel holds.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// The packet as it entered.
    pub outer: View,
    /// For UDP to port 6081: the inside, as far as it could be parsed.
    pub geneve: Option<Result<Geneve, DropReason>>,
}

/// One IP packet as the hops judge it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Its headers. A later fragment's tuple has the first one's ports, if known.
    pub headers: Headers,
    /// The largest IP packet that it becomes when segmented, in bytes.
    pub size: u32,
    /// A later fragment whose first one is unknown: ports match no rule.
    pub portless: bool,
    /// An ICMP error about a flow: the headers are those of a packet of that
    /// flow, and this is what the error is itself.
    pub error: Option<Report>,
}

/// An ICMP error about a flow, as rules and checks judge it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// ICMP or ICMPv6.
    pub protocol: u8,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Who sends it: an end of the flow, or a router on its way.
    pub src: IpAddr,
}

impl View {
    /// An ordinary packet.
    pub const fn plain(headers: Headers) -> Self {
        Self {
            headers,
            size: headers.ip_len,
            portless: false,
            error: None,
        }
    }

    /// Judged by the rules alone, each time: an ICMP error about nothing known,
    /// or a later fragment of something unseen. Neither belongs to a connection
    /// nor starts one, or it would let in others of other types or ports.
    pub const fn is_stateless(&self) -> bool {
        self.portless || (self.error.is_none() && self.headers.is_icmp_error())
    }

    /// Protocol, ICMP type and code as rules judge them: an error message is
    /// what it is, not the flow that it quotes.
    pub const fn judged_as(&self, protocol: u8) -> (u8, u8, u8) {
        match self.error {
            Some(error) => (error.protocol, error.kind, error.code),
            None => (protocol, self.headers.icmp_type, self.headers.icmp_code),
        }
    }
}

impl Packet {
    /// An ordinary packet without a tunnel.
    pub const fn plain(headers: Headers) -> Self {
        Self {
            outer: View::plain(headers),
            geneve: None,
        }
    }
}

/// Walks one packet to its end. `path` is cleared first; it keeps its memory.
pub fn walk(
    tables: &Snapshot,
    connections: &Connections,
    now: Instant,
    entry: Entry,
    packet: &Packet,
    path: &mut Path,
) {
    path.clear();
    let mut walk = Walk {
        tables,
        connections,
        now,
        packet: packet.outer,
        geneve: packet.geneve,
        tuple: packet.outer.headers.tuple,
        path,
        entered: None,
        front: None,
        own: None,
        sender: None,
        stands_for: None,
        sender_mac: None,
        ports: Cell::new((0, u16::MAX)),
        lookups: 0,
        ttl_set: None,
        ttl_less: 0,
        clamp_mss: None,
        limits: Limits::default(),
        shifted: false,
        decapsulate: false,
        tunnel: None,
        left: None,
        always_tracked: false,
        untracked: None,
    };
    walk.depend(Object::Settings, 0u32);
    let verdict = match entry {
        Entry::Port(eni, dst_mac) => {
            walk.entered = Some(eni);
            walk.sender = Some(eni);
            walk.enter_from_port(eni, dst_mac)
        }
        Entry::Node(eni) => walk.at_node(eni),
    };
    walk.finish(verdict);
}

/// The hop that comes next; `Err` ends the walk.
type Step = Result<Rewrite, Stop>;

/// An end other than delivery.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Drop(DropReason),
    Reset(DropReason),
    RouterEcho,
    Service(Service),
}

/// A walk under way.
struct Walk<'a> {
    tables: &'a Snapshot,
    connections: &'a Connections,
    now: Instant,
    packet: View,
    geneve: Option<Result<Geneve, DropReason>>,
    /// Addresses and ports as of now.
    tuple: FiveTuple,
    path: &'a mut Path,
    /// The port by which the packet entered.
    entered: Option<EniId>,
    /// The address of the load balancer or endpoint that translated it, as its
    /// sender knows it.
    front: Option<IpAddr>,
    /// The session that the packet belongs to, found where it entered.
    own: Option<Known<'a>>,
    /// The interface that sent the packet last, with nothing in between that is
    /// not of the VPC itself: `None` out of a tunnel and from the internet.
    sender: Option<EniId>,
    /// The load balancer's node that sent the packet last, if it kept the client's
    /// address: what a group says of the node holds for that address.
    stands_for: Option<EniId>,
    /// MAC address of a sender in the same subnet that framed the receiver's.
    sender_mac: Option<Mac>,
    /// The port range of the present tuple: [`Path::ports`].
    ports: Cell<(u16, u16)>,
    lookups: u8,
    ttl_set: Option<u8>,
    ttl_less: u8,
    clamp_mss: Option<u16>,
    limits: Limits,
    shifted: bool,
    decapsulate: bool,
    tunnel: Option<Tunnel>,
    /// The endpoint and flow whose tunnel the packet has just left.
    left: Option<(EndpointId, u32)>,
    /// Passed an endpoint or load balancer: tracked everywhere (AWS: EC2
    /// "Untracked connections", the list of exceptions).
    always_tracked: bool,
    /// The interface whose rules let it pass untracked.
    untracked: Option<EniId>,
}

impl<'a> Walk<'a> {
    fn finish(&mut self, verdict: Step) {
        let [before, behind] = &mut self.path.ports;
        *(if self.path.answered { behind } else { before }) = self.ports.get();
        self.path.verdict = match verdict {
            Ok(rewrite) => Verdict::Forward(rewrite),
            Err(Stop::Drop(reason)) => Verdict::Drop(reason),
            Err(Stop::Reset(reason)) => Verdict::Reset(reason),
            Err(Stop::RouterEcho) => Verdict::RouterEcho,
            Err(Stop::Service(service)) => Verdict::Service(service),
        };
        if let Some(reason) = self.path.drop_reason()
            && let Some(last) = self.path.hops.last_mut()
        {
            last.dropped = Some(reason);
        }
    }

    /// Records a hop that changed nothing.
    fn hop(&mut self, component: Component, rule: Rule) {
        self.hop_from(component, rule, self.tuple);
    }

    /// Records a hop that turned `before` into the present tuple.
    fn hop_from(&mut self, component: Component, rule: Rule, before: FiveTuple) {
        if self.path.quiet {
            return;
        }
        let after = self.tuple;
        self.path.hops.push(Hop {
            component,
            rule,
            before,
            after,
            dropped: None,
        });
    }

    /// Records a hop at which the packet ends.
    fn end(&mut self, component: Component, rule: Rule, reason: DropReason) -> Stop {
        self.hop(component, rule);
        Stop::Drop(reason)
    }

    fn depend(&mut self, object: Object, id: impl Into<u32>) {
        self.path.reads.row(object, id.into());
    }

    /// The row of an interface, and a dependency on it.
    fn eni(&mut self, id: EniId) -> Result<&'a EniRow, Stop> {
        self.depend(Object::Eni, id);
        self.tables
            .enis
            .row(id)
            .ok_or(Stop::Drop(DropReason::NoSuchPort))
    }

    /// A hop's limit. Limits are compared with the packet that entered, so
    /// inside a tunnel there is room for that much less; and what does not fit
    /// there vanishes. Behind a translation nobody sees whose limit it is.
    fn limit(&mut self, mut limit: SizeLimit) {
        if self.tunnel.is_some() {
            limit.bytes = limit.bytes.saturating_sub(TUNNEL_OVERHEAD);
            limit.outcome = Outcome::Silent(DropReason::GwlbMtu);
        } else if let (Outcome::TooBig(source), Some(front)) = (limit.outcome, self.front)
            && !source.is_unspecified()
        {
            limit.outcome = Outcome::TooBig(front);
        }
        self.limits.add(limit);
    }

    /// A hop takes this much of the TTL: of the outer header in a tunnel, of the
    /// fresh one that a load balancer gave, else of the packet's own.
    fn age(&mut self, by: u8) {
        let ttl = match (&mut self.tunnel, &mut self.ttl_set) {
            (Some(tunnel), _) => &mut tunnel.ttl,
            (None, Some(fresh)) => fresh,
            (None, None) => {
                self.ttl_less = self.ttl_less.saturating_add(by);
                return;
            }
        };
        *ttl = ttl.saturating_sub(by);
    }

    /// From here on every interface tracks the connection, the sender's too.
    fn track_always(&mut self) {
        self.always_tracked = true;
        self.path.tracks.extend(self.untracked.take());
    }

    /// Address of the VPC router in a subnet, of the packet's family: the
    /// source of "too big" messages. ASSUMPTION (`aws-behaviour.md` §1.5).
    fn router_address(&self, subnet: SubnetId) -> IpAddr {
        match router_address(self.tables, subnet, self.tuple.src.is_ipv4()) {
            // The internet has no one router: the far end speaks for it.
            IpAddr::V4(address) if address.octets()[0] == 0 => self.tuple.dst,
            address => address,
        }
    }

    /// The session found by where the packet entered.
    fn find_own(&mut self, ingress: Ingress) {
        self.own = match self.packet.is_stateless() {
            true => None,
            false => self.connections.find(ingress, self.tuple),
        };
        self.path.own = self.own.map(|own| (own.session.id(), own.direction));
    }

    /// The source as rules see it: an error about a flow comes from who reports,
    /// unless a translation hides that.
    fn source(&self) -> IpAddr {
        match self.packet.error {
            Some(error) if self.tuple.src == self.packet.headers.tuple.src => error.src,
            _ => self.tuple.src,
        }
    }

    /// Whether the packet travels against the direction of its session.
    fn is_reply(&self) -> bool {
        self.own
            .is_some_and(|own| own.direction == Direction::Reply)
    }

    const fn is_tcp(&self) -> bool {
        self.tuple.protocol == protocol::TCP
    }
}

/// The router's address in a subnet: the first of its block, or `fe80:ec2::1`.
pub fn router_address(tables: &Snapshot, subnet: SubnetId, ipv4: bool) -> IpAddr {
    const ROUTER_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfe80, 0xec2, 0, 0, 0, 0, 0, 1);
    if !ipv4 {
        return IpAddr::V6(ROUTER_V6);
    }
    tables
        .subnets
        .row(subnet)
        .and_then(|subnet| subnet.cidrs.iter().find(|cidr| cidr.is_ipv4())?.nth(1))
        .unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}
