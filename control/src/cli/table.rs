//! Columns of text.

use anstyle::Style;

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
/// stands over numbers, which end where the column ends.
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
        let right: Vec<_> = self.titles.iter().map(|it| it.starts_with('>')).collect();
        let titles = self.titles.iter().map(|title| {
            let title = title.strip_prefix('>').unwrap_or(title);
            Cell::styled(title, style::TITLE)
        });
        let rows = self.rows.iter().map(|row| row.to_vec());
        let rows: Vec<_> = std::iter::once(titles.collect()).chain(rows).collect();
        lines(&rows, &right)
    }
}

/// Rows as lines, each column as wide as its widest cell; `right` says which
/// columns end where the column ends.
pub fn lines(rows: &[Vec<Cell>], right: &[bool]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns)
        .map(|at| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            cells.map(Cell::width).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        // Blanks are written before the next text: lines end clean.
        let mut blanks = 0;
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
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
}
