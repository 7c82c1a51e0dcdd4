//! The primary figure of each peer as a bar, with every round as a dot.

use crate::bench::report::{
    judge::{Judged, Role, Standing},
    label,
    overview::remark,
    spread::Spread,
    xml::Element,
};

use super::{WIDTH, colour, line, round, scale::Linear, svg, text};

const TOP: f64 = 8.0;
const ROW: f64 = 34.0;
const BAR: f64 = 20.0;
/// The height below the bars, for the ticks and the name of the axis.
const AXIS: f64 = 46.0;
const LETTER: f64 = 8.0;
/// The width right of the bars, for the median and the ends.
const VALUES: f64 = 224.0;

pub(in crate::bench::report) fn bars(judged: &Judged<'_>) -> Element {
    let rows = ranked(judged);
    let figure = judged.work.primary;
    let most = rows.iter().filter_map(|(_, spread)| spread.as_ref()).map(|spread| spread.max);
    let scale = Linear::new(most.fold(0.0, f64::max));
    let longest = rows.iter().map(|(standing, _)| standing.peer.id.chars().count()).max();
    let left = (longest.unwrap_or(0) as f64 * LETTER + 24.0).clamp(80.0, 220.0);
    let plot = Plot { left, right: WIDTH - VALUES, bottom: TOP + ROW * rows.len() as f64 };
    let better = if figure.more_is_better() { "more is better" } else { "less is better" };
    let axis = format!("{}, {better}", label::primary(judged.work));
    let title = format!("{} {}: {axis}", judged.work.id, judged.work.title);
    svg(
        &format!("bars-{}", judged.work.id),
        plot.bottom + AXIS,
        &title,
        &description(judged, &rows),
    )
    .children(ticks(&plot, &scale))
    .children(rows.iter().enumerate().flat_map(|(at, (standing, spread))| {
        row(&plot, &scale, judged, at, standing, spread.as_ref())
    }))
    .child(line("axis", (plot.left, TOP), (plot.left, plot.bottom)))
    .child(text("axis-name", (plot.left, plot.bottom + 38.0), "start", &axis))
}

struct Plot {
    left: f64,
    right: f64,
    bottom: f64,
}

impl Plot {
    fn x(&self, scale: &Linear, value: f64) -> f64 {
        self.left + (self.right - self.left) * scale.place(value)
    }
}

type Row<'a> = (&'a Standing<'a>, Option<Spread>);

/// The best first; then the peers that are not compared; then those without a figure.
fn ranked<'a>(judged: &'a Judged<'a>) -> Vec<Row<'a>> {
    let figure = judged.work.primary;
    let row = |standing: &'a Standing<'a>| (standing, standing.spread(figure));
    let mut rows: Vec<Row<'a>> = judged.standings.iter().map(row).collect();
    rows.sort_by(|(one, its), (other, theirs)| {
        let median = |spread: &Option<Spread>| spread.as_ref().map_or(0.0, |spread| spread.median);
        let (left, right) = (median(its), median(theirs));
        let by_figure =
            if figure.more_is_better() { right.total_cmp(&left) } else { left.total_cmp(&right) };
        let group = |standing: &Standing<'_>, spread: &Option<Spread>| {
            (spread.is_none(), standing.left_out.is_some())
        };
        group(one, its).cmp(&group(other, theirs)).then(by_figure)
    });
    rows
}

fn description(judged: &Judged<'_>, rows: &[Row<'_>]) -> String {
    let said = rows.iter().map(|(standing, spread)| {
        let remark = remark(judged, standing);
        let remark = if remark.is_empty() { remark } else { format!(" ({remark})") };
        match spread {
            Some(spread) => {
                let median = label::value(judged.work.primary, spread.median);
                format!("{} {median}{remark}", standing.peer.id)
            }
            None => format!("{} none{remark}", standing.peer.id),
        }
    });
    format!("Medians: {}.", said.collect::<Vec<_>>().join("; "))
}

fn ticks(plot: &Plot, scale: &Linear) -> Vec<Element> {
    let tick = |value: &f64| {
        let x = plot.x(scale, *value);
        [
            line("grid", (x, TOP), (x, plot.bottom)),
            text("tick", (x, plot.bottom + 17.0), "middle", &tick_label(*value)),
        ]
    };
    scale.ticks.iter().flat_map(tick).collect()
}

fn tick_label(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    if value >= 1000.0 { label::thousands(value) } else { format!("{rounded}") }
}

fn row(
    plot: &Plot,
    scale: &Linear,
    judged: &Judged<'_>,
    at: usize,
    standing: &Standing<'_>,
    spread: Option<&Spread>,
) -> Vec<Element> {
    let middle = TOP + ROW * (at as f64 + 0.5);
    let ours = if standing.role == Role::Ours { " strong" } else { "" };
    let mark = if standing.left_out.is_some() && spread.is_some() { " †" } else { "" };
    let name = format!("{}{mark}", standing.peer.id);
    let name = text(&format!("name{ours}"), (plot.left - 10.0, middle + 4.5), "end", &name);
    let Some(spread) = spread else {
        let nothing = text("muted", (plot.left + 8.0, middle + 4.5), "start", "not measured");
        return vec![name, nothing];
    };
    let out = if standing.left_out.is_some() { " out" } else { "" };
    let bar = Element::new("rect")
        .with("class", format!("bar {}{out}", colour(standing)))
        .with("x", round(plot.left))
        .with("y", round(middle - BAR / 2.0))
        .with("width", round((plot.x(scale, spread.median) - plot.left).max(1.0)))
        .with("height", BAR)
        .child(Element::new("title").text(remark(judged, standing)));
    let mut row = vec![name, bar];
    row.extend(whisker(plot, scale, middle, spread));
    row.extend(dots(plot, scale, middle, spread));
    row.extend(values(judged, standing, middle, spread));
    row
}

fn whisker(plot: &Plot, scale: &Linear, middle: f64, spread: &Spread) -> Vec<Element> {
    let (min, max) = (plot.x(scale, spread.min), plot.x(scale, spread.max));
    let end = |x: f64| line("whisker", (x, middle - 6.0), (x, middle + 6.0));
    vec![line("whisker", (min, middle), (max, middle)), end(min), end(max)]
}

/// One dot for each round, the first at the top: a drift of the machine is visible as a slope.
fn dots(plot: &Plot, scale: &Linear, middle: f64, spread: &Spread) -> Vec<Element> {
    let count = spread.rounds.len() as f64;
    let dot = |(at, value): (usize, &f64)| {
        let down = (at as f64 + 0.5) / count - 0.5;
        Element::new("circle")
            .with("class", "dot")
            .with("cx", round(plot.x(scale, *value)))
            .with("cy", round(middle + down * (BAR - 4.0)))
            .with("r", 2.2)
    };
    spread.rounds.iter().enumerate().map(dot).collect()
}

fn values(
    judged: &Judged<'_>,
    standing: &Standing<'_>,
    middle: f64,
    spread: &Spread,
) -> [Element; 2] {
    let figure = judged.work.primary;
    let ours = if standing.role == Role::Ours { " strong" } else { "" };
    let median = label::value(figure, spread.median);
    let x = WIDTH - VALUES + 86.0;
    [
        text(&format!("value{ours}"), (x, middle + 4.5), "end", &median),
        text("muted", (x + 10.0, middle + 4.5), "start", &label::range(figure, spread)),
    ]
}
