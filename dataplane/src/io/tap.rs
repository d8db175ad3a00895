//! TAP: a port into a Linux network namespace.
//!
//! Checksum and segmentation offload go both ways (`IFF_VNET_HDR`), so a TCP
//! segment of 64 KiB crosses the data plane as one frame. The interface lives
//! in the namespace of the thread that opened it; the port can be used from any.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::port::{Port, PortError};
use super::sys;
use super::vnet::{VNET_HEADER_LEN, VnetHeader};
use crate::packet::{Frame, FramePool};

/// Read straight into the frame up to here: what most frames fit, cheap to zero.
const DIRECT_LEN: usize = 2048;
/// The rest of a super-packet: IP's 65 535 bytes, Ethernet and a VLAN tag.
const SPILL_LEN: usize = 65_535 + 18 - DIRECT_LEN;

/// One queue of a TAP interface.
#[derive(Debug)]
pub struct TapPort {
    device: File,
    spill: Vec<u8>,
}

impl TapPort {
    /// Makes the interface `name` in the calling thread's network namespace, or
    /// adds a queue to it. It is gone when its last port is dropped.
    pub fn open(name: &str) -> io::Result<Self> {
        Ok(Self::from_fd(sys::open_tap(name)?))
    }

    /// Takes over an open TAP whose header size and offloads are set.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self {
            device: File::from(fd),
            spill: vec![0; SPILL_LEN],
        }
    }

    /// Reads one frame; false when none waits.
    fn read_one(&mut self, frame: &mut Frame) -> io::Result<bool> {
        let mut header = [0u8; VNET_HEADER_LEN];
        loop {
            frame.resize(DIRECT_LEN);
            let mut parts = [
                IoSliceMut::new(&mut header),
                IoSliceMut::new(frame.bytes_mut()),
                IoSliceMut::new(&mut self.spill),
            ];
            let len = match self.device.read_vectored(&mut parts) {
                Ok(len) => len.saturating_sub(VNET_HEADER_LEN),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            frame.resize(len.min(DIRECT_LEN));
            if let Some(rest) = len.checked_sub(DIRECT_LEN) {
                frame.extend(self.spill.get(..rest).unwrap_or_default());
            }
            // What was not asked for does not come; if it does, it is not ours to judge.
            if let Some(offload) = VnetHeader::parse(&header).and_then(VnetHeader::offload) {
                frame.offload = offload;
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

    fn transmit(&mut self, frame: Frame, pool: &mut FramePool) -> Result<(), PortError> {
        let result = match VnetHeader::of(&frame) {
            None => Err(PortError::Unfit),
            Some(header) => write_one(&mut self.device, &header.to_bytes(), frame.bytes()),
        };
        pool.put(frame);
        result
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.device.as_fd())
    }
}

fn write_one(device: &mut File, header: &[u8], frame: &[u8]) -> Result<(), PortError> {
    loop {
        let parts = [IoSlice::new(header), IoSlice::new(frame)];
        match device.write_vectored(&parts) {
            // A TAP takes a frame whole or not at all.
            Ok(len) if len == header.len() + frame.len() => return Ok(()),
            Ok(_) => return Err(PortError::Unfit),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => return Err(PortError::Full),
                ErrorKind::InvalidInput => return Err(PortError::Unfit),
                _ => return Err(PortError::Io(error)),
            },
        }
    }
}
