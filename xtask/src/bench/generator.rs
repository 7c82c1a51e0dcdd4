//! The load generator: its command line and its output.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    lab::Body,
    model::{Figure, Sample},
    peers::Running,
    pin::{Core, pinned},
};
use crate::command::shown;

/// The last line of its output.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Outcome {
    pub(super) units: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// The seconds of the counted time.
    pub(super) seconds: f64,
    /// What was done for a unit, as the client saw it.
    pub(super) done: String,
    /// The forms of the refusals, if the servers had to refuse.
    #[serde(default)]
    pub(super) refused_by: String,
    pub(super) client_cpu_us: f64,
    pub(super) proxy_cpu_us: Option<f64>,
    pub(super) slowest_us: u64,
    pub(super) latency_us: Vec<(u64, u64)>,
}

/// What became of a flood of frames.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct FloodOutcome {
    /// Connections that the proxy ended.
    cut_off: u64,
    /// Connections that the proxy did not accept.
    not_accepted: u64,
    sent_bytes: u64,
    seconds: f64,
}

impl FloodOutcome {
    /// Adds what the flood met to the sample that was taken beside it.
    pub(super) fn add_to(&self, sample: &mut Sample) {
        let seconds = self.seconds.max(f64::MIN_POSITIVE);
        let mib = self.sent_bytes as f64 / f64::from(1 << 20);
        sample.figures.insert(Figure::FloodMibPerSecond, mib / seconds);
        let ended = (self.cut_off + self.not_accepted) as f64;
        sample.figures.insert(Figure::FloodEndsPerSecond, ended / seconds);
        sample.remark = match (self.cut_off, self.not_accepted) {
            (0, 0) => "it let the flood go on",
            (_, 0) => "it cut the flood off",
            (0, _) => "it did not accept the flood",
            _ => "it cut the flood off, and refused some connections of its client",
        }
        .to_owned();
    }
}

/// The generator's command for this proxy.
pub(super) fn load(running: &Running<'_>, work: &str) -> Command {
    let lab = running.place.lab;
    let mut load = pinned(Core::Load, running.place.generator);
    load.args([work, "--address", &running.place.edge.to_string()]);
    load.arg("--ca").arg(&lab.ca).arg("--cert").arg(&lab.client.certificate);
    load.arg("--key").arg(&lab.client.key);
    load
}

/// Requests this body, and accepts no other.
pub(super) fn ask_for(load: &mut Command, body: &Body) {
    load.args(["--path", body.path, "--body-bytes", &body.bytes.to_string()]);
    load.args(["--body-sha256", &body.sha256]);
}

/// Runs it to its end.
pub(super) fn run(load: &mut Command) -> Result<Outcome> {
    Background::start(load)?.finish()
}

/// A running generator.
pub(super) struct Background {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Background {
    /// Starts it.
    pub(super) fn start(load: &mut Command) -> Result<Self> {
        let name = shown(load);
        load.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = load.spawn().with_context(|| format!("cannot run {name}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { name, child, stdin, stdout })
    }

    /// Waits for a line before the last one; the line is empty if the generator has failed.
    pub(super) fn wait_for_line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }

    /// Waits for its end; dropping its standard input is the signal for a generator that waits.
    pub(super) fn finish(self) -> Result<Outcome> {
        self.last_line()
    }

    /// The same for a flood of frames.
    pub(super) fn finish_flood(self) -> Result<FloodOutcome> {
        self.last_line()
    }

    fn last_line<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.stdin.take());
        let (mut said, mut complaint) = (String::new(), String::new());
        self.stdout.read_to_string(&mut said)?;
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut complaint)?;
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "{}\n({} failed: {status})", complaint.trim(), self.name);
        parse(&said)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse<T: DeserializeOwned>(said: &str) -> Result<T> {
    let line = said.lines().last().context("the load generator printed nothing")?;
    serde_json::from_str(line).with_context(|| format!("not a result: {line}"))
}

