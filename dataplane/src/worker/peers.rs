//! Frames between workers: steered here, handed over by rings.

use super::ring::{Filler, Taker};
use super::steer::{Steer, Turn};
use super::tray::Tray;
use crate::addr::EniId;
use crate::io::WakeSender;
use crate::packet::{Frame, FramePool};
use crate::tables::Snapshot;
use crate::time::Instant;

/// Trays that may wait between two workers: few, so that their memory stays in
/// the near caches. What finds no tray is held back until one comes.
pub(super) const TRAYS: usize = 8;
/// Frames that are held back for one worker at most.
const HELD_MAX: usize = 1_024;
/// Frames that are taken of one worker in a turn, as of a port: whoever is
/// slower must not stop reading its own.
const TAKE_MAX: usize = 64;

/// Where more than one of so many frames of a turn was another worker's, the next turn
/// steers before it looks for sessions: the look would be for nothing too often.
const FOREIGN_SHARE: usize = 8;

/// As often as one of so many frames is steered, lines of what came are fetched: a few at
/// a time, since a core waits for a few only.
const FETCH_EVERY: usize = 8;

/// What a turn does first with what its ports gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Steers every frame.
    Steer,
    /// Looks for sessions, and steers what has none here: the others are where their
    /// packets meet already, and whose they are need not be asked.
    Look,
}

/// The way to one other worker, and back.
#[derive(Debug)]
pub(super) struct Peer {
    filler: Filler<Tray>,
    taker: Taker<Tray>,
    wake: WakeSender,
    /// What this turn hands over, and what former ones could not.
    out: Tray,
    /// The last tray that came; it is sent back when the next is taken.
    came: Tray,
    /// Whether a tray was passed on since the other was last woken.
    wakes: bool,
}

impl Peer {
    pub(super) fn new(filler: Filler<Tray>, taker: Taker<Tray>, wake: WakeSender) -> Self {
        Self {
            filler,
            taker,
            wake,
            out: Tray::default(),
            came: Tray::default(),
            wakes: false,
        }
    }

    /// Takes the next tray, if all of the last has been taken.
    fn open(&mut self) {
        if self.came.is_empty() {
            self.came.clear();
            if self.taker.take(&mut self.came) {
                self.came.fetch();
            }
        }
    }

    /// Whether frames wait that this worker has to do something about.
    fn has_work(&self) -> bool {
        !self.taker.is_empty() || !self.came.is_empty() || !self.out.is_empty()
    }
}

/// What was handed over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handovers {
    /// Taken from rings.
    pub(super) taken: u64,
    /// Put into rings.
    pub(super) passed: u64,
    /// Held back until a ring has room.
    pub(super) held: u64,
    /// Dropped, since too many were held back.
    pub(super) full: u64,
}

/// The other workers, seen from one.
#[derive(Debug)]
pub(super) struct Peers {
    own: u32,
    steer: Steer,
    /// All workers but this one, in their order.
    peers: Vec<Peer>,
    /// Kept for its memory.
    unsettled: Vec<Frame>,
    counts: Handovers,
    /// Frames of the turn that ports gave, and those of them that are others'.
    given: usize,
    foreign: usize,
    /// The version of the tables that last changed where packets meet.
    meeting: u64,
    /// Whether sessions are left here whose packets may meet elsewhere since.
    has_strays: bool,
}

impl Peers {
    pub(super) fn new(own: u32, steer: Steer, peers: Vec<Peer>) -> Self {
        Self {
            own,
            steer,
            peers,
            unsettled: Vec::new(),
            counts: Handovers::default(),
            given: 0,
            foreign: 0,
            meeting: 0,
            has_strays: false,
        }
    }

    /// What the coming turn does first. Only where every session here is where its
    /// packets meet does having one say whose they are: after a change of that
    /// frames are steered until the sessions before it are over.
    pub(super) fn order(
        &mut self,
        tables: &Snapshot,
        has_sessions: bool,
        is_watched: bool,
    ) -> Order {
        if self.meeting != tables.meeting_generation {
            self.meeting = tables.meeting_generation;
            self.has_strays = true;
        }
        self.has_strays &= has_sessions;
        let mostly_foreign = self.foreign * FOREIGN_SHARE > self.given;
        match self.has_strays || is_watched || mostly_foreign {
            true => Order::Steer,
            false => Order::Look,
        }
    }

    /// Hands a frame over that no session here knows, or gives it back.
    pub(super) fn steer(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        frame: Frame,
        pool: &mut FramePool,
        dropped: &mut dyn FnMut(EniId, &[u8]),
    ) -> Option<Frame> {
        let turn = self.steer.turn(tables, now, &frame);
        if turn.worker == self.own {
            return Some(frame);
        }
        self.foreign += 1;
        self.put_aside(turn, frame, pool, dropped);
        None
    }

