use super::*;
use crate::bench::report::tests::{FULL, RESUMED, change, run};

fn ratio_of(run: &Run) -> Result<Ratio, String> {
    judge(run, &run.works[0]).ratio
}

fn left_out(run: &Run, peer: &str) -> Option<String> {
    let judged = judge(run, &run.works[0]);
    judged.standings.into_iter().find(|standing| standing.peer.id == peer).unwrap().left_out
}

fn three() -> Run {
    run(&[
        ("ours", &[80.0, 90.0, 160.0]),
        ("nginx", &[100.0, 100.0, 200.0]),
        ("caddy", &[300.0, 300.0, 300.0]),
    ])
}

#[test]
fn the_ratio_is_of_the_same_round() {
    // The machine was slow in the third round: the ratio of the medians would also be 0.9, but its
    // ends would be 0.4 and 1.6.
    let ratio = ratio_of(&three()).unwrap();
    assert_eq!(ratio.to, "nginx");
    assert_eq!(ratio.spread.rounds, [0.8, 0.9, 0.8]);
    assert_eq!(ratio.spread.median, 0.8);
}

#[test]
fn the_best_is_the_one_to_which_our_ratio_is_worst() {
    // The median alone would rank caddy higher.
    let run = run(&[
        ("ours", &[10.0, 20.0, 30.0]),
        ("nginx", &[10.0, 21.0, 31.0]),
        ("caddy", &[20.0, 20.0, 60.0]),
    ]);
    let ratio = ratio_of(&run).unwrap();
    assert_eq!(ratio.to, "nginx");
    assert_eq!(ratio.spread.median, 30.0 / 31.0);
}

#[test]
fn where_more_is_better_the_ratio_is_turned_over() {
    let mut run = run(&[("ours", &[]), ("nginx", &[])]);
    run.works[0].primary = Figure::UnitsPerSecond;
    for (peer, per_second) in [("ours", 200.0), ("nginx", 100.0)] {
        run.works[0].samples.push(Sample {
            peer: peer.to_owned(),
            round: 1,
            units: 1,
            done: RESUMED.to_owned(),
            figures: BTreeMap::from([(Figure::UnitsPerSecond, per_second)]),
            ..Sample::default()
        });
    }
    assert_eq!(ratio_of(&run).unwrap().spread.median, 0.5);
}

/// Otherwise a proxy would gain by failing in its bad rounds.
#[test]
fn who_misses_a_round_is_left_out() {
    let shorter = run(&[("ours", &[1.0, 1.0]), ("nginx", &[2.0, 2.0]), ("caddy", &[2.0])]);
    assert_eq!(left_out(&shorter, "caddy").as_deref(), Some("1 of 2 rounds measured"));
    let ours = run(&[("ours", &[1.0]), ("nginx", &[2.0, 2.0])]);
    let why = ratio_of(&ours).unwrap_err();
    assert_eq!(why, "ours: 1 of 2 rounds measured; would be 0.50 × nginx");
}

#[test]
fn a_peer_that_did_other_work_is_left_out() {
    let mut run =
        run(&[("ours", &[1.0]), ("nginx", &[2.0]), ("haproxy", &[3.0]), ("caddy", &[1.5])]);
    assert_eq!(ratio_of(&run).unwrap().to, "caddy");
    change(&mut run, "caddy", |sample| sample.done = FULL.to_owned());
    assert_eq!(ratio_of(&run).unwrap().to, "nginx");
    let why = left_out(&run, "caddy").unwrap();
    assert!(why.starts_with("did other work: \"full\" instead of \"resumed\""), "{why}");
}

#[test]
fn what_would_have_been_worse_for_us_is_admitted() {
    let mut run = run(&[("ours", &[1.0]), ("nginx", &[2.0]), ("caddy", &[0.5])]);
    change(&mut run, "caddy", |sample| sample.errors = 1);
    assert_eq!(ratio_of(&run).unwrap().spread.median, 0.5);
    let why = left_out(&run, "caddy").unwrap();
    assert!(why.ends_with("; the ratio to it would have been 2.00"), "{why}");
}

