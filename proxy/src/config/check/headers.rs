//! Rules for request and response headers.

use http::{HeaderName, HeaderValue};

use super::{super::section::Section, identity::IdentityDefaults};
use crate::{
    did_you_mean::did_you_mean,
    http::{
        CertificateField, HeaderPrefixRewrite, HeaderRules, HeaderTemplate, ResponseHeaderRules,
        TemplatePart,
    },
};

/// Pomerium's key for setting no header at all.
const DISABLE: &str = "disable";

/// Headers that frame a message or name its recipient; a rule on them could allow request
/// smuggling.
pub(super) const FRAMING: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// `remove_request_headers` and `set_request_headers`.
pub(super) fn request(route: &Section<'_>, identity: IdentityDefaults) -> HeaderRules {
    let mut rules = HeaderRules::default();
    let key = "remove_request_headers";
    for name in route.list(key) {
        rules.remove.extend(header_name(route, key, &name));
    }
    let key = "set_request_headers";
    for (name, value) in route.map(key) {
        let at = format!("{key}.{name}");
        if let (Some(name), Some(value)) =
            (header_name(route, &at, &name), template(route, &at, &value, identity))
        {
            rules.set.push((name, value));
        }
    }
    rules
}

/// `set_response_headers` and `rewrite_response_headers`.
pub(super) fn response(route: &Section<'_>) -> ResponseHeaderRules {
    let mut rules = set_response_headers(route);
    for rule in route.children("rewrite_response_headers") {
        rules.rewrite.extend(prefix_rewrite(&rule));
    }
    rules
}

/// `set_response_headers`, of a route or global.
pub(super) fn set_response_headers(section: &Section<'_>) -> ResponseHeaderRules {
    let key = "set_response_headers";
    let mut rules = ResponseHeaderRules::default();
    for (name, value) in section.map(key) {
        if name.eq_ignore_ascii_case(DISABLE) {
            rules.disable = true;
            continue;
        }
        let at = format!("{key}.{name}");
        if let (Some(name), Some(value)) =
            (header_name(section, &at, &name), header_value(section, &at, &value))
        {
            rules.set.push((name, value));
        }
    }
    rules
}

fn prefix_rewrite(rule: &Section<'_>) -> Option<HeaderPrefixRewrite> {
    let required = |key: &str| {
        let text = rule.text(key);
        if text.is_none() && !rule.has(key) {
            rule.error(key, "is missing");
        }
        text
    };
    let header = required("header");
    let prefix = required("prefix");
    let value = rule.text("value").unwrap_or_default();
    header_value(rule, "value", &value)?;
    Some(HeaderPrefixRewrite {
        header: header_name(rule, "header", &header?)?,
        prefix: prefix?.into(),
        value: value.into(),
    })
}

fn header_name(section: &Section<'_>, key: &str, name: &str) -> Option<HeaderName> {
    if name.starts_with(':') {
        section.error(key, format!("`{name}` is a pseudo-header, which cannot be changed"));
        return None;
    }
    let Ok(parsed) = HeaderName::from_bytes(name.trim().as_bytes()) else {
        section.error(key, format!("`{}` is not a header name", name.escape_debug()));
        return None;
    };
    if FRAMING.contains(&parsed.as_str()) {
        let hint = (parsed == "host").then_some("host_rewrite changes the Host");
        let message = format!("the header `{name}` cannot be changed");
        match hint {
            Some(hint) => section.error_with_hint(key, message, hint),
            None => section.error(key, message),
        }
        return None;
    }
    Some(parsed)
}

fn header_value(section: &Section<'_>, key: &str, value: &str) -> Option<HeaderValue> {
    // White space around it is no part of a value: HTTP/2 clients refuse a response with it.
    match HeaderValue::from_str(value.trim_matches([' ', '\t'])) {
        Ok(value) => Some(value),
        // The value is not shown: request headers often carry credentials.
        Err(_) => {
            section.error(key, "contains characters that a header value cannot have");
            None
        }
    }
}

fn template(
    section: &Section<'_>,
    key: &str,
    text: &str,
    identity: IdentityDefaults,
) -> Option<HeaderTemplate> {
    header_value(section, key, text)?;
    let mut parts = Parts::default();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from_dollar) = rest.split_at(at);
        parts.literal(before);
        let (piece, after) = reference(from_dollar);
        match piece {
            Piece::Text(text) => parts.literal(text),
            Piece::Reference(ASSERTION) => {
                if !identity.sign_in && !identity.certificates {
                    let message = format!("`{ASSERTION}` is empty: no setting identifies users");
                    section.warn(key, message);
                }
                parts.reference(TemplatePart::IdentityJwt);
            }
            Piece::Reference(name) => match resolve(name) {
                Some(part @ (TemplatePart::AccessToken | TemplatePart::IdToken)) => {
                    if !identity.sign_in {
                        section.warn(key, format!("`{name}` is empty: nobody can sign in"));
                    }
                    parts.reference(part);
                }
                Some(part) => parts.reference(part),
                None => unknown(section, key, name),
            },
        }
        rest = after;
    }
    parts.literal(rest);
    Some(HeaderTemplate(parts.0))
}

