//! What every packet through a tunnel asks of its flow: one cache line.

use std::net::{IpAddr, Ipv4Addr};

use super::NewFlow;
use crate::flow::{Direction, Tunnel};
use crate::packet::{GeneveOuter, protocol};
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
    node: Ipv4Addr,
    target: Ipv4Addr,
    vpce: u64,
    /// When the last packet passed.
    pub last_seen: Instant,
    /// Until then its target must have returned a packet.
    answer_by: Instant,
    /// Bytes of the packets inside that went to the target and came back.
    pub(super) bytes: u64,
    idle: Idle,
    /// Where the sessions of what comes back are, as the index says it, to the higher
    /// and to the lower address: found without the index.
    guesses: [u32; 2],
    /// Outer UDP source port, the same in both directions.
    pub source_port: u16,
    /// FIN seen forward, back.
    fins: u8,
    closed: bool,
}

/// An idle timeout in milliseconds: those that there are have whole seconds.
#[derive(Clone, Copy, Debug)]
struct Idle(u32);

impl Idle {
    fn new(time: Duration) -> Self {
        Self(u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX))
    }

    #[inline(always)]
    const fn get(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

/// No session is known.
const NOWHERE: u32 = u32::MAX;

const _: () = assert!(size_of::<Leg>() == 64);

impl Leg {
    /// That of a slot without a flow.
    pub(super) const FREE: Self = Self {
        cookie: 0,
        serial: 0,
        node: Ipv4Addr::UNSPECIFIED,
        target: Ipv4Addr::UNSPECIFIED,
        vpce: 0,
        last_seen: Instant::ZERO,
        idle: Idle(0),
        answer_by: Instant::ZERO,
        bytes: 0,
        guesses: [NOWHERE; 2],
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
            node,
            target,
            vpce: spec.vpce,
            last_seen: now,
            idle: Idle::new(idle),
            answer_by: now + ANSWER_TIME,
            bytes: 0,
            guesses: [NOWHERE; 2],
            source_port: 0,
            fins: 0,
            closed: false,
        })
    }

    /// The tunnel of packets that enter the flow in `slot`.
    #[inline]
    pub fn tunnel(&self, slot: u32, ttl: u8) -> Tunnel {
        Tunnel {
            node: self.node,
            target: self.target,
            source_port: self.source_port,
            vpce: self.vpce,
            cookie: self.cookie,
            flow: slot,
            ttl,
        }
    }

    /// Whether a tunnelled packet comes from this flow's target, to its node (both
    /// as in its header), with this flow's endpoint.
    #[inline(always)]
    pub(crate) fn is_from(&self, src: [u8; 4], dst: [u8; 4], vpce: u64) -> bool {
        let word = u32::from_ne_bytes;
        let other =
            (word(self.target.octets()) ^ word(src)) | (word(self.node.octets()) ^ word(dst));
        u64::from(other) | (self.vpce ^ vpce) == 0
    }

    /// Where the session of a packet that came back most probably is.
    #[inline(always)]
    pub(crate) fn guess(&self, src: u32, dst: u32) -> u32 {
        let [up, down] = self.guesses;
        if src < dst { up } else { down }
    }

    /// That is where it is.
    pub(super) fn expect(&mut self, src: u32, dst: u32, reference: u32) {
        let [up, down] = &mut self.guesses;
        *if src < dst { up } else { down } = reference;
    }

    /// What goes before a packet that enters the tunnel.
    #[inline(always)]
    pub(crate) fn outer(&self, ttl: u8) -> GeneveOuter {
        GeneveOuter {
            src: self.node,
            dst: self.target,
            source_port: self.source_port,
            endpoint_id: self.vpce,
            cookie: self.cookie,
            ttl,
        }
    }

    /// The rest goes to another target.
    pub(super) fn retarget(&mut self, target: IpAddr) {
        if let IpAddr::V4(target) = target {
            self.target = target;
        }
    }

    /// A packet enters the tunnel.
    #[inline(always)]
    pub(crate) fn entered(&mut self, ip_len: u32, now: Instant) {
        self.last_seen = now;
        self.bytes += u64::from(ip_len);
    }

    /// A packet came back from the target.
    #[inline(always)]
    pub(super) fn returned(&mut self, now: Instant) {
        self.last_seen = now;
        self.answer_by = Instant::NEVER;
    }

    /// What came back goes on.
    #[inline(always)]
    pub(super) fn carried_back(&mut self, ip_len: u32) {
        self.bytes += u64::from(ip_len);
    }

    /// A side of the connection sent FIN.
    pub(super) fn fin(&mut self, direction: Direction) {
        self.fins |= 1 << direction.index();
        if self.fins == FINS {
            self.idle = Idle::new(CLOSING_IDLE);
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
    #[inline(always)]
    pub fn is_alive(&self, now: Instant) -> bool {
        !self.closed && self.takes_returns(now)
    }

    /// Whether its target may still return packets: also those of a
    /// connection that a reset has just closed.
    #[inline(always)]
    pub fn takes_returns(&self, now: Instant) -> bool {
        now.since(self.last_seen) <= self.idle.get() && now <= self.answer_by
    }

    /// Whether it need not be remembered. An expired TCP flow is remembered for as
    /// long again, to tell a late packet (reset if so configured) from an unknown one.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        let idle = self.idle.get();
        now.since(self.last_seen) > idle + idle || now > self.answer_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own_guess() {
        let mut leg = Leg::FREE;
        leg.expect(1, 2, 8);
        assert_eq!((leg.guess(1, 2), leg.guess(2, 1)), (8, NOWHERE));
        leg.expect(2, 1, 17);
        assert_eq!((leg.guess(1, 2), leg.guess(2, 1)), (8, 17));
    }

    #[test]
    fn idle_times_are_exact_and_never_shorter() {
        for seconds in [10, 60, 120, 350, 6_000] {
            let time = Duration::from_secs(seconds);
            assert_eq!(Idle::new(time).get(), time);
        }
        assert_eq!(
            Idle::new(Duration::from_nanos(1)).get(),
            Duration::from_millis(1)
        );
    }
}
