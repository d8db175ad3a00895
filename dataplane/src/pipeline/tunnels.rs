//! The short way through GENEVE tunnels: known packets that enter one or come
//! out of one, and those that another session tracks as well.

use super::short::{Known, L4, Lane, Way, plain};
use super::{Context, Pipeline, Sink};
use crate::flow::{Direction, Tunnel, line_flag};
use crate::gwlb::Flows;
use crate::packet::{
    Checksum, ETHERNET_LEN, Frame, GENEVE_OUTER_LEN, GeneveOuter, GeneveView, Offload,
};
use crate::time::Instant;

impl Pipeline {
    /// The packets inside the tunnels of the batch.
    #[inline(never)]
    pub(super) fn open_tunnels(&self, frames: &[Frame], lanes: &mut [Lane]) {
        let gwlb = &self.connections.gwlb;
        for (frame, lane) in frames.iter().zip(&*lanes) {
            if lane.way == Way::Tunnel
                && let Some(cookie) = likely_cookie(frame)
            {
                gwlb.prefetch(cookie);
            }
        }
        for (frame, lane) in frames.iter().zip(lanes) {
            if lane.way == Way::Tunnel {
                lane.way = open(gwlb, frame, lane).unwrap_or(Way::Long);
                if lane.way == Way::Opened {
                    lane.hash = self.connections.sessions.hash4(&lane.key);
                    self.connections.sessions.prefetch(lane.hash);
                }
            }
        }
    }

    /// Sends a packet whose way is known and leads through a tunnel, or past
    /// another session; gives it back if one of them does not live.
    #[inline(never)]
    pub(super) fn tunnel_way<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut frame: Frame,
        lane: &Lane,
        way: &Known,
    ) -> Option<Frame> {
        let now = context.now;
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        let Some(tunnel) = self.pass_others(way, lane, partial, now) else {
            return Some(frame);
        };
        self.count(way, lane, now);
        if lane.way == Way::Opened {
            frame.pull_front(usize::from(lane.inner_at) - ETHERNET_LEN);
            // Whatever the outer checksum's state was, it is gone with the header.
            frame.offload = Offload::default();
            // Never more than there is: `plain` has looked.
            frame.set_len(ETHERNET_LEN + lane.ip_len as usize);
        }
        let partial = partial && lane.way != Way::Opened;
        way.step.write(frame.bytes_mut(), lane, partial);
        if let Some(tunnel) = &tunnel {
            encapsulate(&mut frame, lane.ip_len, tunnel, &way.step.macs);
        }
        self.transmit(context, way.step.out, frame);
        None
    }

    /// Tells the flows and the session that the packet passes; the tunnel that
    /// it enters, if any. `None`, and nobody is told, if one does not live.
    #[expect(clippy::option_option, reason = "no way; a way without a tunnel")]
    fn pass_others(
        &mut self,
        way: &Known,
        lane: &Lane,
        partial: bool,
        now: Instant,
    ) -> Option<Option<Tunnel>> {
        let sessions = &mut self.connections.sessions;
        let gwlb = &mut self.connections.gwlb;
        if lane.way == Way::Opened && !gwlb.get(lane.from)?.takes_returns(now) {
            return None;
        }
        let floor = sessions.floor();
        let (entry, hots) = sessions.short4(way.slot)?;
        let line = *entry.lines.get(way.direction.index())?;
        let ttl = hots.get(line.action as usize)?.tunnel_ttl;
        let mut tunnel = None;
        if line.flags & line_flag::TUNNEL != 0 {
            let (slot, flow) = gwlb.by_cookie(line.tunnel)?;
            // A socket gets the inner packet as it is: with its checksum done.
            if (partial && lane.way != Way::Opened) || !flow.is_alive(now) {
                return None;
            }
            tunnel = Some(flow.tunnel(slot, ttl)?);
        }
        if line.flags & line_flag::LINKED != 0 {
            let linked = sessions.linked(line.link_slot, line.link_age)?;
            if now.since(linked.tracking.last_seen()) > floor {
                return None;
            }
            let direction = match line.link_reply {
                false => Direction::Forward,
                true => Direction::Reply,
            };
            let tracking = &mut linked.tracking;
            tracking.touch_flags(lane.tcp_flags, direction, now);
            sessions.unlist_if_complete(line.link_slot);
        }
        if lane.way == Way::Opened {
            gwlb.returned(lane.from, now);
        }
        if tunnel.is_some() {
            let (src, ports) = (way.step.src, way.step.ports);
            gwlb.touch_short(line.tunnel, src, ports, lane.tcp_flags, now);
        }
        Some(tunnel)
    }
}

/// Where the cookie stands in what AWS's layout puts before the inner packet.
const COOKIE_AT: usize = ETHERNET_LEN + GENEVE_OUTER_LEN - 4;

/// The cookie, if the packet is laid out as usual: only to fetch memory by.
fn likely_cookie(frame: &Frame) -> Option<u32> {
    let bytes = frame.bytes().get(COOKIE_AT..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

/// The packet in a tunnel, if it comes back from a living flow as it must.
fn open(flows: &Flows, frame: &Frame, lane: &mut Lane) -> Option<Way> {
    let outer = lane.key;
    let &[l0, l1, s0, s1] = frame.bytes().get(L4 + 4..)?.first_chunk::<4>()?;
    // A checksum that is there is verified on the long way.
    if [s0, s1] != [0, 0] && frame.offload.checksum == Checksum::Unverified {
        return None;
    }
    let end = L4 + usize::from(u16::from_be_bytes([l0, l1]));
    let payload = frame.bytes().get(L4 + 8..end)?;
    let geneve = GeneveView::parse(payload).ok()?;
    let (slot, flow) = flows.by_cookie(geneve.cookie?)?;
    let genuine =
        geneve.endpoint_id == Some(flow.spec.vpce) && flow.legs()? == (outer.dst, outer.src);
    if !genuine {
        return None;
    }
    let inner_at = L4 + 8 + geneve.header_len();
    // No tunnel in a tunnel here; and the inner packet ends within the outer.
    if plain(frame, inner_at - ETHERNET_LEN, lane) != Way::Plain
        || inner_at + lane.ip_len as usize > end
    {
        return None;
    }
    lane.key.gwlb = true;
    lane.key.ingress = flow.serial;
    lane.from = slot;
    lane.inner_at = u16::try_from(inner_at).ok()?;
    Some(Way::Opened)
}

/// Puts the tunnel header on, and a new Ethernet header before it.
fn encapsulate(frame: &mut Frame, ip_len: u32, tunnel: &Tunnel, macs: &[u8; 12]) {
    let outer = GeneveOuter {
        src: tunnel.node,
        dst: tunnel.target,
        source_port: tunnel.source_port,
        endpoint_id: tunnel.vpce,
        cookie: tunnel.cookie,
        ttl: tunnel.ttl,
    };
    // Ethernet padding is no part of the packet.
    frame.set_len(ETHERNET_LEN + ip_len as usize);
    frame.offload = Offload::default();
    let bytes = frame.push_front(GENEVE_OUTER_LEN);
    if let Some((ethernet, rest)) = bytes.split_first_chunk_mut::<ETHERNET_LEN>()
        && let Some(place) = rest.first_chunk_mut::<GENEVE_OUTER_LEN>()
    {
        ethernet[..12].copy_from_slice(macs);
        ethernet[12..].copy_from_slice(&[0x08, 0x00]);
        outer.encode(place, u16::try_from(ip_len).unwrap_or(u16::MAX), false);
    }
}
