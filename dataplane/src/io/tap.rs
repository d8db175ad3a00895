//! TAP: a port into a Linux network namespace.
//!
//! Checksum and segmentation offload go both ways (`IFF_VNET_HDR`), so a TCP
//! segment of 64 KiB crosses the data plane as one frame. The interface lives
//! in the namespace of the thread that opened it; the port can be used from any.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::port::{Port, PortError};
use super::sys;
use super::vnet::{VNET_HEADER_LEN, VnetHeader};
use crate::packet::{Frame, FramePool};

/// What stands before a frame on its way.
pub(crate) const HEADER_LEN: usize = VNET_HEADER_LEN;
/// The longest super-packet: IP's 65 535 bytes, Ethernet and a VLAN tag.
const FRAME_LEN_MAX: usize = 65_535 + 18;

/// One queue of a TAP interface.
#[derive(Debug)]
pub struct TapPort {
    device: File,
    receives: bool,
    /// Made by us, rather than given to us.
    is_own: bool,
}

impl TapPort {
    /// Makes the interface `name` in the calling thread's network namespace,
    /// with so many queues, a port each. It is gone when its last port is
    /// dropped, unless that was abandoned.
    ///
    /// # Errors
    /// `EBUSY` or `EINVAL` if the name is taken, for instance by what a process
    /// that was killed has not let go of yet.
    pub fn open(name: &str, queues: usize) -> io::Result<Vec<Self>> {
        let one = |_| Self::open_queue(name, queues > 1);
        (0..queues).map(one).collect()
    }

    fn open_queue(name: &str, many_queues: bool) -> io::Result<Self> {
        let mut port = Self::from_fd(sys::open_tap(name, many_queues)?);
        port.is_own = true;
        // A worker before this one may have abandoned it.
        sys::set_persistent(port.device.as_fd(), false)?;
        Ok(port)
    }

    /// Takes over an open TAP whose header size and offloads are set.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self {
            device: File::from(fd),
            receives: true,
            is_own: false,
        }
    }

    /// Reads one frame; false when none waits.
    fn read_one(&mut self, frame: &mut Frame) -> io::Result<bool> {
        loop {
            let len = match self.device.read(make_room(frame)) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if accept(frame, len) {
                return Ok(true);
            }
        }
    }
}

impl Port for TapPort {
    fn receive(
        &mut self,
        limit: usize,
        out: &mut Vec<Frame>,
        pool: &mut FramePool,
    ) -> io::Result<usize> {
        for count in 0..limit {
            let mut frame = pool.take();
            match self.read_one(&mut frame) {
                Ok(true) => out.push(frame),
                Ok(false) => {
                    pool.put(frame);
                    return Ok(count);
                }
                Err(error) => {
                    pool.put(frame);
                    return Err(error);
                }
            }
        }
        Ok(limit)
    }

    fn transmit(&mut self, mut frame: Frame, pool: &mut FramePool) -> Result<(), PortError> {
        let result = match prepend_header(&mut frame) {
            true => write_one(&mut self.device, frame.bytes()),
            false => Err(PortError::Unfit),
        };
        pool.put(frame);
        result
    }

    fn receives(&self) -> bool {
        self.receives
    }

    fn sender(&self) -> Option<Box<dyn Port>> {
        let device = self.device.try_clone().ok()?;
        Some(Box::new(Self {
            device,
            receives: false,
            is_own: self.is_own,
        }))
    }

    fn ring_file(&self) -> Option<BorrowedFd<'_>> {
        Some(self.device.as_fd())
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        self.receives.then(|| self.device.as_fd())
    }

    /// The interface stays until its namespace ends: the kernel frees all
    /// interfaces of many namespaces together, but closed ones one by one, 25 ms
    /// each.
    fn abandon(&mut self) {
        if self.is_own {
            // If it cannot stay, it goes the slow way.
            let _ = sys::set_persistent(self.device.as_fd(), true);
        }
    }
}

/// Room for any frame with its header, to be read into; [`accept`] follows.
/// The header lies in the headroom, so that frames start where others do.
pub(crate) fn make_room(frame: &mut Frame) -> &mut [u8] {
    frame.clear();
    frame.push_front(VNET_HEADER_LEN);
    frame.set_len(VNET_HEADER_LEN + FRAME_LEN_MAX);
    frame.bytes_mut()
}

/// `len` bytes were read: takes the header off. False for a frame of a kind
/// that was not asked for: not ours to judge.
pub(crate) fn accept(frame: &mut Frame, len: usize) -> bool {
    frame.set_len(len);
    let header = VnetHeader::parse(frame.bytes());
    frame.pull_front(VNET_HEADER_LEN);
    match header.and_then(VnetHeader::offload) {
        Some(offload) => frame.offload = offload,
        None => return false,
    }
    true
}

/// Puts the header before the frame, to be written with it; false when the
/// frame's metadata contradict its bytes.
pub(crate) fn prepend_header(frame: &mut Frame) -> bool {
    let Some(header) = VnetHeader::of(frame) else {
        return false;
    };
    if let Some(place) = frame.push_front(VNET_HEADER_LEN).first_chunk_mut() {
        *place = header.to_bytes();
    }
    true
}

fn write_one(device: &mut File, bytes: &[u8]) -> Result<(), PortError> {
    loop {
        match device.write(bytes) {
            // A TAP takes a frame whole or not at all.
            Ok(len) if len == bytes.len() => return Ok(()),
            Ok(_) => return Err(PortError::Unfit),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(PortError::from(error)),
        }
    }
}
