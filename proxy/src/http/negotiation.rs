//! Which form of answer a client wants.

use http::{HeaderMap, HeaderValue, Method, Version, header};

/// The parts of a request that the form of our answer depends on (RFC 9110 section 12). Kept from
/// before the headers are forwarded; values are shared, not copied.
#[derive(Debug, Clone)]
pub(super) struct ContentNegotiation {
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    /// The method is HEAD: the answer must not have a body.
    pub(super) head: bool,
    /// The method is GET: the browser may ask for the page again.
    pub(super) is_get: bool,
    pub(super) version: Version,
}

impl ContentNegotiation {
    /// Of a request's head.
    pub(super) fn new(
        method: &Method,
        version: Version,
        headers: &HeaderMap,
    ) -> ContentNegotiation {
        ContentNegotiation {
            accept: headers.get(header::ACCEPT).cloned(),
            content_type: headers.get(header::CONTENT_TYPE).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            head: *method == Method::HEAD,
            is_get: *method == Method::GET,
            version,
        }
    }

    /// The form of an error's answer.
    pub(super) fn form(&self) -> AnswerForm {
        if self.user_agent.as_ref().is_some_and(is_kubernetes) {
            return AnswerForm::Kubernetes;
        }
        let content_type = self.content_type.as_ref().map(HeaderValue::as_bytes);
        if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
            return AnswerForm::Grpc;
        }
        let accept = self.accept.as_ref().and_then(|value| value.to_str().ok());
        accept.map_or(AnswerForm::Html, preferred)
    }
}

/// The form of an error's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerForm {
    Html,
    Json,
    Plain,
    Grpc,
    /// The `Status` of a Kubernetes API server, whose `message` is what kubectl shows.
    Kubernetes,
}

/// Whether the user agent is client-go, by Pomerium's rule: `kubectl/v1.32.4 (linux/amd64) kubernetes/59526cd`.
fn is_kubernetes(user_agent: &HeaderValue) -> bool {
    user_agent.as_bytes().windows(11).any(|window| window == b"kubernetes/")
}

/// The form that an `Accept` header prefers: by quality, then by the precision of its range. If that
/// decides nothing, HTML, as in Pomerium.
fn preferred(accept: &str) -> AnswerForm {
    let offers = [
        (AnswerForm::Html, "text", "html"),
        (AnswerForm::Json, "application", "json"),
        (AnswerForm::Plain, "text", "plain"),
    ];
    let mut best = ((0, 0), AnswerForm::Html);
    for (form, kind, subkind) in offers {
        let quality = quality(accept, kind, subkind);
        if quality.0 > 0 && quality > best.0 {
            best = (quality, form);
        }
    }
    best.1
}

/// The quality in thousandths that an `Accept` header gives to a type by its most specific range
/// (RFC 9110 section 12.5.1), and the precision of that range: 1 for `*/*` to 3 for the full type.
fn quality(accept: &str, kind: &str, subkind: &str) -> (u16, u8) {
    let (mut best, mut best_quality) = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let Some((range_kind, range_subkind)) = parts.next().and_then(|r| r.split_once('/')) else {
            continue;
        };
        let specificity = match (range_kind, range_subkind) {
            ("*", "*") => 1,
            (k, "*") if k.eq_ignore_ascii_case(kind) => 2,
            (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subkind) => 3,
            _ => continue,
        };
        let quality = parts.find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")));
        if specificity > best {
            (best, best_quality) = (specificity, quality.map_or(1000, thousandths));
        }
    }
    (best_quality, best)
}

fn thousandths(quality: &str) -> u16 {
    match quality.parse::<f32>() {
        Ok(quality) if (0.0..=1.0).contains(&quality) => (quality * 1000.0) as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_follows_the_most_specific_range_and_its_quality() {
        assert_eq!(preferred("text/plain"), AnswerForm::Plain);
        assert_eq!(preferred("*/*"), AnswerForm::Html);
        assert_eq!(preferred("text/*;q=0.5, application/json;q=0.6"), AnswerForm::Json);
        assert_eq!(preferred("text/html;q=0, text/*"), AnswerForm::Plain);
        assert_eq!(preferred("image/png"), AnswerForm::Html);
        let mixed = "TEXT/PLAIN; charset=x; q=0.3, text/html;q=0.2";
        assert_eq!(preferred(mixed), AnswerForm::Plain);
        assert_eq!(preferred(""), AnswerForm::Html);
    }

    #[test]
    fn only_a_user_agent_with_the_slash_is_of_kubernetes() {
        for (agent, yes) in [("kubernetes/", true), ("kubernetes", false), ("Kubernetes/1", false)]
        {
            assert_eq!(is_kubernetes(&HeaderValue::from_static(agent)), yes, "{agent}");
        }
    }

    proptest! {
        #[test]
        fn no_accept_header_makes_it_panic(accept in "\\PC{0,40}|[a-z/*;=q0-9., ]{0,40}") {
            preferred(&accept);
        }
    }
}
