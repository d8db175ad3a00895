//! Health checks: probes out through the data plane, verdicts into the model.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::time::Duration;

use super::Lab;
use crate::health::HealthChecks;
use crate::host::{Context, HostError};

/// Changes of the model are noticed this soon.
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(50);
/// How long a probe waits at least in a lab with a fast clock, by our own.
const PATIENCE: Duration = Duration::from_millis(500);

/// Runs the checks on a thread until the worker ends. `local` delivers what
/// reaches the load balancers' nodes.
pub(super) fn start(
    lab: Arc<Lab>,
    seed: u64,
    local: Receiver<(EniId, Frame)>,
) -> Result<(), HostError> {
    thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || run(&lab, seed, &local))
        .context("thread")?;
    Ok(())
}

fn run(lab: &Lab, seed: u64, local: &Receiver<(EniId, Frame)>) {
    let clock = lab.worker.clock();
    let mut checks = HealthChecks::new(seed);
    if lab.time_scale() > 1 {
        // Programs answer in our time, however fast the lab's runs.
        let patience = PATIENCE.as_nanos() * u64::from(lab.time_scale());
        checks = checks.patience(Duration::from_nanos(patience));
    }
    let (mut rx, mut tx) = (Vec::new(), Vec::new());
    loop {
        let now = clock.now();
        let wait = checks
            .next_deadline()
            .map_or(LOOK_INTERVAL, |at| {
                let span = clock.real(at.since(now));
                std::time::Duration::from_nanos(span.as_nanos())
            })
            .min(LOOK_INTERVAL);
        match local.recv_timeout(wait) {
            Ok(frame) => rx.push(frame),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        rx.extend(local.try_iter());
        let now = clock.now();
        // A clone shares what it holds: the lock is not held while probing.
        let model = lab.model.control().model().clone();
        let mut changes = vec![checks.sync(now, &model)];
        changes.push(checks.poll(now, &mut rx, &mut tx));
        if !tx.is_empty() && lab.worker.inject(std::mem::take(&mut tx)).is_err() {
            return;
        }
        for change in changes {
            let mut control = lab.model.control();
            for health in change.health {
                let target = format!("{:?}", health.target);
                let what = format!("{:?}", health.health);
                match control.execute(health) {
                    Ok(()) => tracing::info!(target, health = what, "target health"),
                    // It was deregistered meanwhile: then its health is nobody's.
                    Err(error) => tracing::debug!("{error}"),
                }
            }
            for drained in change.drained {
                if let Err(error) = control.execute(drained) {
                    tracing::debug!("{error}");
                }
            }
        }
    }
}
