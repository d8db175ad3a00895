//! The cost model: what each step of a cached packet takes, predicted and measured.
//!
//! The same frames go through more and more of the path: copied in and taken back;
//! looked at (parsed, hashed, their memory fetched); their sessions found; all of it.
//! A step is the difference. What is predicted for a table of any size is what the
//! step takes with one connection, where everything is in the first cache, and the
//! cache lines that it waits for times what a line of such a table takes: that is
//! measured by reading sessions in random order, without and with waiting for the last.

use std::hint::black_box;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::flow::SessionId;
use vpclab_dataplane::worker::Clock;

use super::path::{self, CachedPath};
use super::report::Spread;
use super::{BenchError, Case, Depth, Done, Kind, Options, Size, Suite, Work};
use super::{eastwest, privatelink};

/// The suite.
#[derive(Debug)]
pub struct Steps;

impl Suite for Steps {
    fn name(&self) -> &'static str {
        "steps"
    }

    fn about(&self) -> &'static str {
        "the cost model: what each step of a cached packet takes, predicted and measured"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let flows: &[u64] = match (options.flows.as_slice(), options.depth) {
            ([], Depth::Smoke) => &[100],
            ([], Depth::Normal) => &[1_000, 100_000, 1_000_000],
            ([], Depth::Full) => &[1_000, 100_000, 1_000_000, 10_000_000],
            (asked, _) => asked,
        };
        let mut cases = Vec::new();
        let makes: [(&str, Established); 2] = [
            ("eastwest", eastwest::established),
            ("privatelink", privatelink::established),
        ];
        for (name, make) in makes {
            for &flows in flows {
                let options = options.clone();
                let prepare = move || {
                    let work: Box<dyn Work> = Box::new(Model::new(&options, make, flows)?);
                    Ok(work)
                };
                cases.push(
                    Case::new(format!("{name}-tcp4-64B/flows={flows}"), prepare).flows(flows),
                );
            }
        }
        cases
    }
}

/// Makes connections of a suite.
type Established = fn(&Options, Kind, Size, u64) -> Result<CachedPath, BenchError>;

/// The path, cut off after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Copied,
    Looked,
    Found,
    Sent,
}

/// Each, and the cache lines beside the frame's own that it waits for: the index bucket when
/// the reference in it is followed, and the line of the direction when it is compared.
const CUTS: [(Cut, f64); 4] = [
    (Cut::Copied, 0.0),
    (Cut::Looked, 1.0),
    (Cut::Found, 1.0),
    (Cut::Sent, 0.0),
];

/// Rounds for which there is room; more replace none.
const ROUNDS: usize = 1_024;
/// Sessions read for the price of a line.
const LINES: usize = 1 << 17;

/// An interface that is not there.
const NOBODY: EniId = EniId(u32::MAX - 1);

/// Nanoseconds a packet up to each cut, one of each round.
type Times = [Vec<f64>; CUTS.len()];

/// A path, and one with a single connection, taken apart in turn.
struct Model {
    path: CachedPath,
    single: CachedPath,
    clock: Clock,
    times: Times,
    single_times: Times,
    sessions: Vec<SessionId>,
    /// Nanoseconds a line: not waited for, and waited for.
    lines: [Vec<f64>; 2],
    wrong: Option<String>,
}

impl Model {
    fn new(options: &Options, make: Established, flows: u64) -> Result<Self, BenchError> {
        let mut path = make(options, Kind::Tcp4, Size::Bytes(64), flows)?;
        let single = make(options, Kind::Tcp4, Size::Bytes(64), 1)?;
        let (pipeline, _) = path.parts();
        let sessions = &pipeline.connections().sessions;
        let mut ids: Vec<SessionId> = sessions.iter().map(|(id, _)| id).collect();
        path::shuffle(&mut ids, options.seed);
        ids.truncate(LINES);
        let times = || std::array::from_fn(|_| Vec::with_capacity(ROUNDS));
        Ok(Self {
            path,
            single,
            clock: Clock::start(),
            times: times(),
            single_times: times(),
            sessions: ids,
            lines: [Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS)],
            wrong: None,
        })
    }

    /// What a cache line of the table takes when many are under way, and alone: beyond
    /// what finding it takes, which is measured with a line that is in the first cache.
    fn read_lines(&mut self) {
        let sessions = &self.path.parts().0.connections().sessions;
        // Nothing of what is read moves the place, and the compiler does not know.
        let (count, none) = (self.sessions.len(), black_box(0));
        let per_line = |many: usize, mask: usize| {
            let start = self.clock.now();
            let mut read = 0;
            for n in 0..count {
                let place = n * many + (read & mask);
                let held = self.sessions.get(place).and_then(|&id| sessions.held(id));
                // The session's state says so, and that is one line.
                read = usize::from(black_box(held.is_some_and(|held| held.tracks(NOBODY))));
            }
            self.clock.now().since(start).as_nanos() as f64 / count.max(1) as f64
        };
        let near = per_line(0, 0);
        let near_alone = per_line(0, none);
        let lines = [per_line(1, 0) - near, per_line(1, none) - near_alone];
        for (line, into) in lines.into_iter().zip(&mut self.lines) {
            push(into, line.max(0.0));
        }
    }
}

