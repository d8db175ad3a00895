//! A compiled pass applied to a frame: sizes, TTL, tunnel, addresses, MACs.

use std::net::IpAddr;

use super::forward::Arrival;
use super::{Context, Pipeline, Sink};
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::flow::{Rewrite, Tunnel};
use crate::packet::checksum::{self, field_offset};
use crate::packet::{
    Checksum, Delta, ETHERNET_LEN, FiveTuple, Fragment, Frame, GENEVE_OUTER_LEN, GENEVE_PORT,
    GeneveOuter, Headers, Offload, Segmentation, Train, clamp_mss, echo_identifier, ethertype,
    parse_ip, protocol, segment, tcp_flag,
};
use crate::walk::View;

/// How a packet passes the hops of its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// As it is.
    Whole,
    /// In fragments of at most this many bytes.
    Fragments(u32),
    /// Not at all.
    Not,
}

/// Whether size and TTL let the packet pass every hop.
pub(super) fn fit(view: &View, rewrite: &Rewrite) -> Fit {
    let ttl = view.headers.ttl;
    let limits = &rewrite.limits;
    if rewrite.ttl_less > 0 && ttl <= rewrite.ttl_less {
        return Fit::Not;
    }
    if limits.allow(view.size) {
        return Fit::Whole;
    }
    let silent = limits.silent.is_some_and(|(bytes, _)| view.size > bytes);
    match limits.too_big {
        Some((mtu, _))
            if !silent
                && view.headers.is_ipv4()
                && !view.headers.dont_fragment
                && rewrite.tunnel.is_none() =>
        {
            Fit::Fragments(mtu)
        }
        _ => Fit::Not,
    }
}

impl Pipeline {
    /// Does everything that the rewrite says, and sends the frame on.
    pub(super) fn apply<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        arrival: Arrival,
        view: &View,
        rewrite: &Rewrite,
    ) {
        let Arrival {
            mut frame,
            mut wire,
            ..
        } = arrival;
        if rewrite.decapsulate {
            wire = decapsulate(&mut frame, view);
        }
        set_ttl(frame.bytes_mut(), &wire, rewrite);
        if view.error.is_some() {
            if let Err(reason) = checksum::complete_partial(&mut frame) {
                return self.drop_frame(context, frame, reason);
            }
            super::replies::rewrite_error(
                frame.bytes_mut(),
                &wire,
                &view.headers.tuple,
                &rewrite.tuple,
            );
        } else if wire.is_icmp_error() && view.headers.tuple != rewrite.tuple {
            if let Err(reason) = checksum::complete_partial(&mut frame) {
                return self.drop_frame(context, frame, reason);
            }
            super::replies::rewrite_unrelated(frame.bytes_mut(), &wire, &rewrite.tuple);
        } else {
            translate(&mut frame, &wire, &view.headers.tuple, &rewrite.tuple);
            if let Some(limit) = rewrite.clamp_mss
                && wire.tcp_flags & tcp_flag::SYN != 0
            {
                clamp_mss(&mut frame, &wire, limit);
            }
        }
        match rewrite.tunnel {
            None => self.emit(context, frame, wire.is_ipv4(), rewrite),
            Some(tunnel) => self.put_in_tunnel(context, frame, &wire, rewrite, &tunnel),
        }
    }

    /// MAC addresses, and out.
    pub(super) fn emit<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut frame: Frame,
        ipv4: bool,
        rewrite: &Rewrite,
    ) {
        let kind = if ipv4 {
            ethertype::IPV4
        } else {
            ethertype::IPV6
        };
        if let Some(header) = frame.bytes_mut().first_chunk_mut::<ETHERNET_LEN>() {
            header[..6].copy_from_slice(&rewrite.dst_mac.0);
            header[6..12].copy_from_slice(&rewrite.src_mac.0);
            header[12..].copy_from_slice(&kind.to_be_bytes());
        }
        if rewrite.local {
            // A local stack has no offloads.
            let mut pieces = self.segment(context, frame);
            for piece in pieces.drain(..) {
                self.let_go(context);
                self.counters.local += 1;
                context.sink.local(rewrite.out, piece);
            }
            self.lists.push(pieces);
        } else if self.joining.is_on {
            self.join(
                context,
                rewrite.out,
                frame,
                rewrite.tunnel.as_ref().map(outer),
            );
        } else {
            self.transmit(context, rewrite.out, frame);
        }
    }

    /// Puts the tunnel header on. The inner packet goes with a full checksum,
    /// and in segments that fit: the appliance's socket gets it as it is. All
    /// segments of a super-packet travel as one train.
    pub(super) fn put_in_tunnel<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut frame: Frame,
        wire: &Headers,
        rewrite: &Rewrite,
        tunnel: &Tunnel,
    ) {
        if frame.offload.segmentation != Segmentation::None {
            let mut train: Option<Train> = None;
            let mut pieces = self.segment(context, frame);
            for mut piece in pieces.drain(..) {
                encapsulate(&mut piece, wire, tunnel);
                if train.as_mut().is_some_and(|train| train.hang_on(&piece)) {
                    // Not a frame of its own after all.
                    self.counters.generated -= 1;
                    self.pool.put(piece);
                } else if let Some(full) = train.replace(Train::new(piece)) {
                    self.emit(context, full.finish(&outer(tunnel)), true, rewrite);
                }
            }
            if let Some(last) = train {
                self.emit(context, last.finish(&outer(tunnel)), true, rewrite);
            }
            self.lists.push(pieces);
            return;
        }
        // Ethernet padding is no part of the packet.
        frame.resize(ETHERNET_LEN + wire.ip_len as usize);
        if let Err(reason) = checksum::complete_partial(&mut frame) {
            return self.drop_frame(context, frame, reason);
        }
        encapsulate(&mut frame, wire, tunnel);
        self.emit(context, frame, true, rewrite);
    }

    /// Cuts a super-packet into ordinary ones with full checksums; none, and
    /// the drop counted, if it is not what it says. The list goes back to `lists`.
    pub(super) fn segment<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        frame: Frame,
    ) -> Vec<Frame> {
        let port = frame.port;
        let mut pieces = self.lists.pop().unwrap_or_default();
        let cut = segment(frame, &mut self.pool, &mut |piece| pieces.push(piece));
        self.count_pieces(context, port, cut, pieces)
    }

    /// Books the pieces that one frame became.
    pub(super) fn count_pieces<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        port: EniId,
        cut: Result<usize, DropReason>,
        mut pieces: Vec<Frame>,
    ) -> Vec<Frame> {
        match cut {
            Ok(count) => self.counters.generated += (count as u64).saturating_sub(1),
            Err(reason) => {
                pieces.drain(..).for_each(|piece| self.pool.put(piece));
                self.let_go(context);
                self.counters.drop(reason);
                context.sink.dropped(port, reason, &[]);
            }
        }
        for piece in &mut pieces {
            piece.port = port;
        }
        pieces
    }
}

