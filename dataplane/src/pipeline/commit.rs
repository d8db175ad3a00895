//! What a successful walk leaves behind: flows, sessions and compiled passes.

use super::Pipeline;
use super::forward::Arrival;
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::flow::{Direction, Ingress, Key, Pass, Rewrite, Session, SessionId, Tracking, Tunnel};
use crate::packet::{Fragment, Headers, tcp_flag};
use crate::tables::Snapshot;
use crate::time::Instant;
use crate::walk::{Entry, Path, Verdict, View};

/// Slots looked at for dead sessions when the table is full.
const RECLAIM_STEPS: usize = 256;

impl Pipeline {
    /// Creates and updates connection state for a packet that is delivered.
    /// Returns the final rewrite (a new flow's cookie is known only now) and the
    /// session that the packet belongs to.
    pub(super) fn commit(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        arrival: &Arrival,
        view: &View,
        path: &Path,
    ) -> Result<(Rewrite, Option<(SessionId, Direction)>), DropReason> {
        let Verdict::Forward(mut rewrite) = path.verdict else {
            return Err(DropReason::NotRoutable);
        };
        self.open_gwlb_flow(path, &mut rewrite, now)?;
        if let Some((slot, target)) = path.retargets {
            self.connections.gwlb.retarget(slot, target);
        }
        if let (Some(tunnel), Some(entered)) = (rewrite.tunnel, path.tunnelled)
            && let Some(flow) = self.connections.gwlb.get(tunnel.flow)
        {
            let direction = flow.direction(&entered);
            self.connections
                .gwlb
                .chain(tunnel.flow, direction, path.from_flow);
        }
        self.touch_flows(path.from_flow, &rewrite, view, now);
        let ingress = match path.from_flow {
            Some(slot) => Ingress::Gwlb(self.connections.gwlb.serial(slot)),
            None => Ingress::Eni(arrival.frame.port),
        };
        if view.headers.fragment == Fragment::First && view.error.is_none() {
            self.connections.learn_fragment(ingress, &view.headers, now);
        }
        // Errors belong to a flow but are none; what the hop judged for them
        // (their own type, in the ACLs) must not be kept for its packets.
        if view.error.is_some() || view.is_stateless() {
            return Ok((rewrite, path.own));
        }
        let mut is_new = false;
        let tracked = path.opens_lb.is_some() && self.turns(path, arrival.frame.port);
        let keys = self.ends(ingress, view, path, &rewrite);
        let robbed = self.claim(path, &keys[1], view, now);
        let (id, direction) = match self.session(keys, arrival, view, path, now)? {
            Some((id, direction)) => {
                for &eni in &path.forgets {
                    self.connections.sessions.forget(id, eni);
                }
                for &eni in &path.tracks {
                    if let Some(row) = tables.enis.row(eni) {
                        self.connections.sessions.track(id, eni, &row.timeouts);
                    }
                }
                if let Some(flow) = path.opens_lb {
                    self.connections.set_lb(id, flow);
                }
                if path.opens_nat {
                    self.connections.set_nats(id, path.nats);
                }
                (id, direction)
            }
            None => {
                is_new = true;
                let id = self.open_session(tables, keys, view, path, now)?;
                if path.opens_nat {
                    self.connections.set_nats(id, path.nats);
                }
                (id, Direction::Forward)
            }
        };
        let of_near = tracked.then_some(arrival.frame.port);
        let of_far = robbed.and_then(|(_, eni)| eni);
        for eni in [of_near, of_far].into_iter().flatten() {
            if let Some(row) = tables.enis.row(eni) {
                self.connections.sessions.track(id, eni, &row.timeouts);
            }
        }
        let is_robbed = |linked| robbed.is_some_and(|(id, _)| id == linked);
        let link = path.link.filter(|(linked, _)| !is_robbed(*linked));
        if let Some((linked, direction)) = link {
            self.touch_linked(linked, direction, view, now);
        }
        if view.headers.fragment == Fragment::Whole {
            let deps = self.connections.deps.intern(&path.reads, tables);
            let pass = Pass {
                rewrite,
                deps,
                port: arrival.frame.port,
                dst_mac: arrival.dst_mac(),
                src_mac: tables
                    .enis
                    .row(arrival.frame.port)
                    .map(|eni| eni.mac)
                    .unwrap_or_default(),
                link,
            };
            self.connections
                .set_pass(id, direction, &pass, tables.version);
            let is_v4 = arrival.packet.outer.headers.is_ipv4();
            let found = (path, &rewrite, id);
            match (is_new, direction) {
                (true, _) if is_v4 => self.keep_plan::<u32>(tables, arrival, found),
                (true, _) => self.keep_plan::<u128>(tables, arrival, found),
                (false, Direction::Reply) if is_v4 => {
                    self.keep_answer::<u32>(tables, arrival, found);
                }
                (false, Direction::Reply) => self.keep_answer::<u128>(tables, arrival, found),
                (false, Direction::Forward) => {}
            }
        }
        Ok((rewrite, Some((id, direction))))
    }

