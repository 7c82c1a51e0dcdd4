//! The table on the terminal.

use crate::bench::model::Run;

use super::{
    ROUGH, floor,
    judge::judge_all,
    overview::{Cell, Overview, Summary},
};

pub(super) fn report(run: &Run) -> String {
    let works = judge_all(run);
    let overview = Overview::of(run, &works);
    let mut out = String::from("\n");
    let mut rows = vec![overview.head.clone()];
    rows.extend(overview.rows.iter().map(|row| row.iter().map(text).collect()));
    let words = |column: usize| column < 2;
    for row in aligned(&rows, words) {
        line(&mut out, &row);
    }
    out.push('\n');
    for (at, note) in overview.notes.iter().enumerate() {
        line(&mut out, &format!("[{}] {note}", at + 1));
    }
    for (heading, list) in Summary::of(&works).lists() {
        out.push('\n');
        line(&mut out, heading);
        for item in list {
            line(&mut out, &format!("  {item}"));
        }
    }
    for table in floor::tables(run, &works) {
        out.push('\n');
        let rows: Vec<_> = [table.head].into_iter().chain(table.rows).collect();
        for row in aligned(&rows, |column| column == 0) {
            line(&mut out, &row);
        }
    }
    if run.quick {
        line(&mut out, &format!("*** {ROUGH} ***"));
    }
    out
}

fn text(cell: &Cell) -> String {
    let best = if cell.best { "*" } else { "" };
    match cell.note {
        Some(note) => format!("{best}{} [{note}]", cell.whole()),
        None => format!("{best}{}", cell.whole()),
    }
}

/// Aligns text columns to the left and figures to the right.
fn aligned(rows: &[Vec<String>], words: impl Fn(usize) -> bool) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let row = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if words(column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(row).collect()
}

/// Removes characters that a peer's message could control the terminal with.
fn line(out: &mut String, text: &str) {
    out.extend(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_under_each_other() {
        let rows =
            [vec!["work".to_owned(), "µs".to_owned()], vec!["W1".to_owned(), "16.2".to_owned()]];
        assert_eq!(aligned(&rows, |column| column == 0), ["work    µs", "W1    16.2"]);
    }
}
