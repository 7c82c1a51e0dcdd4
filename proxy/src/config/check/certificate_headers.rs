//! `portcullis.forward_client_certificate`: the client certificate headers for upstreams.

use super::super::section::Section;
use crate::http::{CertificateHeaders, Rfc9440, XfccFields};

const KEY: &str = "forward_client_certificate";
const NO_CA: &str =
    "no client CA is configured, and only certificates that a client CA trusts are forwarded";

/// The default for routes without a setting of their own; `own` is the section `portcullis`.
pub(super) fn of_all(own: &Section<'_>) -> CertificateHeaders {
    read(&own.child_or_empty(KEY))
}

/// The setting of a route. `has_client_ca` says whether it has a client CA.
pub(super) fn of_route(
    route: &Section<'_>,
    of_all: CertificateHeaders,
    has_client_ca: bool,
) -> CertificateHeaders {
    let own = route.child_or_empty("portcullis");
    let Some(section) = own.child(KEY) else { return of_all };
    let headers = read(&section);
    if !headers.is_empty() && !has_client_ca {
        let hint = "set downstream_mtls.ca_file or the route's tls_downstream_client_ca_file";
        own.error_with_hint(KEY, NO_CA, hint);
    }
    headers
}

/// Reports the global setting if no client CA is configured.
pub(super) fn check_ca(own: &Section<'_>, of_all: CertificateHeaders, has_ca: bool) {
    if !of_all.is_empty() && !has_ca {
        own.error_with_hint(KEY, NO_CA, "set downstream_mtls.ca_file");
    }
}

fn read(section: &Section<'_>) -> CertificateHeaders {
    let choices = [("NONE", Rfc9440::None), ("LEAF", Rfc9440::Leaf), ("CHAIN", Rfc9440::Chain)];
    let rfc9440 = section.choice("rfc9440", &choices).unwrap_or_default();
    CertificateHeaders { rfc9440, xfcc: xfcc(section) }
}

fn xfcc(section: &Section<'_>) -> XfccFields {
    let key = "xfcc";
    let mut fields = XfccFields::default();
    for name in section.list(key) {
        let field = match name.to_ascii_lowercase().as_str() {
            "hash" => &mut fields.hash,
            "cert" => &mut fields.cert,
            "chain" => &mut fields.chain,
            "subject" => &mut fields.subject,
            "uri" => &mut fields.uri,
            "dns" => &mut fields.dns,
            _ => {
                let message = format!("`{}` is not a known field", name.escape_debug());
                section.error_with_hint(key, message, "hash, cert, chain, subject, uri, dns");
                continue;
            }
        };
        *field = true;
    }
    fields
}
