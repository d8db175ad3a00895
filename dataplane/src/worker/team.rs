//! Several workers that share the flows of one lab.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::clock::Clock;
use super::handle::Handle;
use super::peers::{Peer, Peers, TRAYS};
use super::ring::ring;
use super::steer::Steer;
use super::{Options, Worker};
use crate::addr::EniId;
use crate::flow::{Seed, Shard};
use crate::packet::Frame;
use crate::pipeline::{Config, Pipeline};
use crate::tables::Tables;

/// `count` workers (at least one, at most 256) without ports, and the way to
/// talk to all of them. Each has a pipeline of `config`'s capacities, and
/// judges the flows whose hash is its own; the others' it hands over.
pub fn team(
    count: usize,
    config: Config,
    tables: &Arc<Tables>,
    clock: Clock,
    options: Options,
    local: &SyncSender<(EniId, Frame)>,
) -> io::Result<(Vec<Worker>, Handle)> {
    let count = u32::try_from(count.clamp(1, 256)).unwrap_or(1);
    let mut workers = Vec::new();
    let mut lines = Vec::new();
    for index in 0..count {
        let pipeline = Pipeline::new(Config {
            worker: (index, count),
            ..config
        });
        let options = Options {
            core: options.core.map(|core| core + index as usize),
            ..options
        };
        let (worker, handle) =
            Worker::new(pipeline, Arc::clone(tables), clock, options, local.clone())?;
        workers.push(worker);
        lines.extend(handle.into_lines());
    }
    if count > 1 {
        let seed = Seed(config.seed);
        let mut links: Vec<Vec<Peer>> = (0..count).map(|_| Vec::new()).collect();
        for (a, b) in (0..count).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let (there, here) = (ring(TRAYS), ring(TRAYS));
            let peer = |worker: u32, filler, taker| {
                let wake = lines.get(worker as usize).map(|line| line.wake.clone());
                wake.map(|wake| Peer::new(filler, taker, wake))
            };
            let ends = [(a, peer(b, there.0, here.1)), (b, peer(a, here.0, there.1))];
            for (own, peer) in ends {
                if let Some(link) = links.get_mut(own as usize) {
                    link.extend(peer);
                }
            }
        }
        for ((index, worker), peers) in (0..count).zip(&mut workers).zip(links) {
            let steer = Steer::new(Shard::new(index, count, seed), config.fragments);
            worker.sink.peers = Some(Peers::new(index, steer, peers));
        }
    }
    Ok((workers, Handle::new(lines, clock)))
}
