//! The state of one connection, as connection tracking sees it.
//!
//! AWS: EC2 "security group connection tracking". Half-open, closing and
//! unassured timers are ASSUMPTIONs (`aws-behaviour.md` §3.1).

use super::Direction;
use crate::packet::{Headers, protocol, tcp_flag};
use crate::time::{Duration, Instant};

/// Half-open TCP. ASSUMPTION: AWS publishes none.
const TCP_HALF_OPEN: Duration = Duration::from_secs(30);
/// After both FINs, or a reset. ASSUMPTION.
const TCP_CLOSING: Duration = Duration::from_secs(10);
/// Picked up in mid-stream and not yet seen both ways. ASSUMPTION.
const TCP_UNASSURED: Duration = Duration::from_secs(30);
/// Other IP protocols, ICMP included.
const OTHER: Duration = Duration::from_secs(600);

/// Connection-tracking timeouts of an interface (AWS: EC2 "connection tracking").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackingTimeouts {
    /// Established TCP.
    pub tcp_established: Duration,
    /// UDP seen one way, or a single exchange.
    pub udp: Duration,
    /// UDP with several exchanges.
    pub udp_stream: Duration,
}

impl Default for TrackingTimeouts {
    fn default() -> Self {
        Self {
            tcp_established: Duration::from_secs(432_000),
            udp: Duration::from_secs(30),
            udp_stream: Duration::from_secs(180),
        }
    }
}

/// Where a TCP connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpState {
    /// SYN seen, handshake not complete.
    HalfOpen,
    /// Handshake complete, or traffic seen both ways.
    Established,
    /// First seen in mid-stream, one way only.
    Unassured,
    /// Both sides sent FIN, or one a reset.
    Closed,
}

/// Connection state shared by every stage that a session passes.
#[derive(Clone, Copy, Debug)]
pub struct Tracking {
    protocol: u8,
    tcp: TcpState,
    /// Bit 0, 1: FIN seen forward, back. Bit 2: reply seen.
    flags: u8,
    /// Changes of direction seen, up to 255.
    turns: u8,
    last_direction: Direction,
    last_seen: Instant,
}

/// Turns that make several exchanges: request, answer and a further request.
const SEVERAL: u8 = 2;

const FINS: u8 = 3;
const REPLY_SEEN: u8 = 4;

/// Shorter than every timeout that is fixed here.
pub(super) const SHORTEST: Duration = TCP_CLOSING;

impl Tracking {
    /// Of nothing.
    pub(super) const NONE: Self = Self {
        protocol: 0,
        tcp: TcpState::Closed,
        flags: 0,
        turns: 0,
        last_direction: Direction::Forward,
        last_seen: Instant::ZERO,
    };

    /// The state after the packet that opens a session.
    pub fn open(headers: &Headers, now: Instant) -> Self {
        Self::begin(headers.tuple.protocol, headers.tcp_flags, now)
    }

    /// The same after a packet of this protocol with these TCP flags.
    pub(crate) fn begin(protocol: u8, tcp_flags: u8, now: Instant) -> Self {
        let syn = tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
        let tcp = if tcp_flags & tcp_flag::RST != 0 {
            TcpState::Closed
        } else if protocol == protocol::TCP && syn {
            TcpState::HalfOpen
        } else {
            TcpState::Unassured
        };
        Self {
            protocol,
            tcp,
            flags: 0,
            turns: 0,
            last_direction: Direction::Forward,
            last_seen: now,
        }
    }

    /// Takes one packet into account.
    pub fn touch(&mut self, headers: &Headers, direction: Direction, now: Instant) {
        if headers.is_tcp_open() && direction == Direction::Forward {
            // The port is used again before its old connection was over: that
            // one's FINs do not count for this one.
            self.flags &= !FINS;
        }
        self.touch_flags(headers.tcp_flags, direction, now);
    }

    /// The same, of a packet that opens nothing.
    #[inline]
    pub(crate) fn touch_flags(&mut self, flags: u8, direction: Direction, now: Instant) {
        self.last_seen = now;
        if direction != self.last_direction {
            self.last_direction = direction;
            self.turns = self.turns.saturating_add(1);
        }
        if direction == Direction::Reply {
            self.flags |= REPLY_SEEN;
        }
        if self.protocol != protocol::TCP {
            return;
        }
        if flags & tcp_flag::RST != 0 {
            self.tcp = TcpState::Closed;
        } else if flags & tcp_flag::FIN != 0 {
            self.flags |= 1 << direction.index();
            if self.flags & FINS == FINS {
                self.tcp = TcpState::Closed;
            }
        } else if self.flags & REPLY_SEEN != 0 && flags & tcp_flag::SYN == 0 {
            let answered = self.tcp == TcpState::HalfOpen && direction == Direction::Forward;
            if answered || self.tcp == TcpState::Unassured {
                self.tcp = TcpState::Established;
            }
        }
    }

    /// TCP state; meaningless for other protocols.
    pub fn tcp(&self) -> TcpState {
        self.tcp
    }

    /// IP protocol.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Whether this is a TCP handshake not yet complete.
    pub fn is_half_open(&self) -> bool {
        self.protocol == protocol::TCP && self.tcp == TcpState::HalfOpen
    }

    /// Whether this is a TCP connection that has ended.
    pub fn is_closed(&self) -> bool {
        self.protocol == protocol::TCP && self.tcp == TcpState::Closed
    }

    /// Whether a packet came back.
    pub fn is_answered(&self) -> bool {
        self.flags & REPLY_SEEN != 0
    }

    /// When the last packet passed.
    pub fn last_seen(&self) -> Instant {
        self.last_seen
    }

    /// A packet passed at that time, too, which was not told to [`Self::touch`].
    pub(super) fn also_seen(&mut self, at: Instant) {
        self.last_seen = self.last_seen.max(at);
    }

    /// Whether a packet without SYN, FIN and RST can change nothing any more but
    /// when the last one passed.
    #[inline(always)]
    pub(crate) fn is_settled(&self) -> bool {
        let steady = match self.protocol {
            protocol::TCP => self.tcp == TcpState::Established,
            _ => self.turns >= SEVERAL,
        };
        steady && self.flags & REPLY_SEEN != 0
    }

    /// How long an idle entry lives at an interface with these timeouts.
    pub fn idle_timeout(&self, timeouts: &TrackingTimeouts) -> Duration {
        match self.protocol {
            protocol::TCP => match self.tcp {
                TcpState::HalfOpen => TCP_HALF_OPEN,
                TcpState::Established => timeouts.tcp_established,
                TcpState::Unassured => TCP_UNASSURED,
                TcpState::Closed => TCP_CLOSING,
            },
            protocol::UDP if self.turns >= SEVERAL => timeouts.udp_stream,
            protocol::UDP => timeouts.udp,
            _ => OTHER,
        }
    }

    /// How long an idle entry lives where `tcp` and `other` are the idle
    /// timeouts of a load balancer; a connection that is closed ends sooner.
    pub fn lb_idle_timeout(&self, tcp: Duration, other: Duration) -> Duration {
        match self.protocol {
            protocol::TCP if self.tcp == TcpState::Closed => TCP_CLOSING,
            protocol::TCP => tcp,
            _ => other,
        }
    }

    /// Whether nothing was seen for longer than `timeout`.
    pub fn is_idle(&self, now: Instant, timeout: Duration) -> bool {
        now.since(self.last_seen) > timeout
    }
}
