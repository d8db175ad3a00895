//! The ports of one worker, and the two ways to move their frames.
//!
//! Ports that allow it share a ring: one system call carries the frames that
//! the last batch sent and reads for the next, over all of them. The others,
//! and all where io_uring is switched off, are asked one by one.

use std::fmt;
use std::io;

use super::handle::PortCounters;
use crate::addr::EniId;
use crate::io::{Poller, Port, PortError, Ring, Transfer, WakeReceiver, Way, tap};
use crate::packet::{Frame, FramePool};
use crate::time::Duration;

/// Frames that one port may add to a batch. A port that fills its share gets
/// twice as much at its next turn.
const SHARE_MAX: usize = 64;
/// Least share of a port that is asked by itself.
const SHARE_MIN: usize = 8;
/// Bytes that one port may add to a batch whose frames a ring moves: as much as a core's second
/// cache still has when they are written. Only super-packets are so long.
const BYTES_MAX: usize = 256 << 10;
/// Reads of all ports together, so that frames in flight fit the pool.
const READS_MAX: usize = 512;
/// A port that gave nothing so many times in a row…
const QUIET: u8 = 2;
/// …is read only every so many turns.
const QUIET_TURNS: usize = 8;

/// How frames are moved between ports and kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mover {
    /// Many reads and writes in one system call.
    Ring,
    /// A system call for each; why.
    ReadWrite(String),
}

impl Default for Mover {
    fn default() -> Self {
        Self::ReadWrite("not started".to_owned())
    }
}

impl fmt::Display for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring => f.write_str("io_uring"),
            Self::ReadWrite(why) => write!(f, "read and write ({why})"),
        }
    }
}

/// A port and its accounts.
struct Slot {
    eni: EniId,
    port: Box<dyn Port>,
    /// Frames to ask for at the next turn.
    share: usize,
    /// Place in the poller's list; `None` has to be asked.
    place: Option<usize>,
    /// Whether the ring moves its frames: its place there is its index here.
    in_ring: bool,
    /// Turns in a row without a frame.
    quiet: u8,
    /// Its last read failed: it is asked no more.
    broken: bool,
    counters: PortCounters,
}

/// All ports of a worker, and its wake-up.
pub(super) struct Ports {
    // First, so that it is gone before the ports: it holds their files.
    ring: Option<Ring>,
    mover: Mover,
    slots: Vec<Slot>,
    /// Slot by interface index.
    slot_of: Vec<Option<usize>>,
    poller: Poller,
    wake: WakeReceiver,
    /// Whether the poller's answers are of this turn.
    polled: bool,
    /// What the ring writes at the next turn.
    transfers: Vec<Transfer>,
    refused: u64,
    turn: usize,
}

/// The wake-up is first in the poller's list.
const WAKE_PLACE: usize = 0;

impl Ports {
    pub(super) fn new(wake: WakeReceiver) -> Self {
        let mut ports = Self {
            ring: None,
            mover: Mover::default(),
            slots: Vec::new(),
            slot_of: Vec::new(),
            poller: Poller::default(),
            wake,
            polled: false,
            transfers: Vec::new(),
            refused: 0,
            turn: 0,
        };
        ports.list();
        ports
    }

    /// Chooses how frames are moved; called on the worker's thread, whose the
    /// ring will be.
    pub(super) fn start(&mut self, ring: bool) {
        self.mover = match ring.then(Ring::new) {
            None => Mover::ReadWrite("as configured".to_owned()),
            Some(Err(error)) => Mover::ReadWrite(format!("no io_uring: {error}")),
            Some(Ok(ring)) => {
                self.ring = Some(ring);
                Mover::Ring
            }
        };
        self.list();
    }

    pub(super) const fn mover(&self) -> &Mover {
        &self.mover
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn add(&mut self, eni: EniId, port: Box<dyn Port>, pool: &mut FramePool) {
        self.remove(eni, pool);
        self.slots.push(Slot {
            eni,
            port,
            share: 1,
            place: None,
            in_ring: false,
            quiet: 0,
            broken: false,
            counters: PortCounters::default(),
        });
        // The others keep their places.
        self.list_one(self.slots.len() - 1);
    }

    pub(super) fn remove(&mut self, eni: EniId, pool: &mut FramePool) {
        if self.slots.iter().any(|slot| slot.eni == eni) {
            // Places move: nothing may be under way.
            self.write_all(pool);
            self.slots.retain(|slot| slot.eni != eni);
            self.list();
        }
    }

    /// Tells all ports that the worker ends.
    pub(super) fn abandon(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.port.abandon());
    }

