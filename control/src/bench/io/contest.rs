//! Several ways to do one thing, measured in turn.
//!
//! Each way is a row of the result, and a round of all of them is measured
//! together, so that whatever else the machine does meets them alike.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::bench::{BenchError, Busy, Case, Done, Spread, Unit, Work};

/// What a round of one way found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) done: Done,
    /// What ratios are made of, in the unit of [`Shown::figure`].
    pub(super) figure: f64,
}

impl Measured {
    /// So many bytes in a time: gigabits a second.
    pub(super) fn bytes(bytes: u64, elapsed: Duration) -> Self {
        Self::counted(bytes, elapsed, 8.0 / 1e9)
    }

    /// So many packets in a time: millions a second.
    pub(super) fn packets(packets: u64, elapsed: Duration) -> Self {
        Self::counted(packets, elapsed, 1.0 / 1e6)
    }

    fn counted(operations: u64, elapsed: Duration, unit: f64) -> Self {
        let done = Done {
            operations,
            elapsed: Some(elapsed),
            ..Done::default()
        };
        let figure = operations as f64 * unit / elapsed.as_secs_f64();
        Self { done, figure }
    }
}

/// One of the ways.
pub(super) trait Way {
    fn measure(&mut self) -> Result<Measured, BenchError>;

    /// How it was set up, in figures.
    fn settings(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
}

/// Names of a figure: the middle of the rounds, the least and the most.
pub(super) type Names = [&'static str; 3];

/// What is shown of a way beside its nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Its figure.
    pub(super) figure: Names,
    /// Its figure divided by that of another way.
    pub(super) beside: &'static [Beside],
}

/// A ratio.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    pub(super) names: Names,
    /// The other way.
    pub(super) way: &'static str,
    /// Whether the other's figure is divided by the own one.
    pub(super) inverse: bool,
}

/// Makes a way ready.
type Build = Box<dyn FnOnce() -> Result<Box<dyn Way>, BenchError>>;

/// A way before the contest.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) shown: Shown,
    pub(super) build: Build,
}

enum State {
    Waits(Build),
    Runs(Box<dyn Way>),
    /// It has been told why.
    Out,
}

struct Entrant {
    name: &'static str,
    shown: Shown,
    state: State,
    /// The first is for warming up.
    rounds: Vec<Result<Measured, BenchError>>,
    others_percent: Vec<f64>,
}

/// All of them.
struct Contest {
    entrants: Vec<Entrant>,
}

/// The cases `group/name` of a contest.
pub(super) fn cases(group: &str, entries: Vec<Entry>) -> Vec<Case> {
    let named: Vec<(&str, Unit)> = entries
        .iter()
        .map(|entry| (entry.name, entry.unit))
        .collect();
    let entrants = entries.into_iter().map(|entry| Entrant {
        name: entry.name,
        shown: entry.shown,
        state: State::Waits(entry.build),
        rounds: Vec::new(),
        others_percent: Vec::new(),
    });
    let entrants: Vec<Entrant> = entrants.collect();
    let contest = Rc::new(RefCell::new(Contest { entrants }));
    let cases = named.into_iter().enumerate().map(|(index, (name, unit))| {
        let contest = Rc::clone(&contest);
        let prepare = move || {
            contest.borrow_mut().enter(index)?;
            Ok(Box::new(Turn {
                contest,
                index,
                round: 0,
            }) as Box<dyn Work>)
        };
        // Threads and sockets of its own allocate.
        let case = Case::new(format!("{group}/{name}"), prepare);
        case.unit(unit).may_allocate().unpinned()
    });
    cases.collect()
}

impl Contest {
    /// Makes one way ready, and those that are measured with it as well.
    fn enter(&mut self, index: usize) -> Result<(), BenchError> {
        let mut own = Ok(());
        for (n, entrant) in self.entrants.iter_mut().enumerate() {
            // Another's reason is told when it is its turn.
            let waits = matches!(entrant.state, State::Waits(_));
            if waits && let Err(error) = entrant.enter() {
                match n == index {
                    true => own = Err(error),
                    false => entrant.state = State::Waits(Box::new(|| Err(error))),
                }
            }
        }
        own
    }

    /// Measures until everybody has had that round.
    fn run_to(&mut self, round: usize) {
        for n in 0..=round {
            for entrant in &mut self.entrants {
                if entrant.rounds.len() <= n {
                    entrant.measure();
                }
            }
        }
    }

    fn figures(&self, name: &str) -> Vec<f64> {
        let entrant = self.entrants.iter().find(|entrant| entrant.name == name);
        entrant.map(Entrant::figures).unwrap_or_default()
    }

    /// An entrant's figure and its ratios to the others, of each round that counts.
    fn of(&self, entrant: &Entrant) -> Vec<(Names, Vec<f64>)> {
        let own = entrant.figures();
        let ratios = entrant.shown.beside.iter().map(|beside| {
            let other = self.figures(beside.way);
            let ratio = |(own, other): (&f64, &f64)| match beside.inverse {
                false => own / other,
                true => other / own,
            };
            (beside.names, own.iter().zip(&other).map(ratio).collect())
        });
        let ratios: Vec<(Names, Vec<f64>)> = ratios.collect();
        let found = std::iter::once((entrant.shown.figure, own)).chain(ratios);
        found.filter(|(_, values)| !values.is_empty()).collect()
    }
}

impl Entrant {
    fn enter(&mut self) -> Result<(), BenchError> {
        if let State::Waits(build) = std::mem::replace(&mut self.state, State::Out) {
            self.state = State::Runs(build()?);
        }
        Ok(())
    }

