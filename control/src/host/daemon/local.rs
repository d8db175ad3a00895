//! Services on the links of hosts: questions in from the data plane, answers out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::tables::EniRow;

use super::Lab;
use crate::host::{Context, HostError};
use crate::local::{LocalServices, Now};

/// Without anything to do the thread looks this often.
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
/// Frames taken before answers go out.
const IN_A_ROW: usize = 256;

/// Runs the services on a thread until the workers end. `local` delivers what
/// the data plane hands out; what is for load balancers' nodes goes on to `nodes`.
pub(super) fn start(
    lab: Arc<Lab>,
    seed: u64,
    local: Receiver<(EniId, Frame)>,
    nodes: SyncSender<(EniId, Frame)>,
) -> Result<(), HostError> {
    thread::Builder::new()
        .name("services".to_owned())
        .spawn(move || run(&lab, seed, &local, &nodes))
        .context("thread")?;
    Ok(())
}

fn run(lab: &Lab, seed: u64, local: &Receiver<(EniId, Frame)>, nodes: &SyncSender<(EniId, Frame)>) {
    let clock = lab.worker.clock();
    let tables = lab.model.tables();
    let mut services = LocalServices::new(seed);
    let (mut rx, mut tx) = (Vec::new(), Vec::new());
    loop {
        let wait = services.next_deadline().map_or(LOOK_INTERVAL, |at| {
            let span = clock.real(at.since(clock.now()));
            std::time::Duration::from_nanos(span.as_nanos())
        });
        let first = match local.recv_timeout(wait.min(LOOK_INTERVAL)) {
            Ok(frame) => Some(frame),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let snapshot = tables.snapshot();
        for (eni, frame) in first.into_iter().chain(local.try_iter().take(IN_A_ROW)) {
            if snapshot.enis.row(eni).is_some_and(EniRow::is_host) {
                rx.push((eni, frame));
            } else if let Err(TrySendError::Disconnected(_)) = nodes.try_send((eni, frame)) {
                // A full queue loses a probe's reply: it is asked for again.
                return;
            }
        }
        let now = Now {
            lab: clock.now(),
            unix_ns: unix_ns(),
        };
        let due = services.next_deadline().is_some_and(|at| at <= now.lab);
        if rx.is_empty() && !due {
            continue;
        }
        // A clone shares what it holds: the lock is not held while answering.
        let model = lab.model.control().model().clone();
        services.poll(now, &model, &snapshot, &mut rx, &mut tx);
        if !tx.is_empty() && lab.worker.serve(std::mem::take(&mut tx)).is_err() {
            return;
        }
    }
}

/// The machine's time of day: programs compare it with their own clocks, however
/// fast the lab's runs.
#[expect(clippy::disallowed_methods, reason = "what the time service tells")]
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}
