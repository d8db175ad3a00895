//! What every packet through a tunnel asks of its flow: one cache line.

use std::net::IpAddr;

use super::NewFlow;
use crate::flow::{Direction, Tunnel};
use crate::packet::{GeneveOuter, GeneveTemplate, protocol};
use crate::time::{Duration, Instant};

/// Idle timeout of everything but TCP; fixed (GWLB guide "Idle timeout").
const OTHER_IDLE: Duration = Duration::from_secs(120);
/// The same once both sides have sent FIN. ASSUMPTION: as for other connections.
const CLOSING_IDLE: Duration = Duration::from_secs(10);

/// A target must return something of a new flow within this time (GWLB guide).
/// ASSUMPTION: AWS does not say what follows; the flow is forgotten.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Bits of [`Leg::state`].
mod state {
    /// FIN seen forward, back.
    pub(super) const FINS: u8 = 3;
    /// The connection was reset, or the slot has no flow: nothing enters.
    pub(super) const CLOSED: u8 = 4;
    /// Nothing came back yet.
    pub(super) const UNANSWERED: u8 = 8;
}

/// The tunnel's header, and whether the flow lives.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    /// What goes before a packet that enters; of its cookie the low bits are the slot.
    /// Legs are IPv4, whatever is inside.
    outer: GeneveTemplate,
    /// When the last packet passed.
    pub last_seen: Instant,
    /// Until then its target must have returned a packet, if it has returned none yet.
    answer_by: Instant,
    /// Bytes of the packets inside that went to the target and came back.
    pub(super) bytes: u64,
    /// Names the flow among all that there were: sessions are found by it, and
    /// one that outlives its flow must not be found by the slot's next tenant.
    pub serial: u32,
    /// Where the sessions of what comes back are, as the index says it, to the higher
    /// and to the lower address: found without the index.
    guesses: [u32; 2],
    idle: Idle,
    state: u8,
}

/// An idle timeout in seconds: those that there are have whole ones. (18 hours at
/// most, where there is no listener to say.)
#[derive(Clone, Copy, Debug)]
struct Idle(u16);

impl Idle {
    fn new(time: Duration) -> Self {
        Self(u16::try_from(time.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u16::MAX))
    }

    #[inline]
    const fn get(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

/// The moment at which packets are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// A flow that was seen since has not idled too long, whatever its timeout.
    pub(super) young_from: Instant,
}

/// No session is known.
const NOWHERE: u32 = u32::MAX;

const _: () = assert!(size_of::<Leg>() == 64);

impl Leg {
    /// That of a slot without a flow.
    pub(super) const FREE: Self = Self {
        outer: GeneveTemplate::NONE,
        last_seen: Instant::ZERO,
        answer_by: Instant::ZERO,
        bytes: 0,
        serial: 0,
        guesses: [NOWHERE; 2],
        idle: Idle(0),
        state: state::CLOSED | state::UNANSWERED,
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
        let outer = GeneveOuter {
            src: node,
            dst: target,
            source_port: 0,
            endpoint_id: spec.vpce,
            cookie: 0,
            ttl: 0,
        };
        Some(Self {
            outer: GeneveTemplate::new(&outer),
            last_seen: now,
            answer_by: now + ANSWER_TIME,
            idle: Idle::new(idle),
            state: state::UNANSWERED,
            ..Self::FREE
        })
    }

    /// Gives the flow its names.
    pub(super) fn name(&mut self, serial: u32, cookie: u32, source_port: u16) {
        self.serial = serial;
        self.outer = self.outer.named(cookie, source_port);
    }

    /// Opaque to the appliance; the low bits are the slot.
    #[inline(always)]
    pub const fn cookie(&self) -> u32 {
        self.outer.cookie()
    }

    /// Outer UDP source port, the same in both directions.
    #[inline]
    pub const fn source_port(&self) -> u16 {
        self.outer.source_port()
    }

    /// The timeout after which it is idle; the shortest that it will have.
    pub(super) fn shortest_idle(&self) -> Duration {
        self.idle.get().min(CLOSING_IDLE)
    }

    /// The tunnel of packets that enter the flow in `slot`.
    #[inline]
    pub fn tunnel(&self, slot: u32, ttl: u8) -> Tunnel {
        let [node, target] = self.outer.ends();
        Tunnel {
            node,
            target,
            source_port: self.outer.source_port(),
            vpce: self.outer.endpoint_id(),
            cookie: self.outer.cookie(),
            flow: slot,
            ttl,
        }
    }

