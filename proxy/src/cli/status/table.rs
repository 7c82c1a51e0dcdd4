//! Aligned columns for a terminal.

/// The side of its column on which a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table of `N` columns.
pub(super) struct TextTable<const N: usize> {
    columns: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> TextTable<N> {
    /// Has only its headings.
    pub(super) fn new(headings: &[(&str, Align); N]) -> TextTable<N> {
        let heading = headings.map(|(name, _)| name.to_owned());
        TextTable { columns: headings.map(|(_, align)| align), rows: vec![heading] }
    }

    /// Adds a row. Values may come from a configuration or a certificate, so they are made
    /// [`printable`].
    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows
            .push(row.map(|value| if value.is_empty() { "-".into() } else { printable(&value) }));
    }

    /// The lines, with two spaces between columns.
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

/// The text with each control character replaced: none reaches the terminal.
pub(in crate::cli) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
