//! The short way of connections that began with a proxy protocol header, once the target
//! has it: one number of each TCP header changes, the rest is as of any other packet.
//!
//! The beginning of such a connection, selective acknowledgements of a target, and whatever
//! still speaks of the header take the long way (`proxy`).

use super::Pipeline;
use super::short::{L4, Lane, Way};
use crate::addr::EniId;
use crate::flow::{Direction, Phase, ProxiedFlows, SessionId};
use crate::gwlb::Moment;
use crate::packet::checksum::fold_few;
use crate::packet::{Checksum, Frame, tcp_flag};

/// A TCP header without options.
const TCP_LEN: usize = 20;
/// What a header begins its options with that has timestamps and nothing else (RFC 7323,
/// appendix A).
const TIMESTAMPS_ONLY: [u8; 4] = [1, 1, 8, 10];

impl Pipeline {
    /// The short way of an IPv4 packet of such a connection; does nothing if it is for the
    /// long way, or one of those that it needs does not live.
    #[inline(never)]
    pub(super) fn shifted_way(
        &mut self,
        at: &Moment,
        frame: &mut Frame,
        lane: &Lane,
        of: (u32, Direction),
        is_young: bool,
    ) -> Option<EniId> {
        let sessions = &self.connections.sessions;
        let id = sessions.id(of.0)?;
        let l4 = match lane.way {
            Way::Opened => usize::from(lane.begins) + L4,
            _ => L4,
        };
        let was = shift(&mut self.connections.proxied, (id, of.1), frame, l4)?;
        let is_tunnelled = sessions.way4(of)?.0.tunnel().is_some();
        let out = match is_young && !is_tunnelled {
            true => self.way_past(at, frame, lane, of),
            false => self.other_way(at, frame, lane, of),
        };
        if out.is_none() {
            // The long way counts from what came.
            was.put_back(frame);
        }
        out
    }
}

/// What stood in a TCP header: the number that was changed, and the checksum.
pub(super) struct Was {
    at: usize,
    number: [u8; 4],
    l4: usize,
    checksum: [u8; 2],
}

impl Was {
    fn put_back(&self, frame: &mut Frame) {
        if let Some(header) = header_mut(frame, self.l4) {
            header[self.at..self.at + 4].copy_from_slice(&self.number);
            header[16..18].copy_from_slice(&self.checksum);
        }
    }
}

fn header_mut(frame: &mut Frame, l4: usize) -> Option<&mut [u8; TCP_LEN]> {
    frame.bytes_mut().get_mut(l4..)?.first_chunk_mut()
}

/// Makes the number in the TCP header at `l4` what the receiver counts; `None`, and nothing is
/// done, where that is not all that there is to do.
#[inline(never)]
pub(super) fn shift(
    flows: &mut ProxiedFlows,
    (id, direction): (SessionId, Direction),
    frame: &mut Frame,
    l4: usize,
) -> Option<Was> {
    let flow = flows.get_mut(id).filter(|flow| flow.phase == Phase::Done)?;
    // An inner packet's is never partial; and numbers are no part of a partial sum.
    let partial = match frame.offload.checksum {
        Checksum::Partial { start, .. } => usize::from(start) == l4,
        Checksum::Unverified | Checksum::Verified => false,
    };
    let options = frame.bytes().get(l4 + TCP_LEN..)?.first_chunk::<4>();
    let is_usual = options == Some(&TIMESTAMPS_ONLY);
    let header = header_mut(frame, l4)?;
    let [_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, len, flags, ..] = *header;
    let (at, old, new) = match direction {
        Direction::Forward => {
            let seq = u32::from_be_bytes([s0, s1, s2, s3]);
            (4, seq, flow.shift.forward(seq))
        }
        Direction::Reply => {
            let ack = u32::from_be_bytes([a0, a1, a2, a3]);
            let is_plain = match len >> 4 {
                5 => true,
                8 => is_usual,
                _ => false,
            };
            let has_ack = flags & tcp_flag::ACK != 0;
            if !is_plain || !has_ack || flow.shift.missing(ack) != 0 || flow.shift.gets_far(ack) {
                return None;
            }
            (8, ack, flow.shift.back(ack))
        }
    };
    let was = Was {
        at,
        number: old.to_be_bytes(),
        l4,
        checksum: [header[16], header[17]],
    };
    header[at..at + 4].copy_from_slice(&new.to_be_bytes());
    if !partial {
        let held = u64::from(!u16::from_be_bytes(was.checksum));
        let sum = !fold_few(held + u64::from(!old) + u64::from(new));
        header[16..18].copy_from_slice(&sum.to_be_bytes());
    }
    Some(was)
}