    fn open_gwlb_flow(
        &mut self,
        path: &Path,
        rewrite: &mut Rewrite,
        now: Instant,
    ) -> Result<(), DropReason> {
        let (Some(spec), Some(tunnel)) = (path.opens_gwlb, &mut rewrite.tunnel) else {
            return Ok(());
        };
        let slot = self
            .connections
            .gwlb
            .create(spec, now)
            .ok_or(DropReason::FlowTableFull)?;
        self.counters.gwlb_flows_created += 1;
        if let Some(flow) = self.connections.gwlb.get(slot) {
            tunnel.flow = slot;
            tunnel.cookie = flow.leg.cookie();
            tunnel.source_port = flow.leg.source_port();
        }
        Ok(())
    }

    /// What the ends of the packet's session send.
    fn ends(&self, ingress: Ingress, view: &View, path: &Path, rewrite: &Rewrite) -> [Key; 2] {
        let near = Key {
            ingress,
            tuple: view.headers.tuple,
        };
        let far = match (rewrite.tunnel, path.tunnelled) {
            (Some(Tunnel { flow, .. }), Some(entered)) => Key {
                ingress: Ingress::Gwlb(self.connections.gwlb.serial(flow)),
                tuple: entered.reversed(),
            },
            _ => Key {
                ingress: Ingress::Eni(rewrite.out),
                tuple: rewrite.tuple.reversed(),
            },
        };
        [near, far]
    }

    /// The packet's session between these ends, if there is one, found and touched.
    fn session(
        &mut self,
        [near, far]: [Key; 2],
        arrival: &Arrival,
        view: &View,
        path: &Path,
        now: Instant,
    ) -> Result<Option<(SessionId, Direction)>, DropReason> {
        let found = match arrival.entry {
            // The walk has just looked, and nothing has been done since but to end it.
            Entry::Port(..) => path
                .own
                .filter(|(id, _)| self.connections.sessions.held(*id).is_some()),
            Entry::Node(_) => self.connections.sessions.find(&near),
        };
        let Some((id, direction)) = found else {
            return Ok(None);
        };
        let held = self.connections.sessions.held(id);
        let holds = held.and_then(|session| session.end(Direction::Reply));
        let moved = direction == Direction::Forward
            && match holds {
                Some(key) => key != far,
                // Another session answered for it when it was keyed.
                None => self.free_far_end(&far, view, now),
            };
        if moved {
            let id = self.rekey(id, near, far, view, now)?;
            return Ok(Some((id, direction)));
        }
        self.touch(id, direction, view, now);
        Ok(Some((id, direction)))
    }

    /// Who was only to answer opens a connection through a load balancer: that is no
    /// direction of the session it was found by, which is over. Whether the interface by
    /// which the packet entered tracked that one, and so tracks what it begins.
    fn turns(&mut self, path: &Path, port: EniId) -> bool {
        let Some((id, Direction::Reply)) = path.own else {
            return false;
        };
        let held = self.connections.sessions.held(id);
        let tracked = held.is_some_and(|held| held.tracks(port));
        self.end_session(id);
        tracked
    }

    /// What answers an address and port that a load balancer or a NAT gateway has taken
    /// for a connection is that connection's, even if somebody without a source check has
    /// sent the like before: who gave the far end up, and the interface there if it tracked
    /// what it answers.
    fn claim(
        &mut self,
        path: &Path,
        far: &Key,
        view: &View,
        now: Instant,
    ) -> Option<(SessionId, Option<EniId>)> {
        if !self.owns_its_source(path) {
            return None;
        }
        let (held, _) = self.connections.sessions.find_held(far)?;
        let own = path.own.is_some_and(|(own, _)| own == held.id());
        if own || self.free_far_end(far, view, now) {
            return None;
        }
        let (held, direction) = self.connections.sessions.find_held(far)?;
        let entitled = held.lb().is_some() || held.nats().iter().any(Option::is_some);
        if direction == Direction::Forward || entitled {
            return None;
        }
        let id = held.id();
        let tracks = |eni: &EniId| held.tracks(*eni);
        let eni = match far.ingress {
            Ingress::Eni(eni) => Some(eni).filter(tracks),
            Ingress::Gwlb(_) => None,
        };
        self.connections.sessions.give_up(id, Direction::Reply);
        Some((id, eni))
    }

    /// Whether the packet leaves from an address and port that its connection alone has.
    fn owns_its_source(&self, path: &Path) -> bool {
        let held = match path.own {
            Some((id, Direction::Forward)) => self.connections.sessions.held(id),
            _ => None,
        };
        let lb = path.opens_lb.or(held.and_then(|held| held.lb()));
        path.nats.iter().any(Option::is_some) || lb.is_some_and(|lb| !lb.preserved)
    }