/// The result of parsing at a dollar.
enum Piece<'t> {
    Text(&'t str),
    Reference(&'t str),
}

/// Parses the piece that begins at a dollar, and returns the rest. A dollar that begins no
/// reference is literal, as in Pomerium.
fn reference(text: &str) -> (Piece<'_>, &str) {
    let after_dollar = text.get(1..).unwrap_or_default();
    if let Some(rest) = after_dollar.strip_prefix('$') {
        return (Piece::Text("$"), rest);
    }
    if let Some(inner) = after_dollar.strip_prefix('{')
        && let Some(end) = closing_brace(inner)
    {
        let (name, rest) = inner.split_at(end);
        return (Piece::Reference(name.trim()), rest.get(1..).unwrap_or_default());
    }
    if ["pomerium.", "portcullis."].iter().any(|prefix| after_dollar.starts_with(prefix)) {
        let end = bare_reference_end(after_dollar);
        let (name, rest) = after_dollar.split_at(end);
        return (Piece::Reference(name), rest);
    }
    (Piece::Text("$"), after_dollar)
}

/// The position of the brace that ends a reference; braces in quotes are skipped.
fn closing_brace(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '}' && !quoted).then_some(at)
    })
}

/// The end of `$pomerium.a.b`: a dot without a name behind it does not belong to it.
fn bare_reference_end(text: &str) -> usize {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
        .unwrap_or(text.len());
    text.get(..end).map_or(0, |name| name.trim_end_matches('.').len())
}

/// Pomerium's reference to the signed assertion.
const ASSERTION: &str = "pomerium.jwt";

/// Pomerium's references to tokens of the provider.
const TOKENS: [(&str, TemplatePart); 2] = [
    ("pomerium.access_token", TemplatePart::AccessToken),
    ("pomerium.id_token", TemplatePart::IdToken),
];

/// Pomerium's references, and with the other prefix ours.
const CERTIFICATE: [(&str, CertificateField); 7] = [
    ("pomerium.client_cert_fingerprint", CertificateField::Fingerprint),
    ("pomerium.client_cert_san_dns", CertificateField::SanDns),
    ("pomerium.client_cert_san_email", CertificateField::SanEmail),
    ("portcullis.client_cert_san_uri", CertificateField::SanUri),
    ("portcullis.client_cert_subject", CertificateField::Subject),
    ("portcullis.client_cert_issuer", CertificateField::Issuer),
    ("portcullis.client_cert_serial", CertificateField::Serial),
];

fn resolve(name: &str) -> Option<TemplatePart> {
    if let Some((_, part)) = TOKENS.iter().find(|(known, _)| *known == name) {
        return Some(part.clone());
    }
    let certificate = CERTIFICATE.iter().find(|(known, _)| *known == name);
    match certificate {
        Some((_, field)) => Some(TemplatePart::ClientCert(*field)),
        None => request_header(name),
    }
}

/// Rejects an unknown reference, where Pomerium writes an empty text: the upstream expects a value.
fn unknown(section: &Section<'_>, key: &str, name: &str) {
    let tokens = TOKENS.iter().map(|(known, _)| *known);
    let known = CERTIFICATE.iter().map(|(known, _)| *known).chain(tokens).chain([ASSERTION]);
    let hint = match did_you_mean(name, known) {
        Some(near) => format!("`{near}`?"),
        None => "`$$` stands for a `$`".to_owned(),
    };
    let message = format!("`{}` is not a known reference", name.escape_debug());
    section.error_with_hint(key, message, hint);
}

/// `pomerium.request.headers["X-Name"]`, or with a dot if the name needs no quotes.
fn request_header(name: &str) -> Option<TemplatePart> {
    let rest = name.strip_prefix("pomerium.request.headers")?;
    let header = match rest.strip_prefix('.') {
        Some(bare) => bare,
        None => rest.strip_prefix("[\"")?.strip_suffix("\"]")?,
    };
    HeaderName::from_bytes(header.as_bytes()).ok().map(TemplatePart::RequestHeader)
}

/// Appends a literal; adjacent literals are merged.
#[derive(Default)]
struct Parts(Vec<TemplatePart>);

impl Parts {
    fn literal(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(TemplatePart::Literal(before)) => *before = format!("{before}{text}").into(),
            _ => self.0.push(TemplatePart::Literal(text.into())),
        }
    }

    fn reference(&mut self, part: TemplatePart) {
        self.0.push(part);
    }
}
