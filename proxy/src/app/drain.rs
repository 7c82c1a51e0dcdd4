//! From the order to stop to the end of the last worker.

use anyhow::bail;
use tokio::task::JoinHandle;

use super::{
    App,
    control::StopReason,
    control_socket::{Acknowledgment, ControlSocket, Order, ReceivedOrder},
    signals::SignalOrder,
};
use crate::worker::ProcessPhase;

/// What may happen while workers drain.
enum DrainEvent {
    Signal(SignalOrder),
    Order(ReceivedOrder),
    WorkerEnded(usize),
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
        if let Err(error) = self.steering.close() {
            tracing::warn!(%error, "connections that arrive from now on may be reset");
        }
        self.stop_catchers();
        let replaced = reason == StopReason::Replaced;
        self.phase.send_replace(ProcessPhase::Draining { replaced });
        // A process that is replaced has had no order to stop yet.
        let mut told_to_stop = !replaced;
        while self.workers.are_running() {
            let event = tokio::select! {
                order = self.signals.next() => DrainEvent::Signal(order),
                order = ControlSocket::next(&mut self.orders) => DrainEvent::Order(order),
                Some(worker) = self.ended.recv() => DrainEvent::WorkerEnded(worker),
            };
            match event {
                DrainEvent::WorkerEnded(worker) => self.workers.ended(worker),
                DrainEvent::Signal(SignalOrder::Stop) if told_to_stop => {
                    return self.stop_at_once();
                }
                DrainEvent::Signal(SignalOrder::Stop) => {
                    told_to_stop = true;
                    tracing::info!("already draining; another SIGTERM or SIGINT stops at once");
                }
                DrainEvent::Signal(SignalOrder::Reload) => {
                    tracing::info!("draining: the configuration is not reloaded");
                }
                DrainEvent::Signal(SignalOrder::Replaced) => {
                    admin.abort();
                    let _ = self.identity.hand_state_over().await;
                }
                DrainEvent::Order(order) => self.follow_while_draining(order, admin).await,
            }
        }
        self.workers.outcome()
    }

    async fn follow_while_draining(&self, received: ReceivedOrder, admin: &JoinHandle<()>) {
        match received.request.order {
            Order::Leave => {
                admin.abort();
                let is_state_written = self.identity.hand_state_over().await;
                received.answer(Ok(Acknowledgment::Draining { is_state_written }));
            }
            Order::EndSessions(_) => self.end_sessions(received),
            Order::DrainWorker { .. } => received.answer(Err("the process drains".to_owned())),
        }
    }

    /// Ends without waiting for the workers; the log is flushed on the way out.
    fn stop_at_once(&self) -> anyhow::Result<()> {
        let connections = self.metrics.connections_active();
        tracing::warn!(connections, "second stop signal: open connections are closed at once");
        bail!("stopped at once by a second signal; {connections} open connections were closed")
    }
}
