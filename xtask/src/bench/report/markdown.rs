//! `report.md`.

use std::fmt::Write;

use crate::bench::model::{Figure, Run};

use super::{
    ROUGH, floor,
    judge::{Judged, Standing, judge_all},
    label, latency,
    overview::{self, Cell, Overview, Summary},
};

pub(super) fn report(run: &Run) -> String {
    let works = judge_all(run);
    let mut out = String::from("# Portcullis and its peers on the same work\n\n");
    if run.quick {
        line(&mut out, format_args!("> **{ROUGH}**\n"));
    }
    let started = escaped(&run.started);
    line(&mut out, format_args!("Begun {started}. {}\n", overview::HOW_TO_READ));
    summary(&mut out, &works);
    table_of_works(&mut out, run, &works);
    for judged in &works {
        work(&mut out, judged);
    }
    floor(&mut out, run, &works);
    conditions(&mut out, run);
    out.truncate(out.trim_end().len());
    out + "\n"
}

fn summary(out: &mut String, works: &[Judged<'_>]) {
    for (heading, list) in Summary::of(works).lists() {
        line(out, format_args!("**{heading}**\n"));
        for item in list {
            line(out, format_args!("- {}", escaped(item)));
        }
        out.push('\n');
    }
}

fn table_of_works(out: &mut String, run: &Run, works: &[Judged<'_>]) {
    let overview = Overview::of(run, works);
    line(out, format_args!("## All works\n"));
    let aligned = overview.head.iter().enumerate().map(|(at, _)| at >= 2).collect::<Vec<_>>();
    head(out, &overview.head, &aligned);
    for cells in &overview.rows {
        row(out, cells.iter().map(cell));
    }
    out.push('\n');
    for (at, note) in overview.notes.iter().enumerate() {
        line(out, format_args!("{}. {}", at + 1, escaped(note)));
    }
    if !overview.notes.is_empty() {
        out.push('\n');
    }
}

fn cell(cell: &Cell) -> String {
    let text = escaped(&cell.whole());
    let text = if cell.best { format!("**{text}**") } else { text };
    match cell.note {
        Some(note) => format!("{text} [{note}]"),
        None => text,
    }
}

fn work(out: &mut String, judged: &Judged<'_>) {
    let title = format!("{} {}", judged.work.id, judged.work.title);
    line(out, format_args!("## {}\n", escaped(&title)));
    let verdict = escaped(&overview::verdict(judged));
    line(out, format_args!("{}: {verdict}.\n", escaped(&label::primary(judged.work))));
    if let Some(baseline) = overview::to_baseline(judged) {
        line(out, format_args!("Against the baseline: {}.\n", escaped(&baseline)));
    }
    let figures = judged.figures();
    let mut names = vec!["peer".to_owned()];
    names.extend(figures.iter().map(|figure| label::heading(*figure, &judged.work.unit)));
    names.push("remark".to_owned());
    let aligned: Vec<_> = (0..names.len()).map(|at| at > 0 && at + 1 < names.len()).collect();
    head(out, &names, &aligned);
    for standing in &judged.standings {
        let mut cells = vec![escaped(&standing.peer.id)];
        cells.extend(figures.iter().map(|figure| spread(standing, *figure)));
        cells.push(escaped(&overview::remark(judged, standing)));
        row(out, cells);
    }
    out.push('\n');
    if let Some(done) = &judged.done {
        line(out, format_args!("What each {} was: `{}`\n", unit(judged), done.replace('`', "'")));
    }
    percentiles(out, judged);
}

fn unit<'a>(judged: &Judged<'a>) -> &'a str {
    if judged.work.unit.is_empty() { "unit" } else { &judged.work.unit }
}

fn spread(standing: &Standing<'_>, figure: Figure) -> String {
    let Some(spread) = standing.spread(figure) else { return "—".to_owned() };
    let median = label::value(figure, spread.median);
    match label::range(figure, &spread) {
        range if range.is_empty() => median,
        range => format!("{median} ({range})"),
    }
}

fn percentiles(out: &mut String, judged: &Judged<'_>) {
    let curves = latency::curves(judged);
    // If the work's own figures have percentiles, the table above has those of each round.
    if curves.is_empty() || judged.figures().contains(&Figure::LatencyP50Us) {
        return;
    }
    line(out, format_args!("Latency of all rounds together, in µs:\n"));
    let mut names = vec!["peer".to_owned()];
    names.extend(latency::PERCENTILES.iter().map(|(_, name)| (*name).to_owned()));
    names.push("slowest".to_owned());
    head(out, &names, &(0..names.len()).map(|at| at > 0).collect::<Vec<_>>());
    for curve in &curves {
        let mut cells = vec![escaped(&curve.standing.peer.id)];
        let at = |(quantile, _): &(f64, _)| match curve.at(*quantile) {
            Some(us) => label::thousands(us as f64),
            None => "—".to_owned(),
        };
        cells.extend(latency::PERCENTILES.iter().map(at));
        cells.push(label::thousands(curve.slowest() as f64));
        row(out, cells);
    }
    out.push('\n');
}

fn floor(out: &mut String, run: &Run, works: &[Judged<'_>]) {
    let tables = floor::tables(run, works);
    if !tables.is_empty() {
        line(out, format_args!("## {}\n\n{}\n", floor::HEADING, floor::HOW_TO_READ));
    }
    for table in &tables {
        head(out, &table.head, &(0..table.head.len()).map(|at| at > 0).collect::<Vec<_>>());
        for cells in &table.rows {
            row(out, cells.iter().map(|text| escaped(text)));
        }
        out.push('\n');
    }
}

fn conditions(out: &mut String, run: &Run) {
    line(out, format_args!("## Conditions\n"));
    head(out, &["condition".to_owned(), "value".to_owned()], &[false, false]);
    for (name, value) in &run.conditions {
        row(out, [escaped(name), escaped(value)]);
    }
    for peer in &run.peers {
        row(out, [escaped(&peer.id), escaped(&peer.version)]);
    }
}

fn head(out: &mut String, names: &[String], right: &[bool]) {
    row(out, names.iter().map(|name| escaped(name)));
    let rule = |right: &bool| if *right { "---:" } else { "---" };
    line(out, format_args!("|{}|", right.iter().map(rule).collect::<Vec<_>>().join("|")));
}

fn row(out: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<_> = cells.into_iter().collect();
    line(out, format_args!("| {} |", cells.join(" | ")));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text}");
}

/// Escapes text so that Markdown shows it unchanged, also in a table.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '|' | '<' | '*' | '`' | '[' | ']' => out.extend(['\\', letter]),
            _ if letter.is_control() => out.push(' '),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_markdown_would_read_is_escaped() {
        assert_eq!(
            escaped("a|b <i> *c* `d` [e]\n\u{1b}f"),
            "a\\|b \\<i> \\*c\\* \\`d\\` \\[e\\]  f"
        );
    }
}
