//! The flow table alone: connections found by what either end sends, in bulks of
//! 32 and one by one; and connections that come and go.
//!
//! `Table::find_bulk` is no part of the packet path: that looks up a batch's packets while
//! it reads them (`pipeline/short.rs`). It has the same steps, of the same functions of the
//! table: hash and fetch the bucket; fetch the line that it leads to; compare. What a look-up
//! costs among the other work of a packet, `vpclab bench steps` says.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::flow::{Ingress, Key, Seed, Session, SessionId, Table, Tracking};
use vpclab_dataplane::packet::{FiveTuple, Headers, protocol};
use vpclab_dataplane::time::Instant;

use super::path::{self, shuffle};
use super::{BenchError, Case, Depth, Done, Options, Suite, Unit, Work};

/// The suite.
#[derive(Debug)]
pub struct Flow;

/// Keys that are looked up at once.
const BULK: usize = 32;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Finds connections that are there, 32 together.
    Bulk,
    /// The same, one after the other.
    OneByOne,
    /// Looks, 32 together, for connections that are not there.
    Miss,
    /// Ends a connection and opens it again.
    Churn,
}

impl Suite for Flow {
    fn name(&self) -> &'static str {
        "flow"
    }

    fn about(&self) -> &'static str {
        "the flow table alone, in loops of its own: connections found in bulks and one by one, keys that are not there, connections replaced"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let flows: &[u64] = match (options.flows.as_slice(), options.depth) {
            ([], Depth::Smoke) => &[100],
            ([], Depth::Normal) => &[1, 1_000, 100_000, 1_000_000],
            ([], Depth::Full) => &[1, 1_000, 100_000, 1_000_000, 10_000_000],
            (asked, _) => asked,
        };
        let tasks = [
            ("find-bulk", Task::Bulk),
            ("find-one-by-one", Task::OneByOne),
            ("find-missing", Task::Miss),
            ("replace", Task::Churn),
        ];
        let mut cases = Vec::new();
        for (name, task) in tasks {
            for &flows in flows {
                let options = options.clone();
                let prepare = move || {
                    let work = Flows::new(&options, flows, task)?;
                    Ok(Box::new(work) as Box<dyn Work>)
                };
                let case = Case::new(format!("{name}-tcp4/flows={flows}"), prepare);
                let unit = match task {
                    Task::Churn => Unit::Connection,
                    _ => Unit::Lookup,
                };
                cases.push(case.flows(flows).unit(unit));
            }
        }
        cases
    }
}

/// A table full of connections, and what is asked of it.
#[derive(Debug)]
pub struct Flows {
    task: Task,
    table: Table,
    keys: Vec<Key>,
    /// For [`Task::Churn`]: the connections that are replaced, in random order.
    sessions: Vec<(SessionId, Session)>,
    passes: u64,
}

/// Connection `n`: one of 65 536 clients, one of 16 million servers.
fn connection(seed: u64, n: u64) -> Session {
    let word = Seed(seed).words(&[n]);
    let address = |base: u32, word: u64| IpAddr::V4(Ipv4Addr::from(base | word as u32));
    let tuple = FiveTuple {
        src: address(0x0a00_0000, word & 0xffff),
        // What makes it different from every other.
        dst: address(0x0b00_0000, n & 0xff_ffff),
        protocol: protocol::TCP,
        sport: 1_024 + (n >> 24) as u16 + (word >> 32) as u16 % 60_000,
        dport: 443,
    };
    let key = |eni, tuple| {
        let ingress = Ingress::Eni(EniId(eni));
        Some(Key { ingress, tuple })
    };
    let keys = [key(1, tuple), key(2, tuple.reversed())];
    let tracking = Tracking::open(&Headers::synthetic(tuple), Instant::ZERO);
    Session::new(keys, tracking, Instant::ZERO)
}

impl Flows {
    /// Fills a table with `flows` connections.
    ///
    /// # Errors
    /// When one does not fit.
    pub fn new(options: &Options, flows: u64, task: Task) -> Result<Self, BenchError> {
        let mut table = Table::new(flows as usize + 1, Seed(options.seed));
        let (mut keys, mut sessions) = (Vec::new(), Vec::new());
        for n in 0..flows {
            let session = connection(options.seed, n);
            let id = table.insert(&session).ok_or_else(|| {
                BenchError::wrong(format!("connection {n} of {flows} does not fit"))
            })?;
            match task {
                Task::Churn => sessions.push((id, session)),
                Task::Miss => keys.extend(
                    connection(options.seed, n + flows)
                        .keys
                        .into_iter()
                        .flatten(),
                ),
                Task::Bulk | Task::OneByOne => keys.extend(session.keys.into_iter().flatten()),
            }
        }
        if table.len() as u64 != flows {
            let found = table.len();
            let what = format!("{flows} connections were added, {found} are there");
            return Err(BenchError::Wrong(what));
        }
        shuffle(&mut keys, options.seed);
        shuffle(&mut sessions, options.seed);
        let each = keys.len().max(sessions.len()).max(1) as u64;
        Ok(Self {
            task,
            table,
            keys,
            sessions,
            passes: (options.operations() * 2).div_ceil(each),
        })
    }

