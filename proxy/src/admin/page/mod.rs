//! `/` of the administrative address: the state of the process for people, as one document. It loads
//! nothing, has no script, and shows no more than `/status` has.

mod sections;
mod table;

use std::sync::LazyLock;

use http::{HeaderValue, Response, StatusCode, header};

use super::rates::RatesSince;
use crate::{
    observe::{Readiness, StatusView},
    pages::{HtmlWriter, style_source},
};

/// The style, exactly as it stands between its tags.
const STYLE: &str = include_str!("style.css");

/// How many routes are shown unless all of them are asked for.
const BUSIEST_ROUTES: usize = 20;
/// How many are shown at the most; `/status` has all of them.
const MOST_ROUTES: usize = 2_000;
/// How often the browser loads the page again, if it is told to, in seconds.
const REFRESH_S: &str = "10";

static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let style = style_source(STYLE);
    HeaderValue::from_str(&format!(
        "default-src 'none'; style-src {style}; base-uri 'none'; frame-ancestors 'none'; \
         form-action 'none'"
    ))
    .ok()
});

/// What the reader has chosen, by the query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageOptions {
    /// Load the page again every few seconds.
    refreshes: bool,
    /// Show all routes.
    all_routes: bool,
}

impl PageOptions {
    /// Of a query such as `routes=all&refresh`.
    pub(super) fn of(query: Option<&str>) -> PageOptions {
        let has = |part| query.is_some_and(|query| query.split('&').any(|pair| pair == part));
        PageOptions { refreshes: has("refresh"), all_routes: has("routes=all") }
    }

    /// The link to the page with these options.
    fn link(self) -> &'static str {
        match (self.all_routes, self.refreshes) {
            (false, false) => "/",
            (false, true) => "/?refresh",
            (true, false) => "/?routes=all",
            (true, true) => "/?routes=all&amp;refresh",
        }
    }

    /// The link to the page with more or fewer routes, and its text, if there are more.
    fn other_routes(self, routes: usize) -> Option<(&'static str, &'static str)> {
        let other = PageOptions { all_routes: !self.all_routes, ..self };
        let label = if self.all_routes { "Show the busiest routes" } else { "Show all routes" };
        (routes > BUSIEST_ROUTES).then(|| (other.link(), label))
    }

    fn most_routes(self) -> usize {
        if self.all_routes { MOST_ROUTES } else { BUSIEST_ROUTES }
    }
}

/// The page. `now` is the time as text.
pub(super) fn response(
    status: &StatusView,
    rates: &RatesSince<'_>,
    options: PageOptions,
    now: &str,
) -> Response<String> {
    let mut response = Response::new(document(status, rates, options, now));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    let policy = POLICY.clone().unwrap_or(HeaderValue::from_static("default-src 'none'"));
    for (name, value) in [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ] {
        headers.insert(name, value);
    }
    response
}

fn document(
    status: &StatusView,
    rates: &RatesSince<'_>,
    options: PageOptions,
    now: &str,
) -> String {
    let mut out = HtmlWriter::with_capacity(64 << 10);
    head(&mut out, options);
    top(&mut out, status, options);
    out.markup("<main id=\"state\">\n");
    sections::write(&mut out, status, rates, options);
    out.markup("</main>\n<footer>As of ").text(now).markup("</footer>\n</body>\n</html>\n");
    out.finish()
}

fn head(out: &mut HtmlWriter, options: PageOptions) {
    out.markup(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n",
    );
    if options.refreshes {
        out.markup("<meta http-equiv=\"refresh\" content=\"").markup(REFRESH_S).markup("\">\n");
    }
    out.markup("<title>Portcullis</title>\n<style>").markup(STYLE).markup("</style>\n</head>\n");
}

/// Which process this is, and how it is.
fn top(out: &mut HtmlWriter, status: &StatusView, options: PageOptions) {
    let (class, state) = match status.state {
        Readiness::Ready => ("state good", "ready"),
        Readiness::Starting => ("state warn", "starting"),
        Readiness::Draining => ("state warn", "draining"),
    };
    out.markup("<body>\n<a class=\"skip\" href=\"#state\">Skip to the state</a>\n<header>\n");
    out.markup("<h1>Portcullis ").text(&status.version).markup(" <span class=\"");
    out.markup(class).markup("\">").markup(state).markup("</span></h1>\n<p class=\"about\">");
    out.text(&format!("Process {}, up {}. ", status.pid, sections::duration(status.uptime_s)));
    out.text(&status.config.file);
    out.text(&format!(", generation {}.", status.config.generation));
    out.markup("</p>\n<nav aria-label=\"Pages\">\n");
    let turned = PageOptions { refreshes: !options.refreshes, ..options };
    out.markup("<a href=\"").markup(turned.link()).markup("\">");
    out.markup(if options.refreshes { "Stop reloading" } else { "Reload every 10 s" });
    out.markup(
        "</a>\n<a href=\"/metrics\">Metrics</a>\n<a href=\"/status\">Status (JSON)</a>\n\
         <a href=\"/readyz\">Readiness</a>\n</nav>\n</header>\n",
    );
}

#[cfg(test)]
mod tests;
