//! The short way through GENEVE tunnels: known packets that enter one or come
//! out of one, and those that another session tracks as well.

use super::short::{Known, L4, Lane, Way, plain};
use super::{Context, Pipeline, Sink};
use crate::flow::Direction;
use crate::gwlb::Flows;
use crate::packet::{
    Checksum, ETHERNET_LEN, Frame, GENEVE_LEN, GENEVE_OUTER_LEN, GeneveOuter, GeneveView, Offload,
    usual_marks,
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
        of: (u32, Direction),
    ) -> Option<Frame> {
        let Some(way) = self.known(of.0, of.1, lane) else {
            return Some(frame);
        };
        let now = context.now;
        let opened = lane.way == Way::Opened;
        let partial = !opened && matches!(frame.offload.checksum, Checksum::Partial { .. });
        // A socket gets the inner packet as it is: with its checksum done.
        let fits = !(partial && way.tunnel.is_some());
        if !fits || !self.others_live(lane, of, &way, now) {
            return Some(frame);
        }
        self.count(of.0, of.1, lane, now);
        if way.is_linked {
            self.count_linked(lane, of, now);
        }
        if opened {
            let gwlb = &mut self.connections.gwlb;
            gwlb.returned(lane.from, now);
            gwlb.carried_back(lane.from, lane.ip_len, lane.tcp_flags);
            frame.pull_front(usize::from(lane.inner_at) - ETHERNET_LEN);
            // Whatever the outer checksum's state was, it is gone with the header.
            frame.offload = Offload::default();
            // Never more than there is: `plain` has looked.
            frame.set_len(ETHERNET_LEN + lane.ip_len as usize);
        }
        way.step.write(frame.bytes_mut(), lane, partial);
        if let Some((cookie, ttl)) = way.tunnel {
            let (src, ports) = (way.step.src, way.step.ports);
            let gwlb = &mut self.connections.gwlb;
            let what = (lane.ip_len, lane.tcp_flags);
            if let Some(leg) = gwlb.enter(cookie, src, ports, what, now) {
                encapsulate(&mut frame, lane.ip_len, &leg.outer(ttl), &way.step.macs);
            }
        }
        self.transmit(context, way.step.out, frame);
        None
    }

    /// Whether the flows that the packet leaves and enters live, and the other
    /// session that tracks it.
    #[inline(always)]
    fn others_live(&self, lane: &Lane, of: (u32, Direction), way: &Known, now: Instant) -> bool {
        let gwlb = &self.connections.gwlb;
        let leaves = lane.way != Way::Opened
            || gwlb
                .get(lane.from)
                .is_some_and(|flow| flow.leg.takes_returns(now));
        let enters = way.tunnel.is_none_or(|(cookie, _)| {
            gwlb.by_cookie(cookie)
                .is_some_and(|(_, flow)| flow.leg.is_alive(now))
        });
        let sessions = &self.connections.sessions;
        leaves && enters && (!way.is_linked || sessions.link4(of, now).is_some())
    }

    /// Takes the packet into account where it is tracked as well.
    fn count_linked(&mut self, lane: &Lane, of: (u32, Direction), now: Instant) {
        let sessions = &mut self.connections.sessions;
        if let Some(linked) = sessions.link4(of, now) {
            sessions.pass4(linked, lane.tcp_flags, None, now);
        }
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
    let (src, dst) = (lane.key.src, lane.key.dst);
    let &[l0, l1, s0, s1] = frame.bytes().get(L4 + 4..)?.first_chunk::<4>()?;
    // A checksum that is there is verified on the long way.
    if [s0, s1] != [0, 0] && frame.offload.checksum == Checksum::Unverified {
        return None;
    }
    let end = L4 + usize::from(u16::from_be_bytes([l0, l1]));
    let payload = frame.bytes().get(L4 + 8..end)?;
    let (vpce, cookie, header_len) = match usual_marks(payload) {
        Some((vpce, cookie)) => (vpce, cookie, GENEVE_LEN),
        None => unusual_marks(payload)?,
    };
    let (slot, flow) = flows.by_cookie(cookie)?;
    if !flow.leg.is_from(src, dst, vpce) {
        return None;
    }
    let inner_at = L4 + 8 + header_len;
    // No tunnel in a tunnel here; and the inner packet ends within the outer.
    if plain(frame, inner_at - ETHERNET_LEN, lane) != Way::Plain
        || inner_at + lane.ip_len as usize > end
    {
        return None;
    }
    lane.key.gwlb = true;
    lane.key.ingress = flow.leg.serial;
    lane.from = slot;
    lane.inner_at = u16::try_from(inner_at).ok()?;
    Some(Way::Opened)
}

/// Endpoint id, cookie and length of a GENEVE header in any layout.
#[cold]
fn unusual_marks(payload: &[u8]) -> Option<(u64, u32, usize)> {
    let geneve = GeneveView::parse(payload).ok()?;
    Some((geneve.endpoint_id?, geneve.cookie?, geneve.header_len()))
}

/// Puts the tunnel header on, and a new Ethernet header before it.
#[inline(always)]
fn encapsulate(frame: &mut Frame, ip_len: u32, outer: &GeneveOuter, macs: &[u8; 12]) {
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
