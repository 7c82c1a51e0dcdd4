use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::{
    identity::{
        jose::{
            AllowedAlgorithms,
            testing::{KEYS, NOW_S, parse_set, with},
        },
        provider::testing::sign_in_spec,
    },
    tls::TrustAnchors,
};

const IDP: &str = "https://idp.example";
const CI: &str = "https://ci.example";

fn issuer(name: &str, url: &str) -> Arc<TokenIssuerSpec> {
    Arc::new(TokenIssuerSpec {
        name: name.into(),
        issuer: url.into(),
        jwks_url: None,
        algorithms: AllowedAlgorithms::from_metadata(Some(&["ES256"])),
        audiences: ["app".into()].into(),
        anchors: None,
    })
}

fn jwt(issuers: &[Arc<TokenIssuerSpec>]) -> BearerFormat {
    BearerFormat::Jwt { issuers: issuers.into() }
}

fn access() -> BearerFormat {
    BearerFormat::AccessToken { audiences: ["api".into()].into() }
}

fn keys(issuer: &str) -> TokenKeys {
    TokenKeys {
        issuer: issuer.into(),
        algorithms: AllowedAlgorithms::from_metadata(Some(&["ES256"])),
        keys: Arc::new(parse_set(&KEYS.set())),
        fresh_until_s: NOW_S + 300,
        forced_at_s: None,
        is_away: false,
        serial: 1,
    }
}

fn token(change: Value) -> String {
    let claims = json!({
        "iss": IDP, "sub": "ann", "aud": "client", "iat": NOW_S - 5, "exp": NOW_S + 300,
        "email": "ann@example.com", "name": "Ann", "groups": ["dev"], "secret": "x",
    });
    KEYS.token(Algorithm::ES256, &with(claims, change))
}

/// Verifies a token by keys of the issuer that it names.
fn verify(format: BearerFormat, token: &str) -> Result<KnownToken, TokenError> {
    let sign_in = sign_in_spec(IDP);
    verify_with(format, token, Some(&sign_in))
}

fn verify_with(
    format: BearerFormat,
    token: &str,
    sign_in: Option<&SignInSpec>,
) -> Result<KnownToken, TokenError> {
    let rules = BearerRules::new(format);
    let spec = TokenSpec { kept_claims: ["groups".into()].into(), ..TokenSpec::none() };
    let verifier = TokenVerifier { rules: &rules, spec: &spec, sign_in, now_s: NOW_S };
    let maker = verifier.maker(token)?;
    let named = match maker {
        TokenMaker::Provider { .. } => IDP,
        TokenMaker::Issuer(issuer) => &issuer.issuer,
    };
    verifier.verify(token, maker, &keys(named))
}

fn identity() -> BearerFormat {
    BearerFormat::IdentityToken { client_id: None }
}

#[test]
fn an_id_token_for_our_client_names_the_user_of_a_session() {
    let known = verify(identity(), &token(json!({}))).unwrap();
    assert_eq!(&*known.identity.user_id, "ann");
    assert_eq!((&*known.identity.email, &*known.name), ("ann@example.com", "Ann"));
    assert_eq!(Value::Object(known.identity.claims.clone()), json!({"groups": ["dev"]}));
    for change in [json!({"aud": "api"}), json!({"aud": null}), json!({"iss": CI})] {
        let refused = verify(identity(), &token(change.clone()));
        assert!(refused.is_err(), "{change}");
    }
}

#[test]
fn an_id_token_for_a_route_s_own_client_counts_there_alone() {
    let of_route = || BearerFormat::IdentityToken { client_id: Some("other".into()) };
    let for_route = token(json!({"aud": "other"}));
    assert!(verify(of_route(), &for_route).is_ok() && verify(identity(), &for_route).is_err());
    assert!(verify(of_route(), &token(json!({}))).is_err());
}

#[test]
fn an_access_token_must_be_for_a_listed_audience() {
    assert!(verify(access(), &token(json!({"aud": "api"}))).is_ok());
    assert!(verify(access(), &token(json!({"aud": ["x", "api"]}))).is_ok());
    for change in [json!({}), json!({"aud": null}), json!({"aud": "api2"}), json!({"iss": CI})] {
        assert!(verify(access(), &token(change.clone())).is_err(), "{change}");
    }
    assert!(verify(access(), "opaque").is_err());
}