#[test]
fn no_ratio_where_we_did_other_work() {
    let mut run = three();
    change(&mut run, "ours", |sample| sample.done = FULL.to_owned());
    let why = ratio_of(&run).unwrap_err();
    let expected = "ours: did other work: \"full\" instead of \"resumed\"; would be 0.80 × nginx";
    assert_eq!(why, expected);
}

#[test]
fn a_shortcut_shared_with_one_peer_does_not_make_it_the_work() {
    let mut run = three();
    for cheat in ["ours", "caddy"] {
        change(&mut run, cheat, |sample| sample.done = FULL.to_owned());
    }
    let why = ratio_of(&run).unwrap_err();
    assert!(why.starts_with("the peers disagree about the work"), "{why}");
}

#[test]
fn no_ratio_where_a_unit_of_ours_failed() {
    let mut run = three();
    change(&mut run, "ours", |sample| {
        sample.errors = 2;
        sample.first_error = Some("connection reset".to_owned());
    });
    let why = ratio_of(&run).unwrap_err();
    assert_eq!(why, "ours: 6 failed, the first: connection reset; would be 0.80 × nginx");
}

#[test]
fn no_ratio_where_a_unit_of_ours_was_dropped() {
    let mut run = three();
    change(&mut run, "ours", |sample| {
        sample.figures.insert(Figure::Dropped, 1.0);
    });
    assert_eq!(ratio_of(&run).unwrap_err(), "ours: 3 dropped; would be 0.80 × nginx");
}

#[test]
fn we_have_lost_where_we_fail_and_another_does_the_work() {
    let mut run = three();
    change(&mut run, "ours", |sample| sample.errors = 1);
    assert_eq!(judge(&run, &run.works[0]).outcome(), Some(Outcome::Lost));
    for peer in ["nginx", "caddy"] {
        change(&mut run, peer, |sample| sample.errors = 1);
    }
    assert_eq!(judge(&run, &run.works[0]).outcome(), None, "no peer did it");
    assert_eq!(ratio_of(&run).unwrap_err(), "ours: 3 failed, the first: not recorded");
}

#[test]
fn a_work_of_ours_alone_knows_no_others() {
    let mut run = run(&[("ours", &[1.0]), ("nginx", &[]), ("baseline", &[2.0])]);
    run.works[0].ours_alone = true;
    let judged = judge(&run, &run.works[0]);
    let peers: Vec<_> = judged.standings.iter().map(|one| one.peer.id.as_str()).collect();
    assert_eq!(peers, ["ours", "baseline"]);
    assert_eq!((judged.outcome(), judged.ratio.is_err()), (None, true));
    assert_eq!(judged.to_baseline.unwrap().unwrap().spread.median, 0.5);
}

#[test]
fn a_peer_with_one_error_in_one_round_is_left_out() {
    let mut run = three();
    let sample = run.works[0].samples.iter_mut().find(|sample| sample.peer == "nginx").unwrap();
    sample.errors = 1;
    assert_eq!(ratio_of(&run).unwrap().to, "caddy");
}

#[test]
fn no_ratio_where_we_are_alone() {
    assert_eq!(ratio_of(&run(&[("ours", &[1.0])])).unwrap_err(), "no other peer to compare with");
    let with_baseline = run(&[("ours", &[1.0]), ("baseline", &[2.0])]);
    assert_eq!(ratio_of(&with_baseline).unwrap_err(), "no other peer to compare with");
}

#[test]
fn no_ratio_where_nobody_is_left() {
    let mut run = three();
    for peer in ["nginx", "caddy"] {
        change(&mut run, peer, |sample| sample.errors = 1);
    }
    assert!(ratio_of(&run).unwrap_err().starts_with("no other peer is left"));
}

#[test]
fn no_ratio_to_nothing() {
    let run = run(&[("ours", &[1.0]), ("nginx", &[0.0])]);
    assert!(ratio_of(&run).unwrap_err().starts_with("no other peer is left"));
}

