//! What the data plane says itself: ICMP errors, TCP resets, echo replies; and
//! how the ICMP errors of others are carried through a translation.

use std::net::IpAddr;

use super::forward::Arrival;
use super::rewrite::{decapsulate, write_addresses, write_identifier};
use super::{Context, Pipeline, Sink};
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::flow::{Ingress, Key, Nats, Rewrite};
use crate::packet::checksum;
use crate::packet::{
    Delta, ETHERNET_LEN, Endpoints, FiveTuple, Fragment, Headers, IcmpError, TcpReset,
    echo_identifier, echo_reply, fragment_ipv4, may_cause_error, parse_ip, parse_quote_of,
    protocol,
};
use crate::tables::{EniKind, Snapshot};
use crate::walk::{View, router_address};

/// Longest chain of tunnels followed back to a sender.
const CHAIN_MAX: usize = 16;

impl Pipeline {
    /// Too large, or out of TTL, for a hop of its way.
    #[cold]
    pub(super) fn does_not_fit<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        arrival: Arrival,
        view: &View,
        rewrite: &Rewrite,
        nats: &Nats,
    ) {
        let limits = rewrite.limits;
        if let Some((bytes, reason)) = limits.silent
            && view.size > bytes
        {
            return self.drop_frame(context, arrival.frame, reason);
        }
        if let Some((mtu, source)) = limits.too_big
            && view.size > mtu
        {
            if source.is_unspecified() {
                return self.drop_frame(context, arrival.frame, DropReason::Mtu);
            }
            let error = IcmpError::too_big(&view.headers, mtu);
            return self.refuse(context, arrival, view, error, source, DropReason::Mtu);
        }
        let error = IcmpError::time_exceeded(&view.headers);
        let source = self
            .aging_gateway(context.tables, &arrival, view, rewrite, nats)
            .unwrap_or_else(|| self.nearest_router(context.tables, &arrival, view));
        self.refuse(
            context,
            arrival,
            view,
            error,
            source,
            DropReason::TtlExpired,
        );
    }

    /// Splits a packet that may be fragmented, and sends the pieces on. One that
    /// leaves a tunnel leaves it first, a super-packet is segmented first.
    #[cold]
    pub(super) fn fragment<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut arrival: Arrival,
        view: &View,
        rewrite: &Rewrite,
        mtu: u32,
    ) {
        let port = arrival.frame.port;
        if rewrite.decapsulate {
            decapsulate(&mut arrival.frame, view);
        }
        let rewrite = Rewrite {
            decapsulate: false,
            ..*rewrite
        };
        let mut packets = self.segment(context, arrival.frame);
        for whole in packets.drain(..) {
            let mut pieces = self.lists.pop().unwrap_or_default();
            let emit = &mut |piece| pieces.push(piece);
            let cut = fragment_ipv4(whole, mtu as usize, &mut self.pool, emit);
            pieces = self.count_pieces(context, port, cut, pieces);
            for frame in pieces.drain(..) {
                let Ok(wire) = parse_ip(frame.bytes(), ETHERNET_LEN) else {
                    self.drop_frame(context, frame, DropReason::MalformedIp);
                    continue;
                };
                let piece = Arrival {
                    frame,
                    wire,
                    packet: arrival.packet,
                    entry: arrival.entry,
                };
                self.apply(context, piece, view, &rewrite);
            }
            self.lists.push(pieces);
        }
        self.lists.push(packets);
    }

    fn nearest_router(&self, tables: &Snapshot, arrival: &Arrival, view: &View) -> IpAddr {
        let subnet = tables
            .enis
            .row(arrival.frame.port)
            .map(|eni| eni.subnet)
            .unwrap_or_default();
        match router_address(tables, subnet, view.headers.is_ipv4()) {
            // The internet has no one router: the far end speaks for it.
            IpAddr::V4(address) if address.octets()[0] == 0 => view.headers.tuple.dst,
            address => address,
        }
    }

    /// The NAT gateway's address, as the sender knows it, if it is the only hop that
    /// takes of the TTL: it is what traceroute shows (VPC guide "NAT gateway
    /// troubleshooting").
    fn aging_gateway(
        &self,
        tables: &Snapshot,
        arrival: &Arrival,
        view: &View,
        rewrite: &Rewrite,
        nats: &Nats,
    ) -> Option<IpAddr> {
        let ours = rewrite.ttl_less == tables.settings.ttl_nat_gateway;
        let vpc = tables.enis.row(arrival.frame.port)?.vpc;
        let is_gateway = |address: IpAddr| {
            let public = tables.public_owner(address);
            let owner = public.or_else(|| tables.owner(vpc, address))?;
            let kind = tables.enis.row(owner)?.kind;
            matches!(kind, EniKind::NatGateway(_)).then_some(())
        };
        let (inside, outside) = (rewrite.tuple.src, view.headers.tuple.dst);
        // Behind a load balancer it translates, and takes of, another packet than this.
        let mut nats = nats.iter().flatten();
        let own = nats.any(|nat| nat.client == view.headers.tuple);
        if !ours {
            None
        } else if own && is_gateway(inside).is_some() {
            Some(tables.private_of(inside))
        } else {
            is_gateway(outside).map(|()| outside)
        }
    }

    /// Drops the packet and tells its sender why, where that is allowed.
    fn refuse<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        mut arrival: Arrival,
        view: &View,
        error: IcmpError,
        source: IpAddr,
        reason: DropReason,
    ) {
        let tables = context.tables;
        // A packet out of a tunnel has its sender elsewhere.
        let (port, about) = if view.headers.l3 == arrival.wire.l3 {
            (Some(arrival.frame.port), arrival.wire)
        } else {
            (self.sender_of(&arrival, view), view.headers)
        };
        let told = port.filter(|_| {
            let allowed = may_cause_error(&about) && view.error.is_none();
            allowed && source.is_ipv4() == about.is_ipv4()
        });
        let ends = told.and_then(|port| {
            let eni = tables.enis.row(port)?;
            let subnet = tables.subnets.row(eni.subnet)?;
            let ends = Endpoints {
                src_mac: subnet.router_mac,
                dst_mac: eni.mac,
                src: source,
                dst: about.tuple.src,
            };
            Some((port, ends))
        });
        if let Some((port, ends)) = ends {
            if checksum::complete_partial(&mut arrival.frame).is_err() {
                return self.drop_frame(context, arrival.frame, DropReason::MalformedTransport);
            }
            let mut reply = self.pool.take();
            error.write(&mut reply, &ends, arrival.frame.bytes(), &about);
            reply.port = port;
            self.counters.generated += 1;
            self.give_back(context, port, reply);
        }
        self.drop_frame(context, arrival.frame, reason);
    }

    /// The interface that sent what now comes out of a tunnel, if it sent it as
    /// it now is: an error about a translated packet would tell it nothing.
    fn sender_of(&self, arrival: &Arrival, view: &View) -> Option<EniId> {
        let geneve = arrival.packet.geneve?.ok()?;
        let (_, flow) = self.connections.gwlb.by_cookie(geneve.cookie?)?;
        let mut key = Key {
            ingress: Ingress::Gwlb(flow.leg.serial),
            tuple: view.headers.tuple,
        };
        for _ in 0..CHAIN_MAX {
            // The session that this packet left by, entering the tunnel.
            key.tuple = key.tuple.reversed();
            let (session, far) = self.connections.sessions.find_held(&key)?;
            key = session.end(far.other())?;
            match key.ingress {
                Ingress::Eni(eni) => return (key.tuple == view.headers.tuple).then_some(eni),
                Ingress::Gwlb(_) => {}
            }
        }
        None
    }

    /// Drops a TCP packet and answers with a reset from its destination.
    #[cold]
    pub(super) fn reset<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        arrival: Arrival,
        reason: DropReason,
    ) {
        let tables = context.tables;
        let port = arrival.frame.port;
        let wire = arrival.wire;
        let reset = TcpReset::answering(arrival.frame.bytes(), &wire);
        let macs = tables
            .enis
            .row(port)
            .and_then(|eni| Some((tables.subnets.row(eni.subnet)?.router_mac, eni.mac)));
        if let (Some(reset), Some((src_mac, dst_mac))) = (reset, macs) {
            let tuple = wire.tuple.reversed();
            let ends = Endpoints {
                src_mac,
                dst_mac,
                src: tuple.src,
                dst: tuple.dst,
            };
            let mut reply = self.pool.take();
            reset.write(&mut reply, &ends, tuple.sport, tuple.dport);
            reply.port = port;
            self.counters.generated += 1;
            self.give_back(context, port, reply);
        }
        self.drop_frame(context, arrival.frame, reason);
    }

    /// Answers a ping of the router.
    #[cold]
    pub(super) fn router_echo<S: Sink>(&mut self, context: &mut Context<'_, S>, arrival: Arrival) {
        let Arrival {
            mut frame, wire, ..
        } = arrival;
        if !echo_reply(&mut frame, &wire) {
            return self.drop_frame(context, frame, DropReason::NotAnswered);
        }
        self.counters.consumed += 1;
        self.counters.generated += 1;
        let port = frame.port;
        self.give_back(context, port, frame);
    }
}

