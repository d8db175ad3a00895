//! What travels between workers: frames of one turn.
//!
//! Short frames are copied, one behind the other, and long ones go themselves.
//! A copy costs the taker the lines that it would read anyway, and both sides
//! keep their own buffers, which are in their caches: nothing else of the frame
//! crosses, and nothing has to come back. For a long frame an empty one goes
//! back, so that buffers do not pile up on one side.

use crate::addr::EniId;
use crate::flow::prefetch;
use crate::packet::{Frame, FramePool, Offload};

/// Frames up to this length are copied: a few cache lines, about what the frame
/// itself and the empty one in exchange would be.
const COPY_MAX: usize = 256;
const CACHE_LINE: usize = 64;
/// How many lines ahead of the copying are fetched.
const AHEAD: usize = 16;

/// What is copied begins with a line of its own: fewest of them cross.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u8; CACHE_LINE]);

/// One frame of a tray.
#[derive(Clone, Copy, Debug)]
struct Item {
    port: EniId,
    offload: Offload,
    /// Bytes that were copied; `None` for a frame that goes itself.
    copied: Option<u16>,
    /// Whether the other worker judges it; else it steers it once more.
    settled: bool,
}

/// Frames in their order.
#[derive(Debug, Default)]
pub(super) struct Tray {
    items: Vec<Item>,
    /// Those that were copied.
    lines: Vec<Line>,
    /// Those that were not; on the way back, empty ones in exchange.
    whole: Vec<Frame>,
    /// Items, lines and whole frames that were taken.
    taken: [usize; 3],
}

impl Tray {
    /// Frames that are still in it.
    pub(super) fn len(&self) -> usize {
        self.items.len() - self.taken[0]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a frame in, or a copy.
    pub(super) fn put(&mut self, frame: Frame, settled: bool, pool: &mut FramePool) {
        let bytes = frame.bytes();
        let copied = u16::try_from(bytes.len()).ok();
        let copied = copied.filter(|_| bytes.len() <= COPY_MAX);
        self.items.push(Item {
            port: frame.port,
            offload: frame.offload,
            copied,
            settled,
        });
        if copied.is_some() {
            let (full, rest) = bytes.as_chunks();
            self.lines.extend(full.iter().copied().map(Line));
            if !rest.is_empty() {
                let mut line = Line([0; CACHE_LINE]);
                if let Some(place) = line.0.get_mut(..rest.len()) {
                    place.copy_from_slice(rest);
                }
                self.lines.push(line);
            }
            pool.put(frame);
        } else {
            self.whole.push(frame);
        }
    }

    /// Moves what is in `other` here. All at once: the lines of a tray that came
    /// back are in the other core's cache, and so many of them are on their way
    /// only when nothing else is written between.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.items.extend_from_slice(&other.items);
        self.lines.extend_from_slice(&other.lines);
        self.whole.append(&mut other.whole);
        other.items.clear();
        other.lines.clear();
    }

    /// Asks for the first lines: they are in the other core's cache.
    pub(super) fn fetch(&self) {
        for at in 0..AHEAD {
            prefetch(&self.lines, at);
        }
        for at in (0..self.items.len()).step_by(CACHE_LINE / size_of::<Item>()) {
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
        let [items, lines, whole] = &mut self.taken;
        let waiting = self.items.get(*items..).unwrap_or_default();
        let mut count = 0;
        for item in waiting.iter().take(most) {
            let frame = if let Some(len) = item.copied {
                let mut frame = pool.take();
                frame.port = item.port;
                frame.offload = item.offload;
                let mut left = usize::from(len);
                while left > 0 {
                    prefetch(&self.lines, *lines + AHEAD);
                    let line = self
                        .lines
                        .get(*lines)
                        .and_then(|line| line.0.get(..left.min(CACHE_LINE)));
                    frame.extend(line.unwrap_or_default());
                    left = left.saturating_sub(CACHE_LINE);
                    *lines += 1;
                }
                frame
            } else {
                let place = self.whole.get_mut(*whole);
                *whole += 1;
                place.map(std::mem::take).unwrap_or_default()
            };
            count += 1;
            match item.settled {
                true => settled.push(frame),
                false => unsettled.push(frame),
            }
        }
        *items += count;
        count
    }

    /// Makes a tray whose frames were taken ready to go back: with an empty frame
    /// for each that went itself, as far as there are any.
    pub(super) fn pay_back(&mut self, pool: &mut FramePool) {
        if self.items.is_empty() {
            // It is ready since it was asked last.
            return;
        }
        self.items.clear();
        self.lines.clear();
        self.taken = [0; 3];
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
        frame.offload.checksum = Checksum::Partial {
            start: port as u16,
            offset: 6,
        };
        frame
    }

    #[test]
    fn short_and_long_frames_arrive_in_order_and_buffers_stay_or_are_exchanged() {
        let (mut here, mut there) = (FramePool::new(64), FramePool::new(64));
        let lens = [60, COPY_MAX + 1, 0, COPY_MAX, 9_000, 61];
        let mut tray = Tray::default();
        for (port, len) in (0..).zip(lens) {
            tray.put(frame(port, len), port != 3, &mut here);
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

    /// A tray that goes to and fro, and one that what comes meanwhile waits in: every frame
    /// arrives once, as it was, in its order.
    #[test]
    fn a_tray_that_goes_to_and_fro_loses_nothing() {
        let (mut here, mut there) = (FramePool::new(64), FramePool::new(64));
        let (mut tray, mut waiting) = (Tray::default(), Tray::default());
        let len = |port: u32| port as usize * 37 % 700;
        let (mut sent, mut got) = (0, Vec::new());
        for round in 0..300 {
            tray.append(&mut waiting);
            assert!(waiting.is_empty());
            for tray in [&mut tray, &mut waiting] {
                for _ in 0..round % 7 {
                    tray.put(frame(sent, len(sent)), sent % 3 > 0, &mut here);
                    sent += 1;
                }
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
        let on_the_way = waiting.len() as u32;
        got.sort_unstable();
        assert!(got.into_iter().eq(0..sent - on_the_way));
    }
}
