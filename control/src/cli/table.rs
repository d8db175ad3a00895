//! Columns of text.

/// Rows as lines, each column as wide as its widest cell.
pub fn lines<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0usize; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let rows = [["a", "long cell", ""], ["wider", "b", "c"]].map(|row| row.map(str::to_owned));
        assert_eq!(lines(&rows), "a      long cell\nwider  b          c\n");
    }
}
