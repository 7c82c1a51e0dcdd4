//! What is wrong with a client certificate, for its owner and for the metrics. The log has the whole
//! sentence.

use crate::{
    observe::RequestRefusal,
    pages::CertificateProblem,
    tls::{ChainError, RevocationError},
};

/// The problem for the page of its owner; without an error, no certificate was presented.
pub(super) fn problem(error: Option<&ChainError>) -> CertificateProblem {
    let seconds =
        |time: rustls_pki_types::UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match error {
        None => CertificateProblem::Missing,
        Some(ChainError::Expired { not_after, .. }) => {
            CertificateProblem::Expired { not_after_s: seconds(*not_after) }
        }
        Some(ChainError::NotYetValid { not_before, .. }) => {
            CertificateProblem::NotYetValid { not_before_s: seconds(*not_before) }
        }
        Some(ChainError::UnknownIssuer | ChainError::ForeignSignature) => {
            CertificateProblem::Untrusted
        }
        Some(ChainError::Revocation(RevocationError::Revoked)) => CertificateProblem::Revoked,
        Some(ChainError::Revocation(_)) => CertificateProblem::RevocationUnknown,
        Some(other) => CertificateProblem::Unusable(other.to_string()),
    }
}

/// The reason in the metrics.
pub(super) fn refusal(error: Option<&ChainError>) -> RequestRefusal {
    match problem(error) {
        CertificateProblem::Missing => RequestRefusal::CertificateMissing,
        CertificateProblem::Expired { .. } => RequestRefusal::CertificateExpired,
        CertificateProblem::NotYetValid { .. } => RequestRefusal::CertificateNotYetValid,
        CertificateProblem::Untrusted => RequestRefusal::CertificateUntrusted,
        CertificateProblem::Revoked => RequestRefusal::CertificateRevoked,
        CertificateProblem::RevocationUnknown => RequestRefusal::CertificateRevocationUnknown,
        CertificateProblem::Unusable(_) => RequestRefusal::CertificateUnusable,
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::UnixTime;

    use super::*;

    #[test]
    fn each_kind_of_error_is_told_apart() {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let expired = ChainError::Expired { time: at(9), not_after: at(7) };
        assert_eq!(problem(Some(&expired)), CertificateProblem::Expired { not_after_s: 7 });
        let early = ChainError::NotYetValid { time: at(9), not_before: at(11) };
        assert_eq!(problem(Some(&early)), CertificateProblem::NotYetValid { not_before_s: 11 });
        let stale = RevocationError::Stale { next_update_s: 1, now_s: 2 };
        for (error, expected) in [
            (None, RequestRefusal::CertificateMissing),
            (Some(expired), RequestRefusal::CertificateExpired),
            (Some(early), RequestRefusal::CertificateNotYetValid),
            (Some(ChainError::UnknownIssuer), RequestRefusal::CertificateUntrusted),
            (Some(ChainError::ForeignSignature), RequestRefusal::CertificateUntrusted),
            (Some(RevocationError::Revoked.into()), RequestRefusal::CertificateRevoked),
            (Some(stale.into()), RequestRefusal::CertificateRevocationUnknown),
            (Some(ChainError::VersionOne), RequestRefusal::CertificateUnusable),
        ] {
            assert_eq!(refusal(error.as_ref()), expected, "{error:?}");
        }
    }

    #[test]
    fn no_page_names_a_key_of_the_configuration() {
        for error in [RevocationError::Missing, RevocationError::MayNotSign] {
            assert_eq!(
                problem(Some(&ChainError::from(error))),
                CertificateProblem::RevocationUnknown
            );
        }
    }
}
