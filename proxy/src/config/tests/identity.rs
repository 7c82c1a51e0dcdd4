//! Sign-in, sessions and identity for upstreams: what the model says.

use std::{sync::Arc, time::Duration};

use super::support::{Dir, base64_of, config, pki_file, with_certificate};
use crate::{
    config::{Config, FileUsage},
    identity::{
        bearer::spec::BearerFormat,
        provider_tokens::WantedTokens,
        spec::{
            IssuerFormat, ProviderPreset, SameSite, SealSecret, SignInSpec, UnverifiedEmail,
            WithoutRefreshToken,
        },
    },
};

/// Base64 of 32 bytes of `1`, and of `2`.
const SECRET: &str = "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=";
const OTHER: &str = "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI=";

/// A configuration in which people can sign in; further keys follow.
fn signing_in(keys: &str) -> String {
    format!(
        "authenticate_service_url: https://authenticate.localhost.pomerium.io\n\
         idp_provider: oidc\nidp_provider_url: http://127.0.0.1:9400\nidp_client_id: c\n\
         shared_secret: {SECRET}\n{keys}"
    )
}

fn sign_in(keys: &str) -> Arc<SignInSpec> {
    config(&signing_in(keys)).identity.sign_in.expect("people can sign in")
}

fn texts(list: &[Box<str>]) -> Vec<&str> {
    list.iter().map(|text| &**text).collect()
}

#[test]
fn without_a_provider_nobody_can_sign_in() {
    let identity = config("").identity;
    assert!(identity.sign_in.is_none() && identity.shared_secret.is_none());
    assert!(identity.signing_keys.is_empty() && identity.claim_headers.is_empty());
}

#[test]
fn absent_keys_of_sign_in_have_the_defaults() {
    let sign_in = sign_in("");
    assert_eq!(sign_in.authenticate.origin(), "https://authenticate.localhost.pomerium.io");
    assert_eq!(sign_in.provider.preset, ProviderPreset::Oidc);
    assert_eq!(&*sign_in.provider.issuer_url, "http://127.0.0.1:9400");
    assert_eq!(texts(&sign_in.provider.scopes), ["openid", "profile", "email", "offline_access"]);
    assert!(sign_in.provider.client_secret.is_none() && sign_in.provider.tenants.is_empty());
    assert!(sign_in.anchors.is_none(), "no TLS on loopback");
    let cookies = &sign_in.cookies;
    assert_eq!((&*cookies.name, &cookies.domain), ("_pomerium", &None));
    assert_eq!((cookies.http_only, cookies.same_site), (true, SameSite::Unset));
    assert_eq!(cookies.expire, Duration::from_secs(14 * 3600));
    assert!(sign_in.cookie_secret.is_none() && sign_in.previous_secrets.is_empty());
    assert!(sign_in.state_file.is_none());
    assert_eq!(sign_in.recheck, Duration::from_secs(600));
    assert_eq!(sign_in.without_refresh_token, WithoutRefreshToken::AccessToken);
    assert_eq!(sign_in.unverified_email, UnverifiedEmail::Ignore);
    assert_eq!(texts(&sign_in.kept_claims), ["groups"]);
    assert_eq!((&sign_in.signout_redirect_url, &*sign_in.listen_ports), (&None, &[443][..]));
}

