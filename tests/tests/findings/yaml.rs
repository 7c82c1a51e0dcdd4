//! Texts that are not YAML, or not a configuration.

use super::row::{Row, error, warning};

const NO_CERTIFICATE: super::row::Expected = ("error", None, "no server certificate is given");
const NO_ROUTE: super::row::Expected = ("warning", None, "there is no route");

pub(crate) const ROWS: &[Row] = &[
    Row::new("a tab", "routes:\n\t- from: x\n", &[error(2, "indent by spaces")]),
    Row::new(
        "a tab before a key",
        "routes:\n- from: x\n\tto: y\n",
        &[error(2, "indent by spaces")],
    ),
    Row::new("no closing quote", "address: \":1\nx: y\n", &[error(1, "quoted scalar")]),
    Row::new(
        "a duplicate key",
        "address: ':1'\n{route}address: ':2'\n",
        &[error(6, "address: is written twice, first in line 1")],
    ),
    Row::new(
        "the same key in another case",
        "Timeout_read: 1s\ntimeout_read: 2s\n{route}",
        &[error(1, "timeout_read: is given twice, in different upper and lower case")],
    ),
    Row::new(
        "`to` too deep",
        "routes:\n- from: https://a.localhost.pomerium.io\n    to: http://b\n",
        &[error(3, "line 3 is indented deeper than line 2, which has a value")],
    ),
    Row::new(
        "`to` not deep enough",
        "routes:\n- from: https://a.localhost.pomerium.io\n to: http://b\n",
        &[error(3, "line 3 is indented like no line above it")],
    ),
    Row::new(
        "`to` not indented",
        "routes:\n- from: https://a.localhost.pomerium.io\nto: http://b\n",
        &[
            error(2, "`to` in line 3 belongs to no route: indent it"),
            warning(2, "nobody is allowed to use this route"),
            warning(3, "to: is not a known key"),
        ],
    ),
    Row::new(
        "a lost `routes:`",
        "address: ':1'\n- from: https://a\n  to: http://b\n",
        &[error(2, "is the key of that list missing above it, such as `routes:`?")],
    ),
    Row::new(
        "the guide with its `policy:` lost",
        "routes:\n- from: https://a\n  to: http://b\n    - allow:\n        or:\n          - domain:\n",
        &[error(4, "write the key that is missing between them")],
    ),
    Row::new("an empty file", "", &[NO_ROUTE, NO_CERTIFICATE]).whole(),
    Row::new("a file of nginx", "server {\n  listen 443;\n}\n", &[error(1, "is not a mapping")])
        .whole(),
    Row::new("a list", "- from: a\n", &[error(1, "the file is not a mapping of keys")]).whole(),
    Row::new("a byte order mark and CRLF", "\u{feff}address: ':1'\r\n{route}", &[]),
    Row::new("JSON", "{\"address\": \":1\", \"routes\": []}", &[NO_CERTIFICATE]).whole(),
    Row::new("two documents", "address: ':1'\n---\nx: y\n", &[error(2, "a second YAML document")]),
    Row::new("a number as key", "1: x\n{route}", &[error(1, "1: is a key that is not a string")]),
    Row::new("a list for a text", "timeout_read: [1s]\n{route}", &[error(1, "found a list")]),
    Row::new(
        "a mapping for routes",
        "routes: {from: x}\n",
        &[error(1, "expected a list, found a mapping")],
    ),
    Row::new(
        "a text for a route",
        "routes: [x]\n",
        &[error(1, "expected a mapping, found a text")],
    ),
];
