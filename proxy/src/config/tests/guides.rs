//! The two guides' files with their keys, in both generations.

use super::support::{Dir, config_of};
use crate::{
    config::Config,
    http::ActionSpec,
    identity::spec::ProviderPreset,
    tls::ClientAuthMode,
    upstream::{EndpointAddress, EndpointSpec},
};

/// What both guides have before their routes.
const IDENTITY: &str = "\
authenticate_service_url: https://authenticate.localhost.pomerium.io
idp_provider: google
idp_client_id: REPLACE_ME
idp_client_secret: REPLACE_ME
cookie_secret: 'WwMtDXWaRDMBQCylle8OJ+w4kLIDIGd8W3cB4/zFFtg='
";

fn only_endpoint(config: &Config) -> EndpointSpec {
    let ActionSpec::Proxy(proxy) = &config.routes[0].http.action else { panic!("no proxy") };
    (*proxy.cluster.endpoints[0]).clone()
}

fn upstream_guide(name_key: &str) -> String {
    format!(
        "{IDENTITY}
certificate_file: '@server.pem'
certificate_key_file: '@server-key.pem'

routes:
  - from: https://mtls.localhost.pomerium.io
    to: https://localhost:44330
    {name_key}: client.example
    tls_client_cert_file: '@client.pem'
    tls_client_key_file: '@client-key.pem'
    policy:
      - allow:
          or:
            - email:
                is: user@example.com
"
    )
}

#[test]
fn the_upstream_guide_loads_with_either_name_of_the_server_name() {
    for name_key in ["tls_server_name", "tls_upstream_server_name"] {
        let config = config_of(&upstream_guide(name_key), &[]);
        let endpoint = only_endpoint(&config);
        assert_eq!(&*endpoint.authority, "localhost:44330");
        assert_eq!(endpoint.address, EndpointAddress::Ip("127.0.0.1:44330".parse().unwrap()));
        let tls = endpoint.tls.unwrap();
        assert_eq!((&*tls.sni, &*tls.verify_name), ("client.example", "client.example"));
        assert!(tls.identity.is_some());
        assert!(config.routes[0].http.policy.needs().identity);
    }
}

#[test]
fn localhost_is_dialled_by_address_and_verified_by_name() {
    let yaml =
        upstream_guide("tls_server_name").replace("    tls_server_name: client.example\n", "");
    let endpoint = only_endpoint(&config_of(&yaml, &[]));
    assert_eq!(endpoint.address, EndpointAddress::Ip("127.0.0.1:44330".parse().unwrap()));
    let tls = endpoint.tls.unwrap();
    assert_eq!((&*tls.sni, &*tls.verify_name), ("localhost", "localhost"));
}

#[test]
fn every_file_of_the_upstream_guide_is_watched() {
    let dir = Dir::new();
    let loaded = dir.load(&upstream_guide("tls_server_name"), &[]).unwrap();
    let files: Vec<_> = loaded.config.files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(files[0], dir.file("config.yaml"));
    for name in ["server.pem", "server-key.pem", "client.pem", "client-key.pem", "ca.pem"] {
        assert!(files.contains(&dir.file(name)), "{name}");
    }
}

fn client_guide(certificates: &str, ca: &str) -> String {
    format!(
        "{IDENTITY}
{certificates}
{ca}

policy:
  - from: https://verify.localhost.pomerium.io
    to: http://localhost:8000
    pass_identity_headers: true
    policy:
      - allow:
          or:
            - domain:
                is: example.com
"
    )
}

const CERTIFICATES: &str =
    "certificate_file: '@server.pem'\ncertificate_key_file: '@server-key.pem'";

#[test]
fn the_client_guide_loads_in_both_generations() {
    for ca in ["client_ca_file: '@ca.pem'", "downstream_mtls:\n  ca_file: '@ca.pem'"] {
        let config = config_of(&client_guide(CERTIFICATES, ca), &[]);
        let client_auth = config.tls.unwrap().client_auth;
        assert!(matches!(client_auth.mode, ClientAuthMode::Request { everywhere: false }));
        assert!(client_auth.routes[0].looks && client_auth.routes[0].trust.is_some());
    }
}

#[test]
fn the_client_guide_loads_by_variables() {
    for ca in ["CLIENT_CA_FILE", "DOWNSTREAM_MTLS_CA_FILE"] {
        let variables = [
            ("CERTIFICATE_FILE", "@server.pem"),
            ("CERTIFICATE_KEY_FILE", "@server-key.pem"),
            (ca, "@ca.pem"),
        ];
        let config = config_of(&client_guide("", ""), &variables);
        assert!(config.routes[0].http.client_trust.is_some(), "{ca}");
    }
}

#[test]
fn identity_headers_of_clients_are_never_passed_on() {
    let config = config_of(&client_guide(CERTIFICATES, ""), &[]);
    let removed: Vec<&str> =
        config.http.identity_headers.iter().map(|name| name.as_str()).collect();
    assert_eq!(removed, ["x-pomerium-jwt-assertion", "x-pomerium-jwt-assertion-for"]);
}

#[test]
fn both_guides_let_people_sign_in_with_one_warning() {
    let variables = [("CERTIFICATE_FILE", "@server.pem"), ("CLIENT_CA_FILE", "@ca.pem")];
    for (yaml, variables) in [
        (upstream_guide("tls_server_name"), &[][..]),
        (upstream_guide("tls_upstream_server_name"), &[]),
        (client_guide(CERTIFICATES, "downstream_mtls:\n  ca_file: '@ca.pem'"), &[]),
        (client_guide(CERTIFICATES, ""), &variables),
    ] {
        let loaded = Dir::new().load(&yaml, variables).unwrap();
        let warnings: Vec<&str> = loaded.warnings.iter().map(|w| w.message.as_str()).collect();
        let random = "is not set, so each start makes a random one: sign-ins under way begin \
                      again, and the derived signing key changes";
        let older = "is the older name of `downstream_mtls.ca_file`";
        assert!(warnings.iter().all(|it| *it == random || *it == older), "{warnings:?}");
        assert_eq!(warnings.iter().filter(|it| **it == random).count(), 1);
        let sign_in = loaded.config.identity.sign_in.unwrap();
        assert_eq!(&*sign_in.authenticate.host, "authenticate.localhost.pomerium.io");
        assert_eq!(sign_in.provider.preset, ProviderPreset::Google);
        assert_eq!(&*sign_in.provider.issuer_url, "https://accounts.google.com");
        assert!(sign_in.cookie_secret.is_some() && sign_in.anchors.is_some());
    }
    let variables = [("SHARED_SECRET", "WwMtDXWaRDMBQCylle8OJ+w4kLIDIGd8W3cB4/zFFtg=")];
    let loaded = Dir::new().load(&upstream_guide("tls_server_name"), &variables).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn the_client_guides_route_passes_identity_on() {
    let config = config_of(&client_guide(CERTIFICATES, ""), &[]);
    assert!(config.routes[0].http.pass_identity_headers);
    assert!(config.routes[0].http.passes_identity());
}

#[test]
fn the_hosted_service_of_newer_guides_is_one_warning() {
    let hosted = "authenticate_service_url: https://authenticate.pomerium.app\n";
    let yaml = upstream_guide("tls_server_name").replace(IDENTITY, hosted);
    let loaded = Dir::new().load(&yaml, &[]).unwrap();
    let warnings: Vec<&str> = loaded.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "has no effect: nobody can sign in, because no identity provider is configured",
            "its policy depends on the user, and nobody can sign in: these criteria match nobody",
        ]
    );
    assert!(loaded.config.identity.sign_in.is_none());
}
