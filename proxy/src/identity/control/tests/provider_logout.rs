//! Logout tokens of the provider.

use std::net::IpAddr;

use jsonwebtoken::Algorithm;

use super::*;
use crate::{
    identity::{
        calls::ProviderLogout,
        ended_users::UserEnd,
        jose::testing::{KEYS, with},
    },
    observe::BackchannelLogoutOutcome,
    policy::Identity,
};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A token with these claims over the usual ones.
fn token(theirs: &TestProvider, change: Value) -> Box<str> {
    let claims = json!({
        "iss": theirs.url, "aud": "client", "iat": NOW_S, "exp": NOW_S + 120, "jti": "1",
        "sub": "ann", "events": { EVENT: {} },
    });
    KEYS.token(Algorithm::ES256, &with(claims, change)).into()
}

impl Ours {
    async fn logout(&self, token: &str) -> ProviderLogout {
        let call = IdentityCall::ProviderLogout { token: token.into(), client: CLIENT };
        match self.call(call).await {
            IdentityReply::LoggedOut(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn end_of(&self, user_id: &str) -> UserEnd {
        let identity = Identity { user_id: user_id.into(), ..Identity::default() };
        self.shared.user_end(&identity)
    }

    fn logouts(&self, outcome: BackchannelLogoutOutcome) -> u64 {
        self.control.0.metrics.logouts(outcome)
    }
}

/// A provider whose ID tokens name this session.
async fn with_session(sid: &str) -> TestProvider {
    let theirs = TestProvider::start().await;
    let claims = with(theirs.claims(), json!({ "sid": sid }));
    theirs.json("/token", 200, theirs.tokens(&claims));
    theirs
}

fn is_refused(outcome: &ProviderLogout) -> bool {
    matches!(outcome, ProviderLogout::Refused(_))
}

#[test]
fn a_token_for_a_user_ends_known_and_unknown_sessions() {
    run(async {
        let theirs = with_session("s1").await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        assert_eq!(ours.logout(&token(&theirs, json!({}))).await, ProviderLogout::Ended);
        assert!(ours.is_ended());
        assert!(is_over(&ours.check().await));
        assert_eq!(ours.end_of("ann").ended_before_s, NOW_S + 1);
        assert_eq!(ours.end_of("bob"), UserEnd::default());
        assert_eq!(ours.logouts(BackchannelLogoutOutcome::Ended), 1);
        assert!(theirs.seen("/revoke").is_empty(), "the provider decides about its tokens");
        let next = ours.sign_in().await;
        assert_eq!(next.signed_in_at_s, NOW_S + 1, "a sign-in after it counts");
    });
}

#[test]
fn a_token_for_one_session_leaves_the_others_of_the_user_alone() {
    run(async {
        for change in [json!({"sid": "s1"}), json!({"sid": "s1", "sub": null})] {
            let theirs = with_session("s1").await;
            let ours = Ours::of(&theirs);
            ours.sign_in().await;
            for other in [json!({"sid": "s2", "jti": "2"}), json!({"sid": "s1", "sub": "bob"})] {
                ours.logout(&token(&theirs, other)).await;
                assert!(!ours.is_ended());
            }
            let change = with(change, json!({"jti": "3"}));
            assert_eq!(ours.logout(&token(&theirs, change)).await, ProviderLogout::Ended);
            assert!(ours.is_ended());
            assert_eq!(ours.end_of("ann").ended_before_s, 0);
        }
    });
}

#[test]
fn a_session_that_is_unknown_makes_its_user_s_sessions_suspect() {
    run(async {
        let theirs = with_session("s1").await;
        let ours = Ours::of(&theirs);
        let unknown = token(&theirs, json!({"sid": "s0"}));
        assert_eq!(ours.logout(&unknown).await, ProviderLogout::Ended);
        let end = ours.end_of("ann");
        assert_eq!((end.ended_before_s, end.suspect_before_s), (0, NOW_S + 1));
    });
}

#[test]
fn the_token_that_follows_a_sign_out_here_changes_nothing() {
    run(async {
        let theirs = with_session("s1").await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        ours.sign_out(true).await;
        let same = token(&theirs, json!({"sid": "s1"}));
        assert_eq!(ours.logout(&same).await, ProviderLogout::Ended);
        assert_eq!(ours.end_of("ann"), UserEnd::default());
    });
}

#[test]
fn a_session_named_by_a_refreshed_id_token_is_found() {
    run(async {
        let theirs = with_session("s1").await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        let claims = with(theirs.claims(), json!({"sid": "s2"}));
        theirs.json("/token", 200, theirs.tokens(&claims));
        ours.later(600);
        ours.renewed().await;
        let change = json!({"sid": "s2", "iat": NOW_S + 600, "exp": NOW_S + 720});
        assert_eq!(ours.logout(&token(&theirs, change)).await, ProviderLogout::Ended);
        assert!(ours.is_ended());
    });
}

#[test]
fn a_token_counts_once() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let first = token(&theirs, json!({}));
        assert_eq!(ours.logout(&first).await, ProviderLogout::Ended);
        ours.later(30);
        assert!(is_refused(&ours.logout(&first).await));
        let signed_anew = token(&theirs, json!({}));
        assert_ne!(first, signed_anew);
        assert!(is_refused(&ours.logout(&signed_anew).await), "the same jti");
        assert_eq!(ours.end_of("ann").ended_before_s, NOW_S + 1, "not by the second");
        let other = token(&theirs, json!({"jti": "2"}));
        assert_eq!(ours.logout(&other).await, ProviderLogout::Ended);
    });
}