#[test]
fn every_key_of_sign_in_is_read() {
    let sign_in = sign_in(&format!(
        "idp_client_secret: 's+/%:'\nidp_scopes: [email, groups]\n\
         idp_request_params: {{prompt: consent}}\ncookie_secret: {OTHER}\ncookie_name: session\n\
         cookie_domain: .localhost.pomerium.io\ncookie_http_only: false\ncookie_expire: 1h\n\
         cookie_same_site: Strict\nsignout_redirect_url: https://www.example/bye?x=1\n\
         address: ':8443,127.0.0.1:8443,:443'\n\
         portcullis:\n  sign_in: {{previous_secrets: [{SECRET}, {OTHER}], recheck: 1s, \
         without_refresh_token: cookie_expire, unverified_email: accept, claims: [b, a], \
         state_file: /var/lib/state}}"
    ));
    assert_eq!(sign_in.provider.client_secret.as_ref().map(|it| &*it.0), Some("s+/%:"));
    assert_eq!(texts(&sign_in.provider.scopes), ["openid", "email", "groups"]);
    assert_eq!(sign_in.provider.request_params, [("prompt".into(), "consent".into())]);
    assert!(sign_in.cookie_secret == Some(SealSecret([b'2'; 32])));
    assert!(sign_in.previous_secrets == [SealSecret([b'1'; 32]), SealSecret([b'2'; 32])]);
    let cookies = &sign_in.cookies;
    assert_eq!(
        (&*cookies.name, cookies.domain.as_deref()),
        ("session", Some("localhost.pomerium.io"))
    );
    assert_eq!((cookies.http_only, cookies.same_site), (false, SameSite::Strict));
    assert_eq!(
        (cookies.expire, sign_in.recheck),
        (Duration::from_secs(3600), Duration::from_secs(1))
    );
    assert_eq!(sign_in.without_refresh_token, WithoutRefreshToken::CookieExpire);
    assert_eq!(sign_in.unverified_email, UnverifiedEmail::Accept);
    assert_eq!(sign_in.state_file.as_deref(), Some(std::path::Path::new("/var/lib/state")));
    assert_eq!(texts(&sign_in.kept_claims), ["a", "b", "groups"]);
    assert_eq!(sign_in.signout_redirect_url.as_deref(), Some("https://www.example/bye?x=1"));
    assert_eq!(sign_in.listen_ports, [443, 8443]);
}

#[test]
fn a_preset_fills_in_what_the_file_does_not_say() {
    let provider = |keys: &str| {
        let keys = format!(
            "authenticate_service_url: https://authenticate.localhost.pomerium.io:8443\n\
             idp_client_id: c\nshared_secret: {SECRET}\n{keys}"
        );
        config(&keys).identity.sign_in.unwrap()
    };
    let google = provider("idp_provider: google");
    assert_eq!(google.authenticate.origin(), "https://authenticate.localhost.pomerium.io:8443");
    assert_eq!(&*google.provider.issuer_url, "https://accounts.google.com");
    assert_eq!(texts(&google.provider.scopes), ["openid", "profile", "email"]);
    assert_eq!(google.provider.request_params.len(), 2);
    assert!(google.anchors.is_some());
    let onelogin =
        provider("idp_provider: onelogin\nidp_provider_url: https://a.onelogin.com/oidc/2");
    assert!(!onelogin.provider.scopes.iter().any(|scope| &**scope == "offline_access"));
    let azure = provider(
        "idp_provider: azure\nidp_provider_url: https://login.microsoftonline.com/common/v2.0\n\
         portcullis: {sign_in: {tenants: [t1, t2]}}",
    );
    assert_eq!(texts(&azure.provider.tenants), ["t1", "t2"]);
    let gitlab = provider("idp_provider: gitlab\nidp_provider_url: https://git.example/");
    assert_eq!(&*gitlab.provider.issuer_url, "https://git.example/", "as it is written");
}

#[test]
fn sessions_keep_each_claim_that_something_reads() {
    let sign_in = sign_in(
        "jwt_claims_headers: {X-Email: email, X-Team: team}\n\
         portcullis: {sign_in: {claims: [team, extra]}}\n\
         routes:\n\
         - {from: https://a, to: http://b, policy: {allow: {or: [{claim/address/country: DE}]}}}\n\
         - {from: https://b, to: http://b, allowed_idp_claims: {role: [x]}}\n",
    );
    assert_eq!(
        texts(&sign_in.kept_claims),
        ["address", "address/country", "email", "extra", "groups", "role", "team"]
    );
}

#[test]
fn secrets_are_read_from_files_without_their_last_line_break() {
    let dir = Dir::new();
    for (name, content) in [
        ("shared", format!("{SECRET}\n")),
        ("cookie", format!("{OTHER}\r\n")),
        ("client", "s \n\n".to_owned()),
    ] {
        dir.write(name, content);
    }
    let yaml = signing_in(
        "cookie_secret_file: '@cookie'\nshared_secret_file: '@shared'\n\
         idp_client_secret_file: '@client'",
    )
    .replace(&format!("shared_secret: {SECRET}\n"), "");
    let loaded = dir.load(&with_certificate(&yaml), &[]).unwrap();
    assert!(loaded.warnings.iter().all(|it| it.key_path != "shared_secret"));
    let identity = &loaded.config.identity;
    assert!(identity.shared_secret == Some(SealSecret([b'1'; 32])));
    let sign_in = identity.sign_in.as_ref().unwrap();
    assert!(sign_in.cookie_secret == Some(SealSecret([b'2'; 32])));
    assert_eq!(sign_in.provider.client_secret.as_ref().map(|it| &*it.0), Some("s \n"));
    for name in ["shared", "cookie", "client"] {
        let watched = loaded.config.files.iter().find(|file| file.path == dir.file(name));
        assert_eq!(watched.map(|file| file.usage), Some(FileUsage::Other), "{name}");
    }
}

