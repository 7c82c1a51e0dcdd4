//! A route's own rules for request headers.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::names::is_configurable;
use crate::http::{
    access::Presented,
    spec::{HeaderRules, HeaderTemplate, TemplatePart},
};

/// [`HeaderRules`] with all that can be known beforehand.
#[derive(Debug, Default)]
pub(in crate::http) struct RequestRules {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, SetValue)>,
}

#[derive(Debug)]
enum SetValue {
    Fixed(HeaderValue),
    Template(HeaderTemplate),
}

impl RequestRules {
    /// Rules for headers that frame a message are left out.
    pub(in crate::http) fn new(rules: &HeaderRules) -> RequestRules {
        let configurable = |name: &&HeaderName| is_configurable(name.as_str());
        RequestRules {
            remove: rules.remove.iter().filter(configurable).cloned().collect(),
            set: rules
                .set
                .iter()
                .filter(|(name, _)| configurable(&name))
                .map(|(name, template)| (name.clone(), SetValue::new(template)))
                .collect(),
        }
    }

    /// Removes, then sets; templates see the headers as they were before.
    pub(in crate::http) fn apply(
        &self,
        headers: &mut HeaderMap,
        certificate: Option<Presented<'_>>,
    ) {
        let values: Vec<(&HeaderName, HeaderValue)> = self
            .set
            .iter()
            .map(|(name, value)| (name, value.render(headers, certificate)))
            .collect();
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in values {
            headers.insert(name.clone(), value);
        }
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
        match HeaderValue::from_str(&fixed) {
            Ok(value) => SetValue::Fixed(value),
            Err(_) => SetValue::Template(template.clone()),
        }
    }

    fn render(&self, headers: &HeaderMap, certificate: Option<Presented<'_>>) -> HeaderValue {
        match self {
            SetValue::Fixed(value) => value.clone(),
            SetValue::Template(template) => template.render(headers, certificate),
        }
    }
}

impl HeaderTemplate {
    /// What cannot be said in a header (a SAN with a line break) makes the value empty. Names are
    /// those of a trusted certificate: Pomerium passes on whatever a client calls itself.
    fn render(&self, headers: &HeaderMap, certificate: Option<Presented<'_>>) -> HeaderValue {
        let mut value = Vec::new();
        let names = certificate.filter(|presented| presented.is_trusted);
        let names = names.map(|presented| presented.certificate.names());
        for part in &self.0 {
            match part {
                TemplatePart::Literal(text) => value.extend_from_slice(text.as_bytes()),
                TemplatePart::RequestHeader(name) => {
                    value.extend_from_slice(headers.get(name).map_or(b"", HeaderValue::as_bytes));
                }
                TemplatePart::ClientCertFingerprint => {
                    if let Some(presented) = certificate {
                        value.extend(presented.certificate.fingerprint_hex().bytes());
                    }
                }
                TemplatePart::ClientCertSanDns => {
                    value.extend(names.iter().flat_map(|names| names.dns.bytes()));
                }
                TemplatePart::ClientCertSanEmail => {
                    value.extend(names.iter().flat_map(|names| names.email.bytes()));
                }
            }
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(value))
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        RequestRules::new(rules).apply(&mut headers, None);
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
    fn without_a_client_certificate_its_references_are_empty() {
        let parts = vec![TemplatePart::ClientCertFingerprint, TemplatePart::ClientCertSanDns];
        let rules =
            HeaderRules { set: vec![(name("x-fp"), HeaderTemplate(parts))], ..Default::default() };
        assert_eq!(after(&rules, &[])["x-fp"], "");
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
