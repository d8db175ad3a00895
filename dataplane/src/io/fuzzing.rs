//! What the fuzz targets of the ports call, so that `cargo test` can replay their
//! corpora: the header before each frame of a TAP, and of the `unsafe` files in
//! `sys/` what decodes bytes, numbers and lengths. What the kernel does with a TAP
//! or a packet socket takes rights and is left to the tests in namespaces.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;

use super::sys::{self, Poller, Ring, Transfer, Way};
use super::tap::{HEADER_LEN, accept, make_room, prepend_header};
use super::vnet::VnetHeader;
use crate::drop::DropReason;
use crate::packet::{Checksum, Frame, FramePool, Offload, Segmentation, segment};
use crate::time::Duration;

/// What a TAP gives: a header, then a frame. It is taken off as the specification
/// says; put on again it is one that the kernel takes; and of a super-packet that is
/// cut in software each piece is an ordinary frame.
pub fn fuzz_vnet(data: &[u8]) -> Result<(), DropReason> {
    let mut frame = Frame::with_capacity(0);
    let room = make_room(&mut frame);
    let len = data.len().min(room.len());
    let (Some(place), Some(data)) = (room.get_mut(..len), data.get(..len)) else {
        return Err(DropReason::MalformedFrame);
    };
    place.copy_from_slice(data);
    let is_accepted = accept(&mut frame, len);
    assert_eq!(is_accepted.then_some(frame.offload), stated(data));
    if !is_accepted {
        return Err(DropReason::MalformedFrame);
    }
    assert_eq!(Some(frame.bytes()), data.get(HEADER_LEN..));

    let mut sent = frame.clone();
    let is_sent = prepend_header(&mut sent);
    assert_eq!(is_sent, may_be_sent(&frame));
    if is_sent {
        let (header, bytes) = sent.bytes().split_at(HEADER_LEN);
        assert_eq!(bytes, frame.bytes());
        assert!(kernel_takes(header, bytes), "{header:?}");
        let read = VnetHeader::parse(header).and_then(VnetHeader::offload);
        assert_eq!(read, Some(frame.offload));
    }

    let mut pieces = Vec::new();
    segment(frame, &mut FramePool::new(4), &mut |piece| {
        pieces.push(piece);
    })?;
    for mut piece in pieces {
        assert!(prepend_header(&mut piece));
        let ordinary = piece.bytes().first_chunk::<2>();
        assert!(ordinary.is_some_and(|[flags, kind]| flags & NEEDS_CSUM == 0 && *kind == 0));
    }
    Ok(())
}

const NEEDS_CSUM: u8 = 1;

/// The numbers of a header, each read alone: flags, kind, then `hdr_len`, `gso_size`,
/// `csum_start` and `csum_offset`.
fn numbers(header: &[u8]) -> Option<(u8, u8, [u16; 4])> {
    let number = |at: usize| {
        let pair = [*header.get(at)?, *header.get(at + 1)?];
        Some(u16::from_ne_bytes(pair))
    };
    header.get(..HEADER_LEN)?;
    let words = [number(2)?, number(4)?, number(6)?, number(8)?];
    Some((*header.first()?, *header.get(1)?, words))
}

/// What a header says of its frame (virtio 1.2, §5.1.6.4); none if it says what was
/// not asked for.
fn stated(data: &[u8]) -> Option<Offload> {
    let (flags, kind, [_, size, start, offset]) = numbers(data)?;
    let checksum = match flags & 3 {
        0 => Checksum::Unverified,
        2 => Checksum::Verified,
        _ => Checksum::Partial { start, offset },
    };
    let segmentation = match (kind & 0x7f, size) {
        (0, _) => Segmentation::None,
        (1 | 4, 1..) => Segmentation::Tcp(size),
        (5, 1..) => Segmentation::Udp(size),
        _ => return None,
    };
    Some(Offload {
        checksum,
        segmentation,
    })
}

