//! The keys that bearer tokens are verified with.

use super::*;
use crate::identity::{
    bearer::{
        keys::TokenKeys,
        spec::{TokenIssuerId, TokenIssuerSpec},
    },
    jose::AllowedAlgorithms,
};

fn issuer(url: &str, jwks_url: Option<&str>) -> Arc<TokenIssuerSpec> {
    Arc::new(TokenIssuerSpec {
        name: "ci".into(),
        issuer: url.into(),
        jwks_url: jwks_url.map(Into::into),
        algorithms: AllowedAlgorithms::from_metadata(Some(&["ES256"])),
        audiences: ["app".into()].into(),
        anchors: None,
    })
}

impl Ours {
    /// Asks for keys; gives them if they were published.
    async fn keys(&self, issuer: TokenIssuerId, lacking: Option<u64>) -> Option<Arc<TokenKeys>> {
        match self.call(IdentityCall::TokenKeys { issuer, lacking }).await {
            IdentityReply::Ready => self.shared.token_keys.get(issuer),
            IdentityReply::Failed(_) => None,
            other => panic!("{other:?}"),
        }
    }
}

fn provider_id(theirs: &TestProvider) -> TokenIssuerId {
    TokenIssuerId::of_provider(&sign_in_spec(&theirs.url))
}

#[test]
fn keys_are_fetched_once_and_published_to_all_workers() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let id = provider_id(&theirs);
        let (first, second) = tokio::join!(ours.keys(id, None), ours.keys(id, None));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.serial, second.serial);
        assert_eq!((&*first.issuer, first.keys.len()), (&*theirs.url, 4));
        assert_eq!(theirs.seen("/jwks").len(), 1);
        ours.later(3_600);
        assert!(!first.are_fresh(ours.now_s.get()));
        assert!(ours.keys(id, None).await.unwrap().are_fresh(ours.now_s.get()));
        assert_eq!(theirs.seen("/jwks").len(), 2);
    });
}

#[test]
fn unknown_keys_of_tokens_cause_one_fetch_a_minute() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let id = provider_id(&theirs);
        let mut serial = ours.keys(id, None).await.unwrap().serial;
        for _ in 0..50 {
            serial = ours.keys(id, Some(serial)).await.unwrap().serial;
        }
        assert_eq!(theirs.seen("/jwks").len(), 2);
        ours.later(60);
        let forced = ours.keys(id, Some(serial)).await.unwrap();
        assert_eq!(theirs.seen("/jwks").len(), 3);
        assert!(forced.were_forced(ours.now_s.get()));
        let newer = ours.keys(id, Some(serial)).await.unwrap();
        assert_eq!(newer.serial, forced.serial, "whoever waited has the newer ones");
    });
}

#[test]
fn an_issuer_that_fails_is_not_asked_again_at_once() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let spec = issuer(&theirs.url, Some(&format!("{}/jwks", theirs.url)));
        ours.control.configure_tokens(&[Arc::clone(&spec)]);
        theirs.json("/jwks", 500, json!({}));
        for _ in 0..50 {
            assert!(ours.keys(spec.id(), None).await.is_none());
        }
        assert_eq!(theirs.seen("/jwks").len(), 1);
        ours.later(5);
        theirs.json("/jwks", 200, json!({"keys": []}));
        let keys = ours.keys(spec.id(), None).await.unwrap();
        assert_eq!(keys.keys.len(), 0);
        theirs.json("/jwks", 500, json!({}));
        let kept = ours.keys(spec.id(), Some(keys.serial)).await.unwrap();
        assert!(kept.is_away && Arc::ptr_eq(&kept.keys, &keys.keys), "the old ones stay");
    });
}

#[test]
fn an_issuer_s_keys_are_found_by_its_own_metadata_only() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let spec = issuer(&theirs.url, None);
        ours.control.configure_tokens(&[Arc::clone(&spec)]);
        assert_eq!(ours.keys(spec.id(), None).await.unwrap().keys.len(), 4);
        theirs.json("/other/.well-known/openid-configuration", 200, theirs.metadata());
        let wrong = issuer(&format!("{}/other", theirs.url), None);
        ours.control.configure_tokens(&[Arc::clone(&wrong)]);
        assert!(ours.keys(wrong.id(), None).await.is_none(), "it is of another issuer");
        assert!(ours.shared.token_keys.get(spec.id()).is_none(), "a reload removed it");
        assert!(ours.keys(spec.id(), None).await.is_none());
    });
}

