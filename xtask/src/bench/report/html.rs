//! `report.html`: one file without references to others.

use crate::bench::model::{Figure, Run};

use super::{
    ROUGH, chart, floor,
    judge::{Judged, Role, Standing, judge_all},
    label,
    overview::{self, Cell, Overview, Summary},
    xml::Element,
};

const STYLE: &str = include_str!("style.css");

pub(super) fn page(run: &Run) -> String {
    let works = judge_all(run);
    let html = Element::new("html").with("lang", "en").child(head()).child(
        Element::new("body").child(
            Element::new("main")
                .children(opening(run))
                .child(summary(&works))
                .child(table_of_works(run, &works))
                .children(works.iter().map(work))
                .children(floor(run, &works))
                .child(conditions(run)),
        ),
    );
    format!("<!DOCTYPE html>\n{html}\n")
}

fn head() -> Element {
    let meta = || Element::new("meta");
    Element::new("head")
        .child(meta().with("charset", "utf-8"))
        .child(meta().with("name", "viewport").with("content", "width=device-width"))
        .child(meta().with("name", "color-scheme").with("content", "light dark"))
        .child(Element::new("title").text("Portcullis and its peers"))
        .child(Element::new("style").text(STYLE))
}

fn opening(run: &Run) -> Vec<Element> {
    let mut opening = vec![element("h1", "Portcullis and its peers on the same work")];
    if run.quick {
        opening.push(element("p", ROUGH).with("class", "rough").with("role", "alert"));
    }
    opening.push(element("p", &format!("Begun {}. {}", run.started, overview::HOW_TO_READ)));
    opening
}

fn summary(works: &[Judged<'_>]) -> Element {
    let lists = Summary::of(works);
    let list = |(heading, list): (&str, &[String])| {
        Element::new("div")
            .child(element("h3", heading))
            .child(Element::new("ul").children(list.iter().map(|item| element("li", item))))
    };
    Element::new("section").with("class", "summary").children(lists.lists().into_iter().map(list))
}

fn table_of_works(run: &Run, works: &[Judged<'_>]) -> Element {
    let overview = Overview::of(run, works);
    let rows = overview.rows.iter().map(|row| Element::new("tr").children(row.iter().map(cell)));
    let notes = overview.notes.iter().map(|note| element("li", note));
    Element::new("section")
        .child(element("h2", "All works"))
        .child(table(&overview.head, 2, rows))
        .child(Element::new("ol").with("class", "notes").children(notes))
}

fn cell(cell: &Cell) -> Element {
    let class = match (cell.words, cell.best) {
        (true, _) => "words",
        (_, true) => "best",
        _ => "figure",
    };
    let note = cell.note.map(|note| element("sup", &note.to_string()));
    let small = (!cell.small.is_empty()).then(|| element("small", &cell.small));
    element("td", &cell.text).with("class", class).children(note).children(small)
}

fn work(judged: &Judged<'_>) -> Element {
    let work = judged.work;
    let mut section = Element::new("section")
        .with("class", "work")
        .with("id", &work.id)
        .child(element("h2", &format!("{} {}", work.id, work.title)))
        .child(element("p", &format!("{}: {}.", label::primary(work), overview::verdict(judged))));
    if let Some(baseline) = overview::to_baseline(judged) {
        section = section.child(element("p", &format!("Against the baseline: {baseline}.")));
    }
    section = section.child(figure(chart::bars(judged), left_out(judged)));
    if let Some(chart) = chart::distribution(judged) {
        section = section.child(figure(chart, Vec::new()));
    }
    section = section.child(details(judged));
    match &judged.done {
        Some(done) => section.child(
            element("p", "What each unit was: ").with("class", "done").child(element("code", done)),
        ),
        None => section,
    }
}

/// The meaning of the daggers in the chart.
fn left_out(judged: &Judged<'_>) -> Vec<String> {
    let out = |standing: &Standing<'_>| {
        let why = standing.left_out.as_ref()?;
        let dagger = if standing.spread(judged.work.primary).is_some() { "† " } else { "" };
        Some(format!("{dagger}{}: {why}.", standing.peer.id))
    };
    judged.standings.iter().filter_map(out).collect()
}

fn figure(chart: Element, captions: Vec<String>) -> Element {
    let caption = |text: String| element("p", &text);
    let caption = Element::new("figcaption").children(captions.into_iter().map(caption));
    Element::new("figure").child(chart).child(caption)
}

fn details(judged: &Judged<'_>) -> Element {
    let figures = judged.figures();
    let mut head = vec!["peer".to_owned()];
    head.extend(figures.iter().map(|figure| label::heading(*figure, &judged.work.unit)));
    head.push("remark".to_owned());
    let row = |standing: &Standing<'_>| {
        let ours = if standing.role == Role::Ours { "ours-row" } else { "" };
        let row = Element::new("tr")
            .with("class", ours)
            .child(element("th", &standing.peer.id).with("scope", "row"))
            .children(figures.iter().map(|figure| spread(standing, *figure)));
        let remark = overview::remark(judged, standing);
        row.child(element("td", &remark).with("class", "words remark"))
    };
    table(&head, 1, judged.standings.iter().map(row))
}

fn spread(standing: &Standing<'_>, figure: Figure) -> Element {
    let td = Element::new("td").with("class", "figure");
    match standing.spread(figure) {
        None => td.text("—"),
        Some(spread) => td
            .text(label::value(figure, spread.median))
            .child(element("small", &label::range(figure, &spread))),
    }
}

fn floor(run: &Run, works: &[Judged<'_>]) -> Option<Element> {
    let tables = floor::tables(run, works);
    let shown = tables.iter().map(|floor| {
        let row = |cells: &Vec<String>| {
            let class = |at| if at == 0 { "words" } else { "figure" };
            let cells = cells.iter().enumerate();
            let cell = |(at, text): (usize, &String)| element("td", text).with("class", class(at));
            Element::new("tr").children(cells.map(cell))
        };
        table(&floor.head, 1, floor.rows.iter().map(row))
    });
    let section = Element::new("section")
        .child(element("h2", floor::HEADING))
        .child(element("p", floor::HOW_TO_READ))
        .children(shown);
    (!tables.is_empty()).then_some(section)
}

fn conditions(run: &Run) -> Element {
    let row = |(name, value): (&String, &String)| {
        Element::new("tr")
            .child(element("th", name).with("scope", "row"))
            .child(element("td", value).with("class", "words"))
    };
    let conditions = run.conditions.iter().map(|(name, value)| (name, value));
    let all = conditions.chain(run.peers.iter().map(|peer| (&peer.id, &peer.version)));
    Element::new("section").child(element("h2", "Conditions")).child(table(
        &["condition".to_owned(), "value".to_owned()],
        2,
        all.map(row),
    ))
}

/// A table that scrolls by itself if it is wider than the page.
fn table(
    head: &[String],
    columns_of_words: usize,
    rows: impl IntoIterator<Item = Element>,
) -> Element {
    let head = head.iter().enumerate().map(|(at, name)| {
        let class = if at < columns_of_words || name == "remark" { "words" } else { "figure" };
        element("th", name).with("scope", "col").with("class", class)
    });
    let table = Element::new("table")
        .child(Element::new("thead").child(Element::new("tr").children(head)))
        .child(Element::new("tbody").children(rows));
    Element::new("div").with("class", "scroll").child(table)
}

fn element(name: &'static str, text: &str) -> Element {
    Element::new(name).text(text)
}
