//! A frame in a buffer with headroom, with the metadata that offloads need.

use crate::addr::EniId;

/// Bytes kept free before a received frame: room for one GENEVE encapsulation
/// (68 bytes), a VLAN tag and a virtio header, rounded up to cache lines.
pub const HEADROOM: usize = 128;

/// Frames begin with a cache line: one of 64 bytes takes one, and what was just
/// written can be read before it has reached the cache. (Across two lines it
/// cannot: steering a frame then waits for all that is still to be written, such
/// as frames for another core.)
const CACHE_LINE: usize = 64;

/// State of the transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// The field holds what the sender put there; nobody has checked it.
    #[default]
    Unverified,
    /// The field is known to be right.
    Verified,
    /// Partial (virtio `NEEDS_CSUM`): the field at `start + offset` holds the
    /// folded, *not* complemented pseudo-header sum; the sum from `start` to
    /// the packet's end is still to be added. Offsets are from the frame's start.
    Partial {
        /// Where summing starts: the transport header.
        start: u16,
        /// Where the field lies, from `start`.
        offset: u16,
    },
}

/// What kind of super-packet a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Segmentation {
    /// An ordinary packet.
    #[default]
    None,
    /// TCP to be cut into segments of this many payload bytes.
    Tcp(u16),
    /// UDP to be cut into datagrams of this many payload bytes (UDP_L4).
    Udp(u16),
}

/// Offload metadata, carried with every frame from port to port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// Transport checksum.
    pub checksum: Checksum,
    /// Segmentation still to be done.
    pub segmentation: Segmentation,
}

impl Offload {
    /// Whether it says nothing: that of an ordinary packet.
    #[inline(always)]
    pub(crate) const fn is_none(&self) -> bool {
        matches!(
            (&self.checksum, &self.segmentation),
            (Checksum::Unverified, Segmentation::None)
        )
    }
}

/// One Ethernet frame. Bytes live in one allocation with free room before and
/// after them, so that headers are added and removed without copying. All of
/// the allocation is initialised once, so that neither emptying a frame nor
/// letting the kernel fill it writes a byte.
#[derive(Debug, Default)]
pub struct Frame {
    buffer: Box<[u8]>,
    /// The frame is `buffer[head..end]`. (Frames are moved often: few bytes.)
    head: u32,
    end: u32,
    /// The interface by which the frame entered.
    pub port: EniId,
    /// Offload metadata.
    pub offload: Offload,
}

