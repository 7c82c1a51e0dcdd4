use std::sync::Arc;

use ring::rand::SystemRandom;

use super::*;
use crate::identity::{flow::probe::example_spec, spec::SealSecret};

fn context() -> SignInContext {
    SignInContext::new(Arc::new(example_spec()), &SealSecret([7; 32]))
}

fn handover(host: &str, id: u8) -> Handover {
    let place = ReturnPlace { host: host.into(), port: 443, path: ReturnPath::root() };
    Handover {
        id: [id; 16],
        process: [1; 16],
        issued_s: 5,
        place,
        binding: [2; 16],
        restarts: 0,
        session: HandedSession::Kept,
    }
}

#[test]
fn a_handover_counts_for_the_host_it_names() {
    let (context, random) = (context(), SystemRandom::new());
    let open = |content: &Handover| {
        let content = content.encode().unwrap();
        let seals = context.seals();
        let text = seals.seal(SealPurpose::Handover, "app.example", &content, &random).unwrap();
        Handover::open(&context, "app.example", &text).is_some()
    };
    assert!(open(&handover("app.example", 1)));
    assert!(!open(&handover("other.example", 1)));
    assert!(!open(&handover("App.example", 1)), "a host in another form");
    assert!(!open(&handover("app.example/", 1)));
}

#[test]
fn what_was_kept_for_one_handover_opens_for_no_other() {
    let (context, random) = (context(), SystemRandom::new());
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
    };
    let short = |host, id| handover(host, id);
    let long = Handover { session: HandedSession::Here(session), ..short("app.example", 1) };
    let kept = long.seal_raw(&context, &random).unwrap();
    assert!(short("app.example", 1).open_kept(&context, &kept).is_some());
    assert!(short("app.example", 2).open_kept(&context, &kept).is_none());
    assert!(short("other.example", 1).open_kept(&context, &kept).is_none());
    let other = Handover { binding: [9; 16], ..short("app.example", 1) };
    assert!(other.open_kept(&context, &kept).is_none());
    let empty = short("app.example", 1).seal_raw(&context, &random).unwrap();
    assert!(short("app.example", 1).open_kept(&context, &empty).is_none());
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
