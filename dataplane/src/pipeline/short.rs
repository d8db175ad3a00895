//! The short way: a batch of packets whose way is known.
//!
//! A plain IPv4 TCP or UDP packet of a cached direction needs three lines of
//! memory: its own headers, a bucket of the index and the direction (and the
//! session's state while its connection is opened or closed). The batch is gone through several times so that their
//! fetches overlap: look at every packet, then fetch, then decide and rewrite
//! in packet order. Whatever is not plain here (a SYN, a fragment, a changed
//! table, an idle session…) takes the long way, `ingress`, which judges
//! it by the same session and pass: this file decides nothing by itself.
//!
//! Cost: ARCHITECTURE §8; `vpclab bench eastwest privatelink gwlb`.

use super::Pipeline;
use super::foreseen::Seen;
use super::shifted::{Change, LEN_OF_FOUR, shifted_way};
use super::tunnels::{likely_cookie, way_in, way_out};
use crate::addr::EniId;
use crate::flow::{Direction, Hot, Key4, Line, Sums, Takes, line_flag, reference, split};
use crate::gwlb;
use crate::packet::checksum::{fold_word, is_right};
use crate::packet::{
    Checksum, ETHERNET_LEN, Frame, GENEVE_PORT, IPV4_LEN, Offload, Segmentation, protocol, tcp_flag,
};
use crate::tables::Snapshot;
use crate::time::Instant;

/// Packets looked at together. Enough for the memory system's parallel misses.
pub(super) const LANES: usize = 32;

/// Ethernet, IPv4 and UDP headers: what every plain packet has.
const UDP_END: usize = L4 + 8;
/// Ethernet, IPv4 and TCP headers.
const TCP_END: usize = L4 + 20;
/// Where the transport header of a plain packet begins.
pub(super) const L4: usize = ETHERNET_LEN + IPV4_LEN;

/// What is known of a packet before it is decided.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Lane {
    pub(super) hash: u64,
    pub(super) key: Key4,
    /// Where the index led when the batch was looked at.
    pub(super) guess: u32,
    pub(super) ip_len: u32,
    pub(super) ttl: u8,
    pub(super) tcp_flags: u8,
    pub(super) way: Way,
    /// Slot of the flow whose tunnel it leaves (until it is opened, what may be the
    /// cookie), and where the frame begins that it is then.
    pub(super) from: u32,
    pub(super) begins: u16,
    /// The port by which it leaves.
    pub(super) out: EniId,
    /// What is foreseen of a packet that may open a connection.
    pub(super) foreseen: Seen,
}

/// A guess where the index has nothing.
const NOWHERE: u32 = u32::MAX;

impl Lane {
    /// Whether the packet, which is plain, may open a connection; guesses were made.
    #[inline(always)]
    pub(super) const fn may_open(&self) -> bool {
        match self.way {
            // Again, perhaps, where one is over.
            Way::Opens | Way::SixOpens => self.tcp_flags & tcp_flag::ACK == 0,
            Way::Plain | Way::Six => self.guess == NOWHERE && self.key.protocol() == protocol::UDP,
            Way::Long | Way::Tunnel | Way::Opened => false,
        }
    }
}

/// How far the look got.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// The long way.
    #[default]
    Long,
    /// The long way too, but its session's memory is fetched: it opens a
    /// connection, or answers.
    Opens,
    /// In a tunnel, to be opened.
    Tunnel,
    /// Plain, of IPv6: addresses are in the frame only (`short6`).
    Six,
    /// Plain: the key is that of the packet.
    Plain = Takes::Plain as u8,
    /// Out of a tunnel: the key is that of the inner packet.
    Opened = Takes::Opened as u8,
    /// Plain, of IPv6, and it opens a connection, or answers.
    SixOpens = Takes::Nothing as u8 + 1,
}

