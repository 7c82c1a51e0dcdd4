//! What is wrong with a visitor's client certificate, in words for its owner.

use super::{super::moment::date_and_time, ErrorText};
use crate::pages::page::PageMood;

/// Why a visitor's client certificate does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CertificateProblem {
    /// None was sent.
    Missing,
    /// It has ended, at this second since the epoch.
    Expired { not_after_s: i64 },
    /// It is valid from this second since the epoch on.
    NotYetValid { not_before_s: i64 },
    /// No CA of this site issued it.
    Untrusted,
    /// Its issuer has revoked it.
    Revoked,
    /// Nobody can tell whether it was revoked.
    RevocationUnknown,
    /// Anything else: how the log says it, such as `it has no ...`.
    Unusable(String),
}

const CHOOSE_AGAIN: &str = "Close all windows of the browser, open the page again, and choose the \
    certificate for this site. If you do not have one, ask the site’s administrator.";

const GET_ANOTHER: &str = "Ask the site’s administrator for a new certificate and install it. Then \
    close all windows of the browser, open the page again, and choose the new one.";

impl CertificateProblem {
    /// What the page says.
    pub(super) fn text(&self) -> ErrorText {
        match self {
            CertificateProblem::Missing => closed(
                "A client certificate is needed",
                "This site lets in only browsers that present a client certificate, and yours \
                 presented none.",
                "Install the certificate that your administrator gave you, then close all windows \
                 of the browser and open the page again. If you pressed Cancel when the browser \
                 asked for a certificate, do the same: it remembers that until it is closed.",
            ),
            CertificateProblem::Expired { not_after_s } => {
                let end = date_and_time(*not_after_s);
                let happened = format!(
                    "The client certificate that your browser presented, or the certificate of its \
                     issuer, was valid until {end}."
                );
                closed("Your certificate has expired", happened, GET_ANOTHER)
            }
            CertificateProblem::NotYetValid { not_before_s } => {
                let start = date_and_time(*not_before_s);
                let happened = format!(
                    "The client certificate that your browser presented, or the certificate of its \
                     issuer, is valid from {start} on."
                );
                let next = "Open the page again after that time. If the time has passed already, \
                    the clock of this site is wrong: tell its administrator.";
                closed("Your certificate is not valid yet", happened, next)
            }
            CertificateProblem::Untrusted => closed(
                "Your certificate is not for this site",
                "The client certificate that your browser presented was not issued by a certificate \
                 authority that this site trusts.",
                CHOOSE_AGAIN,
            ),
            CertificateProblem::Revoked => closed(
                "Your certificate has been revoked",
                "The issuer of the client certificate that your browser presented has declared it \
                 invalid.",
                GET_ANOTHER,
            ),
            CertificateProblem::RevocationUnknown => closed(
                "Your certificate cannot be checked",
                "This site could not find out whether your client certificate has been revoked. The \
                 cause is on this side, not on yours.",
                "Try again later, or tell the site’s administrator the request ID below.",
            ),
            CertificateProblem::Unusable(reason) => {
                let happened = format!(
                    "This site does not accept the client certificate that your browser presented: \
                     {reason}."
                );
                closed("Your certificate cannot be used here", happened, CHOOSE_AGAIN)
            }
        }
    }
}

fn closed(
    heading: &'static str,
    happened: impl Into<std::borrow::Cow<'static, str>>,
    next: &'static str,
) -> ErrorText {
    let (happened, next) = (happened.into(), next.into());
    ErrorText { mood: PageMood::Closed, heading, happened, next }
}
