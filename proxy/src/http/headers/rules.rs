//! A route's own rules for request headers.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::names::{folded, is_configurable};
use crate::{
    fields::trimmed,
    http::{
        certificate::RequestCertificate,
        spec::{HeaderRules, HeaderTemplate, TemplatePart},
    },
};

/// [`HeaderRules`], compiled.
#[derive(Debug, Default)]
pub(in crate::http) struct RequestRules {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, SetValue)>,
    names: Vec<RuleName>,
}

/// What templates may say of the client.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::http) struct AboutClient<'a> {
    /// The certificate that it presented.
    pub(in crate::http) certificate: Option<RequestCertificate<'a>>,
    /// The assertion of who it is.
    pub(in crate::http) assertion: Option<&'a HeaderValue>,
}

/// A name that a rule removes or sets.
#[derive(Debug)]
struct RuleName {
    written: HeaderName,
    /// As upstreams that fold `_` into `-` would read it.
    folded: Box<str>,
}

#[derive(Debug)]
enum SetValue {
    Fixed(HeaderValue),
    Template(HeaderTemplate),
}

impl RequestRules {
    /// Compiles. Rules for headers that frame a message are left out.
    pub(in crate::http) fn new(rules: &HeaderRules) -> RequestRules {
        let configurable = |name: &&HeaderName| is_configurable(name.as_str());
        let names = rules.remove.iter().chain(rules.set.iter().map(|(name, _)| name));
        RequestRules {
            names: names.map(RuleName::new).collect(),
            remove: rules.remove.iter().filter(configurable).cloned().collect(),
            set: rules
                .set
                .iter()
                .filter(|(name, _)| configurable(&name))
                .map(|(name, template)| (name.clone(), SetValue::new(template)))
                .collect(),
        }
    }

    /// Whether a rule removes or sets this name (lower case, with dashes), in any spelling.
    pub(super) fn name(&self, folded: &str) -> bool {
        self.names.iter().any(|name| *name.folded == *folded)
    }

    /// Whether an upstream may mistake a name for one that is removed or set, because it only differs
    /// in spelling.
    pub(super) fn name_in_another_spelling(&self, written: &str, folded: &str) -> bool {
        self.names.iter().any(|name| *name.folded == *folded && name.written != *written)
    }

    /// Whether a value depends on the Host that the upstream gets.
    pub(in crate::http) fn read_host(&self) -> bool {
        let reads_host = |part: &TemplatePart| match part {
            TemplatePart::RequestHeader(name) => *name == header::HOST,
            _ => false,
        };
        self.set.iter().any(|(_, value)| match value {
            SetValue::Fixed(_) => false,
            SetValue::Template(template) => template.0.iter().any(reads_host),
        })
    }

    /// Removes, then sets; templates see the headers as they were before.
    pub(in crate::http) fn apply(&self, headers: &mut HeaderMap, about: AboutClient<'_>) {
        let values: Vec<(&HeaderName, HeaderValue)> =
            self.set.iter().map(|(name, value)| (name, value.render(headers, about))).collect();
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in values {
            headers.insert(name.clone(), value);
        }
    }
}

impl RuleName {
    fn new(written: &HeaderName) -> RuleName {
        RuleName { written: written.clone(), folded: folded(written.as_str()).into() }
    }
}

impl SetValue {
    fn new(template: &HeaderTemplate) -> SetValue {
        let mut fixed = String::new();
        for part in &template.0 {
            match part {
                TemplatePart::Literal(text) => fixed.push_str(text),
                _ => return SetValue::Template(template.clone()),
            }
        }
        match HeaderValue::from_str(fixed.trim_ascii()) {
            Ok(value) => SetValue::Fixed(value),
            Err(_) => SetValue::Template(template.clone()),
        }
    }

    fn render(&self, headers: &HeaderMap, about: AboutClient<'_>) -> HeaderValue {
        match self {
            SetValue::Fixed(value) => value.clone(),
            SetValue::Template(template) => template.render(headers, about),
        }
    }
}

