//! What `top` shows and what its keys do.

use super::TopReport;
use super::rates::Rates;

/// How many looks the curves show.
const HISTORY: usize = 240;

/// A part of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// ENIs with their rates.
    #[default]
    Enis,
    /// Drops by reason.
    Drops,
    /// Targets and their health.
    Targets,
    /// Flows.
    Flows,
}

impl Pane {
    /// All, in the order of their keys 1–4.
    pub const ALL: [Self; 4] = [Self::Enis, Self::Drops, Self::Targets, Self::Flows];

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Enis => "ENIs",
            Self::Drops => "Drops",
            Self::Targets => "Targets",
            Self::Flows => "Flows",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }

    fn step(self, by: usize) -> Self {
        let next = (self.index() + by) % Self::ALL.len();
        Self::ALL.get(next).copied().unwrap_or_default()
    }
}

/// What a user can press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// End.
    Quit,
    /// The next pane.
    Next,
    /// The one before.
    Previous,
    /// This pane.
    Show(Pane),
    /// Sort by the next column.
    Sort,
    /// Sort the other way round.
    Reverse,
    /// Stop the picture, or go on.
    Pause,
    /// Lines down.
    Down(usize),
    /// Lines up.
    Up(usize),
}

/// How a pane is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Which of its columns.
    pub column: usize,
    /// The other way round.
    pub reverse: bool,
    /// Lines scrolled down.
    pub scroll: usize,
}

/// Everything that the screen shows.
#[derive(Clone, Debug, Default)]
pub struct State {
    last: Option<TopReport>,
    pub(super) rates: Rates,
    /// Packets and drops per second, the latest last.
    pub(super) pps: Vec<u64>,
    pub(super) drops: Vec<u64>,
    pub(super) pane: Pane,
    pub(super) orders: [Order; 4],
    pub(super) paused: bool,
    pub(super) trouble: Option<String>,
    ended: bool,
}

impl State {
    /// Takes a new look, unless paused.
    pub fn look(&mut self, report: TopReport) {
        self.trouble = None;
        if self.paused {
            return;
        }
        self.rates = Rates::between(self.last.as_ref(), &report);
        if self.last.is_some() {
            push(&mut self.pps, self.rates.totals.pps);
            push(&mut self.drops, self.rates.totals.drops);
        }
        self.last = Some(report);
        self.sort();
    }

    /// The lab does not answer.
    pub fn trouble(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// Whether the user wants out.
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// The latest look.
    pub(super) fn last(&self) -> Option<&TopReport> {
        self.last.as_ref()
    }

    /// Obeys a key.
    pub fn press(&mut self, key: Key) {
        match key {
            Key::Quit => self.ended = true,
            Key::Next => self.pane = self.pane.step(1),
            Key::Previous => self.pane = self.pane.step(Pane::ALL.len() - 1),
            Key::Show(pane) => self.pane = pane,
            Key::Pause => self.paused = !self.paused,
            Key::Sort => {
                let columns = columns(self.pane).len();
                let order = self.order_mut();
                order.column = (order.column + 1) % columns;
                order.reverse = false;
                self.sort();
            }
            Key::Reverse => {
                let order = self.order_mut();
                order.reverse = !order.reverse;
                self.sort();
            }
            Key::Down(lines) => {
                let most = self.rows(self.pane).saturating_sub(1);
                let order = self.order_mut();
                order.scroll = order.scroll.saturating_add(lines).min(most);
            }
            Key::Up(lines) => {
                let order = self.order_mut();
                order.scroll = order.scroll.saturating_sub(lines);
            }
        }
    }

    /// Rows of a pane.
    pub(super) fn rows(&self, pane: Pane) -> usize {
        match pane {
            Pane::Enis => self.rates.enis.len(),
            Pane::Drops => self.rates.drops.len(),
            Pane::Targets => self.rates.targets.len(),
            Pane::Flows => self.rates.flows.len(),
        }
    }

    pub(super) fn order(&self, pane: Pane) -> Order {
        self.orders.get(pane.index()).copied().unwrap_or_default()
    }

    fn order_mut(&mut self) -> &mut Order {
        let [enis, drops, targets, flows] = &mut self.orders;
        match self.pane {
            Pane::Enis => enis,
            Pane::Drops => drops,
            Pane::Targets => targets,
            Pane::Flows => flows,
        }
    }

    fn sort(&mut self) {
        let [enis, drops, targets, flows] = self.orders;
        let Rates {
            enis: eni_rows,
            drops: drop_rows,
            targets: target_rows,
            flows: flow_rows,
            ..
        } = &mut self.rates;
        // Rates fall, names rise; equals stay in the order of their names.
        eni_rows.sort_by(|a, b| a.name.cmp(&b.name));
        match enis.column {
            0 => {}
            1 => eni_rows.sort_by(|a, b| b.out_pps.total_cmp(&a.out_pps)),
            2 => eni_rows.sort_by(|a, b| b.out_bps.total_cmp(&a.out_bps)),
            3 => eni_rows.sort_by(|a, b| b.in_pps.total_cmp(&a.in_pps)),
            _ => eni_rows.sort_by(|a, b| b.in_bps.total_cmp(&a.in_bps)),
        }
        drop_rows.sort_by(|a, b| a.reason.cmp(&b.reason));
        match drops.column {
            0 => drop_rows.sort_by(|a, b| b.per_second.total_cmp(&a.per_second)),
            1 => drop_rows.sort_by_key(|row| std::cmp::Reverse(row.total)),
            _ => {}
        }
        target_rows.sort_by(|a, b| (&a.group, &a.target).cmp(&(&b.group, &b.target)));
        if targets.column == 1 {
            target_rows.sort_by(|a, b| b.health.cmp(&a.health));
        }
        match flows.column {
            0 => flow_rows
                .sort_by(|a, b| b.bps.total_cmp(&a.bps).then_with(|| b.bytes.cmp(&a.bytes))),
            1 => flow_rows.sort_by(|a, b| b.pps.total_cmp(&a.pps)),
            2 => flow_rows.sort_by_key(|row| std::cmp::Reverse(row.bytes)),
            _ => flow_rows.sort_by(|a, b| a.from.cmp(&b.from)),
        }
        if enis.reverse {
            eni_rows.reverse();
        }
        if drops.reverse {
            drop_rows.reverse();
        }
        if targets.reverse {
            target_rows.reverse();
        }
        if flows.reverse {
            flow_rows.reverse();
        }
    }
}

/// What a pane can be sorted by, in the order of the key `s`.
pub(super) const fn columns(pane: Pane) -> &'static [&'static str] {
    match pane {
        Pane::Enis => &["name", "out pps", "out bit/s", "in pps", "in bit/s"],
        Pane::Drops => &["per second", "total", "reason"],
        Pane::Targets => &["group", "health"],
        Pane::Flows => &["bit/s", "pps", "bytes", "from"],
    }
}

fn push(history: &mut Vec<u64>, value: f64) {
    if history.len() == HISTORY {
        history.remove(0);
    }
    history.push(value.round() as u64);
}
