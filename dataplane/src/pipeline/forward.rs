//! One packet: is its way known, or must it be walked?

use super::rewrite::{Fit, fit};
use super::{Context, Pipeline, Sink};
use crate::accounts::Account;
use crate::addr::Mac;
use crate::drop::DropReason;
use crate::flow::{Direction, Ingress, Key, Pass, Rewrite, SessionId};
use crate::packet::checksum;
use crate::packet::{
    Checksum, Fragment, Frame, GENEVE_PORT, GeneveView, Headers, Segmentation, parse_ip,
    parse_quote_of, protocol, udp_payload,
};
use crate::tables::Snapshot;
use crate::time::Instant;
use crate::walk::{Entry, Geneve, Packet, Path, Report, Verdict, View, walk};

/// A packet on its way: what it is, and what its bytes are.
pub(super) struct Arrival {
    pub frame: Frame,
    /// The packet as judged; its tuple may be that of the flow it belongs to.
    pub packet: Packet,
    /// The headers as they are on the wire.
    pub wire: Headers,
    pub entry: Entry,
}

impl Arrival {
    /// Destination MAC address, where the frame had one that mattered.
    pub(super) fn dst_mac(&self) -> Mac {
        match self.entry {
            Entry::Port(_, mac) => mac,
            Entry::Node(_) => Mac::default(),
        }
    }
}

