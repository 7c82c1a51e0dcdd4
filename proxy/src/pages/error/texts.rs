//! The texts of pages of errors, by status.

use std::borrow::Cow;

use crate::pages::page::PageMood;

/// What a page says.
pub(super) struct ErrorText {
    pub(super) mood: PageMood,
    pub(super) heading: &'static str,
    /// What happened.
    pub(super) happened: Cow<'static, str>,
    /// What the visitor can do.
    pub(super) next: Cow<'static, str>,
}

impl ErrorText {
    /// The same with the time of the next try.
    pub(super) fn trying_again_in(self, seconds: u64) -> ErrorText {
        let in_seconds = match seconds {
            0 | 1 => "in a second".to_owned(),
            _ => format!("in {seconds} seconds"),
        };
        ErrorText { next: self.next.replace("in a moment", &in_seconds).into(), ..self }
    }
}

/// The text of a status.
pub(super) fn of(status: u16) -> ErrorText {
    let (mood, heading, happened, next) = match status {
        403 | 421 | 495 => not_let_in(status),
        400..500 => client_error(status),
        _ => server_error(status),
    };
    ErrorText { mood, heading, happened: happened.into(), next: next.into() }
}

/// Mood, heading, what happened, what to do next.
type Words = (PageMood, &'static str, &'static str, &'static str);

fn not_let_in(status: u16) -> Words {
    use PageMood::{Ask, Closed};
    match status {
        421 => (
            Ask,
            "Please open this page again",
            "Your browser reused a connection that it had made to another site, and this site \
             needs one of its own.",
            "Reload the page. If you see this again, close all windows of the browser and start it \
             again.",
        ),
        495 => (
            Closed,
            "A client certificate is needed",
            "This site lets in only browsers that present a valid client certificate. Yours \
             presented none, or one that is not valid here.",
            "Install the certificate that your administrator gave you, close all windows of the \
             browser, and open the page again. If it asks which certificate to use, choose that \
             one. A certificate that used to work may have expired.",
        ),
        _ => (
            Closed,
            "You do not have access",
            "The rules of this site do not let you open this page.",
            "If you need it for your work, ask the site’s administrator for access and give the \
             request ID below.",
        ),
    }
}

fn client_error(status: u16) -> Words {
    use PageMood::{Ask, Fault};
    match status {
        400 | 431 => (
            Ask,
            "This request cannot be served",
            "The browser sent a request that is malformed or too large, so it was not passed on.",
            "Go back and try again. If it happens again, delete this site’s cookies and reload the \
             page.",
        ),
        404 => (
            Ask,
            "Page not found",
            "There is nothing at this address.",
            "Check the address for typing errors. If you followed a link, the page may have moved.",
        ),
        405 => (
            Ask,
            "This request is not supported",
            "The method of the request is not allowed here.",
            "",
        ),
        408 => (
            Fault,
            "The request took too long",
            "The connection was too slow, or the request took longer than this site allows.",
            "Check your network connection, then try again.",
        ),
        _ => (
            Ask,
            "This request cannot be served",
            "The request was not accepted.",
            "Go back and try again.",
        ),
    }
}

fn server_error(status: u16) -> Words {
    use PageMood::Fault;
    match status {
        502 => (
            Fault,
            "The site gave an invalid answer",
            "The server behind this page answered in a way that could not be passed on to you.",
            "Try again in a moment. If it does not help, tell the site’s administrator the request \
             ID below.",
        ),
        503 => (
            Fault,
            "The site is unavailable",
            "The server behind this page cannot be reached at the moment.",
            "Try again in a moment. If it does not help, tell the site’s administrator the request \
             ID below.",
        ),
        504 => (
            Fault,
            "The site did not answer in time",
            "The server behind this page took too long to answer.",
            "Try again in a moment. What you sent may have been carried out all the same, so check \
             before you send it twice.",
        ),
        _ => (
            Fault,
            "Something went wrong",
            "The request could not be served because of an error on this side, not on yours.",
            "Try again in a moment. If it does not help, tell the site’s administrator the request \
             ID below.",
        ),
    }
}
