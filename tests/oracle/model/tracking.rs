//! Connection tracking (reference §3.1): per interface, as the reference has it.
//!
//! An entry is found by what the interface sends. Timers: established TCP and
//! the two of UDP are the interface's; half-open and mid-stream TCP 30 s,
//! closing 10 s (E), anything else 600 s.

use crate::wire::{ACK, FIN, Packet, RST, SYN, TCP, UDP};
use crate::world::{Seconds, Timeouts};

/// Seen from the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Out,
    In,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tcp {
    HalfOpen,
    Established,
    Unassured,
    Closed,
}

/// Alive, dead, or neither known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    Alive,
    Dead,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub proto: u8,
    /// Which way its first packet went.
    pub opened: Way,
    /// Rules let it pass untracked: remembered only to know its answers.
    pub untracked: bool,
    pub tcp: Tcp,
    fins: [bool; 2],
    answered: bool,
    turns: u32,
    last_way: Way,
    pub born: Seconds,
    pub last: Seconds,
    /// Reset, so surely closed.
    reset: bool,
    /// Something happened that the reference does not decide: a rule change in
    /// mid-stream, an expired entry taken up again. Its timers are not certain.
    pub vague: bool,
    /// It may have ended already.
    pub doubtful: bool,
    /// It may not be there at all, or be another: made by an answer that took
    /// another way than what it answers (asymmetric paths are unsupported, §2.3),
    /// or touched when nobody knew whether it was alive.
    pub lost: bool,
}

impl Entry {
    pub fn open(packet: &Packet, way: Way, untracked: bool, now: Seconds) -> Self {
        let tcp = if packet.flags & RST != 0 {
            Tcp::Closed
        } else if packet.flags & (SYN | ACK) == SYN {
            Tcp::HalfOpen
        } else {
            Tcp::Unassured
        };
        Self {
            proto: packet.tuple.proto,
            opened: way,
            untracked,
            tcp,
            fins: [false; 2],
            answered: false,
            turns: 0,
            last_way: way,
            born: now,
            last: now,
            reset: packet.flags & RST != 0,
            vague: false,
            doubtful: false,
            lost: false,
        }
    }

    /// One more packet of the connection.
    pub fn touch(&mut self, packet: &Packet, way: Way, now: Seconds) {
        self.last = now;
        self.doubtful = false;
        if way != self.last_way {
            self.last_way = way;
            self.turns += 1;
        }
        let forward = way == self.opened;
        self.answered |= !forward;
        if self.proto != TCP {
            return;
        }
        let has = |flag| packet.flags & flag != 0;
        if forward && has(SYN) && !has(ACK) {
            self.fins = [false; 2];
        }
        if has(RST) {
            self.tcp = Tcp::Closed;
            self.reset = true;
        } else if has(FIN) {
            self.fins[usize::from(!forward)] = true;
            if self.fins == [true; 2] {
                self.tcp = Tcp::Closed;
            }
        } else if self.answered && !has(SYN) {
            match self.tcp {
                // The third packet of the handshake is the opener's.
                Tcp::HalfOpen if forward => self.tcp = Tcp::Established,
                Tcp::Unassured => self.tcp = Tcp::Established,
                _ => {}
            }
        }
    }

    /// Whether its last packet came to the interface.
    pub fn last_came_in(&self) -> bool {
        self.last_way == Way::In
    }

    pub fn is_closed(&self) -> bool {
        self.proto == TCP && self.tcp == Tcp::Closed
    }

    /// Closed whatever it was before, if it was there.
    pub fn is_reset(&self) -> bool {
        self.reset && !self.lost
    }

    fn timeout(&self, timeouts: &Timeouts) -> Seconds {
        match self.proto {
            TCP => match self.tcp {
                Tcp::HalfOpen | Tcp::Unassured => 30,
                Tcp::Established => timeouts.tcp,
                Tcp::Closed => 10,
            },
            // Several exchanges: asked, answered, asked again.
            UDP if self.turns >= 2 => timeouts.udp_stream,
            UDP => timeouts.udp,
            _ => 600,
        }
    }

    pub fn life(&self, timeouts: &Timeouts, now: Seconds) -> Life {
        let idle = now - self.last;
        if self.lost && idle <= timeouts.tcp.max(600) {
            return Life::Unknown;
        }
        if self.vague {
            let (short, long) = match self.proto {
                TCP => (10, timeouts.tcp.max(350)),
                UDP => (timeouts.udp.min(30), timeouts.udp_stream.max(180)),
                _ => (600, 600),
            };
            return match idle {
                _ if idle <= short && !self.doubtful => Life::Alive,
                _ if idle > long => Life::Dead,
                _ => Life::Unknown,
            };
        }
        // How long an untracked connection is remembered, nobody says.
        let unsure = match self.proto {
            TCP => self.tcp == Tcp::Established && idle > 350 && idle <= timeouts.tcp,
            UDP => idle > timeouts.udp.min(30) && idle <= 180,
            _ => false,
        };
        if self.untracked && unsure {
            return Life::Unknown;
        }
        if idle <= self.timeout(timeouts) {
            Life::Alive
        } else {
            Life::Dead
        }
    }

    /// Expired here, but perhaps not where another interface has longer timers.
    pub fn outlives_others(&self, now: Seconds) -> bool {
        match self.proto {
            TCP => self.tcp == Tcp::Established || (self.vague && !self.is_closed()),
            UDP => now - self.last <= 180,
            _ => false,
        }
    }

    /// A load balancer's own memory of a connection (reference §6.3).
    pub fn balancer_life(&self, tcp_idle: Seconds, now: Seconds) -> Life {
        let idle = now - self.last;
        if self.doubtful && idle <= tcp_idle {
            return Life::Unknown;
        }
        let open = self.tcp != Tcp::Closed;
        let half = [Tcp::HalfOpen, Tcp::Unassured].contains(&self.tcp) || (self.vague && open);
        let unsure = self.proto == TCP && half;
        if unsure && idle > 30 && idle <= tcp_idle {
            // Half-open: nobody says how long.
            return Life::Unknown;
        }
        let limit = match self.proto {
            TCP if self.tcp == Tcp::Closed => 10,
            TCP => tcp_idle,
            _ => 120,
        };
        if idle <= limit {
            Life::Alive
        } else {
            Life::Dead
        }
    }
}