    fn measure(&mut self) {
        if let State::Runs(way) = &mut self.state {
            let before = Busy::now();
            self.rounds.push(way.measure());
            self.others_percent
                .push(Busy::now().other_programs_percent(before));
        }
    }

    /// Of every round that counts.
    fn figures(&self) -> Vec<f64> {
        let rounds = self.rounds.iter().skip(1).flatten();
        rounds.map(|measured| measured.figure).collect()
    }
}

/// One way's part in the contest.
struct Turn {
    contest: Rc<RefCell<Contest>>,
    index: usize,
    round: usize,
}

impl Work for Turn {
    fn round(&mut self) -> Done {
        let mut contest = self.contest.borrow_mut();
        contest.run_to(self.round);
        let entrant = contest.entrants.get(self.index);
        let measured = entrant.and_then(|entrant| entrant.rounds.get(self.round)?.as_ref().ok());
        self.round += 1;
        measured.map(|measured| measured.done).unwrap_or_default()
    }

    fn verify(&mut self, done: &Done) -> Result<(), BenchError> {
        let mut contest = self.contest.borrow_mut();
        let entrant = contest.entrants.get_mut(self.index);
        let round = entrant.and_then(|it| it.rounds.get_mut(self.round.saturating_sub(1)));
        match round {
            Some(Err(error)) => Err(std::mem::replace(error, BenchError::wrong("failed"))),
            Some(Ok(_)) if done.operations > 0 => Ok(()),
            _ => Err(BenchError::wrong("nothing arrived")),
        }
    }

    fn others_percent(&self) -> Option<f64> {
        let contest = self.contest.borrow();
        let entrant = contest.entrants.get(self.index)?;
        let counted = entrant.others_percent.get(1..)?;
        Some(Spread::of(counted).median)
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let contest = self.contest.borrow();
        let Some(entrant) = contest.entrants.get(self.index) else {
            return Vec::new();
        };
        let mut metrics = match &entrant.state {
            State::Runs(way) => way.settings(),
            State::Waits(_) | State::Out => Vec::new(),
        };
        for (names, values) in contest.of(entrant) {
            metrics.extend(named(names, &values));
        }
        metrics
    }

    fn by_round(&self) -> Vec<(&'static str, Vec<f64>)> {
        let contest = self.contest.borrow();
        let entrant = contest.entrants.get(self.index);
        let found = entrant.map(|entrant| contest.of(entrant));
        let found = found.unwrap_or_default().into_iter();
        found.map(|([name, ..], values)| (name, values)).collect()
    }
}

fn named([median, min, max]: Names, values: &[f64]) -> Vec<(&'static str, f64)> {
    let spread = Spread::of(values);
    vec![
        (median, spread.median),
        (min, spread.min),
        (max, spread.max),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Options;
    use crate::bench::run::measure;

    /// Gives figures out of a list, and notes whose turn it was.
    struct Listed {
        figures: Vec<f64>,
        name: char,
        turns: Rc<RefCell<String>>,
    }

    impl Way for Listed {
        fn measure(&mut self) -> Result<Measured, BenchError> {
            self.turns.borrow_mut().push(self.name);
            let figure = self.figures.remove(0);
            let done = Done {
                operations: 1,
                ..Done::default()
            };
            Ok(Measured { done, figure })
        }
    }

    #[test]
    fn ways_take_turns_and_ratios_are_of_rounds() {
        const BESIDE: &[Beside] = &[Beside {
            names: ["ratio", "ratio_min", "ratio_max"],
            way: "peer",
            inverse: false,
        }];
        let turns = Rc::<RefCell<String>>::default();
        let entry = |name, letter, figures: [f64; 4], beside| {
            let turns = Rc::clone(&turns);
            Entry {
                name,
                unit: Unit::Packet,
                shown: Shown {
                    figure: ["figure", "figure_min", "figure_max"],
                    beside,
                },
                build: Box::new(move || {
                    Ok(Box::new(Listed {
                        figures: figures.to_vec(),
                        name: letter,
                        turns,
                    }))
                }),
            }
        };
        let absent = Entry {
            name: "absent",
            unit: Unit::Packet,
            shown: Shown {
                figure: ["", "", ""],
                beside: &[],
            },
            build: Box::new(|| Err(BenchError::NotHere("no such program".to_owned()))),
        };
        let entries = vec![
            entry("peer", 'p', [9.0, 1.0, 2.0, 4.0], &[]),
            absent,
            entry("own", 'o', [9.0, 3.0, 4.0, 4.0], BESIDE),
        ];
        let options = Options {
            rounds: 3,
            ..Options::smoke()
        };
        let mut results = Vec::new();
        for case in cases("group", entries) {
            results.push((case.name.clone(), measure(case, &options, &mut ())));
        }
        assert_eq!(*turns.borrow(), "popopopo");
        let [peer, absent, own] = &results[..] else {
            panic!("{results:?}")
        };
        let said = absent.1.as_ref().unwrap_err().to_string();
        assert_eq!(said, "no such program");
        assert_eq!(peer.1.as_ref().unwrap().metrics["figure"], 2.0);
        assert_eq!(own.0, "group/own");
        let metrics = &own.1.as_ref().unwrap().metrics;
        let shown = ["ratio", "ratio_min", "ratio_max"].map(|name| metrics[name]);
        assert_eq!(shown, [2.0, 1.0, 3.0]);
        let by_round = &own.1.as_ref().unwrap().by_round;
        assert_eq!(by_round["figure"], [3.0, 4.0, 4.0]);
        assert_eq!(by_round["ratio"], [3.0, 2.0, 1.0]);
        assert_eq!(by_round["ns"].len(), 3);
    }
}
