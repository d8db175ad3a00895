//! What the first fragment of a datagram was found to be, for the later ones,
//! which carry no ports. ASSUMPTION: kept for 30 s (`aws-behaviour.md` §1.5).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::Ingress;
use crate::packet::FiveTuple;
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

/// Datagrams whose first fragment passed. Bounded: the oldest makes room.
#[derive(Debug)]
pub struct Fragments {
    tuples: HashMap<FragmentKey, (FiveTuple, Instant)>,
    order: VecDeque<(FragmentKey, Instant)>,
    capacity: usize,
}

impl Fragments {
    /// Room for `capacity` datagrams.
    pub fn new(capacity: usize) -> Self {
        Self {
            tuples: HashMap::with_capacity(capacity),
            order: VecDeque::with_capacity(capacity + 1),
            capacity: capacity.max(1),
        }
    }

    /// Remembers the tuple of a first fragment that was forwarded.
    pub fn learn(&mut self, key: FragmentKey, tuple: FiveTuple, now: Instant) {
        if self.tuples.insert(key, (tuple, now)).is_none() {
            self.order.push_back((key, now));
        }
        while self.order.len() > self.capacity
            || self
                .order
                .front()
                .is_some_and(|(_, at)| now.since(*at) > LIFETIME)
        {
            if let Some((key, _)) = self.order.pop_front() {
                self.tuples.remove(&key);
            }
        }
    }

    /// The tuple of the datagram that a later fragment belongs to.
    pub fn find(&self, key: &FragmentKey, now: Instant) -> Option<FiveTuple> {
        let (tuple, at) = self.tuples.get(key)?;
        (now.since(*at) <= LIFETIME).then_some(*tuple)
    }
}
