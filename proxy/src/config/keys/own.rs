//! Our own keys, all in one section, so that a Pomerium file stays a valid file.

use super::{ConfigKey, ValueKind::*, key};

pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "portcullis",
        Section,
        "",
        "Settings that Pomerium does not have. Unknown keys in it are errors.",
    ),
    key("portcullis.workers", Number, "one for each core", "Worker threads."),
    key(
        "portcullis.admin_address",
        Text,
        "127.0.0.1:9464",
        "Where `/metrics`, `/healthz`, `/readyz` and `/status` are served, in plain text. Empty: nowhere.",
    ),
    key(
        "portcullis.handshake_timeout",
        Duration,
        "10s",
        "The longest from accept to the end of the TLS handshake.",
    ),
    key(
        "portcullis.header_timeout",
        Duration,
        "10s",
        "The longest from the first byte of a request's head to its last. In HTTP/2 it holds while no other request is under way, and also from the handshake to the end of the client's preface and SETTINGS.",
    ),
    key(
        "portcullis.drain_timeout",
        Duration,
        "60s",
        "The longest from the order to stop to the end of the last connection. Over a twentieth of it, connections are told to go one after another when another process has taken this one's place.",
    ),
    key(
        "portcullis.max_connections",
        Number,
        "65536",
        "The most open client connections of all workers together.",
    ),
    key(
        "portcullis.max_connections_per_worker",
        Number,
        "`max_connections`",
        "The most open client connections of one worker.",
    ),
    key(
        "portcullis.max_header_bytes",
        Number,
        "131072",
        "The most bytes in a request's head, 8192 to 16777216. In HTTP/2 each field counts for 32 bytes more.",
    ),
    key(
        "portcullis.max_headers",
        Number,
        "100",
        "The most header fields in a request, 1 to 10000. More than 100 costs an allocation for every request.",
    ),
    key(
        "portcullis.log_format",
        Text,
        "json",
        "How a log line looks: `json` (one object a line) or `text`.",
    ),
    key("portcullis.strict", Flag, "false", "Make unknown keys errors everywhere, not warnings."),
    key("portcullis.crl", Section, "", "What certificate revocation lists that cannot tell mean."),
    key(
        "portcullis.crl.missing",
        Text,
        "allow",
        "Whether a certificate is accepted whose issuer has no list: `allow` or `reject`.",
    ),
    key(
        "portcullis.crl.stale",
        Text,
        "reject",
        "Whether a certificate is accepted that is not on its issuer's list when the next one is overdue: `allow` or `reject`. A list that another key than the issuer's has signed always rejects.",
    ),
    key(
        "portcullis.ticket_key_files",
        List,
        "",
        "Paths of keys for session tickets, 48 or 80 random bytes each, as nginx has them (`openssl rand 80`). The first makes tickets, all open them, so that they outlive a restart and are good on every machine with the same files and rules. To change keys, put the new one first and drop the old one a day later. Absent: random keys that rotate every six hours.",
    ),
    key("portcullis.client_certificates", Section, "", "How clients are asked for certificates."),
    key(
        "portcullis.client_certificates.ask",
        Text,
        "needed",
        "`needed`: only at hosts with a route that looks at the certificate, naming that host's CAs; clients that name no host, or one that no route serves, are asked for one of any CA. `everywhere`: at every host, as Pomerium does. A request for a host that asks, on a connection that was not asked alike, is answered 421.",
    ),
    key(
        "portcullis.forward_client_certificate",
        Section,
        "",
        "Tell upstreams of the client's certificate, if the route's client CA vouches for it; see [security](security.md). Hosts of such routes ask their clients for one. Needs a client CA.",
    ),
    key(
        "portcullis.forward_client_certificate.rfc9440",
        Text,
        "none",
        "`leaf`: in `Client-Cert`. `chain`: its issuers, the trusted one included, in `Client-Cert-Chain` too. `none`.",
    ),
    key(
        "portcullis.forward_client_certificate.xfcc",
        List,
        "",
        "The fields of Envoy's `X-Forwarded-Client-Cert`: `hash`, `cert`, `chain`, `subject`, `uri`, `dns`. Absent: no such header.",
    ),
    key(
        "portcullis.client_certificate_identity",
        Text,
        "",
        "Take the user from the client certificate, where the route's client CA vouches for it: `email` takes the first email address in it as the user's id and address, `uri` the first URI as the id. So `email`, `domain` and `user` in policies work without an identity provider. Absent: no certificate says who somebody is.",
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
        "`kernel`, `handoff`, `none`, or `auto`: `kernel` where it can be had, else `handoff`; `none` with one worker. Takes effect at start.",
    ),
    key(
        "portcullis.steering.pin",
        MapOfLists,
        "",
        "Hosts that are kept to some of the workers: `app.example.com: [0, 1]`; `*.example.com` means every name with that ending.",
    ),
    key(
        "portcullis.steering.unknown_sni",
        Text,
        "accept",
        "What becomes of a client that asks for a name that no route has: `accept`, which answers it as far as there is a certificate, or `refuse`. A client that asks for no name is served.",
    ),
    key(
        "portcullis.steering.max_load_percent",
        Number,
        "120",
        "The load that a worker may have before further connections of its names go to another, in percent of the mean, 101 to 1000.",
    ),
];
