//! The metrics and the log of one worker.

use std::{
    cell::{Cell, RefCell},
    mem,
    sync::Arc,
    time::SystemTime,
};

use http::HeaderMap;

use super::{
    CapturedHeaders, ConnectionRecord, Level, Log, LogSpec, RequestRecord, WorkerMetrics,
    log::Line, time,
};

/// Records are handed to the log's thread once they have this many bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// The metrics and the log of a worker. Stays on its worker's thread.
#[derive(Debug)]
pub(crate) struct WorkerObserver {
    /// Which worker, from 0.
    pub worker: usize,
    /// Its cells.
    pub metrics: Arc<WorkerMetrics>,
    log: Log,
    buffer: RefCell<Buffer>,
    cuts_off: Cell<bool>,
}

/// Records that have not been handed over yet.
#[derive(Debug, Default)]
struct Buffer {
    lines: String,
    records: u64,
}

impl WorkerObserver {
    /// An observer with these cells, which no other observer may write.
    pub(crate) fn new(worker: usize, metrics: Arc<WorkerMetrics>, log: Log) -> WorkerObserver {
        WorkerObserver {
            worker,
            metrics,
            log,
            buffer: RefCell::default(),
            cuts_off: Cell::default(),
        }
    }

    /// From now on the worker closes its connections, whatever they do.
    pub(crate) fn cut_off(&self) {
        self.cuts_off.set(true);
    }

    /// Whether a request that ends too early was cut off by the worker.
    pub(crate) fn cuts_off(&self) -> bool {
        self.cuts_off.get()
    }

    /// An observer with cells of its own, which logs nothing. For tests of other rooms.
    #[cfg(test)]
    pub(crate) fn detached(worker: usize) -> WorkerObserver {
        WorkerObserver::new(worker, Arc::default(), Log::detached())
    }

    /// Whether requests are logged; if not, no record is needed.
    pub(crate) fn logs_requests(&self) -> bool {
        self.log.spec().access <= Level::Warn
    }

    /// Captures the headers that the access log shows. Call it before they are changed; it costs
    /// nothing if requests are not logged.
    pub(crate) fn capture(&self, headers: &HeaderMap) -> CapturedHeaders {
        let spec = self.log.spec();
        match spec.access <= Level::Warn {
            true => CapturedHeaders::new(headers, &spec),
            false => CapturedHeaders::default(),
        }
    }

    /// Logs a request, if requests are logged.
    pub(crate) fn log_request(&self, record: &RequestRecord<'_>) {
        self.log_line("http-request", record.level(), |line, spec| {
            record.write(line, self.worker, &spec.access_fields);
        });
    }

    /// Logs a connection that was refused or failed before its first request, if requests are logged.
    pub(crate) fn log_connection(&self, record: &ConnectionRecord<'_>) {
        self.log_line(ConnectionRecord::MESSAGE, record.level, |line, _| {
            record.write(line, self.worker);
        });
    }

    /// Hands buffered records to the log. The worker calls it about every 100 ms and at its end.
    pub(crate) fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.records > 0 {
            self.hand_over(&mut buffer);
        }
    }

    fn log_line(&self, message: &str, level: Level, write: impl FnOnce(&mut Line<'_>, &LogSpec)) {
        let spec = self.log.spec();
        if spec.access > level {
            return;
        }
        let now_ms = time::epoch_ms(SystemTime::now());
        let mut buffer = self.buffer.borrow_mut();
        let form = self.log.form(spec.format);
        let mut line = Line::begin(&mut buffer.lines, form, now_ms, level, message);
        write(&mut line, &spec);
        line.end();
        buffer.records += 1;
        if buffer.lines.len() >= BUFFER_BYTES {
            self.hand_over(&mut buffer);
        }
    }

    /// Never waits: records that find no room are dropped and counted.
    fn hand_over(&self, buffer: &mut Buffer) {
        let records = mem::take(&mut buffer.records);
        let lines = mem::take(&mut buffer.lines);
        if let Err(mut dropped) = self.log.hand_over(lines, records) {
            self.metrics.log_records_dropped.add(records);
            dropped.clear();
            buffer.lines = dropped;
        }
    }
}

impl Drop for WorkerObserver {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
