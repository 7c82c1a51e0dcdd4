//! The cost of the work without a proxy, beside ours.

use crate::bench::model::{Figure, Floor, Run};

use super::{
    judge::{Judged, Role},
    label,
};

pub(super) const HEADING: &str = "The floor";

pub(super) const HOW_TO_READ: &str = "The CPU time that rustls alone takes for handshakes and \
    records in memory, and that a relay without TLS and HTTP takes for the same bytes between \
    sockets. It is a yardstick, not a bound: its full handshake verifies the client's chain each \
    time, which a proxy with a cache of verified chains does not.";

/// Rows under a heading; the first column is text.
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The pieces, and the works that consist of them beside our cost; empty if no floor was measured.
pub(super) fn tables(run: &Run, works: &[Judged<'_>]) -> Vec<Table> {
    if run.floor.is_empty() {
        return Vec::new();
    }
    let pieces = Table {
        head: words(&["piece", "CPU µs", "range"]),
        rows: run.floor.iter().map(piece).collect(),
    };
    let beside = Table {
        head: words(&["work", "floor, CPU µs", "ours, CPU µs", "ours / floor"]),
        rows: works.iter().filter_map(|judged| beside(&run.floor, judged)).collect(),
    };
    [pieces, beside].into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn piece(floor: &Floor) -> Vec<String> {
    let value = |us| label::value(Figure::CpuUsPerUnit, us);
    let range = format!("{}–{}", value(floor.least), value(floor.most));
    vec![floor.work.clone(), value(floor.cpu_us), range]
}

fn beside(floor: &[Floor], judged: &Judged<'_>) -> Option<Vec<String>> {
    let bottom = of_work(floor, &judged.work.id)?;
    let ours = judged.standings.iter().find(|standing| standing.role == Role::Ours)?;
    let cost = ours.spread(Figure::CpuUsPerUnit)?.median;
    let value = |us| label::value(Figure::CpuUsPerUnit, us);
    let work = format!("{} {}", judged.work.id, judged.work.title);
    Some(vec![work, value(bottom), value(cost), format!("{:.2}", cost / bottom)])
}

/// A response of 1 KiB is opened once and sealed once; the handshake is added.
fn of_work(floor: &[Floor], work: &str) -> Option<f64> {
    const REQUEST: [&str; 2] = ["relay of a request", "records of 1 KiB"];
    let handshake = match work {
        "W1" => None,
        "W2" => Some("full handshake"),
        "W3" => Some("resumed handshake"),
        _ => return None,
    };
    let cost = |piece: &str| {
        floor.iter().find(|floor| floor.work.starts_with(piece)).map(|floor| floor.cpu_us)
    };
    REQUEST.into_iter().chain(handshake).map(cost).sum()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::judge::judge_all;

    fn floor(work: &str, cpu_us: f64) -> Floor {
        Floor { work: work.to_owned(), cpu_us, least: cpu_us, most: cpu_us }
    }

    #[test]
    fn a_work_stands_beside_the_sum_of_its_pieces() {
        let mut run = crate::bench::report::tests::run(&[("portcullis", &[130.0]), ("x", &[1.0])]);
        assert!(tables(&run, &judge_all(&run)).is_empty());
        run.floor = vec![
            floor("resumed handshake, server", 40.0),
            floor("records of 1 KiB, sealed and opened", 5.0),
            floor("relay of a request and its response", 20.0),
        ];
        let tables = tables(&run, &judge_all(&run));
        assert_eq!(tables.len(), 2);
        assert_eq!(tables[1].rows[0][1..], ["65.0", "130", "2.00"]);
    }

    #[test]
    fn without_one_of_its_pieces_a_work_has_no_floor() {
        let pieces = [floor("records of 1 KiB", 5.0), floor("relay of a request", 20.0)];
        assert_eq!(of_work(&pieces, "W1"), Some(25.0));
        assert_eq!(of_work(&pieces, "W2"), None);
        assert_eq!(of_work(&pieces, "W4a"), None);
    }
}
