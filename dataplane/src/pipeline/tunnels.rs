//! The short way through GENEVE tunnels: known packets that enter one or come
//! out of one, and those that another session tracks as well.

use super::Pipeline;
use super::shifted::Change;
use super::short::{L4, Lane, Step, Way, leave, leaves_as_it_came, plain};
use crate::addr::EniId;
use crate::flow::{Direction, Hot, Line, split};
use crate::gwlb::{Flows, Moment};
use crate::packet::{
    Checksum, ETHERNET_LEN, Frame, GENEVE_LEN, GENEVE_OUTER_LEN, GeneveTemplate, GeneveView,
    IPV4_LEN, Offload, tcp_flag, usual_marks,
};
use crate::time::Instant;

impl Pipeline {
    /// The packets inside the tunnels of the batch.
    #[inline(never)]
    pub(super) fn open_tunnels(&self, frames: &[Frame], lanes: &mut [Lane]) {
        let sessions = &self.connections.sessions;
        for (frame, lane) in frames.iter().zip(lanes) {
            if lane.way == Way::Tunnel {
                lane.way = open(&self.connections.gwlb, frame, lane).unwrap_or(Way::Long);
                let ends = tcp_flag::FIN | tcp_flag::RST;
                sessions.prefetch_at(lane.guess, lane.tcp_flags & ends != 0);
            }
        }
    }

    /// The short way of a packet out of one tunnel into another, or of which nothing
    /// was seen for long in this direction; does nothing if one of those that it needs
    /// does not live.
    #[inline(never)]
    pub(super) fn other_way(
        &mut self,
        at: &Moment,
        frame: &mut Frame,
        lane: &Lane,
        change: Option<&Change>,
    ) -> Option<EniId> {
        let (of, now) = (split(lane.guess), at.now);
        let sessions = &mut self.connections.sessions;
        if !sessions.is_young::<u32>(of, now) {
            return None;
        }
        let (line, hot) = sessions.way4_mut(of)?;
        if line.tunnel().is_none() {
            return self.way_past(at, frame, lane, change);
        }
        let gwlb = &mut self.connections.gwlb;
        if lane.way == Way::Opened {
            // Both must live before anything is done.
            gwlb.living_leg_mut(line.cookie(), at)?;
            gwlb.returning_mut(lane.from, at)?.leave(lane.ip_len, now);
            take_out(frame, lane);
        }
        let out = hot.out;
        let is_told = way_in(gwlb, line, hot, at, frame, lane, change)?;
        if is_told {
            self.tell_flows(lane, now);
        }
        self.counters.flow_hits += 1;
        Some(out)
    }

    /// Out of a tunnel, past another session, or both, its numbers changed if they are to be;
    /// does nothing if one of those that it needs does not live.
    #[inline(never)]
    pub(super) fn way_past(
        &mut self,
        at: &Moment,
        frame: &mut Frame,
        lane: &Lane,
        change: Option<&Change>,
    ) -> Option<EniId> {
        let (of, now) = (split(lane.guess), at.now);
        let sessions = &mut self.connections.sessions;
        let gwlb = &mut self.connections.gwlb;
        let flow = match lane.way {
            Way::Opened => Some(gwlb.returning_mut(lane.from, at)?),
            _ => None,
        };
        if let Some(link) = sessions.way::<u32>(of)?.0.link() {
            sessions.pass_linked4(link, lane.tcp_flags, now)?;
        }
        if let Some(flow) = flow {
            flow.leave(lane.ip_len, now);
            take_out(frame, lane);
        }
        let (line, hot) = sessions.way4_mut(of)?;
        let is_told = !line.pass(lane.tcp_flags, lane.ip_len, now);
        let sums = match line.link() {
            Some(_) => line.change(),
            None => line.noted_change(),
        };
        let step = Step::with(sums, line, hot, lane);
        match change {
            None => step.write(frame, lane),
            Some(change) => step.write_shifted(frame, lane, change),
        }
        if is_told {
            self.tell_flows(lane, now);
        }
        self.counters.flow_hits += 1;
        Some(step.out)
    }
}