impl Pipeline {
    /// Looks at the next packets and fetches what they will need; whether some of them may
    /// open connections. There is a lane for each.
    pub(super) fn look_ahead(&self, frames: &[Frame], lanes: &mut [Lane]) -> bool {
        let sessions = &self.connections.sessions;
        let mut tunnels = false;
        for (frame, lane) in frames.iter().zip(&mut *lanes) {
            let bytes = frame.bytes();
            lane.way = plain::<false>(bytes, bytes.len() as isize, &frame.offload, lane);
            match lane.way {
                Way::Plain | Way::Opens => {
                    lane.key.ingress = frame.port.0;
                    lane.hash = sessions.hash4(&lane.key);
                    sessions.prefetch(lane.hash);
                }
                Way::Tunnel => {
                    self.connections.gwlb.prefetch(lane.from);
                    tunnels = true;
                }
                Way::Long => lane.way = self.look_at_six(frame, lane),
                Way::Opened | Way::Six | Way::SixOpens => {}
            }
        }
        if tunnels {
            self.open_tunnels(frames, lanes);
        }
        // Whoever is in the index has a lower number.
        let mut guesses = 0;
        for lane in frames.iter().zip(lanes).map(|(_, lane)| lane) {
            let ends = lane.tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0;
            // Nearly all, and told apart by comparing: not by a table of jumps.
            if lane.way == Way::Plain {
                lane.guess = sessions.prefetch_entry(lane.hash, ends);
                guesses |= lane.guess;
            } else if lane.way != Way::Opened {
                guesses |= self.fetch_others(lane);
            }
        }
        guesses == NOWHERE
    }

    /// Fetches what a packet will need that is no plain one, and no tunnel's. [`NOWHERE`] if
    /// it may open a connection.
    #[inline(never)]
    fn fetch_others(&self, lane: &mut Lane) -> u32 {
        let sessions = &self.connections.sessions;
        let ends = lane.tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0;
        match lane.way {
            Way::Opens => lane.guess = sessions.prefetch_entry(lane.hash, true),
            Way::Six => lane.guess = sessions.prefetch_entry6(lane.hash, ends),
            Way::SixOpens => lane.guess = sessions.prefetch_entry6(lane.hash, true),
            Way::Long | Way::Tunnel | Way::Opened | Way::Plain => return 0,
        }
        match lane.may_open() {
            true => NOWHERE,
            false => 0,
        }
    }

    /// Makes packets what they are where they leave, and notes by which port; stops
    /// at one whose way is not known. Says how many there were before it. Those that
    /// are perhaps not this worker's own open and answer nothing.
    #[inline(never)]
    pub(super) fn short_ways(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        frames: &mut [Frame],
        lanes: &mut [Lane],
        are_own: bool,
    ) -> usize {
        let at = Moment {
            tables,
            now,
            // One comparison, but for the first packet of a version.
            standing: self.connections.deps.look(tables),
            young_from: now - self.connections.sessions.floor(),
            of_flows: self.connections.gwlb.at(now),
            are_own,
        };
        let mut known = 0;
        while let (Some(frames), Some(lanes)) = (frames.get_mut(known..), lanes.get_mut(known..))
            && let Some(first) = lanes.first()
        {
            let is_opened = first.way == Way::Opened;
            let count = match is_opened {
                false => self.ways_of::<false>(&at, frames, lanes),
                true => self.ways_of::<true>(&at, frames, lanes),
            };
            known += count;
            let next = lanes.get(count);
            if next.is_none_or(|next| (next.way == Way::Opened) == is_opened) {
                // Its way is not known.
                break;
            }
        }
        known
    }

    /// The same of packets `OPENED` out of a tunnel, or of others, as far as there are
    /// only such. (Either has a loop of its own: with both in one the processor's registers
    /// do not suffice.)
    #[inline(never)]
    fn ways_of<const OPENED: bool>(
        &mut self,
        at: &Moment<'_>,
        frames: &mut [Frame],
        lanes: &mut [Lane],
    ) -> usize {
        let mut known = 0;
        for (frame, lane) in frames.iter_mut().zip(lanes) {
            match self.short_way::<OPENED>(at, frame, lane) {
                Some(out) => lane.out = out,
                None => break,
            }
            known += 1;
        }
        known
    }

