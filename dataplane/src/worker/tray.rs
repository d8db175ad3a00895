//! What travels between workers: frames of one turn.
//!
//! Short frames are copied, one behind the other, and long ones go themselves.
//! A copy costs the taker the lines that it would read anyway, and both sides
//! keep their own buffers, which are in their caches: nothing else of the frame
//! crosses, and nothing has to come back. A long frame changes places with an empty
//! one of the tray, and at its end with a spare one: buffers pile up on neither side.

use crate::addr::EniId;
use crate::flow::{CacheLine, LinesPastCaches, prefetch};
use crate::packet::{Frame, FramePool, Offload};

/// Frames up to this length are copied: a few cache lines, about what the frame
/// itself and the empty one in exchange would be.
const COPY_MAX: usize = 256;
const CACHE_LINE: usize = 64;
/// How many lines ahead of the copying are fetched.
const AHEAD: usize = 16;
/// Empty frames that a tray keeps.
const KEPT: usize = 64;
/// Lines that are fetched at a time while there is something else to do.
const FETCHED: usize = 8;
/// Items of a line.
const TOGETHER: usize = CACHE_LINE / size_of::<Item>();

/// Items of a line of their own, as each frame that is copied begins with one: fewest of
/// them cross.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Items([Item; TOGETHER]);

/// One frame of a tray; few bytes, for all of them cross.
#[derive(Clone, Copy, Debug, Default)]
struct Item {
    port: EniId,
    /// Bytes that were copied; [`WHOLE`] for a frame that goes itself.
    copied: u16,
    /// Whether the other worker judges it; else it steers it once more.
    settled: bool,
    /// Whether its offload metadata is the tray's next one: that of plain frames says
    /// nothing.
    offloaded: bool,
}

const WHOLE: u16 = u16::MAX;

impl Item {
    /// Whether it is of a frame like most: copied, settled, and nothing is said of it.
    #[inline(always)]
    const fn is_plain(self) -> bool {
        self.copied != WHOLE && self.settled && !self.offloaded
    }
}

/// Frames in their order.
#[derive(Debug, Default)]
pub(super) struct Tray {
    /// As many as there ever were: `count` says which are of now.
    items: Vec<Items>,
    /// Those that were copied.
    lines: LinesPastCaches,
    /// Those that were not; where they were taken, and behind them, others in exchange.
    whole: Vec<Frame>,
    offloads: Vec<Offload>,
    /// How many frames were put in.
    count: u32,
    /// How many of them are whole.
    wholes: u32,
    /// Frames, lines, whole frames and metadata that were taken.
    taken: [u32; 4],
}

