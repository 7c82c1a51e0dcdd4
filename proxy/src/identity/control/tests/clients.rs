//! Clients of single routes, and the tokens that upstreams get.

use super::*;
use crate::{
    identity::{
        provider_tokens::WantedTokens,
        spec::{ClientSecret, RouteClient, TokenHost, client_provider_id},
    },
    route::HostMatch,
};

const OTHER: SessionId = SessionId([8; 16]);

/// With another client, to whose routes' upstreams the tokens go.
fn with_route_client(theirs: &TestProvider) -> (SignInSpec, ProviderId) {
    let spec = sign_in_spec(&theirs.url);
    let provider = client_provider_id(&theirs.url, "own");
    let client_secret = ClientSecret("own secret".into());
    let own = RouteClient { provider, client_id: "own".into(), client_secret };
    let host = HostMatch::Exact("app.example".into());
    let tokens = TokenHost { host, provider, tokens: WantedTokens::ALL };
    let (route_clients, token_hosts) = ([own].into(), [tokens].into());
    (SignInSpec { route_clients, token_hosts, ..spec }, provider)
}

/// Signs in with both clients.
async fn both(theirs: &TestProvider) -> (Ours, SignedIn) {
    let (spec, own) = with_route_client(theirs);
    let ours = Ours::new(spec);
    ours.sign_in().await;
    let claims = crate::identity::jose::testing::with(theirs.claims(), json!({"aud": "own"}));
    let mut tokens = theirs.tokens(&claims);
    tokens["expires_in"] = json!(300);
    theirs.json("/token", 200, tokens);
    let exchange = CodeExchange { provider: own, session: OTHER, ..ours.code(1) };
    match ours.call(IdentityCall::Exchange(exchange)).await {
        IdentityReply::SignedIn(signed_in) => (ours, *signed_in),
        other => panic!("{other:?}"),
    }
}

async fn check(ours: &Ours, session: SessionId) -> CheckOutcome {
    let request = CheckRequest { session, ..request() };
    match ours.call(IdentityCall::Check(request)).await {
        IdentityReply::Checked(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

/// `Authorization` of the last call of an endpoint.
fn credentials(theirs: &TestProvider, path: &str) -> String {
    let head = theirs.seen(path).last().unwrap().head.clone();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    found.map_or("", |(_, value)| value).to_owned()
}

fn basic(text: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

#[test]
fn every_call_for_a_session_is_made_by_its_client() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _) = both(&theirs).await;
        assert_eq!(credentials(&theirs, "/token"), basic("own:own+secret"));
        theirs.json("/token", 200, refreshed("refresh-2"));
        ours.later(600);
        assert!(matches!(check(&ours, OTHER).await, CheckOutcome::Good(_)));
        assert_eq!(credentials(&theirs, "/token"), basic("own:own+secret"));
        ours.later(600);
        assert!(matches!(check(&ours, SESSION).await, CheckOutcome::Good(_)));
        assert_ne!(credentials(&theirs, "/token"), basic("own:own+secret"));
        let sign_out = IdentityCall::SignOut { session: OTHER, ends_at_s: 0, revoke: true };
        ours.call(sign_out).await;
        seen(&theirs, "/revoke", 1).await;
        assert_eq!(credentials(&theirs, "/revoke"), basic("own:own+secret"));
    });
}

#[test]
fn only_the_client_whose_routes_name_tokens_keeps_any() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, own) = both(&theirs).await;
        let tokens = own.tokens.unwrap();
        assert_eq!((&*tokens.access, !tokens.id.is_empty()), ("the-access-token", true));
        assert_eq!(own.check_at_s, NOW_S + 300 - 90, "before the access token ends");
        let sessions = ours.control.0.sessions.borrow();
        assert_eq!(sessions.get(SESSION).unwrap().current.tokens, None);
        assert_eq!(sessions.get(SESSION).unwrap().current.check_at_s, NOW_S + 600);
    });
}

#[test]
fn a_check_brings_upstreams_the_new_token_and_keeps_the_id_token() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, own) = both(&theirs).await;
        let mut answer = refreshed("refresh-2");
        answer["expires_in"] = json!(100);
        theirs.json("/token", 200, answer);
        ours.later(210);
        let CheckOutcome::Good(renewed) = check(&ours, OTHER).await else { panic!() };
        let tokens = renewed.tokens.clone().unwrap();
        assert_eq!((&*tokens.access, &tokens.id), ("access-2", &own.tokens.unwrap().id));
        assert_eq!(renewed.check_at_s, NOW_S + 210 + 50, "half of a short life");
        let Some(SessionUpdate::Renewed(published)) = ours.shared.update(OTHER) else { panic!() };
        assert!(published.tokens.is_some(), "all workers have it");
    });
}

#[test]
fn a_reload_forgets_the_sessions_of_a_client_that_is_gone() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _) = both(&theirs).await;
        ours.control.configure(Some(Arc::new(sign_in_spec(&theirs.url))));
        assert!(matches!(check(&ours, OTHER).await, CheckOutcome::Unknown));
        assert!(matches!(check(&ours, SESSION).await, CheckOutcome::Good(_)));
        assert_eq!(theirs.seen(METADATA).len(), 1, "the provider is the same");
    });
}