#[test]
fn a_token_that_is_not_acceptable_ends_nothing() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        for wrong in [
            "not.a.token".into(),
            token(&theirs, json!({"events": null})),
            token(&theirs, json!({"nonce": NONCE})),
            token(&theirs, json!({"aud": "another"})),
            token(&theirs, json!({"iat": NOW_S - 601})),
            KEYS.token(Algorithm::ES256, &theirs.claims()).into(),
        ] {
            assert!(is_refused(&ours.logout(&wrong).await), "{wrong}");
        }
        assert!(!ours.is_ended());
        assert_eq!(ours.end_of("ann"), UserEnd::default());
        assert_eq!(ours.logouts(BackchannelLogoutOutcome::Refused), 6);
    });
}

#[test]
fn a_client_with_many_wrong_tokens_is_not_listened_to() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        for _ in 0..20 {
            assert!(is_refused(&ours.logout("a.b.c").await));
        }
        let good = token(&theirs, json!({}));
        assert_eq!(ours.logout(&good).await, ProviderLogout::Limited);
        let call = IdentityCall::ProviderLogout {
            token: good,
            client: Ipv4Addr::new(198, 51, 100, 1).into(),
        };
        let reply = ours.call(call).await;
        assert!(matches!(reply, IdentityReply::LoggedOut(ProviderLogout::Ended)), "{reply:?}");
    });
}

#[test]
fn without_the_provider_s_keys_nothing_is_decided() {
    run(async {
        let theirs = TestProvider::start().await;
        theirs.json("/jwks", 500, json!({}));
        let ours = Ours::of(&theirs);
        let call =
            || IdentityCall::ProviderLogout { token: token(&theirs, json!({})), client: CLIENT };
        for _ in 0..30 {
            let reply = ours.call(call()).await;
            assert!(
                matches!(reply, IdentityReply::Failed(ProviderFailure::Away(_))),
                "it does not count as a wrong token: {reply:?}"
            );
        }
        let fetches = theirs.seen("/jwks").len();
        assert!(fetches <= 2, "{fetches} fetches for 30 tokens");
        theirs.json("/jwks", 200, json!({"keys": KEYS.set()}));
        ours.later(5);
        let reply = ours.call(call()).await;
        assert!(matches!(reply, IdentityReply::LoggedOut(ProviderLogout::Ended)), "{reply:?}");
    });
}

#[test]
fn a_token_with_sid_and_sub_ends_a_session_without_a_sid_too() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        let change = json!({"sid": "s1", "sub": null});
        ours.logout(&token(&theirs, change)).await;
        assert!(!ours.is_ended(), "the token names no user");
        let change = json!({"sid": "s1", "jti": "2"});
        assert_eq!(ours.logout(&token(&theirs, change)).await, ProviderLogout::Ended);
        assert!(ours.is_ended());
        assert_eq!(ours.end_of("ann").suspect_before_s, NOW_S + 1, "another may be the one");
    });
}

#[test]
fn a_token_is_put_off_while_the_state_of_another_process_is_awaited() {
    run(async {
        let theirs = TestProvider::start().await;
        let directory = tempfile::tempdir().unwrap();
        let ours = Ours::with_file(&theirs, &directory.path().join("state"));
        ours.control.restore(true);
        let call =
            || IdentityCall::ProviderLogout { token: token(&theirs, json!({})), client: CLIENT };
        let reply = ours.call(call()).await;
        assert!(matches!(reply, IdentityReply::Failed(ProviderFailure::Away(_))), "{reply:?}");
        assert_eq!(ours.end_of("ann"), UserEnd::default());
        ours.control.take_over_state(false).await;
        let reply = ours.call(call()).await;
        let ended = matches!(reply, IdentityReply::LoggedOut(ProviderLogout::Ended));
        assert!(ended, "{reply:?}");
    });
}