#[test]
fn keys_that_never_come_hold_nobody_up_for_long() {
    run_in_no_time(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        theirs.answer("/jwks", TestAnswer::Hang);
        let begun = tokio::time::Instant::now();
        assert!(ours.keys(provider_id(&theirs), None).await.is_none());
        assert!(begun.elapsed() <= Duration::from_secs(11));
    });
}

/// An issuer whose keys are at this path, whatever its tokens say.
fn issuer_at(theirs: &TestProvider, path: &str) -> Arc<TokenIssuerSpec> {
    issuer(&format!("{}{path}", theirs.url), Some(&format!("{}{path}", theirs.url)))
}

#[test]
fn old_keys_stay_and_fetches_end_while_an_issuer_hangs() {
    run_in_no_time(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let spec = issuer(&theirs.url, None);
        ours.control.configure_tokens(&[Arc::clone(&spec)]);
        let old = ours.keys(spec.id(), None).await.unwrap();
        ours.later(3_600);
        // The fetch takes longer than anybody waits.
        theirs.answer(METADATA, TestAnswer::Late(Duration::from_secs(5), theirs.metadata()));
        theirs.answer("/jwks", TestAnswer::Hang);
        for _ in 0..20 {
            ours.keys(spec.id(), None).await;
        }
        assert!(theirs.seen("/jwks").len() <= 3, "{}", theirs.seen("/jwks").len());
        let kept = ours.keys(spec.id(), None).await.unwrap();
        assert!(kept.is_away && Arc::ptr_eq(&kept.keys, &old.keys));
    });
}

#[test]
fn old_keys_are_renewed_once_though_nobody_waits() {
    run_in_no_time(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let spec = issuer_at(&theirs, "/jwks");
        ours.control.configure_tokens(&[Arc::clone(&spec)]);
        ours.keys(spec.id(), None).await.unwrap();
        ours.later(3_600);
        for _ in 0..20 {
            ours.caller.notify(IdentityCall::RenewTokenKeys { issuer: spec.id() });
        }
        seen(&theirs, "/jwks", 2).await;
        assert!(ours.keys(spec.id(), None).await.unwrap().are_fresh(ours.now_s.get()));
        ours.caller.notify(IdentityCall::RenewTokenKeys { issuer: spec.id() });
        ours.keys(spec.id(), None).await.unwrap();
        assert_eq!(theirs.seen("/jwks").len(), 2);
    });
}

#[test]
fn an_issuer_that_hangs_takes_no_other_issuer_s_places() {
    run_in_no_time(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let (hanging, good) = (issuer_at(&theirs, "/hang"), issuer_at(&theirs, "/jwks"));
        ours.control.configure_tokens(&[Arc::clone(&hanging), Arc::clone(&good)]);
        theirs.answer("/hang", TestAnswer::Hang);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..6 {
            for _ in 0..200 {
                let (caller, issuer) = (ours.caller.clone(), hanging.id());
                let call = IdentityCall::TokenKeys { issuer, lacking: None };
                calls.spawn(async move { caller.call(call, LONG).await });
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        assert!(ours.keys(good.id(), None).await.is_some());
        let replies = calls.join_all().await;
        let busy = |reply: &&Result<_, _>| {
            matches!(reply, Ok(IdentityReply::Failed(ProviderFailure::Busy)))
        };
        assert_eq!(replies.iter().filter(busy).count(), 1_200 - 256);
    });
}

#[test]
fn nothing_is_fetched_for_a_call_that_nobody_awaits() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let spec = issuer_at(&theirs, "/hang");
        ours.control.configure_tokens(&[Arc::clone(&spec)]);
        theirs.answer("/hang", TestAnswer::Hang);
        let (caller, mut calls) = control_call::channel(1);
        let request = IdentityCall::TokenKeys { issuer: spec.id(), lacking: None };
        let mut waiting = Box::pin(caller.call(request, LONG));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("nobody has answered"),
            call = calls.next() => ours.control.0.token_keys(call.unwrap()),
        }
        drop(waiting);
        tokio::task::yield_now().await;
        assert!(!ours.control.0.are_fetched(spec.id()));
    });
}