impl Tray {
    /// Frames that are still in it.
    pub(super) const fn len(&self) -> usize {
        (self.count - self.taken[0]) as usize
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a copy of a frame in, or, if it is long, the frame itself, and an empty one in
    /// its place. What is left is for another use.
    #[inline(always)]
    pub(super) fn put(&mut self, frame: &mut Frame, settled: bool, pool: &mut FramePool) {
        let len = frame.len();
        let offloaded = !frame.offload.is_none();
        let is_short = len <= COPY_MAX;
        let item = Item {
            port: frame.port,
            copied: if is_short { len as u16 } else { WHOLE },
            settled,
            offloaded,
        };
        let at = self.count as usize;
        match self.items.get_mut(at / TOGETHER) {
            Some(Items(items)) => items[at % TOGETHER] = item,
            None => self.put_first(item),
        }
        self.count += 1;
        if offloaded {
            self.note_offload(frame.offload);
        }
        if !is_short {
            return self.put_whole(frame, pool);
        }
        // What lies behind the frame goes with its last line: to copy a line is a few
        // instructions, to copy a part of one a call.
        match frame.lines() {
            Some(lines) => self.lines.push(lines),
            None => self.put_to_the_end(frame),
        }
    }

    // What few frames need is apart, so that the others have the registers.

    #[inline(never)]
    fn note_offload(&mut self, offload: Offload) {
        self.offloads.push(offload);
    }

    #[inline(never)]
    fn put_whole(&mut self, frame: &mut Frame, pool: &mut FramePool) {
        let at = self.wholes as usize;
        if at >= self.whole.len() {
            self.whole.push(pool.take());
        }
        if let Some(place) = self.whole.get_mut(at) {
            std::mem::swap(place, frame);
        }
        self.wholes += 1;
    }

    /// The first item of a line that there was not yet.
    #[cold]
    #[inline(never)]
    fn put_first(&mut self, item: Item) {
        let mut items = Items::default();
        items.0[0] = item;
        self.items.push(items);
    }

    /// A copy of a frame behind whose end its buffer has no room for a whole line.
    #[cold]
    #[inline(never)]
    fn put_to_the_end(&mut self, frame: &Frame) {
        for bytes in frame.bytes().chunks(CACHE_LINE) {
            let mut line = [0; CACHE_LINE];
            for (place, byte) in line.iter_mut().zip(bytes) {
                *place = *byte;
            }
            self.lines.push(&[line]);
        }
    }

    /// Makes it ready to be passed on: what was put in is there for others only then.
    pub(super) fn settle(&mut self) {
        self.lines.settle();
    }

    /// Asks for the first lines: they are in the other core's cache.
    pub(super) fn fetch(&self) {
        for at in 0..(self.count as usize).div_ceil(TOGETHER) {
            prefetch(&self.items, at);
        }
        for at in 0..AHEAD {
            prefetch(self.lines.settled(), at);
        }
    }

    /// Asks for some lines from `at` on, of those that were not taken, and says which come
    /// next; `None` if there are no more.
    pub(super) fn fetch_more(&self, at: usize) -> Option<usize> {
        let at = at.max(self.taken[1] as usize);
        for at in at..at + FETCHED {
            prefetch(self.lines.settled(), at);
        }
        let next = at + FETCHED;
        (next < self.lines.settled().len()).then_some(next)
    }

    /// Takes at most `most` frames, and says how many: those that are settled into
    /// `batch` from `filled` on, which it moves, instead of the spare ones there (of any
    /// content), where there are any.
    #[inline(never)]
    pub(super) fn take(
        &mut self,
        most: usize,
        batch: &mut Vec<Frame>,
        filled: &mut usize,
        unsettled: &mut Vec<Frame>,
        pool: &mut FramePool,
    ) -> usize {
        let [items, first, ..] = self.taken.map(|taken| taken as usize);
        let count = most.min(self.count as usize - items);
        let mut at = *filled;
        while batch.len() < at + count {
            batch.push(pool.take());
        }
        let (batch, lines) = (batch.as_mut_slice(), self.lines.settled());
        let mut line = first;
        for item in items..items + count {
            let (Some(Items(items)), Some(frame)) =
                (self.items.get(item / TOGETHER), batch.get_mut(at))
            else {
                break;
            };
            let item = items[item % TOGETHER];
            let len = match item.copied {
                WHOLE => 0,
                copied => usize::from(copied),
            };
            // Filled where it stays.
            match frame.refill_lines(len) {
                [place] => copy(lines, &mut line, place),
                places => copy_all(lines, &mut line, places),
            }
            frame.port = item.port;
            if item.is_plain() {
                at += 1;
                continue;
            }
            let [_, _, whole, offloads] = &mut self.taken;
            if item.copied == WHOLE {
                if let Some(came) = self.whole.get_mut(*whole as usize) {
                    take_whole(frame, came, item.port);
                }
                *whole += 1;
            }
            if item.offloaded {
                let offload = self.offloads.get(*offloads as usize).copied();
                frame.offload = offload.unwrap_or_default();
                *offloads += 1;
            }
            match item.settled {
                true => at += 1,
                false => unsettled.push(std::mem::replace(frame, pool.take())),
            }
        }
        self.taken[0] = (items + count) as u32;
        self.taken[1] = line as u32;
        *filled = at;
        count
    }

    /// Makes a tray whose frames were taken ready to go back.
    pub(super) fn clear(&mut self) {
        if self.count == 0 {
            // It is ready since it was asked last.
            return;
        }
        (self.count, self.wholes) = (0, 0);
        self.lines.clear();
        self.offloads.clear();
        self.taken = [0; 4];
    }

    /// Takes empty frames out of a tray that came back with more than most trays need.
    #[inline]
    pub(super) fn reclaim(&mut self, pool: &mut FramePool) {
        if self.whole.len() > KEPT {
            self.whole.drain(KEPT..).for_each(|frame| pool.put(frame));
        }
    }
}

/// Copies the next line, and asks for a later one.
#[inline(always)]
fn copy(lines: &[CacheLine], next: &mut usize, place: &mut [u8; CACHE_LINE]) {
    prefetch(lines, *next + AHEAD);
    if let Some(line) = lines.get(*next) {
        *place = line.0;
    }
    *next += 1;
}

#[inline(never)]
fn copy_all(lines: &[CacheLine], next: &mut usize, places: &mut [[u8; CACHE_LINE]]) {
    places.iter_mut().for_each(|place| copy(lines, next, place));
}

/// Takes a frame that came itself, for the spare one.
#[inline(never)]
fn take_whole(spare: &mut Frame, came: &mut Frame, port: EniId) {
    std::mem::swap(spare, came);
    spare.port = port;
    spare.offload = Offload::default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Checksum, HEADROOM};

