//! `jwt_claims_headers`: headers that carry claims of the user.

use http::HeaderName;
use serde_yaml::Value;

use super::super::{super::section::Section, headers::FRAMING};

const KEY: &str = "jwt_claims_headers";

/// The assertion, and a header that only Pomerium's own parts use.
const ASSERTION: [&str; 2] = ["x-pomerium-jwt-assertion", "x-pomerium-jwt-assertion-for"];

/// Headers that are not ours to set, besides [`FRAMING`].
const REFUSED: [&str; 5] =
    ["authorization", "cookie", "proxy-authenticate", "proxy-authorization", "trailer"];

/// The headers that identify the user to an upstream. A client must never be able to send them.
pub(in super::super) fn stripped_names(root: &Section<'_>) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = ASSERTION.into_iter().map(HeaderName::from_static).collect();
    for (_, name, _) in pairs(root) {
        // A name that is none is reported with the claims.
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// Each header with its claim.
pub(super) fn claim_headers(root: &Section<'_>) -> Vec<(HeaderName, Box<str>)> {
    let mut headers: Vec<(HeaderName, Box<str>)> = Vec::new();
    for (place, header, claim) in pairs(root) {
        let Some(name) = header_name(root, &place, &header) else { continue };
        if claim.is_empty() {
            root.error(&place, "names no claim");
        } else if headers.iter().any(|(known, _)| *known == name) {
            root.error(&place, format!("the header `{name}` is given twice"));
        } else {
            headers.push((name, claim.into()));
        }
    }
    headers
}

fn header_name(root: &Section<'_>, place: &str, header: &str) -> Option<HeaderName> {
    let Ok(name) = HeaderName::from_bytes(header.as_bytes()) else {
        root.error(place, format!("has invalid header name \"{}\"", header.escape_debug()));
        return None;
    };
    let refused = FRAMING.iter().chain(&REFUSED).chain(&ASSERTION);
    if refused.into_iter().any(|refused| name == *refused) {
        root.error(place, format!("the header `{name}` cannot carry a claim"));
        return None;
    }
    Some(name)
}

/// The place, the header and the claim. A mapping names the headers; a list of claims implies the
/// prefix `x-pomerium-claim-`.
fn pairs(root: &Section<'_>) -> Vec<(String, String, String)> {
    if let Some(Value::Mapping(_)) = root.value(KEY) {
        let place = |header: &str| format!("{KEY}.{header}");
        let pairs = root.map(KEY).into_iter();
        return pairs.map(|(header, claim)| (place(&header), header, claim)).collect();
    }
    let is_list = matches!(root.value(KEY), Some(Value::Sequence(_)));
    let claims = root.list(KEY).into_iter().enumerate();
    let pair = |(index, claim): (usize, String)| {
        let place = if is_list { format!("{KEY}[{index}]") } else { KEY.to_owned() };
        (place, format!("x-pomerium-claim-{claim}"), claim)
    };
    claims.map(pair).collect()
}
