//! The short way of IPv6: as `short`, for plain packets of cached directions.
//!
//! What differs from IPv4 is how a packet is read and written, and that a session takes two
//! lines of memory for each direction. First packets and answers ask their plans, as there.
//! Whatever has extension headers, a tunnel, or another session that tracks it takes the
//! long way.

use super::Pipeline;
use super::shifted::{Change, LEN_OF_SIX, change};
use super::short::{Lane, Moment, Way, is_open, mended};
use crate::addr::EniId;
use crate::flow::{Hot, Key6, Line, Sums, Takes, both_ports};
use crate::packet::{
    Checksum, ETHERNET_LEN, Frame, GENEVE_PORT, IPV6_LEN, Segmentation, ethertype, protocol,
    tcp_flag,
};

/// Where the transport header of a plain packet begins.
pub(super) const L4: usize = ETHERNET_LEN + IPV6_LEN;
/// Ethernet, IPv6 and UDP headers.
const UDP_END: usize = L4 + 8;
/// Ethernet, IPv6 and TCP headers.
const TCP_END: usize = L4 + 20;
/// Where the addresses are.
const SRC: usize = ETHERNET_LEN + 8;
const DST: usize = SRC + 16;

impl Pipeline {
    /// Looks at a frame that is not of plain IPv4 (which `plain` has found), and fetches
    /// what it will need.
    #[inline(never)]
    pub(super) fn look_at_six(&self, frame: &Frame, lane: &mut Lane) -> Way {
        let Some(addresses) = plain(frame, lane) else {
            return Way::Long;
        };
        lane.key.ingress = frame.port.0;
        let sessions = &self.connections.sessions;
        lane.hash = sessions.hash6(&key(addresses, lane));
        sessions.prefetch(lane.hash);
        match lane.tcp_flags & tcp_flag::SYN {
            0 => Way::Six,
            _ => Way::SixOpens,
        }
    }

    /// Makes a packet of IPv6 what it is where it leaves, and says by which port; does
    /// nothing if its way is not known.
    #[inline(never)]
    pub(super) fn short_way_of_six(
        &mut self,
        at: &Moment<'_>,
        frame: &mut Frame,
        lane: &Lane,
    ) -> Option<EniId> {
        let key = key_of(frame.bytes(), lane)?;
        let sessions = &mut self.connections.sessions;
        let Some(of) = sessions.find6(&key, lane.hash, lane.guess) else {
            return self.first_of_six(at, frame, lane);
        };
        if !sessions.is_young::<u128>(of, at.now) {
            return None;
        }
        let Some((line, hot)) = sessions.way6_mut(of) else {
            return self.first_of_six(at, frame, lane);
        };
        let takes = hot.takes == Takes::Plain && line.goes_straight();
        if !takes || !is_open(hot, frame, lane, at.standing) {
            return None;
        }
        let change = match line.is_shifted() {
            true => Some(change::<LEN_OF_SIX, true>(
                frame.bytes(),
                L4,
                of.1,
                line.settled()?,
            )?),
            false => None,
        };
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        let step = Step::new(line, hot, lane);
        let is_told = !line.pass(lane.tcp_flags, lane.ip_len, at.now);
        match change {
            None => step.write(frame.bytes_mut(), &key, partial),
            Some(change) => step.write_shifted(frame.bytes_mut(), &key, partial, &change),
        }
        if is_told {
            self.tell(of, lane, at.now);
        }
        self.counters.flow_hits += 1;
        Some(step.out)
    }

    /// The same for one whose key no session has, or one whose direction has no action, or
    /// a SYN.
    #[inline(never)]
    pub(super) fn first_of_six(
        &mut self,
        at: &Moment<'_>,
        frame: &mut Frame,
        lane: &Lane,
    ) -> Option<EniId> {
        if !at.are_own {
            return None;
        }
        let key = key_of(frame.bytes(), lane)?;
        let sessions = &self.connections.sessions;
        let Some(of) = sessions.find6(&key, lane.hash, lane.guess) else {
            return self.open_shortly::<u128>(at, frame, lane, &key);
        };
        match sessions.way::<u128>(of) {
            None => self.answer_shortly::<u128>(at, frame, lane, &key, of),
            Some(_) if lane.way == Way::SixOpens => {
                self.reopen_shortly::<u128>(at, frame, lane, &key, of.0)
            }
            Some(_) => None,
        }
    }
}

/// The key of a packet that was looked at, of which the lane has no addresses.
#[inline(always)]
pub(super) fn key_of(bytes: &[u8], lane: &Lane) -> Option<Key6> {
    let header = bytes.first_chunk::<UDP_END>()?;
    Some(key((word(header, SRC), word(header, DST)), lane))
}

fn key((src, dst): (u128, u128), lane: &Lane) -> Key6 {
    Key6 {
        src,
        dst,
        ports: lane.key.ports,
        ingress: lane.key.ingress,
        protocol: lane.key.protocol(),
    }
}

/// Reads an address, as keys have it.
#[inline(always)]
fn word<const N: usize>(header: &[u8; N], at: usize) -> u128 {
    match header.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        Some(bytes) => u128::from_ne_bytes(*bytes),
        None => 0,
    }
}

