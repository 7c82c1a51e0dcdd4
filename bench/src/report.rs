//! The result as a line of JSON.

use std::time::Duration;

use serde::Serialize;

use crate::{
    cpu::Used,
    plan::Plan,
    tally::{Answer, Seen, Tally, Terms, micros},
};

/// The result of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    units: u64,
    errors: u64,
    first_error: Option<String>,
    handshakes: u64,
    resumed: u64,
    seconds: f64,
    done: String,
    /// The forms of the refusals, in words; empty if nothing had to be refused.
    refused_by: String,
    client_cpu_us: f64,
    /// `None` if no process was named, or one has ended.
    proxy_cpu_us: Option<f64>,
    slowest_us: u64,
    /// Upper bounds in microseconds, and the number of units in each bucket.
    latency_us: Vec<(u64, u64)>,
}

impl Report {
    /// The report of a period of this length.
    pub(crate) fn new(plan: &Plan, tally: &Tally, time: Duration, used: &Used) -> Self {
        Self {
            units: tally.units,
            errors: tally.errors,
            first_error: tally.first_error.clone(),
            handshakes: tally.handshakes,
            resumed: tally.resumed,
            seconds: time.as_secs_f64(),
            done: describe(&tally.seen, &plan.expected.describe()),
            refused_by: refusals(&tally.seen),
            client_cpu_us: used.client.as_secs_f64() * 1e6,
            proxy_cpu_us: used.proxy.map(|time| time.as_secs_f64() * 1e6),
            slowest_us: micros(tally.slowest),
            latency_us: latencies(tally),
        }
    }
}

fn latencies(tally: &Tally) -> Vec<(u64, u64)> {
    let recorded = tally.latency.iter_recorded();
    recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

/// What was done, in words that are equal for all servers that did the same.
fn describe(seen: &[Seen], body: &str) -> String {
    let mut exchanges = Vec::new();
    let mut kinds = (false, false);
    let mut kind = None;
    let mut answers = Vec::new();
    for seen in seen {
        match seen {
            Seen::Exchange { terms, http } => {
                exchanges.push(format!("{} {http} 200 {body}", agreed(terms)));
                kinds = (kinds.0 || !terms.resumed, kinds.1 || terms.resumed);
            }
            Seen::Answer(answer) => answers.push(*answer),
            // Peers that refuse in different ways have done the same.
            Seen::Refused(_) => kind = Some("refused"),
        }
    }
    kind = match kinds {
        (true, true) => Some("mixed"),
        (true, false) => Some("full"),
        (false, true) => Some("resumed"),
        (false, false) => kind,
    };
    exchanges.sort();
    exchanges.dedup();
    answers.sort();
    let words =
        [exchanges.join(", "), answers.into_iter().map(said).collect::<Vec<_>>().join(", ")];
    let words = words.iter().map(String::as_str).filter(|words| !words.is_empty()).chain(kind);
    words.collect::<Vec<_>>().join(" ")
}

fn agreed(terms: &Terms) -> String {
    let Terms { version, suite, group, .. } = terms;
    let name = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [
        name(version.map(|it| format!("{it:?}"))),
        name(suite.map(|it| format!("{it:?}"))),
        name(group.map(|it| format!("{it:?}"))),
    ]
    .join(" ")
}

fn said(answer: Answer) -> String {
    match answer {
        Answer::NoConnection => "no connection".to_owned(),
        Answer::Reset => "reset".to_owned(),
        Answer::End => "end".to_owned(),
        Answer::Alert(number) => format!("alert {number}"),
        Answer::Status(status) => format!("status {status}"),
        Answer::Handshake => "handshake".to_owned(),
    }
}

fn refusals(seen: &[Seen]) -> String {
    let answer = |seen: &Seen| match seen {
        Seen::Refused(answer) => Some(*answer),
        _ => None,
    };
    let mut answers: Vec<_> = seen.iter().filter_map(answer).collect();
    answers.sort();
    answers.into_iter().map(said).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