    /// Makes a packet what it is where it leaves, and says by which port; does
    /// nothing if its way is not known, or it is not as `OPENED` says.
    #[inline(always)]
    fn short_way<const OPENED: bool>(
        &mut self,
        at: &Moment<'_>,
        frame: &mut Frame,
        lane: &Lane,
    ) -> Option<EniId> {
        let now = at.now;
        let sessions = &mut self.connections.sessions;
        // A lane of another way has the key of a packet before, and nothing takes it.
        let found = sessions.guessed4_mut(&lane.key, lane.guess);
        let Some((line, hot)) = found.filter(|(_, hot)| {
            let (takes, way) = match OPENED {
                false => (Takes::Plain, Way::Plain),
                true => (Takes::Opened, Way::Opened),
            };
            hot.takes == takes && lane.way == way && is_open(hot, frame, lane, at.standing)
        }) else {
            let is_other = (lane.way == Way::Opened) != OPENED;
            return if is_other {
                None
            } else {
                self.way_aside(at, frame, lane)
            };
        };
        let more = line_flag::LINKED | line_flag::TUNNEL | line_flag::SHIFTED;
        let more = line.flags & more;
        let is_young = line.seen >= at.young_from;
        if !OPENED && more == line_flag::TUNNEL && is_young {
            let gwlb = &mut self.connections.gwlb;
            let is_told = way_in(gwlb, line, hot, &at.of_flows, frame, lane, None)?;
            let out = hot.out;
            if is_told {
                self.tell_flows(lane, now);
            }
            self.counters.flow_hits += 1;
            return Some(out);
        }
        if more != 0 || !is_young {
            if !OPENED && more == line_flag::SHIFTED && is_young {
                let is_told = shifted_way(line, hot, frame, lane, now)?;
                let out = hot.out;
                if is_told {
                    self.tell_flows(lane, now);
                }
                self.counters.flow_hits += 1;
                return Some(out);
            }
            return match more {
                line_flag::LINKED if is_young => self.way_past(&at.of_flows, frame, lane, None),
                _ if more & line_flag::SHIFTED != 0 => {
                    self.shifted_otherwise(&at.of_flows, frame, lane, is_young)
                }
                _ => self.other_way(&at.of_flows, frame, lane, None),
            };
        }
        let out = hot.out;
        let is_told = if OPENED {
            let gwlb = &mut self.connections.gwlb;
            way_out(gwlb, line, hot, &at.of_flows, frame, lane)?
        } else {
            let is_told = !line.pass(lane.tcp_flags, lane.ip_len, now);
            leave(line, hot, frame, lane);
            is_told
        };
        if is_told {
            self.tell_flows(lane, now);
        }
        self.counters.flow_hits += 1;
        Some(out)
    }

    /// The same for a packet whose direction was not found where it was looked for, or is
    /// not as the packet needs it.
    #[inline(never)]
    fn way_aside(&mut self, at: &Moment<'_>, frame: &mut Frame, lane: &Lane) -> Option<EniId> {
        if lane.way == Way::Six {
            return self.short_way_of_six(at, frame, lane);
        }
        if lane.way == Way::SixOpens {
            return self.first_of_six(at, frame, lane);
        }
        if !matches!(lane.way, Way::Opens | Way::Plain | Way::Opened)
            || (lane.way == Way::Opens && !at.are_own)
        {
            return None;
        }
        let sessions = &self.connections.sessions;
        if !sessions.is_guessed4(&lane.key, lane.guess) {
            return self.way_elsewhere(at, frame, lane);
        }
        match lane.way {
            Way::Opens => {
                let slot = split(lane.guess).0;
                self.reopen_shortly::<u32>(at, frame, lane, &lane.key, slot)
            }
            _ => None,
        }
    }

