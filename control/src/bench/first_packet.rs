//! First packets: every packet is a connection's first, is found nowhere and
//! leaves a session behind. The first of a class is walked through all hops, the
//! others go by its plan. And whole connections: open, six packets, close.

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::{Frame, tcp_flag};
use vpclab_dataplane::pipeline::Pipeline;
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::time::Duration;

use super::connections::{End, Expected};
use super::driver::{self, Driver};
use super::feed::Feed;
use super::frames::{FrameStore, Segment};
use super::lifecycle::{self, Lifecycle};
use super::path::{self, Inspection, Judge};
use super::privatelink::lab_for;
use super::{BenchError, Case, Depth, Done, Kind, Options, Size, Suite, Unit, Work, eastwest};

/// The suite.
#[derive(Debug)]
pub struct FirstPacket;

impl Suite for FirstPacket {
    fn name(&self) -> &'static str {
        "first-packet"
    }

    fn about(&self) -> &'static str {
        "the first packet of a connection, none cached (the first of a class is walked, the others go by its plan), and whole connections: open, 6 packets, close"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let flows: Vec<u64> = match (options.flows.as_slice(), options.depth) {
            ([], Depth::Smoke) => vec![100],
            ([], Depth::Normal) => vec![10_000, 100_000],
            ([], Depth::Full) => vec![10_000, 100_000, 1_000_000],
            (asked, _) => asked.to_vec(),
        };
        let mut cases = Vec::new();
        let makes: [(&str, Make); 2] = [
            ("eastwest", eastwest::opening),
            ("privatelink", privatelink),
        ];
        for (name, make) in makes {
            for kind in Kind::ALL {
                for &flows in &flows {
                    let options = options.clone();
                    let prepare = move || {
                        let work: Box<dyn Work> = Box::new(make(&options, kind, flows)?);
                        Ok(work)
                    };
                    let size = kind.at_least(Size::Bytes(64));
                    let case = Case::new(format!("{name}-{kind}-{size}/flows={flows}"), prepare);
                    cases.push(case.flows(flows).may_allocate());
                }
            }
        }
        let mut flows: Vec<u64> = flows.iter().map(|&n| n.min(lifecycle::MOST)).collect();
        flows.dedup();
        for flows in flows {
            let options = options.clone();
            let prepare = move || {
                let work: Box<dyn Work> = Box::new(Lifecycle::new(&options, flows)?);
                Ok(work)
            };
            let name = format!("privatelink-connections-tcp4-64B/flows={flows}");
            let case = Case::new(name, prepare).flows(flows);
            cases.push(case.unit(Unit::Connection).may_allocate());
        }
        cases
    }
}

/// Makes first packets of a suite.
type Make = fn(&Options, Kind, u64) -> Result<FirstPackets, BenchError>;

/// First packets to an endpoint, NAT allocation included.
///
/// # Errors
/// When the lab cannot be made.
pub fn privatelink(options: &Options, kind: Kind, flows: u64) -> Result<FirstPackets, BenchError> {
    let lab = lab_for(kind, flows)?;
    let ends: Vec<End> = lab.ends(flows).collect();
    let tables = lab.tables.clone();
    FirstPackets::new(options, tables, ends, move |client, came| {
        lab.check_arrival(client, came)
    })
}

/// One packet of each of many connections that nobody knows yet.
pub struct FirstPackets {
    pipeline: Pipeline,
    tables: Snapshot,
    feed: Feed,
    judge: Judge,
    /// Whether first packets have been looked at.
    judged: bool,
}

impl std::fmt::Debug for FirstPackets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstPackets").finish_non_exhaustive()
    }
}

impl FirstPackets {
    /// SYNs of `clients`; `check` judges what comes out for the packet of each.
    ///
    /// # Errors
    /// None now; as other works.
    pub(super) fn new(
        options: &Options,
        tables: Snapshot,
        clients: Vec<End>,
        check: impl Fn(&End, &Expected) -> Result<(), String> + 'static,
    ) -> Result<Self, BenchError> {
        let config = path::config(options, clients.len() as u64, 0);
        let driver = Driver::new(config, tables);
        let mut order: Vec<u32> = (0..clients.len() as u32).collect();
        path::shuffle(&mut order, options.seed);
        let mut store = FrameStore::with_capacity(order.len(), 64);
        let mut frame = Frame::with_capacity(128);
        for &id in &order {
            let Some(end) = clients.get(id as usize) else {
                continue;
            };
            Segment::of(end, tcp_flag::SYN, id).write(&mut frame, 64);
            store.push(end.port, frame.bytes());
        }
        let judge = move |port: EniId, frame: &Frame| {
            let (id, came) = driver::read(port, frame.bytes())?;
            let client = clients.get(id as usize);
            let client = client.ok_or_else(|| BenchError::wrong("a packet that nobody sent"))?;
            check(client, &came).map_err(BenchError::Wrong)?;
            Ok(id)
        };
        Ok(Self {
            pipeline: driver.pipeline,
            tables: driver.tables,
            feed: Feed::new(store, options.batch, driver.now),
            judge: Box::new(judge),
            judged: false,
        })
    }

    /// Packets of a round: one a connection.
    pub fn round_len(&self) -> u64 {
        self.feed.len() as u64
    }

