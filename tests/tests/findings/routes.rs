//! Routes and their policies.

use super::row::{Row, error, warning};

const UNREACHED: &str = "is never reached: routes[0] (line 2)";

pub(crate) const ROWS: &[Row] = &[
    Row::new(
        "a route behind one that takes all of its host",
        "{route}- from: https://a.localhost.pomerium.io\n  prefix: /api\n  to: http://127.0.0.1:2\n  \
         allow_public_unauthenticated_access: true\n",
        &[warning(5, UNREACHED)],
    ),
    Row::new(
        "two routes of one host",
        "{route}- from: https://a.localhost.pomerium.io\n  to: http://127.0.0.1:2\n  \
         allow_public_unauthenticated_access: true\n",
        &[warning(5, "several upstreams of one route are a list in `to`")],
    ),
    Row::new(
        "a public route with a policy",
        "{route}  policy: [{allow: {or: [{domain: {is: example.com}}]}}]\n",
        &[
            warning(4, "everybody may use this route, except those whom its policy denies"),
            warning(2, "nobody can sign in"),
        ],
    ),
    Row::new(
        "a public route with users",
        "{route}  allowed_users: [a@example.com]\n",
        &[
            error(4, "route marked as public but contains whitelists"),
            warning(2, "nobody can sign in"),
        ],
    ),
    Row::new(
        "a top-level list of CRLs",
        "{route}crl_file: x\n",
        &[error(5, "crl_file: is not a known key")],
    ),
    Row::new(
        "a CA of clients under a wrong name",
        "{route}  downstream_client_ca_file: x\n",
        &[error(5, "downstream_client_ca_file: is not a known key")],
    ),
    Row::new(
        "a misspelt key of access",
        "routes:\n- from: https://a.localhost.pomerium.io\n  to: http://127.0.0.1:1\n  \
         allow_public_unauthenticated_acess: true\n",
        &[
            error(4, "`allow_public_unauthenticated_access`?"),
            warning(2, "nobody is allowed to use this route"),
        ],
    ),
    Row::new("a misspelt key", "{route}  preffix: /x\n", &[warning(5, "`prefix`?")]),
    Row::new(
        "no policy",
        "routes:\n- from: https://a.localhost.pomerium.io\n  to: http://127.0.0.1:1\n",
        &[warning(2, "nobody is allowed to use this route: it has no policy")],
    ),
    Row::new(
        "no `to`",
        "routes:\n- from: https://a.localhost.pomerium.io\n  allow_public_unauthenticated_access: true\n",
        &[error(2, "this route needs one of `to`, `redirect`, `response`")],
    ),
    Row::new(
        "no `from`",
        "routes:\n- to: http://127.0.0.1:1\n  allow_public_unauthenticated_access: true\n",
        &[error(2, "from: is missing (write from: https://app.example.com)")],
    ),
    Row::new(
        "no scheme in `from`",
        "routes:\n- from: a.localhost.pomerium.io\n  to: http://127.0.0.1:1\n  \
         allow_public_unauthenticated_access: true\n",
        &[error(2, "bad source url")],
    ),
    Row::new(
        "a path in `from`",
        "routes:\n- from: https://a.localhost.pomerium.io/x\n  to: http://127.0.0.1:1\n  \
         allow_public_unauthenticated_access: true\n",
        &[error(2, "should be set using the path field")],
    ),
    Row::new(
        "plain HTTP in `from`",
        "routes:\n- from: http://a.localhost.pomerium.io\n  to: http://127.0.0.1:1\n  \
         allow_public_unauthenticated_access: true\n",
        &[warning(2, "the route is served over HTTPS, as every route")],
    ),
    Row::new(
        "a port of `from` at which nothing listens",
        "address: ':443'\nroutes:\n- from: https://a.localhost.pomerium.io:9443\n  \
         to: http://127.0.0.1:1\n  allow_public_unauthenticated_access: true\n",
        &[warning(3, "nothing listens at port 9443")],
    ),
    Row::new(
        "an unknown scheme in `to`",
        "{route}  x-note: y\n- from: https://b.localhost.pomerium.io\n  \
         to: ftp://b\n  allow_public_unauthenticated_access: true\n",
        &[error(7, "`ftp` is not a known scheme"), warning(5, "x-note: is not a known key")],
    ),
    Row::new(
        "two actions",
        "{route}  redirect: {https_redirect: true}\n",
        &[error(3, "cannot set both")],
    ),
    Row::new("an invalid expression", "{route}  regex: '['\n", &[error(5, "regex")]),
    Row::new("a prefix without a slash", "{route}  prefix: api\n", &[error(5, "matches no path")]),
    Row::new(
        "an upstream that cannot be resolved",
        "routes:\n- from: https://a.localhost.pomerium.io\n  \
         to: http://nope.invalid\n  allow_public_unauthenticated_access: true\n",
        &[],
    ),
    Row::new(
        "a misspelt criterion",
        "{route}- from: https://b.localhost.pomerium.io\n  to: http://b\n  policy:\n  - allow:\n      \
         or: [{emial: {is: a@b.c}}]\n",
        &[error(9, "email")],
    ),
    Row::new(
        "a misspelt operator",
        "{route}- from: https://b.localhost.pomerium.io\n  to: http://b\n  policy:\n  - allow:\n      \
         or: [{email: {si: a@b.c}}]\n",
        &[error(9, "is")],
    ),
    Row::new(
        "a misspelt action of a policy",
        "{route}- from: https://b.localhost.pomerium.io\n  to: http://b\n  policy:\n  - alow:\n      \
         or: [{email: {is: a@b.c}}]\n",
        &[error(8, "allow")],
    ),
    Row::new(
        "a list in the place of an operator",
        "{route}- from: https://b.localhost.pomerium.io\n  to: http://b\n  policy:\n  - allow: \
         [{email: {is: a@b.c}}]\n",
        &[error(8, "expected and, or, not or nor below it, got a list")],
    ),
    Row::new(
        "an invalid status",
        "routes:\n- from: https://a.localhost.pomerium.io\n  response: {status: 99}\n  \
         allow_public_unauthenticated_access: true\n",
        &[error(3, "99 is not a status from 200 to 599")],
    ),
    Row::new(
        "routes that are not supported",
        "{route}  mcp: {server: {}}\n",
        &[error(5, "is not supported yet")],
    ),
    Row::new("no routes", "routes: []\n", &[]),
];
