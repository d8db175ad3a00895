//! The trait that every port implements.

use std::io;
use std::os::fd::BorrowedFd;

use crate::packet::{Frame, FramePool};

/// Why a port did not take a frame.
#[derive(Debug)]
pub enum PortError {
    /// No room at the moment.
    Full,
    /// The port can never take this frame (too long, or metadata it cannot express).
    Unfit,
    /// The other side is gone, or the operating system refused.
    Io(io::Error),
}

impl From<io::Error> for PortError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Full,
            io::ErrorKind::InvalidInput => Self::Unfit,
            _ => Self::Io(error),
        }
    }
}

/// A place where frames enter and leave. Never blocks.
pub trait Port: Send {
    /// Appends at most `limit` waiting frames to `out` and says how many. The
    /// caller sets [`Frame::port`]; empty frames come from `pool`.
    fn receive(
        &mut self,
        limit: usize,
        out: &mut Vec<Frame>,
        pool: &mut FramePool,
    ) -> io::Result<usize>;

    /// Sends one frame; its buffer ends in `pool`, sent or not.
    fn transmit(&mut self, frame: Frame, pool: &mut FramePool) -> Result<(), PortError>;

    /// Whether frames enter here at all.
    fn receives(&self) -> bool {
        true
    }

    /// Another way to send by this port, for a worker that reads nothing from
    /// it; `None` where that cannot be.
    fn sender(&self) -> Option<Box<dyn Port>> {
        None
    }

    /// A descriptor whose `read` and `write` move whole frames, each behind a
    /// virtio header: a [`super::Ring`] may then do it in the port's place.
    fn ring_file(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What to wait on for frames; `None` for a port that has to be asked.
    fn readable(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The worker ends, and everything around the port with it: what is slow to
    /// take apart piece by piece may be left to that. Nothing by default.
    fn abandon(&mut self) {}
}
