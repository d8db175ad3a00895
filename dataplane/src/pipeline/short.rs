//! The short way: a batch of packets whose way is known.
//!
//! A plain IPv4 TCP or UDP packet of a cached direction needs four lines of
//! memory: its own headers, a bucket of the index, the direction and the
//! session's state. The batch is gone through several times so that their
//! fetches overlap: look at every packet, then fetch, then decide and rewrite
//! in packet order. Whatever is not plain here (a SYN, a fragment, a changed
//! table, an idle session, IPv6…) takes the long way, `ingress`, which judges
//! it by the same session and pass: this file decides nothing by itself.
//!
//! Cost: ARCHITECTURE §8; `vpclab bench eastwest privatelink gwlb`.

use super::{Context, Pipeline, Sink};
use crate::addr::EniId;
use crate::flow::{Direction, Key4, line_flag};
use crate::gwlb::Flows;
use crate::packet::checksum::{self, fold};
use crate::packet::{
    Checksum, ETHERNET_LEN, Frame, GENEVE_OUTER_LEN, GENEVE_PORT, GeneveOuter, GeneveView,
    IPV4_LEN, Offload, Segmentation, protocol, tcp_flag,
};
use crate::tables::Snapshot;
use crate::time::Instant;

/// Packets looked at together. Enough for the memory system's parallel misses.
pub(super) const LANES: usize = 32;

/// Ethernet, IPv4 and UDP headers: what every plain packet has.
const PLAIN_LEN: usize = ETHERNET_LEN + IPV4_LEN + 8;
/// Where the transport header of a plain packet begins.
const L4: usize = ETHERNET_LEN + IPV4_LEN;

/// What is known of a packet before it is decided.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    hash: u64,
    key: Key4,
    ip_len: u32,
    ttl: u8,
    tcp_flags: u8,
    way: Way,
    /// Slot of the flow whose tunnel it leaves, and where the inner packet is.
    from: u32,
    inner_at: u16,
}

/// How far the look got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// The long way.
    #[default]
    Long,
    /// Plain: the key is that of the packet.
    Plain,
    /// In a tunnel, to be opened.
    Tunnel,
    /// Out of a tunnel: the key is that of the inner packet.
    Opened,
}

impl Pipeline {
    /// Looks at the next packets and fetches what they will need.
    pub(super) fn look_ahead(&self, frames: &[Frame], lanes: &mut Vec<Lane>) {
        lanes.clear();
        let mut tunnels = false;
        for frame in frames {
            let mut lane = plain(frame, 0).unwrap_or_default();
            match lane.way {
                Way::Plain => {
                    lane.key.ingress = frame.port.0;
                    lane.hash = self.connections.sessions.hash4(&lane.key);
                    self.connections.sessions.prefetch(lane.hash);
                }
                Way::Tunnel => tunnels = true,
                Way::Long | Way::Opened => {}
            }
            lanes.push(lane);
        }
        if tunnels {
            self.open_tunnels(frames, lanes);
        }
        for lane in lanes.iter().filter(|lane| lane.way != Way::Long) {
            self.connections.sessions.prefetch_entry(lane.hash);
        }
    }

    /// The packets inside the tunnels of the batch.
    #[inline(never)]
    fn open_tunnels(&self, frames: &[Frame], lanes: &mut [Lane]) {
        let tunnels = || frames.iter().zip(0..);
        for (frame, at) in tunnels() {
            if lanes.get(at).is_some_and(|lane| lane.way == Way::Tunnel)
                && let Some(cookie) = likely_cookie(frame)
            {
                self.connections.gwlb.prefetch(cookie);
            }
        }
        for (frame, lane) in frames.iter().zip(lanes) {
            if lane.way == Way::Tunnel {
                *lane = open(&self.connections.gwlb, frame, lane).unwrap_or_default();
                if lane.way == Way::Opened {
                    lane.hash = self.connections.sessions.hash4(&lane.key);
                    self.connections.sessions.prefetch(lane.hash);
                }
            }
        }
    }