    /// A session between these ends, of which no other answers for the near one.
    fn open_session(
        &mut self,
        tables: &Snapshot,
        [near, far]: [Key; 2],
        view: &View,
        path: &Path,
        now: Instant,
    ) -> Result<SessionId, DropReason> {
        let mut far_is_free = self.free_far_end(&far, view, now);
        let sessions = &mut self.connections.sessions;
        if sessions.is_full()
            && let Some(dead) = sessions
                .next_closed(now)
                .or_else(|| sessions.sweep(now, &mut { RECLAIM_STEPS }))
        {
            self.end_session(dead);
        }
        if self.connections.sessions.is_full() {
            // The oldest handshake that never completed makes room first.
            let oldest = self.connections.sessions.oldest_half_open();
            let oldest = oldest.ok_or(DropReason::FlowTableFull)?;
            self.connections.end(oldest);
            self.counters.flows_evicted += 1;
        }
        // Whoever made room may have had the far end.
        far_is_free = far_is_free || self.connections.sessions.find(&far).is_none();
        let tracking = Tracking::open(&view.headers, now);
        let mut session = Session::new([Some(near), Some(far)], tracking, now);
        session.packets[0] = 1;
        session.bytes[0] = u64::from(view.headers.ip_len);
        for &eni in &path.tracks {
            if let Some(row) = tables.enis.row(eni) {
                session.track(eni, &row.timeouts);
            }
        }
        session.lb = path.opens_lb;
        let id = self
            .connections
            .sessions
            .add(&session, [true, far_is_free && near != far])
            .ok_or(DropReason::FlowTableFull)?;
        if let Some(flow) = &path.opens_lb {
            self.connections.take_port(flow);
        }
        self.counters.flows_created += 1;
        Ok(id)
    }

    /// A session that is over must not keep its end from a new one: the new
    /// one's replies would not be known by it. Whether the end is free then.
    fn free_far_end(&mut self, far: &Key, view: &View, now: Instant) -> bool {
        let Some((held, _)) = self.connections.sessions.find_held(far) else {
            return true;
        };
        let opens = view.headers.is_tcp_open();
        let over = held.dies_at() < now || (opens && held.tracking().is_closed());
        let id = held.id();
        if over {
            self.end_session(id);
        }
        over
    }

    /// Packets that went through an appliance now go past it: the session of those
    /// that came out of its tunnel gives their end up, or answers would belong to it.
    fn leave_appliance_out(&mut self, far: &Key) {
        if let Some((held, Direction::Reply)) = self.connections.sessions.find_held(far)
            && let Some(Ingress::Gwlb(_)) = held.enters_by(Direction::Forward)
        {
            self.end_session(held.id());
        }
    }

    /// The session's packets now leave elsewhere (a changed route, another
    /// mapping): its far end gets a new key, its state stays.
    fn rekey(
        &mut self,
        id: SessionId,
        near: Key,
        far: Key,
        view: &View,
        now: Instant,
    ) -> Result<SessionId, DropReason> {
        let old = self
            .connections
            .sessions
            .get(id)
            .ok_or(DropReason::FlowTableFull)?;
        let proxied = self.connections.proxied.remove(id);
        let nats = self.connections.take_nats(id);
        // It goes on under other keys: its account stays open.
        self.connections.remove(id);
        let mut session = Session {
            keys: [Some(near), Some(far)],
            ..old
        };
        if view.headers.is_tcp_open() {
            // A new connection behind a known near end.
            session.tracking = Tracking::open(&view.headers, now);
        }
        if !self.free_far_end(&far, view, now) {
            self.leave_appliance_out(&far);
        }
        let lb = session.lb.take();
        let id = self
            .connections
            .sessions
            .insert(&session)
            .ok_or(DropReason::FlowTableFull)?;
        if let Some(lb) = lb {
            self.connections.set_lb(id, lb);
        }
        self.connections.proxied.rename(proxied, id);
        self.connections.put_nats(id, nats);
        self.touch(id, Direction::Forward, view, now);
        Ok(id)
    }

    /// Takes a packet of a session into account.
    pub(super) fn touch(&mut self, id: SessionId, direction: Direction, view: &View, now: Instant) {
        let bytes = Some(view.headers.ip_len);
        if view.headers.tcp_flags & tcp_flag::RST != 0 && direction == Direction::Reply {
            self.connections.reset_from_target(id);
        }
        self.connections
            .sessions
            .touch(id, direction, &view.headers, now, bytes);
    }

    /// The same for a session that tracks the packet at another interface;
    /// counted there by its own pass.
    pub(super) fn touch_linked(
        &mut self,
        id: SessionId,
        direction: Direction,
        view: &View,
        now: Instant,
    ) {
        self.connections
            .sessions
            .touch(id, direction, &view.headers, now, None);
    }

    /// The tunnels that the packet leaves and enters.
    pub(super) fn touch_flows(
        &mut self,
        from: Option<u32>,
        rewrite: &Rewrite,
        view: &View,
        now: Instant,
    ) {
        if let Some(slot) = from {
            let headers = &view.headers;
            self.connections.gwlb.returned(slot, now);
            self.connections
                .gwlb
                .carried_back(slot, headers.ip_len, headers.tcp_flags);
        }
        if let Some(tunnel) = rewrite.tunnel {
            // As it enters the tunnel: a translation may lie before.
            let headers = Headers {
                tuple: rewrite.tuple,
                ..view.headers
            };
            self.connections.gwlb.touch(tunnel.flow, &headers, now);
        }
    }
}
