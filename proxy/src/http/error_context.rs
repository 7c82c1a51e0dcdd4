//! What an answer to a failed request says besides the failure.

use http::HeaderValue;

use super::active_request::ActiveRequest;
use crate::pages::{Branding, PageContext, Visitor, VisitorCertificate};

/// Who gets the answer, which request it is for, and how its page looks.
pub(super) struct ErrorContext<'a> {
    pub(super) request_id: &'a HeaderValue,
    pub(super) visitor: Visitor<'a>,
    now_s: Option<i64>,
    branding: &'a Branding,
}

impl<'a> ErrorContext<'a> {
    /// Of a request under way.
    pub(super) fn of(active: &'a ActiveRequest) -> ErrorContext<'a> {
        let conn = &active.account.conn;
        let now_s = conn.handler.now().and_then(|now| i64::try_from(now.as_secs()).ok());
        let certificate = conn.peer.certificate().and_then(|certificate| certificate.summary());
        ErrorContext {
            request_id: &active.account.request_id,
            visitor: Visitor {
                user: signed_in_as(active),
                certificate: certificate.map(|summary| VisitorCertificate {
                    subject: &summary.subject,
                    issuer: &summary.issuer,
                    names: &summary.subject_alt_names,
                }),
                address: Some(active.account.client),
                may_reload: active.negotiation.is_get,
            },
            now_s,
            branding: &active.config.settings.branding,
        }
    }

    /// Of a request of which nothing but its ID is known.
    #[cfg(test)]
    pub(super) fn bare(request_id: &HeaderValue) -> ErrorContext<'_> {
        let (visitor, branding) = (Visitor::default(), Branding::none());
        ErrorContext { request_id, visitor, now_s: None, branding }
    }

    /// The ID as text; empty if it is none.
    pub(super) fn id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// What pages need of it.
    pub(super) fn page(&self) -> PageContext<'_> {
        PageContext { request_id: self.id(), now_s: self.now_s, branding: self.branding }
    }
}

/// The name of the user of the session: an email address, else an ID.
pub(super) fn signed_in_as(active: &ActiveRequest) -> Option<&str> {
    let identity = &active.account.session()?.session.identity;
    [&*identity.email, &*identity.user_id].into_iter().find(|text| !text.is_empty())
}
