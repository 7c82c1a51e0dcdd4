//! The table of keys against the checks: what the table calls supported is read, and as the kind
//! the table says.

use super::support::{Dir, with_certificate};
use crate::config::keys::{self, ConfigKey, KeyStatus, ValueKind};

/// A value that no kind of key takes.
const ODD: &str = "!odd x";

/// The file in which a key of the table has a value, with whatever it takes for it to be read.
fn document(key: &ConfigKey, value: &str) -> String {
    let companions = match key.path {
        "downstream_mtls.enforcement" => {
            let yaml = format!("downstream_mtls: {{ca_file: '@ca.pem', enforcement: {value}}}");
            return with_certificate(&yaml);
        }
        "portcullis.crl.missing" | "portcullis.crl.stale" => {
            "downstream_mtls: {ca_file: '@ca.pem', crl_file: '@crl.pem'}\n"
        }
        "downstream_mtls.max_verify_depth" => "client_ca_file: '@ca.pem'\n",
        "certificate_key" => "certificate: x\n",
        "certificate_key_file" => {
            return format!("certificate_file: '@ca.pem'\ncertificate_key_file: {value}\n");
        }
        "certificate_file" => {
            return format!("certificate_key_file: '@ca.pem'\ncertificate_file: {value}\n");
        }
        "certificate" => "certificate_key: x\n",
        "metrics_certificate" => "metrics_certificate_key: x\n",
        "metrics_certificate_key" => "metrics_certificate: x\n",
        "metrics_certificate_file" => "metrics_certificate_key_file: x\n",
        "metrics_certificate_key_file" => "metrics_certificate_file: x\n",
        _ => "",
    };
    let yaml = match key.path.split_once("[].") {
        Some(("routes", rest)) => route(rest, value),
        Some(("downstream_mtls.match_subject_alt_names", kind)) => {
            format!("downstream_mtls: {{match_subject_alt_names: [{{{kind}: {value}}}]}}\n")
        }
        Some((list, rest)) => {
            let other = if rest == "key" { "cert" } else { "key" };
            format!("{list}:\n- {other}: x\n  {rest}: {value}\n")
        }
        None => nested(key.path, value),
    };
    with_certificate(&format!("{companions}{yaml}"))
}

fn nested(path: &str, value: &str) -> String {
    match path.split_once('.') {
        Some((section, rest)) => {
            let below = nested(rest, value);
            match section.strip_suffix("[]") {
                Some(list) => format!("{list}: [{{{}}}]\n", below.trim_end()),
                None => format!("{section}: {{{}}}\n", below.trim_end()),
            }
        }
        None => format!("{path}: {value}\n"),
    }
}

fn route(path: &str, value: &str) -> String {
    let companion = match path {
        "tls_client_cert" => "tls_client_key: x",
        "tls_client_key" => "tls_client_cert: x",
        "tls_client_cert_file" => "tls_client_key_file: x",
        "tls_client_key_file" => "tls_client_cert_file: x",
        "regex_rewrite_substitution" => "regex_rewrite_pattern: x",
        "host_path_regex_rewrite_substitution" => "host_path_regex_rewrite_pattern: x",
        _ => "name: x",
    };
    let action = match path.split(['.', '[']).next() {
        Some("to" | "redirect" | "response") => "logo_url: x",
        _ => "to: https://b",
    };
    let action = if path == "name" { "to: https://b, description: x" } else { action };
    let companion = if path == "name" { "logo_url: x" } else { companion };
    let from = if path == "from" { "id: x" } else { "from: https://a" };
    let own = match path.split_once("[].") {
        Some(("health_checks", rest)) => health_check(rest, value),
        Some(_) => nested(path, value).trim_end().to_owned(),
        None => match path.strip_prefix("redirect.") {
            Some(rest) if rest != "host_redirect" => {
                format!("redirect: {{host_redirect: c, {rest}: {value}}}")
            }
            _ => nested(path, value).trim_end().to_owned(),
        },
    };
    format!("routes: [{{{from}, {action}, {companion}, {own}}}]\n")
}

/// A check that is whole but for the key.
fn health_check(path: &str, value: &str) -> String {
    let needed = [
        ("timeout", "1s"),
        ("interval", "1s"),
        ("unhealthy_threshold", "1"),
        ("healthy_threshold", "1"),
    ];
    let others = needed.iter().filter(|(name, _)| *name != path);
    let mut keys: Vec<_> = others.map(|(name, value)| format!("{name}: {value}")).collect();
    keys.push(match path.strip_prefix("http_health_check.") {
        Some("path") => format!("http_health_check: {{path: {value}}}"),
        Some(rest) => {
            format!("http_health_check: {{path: /, {}}}", nested(rest, value).trim_end())
        }
        None => nested(path, value).trim_end().to_owned(),
    });
    if !path.contains("_health_check") {
        keys.push("tcp_health_check: {}".to_owned());
    }
    format!("health_checks: [{{{}}}]", keys.join(", "))
}

/// `routes[].to` as findings call it.
fn indexed(path: &str) -> String {
    path.replace("[]", "[0]")
}

fn supported() -> impl Iterator<Item = &'static ConfigKey> {
    keys::all().filter(|key| key.status == KeyStatus::Supported)
}

#[test]
fn every_supported_key_is_read() {
    for key in supported() {
        let yaml = document(key, ODD);
        let refused = Dir::new().load(&yaml, &[]).expect_err(&yaml);
        let path = indexed(key.path);
        assert!(refused.errors().any(|error| error.key_path == path), "{yaml}\n{refused}");
    }
}

#[test]
fn every_key_takes_its_default() {
    for key in supported() {
        let is_value = !key.default.is_empty() && !key.default.contains([' ', '`']);
        if is_value && key.kind != ValueKind::Section {
            let yaml = document(key, &format!("'{}'", key.default));
            if let Err(refused) = Dir::new().load(&yaml, &[]) {
                panic!("{yaml}\n{refused}");
            }
        }
    }
}
