//! Proxy protocol: a target whose group asks for it gets a header before the
//! client's data, as a segment of its own.
//!
//! The client acknowledges the target's SYN-ACK: the header goes first, then what
//! the client sent. From then on both count the stream's bytes differently, and
//! every packet of the connection is changed to what its receiver counts. Nothing
//! is held back: what overtakes a lost header is put in order by the target. The
//! header is kept by nobody: it is made anew each time it is sent.
//!
//! AWS:    NLB guide "Proxy protocol"; `aws-behaviour.md` §6.2
//! Layout: `packet/proxy.rs`. Numbers: `flow/shift.rs`. Timers: `flow/proxied.rs`.

use super::forward::Arrival;
use super::rewrite::Fit;
use super::{Context, Pipeline, Sink};
use crate::addr::EniId;
use crate::flow::{Direction, Phase, Proxied, Rewrite, SessionId, Shift};
use crate::packet::{
    ETHERNET_LEN, Frame, Headers, ProxyHeader, ProxySegment, TcpHints, TcpNumbers, checksum,
    map_quoted, map_sack, parse_ip, parse_quote_of, protocol, strip_fast_open, tcp_flag,
};
use crate::walk::{Entry, Packet, Path, Verdict, View, walk};

/// Header segments sent again after one batch, at most; the others after the next.
const DUE_MAX: usize = 256;

impl Pipeline {
    /// Sends on a packet of a connection that began with a header, and notes whether later
    /// ones may take the short way.
    pub(super) fn send_shifted<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut arrival: Arrival,
        mut view: View,
        (id, direction): (SessionId, Direction),
        rewrite: &Rewrite,
        fit: Fit,
    ) {
        if view.error.is_some() {
            if let Err(reason) = checksum::complete_partial(&mut arrival.frame) {
                return self.drop_frame(context, arrival.frame, reason);
            }
            if let Some(flow) = self.connections.proxied.get_mut(id) {
                shift_error(&mut arrival.frame, &view, flow, direction);
            }
        } else if view.headers.tuple.protocol == protocol::TCP
            && let Some(numbers) = TcpNumbers::of(arrival.frame.bytes(), &view.headers)
        {
            match direction {
                Direction::Forward => {
                    self.shift_to_target(context, &mut arrival, &mut view, id, numbers, rewrite);
                }
                Direction::Reply => self.shift_to_client(context, &mut arrival, &view, id, numbers),
            }
            let place = match direction {
                Direction::Forward => numbers.seq,
                Direction::Reply => numbers.ack,
            };
            let flow = self.connections.proxied.get_mut(id);
            let settled = flow.and_then(|flow| flow.settled(place));
            self.connections.sessions.note_shift(id, settled);
        }
        self.send_on(context, arrival, &view, rewrite, fit);
    }

    fn shift_to_target<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        arrival: &mut Arrival,
        view: &mut View,
        id: SessionId,
        numbers: TcpNumbers,
        rewrite: &Rewrite,
    ) {
        let flags = view.headers.tcp_flags;
        let hints = TcpHints::of(arrival.frame.bytes(), &view.headers);
        let Some(flow) = self.connections.proxied.open(id, &numbers) else {
            return;
        };
        if flags & tcp_flag::SYN != 0 {
            flow.opens(&numbers, hints.scale, context.now);
            // The client's data must not come before the header.
            let ip_len = strip_fast_open(&mut arrival.frame, &view.headers);
            view.headers.ip_len = ip_len;
            if view.headers.l3 == arrival.wire.l3 {
                arrival.wire.ip_len = ip_len;
            }
            return;
        }
        let ends = flags & (tcp_flag::FIN | tcp_flag::RST) != 0;
        let resets = flags & tcp_flag::RST != 0;
        if flags & tcp_flag::ACK != 0 && !resets {
            flow.heard = numbers;
            flow.timestamps = hints.timestamps;
        }
        let first = flow.phase == Phase::Answered && flags & tcp_flag::ACK != 0 && !resets;
        // The end must find the target where the header has brought it.
        let again = flow.phase == Phase::Sent && ends;
        if first || again {
            self.send_header(context, arrival.frame.port, id, rewrite);
        }
        let Some(flow) = self.connections.proxied.get_mut(id) else {
            return;
        };
        if matches!(flow.phase, Phase::Sent | Phase::Done) {
            count_on(&mut arrival.frame, &view.headers, &flow.shift, &numbers);
        }
        if resets {
            flow.phase = Phase::Done;
        }
    }

    fn shift_to_client<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        arrival: &mut Arrival,
        view: &View,
        id: SessionId,
        numbers: TcpNumbers,
    ) {
        let flags = view.headers.tcp_flags;
        let Some(flow) = self.connections.proxied.get_mut(id) else {
            return;
        };
        let hints = TcpHints::of(arrival.frame.bytes(), &view.headers);
        let is_answer = flags & tcp_flag::SYN != 0;
        if is_answer {
            let len = ProxyHeader::len(view.headers.is_ipv4()) as u32;
            flow.answers(&numbers, hints.scale, len, context.now);
            if hints.fast_open {
                strip_fast_open(&mut arrival.frame, &view.headers);
            }
        }
        if flags & tcp_flag::RST != 0 && flow.phase != Phase::Opening {
            flow.phase = Phase::Done;
        }
        if flags & tcp_flag::ACK == 0 || flow.phase == Phase::Opening {
            return;
        }
        let shift = flow.shift;
        let missing = shift.missing(numbers.ack);
        if missing == 0 && flow.phase == Phase::Sent {
            flow.phase = Phase::Done;
        }
        flow.shift.acknowledged(numbers.ack);
        let overtaken = missing > 0 && hints.sack && flow.is_overtaken(context.now);
        // A SYN's window is not scaled.
        let scale = if is_answer { 0 } else { flow.scale };
        let frame = &mut arrival.frame;
        count_back(frame, &view.headers, &shift, &numbers, scale, hints.sack);
        if overtaken {
            self.send_header_by_itself(context, id);
        }
    }

    /// Sends again every header that waited long enough for an acknowledgement.
    pub(super) fn send_due_headers<S: Sink>(&mut self, context: &mut Context<'_, S>) {
        for _ in 0..DUE_MAX {
            let Some(id) = self.connections.proxied.due(context.now) else {
                return;
            };
            self.send_header_by_itself(context, id);
        }
    }

    /// Sends a header without a client's packet to go with it: the way that such a
    /// packet would go. Nothing else notices.
    #[cold]
    fn send_header_by_itself<S: Sink>(&mut self, context: &mut Context<'_, S>, id: SessionId) {
        let Some(pass) = self.connections.pass(id, Direction::Forward) else {
            return;
        };
        if self.connections.is_current(&pass, context.tables) {
            return self.send_header(context, pass.port, id, &pass.rewrite);
        }
        let Some(rewrite) = self.walk_again(context, id, pass.port, pass.dst_mac) else {
            // No way at the moment; the next time may find one.
            self.connections.proxied.send(id, context.now);
            return;
        };
        self.send_header(context, pass.port, id, &rewrite);
    }

    /// Where the client's packets go now, the tables having changed.
    fn walk_again<S: Sink>(
        &mut self,
        context: &Context<'_, S>,
        id: SessionId,
        port: EniId,
        dst_mac: crate::addr::Mac,
    ) -> Option<Rewrite> {
        let near = self
            .connections
            .sessions
            .held(id)?
            .end(Direction::Forward)?;
        let mut headers = Headers::synthetic(near.tuple);
        headers.tcp_flags = tcp_flag::ACK;
        let mut path = Path::quiet();
        std::mem::swap(&mut path, &mut self.path);
        walk(
            context.tables,
            &self.connections,
            context.now,
            Entry::Port(port, dst_mac),
            &Packet::plain(headers),
            &mut path,
        );
        let found = match path.verdict {
            Verdict::Forward(rewrite) if path.opens_lb.is_none() && path.opens_gwlb.is_none() => {
                Some(rewrite)
            }
            _ => None,
        };
        self.path = path;
        found.filter(|rewrite| rewrite.shifted)
    }

    /// Makes a header's segment, and sends it where the rewrite says.
    #[cold]
    fn send_header<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        port: EniId,
        id: SessionId,
        rewrite: &Rewrite,
    ) {
        let lb = self
            .connections
            .sessions
            .held(id)
            .and_then(|held| held.lb());
        let Some((lb, flow)) = lb.zip(self.connections.proxied.send(id, context.now)) else {
            return;
        };
        let endpoint = lb.endpoint.and_then(|id| context.tables.endpoints.row(id));
        let segment = ProxySegment {
            header: ProxyHeader {
                client: lb.client,
                vpce: endpoint.map(|row| row.vpce),
            },
            tuple: rewrite.tuple,
            seq: flow.shift.base(),
            ack: flow.heard.ack,
            window: flow.heard.window,
            timestamps: flow.timestamps,
        };
        let mut frame = self.pool.take();
        segment.write(&mut frame);
        frame.port = port;
        let Ok(wire) = parse_ip(frame.bytes(), ETHERNET_LEN) else {
            return self.pool.put(frame);
        };
        self.counters.generated += 1;
        self.counters.proxy_headers += 1;
        let arrival = Arrival {
            frame,
            packet: Packet::plain(wire),
            wire,
            entry: Entry::Node(lb.node),
        };
        let rewrite = Rewrite {
            decapsulate: false,
            ..*rewrite
        };
        self.apply(context, arrival, &View::plain(wire), &rewrite);
    }
}

