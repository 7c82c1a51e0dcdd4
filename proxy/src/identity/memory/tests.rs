use std::sync::Arc;

use super::*;
use crate::{
    identity::{
        flow::SessionState,
        provider_tokens::ProviderTokens,
        session::{ProviderId, Session, SessionId},
        shared::{IdentityShared, SessionUpdate},
        spec::IssuerFormat,
    },
    policy::Identity,
};

const NOW: u64 = 1_000_000;
const CLAIMS: [u8; 8] = [1; 8];

fn session(id: u8) -> Session {
    Session {
        id: SessionId([id; 16]),
        provider: ProviderId([2; 16]),
        binding: [3; 16],
        identity: Identity { user_id: "u".into(), ..Identity::default() },
        name: "U".into(),
        claims_digest: CLAIMS,
        signed_in_at_s: NOW,
        ends_at_s: NOW + 50_000,
        check_at_s: NOW + 600,
        tokens: None,
    }
}

fn known(cookie: &str) -> Rc<KnownSession> {
    Rc::new(KnownSession::new(cookie.as_bytes(), "a.example", session(1), false))
}

/// A cookie whose tag is this number.
fn cookie(number: usize) -> String {
    format!("_pomerium=abc{number:016}")
}

fn finds(memory: &SessionMemory, epoch: u64, scope: &str, cookie: &str) -> bool {
    memory.find(epoch, scope, cookie.as_bytes()).is_some()
}

#[test]
fn a_session_is_known_by_its_whole_cookie_and_host() {
    let memory = SessionMemory::default();
    memory.insert(1, &known("x=aaaaaaaaaaaaaaaaaaaaaa"));
    assert!(finds(&memory, 1, "a.example", "x=aaaaaaaaaaaaaaaaaaaaaa"));
    assert!(!finds(&memory, 1, "b.example", "x=aaaaaaaaaaaaaaaaaaaaaa"));
    assert!(!finds(&memory, 1, "a.example", "y=aaaaaaaaaaaaaaaaaaaaaa"));
    assert!(!finds(&memory, 1, "a.example", "aaaaaaaaaaaaaaaa"));
    assert!(!finds(&memory, 1, "a.example", "aaa"));
}

#[test]
fn a_session_is_forgotten_with_its_configuration() {
    let memory = SessionMemory::default();
    let (old, new) = (cookie(1), cookie(2));
    memory.insert(1, &known(&old));
    memory.insert(2, &known(&new));
    assert!(!finds(&memory, 1, "a.example", &old) && !finds(&memory, 2, "a.example", &old));
    memory.insert(1, &known(&old));
    assert!(!finds(&memory, 2, "a.example", &old), "an old request does not bring it back");
    assert!(finds(&memory, 2, "a.example", &new));
}

#[test]
fn the_number_of_sessions_is_bounded_and_the_next_one_works() {
    let memory = SessionMemory::default();
    for number in 0..10_000 {
        memory.insert(1, &known(&cookie(number)));
        assert!(finds(&memory, 1, "a.example", &cookie(0)) || number > 0, "{number}");
        let halves = memory.halves.borrow();
        assert!(halves.young.sessions.len() + halves.old.sessions.len() <= MAX_SESSIONS);
    }
    assert!(finds(&memory, 1, "a.example", &cookie(9_999)));
    assert!(!finds(&memory, 1, "a.example", &cookie(1)));
}

#[test]
fn a_session_in_use_stays() {
    let memory = SessionMemory::default();
    for number in 0..10_000 {
        memory.insert(1, &known(&cookie(number)));
        assert!(finds(&memory, 1, "a.example", &cookie(0)), "{number}");
    }
}

#[test]
fn the_bytes_of_sessions_are_bounded() {
    let memory = SessionMemory::default();
    for number in 0..1_000 {
        memory.insert(1, &known(&format!("{}{}", "x".repeat(15_000), cookie(number))));
        let halves = memory.halves.borrow();
        assert!(halves.young.bytes + halves.old.bytes <= MAX_BYTES);
        let counted = |half: &Half| half.sessions.values().map(|it| it.weight()).sum::<usize>();
        assert_eq!(halves.young.bytes, counted(&halves.young));
        assert_eq!(halves.old.bytes, counted(&halves.old));
    }
    memory.forget(&known(&format!("{}{}", "x".repeat(15_000), cookie(999))));
    assert!(!finds(&memory, 1, "a.example", &format!("{}{}", "x".repeat(15_000), cookie(999))));
}

