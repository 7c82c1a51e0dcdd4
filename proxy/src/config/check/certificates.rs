//! TLS towards clients: certificates, HTTP versions.

use std::sync::Arc;

use super::{
    super::{model::FileUsage, section::Section},
    material::Materials,
};
use crate::tls::{CertificateWithKey, ClientAuthSpec, Codec, ServerTlsSpec};

/// `None` with `insecure_server`, or without a usable certificate. `has_client_ca` says whether any
/// client CA is configured.
pub(super) fn server_tls(
    root: &Section<'_>,
    materials: &Materials,
    client_auth: ClientAuthSpec,
    has_client_ca: bool,
    codec: Codec,
) -> Option<ServerTlsSpec> {
    let certificates = certificates(root, materials);
    if root.flag("insecure_server").unwrap_or(false) {
        if has_client_ca {
            let hint = "remove insecure_server, or the client CA";
            let message = "plain HTTP cannot ask for client certificates";
            root.error_with_hint("insecure_server", message, hint);
        }
        if !certificates.is_empty() {
            root.warn("insecure_server", "the server certificates are not used");
        }
        return None;
    }
    if certificates.is_empty() && !any_given(root) {
        let hint = "set certificate_file and certificate_key_file, or insecure_server: true";
        root.context().report(
            super::super::diagnostic::Severity::Error,
            "",
            "no server certificate is given",
            Some(hint.to_owned()),
        );
    }
    Some(ServerTlsSpec { certificates, client_auth, codec })
}

/// The certificates in Pomerium's order; the first is served if no name matches.
fn certificates(root: &Section<'_>, materials: &Materials) -> Vec<Arc<CertificateWithKey>> {
    const USAGE: FileUsage = FileUsage::ServerCertificate;
    let mut certificates = Vec::new();
    certificates.extend(materials.inline_identity(root, ("certificate", "certificate_key")));
    let entries = root.children("certificates");
    materials.fetch_ahead(root, &entries, ("cert", "key"));
    for entry in entries {
        if !entry.has("cert") && !entry.has("key") {
            entry.error_with_hint("cert", "is missing", "each entry has `cert` and `key`");
        }
        certificates.extend(materials.file_identity(&entry, ("cert", "key"), USAGE));
    }
    let files = ("certificate_file", "certificate_key_file");
    certificates.extend(materials.file_identity(root, files, USAGE));
    certificates
}

/// Whether a certificate was configured; then its error has been reported.
fn any_given(root: &Section<'_>) -> bool {
    ["certificate", "certificate_key", "certificates", "certificate_file", "certificate_key_file"]
        .iter()
        .any(|key| root.has(key) || root.is_blank(key))
        && !matches!(root.value("certificates"), Some(serde_yaml::Value::Sequence(list)) if list.is_empty())
}

#[derive(Clone, Copy)]
enum CodecChoice {
    Supported(Codec),
    Http3,
}

/// `codec_type`.
pub(super) fn codec(root: &Section<'_>) -> Codec {
    let choices = [
        ("CODEC_TYPE_AUTO", CodecChoice::Supported(Codec::Auto)),
        ("CODEC_TYPE_HTTP1", CodecChoice::Supported(Codec::Http1)),
        ("CODEC_TYPE_HTTP2", CodecChoice::Supported(Codec::Http2)),
        ("CODEC_TYPE_HTTP3", CodecChoice::Http3),
    ];
    match root.choice("codec_type", &choices) {
        Some(CodecChoice::Supported(codec)) => codec,
        Some(CodecChoice::Http3) => {
            root.error_with_hint("codec_type", "HTTP/3 is not supported", "use auto");
            Codec::Auto
        }
        None => Codec::Auto,
    }
}