    /// Sends a packet the way that is known; gives it back if it is not.
    #[inline]
    pub(super) fn short_way<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut frame: Frame,
        lane: &Lane,
    ) -> Option<Frame> {
        let Some(step) = self.known(context.tables, context.now, &frame, lane) else {
            return Some(frame);
        };
        if lane.way == Way::Opened {
            frame.pull_front(usize::from(lane.inner_at) - ETHERNET_LEN);
            // Whatever the outer checksum's state was, it is gone with the header.
            frame.offload = Offload::default();
            frame.resize(ETHERNET_LEN + lane.ip_len as usize);
        }
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        step.write(frame.bytes_mut(), lane, partial);
        if let Some(outer) = &step.outer {
            encapsulate(&mut frame, lane.ip_len, outer, &step.macs);
        }
        self.transmit(context, step.out, frame);
        None
    }

    /// The step that the packet's session knows for it, with the session and
    /// all that hangs on it brought up to date; `None` for the long way.
    #[inline]
    fn known(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        frame: &Frame,
        lane: &Lane,
    ) -> Option<Step> {
        let sessions = &mut self.connections.sessions;
        let gwlb = &mut self.connections.gwlb;
        let (slot, direction) = sessions.find4(&lane.key, lane.hash)?;
        let floor = sessions.floor();
        let (entry, hots) = sessions.short4(slot)?;
        let line = entry.lines.get_mut(direction.index())?;
        if line.flags & line_flag::COMPILED == 0 {
            return None;
        }
        let hot = hots.get(line.action as usize)?;
        let ttl = match hot.ttl_set {
            0 => lane.ttl,
            set => set,
        };
        let plain = hot.version == tables.version
            && hot.port == frame.port
            && frame.bytes().first_chunk::<12>() == Some(&hot.expect)
            && lane.ip_len <= hot.size_max
            && ttl > hot.ttl_less
            && !hot.local
            && hot.decapsulate == (lane.way == Way::Opened)
            && now.since(entry.state.tracking.last_seen()) <= floor;
        if !plain {
            return None;
        }
        let mut step = Step {
            out: hot.out,
            macs: hot.macs,
            ttl: ttl - hot.ttl_less,
            src: line.new_src,
            dst: line.new_dst,
            ports: line.new_ports,
            outer: None,
        };
        let (flags, action_ttl) = (line.flags, hot.tunnel_ttl);
        let link = (line.link_slot, line.link_age, line.link_reply);
        let cookie = line.tunnel;
        if lane.way == Way::Opened && !gwlb.get(lane.from)?.takes_returns(now) {
            return None;
        }
        if flags & line_flag::TUNNEL != 0 {
            let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
            let (flow_slot, flow) = gwlb.by_cookie(cookie)?;
            if partial || !flow.is_alive(now) {
                return None;
            }
            step.outer = Some(outer(flow.tunnel(flow_slot, action_ttl)?));
        }
        if flags & line_flag::LINKED != 0 {
            let linked = sessions.linked(link.0, link.1)?;
            if now.since(linked.tracking.last_seen()) > floor {
                return None;
            }
            let direction = match link.2 {
                false => Direction::Forward,
                true => Direction::Reply,
            };
            linked.tracking.touch_flags(lane.tcp_flags, direction, now);
            sessions.unlist_if_complete(link.0);
        }
        // From here on the packet is sent: everything that it touches is told.
        if lane.way == Way::Opened {
            gwlb.returned(lane.from, now);
        }
        if let Some(outer) = &step.outer {
            gwlb.touch_short(outer.cookie, step.src, step.ports, lane.tcp_flags, now);
        }
        let (entry, _) = sessions.short4(slot)?;
        if let Some(line) = entry.lines.get_mut(direction.index()) {
            line.packets += 1;
            line.bytes += u64::from(lane.ip_len);
        }
        entry
            .state
            .tracking
            .touch_flags(lane.tcp_flags, direction, now);
        sessions.unlist_if_complete(slot);
        self.counters.flow_hits += 1;
        Some(step)
    }
}

/// What is done to one packet.
struct Step {
    out: EniId,
    macs: [u8; 12],
    ttl: u8,
    src: u32,
    dst: u32,
    ports: u32,
    outer: Option<GeneveOuter>,
}

