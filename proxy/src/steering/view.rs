//! The view of steering in status and metrics.

use portcullis_abi::{Home, HostName, Placed, Reason, Verdict, place};

use super::{Mode, NameEntry, Steering, SteeringRules};
use crate::observe::{
    CatcherCounts, HostView, KernelCounts, PlaceView, SegmentOutcome, SteeringOutcome,
    SteeringSource, SteeringView, WorkerLoad,
};

impl SteeringSource for Steering {
    fn view(&self) -> SteeringView {
        let rules = self.rules();
        SteeringView {
            mode: self.mode().as_str().to_owned(),
            reason: self.reason(),
            cookies: self.cookies().source().as_str().to_owned(),
            max_load_percent: rules.balance.max_load_percent,
            refuse_unknown: rules.refuse_unknown,
            outcomes: Vec::new(),
        }
    }

    fn loads(&self) -> Vec<WorkerLoad> {
        let slots = self.load_table().iter().zip(0..self.workers());
        slots
            .map(|(slot, worker)| WorkerLoad {
                load: slot.carried(),
                available: slot.current().is_some(),
                drained: self.is_drained(worker),
            })
            .collect()
    }

    fn catchers(&self) -> CatcherCounts {
        let cookies = self.cookies();
        CatcherCounts { held: cookies.held(), lost: cookies.lost(), landed: cookies.landed() }
    }

    fn kernel_counts(&self) -> KernelCounts {
        let mut counts = KernelCounts::default();
        for (verdict, count) in Verdict::ALL.iter().zip(self.verdicts().into_iter().flatten()) {
            match shown(*verdict) {
                Shown::Connection(outcome) => counts.connections.push((outcome, count)),
                Shown::Segment(outcome) => counts.segments.push((outcome, count)),
            }
        }
        counts
    }
}

enum Shown {
    Connection(SteeringOutcome),
    Segment(SegmentOutcome),
}

fn shown(verdict: Verdict) -> Shown {
    use SteeringOutcome::*;
    let outcome = match verdict {
        Verdict::Passed => return Shown::Segment(SegmentOutcome::Passed),
        Verdict::Closed => return Shown::Segment(SegmentOutcome::Closed),
        Verdict::Deferred => return Shown::Segment(SegmentOutcome::Deferred),
        Verdict::OutOfOrder => return Shown::Segment(SegmentOutcome::OutOfOrder),
        Verdict::Caught => return Shown::Segment(SegmentOutcome::Caught),
        Verdict::NoTimestamps => return Shown::Segment(SegmentOutcome::NoTimestamps),
        Verdict::SegmentSize => return Shown::Segment(SegmentOutcome::SegmentSize),
        Verdict::Steered => Steered,
        Verdict::Spilled => Spilled,
        Verdict::WorkerUnavailable => WorkerUnavailable,
        Verdict::NoSni => NoSni,
        Verdict::Truncated => Truncated,
        Verdict::NotTls => NotTls,
        Verdict::Unsupported => Unsupported,
        Verdict::Unknown => Unknown,
        Verdict::UnknownRefused => UnknownRefused,
        Verdict::SelectFailed => SelectFailed,
    };
    Shown::Connection(outcome)
}

impl Steering {
    /// The worker for the next connection to a host, and the reason. `None` if it is no DNS name.
    pub(crate) fn explain(&self, host: &str) -> Option<HostView> {
        let name = HostName::parse(host.as_bytes())?;
        let rules = self.rules();
        let mut view = HostView { host: name.as_str().to_owned(), ..HostView::default() };
        match rules.names.find(name.as_bytes()) {
            Some(entry) => self.explain_entry(entry, &rules, &mut view),
            None if rules.refuse_unknown => {
                view.reason = "no route has this name: connections for it are refused".to_owned();
            }
            None => {
                view.reason =
                    "no route has this name: connections stay on the worker that accepted them"
                        .to_owned();
            }
        }
        Some(view)
    }

    fn explain_entry(&self, entry: &NameEntry, rules: &SteeringRules, view: &mut HostView) {
        view.pattern = Some(entry.pattern.to_string());
        view.pinned = entry.pinned.as_deref().map(<[u32]>::to_vec);
        if self.mode() == Mode::None {
            view.reason =
                "the steering mode is none: connections stay on the worker that accepted them"
                    .to_owned();
            return;
        }
        view.order = self.order(&entry.home);
        let placed = place(&entry.home, rules.balance, &**self.load_table());
        view.worker = placed.map(|placed| placed.worker);
        view.reason = reason(placed).to_owned();
    }

    fn order(&self, home: &Home) -> Vec<PlaceView> {
        let mut workers: Vec<_> =
            (0..self.workers()).filter(|worker| home.allows(*worker)).collect();
        workers.sort_by_key(|worker| std::cmp::Reverse(home.preference(*worker)));
        let view = |worker| {
            let slot = self.load_table().slot(worker)?;
            let available = slot.current().is_some();
            Some(PlaceView { worker, load: slot.carried(), available })
        };
        workers.into_iter().filter_map(view).collect()
    }
}

fn reason(placed: Option<Placed>) -> &'static str {
    match placed.map(|placed| placed.reason) {
        Some(Reason::Home) => "its first choice",
        Some(Reason::Spilled) => "its first choice is at its load limit",
        Some(Reason::Unavailable) => "its first choice accepts no connections",
        None => {
            "none of its workers accepts connections: they stay on the worker that accepted them"
        }
    }
}
