//! Which peers did the work, and how they are compared. This is the whole rule:
//!
//! 1. A peer is *faulty* in a work if in any round a unit failed or was dropped, no unit was done,
//!    or a round or a figure is missing, or if its rounds differ in what was done (`Sample::done`).
//! 2. *The work* is what most of the other peers without fault did. In a tie our own result does
//!    not decide, and there is no ratio: a peer that takes the same shortcut as we would win it for
//!    us.
//! 3. A peer that did something else, or is faulty, is shown, but left out of the comparison. If
//!    that improves our ratio, its remark says what the ratio to it would have been.
//! 4. The ratio is ours to theirs in the *same round*, since the peers of a round run one after
//!    another and the machine drifts between rounds. It is given as the median and the ends over the
//!    rounds. If more is better, it is inverted: below 1 always means that we are better.
//! 5. The *best* peer is the one with the worst ratio for us.
//! 6. If we are faulty or did something else, or if no peer is left to compare with, a reason takes
//!    the place of the ratio. If we are the cause and another peer did the work, we have lost it, and
//!    the reason says what the ratio would have been.
//! 7. A work is won or lost if all rounds agree; one round is too few.
//!
//! A baseline is another build of ours. It does not count in these rules; it must do what we did.

use std::collections::{BTreeMap, BTreeSet};

use crate::bench::model::{Figure, Peer, Run, Sample, Work};

use super::{BASELINE, label, spread::Spread};

/// The comparison for one work.
pub(super) struct Judged<'a> {
    pub(super) work: &'a Work,
    /// In the order of the run's peers, ours first. A work of ours alone has no others.
    pub(super) standings: Vec<Standing<'a>>,
    /// A description of the units by most other peers; `None` without a majority.
    pub(super) done: Option<String>,
    /// The ratio to the best other peer, or the reason why there is none.
    pub(super) ratio: Result<Ratio, String>,
    /// The ratio to the other build of ours, if it was among the peers.
    pub(super) to_baseline: Option<Result<Ratio, String>>,
}

/// The result of one peer in a work.
pub(super) struct Standing<'a> {
    pub(super) peer: &'a Peer,
    pub(super) role: Role,
    /// The index among the run's peers, which selects the colour.
    pub(super) place: usize,
    pub(super) samples: Vec<&'a Sample>,
    /// The reason why it is not compared.
    pub(super) left_out: Option<String>,
    /// The ratio is better for us because this peer is left out.
    pub(super) flatters: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Ours,
    Baseline,
    Other,
}

/// The ratio of our figure to another's; below 1 we are better.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ratio {
    /// The ID of the other peer.
    pub(super) to: String,
    pub(super) spread: Spread,
}

/// The comparison of a ratio with the aim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// The aim was reached in every round.
    Reached,
    ByMedian,
    Missed,
    /// There is no ratio, and not because of a fault of ours.
    NotJudged,
}

/// The comparison of a ratio with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// We were better in every round.
    Won,
    /// The rounds disagree.
    Even,
    /// We were worse in every round, or we did not do the work and another peer did.
    Lost,
    /// There was one round, which proves nothing.
    OneRound,
}

pub(super) fn judge_all(run: &Run) -> Vec<Judged<'_>> {
    run.works.iter().map(|work| judge(run, work)).collect()
}

pub(super) fn judge<'a>(run: &'a Run, work: &'a Work) -> Judged<'a> {
    let mut standings = standings(run, work);
    // Before the vote, since the work of other peers does not matter to a baseline.
    let to_baseline = to_baseline(work, &standings);
    let done = vote(&standings);
    if let Ok(Some(done)) = &done {
        leave_out_other_work(&mut standings, done);
        admit_failure(work, &mut standings);
    }
    let ratio = match &done {
        Err(tie) => Err(tie.clone()),
        Ok(_) => to_best(work, &standings),
    };
    if let Ok(ratio) = &ratio {
        admit_flattery(work, &mut standings, ratio);
    }
    Judged { work, standings, done: done.ok().flatten(), ratio, to_baseline }
}