impl Step {
    /// Writes MAC addresses, TTL, addresses and ports, and mends the checksums
    /// (RFC 1624), in one pass.
    #[inline(always)]
    fn write(&self, bytes: &mut [u8], lane: &Lane, partial: bool) {
        let Some((header, rest)) = bytes.split_first_chunk_mut::<PLAIN_LEN>() else {
            return;
        };
        header[..12].copy_from_slice(&self.macs);
        header[12..14].copy_from_slice(&[0x08, 0x00]);
        let key = &lane.key;
        let addresses = swap(key.src, self.src) + swap(key.dst, self.dst);
        let moved = (key.src, key.dst, key.ports) != (self.src, self.dst, self.ports);
        if moved || self.ttl != lane.ttl {
            // TTL is the high half of its word.
            let ttl = swap(u32::from(lane.ttl) << 8, u32::from(self.ttl) << 8);
            header[22] = self.ttl;
            let held = u16::from_be_bytes([header[24], header[25]]);
            let sum = !fold(u64::from(!held) + addresses + ttl);
            header[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        if !moved {
            return;
        }
        header[26..30].copy_from_slice(&self.src.to_be_bytes());
        header[30..34].copy_from_slice(&self.dst.to_be_bytes());
        header[34..38].copy_from_slice(&self.ports.to_be_bytes());
        let delta = addresses + swap(key.ports, self.ports);
        let field = if key.protocol == protocol::UDP {
            header.get_mut(L4 + 6..L4 + 8)
        } else {
            rest.get_mut(L4 + 16 - PLAIN_LEN..L4 + 18 - PLAIN_LEN)
        };
        let Some(field) = field.and_then(|field| field.first_chunk_mut::<2>()) else {
            return;
        };
        let held = u16::from_be_bytes(*field);
        let sum = if partial {
            // Holds the pseudo-header's sum only: no ports.
            fold(u64::from(held) + addresses)
        } else if key.protocol != protocol::UDP {
            !fold(u64::from(!held) + delta)
        } else if held == 0 {
            0
        } else {
            // A computed zero is sent as all ones (RFC 768).
            match !fold(u64::from(!held) + delta) {
                0 => 0xffff,
                sum => sum,
            }
        };
        *field = sum.to_be_bytes();
    }
}

/// What the change of a 32-bit word adds to a ones'-complement sum.
#[inline(always)]
const fn swap(old: u32, new: u32) -> u64 {
    !old as u64 + new as u64
}

/// The packet `skip` bytes behind where its Ethernet header would be, if it is
/// plain. (Its checks are those of `parse_ip`.)
#[inline(always)]
fn plain(frame: &Frame, skip: usize) -> Option<Lane> {
    let bytes = frame.bytes().get(skip..)?;
    let header = bytes.first_chunk::<PLAIN_LEN>()?;
    let ip = header[ETHERNET_LEN..].first_chunk::<IPV4_LEN>()?;
    let ip_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let payload_len = ip_len.checked_sub(IPV4_LEN + 8)? + 8;
    let whole = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff == 0;
    let ipv4 = (skip > 0 || header[12..14] == [0x08, 0x00]) && ip[0] == 0x45;
    if !ipv4
        || !whole
        || ETHERNET_LEN + ip_len > bytes.len()
        || frame.offload.segmentation != Segmentation::None
        || checksum::sum_chunk(ip) != 0xffff
    {
        return None;
    }
    let word = |at: usize| {
        let bytes = header.get(at..at + 4)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    };
    let mut lane = Lane {
        key: Key4 {
            src: word(26)?,
            dst: word(30)?,
            ports: word(34)?,
            ingress: 0,
            protocol: ip[9],
            gwlb: false,
        },
        ip_len: ip_len as u32,
        ttl: ip[8],
        way: Way::Plain,
        ..Lane::default()
    };
    let field = match lane.key.protocol {
        protocol::TCP => {
            let tcp = bytes.get(L4..)?.first_chunk::<20>()?;
            let header_len = usize::from(tcp[12] >> 4) * 4;
            if header_len < 20 || header_len > payload_len || tcp[13] & tcp_flag::SYN != 0 {
                return None;
            }
            lane.tcp_flags = tcp[13];
            16
        }
        protocol::UDP => {
            let udp_len = usize::from(u16::from_be_bytes([header[38], header[39]]));
            if udp_len < 8 || udp_len > payload_len {
                return None;
            }
            if lane.key.ports as u16 == GENEVE_PORT {
                lane.way = Way::Tunnel;
            }
            6
        }
        _ => return None,
    };
    match frame.offload.checksum {
        // Of a tunnelled packet it is the outer one's.
        Checksum::Partial { start, offset } if skip == 0 => {
            let fits = (usize::from(start), usize::from(offset)) == (L4, field);
            fits.then_some(lane)
        }
        _ => Some(lane),
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
fn open(flows: &Flows, frame: &Frame, outer: &Lane) -> Option<Lane> {
    let udp_len = frame.bytes().get(L4 + 4..)?.first_chunk::<2>()?;
    let end = L4 + usize::from(u16::from_be_bytes(*udp_len));
    let payload = frame.bytes().get(L4 + 8..end)?;
    let geneve = GeneveView::parse(payload).ok()?;
    let (slot, flow) = flows.by_cookie(geneve.cookie?)?;
    let ends = flow.legs()?;
    let genuine = geneve.endpoint_id == Some(flow.spec.vpce)
        && (outer.key.src, outer.key.dst) == (ends.1, ends.0);
    if !genuine {
        return None;
    }
    let inner_at = L4 + 8 + geneve.header_len();
    let mut lane = plain(frame, inner_at - ETHERNET_LEN)?;
    // No tunnel in a tunnel here; and the inner packet ends within the outer.
    if lane.way != Way::Plain || inner_at + lane.ip_len as usize > end {
        return None;
    }
    lane.way = Way::Opened;
    lane.key.gwlb = true;
    lane.key.ingress = flow.serial;
    lane.from = slot;
    lane.inner_at = u16::try_from(inner_at).ok()?;
    Some(lane)
}

fn outer(tunnel: crate::flow::Tunnel) -> GeneveOuter {
    GeneveOuter {
        src: tunnel.node,
        dst: tunnel.target,
        source_port: tunnel.source_port,
        endpoint_id: tunnel.vpce,
        cookie: tunnel.cookie,
        ttl: tunnel.ttl,
    }
}

/// Puts the tunnel header on, and a new Ethernet header before it.
fn encapsulate(frame: &mut Frame, ip_len: u32, outer: &GeneveOuter, macs: &[u8; 12]) {
    // Ethernet padding is no part of the packet.
    frame.resize(ETHERNET_LEN + ip_len as usize);
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
