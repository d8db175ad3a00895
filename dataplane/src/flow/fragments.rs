//! What the first fragment of a datagram was found to be, for the later ones,
//! which carry no ports. ASSUMPTION: kept for 30 s (`aws-behaviour.md` §1.5).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::Ingress;
use crate::packet::{FiveTuple, Headers};
use crate::time::{Duration, Instant};

const LIFETIME: Duration = Duration::from_secs(30);

/// Names a fragmented datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FragmentKey {
    /// Where it entered.
    pub ingress: Ingress,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Identification.
    pub id: u32,
}

/// What the first fragment was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct First {
    /// Its tuple.
    pub tuple: FiveTuple,
    /// ICMP type and code.
    pub icmp: (u8, u8),
}

impl First {
    /// What later fragments need of a first one.
    pub const fn of(headers: &Headers) -> Self {
        Self {
            tuple: headers.tuple,
            icmp: (headers.icmp_type, headers.icmp_code),
        }
    }
}

/// Datagrams whose first fragment passed. Bounded: the oldest makes room.
#[derive(Debug)]
pub struct Fragments {
    seen: HashMap<FragmentKey, (First, Instant)>,
    order: VecDeque<(FragmentKey, Instant)>,
    capacity: usize,
}

impl Fragments {
    /// Room for `capacity` datagrams.
    pub fn new(capacity: usize) -> Self {
        Self {
            seen: HashMap::with_capacity(capacity),
            order: VecDeque::with_capacity(capacity + 1),
            capacity: capacity.max(1),
        }
    }

    /// Remembers a first fragment that was forwarded.
    pub fn learn(&mut self, key: FragmentKey, first: First, now: Instant) {
        if self.seen.insert(key, (first, now)).is_none() {
            self.order.push_back((key, now));
        }
        while let Some(&(key, listed)) = self.order.front() {
            let full = self.order.len() > self.capacity;
            if !full && now.since(listed) <= LIFETIME {
                break;
            }
            self.order.pop_front();
            // An identification used again is as old as its last use.
            match self.seen.get(&key) {
                Some(&(_, at)) if at > listed => self.order.push_back((key, at)),
                _ => _ = self.seen.remove(&key),
            }
        }
    }

    /// What the first fragment of this datagram was.
    pub fn find(&self, key: &FragmentKey, now: Instant) -> Option<First> {
        let (first, at) = self.seen.get(key)?;
        (now.since(*at) <= LIFETIME).then_some(*first)
    }
}
