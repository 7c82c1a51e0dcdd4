//! The table of all works and peers, with the ratio to the best other peer: its texts, which every
//! form of the report lays out.

use crate::bench::model::{Run, Work};

use super::{
    BASELINE,
    judge::{Aim, Judged, Outcome, Ratio, Role, Standing},
    label,
};

/// The text before the first figure in every form of the report.
pub(super) const HOW_TO_READ: &str = "Figures are medians over the rounds, with the least and the \
    most. A ratio is ours to the best other peer's in the same round: below 1 we are better. A \
    peer that failed, dropped connections or did other work is shown, but not compared; if \
    Portcullis did so, it has lost.";

pub(super) struct Overview {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The notes, numbered from 1; the cells refer to them.
    pub(super) notes: Vec<String>,
}

#[derive(Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// More text, shown less prominently.
    pub(super) small: String,
    /// The number of its note.
    pub(super) note: Option<usize>,
    /// Whether this is the best other peer.
    pub(super) best: bool,
    /// Whether this is text of the first columns; the other cells have figures.
    pub(super) words: bool,
}

/// The works by result, as text.
pub(super) struct Summary {
    pub(super) won: Vec<String>,
    pub(super) even: Vec<String>,
    pub(super) lost: Vec<String>,
    pub(super) one_round: Vec<String>,
    /// Works of ours alone, with our figure.
    pub(super) ours_alone: Vec<String>,
    pub(super) refused: Vec<String>,
    pub(super) aims: Vec<String>,
    /// The comparison with the baseline.
    pub(super) baseline: Vec<String>,
}

impl Overview {
    pub(super) fn of(run: &Run, works: &[Judged<'_>]) -> Self {
        let baseline = run.peers.iter().any(|peer| peer.id == BASELINE);
        let mut head = vec!["work".to_owned(), "median of".to_owned()];
        head.extend(run.peers.iter().map(|peer| peer.id.clone()));
        head.push("ratio to best".to_owned());
        head.push("aim".to_owned());
        if baseline {
            head.push("ours / baseline".to_owned());
        }
        let mut notes = Vec::new();
        let rows = works.iter().map(|judged| row(run, judged, baseline, &mut notes)).collect();
        Self { head, rows, notes }
    }
}

fn row(run: &Run, judged: &Judged<'_>, baseline: bool, notes: &mut Vec<String>) -> Vec<Cell> {
    let work = judged.work;
    let mut note = |text: String| {
        notes.push(text);
        Some(notes.len())
    };
    let words = |text: String| Cell { text, words: true, ..Cell::default() };
    let mut row = vec![words(format!("{} {}", work.id, work.title)), words(label::primary(work))];
    for place in 0..run.peers.len() {
        let Some(standing) = judged.standings.iter().find(|one| one.place == place) else {
            row.push(nothing());
            continue;
        };
        let spread = standing.spread(work.primary);
        let text = spread.map(|spread| label::value(work.primary, spread.median));
        row.push(Cell {
            text: text.unwrap_or_else(|| "—".to_owned()),
            note: note_on(standing)
                .and_then(|said| note(format!("{} {}: {said}.", work.id, standing.peer.id))),
            best: judged.is_best(standing),
            ..Cell::default()
        });
    }
    row.push(match &judged.ratio {
        Ok(ratio) => ratio_cell(ratio),
        Err(_) if work.ours_alone => nothing(),
        Err(why) => refused(note(format!("{}: no ratio. {}.", work.id, capitalised(why)))),
    });
    row.push(match judged.aim() {
        Some((aim, verdict)) => Cell {
            text: format!("≤ {}", label::ratio(aim)),
            small: aim_word(verdict).to_owned(),
            ..Cell::default()
        },
        None => nothing(),
    });
    if baseline {
        row.push(match &judged.to_baseline {
            Some(Ok(ratio)) => ratio_cell(ratio),
            Some(Err(why)) => refused(note(format!(
                "{}: no ratio to the baseline. {}.",
                work.id,
                capitalised(why)
            ))),
            None => nothing(),
        });
    }
    row
}

/// Why a peer is left out, and how it did the work.
fn note_on(standing: &Standing<'_>) -> Option<String> {
    let remarks = Some(standing.own_remarks()).filter(|remarks| !remarks.is_empty());
    match (&standing.left_out, remarks) {
        (Some(why), Some(remarks)) => Some(format!("{why}; {remarks}")),
        (why, remarks) => why.clone().or(remarks),
    }
}

fn ratio_cell(ratio: &Ratio) -> Cell {
    Cell {
        text: label::ratio(ratio.spread.median),
        small: label::ratio_ends(&ratio.spread),
        ..Cell::default()
    }
}

fn refused(note: Option<usize>) -> Cell {
    Cell { text: "refused".to_owned(), note, ..Cell::default() }
}

fn nothing() -> Cell {
    Cell { text: "—".to_owned(), ..Cell::default() }
}

impl Cell {
    /// The cell in one line.
    pub(super) fn whole(&self) -> String {
        format!("{} {}", self.text, self.small).trim_end().to_owned()
    }
}

fn aim_word(aim: Aim) -> &'static str {
    match aim {
        Aim::Reached => "reached",
        Aim::ByMedian => "by median",
        Aim::Missed => "missed",
        Aim::NotJudged => "not judged",
    }
}

