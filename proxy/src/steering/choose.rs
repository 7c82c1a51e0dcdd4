//! Chooses the worker for an accepted connection, when its server name is known. Pure.

use portcullis_abi::{Balance, Home, Loads, Reason, place};

use super::{Mode, SteeringRules, load_table::Without};
use crate::observe::SteeringOutcome;

/// Where a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The worker that accepted the connection serves it.
    Stay,
    /// The connection is handed over to this worker.
    HandTo(u32),
    /// The server name matches no route, and unknown names are refused.
    Refuse,
}

/// The properties of a connection that the choice depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacementRequest<'a> {
    /// The worker that accepted the connection, and counts it among its open ones.
    pub(super) worker: u32,
    /// The server name, in canonical form.
    pub(super) name: Option<&'a [u8]>,
    /// A hash of the connection's addresses.
    pub(super) flow: u32,
}

/// Chooses the worker, and the outcome to count.
pub(super) fn choose<L: Loads + ?Sized>(
    mode: Mode,
    rules: &SteeringRules,
    request: PlacementRequest<'_>,
    loads: &L,
) -> (Choice, Option<SteeringOutcome>) {
    let entry = request.name.and_then(|name| rules.names.find(name));
    let unknown = request.name.is_some() && entry.is_none();
    if unknown && rules.refuse_unknown {
        return (Choice::Refuse, Some(SteeringOutcome::UnknownRefused));
    }
    let loads = Without { loads, worker: request.worker };
    match (mode, entry) {
        (Mode::None, _) => (Choice::Stay, None),
        (Mode::Handoff, Some(entry)) => {
            let (choice, outcome) = by_bound(&entry.home, rules.balance, request.worker, &loads);
            (choice, Some(outcome))
        }
        // The kernel has counted the connection.
        (Mode::Kernel, Some(entry)) => {
            (after_kernel(&entry.home, rules.balance, request.worker, &loads), None)
        }
        (Mode::Handoff, None) => {
            let outcome = if unknown { SteeringOutcome::Unknown } else { SteeringOutcome::NoSni };
            (by_flow(request, rules.balance, &loads), Some(outcome))
        }
        (Mode::Kernel, None) => (by_flow(request, rules.balance, &loads), None),
    }
}

fn by_bound(
    home: &Home,
    balance: Balance,
    worker: u32,
    loads: &impl Loads,
) -> (Choice, SteeringOutcome) {
    let Some(placed) = place(home, balance, loads) else {
        return (Choice::Stay, SteeringOutcome::WorkerUnavailable);
    };
    let outcome = match placed.reason {
        Reason::Home => SteeringOutcome::Steered,
        Reason::Spilled => SteeringOutcome::Spilled,
        Reason::Unavailable => SteeringOutcome::WorkerUnavailable,
    };
    (stay_or_hand_to(placed.worker, worker), outcome)
}

/// The kernel has chosen the worker already, unless it could not read the name or did not run.
fn after_kernel(home: &Home, balance: Balance, worker: u32, loads: &impl Loads) -> Choice {
    if !home.allows(worker) || loads.load(worker).is_none() {
        return by_bound(home, balance, worker, loads).0;
    }
    match place(home, halfway(balance), loads) {
        Some(placed) if home.preference(placed.worker) > home.preference(worker) => {
            Choice::HandTo(placed.worker)
        }
        _ => Choice::Stay,
    }
}

/// The limit for connections that the kernel may have placed elsewhere on purpose. With the full
/// limit, connections would be handed back all the time to a worker near its limit.
fn halfway(balance: Balance) -> Balance {
    let above_mean = balance.max_load_percent.saturating_sub(100);
    Balance { max_load_percent: 100 + above_mean / 2, ..balance }
}

/// A connection without a home stays, unless this worker accepts no more connections.
fn by_flow(request: PlacementRequest<'_>, balance: Balance, loads: &impl Loads) -> Choice {
    if loads.load(request.worker).is_some() {
        return Choice::Stay;
    }
    let placed = place(&Home::of_flow(request.flow), balance, loads);
    placed.map_or(Choice::Stay, |placed| stay_or_hand_to(placed.worker, request.worker))
}

fn stay_or_hand_to(chosen: u32, worker: u32) -> Choice {
    if chosen == worker { Choice::Stay } else { Choice::HandTo(chosen) }
}

#[cfg(test)]
mod tests;