    /// Waits until a port or the wake-up is ready, at most `timeout`. Not at
    /// all while frames wait to be written, or when nothing has to be polled.
    /// `has_work` says whether another thread has left some.
    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
        has_work: impl Fn() -> bool,
    ) -> io::Result<()> {
        let sleeps = timeout != Some(Duration::ZERO) && self.transfers.is_empty();
        if sleeps {
            self.wake.doze();
        }
        // Looked at after that: whoever leaves work from now on wakes.
        let timeout = match sleeps && !has_work() {
            true => timeout,
            false => Some(Duration::ZERO),
        };
        // The wake-up tells without that whether it is pending.
        let tells = |slot: &Slot| slot.place.is_some() && !slot.in_ring;
        self.polled = timeout != Some(Duration::ZERO) || self.slots.iter().any(tells);
        if self.polled {
            self.poller.wait(timeout)?;
        }
        if sleeps {
            self.wake.rise();
        }
        if timeout != Some(Duration::ZERO) {
            for slot in self.slots.iter_mut().filter(|slot| slot.in_ring) {
                let ready = slot.place.is_some_and(|place| self.poller.is_ready(place));
                slot.quiet = if ready { 0 } else { QUIET };
            }
        }
        Ok(())
    }

    /// Takes the wake-up, if there is one. Fails when nobody is left to wake.
    pub(super) fn take_wake(&mut self) -> io::Result<()> {
        let ready = self.polled && self.poller.is_ready(WAKE_PLACE);
        match ready || self.wake.is_pending() {
            true => self.wake.take(),
            false => Ok(()),
        }
    }

    /// Whether frames wait to be written.
    pub(super) fn has_pending(&self) -> bool {
        !self.transfers.is_empty()
    }

    /// Whether a port has to be asked, since nothing tells of its frames.
    pub(super) fn must_ask(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|slot| slot.place.is_none() && slot.can_receive())
    }

    /// Writes what waits to be written, and appends what the ports have to
    /// `batch`, each frame marked with its port.
    pub(super) fn receive(&mut self, batch: &mut Vec<Frame>, pool: &mut FramePool) {
        self.turn = self.turn.wrapping_add(1);
        if self.ring.is_some() {
            self.list_reads(pool);
            self.run_ring(batch, pool);
        }
        let mut broken = false;
        for slot in self.slots.iter_mut().filter(|slot| !slot.in_ring) {
            let waiting = slot
                .place
                .is_none_or(|place| self.polled && self.poller.is_ready(place));
            if !slot.can_receive() || !waiting {
                continue;
            }
            let from = batch.len();
            let share = slot.share.max(SHARE_MIN);
            match slot.port.receive(share, batch, pool) {
                Ok(count) if count == share => slot.share = (share * 2).min(SHARE_MAX),
                // Nothing says nothing of how many come at once.
                Ok(0) => {}
                Ok(_) => slot.share = share / 2,
                Err(_) => {
                    slot.break_off();
                    broken = true;
                }
            }
            for frame in batch.iter_mut().skip(from) {
                slot.received(frame);
            }
        }
        if broken {
            self.list();
        }
    }

    /// Sends a frame by the port of `eni`, now or with the next turn's reads.
    /// Gives it back when there is no such port; that counts as refused.
    pub(super) fn transmit(
        &mut self,
        eni: EniId,
        mut frame: Frame,
        pool: &mut FramePool,
    ) -> Option<Frame> {
        let index = self.slot_of.get(eni.0 as usize).copied().flatten();
        let Some((index, slot)) =
            index.and_then(|index| self.slots.get_mut(index).map(|slot| (index, slot)))
        else {
            self.refused += 1;
            return Some(frame);
        };
        let len = frame.len() as u64;
        let result = if !slot.in_ring {
            slot.port.transmit(frame, pool)
        } else if tap::prepend_header(&mut frame) {
            let transfer = Transfer::new(Way::Write, index as u32, frame);
            self.transfers.push(transfer);
            // A host answers a ping or a segment while it is written: read with it.
            slot.quiet = slot.quiet.min(QUIET - 1);
            return None;
        } else {
            pool.put(frame);
            Err(PortError::Unfit)
        };
        self.refused += slot.sent(len, result);
        None
    }

    /// Frames that no port took.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Frames that wait to be written.
    pub(super) fn pending(&self) -> u64 {
        self.transfers.len() as u64
    }

    pub(super) fn counters(&self) -> Vec<(EniId, PortCounters)> {
        let slots = self.slots.iter();
        slots.map(|slot| (slot.eni, slot.counters)).collect()
    }

    fn list_reads(&mut self, pool: &mut FramePool) {
        let active = self.slots.iter().filter(|slot| slot.quiet < QUIET).count();
        let most = (READS_MAX / active.max(1)).clamp(1, SHARE_MAX);
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let rests = slot.quiet >= QUIET && !(self.turn + index).is_multiple_of(QUIET_TURNS);
            if !slot.in_ring || !slot.can_receive() || rests {
                continue;
            }
            slot.share = slot.share.clamp(1, most);
            for _ in 0..slot.share {
                let mut frame = pool.take();
                tap::make_room(&mut frame);
                let transfer = Transfer::new(Way::Read, index as u32, frame);
                self.transfers.push(transfer);
            }
        }
    }

    /// Does all transfers and takes their results.
    fn run_ring(&mut self, batch: &mut Vec<Frame>, pool: &mut FramePool) {
        let Some(ring) = &mut self.ring else { return };
        let result = ring.run(&mut self.transfers);
        let mut broken = false;
        // Reads of one port stand together.
        let (mut reads, mut got, mut bytes) = (0, 0, 0);
        let mut transfers = self.transfers.drain(..).peekable();
        while let Some(transfer) = transfers.next() {
            let outcome = transfer.outcome();
            let Transfer {
                mut frame,
                place,
                way,
                ..
            } = transfer;
            let Some(slot) = self.slots.get_mut(place as usize) else {
                pool.put(frame);
                continue;
            };
            if way == Way::Write {
                let whole = frame.len();
                let len = whole.saturating_sub(tap::HEADER_LEN) as u64;
                pool.put(frame);
                let sent = match outcome {
                    Ok(written) if written == whole => Ok(()),
                    Ok(_) => Err(PortError::Unfit),
                    Err(error) => Err(PortError::from(error)),
                };
                self.refused += slot.sent(len, sent);
                continue;
            }
            reads += 1;
            match outcome {
                Ok(len) if len > 0 && tap::accept(&mut frame, len) => {
                    got += 1;
                    bytes += frame.len();
                    slot.received(&mut frame);
                    batch.push(frame);
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    pool.put(frame);
                    if !slot.broken {
                        slot.break_off();
                        broken = true;
                    }
                }
                _ => pool.put(frame),
            }
            let last = transfers.peek().is_none_or(|next| next.place != place);
            if last {
                slot.share = next_share(reads, got, bytes);
                slot.quiet = if got > 0 {
                    0
                } else {
                    slot.quiet.saturating_add(1)
                };
                (reads, got, bytes) = (0, 0, 0);
            }
        }
        drop(transfers);
        if let Err(error) = result {
            self.ring = None;
            self.mover = Mover::ReadWrite(format!("io_uring failed: {error}"));
            // What broke with it is whole.
            self.slots.iter_mut().for_each(|slot| slot.broken = false);
            broken = true;
        }
        if broken {
            self.list();
        }
    }

    /// Writes what waits, without reading.
    fn write_all(&mut self, pool: &mut FramePool) {
        let mut none = Vec::new();
        self.run_ring(&mut none, pool);
    }

    /// Makes the lists that name ports anew.
    fn list(&mut self) {
        self.slot_of.fill(None);
        self.poller.clear();
        self.poller.add(self.wake.descriptor());
        self.polled = false;
        for index in 0..self.slots.len() {
            self.list_one(index);
        }
        if let Some(ring) = &mut self.ring {
            // The places that a removed port left.
            let _ = ring.set_file(self.slots.len() as u32, None);
        }
    }

    /// Puts one slot on those lists; none after it may be there yet.
    fn list_one(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let eni = slot.eni.0 as usize;
        if self.slot_of.len() <= eni {
            self.slot_of.resize(eni + 1, None);
        }
        if let Some(entry) = self.slot_of.get_mut(eni) {
            *entry = Some(index);
        }
        let fd = if slot.broken {
            None
        } else {
            slot.port.readable()
        };
        slot.place = fd.map(|fd| self.poller.add(fd));
        // A port beyond what a ring can hold is asked by itself.
        slot.in_ring = self.ring.as_mut().is_some_and(|ring| {
            let file = slot.port.ring_file();
            file.is_some() && ring.set_file(index as u32, file).is_ok()
        });
    }
}

