//! Signals as a descriptor, so that nothing runs in a handler.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Context, HostError};

/// Signals that wait to be read. Blocked in this thread and in those it makes
/// from now on, and in the programs these start (see [`unblock_all`]).
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Which.
    pub signal: Signal,
    /// Whether the terminal sent it: then the whole foreground group has it.
    pub from_terminal: bool,
}

/// Lets every signal through again, in this thread.
pub fn unblock_all() -> Result<(), HostError> {
    SigSet::empty().thread_set_mask().context("unblock signals")
}

impl Signals {
    /// Blocks `signals` and collects them instead.
    pub fn collect(signals: &[Signal]) -> Result<Self, HostError> {
        let mut set = SigSet::empty();
        for &signal in signals {
            set.add(signal);
        }
        set.thread_block().context("block signals")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            descriptor: SignalFd::with_flags(&set, flags).context("signalfd")?,
        })
    }

    /// The next signal that waits.
    pub fn take(&self) -> Option<Arrived> {
        let info = match self.descriptor.read_signal() {
            Ok(info) => info?,
            Err(_) => return None,
        };
        Some(Arrived {
            signal: Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()?,
            from_terminal: info.ssi_code == SI_KERNEL,
        })
    }

    /// What becomes readable.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// `si_code` of signals that the kernel itself sends (asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;
