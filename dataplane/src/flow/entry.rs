//! How a session lies in memory: one cache line of state, and a line (IPv4) or
//! two (IPv6) for each direction.
//!
//! A cached packet touches a bucket of the index and the line of its direction,
//! and until the connection is settled the line of state. What many sessions
//! share (`Action`, timeouts, the load balancer's part) is kept once, and named
//! by a number.

use std::net::IpAddr;

use super::common::Leaves;
use super::family::Family;
use super::shift::Settled;
use super::short::Key4;
use super::table::SessionId;
use super::tracking::TcpState;
use super::{Direction, Ingress, Key, Pass, Tracking};
use crate::addr::EniId;
use crate::packet::checksum::fold_few;
use crate::packet::{FiveTuple, tcp_flag};
use crate::time::Instant;

/// Most interfaces that track one session: client, endpoint, node, target.
pub(super) const TRACKED_MAX: usize = 4;

/// No number.
pub(super) const NONE: u32 = u32::MAX;

/// An address of one family, as an integer whose bytes lie as they are sent: what was
/// received is compared, hashed, summed and sent without being turned.
pub(crate) trait Address: Copy + Eq + Default + std::fmt::Debug {
    /// The address, if it is of this family.
    fn of(address: IpAddr) -> Option<Self>;
    /// Back again.
    fn ip(self) -> IpAddr;
    /// What its change adds to a ones'-complement sum of words as they are sent.
    fn change(old: Self, new: Self) -> u64;
}

impl Address for u32 {
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(Self::from_ne_bytes(address.octets())),
            IpAddr::V6(_) => None,
        }
    }
    fn ip(self) -> IpAddr {
        IpAddr::V4(self.to_ne_bytes().into())
    }
    fn change(old: Self, new: Self) -> u64 {
        u64::from(!old) + u64::from(new)
    }
}

impl Address for u128 {
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V6(address) => Some(Self::from_ne_bytes(address.octets())),
            IpAddr::V4(_) => None,
        }
    }
    fn ip(self) -> IpAddr {
        IpAddr::V6(self.to_ne_bytes().into())
    }
    fn change(old: Self, new: Self) -> u64 {
        let parts = [0, 32, 64, 96];
        let part = |at: u32| u32::change((old >> at) as u32, (new >> at) as u32);
        parts.into_iter().map(part).sum()
    }
}

/// Bits of [`Line::flags`].
pub(crate) mod line_flag {
    /// The index finds the session by this end.
    pub(crate) const INDEXED: u8 = 1;
    /// The end is a gateway load balancer flow, not an interface.
    pub(crate) const GWLB: u8 = 2;
    /// The direction has an action.
    pub(crate) const COMPILED: u8 = 4;
    /// Another session tracks the packet where it leaves.
    pub(crate) const LINKED: u8 = 8;
    /// The packet leaves in a tunnel.
    pub(crate) const TUNNEL: u8 = 16;
    /// The packet's TCP numbers change, too.
    pub(crate) const SHIFTED: u8 = 32;
    /// The packet leaves with the addresses and ports that it came with.
    pub(crate) const SAME: u8 = 64;
    /// Packets that neither open nor close anything change nothing of the
    /// session's state but the time: they leave that in [`Line::seen`].
    pub(crate) const SETTLED: u8 = 128;
}

/// One direction: the key of its packets, and what becomes of them.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line<A> {
    pub(crate) src: A,
    pub(crate) dst: A,
    /// Source port, then destination port, as they are sent.
    pub(crate) ports: u32,
    /// Interface row, or serial number of the flow.
    pub(crate) ingress: u32,
    pub(crate) new_src: A,
    pub(crate) new_dst: A,
    pub(crate) new_ports: u32,
    pub(crate) action: u32,
    /// Cookie of the gateway load balancer flow whose tunnel the packet enters, or of
    /// the session that tracks it where it leaves twice the slot, and one more if the
    /// packet travels against its direction: never both. With neither, where TCP numbers
    /// change, the first that changes as all others do; 0 as long as there is none.
    via: u32,
    /// Of the session that tracks it; without one, what the change of addresses and ports
    /// adds to checksums ([`Sums`]).
    beside: u32,
    pub(crate) protocol: u8,
    pub(crate) flags: u8,
    /// Bits 32 to 47 of the packets.
    packets_high: u16,
    packets: u32,
    bytes: u64,
    /// When the last packet passed that found the session settled.
    pub(crate) seen: Instant,
}

