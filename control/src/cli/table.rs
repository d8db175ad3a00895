//! Columns of text.

use std::io::IsTerminal;
use std::sync::OnceLock;

use anstyle::Style;

use super::human;
use super::style::{self, Mood};

/// A cell: text in a colour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in `style`.
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }

    /// A state with its mark.
    pub fn state(mood: Mood, text: &str) -> Self {
        Self::styled(format!("{} {text}", mood.mark()), mood.style())
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, style::PLAIN)
    }
}

/// A table: titles, and rows of as many cells. A title that begins with `>`
/// stands over numbers, which end where the column ends. Where the terminal is
/// narrower than the table, columns whose titles begin with `?` are left out,
/// and then those with `~` lose the middle of what is long.
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    titles: [&'static str; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub const fn new(titles: [&'static str; N]) -> Self {
        Self {
            titles,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines; nothing without rows.
    pub fn render(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        self.within(terminal_width())
    }

    fn within(&self, room: usize) -> String {
        let kind = |mark: char| self.titles.iter().map(move |it| it.starts_with(mark));
        let right: Vec<_> = kind('>').collect();
        let titles = self.titles.iter().map(|title| {
            let title = title.trim_start_matches(['>', '?', '~']);
            Cell::styled(title, style::TITLE)
        });
        let rows = self.rows.iter().map(|row| row.to_vec());
        let mut rows: Vec<Vec<_>> = std::iter::once(titles.collect()).chain(rows).collect();
        for (at, _) in kind('?').enumerate().filter(|&(_, drops)| drops) {
            if total(&widths(&rows)) > room {
                // Empty columns take no place: see `lines`.
                for row in &mut rows {
                    row[at] = Cell::default();
                }
            }
        }
        let mut wide = widths(&rows);
        loop {
            let over = total(&wide).saturating_sub(room);
            let cut = kind('~').zip(&mut wide).filter(|(cuts, _)| *cuts);
            let widest = cut.map(|(_, width)| width).max();
            match widest {
                Some(width) if over > 0 && *width > NARROWEST => *width -= 1,
                _ => break,
            }
        }
        for row in &mut rows {
            for (cell, &width) in row.iter_mut().zip(&wide) {
                cell.text = human::middle(&cell.text, width);
            }
        }
        lines(&rows, &right)
    }
}

/// What a cut column keeps at least.
const NARROWEST: usize = 9;

/// Columns of the terminal that tables are written to, if they are.
static TERMINAL: OnceLock<usize> = OnceLock::new();

/// From now on tables fit the terminal, if standard output is one.
pub fn fit_terminal() {
    if std::io::stdout().is_terminal()
        && let Ok((columns, _)) = ratatui::crossterm::terminal::size()
    {
        let _ = TERMINAL.set(usize::from(columns));
    }
}

fn terminal_width() -> usize {
    TERMINAL.get().copied().unwrap_or(usize::MAX)
}

/// Each column's width: its widest cell.
fn widths(rows: &[Vec<Cell>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let of = |at: usize| {
        let cells = rows.iter().filter_map(move |row| row.get(at));
        cells.map(Cell::width).max().unwrap_or(0)
    };
    (0..columns).map(of).collect()
}

/// What columns of these widths take, with the blanks between them.
fn total(widths: &[usize]) -> usize {
    let there = widths.iter().filter(|&&width| width > 0);
    let sum: usize = there.map(|width| width + GAP).sum();
    sum.saturating_sub(GAP)
}

/// Rows as lines, each column as wide as its widest cell; `right` says which
/// columns end where the column ends.
pub fn lines(rows: &[Vec<Cell>], right: &[bool]) -> String {
    let widths = widths(rows);
    let mut out = String::new();
    for row in rows {
        // Blanks are written before the next text: lines end clean.
        let mut blanks = 0;
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if *width == 0 {
                continue;
            }
            let pad = width - cell.width();
            let ends = right.get(at).copied().unwrap_or(false);
            if ends {
                blanks += pad;
            }
            if !cell.text.is_empty() {
                out.extend(std::iter::repeat_n(' ', blanks));
                out.push_str(&style::paint(cell.style, &cell.text));
                blanks = 0;
            } else {
                blanks += cell.width();
            }
            if !ends {
                blanks += pad;
            }
            blanks += GAP;
        }
        out.push('\n');
    }
    out
}

/// Blanks between two columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let mut table = Table::new(["NAME", ">BYTES", "STATE"]);
        assert_eq!(table.render(), "");
        table.row(["a".into(), "1".into(), "".into()]);
        table.row(["wider one".into(), "12345 kB".into(), "up".into()]);
        table.row(["".into(), "".into(), Cell::state(Mood::Bad, "gone")]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(
            plain,
            "NAME          BYTES  STATE\n\
             a                 1\n\
             wider one  12345 kB  up\n\
             \x20                    ✗ gone\n"
        );
        assert!(table.render().contains("\u{1b}[1m"), "titles are bold");
    }

    #[test]
    fn a_narrow_terminal_loses_what_matters_least() {
        let mut table = Table::new(["~HOST", "?ENI", "ADDRESS", ">SENT"]);
        table.row([
            "a-server-with-a-long-name-1".into(),
            "eni-0123456789abcdef0".into(),
            "10.0.0.4".into(),
            "1 kB".into(),
        ]);
        let plain = |room| {
            let text = anstream::adapter::strip_str(&table.within(room)).to_string();
            text.lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(
            plain(100),
            "a-server-with-a-long-name-1  eni-0123456789abcdef0  10.0.0.4  1 kB"
        );
        assert_eq!(plain(65), "a-server-with-a-long-name-1  10.0.0.4  1 kB");
        assert_eq!(plain(30), "a-serv…-name-1  10.0.0.4  1 kB");
        assert_eq!(plain(1), "a-se…me-1  10.0.0.4  1 kB", "no narrower");
    }
}