#[test]
fn the_tokens_of_a_provider_and_new_claims_weigh_too() {
    let weight =
        |session: &Session| KnownSession::new(b"c", "a.example", session.clone(), false).weight();
    let tokens = ProviderTokens { access: "a".repeat(10_000).into(), id: "i".repeat(500).into() };
    let with = Session { tokens: Some(Arc::new(tokens)), ..session(1) };
    assert_eq!(weight(&with), weight(&session(1)) + 10_500);
    let groups = serde_json::json!({"groups": "g".repeat(20_000)});
    let mut renewed = session(1);
    renewed.identity.claims = groups.as_object().unwrap().clone();
    assert!(known("c").renewed(renewed).weight() > weight(&session(1)) + 20_000);

    let memory = SessionMemory::default();
    let tokens = ProviderTokens { access: "a".repeat(100_000).into(), id: Box::default() };
    let large = Session { tokens: Some(Arc::new(tokens)), ..session(1) };
    for number in 0..1_000 {
        let known = KnownSession::new(cookie(number).as_bytes(), "a.example", large.clone(), false);
        memory.insert(1, &Rc::new(known));
    }
    let halves = memory.halves.borrow();
    let sessions = halves.young.sessions.len() + halves.old.sessions.len();
    assert!((80..=MAX_BYTES / 100_000).contains(&sessions), "{sessions}");
}

#[test]
fn a_session_is_judged_again_after_each_change() {
    let shared = IdentityShared::new([0; 16]);
    let known = KnownSession::new(b"c", "a.example", session(1), false);
    assert!(known.is_to_be_judged(&shared) && !known.is_to_be_judged(&shared));
    shared.set_update(SessionId([9; 16]), Some(SessionUpdate::Ended));
    assert!(known.is_to_be_judged(&shared) && !known.is_to_be_judged(&shared));
    shared.set_suspect_before(NOW);
    assert!(known.is_to_be_judged(&shared));
}

#[test]
fn a_due_check_is_noticed_once_in_ten_seconds() {
    let known = KnownSession::new(b"c", "a.example", session(1), false);
    let paced = |now_s| known.paced(SessionState::CheckSoon, now_s);
    assert_eq!(paced(NOW), SessionState::CheckSoon);
    assert_eq!([paced(NOW), paced(NOW + 9)], [SessionState::Good; 2]);
    assert_eq!(paced(NOW + 10), SessionState::CheckSoon);
    assert_eq!(paced(NOW - 1), SessionState::CheckSoon, "the clock was set back");
}

#[test]
fn every_request_waits_for_a_check_until_one_decides_nothing() {
    let known = KnownSession::new(b"c", "a.example", session(1), false);
    let paced = |state, now_s| known.paced(state, now_s);
    for _ in 0..2 {
        assert_eq!(paced(SessionState::CheckNow, NOW), SessionState::CheckNow);
    }
    known.note_undecided(NOW);
    assert_eq!(paced(SessionState::CheckNow, NOW + 9), SessionState::Good);
    assert_eq!(paced(SessionState::MustCheck, NOW + 9), SessionState::MustCheck);
    assert_eq!(paced(SessionState::CheckNow, NOW + 10), SessionState::CheckNow);
}

fn signed(memory: &AssertionMemory, host: &str, issuer: IssuerFormat, now_s: u64) -> bool {
    let mut signed = false;
    let kept = memory.get_or_sign((host, issuer), now_s, || {
        signed = true;
        Some(KeptAssertion::new((host, issuer), now_s, "a.b.c".parse().unwrap(), Vec::new()))
    });
    assert!(kept.is_some());
    signed
}

#[test]
fn an_assertion_is_signed_once_a_minute_for_each_host() {
    let memory = AssertionMemory::default();
    let host = IssuerFormat::HostOnly;
    assert!(signed(&memory, "a", host, NOW));
    assert!(!signed(&memory, "a", host, NOW + 59));
    assert!(signed(&memory, "b", host, NOW + 59) && !signed(&memory, "a", host, NOW + 59));
    assert!(signed(&memory, "a", IssuerFormat::Uri, NOW + 59));
    assert!(signed(&memory, "a", host, NOW + 60));
    assert!(signed(&memory, "a", host, NOW), "the clock was set back");
    assert!(memory.get_or_sign(("c", host), NOW, || None).is_none());
}

#[test]
fn assertions_by_certificate_are_bounded_and_of_one_configuration() {
    let memory = CertificateAssertions::default();
    let one = memory.of(1, [1; 32]);
    assert!(Rc::ptr_eq(&one, &memory.of(1, [1; 32])));
    assert!(!Rc::ptr_eq(&one, &memory.of(1, [2; 32])));
    assert!(!Rc::ptr_eq(&one, &memory.of(2, [1; 32])));
    assert!(!Rc::ptr_eq(&one, &memory.of(1, [1; 32])), "of a request before the reload");
    for number in 0..5_000_u32 {
        let mut fingerprint = [0; 32];
        fingerprint[..4].copy_from_slice(&number.to_be_bytes());
        assert!(Rc::strong_count(&memory.of(2, fingerprint)) == 2);
    }
}
