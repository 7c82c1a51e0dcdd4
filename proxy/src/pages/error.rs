//! What people read when a request of theirs failed.

mod certificate;
mod texts;

use bytes::Bytes;
use http::{Response, StatusCode};

pub(crate) use certificate::CertificateProblem;
use texts::ErrorText;

use super::page::{PageAction, PageContent, PageContext};

/// The page of a failed request.
#[derive(Debug)]
pub(crate) struct ErrorPage<'a> {
    pub(crate) status: StatusCode,
    /// What programs get as the reason.
    pub(crate) message: &'a str,
    /// What is wrong with the visitor's certificate, if that is the reason.
    pub(crate) problem: Option<CertificateProblem>,
    /// After how many seconds another try may succeed, if that is known.
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) visitor: Visitor<'a>,
}

/// Who reads the page, as far as that is known. Everything in it is the visitor's own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visitor<'a> {
    /// The name of the user who is signed in, such as an email address.
    pub(crate) user: Option<&'a str>,
    /// The client certificate that the browser sent.
    pub(crate) certificate: Option<VisitorCertificate<'a>>,
    /// The address of the client.
    pub(crate) address: Option<std::net::IpAddr>,
    /// Another request for the same page may be sent: this one was a GET.
    pub(crate) may_reload: bool,
}

/// What a client certificate says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisitorCertificate<'a> {
    /// RFC 4514; empty if it has none.
    pub(crate) subject: &'a str,
    /// RFC 4514.
    pub(crate) issuer: &'a str,
    /// Subject alternative names, each with its type: `DNS:a.example`.
    pub(crate) names: &'a [String],
}

impl ErrorPage<'_> {
    /// The response, without a header about caching.
    pub(crate) fn response(&self, context: &PageContext<'_>) -> Response<Bytes> {
        self.content().response(context)
    }

    /// What the page says.
    pub(super) fn content(&self) -> PageContent<'_> {
        let ErrorText { mood, heading, happened, next } = self.text();
        let mut page = PageContent::new(self.status, mood, heading, happened, next);
        page.title = format!("{} {}", self.status.as_u16(), self.message).into();
        // "not found" says nothing beside the heading.
        let is_canonical = |reason: &str| reason.eq_ignore_ascii_case(self.message);
        if self.problem.is_none() && !self.status.canonical_reason().is_some_and(is_canonical) {
            page = page.fact("Reason", self.message);
        }
        let page = self.with_visitor(page);
        match self.reload_label() {
            Some(label) if self.visitor.may_reload => page.action(PageAction::Reload { label }),
            _ => page,
        }
    }

    fn text(&self) -> ErrorText {
        let text = match &self.problem {
            Some(problem) => problem.text(),
            None => texts::of(self.status.as_u16()),
        };
        match self.retry_after_s {
            Some(seconds) => text.trying_again_in(seconds),
            None => text,
        }
    }

    /// A browser answers once more with the certificate that it has chosen, so a reload is no help.
    fn reload_label(&self) -> Option<&'static str> {
        match self.status.as_u16() {
            421 => Some("Reload the page"),
            408 | 429 | 500..600 => Some("Try again"),
            _ => None,
        }
    }

    /// Where the visitor is not let in, as whom the site knows them: what a help desk asks for.
    fn with_visitor<'p>(&'p self, page: PageContent<'p>) -> PageContent<'p> {
        let Visitor { user, certificate, address, .. } = self.visitor;
        if !matches!(self.status.as_u16(), 403 | 495) {
            return page;
        }
        let mut page = PageContent { known_as: user, ..page };
        if let Some(VisitorCertificate { subject, issuer, names }) = certificate {
            if !subject.is_empty() {
                page = page.fact("Your certificate", subject);
            }
            if !names.is_empty() {
                page = page.fact("Its names", names.join(", "));
            }
            page = page.fact("Issued by", issuer);
        }
        match address {
            Some(address) => page.fact("Your address", address.to_string()),
            None => page,
        }
    }
}