    fn frame(port: u32, len: usize) -> Frame {
        let mut frame = Frame::from_bytes(EniId(port), &vec![port as u8; len]);
        if !port.is_multiple_of(3) {
            frame.offload.checksum = Checksum::Partial {
                start: port as u16,
                offset: 6,
            };
        }
        frame
    }

    /// Puts a frame in; the buffer that is left is the pool's.
    fn put(tray: &mut Tray, mut frame: Frame, settled: bool, pool: &mut FramePool) {
        tray.put(&mut frame, settled, pool);
        pool.put(frame);
    }

    /// Takes frames behind those that are in `settled`.
    fn take(
        tray: &mut Tray,
        most: usize,
        settled: &mut Vec<Frame>,
        unsettled: &mut Vec<Frame>,
        pool: &mut FramePool,
    ) -> usize {
        let mut filled = settled.len();
        // A spare one, of any content.
        settled.push(frame(77, 300));
        tray.settle();
        let taken = tray.take(most, settled, &mut filled, unsettled, pool);
        settled.drain(filled..).for_each(|frame| pool.put(frame));
        taken
    }

    #[test]
    fn short_and_long_frames_arrive_in_order_and_buffers_stay_or_are_exchanged() {
        let (mut here, mut there) = (FramePool::new(128), FramePool::new(64));
        let lens = [60, COPY_MAX + 1, 0, COPY_MAX, 9_000, 61];
        let mut tray = Tray::default();
        for (port, len) in (0..).zip(lens) {
            put(&mut tray, frame(port, len), port != 3, &mut here);
        }
        assert_eq!(tray.len(), lens.len());
        tray.fetch();
        let (mut settled, mut unsettled) = (Vec::new(), Vec::new());
        assert_eq!(
            take(&mut tray, 4, &mut settled, &mut unsettled, &mut there),
            4
        );
        assert_eq!(
            take(&mut tray, 64, &mut settled, &mut unsettled, &mut there),
            2
        );
        assert!(tray.is_empty());
        settled.insert(3, unsettled.remove(0));
        assert!(unsettled.is_empty());
        for ((port, len), got) in (0..).zip(lens).zip(&settled) {
            let sent = frame(port, len);
            assert_eq!(got.bytes(), sent.bytes());
            assert_eq!((got.port, got.offload), (sent.port, sent.offload));
        }
        // Two went themselves, for two of the pool here; two of there lie in their places.
        tray.clear();
        assert_eq!((tray.len(), tray.whole.len()), (0, 2));
        assert_eq!(here.idle(), lens.len() - 2);
        assert!(tray.whole.iter().all(Frame::is_empty));
        put(&mut tray, frame(9, 1_500), true, &mut here);
        assert_eq!((tray.wholes, tray.whole.len()), (1, 2), "no third one");
        let (mut last, filled) = (vec![frame(78, 9_000)], &mut 0);
        tray.settle();
        tray.take(1, &mut last, filled, &mut Vec::new(), &mut there);
        assert_eq!(last[0].bytes(), frame(9, 1_500).bytes());
        // Of many, the pool gets back what others can use as well.
        tray.clear();
        for port in 0..70 {
            put(&mut tray, frame(port, 1_500), true, &mut here);
        }
        tray.clear();
        let idle = here.idle();
        tray.reclaim(&mut here);
        assert_eq!((tray.whole.len(), here.idle() - idle), (KEPT, 6));
    }

