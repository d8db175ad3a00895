//! The short way through GENEVE tunnels: known packets that enter one or come
//! out of one, and those that another session tracks as well.

use super::Pipeline;
use super::short::{L4, Lane, Step, Way, plain};
use crate::addr::EniId;
use crate::flow::{Direction, line_flag};
use crate::gwlb::Flows;
use crate::packet::{
    Checksum, ETHERNET_LEN, Frame, GENEVE_LEN, GENEVE_OUTER_LEN, GeneveOuter, GeneveView, Offload,
    tcp_flag, usual_marks,
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

    /// The short way of a packet that leads through a tunnel, or past another
    /// session, or of which nothing was seen for long in this direction; does
    /// nothing if one of those that it needs does not live.
    #[inline(never)]
    pub(super) fn other_way(
        &mut self,
        now: Instant,
        frame: &mut Frame,
        lane: &Lane,
        of: (u32, Direction),
    ) -> Option<EniId> {
        let sessions = &self.connections.sessions;
        if !sessions.is_young4(of, now) {
            return None;
        }
        let (line, _) = sessions.way4(of)?;
        match (lane.way == Way::Opened, line.tunnel()) {
            (false, Some(cookie)) => self.way_in(now, frame, lane, of, cookie),
            (_, None) => self.way_past::<false>(now, frame, lane, of),
            (true, Some(_)) => self.way_past::<true>(now, frame, lane, of),
        }
    }

    /// Into a tunnel.
    #[inline(always)]
    fn way_in(
        &mut self,
        now: Instant,
        frame: &mut Frame,
        lane: &Lane,
        of: (u32, Direction),
        cookie: u32,
    ) -> Option<EniId> {
        // A socket gets the inner packet as it is: with its checksum done.
        if matches!(frame.offload.checksum, Checksum::Partial { .. }) {
            return None;
        }
        let (line, hot) = self.connections.sessions.way4_mut(of)?;
        let leg = self.connections.gwlb.living_leg_mut(cookie, now)?;
        let is_told = !line.pass(lane.tcp_flags, lane.ip_len, now);
        leg.entered(lane.ip_len, now);
        let step = Step::new(line, hot, lane);
        step.write(frame.bytes_mut(), lane, false);
        encapsulate(frame, lane.ip_len, &leg.outer(hot.tunnel_ttl), &step.macs);
        self.close_leg(cookie, &step, lane, now);
        if is_told {
            self.tell(of, lane, now);
        }
        self.counters.flow_hits += 1;
        Some(step.out)
    }

    /// Out of a tunnel, past another session; `INTO` another tunnel.
    #[inline(never)]
    fn way_past<const INTO: bool>(
        &mut self,
        now: Instant,
        frame: &mut Frame,
        lane: &Lane,
        of: (u32, Direction),
    ) -> Option<EniId> {
        let sessions = &mut self.connections.sessions;
        let gwlb = &mut self.connections.gwlb;
        let (line, hot) = sessions.way4(of)?;
        let linked = match line.flags & line_flag::LINKED {
            0 => None,
            _ => Some(sessions.link4(of, now)?),
        };
        let mut into = None;
        if INTO {
            let cookie = line.tunnel()?;
            let leg = gwlb.living_leg_mut(cookie, now)?;
            into = Some((cookie, leg.outer(hot.tunnel_ttl)));
        }
        let mut partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        if lane.way == Way::Opened {
            gwlb.leave(lane.from, lane.ip_len, lane.tcp_flags, now)?;
            // Never more than there is: `plain` has looked.
            let at = usize::from(lane.inner_at) - ETHERNET_LEN;
            frame.keep(at, ETHERNET_LEN + lane.ip_len as usize);
            // Whatever the outer checksum's state was, it is gone with the header.
            frame.offload = Offload::default();
            partial = false;
        }
        let (line, hot) = sessions.way4_mut(of)?;
        let is_told = !line.pass(lane.tcp_flags, lane.ip_len, now);
        let step = Step::new(line, hot, lane);
        step.write(frame.bytes_mut(), lane, partial);
        if let Some(linked) = linked {
            sessions.pass_linked4(linked, lane.tcp_flags, now);
        }
        if let Some((cookie, outer)) = into {
            if let Some(leg) = gwlb.living_leg_mut(cookie, now) {
                leg.entered(lane.ip_len, now);
            }
            encapsulate(frame, lane.ip_len, &outer, &step.macs);
            self.close_leg(cookie, &step, lane, now);
        }
        if is_told {
            self.tell(of, lane, now);
        }
        self.counters.flow_hits += 1;
        Some(step.out)
    }

    /// Tells the flow of a connection that ends.
    #[inline(always)]
    fn close_leg(&mut self, cookie: u32, step: &Step, lane: &Lane, now: Instant) {
        if lane.tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 {
            let gwlb = &mut self.connections.gwlb;
            gwlb.touch_end(cookie, step.src, step.ports, lane.tcp_flags, now);
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