    /// Hands over a frame that is not of a batch which is steered.
    #[inline(never)]
    fn put_aside(
        &mut self,
        turn: Turn,
        mut frame: Frame,
        pool: &mut FramePool,
        dropped: &mut dyn FnMut(EniId, &[u8]),
    ) {
        self.put(turn, &mut frame, pool, dropped);
        pool.put(frame);
    }

    /// Hands a frame over; what is left of it is for another use.
    #[inline(always)]
    fn put(
        &mut self,
        turn: Turn,
        frame: &mut Frame,
        pool: &mut FramePool,
        dropped: &mut dyn FnMut(EniId, &[u8]),
    ) {
        // They lie in their order, without this one.
        let at = turn.worker - u32::from(turn.worker > self.own);
        let Some(peer) = self.peers.get_mut(at as usize) else {
            return;
        };
        if peer.out.len() < HELD_MAX {
            peer.out.put(frame, turn.settled, pool);
        } else {
            self.counts.full += 1;
            drop_of(frame, dropped);
        }
    }

    pub(super) fn counts(&self) -> Handovers {
        let held = self.peers.iter().map(|peer| peer.out.len() as u64).sum();
        Handovers {
            held,
            ..self.counts
        }
    }

    /// Whether frames wait in a ring, or for room in one.
    pub(super) fn has_work(&self) -> bool {
        self.peers.iter().any(Peer::has_work)
    }

    /// Appends what the others handed over to `batch`, which ports gave, and hands over
    /// what is theirs of it, if the `order` is to steer: else it says how many frames
    /// have not been. What finds no room goes to `dropped`.
    pub(super) fn exchange(
        &mut self,
        order: Order,
        tables: &Snapshot,
        now: Instant,
        batch: &mut Vec<Frame>,
        pool: &mut FramePool,
        dropped: &mut dyn FnMut(EniId, &[u8]),
    ) -> usize {
        if !batch.is_empty() {
            (self.given, self.foreign) = (batch.len(), 0);
        }
        self.peers.iter_mut().for_each(Peer::open);
        let (unsteered, kept) = match order {
            Order::Look => (batch.len(), batch.len()),
            Order::Steer => (0, self.steer_all(tables, now, batch, pool, dropped)),
        };
        self.take(batch, kept, pool);
        let mut unsettled = std::mem::take(&mut self.unsettled);
        for frame in unsettled.drain(..) {
            let turn = self.steer.turn_again(tables, now, &frame);
            if turn.worker == self.own {
                batch.push(frame);
            } else {
                self.put_aside(turn, frame, pool, dropped);
            }
        }
        self.unsettled = unsettled;
        self.pass(pool);
        unsteered
    }

    /// Hands over what is others' of a batch, and says how many frames are not: these are
    /// first then, in their order, and behind them what is left of the others.
    #[inline(never)]
    fn steer_all(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        batch: &mut [Frame],
        pool: &mut FramePool,
        dropped: &mut dyn FnMut(EniId, &[u8]),
    ) -> usize {
        let (mut kept, mut fetched) = (0, Some((0, 0)));
        for at in 0..batch.len() {
            if at % FETCH_EVERY == 0 {
                // The bytes of what came are on their way while these are steered.
                fetched = fetched.and_then(|from| self.fetch_more(from));
            }
            let Some(frame) = batch.get_mut(at) else {
                break;
            };
            let turn = self.steer.turn(tables, now, frame);
            if turn.worker != self.own {
                self.put(turn, frame, pool, dropped);
                continue;
            }
            if kept != at {
                batch.swap(kept, at);
            }
            kept += 1;
        }
        self.foreign += batch.len() - kept;
        kept
    }

    /// Asks for some of the lines that came, from a place in a peer's tray on; says where
    /// to go on.
    #[inline(never)]
    fn fetch_more(&self, (peer, line): (usize, usize)) -> Option<(usize, usize)> {
        let came = &self.peers.get(peer)?.came;
        Some(match came.fetch_more(line) {
            Some(next) => (peer, next),
            None => (peer + 1, 0),
        })
    }

    /// Takes what came behind the first `filled` frames of a batch; those that are there
    /// are spare.
    fn take(&mut self, batch: &mut Vec<Frame>, mut filled: usize, pool: &mut FramePool) {
        for peer in &mut self.peers {
            let mut left = TAKE_MAX;
            while left > 0 {
                peer.open();
                let unsettled = &mut self.unsettled;
                let taken = peer.came.take(left, batch, &mut filled, unsettled, pool);
                if taken == 0 {
                    break;
                }
                self.counts.taken += taken as u64;
                left -= taken;
            }
        }
        batch.drain(filled..).for_each(|frame| pool.put(frame));
    }

    /// Asks for what the next exchange looks at first.
    pub(super) fn fetch(&self) {
        self.peers.iter().for_each(|peer| peer.taker.fetch());
    }