impl Pipeline {
    /// Tells the flows whose tunnels a packet enters and came out of that it ends its
    /// connection.
    pub(super) fn tell_of_end(&mut self, of: (u32, Direction), lane: &Lane, now: Instant) {
        let gwlb = &mut self.connections.gwlb;
        if let Some((line, _)) = self.connections.sessions.way::<u32>(of)
            && let Some(cookie) = line.tunnel()
        {
            let (src, ports) = (line.new_src, line.new_ports);
            gwlb.touch_end(cookie, src, ports, lane.tcp_flags, now);
        }
        if lane.way == Way::Opened && lane.tcp_flags & tcp_flag::RST != 0 {
            gwlb.carried_reset(lane.from);
        }
    }
}

/// Takes a packet out of its tunnel.
#[inline(always)]
fn take_out(frame: &mut Frame, lane: &Lane) {
    // Never more than there is: `plain` has looked.
    frame.keep(
        usize::from(lane.begins),
        ETHERNET_LEN + lane.ip_len as usize,
    );
    // Whatever the outer checksum's state was, it is gone with the header.
    frame.forget_checksum();
}

/// Out of a tunnel and on, where the direction leads into none; says whether the session
/// must be told of the packet. `None`, and nothing is done, if the flow takes no returns.
#[inline(always)]
pub(super) fn way_out(
    gwlb: &mut Flows,
    line: &mut Line<u32>,
    hot: &Hot,
    at: &Moment,
    frame: &mut Frame,
    lane: &Lane,
) -> Option<bool> {
    gwlb.returning_mut(lane.from, at)?
        .leave(lane.ip_len, at.now);
    let is_told = !line.pass(lane.tcp_flags, lane.ip_len, at.now);
    take_out(frame, lane);
    leave(line, hot, frame, lane);
    Some(is_told)
}

/// Into a tunnel that the direction is known to enter; says whether the session must be
/// told of the packet. `None`, and nothing is done, if the flow does not live.
#[inline(always)]
pub(super) fn way_in(
    gwlb: &mut Flows,
    line: &mut Line<u32>,
    hot: &Hot,
    at: &Moment,
    frame: &mut Frame,
    lane: &Lane,
    change: Option<&Change>,
) -> Option<bool> {
    let leg = gwlb.living_leg_mut(line.cookie(), at)?;
    if frame.offload.checksum != Checksum::Unverified {
        // A socket gets the inner packet as it is: with its checksum done.
        if matches!(frame.offload.checksum, Checksum::Partial { .. }) {
            return None;
        }
        // Of the outer one nothing is known.
        frame.forget_checksum();
    }
    let is_told = !line.pass(lane.tcp_flags, lane.ip_len, at.now);
    match change {
        None if leaves_as_it_came(line, hot) => {}
        None => Step::new(line, hot, lane).write(frame, lane),
        Some(change) => Step::new(line, hot, lane).write_shifted(frame, lane, change),
    }
    leg.entered(lane.ip_len, at.now);
    encapsulate(frame, lane.ip_len, leg.outer(), hot);
    Some(is_told)
}

/// Where the cookie stands in what AWS's layout puts before the inner packet.
const COOKIE_AT: usize = ETHERNET_LEN + GENEVE_OUTER_LEN - 4;

/// The cookie, if the packet is laid out as usual: only to fetch memory by.
#[inline(always)]
pub(super) fn likely_cookie(bytes: &[u8]) -> u32 {
    let place = bytes.get(COOKIE_AT..).and_then(|b| b.first_chunk());
    place.map_or(0, |place| u32::from_be_bytes(*place))
}

/// Ethernet and outer headers of the usual length, and the least that is inside.
const OPENED_LEN: usize = ETHERNET_LEN + GENEVE_OUTER_LEN + IPV4_LEN + 8;

