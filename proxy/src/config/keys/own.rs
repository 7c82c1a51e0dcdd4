//! Our own keys, all in one section, so that a Pomerium file stays a valid file.

use super::{ConfigKey, ValueKind::*, key};

pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "portcullis",
        Section,
        "",
        "Settings that Pomerium does not have. Unknown keys in it are errors.",
    ),
    key("portcullis.workers", Number, "one for each core", "Number of worker threads."),
    key(
        "portcullis.admin_address",
        Text,
        "127.0.0.1:9464",
        "Address that serves `/metrics`, `/healthz`, `/readyz` and `/status`, without TLS. If empty, they are not served.",
    ),
    key(
        "portcullis.admin_hosts",
        List,
        "",
        "Names by which clients may address `admin_address`, besides IP addresses and `localhost`: requests with another `Host` get 421, so that no web page can read them by DNS rebinding. `*` allows every name.",
    ),
    key(
        "portcullis.core_dumps",
        Flag,
        "false",
        "Allow core dumps, and debuggers of the same user. A core dump contains private keys. Applies at start.",
    ),
    key(
        "portcullis.handshake_timeout",
        Duration,
        "10s",
        "Maximum time from accept to the end of the TLS handshake.",
    ),
    key(
        "portcullis.header_timeout",
        Duration,
        "10s",
        "Maximum time from the first byte of a request's head to its last byte. In HTTP/2 it applies while no other request is under way, and from the handshake to the end of the client's preface and SETTINGS.",
    ),
    key(
        "portcullis.drain_timeout",
        Duration,
        "60s",
        "Maximum time from the order to stop to the end of the last connection. When another process has replaced this one, connections are told to close one after another over a twentieth of it.",
    ),
    key(
        "portcullis.max_connections",
        Number,
        "65536, or what the limit on open files allows",
        "Maximum number of open client connections, over all workers. The limit on open files allows somewhat less than half as many, which is logged at start; a larger number is lowered, with a warning. At the maximum, connections that are idle or have sent nothing make room for new ones.",
    ),
    key(
        "portcullis.max_connections_per_worker",
        Number,
        "`max_connections`",
        "Maximum number of open client connections of one worker.",
    ),
    key(
        "portcullis.max_header_bytes",
        Number,
        "131072",
        "Maximum size of a request's head in bytes, 8192 to 16777216. In HTTP/2 each field counts for 32 bytes more.",
    ),
    key(
        "portcullis.max_headers",
        Number,
        "100",
        "Maximum number of header fields in a request, 1 to 10000. All `Cookie` fields of an HTTP/2 request count as one. More than 100 costs an allocation for every request.",
    ),
    key(
        "portcullis.max_response_headers",
        Number,
        "100",
        "Maximum number of header fields in an upstream's response, 1 to 10000; a response with more gets 502. A new value applies to new connections to HTTP/1.1 upstreams. More than 100 costs an allocation for every response.",
    ),
    key(
        "portcullis.pass_forwarding_headers",
        List,
        "",
        "Headers that are passed on as every client sends them, instead of being removed from the requests of clients that are no trusted proxy (`xff_num_trusted_hops`): any of `Forwarded`, `X-Real-IP`, `True-Client-IP`, `X-Client-IP`, `X-Cluster-Client-IP`, `X-Original-URL`, `X-Original-URI`, `X-Original-Host`, `X-Rewrite-URL` and `X-Forwarded-*`, except `X-Forwarded-For`, `-Proto` and `-Host`, which have their own rules. An upstream must not rely on them.",
    ),
    key(
        "portcullis.log_format",
        Text,
        "json",
        "Format of log lines: `json` (one object a line) or `text`.",
    ),
    key(
        "portcullis.strict",
        Flag,
        "false",
        "Treat unknown keys as errors everywhere, not as warnings.",
    ),
    key(
        "portcullis.crl",
        Section,
        "",
        "Certificates for which no current revocation list is available.",
    ),
    key(
        "portcullis.crl.missing",
        Text,
        "allow",
        "Whether a certificate is accepted if its issuer has no list: `allow` or `reject`.",
    ),
    key(
        "portcullis.crl.stale",
        Text,
        "reject",
        "Whether a certificate that is not on its issuer's list is accepted when the next list is overdue: `allow` or `reject`. A list that is not signed by the issuer's key always rejects.",
    ),
    key(
        "portcullis.ticket_key_files",
        List,
        "",
        "Paths of keys for session tickets, 48 or 80 random bytes each, in nginx's format (`openssl rand 80`). The first key encrypts new tickets and all keys decrypt them, so tickets survive a restart and work on every machine with the same files and rules. To rotate keys, put the new one first and remove the old one a day later. Without it, random keys rotate every six hours.",
    ),
    key("portcullis.client_certificates", Section, "", "When clients are asked for a certificate."),
    key(
        "portcullis.client_certificates.ask",
        Text,
        "needed",
        "`needed`: only for hosts with a route that depends on the certificate, naming that host's CAs; clients that send no server name, or one that no route serves, are asked for a certificate of any CA. `everywhere`: for every host, as Pomerium does. A request for a host that asks gets 421 if its connection was asked for other CAs or for none.",
    ),
    key(
        "portcullis.forward_client_certificate",
        Section,
        "",
        "Forward the client's certificate to upstreams if the route's client CA trusts it; see [security](security.md). Hosts of such routes ask their clients for a certificate. Requires a client CA.",
    ),
    key(
        "portcullis.forward_client_certificate.rfc9440",
        Text,
        "none",
        "`leaf`: send `Client-Cert`. `chain`: also send its issuers, including the trusted one, in `Client-Cert-Chain`. `none`: send neither.",
    ),
    key(
        "portcullis.forward_client_certificate.xfcc",
        List,
        "",
        "Fields of Envoy's `X-Forwarded-Client-Cert`: `hash`, `cert`, `chain`, `subject`, `uri`, `dns`. Without it, the header is not sent.",
    ),
    key(
        "portcullis.client_certificate_identity",
        Text,
        "",
        "Identify users by their client certificate if the route's client CA trusts it: `email` uses the first email address as the user's id and address, `uri` uses the first URI as the id. `email`, `domain` and `user` in policies then work without an identity provider. A session of a user who signed in comes first. An address counts only with one `@` and without white space. Without it, certificates do not identify users.",
    ),
    key(
        "portcullis.first_health_checks",
        Duration,
        "3s",
        "How long `/readyz` waits at start for the first health check of each upstream; connections are accepted meanwhile. `0s` does not wait, and neither does `run --replace`, since the old process hands over what it knows.",
    ),
    key("portcullis.sign_in", Section, "", "Sign-in and sessions, beyond Pomerium's keys."),
    key(
        "portcullis.sign_in.previous_secrets",
        List,
        "",
        "Former values of `cookie_secret` and `shared_secret`, base64: they open cookies and seal \
            none, so users stay signed in when a secret changes. Remove them after \
            `cookie_expire`.",
    ),
    key(
        "portcullis.sign_in.recheck",
        Duration,
        "10m",
        "Interval at which the proxy asks the provider whether a user may stay signed in and has \
            the same claims.",
    ),
    key(
        "portcullis.sign_in.without_refresh_token",
        Text,
        "access_token",
        "End of a session without a refresh token: `access_token` when the access token expires, \
            or `cookie_expire` after that time.",
    ),
    key(
        "portcullis.sign_in.unverified_email",
        Text,
        "ignore",
        "Addresses that the provider marks as unverified (`email_verified: false`): `ignore` or \
            `accept` them.",
    ),
    key(
        "portcullis.sign_in.claims",
        List,
        "",
        "Claims to keep in sessions besides `groups` and those that policies and `jwt_claims_headers` name.",
    ),
    key(
        "portcullis.sign_in.tenants",
        List,
        "",
        "IDs (`tid`) of Azure tenants: only their users may sign in. Required with an \
            `idp_provider_url` of `common`, `organizations` or `consumers`.",
    ),
    key(
        "portcullis.sign_in.state_file",
        Path,
        "",
        "File in which ended sessions and refresh tokens outlast a restart and `run --replace`, \
            sealed by the secret of the cookies. Its directory must be writable, and for no other \
            user. Read at start, written within about a second of each change; see \
            [security](security.md). Without it, sessions that ended may count again after a restart \
            until their next check, and users are redirected to the provider once, usually without \
            a prompt.",
    ),
    key(
        "portcullis.steering",
        Section,
        "",
        "How new connections find their worker; see [steering](steering.md).",
    ),
    key(
        "portcullis.steering.mode",
        Text,
        "auto",
        "`kernel`, `handoff`, `none`, or `auto`: `kernel` if it is available, else `handoff`; `none` with one worker. Applies at start.",
    ),
    key(
        "portcullis.steering.pin",
        MapOfLists,
        "",
        "Hosts that only some of the workers serve: `app.example.com: [0, 1]`; `*.example.com` stands for every name with that ending.",
    ),
    key(
        "portcullis.steering.unknown_sni",
        Text,
        "accept",
        "How clients are handled whose server name matches no route: `accept` completes the handshake if there is a certificate, `refuse` closes the connection. Clients that send no server name are served.",
    ),
    key(
        "portcullis.steering.max_load_percent",
        Number,
        "120",
        "Maximum load of a worker before new connections for its names go to another one, in percent of the mean, 101 to 1000.",
    ),
];