/// Carries an ICMP error about a flow through the translation of that flow.
///
/// `flow` is the tuple of the flow's packets in the error's direction where it
/// entered, `new` the same where it leaves: the error gets the new destination,
/// and the packet it quotes, which travelled the other way, is put back into
/// the form in which the receiver had sent it (RFC 5508 §4.2).
pub(super) fn rewrite_error(bytes: &mut [u8], wire: &Headers, flow: &FiveTuple, new: &FiveTuple) {
    if flow == new {
        return;
    }
    // The far end's own address is translated; a router's beyond a translated
    // source is hidden behind it; any other sender shows as it is.
    let hidden = wire.tuple.src == flow.src || new.src != flow.src;
    let src = if hidden { new.src } else { wire.tuple.src };
    write_error(bytes, wire, src, new.dst, |_| new.reversed());
}

/// The same for an error about no known flow: an internet gateway keeps no
/// state, so the quoted packet's addresses follow those of the error.
pub(super) fn rewrite_unrelated(bytes: &mut [u8], wire: &Headers, new: &FiveTuple) {
    let old = wire.tuple;
    write_error(bytes, wire, new.src, new.dst, |quoted| FiveTuple {
        src: if quoted.src == old.dst {
            new.dst
        } else {
            quoted.src
        },
        dst: if quoted.dst == old.src {
            new.src
        } else {
            quoted.dst
        },
        ..quoted
    });
}