impl Judged<'_> {
    pub(super) fn is_best(&self, standing: &Standing<'_>) -> bool {
        self.ratio.as_ref().is_ok_and(|ratio| ratio.to == standing.peer.id)
    }

    /// `None` if the work has no aim.
    pub(super) fn aim(&self) -> Option<(f64, Aim)> {
        let aim = self.work.aim?;
        let verdict = match &self.ratio {
            // A proxy that fails at the work has missed its aim.
            Err(_) if self.we_failed() => Aim::Missed,
            Err(_) => Aim::NotJudged,
            Ok(ratio) if ratio.spread.max <= aim => Aim::Reached,
            Ok(ratio) if ratio.spread.median <= aim => Aim::ByMedian,
            Ok(_) => Aim::Missed,
        };
        Some((aim, verdict))
    }

    /// `None` if there is no ratio, unless we failed at a work that another peer did.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let Ok(Ratio { spread, .. }) = &self.ratio else {
            return (self.we_failed() && self.another_did_it()).then_some(Outcome::Lost);
        };
        Some(match spread {
            _ if spread.rounds.len() == 1 => Outcome::OneRound,
            _ if spread.max < 1.0 => Outcome::Won,
            _ if spread.min > 1.0 => Outcome::Lost,
            _ => Outcome::Even,
        })
    }

    fn we_failed(&self) -> bool {
        self.standings.first().is_some_and(|ours| !ours.counts() && !ours.samples.is_empty())
    }

    fn another_did_it(&self) -> bool {
        self.standings.iter().any(|other| other.role == Role::Other && other.counts())
    }

    /// All figures that any peer has, the primary one first.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let samples = self.work.samples.iter();
        let all: BTreeSet<_> = samples.flat_map(|sample| sample.figures.keys().copied()).collect();
        let others = all.into_iter().filter(|figure| *figure != self.work.primary);
        std::iter::once(self.work.primary).chain(others).collect()
    }
}

impl Standing<'_> {
    pub(super) fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of_figure(&self.samples, figure)
    }

    /// How it did the work, once for each way.
    pub(super) fn own_remarks(&self) -> String {
        let remarks: BTreeSet<_> = self.samples.iter().map(|sample| &*sample.remark).collect();
        remarks.into_iter().filter(|remark| !remark.is_empty()).collect::<Vec<_>>().join("; ")
    }

    fn done(&self) -> &str {
        self.samples.first().map_or("", |sample| &sample.done)
    }

    fn counts(&self) -> bool {
        self.left_out.is_none()
    }
}

fn standings<'a>(run: &'a Run, work: &'a Work) -> Vec<Standing<'a>> {
    let standing = |(place, peer): (usize, &'a Peer)| {
        let mut samples: Vec<_> = work.samples.iter().filter(|one| one.peer == peer.id).collect();
        samples.sort_by_key(|sample| sample.round);
        let role = match place {
            0 => Role::Ours,
            _ if peer.id == BASELINE => Role::Baseline,
            _ => Role::Other,
        };
        let left_out = fault(work, peer, &samples);
        Standing { peer, role, place, samples, left_out, flatters: false }
    };
    let all = run.peers.iter().enumerate().map(standing);
    all.filter(|one| !work.ours_alone || one.role != Role::Other).collect()
}

/// The fault of a peer, judged by its own samples.
fn fault(work: &Work, peer: &Peer, samples: &[&Sample]) -> Option<String> {
    let Some(first) = samples.first() else {
        let why = work.absent.get(&peer.id).map_or("not measured", String::as_str);
        return Some(why.to_owned());
    };
    let errors: u64 = samples.iter().map(|sample| sample.errors).sum();
    let dropped: f64 = samples.iter().filter_map(|s| s.figures.get(&Figure::Dropped)).sum();
    if errors > 0 {
        let message = samples.iter().find_map(|sample| sample.first_error.as_deref());
        let count = label::thousands(errors as f64);
        return Some(format!("{count} failed, the first: {}", message.unwrap_or("not recorded")));
    }
    if dropped > 0.0 {
        return Some(format!("{} dropped", label::value(Figure::Dropped, dropped)));
    }
    let all: BTreeSet<_> = work.samples.iter().map(|sample| sample.round).collect();
    if !samples.iter().map(|sample| sample.round).eq(all.iter().copied()) {
        return Some(format!("{} of {} rounds measured", samples.len(), all.len()));
    }
    if samples.iter().any(|sample| sample.units == 0) {
        return Some("a round without a single unit done".to_owned());
    }
    if samples.iter().any(|sample| sample.done.is_empty()) {
        return Some("no description of the units".to_owned());
    }
    if let Some(other) = samples.iter().find(|sample| sample.done != first.done) {
        return Some(format!("rounds differ: {}", difference(&other.done, &first.done)));
    }
    let measured =
        |sample: &&Sample| sample.figures.get(&work.primary).is_some_and(|x| x.is_finite());
    if !samples.iter().all(measured) {
        return Some(format!("a round without {}", label::primary(work)));
    }
    None
}

/// What the other peers did by majority; `None` if no peer counts.
fn vote<'a>(standings: &[Standing<'a>]) -> Result<Option<String>, String> {
    let mut votes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for voter in standings.iter().filter(|one| one.role == Role::Other && one.counts()) {
        votes.entry(voter.done()).or_default().push(&voter.peer.id);
    }
    let most = votes.values().map(Vec::len).max().unwrap_or(0);
    let mut first = votes.iter().filter(|(_, voters)| voters.len() == most);
    match (first.next(), first.next()) {
        (Some((one, its)), Some((other, theirs))) => Err(format!(
            "the peers disagree about the work, and there is no majority: {} against {}: {}",
            its.join(", "),
            theirs.join(", "),
            difference(one, other)
        )),
        (winner, _) => Ok(winner.map(|(done, _)| (*done).to_owned())),
    }
}

