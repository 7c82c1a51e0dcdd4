//! The part of the control thread that calls the identity provider, and the workers' way to it.

use std::sync::Arc;

use anyhow::Context as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{
    control_call::{self, ControlCalls},
    identity::{
        calls::{IdentityCall, IdentityReply},
        shared::IdentityShared,
        spec::SealSecret,
        worker::IdentityHandle,
    },
};

/// Calls that may wait for the control thread to take them; it limits calls to the provider itself.
const CALLS: usize = 1_024;

/// Makes the queue of calls, and what the control thread publishes.
pub(super) fn channel()
-> anyhow::Result<(IdentityHandle, ControlCalls<IdentityCall, IdentityReply>)> {
    let process = random()?;
    let (caller, calls) = control_call::channel(CALLS);
    Ok((IdentityHandle { caller, shared: Arc::new(IdentityShared::new(process)) }, calls))
}

/// A `shared_secret` for configurations that have none: sign-ins end with this process.
pub(super) fn random_secret() -> anyhow::Result<SealSecret> {
    random().map(SealSecret)
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let failed = "the system's random generator failed";
    SystemRandom::new().fill(&mut bytes).ok().context(failed)?;
    Ok(bytes)
}
