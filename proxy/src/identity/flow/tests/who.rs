//! Which session of a request counts, and when it is checked.

use std::sync::Arc;

use http::{HeaderMap, header};
use ring::rand::SystemRandom;

use crate::identity::{
    calls::{CheckOutcome, RenewedSession},
    ended_users::{EndedUsers, UserEnd, UserSelector},
    flow::{
        CheckedSession, SessionState, SignInClients,
        world::{START_S, World},
    },
    provider_tokens::WantedTokens,
    session::{ProviderId, Session, SessionId},
    shared::SessionUpdate,
    spec::{SealSecret, SignInSpec},
};

fn session(world: &World) -> Session {
    Session {
        id: SessionId([1; 16]),
        provider: world.context().provider,
        binding: [0; 16],
        identity: Default::default(),
        name: "".into(),
        claims_digest: world.context().claims_digest,
        signed_in_at_s: START_S,
        ends_at_s: START_S + 10_000,
        check_at_s: START_S + 600,
        tokens: None,
    }
}

fn state(world: &World, session: &Session, now_s: u64) -> Option<SessionState> {
    world
        .context()
        .judge(session, &world.shared, now_s, WantedTokens::ALL)
        .map(|judged| judged.state)
}

#[test]
fn a_session_counts_until_its_end() {
    let world = super::world();
    let session = Session { check_at_s: START_S + 20_000, ..session(&world) };
    assert_eq!(state(&world, &session, START_S + 9_999), Some(SessionState::Good));
    assert_eq!(state(&world, &session, START_S + 10_000), None);
}

#[test]
fn a_session_of_another_provider_does_not_count() {
    let world = super::world();
    let other = Session { provider: ProviderId([9; 16]), ..session(&world) };
    assert_eq!(state(&world, &other, START_S), None);
}

#[test]
fn a_check_that_is_due_is_noted_and_one_that_is_overdue_is_waited_for() {
    let world = super::world();
    let session = session(&world);
    for (after_s, expected) in [
        (599, SessionState::Good),
        (600, SessionState::CheckSoon),
        (660, SessionState::CheckSoon),
        (661, SessionState::CheckNow),
    ] {
        assert_eq!(state(&world, &session, START_S + after_s), Some(expected), "{after_s}");
    }
}

#[test]
fn claims_of_another_list_are_checked_at_once() {
    let world = super::world();
    let session = Session { claims_digest: [9; 8], ..session(&world) };
    assert_eq!(state(&world, &session, START_S), Some(SessionState::CheckNow));
}

#[test]
fn an_ended_session_does_not_count() {
    let world = super::world();
    let session = session(&world);
    world.shared.set_update(session.id, Some(SessionUpdate::Ended));
    assert_eq!(state(&world, &session, START_S), None);
}

#[test]
fn what_a_check_brought_counts_and_an_older_one_does_not() {
    let world = super::world();
    let session = session(&world);
    let renew = |check_at_s| {
        let renewed = RenewedSession { check_at_s, ..RenewedSession::clone(&world.renewed("new")) };
        world.shared.set_update(session.id, Some(SessionUpdate::Renewed(Arc::new(renewed))));
        world.context().judge(&session, &world.shared, START_S + 700, WantedTokens::ALL).unwrap()
    };
    let newer = renew(START_S + 1200);
    assert_eq!((&*newer.changed.unwrap().name, newer.state), ("new", SessionState::Good));
    let older = renew(START_S + 599);
    assert_eq!((older.changed, older.state), (None, SessionState::CheckNow));
}

#[test]
fn a_suspect_session_must_be_checked_unless_it_was() {
    let world = super::world();
    let session = session(&world);
    world.shared.set_suspect_before(START_S + 1);
    assert_eq!(state(&world, &session, START_S + 1), Some(SessionState::MustCheck));
    let later = Session { signed_in_at_s: START_S + 1, ..session.clone() };
    assert_eq!(state(&world, &later, START_S + 1), Some(SessionState::Good));
    world.shared.set_update(session.id, Some(SessionUpdate::Renewed(world.renewed("new"))));
    assert_eq!(state(&world, &session, START_S + 1), Some(SessionState::Good));
}

