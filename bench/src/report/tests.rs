use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

use super::*;

fn exchange(resumed: bool) -> Seen {
    let terms = Terms {
        version: Some(ProtocolVersion::TLSv1_3),
        suite: Some(CipherSuite::TLS13_AES_128_GCM_SHA256),
        group: Some(NamedGroup::X25519),
        resumed,
    };
    Seen::Exchange { terms, http: "HTTP/1.1" }
}

#[test]
fn what_was_done_says_what_peers_may_differ_in() {
    let begin = "TLSv1_3 TLS13_AES_128_GCM_SHA256 X25519 HTTP/1.1 200 3 bytes";
    assert_eq!(describe(&[exchange(false)], "3 bytes"), format!("{begin} full"));
    assert_eq!(describe(&[exchange(true)], "3 bytes"), format!("{begin} resumed"));
    let both = [exchange(true), exchange(false)];
    assert_eq!(describe(&both, "3 bytes"), format!("{begin} mixed"));
}

#[test]
fn what_was_done_does_not_depend_on_the_order() {
    let one = [Answer::Reset, Answer::Alert(112)].map(Seen::Answer);
    let other = [Answer::Alert(112), Answer::Reset].map(Seen::Answer);
    assert_eq!(describe(&one, ""), "reset, alert 112");
    assert_eq!(describe(&other, ""), "reset, alert 112");
}

#[test]
fn peers_that_refuse_in_different_ways_do_the_same() {
    let seen = [Answer::Status(400), Answer::Alert(48)].map(Seen::Refused);
    assert_eq!(describe(&seen, ""), "refused");
    assert_eq!(refusals(&seen), "alert 48, status 400");
    assert_eq!(refusals(&[exchange(false)]), "");
}

#[test]
fn latencies_are_pairs_of_an_upper_bound_and_a_count() {
    let mut tally = Tally::new();
    for us in [7, 7, 9, 1_000_000] {
        tally.unit(Duration::from_micros(us), exchange(false));
    }
    tally.unit(Duration::from_nanos(8_001), exchange(false));
    assert_eq!(latencies(&tally), [(7, 2), (9, 2), (1_000_447, 1)]);
    assert_eq!(micros(tally.slowest), 1_000_000);
}

#[test]
fn tallies_of_two_threads_add_up() {
    let mut sum = Tally::new();
    for us in [3, 500_000] {
        let mut tally = Tally::new();
        tally.unit(Duration::from_micros(us), exchange(us > 3));
        tally.error(&anyhow::anyhow!("failed after {us}"));
        sum.add(tally);
    }
    assert_eq!((sum.units, sum.errors, sum.first_error.as_deref()), (2, 2, Some("failed after 3")));
    assert_eq!(latencies(&sum), [(3, 1), (500_223, 1)]);
    assert_eq!(sum.slowest, Duration::from_millis(500));
    assert!(describe(&sum.seen, "").ends_with("mixed"));
}
