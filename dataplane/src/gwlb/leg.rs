//! What every packet through a tunnel asks of its flow: one cache line.

use std::net::IpAddr;

use super::NewFlow;
use crate::flow::{Direction, Tunnel};
use crate::packet::{GeneveOuter, protocol, tcp_flag};
use crate::time::{Duration, Instant};

/// Idle timeout of everything but TCP; fixed (GWLB guide "Idle timeout").
const OTHER_IDLE: Duration = Duration::from_secs(120);
/// The same once both sides have sent FIN. ASSUMPTION: as for other connections.
const CLOSING_IDLE: Duration = Duration::from_secs(10);

/// A target must return something of a new flow within this time (GWLB guide).
/// ASSUMPTION: AWS does not say what follows; the flow is forgotten.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// FINs of both directions.
const FINS: u8 = 3;

/// Both ends of the tunnel, its marks, and whether the flow lives.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    /// Opaque to the appliance; the low bits are the slot.
    pub cookie: u32,
    /// Names the flow among all that there were: sessions are found by it, and
    /// one that outlives its flow must not be found by the slot's next tenant.
    pub serial: u32,
    /// Node's and target's address. Legs are IPv4, whatever is inside.
    node: u32,
    target: u32,
    vpce: u64,
    /// When the last packet passed.
    pub last_seen: Instant,
    idle: Duration,
    /// Until then its target must have returned a packet.
    answer_by: Instant,
    /// Bytes of the packets inside that went to the target and came back.
    pub(super) bytes: u64,
    /// Resets among those that came back.
    pub(super) resets: u32,
    /// Outer UDP source port, the same in both directions.
    pub source_port: u16,
    /// FIN seen forward, back.
    fins: u8,
    closed: bool,
}

const _: () = assert!(size_of::<Leg>() == 64);

impl Leg {
    /// That of a slot without a flow.
    pub(super) const FREE: Self = Self {
        cookie: 0,
        serial: 0,
        node: 0,
        target: 0,
        vpce: 0,
        last_seen: Instant::ZERO,
        idle: Duration::ZERO,
        answer_by: Instant::ZERO,
        bytes: 0,
        resets: 0,
        source_port: 0,
        fins: 0,
        closed: true,
    };

    /// Whether there is a flow.
    #[inline(always)]
    pub(super) const fn is_in_use(&self) -> bool {
        self.serial != 0
    }

    /// That of a new flow. `None` if its ends are not IPv4.
    pub(super) fn new(spec: &NewFlow, now: Instant) -> Option<Self> {
        let (IpAddr::V4(node), IpAddr::V4(target)) = (spec.node_address, spec.target) else {
            return None;
        };
        let idle = match spec.first.protocol {
            protocol::TCP => spec.tcp_idle,
            _ => OTHER_IDLE,
        };
        Some(Self {
            cookie: 0,
            serial: 0,
            node: node.into(),
            target: target.into(),
            vpce: spec.vpce,
            last_seen: now,
            idle,
            answer_by: now + ANSWER_TIME,
            bytes: 0,
            resets: 0,
            source_port: 0,
            fins: 0,
            closed: false,
        })
    }

    /// The tunnel of packets that enter the flow in `slot`.
    #[inline]
    pub fn tunnel(&self, slot: u32, ttl: u8) -> Tunnel {
        Tunnel {
            node: self.node.into(),
            target: self.target.into(),
            source_port: self.source_port,
            vpce: self.vpce,
            cookie: self.cookie,
            flow: slot,
            ttl,
        }
    }

    /// Whether a tunnelled packet comes from this flow's target, to its node, with
    /// this flow's endpoint.
    #[inline]
    pub(crate) fn is_from(&self, src: u32, dst: u32, vpce: u64) -> bool {
        (self.target, self.node, self.vpce) == (src, dst, vpce)
    }

    /// What goes before a packet that enters the tunnel.
    #[inline(always)]
    pub(crate) fn outer(&self, ttl: u8) -> GeneveOuter {
        GeneveOuter {
            src: self.node.into(),
            dst: self.target.into(),
            source_port: self.source_port,
            endpoint_id: self.vpce,
            cookie: self.cookie,
            ttl,
        }
    }

    /// The rest goes to another target.
    pub(super) fn retarget(&mut self, target: IpAddr) {
        if let IpAddr::V4(target) = target {
            self.target = target.into();
        }
    }

    /// A packet enters the tunnel.
    #[inline(always)]
    pub(crate) fn entered(&mut self, ip_len: u32, now: Instant) {
        self.last_seen = now;
        self.bytes += u64::from(ip_len);
    }

    /// A packet came back from the target.
    #[inline]
    pub(super) fn returned(&mut self, now: Instant) {
        self.last_seen = now;
        self.answer_by = Instant::NEVER;
    }

    /// What came back goes on.
    #[inline(always)]
    pub(super) fn carried_back(&mut self, ip_len: u32, tcp_flags: u8) {
        self.bytes += u64::from(ip_len);
        self.resets += u32::from(tcp_flags & tcp_flag::RST != 0);
    }

    /// A side of the connection sent FIN.
    pub(super) fn fin(&mut self, direction: Direction) {
        self.fins |= 1 << direction.index();
        if self.fins == FINS {
            self.idle = CLOSING_IDLE;
        }
    }

    /// The connection was reset.
    pub(super) const fn reset(&mut self) {
        self.closed = true;
    }

    /// Whether the connection was closed by both sides: a SYN opens another flow.
    pub const fn is_over(&self) -> bool {
        self.fins == FINS
    }

    /// Whether the flow is still known.
    #[inline]
    pub fn is_alive(&self, now: Instant) -> bool {
        !self.closed && self.takes_returns(now)
    }

    /// Whether its target may still return packets: also those of a
    /// connection that a reset has just closed.
    #[inline]
    pub fn takes_returns(&self, now: Instant) -> bool {
        now.since(self.last_seen) <= self.idle && now <= self.answer_by
    }

    /// Whether it need not be remembered. An expired TCP flow is remembered for as
    /// long again, to tell a late packet (reset if so configured) from an unknown one.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        now.since(self.last_seen) > self.idle + self.idle || now > self.answer_by
    }
}