/// Bits of [`State::flags`].
pub(crate) mod state_flag {
    /// The slot holds a session.
    pub(crate) const LIVE: u8 = 1;
    /// In the queue of half-open sessions.
    pub(crate) const HALF_OPEN: u8 = 2;
    /// Its load balancer flow's tuples are not those of its ends.
    pub(crate) const ODD_LB: u8 = 4;
    /// It passes NAT gateways.
    pub(crate) const NAT: u8 = 8;
    /// In the queue of closed sessions.
    pub(crate) const CLOSED: u8 = 16;
    /// In one of both.
    pub(crate) const QUEUED: u8 = HALF_OPEN | CLOSED;
}

/// What both directions share.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) tracking: Tracking,
    pub(super) created: Instant,
    pub(super) age: u32,
    /// Neighbours in the queue that it is in, oldest first.
    pub(super) before: u32,
    pub(super) after: u32,
    /// Interfaces that track it.
    pub(super) tracked: [u32; TRACKED_MAX],
    pub(super) timeouts: u32,
    pub(super) lb: u32,
    pub(super) flags: u8,
}

/// A session of one family.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<A> {
    pub(crate) state: State,
    pub(crate) lines: [Line<A>; 2],
}

const _: () = assert!(size_of::<State>() == 64);
const _: () = assert!(size_of::<Line<u32>>() == 64);
const _: () = assert!(size_of::<Entry<u32>>() == 192);
const _: () = assert!(size_of::<Entry<u128>>() == 320);

impl<A: Address> Line<A> {
    /// A direction whose packets have this key. `None` for the other family.
    pub(super) fn new(key: &Key) -> Option<Self> {
        let (ingress, flags) = match key.ingress {
            Ingress::Eni(eni) => (eni.0, 0),
            Ingress::Gwlb(serial) => (serial, line_flag::GWLB),
        };
        Some(Self {
            src: A::of(key.tuple.src)?,
            dst: A::of(key.tuple.dst)?,
            ports: ports(&key.tuple),
            protocol: key.tuple.protocol,
            ingress,
            flags,
            action: NONE,
            ..Self::default()
        })
    }

    /// Whether the index finds this end.
    pub(super) fn is_indexed(&self) -> bool {
        self.flags & line_flag::INDEXED != 0
    }

    /// Whether the index finds the session for packets with the key of `wanted`.
    pub(super) fn is_for(&self, wanted: &Self) -> bool {
        self.is_indexed()
            && self.src == wanted.src
            && self.dst == wanted.dst
            && self.ports == wanted.ports
            && self.ingress == wanted.ingress
            && self.protocol == wanted.protocol
            && (self.flags ^ wanted.flags) & line_flag::GWLB == 0
    }

    /// From now on the direction's packets undergo `pass`, whose shared part is
    /// `action`; returns the action that it had.
    pub(super) fn compile(&mut self, pass: &Pass, action: u32) -> Option<u32> {
        let had = (self.flags & line_flag::COMPILED != 0).then_some(self.action);
        let tuple = &pass.rewrite.tuple;
        let both = pass.rewrite.tunnel.is_some() && pass.link.is_some();
        let (Some(src), Some(dst), false) = (A::of(tuple.src), A::of(tuple.dst), both) else {
            // No hop changes the family: a pass that did is never used. And who
            // is tracked elsewhere on the way into a tunnel is walked.
            let own = line_flag::LINKED | line_flag::TUNNEL | line_flag::SHIFTED;
            self.flags &= !(line_flag::COMPILED | own);
            return had.or(Some(action));
        };
        (self.new_src, self.new_dst) = (src, dst);
        self.new_ports = ports(tuple);
        self.action = action;
        self.flags |= line_flag::COMPILED;
        self.flags &= !(line_flag::LINKED | line_flag::TUNNEL | line_flag::SHIFTED);
        self.note_same();
        self.via = 0;
        if pass.rewrite.shifted {
            self.flags |= line_flag::SHIFTED;
        }
        if let Some(tunnel) = pass.rewrite.tunnel {
            self.flags |= line_flag::TUNNEL;
            self.via = tunnel.cookie;
        }
        if let Some((id, direction)) = pass.link {
            self.flags |= line_flag::LINKED;
            // A slot and its direction are less than a reference of the index.
            self.via = id.slot << 1 | direction.index() as u32;
            self.beside = id.age;
        }
        had
    }

