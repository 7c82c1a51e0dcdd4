//! Deciding about a request.

use std::{hint::black_box, net::IpAddr};

use portcullis::facade::policy::{
    ClientCertificateStatus, Identity, LeafCertificate, Policy, PolicyInput, PolicySpec, SanKind,
    parse,
};
use serde_yaml::Value;

use super::Work;

pub(super) fn works() -> Vec<Work> {
    vec![
        evaluation("policy, everybody", "allow: {or: [accept: true]}"),
        evaluation("policy, a name in the client's certificate", BY_CERTIFICATE),
        evaluation("policy, domain, method, path and network", BY_USER),
        evaluation("policy, the last of 100 users", &by_list(100)),
    ]
}

const BY_CERTIFICATE: &str = "
allow:
  and:
    - client_certificate: {san_email: {is: alice@example.com}}
deny:
  or:
    - invalid_client_certificate: true
";

const BY_USER: &str = "
- allow:
    and:
      - domain: {is: example.com}
      - http_method: {in: [GET, POST]}
      - http_path: {starts_with: /orders}
      - source_ip: 192.0.2.0/24
- deny:
    or:
      - http_path: {starts_with: /admin}
      - email: {is: mallory@example.com}
";

fn by_list(users: usize) -> String {
    let email = |number| format!("email: {{is: user-{number}@example.com}}, ");
    let others: String = (1..users).map(email).collect();
    format!("allow: {{or: [{others}email: {{is: alice@example.com}}]}}")
}

fn evaluation(name: &'static str, text: &str) -> Work {
    let document: Value = serde_yaml::from_str(text).expect("valid YAML");
    let rules = parse(&document, "policy").expect("a valid policy");
    let policy = Policy::new(&PolicySpec { rules, ..PolicySpec::default() });
    let leaf = Leaf { emails: ["alice@example.com".into()] };
    let identity =
        Identity { user_id: "alice".into(), email: "alice@example.com".into(), ..<_>::default() };
    Work::repeated(name, move |_| {
        let request = PolicyInput {
            method: "GET",
            path: "/orders/1234",
            source_ip: IpAddr::from([192, 0, 2, 7]),
            is_cors_preflight: false,
            client_certificate: ClientCertificateStatus::Trusted(&leaf),
            identity: Some(&identity),
        };
        assert!(black_box(policy.evaluate(black_box(&request))).is_allowed());
    })
}

/// A leaf whose names have been read, as those of a connection's second request are.
struct Leaf {
    emails: [Box<str>; 1],
}

impl LeafCertificate for Leaf {
    fn fingerprint(&self) -> [u8; 32] {
        [7; 32]
    }

    fn spki_hash(&self) -> Option<[u8; 32]> {
        Some([8; 32])
    }

    fn subject_alt_names(&self, kind: SanKind) -> &[Box<str>] {
        match kind {
            SanKind::Email => &self.emails,
            SanKind::Dns | SanKind::Uri => &[],
        }
    }
}
