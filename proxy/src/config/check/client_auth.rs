//! Client certificates, under both generations of names.

use std::sync::Arc;

use super::{
    super::section::Section,
    leaf_rules::LeafRules,
    material::{Materials, contradiction},
};
use crate::tls::{ClientTrustSpec, TrustAnchors};

/// `downstream_mtls`, and the older `client_ca` and `client_ca_file`. `None` asks for nothing.
pub(super) fn client_auth(
    root: &Section<'_>,
    rules: &LeafRules,
    materials: &Materials,
) -> Option<ClientTrustSpec> {
    let section = root.child_or_empty("downstream_mtls");
    let enforced = enforcement(&section);
    let max_verify_depth = section.number("max_verify_depth").unwrap_or(1);
    let Some(anchors) = anchors(root, &section, materials) else {
        unused(root, &section);
        return None;
    };
    if enforced.is_none() && !section.has("enforcement") {
        section.warn_with_hint(
            "enforcement",
            "is absent: connections without a valid client certificate are refused on all routes, \
             where Pomerium would ask and answer 495",
            "write `enforcement: reject_connection` to say that this is meant",
        );
    }
    rules.verify(root, &anchors);
    Some(rules.spec(anchors, max_verify_depth))
}

fn anchors(
    root: &Section<'_>,
    section: &Section<'_>,
    materials: &Materials,
) -> Option<Arc<TrustAnchors>> {
    for (old, new) in [("client_ca", "ca"), ("client_ca_file", "ca_file")] {
        if root.has(old) {
            let new = section.path_of(new);
            root.warn(old, format!("is the older name of `{new}`"));
        }
    }
    let old = materials.anchors(root, "client_ca", "client_ca_file");
    let new = materials.anchors(section, "ca", "ca_file");
    let old_given = ["client_ca", "client_ca_file"].into_iter().find(|key| root.has(key));
    let new_given = ["ca", "ca_file"].into_iter().find(|key| section.has(key));
    if let (Some(old), Some(new)) = (old_given, new_given) {
        contradiction(root, old, &section.path_of(new));
    }
    new.or(old)
}

#[derive(Clone, Copy)]
enum Enforcement {
    RejectConnection,
    ByPolicy,
}

/// Whether `reject_connection` is written; what is not done yet is refused.
fn enforcement(section: &Section<'_>) -> Option<()> {
    let choices = [
        ("REJECT_CONNECTION", Enforcement::RejectConnection),
        ("POLICY_WITH_DEFAULT_DENY", Enforcement::ByPolicy),
        ("POLICY", Enforcement::ByPolicy),
    ];
    match section.choice("enforcement", &choices)? {
        Enforcement::RejectConnection => Some(()),
        Enforcement::ByPolicy => {
            section.error_with_hint(
                "enforcement",
                "the policy modes are not supported yet",
                "use reject_connection until then: it refuses whatever they would refuse",
            );
            None
        }
    }
}

/// A section without a CA: whoever wrote it believes that clients are verified.
fn unused(root: &Section<'_>, section: &Section<'_>) {
    let tried = ["ca", "ca_file"].iter().any(|key| section.has(key) || section.is_blank(key))
        || ["client_ca", "client_ca_file"].iter().any(|key| root.has(key) || root.is_blank(key));
    if tried {
        return; // and what is wrong with it has been said
    }
    let crl = ["client_crl", "client_crl_file"].iter().any(|key| root.has(key));
    if crl || section.entries().any(|(key, _)| !section.is_blank(key)) {
        root.error_with_hint(
            "downstream_mtls",
            "there is no CA to verify clients by",
            "set downstream_mtls.ca_file, or remove the section",
        );
    }
}