#[test]
fn signing_keys_are_pem_or_base64_of_pem_in_place_or_in_a_file() {
    let dir = Dir::new();
    let (pem, base64) = (pki_file("server-key.pem"), base64_of("server-key.pem"));
    let both = format!("{pem}{}", pki_file("other-key.pem"));
    dir.write("both.pem", &both);
    dir.write("base64", format!("{base64}\n"));
    let ids = |yaml: &str, variables: &[(&str, &str)]| -> Vec<String> {
        let keys = dir.load(&with_certificate(yaml), variables).unwrap().config.identity;
        keys.signing_keys.iter().map(|key| key.kid().to_string()).collect()
    };
    let two = ids("signing_key_file: '@both.pem'", &[]);
    assert_eq!(two.len(), 2);
    let block: String = pem.lines().map(|line| format!("  {line}\n")).collect();
    for one in [
        ids("signing_key_file: '@server-key.pem'", &[]),
        ids("signing_key_file: '@base64'", &[]),
        ids(&format!("signing_key: {base64}"), &[]),
        ids(&format!("signing_key: |\n{block}"), &[]),
        ids("", &[("SIGNING_KEY", pem)]),
        ids("", &[("SIGNING_KEY", &base64)]),
    ] {
        assert_eq!(one, two[..1], "the first of the file");
    }
}

#[test]
fn claims_have_their_headers_in_each_form_of_the_key() {
    let headers = |yaml: &str| -> Vec<(String, String)> {
        let headers = config(yaml).identity.claim_headers;
        headers.iter().map(|(name, claim)| (name.to_string(), claim.to_string())).collect()
    };
    let pair = |name: &str, claim: &str| (name.to_owned(), claim.to_owned());
    assert_eq!(headers("jwt_claims_headers: {X-Email: email}"), [pair("x-email", "email")]);
    let both = [pair("x-pomerium-claim-email", "email"), pair("x-pomerium-claim-groups", "groups")];
    assert_eq!(headers("jwt_claims_headers: [email, groups]"), both);
    assert_eq!(headers("jwt_claims_headers: email, groups"), both);
}

#[test]
fn a_route_says_for_itself_what_its_upstream_is_told() {
    let told = |config: &Config| -> Vec<(bool, IssuerFormat)> {
        let routes = config.routes.iter().map(|route| &route.http);
        routes.map(|http| (http.pass_identity_headers, http.issuer_format)).collect()
    };
    let routes = "routes:\n- {from: https://a, to: http://b}\n\
                  - {from: https://b, to: http://b, pass_identity_headers: false, \
                  jwt_issuer_format: hostOnly}\n\
                  - {from: https://c, to: http://b, pass_identity_headers: true, \
                  jwt_issuer_format: uri}\n";
    use IssuerFormat::{HostOnly, Uri};
    assert_eq!(told(&config(routes)), [(false, HostOnly), (false, HostOnly), (true, Uri)]);
    let global = "pass_identity_headers: true\njwt_issuer_format: URI\n";
    let with_global = config(&signing_in(&format!("{global}{routes}")));
    assert_eq!(told(&with_global), [(true, Uri), (false, HostOnly), (true, Uri)]);
}

#[test]
fn a_route_tells_its_upstream_who_the_user_is() {
    let told = |keys: &str| {
        let route = format!("routes: [{{from: https://a, {keys}}}]");
        config(&signing_in(&route)).routes[0].http.passes_identity()
    };
    assert!(!told("to: http://b"));
    assert!(told("to: http://b, pass_identity_headers: true"));
    assert!(told("to: http://b, set_request_headers: {X-T: 'Bearer ${pomerium.jwt}'}"));
    assert!(!told("redirect: {host_redirect: b}, pass_identity_headers: true"));
}

