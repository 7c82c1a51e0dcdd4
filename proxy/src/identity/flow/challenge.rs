//! What to answer to somebody who must sign in: a redirect, a page with a link, or 401. Pure.
//!
//! Only a navigation of a browser may be redirected. A script would follow to the provider and fail
//! there by CORS, a frame would show nothing, since providers refuse frames, and other clients would
//! take the provider's page for the answer.

use http::{HeaderMap, Method, header};

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Begin a sign-in: 302.
    Redirect,
    /// A navigation into a frame of another site: 401 page with a link that opens a new tab.
    PageNewTab,
    /// A navigation whose body a redirect would lose: 401 page with a link.
    PageLink,
    /// 401 in the form that the client prefers.
    Unauthenticated,
    /// gRPC or gRPC-web: 200 with `grpc-status: 16`.
    Grpc,
}

/// Decides by the method and the headers of a request.
pub(crate) fn challenge(method: &Method, headers: &HeaderMap) -> Challenge {
    if is_grpc(headers) {
        return Challenge::Grpc;
    }
    if is_prefetch(headers) || has_token(headers) {
        return Challenge::Unauthenticated;
    }
    let is_read = *method == Method::GET || *method == Method::HEAD;
    match text(headers, "sec-fetch-mode") {
        Some("navigate" | "nested-navigate") if is_read => navigation(headers),
        Some("navigate" | "nested-navigate") => Challenge::PageLink,
        Some(_) => Challenge::Unauthenticated,
        None if is_read && !is_scripted(headers) && likes_html(headers) => Challenge::Redirect,
        None => Challenge::Unauthenticated,
    }
}

/// By where the answer of a navigation goes.
fn navigation(headers: &HeaderMap) -> Challenge {
    match text(headers, "sec-fetch-dest") {
        None | Some("document") => Challenge::Redirect,
        Some("iframe" | "frame" | "embed" | "object" | "fencedframe") => {
            match text(headers, "sec-fetch-site") {
                Some("same-origin" | "same-site") => Challenge::Redirect,
                _ => Challenge::PageNewTab,
            }
        }
        Some(_) => Challenge::Unauthenticated,
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    content_type
        .and_then(|value| value.get(..16))
        .is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
}

/// A page that is fetched before anybody asked for it.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"].iter().any(|name| {
        let value = headers.get(*name).map(|value| value.as_bytes().to_ascii_lowercase());
        value.is_some_and(|value| value.windows(8).any(|window| window == b"prefetch"))
    })
}

/// A program's token of ours, that was not good.
fn has_token(headers: &HeaderMap) -> bool {
    headers.contains_key("x-pomerium-authorization")
        || headers.get_all(header::AUTHORIZATION).iter().any(|value| {
            let value = value.as_bytes().to_ascii_lowercase();
            let value = value.strip_prefix(b"bearer ").unwrap_or(&value).trim_ascii_start();
            value.starts_with(b"pomerium ") || value.starts_with(b"pomerium-")
        })
}

/// Signs of a script or of another protocol. With Fetch metadata, the mode says it better.
fn is_scripted(headers: &HeaderMap) -> bool {
    headers.contains_key("x-requested-with") || headers.contains_key(header::UPGRADE)
}

/// Whether `Accept` likes `text/html` best, by Pomerium's rule: no header and `*/*` do.
fn likes_html(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<&str> = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .collect();
    if ranges.is_empty() {
        return !headers.contains_key(header::ACCEPT);
    }
    let best = |kind: &str| ranges.iter().filter_map(|range| quality(range, kind)).max();
    let html = best("text/html");
    let other =
        ["application/json", "text/plain", "text/event-stream"].into_iter().filter_map(best);
    html.is_some_and(|html| html.0 > 0 && other.max().is_none_or(|other| html >= other))
}