/// Whether the metadata of a frame can be true of its bytes: the field of a checksum
/// to be completed lies in it, and so do the headers of what is to be cut, which has
/// such a checksum.
fn may_be_sent(frame: &Frame) -> bool {
    let bytes = frame.bytes();
    let Checksum::Partial { start, offset } = frame.offload.checksum else {
        return frame.offload.segmentation == Segmentation::None;
    };
    let (start, offset) = (usize::from(start), usize::from(offset));
    let transport = match frame.offload.segmentation {
        Segmentation::None => 0,
        Segmentation::Tcp(_) => {
            let offset = bytes.get(start + 12).map_or(0, |byte| byte >> 4);
            start + usize::from(offset.max(5)) * 4
        }
        Segmentation::Udp(_) => start + 8,
    };
    // A header is told in 16 bits.
    start + offset + 2 <= bytes.len() && transport.min(0xffff) <= bytes.len()
}

/// What Linux looks at before it believes a header (`virtio_net_hdr_to_skb`).
fn kernel_takes(header: &[u8], bytes: &[u8]) -> bool {
    let Some((flags, kind, [len, size, start, offset])) = numbers(header) else {
        return false;
    };
    let end = usize::from(start) + usize::from(offset) + 2;
    let has_field = flags & NEEDS_CSUM != 0 && end <= bytes.len();
    let is_v6 = bytes.get(12..14) == Some(&[0x86, 0xdd]);
    match kind {
        0 => has_field || flags & NEEDS_CSUM == 0,
        1 | 4 | 5 => {
            let is_family = kind == 5 || (kind == 4) == is_v6;
            has_field && is_family && size > 0 && usize::from(len) <= bytes.len()
        }
        _ => false,
    }
}

/// A number and a name, as interfaces have them: what is handed to the kernel is
/// those, or they are refused. Returns whether both were taken.
pub fn fuzz_interface(data: &[u8]) -> bool {
    let Some((number, name)) = data.split_first_chunk::<4>() else {
        return false;
    };
    let number = u32::from_be_bytes(*number);
    let address = sys::attach::link_address(number);
    // 0 would be every interface, a negative number none.
    assert_eq!(address.is_ok(), (1..1 << 31).contains(&number));
    assert!(
        address
            .as_ref()
            .is_ok_and(|of| of.sll_ifindex as u32 == number)
            || address.is_err()
    );
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let request = sys::interface_request(name);
    let is_name = (1..16).contains(&name.len()) && !name.contains('\0');
    assert_eq!(request.is_ok(), is_name, "{name:?}");
    if let Ok(request) = &request {
        let held = request.ifr_name.map(|byte| byte.to_ne_bytes()[0]);
        let (told, rest) = held.split_at(name.len());
        assert_eq!(told, name.as_bytes());
        assert!(!rest.is_empty() && rest.iter().all(|byte| *byte == 0));
    }
    address.is_ok() && request.is_ok()
}

/// Pipes that are waited for, and what is known of each.
#[derive(Default)]
struct Pipes {
    all: Vec<(PipeReader, Option<PipeWriter>, usize)>,
}

impl Pipes {
    fn add(&mut self, poller: &mut Poller) {
        let Ok((reader, writer)) = io::pipe() else {
            return;
        };
        assert_eq!(poller.add(reader.as_fd()), self.all.len());
        self.all.push((reader, Some(writer), 0));
    }

    /// Whether there is something to read, or nobody left who writes.
    fn ready(&self) -> Vec<bool> {
        let ready =
            |(_, writer, held): &(_, Option<PipeWriter>, usize)| *held > 0 || writer.is_none();
        self.all.iter().map(ready).collect()
    }
}

