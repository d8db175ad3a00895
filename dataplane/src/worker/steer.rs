//! Which worker judges a frame: the one that has, or will have, its flow.
//!
//! What is undone first is what needs no state: the internet gateway's 1:1
//! translation, by the tables. What a load balancer translated needs nothing:
//! it chose a port whose replies hash to its own worker. Where it keeps the client's
//! address, only that end counts: it is in what goes to the node and in what the
//! target sends. What leaves a tunnel
//! names its worker in the cookie. An ICMP error goes where its flow is.
//!
//! A fragment without ports follows the first of its datagram: all of them go
//! to one worker chosen by address, which remembers the first and sends each
//! on to the flow's worker.

use std::net::Ipv4Addr;

use crate::flow::{First, FragmentKey, Fragments, Ingress, Shard};
use crate::packet::{
    ETHERNET_LEN, Fragment, Frame, GENEVE_PORT, GeneveView, Headers, ethertype, parse_ethernet,
    parse_ip, parse_quote_of, protocol, udp_payload,
};
use crate::tables::Snapshot;
use crate::time::Instant;
use crate::walk::service_for;

/// Where a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    /// The worker.
    pub(super) worker: u32,
    /// Whether it judges the frame; else it steers it once more.
    pub(super) settled: bool,
}

/// Decides for one worker.
#[derive(Debug)]
pub(super) struct Steer {
    shard: Shard,
    fragments: Fragments,
}

impl Steer {
    pub(super) fn new(shard: Shard, fragments: usize) -> Self {
        Self {
            shard,
            fragments: Fragments::new(fragments),
        }
    }

    /// Where `frame` goes that a port gave.
    #[inline(always)]
    pub(super) fn turn(&mut self, tables: &Snapshot, now: Instant, frame: &Frame) -> Turn {
        match self.plain(tables, frame.bytes()) {
            Some(worker) => Turn {
                worker,
                settled: true,
            },
            None => self.rare(tables, now, frame, false),
        }
    }

    /// Where a fragment goes that another worker sent here to be steered.
    pub(super) fn turn_again(&mut self, tables: &Snapshot, now: Instant, frame: &Frame) -> Turn {
        self.rare(tables, now, frame, true)
    }

    /// The common case: TCP or UDP over IPv4 without options or fragments, no
    /// tunnel, no public address. It must cost next to nothing: every frame
    /// pays for it.
    #[inline(always)]
    fn plain(&self, tables: &Snapshot, bytes: &[u8]) -> Option<u32> {
        let head = bytes.first_chunk::<38>()?;
        let word =
            |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        // EtherType, version and header length, and TOS, which may be any; whether it is
        // whole.
        let kind = word(12) ^ u32::from_ne_bytes([0x08, 0x00, 0x45, 0]);
        let kind = kind & u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
        let part = word(20) & u32::from_ne_bytes([0x3f, 0xff, 0, 0]);
        let protocol = head[23];
        if kind | part != 0 || !matches!(protocol, protocol::TCP | protocol::UDP) {
            return None;
        }
        let (src, dst) = (u32::from_be(word(26)), u32::from_be(word(30)));
        let ports = u32::from_be(word(34));
        let (sport, dport) = ((ports >> 16) as u16, ports as u16);
        // A tunnel, link-local, or perhaps the resolver: an interface's limit is one
        // counter's.
        if dport == GENEVE_PORT || dport == 53 || dst >> 16 == 0xa9fe {
            return None;
        }
        if has_public(tables) && !(is_private(src) && is_private(dst)) {
            return None;
        }
        let (mut from, mut to) = ((src, sport), (dst, dport));
        if tables.keeps_ends() {
            (from, to) = (meeting(tables, from), meeting(tables, to));
        }
        Some(self.shard.owner4(from, to, protocol))
    }

    #[cold]
    fn rare(&mut self, tables: &Snapshot, now: Instant, frame: &Frame, again: bool) -> Turn {
        let here = Turn {
            worker: self.shard.index(),
            settled: true,
        };
        let bytes = frame.bytes();
        let is_ip = parse_ethernet(bytes)
            .is_ok_and(|header| matches!(header.ethertype, ethertype::IPV4 | ethertype::IPV6));
        // What is malformed, ARP and the like needs no state: whoever has it.
        let Ok(headers) = parse_ip(bytes, ETHERNET_LEN).and_then(|headers| match is_ip {
            true => Ok(headers),
            false => Err(crate::drop::DropReason::EtherType),
        }) else {
            return here;
        };
        if headers.fragment != Fragment::Whole {
            return self.fragment(tables, now, frame, &headers, again);
        }
        if service_for(tables, frame.port, &headers).is_some() {
            return Turn {
                worker: self.shard.of_interface(frame.port.0),
                settled: true,
            };
        }
        let worker = match cookie(bytes, &headers) {
            Some(cookie) => self.shard.of_cookie(cookie),
            None => None,
        };
        let worker = worker.unwrap_or_else(|| {
            let tuple = if headers.is_icmp_error() {
                parse_quote_of(bytes, &headers).map_or(headers.tuple, |quoted| quoted.tuple)
            } else {
                headers.tuple
            };
            self.shard.owner(&tables.meeting(&tuple))
        });
        Turn {
            worker,
            settled: true,
        }
    }

    fn fragment(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        frame: &Frame,
        headers: &Headers,
        again: bool,
    ) -> Turn {
        let by_address = self.shard.owner_of_fragments(&headers.tuple);
        if by_address != self.shard.index() && !again {
            return Turn {
                worker: by_address,
                settled: false,
            };
        }
        let key = FragmentKey {
            ingress: Ingress::Eni(frame.port),
            src: headers.tuple.src,
            dst: headers.tuple.dst,
            protocol: headers.tuple.protocol,
            id: headers.ip_id,
        };
        let first = if headers.fragment == Fragment::First {
            self.fragments.learn(key, First::of(headers), now);
            Some(headers.tuple)
        } else {
            self.fragments.find(&key, now).map(|first| first.tuple)
        };
        Turn {
            worker: first.map_or(self.shard.index(), |tuple| {
                self.shard.owner(&tables.meeting(&tuple))
            }),
            settled: true,
        }
    }
}

/// The cookie of a packet that comes out of a tunnel.
fn cookie(bytes: &[u8], headers: &Headers) -> Option<u32> {
    if headers.tuple.protocol != protocol::UDP || headers.tuple.dport != GENEVE_PORT {
        return None;
    }
    GeneveView::parse(udp_payload(bytes, headers)?).ok()?.cookie
}

/// An end by which packets meet: one that a load balancer keeps is none.
#[inline(never)]
fn meeting(tables: &Snapshot, (address, port): (u32, u16)) -> (u32, u16) {
    match tables.is_kept_end(Ipv4Addr::from_bits(address).into(), port) {
        true => (0, 0),
        false => (address, port),
    }
}

/// Whether any address is translated at all.
#[inline(always)]
fn has_public(tables: &Snapshot) -> bool {
    !tables.public.is_empty()
}

/// An address that no internet gateway translates to (RFC 1918).
#[inline(always)]
fn is_private(address: u32) -> bool {
    Ipv4Addr::from_bits(address).is_private()
}