impl Pipeline {
    pub(super) fn forward<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        frame: Frame,
        wire: Headers,
        entry: Entry,
    ) {
        let tunnel = wire.tuple.protocol == protocol::UDP && wire.tuple.dport == GENEVE_PORT;
        if tunnel && frame.offload.segmentation != Segmentation::None {
            return self.forward_train(context, frame, wire, entry);
        }
        let port = Ingress::Eni(frame.port);
        let outer = self.view(port, wire, &frame, 0, context.now);
        let geneve = tunnel.then(|| self.geneve(&frame, &wire, context.now));
        let arrival = Arrival {
            packet: Packet { outer, geneve },
            wire,
            frame,
            entry,
        };
        let returning = match arrival.packet.geneve {
            Some(Ok(geneve)) => self
                .returning_flow(&arrival, &geneve)
                .map(|slot| (slot, geneve.inner)),
            _ => None,
        };
        let (tables, now) = (context.tables, context.now);
        let found = match (entry, returning) {
            (Entry::Node(_), _) => None,
            (_, Some((slot, inner))) => {
                let ingress = Ingress::Gwlb(self.connections.gwlb.serial(slot));
                self.lookup(tables, now, &arrival, ingress, &inner, Some(slot))
            }
            // Hosts may use the tunnel's port among themselves.
            (_, None) => self.lookup(tables, now, &arrival, port, &outer, None),
        };
        match found {
            Some((id, direction, pass)) => {
                let from_flow = returning.map(|(slot, _)| slot);
                self.hit(context, arrival, (id, direction), from_flow, &pass);
            }
            None => self.miss(context, arrival),
        }
    }

    /// A train of tunnelled packets from an appliance that sends with
    /// segmentation offload: each is judged by itself, and segments of one
    /// super-packet that leave by one port leave as one again.
    #[cold]
    fn forward_train<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        frame: Frame,
        wire: Headers,
        entry: Entry,
    ) {
        let mut pieces = self.segment(context, frame);
        self.joining.is_on = true;
        for piece in pieces.drain(..) {
            match parse_ip(piece.bytes(), usize::from(wire.l3)) {
                Ok(headers) => self.forward(context, piece, headers, entry),
                Err(reason) => self.drop_frame(context, piece, reason),
            }
        }
        self.let_go(context);
        self.joining.is_on = false;
        self.lists.push(pieces);
    }

    /// How the hops judge the packet with these headers.
    pub(super) fn view(
        &self,
        ingress: Ingress,
        wire: Headers,
        frame: &Frame,
        overhead: u32,
        now: Instant,
    ) -> View {
        let mut view = View::plain(wire);
        view.size = wire_size(frame, &wire).saturating_sub(overhead);
        if wire.fragment == Fragment::Later {
            match self.connections.fragment_tuple(ingress, &wire, now) {
                Some(first) => {
                    view.headers.tuple = first.tuple;
                    (view.headers.icmp_type, view.headers.icmp_code) = first.icmp;
                }
                None => view.portless = true,
            }
        } else if wire.is_icmp_error()
            && let Some(quoted) = parse_quote_of(frame.bytes(), &wire)
        {
            // An error about a flow goes the way of that flow's packets, to the
            // sender of the one it quotes.
            let flow = quoted.tuple.reversed();
            if wire.tuple.dst == flow.dst && self.connections.find(ingress, flow).is_some() {
                view.headers = Headers {
                    tuple: flow,
                    tcp_flags: 0,
                    ..wire
                };
                view.error = Some(Report {
                    protocol: wire.tuple.protocol,
                    kind: wire.icmp_type,
                    code: wire.icmp_code,
                    src: wire.tuple.src,
                });
            }
        }
        view
    }

    pub(super) fn geneve(
        &self,
        frame: &Frame,
        wire: &Headers,
        now: Instant,
    ) -> Result<Geneve, DropReason> {
        let payload = udp_payload(frame.bytes(), wire).ok_or(DropReason::MalformedGeneve)?;
        // Most appliances send none; one that is there must be right
        // (`gwlb-geneve.md` §3).
        let unverified = frame.offload.checksum == Checksum::Unverified;
        if unverified && !checksum::verify_transport(frame.bytes(), wire) {
            return Err(DropReason::MalformedGeneve);
        }
        let parsed = GeneveView::parse(payload)?;
        let l3 = usize::from(wire.l4) + 8 + parsed.header_len();
        // It ends within the outer packet: what the frame has behind that is not its.
        let end = l3 + parsed.inner.len();
        let inner = parse_ip(frame.bytes().get(..end).unwrap_or_default(), l3)?;
        let serial = parsed
            .cookie
            .and_then(|cookie| self.connections.gwlb.by_cookie(cookie))
            .map_or(0, |(_, flow)| flow.leg.serial);
        let plain = View::plain(inner);
        let view = if inner.fragment == Fragment::Later || inner.is_icmp_error() {
            View {
                size: inner.ip_len,
                ..self.view(Ingress::Gwlb(serial), inner, frame, 0, now)
            }
        } else {
            plain
        };
        Ok(Geneve {
            vpce: parsed.endpoint_id,
            cookie: parsed.cookie,
            inner: view,
        })
    }

    /// The flow that a tunnelled packet returns from, if everything about the
    /// outside is as it must be. Anything else is the walk's to judge.
    fn returning_flow(&self, arrival: &Arrival, geneve: &Geneve) -> Option<u32> {
        let (slot, flow) = self.connections.gwlb.by_cookie(geneve.cookie?)?;
        let outer = &arrival.wire.tuple;
        let genuine = geneve.vpce == Some(flow.spec.vpce)
            && outer.src == flow.spec.target
            && outer.dst == flow.spec.node_address;
        genuine.then_some(slot)
    }

    /// The compiled pass for this packet, if it may be used as it is.
    fn lookup(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        arrival: &Arrival,
        ingress: Ingress,
        view: &View,
        from_flow: Option<u32>,
    ) -> Option<(SessionId, Direction, Pass)> {
        let headers = &view.headers;
        if view.is_stateless() {
            return None;
        }
        let key = Key {
            ingress,
            tuple: headers.tuple,
        };
        let (session, direction) = self.connections.sessions.find_held(&key)?;
        let id = session.id();
        let ended = session.tracking().is_closed() && headers.is_tcp_open();
        if ended || session.dies_at() < now {
            self.end_session(id);
            return None;
        }
        let is_fresh = session.is_fresh(now);
        let pass = self.connections.pass(id, direction)?;
        let reopens = headers.is_tcp_open() && direction == Direction::Reply;
        let plain = view.error.is_none() && headers.fragment == Fragment::Whole && !reopens;
        let usable = plain
            && pass.port == arrival.frame.port
            && pass.dst_mac == arrival.dst_mac()
            && is_fresh
            && self.is_linked(&pass, headers, now)
            && self.tunnel_alive(&pass, from_flow, now)
            && self.connections.is_current(&pass, tables);
        if !usable {
            return None;
        }
        self.connections
            .sessions
            .confirm(id, direction, tables.version);
        Some((id, direction, pass))
    }

    /// Whether the session that lets the packet in where it leaves still does. A
    /// SYN to a closed connection begins another.
    fn is_linked(&self, pass: &Pass, headers: &Headers, now: Instant) -> bool {
        pass.link.is_none_or(|(id, _)| {
            let linked = self.connections.sessions.held(id);
            linked.is_some_and(|linked| {
                let begins = headers.is_tcp_open() && linked.tracking().is_closed();
                linked.is_fresh(now) && !begins
            })
        })
    }

    fn tunnel_alive(&self, pass: &Pass, from_flow: Option<u32>, now: Instant) -> bool {
        let into = pass.rewrite.tunnel.is_none_or(|tunnel| {
            self.connections
                .gwlb
                .get(tunnel.flow)
                .is_some_and(|flow| flow.leg.cookie() == tunnel.cookie && flow.leg.is_alive(now))
        });
        let out = from_flow.is_none_or(|slot| {
            let flow = self.connections.gwlb.get(slot);
            flow.is_some_and(|flow| flow.leg.takes_returns(now))
        });
        into && out
    }

    fn hit<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        arrival: Arrival,
        (id, direction): (SessionId, Direction),
        from_flow: Option<u32>,
        pass: &Pass,
    ) {
        self.counters.flow_hits += 1;
        if let Some(slot) = from_flow {
            self.connections.gwlb.returned(slot, context.now);
        }
        let view = self.inside(&arrival, pass.rewrite.decapsulate);
        let fit = fit(&view, &pass.rewrite);
        if fit == Fit::Not {
            if let Some((bytes, reason)) = pass.rewrite.limits.silent
                && view.size > bytes
            {
                let at = self
                    .connections
                    .account_of(id, pass.rewrite.tunnel.as_ref());
                self.tell_balancer(at, reason, &arrival);
            }
            let held = self.connections.sessions.held(id);
            let nats = held.map(|held| held.nats()).unwrap_or_default();
            return self.does_not_fit(context, arrival, &view, &pass.rewrite, &nats);
        }
        self.touch(id, direction, &view, context.now);
        if let Some((linked, direction)) = pass.link {
            self.touch_linked(linked, direction, &view, context.now);
        }
        self.touch_flows(from_flow, &pass.rewrite, &view, context.now);
        if pass.rewrite.shifted {
            return self.send_shifted(context, arrival, view, (id, direction), &pass.rewrite, fit);
        }
        self.send_on(context, arrival, &view, &pass.rewrite, fit);
    }

    /// Whole, or in fragments.
    pub(super) fn send_on<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        arrival: Arrival,
        view: &View,
        rewrite: &Rewrite,
        fit: Fit,
    ) {
        match fit {
            Fit::Fragments(mtu) => self.fragment(context, arrival, view, rewrite, mtu),
            Fit::Whole | Fit::Not => self.apply(context, arrival, view, rewrite),
        }
    }

    /// The packet that the rewrite is for: inside the tunnel if it leaves one.
    pub(super) fn inside(&self, arrival: &Arrival, decapsulate: bool) -> View {
        match arrival.packet.geneve {
            Some(Ok(geneve)) if decapsulate => geneve.inner,
            _ => arrival.packet.outer,
        }
    }

    /// Walks a packet without bytes, and keeps what it leaves behind: how a
    /// trace follows a packet and its reply.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        tables: &Snapshot,
        entry: Entry,
        packet: Packet,
    ) -> &Path {
        // Whoever asks wants to see the hops.
        let mut path = std::mem::take(&mut self.path);
        path.quiet = false;
        walk(tables, &self.connections, now, entry, &packet, &mut path);
        if let Verdict::Forward(rewrite) = path.verdict {
            let mut frame = Frame::with_capacity(0);
            let (Entry::Port(port, _) | Entry::Node(port)) = entry;
            frame.port = port;
            let arrival = Arrival {
                frame,
                packet,
                wire: packet.outer.headers,
                entry,
            };
            let view = self.inside(&arrival, rewrite.decapsulate);
            path.verdict = match self.commit(tables, now, &arrival, &view, &path) {
                Ok((rewrite, _)) => Verdict::Forward(rewrite),
                Err(reason) => Verdict::Drop(reason),
            };
        }
        self.path = path;
        &self.path
    }

    /// A packet is dropped; if a load balancer or an endpoint does it, it is counted there.
    fn tell_balancer(&mut self, at: Account, reason: DropReason, arrival: &Arrival) {
        if at != Account::default() && reason.is_of_balancer() {
            let is_tcp = arrival.packet.outer.headers.tuple.protocol == protocol::TCP;
            self.connections.balancer_dropped(at, reason, is_tcp);
        }
    }

    #[cold]
    fn miss<S: Sink>(&mut self, context: &mut Context<'_, S>, arrival: Arrival) {
        self.counters.flow_misses += 1;
        let mut path = std::mem::take(&mut self.path);
        path.quiet = true;
        let (tables, now) = (context.tables, context.now);
        walk(
            tables,
            &self.connections,
            now,
            arrival.entry,
            &arrival.packet,
            &mut path,
        );
        // Whatever becomes of it now: its target has answered.
        if let Some(slot) = path.from_flow {
            self.connections.gwlb.returned(slot, now);
        }
        if let (Some(gateway), Some(reason)) = (path.nat_gateway, path.drop_reason())
            && reason.is_of_nat_gateway()
        {
            self.connections.nat_dropped(gateway, reason);
        }
        if let Some(reason) = path.drop_reason() {
            self.tell_balancer(path.account, reason, &arrival);
        }
        match path.verdict {
            Verdict::Forward(rewrite) => {
                let view = self.inside(&arrival, rewrite.decapsulate);
                let fit = fit(&view, &rewrite);
                if fit == Fit::Not {
                    if let Some((bytes, reason)) = rewrite.limits.silent
                        && view.size > bytes
                    {
                        self.tell_balancer(path.account, reason, &arrival);
                    }
                    self.does_not_fit(context, arrival, &view, &rewrite, &path.nats);
                } else {
                    match self.commit(tables, now, &arrival, &view, &path) {
                        Ok((rewrite, Some(of))) if rewrite.shifted => {
                            self.send_shifted(context, arrival, view, of, &rewrite, fit);
                        }
                        Ok((rewrite, _)) => self.send_on(context, arrival, &view, &rewrite, fit),
                        Err(reason) => {
                            self.tell_balancer(path.account, reason, &arrival);
                            self.drop_frame(context, arrival.frame, reason);
                        }
                    }
                }
            }
            Verdict::Drop(reason) => self.drop_frame(context, arrival.frame, reason),
            Verdict::Reset(reason) => self.reset(context, arrival, reason),
            Verdict::RouterEcho => self.router_echo(context, arrival),
            Verdict::Service(service) => self.ask_service(context, arrival.frame, service),
        }
        self.path = path;
    }
}

/// The largest IP packet that a frame becomes once segmented, in bytes.
fn wire_size(frame: &Frame, headers: &Headers) -> u32 {
    let before = u32::from(headers.l4 - headers.l3);
    let size = match frame.offload.segmentation {
        Segmentation::None => headers.ip_len,
        Segmentation::Udp(payload) => before + 8 + u32::from(payload),
        Segmentation::Tcp(payload) => {
            let offset = frame
                .bytes()
                .get(usize::from(headers.l4) + 12)
                .copied()
                .unwrap_or(0x50);
            before + u32::from(offset >> 4) * 4 + u32::from(payload)
        }
    };
    size.min(headers.ip_len)
}
