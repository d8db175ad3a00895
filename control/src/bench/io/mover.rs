//! A bare mover: frames from one TAP to another by io_uring in batches, and
//! nothing else. What any data plane between TAPs can reach at most.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use vpclab_dataplane::io::{
    Poller, Port, Ring, TapPort, Transfer, VNET_HEADER_LEN, Way, pin_thread,
};
use vpclab_dataplane::packet::FramePool;
use vpclab_dataplane::time::Duration;

/// Reads of one TAP in one call.
const READS_MAX: usize = 64;
/// The longest frame with its header.
const ROOM: usize = VNET_HEADER_LEN + 65_535 + 18;
/// How often a mover that sleeps looks whether it is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Moves frames between two TAPs until told to stop.
pub(super) fn run(taps: &[TapPort; 2], core: usize, stop: &AtomicBool) -> io::Result<()> {
    pin_thread(core)?;
    let mut ring = Ring::new()?;
    let mut poller = Poller::default();
    for (place, tap) in (0..).zip(taps) {
        ring.set_file(place, tap.ring_file())?;
        if let Some(fd) = tap.readable() {
            poller.add(fd);
        }
    }
    let mut pool = FramePool::new(4 * READS_MAX);
    let mut transfers: Vec<Transfer> = Vec::new();
    let mut writes: Vec<Transfer> = Vec::new();
    let mut wanted = [1usize; 2];
    while !stop.load(Ordering::Relaxed) {
        transfers.append(&mut writes);
        for (place, &wanted) in (0..).zip(&wanted) {
            for _ in 0..wanted {
                let mut frame = pool.take();
                frame.set_len(ROOM);
                transfers.push(Transfer::new(Way::Read, place, frame));
            }
        }
        ring.run(&mut transfers)?;
        let mut got = [0usize; 2];
        for transfer in transfers.drain(..) {
            let len = transfer.outcome();
            let (way, place, mut frame) = (transfer.way, transfer.place, transfer.frame);
            match (way, len) {
                (Way::Read, Ok(len)) if len > 0 => {
                    frame.set_len(len);
                    if let Some(got) = got.get_mut(place as usize) {
                        *got += 1;
                    }
                    writes.push(Transfer::new(Way::Write, 1 - place, frame));
                }
                _ => pool.put(frame),
            }
        }
        for (wanted, got) in wanted.iter_mut().zip(got) {
            *wanted = match got == *wanted {
                true => (*wanted * 2).min(READS_MAX),
                false => got + 1,
            };
        }
        if writes.is_empty() {
            poller.wait(Some(LOOK_INTERVAL))?;
        }
    }
    Ok(())
}
