//! The detector against a model that keeps the whole history, and derives all from it.

use super::*;

const BASE: u64 = 30;
const MOST: u64 = 100;
const INTERVAL: u64 = 10;

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    Reached(usize),
    CheckSucceeded(usize),
    /// So many seconds go by, and the intervals in them end on time.
    Time(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..6_usize).prop_map(Event::Reached),
        1 => (0..6_usize).prop_map(Event::CheckSucceeded),
        3 => (1..45_u64).prop_map(Event::Time),
    ];
    prop::collection::vec(event, 1..120)
}

/// All ejections of one endpoint, in seconds.
#[derive(Debug, Clone, Default)]
struct History(Vec<Past>);

#[derive(Debug, Clone, Copy)]
struct Past {
    from: u64,
    lasts: u64,
    /// `None` while it goes on.
    to: Option<u64>,
}

impl History {
    fn is_ejected(&self) -> bool {
        self.0.last().is_some_and(|past| past.to.is_none())
    }

    /// The ejections in a row at a time: each counts one, and each end of an interval at which the
    /// endpoint had been back for an interval takes one off.
    fn in_a_row(&self, now: u64) -> u64 {
        let mut count: u64 = 0;
        for (at, past) in self.0.iter().enumerate() {
            count = more(count);
            let Some(to) = past.to else { break };
            let until = self.0.get(at + 1).map_or(now, |next| next.from);
            let forgiven = (1..=now / INTERVAL).map(|n| n * INTERVAL);
            let forgiven = forgiven.filter(|end| (to + INTERVAL..=until).contains(end)).count();
            count = count.saturating_sub(forgiven as u64);
        }
        count
    }
}

/// One more in a row, unless that makes no difference.
fn more(count: u64) -> u64 {
    if count * BASE < MOST + BASE { count + 1 } else { count }
}

struct Model {
    start: Instant,
    now: u64,
    most_ejected: usize,
    histories: Vec<History>,
    detector: OutlierDetector,
}

impl Model {
    fn new(hosts: usize, percent: Option<u8>) -> Model {
        let start = Instant::now();
        let spec = OutlierSpec {
            interval: seconds(INTERVAL),
            base_ejection_time: seconds(BASE),
            max_ejection_time: seconds(MOST),
            max_ejection_percent: percent,
            ..OutlierSpec::default()
        };
        let most_ejected = match percent {
            Some(percent) => hosts * usize::from(percent) / 100,
            None if hosts == 1 => 0,
            None => (hosts / 10).max(1),
        };
        let histories = vec![History::default(); hosts];
        Model { start, now: 0, most_ejected, histories, detector: detector(spec, hosts, start) }
    }

    fn clock(&self) -> Instant {
        self.start + seconds(self.now)
    }

    fn ejected(&self) -> usize {
        self.histories.iter().filter(|history| history.is_ejected()).count()
    }

    fn apply(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Reached(host) => self.reach(host)?,
            Event::CheckSucceeded(host) => self.check_succeeds(host)?,
            Event::Time(length) => {
                for now in self.now + 1..=self.now + length {
                    self.now = now;
                    if now % INTERVAL == 0 {
                        self.end_interval()?;
                    }
                }
            }
        }
        for (host, history) in self.histories.iter().enumerate() {
            prop_assert_eq!(self.detector.is_ejected(host), history.is_ejected());
        }
        prop_assert!(self.ejected() <= self.most_ejected);
        Ok(())
    }

    fn reach(&mut self, host: usize) -> Result<(), TestCaseError> {
        let clock = self.clock();
        let decision = reach(&mut self.detector, host, clock);
        let (now, has_room) = (self.now, self.ejected() < self.most_ejected);
        let expected = match self.histories.get_mut(host) {
            None => EjectionDecision::Ignore,
            Some(history) if history.is_ejected() => EjectionDecision::Ignore,
            Some(_) if !has_room => EjectionDecision::TooMany,
            Some(history) => {
                let lasts = (BASE * more(history.in_a_row(now))).min(MOST);
                history.0.push(Past { from: now, lasts, to: None });
                EjectionDecision::Eject(seconds(lasts))
            }
        };
        prop_assert_eq!(decision, expected);
        Ok(())
    }

    fn check_succeeds(&mut self, host: usize) -> Result<(), TestCaseError> {
        let (clock, now) = (self.clock(), self.now);
        let returned = self.detector.check_succeeded(host, clock);
        let history = self.histories.get_mut(host);
        let ejection = history.and_then(|history| history.0.last_mut());
        let ejection = ejection.filter(|past| past.to.is_none());
        prop_assert_eq!(returned, ejection.is_some());
        if let Some(past) = ejection {
            past.to = Some(now);
        }
        Ok(())
    }

    fn end_interval(&mut self) -> Result<(), TestCaseError> {
        let clock = self.clock();
        let returned = end(&mut self.detector, clock);
        let now = self.now;
        let mut expected = Vec::new();
        for (host, history) in self.histories.iter_mut().enumerate() {
            let last = history.0.last_mut().filter(|past| past.to.is_none());
            if let Some(past) = last.filter(|past| past.from + past.lasts <= now) {
                past.to = Some(now);
                expected.push(host);
            }
        }
        prop_assert_eq!(returned, expected);
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_detector_does_what_its_history_says(
        events in events(),
        hosts in 1..6_usize,
        percent in prop::option::of(0..=100_u8),
    ) {
        let mut model = Model::new(hosts, percent);
        for event in events {
            model.apply(event)?;
        }
        // Whatever has happened: without failures all are back, and nothing is held against them.
        model.apply(Event::Time(MOST + 20 * INTERVAL))?;
        for host in 0..hosts {
            prop_assert!(!model.detector.is_ejected(host));
            prop_assert_eq!(model.detector.hosts[host].in_a_row, 0);
        }
    }
}