fn push(times: &mut Vec<f64>, ns: f64) {
    if times.len() < ROUNDS {
        times.push(ns);
    }
}

/// Times the path up to each cut; says what went wrong.
fn take_apart(path: &mut CachedPath, clock: Clock, times: &mut Times) -> Result<Done, String> {
    let packets = path.round_len();
    let mut done = Done::default();
    for ((cut, _), times) in CUTS.into_iter().zip(times) {
        let start = clock.now();
        let mut came = packets;
        if cut == Cut::Sent {
            done = path.drive(packets);
            came = done.hits;
        } else {
            let (pipeline, feed) = path.parts();
            let mut found = 0;
            feed.show(packets, |frames| match cut {
                Cut::Looked => pipeline.look(frames),
                Cut::Found => found += pipeline.look_and_find(frames) as u64,
                Cut::Copied | Cut::Sent => {}
            });
            if cut == Cut::Found {
                came = found;
            }
        }
        let took = clock.now().since(start).as_nanos() as f64;
        if came != packets {
            return Err(format!("of {packets} packets {came} were {cut:?}"));
        }
        push(times, took / packets.max(1) as f64);
    }
    Ok(done)
}

impl Work for Model {
    fn round(&mut self) -> Done {
        let start = self.clock.now();
        let whole = |times: &Times| times.last().and_then(|times| times.last().copied());
        let single = take_apart(&mut self.single, self.clock, &mut self.single_times);
        let taken = single.and_then(|_| take_apart(&mut self.path, self.clock, &mut self.times));
        self.read_lines();
        match taken {
            Ok(done) => {
                let ns = whole(&self.times).unwrap_or(0.0) * done.operations as f64;
                let elapsed = std::time::Duration::from_nanos(ns as u64);
                Done {
                    elapsed: Some(elapsed),
                    ..done
                }
            }
            Err(wrong) => {
                self.wrong = Some(wrong);
                let elapsed = self.clock.now().since(start).as_nanos();
                Done {
                    operations: 1,
                    elapsed: Some(std::time::Duration::from_nanos(elapsed)),
                    ..Done::default()
                }
            }
        }
    }

    fn verify(&mut self, done: &Done) -> Result<(), BenchError> {
        match self.wrong.take() {
            Some(wrong) => Err(BenchError::Wrong(wrong)),
            None => self.path.verify(done),
        }
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        const NAMES: [[&str; 2]; CUTS.len()] = [
            ["step_1_frame_copied_ns", "step_1_frame_copied_predicted_ns"],
            ["step_2_look_ns", "step_2_look_predicted_ns"],
            ["step_3_find_ns", "step_3_find_predicted_ns"],
            [
                "step_4_judge_rewrite_send_ns",
                "step_4_judge_rewrite_send_predicted_ns",
            ],
        ];
        let median = |times: &Vec<f64>| Spread::of(times).median;
        let [line, line_alone] = [0, 1].map(|n| self.lines.get(n).map_or(0.0, median));
        let mut all = vec![("line_ns", line), ("line_waited_for_ns", line_alone)];
        let (mut before, mut single_before, mut predicted_sum) = (0.0, 0.0, 0.0);
        let steps = CUTS
            .iter()
            .zip(NAMES)
            .zip(self.times.iter().zip(&self.single_times));
        for (((_, lines), [name, predicted_name]), (times, single)) in steps {
            let (up_to, single_up_to) = (median(times), median(single));
            let predicted = (single_up_to - single_before) + lines * line;
            all.push((name, up_to - before));
            all.push((predicted_name, predicted));
            predicted_sum += predicted;
            (before, single_before) = (up_to, single_up_to);
        }
        all.push(("whole_predicted_ns", predicted_sum));
        all
    }
}
