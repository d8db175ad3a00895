//! Two workers, turned one after the other by one thread: what a frame costs that its
//! reader keeps, and what one that is handed over. Ports, and a turn around the batch,
//! are part of both.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::flow::{Seed, Shard};
use vpclab_dataplane::io::{Port, PortError};
use vpclab_dataplane::packet::{Frame, FramePool, protocol};
use vpclab_dataplane::pipeline::Config;
use vpclab_dataplane::tables::Tables;
use vpclab_dataplane::worker::{Clock, Options, Waiting, Worker, team};

use crate::common::tuple;
use crate::common::worlds::east_west;
use crate::{BATCHES, counted_by_callgrind};

const SEED: u64 = 7;
/// Flows in all, half of them each worker's.
const FLOWS: u16 = 512;
const CLIENT: EniId = EniId(1);
const SERVER: EniId = EniId(2);

/// A queue of a host that sends the same frames over and over and counts what it gets.
struct Script {
    frames: Vec<Frame>,
    next: usize,
    got: Arc<AtomicU64>,
}

impl Port for Script {
    fn receives(&self) -> bool {
        !self.frames.is_empty()
    }

    fn receive(
        &mut self,
        limit: usize,
        out: &mut Vec<Frame>,
        pool: &mut FramePool,
    ) -> io::Result<usize> {
        for _ in 0..limit {
            if let Some(frame) = self.frames.get(self.next) {
                let mut copy = pool.take();
                copy.refill(frame.port, frame.bytes());
                out.push(copy);
            }
            self.next = (self.next + 1) % self.frames.len();
        }
        Ok(limit)
    }

    fn transmit(&mut self, frame: Frame, pool: &mut FramePool) -> Result<(), PortError> {
        self.got.fetch_add(1, Ordering::Relaxed);
        pool.put(frame);
        Ok(())
    }
}

/// Frames that are all their reader's own, or all the other's, with so many bytes behind
/// their headers.
pub(crate) fn shared(handed_over: bool, payload: usize) -> u64 {
    let payload = vec![0; payload];
    let world = east_west();
    let config = Config {
        seed: SEED,
        ..Config::default()
    };
    let options = Options {
        waiting: Waiting::Busy,
        ring: false,
        core: None,
    };
    let (local, _) = sync_channel(1);
    let tables = Arc::new(Tables::new(world.tables.clone()));
    let (mut workers, handle) = team(2, config, &tables, Clock::start(), options, &local).unwrap();

    let shard = Shard::new(0, 2, Seed(SEED));
    let mut queues = [Vec::new(), Vec::new()];
    for port in 2_000..2_000 + FLOWS {
        let tuple = tuple(protocol::UDP, &format!("10.0.1.10:{port}"), "10.0.2.10:443");
        let reader = shard.owner(&tuple) as usize ^ usize::from(handed_over);
        queues[reader].push(world.frame(CLIENT.0, &tuple, 0, &payload));
    }
    let got: [Arc<AtomicU64>; 2] = Default::default();
    let queue = |frames, got: &Arc<AtomicU64>| {
        let (next, got) = (0, Arc::clone(got));
        Box::new(Script { frames, next, got }) as Box<dyn Port>
    };
    let sources = queues.into_iter().zip(&got);
    let sources = sources.map(|(frames, got)| queue(frames, got)).collect();
    let sinks = got.iter().map(|got| queue(Vec::new(), got)).collect();
    handle.add_queues(CLIENT, sources).unwrap();
    handle.add_queues(SERVER, sinks).unwrap();

    let now = world.now;
    let turn = |workers: &mut [Worker]| {
        for worker in workers {
            worker.turn(now);
        }
    };
    let delivered = || {
        got.iter()
            .map(|got| got.load(Ordering::Relaxed))
            .sum::<u64>()
    };
    for _ in 0..BATCHES {
        turn(&mut workers);
    }
    let before = delivered();
    for _ in 0..BATCHES {
        counted_by_callgrind(&mut || turn(&mut workers));
    }
    let count = delivered() - before;
    let account = |worker: &Worker| worker.counters().pipeline;
    let handed: u64 = workers.iter().map(|worker| account(worker).handed_in).sum();
    let drops: u64 = workers
        .iter()
        .map(|worker| account(worker).drops_total())
        .sum();
    let received: u64 = workers.iter().map(|worker| account(worker).received).sum();
    assert_eq!((handed > 0, drops), (handed_over, 0));
    assert!(
        handed == 0 || handed * 10 > received * 9,
        "nearly all are handed over"
    );
    assert_eq!(count, BATCHES * 2 * 64, "full turns");
    count
}