    /// What is left to do to the numbers of its packets' TCP headers, if they change. (Of
    /// one that another session tracks, or that enters a tunnel, it is not remembered.)
    pub(super) fn note_shift(&mut self, settled: Option<Settled>) {
        let others = line_flag::LINKED | line_flag::TUNNEL;
        if self.flags & (others | line_flag::SHIFTED) == line_flag::SHIFTED {
            self.via = settled.map_or(0, Settled::number);
        }
    }

    /// The session that tracks the packet where it leaves.
    #[inline(always)]
    pub(crate) fn link(&self) -> Option<(SessionId, Direction)> {
        let direction = match self.via & 1 {
            0 => Direction::Forward,
            _ => Direction::Reply,
        };
        let id = SessionId {
            slot: self.via >> 1,
            age: self.beside,
        };
        (self.flags & line_flag::LINKED != 0).then_some((id, direction))
    }

    /// Cookie of the flow whose tunnel the packet enters.
    #[inline(always)]
    pub(crate) fn tunnel(&self) -> Option<u32> {
        (self.flags & line_flag::TUNNEL != 0).then_some(self.via)
    }

    /// The same of a direction that is known to enter one.
    #[inline(always)]
    pub(crate) const fn cookie(&self) -> u32 {
        self.via
    }

    /// What is left to do to the numbers of its packets' TCP headers, which are known to
    /// change, while nothing else is asked of it. `None` if they are to be judged yet.
    #[inline(always)]
    pub(crate) const fn settled(&self) -> Option<Settled> {
        Settled::from_number(self.via)
    }

    /// Notes whether addresses and ports stay as they are, and what their change adds to
    /// checksums.
    #[inline]
    fn note_same(&mut self) {
        self.beside = self.change().packed();
        let same = (self.src, self.dst, self.ports) == (self.new_src, self.new_dst, self.new_ports);
        self.flags &= !line_flag::SAME;
        if same {
            self.flags |= line_flag::SAME;
        }
    }

    /// A packet passes; the session's state need not know, or `false`.
    #[inline(always)]
    pub(crate) fn passes(&mut self, tcp_flags: u8, now: Instant) -> bool {
        let ends = tcp_flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST) != 0;
        let alone = self.flags & line_flag::SETTLED != 0 && !ends;
        if alone {
            self.seen = now;
        }
        alone
    }

    /// The same, and it is counted.
    #[inline(always)]
    pub(crate) fn pass(&mut self, tcp_flags: u8, bytes: u32, now: Instant) -> bool {
        self.count(bytes);
        self.passes(tcp_flags, now)
    }

    /// Counts a packet of so many bytes.
    #[inline(always)]
    pub(crate) fn count(&mut self, bytes: u32) {
        let (packets, carry) = self.packets.overflowing_add(1);
        self.packets = packets;
        if carry {
            self.packets_high = self.packets_high.wrapping_add(1);
        }
        self.bytes += u64::from(bytes);
    }

    /// Packets (48 bits of them) and bytes counted.
    pub(super) fn counts(&self) -> (u64, u64) {
        let high = u64::from(self.packets_high) << 32;
        (high | u64::from(self.packets), self.bytes)
    }

    pub(super) fn set_counts(&mut self, packets: u64, bytes: u64) {
        (self.packets_high, self.packets) = ((packets >> 32) as u16, packets as u32);
        self.bytes = bytes;
    }

    /// The end and the tuple that it sends.
    pub(super) fn key(&self) -> Key {
        Key {
            ingress: if self.flags & line_flag::GWLB == 0 {
                Ingress::Eni(EniId(self.ingress))
            } else {
                Ingress::Gwlb(self.ingress)
            },
            tuple: self.tuple(self.src, self.dst, self.ports),
        }
    }

    /// The tuple after the rewrite.
    pub(super) fn rewritten(&self) -> FiveTuple {
        self.tuple(self.new_src, self.new_dst, self.new_ports)
    }

    fn tuple(&self, src: A, dst: A, ports: u32) -> FiveTuple {
        let (sport, dport) = split_ports(ports);
        FiveTuple {
            src: src.ip(),
            dst: dst.ip(),
            protocol: self.protocol,
            sport,
            dport,
        }
    }
}

/// What the change of addresses, and that of addresses and ports, adds to ones'-complement
/// sums of words as they are sent, folded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sums {
    pub(crate) addresses: u16,
    pub(crate) both: u16,
}

impl Sums {
    const fn packed(self) -> u32 {
        (self.both as u32) << 16 | self.addresses as u32
    }
}

