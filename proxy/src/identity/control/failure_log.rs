//! What the log says of the provider's failures. They may come with every request.

use crate::identity::{calls::ProviderFailure, provider::is_about_us, rare_warning::RareWarning};

/// The warnings, each with a pause of its own.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    sign_ins: RareWarning,
    client: RareWarning,
    queue: RareWarning,
    checks: RareWarning,
    contradictions: RareWarning,
    revocations: RareWarning,
}

impl FailureLog {
    /// A sign-in failed. What is wrong with our client is for the operator to fix, and stops every
    /// sign-in.
    pub(super) fn sign_in(&self, failure: &ProviderFailure, now_s: u64) {
        match failure {
            ProviderFailure::Refused { error } if is_about_us(error) => {
                self.client.write(now_s, |left_out| {
                    tracing::error!(
                        left_out,
                        "a sign-in failed: {failure}; check idp_client_id, idp_client_secret and the \
                         redirect URL that the identity provider knows"
                    );
                });
            }
            failure => self.sign_ins.write(now_s, |left_out| {
                tracing::warn!(left_out, "a sign-in failed: {failure}");
            }),
        }
    }

    /// The queue has no place for a sign-in.
    pub(super) fn queue_is_full(&self, now_s: u64) {
        self.queue.write(now_s, |left_out| {
            tracing::warn!(
                left_out,
                "a sign-in is refused: too many wait for the identity provider"
            );
        });
    }

    /// A session could not be checked, and goes on.
    pub(super) fn check(&self, failure: &impl std::fmt::Display, now_s: u64) {
        self.checks.write(now_s, |left_out| {
            tracing::warn!(left_out, "a session could not be checked and goes on: {failure}");
        });
    }

    /// A session ended because the provider contradicts what it said before.
    pub(super) fn contradiction(&self, failure: &impl std::fmt::Display, now_s: u64) {
        self.contradictions.write(now_s, |left_out| {
            tracing::warn!(left_out, "a session has ended: {failure}");
        });
    }

    /// A refresh token stays valid at the provider until its own end.
    pub(super) fn revocation(&self, failure: &impl std::fmt::Display, now_s: u64) {
        self.revocations.write(now_s, |left_out| {
            tracing::warn!(left_out, "a refresh token could not be revoked: {failure}");
        });
    }
}
