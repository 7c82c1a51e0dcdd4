//! The thread that writes the log, so that no other thread waits for the reader of the log.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    super::{Level, LogFormat, time},
    event_line::EventLine,
    line::{Line, LineForm},
    repeats::{Repeated, Repeats},
};

/// The most messages on their way. A worker's message is about 16 KiB, so that a reader that
/// stands still costs some 4 MiB.
const QUEUE_MESSAGES: usize = 256;

/// How long the writer tries on a standard output that takes nothing now: it may be a pipe or
/// terminal that another process has set to non-blocking.
const MAX_WRITE_STALL: Duration = Duration::from_secs(1);

/// Interval of retries when nothing signals a change.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// Whole lines on their way to the log.
pub(super) enum Message {
    /// Access records, and how many they are.
    Records(String, u64),
    /// One event of the program itself.
    Event(EventLine),
    /// A request for a signal once everything before is written.
    Flush(SyncSender<()>),
}

const DROPPED: &str = "log records were dropped while the log could not be written, or not fast \
    enough";

/// Between two lines that say how many records were dropped.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The queue to the log thread; never waits.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    shared: Arc<SharedState>,
}

/// What the thread shares with those who write.
#[derive(Debug, Default)]
struct SharedState {
    /// All records that were dropped for want of room or of a working output.
    lost: AtomicU64,
    is_text: AtomicBool,
    has_priority: AtomicBool,
}

impl SharedState {
    fn form(&self) -> LineForm {
        let format = if self.is_text.load(Relaxed) { LogFormat::Text } else { LogFormat::Json };
        LineForm { format, has_priority: self.has_priority.load(Relaxed) }
    }
}