impl<A: Address> Line<A> {
    /// What the change of its packets' headers adds.
    pub(crate) fn change(&self) -> Sums {
        let [src, dst] = [(self.src, self.new_src), (self.dst, self.new_dst)];
        let addresses = A::change(src.0, src.1) + A::change(dst.0, dst.1);
        let ports = u64::from(!self.ports) + u64::from(self.new_ports);
        Sums {
            addresses: fold_few(addresses),
            both: fold_few(addresses + ports),
        }
    }
}

impl<A> Line<A> {
    /// The same, as it was noted: not of a direction that another session tracks.
    #[inline(always)]
    pub(crate) const fn noted_change(&self) -> Sums {
        Sums {
            addresses: self.beside as u16,
            both: (self.beside >> 16) as u16,
        }
    }
}

impl Line<u32> {
    /// The key of its packets.
    #[inline]
    pub(super) fn key4(&self) -> Key4 {
        Key4 {
            ends: Key4::both_ends(self.src, self.dst),
            ports: self.ports,
            ingress: self.ingress,
            kind: Key4::ENI | u16::from_le_bytes([self.protocol, self.flags & line_flag::GWLB]),
        }
    }
}

impl<A: Family> Line<A> {
    /// Makes an unused line one whose packets have this key.
    #[inline]
    pub(super) fn begin(&mut self, key: &A::Key) {
        let end = A::end(key);
        *self = Self {
            src: end.src,
            dst: end.dst,
            ports: end.ports,
            ingress: end.ingress,
            protocol: end.protocol,
            flags: line_flag::INDEXED,
            action: NONE,
            ..Self::default()
        };
    }
}

impl<A: Address> Line<A> {
    /// From now on its packets leave so, by this action.
    #[inline]
    pub(super) fn leave_as(&mut self, leaves: &Leaves<A>, action: u32) {
        (self.new_src, self.new_dst) = (leaves.src, leaves.dst);
        self.new_ports = leaves.ports;
        self.action = action;
        self.flags |= line_flag::COMPILED;
        self.note_same();
    }
}

impl<A> Entry<A> {
    /// Takes a packet into account; the session's name, and whether it has another place
    /// in the queues now.
    #[inline(always)]
    pub(super) fn told(
        &mut self,
        slot: u32,
        direction: Direction,
        tcp_flags: u8,
        now: Instant,
    ) -> (SessionId, bool) {
        self.state.tracking.touch_flags(tcp_flags, direction, now);
        (self.state.id(slot), self.touched())
    }

    /// The session's tracking took a packet into account: whether it has another place in
    /// the queues now.
    #[inline(always)]
    pub(super) fn touched(&mut self) -> bool {
        let Self { state, lines } = self;
        if state.tracking.is_settled() {
            for line in lines {
                line.flags |= line_flag::SETTLED;
            }
        }
        // Closed ones queue by their last packet.
        let leaves = state.has(state_flag::QUEUED) && !state.tracking.is_half_open();
        leaves || state.tracking.tcp() == TcpState::Closed
    }

    /// Each packet more is told to the session's state.
    pub(super) fn unsettle(&mut self) {
        for line in &mut self.lines {
            line.flags &= !line_flag::SETTLED;
        }
    }

    /// Connection state, packets included that left their time with their line.
    pub(super) fn tracking(&self) -> Tracking {
        let [forward, reply] = &self.lines;
        let mut tracking = self.state.tracking;
        tracking.also_seen(forward.seen.max(reply.seen));
        tracking
    }
}

/// Both ports of a tuple in one word.
pub(super) const fn ports(tuple: &FiveTuple) -> u32 {
    both_ports(tuple.sport, tuple.dport)
}

/// Source and destination port in one word, whose bytes lie as they are sent.
#[inline(always)]
pub(crate) const fn both_ports(sport: u16, dport: u16) -> u32 {
    let ([a, b], [c, d]) = (sport.to_be_bytes(), dport.to_be_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// Back again.
#[inline(always)]
pub(crate) const fn split_ports(ports: u32) -> (u16, u16) {
    let [a, b, c, d] = ports.to_ne_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

impl State {
    /// An unused slot.
    pub(super) const FREE: Self = Self {
        tracking: Tracking::NONE,
        created: Instant::ZERO,
        age: 0,
        before: NONE,
        after: NONE,
        tracked: [NONE; TRACKED_MAX],
        timeouts: NONE,
        lb: NONE,
        flags: 0,
    };

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The name of the session in this slot.
    pub(crate) fn id(&self, slot: u32) -> SessionId {
        SessionId {
            slot,
            age: self.age,
        }
    }
}
