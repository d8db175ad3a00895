//! The flow table alone: connections found by what either end sends, in bulks of
//! 32 as the packet path does and one by one; and connections that come and go.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::flow::{Ingress, Key, Seed, Session, SessionId, Table, Tracking};
use vpclab_dataplane::packet::{FiveTuple, Headers, protocol};
use vpclab_dataplane::time::Instant;

use super::path::{SAMPLE, shuffle};
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
        "the flow table alone: connections found in bulks and one by one, keys that are not there, connections replaced"
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
    wrong: u64,
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
        let stride = flows.div_ceil(SAMPLE as u64).max(1);
        let (mut keys, mut sessions) = (Vec::new(), Vec::new());
        for n in 0..flows {
            let session = connection(options.seed, n);
            let id = table.insert(&session).ok_or_else(|| {
                BenchError::wrong(format!("connection {n} of {flows} does not fit"))
            })?;
            if n % stride > 0 {
                continue;
            }
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
            wrong: 0,
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
        // Each found session is the one with that key.
        for key in self.keys.iter().take(super::path::CHECKED) {
            let found = self.table.find(key).and_then(|(id, way)| {
                let session = self.table.get(id)?;
                session.keys.get(way.index()).copied().flatten()
            });
            let right = match self.task {
                Task::Miss => found.is_none(),
                _ => found == Some(*key),
            };
            self.wrong += u64::from(!right);
        }
        match self.wrong {
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
