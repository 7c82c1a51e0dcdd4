//! The reasons of a decision, with Pomerium's names.

use std::fmt;

/// Declares the reasons with the names that are logged.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a criterion passed or failed, named as Pomerium names it (`criteria/reasons.go`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of their names.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// The name in the log: `email-unauthorized`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Reason::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// `accept` always passes.
    Accept = "accept",
    /// A claim has a required value.
    ClaimOk = "claim-ok",
    /// No claim has a required value.
    ClaimUnauthorized = "claim-unauthorized",
    /// The client certificate matches.
    ClientCertificateOk = "client-certificate-ok",
    /// A client certificate is required, and none was presented.
    ClientCertificateRequired = "client-certificate-required",
    /// The client certificate does not match.
    ClientCertificateUnauthorized = "client-certificate-unauthorized",
    /// The request is a CORS preflight.
    CorsRequest = "cors-request",
    /// The domain of the user's email address matches.
    DomainOk = "domain-ok",
    /// The domain of the user's email address does not match.
    DomainUnauthorized = "domain-unauthorized",
    /// The user's email address matches.
    EmailOk = "email-ok",
    /// The user's email address does not match.
    EmailUnauthorized = "email-unauthorized",
    /// The method matches.
    HttpMethodOk = "http-method-ok",
    /// The method does not match.
    HttpMethodUnauthorized = "http-method-unauthorized",
    /// The path matches.
    HttpPathOk = "http-path-ok",
    /// The path does not match.
    HttpPathUnauthorized = "http-path-unauthorized",
    /// The client CA does not trust the presented client certificate.
    InvalidClientCertificate = "invalid-client-certificate",
    /// The request is not a CORS preflight.
    NonCorsRequest = "non-cors-request",
    /// `reject` always fails.
    Reject = "reject",
    /// The client's address is in a range.
    SourceIpOk = "source-ip-ok",
    /// The client's address is in no range.
    SourceIpUnauthorized = "source-ip-unauthorized",
    /// The user matches, or a user is signed in and any user is allowed.
    UserOk = "user-ok",
    /// No user is signed in.
    UserUnauthenticated = "user-unauthenticated",
    /// The user does not match.
    UserUnauthorized = "user-unauthorized",
    /// The client certificate is valid, or none is required.
    ValidClientCertificate = "valid-client-certificate",
}

/// A set of reasons in one word, so that a decision allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Reasons(u32);

const _: () = assert!(Reason::ALL.len() <= u32::BITS as usize, "a reason is a bit");

impl Reasons {
    /// No reason at all.
    pub const NONE: Reasons = Reasons(0);

    /// Whether the set contains a reason.
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 & (1 << reason as u32) != 0
    }

    /// The reasons of both sets.
    #[must_use]
    pub const fn union(self, other: Reasons) -> Reasons {
        Reasons(self.0 | other.0)
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of their names.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.iter().copied().filter(move |reason| self.contains(*reason))
    }
}

impl From<Reason> for Reasons {
    fn from(reason: Reason) -> Reasons {
        Reasons(1 << reason as u32)
    }
}

impl FromIterator<Reason> for Reasons {
    fn from_iter<I: IntoIterator<Item = Reason>>(reasons: I) -> Reasons {
        reasons.into_iter().fold(Reasons::NONE, |all, reason| all.union(reason.into()))
    }
}

/// `email-unauthorized, user-unauthorized`
impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, reason) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(reason.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_in_the_order_of_their_names() {
        assert!(Reason::ALL.is_sorted_by(|left, right| left.name() < right.name()));
        let reasons: Reasons = [Reason::UserOk, Reason::Accept].into_iter().collect();
        assert_eq!(reasons.to_string(), "accept, user-ok");
    }

    #[test]
    fn every_reason_is_in_the_document() {
        let document = include_str!("../../../docs/log.md");
        for reason in Reason::ALL {
            assert!(document.contains(&format!("`{}`", reason.name())), "{}", reason.name());
        }
    }

    #[test]
    fn every_reason_has_a_bit_of_its_own() {
        for reason in Reason::ALL {
            assert_eq!(Reasons::from(*reason).iter().collect::<Vec<_>>(), [*reason]);
        }
        assert_eq!(Reason::ALL.iter().copied().collect::<Reasons>().iter().count(), 24);
        assert!(Reasons::NONE.is_empty());
    }
}