    /// Whether a tunnelled packet comes from this flow's target, to its node, with this
    /// flow's endpoint: all as they were received, the source's address first.
    #[inline(always)]
    pub(crate) fn is_from(&self, ends: [u8; 8], vpce: [u8; 8]) -> bool {
        self.outer.is_answered(ends, vpce)
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
    pub(crate) const fn outer(&self) -> &GeneveTemplate {
        &self.outer
    }

    /// The rest goes to another target.
    pub(super) fn retarget(&mut self, target: IpAddr) {
        if let IpAddr::V4(target) = target {
            let [node, _] = self.outer.ends();
            self.outer = self.outer.between(node, target);
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
        self.state &= !state::UNANSWERED;
    }

    /// What came back goes on.
    #[inline(always)]
    pub(super) fn carried_back(&mut self, ip_len: u32) {
        self.bytes += u64::from(ip_len);
    }

    /// A side of the connection sent FIN.
    pub(super) fn fin(&mut self, direction: Direction) {
        self.state |= 1 << direction.index();
        if self.is_over() {
            self.idle = Idle::new(CLOSING_IDLE);
        }
    }

    /// The connection was reset.
    pub(super) const fn reset(&mut self) {
        self.state |= state::CLOSED;
    }

    /// Whether the connection was closed by both sides: a SYN opens another flow.
    pub const fn is_over(&self) -> bool {
        self.state & state::FINS == state::FINS
    }

    /// Whether the flow is still known.
    #[inline]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.state & state::CLOSED == 0 && self.takes_returns(now)
    }

    /// Whether its target may still return packets: also those of a
    /// connection that a reset has just closed.
    #[inline]
    pub fn takes_returns(&self, now: Instant) -> bool {
        now.since(self.last_seen) <= self.idle.get() && !self.is_overdue(now)
    }

    /// Whether the target has returned nothing in time.
    #[inline]
    fn is_overdue(&self, now: Instant) -> bool {
        self.state & state::UNANSWERED != 0 && now > self.answer_by
    }

    /// [`Self::is_alive`]; of most flows two comparisons say so.
    #[inline(always)]
    pub(super) fn lives(&self, at: &Moment) -> bool {
        let plain = self.state & (state::CLOSED | state::UNANSWERED) == 0;
        (plain && self.last_seen >= at.young_from) || self.lives_yet(at.now)
    }

    #[cold]
    #[inline(never)]
    fn lives_yet(&self, now: Instant) -> bool {
        self.is_alive(now)
    }

    /// [`Self::takes_returns`], of a flow; of most two comparisons say so. It is
    /// answered then.
    #[inline(always)]
    pub(super) fn takes(&mut self, at: &Moment) -> bool {
        let plain = self.state & state::UNANSWERED == 0;
        (plain && self.last_seen >= at.young_from) || self.takes_yet(at.now)
    }

    #[cold]
    #[inline(never)]
    fn takes_yet(&mut self, now: Instant) -> bool {
        let takes = self.is_in_use() && self.takes_returns(now);
        if takes {
            self.state &= !state::UNANSWERED;
        }
        takes
    }

    /// Whether it need not be remembered. An expired TCP flow is remembered for as
    /// long again, to tell a late packet (reset if so configured) from an unknown one.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        let idle = self.idle.get();
        now.since(self.last_seen) > idle + idle || self.is_overdue(now)
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
            Duration::from_secs(1)
        );
    }

    #[test]
    fn the_quick_look_agrees_with_the_exact_one() {
        let second = |n| Instant::from_secs(n);
        for (bits, answer_by, seen, now) in (0..16u8).flat_map(|bits| {
            let times = [
                (30, 0, 0),
                (30, 0, 30),
                (30, 0, 31),
                (30, 25, 34),
                (30, 25, 36),
            ];
            let late = [(30, 20, 29), (30, 20, 31), (30, 20, 80), (30, 20, 81)];
            let all = times.into_iter().chain(late);
            all.map(move |(answer_by, seen, now)| (bits, answer_by, seen, now))
        }) {
            let mut leg = Leg {
                serial: 1,
                state: bits,
                last_seen: second(seen),
                answer_by: second(answer_by),
                idle: Idle::new(Duration::from_secs(60)),
                ..Leg::FREE
            };
            for floor in [0, 10, 60] {
                let at = Moment {
                    now: second(now),
                    young_from: second(now) - Duration::from_secs(floor),
                };
                assert_eq!(leg.lives(&at), leg.is_alive(at.now), "{leg:?} {at:?}");
                let takes = leg.takes_returns(at.now);
                assert_eq!(leg.takes(&at), takes, "{leg:?} {at:?}");
                let unanswered = leg.state & state::UNANSWERED != 0;
                assert_eq!(unanswered, bits & state::UNANSWERED != 0 && !takes);
                // Each time as it was.
                leg.state = bits;
            }
        }
    }
}
