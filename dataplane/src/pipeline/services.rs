//! Local services: what goes to them, how much, and what comes back.
//!
//! Drops:  ServiceRate, Detached, ZoneDown, NoSuchPort
//! AWS:    1024 packets a second and interface, DNS, metadata and time together;
//!         excess is rejected (V:AmazonDNS-concepts, V:amazon-vpc-limits)

use super::{Context, Pipeline, Sink};
use crate::addr::EniId;
use crate::drop::DropReason;
use crate::packet::Frame;
use crate::tables::Snapshot;
use crate::time::{Duration, Instant};
use crate::walk::Service;

/// Packets of one interface to these services in one second.
const PACKETS_PER_SECOND: u32 = 1024;

/// How many packets each interface has sent in its present second. ASSUMPTION:
/// a second begins with the first packet after the last one's end.
#[derive(Debug, Default)]
pub(super) struct Rates(Vec<(Instant, u32)>);

impl Rates {
    /// Whether one more packet of this interface is served.
    fn take(&mut self, eni: EniId, now: Instant) -> bool {
        let place = eni.0 as usize;
        if self.0.len() <= place {
            // Once for each interface that there ever is.
            self.0.resize(place + 1, (Instant::ZERO, 0));
        }
        let Some((began, count)) = self.0.get_mut(place) else {
            return false;
        };
        if *count == 0 || now.since(*began) >= Duration::from_secs(1) {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= PACKETS_PER_SECOND
    }
}

impl Pipeline {
    /// A frame for a service goes to it, as long as the interface's second has room.
    #[cold]
    pub(super) fn ask_service<S: Sink>(
        &mut self,
        context: &mut Context<'_, S>,
        frame: Frame,
        service: Service,
    ) {
        let port = frame.port;
        if service.is_limited() && !self.rates.take(port, context.now) {
            return self.drop_frame(context, frame, DropReason::ServiceRate);
        }
        self.let_go(context);
        self.counters.local += 1;
        context.sink.local(port, frame);
    }

    /// Sends what local services answer: each frame to the host behind the
    /// interface that it names, past groups and ACLs. Leaves `frames` empty.
    pub fn serve<S: Sink>(
        &mut self,
        now: Instant,
        tables: &Snapshot,
        frames: &mut Vec<Frame>,
        sink: &mut S,
    ) {
        let mut context = Context { now, tables, sink };
        for frame in frames.drain(..) {
            self.counters.generated += 1;
            let port = frame.port;
            match reached(tables, port) {
                Ok(()) => self.transmit(&mut context, port, frame),
                Err(reason) => self.drop_frame(&mut context, frame, reason),
            }
        }
    }
}

/// Whether a service's answer gets to the host behind an interface.
fn reached(tables: &Snapshot, port: EniId) -> Result<(), DropReason> {
    let eni = tables.enis.row(port).filter(|eni| eni.is_host());
    let eni = eni.ok_or(DropReason::NoSuchPort)?;
    if !eni.attached {
        return Err(DropReason::Detached);
    }
    match tables.subnets.row(eni.subnet) {
        Some(subnet) if subnet.down => Err(DropReason::ZoneDown),
        Some(_) => Ok(()),
        None => Err(DropReason::NoSuchPort),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_serves_so_many_of_each_interface() {
        let mut rates = Rates::default();
        let (one, other) = (EniId(3), EniId(0));
        let at = |n: u64| Instant::from_nanos(7 + n * 600_000);
        let served = (0..1500).filter(|&n| rates.take(one, at(n))).count();
        assert_eq!(served, 1024);
        assert!(rates.take(other, at(1500)));
        assert!(!rates.take(one, Instant::from_nanos(1_000_000_006)));
        assert!(rates.take(one, Instant::from_nanos(1_000_000_007)));
    }
}
