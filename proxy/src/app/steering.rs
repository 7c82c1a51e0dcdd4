//! How the steering of the process starts and changes.

use std::{
    num::NonZeroUsize,
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
};

use anyhow::Context as _;

use super::listeners::BoundListeners;
use crate::{
    config::Config,
    listener::{Listener, Service},
    observe::Metrics,
    steering::{
        Catcher, CatcherKeeper, CatcherSize, ModeChoice, NoRoomForCatcher, Steering, SteeringRules,
        detach_programs, log_mode, may_load_programs, somaxconn,
    },
};

/// The size of the SYN catchers, if the limit on open files allows any.
pub(super) fn catcher_size(
    config: &Config,
    limit: Option<NonZeroUsize>,
) -> Result<CatcherSize, NoRoomForCatcher> {
    let limit = limit.map_or(usize::MAX, NonZeroUsize::get);
    CatcherSize::choose(limit, config.listen.addresses.len(), somaxconn())
}

/// Descriptors that the SYN catchers of this configuration may take.
pub(super) fn catcher_descriptors(
    config: &Config,
    workers: usize,
    size: Result<CatcherSize, NoRoomForCatcher>,
) -> usize {
    let may_catch = match config.steering.mode {
        ModeChoice::Kernel => true,
        ModeChoice::Auto => workers > 1 && may_load_programs(),
        ModeChoice::Handoff | ModeChoice::None => false,
    };
    match size {
        Ok(size) if may_catch => config.listen.addresses.len() * size.descriptors(),
        _ => 0,
    }
}

/// Chooses the mode, and registers it with metrics and status; the log says it with its reason. If the
/// kernel steers, adds the catchers to the listeners of the workers, which accept there, and starts
/// the thread that brings them into use: nothing here waits for that.
pub(super) fn start(
    choice: ModeChoice,
    size: Result<CatcherSize, NoRoomForCatcher>,
    bound: &mut BoundListeners,
    rules: Arc<SteeringRules>,
    metrics: &Metrics,
) -> anyhow::Result<(Arc<Steering>, Option<CatcherKeeper>)> {
    let (listeners, is_adopted) = (&mut bound.workers[..], bound.adopted > 0);
    let (groups, workers, room) = (groups(listeners), listeners.len(), size.map(drop));
    if is_adopted {
        // The map of a process that has ended holds them until its program is gone.
        detach_programs(&groups);
    }
    let steering = Arc::new(Steering::start(choice, &groups, workers, rules, room)?);
    let keeper = steering.has_programs().then(|| {
        let catchers = match size {
            Ok(size) => add_catchers(&steering, listeners, size),
            Err(_) => Vec::new(),
        };
        CatcherKeeper::start(Arc::clone(&steering), choice, catchers, room)
    });
    let keeper = keeper.transpose().context("cannot start the thread of the SYN catchers")?;
    if keeper.is_none() {
        log_mode(&steering);
    }
    metrics.set_steering(Arc::clone(&steering) as _);
    Ok((steering, keeper))
}

/// For each address that serves routes, the workers' sockets in the order of the workers. All workers
/// have bound the same addresses in the same order.
fn groups(listeners: &[Vec<Listener>]) -> Vec<Vec<BorrowedFd<'_>>> {
    of_addresses(listeners)
        .map(|at| {
            let of_address = listeners.iter().filter_map(|worker| worker.get(at));
            of_address.map(|listener| listener.socket.as_fd()).collect()
        })
        .collect()
}

/// The places of addresses that serve routes among a worker's listeners.
fn of_addresses(listeners: &[Vec<Listener>]) -> impl Iterator<Item = usize> {
    let addresses = listeners.first().map_or(&[][..], Vec::as_slice).iter().enumerate();
    addresses.filter(|(_, listener)| listener.service == Service::Routes).map(|(at, _)| at)
}

/// Makes a catcher for each address, and gives one after another to a worker.
fn add_catchers(
    steering: &Steering,
    listeners: &mut [Vec<Listener>],
    size: CatcherSize,
) -> Vec<Catcher> {
    let addresses: Vec<usize> = of_addresses(listeners).collect();
    let (mut catchers, workers) = (Vec::with_capacity(addresses.len()), listeners.len());
    for (group, at) in addresses.into_iter().enumerate() {
        let Some(worker) = listeners.get_mut(group % workers.max(1)) else { continue };
        let Some(beside) = worker.get(at) else { continue };
        match catcher(steering, beside, group, size) {
            Ok((listener, catcher)) => {
                worker.push(listener);
                catchers.push(catcher);
            }
            Err(error) => {
                let address = beside.address;
                tracing::warn!(
                    %address,
                    error = format!("{error:#}"),
                    "the address has no SYN catcher: connections to it are handed over"
                );
            }
        }
    }
    catchers
}

fn catcher(
    steering: &Steering,
    beside: &Listener,
    group: usize,
    size: CatcherSize,
) -> anyhow::Result<(Listener, Catcher)> {
    let listener = beside.bind_catcher()?;
    let socket = listener.socket.try_clone()?;
    let catcher = Catcher::listen(steering, socket, group, size)?;
    Ok((listener, catcher))
}

/// Uses the rules of another configuration from now on.
pub(super) fn apply(steering: &Steering, rules: Arc<SteeringRules>) {
    if let Err(error) = steering.set_rules(rules) {
        tracing::error!(
            %error,
            "the kernel keeps the old names; workers hand misplaced connections to the right worker"
        );
    }
}
