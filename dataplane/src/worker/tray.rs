//! What travels between workers: frames of one turn.
//!
//! Short frames are copied, one behind the other, and long ones go themselves.
//! A copy costs the taker the lines that it would read anyway, and both sides
//! keep their own buffers, which are in their caches: nothing else of the frame
//! crosses, and nothing has to come back. For a long frame an empty one goes
//! back, so that buffers do not pile up on one side.

use crate::addr::EniId;
use crate::flow::{CacheLine, prefetch, push_past_caches};
use crate::packet::{Frame, FramePool, Offload};

/// Frames up to this length are copied: a few cache lines, about what the frame
/// itself and the empty one in exchange would be.
const COPY_MAX: usize = 256;
const CACHE_LINE: usize = 64;
/// How many lines ahead of the copying are fetched.
const AHEAD: usize = 16;
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

/// Frames in their order.
#[derive(Debug, Default)]
pub(super) struct Tray {
    items: Vec<Items>,
    /// Those that were copied.
    lines: Vec<CacheLine>,
    /// Those that were not; on the way back, empty ones in exchange.
    whole: Vec<Frame>,
    offloads: Vec<Offload>,
    /// How many frames were put in.
    count: u32,
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

    /// Puts a copy of a frame in, or, if it is long, the frame itself. Says whether its
    /// buffer is left.
    #[inline]
    pub(super) fn put(&mut self, frame: &mut Frame, settled: bool) -> bool {
        let len = frame.len();
        let offloaded = frame.offload != Offload::default();
        let is_short = len <= COPY_MAX;
        let item = Item {
            port: frame.port,
            copied: if is_short { len as u16 } else { WHOLE },
            settled,
            offloaded,
        };
        let at = self.count as usize % TOGETHER;
        if at == 0 {
            self.items.push(Items::default());
        }
        if let Some(place) = self.items.last_mut().and_then(|items| items.0.get_mut(at)) {
            *place = item;
        }
        self.count += 1;
        if offloaded {
            self.offloads.push(frame.offload);
        }
        if !is_short {
            self.whole.push(std::mem::take(frame));
            return false;
        }
        for n in 0..len.div_ceil(CACHE_LINE) {
            // What lies behind the frame goes with its last line: to copy a line
            // is a few instructions, to copy a part of one a call.
            match frame.line(n) {
                Some(line) => push_past_caches(&mut self.lines, line),
                None => self.put_end(frame, n),
            }
        }
        true
    }

    /// The end of a frame behind which its buffer has no room for a whole line.
    #[cold]
    fn put_end(&mut self, frame: &Frame, n: usize) {
        let mut line = [0; CACHE_LINE];
        let rest = frame.bytes().get(n * CACHE_LINE..).unwrap_or_default();
        for (place, byte) in line.iter_mut().zip(rest) {
            *place = *byte;
        }
        push_past_caches(&mut self.lines, &line);
    }

    /// Asks for the first lines: they are in the other core's cache.
    pub(super) fn fetch(&self) {
        for at in 0..AHEAD {
            prefetch(&self.lines, at);
        }
        for at in 0..self.items.len() {
            prefetch(&self.items, at);
        }
    }

    /// Takes at most `most` frames, those that are settled into `settled`, and
    /// says how many.
    pub(super) fn take(
        &mut self,
        most: usize,
        settled: &mut Vec<Frame>,
        unsettled: &mut Vec<Frame>,
        pool: &mut FramePool,
    ) -> usize {
        let [items, mut lines, mut whole, mut offloads] = self.taken;
        let count = most.min((self.count - items) as usize);
        for at in items as usize..items as usize + count {
            let place = self.items.get(at / TOGETHER);
            let item = place.and_then(|items| items.0.get(at % TOGETHER));
            let item = item.copied().unwrap_or_default();
            let into = match item.settled {
                true => &mut *settled,
                false => &mut *unsettled,
            };
            // Filled where it stays.
            if item.copied == WHOLE {
                let place = self.whole.get_mut(whole as usize);
                whole += 1;
                into.push(place.map(std::mem::take).unwrap_or_default());
            } else {
                into.push(pool.take());
            }
            let Some(frame) = into.last_mut() else {
                continue;
            };
            if item.copied != WHOLE {
                let len = usize::from(item.copied);
                frame.set_len(len.next_multiple_of(CACHE_LINE));
                for place in frame.bytes_mut().as_chunks_mut().0 {
                    prefetch(&self.lines, lines as usize + AHEAD);
                    if let Some(line) = self.lines.get(lines as usize) {
                        *place = line.0;
                    }
                    lines += 1;
                }
                frame.set_len(len);
            }
            frame.port = item.port;
            if item.offloaded {
                let offload = self.offloads.get(offloads as usize).copied();
                frame.offload = offload.unwrap_or_default();
                offloads += 1;
            }
        }
        self.taken = [items + count as u32, lines, whole, offloads];
        count
    }

