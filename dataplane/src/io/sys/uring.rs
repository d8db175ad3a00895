//! Many reads and writes in one system call: io_uring.
//!
//! Every transfer is done when [`Ring::run`] returns: reads and writes carry
//! `RWF_NOWAIT` and end at once, so that no buffer is the kernel's afterwards.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};

use crate::packet::Frame;

/// Entries of the submission queue; longer lists take more calls.
const ENTRIES: u32 = 512;
/// Descriptors that can be registered: looked up once, not at every transfer.
const FILES: u32 = 1024;

/// What to do with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Fill it from the descriptor.
    Read,
    /// Write it to the descriptor.
    Write,
}

/// One read or write.
#[derive(Debug)]
pub struct Transfer {
    /// All its bytes are read into, or written.
    pub frame: Frame,
    /// Place of the descriptor, as given to [`Ring::set_file`].
    pub place: u32,
    /// Read or write.
    pub way: Way,
    /// The bytes that were transferred; an error number, negative.
    pub result: i32,
}

impl Transfer {
    /// A transfer to be done.
    pub fn new(way: Way, place: u32, frame: Frame) -> Self {
        Self {
            frame,
            place,
            way,
            result: -libc::EIO,
        }
    }

    /// The bytes that were transferred.
    pub fn outcome(&self) -> io::Result<usize> {
        usize::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }
}

/// A ring of the thread that made it; only that thread may use it.
pub struct Ring {
    ring: IoUring,
}

impl Ring {
    /// A ring. Fails where the kernel has none, or where it is switched off
    /// (`kernel.io_uring_disabled`, seccomp).
    pub fn new() -> io::Result<Self> {
        Self::of(ENTRIES)
    }

    /// One whose queue holds `entries`, a power of two up to [`ENTRIES`].
    fn of(entries: u32) -> io::Result<Self> {
        // What the kernel does not know yet (before 6.1) costs speed only.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(entries)
            .or_else(|_| IoUring::new(entries))?;
        ring.submitter().register_files_sparse(FILES)?;
        Ok(Self { ring })
    }

    /// Puts a descriptor in a place, or takes it out; the ring holds the open
    /// file until then.
    pub fn set_file(&mut self, place: u32, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let fd = file.map_or(-1, |file| file.as_raw_fd());
        self.ring.submitter().register_files_update(place, &[fd])?;
        Ok(())
    }

