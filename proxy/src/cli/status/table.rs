//! Aligned columns for a terminal.

/// On which side of its column a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table of `N` columns.
pub(super) struct Table<const N: usize> {
    columns: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with only its headings.
    pub(super) fn new(headings: &[(&str, Align); N]) -> Table<N> {
        let heading = headings.map(|(name, _)| name.to_owned());
        Table { columns: headings.map(|(_, align)| align), rows: vec![heading] }
    }

    /// Adds a row. Values may come from a configuration or a certificate: what is no printable
    /// character is shown as one.
    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows
            .push(row.map(|value| if value.is_empty() { "-".into() } else { printable(&value) }));
    }

    /// Its lines, columns two spaces apart.
    pub(super) fn render(&self) -> String {
        let widths = self.widths();
        self.rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, value) in widths.iter_mut().zip(row) {
                *width = (*width).max(value.chars().count());
            }
        }
        widths
    }

    fn line(&self, row: &[String; N], widths: &[usize; N]) -> String {
        let cells =
            row.iter().zip(widths).zip(&self.columns).map(|((value, width), align)| match align {
                Align::Left => format!("{value:<width$}"),
                Align::Right => format!("{value:>width$}"),
            });
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    }
}

/// The text without what commands a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
