use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let named = weights.iter().enumerate();
    named.map(|(n, &weight)| Candidate { identity: format!("10.0.0.{n}:443"), weight }).collect()
}

fn shares(picks: usize, endpoints: usize, mut pick: impl FnMut(u64) -> usize) -> Vec<usize> {
    let mut shares = vec![0; endpoints];
    for n in 0..picks {
        shares[pick(n as u64)] += 1;
    }
    shares
}

/// Each share is within `percent` of its weight's share.
fn follow(shares: &[usize], weights: &[u32], percent: f64) -> Result<(), TestCaseError> {
    let picks: usize = shares.iter().sum();
    let total: u32 = weights.iter().sum();
    for (share, weight) in shares.iter().zip(weights) {
        let expected = picks as f64 * f64::from(*weight) / f64::from(total);
        let off = (*share as f64 - expected).abs() / expected * 100.0;
        prop_assert!(off <= percent, "{shares:?} for {weights:?}: {off:.1} % off");
    }
    Ok(())
}

fn pick_by_hash(balance: &Balance, hash: u64) -> usize {
    balance.pick(hash, &mut SplitMix64::new(0), |_| 0, |_| unreachable!())
}

#[test]
fn round_robin_spreads_a_heavy_endpoint_out() {
    let weights = [5, 1, 1];
    let mut turns = RoundRobin::new(&weights, 0);
    let picks: Vec<_> = (0..7).map(|_| turns.next(&weights)).collect();
    assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn workers_begin_with_different_endpoints() {
    let weights = [1, 1, 1];
    let firsts: Vec<_> =
        (0..4).map(|worker| RoundRobin::new(&weights, worker).next(&weights)).collect();
    assert_eq!(firsts, [0, 1, 2, 0]);
}

#[test]
fn the_busier_of_two_is_never_taken() {
    let weights = Weighted::new([1, 1].into_iter());
    let mut random = SplitMix64::new(7);
    for _ in 0..1000 {
        assert_eq!(least_request(&weights, &mut random, |index| [3, 2][index]), 1);
    }
}

#[test]
fn load_is_judged_by_weight() {
    let weights = Weighted::new([1, 10].into_iter());
    let mut random = SplitMix64::new(7);
    for _ in 0..1000 {
        assert_eq!(least_request(&weights, &mut random, |index| [1, 9][index]), 1);
        assert_eq!(least_request(&weights, &mut random, |index| [1, 11][index]), 0);
    }
}

#[test]
fn the_busiest_of_many_is_never_taken() {
    let weights = Weighted::new([1; 10].into_iter());
    let mut random = SplitMix64::new(7);
    for _ in 0..1000 {
        assert_ne!(least_request(&weights, &mut random, |index| index), 9);
    }
}

#[test]
fn one_endpoint_takes_everything_under_every_policy() {
    for policy in [
        BalancePolicy::RoundRobin,
        BalancePolicy::LeastRequest,
        BalancePolicy::Random,
        BalancePolicy::RingHash,
        BalancePolicy::Maglev,
    ] {
        let balance = Balance::new(policy, &candidates(&[3]));
        let mut random = SplitMix64::new(1);
        for hash in [0, 1, u64::MAX] {
            let turn = |weights: &[u32]| RoundRobin::new(weights, 0).next(weights);
            assert_eq!(balance.pick(hash, &mut random, |_| 0, turn), 0, "{policy:?}");
        }
    }
}

#[test]
fn no_endpoint_at_all_does_not_panic() {
    assert_eq!(Ring::new(&[]).find(5), 0);
    assert_eq!(Maglev::new(&[], 7).find(5), 0);
    assert_eq!(Weighted::new([].into_iter()).draw(&mut SplitMix64::new(1)), 0);
    assert_eq!(RoundRobin::new(&[], 3).next(&[]), 0);
}

#[test]
fn more_endpoints_than_slots_do_not_hang() {
    let table = Maglev::new(&candidates(&[1; 20]), 7);
    assert!((0..7).all(|hash| table.find(hash) < 20));
}

#[test]
fn the_full_maglev_table_is_filled_and_nearly_exact() {
    let weights = [1, 2, 3];
    let table = Maglev::new(&candidates(&weights), maglev::TABLE_SIZE);
    let picks = usize::try_from(maglev::TABLE_SIZE).unwrap();
    follow(&shares(picks, 3, |n| table.find(n)), &weights, 0.1).unwrap();
}

#[test]
fn hashing_gives_the_same_choice_in_every_release() {
    // Machines of a fleet agree on a client's upstream only as long as these stay.
    let choices = |policy| {
        let balance = Balance::new(policy, &candidates(&[1, 1, 1, 1, 1]));
        (0..12).map(|hash| pick_by_hash(&balance, hash)).collect::<Vec<_>>()
    };
    assert_eq!(choices(BalancePolicy::RingHash), RING_CHOICES);
    assert_eq!(choices(BalancePolicy::Maglev), MAGLEV_CHOICES);
}

const RING_CHOICES: [usize; 12] = [4, 3, 4, 4, 1, 1, 4, 0, 2, 0, 2, 2];
const MAGLEV_CHOICES: [usize; 12] = [0, 4, 3, 3, 0, 1, 4, 2, 3, 4, 4, 2];

fn weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(1..20u32, 2..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn round_robin_gives_each_exactly_its_weight(weights in weights(), skip in 0..9usize) {
        let mut turns = RoundRobin::new(&weights, skip);
        let total: u32 = weights.iter().sum();
        let shares = shares(total as usize, weights.len(), |_| turns.next(&weights));
        let expected: Vec<_> = weights.iter().map(|weight| *weight as usize).collect();
        prop_assert_eq!(shares, expected);
    }

    #[test]
    fn random_shares_follow_weights(weights in weights(), seed: u64) {
        let (table, mut random) = (Weighted::new(weights.iter().copied()), SplitMix64::new(seed));
        let shares = shares(100_000, weights.len(), |_| table.draw(&mut random));
        follow(&shares, &weights, 20.0)?;
    }

    #[test]
    fn least_request_shares_follow_weights_while_all_are_idle(weights in weights(), seed: u64) {
        let (table, mut random) = (Weighted::new(weights.iter().copied()), SplitMix64::new(seed));
        let pick = |_| least_request(&table, &mut random, |_| 0);
        follow(&shares(100_000, weights.len(), pick), &weights, 20.0)?;
    }

    #[test]
    fn two_draws_are_never_the_same(weights in weights(), seed: u64) {
        let (table, mut random) = (Weighted::new(weights.iter().copied()), SplitMix64::new(seed));
        for _ in 0..100 {
            let first = table.draw(&mut random);
            let second = table.draw_other(&mut random, first);
            prop_assert!(first != second && second < weights.len());
        }
    }

    #[test]
    fn ring_shares_follow_weights(weights in prop::collection::vec(1..5u32, 2..8)) {
        let ring = Ring::new(&candidates(&weights));
        let shares = shares(50_000, weights.len(), |n| ring.find(spread(n)));
        follow(&shares, &weights, 90.0)?;
    }

    #[test]
    fn maglev_shares_follow_weights(weights in weights()) {
        let table = Maglev::new(&candidates(&weights), 5003);
        follow(&shares(5003, weights.len(), |n| table.find(n)), &weights, 10.0)?;
    }

    #[test]
    fn when_an_endpoint_goes_the_ring_moves_its_clients_alone(count in 2..12usize, gone in 0..12usize) {
        let all = candidates(&vec![1; count]);
        let mut left = all.clone();
        let gone = left.remove(gone % count).identity;
        // Each endpoint keeps its number of points; otherwise points of the others would move as
        // well.
        prop_assume!(count > POINTS_STABLE_FROM);
        let (before, after) = (Ring::new(&all), Ring::new(&left));
        for hash in (0..2000).map(spread) {
            let was = &all[before.find(hash)].identity;
            if *was != gone {
                prop_assert_eq!(was, &left[after.find(hash)].identity);
            }
        }
    }

    #[test]
    fn when_an_endpoint_goes_maglev_moves_few_clients_of_the_others(
        count in 4..12usize,
        gone in 0..12usize,
    ) {
        let all = candidates(&vec![1; count]);
        let mut left = all.clone();
        let gone = left.remove(gone % count).identity;
        let (before, after) = (Maglev::new(&all, 5003), Maglev::new(&left, 5003));
        let moved = (0..5003)
            .map(|hash| (&all[before.find(hash)].identity, &left[after.find(hash)].identity))
            .filter(|(was, is)| **was != gone && was != is)
            .count();
        prop_assert!(moved < 5003 / 10, "{} of 5003 slots moved", moved);
    }

    #[test]
    fn hashing_does_not_depend_on_the_order_in_the_file(weights in weights(), turn in 1..8usize) {
        let all = candidates(&weights);
        let mut turned = all.clone();
        turned.rotate_left(turn % all.len());
        for (a, b) in [
            (Balance::RingHash(Ring::new(&all).into()), Balance::RingHash(Ring::new(&turned).into())),
            (
                Balance::Maglev(Maglev::new(&all, 503).into()),
                Balance::Maglev(Maglev::new(&turned, 503).into()),
            ),
        ] {
            for hash in 0..500 {
                let was = &all[pick_by_hash(&a, hash)].identity;
                prop_assert_eq!(was, &turned[pick_by_hash(&b, hash)].identity);
            }
        }
    }
}

#[test]
fn a_weak_client_hash_is_spread_over_all_endpoints() {
    let balance = Balance::new(BalancePolicy::RingHash, &candidates(&[1; 4]));
    let mut seen = HashMap::new();
    for hash in 0..1000 {
        *seen.entry(pick_by_hash(&balance, hash)).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.values().all(|count| *count > 100), "{seen:?}");
}

/// From here on every endpoint has `POINTS_EACH` points, with one endpoint less as well.
const POINTS_STABLE_FROM: usize = 7;