impl Frame {
    /// An empty frame with room for `capacity` bytes after the headroom.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut frame = Self {
            buffer: zeros(HEADROOM + CACHE_LINE + capacity),
            ..Self::default()
        };
        frame.clear();
        frame
    }

    /// Where an empty frame begins.
    #[inline]
    fn start(&self) -> usize {
        HEADROOM + self.buffer.as_ptr().align_offset(CACHE_LINE) % CACHE_LINE
    }

    #[inline(always)]
    const fn head(&self) -> usize {
        self.head as usize
    }

    #[inline(always)]
    const fn end(&self) -> usize {
        self.end as usize
    }

    /// A frame that entered by `port` and holds a copy of `bytes`.
    pub fn from_bytes(port: EniId, bytes: &[u8]) -> Self {
        let mut frame = Self::with_capacity(bytes.len());
        frame.refill(port, bytes);
        frame
    }

    /// Empties the frame for another use; keeps the allocation.
    pub fn clear(&mut self) {
        self.head = self.start() as u32;
        self.end = self.head;
        self.offload = Offload::default();
    }

    /// Clears, then holds a copy of `bytes`. Allocates only to grow.
    pub fn refill(&mut self, port: EniId, bytes: &[u8]) {
        self.clear();
        self.extend(bytes);
        self.port = port;
    }

    /// The frame's bytes, from the Ethernet header on.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let before_end = self.buffer.get(..self.end());
        match before_end.and_then(|bytes| bytes.get(self.head()..)) {
            Some(bytes) => bytes,
            None => nothing(),
        }
    }

    /// The frame's bytes, 64 at a time. The last may have others behind them, of what
    /// was in the buffer before; `None` where the buffer ends before they do.
    #[inline(always)]
    pub(crate) fn lines(&self) -> Option<&[[u8; CACHE_LINE]]> {
        let end = self.head() + whole_lines(self.len());
        Some(self.buffer.get(self.head()..end)?.as_chunks().0)
    }

    /// Clears, then is `len` bytes of unspecified value: for whoever overwrites all of
    /// them, which are returned with what their last line has behind them. Allocates only
    /// to grow.
    #[inline(always)]
    pub(crate) fn refill_lines(&mut self, len: usize) -> &mut [[u8; CACHE_LINE]] {
        self.head = self.start() as u32;
        self.end = self.head;
        self.offload = Offload::default();
        let whole = whole_lines(len);
        self.reserve(whole);
        self.end = self.head + len as u32;
        let from = self.head as usize;
        match self.buffer.get_mut(from..from + whole) {
            Some(lines) => lines.as_chunks_mut().0,
            None => nothing_mut().as_chunks_mut().0,
        }
    }

    /// The frame's bytes, to change in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let before_end = self.buffer.get_mut(..self.end as usize);
        match before_end.and_then(|bytes| bytes.get_mut(self.head as usize..)) {
            Some(bytes) => bytes,
            None => nothing_mut(),
        }
    }

    /// The frame's first bytes, if it has so many.
    #[inline(always)]
    pub(crate) fn front_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let (head, end) = (self.head(), self.end());
        if head + N > end {
            return None;
        }
        self.buffer.get_mut(head..head + N)?.first_chunk_mut()
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.end() - self.head()
    }

    /// Whether there is no byte in the frame.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes free before the frame.
    pub const fn headroom(&self) -> usize {
        self.head()
    }

    /// Adds `n` bytes (of unspecified value) at the front and returns the whole
    /// frame. Falls back to moving the bytes when the headroom is too small.
    #[inline]
    pub fn push_front(&mut self, n: usize) -> &mut [u8] {
        if n > self.head() {
            self.move_back(n);
        }
        self.head -= n as u32;
        self.bytes_mut()
    }

    /// Makes room for `n` bytes in front.
    #[cold]
    fn move_back(&mut self, n: usize) {
        let grow = n - self.head() + HEADROOM;
        let mut larger = zeros(grow + self.buffer.len());
        if let Some(place) = larger.get_mut(grow..) {
            place.copy_from_slice(&self.buffer);
        }
        self.buffer = larger;
        self.head += grow as u32;
        self.end += grow as u32;
    }

    /// Removes `n` bytes (or all there are) from the front.
    #[inline]
    pub fn pull_front(&mut self, n: usize) {
        self.head = (self.head() + n).min(self.end()) as u32;
    }

    /// Keeps `len` bytes (or all there are) from `at` on.
    #[inline]
    pub fn keep(&mut self, at: usize, len: usize) {
        let head = self.head() + at;
        if head + len <= self.end() {
            (self.head, self.end) = (head as u32, (head + len) as u32);
        } else {
            // All there are.
            self.pull_front(at);
        }
    }

    /// Keeps `len` bytes (or all there are) from `at` on, with `N` bytes of
    /// unspecified value in front, which are returned.
    #[inline(always)]
    pub(crate) fn keep_behind<const N: usize>(
        &mut self,
        at: usize,
        len: usize,
    ) -> Option<&mut [u8; N]> {
        let kept = self.head() + at;
        if kept < N || kept + len > self.end() {
            self.make_room_behind(N, at, len);
        } else {
            (self.head, self.end) = ((kept - N) as u32, (kept + len) as u32);
        }
        let head = self.head as usize;
        self.buffer.get_mut(head..head + N)?.first_chunk_mut()
    }

    /// The same where bytes or headroom are missing.
    #[cold]
    #[inline(never)]
    fn make_room_behind(&mut self, n: usize, at: usize, len: usize) {
        self.keep(at, len);
        self.push_front(n);
    }

    /// Nothing is known of the checksum, and nothing left to do to it. (Of most frames that
    /// is so, and one that was not written is moved at once.)
    #[inline(always)]
    pub(crate) fn forget_checksum(&mut self) {
        if self.offload.checksum != Checksum::Unverified {
            self.offload.checksum = Checksum::Unverified;
        }
    }

    /// Shortens or (with zeros) lengthens the frame to `len` bytes.
    pub fn resize(&mut self, len: usize) {
        let old = self.len();
        self.set_len(len);
        if let Some(new) = self.bytes_mut().get_mut(old..) {
            new.fill(0);
        }
    }

    /// Shortens or lengthens the frame to `len` bytes; new ones have
    /// unspecified values: for whoever overwrites them next.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        self.reserve(len);
        self.end = (self.head() + len) as u32;
    }

    /// Makes room for a frame of `len` bytes.
    #[inline]
    fn reserve(&mut self, len: usize) {
        if self.head() + len > self.buffer.len() {
            self.grow(len);
        }
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        // A fresh allocation: memory that is zero already is not written, so
        // room for a super-packet costs nothing until one comes.
        let mut larger = zeros(self.head() + CACHE_LINE + len.max(2 * self.len()));
        if let Some(place) = larger.get_mut(self.head()..self.end()) {
            place.copy_from_slice(self.bytes());
        }
        self.buffer = larger;
    }

    /// Appends bytes at the end.
    pub fn extend(&mut self, bytes: &[u8]) {
        let old = self.len();
        self.set_len(old + bytes.len());
        if let Some(place) = self.bytes_mut().get_mut(old..) {
            place.copy_from_slice(bytes);
        }
    }
}

/// Bytes of the lines that so many bytes lie in, from the start of the first.
#[inline(always)]
const fn whole_lines(len: usize) -> usize {
    (len + CACHE_LINE - 1) & !(CACHE_LINE - 1)
}

