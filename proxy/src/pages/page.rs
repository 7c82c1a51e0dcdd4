//! The template.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    branding::Branding,
    headers::{self, PageSecurity, PageUse},
    html::{HtmlWriter, shortened},
    mark,
    moment::to_the_second,
    url::PageUrl,
};

/// The one style of all pages, exactly as it stands between its tags.
pub(super) const STYLE: &str = include_str!("style.css");

/// More than the longest page without facts has.
const TYPICAL_BYTES: usize = STYLE.len() + 2_560;
/// Values on a page are cut after so many characters; a user id has up to 255.
const VALUE_CHARACTERS: usize = 255;

/// What one page says.
#[derive(Debug)]
pub(super) struct PageContent<'a> {
    pub(super) status: StatusCode,
    /// The title of the window.
    pub(super) title: Cow<'a, str>,
    pub(super) mood: PageMood,
    pub(super) heading: Cow<'a, str>,
    /// What happened.
    pub(super) happened: Cow<'a, str>,
    /// What the reader can do next; empty if there is nothing to say.
    pub(super) next: Cow<'a, str>,
    /// Name and value.
    pub(super) facts: Vec<(&'static str, Cow<'a, str>)>,
    /// As whom the reader is known: an address, or another name.
    pub(super) known_as: Option<&'a str>,
    pub(super) actions: Vec<PageAction>,
    /// The origin that the answer to the form leads to, if it is another one.
    pub(super) form_leads_to: Option<&'a str>,
    /// Where the browser goes by itself, at once.
    pub(super) refresh: Option<PageUrl>,
}

/// What pages of one request share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageContext<'a> {
    /// Empty if there is none.
    pub(crate) request_id: &'a str,
    /// The time, in seconds since the epoch; `None` without a clock.
    pub(crate) now_s: Option<i64>,
    pub(crate) branding: &'a Branding,
}

/// The colour and the picture of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageMood {
    /// The gate is open.
    Open,
    /// The reader has to do something.
    Ask,
    /// The gate stays closed.
    Closed,
    /// Something does not work; it is not the reader's fault.
    Fault,
}

/// Something to click. The first one of a page stands out.
#[derive(Debug)]
pub(super) enum PageAction {
    Link {
        label: &'static str,
        url: PageUrl,
    },
    /// A link that opens a new tab.
    NewTab {
        label: &'static str,
        url: PageUrl,
    },
    /// Loads the page once more.
    Reload {
        label: &'static str,
    },
    /// A form of one button, sent by POST.
    Post {
        label: &'static str,
        url: PageUrl,
    },
}