impl Sink {
    /// Starts the thread. `dropped` counts the records that were lost.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        fallback: impl Write + Send + 'static,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Sink> {
        let (sink, messages) = Sink::unstarted(dropped);
        let (dropped, shared) = (sink.dropped.clone(), Arc::clone(&sink.shared));
        let writer = Writer {
            out,
            fallback,
            dropped,
            shared,
            repeats: Repeats::default(),
            reported: 0,
            reported_at: None,
        };
        thread::Builder::new().name("log".into()).spawn(move || writer.run(&messages))?;
        Ok(sink)
    }

    /// A sink that another receiver empties.
    pub(super) fn unstarted(dropped: Arc<AtomicU64>) -> (Sink, Receiver<Message>) {
        let (sender, receiver) = sync_channel(QUEUE_MESSAGES);
        (Sink { messages: sender, dropped, shared: Arc::default() }, receiver)
    }

    /// Sets how the thread's own lines look.
    pub(super) fn set_form(&self, form: LineForm) {
        self.shared.is_text.store(form.format == LogFormat::Text, Relaxed);
        self.shared.has_priority.store(form.has_priority, Relaxed);
    }

    /// Hands over access records; gives them back when there is no room.
    pub(super) fn records(&self, lines: String, count: u64) -> Result<(), String> {
        match self.messages.try_send(Message::Records(lines, count)) {
            Err(
                TrySendError::Full(Message::Records(lines, _))
                | TrySendError::Disconnected(Message::Records(lines, _)),
            ) => {
                self.shared.lost.fetch_add(count, Relaxed);
                Err(lines)
            }
            // Nothing else comes back than what was handed in.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Hands over an event; it is dropped and counted when there is no room.
    pub(super) fn event(&self, line: EventLine) {
        if self.messages.try_send(Message::Event(line)).is_err() {
            self.shared.lost.fetch_add(1, Relaxed);
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all that was handed in before is written, or the time is over. For the end of
    /// the program: this is the one call here that waits.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.messages.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(_)) if Instant::now() >= deadline => return false,
                Err(TrySendError::Full(back)) => message = back,
            }
            thread::sleep(RETRY_INTERVAL);
        }
        written.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

struct Writer<O, F> {
    out: O,
    /// Where errors and warnings go while `out` is broken.
    fallback: F,
    dropped: Arc<AtomicU64>,
    shared: Arc<SharedState>,
    repeats: Repeats,
    /// How many of the records that were lost the log has told of.
    reported: u64,
    reported_at: Option<Instant>,
}

impl<O: Write, F: Write> Writer<O, F> {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let message = self.next(messages);
            let due = self.repeats.take_due(Instant::now());
            self.report(due);
            match message {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let rest = self.repeats.take_all();
        self.report(rest);
    }

    /// The next message, unless a report is due before.
    fn next(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        match self.repeats.next_due() {
            Some(due) => messages.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Records(lines, count) => {
                if self.write(&lines).is_err() {
                    self.lose(count);
                } else {
                    self.report_lost();
                }
            }
            Message::Event(line) if self.repeats.allow(&line, Instant::now()) => self.event(&line),
            Message::Event(_) => {}
            Message::Flush(done) => {
                // It may be the end of the process.
                let rest = self.repeats.take_all();
                self.report(rest);
                // The waiting thread may have given up.
                let _ = done.send(());
            }
        }
    }

    fn report(&mut self, repeated: Vec<Repeated>) {
        let now_ms = time::epoch_ms(SystemTime::now());
        for Repeated { line, left_out } in repeated {
            self.event(&line.repeated(left_out, now_ms));
        }
    }

    fn event(&mut self, line: &EventLine) {
        let text = line.text.as_str();
        if self.write(text).is_ok() {
            return self.report_lost();
        }
        let shown = line.level >= Level::Warn && self.fallback.write_all(text.as_bytes()).is_ok();
        if !shown {
            self.lose(1);
        }
    }

    fn lose(&self, records: u64) {
        self.shared.lost.fetch_add(records, Relaxed);
        self.dropped.fetch_add(records, Relaxed);
    }

    /// Once the output works again, says how many records are missing.
    fn report_lost(&mut self) {
        let (lost, now) = (self.shared.lost.load(Relaxed), Instant::now());
        let is_recent = |at: Instant| now.saturating_duration_since(at) < REPORT_INTERVAL;
        if lost == self.reported || self.reported_at.is_some_and(is_recent) {
            return;
        }
        let mut text = String::new();
        let now_ms = time::epoch_ms(SystemTime::now());
        let mut line = Line::begin(&mut text, self.shared.form(), now_ms, Level::Warn, DROPPED);
        line.number("records", lost.saturating_sub(self.reported));
        line.end();
        if self.write(&text).is_ok() {
            (self.reported, self.reported_at) = (lost, Some(now));
        }
    }

    fn write(&mut self, lines: &str) -> io::Result<()> {
        let mut left = lines.as_bytes();
        let mut stalled_since = None;
        while !left.is_empty() {
            match self.out.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    left = left.get(written..).unwrap_or_default();
                    stalled_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let since: &mut Instant = stalled_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > MAX_WRITE_STALL {
                        return Err(error);
                    }
                    thread::sleep(RETRY_INTERVAL);
                }
                Err(error) => return Err(error),
            }
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Passes on what is written to it.
    struct Pipe(Sender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Says it is busy before each byte it takes.
    struct Reluctant(Pipe, bool);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.write(&bytes[..1]) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_handed_in_is_written_in_order_before_a_flush_returns() {
        let (out, written) = channel();
        let sink = Sink::start(Pipe(out), io::sink(), Arc::default()).unwrap();
        sink.records("one\ntwo\n".into(), 2).unwrap();
        sink.event(EventLine::of_text("three\n", Level::Info));
        assert!(sink.flush(LONG));
        assert_eq!(written.try_iter().collect::<Vec<_>>().concat(), b"one\ntwo\nthree\n");
    }

    #[test]
    fn a_closed_output_shows_warnings_elsewhere_and_counts_the_rest() {
        let (reader, out) = io::pipe().unwrap();
        drop(reader);
        let (fallback, shown) = channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = Sink::start(out, Pipe(fallback), dropped.clone()).unwrap();
        sink.records("one\ntwo\n".into(), 2).unwrap();
        sink.event(EventLine::of_text("quiet\n", Level::Info));
        sink.event(EventLine::of_text("loud\n", Level::Warn));
        assert!(sink.flush(LONG));
        assert_eq!(shown.try_iter().collect::<Vec<_>>().concat(), b"loud\n");
        assert_eq!(dropped.load(Relaxed), 3);
    }

    /// Fails as often as it is told to, as a full disk does.
    struct Failing(Pipe, u32);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1 > 0 {
                self.1 -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_works_again_gets_the_number_of_dropped_records() {
        let (out, written) = channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = Sink::start(Failing(Pipe(out), 2), io::sink(), dropped.clone()).unwrap();
        sink.set_form(LogFormat::Text.into());
        sink.records("one\ntwo\n".into(), 2).unwrap();
        sink.event(EventLine::of_text("three\n", Level::Info));
        sink.records("four\n".into(), 1).unwrap();
        sink.records("five\n".into(), 1).unwrap();
        assert!(sink.flush(LONG));
        let written = written.try_iter().collect::<Vec<_>>().concat();
        let lines: Vec<_> = str::from_utf8(&written).unwrap().lines().collect();
        let [four, report, five] = lines[..] else { panic!("{lines:?}") };
        assert_eq!((four, five), ("four", "five"));
        assert!(report.contains("level=warn") && report.ends_with(" records=3"), "{report}");
        assert_eq!(dropped.load(Relaxed), 3);
    }

    #[test]
    fn two_closed_outputs_end_nothing() {
        let (out, closed) = channel();
        drop(closed);
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = Sink::start(Pipe(out.clone()), Pipe(out), dropped.clone()).unwrap();
        sink.event(EventLine::of_text("loud\n", Level::Error));
        assert!(sink.flush(LONG));
        assert_eq!(dropped.load(Relaxed), 1);
    }

    #[test]
    fn an_output_that_is_busy_gets_every_byte_in_the_end() {
        let (out, written) = channel();
        let sink = Sink::start(Reluctant(Pipe(out), false), io::sink(), Arc::default()).unwrap();
        sink.event(EventLine::of_text("abc\n", Level::Info));
        assert!(sink.flush(LONG));
        assert_eq!(written.try_iter().collect::<Vec<_>>().concat(), b"abc\n");
    }

    #[test]
    fn a_full_queue_gives_records_back_and_counts_events() {
        let dropped = Arc::new(AtomicU64::new(0));
        let (sink, _stuck) = Sink::unstarted(dropped.clone());
        for _ in 0..QUEUE_MESSAGES {
            sink.records("r\n".into(), 1).unwrap();
        }
        assert_eq!(sink.records("back\n".into(), 1), Err("back\n".into()));
        sink.event(EventLine::of_text("lost\n", Level::Error));
        assert_eq!(dropped.load(Relaxed), 1);
        assert!(!sink.flush(Duration::ZERO));
    }
}