/// Removes the outer headers; returns the inner headers where they now are.
pub(super) fn decapsulate(frame: &mut Frame, view: &View) -> Headers {
    let l3 = view.headers.l3;
    frame.pull_front(usize::from(l3) - ETHERNET_LEN);
    // Whatever the outer checksum's state was, it is gone with the header.
    frame.offload = Offload::default();
    let shift = l3 - ETHERNET_LEN as u16;
    let moved = Headers {
        l3: ETHERNET_LEN as u16,
        l4: view.headers.l4 - shift,
        ..view.headers
    };
    // The view of an error or a later fragment has its flow's tuple.
    let own = view.error.is_none() && view.headers.fragment != Fragment::Later;
    let inner = if own {
        moved
    } else {
        parse_ip(frame.bytes(), ETHERNET_LEN).unwrap_or(moved)
    };
    // Bytes after the inner packet were the outer one's padding.
    frame.resize(ETHERNET_LEN + inner.ip_len as usize);
    inner
}

/// The outer packet of a tunnel.
fn outer(tunnel: &Tunnel) -> FiveTuple {
    FiveTuple {
        src: tunnel.node.into(),
        dst: tunnel.target.into(),
        protocol: protocol::UDP,
        sport: tunnel.source_port,
        dport: GENEVE_PORT,
    }
}

fn encapsulate(frame: &mut Frame, inner: &Headers, tunnel: &Tunnel) {
    let ip_len = frame.len().saturating_sub(ETHERNET_LEN);
    frame.pull_front(ETHERNET_LEN);
    frame.offload = Offload::default();
    let bytes = frame.push_front(ETHERNET_LEN + GENEVE_OUTER_LEN);
    let outer = GeneveOuter {
        src: tunnel.node,
        dst: tunnel.target,
        source_port: tunnel.source_port,
        endpoint_id: tunnel.vpce,
        cookie: tunnel.cookie,
        ttl: tunnel.ttl,
    };
    if let Some(place) = bytes
        .get_mut(ETHERNET_LEN..)
        .and_then(|b| b.first_chunk_mut::<GENEVE_OUTER_LEN>())
    {
        let ip_len = u16::try_from(ip_len).unwrap_or(u16::MAX);
        outer.encode(place, ip_len, !inner.is_ipv4());
    }
}