    /// The same for a packet that is not of the session where it was looked for.
    #[inline(never)]
    fn way_elsewhere(&mut self, at: &Moment<'_>, frame: &mut Frame, lane: &Lane) -> Option<EniId> {
        let mut lane = *lane;
        let sessions = &self.connections.sessions;
        if lane.way == Way::Opened {
            // There was no need of a hash.
            lane.hash = sessions.hash4(&lane.key);
        }
        let found = sessions.find4(&lane.key, lane.hash, lane.guess);
        let is_known = found.is_some_and(|of| sessions.way::<u32>(of).is_some());
        if !is_known && !at.are_own {
            return None;
        }
        let Some(of) = found else {
            return self.open_shortly::<u32>(at, frame, &lane, &lane.key);
        };
        if !is_known {
            return self.answer_shortly::<u32>(at, frame, &lane, &lane.key, of);
        }
        lane.guess = reference(of);
        if lane.way == Way::Opened {
            let ends = lane.key.addresses();
            self.connections.gwlb.expect(lane.from, ends, lane.guess);
            return self.short_way::<true>(at, frame, &lane);
        }
        self.short_way::<false>(at, frame, &lane)
    }

    /// Tells the session's state of a packet that may change it, and the flows whose
    /// tunnels it enters and came out of.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_flows(&mut self, lane: &Lane, now: Instant) {
        let of = split(lane.guess);
        if lane.tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 {
            self.tell_of_end(of, lane, now);
        }
        self.tell(of, lane, now);
    }

    /// Tells the session's state of a packet that may change it.
    #[inline(never)]
    pub(super) fn tell(&mut self, of: (u32, Direction), lane: &Lane, now: Instant) {
        let id = self.connections.sessions.pass_told(of, lane.tcp_flags, now);
        if let Some(id) = id
            && lane.tcp_flags & tcp_flag::RST != 0
            && of.1 == Direction::Reply
        {
            self.connections.reset_from_target(id);
        }
    }
}

/// What is the same for all packets of a batch.
pub(super) struct Moment<'a> {
    pub(super) tables: &'a Snapshot,
    pub(super) now: Instant,
    /// What was found at this table version or a later one stands.
    pub(super) standing: u64,
    /// Nothing that was seen since has timed out.
    young_from: Instant,
    /// The same of gateway load balancer flows.
    of_flows: gwlb::Moment,
    /// Whether its packets are known to be this worker's.
    pub(super) are_own: bool,
}

/// Whether what is done to a direction's packets may be done to this one, as it is, if it
/// is one of those that the action takes.
#[inline(always)]
pub(super) fn is_open(hot: &Hot, frame: &Frame, lane: &Lane, standing: u64) -> bool {
    hot.version >= standing
        && hot.port == frame.port
        && frame.bytes().first_chunk() == Some(&hot.expect)
        && lane.ip_len <= hot.size_max
        && lane.ttl > hot.ttl_less
}

/// Whether nothing of the packet changes behind its Ethernet header: of most within a VPC.
#[inline(always)]
pub(super) const fn leaves_as_it_came(line: &Line<u32>, hot: &Hot) -> bool {
    line.flags & line_flag::SAME != 0 && hot.keeps_ttl()
}

/// Makes a packet what it is where it leaves in no tunnel.
#[inline(always)]
pub(super) fn leave(line: &Line<u32>, hot: &Hot, frame: &mut Frame, lane: &Lane) {
    if leaves_as_it_came(line, hot) {
        write_ethernet(frame, &hot.macs);
    } else {
        Step::new(line, hot, lane).write(frame, lane);
    }
}

/// Writes the Ethernet header of an IPv4 packet.
#[inline(always)]
fn write_ethernet(frame: &mut Frame, macs: &[u8; 12]) {
    if let Some(header) = frame.front_mut::<ETHERNET_LEN>() {
        header[..12].copy_from_slice(macs);
        header[12..].copy_from_slice(&[0x08, 0x00]);
    }
}

/// What is done to its headers.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) out: EniId,
    pub(super) macs: [u8; 12],
    ttl: u8,
    pub(super) src: u32,
    dst: u32,
    pub(super) ports: u32,
    /// What their change adds to checksums.
    sums: Sums,
    /// Whether addresses or ports change.
    moves: bool,
}

