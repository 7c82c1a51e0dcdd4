//! Events of `tracing`, in the format of the access records.

use std::{fmt, time::SystemTime};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{Layer, filter::Targets, layer::Context};

use super::{Line, Log, event_line::EventLine};
use crate::observe::{Level, time};

/// Where events of our own come from.
const OWN_TARGET: &str = "portcullis";

/// Lets through our own events from `level` on. Libraries may log only warnings and errors:
/// their traces contain header values.
pub(super) fn filter(level: Level) -> Targets {
    let libraries = level.max(Level::Warn);
    Targets::new().with_default(threshold(libraries)).with_target(OWN_TARGET, threshold(level))
}

fn threshold(level: Level) -> LevelFilter {
    match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
        Level::Off => LevelFilter::OFF,
    }
}

/// Writes each event as one line.
pub(super) struct EventLayer {
    log: Log,
}

impl EventLayer {
    pub(super) fn new(log: Log) -> EventLayer {
        EventLayer { log }
    }
}

impl<S: Subscriber> Layer<S> for EventLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let level = level_of(*metadata.level());
        let mut message = Message(String::new());
        event.record(&mut message);

        let mut text = String::new();
        let now_ms = time::epoch_ms(SystemTime::now());
        let form = self.log.form(self.log.spec().format);
        let mut line = Line::begin(&mut text, form, now_ms, level, &message.0);
        if !metadata.target().starts_with(OWN_TARGET) {
            line.text("target", metadata.target());
        }
        event.record(&mut Fields(&mut line));
        let time = line.time();
        line.end();
        self.log.shared.sink.event(EventLine { text, level, time });
    }
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

const MESSAGE: &str = "message";

/// Takes an event's message alone.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            self.0 = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.0 = value.to_owned();
        }
    }
}

/// Writes all fields but the message.
struct Fields<'l, 'o>(&'l mut Line<'o>);

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != MESSAGE {
            self.0.shown(field.name(), format_args!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != MESSAGE {
            self.0.text(field.name(), value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.0.shown(field.name(), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.number(field.name(), value);
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::observe::{LogFormat, LogSpec};

    fn logged(spec: LogSpec, act: impl FnOnce()) -> String {
        let filter = filter(spec.level);
        let (log, captured) = Log::captured(spec);
        let subscriber =
            tracing_subscriber::registry().with(filter).with(EventLayer::new(log.clone()));
        tracing::subscriber::with_default(subscriber, act);
        captured.lines()
    }

    #[test]
    fn an_event_is_one_json_object_with_its_fields() {
        let written = logged(LogSpec::default(), || {
            tracing::warn!(file = "a\nb", lines = 3, found = true, "cannot read {}", "it");
        });
        let event: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(event["level"], "warn");
        assert_eq!(event["message"], "cannot read it");
        assert_eq!(event["file"], "a\nb");
        assert_eq!(event["lines"], 3);
        assert_eq!(event["found"], true);
        assert_eq!(event.get("target"), None);
    }

    #[test]
    fn an_event_in_text_is_one_line() {
        let spec = LogSpec { format: LogFormat::Text, ..LogSpec::default() };
        let written = logged(spec, || tracing::info!(error = %"x\ny", "bad"));
        assert!(written.ends_with(" level=info service=portcullis message=bad error=\"x\\ny\"\n"));
    }

    #[test]
    fn what_is_less_severe_than_the_level_is_not_written() {
        let spec = LogSpec { level: Level::Warn, ..LogSpec::default() };
        let written = logged(spec, || {
            tracing::info!("quiet");
            tracing::error!("loud");
        });
        assert!(written.contains("loud") && !written.contains("quiet"), "{written}");
    }

    #[test]
    fn of_libraries_only_warnings_are_written_at_any_level() {
        let spec = LogSpec { level: Level::Trace, ..LogSpec::default() };
        let written = logged(spec, || {
            tracing::trace!(target: "h2::codec", "authorization: secret");
            tracing::warn!(target: "h2::codec", "odd frame");
            tracing::trace!("ours");
        });
        assert!(!written.contains("secret"), "{written}");
        assert!(written.contains("\"target\":\"h2::codec\""), "{written}");
        assert!(written.contains("ours"), "{written}");
    }

    #[test]
    fn level_off_writes_nothing() {
        let spec = LogSpec { level: Level::Off, ..LogSpec::default() };
        let written = logged(spec, || {
            tracing::error!("ours");
            tracing::error!(target: "h2", "theirs");
        });
        assert_eq!(written, "");
    }
}
