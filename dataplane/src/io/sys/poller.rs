//! Waiting for one of several descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;
use crate::time::Duration;

/// So many descriptors are handed to the kernel at each wait. With more, it
/// keeps the list: a wait costs by what is ready then, but every frame has its
/// share in it, awaited or not.
const POLL_MAX: usize = 64;
/// Descriptors that one wait can find ready, if the kernel keeps the list; the
/// others are next.
const READY_MAX: usize = 256;

/// Waits for several descriptors at once. Keeps its list between waits, so
/// that waiting allocates nothing.
#[derive(Default)]
pub struct Poller {
    entries: Vec<libc::pollfd>,
    /// From [`POLL_MAX`] on, where the kernel can.
    kept: Option<Kept>,
}

/// The kernel's own list.
struct Kept {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    /// Places that were ready at the last wait.
    ready: Vec<usize>,
}

impl Poller {
    /// Forgets all descriptors.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.kept = None;
    }

    /// Adds a descriptor to wait for and returns its place in the list. It must
    /// stay open until the list is cleared.
    pub fn add(&mut self, fd: BorrowedFd<'_>) -> usize {
        self.entries.push(libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        let place = self.entries.len() - 1;
        if let Some(kept) = &self.kept {
            // Without it all are polled, as few are.
            if kept.add(fd.as_raw_fd(), place).is_err() {
                self.kept = None;
            }
        } else if self.entries.len() == POLL_MAX + 1 {
            self.kept = Kept::of(&self.entries).ok();
        }
        place
    }

    /// Waits until a descriptor is readable or in error, at most `timeout`
    /// (`None`: forever). A signal ends the wait with none ready.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match &mut self.kept {
            Some(kept) => kept.wait(&mut self.entries, timeout),
            None => poll(&mut self.entries, timeout),
        }
    }

    /// Whether the descriptor at `place` was ready at the last wait.
    pub fn is_ready(&self, place: usize) -> bool {
        self.entries
            .get(place)
            .is_some_and(|entry| entry.revents != 0)
    }
}

impl Kept {
    fn of(entries: &[libc::pollfd]) -> io::Result<Self> {
        // JUSTIFICATION: std has no epoll.
        // SAFETY: no memory is involved.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let mut kept = Self {
            // JUSTIFICATION: as above.
            // SAFETY: `fd` is a descriptor that was just made and belongs to nobody
            // else.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
            events: vec![libc::epoll_event { events: 0, u64: 0 }; READY_MAX],
            ready: Vec::with_capacity(READY_MAX),
        };
        for (place, entry) in entries.iter().enumerate() {
            kept.add(entry.fd, place)?;
            // What the last wait found, the next one forgets.
            if entry.revents != 0 {
                kept.ready.push(place);
            }
        }
        Ok(kept)
    }

    fn add(&self, fd: libc::c_int, place: usize) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: place as u64,
        };
        let epoll = self.epoll.as_raw_fd();
        // JUSTIFICATION: as above.
        // SAFETY: `event` is read during the call only; a descriptor that cannot be
        // waited for is refused.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(())
    }

    fn wait(&mut self, entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
        for place in self.ready.drain(..) {
            if let Some(entry) = entries.get_mut(place) {
                entry.revents = 0;
            }
        }
        if timeout != Some(Duration::ZERO) {
            // Epoll itself counts in milliseconds, timers here do not.
            let mut whole = [libc::pollfd {
                fd: self.epoll.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            }];
            poll(&mut whole, timeout)?;
        }
        let most = self.events.len() as libc::c_int;
        // JUSTIFICATION: as above.
        // SAFETY: `events` has room for `most` entries. It does not wait.
        let found =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), most, 0) };
        let found = match check(found) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other? as usize,
        };
        for event in self.events.iter().take(found) {
            let place = event.u64 as usize;
            if let Some(entry) = entries.get_mut(place) {
                // Whatever it is: its reader finds out.
                entry.revents = libc::POLLIN;
                self.ready.push(place);
            }
        }
        Ok(())
    }
}

/// Waits and notes in each entry what it is ready for.
fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let span = timeout.map(|span| libc::timespec {
        tv_sec: libc::time_t::try_from(span.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: (span.as_nanos() % 1_000_000_000) as _,
    });
    let span_pointer = span.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = entries.len() as libc::nfds_t;
    // JUSTIFICATION: std cannot wait for one of several descriptors.
    // SAFETY: `entries` holds `count` entries, `span` outlives the call, and a
    // null signal mask is allowed. A closed descriptor is reported, not used.
    let result =
        unsafe { libc::ppoll(entries.as_mut_ptr(), count, span_pointer, std::ptr::null()) };
    match check(result) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            entries.iter_mut().for_each(|entry| entry.revents = 0);
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Poller({} descriptors)", self.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    /// A pipe for each place, so many that both ways to wait are taken.
    #[test]
    fn few_and_many_are_found_ready_alike() {
        for count in [3, POLL_MAX, POLL_MAX + 1, 3 * POLL_MAX] {
            let mut poller = Poller::default();
            let mut pipes: Vec<_> = (0..count).map(|_| io::pipe().unwrap()).collect();
            for (place, (reader, _)) in pipes.iter().enumerate() {
                assert_eq!(poller.add(reader.as_fd()), place);
            }
            assert_eq!(poller.kept.is_some(), count > POLL_MAX);
            let ready = |poller: &Poller| -> Vec<_> {
                (0..count).filter(|&place| poller.is_ready(place)).collect()
            };
            poller.wait(Some(Duration::from_millis(1))).unwrap();
            assert!(ready(&poller).is_empty());
            let told = [0, 1, count - 1];
            for place in told {
                pipes[place].1.write_all(b"x").unwrap();
            }
            for timeout in [None, Some(Duration::ZERO)] {
                poller.wait(timeout).unwrap();
                assert_eq!(ready(&poller), told, "of {count}");
            }
            for place in told {
                pipes[place].0.read_exact(&mut [0]).unwrap();
            }
            poller.wait(Some(Duration::ZERO)).unwrap();
            assert!(ready(&poller).is_empty(), "of {count}");
            // Who has lost its writer is to find out.
            let (reader, writer) = pipes.remove(1);
            drop(writer);
            poller.wait(None).unwrap();
            assert_eq!(ready(&poller), [1]);
            drop(reader);
        }
    }

    #[test]
    fn more_than_one_wait_can_tell_are_told_by_several() {
        let mut poller = Poller::default();
        let pipes: Vec<_> = (0..READY_MAX + 9).map(|_| io::pipe().unwrap()).collect();
        for (reader, writer) in &pipes {
            poller.add(reader.as_fd());
            (&*writer).write_all(b"x").unwrap();
        }
        let mut seen = vec![false; pipes.len()];
        for _ in 0..2 {
            poller.wait(None).unwrap();
            for (place, seen) in seen.iter_mut().enumerate() {
                *seen |= poller.is_ready(place);
            }
        }
        assert!(seen.iter().all(|&seen| seen), "{seen:?}");
    }
}