    fn bulk(&self) -> u64 {
        let mut found = 0;
        let mut out = [None; BULK];
        for keys in self.keys.chunks(BULK) {
            self.table.find_bulk(black_box(keys), &mut out);
            let answers = out.iter().take(keys.len());
            found += answers.filter(|answer| answer.is_some()).count() as u64;
        }
        found
    }

    fn one_by_one(&self) -> u64 {
        let found = |key: &&Key| self.table.find(black_box(key)).is_some();
        self.keys.iter().filter(found).count() as u64
    }

    /// Whether a key leads to a session that has it: this one, if one is named.
    fn is_found(&self, key: &Key, place: Option<SessionId>) -> bool {
        let Some((id, way)) = self.table.find(key) else {
            return false;
        };
        let session = self.table.get(id);
        let own = session.and_then(|session| session.keys.get(way.index()).copied().flatten());
        own == Some(*key) && place.is_none_or(|place| place == id)
    }

    fn churn(&mut self) -> u64 {
        let mut replaced = 0;
        for (id, session) in &mut self.sessions {
            let removed = self.table.remove(*id).is_some();
            if let Some(new) = self.table.insert(session) {
                *id = new;
                replaced += u64::from(removed);
            }
        }
        replaced
    }
}

impl Work for Flows {
    fn round(&mut self) -> Done {
        let mut hits = 0;
        for _ in 0..self.passes {
            hits += match self.task {
                Task::Bulk | Task::Miss => self.bulk(),
                Task::OneByOne => self.one_by_one(),
                Task::Churn => self.churn(),
            };
        }
        let operations = self.passes * self.keys.len().max(self.sessions.len()) as u64;
        Done {
            operations,
            hits,
            misses: operations - hits,
            elapsed: None,
        }
    }

    fn verify(&mut self, done: &Done) -> Result<(), BenchError> {
        let expected = match self.task {
            Task::Miss => 0,
            _ => done.operations,
        };
        if done.hits != expected {
            return Err(BenchError::wrong(format!(
                "of {} keys {} were found instead of {expected}",
                done.operations, done.hits
            )));
        }
        // Each found session is the one with that key,
        let checked = path::CHECKED;
        let looked_up = self.keys.iter().take(checked);
        let mut wrong = looked_up
            .filter(|key| match self.task {
                Task::Miss => self.table.find(key).is_some(),
                _ => !self.is_found(key, None),
            })
            .count();
        // and each that was replaced is found where it was put.
        for (id, session) in self.sessions.iter().take(checked / 2) {
            let mut keys = session.keys.iter().flatten();
            wrong += usize::from(!keys.all(|key| self.is_found(key, Some(*id))));
        }
        match wrong {
            0 => Ok(()),
            wrong => Err(BenchError::wrong(format!(
                "{wrong} keys led to another's session"
            ))),
        }
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let connections = self.table.len().max(1) as f64;
        vec![("connection_bytes", self.table.memory() as f64 / connections)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(task: Task) -> (Flows, Done) {
        let mut work = Flows::new(&Options::smoke(), 100, task).unwrap();
        let done = work.round();
        (work, done)
    }

    #[test]
    fn a_key_that_leads_to_another_session_fails_every_task() {
        for task in [Task::Bulk, Task::OneByOne, Task::Miss, Task::Churn] {
            let (mut work, done) = ran(task);
            work.verify(&done).unwrap();
            match task {
                // As if two connections had changed places,
                Task::Churn => {
                    let other = work.sessions[1].0;
                    work.sessions[0].0 = other;
                }
                // one of those looked up were not there, or one that must not be were.
                Task::Miss => work.keys[0] = connection(1, 0).keys[0].unwrap(),
                _ => work.keys[0].tuple.sport ^= 1,
            }
            let error = work.verify(&done).unwrap_err().to_string();
            assert_eq!(error, "1 keys led to another's session", "{task:?}");
        }
    }
}
