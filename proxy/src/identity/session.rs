//! A session: what a sealed cookie says of who somebody is. Pure.

use crate::policy;

/// A random id, an UUIDv4 where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub [u8; 16]);

/// A digest of the provider's configured URL and our client id: a session of another provider does
/// not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProviderId(pub [u8; 16]);

/// Random bytes that one browser keeps in a cookie of one host; every step of a sign-in is bound to
/// them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BindingId(pub [u8; 16]);

/// A session of a person who signed in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    /// The same at all hosts; new with each sign-in.
    pub id: SessionId,
    /// Who vouched for it.
    pub provider: ProviderId,
    /// A digest of the binding at the host it was made for; no binding opens another's.
    pub binding: [u8; 16],
    /// The user, as policies see it. An address that does not count is not in it.
    pub identity: policy::Identity,
    /// The user's name; empty if the provider gave none.
    pub name: Box<str>,
    /// A digest of the list of claims that were kept ([`super::spec::SignInSpec::kept_claims`]).
    pub claims_digest: [u8; 8],
    /// When the person signed in, in seconds since 1970.
    pub signed_in_at_s: u64,
    /// When the session ends.
    pub ends_at_s: u64,
    /// When the provider is to be asked whether the person is still welcome.
    pub check_at_s: u64,
}

impl std::fmt::Debug for BindingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BindingId(..)")
    }
}
