//! The end of all sessions of a user.

use super::*;
use crate::{
    identity::{control::end_user::EndSessionsError, ended_users::UserSelector},
    policy::Identity,
};

fn ann() -> UserSelector {
    UserSelector::Id("ann".into())
}

fn by_email() -> UserSelector {
    UserSelector::Email("ANN@example.com".into())
}

#[test]
fn an_order_ends_known_sessions_and_revokes_their_tokens() {
    run(async {
        for user in [ann(), by_email()] {
            let theirs = TestProvider::start().await;
            let ours = Ours::of(&theirs);
            ours.sign_in().await;
            assert_eq!(ours.control.end_sessions_of(&user), Ok(1), "{user:?}");
            assert!(ours.is_ended());
            seen(&theirs, "/revoke", 1).await;
            assert!(theirs.seen("/revoke")[0].body.starts_with("token=refresh-1&"));
            assert!(is_over(&ours.check().await));
            assert_eq!(ours.control.end_sessions_of(&user), Ok(0), "they have ended already");
        }
    });
}

#[test]
fn an_order_leaves_the_sessions_of_other_users_alone() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        let others =
            [UserSelector::Id("Ann".into()), UserSelector::Email("bob@example.com".into())];
        for other in others {
            assert_eq!(ours.control.end_sessions_of(&other), Ok(0), "{other:?}");
        }
        assert!(!ours.is_ended());
        assert!(matches!(ours.check().await, CheckOutcome::Good(_)));
    });
}

#[test]
fn an_order_by_address_holds_for_cookies_with_the_id_alone() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        ours.control.end_sessions_of(&by_email()).unwrap();
        let end_of = |user_id: &str, email: &str| {
            let (user_id, email) = (user_id.into(), email.into());
            ours.shared.user_end(&Identity { user_id, email, ..Identity::default() })
        };
        assert_eq!(end_of("ann", "").ended_before_s, NOW_S + 1);
        assert_eq!(end_of("x", "ann@example.com").ended_before_s, NOW_S + 1);
        assert_eq!(end_of("x", "x@example.com").ended_before_s, 0);
    });
}

#[test]
fn a_sign_in_in_the_second_of_the_order_begins_after_it() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        assert_eq!(ours.sign_in().await.signed_in_at_s, NOW_S);
        ours.control.end_sessions_of(&ann()).unwrap();
        let next = ours.sign_in().await;
        assert_eq!(next.signed_in_at_s, ours.shared.user_end(&next.identity).ended_before_s);
        ours.later(5);
        assert_eq!(ours.sign_in().await.signed_in_at_s, NOW_S + 5);
    });
}

#[test]
fn an_order_in_the_middle_of_a_refresh_wins() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        theirs.json("/token", 200, refreshed("refresh-2"));
        ours.later(600);
        let caller = ours.caller.clone();
        let check =
            tokio::spawn(async move { caller.call(IdentityCall::Check(request()), LONG).await });
        seen(&theirs, "/token", 2).await;
        assert_eq!(ours.control.end_sessions_of(&ann()), Ok(1));
        let reply = check.await.unwrap();
        assert!(matches!(reply, Ok(IdentityReply::Checked(CheckOutcome::Ended))), "{reply:?}");
        seen(&theirs, "/revoke", 2).await;
    });
}

#[test]
fn without_a_provider_there_is_nothing_to_end() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.control.configure(None);
        assert_eq!(ours.control.end_sessions_of(&ann()), Err(EndSessionsError::NoProvider));
    });
}