/// A fresh allocation, which nobody writes to make it zero.
fn zeros(len: usize) -> Box<[u8]> {
    vec![0; len].into_boxed_slice()
}

const _: () = assert!(size_of::<Frame>() == 40);

// Ends are never beyond the allocation. That this is tested costs least where
// the compiler knows so.

#[cold]
#[inline(never)]
const fn nothing<'a>() -> &'a [u8] {
    &[]
}

#[cold]
#[inline(never)]
const fn nothing_mut<'a>() -> &'a mut [u8] {
    &mut []
}

impl Clone for Frame {
    /// Copies the bytes, not the room around them.
    fn clone(&self) -> Self {
        Self {
            offload: self.offload,
            ..Self::from_bytes(self.port, self.bytes())
        }
    }
}

/// Recycles frames, so that the packet path allocates nothing after warm-up.
#[derive(Debug, Default)]
pub struct FramePool {
    free: Vec<Frame>,
    limit: usize,
}

impl FramePool {
    /// A pool that keeps at most `limit` idle frames.
    pub fn new(limit: usize) -> Self {
        Self {
            free: Vec::with_capacity(limit),
            limit,
        }
    }

    /// An empty frame, recycled if there is one.
    pub fn take(&mut self) -> Frame {
        self.free
            .pop()
            .unwrap_or_else(|| Frame::with_capacity(2048))
    }

    /// How many frames wait to be used again.
    #[cfg(test)]
    pub(crate) fn idle(&self) -> usize {
        self.free.len()
    }

    /// Takes a frame back.
    pub fn put(&mut self, mut frame: Frame) {
        if self.free.len() < self.limit {
            frame.clear();
            self.free.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_and_go_without_moving_the_payload() {
        let mut frame = Frame::from_bytes(EniId(3), b"payload");
        let payload_at = frame.bytes().as_ptr();
        frame
            .push_front(4)
            .get_mut(..4)
            .unwrap()
            .copy_from_slice(b"head");
        assert_eq!(frame.bytes(), b"headpayload");
        frame.pull_front(4);
        assert_eq!(frame.bytes(), b"payload");
        assert_eq!(frame.bytes().as_ptr(), payload_at);
    }

    #[test]
    fn push_beyond_headroom_still_works() {
        let mut frame = Frame::from_bytes(EniId(0), b"x");
        frame.push_front(500);
        assert_eq!(frame.len(), 501);
        assert_eq!(frame.bytes().last(), Some(&b'x'));
    }

    #[test]
    fn room_in_front_replaces_a_header_and_cuts_the_tail() {
        // The second time more than there is headroom for.
        let mut frame = Frame::from_bytes(EniId(0), b"oldpayload, padding");
        *frame.keep_behind::<4>(3, 7).unwrap() = *b"new ";
        assert_eq!(frame.bytes(), b"new payload");
        *frame.keep_behind::<300>(4, 100).unwrap() = [7; 300];
        assert_eq!(frame.len(), 307);
        assert_eq!(frame.bytes().strip_prefix(&[7; 300]), Some(&b"payload"[..]));
        assert_eq!(frame.front_mut::<2>(), Some(&mut [7, 7]));
        assert_eq!(frame.front_mut::<308>(), None);
    }

    #[test]
    fn lengthening_shows_zeros_and_a_copy_keeps_all() {
        let mut frame = Frame::from_bytes(EniId(2), b"secret");
        frame.offload.checksum = Checksum::Verified;
        let copy = frame.clone();
        assert_eq!((copy.bytes(), copy.offload), (frame.bytes(), frame.offload));
        frame.resize(1);
        frame.resize(4);
        assert_eq!(frame.bytes(), b"s\0\0\0");
        frame.set_len(70_000);
        assert_eq!(frame.len(), 70_000);
        assert!(frame.bytes().starts_with(b"s\0\0\0"));
        frame.clear();
        frame.extend(b"new");
        assert_eq!(frame.bytes(), b"new");
        assert!(frame.headroom() >= HEADROOM);
    }

    #[test]
    fn frames_begin_with_a_cache_line_whatever_became_of_them() {
        let mut frames: Vec<_> = (0..9).map(Frame::with_capacity).collect();
        frames.push(Frame::default());
        for frame in &mut frames {
            frame.refill(EniId(0), b"short");
            frame.push_front(300);
            for len in [64, 70_000] {
                frame.refill(EniId(0), &vec![7; len]);
                assert!(frame.headroom() >= HEADROOM);
                assert!(frame.bytes().iter().all(|&byte| byte == 7));
                frame.clear();
                frame.set_len(64);
                assert_eq!(frame.bytes().as_ptr().align_offset(CACHE_LINE), 0);
            }
        }
    }

    #[test]
    fn pool_returns_clean_frames() {
        let mut pool = FramePool::new(1);
        let mut frame = pool.take();
        frame.extend(b"old");
        frame.offload.checksum = Checksum::Verified;
        pool.put(frame);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.offload, Offload::default());
    }
}
