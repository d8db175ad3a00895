//! The numbers of TCP headers behind a proxy protocol header, as a part of the short way's
//! one rewrite: once the target has the header, sequence numbers of the client's grow by its
//! length, and acknowledgements of the target's, selective ones too, shrink by it.
//!
//! From which number on there is nothing else to do stands with the direction
//! (`flow::Settled`); of those that another session tracks, or that enter a tunnel, it is
//! asked of what is known of the connection. The beginning of a connection, and whatever
//! still speaks of the header, take the long way (`proxy`).

use super::Pipeline;
use super::short::{L4, Lane, Step, Way};
use crate::addr::EniId;
use crate::flow::{Direction, Hot, Line, Settled, Sums, split};
use crate::gwlb::Moment;
use crate::packet::checksum::fold_few;
use crate::packet::{Frame, ProxyHeader, SACK, TcpOptions, tcp_flag};
use crate::time::Instant;

/// A TCP header without options.
const TCP_LEN: usize = 20;
/// What a header begins its options with that has timestamps and nothing else (RFC 7323,
/// appendix A).
const TIMESTAMPS_ONLY: [u8; 4] = [1, 1, 8, 10];

impl Pipeline {
    /// The short way of an IPv4 packet of such a connection out of a tunnel or into one,
    /// past another session, or of which nothing was seen for long; does nothing if it is
    /// for the long way, or one of those that it needs does not live.
    #[inline(never)]
    pub(super) fn shifted_otherwise(
        &mut self,
        at: &Moment,
        frame: &mut Frame,
        lane: &Lane,
        is_young: bool,
    ) -> Option<EniId> {
        let of = split(lane.guess);
        let id = self.connections.sessions.id(of.0)?;
        let begins = match lane.way {
            Way::Opened => usize::from(lane.begins) + L4,
            _ => L4,
        };
        let bytes = frame.bytes();
        let flow = self.connections.proxied.get_mut(id)?;
        let settled = flow.settled(number_of_target(bytes.get(begins..)?, of.1)?)?;
        let change = change::<LEN_OF_FOUR, true>(bytes, begins, of.1, settled)?;
        let is_tunnelled = self
            .connections
            .sessions
            .way::<u32>(of)?
            .0
            .tunnel()
            .is_some();
        match is_young && !is_tunnelled {
            true => self.way_past(at, frame, lane, Some(&change)),
            false => self.other_way(at, frame, lane, Some(&change)),
        }
    }
}

/// On, where the direction leads into no tunnel and no other session tracks it; says whether
/// the session must be told of the packet. `None`, and nothing is done, if it is for the
/// long way.
#[inline(never)]
pub(super) fn shifted_way(
    line: &mut Line<u32>,
    hot: &Hot,
    frame: &mut Frame,
    lane: &Lane,
    now: Instant,
) -> Option<bool> {
    let (direction, settled) = (split(lane.guess).1, line.settled()?);
    let Some(change) = change::<LEN_OF_FOUR, false>(frame.bytes(), L4, direction, settled) else {
        return shifted_way_of_options(line, hot, frame, lane, now);
    };
    Some(shift(line, hot, frame, lane, now, &change))
}

/// The same of a packet whose options are to be looked at.
#[cold]
#[inline(never)]
fn shifted_way_of_options(
    line: &mut Line<u32>,
    hot: &Hot,
    frame: &mut Frame,
    lane: &Lane,
    now: Instant,
) -> Option<bool> {
    let (direction, settled) = (split(lane.guess).1, line.settled()?);
    let change = change::<LEN_OF_FOUR, true>(frame.bytes(), L4, direction, settled)?;
    Some(shift(line, hot, frame, lane, now, &change))
}

#[inline(always)]
fn shift(
    line: &mut Line<u32>,
    hot: &Hot,
    frame: &mut Frame,
    lane: &Lane,
    now: Instant,
    change: &Change,
) -> bool {
    let is_told = !line.pass(lane.tcp_flags, lane.ip_len, now);
    Step::new(line, hot, lane).write_shifted(frame, lane, change);
    is_told
}

/// Bytes of the header before a stream over IPv4, and over IPv6.
pub(super) const LEN_OF_FOUR: u32 = ProxyHeader::len(true) as u32;
pub(super) const LEN_OF_SIX: u32 = ProxyHeader::len(false) as u32;

/// How a TCP header is to change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// Which of its words of 32 bits, and what it becomes.
    word: usize,
    new: u32,
    /// Selective acknowledgements: where the first begins in the options, and how many
    /// numbers there are.
    blocks: (u8, u8),
    /// What that adds to a ones'-complement sum of words as they are sent.
    adds: u64,
}

