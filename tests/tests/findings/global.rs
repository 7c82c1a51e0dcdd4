//! Keys at the top level, our own section, and environment variables.

use super::row::{Row, error, warning};

pub(crate) const ROWS: &[Row] = &[
    Row::new("a duration without a unit", "timeout_read: 30\n{route}", &[error(1, "has no unit")]),
    Row::new("no duration", "timeout_read: soon\n{route}", &[error(1, "is not a duration")]),
    Row::new("an unknown choice", "codec_type: http9\n{route}", &[error(1, "codec_type_http2")]),
    Row::new("HTTP/3", "codec_type: http3\n{route}", &[error(1, "HTTP/3 is not supported")]),
    Row::new(
        "an unknown level",
        "log_level: loud\n{route}",
        &[error(1, "is not an allowed value")],
    ),
    Row::new("no address", "address: nowhere\n{route}", &[error(1, "is not an IP address")]),
    Row::new("an address twice", "address: ':1,:1'\n{route}", &[error(1, "is listed twice")]),
    Row::new(
        "an address for two things",
        "address: ':1'\nhttp_redirect_addr: ':1'\n{route}",
        &[error(2, "is in `address` already")],
    ),
    Row::new(
        "an administrative address for all",
        "{route}portcullis:\n  admin_address: 0.0.0.0:9464\n",
        &[warning(6, "other machines can reach 0.0.0.0:9464")],
    ),
    Row::new(
        "no workers",
        "{route}portcullis: {workers: 0}\n",
        &[error(5, "is not from 1 to 1024")],
    ),
    Row::new(
        "more workers than steering takes",
        "{route}portcullis: {workers: 200}\n",
        &[warning(5, "steering supports at most 128 workers")],
    ),
    Row::new(
        "more workers than a wanted mode takes",
        "{route}portcullis: {workers: 200, steering: {mode: handoff}}\n",
        &[error(5, "steering supports at most 128 workers")],
    ),
    Row::new(
        "an unknown key of ours",
        "{route}portcullis: {wrokers: 1}\n",
        &[error(5, "`workers`?")],
    ),
    Row::new("an unknown key", "adress: ':1'\n{route}", &[warning(1, "`address`?")]),
    Row::new(
        "an unknown key where all must be known",
        "adress: ':1'\n{route}portcullis: {strict: true}\n",
        &[error(1, "`address`?")],
    ),
    Row::new(
        "warnings beside errors",
        "foo: 1\ntimeout_read: soon\n{route}",
        &[warning(1, "foo: is not a known key"), error(2, "timeout_read")],
    ),
    Row::new("autocert", "autocert: true\n{route}", &[error(1, "is not supported yet")]),
    Row::new(
        "a PROXY header",
        "use_proxy_protocol: true\n{route}",
        &[error(1, "is not supported yet")],
    ),
    Row::new(
        "no deadline for a drain",
        "{route}portcullis: {drain_timeout: 0s}\n",
        &[error(5, "must be longer than zero")],
    ),
    Row::new(
        "too many connections",
        "{route}portcullis: {max_connections: 99999999}\n",
        &[error(5, "is not from 1 to 16777216")],
    ),
    Row::new(
        "a password in clear",
        "metrics_basic_auth: a:b\n{route}",
        &[error(1, "metrics_basic_auth")],
    ),
    Row::new(
        "plain HTTP with a CA of clients",
        "insecure_server: true\n{route}downstream_mtls: {ca_file: '@/ca.pem'}\n",
        &[error(1, "plain HTTP cannot ask for client certificates")],
    )
    .whole(),
    Row::new("no certificate", "{route}", &[("error", None, "no server certificate is given")])
        .whole(),
    Row::new(
        "keys without effect",
        "databroker_storage_type: memory\n{route}",
        &[("warning", None, "no effect")],
    ),
    Row::new("a misspelt variable", "{route}", &[("error", None, "`DOWNSTREAM_MTLS_CA_FILE`?")])
        .with_variable("DOWNSTREAM_MTLS_CA_FLIE", "x"),
    Row::new("a misspelt short variable", "{route}", &[("error", None, "`ADDRESS`?")])
        .with_variable("ADRESS", ":1"),
    Row::new("a variable without its last letter", "{route}", &[("error", None, "`ROUTES`?")])
        .with_variable("ROUTE", "x"),
    Row::new(
        "a mistake in a variable",
        "{route}",
        &[("error", None, "timeout_read: `30` has no unit")],
    )
    .with_variable("TIMEOUT_READ", "30"),
];