impl Summary {
    pub(super) fn of(works: &[Judged<'_>]) -> Self {
        let (alone, compared): (Vec<_>, Vec<_>) =
            works.iter().partition(|judged| judged.work.ours_alone);
        let with = |outcome| {
            let judged = compared.iter().filter(move |judged| judged.outcome() == outcome);
            judged.map(|judged| {
                format!("{} {}: {}", judged.work.id, judged.work.title, verdict(judged))
            })
        };
        Self {
            won: with(Some(Outcome::Won)).collect(),
            even: with(Some(Outcome::Even)).collect(),
            lost: with(Some(Outcome::Lost)).collect(),
            one_round: with(Some(Outcome::OneRound)).collect(),
            ours_alone: alone.into_iter().map(our_figure).collect(),
            refused: with(None).collect(),
            aims: works.iter().filter_map(aim).collect(),
            baseline: works.iter().filter_map(baseline).collect(),
        }
    }

    /// Each list with its heading, without the empty ones.
    pub(super) fn lists(&self) -> Vec<(&'static str, &[String])> {
        let all: [(_, &[String]); 8] = [
            ("What we win, in every round", &self.won),
            ("Too close to call: rounds went either way", &self.even),
            ("What we lose, in every round or by a failure of ours", &self.lost),
            ("One round, which proves nothing", &self.one_round),
            ("Works of Portcullis alone", &self.ours_alone),
            ("No ratio", &self.refused),
            ("Aims", &self.aims),
            ("Ours against the baseline", &self.baseline),
        ];
        all.into_iter().filter(|(_, list)| !list.is_empty()).collect()
    }
}

/// The result of a work, as a sentence without its full stop.
pub(super) fn verdict(judged: &Judged<'_>) -> String {
    match &judged.ratio {
        Err(why) if judged.work.ours_alone => why.clone(),
        Err(why) => format!("no ratio, since {why}"),
        Ok(ratio) => format!(
            "{} × {}, the best other peer ({}){}",
            label::ratio(ratio.spread.median),
            ratio.to,
            label::ratio_range(&ratio.spread),
            flattered(judged)
        ),
    }
}

fn our_figure(judged: &Judged<'_>) -> String {
    let Work { id, title, primary, .. } = judged.work;
    let ours = judged.standings.first();
    if let Some(why) = ours.and_then(|ours| ours.left_out.as_ref()) {
        return format!("{id} {title}: no figure, since {why}");
    }
    let spread = ours.and_then(|ours| ours.spread(*primary));
    let figure = spread.map_or("—".to_owned(), |spread| label::value(*primary, spread.median));
    format!("{id} {title}: {figure} {}", label::primary(judged.work))
}

/// The peers that were left out and might have won: a win names them.
fn flattered(judged: &Judged<'_>) -> String {
    let out = judged.standings.iter().filter(|standing| standing.flatters);
    match out.map(|standing| standing.peer.id.as_str()).collect::<Vec<_>>() {
        none if none.is_empty() => String::new(),
        some => format!(", with {} left out", some.join(", ")),
    }
}

fn aim(judged: &Judged<'_>) -> Option<String> {
    let (aim, verdict) = judged.aim()?;
    let had = match &judged.ratio {
        Ok(ratio) => format!(", {}", ratio_cell(ratio).whole()),
        Err(_) => String::new(),
    };
    let one_round = judged.outcome() == Some(Outcome::OneRound);
    let verdict = match verdict {
        Aim::Reached if one_round => "reached in the only round",
        Aim::Reached => "reached in every round",
        Aim::ByMedian => "reached by the median, not in every round",
        Aim::Missed => "missed",
        Aim::NotJudged => "not judged",
    };
    Some(format!("{} at most {}: {verdict}{had}", judged.work.id, label::ratio(aim)))
}

fn baseline(judged: &Judged<'_>) -> Option<String> {
    to_baseline(judged).map(|said| format!("{}: {said}", judged.work.id))
}

/// The comparison with the baseline, and whether the difference exceeds that between rounds.
pub(super) fn to_baseline(judged: &Judged<'_>) -> Option<String> {
    Some(match judged.to_baseline.as_ref()? {
        Err(why) => format!("no ratio, since {why}"),
        Ok(Ratio { spread, .. }) => {
            let range = label::ratio_range(spread);
            let said = match spread {
                _ if spread.rounds.len() < 3 => "fewer than three rounds prove nothing",
                _ if !spread.is_beyond_itself() => "no difference beyond the spread",
                _ if spread.median < 1.0 => "better, beyond the spread",
                _ => "worse, beyond the spread",
            };
            format!("{} ({range}): {said}", label::ratio(spread.median))
        }
    })
}

/// The remark beside the figures of a peer.
pub(super) fn remark(judged: &Judged<'_>, standing: &Standing<'_>) -> String {
    let role = match (&standing.left_out, standing.role) {
        (Some(why), _) if standing.samples.is_empty() => format!("not measured: {why}"),
        (Some(why), _) => format!("left out: {why}"),
        (None, Role::Ours) => "ours".to_owned(),
        (None, Role::Baseline) => "ours, other build".to_owned(),
        (None, Role::Other) if judged.is_best(standing) => "best other peer".to_owned(),
        (None, Role::Other) => String::new(),
    };
    let parts = [role, standing.own_remarks()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}