/// Frames to ask a port of a ring for, which has just given `got` of `bytes` for so many reads:
/// more if it had enough for all, and no more of their length than [`BYTES_MAX`].
fn next_share(reads: usize, got: usize, bytes: usize) -> usize {
    let wanted = match got == reads {
        true => reads * 2,
        false => got + 1,
    };
    match (BYTES_MAX * got).checked_div(bytes) {
        Some(most) => wanted.min(most.max(1)),
        None => wanted,
    }
}

impl Slot {
    fn received(&mut self, frame: &mut Frame) {
        frame.port = self.eni;
        self.counters.received += 1;
        self.counters.received_bytes += frame.len() as u64;
    }

    /// Books a frame of `len` bytes; 1 if it was refused.
    fn sent(&mut self, len: u64, result: Result<(), PortError>) -> u64 {
        match result {
            Ok(()) => {
                self.counters.transmitted += 1;
                self.counters.transmitted_bytes += len;
                0
            }
            Err(error) => {
                self.counters.refused += 1;
                self.counters.errors += u64::from(!matches!(error, PortError::Full));
                1
            }
        }
    }

    fn can_receive(&self) -> bool {
        !self.broken && self.port.receives()
    }

    fn break_off(&mut self) {
        self.counters.errors += 1;
        self.broken = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_asked_for_as_many_frames_as_it_has_and_as_a_cache_holds() {
        assert_eq!(next_share(1, 0, 0), 1);
        assert_eq!(next_share(8, 8, 8 * 60), 16);
        assert_eq!(next_share(8, 5, 5 * 1_514), 6);
        // Super-packets: four, however many there are.
        assert_eq!(next_share(4, 4, 4 * 65_000), 4);
        assert_eq!(next_share(64, 64, 64 * 65_000), 4);
        assert_eq!(next_share(4, 1, 65_000), 2);
        // Longer ones than the cache holds are read one by one.
        assert_eq!(next_share(1, 1, 2 * BYTES_MAX), 1);
    }
}
