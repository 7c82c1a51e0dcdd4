use std::sync::Arc;

use ring::rand::SystemRandom;

use super::*;
use crate::identity::{
    flow::{SignInClients, probe::example_spec},
    spec::SealSecret,
};

fn clients() -> SignInClients {
    SignInClients::new(Arc::new(example_spec()), &SealSecret([7; 32]))
}

fn handover(host: &str, id: u8) -> Handover {
    let place = ReturnPlace { host: host.into(), port: 443, path: ReturnPath::root(), visit: None };
    Handover {
        id: [id; 16],
        process: [1; 16],
        issued_s: 5,
        place,
        binding: [2; 16],
        provider: ProviderId([2; 16]),
        restarts: 0,
        session: HandedSession::Kept,
    }
}

#[test]
fn a_handover_counts_for_the_host_it_names() {
    let (clients, random) = (clients(), SystemRandom::new());
    let context = clients.main();
    let open = |content: &Handover| {
        let content = content.encode().unwrap();
        let seals = context.seals();
        let text = seals.seal(SealPurpose::Handover, "app.example", &content, &random).unwrap();
        Handover::open(context, "app.example", &text).is_some()
    };
    assert!(open(&handover("app.example", 1)));
    assert!(!open(&handover("other.example", 1)));
    assert!(!open(&handover("App.example", 1)), "a host in another form");
    assert!(!open(&handover("app.example/", 1)));
}

#[test]
fn what_was_kept_for_one_handover_opens_for_no_other() {
    let (clients, random) = (clients(), SystemRandom::new());
    let context = clients.main();
    let session = Session {
        id: SessionId([1; 16]),
        provider: ProviderId([2; 16]),
        binding: [2; 16],
        identity: Default::default(),
        name: "".into(),
        claims_digest: [0; 8],
        signed_in_at_s: 1,
        ends_at_s: 2,
        check_at_s: 3,
        tokens: None,
    };
    let short = |host, id| handover(host, id);
    let long = Handover { session: HandedSession::Here(session), ..short("app.example", 1) };
    let kept = long.seal_raw(context, &random).unwrap();
    assert!(short("app.example", 1).open_kept(context, &kept).is_some());
    assert!(short("app.example", 2).open_kept(context, &kept).is_none());
    assert!(short("other.example", 1).open_kept(context, &kept).is_none());
    let other = Handover { binding: [9; 16], ..short("app.example", 1) };
    assert!(other.open_kept(context, &kept).is_none());
    let empty = short("app.example", 1).seal_raw(context, &random).unwrap();
    assert!(short("app.example", 1).open_kept(context, &empty).is_none());
}

#[test]
fn objects_are_fresh_for_their_time_and_for_a_clock_a_minute_ahead() {
    for (issued_s, now_s, fresh) in [
        (1000, 1000, true),
        (1000, 1060, true),
        (1000, 1061, false),
        (1060, 1000, true),
        (1061, 1000, false),
        (u64::MAX, 1000, false),
        (0, u64::MAX, false),
    ] {
        assert_eq!(is_fresh(issued_s, 60, now_s), fresh, "{issued_s} {now_s}");
    }
}

#[test]
fn a_state_with_many_further_hosts_stays_short_enough() {
    let (clients, random) = (clients(), SystemRandom::new());
    let context = clients.main();
    let long = |letter: &str| DependentHost {
        host: format!("{}.example", letter.repeat(240)).into(),
        port: 8443,
    };
    let rest: Vec<DependentHost> = ["b", "c", "d", "e"].map(long).into();
    let place = ReturnPlace {
        host: "app.example".into(),
        port: 443,
        path: ReturnPath::of_request("/a?b"),
        visit: Some(DependentVisit { at: long("a"), rest }),
    };
    let request = SealedSignInRequest {
        id: [1; 16],
        process: [2; 16],
        place: place.clone(),
        binding: [3; 16],
        provider: ProviderId([4; 16]),
        issued_s: 5,
        restarts: 0,
    };
    let sealed = request.seal(context, &random).unwrap();
    let opened = SealedSignInRequest::open(context, &sealed).unwrap();
    assert!(opened.place == place, "a request has room for all");
    let state = SignInState {
        id: [1; 16],
        process: [2; 16],
        issued_s: 5,
        seed: [6; 32],
        binding: [3; 16],
        request,
    };
    let sealed = state.seal(context, &random).unwrap();
    assert!(sealed.len() <= MAX_STATE_LEN, "{}", sealed.len());
    let kept = SignInState::open(context, &sealed).unwrap().request.place;
    assert_eq!((&*kept.host, kept.path), ("app.example", ReturnPath::root()));
    assert_eq!(kept.visit.unwrap(), DependentVisit { at: long("a"), rest: Vec::new() });
}

#[test]
fn a_link_to_a_further_host_opens_there_alone() {
    let (clients, random) = (clients(), SystemRandom::new());
    let context = clients.main();
    let at = DependentHost { host: "b.example".into(), port: 443 };
    let place = ReturnPlace {
        host: "app.example".into(),
        port: 443,
        path: ReturnPath::root(),
        visit: Some(DependentVisit { at, rest: Vec::new() }),
    };
    let sign_in = DependentSignIn { issued_s: 5, session: SessionId([1; 16]), place };
    let sealed = sign_in.seal(context, &random).unwrap();
    assert!(DependentSignIn::open(context, "b.example", &sealed) == Some(sign_in));
    assert!(DependentSignIn::open(context, "app.example", &sealed).is_none());
}
