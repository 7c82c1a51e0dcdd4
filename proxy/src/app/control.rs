//! What the control thread does while the workers serve: signals, reloads, DNS, the admin
//! listeners, ticket keys.

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    App, Workers,
    predecessor::{Predecessor, REPLACED},
};
use crate::{
    admin,
    config::{self, Config, Watcher},
    observe::State,
    snapshot,
    upstream::Resolver,
};

/// How often it is seen to whether ticket keys are due for rotation.
const TICKET_KEY_CHECK: Duration = Duration::from_secs(60);

/// What may happen.
enum Event {
    Stop,
    Replaced,
    Reload,
    TicketKeysDue,
    WorkerEnded(usize),
}

/// Why a process is to finish.
pub(super) enum Stopped {
    /// It was told to.
    Told,
    /// Another serves in its place.
    Replaced,
}

impl App {
    /// Runs until told to stop. Needs to be within a `LocalSet`.
    pub(super) async fn control(&mut self, admin: admin::Server) -> anyhow::Result<Stopped> {
        let admin_settings = admin.settings();
        self.announce(&admin);
        let admin = tokio::task::spawn_local(async move {
            if let Err(error) = admin.run().await {
                tracing::error!(%error, "the admin listeners have stopped");
            }
        });
        tokio::task::spawn_local(Resolver::run(Arc::clone(&self.compiler.names)));
        let mut watcher = Watcher::new(self.config.files.clone());
        let mut signals = Signals::new()?;
        let mut ticket_keys = tokio::time::interval(TICKET_KEY_CHECK);
        self.metrics.set_state(State::Ready);
        if let Some(predecessor) = &self.predecessor {
            Predecessor::warn_of_losses();
            predecessor.finish();
        }
        loop {
            let event = tokio::select! {
                event = signals.next() => event,
                () = watcher.changed(), if self.config.hot_reload => Event::Reload,
                _ = ticket_keys.tick() => Event::TicketKeysDue,
                Some(worker) = self.ended.recv() => Event::WorkerEnded(worker),
            };
            match event {
                Event::Stop => return Ok(Stopped::Told),
                Event::Replaced => {
                    tracing::info!("another process serves in the place of this one");
                    // It has the address now, and whoever asks there is to hear of it alone.
                    admin.abort();
                    return Ok(Stopped::Replaced);
                }
                Event::Reload => self.reload(&mut watcher, &admin_settings),
                Event::TicketKeysDue => self.rotate_ticket_keys(),
                Event::WorkerEnded(worker) => self.replace_worker(worker)?,
            }
        }
    }

    fn announce(&self, admin: &admin::Server) {
        let addresses = |list: &[std::net::SocketAddr]| {
            list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = addresses(&self.config.listen.addresses),
            admin = addresses(&admin.addresses()),
            workers = self.workers.as_ref().map_or(0, Workers::len),
            routes = self.snapshots.borrow().site.len(),
            "serving"
        );
    }

    /// Takes a new configuration over, or keeps the old one and says why.
    fn reload(&mut self, watcher: &mut Watcher, admin: &admin::Settings) {
        match config::load(&self.source.path, &self.source.environment) {
            Ok(loaded) => {
                watcher.set_files(loaded.config.files.clone());
                for warning in &loaded.warnings {
                    tracing::warn!("{warning}");
                }
                if let Err(error) = self.apply(loaded.config, admin) {
                    self.refuse(&format!("{error:#}"));
                }
            }
            Err(failure) => {
                self.refuse(&failure.to_string());
                // Mending any of those is a change. What only the configuration in use names does
                // not matter while this one is refused.
                watcher.set_files(failure.files);
            }
        }
    }

    fn apply(&mut self, mut config: Config, admin: &admin::Settings) -> anyhow::Result<()> {
        let snapshot = self.compiler.compile(&mut config)?;
        admin.configure(&config.admin)?;
        warn_of_restart(&self.config, &config);
        self.compiler.names.configure(config.dns);
        self.log.configure(config.log.clone());
        self.metrics.config_applied(snapshot::facts(&self.source.path, &config, &snapshot));
        super::steering::apply(&self.steering, Arc::clone(&snapshot.front.steering));
        tracing::info!(generation = snapshot.generation, "configuration reloaded");
        self.snapshots.send_replace(Arc::new(snapshot));
        self.config = config;
        crate::sys::give_memory_back();
        Ok(())
    }

    /// Fails where too many have ended: better to be restarted whole than to serve in part.
    fn replace_worker(&mut self, worker: usize) -> anyhow::Result<()> {
        match &mut self.workers {
            Some(workers) => workers.restart(worker),
            None => Ok(()),
        }
    }

    fn refuse(&self, reason: &str) {
        tracing::error!("config: error updating config, the one before stays in use: {reason}");
        self.metrics.config_refused(reason.to_owned());
    }

    fn rotate_ticket_keys(&self) {
        match self.compiler.tickets.rotate() {
            Ok(true) => self.metrics.ticket_key_rotated(),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot rotate the session ticket keys"),
        }
    }
}

/// Says what a reload cannot change.
fn warn_of_restart(old: &Config, new: &Config) {
    let changed = [
        ("address", old.listen != new.listen),
        ("portcullis.workers", old.workers != new.workers),
        ("portcullis.admin_address", old.admin.address != new.admin.address),
        ("portcullis.steering.mode", old.steering.mode != new.steering.mode),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(key, "takes effect with the next start");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    replaced: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            replaced: signal(SignalKind::from_raw(REPLACED.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hangup.recv() => Event::Reload,
            _ = self.replaced.recv() => Event::Replaced,
        }
    }
}
