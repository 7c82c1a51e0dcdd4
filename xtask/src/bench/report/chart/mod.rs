//! Charts as inline SVG, coloured by the style sheet of the page.
//!
//! They are drawn by hand instead of with plotters (0.3.7, the last release, of September 2024),
//! whose SVG has colours in each element, so that a chart cannot follow the reader's light or dark
//! scheme, has no title or description for readers who cannot see it, and guesses the width of
//! text. A library would save two scales with their ticks, which is less than the work around these
//! limits.

mod bars;
mod distribution;
mod scale;

pub(super) use bars::bars;
pub(super) use distribution::distribution;

use super::{
    judge::{Role, Standing},
    xml::Element,
};

/// The width of all charts, in the SVG's own units; the page scales them.
const WIDTH: f64 = 820.0;

fn svg(id: &str, height: f64, title: &str, description: &str) -> Element {
    let (title_id, description_id) = (format!("{id}-title"), format!("{id}-description"));
    Element::new("svg")
        .with("xmlns", "http://www.w3.org/2000/svg")
        .with("viewBox", format!("0 0 {WIDTH} {height}"))
        .with("role", "img")
        .with("aria-labelledby", format!("{title_id} {description_id}"))
        .child(Element::new("title").with("id", title_id).text(title))
        .child(Element::new("desc").with("id", description_id).text(description))
}

fn line(class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> Element {
    Element::new("line")
        .with("class", class)
        .with("x1", round(x1))
        .with("y1", round(y1))
        .with("x2", round(x2))
        .with("y2", round(y2))
}

/// `anchor` is `start`, `middle` or `end`.
fn text(class: &str, (x, y): (f64, f64), anchor: &str, text: &str) -> Element {
    Element::new("text")
        .with("class", class)
        .with("x", round(x))
        .with("y", round(y))
        .with("text-anchor", anchor)
        .text(text)
}

/// Colour and dashes of a peer, the same in every chart of a report.
fn colour(standing: &Standing<'_>) -> String {
    match standing.role {
        Role::Ours => "ours".to_owned(),
        Role::Baseline => "baseline".to_owned(),
        Role::Other => format!("peer-{}", standing.place.saturating_sub(1) % 6),
    }
}

/// A tenth of a unit is finer than any screen shows.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
