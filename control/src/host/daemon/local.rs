//! Services on the links of hosts: questions in from the data plane, answers out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::tables::EniRow;

use super::Lab;
use super::upstream::Upstream;
use crate::host::{Context, HostError};
use crate::local::{LocalServices, Now};
use crate::topology::Topology;
use crate::topology::difference::{Change, Verb};

/// Without anything to do the thread looks this often.
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
/// With a question under way outside it listens this often.
const LISTEN_INTERVAL: std::time::Duration = std::time::Duration::from_millis(5);
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
    let mut outside: Option<Upstream> = None;
    loop {
        let wait = services.next_deadline().map_or(LOOK_INTERVAL, |at| {
            let span = clock.real(at.since(clock.now()));
            std::time::Duration::from_nanos(span.as_nanos())
        });
        let most = match services.is_waiting() {
            true => LISTEN_INTERVAL,
            false => LOOK_INTERVAL,
        };
        let first = match local.recv_timeout(wait.min(most)) {
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
        for (ticket, answer) in outside.iter().flat_map(Upstream::answers) {
            services.answer(ticket, answer);
        }
        let due = services.next_deadline().is_some_and(|at| at <= now.lab);
        if rx.is_empty() && !due {
            continue;
        }
        let address = lab
            .model
            .file()
            .topology
            .dns
            .upstream
            .as_ref()
            .map(|it| it.value.0);
        outside = outside.filter(|it| Some(it.address) == address);
        if outside.is_none()
            && let Some(address) = address
        {
            let started = Upstream::start(address);
            outside = started.inspect_err(|error| tracing::warn!("{error}")).ok();
        }
        services.set_forward(outside.is_some());
        // A clone shares what it holds: the lock is not held while answering.
        let model = lab.model.control().model().clone();
        services.poll(now, &model, &snapshot, &mut rx, &mut tx);
        for question in services.questions() {
            if let Some(outside) = &outside {
                outside.ask(question);
            }
        }
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

/// The resolver outside, if another one is asked from now on.
pub(super) fn change(old: &Topology, new: &Topology) -> Option<Change> {
    let of = |topology: &Topology| topology.dns.upstream.as_ref().map(|it| it.value.0);
    let (old, new) = (of(old), of(new));
    let verb = match (old, new) {
        (old, new) if old == new => return None,
        (None, _) => Verb::Added,
        (_, None) => Verb::Removed,
        _ => Verb::Changed,
    };
    Some(Change {
        kind: "resolver outside".to_owned(),
        name: new.or(old)?.to_string(),
        verb,
        details: Vec::new(),
    })
}