impl<'a> PageContent<'a> {
    /// A page without anything optional.
    pub(super) fn new(
        status: StatusCode,
        mood: PageMood,
        heading: impl Into<Cow<'a, str>>,
        happened: impl Into<Cow<'a, str>>,
        next: impl Into<Cow<'a, str>>,
    ) -> PageContent<'a> {
        let heading = heading.into();
        PageContent {
            status,
            title: heading.clone(),
            mood,
            heading,
            happened: happened.into(),
            next: next.into(),
            facts: Vec::new(),
            known_as: None,
            actions: Vec::new(),
            form_leads_to: None,
            refresh: None,
        }
    }

    /// Adds a fact.
    pub(super) fn fact(mut self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.facts.push((name, value.into()));
        self
    }

    /// Adds something to click.
    pub(super) fn action(mut self, action: PageAction) -> Self {
        self.actions.push(action);
        self
    }

    /// Adds a link, if there is one.
    pub(super) fn link(self, label: &'static str, url: Option<&PageUrl>) -> Self {
        match url.cloned() {
            Some(url) => self.action(PageAction::Link { label, url }),
            None => self,
        }
    }

    /// The response, without a header about caching.
    pub(super) fn response(&self, context: &PageContext<'_>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.html(context)));
        *response.status_mut() = self.status;
        let security = PageSecurity {
            page_use: self.page_use(),
            form_leads_to: self.form_leads_to,
            is_error: self.is_error(),
            branding: context.branding,
        };
        headers::insert(response.headers_mut(), security);
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, html);
        response
    }

    fn page_use(&self) -> PageUse {
        match self.actions.as_slice() {
            [PageAction::NewTab { .. }] => PageUse::Framed,
            actions if actions.iter().any(|action| matches!(action, PageAction::Post { .. })) => {
                PageUse::Form
            }
            _ => PageUse::Read,
        }
    }

    /// Nothing is wrong with somebody who has not signed in yet.
    fn is_error(&self) -> bool {
        self.status.as_u16() >= 400 && self.status != StatusCode::UNAUTHORIZED
    }

    /// The document.
    pub(super) fn html(&self, context: &PageContext<'_>) -> String {
        let mut out = HtmlWriter::with_capacity(TYPICAL_BYTES);
        self.head(&mut out, context.branding);
        out.markup("<body>\n<div class=\"card ").markup(self.mood.class()).markup("\">\n");
        out.markup("<main aria-labelledby=\"what\">\n");
        if self.is_error() {
            context.branding.logo(&mut out);
        }
        out.markup(mark::of(self.mood));
        self.story(&mut out, context.branding);
        self.buttons(&mut out);
        out.markup("</main>\n");
        self.details(&mut out, context);
        out.markup("</div>\n</body>\n</html>\n");
        out.finish()
    }

    fn head(&self, out: &mut HtmlWriter, branding: &Branding) {
        out.markup(HEAD_BEFORE_TITLE).text(&self.title).markup("</title>\n");
        if let Some(url) = &self.refresh {
            out.markup("<meta http-equiv=\"refresh\" content=\"0;url=");
            out.text(url.as_str()).markup("\">\n");
        }
        out.markup("<style>").markup(STYLE).markup("</style>\n");
        branding.head(out, self.is_error());
        out.markup("</head>\n");
    }

    fn story(&self, out: &mut HtmlWriter, branding: &Branding) {
        if self.is_error() {
            out.markup("<p class=\"code\">Error ").text(self.status.as_str()).markup("</p>\n");
        }
        out.markup("<h1 id=\"what\">").text(&self.heading).markup("</h1>\n");
        if self.is_error() {
            branding.first_paragraph(out);
        }
        out.markup("<p>").text(&self.happened).markup("</p>\n");
        if !self.next.is_empty() {
            out.markup("<h2>What you can do</h2>\n<p>").text(&self.next).markup("</p>\n");
        }
    }

    fn buttons(&self, out: &mut HtmlWriter) {
        if self.actions.is_empty() {
            return;
        }
        out.markup("<div class=\"do\">\n");
        for action in &self.actions {
            match action {
                PageAction::Link { label, url } => {
                    out.markup("<a").url("href", url).markup(">").text(label).markup("</a>\n")
                }
                PageAction::NewTab { label, url } => out
                    .markup("<a target=\"_blank\" rel=\"noopener\"")
                    .url("href", url)
                    .markup(">")
                    .text(label)
                    .markup("</a>\n"),
                PageAction::Reload { label } => {
                    out.markup("<a href=\"\">").text(label).markup("</a>\n")
                }
                PageAction::Post { label, url } => out
                    .markup("<form method=\"post\"")
                    .url("action", url)
                    .markup("><button>")
                    .text(label)
                    .markup("</button></form>\n"),
            };
        }
        out.markup("</div>\n");
    }

    fn details(&self, out: &mut HtmlWriter, context: &PageContext<'_>) {
        let request_id = context.request_id;
        if self.facts.is_empty() && self.known_as.is_none() && request_id.is_empty() {
            return;
        }
        out.markup("<footer aria-label=\"Details\">\n<dl>\n");
        let known_as = self.known_as.map(|name| ("Signed in as", Cow::Borrowed(name)));
        for (name, value) in self.facts.iter().chain(&known_as) {
            // `bdi` keeps the direction of a foreign text to itself.
            out.markup("<div><dt>").text(name).markup("</dt><dd><bdi>");
            out.text(&shortened(value, VALUE_CHARACTERS)).markup("</bdi></dd></div>\n");
        }
        if let Some(now_s) = context.now_s.filter(|_| self.is_error()) {
            out.markup("<div><dt>Time</dt><dd>")
                .text(&to_the_second(now_s))
                .markup("</dd></div>\n");
        }
        if !request_id.is_empty() {
            out.markup("<div><dt>Request ID</dt><dd><code>").text(request_id);
            out.markup("</code></dd></div>\n");
        }
        out.markup("</dl>\n</footer>\n");
    }
}

impl PageMood {
    fn class(self) -> &'static str {
        match self {
            PageMood::Open => "open",
            PageMood::Ask => "ask",
            PageMood::Closed => "closed",
            PageMood::Fault => "fault",
        }
    }
}

const HEAD_BEFORE_TITLE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n\
     <meta charset=\"utf-8\">\n\
     <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
     <meta name=\"color-scheme\" content=\"light dark\">\n\
     <meta name=\"robots\" content=\"noindex\">\n<title>";