/// The weight of a range for a media type, in thousandths, and its precision.
fn quality(range: &str, media_type: &str) -> Option<(u16, u8)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let precision = match kind.strip_suffix('*') {
        _ if kind == media_type => 2,
        Some("*/") => 0,
        Some(start) if start.ends_with('/') && media_type.starts_with(start) => 1,
        _ => return None,
    };
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight: f32 = weight.map_or(Some(1.0), |text| text.trim().parse().ok())?;
    // A cast saturates.
    Some(((weight.clamp(0.0, 1.0) * 1000.0) as u16, precision))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn of(method: &str, headers: &[(&str, &str)]) -> Challenge {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        challenge(&method.parse().unwrap(), &map)
    }

    fn fetched(method: &str, mode: &str, dest: &str, site: &str) -> Challenge {
        of(method, &[("sec-fetch-mode", mode), ("sec-fetch-dest", dest), ("sec-fetch-site", site)])
    }

    #[test]
    fn a_navigation_to_a_document_is_redirected() {
        for site in ["none", "same-origin", "same-site", "cross-site"] {
            assert_eq!(fetched("GET", "navigate", "document", site), Challenge::Redirect);
            assert_eq!(fetched("HEAD", "navigate", "document", site), Challenge::Redirect);
        }
        let webview = [("sec-fetch-mode", "navigate"), ("x-requested-with", "com.example.app")];
        assert_eq!(of("GET", &webview), Challenge::Redirect);
    }

    #[test]
    fn a_navigation_into_a_frame_of_another_site_gets_a_link() {
        for dest in ["iframe", "frame", "embed", "object", "fencedframe"] {
            assert_eq!(fetched("GET", "navigate", dest, "cross-site"), Challenge::PageNewTab);
            assert_eq!(fetched("GET", "navigate", dest, "none"), Challenge::PageNewTab);
            assert_eq!(fetched("GET", "navigate", dest, "same-site"), Challenge::Redirect);
            assert_eq!(fetched("GET", "navigate", dest, "same-origin"), Challenge::Redirect);
        }
    }

    #[test]
    fn a_navigation_with_a_body_gets_a_link() {
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(fetched(method, "navigate", "document", "same-origin"), Challenge::PageLink);
        }
    }

    #[test]
    fn what_a_script_or_a_page_fetches_gets_401() {
        for (mode, dest) in [
            ("cors", "empty"),
            ("same-origin", "empty"),
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("websocket", "websocket"),
            ("cors", "eventsource"),
            ("navigate", "image"),
        ] {
            let challenge = fetched("GET", mode, dest, "same-origin");
            assert_eq!(challenge, Challenge::Unauthenticated, "{mode} {dest}");
            assert_eq!(
                of(
                    "GET",
                    &[("sec-fetch-mode", mode), ("sec-fetch-dest", dest), ("accept", "text/html")]
                ),
                Challenge::Unauthenticated
            );
        }
    }

    #[test]
    fn without_fetch_metadata_the_accept_header_decides() {
        for accept in [
            "*/*",
            "text/html",
            "text/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json;q=0.5, text/html",
            "text/html;q=0.5, application/json;q=0.4",
            "text/html;Q=1.0",
        ] {
            assert_eq!(of("GET", &[("accept", accept)]), Challenge::Redirect, "{accept}");
            assert_eq!(of("HEAD", &[("accept", accept)]), Challenge::Redirect, "{accept}");
            for method in ["POST", "OPTIONS", "CONNECT"] {
                let challenge = of(method, &[("accept", accept)]);
                assert_eq!(challenge, Challenge::Unauthenticated, "{method} {accept}");
            }
        }
        assert_eq!(of("GET", &[]), Challenge::Redirect);
        for accept in [
            "application/json",
            "text/plain",
            "application/json, text/html;q=0.9",
            "application/json, */*",
            "text/event-stream",
            "image/png",
            "text/html;q=0",
            "text/html;q=x",
            "",
            "é",
        ] {
            assert_eq!(of("GET", &[("accept", accept)]), Challenge::Unauthenticated, "{accept}");
        }
    }

    #[test]
    fn without_fetch_metadata_signs_of_a_program_get_401() {
        for sign in [
            ("x-requested-with", "XMLHttpRequest"),
            ("upgrade", "websocket"),
            ("x-pomerium-authorization", "x"),
            ("authorization", "Pomerium x"),
            ("authorization", "Bearer Pomerium-x"),
        ] {
            let challenge = of("GET", &[sign, ("accept", "text/html")]);
            assert_eq!(challenge, Challenge::Unauthenticated, "{sign:?}");
        }
        assert_eq!(of("GET", &[("authorization", "Basic eA==")]), Challenge::Redirect);
    }

    #[test]
    fn a_prefetch_and_a_token_get_401_even_as_a_navigation() {
        let navigate = ("sec-fetch-mode", "navigate");
        for sign in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "Prefetch"),
            ("x-moz", "prefetch"),
            ("x-pomerium-authorization", "x"),
        ] {
            assert_eq!(of("GET", &[navigate, sign]), Challenge::Unauthenticated, "{sign:?}");
        }
    }

    #[test]
    fn a_preflight_gets_401() {
        let preflight = [("origin", "https://b.example"), ("access-control-request-method", "GET")];
        assert_eq!(of("OPTIONS", &preflight), Challenge::Unauthenticated);
    }

    #[test]
    fn grpc_and_grpc_web_get_a_grpc_status() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web-text",
            "Application/gRPC-Web+proto",
        ] {
            let browser = [("content-type", content_type), ("sec-fetch-mode", "cors")];
            assert_eq!(of("POST", &browser), Challenge::Grpc);
            assert_eq!(of("POST", &browser[..1]), Challenge::Grpc);
        }
        assert_eq!(of("POST", &[("content-type", "application/g")]), Challenge::Unauthenticated);
    }

    proptest! {
        #[test]
        fn headers_of_any_kind_are_decided_without_panic(
            accept in "[ -~]{0,40}|[a-z/*;=q0-9., ]{0,40}",
            dest in "[ -~]{0,12}",
        ) {
            let headers = [("accept", &*accept), ("sec-fetch-dest", &*dest)];
            let _ = of("GET", &headers);
        }
    }
}
