//! How the process's steering begins and changes.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
};

use crate::{
    listener::{Listener, Service},
    observe::Metrics,
    steering::{ModeChoice, ModeError, Rules, Steering},
};

/// Decides for a mode, says which and why, and shows it in metrics and status.
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

/// Of each address that serves routes, the workers' sockets in the workers' order. Every worker
/// has bound the same addresses in the same order.
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

/// Goes on with the rules of another configuration.
pub(super) fn apply(steering: &Steering, rules: Arc<Rules>) {
    if let Err(error) = steering.set_rules(rules) {
        tracing::error!(
            %error,
            "kernel steering keeps the old names; workers hand connections that it misplaces to the right worker"
        );
    }
}