impl Outcome {
    /// The figures that every load reports.
    pub(super) fn sample(&self, peer: &str, round: u32) -> Sample {
        let units = self.units.max(1) as f64;
        let mut sample = Sample {
            peer: peer.to_owned(),
            round,
            units: self.units,
            errors: self.errors,
            first_error: self.first_error.clone(),
            done: self.done.clone(),
            remark: self.remark(),
            latency_us: self.latency_us.clone(),
            ..Sample::default()
        };
        let mut set = |figure, value| sample.figures.insert(figure, value);
        set(Figure::UnitsPerSecond, units / self.seconds.max(f64::MIN_POSITIVE));
        set(Figure::ClientCpuUsPerUnit, self.client_cpu_us / units);
        if let Some(used) = self.proxy_cpu_us {
            set(Figure::CpuUsPerUnit, used / units);
        }
        for (figure, share) in [
            (Figure::LatencyP50Us, 0.5),
            (Figure::LatencyP90Us, 0.9),
            (Figure::LatencyP99Us, 0.99),
            (Figure::LatencyP999Us, 0.999),
        ] {
            if let Some(latency) = quantile(&self.latency_us, share) {
                set(figure, latency as f64);
            }
        }
        set(Figure::LatencyMaxUs, self.slowest_us as f64);
        sample
    }
}

impl Outcome {
    fn remark(&self) -> String {
        match &*self.refused_by {
            "" => String::new(),
            forms => format!("refused by {forms}"),
        }
    }
}

/// The upper end of the bucket that this share of all units reached.
fn quantile(latency_us: &[(u64, u64)], share: f64) -> Option<u64> {
    let all: u64 = latency_us.iter().map(|(_, count)| count).sum();
    let wanted = (all as f64 * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    latency_us.iter().find_map(|(upper, count)| {
        seen += count;
        (seen >= wanted).then_some(*upper)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"units":4,"errors":1,"first_error":"closed","handshakes":2,"resumed":0,
        "seconds":2.0,"done":"TLSv1_3","client_cpu_us":40.0,"proxy_cpu_us":20.0,"slowest_us":90,
        "latency_us":[[10,2],[50,1],[90,1]]}"#;

    #[test]
    fn the_last_line_is_the_result() {
        let said = format!("{{\"held\":5}}\n{}\n", LINE.replace('\n', " "));
        let outcome: Outcome = parse(&said).unwrap();
        assert_eq!((outcome.units, outcome.slowest_us), (4, 90));
        assert!(parse::<Outcome>("").is_err());
        assert!(parse::<Outcome>("units=3").is_err());
    }

    #[test]
    fn the_form_of_a_refusal_is_a_remark() {
        let line = LINE.replace('\n', " ").replace("\"TLSv1_3\"", "\"refused\"");
        let mut outcome: Outcome = parse(&line).unwrap();
        assert_eq!(outcome.sample("nginx", 1).remark, "");
        outcome.refused_by = "alert 48".to_owned();
        assert_eq!(outcome.sample("nginx", 1).remark, "refused by alert 48");
    }

    #[test]
    fn a_sample_beside_a_flood_says_what_became_of_it() {
        let beside = |cut_off, not_accepted| {
            let line = format!(
                r#"{{"cut_off":{cut_off},"not_accepted":{not_accepted},"sent_bytes":4194304,"seconds":2.0}}"#
            );
            let mut sample = Sample::default();
            parse::<FloodOutcome>(&line).unwrap().add_to(&mut sample);
            sample
        };
        let cut_off = beside(3, 1);
        assert_eq!(cut_off.figures[&Figure::FloodMibPerSecond], 2.0);
        assert_eq!(cut_off.figures[&Figure::FloodEndsPerSecond], 2.0);
        assert_eq!(beside(0, 0).remark, "it let the flood go on");
        assert_eq!(beside(3, 0).remark, "it cut the flood off");
        assert_eq!(beside(0, 3).remark, "it did not accept the flood");
    }

    #[test]
    fn figures_are_of_a_unit() {
        let outcome: Outcome = parse(&LINE.replace('\n', " ")).unwrap();
        let sample = outcome.sample("nginx", 2);
        let figure = |figure| sample.figures.get(&figure).copied();
        assert_eq!(figure(Figure::CpuUsPerUnit), Some(5.0));
        assert_eq!(figure(Figure::ClientCpuUsPerUnit), Some(10.0));
        assert_eq!(figure(Figure::UnitsPerSecond), Some(2.0));
        assert_eq!(figure(Figure::LatencyMaxUs), Some(90.0));
        assert_eq!((sample.peer.as_str(), sample.round, sample.errors), ("nginx", 2, 1));
    }

    #[test]
    fn a_quantile_is_the_end_of_the_bucket_it_falls_in() {
        let latency = [(10, 90), (20, 9), (30, 1)];
        assert_eq!(quantile(&latency, 0.5), Some(10));
        assert_eq!(quantile(&latency, 0.9), Some(10));
        assert_eq!(quantile(&latency, 0.99), Some(20));
        assert_eq!(quantile(&latency, 0.999), Some(30));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