    /// Does all of `transfers`. The kernel begins them in their order, and each ends at once;
    /// io_uring promises no order, and nothing but speed rests on it. After an error the ring is
    /// of no more use, and the frames of what was under way are empty.
    pub fn run(&mut self, mut transfers: &mut [Transfer]) -> io::Result<()> {
        while !transfers.is_empty() {
            let done = self.run_some(transfers)?;
            transfers = transfers.get_mut(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// Does as many as the queue has room for, and says how many: not none.
    fn run_some(&mut self, transfers: &mut [Transfer]) -> io::Result<usize> {
        let mut pushed = 0;
        let mut queue = self.ring.submission();
        for (index, transfer) in transfers.iter_mut().take(ENTRIES as usize).enumerate() {
            let entry = entry(transfer).user_data(index as u64);
            // JUSTIFICATION: one system call a batch; std has one a frame.
            // SAFETY: the entry names the buffer of a frame of `transfers`, which
            // is borrowed, and neither read, changed nor freed until its completion
            // has been taken below; if that fails, the buffer is leaked.
            if unsafe { queue.push(&entry) }.is_err() {
                break;
            }
            pushed += 1;
        }
        drop(queue);
        if pushed == 0 {
            return Err(io::Error::other("the queue takes nothing"));
        }
        let transfers = transfers.get_mut(..pushed).unwrap_or_default();
        let mut left = pushed;
        let mut done = [false; ENTRIES as usize];
        while left > 0 {
            if let Err(error) = self.ring.submit_and_wait(left) {
                let again = [libc::EINTR, libc::EAGAIN, libc::EBUSY];
                if !error.raw_os_error().is_some_and(|no| again.contains(&no)) {
                    abandon(transfers, &done);
                    return Err(error);
                }
            }
            for completion in self.ring.completion() {
                let index = completion.user_data() as usize;
                if let (Some(transfer), Some(done)) =
                    (transfers.get_mut(index), done.get_mut(index))
                {
                    transfer.result = completion.result();
                    *done = true;
                    left -= 1;
                }
            }
        }
        Ok(pushed)
    }
}

/// The kernel may still use these buffers: nobody else ever will.
#[cold]
fn abandon(transfers: &mut [Transfer], done: &[bool]) {
    for (transfer, done) in transfers.iter_mut().zip(done) {
        if !done {
            std::mem::forget(std::mem::replace(
                &mut transfer.frame,
                Frame::with_capacity(0),
            ));
        }
    }
}

fn entry(transfer: &mut Transfer) -> io_uring::squeue::Entry {
    let file = types::Fixed(transfer.place);
    let bytes = transfer.frame.bytes_mut();
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    // Without the flag an empty read would wait, O_NONBLOCK or not.
    match transfer.way {
        Way::Read => opcode::Read::new(file, bytes.as_mut_ptr(), len)
            .offset(u64::MAX)
            .rw_flags(libc::RWF_NOWAIT)
            .build(),
        Way::Write => opcode::Write::new(file, bytes.as_ptr(), len)
            .offset(u64::MAX)
            .rw_flags(libc::RWF_NOWAIT)
            .build(),
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel takes a ring apart some time after it is closed. A TAP
        // whose name is wanted again must not wait for that.
        let _ = self.ring.submitter().unregister_files();
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::addr::EniId;

    /// A ring, where the machine lets programs have one; CI's does.
    fn ring() -> Option<Ring> {
        ring_of(ENTRIES)
    }

    fn ring_of(entries: u32) -> Option<Ring> {
        let ring = Ring::of(entries);
        if let Err(error) = &ring {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("not run: io_uring is switched off here");
        }
        ring.ok()
    }

    #[test]
    fn one_call_writes_then_reads_in_order_and_an_empty_read_ends() {
        // The second one has less room than is asked of it at a time.
        for entries in [ENTRIES, 8] {
            let Some(ring) = ring_of(entries) else { return };
            writes_then_reads(ring);
        }
    }

    fn writes_then_reads(mut ring: Ring) {
        let (reader, writer) = io::pipe().unwrap();
        ring.set_file(0, Some(writer.as_fd())).unwrap();
        ring.set_file(1, Some(reader.as_fd())).unwrap();
        let write = |n: u16| {
            let frame = Frame::from_bytes(EniId(0), &n.to_ne_bytes());
            Transfer::new(Way::Write, 0, frame)
        };
        let read = |_| {
            let mut frame = Frame::with_capacity(0);
            frame.set_len(2);
            Transfer::new(Way::Read, 1, frame)
        };
        // More than the queue holds at once.
        let count = 700;
        let mut transfers: Vec<_> = (0..count).map(write).collect();
        transfers.extend((0..=count).map(read));
        ring.run(&mut transfers).unwrap();
        let reads = transfers.split_off(usize::from(count));
        assert!(transfers.iter().all(|write| write.result == 2));
        for (n, read) in (0..count).zip(&reads) {
            assert_eq!(read.outcome().unwrap(), 2);
            assert_eq!(read.frame.bytes(), n.to_ne_bytes());
        }
        let empty = reads.last().unwrap().outcome().unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_file_that_was_taken_out_is_closed_and_errors_are_told() {
        let Some(mut ring) = ring() else { return };
        let (reader, writer) = io::pipe().unwrap();
        ring.set_file(7, Some(writer.as_fd())).unwrap();
        drop(writer);
        ring.set_file(7, None).unwrap();
        let mut end = [0];
        let len = io::Read::read(&mut &reader, &mut end).unwrap();
        assert_eq!(len, 0, "no writer is left");
        let frame = Frame::from_bytes(EniId(0), b"x");
        let mut transfers = [Transfer::new(Way::Write, 7, frame)];
        ring.run(&mut transfers).unwrap();
        let error = transfers[0].outcome().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
