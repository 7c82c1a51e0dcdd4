//! The log: access records of workers and events of the program, in one form, written by one
//! thread.

mod event_line;
mod events;
mod journal;
mod line;
mod repeats;
mod thread;

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tracing::Subscriber;
use tracing_subscriber::{
    Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

pub(super) use line::{Line, LineForm};

use super::{Level, LogFormat, LogSpec, Metrics};
use thread::Sink;

/// The log. Clones write to the same one.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// In use.
    spec: ArcSwap<LogSpec>,
    /// As the configuration says.
    configured: ArcSwap<LogSpec>,
    /// The level by order, in the place of the configured ones.
    ordered: ArcSwapOption<Level>,
    /// The journal reads the output, and takes a line's priority from its beginning.
    is_journal: bool,
    sink: Sink,
    filter: OnceLock<reload::Handle<Targets, Registry>>,
}

impl Log {
    /// Starts the thread that writes to standard output. While that is broken, warnings and errors
    /// go to standard error. Fails when the thread cannot be started.
    pub(crate) fn start(spec: LogSpec, metrics: &Metrics) -> io::Result<Log> {
        let dropped = metrics.log_records_dropped.clone();
        // Without the buffer of `io::stdout`, which keeps what could not be written.
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let is_journal = journal::is_read_by_it(&out);
        Ok(Log::new(spec, is_journal, Sink::start(out, io::stderr(), dropped)?))
    }

    /// A log without a reader.
    #[cfg(test)]
    pub(super) fn detached() -> Log {
        let spec = LogSpec { access: Level::Off, ..LogSpec::default() };
        let (sink, _) = Sink::unstarted(Arc::default());
        Log::new(spec, false, sink)
    }

    fn new(spec: LogSpec, is_journal: bool, sink: Sink) -> Log {
        sink.set_form(LineForm { format: spec.format, has_priority: is_journal });
        let shared = Shared {
            configured: ArcSwap::from_pointee(spec.clone()),
            spec: ArcSwap::from_pointee(spec),
            ordered: ArcSwapOption::empty(),
            is_journal,
            sink,
            filter: OnceLock::new(),
        };
        Log { shared: Arc::new(shared) }
    }

    /// Installs the log as the subscriber of `tracing`, for all threads. Does nothing if there is a
    /// subscriber already.
    pub(crate) fn install(&self) {
        let _ = self.subscriber().try_init();
    }

    fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        let (filter, handle) = reload::Layer::new(events::filter(self.spec().level));
        // Of several subscribers the first follows a reload; there is but one.
        let _ = self.shared.filter.set(handle);
        tracing_subscriber::registry().with(filter).with(events::EventLayer::new(self.clone()))
    }

    /// Applies new settings after a reload. A level by order stays.
    pub(crate) fn configure(&self, spec: LogSpec) {
        self.shared.configured.store(Arc::new(spec));
        self.apply();
    }

    /// Sets the level of all lines, those of requests too, in the place of the configured levels;
    /// `None` goes back to those.
    pub(crate) fn order_level(&self, level: Option<Level>) {
        self.shared.ordered.store(level.map(Arc::new));
        self.apply();
    }

    /// The level of events that is in use.
    pub(crate) fn level(&self) -> Level {
        self.spec().level
    }

    /// The level of events that is configured.
    pub(crate) fn configured_level(&self) -> Level {
        self.shared.configured.load().level
    }

    fn apply(&self) {
        let mut spec = LogSpec::clone(&self.shared.configured.load());
        if let Some(level) = self.shared.ordered.load().as_deref() {
            (spec.level, spec.access) = (*level, *level);
        }
        self.shared.sink.set_form(self.form(spec.format));
        if let Some(filter) = self.shared.filter.get() {
            // Fails only when the subscriber is gone, and then there are no events.
            let _ = filter.reload(events::filter(spec.level));
        }
        self.shared.spec.store(Arc::new(spec));
    }

    /// Waits until all records are written or the time is over; returns whether they are. For the end
    /// of the program, never for a worker.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        self.shared.sink.flush(timeout)
    }

    /// The settings in use.
    pub(super) fn spec(&self) -> arc_swap::Guard<Arc<LogSpec>> {
        self.shared.spec.load()
    }

    /// How lines look.
    pub(super) fn form(&self, format: LogFormat) -> LineForm {
        LineForm { format, has_priority: self.shared.is_journal }
    }

    /// Hands over access records without waiting; returns them if there is no room.
    pub(super) fn hand_over(&self, lines: String, records: u64) -> Result<(), String> {
        self.shared.sink.records(lines, records)
    }

    /// A log whose messages a test takes itself.
    #[cfg(test)]
    pub(super) fn captured(spec: LogSpec) -> (Log, tests::Captured) {
        let (sink, messages) = Sink::unstarted(Arc::default());
        (Log::new(spec, false, sink), tests::Captured(messages))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc::Receiver;

    use super::thread::Message;

    use super::*;

    #[test]
    fn a_reload_changes_level_and_format_of_events() {
        let (log, captured) = Log::captured(LogSpec { level: Level::Warn, ..LogSpec::default() });
        tracing::subscriber::with_default(log.subscriber(), || {
            tracing::info!("before");
            let (level, format) = (Level::Debug, LogFormat::Text);
            log.configure(LogSpec { level, format, ..LogSpec::default() });
            tracing::debug!("after");
        });
        let lines = captured.lines();
        assert!(lines.ends_with(" level=debug service=portcullis message=after\n"), "{lines}");
        assert!(!lines.contains("before"), "{lines}");
    }

    #[test]
    fn a_level_by_order_stays_over_a_reload_and_goes_back_to_the_configured_one() {
        let (log, captured) = Log::captured(LogSpec::default());
        tracing::subscriber::with_default(log.subscriber(), || {
            tracing::debug!("off");
            log.order_level(Some(Level::Debug));
            tracing::debug!("ordered");
            log.configure(LogSpec {
                level: Level::Warn,
                access: Level::Warn,
                ..LogSpec::default()
            });
            tracing::debug!("reloaded");
            assert_eq!((log.level(), log.configured_level()), (Level::Debug, Level::Warn));
            assert_eq!(log.spec().access, Level::Debug);
            log.order_level(None);
            tracing::info!("gone back");
            tracing::warn!("as configured");
        });
        let lines = captured.lines();
        for (text, is_logged) in [
            ("off", false),
            ("ordered", true),
            ("reloaded", true),
            ("gone back", false),
            ("as configured", true),
        ] {
            assert_eq!(lines.contains(&format!("\"{text}\"")), is_logged, "{text}: {lines}");
        }
    }

    /// What was logged.
    pub(in super::super) struct Captured(pub(super) Receiver<Message>);

    impl Captured {
        /// All lines handed over up to now.
        pub(in super::super) fn lines(&self) -> String {
            let text = |message| match message {
                Message::Records(lines, _) => lines,
                Message::Event(line) => line.text,
                Message::Flush(_) => String::new(),
            };
            self.0.try_iter().map(text).collect()
        }
    }
}
