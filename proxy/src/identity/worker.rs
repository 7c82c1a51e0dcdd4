//! What one worker handles identity with.

use std::{sync::Arc, time::Duration};

use ring::rand::SystemRandom;

use super::{
    bearer::memory::TokenMemory,
    calls::{IdentityCall, IdentityReply},
    memory::{CertificateAssertions, SessionMemory},
    shared::IdentityShared,
};
use crate::control_call::{ControlCallError, ControlCaller};

/// The control thread's own limits are shorter (10 s for a call to the provider).
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(12);

/// What every worker is given: the way to the control thread, and what that publishes.
#[derive(Debug, Clone)]
pub(crate) struct IdentityHandle {
    /// Calls the control thread.
    pub(crate) caller: ControlCaller<IdentityCall, IdentityReply>,
    /// Published by the control thread.
    pub(crate) shared: Arc<IdentityShared>,
}

/// What one worker handles identity with. It stays on its worker's thread.
#[derive(Debug)]
pub(crate) struct IdentityWorker {
    handle: IdentityHandle,
    /// The sessions it has opened.
    pub(crate) sessions: SessionMemory,
    /// The bearer tokens it has verified.
    pub(crate) tokens: TokenMemory,
    /// Assertions about users whom a certificate names.
    pub(crate) certificates: CertificateAssertions,
    /// For salts and ids.
    pub(crate) random: SystemRandom,
}

impl IdentityWorker {
    /// Remembers nothing yet.
    pub(crate) fn new(handle: IdentityHandle) -> IdentityWorker {
        IdentityWorker {
            handle,
            sessions: SessionMemory::default(),
            tokens: TokenMemory::default(),
            certificates: CertificateAssertions::default(),
            random: SystemRandom::new(),
        }
    }

    /// What the control thread has published.
    pub(crate) fn shared(&self) -> &IdentityShared {
        &self.handle.shared
    }

    /// Asks the control thread.
    pub(crate) async fn call(&self, call: IdentityCall) -> Result<IdentityReply, ControlCallError> {
        self.handle.caller.call(call, CALL_TIMEOUT).await
    }

    /// The way to the control thread.
    pub(crate) fn caller(&self) -> &ControlCaller<IdentityCall, IdentityReply> {
        &self.handle.caller
    }
}

#[cfg(test)]
impl IdentityHandle {
    /// A handle whose calls nobody answers. For tests of other rooms.
    pub(crate) fn detached() -> IdentityHandle {
        let (caller, _) = crate::control_call::channel(1);
        IdentityHandle { caller, shared: Arc::new(IdentityShared::new([7; 16])) }
    }
}