/// Waiting: a number of pipes (few are handed over at each wait, many kept by the
/// kernel), then steps of two bytes, what and which: one more, a byte written, all read,
/// the writer gone, all forgotten, a wait. After each wait those are found ready that
/// are. Returns how many were, in all waits.
pub fn fuzz_poller(data: &[u8]) -> usize {
    let Some((count, steps)) = data.split_first() else {
        return 0;
    };
    let (mut poller, mut pipes) = (Poller::default(), Pipes::default());
    for _ in 0..count % 80 {
        pipes.add(&mut poller);
    }
    let mut found = 0;
    for step in steps.chunks_exact(2).take(200) {
        let &[what, which] = step else { continue };
        let place = usize::from(which) % pipes.all.len().max(1);
        let has_room = pipes.all.len() < 100;
        match (what % 16, pipes.all.get_mut(place)) {
            (0, _) if has_room => pipes.add(&mut poller),
            (1..=5, Some((_, Some(writer), held))) if *held < 4_000 => {
                *held += usize::from(writer.write_all(&[what]).is_ok());
            }
            (6 | 7, Some((reader, _, held))) if *held > 0 => {
                let mut bytes = [0; 4_096];
                let read = reader.read(&mut bytes);
                assert_eq!(read.ok(), Some(std::mem::take(held)));
            }
            (8, Some((_, writer, _))) => *writer = None,
            (9, _) if which == 0 => {
                poller.clear();
                pipes.all.clear();
            }
            (10.., _) => {
                assert!(poller.wait(Some(Duration::ZERO)).is_ok());
                let ready: Vec<_> = (0..pipes.all.len()).map(|n| poller.is_ready(n)).collect();
                assert_eq!(ready, pipes.ready());
                assert!(!poller.is_ready(ready.len()));
                found += ready.iter().filter(|is| **is).count();
            }
            _ => {}
        }
    }
    found
}

/// A list of transfers, three bytes each (the way, the place of the descriptor, how
/// long), in one run over a pipe, beside a queue of bytes. Returns how many moved
/// something; none where there is no io_uring.
pub fn fuzz_ring(data: &[u8]) -> Option<usize> {
    let mut ring = Ring::new().ok()?;
    let (reader, writer) = io::pipe().ok()?;
    ring.set_file(0, Some(writer.as_fd())).ok()?;
    ring.set_file(1, Some(reader.as_fd())).ok()?;
    let mut queue = VecDeque::new();
    let (mut transfers, mut expected) = (Vec::new(), Vec::new());
    for step in data.chunks_exact(3).take(2_000) {
        let &[way, place, len] = step else { continue };
        let place = u32::from(place % 4);
        // All that can be written has room in the pipe.
        let len = usize::from(len % 24);
        let mut frame = Frame::with_capacity(0);
        frame.resize(len);
        let way = if way & 1 == 0 { Way::Write } else { Way::Read };
        let wanted = match (way, place) {
            (Way::Write, 0) => {
                let bytes = frame.bytes_mut();
                bytes.fill(expected.len() as u8);
                queue.extend(bytes.iter().copied());
                Ok(bytes.to_vec())
            }
            (Way::Read, 1) if len > 0 && queue.is_empty() => Err(libc::EAGAIN),
            (Way::Read, 1) => Ok(queue.drain(..len.min(queue.len())).collect()),
            // The wrong end, or no descriptor there.
            _ => Err(libc::EBADF),
        };
        transfers.push(Transfer::new(way, place, frame));
        expected.push(wanted);
    }
    assert!(ring.run(&mut transfers).is_ok());
    let mut moved = 0;
    for (transfer, expected) in transfers.iter().zip(&expected) {
        let outcome = transfer.outcome().map_err(|error| error.raw_os_error());
        let len = outcome.map(|len| transfer.frame.bytes().get(..len).unwrap_or_default());
        let expected: Result<&[u8], _> = expected.as_deref().map_err(|error| Some(*error));
        assert_eq!(len, expected);
        moved += usize::from(expected.is_ok_and(|bytes| !bytes.is_empty()));
    }
    Some(moved)
}