fn leave_out_other_work(standings: &mut [Standing<'_>], done: &str) {
    for standing in standings.iter_mut().filter(|one| one.counts() && one.done() != done) {
        let difference = difference(standing.done(), done);
        standing.left_out = Some(format!("did other work: {difference}"));
    }
}

/// `"full" instead of "resumed"`: only the words that differ, if they can be told.
fn difference(one: &str, other: &str) -> String {
    let (left, right): (Vec<_>, Vec<_>) =
        (one.split_whitespace().collect(), other.split_whitespace().collect());
    if left.len() != right.len() {
        return format!("\"{one}\" instead of \"{other}\"");
    }
    let (left, right): (Vec<_>, Vec<_>) =
        left.into_iter().zip(right).filter(|(left, right)| left != right).unzip();
    format!("\"{}\" instead of \"{}\"", left.join(" "), right.join(" "))
}

fn to_best(work: &Work, standings: &[Standing<'_>]) -> Result<Ratio, String> {
    let (ours, others) = standings.split_first().ok_or("nothing was measured")?;
    if work.ours_alone {
        return Err("a work of ours alone".to_owned());
    }
    if let Some(why) = &ours.left_out {
        return Err(format!("{}: {why}", ours.peer.id));
    }
    let others: Vec<_> = others.iter().filter(|one| one.role == Role::Other).collect();
    if others.is_empty() {
        return Err("no other peer to compare with".to_owned());
    }
    best(work, ours, others)
        .ok_or_else(|| "no other peer is left that did the same work in the same rounds".to_owned())
}

fn best<'a, 's: 'a>(
    work: &Work,
    ours: &Standing<'_>,
    others: impl IntoIterator<Item = &'a Standing<'s>>,
) -> Option<Ratio> {
    let counted = others.into_iter().filter(|one| one.role == Role::Other && one.counts());
    let ratios = counted.filter_map(|other| ratio(work, ours, other));
    ratios.max_by(|one, other| one.spread.median.total_cmp(&other.spread.median))
}

fn to_baseline(work: &Work, standings: &[Standing<'_>]) -> Option<Result<Ratio, String>> {
    let baseline = standings.iter().find(|one| one.role == Role::Baseline)?;
    let ours = standings.first()?;
    for one in [ours, baseline] {
        if let Some(why) = &one.left_out {
            return Some(Err(format!("{}: {why}", one.peer.id)));
        }
    }
    if ours.done() != baseline.done() {
        let difference = difference(ours.done(), baseline.done());
        return Some(Err(format!("they did not do the same: {difference}")));
    }
    Some(ratio(work, ours, baseline).ok_or_else(|| "no round in common".to_owned()))
}

/// The ratio over the rounds that both have; `None` without any, or if the divisor is zero.
fn ratio(work: &Work, ours: &Standing<'_>, other: &Standing<'_>) -> Option<Ratio> {
    let in_round = |sample: &&Sample| {
        let theirs = other.samples.iter().find(|theirs| theirs.round == sample.round)?;
        let (ours, theirs) =
            (sample.figures.get(&work.primary)?, theirs.figures.get(&work.primary)?);
        Some(if work.primary.more_is_better() { theirs / ours } else { ours / theirs })
    };
    let spread = Spread::of(ours.samples.iter().filter_map(in_round))?;
    Some(Ratio { to: other.peer.id.clone(), spread })
}

/// Adds the ratio that would have been to the reason why we are left out: a loss has a size.
fn admit_failure(work: &Work, standings: &mut [Standing<'_>]) {
    let Some((ours, others)) = standings.split_first_mut() else { return };
    let would_be = best(work, ours, &*others);
    if let (Some(why), Some(Ratio { to, spread })) = (&mut ours.left_out, would_be) {
        why.push_str(&format!("; would be {} × {to}", label::ratio(spread.median)));
    }
}

/// Adds the ratio that would have been to the remark of each left-out peer, if that ratio is worse
/// for us than the given one.
fn admit_flattery(work: &Work, standings: &mut [Standing<'_>], given: &Ratio) {
    let Some((ours, others)) = standings.split_first_mut() else { return };
    for other in others.iter_mut().filter(|other| other.role == Role::Other && !other.counts()) {
        let Some(would_be) = ratio(work, ours, other) else { continue };
        if would_be.spread.median > given.spread.median
            && let Some(why) = &mut other.left_out
        {
            let ratio = label::ratio(would_be.spread.median);
            other.flatters = true;
            why.push_str(&format!("; the ratio to it would have been {ratio}"));
        }
    }
}

#[cfg(test)]
mod tests;
