//! Latency by percentile, as HdrHistogram plots it: the axis is logarithmic in 1/(1-p), so that
//! each nine of the tail has the same width.

use crate::bench::report::{
    judge::{Judged, Role},
    label,
    latency::{Curve, curves},
    xml::Element,
};

use super::{WIDTH, colour, line, round, scale::Logarithmic, svg, text};

const TOP: f64 = 12.0;
const BOTTOM: f64 = 330.0;
const HEIGHT: f64 = BOTTOM + 48.0;
const LEFT: f64 = 70.0;
/// The width for the names at the ends of the curves.
const RIGHT: f64 = WIDTH - 150.0;
/// The minimum distance between two names.
const NAME: f64 = 17.0;

const PERCENTILES: [(f64, &str); 8] = [
    (0.0, "0 %"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
    (0.999999, "99.9999 %"),
];

/// `None` if latency has no meaning for the work.
pub(in crate::bench::report) fn distribution(judged: &Judged<'_>) -> Option<Element> {
    let curves = curves(judged);
    let plot = Plot::new(&curves)?;
    let title = format!("{} {}: latency by percentile", judged.work.id, judged.work.title);
    let id = format!("latency-{}", judged.work.id);
    let chart = svg(&id, HEIGHT, &title, &description(&curves))
        .children(plot.grid())
        // Our curve last, above the others.
        .children(curves.iter().rev().map(|curve| plot.path(curve)))
        .children(plot.names(&curves))
        .child(line("axis", (LEFT, TOP), (LEFT, BOTTOM)))
        .child(line("axis", (LEFT, BOTTOM), (RIGHT, BOTTOM)))
        .child(text(
            "axis-name",
            (LEFT, BOTTOM + 40.0),
            "start",
            "percentile of latency, all rounds together; lower is better",
        ));
    Some(chart)
}

fn description(curves: &[Curve<'_>]) -> String {
    let said = curves.iter().map(|curve| {
        let percentile =
            |quantile| curve.at(quantile).map_or("?".to_owned(), |us| label::thousands(us as f64));
        let (half, nines) = (percentile(0.5), percentile(0.99));
        format!(
            "{} p50 {half}, p99 {nines}, slowest {}",
            curve.standing.peer.id,
            label::thousands(curve.slowest() as f64)
        )
    });
    format!("In µs: {}.", said.collect::<Vec<_>>().join("; "))
}

struct Plot {
    /// The value of log10(1/(1-p)) at the right end.
    nines: f64,
    us: Logarithmic,
}

impl Plot {
    fn new(curves: &[Curve<'_>]) -> Option<Self> {
        let units = curves.iter().map(|curve| curve.units).max()?;
        let fastest =
            curves.iter().filter_map(|curve| curve.up_to.first()).map(|(us, _)| *us).min()?;
        let slowest = curves.iter().map(Curve::slowest).max()?;
        Some(Self {
            nines: (units as f64).log10().clamp(1.0, 6.0),
            us: Logarithmic::new(fastest as f64, slowest as f64),
        })
    }

    fn x(&self, nines: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (nines / self.nines).clamp(0.0, 1.0)
    }

    fn y(&self, us: u64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.us.place((us as f64).max(1.0))
    }

    fn grid(&self) -> Vec<Element> {
        let mut grid = Vec::new();
        let many = self.us.ticks.len() > 14;
        for us in &self.us.ticks {
            let y = BOTTOM - (BOTTOM - TOP) * self.us.place(*us);
            grid.push(line("grid", (LEFT, y), (RIGHT, y)));
            let power = us.log10().fract().abs() < 1e-9;
            if power || !many {
                grid.push(text("tick", (LEFT - 8.0, y + 4.0), "end", &label::time_us(*us)));
            }
        }
        for (quantile, name) in PERCENTILES {
            let nines = -(1.0 - quantile).log10();
            if nines <= self.nines + 1e-6 {
                let x = self.x(nines);
                grid.push(line("grid", (x, TOP), (x, BOTTOM)));
                grid.push(text("tick", (x, BOTTOM + 17.0), "middle", name));
            }
        }
        grid
    }

    /// Draws a step for each bucket, up to the percentile of its last unit, at the bucket's upper
    /// end.
    fn path(&self, curve: &Curve<'_>) -> Element {
        let mut steps = String::new();
        let (mut drawn_x, mut drawn_y) = (LEFT, BOTTOM);
        for (us, up_to) in &curve.up_to {
            let (x, y) = (self.x(self.end_of(curve, *up_to)), self.y(*us));
            let last = *up_to == curve.units;
            if steps.is_empty() {
                steps = format!("M{} {}", round(LEFT), round(y));
            } else if x - drawn_x < 0.4 && drawn_y - y < 0.4 && !last {
                // A step too small to see is skipped; the next one covers it.
                continue;
            } else {
                steps += &format!("V{}", round(y));
            }
            steps += &format!("H{}", round(x));
            (drawn_x, drawn_y) = (x, y);
        }
        Element::new("path")
            .with("class", format!("curve {}", colour(curve.standing)))
            .with("d", steps)
            .child(Element::new("title").text(&curve.standing.peer.id))
    }

    /// The slowest unit is drawn at the percentile at which it is the whole tail.
    fn end_of(&self, curve: &Curve<'_>, up_to: u64) -> f64 {
        let tail = (curve.units - up_to).max(1) as f64;
        (curve.units as f64 / tail).log10().min(self.nines)
    }

    /// The names at the ends of the curves, moved apart if they would overlap.
    fn names(&self, curves: &[Curve<'_>]) -> Vec<Element> {
        let mut ends: Vec<_> =
            curves.iter().map(|curve| (self.y(curve.slowest()), curve)).collect();
        ends.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let wanted: Vec<_> = ends.iter().map(|(y, _)| *y).collect();
        let mut names = Vec::new();
        for ((y, curve), name_y) in ends.into_iter().zip(apart(&wanted)) {
            let end = self.x(self.end_of(curve, curve.units));
            let class = colour(curve.standing);
            let ours = if curve.standing.role == Role::Ours { " strong" } else { "" };
            let mark = if curve.standing.left_out.is_some() { " †" } else { "" };
            let name = format!("{}{mark}", curve.standing.peer.id);
            names.push(line(&format!("leader {class}"), (end, y), (RIGHT + 10.0, name_y)));
            names.push(line(
                &format!("curve {class}"),
                (RIGHT + 10.0, name_y),
                (RIGHT + 34.0, name_y),
            ));
            names.push(text(&format!("name{ours}"), (RIGHT + 40.0, name_y + 4.0), "start", &name));
        }
        names
    }
}

/// The places in the same order, at least `NAME` apart, and none below the axis.
fn apart(wanted: &[f64]) -> Vec<f64> {
    let mut places: Vec<f64> = Vec::with_capacity(wanted.len());
    for y in wanted {
        let least = places.last().map_or(TOP, |above| above + NAME);
        places.push(y.max(least));
    }
    let mut most = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - NAME;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lie_apart_and_above_the_axis() {
        assert_eq!(apart(&[50.0, 52.0, 200.0]), [50.0, 67.0, 200.0]);
        assert_eq!(apart(&[328.0, 329.0, 330.0]), [296.0, 313.0, 330.0]);
        assert_eq!(apart(&[]), [0.0; 0]);
    }
}
