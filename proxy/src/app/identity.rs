//! The part of the control thread that calls the identity provider, and the workers' way to it.

use std::sync::Arc;

use anyhow::Context as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{
    control_call::{self, ControlCalls},
    identity::{
        calls::{IdentityCall, IdentityReply},
        shared::IdentityShared,
        worker::IdentityHandle,
    },
};

/// Calls that may wait for the control thread to take them; it limits calls to the provider itself.
const CALLS: usize = 1_024;

/// Makes the queue of calls, and what the control thread publishes.
pub(super) fn channel()
-> anyhow::Result<(IdentityHandle, ControlCalls<IdentityCall, IdentityReply>)> {
    let mut process = [0; 16];
    let failed = "the system's random generator failed";
    SystemRandom::new().fill(&mut process).ok().context(failed)?;
    let (caller, calls) = control_call::channel(CALLS);
    Ok((IdentityHandle { caller, shared: Arc::new(IdentityShared::new(process)) }, calls))
}
