//! Keys that are global and of each route.

use super::{super::super::section::Section, IdentityDefaults};
use crate::identity::spec::IssuerFormat;

/// `pass_identity_headers`, of a route or global.
pub(in super::super) fn pass_identity_headers(
    section: &Section<'_>,
    defaults: IdentityDefaults,
) -> bool {
    let key = "pass_identity_headers";
    let Some(pass) = section.flag(key) else { return defaults.pass_identity_headers };
    if pass && !defaults.sign_in && !defaults.certificates && !defaults.tokens {
        let hint = "set idp_provider, or portcullis.client_certificate_identity with a client CA";
        section.warn_with_hint(key, "has no effect: no setting identifies users", hint);
    }
    pass
}

/// `jwt_issuer_format`, of a route or global.
pub(in super::super) fn issuer_format(
    section: &Section<'_>,
    defaults: IdentityDefaults,
) -> IssuerFormat {
    let key = "jwt_issuer_format";
    let Some(text) = section.text(key) else { return defaults.issuer_format };
    match text.to_ascii_lowercase().as_str() {
        "hostonly" => IssuerFormat::HostOnly,
        "uri" => IssuerFormat::Uri,
        _ => {
            let message = format!("`{}` is not an allowed value", text.escape_debug());
            section.error_with_hint(key, message, "one of hostOnly, uri");
            defaults.issuer_format
        }
    }
}