fn set_ttl(bytes: &mut [u8], wire: &Headers, rewrite: &Rewrite) {
    let ttl = rewrite
        .ttl_set
        .unwrap_or(wire.ttl.saturating_sub(rewrite.ttl_less));
    if ttl == wire.ttl {
        return;
    }
    let l3 = usize::from(wire.l3);
    if wire.is_ipv4() {
        if let Some(header) = bytes.get_mut(l3..).and_then(|b| b.first_chunk_mut::<20>()) {
            let old = u16::from_be_bytes([header[8], header[9]]);
            header[8] = ttl;
            let new = u16::from_be_bytes([header[8], header[9]]);
            let delta = Delta::default().replace16(old, new);
            let sum = delta.apply(u16::from_be_bytes([header[10], header[11]]));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
    } else if let Some(place) = bytes.get_mut(l3 + 7) {
        *place = ttl;
    }
}

/// Writes new addresses and ports and mends the checksums that cover them.
fn translate(frame: &mut Frame, wire: &Headers, old: &FiveTuple, new: &FiveTuple) {
    if old == new {
        return;
    }
    let addresses = Delta::default()
        .replace_addr(old.src, new.src)
        .replace_addr(old.dst, new.dst);
    let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
    let bytes = frame.bytes_mut();
    write_addresses(bytes, usize::from(wire.l3), new.src, new.dst, addresses);
    if wire.fragment == Fragment::Later {
        return;
    }
    let l4 = usize::from(wire.l4);
    let transport = matches!(wire.tuple.protocol, protocol::TCP | protocol::UDP);
    let mut delta = addresses;
    if transport && (old.sport, old.dport) != (new.sport, new.dport) {
        delta = delta
            .replace16(old.sport, new.sport)
            .replace16(old.dport, new.dport);
        if let Some(ports) = bytes.get_mut(l4..).and_then(|b| b.first_chunk_mut::<4>()) {
            ports[..2].copy_from_slice(&new.sport.to_be_bytes());
            ports[2..].copy_from_slice(&new.dport.to_be_bytes());
        }
    }
    // ICMPv4 has no pseudo-header; ICMPv6, TCP and UDP do.
    if wire.tuple.protocol == protocol::ICMP {
        if let (Some(was), Some(is)) = (echo_identifier(old), echo_identifier(new)) {
            write_identifier(frame.bytes_mut(), l4, (was, is), partial);
        }
        return;
    }
    let Some(offset) = field_offset(wire.tuple.protocol) else {
        return;
    };
    if let Some(field) = bytes
        .get_mut(l4 + offset..)
        .and_then(|b| b.first_chunk_mut::<2>())
    {
        let held = u16::from_be_bytes(*field);
        *field = match (partial, wire.tuple.protocol) {
            (true, _) => addresses.apply_partial(held),
            (false, protocol::UDP) => delta.apply_udp(held),
            (false, _) => delta.apply(held),
        }
        .to_be_bytes();
    }
}

/// Gives an echo another identifier, and mends its checksum unless that is still
/// to be made.
pub(super) fn write_identifier(bytes: &mut [u8], l4: usize, (was, is): (u16, u16), partial: bool) {
    if was == is {
        return;
    }
    let Some(header) = bytes.get_mut(l4..).and_then(|b| b.first_chunk_mut::<8>()) else {
        return;
    };
    header[4..6].copy_from_slice(&is.to_be_bytes());
    if !partial {
        let sum = Delta::default()
            .replace16(was, is)
            .apply(u16::from_be_bytes([header[2], header[3]]));
        header[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Writes the addresses of an IP header and mends its own checksum.
pub(super) fn write_addresses(bytes: &mut [u8], l3: usize, src: IpAddr, dst: IpAddr, delta: Delta) {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            if let Some(header) = bytes.get_mut(l3..).and_then(|b| b.first_chunk_mut::<20>()) {
                header[12..16].copy_from_slice(&src.octets());
                header[16..].copy_from_slice(&dst.octets());
                let sum = delta.apply(u16::from_be_bytes([header[10], header[11]]));
                header[10..12].copy_from_slice(&sum.to_be_bytes());
            }
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            if let Some(header) = bytes.get_mut(l3..).and_then(|b| b.first_chunk_mut::<40>()) {
                header[8..24].copy_from_slice(&src.octets());
                header[24..].copy_from_slice(&dst.octets());
            }
        }
        _ => {}
    }
}