#[test]
fn a_host_that_tells_of_users_by_certificate_asks_for_it() {
    let looks = |keys: &str| {
        let yaml = format!(
            "downstream_mtls: {{ca_file: '@ca.pem', enforcement: policy}}\n\
             portcullis: {{client_certificate_identity: email}}\n\
             routes: [{{from: https://a, to: http://b, \
             allow_public_unauthenticated_access: true, {keys}}}]"
        );
        config(&yaml).tls.unwrap().client_auth.routes[0].looks
    };
    assert!(!looks("name: x"));
    assert!(looks("pass_identity_headers: true"));
    assert!(looks("set_request_headers: {X-T: '${pomerium.jwt}'}"));
}

#[test]
fn a_route_takes_the_tokens_that_it_or_the_global_key_names() {
    let taken = |keys: &str| {
        let yaml = format!(
            "bearer_token_format: jwt\nidp_access_token_allowed_audiences: [api]\n\
             identity_providers:\n  ci: {{issuer: 'https://ci', audiences: [app]}}\n  \
             cd: {{issuer: 'https://cd', audiences: [app]}}\n\
             routes: [{{from: https://a, to: http://b, {keys}}}]"
        );
        let bearer = config(&signing_in(&yaml)).routes[0].http.bearer.clone();
        bearer.map(|rules| match &rules.format {
            BearerFormat::IdentityToken { client_id } => {
                client_id.as_deref().unwrap_or("identity").to_owned()
            }
            BearerFormat::AccessToken { audiences } => audiences.join(","),
            BearerFormat::Jwt { issuers } => {
                let names: Vec<&str> = issuers.iter().map(|issuer| &*issuer.name).collect();
                names.join(",")
            }
        })
    };
    let user = "allow_any_authenticated_user: true";
    let of = |more: &str| taken(&format!("{user}{more}"));
    assert_eq!(of("").as_deref(), Some("ci,cd"));
    assert_eq!(of(", identity_providers: [cd]").as_deref(), Some("cd"));
    assert_eq!(of(", bearer_token_format: idp_access_token").as_deref(), Some("api"));
    let own = ", bearer_token_format: idp_access_token, idp_access_token_allowed_audiences: [x]";
    assert_eq!(of(own).as_deref(), Some("x"));
    assert_eq!(of(", bearer_token_format: idp_identity_token").as_deref(), Some("identity"));
    assert_eq!(of(", bearer_token_format: default"), None);
    assert_eq!(taken("allow_public_unauthenticated_access: true"), None, "tokens pass untouched");
}

#[test]
fn a_route_s_own_client_is_told_apart_and_its_hosts_tokens_are_known() {
    let own = "idp_client_id: own, idp_client_secret: s";
    let token = "set_request_headers: {X-T: '${pomerium.access_token}'}";
    let user = "to: http://b, allow_any_authenticated_user: true";
    let config = config(&signing_in(&format!(
        "routes:\n- {{from: https://a.example, {user}, {own}, {token}}}\n\
         - {{from: https://b.example, {user}, {own}, bearer_token_format: idp_identity_token}}\n\
         - {{from: https://c.example, {user}}}"
    )));
    let sign_in = config.identity.sign_in.unwrap();
    let [client] = &*sign_in.route_clients else { panic!() };
    assert_eq!((&*client.client_id, &*client.client_secret.0), ("own", "s"));
    assert_ne!(client.provider, sign_in.provider.id());
    let clients: Vec<_> = config.routes.iter().map(|route| route.http.client).collect();
    assert_eq!(clients, [Some(client.provider), Some(client.provider), None]);
    let access = WantedTokens { access: true, id: false };
    assert_eq!(sign_in.wanted_tokens(client.provider), access);
    assert!(!sign_in.wanted_tokens(sign_in.provider.id()).any());
    let hosts: Vec<bool> = sign_in.token_hosts.iter().map(|host| host.tokens.any()).collect();
    assert_eq!(hosts, [true, false, false]);
    let bearer = config.routes[1].http.bearer.as_ref().unwrap();
    let BearerFormat::IdentityToken { client_id } = &bearer.format else { panic!() };
    assert_eq!(client_id.as_deref(), Some("own"), "the audience of ID tokens there");
}