/// The packet in a tunnel, if it comes back from a living flow as it must. The outer
/// headers are those of a plain packet.
#[inline(always)]
fn open(flows: &Flows, frame: &Frame, lane: &mut Lane) -> Option<Way> {
    let bytes = frame.bytes();
    let header = bytes.first_chunk::<OPENED_LEN>()?;
    let [.., s0, s1] = *header.first_chunk::<{ L4 + 8 }>()?;
    // A checksum that is there is verified on the long way.
    if [s0, s1] != [0, 0] && frame.offload.checksum == Checksum::Unverified {
        return None;
    }
    let geneve = header.get(L4 + 8..)?.first_chunk()?;
    match usual_marks(geneve) {
        Some((vpce, cookie)) => {
            let marks = (vpce, cookie, GENEVE_LEN);
            go_in(flows, &frame.offload, bytes, header, lane, marks)
        }
        None => open_unusual(flows, frame, lane),
    }
}

/// The same with a GENEVE header in any layout.
#[cold]
#[inline(never)]
fn open_unusual(flows: &Flows, frame: &Frame, lane: &mut Lane) -> Option<Way> {
    let bytes = frame.bytes();
    let header = bytes.first_chunk()?;
    let geneve = GeneveView::parse(bytes.get(L4 + 8..outer_end(header))?).ok()?;
    let vpce = geneve.endpoint_id?.to_be_bytes();
    let marks = (vpce, geneve.cookie?, geneve.header_len());
    go_in(flows, &frame.offload, bytes, header, lane, marks)
}

/// Where the outer packet ends.
#[inline(always)]
fn outer_end(header: &[u8; OPENED_LEN]) -> usize {
    L4 + usize::from(u16::from_be_bytes([header[L4 + 4], header[L4 + 5]]))
}

/// The same behind a GENEVE header with this endpoint id, cookie and length.
#[inline(always)]
fn go_in(
    flows: &Flows,
    offload: &Offload,
    bytes: &[u8],
    header: &[u8; OPENED_LEN],
    lane: &mut Lane,
    (vpce, cookie, header_len): ([u8; 8], u32, usize),
) -> Option<Way> {
    let (slot, flow) = flows.by_cookie(cookie)?;
    let [.., a, b, c, d, e, f, g, h] = *header.first_chunk::<L4>()?;
    if !flow.leg.is_from([a, b, c, d, e, f, g, h], vpce) {
        return None;
    }
    let begins = L4 + 8 + header_len - ETHERNET_LEN;
    let inner = bytes.get(begins..)?;
    // The inner packet ends within the outer, which ends within the frame.
    let end = outer_end(header) as isize - begins as isize;
    // No tunnel in a tunnel here.
    if plain::<true>(inner, end, offload, lane) != Way::Plain {
        return None;
    }
    lane.key.ingress = flow.leg.serial;
    lane.from = slot;
    lane.begins = u16::try_from(begins).ok()?;
    let (src, dst) = lane.key.addresses();
    lane.guess = flow.leg.guess(src, dst);
    Some(Way::Opened)
}

/// Puts the tunnel header on, and a new Ethernet header before it.
#[inline(always)]
fn encapsulate(frame: &mut Frame, ip_len: u32, outer: &GeneveTemplate, hot: &Hot) {
    // Ethernet padding is no part of the packet.
    let before = frame
        .keep_behind::<{ ETHERNET_LEN + GENEVE_OUTER_LEN }>(ETHERNET_LEN, ip_len as usize)
        .and_then(|before| before.split_first_chunk_mut::<ETHERNET_LEN>());
    if let Some((ethernet, rest)) = before
        && let Some(place) = rest.first_chunk_mut::<GENEVE_OUTER_LEN>()
    {
        ethernet[..12].copy_from_slice(&hot.macs);
        ethernet[12..].copy_from_slice(&[0x08, 0x00]);
        outer.write(place, ip_len as u16, hot.tunnel_ttl);
    }
}
