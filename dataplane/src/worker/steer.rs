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
    #[inline]
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
    #[inline]
    fn plain(&self, tables: &Snapshot, bytes: &[u8]) -> Option<u32> {
        let head = bytes.first_chunk::<38>()?;
        let [l0, l1] = [head[12], head[13]];
        let whole = head[20] & 0x3f == 0 && head[21] == 0;
        let transport = matches!(head[23], protocol::TCP | protocol::UDP);
        if [l0, l1] != [8, 0] || head[14] != 0x45 || !whole || !transport {
            return None;
        }
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (src, dst) = (word(26), word(30));
        let (sport, dport) = (word(34) >> 16, word(34) & 0xffff);
        // Link-local, or perhaps the resolver: an interface's limit is one counter's.
        let rare = (dport == u32::from(GENEVE_PORT) && head[23] == protocol::UDP)
            || dst >> 16 == 0xa9fe
            || dport == 53
            || (has_public(tables) && !(is_private(src) && is_private(dst)));
        let end = |address: u32, port: u32| {
            let port = port as u16;
            match tables.is_kept_end(Ipv4Addr::from_bits(address).into(), port) {
                true => (0, 0),
                false => (address, port),
            }
        };
        (!rare).then(|| {
            self.shard
                .owner4(end(src, sport), end(dst, dport), head[23])
        })
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

/// Whether any address is translated at all.
fn has_public(tables: &Snapshot) -> bool {
    !tables.public.is_empty()
}

/// An address that no internet gateway translates to (RFC 1918).
#[inline]
fn is_private(address: u32) -> bool {
    Ipv4Addr::from_bits(address).is_private()
}