impl Step {
    /// What a direction, which no other session tracks, and its action do to the packet
    /// of a lane.
    #[inline(always)]
    pub(super) fn new(line: &Line<u32>, hot: &Hot, lane: &Lane) -> Self {
        Self::with(line.noted_change(), line, hot, lane)
    }

    /// The same where the change adds this to checksums.
    #[inline(always)]
    pub(super) fn with(sums: Sums, line: &Line<u32>, hot: &Hot, lane: &Lane) -> Self {
        Self {
            sums,
            out: hot.out,
            macs: hot.macs,
            ttl: hot.ttl_of(lane.ttl),
            src: line.new_src,
            dst: line.new_dst,
            ports: line.new_ports,
            moves: line.flags & line_flag::SAME == 0,
        }
    }

    /// Writes MAC addresses, TTL, addresses and ports, and mends the checksums
    /// (RFC 1624), in one pass.
    #[inline(always)]
    pub(super) fn write(&self, frame: &mut Frame, lane: &Lane) {
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        if lane.key.protocol() == protocol::TCP {
            if let Some(header) = frame.front_mut::<TCP_END>() {
                let moved = self.write_ip(header, lane);
                if moved {
                    let held = u16::from_ne_bytes([header[L4 + 16], header[L4 + 17]]);
                    let sum = mended(held, self.sums, partial);
                    header[L4 + 16..L4 + 18].copy_from_slice(&sum.to_ne_bytes());
                }
            }
        } else if let Some(header) = frame.front_mut::<UDP_END>() {
            let moved = self.write_ip(header, lane);
            let held = u16::from_ne_bytes([header[L4 + 6], header[L4 + 7]]);
            // Zero says that there is no checksum.
            if moved && (held != 0 || partial) {
                let sum = match mended(held, self.sums, partial) {
                    // A computed zero is sent as all ones (RFC 768).
                    0 if !partial => 0xffff,
                    sum => sum,
                };
                header[L4 + 6..L4 + 8].copy_from_slice(&sum.to_ne_bytes());
            }
        }
    }

    /// The same of a TCP packet of whose header more changes.
    #[inline(always)]
    pub(super) fn write_shifted(&self, frame: &mut Frame, lane: &Lane, change: &Change) {
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        if change.is_longer() {
            change.write_blocks::<LEN_OF_FOUR>(frame.bytes_mut(), L4);
        }
        if let Some(header) = frame.front_mut::<TCP_END>() {
            let sums = self.write_ip(header, lane).then_some(self.sums);
            if let Some(tcp) = header.last_chunk_mut() {
                change.write(tcp, sums, partial);
            }
        }
    }

    /// Everything before the transport checksum; says whether that must change.
    #[inline(always)]
    fn write_ip<const N: usize>(&self, header: &mut [u8; N], lane: &Lane) -> bool {
        let (Some(ethernet), true) = (header.first_chunk_mut::<14>(), N >= UDP_END) else {
            return false;
        };
        ethernet[..12].copy_from_slice(&self.macs);
        ethernet[12..].copy_from_slice(&[0x08, 0x00]);
        let moved = self.moves;
        if moved || self.ttl != lane.ttl {
            // TTL is the first half of its word.
            let [old, new] = [lane.ttl, self.ttl].map(|ttl| u16::from_ne_bytes([ttl, 0]));
            header[22] = self.ttl;
            let held = u16::from_ne_bytes([header[24], header[25]]);
            let words = [!held, self.sums.addresses, !old, new];
            let sum = !fold_word(words.into_iter().map(u32::from).sum());
            header[24..26].copy_from_slice(&sum.to_ne_bytes());
        }
        if moved {
            header[26..30].copy_from_slice(&self.src.to_ne_bytes());
            header[30..34].copy_from_slice(&self.dst.to_ne_bytes());
            header[34..38].copy_from_slice(&self.ports.to_ne_bytes());
        }
        moved
    }
}

/// A transport checksum (as it is sent) to which the change of the packet's headers adds
/// this; a partial one holds the pseudo-header's sum only, without ports.
#[inline(always)]
pub(super) const fn mended(held: u16, sums: Sums, partial: bool) -> u16 {
    if partial {
        fold_word(held as u32 + sums.addresses as u32)
    } else {
        !fold_word(!held as u32 + sums.both as u32)
    }
}