fn write_error(
    bytes: &mut [u8],
    wire: &Headers,
    src: IpAddr,
    dst: IpAddr,
    quoted_as: impl Fn(FiveTuple) -> FiveTuple,
) {
    let delta = Delta::default()
        .replace_addr(wire.tuple.src, src)
        .replace_addr(wire.tuple.dst, dst);
    write_addresses(bytes, usize::from(wire.l3), src, dst, delta);
    if wire.fragment == Fragment::Later {
        // The message and its quote are in the first.
        return;
    }
    let quoted_at = usize::from(wire.l4) + 8;
    let end = usize::from(wire.l3) + wire.ip_len as usize;
    let sum = |bytes: &[u8]| checksum::sum(bytes.get(quoted_at..end).unwrap_or_default());
    let before = sum(bytes);
    if let Some(quoted) = parse_quote_of(bytes, wire) {
        rewrite_quoted(bytes, &quoted, &quoted_as(quoted.tuple));
    }
    // The message's checksum follows what it covers. It is not summed afresh: a
    // fragment does not hold all of that, and what was wrong must stay wrong.
    let mut covered = Delta::default().replace16(before, sum(bytes));
    if !wire.is_ipv4() {
        covered = covered.and(delta);
    }
    let field = bytes.get_mut(usize::from(wire.l4) + 2..);
    if let Some(field) = field.and_then(|b| b.first_chunk_mut::<2>()) {
        *field = covered.apply(u16::from_be_bytes(*field)).to_be_bytes();
    }
}

fn rewrite_quoted(bytes: &mut [u8], quoted: &Headers, sent: &FiveTuple) {
    let was = quoted.tuple;
    let addresses = Delta::default()
        .replace_addr(was.src, sent.src)
        .replace_addr(was.dst, sent.dst);
    write_addresses(bytes, usize::from(quoted.l3), sent.src, sent.dst, addresses);
    if was.protocol == protocol::ICMP
        && let (Some(old), Some(new)) = (echo_identifier(&was), echo_identifier(sent))
    {
        write_identifier(bytes, usize::from(quoted.l4), (old, new), false);
    }
    // A quoted later fragment has no ports to put back.
    let has_ports = quoted.fragment != Fragment::Later;
    if !has_ports || !matches!(was.protocol, protocol::TCP | protocol::UDP) {
        return;
    }
    let l4 = usize::from(quoted.l4);
    let delta = addresses
        .replace16(was.sport, sent.sport)
        .replace16(was.dport, sent.dport);
    if let Some(ports) = bytes.get_mut(l4..).and_then(|b| b.first_chunk_mut::<4>()) {
        ports[..2].copy_from_slice(&sent.sport.to_be_bytes());
        ports[2..].copy_from_slice(&sent.dport.to_be_bytes());
    }
    // The quoted checksum, where it was not cut off.
    let Some(offset) = checksum::field_offset(was.protocol) else {
        return;
    };
    if let Some(field) = bytes
        .get_mut(l4 + offset..)
        .and_then(|b| b.first_chunk_mut::<2>())
    {
        let held = u16::from_be_bytes(*field);
        let new = if was.protocol == protocol::UDP {
            delta.apply_udp(held)
        } else {
            delta.apply(held)
        };
        *field = new.to_be_bytes();
    }
}
