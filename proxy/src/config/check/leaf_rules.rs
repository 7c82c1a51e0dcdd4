//! The checks of a client certificate besides its chain: its names and the CRLs.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    super::section::{Section, scalar_text},
    material::{Materials, contradiction},
};
use crate::tls::{
    AltNameKind, AltNameMatcher, ClientTrustSpec, CrlBundle, CrlRule, CrlRules, TrustAnchors,
};

/// The older names of `downstream_mtls.crl` and `crl_file`.
const OLDER: [(&str, &str); 2] = [("client_crl", "crl"), ("client_crl_file", "crl_file")];

/// The same for all client CAs.
pub(super) struct LeafRules {
    alt_names: Vec<AltNameMatcher>,
    crls: Option<Arc<CrlBundle>>,
    crl_rules: CrlRules,
}

impl LeafRules {
    /// Reads the rules; `own` is the section `portcullis`.
    pub(super) fn read(root: &Section<'_>, own: &Section<'_>, materials: &Materials) -> LeafRules {
        let section = root.child_or_empty("downstream_mtls");
        let crls = crls(root, &section, materials);
        let given = given(root, &section);
        if let (Some(crls), Some((place, key))) = (&crls, given) {
            warn_of_stale(crls, place, key);
        }
        let crl_rules = crl_rules(&own.child_or_empty("crl"), crls.is_some(), given);
        LeafRules { alt_names: alt_names(&section), crls, crl_rules }
    }

    /// The trust of these rules with a CA and a maximum depth.
    pub(super) fn spec(
        &self,
        anchors: Arc<TrustAnchors>,
        max_verify_depth: u32,
    ) -> ClientTrustSpec {
        ClientTrustSpec {
            alt_names: self.alt_names.clone(),
            crls: self.crls.clone(),
            crl_rules: self.crl_rules,
            ..ClientTrustSpec::new(anchors, max_verify_depth)
        }
    }

    /// Warns about CRLs that are stale or fit none of these anchors, which are those of all routes.
    pub(super) fn verify(&self, root: &Section<'_>, anchors: &TrustAnchors) {
        let section = root.child_or_empty("downstream_mtls");
        let (Some(crls), Some((place, key))) = (&self.crls, given(root, &section)) else { return };
        for remark in crls.verify(anchors) {
            place.warn(key, remark);
        }
    }

    /// The CRLs, for status and metrics.
    pub(super) fn crls(&self) -> Option<&Arc<CrlBundle>> {
        self.crls.as_ref()
    }
}

/// The section and the key that give the CRLs.
fn given<'s, 'a>(
    root: &'s Section<'a>,
    section: &'s Section<'a>,
) -> Option<(&'s Section<'a>, &'static str)> {
    let new = OLDER.iter().map(|(_, new)| (section, *new));
    let old = OLDER.iter().map(|(old, _)| (root, *old));
    new.chain(old).find(|(place, key)| place.has(key))
}

fn crls(
    root: &Section<'_>,
    section: &Section<'_>,
    materials: &Materials,
) -> Option<Arc<CrlBundle>> {
    for (old, new) in OLDER {
        if root.has(old) {
            root.warn(old, format!("is the older name of `{}`", section.path_of(new)));
        }
    }
    let old = materials.crls(root, "client_crl", "client_crl_file");
    let new = materials.crls(section, "crl", "crl_file");
    let old_given = OLDER.iter().find(|(old, _)| root.has(old));
    let new_given = OLDER.iter().find(|(_, new)| section.has(new));
    if let (Some((old, _)), Some((_, new))) = (old_given, new_given) {
        contradiction(root, old, &section.path_of(new));
    }
    new.or(old)
}