/// Looks at the packet behind an Ethernet header, or, if `INNER`, behind the last
/// bytes of a tunnel's, and fills the lane if it is plain. It must end by `end`, which is
/// within the bytes (or before them). (Its checks are those of `parse_ip`.)
#[inline(always)]
pub(super) fn plain<const INNER: bool>(
    bytes: &[u8],
    end: isize,
    offload: &Offload,
    lane: &mut Lane,
) -> Way {
    let Some(header) = bytes.first_chunk::<UDP_END>() else {
        return Way::Long;
    };
    let native = |at: usize| match header.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(bytes) => u32::from_ne_bytes(*bytes),
        None => 0,
    };
    let half = |at: usize| match header.get(at..).and_then(|rest| rest.first_chunk::<2>()) {
        Some(bytes) => *bytes,
        None => [0; 2],
    };
    // EtherType, version and header length, and TOS, which may be any.
    let known = if INNER {
        [0, 0, 0xff, 0]
    } else {
        [0xff, 0xff, 0xff, 0]
    };
    let known = u32::from_ne_bytes(known);
    let kind = (native(12) ^ u32::from_ne_bytes([0x08, 0x00, 0x45, 0])) & known;
    let part = u16::from_ne_bytes(half(20)) & u16::from_ne_bytes([0x3f, 0xff]);
    // That it is long enough is seen by what it holds.
    let ip_len = u32::from(u16::from_be_bytes(half(16)));
    let fits = (ETHERNET_LEN + ip_len as usize) as isize <= end;
    // A tunnelled packet's frame was found to be whole with its outer header.
    let is_whole = INNER || offload.segmentation == Segmentation::None;
    if kind | u32::from(part) != 0 || !fits || !is_whole {
        return Way::Long;
    }
    let ip = header
        .get(ETHERNET_LEN..)
        .and_then(|rest| rest.first_chunk());
    if !ip.is_some_and(is_right) {
        return Way::Long;
    }
    let misplaced = |field: usize| match offload.checksum {
        // Of a tunnelled packet it is the outer one's.
        Checksum::Partial { start, offset } if !INNER => {
            (usize::from(start), usize::from(offset)) != (L4, field)
        }
        _ => false,
    };
    let protocol = header[23];
    let (way, tcp_flags) = if protocol == protocol::TCP {
        let Some(tcp) = bytes.first_chunk::<TCP_END>() else {
            return Way::Long;
        };
        let header_len = usize::from(tcp[L4 + 12] >> 4) * 4;
        if header_len < 20 || IPV4_LEN + header_len > ip_len as usize {
            return Way::Long;
        }
        let tcp_flags = tcp[L4 + 13];
        if tcp_flags & tcp_flag::SYN != 0 {
            if INNER {
                return Way::Long;
            }
            (Way::Opens, tcp_flags)
        } else if misplaced(16) {
            return Way::Long;
        } else {
            (Way::Plain, tcp_flags)
        }
    } else if protocol == protocol::UDP {
        let udp_len = usize::from(u16::from_be_bytes(half(L4 + 4)));
        if udp_len < 8 || IPV4_LEN + udp_len > ip_len as usize || misplaced(6) {
            return Way::Long;
        }
        if half(36) == GENEVE_PORT.to_be_bytes() {
            lane.from = likely_cookie(bytes);
            return Way::Tunnel;
        }
        (Way::Plain, 0)
    } else {
        return Way::Long;
    };
    let ends = match header.get(26..).and_then(|rest| rest.first_chunk()) {
        Some(ends) => u64::from_ne_bytes(*ends),
        None => 0,
    };
    lane.key.ends = ends;
    lane.key.ports = native(34);
    let end = if INNER { Key4::GWLB } else { Key4::ENI };
    lane.key.kind = end | u16::from(protocol);
    lane.ip_len = ip_len;
    lane.ttl = header[22];
    lane.tcp_flags = tcp_flags;
    way
}
