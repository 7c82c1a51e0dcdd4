//! What the control thread counts of sign-in.

use std::array;

use super::{
    Cell,
    labels::{
        BackchannelLogoutCells, BackchannelLogoutOutcome, Label, ProviderCallOutcome,
        ProviderEndpoint, RecheckCells, RecheckOutcome,
    },
};

/// Counts of calls to the identity provider. Only the control thread writes them.
#[derive(Debug)]
pub(crate) struct IdentityMetrics {
    calls: [[Cell; ProviderCallOutcome::ALL.len()]; ProviderEndpoint::ALL.len()],
    rechecks: RecheckCells,
    logouts: BackchannelLogoutCells,
    /// 0 without a provider, then 1 + whether its last call was answered, or 3 before any.
    state: Cell,
}

const DOWN: u64 = 1;
const UP: u64 = 2;
const NOT_CALLED: u64 = 3;

impl IdentityMetrics {
    /// Says whether a provider is configured: without one, nothing is shown.
    pub(crate) fn configured(&self, is_configured: bool) {
        match (is_configured, self.state.get()) {
            (false, _) => self.state.set(0),
            (true, 0) => self.state.set(NOT_CALLED),
            (true, _) => {}
        }
    }

    /// Counts a call. It says whether the provider is up, too.
    pub(crate) fn called(&self, endpoint: ProviderEndpoint, outcome: ProviderCallOutcome) {
        if let Some(cell) = self.cell(endpoint, outcome) {
            cell.inc();
        }
        self.state.set(if outcome == ProviderCallOutcome::Unavailable { DOWN } else { UP });
    }

    /// Counts a check of a session.
    pub(crate) fn rechecked(&self, outcome: RecheckOutcome) {
        self.rechecks.inc(outcome);
    }

    /// Counts a logout token.
    pub(crate) fn logged_out(&self, outcome: BackchannelLogoutOutcome) {
        self.logouts.inc(outcome);
    }

    /// Reads one count, from any thread.
    pub(crate) fn calls(&self, endpoint: ProviderEndpoint, outcome: ProviderCallOutcome) -> u64 {
        self.cell(endpoint, outcome).map_or(0, Cell::get)
    }

    /// Reads one count, from any thread.
    pub(crate) fn rechecks(&self, outcome: RecheckOutcome) -> u64 {
        self.rechecks.get(outcome)
    }

    /// Reads one count, from any thread.
    pub(crate) fn logouts(&self, outcome: BackchannelLogoutOutcome) -> u64 {
        self.logouts.get(outcome)
    }

    /// Whether anything is to be shown.
    pub(super) fn is_configured(&self) -> bool {
        self.state.get() != 0
    }

    /// Whether the last call was answered; `None` before the first.
    pub(super) fn is_up(&self) -> Option<bool> {
        match self.state.get() {
            DOWN => Some(false),
            UP => Some(true),
            _ => None,
        }
    }

    fn cell(&self, endpoint: ProviderEndpoint, outcome: ProviderCallOutcome) -> Option<&Cell> {
        self.calls.get(endpoint.index())?.get(outcome.index())
    }
}

impl Default for IdentityMetrics {
    fn default() -> Self {
        IdentityMetrics {
            calls: array::from_fn(|_| array::from_fn(|_| Cell::default())),
            rechecks: RecheckCells::default(),
            logouts: BackchannelLogoutCells::default(),
            state: Cell::default(),
        }
    }
}
