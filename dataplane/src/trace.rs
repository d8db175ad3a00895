//! The way of a packet that is not sent, and of its reply.
//!
//! The same walk and the same bookkeeping as for real packets, on connection
//! state of its own: so what a trace says is what a first packet gets.

use crate::addr::{EniId, Mac};
use crate::drop::DropReason;
use crate::packet::{FiveTuple, Headers, protocol, tcp_flag};
use crate::pipeline::{Config, Pipeline};
use crate::tables::Snapshot;
use crate::time::Instant;
use crate::walk::{Entry, Geneve, Hop, Packet, Verdict, View};

/// Most port crossings that one trace follows: appliances and routers on the way.
const CROSSINGS_MAX: usize = 16;

/// A packet to be traced.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The interface that sends it.
    pub from: EniId,
    /// Its tuple. For ICMP the source port is the echo's identifier.
    pub tuple: FiveTuple,
}

/// Where a traced packet ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// At the host behind this interface, with this tuple.
    Delivered(EniId, FiveTuple),
    /// The router answered it.
    Answered,
    /// Nowhere; `reset` if its sender is told by a TCP reset.
    Dropped {
        /// Why.
        reason: DropReason,
        /// The sender gets a reset.
        reset: bool,
    },
}

/// One direction.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Every hop, those after appliances included.
    pub hops: Vec<Hop>,
    /// The end.
    pub end: End,
}

/// A packet's way and its reply's, if it arrived.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The packet.
    pub forward: Leg,
    /// The reply; `None` if there is nothing to reply to.
    pub reply: Option<Leg>,
}

impl Trace {
    /// Whether the packet arrives and its reply comes back.
    pub fn is_reachable(&self) -> bool {
        match self.forward.end {
            End::Answered => true,
            End::Dropped { .. } => false,
            End::Delivered(..) => self
                .reply
                .as_ref()
                .is_some_and(|leg| matches!(leg.end, End::Delivered(..) | End::Answered)),
        }
    }

    /// Why it is not reachable: the forward drop, else the reply's.
    pub fn reason(&self) -> Option<DropReason> {
        let dropped = |leg: &Leg| match leg.end {
            End::Dropped { reason, .. } => Some(reason),
            End::Delivered(..) | End::Answered => None,
        };
        dropped(&self.forward).or_else(|| self.reply.as_ref().and_then(dropped))
    }
}

/// Traces a first packet (a SYN, for TCP) and then its reply. `seed` should be
/// the live pipeline's, so that the same targets are chosen.
pub fn trace(tables: &Snapshot, probe: &Probe, seed: u64, now: Instant) -> Trace {
    let capacities = Config {
        connections: 64,
        gwlb_flows: 64,
        fragments: 1,
        seed,
        ..Config::default()
    };
    let mut pipeline = Pipeline::new(capacities);
    let opening = kind(probe.tuple, true);
    let forward = leg(&mut pipeline, tables, now, probe.from, opening);
    let reply = match forward.end {
        End::Delivered(at, tuple) => Some(leg(
            &mut pipeline,
            tables,
            now,
            at,
            kind(tuple.reversed(), false),
        )),
        End::Answered | End::Dropped { .. } => None,
    };
    Trace { forward, reply }
}

/// The headers of a packet that opens a conversation, or of one that answers.
fn kind(tuple: FiveTuple, opens: bool) -> Headers {
    let mut headers = Headers::synthetic(tuple);
    match (tuple.protocol, opens) {
        (protocol::TCP, true) => headers.tcp_flags = tcp_flag::SYN,
        (protocol::TCP, false) => headers.tcp_flags = tcp_flag::SYN | tcp_flag::ACK,
        (protocol::ICMP, true) => headers.icmp_type = 8,
        (protocol::ICMPV6, true) => headers.icmp_type = 128,
        (protocol::ICMPV6, false) => headers.icmp_type = 129,
        _ => {}
    }
    headers
}

fn leg(
    pipeline: &mut Pipeline,
    tables: &Snapshot,
    now: Instant,
    from: EniId,
    headers: Headers,
) -> Leg {
    let mut leg = Leg {
        hops: Vec::new(),
        end: End::Answered,
    };
    let (mut at, mut packet, mut headers) = (from, Packet::plain(headers), headers);
    for _ in 0..CROSSINGS_MAX {
        let entry = Entry::Port(at, router_mac(tables, at));
        let path = pipeline.judge(now, tables, entry, packet);
        leg.hops.extend_from_slice(&path.hops);
        let rewrite = match path.verdict {
            Verdict::Forward(rewrite) => rewrite,
            Verdict::RouterEcho | Verdict::Service(_) => {
                leg.end = End::Answered;
                return leg;
            }
            Verdict::Drop(reason) | Verdict::Reset(reason) => {
                let reset = matches!(path.verdict, Verdict::Reset(_));
                leg.end = End::Dropped { reason, reset };
                return leg;
            }
        };
        headers.tuple = rewrite.tuple;
        at = rewrite.out;
        // Where AWS's services are, an address may be anybody's.
        let passes_on = tables.enis.row(at).is_some_and(|eni| {
            let internet = tables.vpcs.row(eni.vpc).is_some_and(|vpc| vpc.internet);
            !internet && !eni.owns(rewrite.tuple.dst)
        });
        match rewrite.tunnel {
            // The appliance sends back what it got, the outer addresses swapped.
            Some(tunnel) => {
                let outer = FiveTuple {
                    src: tunnel.target.into(),
                    dst: tunnel.node.into(),
                    protocol: protocol::UDP,
                    sport: tunnel.source_port,
                    dport: crate::packet::GENEVE_PORT,
                };
                let geneve = Geneve {
                    vpce: Some(tunnel.vpce),
                    cookie: Some(tunnel.cookie),
                    inner: View::plain(headers),
                };
                let outer = View::plain(Headers::synthetic(outer));
                packet = Packet {
                    outer,
                    geneve: Some(Ok(geneve)),
                };
            }
            // A router or NAT instance sends it on.
            None if passes_on && !rewrite.local => packet = Packet::plain(headers),
            None => {
                leg.end = End::Delivered(at, rewrite.tuple);
                return leg;
            }
        }
    }
    leg.end = End::Dropped {
        reason: DropReason::Loop,
        reset: false,
    };
    leg
}

fn router_mac(tables: &Snapshot, eni: EniId) -> Mac {
    tables
        .enis
        .row(eni)
        .and_then(|eni| tables.subnets.row(eni.subnet))
        .map(|subnet| subnet.router_mac)
        .unwrap_or_default()
}
