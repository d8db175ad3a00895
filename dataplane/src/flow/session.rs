//! One session: its two ends, its connection state and its compiled passes.

use std::net::{IpAddr, Ipv4Addr};

use super::deps::DepsId;
use super::entry::TRACKED_MAX;
use super::table::SessionId;
use super::{Direction, Key, Tracking, TrackingTimeouts};
use crate::addr::{EndpointId, EniId, LoadBalancerId, Mac, TargetGroupId};
use crate::drop::DropReason;
use crate::packet::FiveTuple;
use crate::time::{Duration, Instant};

/// Idle timeout of UDP through a network load balancer; fixed.
pub(super) const NLB_UDP_IDLE: Duration = Duration::from_secs(120);

/// A network load balancer's flow: the NAT mapping of PrivateLink (or of a
/// direct client of the load balancer).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LbFlow {
    /// The endpoint that the client called; `None` for a direct client.
    pub endpoint: Option<EndpointId>,
    /// The interface that the client called: the endpoint's or the node's.
    pub front_eni: EniId,
    /// The tuple as the client sends it.
    pub client: FiveTuple,
    /// The load balancer.
    pub load_balancer: LoadBalancerId,
    /// Its node.
    pub node: EniId,
    /// The tuple as the target sees it.
    pub translated: FiveTuple,
    /// The group of its target.
    pub target_group: TargetGroupId,
    /// How often the target had failed when it began.
    pub failures: u32,
    /// Idle timeout of TCP.
    pub tcp_idle: Duration,
    /// Its target is sent a proxy protocol header first.
    pub proxied: bool,
    /// The target sees the client's own address and port, so none of the node's is
    /// in use.
    pub preserved: bool,
}

/// The interfaces whose security groups track a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracked {
    enis: [Option<EniId>; TRACKED_MAX],
}

impl Tracked {
    /// As the table holds them: rows, [`u32::MAX`] where there is none.
    pub(super) fn from_rows(rows: [u32; TRACKED_MAX]) -> Self {
        let enis = rows.map(|row| (row != u32::MAX).then_some(EniId(row)));
        Self { enis }
    }

    /// Back again.
    pub(super) fn rows(&self) -> [u32; TRACKED_MAX] {
        self.enis.map(|eni| eni.map_or(u32::MAX, |eni| eni.0))
    }

    /// Adds an interface. A fifth is not remembered: its rules are judged anew.
    pub fn add(&mut self, eni: EniId) {
        if !self.contains(eni)
            && let Some(place) = self.enis.iter_mut().find(|place| place.is_none())
        {
            *place = Some(eni);
        }
    }

    /// Takes an interface away.
    pub fn remove(&mut self, eni: EniId) {
        if let Some(place) = self.enis.iter_mut().find(|place| **place == Some(eni)) {
            *place = None;
        }
    }

    /// Whether the interface tracks the session.
    pub fn contains(&self, eni: EniId) -> bool {
        self.enis.contains(&Some(eni))
    }
}

/// The most that a hop carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimit {
    /// Bytes of IP packet.
    pub bytes: u32,
    /// What happens to a larger one.
    pub outcome: Outcome,
}

/// What happens to a packet that is too large for a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It vanishes, without ICMP.
    Silent(DropReason),
    /// It is fragmented or, with DF, dropped; ICMP comes from this address, if it
    /// is one.
    TooBig(IpAddr),
}

/// The tightest limits of a pass, one of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Smallest limit that drops silently.
    pub silent: Option<(u32, DropReason)>,
    /// Smallest limit that fragments or answers "too big".
    pub too_big: Option<(u32, IpAddr)>,
}

impl Limits {
    /// Takes one more hop's limit into account.
    pub fn add(&mut self, limit: SizeLimit) {
        match limit.outcome {
            Outcome::Silent(reason) => {
                if self.silent.is_none_or(|(bytes, _)| limit.bytes < bytes) {
                    self.silent = Some((limit.bytes, reason));
                }
            }
            Outcome::TooBig(source) => {
                if self.too_big.is_none_or(|(bytes, _)| limit.bytes < bytes) {
                    self.too_big = Some((limit.bytes, source));
                }
            }
        }
    }

    /// Whether a packet of `bytes` passes every hop.
    pub fn allow(&self, bytes: u32) -> bool {
        self.silent.is_none_or(|(limit, _)| bytes <= limit)
            && self.too_big.is_none_or(|(limit, _)| bytes <= limit)
    }
}

/// A GENEVE tunnel to a gateway load balancer's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Node address: outer source.
    pub node: Ipv4Addr,
    /// Target address: outer destination.
    pub target: Ipv4Addr,
    /// Outer UDP source port.
    pub source_port: u16,
    /// Endpoint id: option 1.
    pub vpce: u64,
    /// Flow cookie: option 3.
    pub cookie: u32,
    /// Slot of the flow.
    pub flow: u32,
    /// Outer TTL.
    pub ttl: u8,
}