/// How a direction's TCP header at `l4`, all of which is there, changes before whose stream
/// there were `LEN` bytes; `None` where that is not all that there is to do, or, but for `ALL`,
/// options are to be looked at.
#[inline(always)]
pub(super) fn change<const LEN: u32, const ALL: bool>(
    bytes: &[u8],
    l4: usize,
    direction: Direction,
    settled: Settled,
) -> Option<Change> {
    let header = bytes.get(l4..)?.first_chunk::<TCP_LEN>()?;
    let word = 1 + direction.index();
    let old = u32::from_ne_bytes(*header.as_chunks::<4>().0.get(word)?);
    let number = u32::from_be(old);
    let (mut blocks, mut adds) = ((0, 0), 0);
    let new = match direction {
        Direction::Forward => number.wrapping_add(LEN),
        Direction::Reply => {
            if header[13] & tcp_flag::ACK == 0 || !settled.covers(number) {
                return None;
            }
            let len = usize::from(header[12] >> 4) * 4;
            let options = || bytes.get(l4 + TCP_LEN..)?.first_chunk::<4>();
            let is_plain =
                len == TCP_LEN || (len == TCP_LEN + 12 && options() == Some(&TIMESTAMPS_ONLY));
            if !is_plain && !ALL {
                return None;
            }
            if !is_plain {
                let options = bytes.get(l4 + TCP_LEN..l4 + len)?;
                (blocks, adds) = selected::<LEN>(options, settled)?;
            }
            number.wrapping_sub(LEN)
        }
    };
    let new = new.to_be();
    adds += u64::from(!old) + u64::from(new);
    Some(Change {
        word,
        new,
        blocks,
        adds,
    })
}

/// Selective acknowledgements among options, and what their change adds. (`map_sack` is what
/// the long way does.)
#[inline(never)]
fn selected<const LEN: u32>(options: &[u8], settled: Settled) -> Option<((u8, u8), u64)> {
    let Some(sack) = TcpOptions::new(options).find(|option| option.kind == SACK) else {
        return Some(((0, 0), 0));
    };
    let (blocks, rest) = sack.value.as_chunks::<8>();
    if blocks.is_empty() || !rest.is_empty() {
        return None;
    }
    let mut adds = 0;
    for [a, b, c, d, e, f, g, h] in blocks {
        let edges = [[*a, *b, *c, *d], [*e, *f, *g, *h]];
        // Of an empty block nothing is left on the long way.
        if edges[0] == edges[1] {
            return None;
        }
        for edge in edges {
            let number = u32::from_be_bytes(edge);
            if !settled.covers(number) {
                return None;
            }
            let new = number.wrapping_sub(LEN).to_be();
            adds += u64::from(!u32::from_ne_bytes(edge)) + u64::from(new);
        }
    }
    // At an odd place each byte is the other half of its word.
    if sack.at % 2 == 1 {
        adds = u64::from(fold_few(adds).swap_bytes());
    }
    Some(((sack.at as u8, 2 * blocks.len() as u8), adds))
}

impl Change {
    /// Whether it is of more than the header without options.
    #[inline(always)]
    pub(super) const fn is_longer(&self) -> bool {
        self.blocks.1 != 0
    }

    /// Writes what lies in the options of the header at `l4`.
    #[inline(never)]
    pub(super) fn write_blocks<const LEN: u32>(&self, bytes: &mut [u8], l4: usize) {
        let (at, count) = (usize::from(self.blocks.0), usize::from(self.blocks.1));
        let edges = bytes.get_mut(l4 + TCP_LEN + at..).unwrap_or_default();
        for edge in edges.as_chunks_mut::<4>().0.iter_mut().take(count) {
            *edge = u32::from_be_bytes(*edge).wrapping_sub(LEN).to_be_bytes();
        }
    }

    /// Writes the number, and mends the checksum, which the change of addresses and ports
    /// (if there is any) adds to as well. Numbers are no part of a partial one.
    #[inline(always)]
    pub(super) fn write(&self, tcp: &mut [u8; TCP_LEN], sums: Option<Sums>, partial: bool) {
        if let Some(word) = tcp.as_chunks_mut::<4>().0.get_mut(self.word) {
            *word = self.new.to_ne_bytes();
        }
        let held = u16::from_ne_bytes([tcp[16], tcp[17]]);
        let sum = if partial {
            let addresses = sums.map_or(0, |sums| sums.addresses);
            fold_few(u64::from(held) + u64::from(addresses))
        } else {
            let both = sums.map_or(0, |sums| sums.both);
            !fold_few(u64::from(!held) + u64::from(both) + self.adds)
        };
        tcp[16..18].copy_from_slice(&sum.to_ne_bytes());
    }
}

/// The number of a TCP header by which its stream's place is known, as the target counts or
/// nearly so.
fn number_of_target(tcp: &[u8], direction: Direction) -> Option<u32> {
    let words = tcp.first_chunk::<TCP_LEN>()?.as_chunks::<4>().0;
    words
        .get(1 + direction.index())
        .map(|word| u32::from_be_bytes(*word))
}

#[cfg(test)]
#[path = "shifted/tests.rs"]
mod tests;
