//! The part of the control thread that calls the identity provider, and the workers' way to it.

use std::sync::Arc;

use anyhow::Context as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{
    control_call,
    http::RequestConfig,
    identity::{
        control::IdentityControl, shared::IdentityShared, spec::SealSecret, worker::IdentityHandle,
    },
    observe::Metrics,
    upstream::DnsNames,
};

/// Calls that may wait for the control thread to take them; it limits calls to the provider itself.
const CALLS: usize = 1_024;

/// Starts answering workers, with the settings of a configuration, and gives their way to it. Needs a
/// `LocalSet`.
pub(super) fn start(
    names: &Arc<DnsNames>,
    metrics: &Metrics,
    config: &RequestConfig,
) -> anyhow::Result<(IdentityHandle, IdentityControl)> {
    let shared = Arc::new(IdentityShared::new(random()?));
    let control = IdentityControl::new(Arc::clone(&shared), Arc::clone(names), metrics);
    configure(&control, config);
    let (caller, calls) = control_call::channel(CALLS);
    tokio::task::spawn_local(control.clone().run(calls));
    Ok((IdentityHandle { caller, shared }, control))
}

/// Reads what a process before has left in the state file, and keeps the file from now on. `replaces`
/// says whether that process still runs. Needs a `LocalSet`.
pub(super) fn keep_state(control: IdentityControl, replaces: bool) -> IdentityControl {
    control.restore(replaces);
    tokio::task::spawn_local(control.clone().keep_state());
    control
}

/// Takes the settings of a configuration.
pub(super) fn configure(control: &IdentityControl, config: &RequestConfig) {
    control.configure(config.sign_in_spec());
    control.configure_state(config.seals());
    control.configure_tokens(config.token_spec().map_or(&[], |tokens| &tokens.issuers));
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