/// What is done to a packet: a whole [path](crate::walk::Path) folded into one
/// header transposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Port by which the packet leaves.
    pub out: EniId,
    /// The packet is for the local stack at that interface, not for a host.
    pub local: bool,
    /// Final Ethernet addresses.
    pub dst_mac: Mac,
    /// Final Ethernet source.
    pub src_mac: Mac,
    /// A GENEVE tunnel header is removed first.
    pub decapsulate: bool,
    /// Final addresses and ports of the (inner) packet.
    pub tuple: FiveTuple,
    /// TTL is set to this, if given (a load balancer owns the leg).
    pub ttl_set: Option<u8>,
    /// Hops before that, or all, take this much of the packet's own: one with no
    /// more dies on its way.
    pub ttl_less: u8,
    /// MSS of SYN segments is lowered to this, if given.
    pub clamp_mss: Option<u16>,
    /// Size limits.
    pub limits: Limits,
    /// The target's stream begins with a proxy protocol header, so its sequence
    /// numbers are not the client's: [`ProxiedFlows`](super::ProxiedFlows).
    pub shifted: bool,
    /// A GENEVE tunnel header is put on last.
    pub tunnel: Option<Tunnel>,
}

/// One direction of a session, compiled.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// What is done to a packet.
    pub rewrite: Rewrite,
    /// What this was decided from.
    pub deps: DepsId,
    /// Port and MAC addresses of the frames for which this was decided.
    pub port: EniId,
    /// Destination MAC address.
    pub dst_mac: Mac,
    /// Source MAC address.
    pub src_mac: Mac,
    /// Another session that tracks this packet at the interface where it
    /// leaves (asymmetric paths, appliances in between).
    pub link: Option<(SessionId, Direction)>,
}

/// A session, as it is read and written outside the short way of cached packets
/// (the table holds it in another form).
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// The tuple that each end sends; the far end may be shared with an older
    /// session and is then absent.
    pub keys: [Option<Key>; 2],
    /// Connection state.
    pub tracking: Tracking,
    /// Interfaces that track it, with their timeouts folded together.
    pub tracked: Tracked,
    /// Shortest of the interfaces' timeouts: beyond it, the slow path looks closer.
    pub shortest: TrackingTimeouts,
    /// Longest of them: beyond it, the session is dead.
    pub longest: TrackingTimeouts,
    /// Network load balancer flow.
    pub lb: Option<LbFlow>,
    /// When it began.
    pub created: Instant,
    /// Packets and bytes, by direction.
    pub packets: [u64; 2],
    /// Bytes of IP packets, by direction.
    pub bytes: [u64; 2],
}

/// Timeouts that are never the shortest.
const NO_TIMEOUTS: TrackingTimeouts = TrackingTimeouts {
    tcp_established: Duration::from_secs(432_000),
    udp: Duration::from_secs(60),
    udp_stream: Duration::from_secs(180),
};

impl Session {
    /// A session after its first packet.
    pub fn new(keys: [Option<Key>; 2], tracking: Tracking, now: Instant) -> Self {
        Self {
            keys,
            tracking,
            tracked: Tracked::default(),
            shortest: NO_TIMEOUTS,
            longest: TrackingTimeouts {
                tcp_established: Duration::from_secs(350),
                udp: Duration::from_secs(120),
                udp_stream: Duration::from_secs(120),
            },
            lb: None,
            created: now,
            packets: [0; 2],
            bytes: [0; 2],
        }
    }

    /// When nothing of it is alive any more, unless another packet comes.
    pub fn dies_at(&self) -> Instant {
        self.tracking.last_seen() + self.tracking.idle_timeout(&self.longest)
    }

    /// Interface `eni` tracks this session from now on.
    pub fn track(&mut self, eni: EniId, timeouts: &TrackingTimeouts) {
        self.tracked.add(eni);
        (self.shortest, self.longest) = fold((self.shortest, self.longest), timeouts);
    }
}

/// Shortest and longest timeouts, with those of one more interface.
pub(super) fn fold(
    (mut shortest, mut longest): (TrackingTimeouts, TrackingTimeouts),
    timeouts: &TrackingTimeouts,
) -> (TrackingTimeouts, TrackingTimeouts) {
    let fold = |a: &mut TrackingTimeouts, pick: fn(Duration, Duration) -> Duration| {
        a.tcp_established = pick(a.tcp_established, timeouts.tcp_established);
        a.udp = pick(a.udp, timeouts.udp);
        a.udp_stream = pick(a.udp_stream, timeouts.udp_stream);
    };
    fold(&mut shortest, Ord::min);
    fold(&mut longest, Ord::max);
    (shortest, longest)
}