/// A list that is overdue by only an hour is reported too: its fetch may have failed.
fn warn_of_stale(crls: &CrlBundle, place: &Section<'_>, key: &str) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_s = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    for crl in crls.facts() {
        let Some(overdue_s) = crl.next_update_s.map(|due_s| now_s.saturating_sub(due_s)) else {
            continue;
        };
        if overdue_s > 0 {
            let (origin, issuer) = (&crls.origin, &crl.issuer);
            let overdue = match overdue_s {
                ..3600 => format!("{} minutes", overdue_s / 60),
                3600..172_800 => format!("{} hours", overdue_s / 3600),
                _ => format!("{} days", overdue_s / 86_400),
            };
            place.warn(
                key,
                format!(
                    "{origin}: the CRL of \"{issuer}\" has been stale for \
                {overdue}"
                ),
            );
        }
    }
}

/// `portcullis.crl`. Warns about each missing rule whose default differs from Pomerium's.
fn crl_rules(
    rules: &Section<'_>,
    have_crls: bool,
    given: Option<(&Section<'_>, &str)>,
) -> CrlRules {
    let choices = [("ALLOW", CrlRule::Allow), ("REJECT", CrlRule::Reject)];
    let missing = rules.choice("missing", &choices);
    let stale = rules.choice("stale", &choices);
    let Some((place, key)) = given else {
        for written in ["missing", "stale"].into_iter().filter(|key| rules.has(key)) {
            let hint = "set downstream_mtls.crl_file, or remove the rule";
            rules.error_with_hint(written, "has no effect: no CRL is configured", hint);
        }
        return CrlRules::default();
    };
    if have_crls && missing.is_none() && !rules.has("missing") {
        place.warn_with_hint(
            key,
            "a certificate whose issuer has no CRL in it is accepted; Pomerium's reject_connection \
             refuses it, its policy modes accept it",
            "set portcullis.crl.missing to allow or reject",
        );
    }
    if have_crls && stale.is_none() && !rules.has("stale") {
        place.warn_with_hint(
            key,
            "once a CRL's next update is overdue, every certificate of its issuer is refused; \
             Pomerium's policy modes keep accepting them",
            "set portcullis.crl.stale to reject or allow",
        );
    }
    let default = CrlRules::default();
    CrlRules { missing: missing.unwrap_or(default.missing), stale: stale.unwrap_or(default.stale) }
}

/// `match_subject_alt_names`: a list of mappings with one key each.
fn alt_names(section: &Section<'_>) -> Vec<AltNameMatcher> {
    const KEY: &str = "match_subject_alt_names";
    if section.is_blank(KEY) {
        section.error_with_hint(KEY, "is empty", "give it a value, or remove the key");
    }
    let mut matchers = Vec::new();
    for (index, entry) in section.children(KEY).iter().enumerate() {
        let mut entries = entry.entries();
        let (Some((name, value)), None) = (entries.next(), entries.next()) else {
            section.error_with_hint(
                &format!("{KEY}[{index}]"),
                "unsupported SAN matcher format: expected {type: pattern}",
                "write one list entry per pattern",
            );
            continue;
        };
        let Some(pattern) = scalar_text(value) else {
            entry.error(name, "expected a regular expression");
            continue;
        };
        matchers.extend(alt_name(entry, name, &pattern));
    }
    matchers
}

fn alt_name(entry: &Section<'_>, name: &str, pattern: &str) -> Option<AltNameMatcher> {
    let kind = match name {
        "dns" => AltNameKind::Dns,
        "email" => AltNameKind::Email,
        "ip_address" => AltNameKind::IpAddress,
        "uri" => AltNameKind::Uri,
        "user_principal_name" => AltNameKind::UserPrincipalName,
        _ => {
            let hint = "one of dns, email, ip_address, uri, user_principal_name";
            entry.error_with_hint(name, format!("unknown SAN type \"{name}\""), hint);
            return None;
        }
    };
    match AltNameMatcher::new(kind, pattern) {
        Ok(matcher) => Some(matcher),
        Err(error) => {
            let hint = "the syntax is RE2's, and the whole name must match";
            entry.error_with_hint(
                name,
                format!("couldn't parse pattern: {}", one_line(&error)),
                hint,
            );
            None
        }
    }
}

/// The library's message marks the place in the pattern on several lines.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
