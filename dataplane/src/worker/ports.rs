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
use crate::time::{Duration, Instant};

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

/// How long a port rests whose read failed with what may pass.
const REST: Duration = Duration::from_millis(100);

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
    /// Its last read failed for good: it is asked no more.
    broken: bool,
    /// Its last read failed with what may pass: it is asked again from then on.
    rests: Option<Instant>,
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
    /// The moment of this turn.
    now: Instant,
    /// When the first of those that rest is asked again.
    next_attempt: Option<Instant>,
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
            now: Instant::ZERO,
            next_attempt: None,
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
            rests: None,
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

    /// When a port is to be asked again that nothing else tells of.
    pub(super) const fn next_attempt(&self) -> Option<Instant> {
        self.next_attempt
    }

    /// Writes what waits to be written, and appends what the ports have `now` to
    /// `batch`, each frame marked with its port.
    pub(super) fn receive(&mut self, now: Instant, batch: &mut Vec<Frame>, pool: &mut FramePool) {
        self.turn = self.turn.wrapping_add(1);
        self.now = now;
        if self.next_attempt.is_some_and(|attempt| attempt <= now) {
            self.list();
        }
        if self.ring.is_some() {
            self.list_reads(pool);
            self.run_ring(batch, pool);
        }
        let mut failed = false;
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
                Err(error) => {
                    slot.fail(&error, now);
                    failed = true;
                }
            }
            for frame in batch.iter_mut().skip(from) {
                slot.received(frame);
            }
        }
        if failed {
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
        let (mut failed, now) = (false, self.now);
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
                    // The others of this turn say the same.
                    if slot.can_receive() {
                        slot.fail(&error, now);
                        failed = true;
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
            for slot in &mut self.slots {
                (slot.broken, slot.rests) = (false, None);
            }
            failed = true;
        }
        if failed {
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
        let now = self.now;
        for slot in &mut self.slots {
            slot.rests = slot.rests.filter(|until| *until > now);
        }
        self.next_attempt = self.slots.iter().filter_map(|slot| slot.rests).min();
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
        // A port that fails may be ready all the time: nobody waits for it.
        let fd = if slot.broken || slot.rests.is_some() {
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
        !self.broken && self.rests.is_none() && self.port.receives()
    }

    /// A read failed: it is asked again later, or no more.
    #[cold]
    fn fail(&mut self, error: &io::Error, now: Instant) {
        self.counters.errors += 1;
        match passes(error) {
            true => self.rests = Some(now + REST),
            false => self.broken = true,
        }
    }
}

/// Whether what a read failed with may be over later: no memory, a call that was cut short, an
/// interface that is not up. What else there is means that the port's other side is gone.
fn passes(error: &io::Error) -> bool {
    const PASSING: [i32; 4] = [libc::EINTR, libc::ENOMEM, libc::ENOBUFS, libc::EIO];
    let no = error.raw_os_error();
    error.kind() == io::ErrorKind::Interrupted || no.is_some_and(|no| PASSING.contains(&no))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::io::wake_pair;

    /// Fails in its ways, one a read; then it has a frame at every one.
    struct Failing(Vec<i32>, Arc<AtomicUsize>);

    impl Port for Failing {
        fn receive(
            &mut self,
            _limit: usize,
            out: &mut Vec<Frame>,
            pool: &mut FramePool,
        ) -> io::Result<usize> {
            self.1.fetch_add(1, Ordering::Relaxed);
            if !self.0.is_empty() {
                return Err(io::Error::from_raw_os_error(self.0.remove(0)));
            }
            out.push(pool.take());
            Ok(1)
        }

        fn transmit(&mut self, frame: Frame, pool: &mut FramePool) -> Result<(), PortError> {
            pool.put(frame);
            Ok(())
        }
    }

    /// Turns of a millisecond of a port that fails so: when it was read, when frames came, and
    /// when it is to be asked again in the end.
    fn turns(errors: &[i32], turns: u64) -> (Vec<u64>, Vec<u64>, Option<Instant>) {
        let (_, wake) = wake_pair().unwrap();
        let (mut ports, mut pool) = (Ports::new(wake), FramePool::new(8));
        let asked = Arc::new(AtomicUsize::new(0));
        let failing = Failing(errors.to_vec(), Arc::clone(&asked));
        ports.add(EniId(3), Box::new(failing), &mut pool);
        let (mut reads, mut came) = (Vec::new(), Vec::new());
        for ms in 0..turns {
            let (before, mut batch) = (asked.load(Ordering::Relaxed), Vec::new());
            let now = Instant::from_millis(ms);
            ports.receive(now, &mut batch, &mut pool);
            if asked.load(Ordering::Relaxed) > before {
                reads.push(ms);
            }
            came.extend(batch.iter().map(|_| ms));
            // Asked at every turn, at a time, or no more.
            let rests = ports.next_attempt().is_some();
            assert!(!(ports.must_ask() && rests));
        }
        let failed = reads.len() - came.len();
        assert_eq!(ports.counters()[0].1.errors, failed as u64);
        (reads, came, ports.next_attempt())
    }

    #[test]
    fn what_passes_is_waited_for_and_a_port_that_is_gone_is_asked_no_more() {
        let passing = [libc::ENOBUFS, libc::ENOMEM, libc::EIO, libc::EINTR];
        let (reads, came, next) = turns(&passing, 403);
        assert_eq!(reads, [0, 100, 200, 300, 400, 401, 402]);
        assert_eq!((came, next), (vec![400, 401, 402], None));
        let (reads, _, next) = turns(&passing, 150);
        assert_eq!(
            (reads, next),
            (vec![0, 100], Some(Instant::from_millis(200)))
        );
        for gone in [libc::EBADFD, libc::ENODEV] {
            let (reads, came, next) = turns(&[libc::EIO, gone], 500);
            assert_eq!((reads, came, next), (vec![0, 100], vec![], None));
        }
    }

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