#[test]
fn after_a_check_the_outcome_and_the_state_before_decide() {
    let world = super::world();
    let session = session(&world);
    let good = CheckOutcome::Good(world.renewed("new"));
    let (due, late) = (START_S + 661, START_S + 1200);
    for (outcome, before, now_s, counts) in [
        (Some(&good), SessionState::CheckNow, due, true),
        (Some(&good), SessionState::MustCheck, due, true),
        (Some(&CheckOutcome::ProviderAway), SessionState::CheckNow, late, true),
        (Some(&CheckOutcome::ProviderAway), SessionState::MustCheck, due, false),
        (None, SessionState::CheckNow, late, true),
        (None, SessionState::MustCheck, due, false),
        (Some(&CheckOutcome::Unknown), SessionState::CheckNow, late - 1, true),
        (Some(&CheckOutcome::Unknown), SessionState::CheckNow, late, false),
        (Some(&CheckOutcome::Unknown), SessionState::MustCheck, due, false),
        (Some(&CheckOutcome::Ended), SessionState::CheckNow, due, false),
        (Some(&CheckOutcome::ProviderAway), SessionState::CheckNow, START_S + 10_000, false),
    ] {
        let checked =
            world.context().after_check(&session, before, outcome, now_s, WantedTokens::ALL);
        assert_eq!(matches!(checked, CheckedSession::Good(_)), counts, "{outcome:?} {before:?}");
    }
    let CheckedSession::Good(renewed) = world.context().after_check(
        &session,
        SessionState::CheckNow,
        Some(&good),
        due,
        WantedTokens::ALL,
    ) else {
        panic!()
    };
    assert_eq!(&*renewed.name, "new");
}

fn of_user(world: &World, user_id: &str, email: &str) -> Session {
    let identity = crate::policy::Identity {
        user_id: user_id.into(),
        email: email.into(),
        ..Default::default()
    };
    Session { identity, ..session(world) }
}

fn end(world: &World, user: UserSelector, end: UserEnd) {
    let mut users = EndedUsers::default();
    users.set(&user, UserEnd { until_s: u64::MAX, ..end });
    world.shared.set_ended_users(users);
}

#[test]
fn a_session_from_before_the_end_of_its_user_does_not_count() {
    for user in [UserSelector::Id("ann".into()), UserSelector::Email("ann@example.com".into())] {
        let world = super::world();
        let ann = of_user(&world, "ann", "Ann@Example.com");
        assert_eq!(state(&world, &ann, START_S), Some(SessionState::Good));
        let before = UserEnd { ended_before_s: START_S + 1, ..UserEnd::default() };
        end(&world, user, before);
        assert_eq!(state(&world, &ann, START_S), None);
        let later = Session { signed_in_at_s: START_S + 1, ..ann };
        assert_eq!(state(&world, &later, START_S + 1), Some(SessionState::Good));
        let bob = of_user(&world, "bob", "bob@example.com");
        assert_eq!(state(&world, &bob, START_S), Some(SessionState::Good));
    }
}

#[test]
fn a_check_does_not_bring_back_a_session_whose_user_has_ended() {
    let world = super::world();
    let ann = of_user(&world, "ann", "");
    let renewed =
        RenewedSession { identity: ann.identity.clone(), ..(*world.renewed("ann")).clone() };
    world.shared.set_update(ann.id, Some(SessionUpdate::Renewed(Arc::new(renewed))));
    let before = UserEnd { ended_before_s: START_S + 1, ..UserEnd::default() };
    end(&world, UserSelector::Id("ann".into()), before);
    assert_eq!(state(&world, &ann, START_S), None);
}

#[test]
fn a_suspect_user_s_older_sessions_are_checked_before_they_count() {
    let world = super::world();
    let ann = of_user(&world, "ann", "");
    let before = UserEnd { suspect_before_s: START_S + 1, ..UserEnd::default() };
    end(&world, UserSelector::Id("ann".into()), before);
    assert_eq!(state(&world, &ann, START_S), Some(SessionState::MustCheck));
    let later = Session { signed_in_at_s: START_S + 1, ..ann.clone() };
    assert_eq!(state(&world, &later, START_S + 1), Some(SessionState::Good));
    let renewed =
        RenewedSession { identity: ann.identity.clone(), ..(*world.renewed("ann")).clone() };
    world.shared.set_update(ann.id, Some(SessionUpdate::Renewed(Arc::new(renewed))));
    assert_eq!(state(&world, &ann, START_S), Some(SessionState::Good), "it was checked");
}

#[test]
fn a_cookie_of_a_previous_secret_counts_and_is_sealed_anew() {
    let mut world = super::world();
    let (random, none) = (SystemRandom::new(), HeaderMap::new());
    let session = session(&world);
    let cookie = |world: &World| {
        let set = world.context().seal(("app.example", &none), &session, false, START_S, &random);
        HeaderMap::from_iter([(header::COOKIE, set[0].clone())])
    };
    let seal_again = |world: &World, headers: &HeaderMap| {
        let cookies = world.context().cookies.read(headers);
        let who = world.context().who("app.example", &cookies, &world.shared, START_S);
        who.map(|who| who.seal_again)
    };
    let old = cookie(&world);
    assert_eq!(seal_again(&world, &old), Some(false));
    let spec = SignInSpec { previous_secrets: [SealSecret([7; 32])].into(), ..super::spec() };
    world.clients = SignInClients::new(Arc::new(spec), &SealSecret([8; 32]));
    assert_eq!(seal_again(&world, &old), Some(true));
    assert_eq!(seal_again(&world, &cookie(&world)), Some(false));
    world.clients = SignInClients::new(Arc::new(super::spec()), &SealSecret([8; 32]));
    assert_eq!(seal_again(&world, &old), None);
}