    /// Whole lines are copied, also of what was in a buffer before and of frames at its end.
    #[test]
    fn nothing_behind_a_frame_arrives_with_it() {
        let mut pool = FramePool::new(4);
        let mut tray = Tray::default();
        let (mut longer, mut last) = (Frame::with_capacity(512), Frame::with_capacity(190));
        // To the end of its buffer, which begins wherever the allocator says.
        let bytes: Vec<u8> = (0..HEADROOM + CACHE_LINE + 190 - last.headroom())
            .map(|at| at as u8)
            .collect();
        longer.refill(EniId(1), &[0xff; 300]);
        longer.refill(EniId(1), bytes.get(..65).unwrap());
        last.refill(EniId(2), &bytes);
        last.pull_front(bytes.len() - 6);
        assert!(last.lines().is_none());
        put(&mut tray, longer, true, &mut pool);
        put(&mut tray, last, true, &mut pool);
        let mut came = Vec::new();
        assert_eq!(take(&mut tray, 9, &mut came, &mut Vec::new(), &mut pool), 2);
        let came: Vec<&[u8]> = came.iter().map(Frame::bytes).collect();
        assert_eq!(came, [&bytes[..65], &bytes[bytes.len() - 6..]]);
    }

    /// A tray that goes to and fro: every frame arrives once, as it was, in its order.
    #[test]
    fn a_tray_that_goes_to_and_fro_loses_nothing() {
        let (mut here, mut there) = (FramePool::new(64), FramePool::new(64));
        let mut tray = Tray::default();
        let len = |port: u32| port as usize * 37 % 700;
        let (mut sent, mut got) = (0, Vec::new());
        for round in 0..300 {
            for _ in 0..round % 7 {
                put(&mut tray, frame(sent, len(sent)), sent % 3 > 0, &mut here);
                sent += 1;
            }
            tray.fetch();
            let (mut settled, mut unsettled) = (Vec::new(), Vec::new());
            let mut left = tray.len();
            while left > 0 {
                left -= take(&mut tray, 4, &mut settled, &mut unsettled, &mut there);
                assert_eq!(tray.len(), left);
            }
            assert!(settled.iter().all(|frame| frame.port.0 % 3 > 0));
            assert!(unsettled.iter().all(|frame| frame.port.0 % 3 == 0));
            assert!(settled.is_sorted_by_key(|frame| frame.port));
            assert!(unsettled.is_sorted_by_key(|frame| frame.port));
            for taken in settled.into_iter().chain(unsettled) {
                let expected = frame(taken.port.0, len(taken.port.0));
                assert_eq!(taken.bytes(), expected.bytes());
                assert_eq!(taken.offload, expected.offload);
                got.push(taken.port.0);
                there.put(taken);
            }
            tray.clear();
            tray.reclaim(&mut here);
            assert!(tray.is_empty() && tray.lines.settled().is_empty() && tray.whole.len() < 7);
        }
        got.sort_unstable();
        assert!(got.into_iter().eq(0..sent));
    }
}
