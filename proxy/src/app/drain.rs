//! From the order to stop to the end of the last worker.

use std::{process::ExitStatus, time::Duration};

use anyhow::bail;
use tokio::{
    task::JoinHandle,
    time::{Instant, interval_at},
};

use super::{
    App,
    control::{StopReason, say_that_no_log_is_reopened},
    control_socket::{Acknowledgment, ControlSocket, Order, ReceivedOrder},
    signals::SignalOrder,
};
use crate::{observe::Readiness, worker::ProcessPhase};

/// How often the log says what is still open.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// How long workers may take to log the requests that a second signal cuts off.
const LAST_RECORDS: Duration = Duration::from_secs(1);
/// What a drain asks of the service manager's patience, again and again while it lasts.
const DRAIN_EXTENSION: Duration = Duration::from_secs(20);

/// What may happen while workers drain.
enum DrainEvent {
    Signal(SignalOrder),
    Order(ReceivedOrder),
    WorkerEnded(usize),
    ProgressDue,
    WatchdogDue,
    SuccessorCrashed(ExitStatus),
}

impl App {
    /// Lets the workers finish what they have. A second order to stop does not wait for that.
    ///
    /// Fails if connections were cut off by a second order, or if a worker has panicked.
    pub(super) async fn drain(
        &mut self,
        reason: StopReason,
        admin: &JoinHandle<()>,
    ) -> anyhow::Result<()> {
        let replaced = reason == StopReason::Replaced;
        self.log_begin_of_drain(reason);
        self.tell_begin_of_drain(replaced);
        self.abandon_upgrade();
        self.answer_reloads(u64::MAX, &Err("the process drains".to_owned()));
        self.stop_catchers();
        let kept = !replaced && self.supervision.store.is_used();
        // Our program may be the one that chooses among the listeners of another process too: it must
        // not refuse that one's clients.
        let is_shared = !replaced && self.listens_beside_another().await;
        if !is_shared
            && !kept
            && let Err(error) = self.steering.close()
        {
            tracing::warn!(%error, "connections that arrive from now on may be reset");
        }
        self.phase.send_replace(ProcessPhase::Draining { replaced, kept });
        // Not before: who sees it may rely on connections that are told to close.
        self.metrics.set_readiness(Readiness::Draining);
        // A process that is replaced has had no order to stop yet.
        let mut told_to_stop = !replaced;
        let begun = Instant::now();
        let mut progress = interval_at(begun + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
        while self.workers.are_running() {
            let event = tokio::select! {
                order = self.signals.next() => DrainEvent::Signal(order),
                order = ControlSocket::next(&mut self.orders) => DrainEvent::Order(order),
                Some(worker) = self.ended.recv() => DrainEvent::WorkerEnded(worker),
                _ = progress.tick() => DrainEvent::ProgressDue,
                () = self.supervision.watchdog.due() => DrainEvent::WatchdogDue,
                status = App::crash_of_successor(&mut self.successor) => {
                    DrainEvent::SuccessorCrashed(status)
                }
            };
            self.take_drain_event(event, replaced, &mut told_to_stop, admin).await?;
        }
        self.log_end_of_drain(begun.elapsed());
        self.workers.outcome()
    }

    async fn take_drain_event(
        &mut self,
        event: DrainEvent,
        replaced: bool,
        told_to_stop: &mut bool,
        admin: &JoinHandle<()>,
    ) -> anyhow::Result<()> {
        match event {
            DrainEvent::ProgressDue => self.tell_progress_of_drain(replaced, *told_to_stop),
            DrainEvent::WatchdogDue => self.look_after_workers(),
            // The service manager learns of that only when this process, its parent, has ended.
            DrainEvent::SuccessorCrashed(status) if self.supervision.manager.is_there() => {
                bail!(
                    "the process that replaced this one has crashed ({status}): this one ends too"
                )
            }
            DrainEvent::SuccessorCrashed(status) => {
                tracing::error!(%status, "the process that replaced this one has crashed");
            }
            DrainEvent::WorkerEnded(worker) => self.workers.ended(worker),
            DrainEvent::Signal(SignalOrder::Stop(signal)) if *told_to_stop => {
                return self.stop_at_once(signal).await;
            }
            DrainEvent::Signal(SignalOrder::Stop(signal)) => {
                *told_to_stop = true;
                self.supervision.manager.extend_timeout(DRAIN_EXTENSION);
                tracing::info!(signal, "already draining; another signal to stop stops at once");
            }
            DrainEvent::Signal(SignalOrder::ReopenLogs) => say_that_no_log_is_reopened(),
            DrainEvent::Signal(SignalOrder::Reload) => {
                tracing::info!("draining: the configuration is not reloaded");
            }
            DrainEvent::Signal(SignalOrder::Replaced) => {
                if self.has_successor().await {
                    admin.abort();
                    let _ = self.identity.hand_state_over().await;
                }
            }
            DrainEvent::Order(order) => self.follow_while_draining(order, admin).await,
        }
        Ok(())
    }

    fn log_begin_of_drain(&self, reason: StopReason) {
        let reason = match reason {
            StopReason::Signal(signal) => signal,
            StopReason::Replaced => "replaced",
            StopReason::Failure => "failure",
        };
        let (connections, requests) = self.metrics.active();
        let timeout_ms = in_ms(self.settings.drain_timeout);
        tracing::info!(reason, connections, requests, timeout_ms, "draining");
    }

    fn tell_begin_of_drain(&self, replaced: bool) {
        // The process that replaces this one is the main process of the service now.
        if !replaced {
            let (connections, _) = self.metrics.active();
            let status = format!("draining, {connections} open connections");
            self.supervision.manager.stopping(&status, DRAIN_EXTENSION);
        }
    }

    fn tell_progress_of_drain(&self, replaced: bool, told_to_stop: bool) {
        let (connections, requests) = self.metrics.active();
        tracing::info!(connections, requests, "still draining");
        if !replaced {
            let status = format!("draining, {connections} open connections");
            self.supervision.manager.status(&status);
        }
        // A service that stops waits for all of its processes.
        if told_to_stop {
            self.supervision.manager.extend_timeout(DRAIN_EXTENSION);
        }
    }

    fn log_end_of_drain(&self, took: Duration) {
        let cut_off = self.metrics.cut_off_connections();
        let duration_ms = in_ms(took);
        if cut_off == 0 {
            tracing::info!(duration_ms, "drained: all connections ended");
        } else {
            tracing::warn!(
                duration_ms,
                cut_off,
                "drained: connections were still open after portcullis.drain_timeout, and were cut off"
            );
        }
    }

    async fn follow_while_draining(&mut self, received: ReceivedOrder, admin: &JoinHandle<()>) {
        match received.request.order {
            Order::Leave => {
                admin.abort();
                let is_state_written = self.identity.hand_state_over().await;
                received.answer(Ok(Acknowledgment::Draining { is_state_written }));
            }
            Order::EndSessions(_) => self.end_sessions(received),
            Order::TellHealth => self.tell_health(received),
            Order::TellAddresses => self.tell_addresses(received),
            Order::LogLevel(order) => {
                let state = self.log.follow(order, received.request.process);
                received.answer(Ok(Acknowledgment::LogLevel(state)));
            }
            Order::DrainWorker { .. }
            | Order::Reload
            | Order::Upgrade
            | Order::CannotReplace(_)
            | Order::TellWhetherServing => received.answer(Err("the process drains".to_owned())),
        }
    }

    /// Cuts off what is open. Waits only until the workers have logged the requests that this ends.
    async fn stop_at_once(&mut self, signal: &'static str) -> anyhow::Result<()> {
        let (connections, _) = self.metrics.active();
        tracing::warn!(
            signal,
            connections,
            "second stop signal: open connections are closed at once"
        );
        self.phase.send_replace(ProcessPhase::CutOff);
        let workers_ended = async {
            while self.workers.are_running()
                && let Some(worker) = self.ended.recv().await
            {
                self.workers.ended(worker);
            }
        };
        let _ = tokio::time::timeout(LAST_RECORDS, workers_ended).await;
        bail!("stopped at once by a second signal; {connections} open connections were closed")
    }
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
