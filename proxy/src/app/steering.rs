//! How the steering of the process starts and changes.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
};

use crate::{
    listener::{Listener, Service},
    observe::Metrics,
    steering::{ModeChoice, ModeError, Rules, Steering},
};

/// Chooses the mode, logs it with its reason, and registers it with metrics and status.
pub(super) fn start(
    choice: ModeChoice,
    listeners: &[Vec<Listener>],
    rules: Arc<Rules>,
    metrics: &Metrics,
) -> Result<Arc<Steering>, ModeError> {
    let steering = Steering::start(choice, &groups(listeners), listeners.len(), rules)?;
    let steering = Arc::new(steering);
    tracing::info!(mode = steering.mode().as_str(), reason = steering.reason(), "steering");
    metrics.set_steering(Arc::clone(&steering) as _);
    Ok(steering)
}

/// For each address that serves routes, the workers' sockets in the order of the workers. All workers
/// have bound the same addresses in the same order.
fn groups(listeners: &[Vec<Listener>]) -> Vec<Vec<BorrowedFd<'_>>> {
    let addresses = listeners.first().map_or(&[][..], Vec::as_slice).iter().enumerate();
    addresses
        .filter(|(_, listener)| listener.service == Service::Routes)
        .map(|(at, _)| {
            let of_address = listeners.iter().filter_map(|worker| worker.get(at));
            of_address.map(|listener| listener.socket.as_fd()).collect()
        })
        .collect()
}

/// Uses the rules of another configuration from now on.
pub(super) fn apply(steering: &Steering, rules: Arc<Rules>) {
    if let Err(error) = steering.set_rules(rules) {
        tracing::error!(
            %error,
            "the kernel keeps the old names; workers hand misplaced connections to the right worker"
        );
    }
}
