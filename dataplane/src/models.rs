//! The model checker's tests: every order in which threads may run.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p vpclab-dataplane --lib models`, with a
//! target directory of its own; `tests/run` does it.

use loom::model;
use loom::thread;

use crate::sync::{Arc, AtomicBool, Dozing, Ordering};
use crate::tables::Published;
use crate::worker::ring;

/// A table that may be freed by the publisher only.
struct Watched {
    version: u32,
    publisher: thread::ThreadId,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let freed_by = thread::current().id();
        assert_eq!(freed_by, self.publisher, "freed on the packet path");
    }
}

#[test]
fn a_replaced_snapshot_is_freed_by_the_publisher_and_no_reader_goes_back() {
    model(|| {
        let publisher = thread::current().id();
        let watched = |version| Watched { version, publisher };
        let published = Arc::new(Published::new(watched(0)));
        let reader = {
            let published = Arc::clone(&published);
            thread::spawn(move || {
                let first = published.load();
                let seen = first.version;
                drop(first);
                let second = published.load();
                assert!(second.version >= seen);
                // The worker's own reference to the tables outlives no worker.
                (second, published)
            })
        };
        published.publish(watched(1));
        published.publish(watched(2));
        let (held, _) = reader.join().expect("the reader");
        assert!(held.version <= 2);
        assert_eq!(published.load().version, 2);
    });
}

#[test]
fn trays_pass_whole_in_order_and_a_slot_is_never_contended() {
    model(|| {
        let (mut filler, mut taker) = ring::<Vec<u32>>(2);
        let filling = thread::spawn(move || {
            let (mut passed, mut refused) = (Vec::new(), 0);
            for n in 1..=3 {
                let mut tray = vec![n];
                if filler.pass(&mut tray) {
                    passed.push(n);
                } else {
                    assert_eq!(tray, [n], "a full ring changes nothing");
                    refused += 1;
                }
            }
            // Two fit, whatever the other side does.
            assert!(refused <= 1);
            passed
        });
        let mut taken = Vec::new();
        let mut tray = Vec::new();
        for _ in 0..3 {
            tray.clear();
            if taker.take(&mut tray) {
                taken.extend_from_slice(&tray);
            }
        }
        let passed = filling.join().expect("the filler");
        tray.clear();
        while taker.take(&mut tray) {
            taken.extend_from_slice(&tray);
            tray.clear();
        }
        assert_eq!(taken, passed);
    });
}

#[test]
fn no_wake_up_is_lost() {
    model(|| {
        let (mut filler, mut taker) = ring::<Vec<u32>>(2);
        let dozing = Arc::new(Dozing::default());
        let woken = Arc::new(AtomicBool::new(false));
        let filling = {
            let (dozing, woken) = (Arc::clone(&dozing), Arc::clone(&woken));
            thread::spawn(move || {
                assert!(filler.pass(&mut vec![1]));
                if dozing.is_dozing() {
                    woken.store(true, Ordering::Relaxed);
                }
            })
        };
        dozing.doze();
        let sleeps = taker.is_empty();
        filling.join().expect("the filler");
        // A sleeper with a tray before it has been woken.
        assert!(!sleeps || woken.load(Ordering::Relaxed));
        assert!(taker.take(&mut Vec::new()));
    });
}
