//! `docs/configuration.md`, from the table of keys.

use std::fmt::Write;

use super::keys::{self, ConfigKey, KeyStatus, ValueKind};

const HEAD: &str = "\
# Configuration

<!-- Made by `portcullis reference > docs/configuration.md` from the table in
     proxy/src/config/keys. A test compares the two. -->

One YAML file in Pomerium's format, `/etc/portcullis/config.yaml` unless `--config` names another. If
there is no such file, environment variables alone can be the configuration. A
Pomerium file is a valid file. Key names may be in upper or lower case. Relative paths start in the
working directory. Durations have Go's syntax: `30s`, `5m`, `1h30m`.

Every key at the top level and in its sections has an environment variable, which takes precedence
over the file: the name in upper case, with sections joined by `_`. `downstream_mtls.ca_file` is
`DOWNSTREAM_MTLS_CA_FILE`. Elements of a list are separated by commas, a mapping is JSON, and
`ROUTES` and `POLICY` are base64 of a YAML list. `HEADERS` sets `set_response_headers`.
`certificates` has no variable. An empty variable counts as unset. A variable whose name differs in one
or two letters from that of a key is an error.

A *message* is a section in the form that Pomerium takes from Envoy (protobuf's JSON): its keys may be
in `snake_case` or `camelCase`, its numbers may be strings, and enumerations may be numbers. The
variable of a message is JSON.

`portcullis check --config FILE` reports every mistake with its line. An unknown key is a warning, or
an error with `portcullis.strict`. It is always an error if its name is about certificates, revocation
or access (`ca`, `crl`, `cert`, `tls`, `mtls`, `ssl`, `allow...`, `deny...`) or if it is in one of our
own sections (below `portcullis`). With a mistake, the process does not start; on reload, the old
configuration stays in use.

Changes take effect at once, but for `address`, `http_redirect_addr`, `metrics_address`,
`portcullis.admin_address`, `portcullis.core_dumps`, `portcullis.steering.mode` and `portcullis.workers`:
a reload says that these take effect at the next start.
";

const NOT_YET: &str = "
## Refused until they are implemented

If these keys were ignored, other users would be allowed or denied than the file says.

| key | until then |
|---|---|
";

const WITHOUT_EFFECT: &str = "
## Accepted, with a warning that says what is missing

| key | what is missing |
|---|---|
";

const REMOVED: &str = "
## Removed

| key | instead |
|---|---|
";

const IGNORED: &str = "
## Accepted without effect

All such keys of a file share one warning.

";

/// The reference of every key, in Markdown.
pub(crate) fn reference() -> String {
    let mut page = HEAD.to_owned();
    table(&mut page, "Top level", |key| !is_route(key) && !is_ours(key));
    table(&mut page, "Routes: each entry of `routes` or `policy`", is_route);
    table(&mut page, "Our own: `portcullis`", is_ours);
    two_columns(&mut page, NOT_YET, KeyStatus::NotYet);
    two_columns(&mut page, WITHOUT_EFFECT, KeyStatus::IgnoredAloud);
    two_columns(&mut page, REMOVED, KeyStatus::Removed);
    page.push_str(IGNORED);
    let ignored: Vec<String> =
        with_status(KeyStatus::Ignored).map(|key| format!("`{}`", key.path)).collect();
    page.push_str(&ignored.join(", "));
    page.push_str(".\n");
    page
}

fn is_route(key: &ConfigKey) -> bool {
    key.path.starts_with("routes[]")
}

fn is_ours(key: &ConfigKey) -> bool {
    key.path.starts_with("portcullis")
}

fn with_status(status: KeyStatus) -> impl Iterator<Item = &'static ConfigKey> {
    keys::all().filter(move |key| key.status == status)
}

fn table(page: &mut String, title: &str, belongs: impl Fn(&ConfigKey) -> bool) {
    let _ = write!(page, "\n## {title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
    for key in with_status(KeyStatus::Supported).filter(|key| belongs(key)) {
        let path = key.path.strip_prefix("routes[].").unwrap_or(key.path);
        let (kind, default, about) = (kind_name(key.kind), shown_default(key), key.about);
        let _ = writeln!(page, "| `{path}` | {kind} | {default} | {about} |");
    }
}

fn two_columns(page: &mut String, head: &str, status: KeyStatus) {
    page.push_str(head);
    for key in with_status(status) {
        let _ = writeln!(page, "| `{}` | {} |", key.path, key.about);
    }
}

fn shown_default(key: &ConfigKey) -> String {
    let is_prose = key.default.contains([' ', '`', '\'']);
    match key.default {
        "" => String::new(),
        prose if is_prose => prose.to_owned(),
        value => format!("`{value}`"),
    }
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Text => "text",
        ValueKind::Path => "path",
        ValueKind::Base64 => "base64",
        ValueKind::Flag => "flag",
        ValueKind::Number => "number",
        ValueKind::Duration => "duration",
        ValueKind::List => "list",
        ValueKind::Map => "mapping",
        ValueKind::MapOrList => "mapping or list",
        ValueKind::MapOfLists => "mapping of lists",
        ValueKind::Section => "section",
        ValueKind::Sections => "list of sections",
        ValueKind::Message => "message",
        ValueKind::Messages => "list of messages",
        ValueKind::Opaque => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_reference_is_the_table_of_keys() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == reference(),
            "docs/configuration.md is out of date: portcullis reference > docs/configuration.md"
        );
    }
}
