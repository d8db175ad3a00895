//! Colours, and marks that say the same without colour.
//!
//! Text carries its colours; [`super::print`] leaves them out where they are not
//! wanted: outside a terminal, with `NO_COLOR`, with `TERM=dumb`.

use anstyle::{AnsiColor, Style};

/// Column titles.
pub const TITLE: Style = Style::new().bold();
/// What is less important.
pub const FAINT: Style = Style::new().dimmed();
/// Well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// On its way, or not quite well.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Not well.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Neither.
pub const PLAIN: Style = Style::new();

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Works.
    Good,
    /// Starts, ends, or waits for somebody.
    Waiting,
    /// Does not work.
    Bad,
    /// Not in use.
    Idle,
}

impl Mood {
    /// The mood of a state, by AWS's name of it.
    pub fn of(state: &str) -> Self {
        match state {
            "available" | "healthy" | "active" | "up" | "established" | "two_way" => Self::Good,
            "initial" | "draining" | "pendingAcceptance" | "pending-acceptance" | "half_open"
            | "one_way" | "unassured" => Self::Waiting,
            "unused" | "closed" => Self::Idle,
            _ => Self::Bad,
        }
    }

    /// Its colour.
    pub const fn style(self) -> Style {
        match self {
            Self::Good => GOOD,
            Self::Waiting => WARN,
            Self::Bad => BAD,
            Self::Idle => FAINT,
        }
    }

    /// Its mark.
    pub const fn mark(self) -> char {
        match self {
            Self::Good => '●',
            Self::Waiting => '◐',
            Self::Bad => '✗',
            Self::Idle => '○',
        }
    }
}

/// `text` in `style`.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A state with its mark, in its colour.
pub fn state(mood: Mood, text: &str) -> String {
    paint(mood.style(), &format!("{} {text}", mood.mark()))
}