    /// Makes a tray whose frames were taken ready to go back: with an empty frame
    /// for each that went itself, as far as there are any.
    pub(super) fn pay_back(&mut self, pool: &mut FramePool) {
        if self.count == 0 {
            // It is ready since it was asked last.
            return;
        }
        self.count = 0;
        self.items.clear();
        self.lines.clear();
        self.offloads.clear();
        self.taken = [0; 4];
        let mut owed = self.whole.iter_mut();
        let paid = owed.by_ref().map_while(|place| {
            *place = pool.take_idle()?;
            Some(())
        });
        let paid = paid.count();
        self.whole.truncate(paid);
    }

    /// Takes the empty frames out that came back.
    pub(super) fn reclaim(&mut self, pool: &mut FramePool) {
        self.whole.drain(..).for_each(|frame| pool.put(frame));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Checksum;

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
        if tray.put(&mut frame, settled) {
            pool.put(frame);
        }
    }

    #[test]
    fn short_and_long_frames_arrive_in_order_and_buffers_stay_or_are_exchanged() {
        let (mut here, mut there) = (FramePool::new(64), FramePool::new(64));
        let lens = [60, COPY_MAX + 1, 0, COPY_MAX, 9_000, 61];
        let mut tray = Tray::default();
        for (port, len) in (0..).zip(lens) {
            put(&mut tray, frame(port, len), port != 3, &mut here);
        }
        assert_eq!(tray.len(), lens.len());
        tray.fetch();
        there.put(Frame::with_capacity(64));
        let (mut settled, mut unsettled) = (Vec::new(), Vec::new());
        assert_eq!(tray.take(4, &mut settled, &mut unsettled, &mut there), 4);
        assert_eq!(tray.take(64, &mut settled, &mut unsettled, &mut there), 2);
        assert!(tray.is_empty());
        settled.insert(3, unsettled.remove(0));
        assert!(unsettled.is_empty());
        for ((port, len), got) in (0..).zip(lens).zip(&settled) {
            let sent = frame(port, len);
            assert_eq!(got.bytes(), sent.bytes());
            assert_eq!((got.port, got.offload), (sent.port, sent.offload));
        }
        // Two went themselves; one empty frame is there to go back.
        there.put(Frame::with_capacity(64));
        while there.take_idle().is_some() {}
        there.put(Frame::with_capacity(77));
        for _ in 0..2 {
            tray.pay_back(&mut there);
        }
        assert_eq!((tray.len(), tray.whole.len()), (0, 1));
        let kept = std::iter::from_fn(|| here.take_idle()).count();
        assert_eq!(kept, 4, "the copied ones stayed");
        tray.reclaim(&mut here);
        assert!(here.take_idle().is_some() && tray.whole.is_empty());
    }

    /// Whole lines are copied, also of what was in a buffer before and of frames at its end.
    #[test]
    fn nothing_behind_a_frame_arrives_with_it() {
        let mut pool = FramePool::new(4);
        let mut tray = Tray::default();
        let bytes: Vec<u8> = (0..=255).collect();
        let (mut longer, mut last) = (
            Frame::with_capacity(512),
            Frame::from_bytes(EniId(2), &bytes),
        );
        longer.refill(EniId(1), &[0xff; 300]);
        longer.refill(EniId(1), bytes.get(..65).unwrap());
        last.pull_front(250);
        assert!(last.line(0).is_none() || last.line(1).is_none());
        put(&mut tray, longer, true, &mut pool);
        put(&mut tray, last, true, &mut pool);
        let mut came = Vec::new();
        assert_eq!(tray.take(9, &mut came, &mut Vec::new(), &mut pool), 2);
        let came: Vec<&[u8]> = came.iter().map(Frame::bytes).collect();
        assert_eq!(came, [bytes.get(..65).unwrap(), bytes.get(250..).unwrap()]);
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
                left -= tray.take(4, &mut settled, &mut unsettled, &mut there);
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
            tray.pay_back(&mut there);
            tray.reclaim(&mut here);
            assert!(tray.is_empty() && tray.lines.is_empty() && tray.whole.is_empty());
        }
        got.sort_unstable();
        assert!(got.into_iter().eq(0..sent));
    }
}