#[test]
fn a_token_of_an_issuer_that_the_route_lacks_is_refused() {
    let made = token(json!({"iss": CI, "aud": "app", "sub": "job"}));
    let known = verify(jwt(&[issuer("ci", CI)]), &made).unwrap();
    assert_eq!(&*known.identity.user_id, "ci/job");
    let other = issuer("other", "https://other.example");
    assert!(verify(jwt(&[other]), &made).is_err());
    assert!(verify(jwt(&[]), &made).is_err());
    assert!(verify(jwt(&[issuer("ci", CI)]), &token(json!({"aud": "app"}))).is_err());
    for aud in [json!("api"), json!(null), json!([])] {
        let refused = token(json!({"iss": CI, "aud": aud}));
        assert!(verify(jwt(&[issuer("ci", CI)]), &refused).is_err(), "{aud}");
    }
}

#[test]
fn without_an_identity_provider_its_tokens_are_refused() {
    assert!(verify_with(identity(), &token(json!({})), None).is_err());
    assert!(verify_with(access(), &token(json!({"aud": "api"})), None).is_err());
}

#[test]
fn an_address_that_was_not_verified_does_not_count() {
    let odd = token(json!({"email_verified": false}));
    let known = verify(identity(), &odd).unwrap();
    assert_eq!(&*known.identity.email, "");
    let odd = token(json!({"email": "a@evil@example.com"}));
    assert_eq!(&*verify(identity(), &odd).unwrap().identity.email, "");
}

#[test]
fn a_token_is_remembered_until_it_ends_and_no_longer_than_a_recheck() {
    let until_s = |exp: u64| {
        let known = verify(identity(), &token(json!({ "exp": exp })));
        known.unwrap().known_until_s()
    };
    assert_eq!(until_s(NOW_S + 300), NOW_S + 300);
    assert_eq!(until_s(NOW_S + 5_000), NOW_S + 600);
    assert_eq!(until_s(NOW_S - 10), NOW_S - 10, "it is verified each time");
}

#[test]
fn rules_that_differ_in_anything_have_another_id() {
    let audience = |audience: &str| {
        let audiences = [audience.into()].into();
        Arc::new(TokenIssuerSpec { audiences, ..TokenIssuerSpec::clone(&issuer("ci", CI)) })
    };
    let formats = [
        identity(),
        BearerFormat::IdentityToken { client_id: Some("other".into()) },
        access(),
        BearerFormat::AccessToken { audiences: ["ap".into(), "i".into()].into() },
        jwt(&[]),
        jwt(&[issuer("ci", CI)]),
        jwt(&[issuer("cd", CI)]),
        jwt(&[issuer("ci", IDP)]),
        jwt(&[audience("other")]),
        jwt(&[issuer("ci", CI), issuer("cd", IDP)]),
    ];
    let ids: std::collections::HashSet<_> =
        formats.iter().map(|format| BearerRules::new(format.clone()).id).collect();
    assert_eq!(ids.len(), formats.len());
    assert_eq!(BearerRules::new(access()).id, BearerRules::new(access()).id);
}

#[test]
fn a_logout_token_is_no_bearer_token() {
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let of = |change: Value| token(with(json!({ "events": event }), change));
    assert!(verify(identity(), &of(json!({}))).is_err());
    assert!(verify(access(), &of(json!({"aud": "api"}))).is_err());
    let made = of(json!({"iss": CI, "aud": "app"}));
    assert!(verify(jwt(&[issuer("ci", CI)]), &made).is_err());
}

#[test]
fn an_id_token_is_no_access_token() {
    for hash in ["at_hash", "c_hash"] {
        let made = |aud: &str| token(json!({"aud": aud, hash: "x"}));
        assert!(verify(access(), &made("api")).is_err(), "{hash}");
        assert!(verify(identity(), &made("client")).is_ok(), "{hash}");
    }
}

fn new_anchors() -> Arc<TrustAnchors> {
    let made = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
    Arc::new(TrustAnchors::from_pem(made.cert.pem().as_bytes(), "a test").unwrap())
}

#[test]
fn keys_under_other_trust_anchors_are_other_keys() {
    let (first, second) = (new_anchors(), new_anchors());
    let of_issuer =
        |anchors| TokenIssuerSpec { anchors, ..TokenIssuerSpec::clone(&issuer("ci", CI)) }.id();
    let of_provider =
        |anchors| TokenIssuerId::of_provider(&SignInSpec { anchors, ..sign_in_spec(IDP) });
    let ids = [None, Some(first), Some(second)]
        .into_iter()
        .flat_map(|anchors| [of_issuer(anchors.clone()), of_provider(anchors)]);
    assert_eq!(ids.collect::<std::collections::HashSet<_>>().len(), 6);
}