/// Source and destination of a frame that is plain, whose lane is filled. (The checks are
/// those of `parse_ip`.)
#[inline(always)]
fn plain(frame: &Frame, lane: &mut Lane) -> Option<(u128, u128)> {
    let bytes = frame.bytes();
    let header = bytes.first_chunk::<UDP_END>()?;
    let half = |at: usize| match header.get(at..).and_then(|rest| rest.first_chunk::<2>()) {
        Some(bytes) => u16::from_be_bytes(*bytes),
        None => 0,
    };
    let payload_len = usize::from(half(ETHERNET_LEN + 4));
    let is_six = half(12) == ethertype::IPV6 && header[ETHERNET_LEN] >> 4 == 6;
    let fits = payload_len >= 8 && L4 + payload_len <= bytes.len();
    if !(is_six & fits) || frame.offload.segmentation != Segmentation::None {
        return None;
    }
    let protocol = header[ETHERNET_LEN + 6];
    let ports = (half(L4), half(L4 + 2));
    lane.key.ports = both_ports(ports.0, ports.1);
    lane.key.kind = u16::from(protocol);
    lane.ip_len = (IPV6_LEN + payload_len) as u32;
    lane.ttl = header[ETHERNET_LEN + 7];
    let field = if protocol == protocol::TCP {
        let tcp = bytes.first_chunk::<TCP_END>()?;
        let header_len = usize::from(tcp[L4 + 12] >> 4) * 4;
        lane.tcp_flags = tcp[L4 + 13];
        if header_len < 20 || header_len > payload_len {
            return None;
        }
        16
    } else if protocol == protocol::UDP {
        let udp_len = usize::from(half(L4 + 4));
        lane.tcp_flags = 0;
        if udp_len < 8 || udp_len > payload_len || ports.1 == GENEVE_PORT {
            return None;
        }
        6
    } else {
        return None;
    };
    if let Checksum::Partial { start, offset } = frame.offload.checksum
        && (usize::from(start), usize::from(offset)) != (L4, field)
    {
        return None;
    }
    Some((word(header, SRC), word(header, DST)))
}

/// What is done to its headers.
#[derive(Clone, Copy)]
pub(super) struct Step {
    out: EniId,
    macs: [u8; 12],
    ttl: u8,
    src: u128,
    dst: u128,
    ports: u32,
    /// What that adds to checksums.
    sums: Sums,
}

impl Step {
    pub(super) fn new(line: &Line<u128>, hot: &Hot, lane: &Lane) -> Self {
        Self {
            out: hot.out,
            macs: hot.macs,
            ttl: hot.ttl_of(lane.ttl),
            src: line.new_src,
            dst: line.new_dst,
            ports: line.new_ports,
            sums: line.noted_change(),
        }
    }

    /// Writes MAC addresses, hop limit, addresses and ports, and mends the transport
    /// checksum (RFC 1624), which covers them.
    #[inline(always)]
    pub(super) fn write(&self, bytes: &mut [u8], key: &Key6, partial: bool) {
        if key.protocol == protocol::TCP {
            if let Some(header) = bytes.first_chunk_mut::<TCP_END>()
                && self.write_ip(header, key)
            {
                let held = u16::from_ne_bytes([header[L4 + 16], header[L4 + 17]]);
                let sum = mended(held, self.sums, partial);
                header[L4 + 16..L4 + 18].copy_from_slice(&sum.to_ne_bytes());
            }
        } else if let Some(header) = bytes.first_chunk_mut::<UDP_END>()
            && self.write_ip(header, key)
        {
            let held = u16::from_ne_bytes([header[L4 + 6], header[L4 + 7]]);
            // Zero says that there is none, which only tunnels may (RFC 6935).
            if held != 0 || partial {
                let sum = match mended(held, self.sums, partial) {
                    0 if !partial => 0xffff,
                    sum => sum,
                };
                header[L4 + 6..L4 + 8].copy_from_slice(&sum.to_ne_bytes());
            }
        }
    }

    /// The same of a TCP packet of whose header more changes.
    #[inline(never)]
    fn write_shifted(&self, bytes: &mut [u8], key: &Key6, partial: bool, change: &Change) {
        if change.is_longer() {
            change.write_blocks::<LEN_OF_SIX>(bytes, L4);
        }
        if let Some(header) = bytes.first_chunk_mut::<TCP_END>() {
            let sums = self.write_ip(header, key).then_some(self.sums);
            if let Some(tcp) = header.last_chunk_mut() {
                change.write(tcp, sums, partial);
            }
        }
    }

    /// Everything but the checksum; says whether that must change.
    #[inline(always)]
    fn write_ip<const N: usize>(&self, header: &mut [u8; N], key: &Key6) -> bool {
        let (Some(ethernet), true) = (header.first_chunk_mut::<14>(), N >= UDP_END) else {
            return false;
        };
        ethernet[..12].copy_from_slice(&self.macs);
        header[ETHERNET_LEN + 7] = self.ttl;
        let moved = (key.src, key.dst, key.ports) != (self.src, self.dst, self.ports);
        if moved {
            header[SRC..DST].copy_from_slice(&self.src.to_ne_bytes());
            header[DST..L4].copy_from_slice(&self.dst.to_ne_bytes());
            header[L4..L4 + 4].copy_from_slice(&self.ports.to_ne_bytes());
        }
        moved
    }
}
