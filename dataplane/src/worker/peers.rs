//! Frames between workers: steered here, handed over by rings.

use std::cell::Cell;

use super::ring::{Filler, Taker};
use super::steer::{Steer, Turn};
use crate::flow::prefetch;
use crate::io::WakeSender;
use crate::packet::{Frame, FramePool};
use crate::tables::Snapshot;
use crate::time::Instant;

/// Trays that may wait between two workers. A tray holds what one turn hands
/// over, so this is a bound in turns: some milliseconds of a busy worker.
pub(super) const TRAYS: usize = 64;

/// The last byte of a plain packet's headers: perhaps a cache line after the first.
const HEADERS: usize = 53;

/// A frame on its way to another worker.
#[derive(Debug)]
pub(super) struct Handed {
    frame: Frame,
    /// Whether the other worker judges it; else it steers it once more.
    settled: bool,
}

/// Frames that one turn hands over; on the way back, empty ones in exchange.
pub(super) type Tray = Vec<Handed>;

/// The way to one other worker, and back.
#[derive(Debug)]
pub(super) struct Peer {
    worker: u32,
    filler: Filler<Tray>,
    taker: Taker<Tray>,
    wake: WakeSender,
    /// What this turn hands over.
    out: Tray,
    /// The last tray that came, to be sent back.
    back: Tray,
    /// Empty frames that are owed for those that came in it.
    owed: usize,
}

impl Peer {
    pub(super) fn new(
        worker: u32,
        filler: Filler<Tray>,
        taker: Taker<Tray>,
        wake: WakeSender,
    ) -> Self {
        Self {
            worker,
            filler,
            taker,
            wake,
            out: Tray::new(),
            back: Tray::new(),
            owed: 0,
        }
    }
}

/// What was handed over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handovers {
    /// Taken from rings.
    pub(super) taken: u64,
    /// Put into rings.
    pub(super) passed: u64,
    /// Dropped, since the ring was full.
    pub(super) full: u64,
}

/// The other workers, seen from one.
#[derive(Debug)]
pub(super) struct Peers {
    own: u32,
    steer: Steer,
    peers: Vec<Peer>,
    /// Kept for its memory.
    unsettled: Vec<Frame>,
    counts: Handovers,
}

impl Peers {
    pub(super) fn new(own: u32, steer: Steer, peers: Vec<Peer>) -> Self {
        Self {
            own,
            steer,
            peers,
            unsettled: Vec::new(),
            counts: Handovers::default(),
        }
    }

    pub(super) const fn counts(&self) -> Handovers {
        self.counts
    }

    /// Whether frames wait in a ring.
    pub(super) fn has_work(&self) -> bool {
        self.peers.iter().any(|peer| !peer.taker.is_empty())
    }

    /// Hands over what belongs to others of `batch`, which a port gave, and
    /// appends what the others handed over. What a full ring does not take goes
    /// to `dropped`.
    pub(super) fn exchange(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        batch: &mut Vec<Frame>,
        pool: &mut FramePool,
        dropped: &mut dyn FnMut(&Frame),
    ) {
        let (own, steer) = (self.own, &mut self.steer);
        let turn = Cell::new(Turn {
            worker: own,
            settled: true,
        });
        let foreign = batch.extract_if(.., |frame| {
            turn.set(steer.turn(tables, now, frame));
            turn.get().worker != own
        });
        for frame in foreign {
            put(&mut self.peers, turn.get(), frame);
        }
        self.take(tables, now, batch, pool);
        self.pass(pool, dropped);
    }

    fn take(
        &mut self,
        tables: &Snapshot,
        now: Instant,
        batch: &mut Vec<Frame>,
        pool: &mut FramePool,
    ) {
        for peer in &mut self.peers {
            loop {
                while peer.owed > 0
                    && let Some(frame) = pool.take_idle()
                {
                    let settled = true;
                    peer.back.push(Handed { frame, settled });
                    peer.owed -= 1;
                }
                if !peer.taker.take(&mut peer.back) {
                    break;
                }
                peer.owed = peer.back.len();
                self.counts.taken += peer.back.len() as u64;
                // Their bytes are in the other core's cache: all come together.
                for handed in &peer.back {
                    let bytes = handed.frame.bytes();
                    prefetch(bytes, 0);
                    prefetch(bytes, HEADERS);
                }
                for handed in peer.back.drain(..) {
                    match handed.settled {
                        true => batch.push(handed.frame),
                        false => self.unsettled.push(handed.frame),
                    }
                }
            }
        }
        for frame in self.unsettled.drain(..) {
            let turn = self.steer.turn_again(tables, now, &frame);
            match turn.worker == self.own {
                true => batch.push(frame),
                false => put(&mut self.peers, turn, frame),
            }
        }
    }

    fn pass(&mut self, pool: &mut FramePool, dropped: &mut dyn FnMut(&Frame)) {
        for peer in self.peers.iter_mut().filter(|peer| !peer.out.is_empty()) {
            let count = peer.out.len() as u64;
            if peer.filler.pass(&mut peer.out) {
                self.counts.passed += count;
                peer.wake.wake_dozing();
            } else {
                self.counts.full += count;
                peer.out.iter().for_each(|handed| dropped(&handed.frame));
            }
            // What came back, or what was dropped.
            for handed in peer.out.drain(..) {
                pool.put(handed.frame);
            }
        }
    }
}

fn put(peers: &mut [Peer], turn: Turn, frame: Frame) {
    if let Some(peer) = peers.iter_mut().find(|peer| peer.worker == turn.worker) {
        let settled = turn.settled;
        peer.out.push(Handed { frame, settled });
    }
}