impl HeaderTemplate {
    /// Renders the value, without white space around it: a part of it may be empty. It becomes empty if
    /// it is no valid header value (a SAN with a line break).
    fn render(&self, headers: &HeaderMap, about: AboutClient<'_>) -> HeaderValue {
        let mut value = Vec::new();
        for part in &self.0 {
            value.extend_from_slice(match part {
                TemplatePart::Literal(text) => text.as_bytes(),
                TemplatePart::RequestHeader(name) => {
                    headers.get(name).map_or(b"", HeaderValue::as_bytes)
                }
                TemplatePart::ClientCert(field) => {
                    about.certificate.map_or("", |presented| presented.text(*field)).as_bytes()
                }
                TemplatePart::IdentityJwt => about.assertion.map_or(b"", HeaderValue::as_bytes),
            });
        }
        let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value))
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        trimmed(&value).unwrap_or(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{spec::CertificateField, testing::Made};

    fn name(name: &'static str) -> HeaderName {
        HeaderName::from_static(name)
    }

    fn literal(text: &str) -> TemplatePart {
        TemplatePart::Literal(text.into())
    }

    fn after(rules: &HeaderRules, fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        RequestRules::new(rules).apply(&mut headers, AboutClient::default());
        headers
    }

    #[test]
    fn setting_wins_over_removing_and_replaces_all_values() {
        let rules = HeaderRules {
            remove: vec![name("x-a"), name("x-b")],
            set: vec![(name("x-a"), HeaderTemplate(vec![literal("ours")]))],
        };
        let headers = after(&rules, &[("x-a", "1"), ("x-a", "2"), ("x-b", "3"), ("x-c", "4")]);
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["ours"]);
        assert!(!headers.contains_key("x-b") && headers.contains_key("x-c"));
    }

    #[test]
    fn a_value_has_no_white_space_around_it() {
        let template =
            vec![literal(" "), TemplatePart::RequestHeader(name("x-old")), literal("\t")];
        let rules = HeaderRules {
            remove: Vec::new(),
            set: vec![
                (name("x-new"), HeaderTemplate(template)),
                (name("x-fixed"), HeaderTemplate(vec![literal(" a b ")])),
            ],
        };
        let headers = after(&rules, &[("x-old", "a b")]);
        assert_eq!(headers["x-new"], "a b");
        assert_eq!(headers["x-fixed"], "a b");
        assert_eq!(after(&rules, &[])["x-new"], "");
    }

    #[test]
    fn a_template_reads_headers_as_they_were_before_any_rule() {
        let header = |from| {
            HeaderTemplate(vec![
                literal("<"),
                TemplatePart::RequestHeader(name(from)),
                literal(">"),
            ])
        };
        let rules = HeaderRules {
            remove: vec![name("x-old")],
            set: vec![(name("x-new"), header("x-old")), (name("x-newer"), header("x-new"))],
        };
        let headers = after(&rules, &[("x-old", "v")]);
        assert_eq!(headers["x-new"], "<v>");
        assert_eq!(headers["x-newer"], "<>");
        assert!(!headers.contains_key("x-old"));
    }

    #[test]
    fn templates_get_only_an_untrusted_certificates_fingerprint() {
        let made = Made::alice();
        let template = |field| HeaderTemplate(vec![TemplatePart::ClientCert(field)]);
        let fields = [
            ("x-print", CertificateField::Fingerprint),
            ("x-email", CertificateField::SanEmail),
            ("x-dns", CertificateField::SanDns),
            ("x-uri", CertificateField::SanUri),
            ("x-subject", CertificateField::Subject),
            ("x-issuer", CertificateField::Issuer),
            ("x-serial", CertificateField::Serial),
        ];
        let rules = RequestRules::new(&HeaderRules {
            set: fields.map(|(header, field)| (name(header), template(field))).to_vec(),
            ..Default::default()
        });
        for (presented, is_empty) in [(made.trusted(), false), (made.unjudged(), true)] {
            let mut headers = HeaderMap::new();
            let about = AboutClient { certificate: Some(presented), assertion: None };
            rules.apply(&mut headers, about);
            assert_eq!(headers["x-print"].len(), 64);
            for (header, _) in &fields[1..] {
                assert_eq!(headers[*header].is_empty(), is_empty, "{header}");
            }
        }
    }

    #[test]
    fn without_a_client_certificate_its_references_are_empty() {
        let parts = [CertificateField::Fingerprint, CertificateField::SanDns];
        let parts = parts.map(TemplatePart::ClientCert).to_vec();
        let rules =
            HeaderRules { set: vec![(name("x-fp"), HeaderTemplate(parts))], ..Default::default() };
        assert_eq!(after(&rules, &[])["x-fp"], "");
    }

    #[test]
    fn a_template_gets_the_assertion_and_without_one_nothing() {
        let parts = vec![literal("Bearer "), TemplatePart::IdentityJwt];
        let rules = RequestRules::new(&HeaderRules {
            set: vec![(name("authorization"), HeaderTemplate(parts))],
            ..Default::default()
        });
        let assertion = HeaderValue::from_static("a.b.c");
        for (assertion, value) in [(Some(&assertion), "Bearer a.b.c"), (None, "Bearer")] {
            let mut headers = HeaderMap::new();
            rules.apply(&mut headers, AboutClient { certificate: None, assertion });
            assert_eq!(headers["authorization"], value);
        }
    }

    #[test]
    fn rules_cannot_touch_what_frames_or_addresses_a_message() {
        let rules = HeaderRules {
            remove: vec![name("host"), name("content-length")],
            set: vec![(name("transfer-encoding"), HeaderTemplate(vec![literal("chunked")]))],
        };
        let headers = after(&rules, &[("host", "a.example"), ("content-length", "3")]);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["host"], "a.example");
    }
}