#[test]
fn a_peer_is_left_out_that_did_not_do_the_same_in_every_round() {
    let mut run = three();
    let last = run.works[0].samples.iter_mut().rfind(|sample| sample.peer == "caddy").unwrap();
    last.done = FULL.to_owned();
    assert_eq!(left_out(&run, "caddy").unwrap(), "rounds differ: \"full\" instead of \"resumed\"");
}

#[test]
fn a_peer_is_left_out_of_which_nothing_is_known() {
    type Fault = fn(&mut Sample);
    let faults: [(Fault, &str); 3] = [
        (|sample| sample.units = 0, "a round without a single unit done"),
        (|sample| sample.done.clear(), "no description of the units"),
        (|sample| sample.figures.clear(), "a round without CPU µs per handshake"),
    ];
    for (fault, why) in faults {
        let mut run = three();
        change(&mut run, "caddy", fault);
        assert_eq!(left_out(&run, "caddy").as_deref(), Some(why));
    }
    let mut run = three();
    run.works[0].samples.retain(|sample| sample.peer != "caddy");
    assert_eq!(left_out(&run, "caddy").as_deref(), Some("not measured"));
    run.works[0].absent.insert("caddy".to_owned(), "not built yet".to_owned());
    assert_eq!(left_out(&run, "caddy").as_deref(), Some("not built yet"));
}

#[test]
fn an_aim_is_judged_by_median_and_by_every_round() {
    let mut run = three();
    let verdict = |run: &Run| judge(run, &run.works[0]).aim().unwrap().1;
    for (aim, expected) in [(0.9, Aim::Reached), (0.8, Aim::ByMedian), (0.79, Aim::Missed)] {
        run.works[0].aim = Some(aim);
        assert_eq!(verdict(&run), expected, "{aim}");
    }
    change(&mut run, "ours", |sample| sample.errors = 1);
    assert_eq!(verdict(&run), Aim::Missed, "a proxy that fails has missed it");
    run.works[0].samples.retain(|sample| sample.peer != "ours");
    assert_eq!(verdict(&run), Aim::NotJudged);
}

#[test]
fn we_have_won_only_where_we_win_every_round() {
    let outcome = |ours: &[f64]| {
        let run = run(&[("ours", ours), ("nginx", &[10.0, 10.0, 10.0])]);
        judge(&run, &run.works[0]).outcome().unwrap()
    };
    assert_eq!(outcome(&[8.0, 8.0, 9.0]), Outcome::Won);
    assert_eq!(outcome(&[8.0, 8.0, 11.0]), Outcome::Even);
    assert_eq!(outcome(&[12.0, 11.0, 13.0]), Outcome::Lost);
}

#[test]
fn one_round_decides_nothing() {
    for ours in [8.0, 10.0, 12.0] {
        let run = run(&[("ours", &[ours]), ("nginx", &[10.0])]);
        assert_eq!(judge(&run, &run.works[0]).outcome(), Some(Outcome::OneRound));
    }
}

#[test]
fn a_baseline_is_compared_with_but_is_no_peer() {
    let mut run = run(&[("ours", &[9.0]), ("nginx", &[20.0]), ("baseline", &[10.0])]);
    let judged = judge(&run, &run.works[0]);
    assert_eq!(judged.ratio.unwrap().to, "nginx");
    assert_eq!(judged.to_baseline.unwrap().unwrap().spread.median, 0.9);

    // Both builds differ from nginx: there is no ratio to nginx, but one to each other.
    for build in ["ours", "baseline"] {
        change(&mut run, build, |sample| sample.done = FULL.to_owned());
    }
    let judged = judge(&run, &run.works[0]);
    assert!(judged.ratio.is_err());
    assert!(judged.to_baseline.unwrap().is_ok());

    change(&mut run, "baseline", |sample| sample.done = RESUMED.to_owned());
    let why = judge(&run, &run.works[0]).to_baseline.unwrap().unwrap_err();
    assert_eq!(why, "they did not do the same: \"full\" instead of \"resumed\"");
}