    /// Sends some packets from the first on, judges each that comes out, and asks that the
    /// flow cache knew all of them, or that it knew none.
    fn inspect(&mut self, known: bool) -> Result<(), BenchError> {
        let before = self.pipeline.counters().flow_hits;
        let inspection = Inspection::new(&*self.judge);
        let count = inspection.feed(&mut self.feed, &mut self.pipeline, &self.tables)?;
        let hits = self.pipeline.counters().flow_hits - before;
        let expected = if known { count as u64 } else { 0 };
        if hits == expected {
            return Ok(());
        }
        Err(BenchError::wrong(format!(
            "of {count} packets looked at {hits} hit the flow cache instead of {expected}"
        )))
    }
}

/// Lets every session time out, so that its memory is free and warm.
pub(super) fn forget(
    pipeline: &mut Pipeline,
    tables: &Snapshot,
    feed: &mut Feed,
) -> Result<(), BenchError> {
    feed.now += Duration::from_secs(3_600);
    for _ in 0..100_000 {
        if pipeline.connections().sessions.is_empty() {
            return Ok(());
        }
        feed.now += Duration::from_secs(2);
        pipeline.expire(feed.now, tables);
    }
    let left = pipeline.connections().sessions.len();
    Err(BenchError::wrong(format!(
        "{left} sessions do not time out"
    )))
}

impl Work for FirstPackets {
    fn reset(&mut self) -> Result<(), BenchError> {
        self.feed.rewind();
        forget(&mut self.pipeline, &self.tables, &mut self.feed)
    }

    fn round(&mut self) -> Done {
        let packets = self.feed.len() as u64;
        path::drive(&mut self.feed, &mut self.pipeline, &self.tables, packets)
    }

    fn floor(&mut self) -> Option<u64> {
        let packets = self.feed.len() as u64;
        self.feed.idle(packets);
        Some(packets)
    }

    fn verify(&mut self, done: &Done) -> Result<(), BenchError> {
        let packets = self.feed.len() as u64;
        let sessions = self.pipeline.connections().sessions.len() as u64;
        if done.operations != packets || done.misses != packets || sessions != packets {
            return Err(BenchError::wrong(format!(
                "of {packets} first packets {} came out and {} were walked; {sessions} sessions remain",
                done.operations, done.misses
            )));
        }
        // Sent again, each must go the way of the first.
        self.inspect(true)?;
        if !self.judged {
            // Timed rounds look at no byte: first packets of a round like them do.
            self.judged = true;
            forget(&mut self.pipeline, &self.tables, &mut self.feed)?;
            self.inspect(false)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::rc::Rc;
    use vpclab_dataplane::packet::{ETHERNET_LEN, checksum, parse_ip};

    /// First packets, changed before they are sent.
    fn changed(make: Make, change: impl Fn(&mut Frame)) -> FirstPackets {
        let options = Options::smoke();
        let mut work = make(&options, Kind::Tcp4, 100).unwrap();
        let mut store = FrameStore::default();
        work.feed.show(work.round_len(), |frames| {
            for sent in frames {
                let mut frame = Frame::with_capacity(128);
                frame.refill(sent.port, sent.bytes());
                change(&mut frame);
                store.push(frame.port, frame.bytes());
            }
        });
        work.feed = Feed::new(store, options.batch, work.feed.now);
        work
    }

    fn judged(work: &mut FirstPackets) -> Result<(), BenchError> {
        work.reset()?;
        let done = work.round();
        work.verify(&done)
    }

    fn seq(frame: &Frame) -> u32 {
        parse_ip(frame.bytes(), ETHERNET_LEN).unwrap().tcp_seq
    }

    #[test]
    fn each_packet_is_looked_at_as_a_first_one_and_as_a_later_one() {
        let mut work = changed(privatelink, |_| ());
        let times = Rc::<RefCell<HashMap<u32, u32>>>::default();
        let counted = Rc::clone(&times);
        let judge = std::mem::replace(&mut work.judge, Box::new(|_, _| Ok(0)));
        work.judge = Box::new(move |port, frame| {
            let id = judge(port, frame)?;
            *counted.borrow_mut().entry(id).or_default() += 1;
            Ok(id)
        });
        judged(&mut work).unwrap();
        assert_eq!(times.borrow().len(), 100);
        assert!(times.borrow().values().all(|&times| times == 2));
        // What was known is no first packet.
        let error = work.inspect(false).unwrap_err().to_string();
        assert!(error.contains("100 hit the flow cache"), "{error}");
    }

    #[test]
    fn one_wrong_checksum_of_a_first_packet_fails_the_case() {
        let mut work = changed(privatelink, |frame| {
            if seq(frame) == 7 {
                let last = frame.len() - 1;
                frame.bytes_mut()[last] ^= 1;
            }
        });
        let error = work.inspect(false).unwrap_err().to_string();
        assert!(error.contains("wrong transport checksum"), "{error}");
        assert!(judged(&mut work).is_err());
    }

    #[test]
    fn one_first_packet_that_came_out_as_another_fails_the_case() {
        let mut work = changed(eastwest::opening, |frame| {
            let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
            if headers.tcp_seq == 7 {
                // It says that it is another's.
                let place = usize::from(headers.l4) + 7;
                frame.bytes_mut()[place] += 1;
                checksum::fill_transport(frame.bytes_mut(), &headers);
            }
        });
        let error = work.inspect(false).unwrap_err().to_string();
        assert!(error.contains("arrived as"), "{error}");
        assert!(judged(&mut work).is_err());
    }
}