/// Makes the numbers of a client's segment what the target counts.
pub(super) fn count_on(frame: &mut Frame, headers: &Headers, shift: &Shift, numbers: &TcpNumbers) {
    let shifted = TcpNumbers {
        seq: shift.forward(numbers.seq),
        ..*numbers
    };
    shifted.write(frame, headers, numbers);
}

/// Makes the numbers of an acknowledgement, its window and what it selects what the client
/// counts; `scale` is the window field's shift.
pub(super) fn count_back(
    frame: &mut Frame,
    headers: &Headers,
    shift: &Shift,
    numbers: &TcpNumbers,
    scale: u8,
    selects: bool,
) {
    let shifted = TcpNumbers {
        ack: shift.back(numbers.ack),
        window: shift.window(numbers.ack, numbers.window, scale),
        ..*numbers
    };
    shifted.write(frame, headers, numbers);
    if selects {
        map_sack(frame, headers, |edge| shift.back(edge));
    }
}

/// An ICMP error's quoted packet, as whoever sent that counts.
fn shift_error(frame: &mut Frame, view: &View, flow: &Proxied, direction: Direction) {
    if matches!(flow.phase, Phase::Opening | Phase::Answered) {
        return;
    }
    let message = usize::from(view.headers.l4);
    let Some(quoted) = parse_quote_of(frame.bytes(), &view.headers) else {
        return;
    };
    if quoted.tuple.protocol != protocol::TCP {
        return;
    }
    let shift = flow.shift;
    let at = usize::from(quoted.l4);
    let same = |number: u32| number;
    let bytes = frame.bytes_mut();
    match direction {
        // The target complains about the client's packets, or a router before it.
        Direction::Reply => map_quoted(bytes, message, at, |seq| shift.back(seq), same),
        Direction::Forward => map_quoted(bytes, message, at, same, |ack| shift.forward(ack)),
    }
}