    /// Wakes those who were handed frames and sleep. Some time after that: what was
    /// written has reached the other core by then, so that the look costs nothing.
    pub(super) fn wake(&mut self) {
        for peer in self.peers.iter_mut().filter(|peer| peer.wakes) {
            peer.wakes = false;
            peer.wake.wake_dozing();
        }
    }

    /// Sends what is to be handed over on its way, as far as there is room.
    pub(super) fn pass(&mut self, pool: &mut FramePool) {
        for peer in self.peers.iter_mut().filter(|peer| !peer.out.is_empty()) {
            if !peer.filler.has_room() {
                continue;
            }
            self.counts.passed += peer.out.len() as u64;
            peer.out.settle();
            peer.filler.pass(&mut peer.out);
            peer.out.reclaim(pool);
            peer.wakes = true;
        }
    }
}

#[cold]
#[inline(never)]
fn drop_of(frame: &Frame, dropped: &mut dyn FnMut(EniId, &[u8])) {
    dropped(frame.port, frame.bytes());
}

#[cfg(test)]
mod tests {
    use super::super::ring::ring;
    use super::*;
    use crate::flow::{Seed, Shard};
    use crate::io::wake_pair;

    #[test]
    fn frames_are_steered_first_where_a_session_would_mislead_or_is_seldom_found() {
        let steer = Steer::new(Shard::new(0, 2, Seed(5)), 4);
        let mut peers = Peers::new(0, steer, Vec::new());
        let mut tables = Snapshot::default();
        assert_eq!(peers.order(&tables, true, false), Order::Look);
        assert_eq!(peers.order(&tables, true, true), Order::Steer);
        for (foreign, order) in [(9, Order::Steer), (8, Order::Look)] {
            (peers.given, peers.foreign) = (64, foreign);
            assert_eq!(peers.order(&tables, true, false), order);
        }
        // Sessions from before a change are left, then none is, then later ones are.
        tables.meeting_generation = 3;
        for _ in 0..2 {
            assert_eq!(peers.order(&tables, true, false), Order::Steer);
        }
        for has_sessions in [false, true] {
            assert_eq!(peers.order(&tables, has_sessions, false), Order::Look);
        }
    }

    /// A datagram that `reader` reads, the `n`th of its.
    fn datagram(reader: u8, n: u16) -> Frame {
        let mut bytes = vec![0; [64, 200, 300, 65][usize::from(n) % 4]];
        let [high, low] = n.to_be_bytes();
        let header = [8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        let ends = [10, 0, 0, reader, 10, 0, 9, 9, high, low, 0, 80];
        let places = bytes.iter_mut().skip(12);
        for (place, byte) in places.zip(header.into_iter().chain(ends)) {
            *place = byte;
        }
        Frame::from_bytes(EniId(u32::from(reader)), &bytes)
    }

    /// Own ones and others' in any mixture, as many as there are or fewer, at both ends.
    #[test]
    fn every_frame_comes_once_in_its_order_to_its_owner() {
        let (there, back) = (ring(TRAYS), ring(TRAYS));
        let steer = |index| Steer::new(Shard::new(index, 2, Seed(5)), 4);
        let wakes = [wake_pair().unwrap(), wake_pair().unwrap()];
        let peer = |filler, taker, at: usize| Peer::new(filler, taker, wakes[at].0.clone());
        let mut all = [
            Peers::new(0, steer(0), vec![peer(there.0, back.1, 1)]),
            Peers::new(1, steer(1), vec![peer(back.0, there.1, 0)]),
        ];
        let mut pools = [FramePool::new(256), FramePool::new(256)];
        let tables = Snapshot::default();
        let (mut sent, mut came) = ([0u16; 2], [[None; 2]; 2]);
        let mut count = 0;
        for round in 0..400u16 {
            for at in 0..2 {
                let now = Instant::ZERO;
                let (peers, pool) = (&mut all[at], &mut pools[at]);
                let many = round * 7 % [65, 9][at] * u16::from(round < 300);
                let first = sent[at];
                sent[at] += many;
                let ids = first..sent[at];
                let mut batch: Vec<_> = ids.map(|n| datagram(at as u8, n)).collect();
                let none = &mut |_, _: &[u8]| panic!("there is room");
                peers.exchange(Order::Steer, &tables, now, &mut batch, pool, none);
                for frame in batch {
                    assert_eq!(peers.steer.turn(&tables, now, &frame).worker, at as u32);
                    let id: [u8; 2] = *frame.bytes().get(34..).unwrap().first_chunk().unwrap();
                    let (reader, n) = (frame.port.0 as usize, u16::from_be_bytes(id));
                    assert_eq!(frame.bytes(), datagram(reader as u8, n).bytes());
                    assert!(came[at][reader] < Some(n), "in order");
                    came[at][reader] = Some(n);
                    count += 1;
                    pool.put(frame);
                }
            }
        }
        assert_eq!(count, u64::from(sent[0]) + u64::from(sent[1]));
    }
}
