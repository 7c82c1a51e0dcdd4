//! Why a token is not acceptable.

/// Why a provider's token is not acceptable. For the log: no text has content of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No key of the set is the one that the token names, or the token names none and no key
    /// verifies it: the provider may have other keys now.
    #[error("no key of the provider's key set verifies the token")]
    UnknownKid,
    /// Both clocks differ by more than 60 s, or the token has expired. Seconds since 1970.
    #[error("the token's times do not fit our clock: issued at {provider_s}, received at {our_s}")]
    Clock {
        /// The provider's clock when it made the token.
        provider_s: i64,
        /// Our clock.
        our_s: i64,
    },
    /// It breaks a rule.
    #[error("{0}")]
    Invalid(&'static str),
}
