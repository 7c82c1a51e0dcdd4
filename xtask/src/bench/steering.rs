//! The gain and the cost of steering: the same connections in each mode, in one run.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::{
    cable::{self, Cable},
    namespace::set_syncookies,
    processes::{CoreTime, TICKS_PER_SECOND, core_times},
    program_statistics::{ProgramStatistics, program_ns},
    prometheus::sum,
    suite::turns,
};
use crate::{
    admin,
    command::{root, shown, target},
    rig::{Rig, ZONE, build_load_generator},
};

/// A way of steering, with the sysctl that it is meant for.
struct Mode {
    title: &'static str,
    /// `portcullis.steering.mode`.
    mode: &'static str,
    /// `net.ipv4.tcp_syncookies`: 1 is the default.
    syncookies: &'static str,
}

const MODES: [Mode; 4] = [
    Mode { title: "none", mode: "none", syncookies: "1" },
    Mode { title: "handoff", mode: "handoff", syncookies: "1" },
    Mode { title: "kernel, by the catcher", mode: "kernel", syncookies: "1" },
    Mode { title: "kernel, by the sysctl", mode: "kernel", syncookies: "2" },
];
/// The number of modes that need no program in the kernel.
const IN_USER_SPACE: usize = 2;

/// The size of the measurement.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Worker threads.
    #[arg(long, default_value_t = 16)]
    workers: u32,
    /// Names, each a route with upstream connections of its own.
    #[arg(long, default_value_t = 64)]
    names: u32,
    /// Client connections in each mode and round.
    #[arg(long, default_value_t = 10_000)]
    load: u32,
    /// Seconds of rejected connections in each mode and round.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Rounds; in each, the modes run one after another, each round begun by another one.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Concurrent client connections.
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// The proxy to measure, instead of a release build of this tree.
    #[arg(long)]
    proxy: Option<std::path::PathBuf>,
}

/// One mode in one round.
struct Measured {
    /// The CPU time of the proxy for a connection, in microseconds.
    cpu_us: f64,
    /// The time of all cores in interrupts and what they postpone, for a connection: most of what
    /// TCP does with received packets, of clients, proxy and upstream.
    interrupts_us: f64,
    /// The time of all cores for a connection: of clients, proxy, upstream and kernel.
    all_us: f64,
    /// The share of connections that a worker handed to another one.
    handed_over: f64,
    upstream_connections: f64,
    upstream_handshakes: f64,
    reused: f64,
    refusal_cpu_us: f64,
    /// The time of the kernel program, if it runs.
    program_ns: Option<f64>,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let generator = build_load_generator()?;
    let proxy = match &options.proxy {
        Some(proxy) => root().join(proxy),
        None => build_proxy()?,
    };
    let directory = target().join("bench");
    fs::create_dir_all(&directory)?;
    let mut rig = Rig::prepare(&directory)?;
    let _upstream = rig.start_upstream()?;
    let cable = Cable::plug(&directory)?;
    let _statistics = ProgramStatistics::switch_on()?;
    let mut rounds: [Vec<Measured>; MODES.len()] = Default::default();
    for (round, number) in turns(&[0, 1, 2, 3], options.rounds) {
        let (Some(mode), Some(measured)) = (MODES.get(*number), rounds.get_mut(*number)) else {
            continue;
        };
        println!("* Round {round} of {}: {}", options.rounds, mode.title);
        rig.move_edge(cable::HERE)?;
        let bench = Bench { options, rig: &rig, cable: &cable, generator: &generator };
        measured.push(bench.measure(&proxy, mode)?);
    }
    print(options, &rounds);
    Ok(())
}

fn build_proxy() -> Result<std::path::PathBuf> {
    let mut build = crate::command::cargo("build --release --package portcullis");
    crate::command::run(&mut build)?;
    Ok(target().join("release/portcullis"))
}

/// What all measurements have in common.
struct Bench<'b> {
    options: &'b Options,
    rig: &'b Rig,
    cable: &'b Cable,
    generator: &'b Path,
}

impl Bench<'_> {
    fn measure(&self, proxy: &Path, mode: &Mode) -> Result<Measured> {
        let Options { workers, names, load, seconds, .. } = self.options;
        let _cookies = set_syncookies(mode.syncookies)?;
        let hosts: Vec<_> = (0..*names).map(|name| format!("host-{name}.{ZONE}")).collect();
        let steering = format!("{{mode: {}, unknown_sni: refuse}}", mode.mode);
        let own = format!(", workers: {workers}, steering: {steering}");
        let running = self.rig.start_proxy(proxy, &self.rig.config_yaml(&hosts, &own))?;
        let pid = running.id().to_string();

        let before = core_times();
        let units = load.to_string();
        let loaded = self.load(
            "full-handshake",
            &format!("host-{{}}.{ZONE}"),
            &pid,
            &[
                ["--names", &names.to_string()],
                ["--path", "/1k"],
                ["--body-bytes", "1024"],
                ["--warm-up-seconds", "0"],
                ["--seconds", "3600"],
                ["--units", &units],
            ],
        )?;
        let cores = CoreUse::between(&before, &core_times());
        let metrics = admin::get(self.rig.admin.port(), "/metrics")?;
        let program_ns = program_ns();

        let seconds = seconds.to_string();
        let refused =
            self.load("refused", &format!("unknown.{ZONE}"), &pid, &[["--seconds", &seconds]])?;
        running.stop()?;

        let fresh = sum(&metrics, "portcullis_upstream_requests_total", "connection=\"fresh\"");
        let all = sum(&metrics, "portcullis_upstream_requests_total", "");
        let handed = sum(&metrics, "portcullis_steering_connections_total", "\"handed_off\"");
        ensure!(all > 0.0, "no request has reached the upstream");
        let connections = f64::from(*load);
        Ok(Measured {
            cpu_us: cpu_us_per_unit(&loaded)?,
            interrupts_us: cores.interrupts_us / connections,
            all_us: cores.busy_us / connections,
            handed_over: handed / connections,
            upstream_connections: sum(&metrics, "portcullis_upstream_connects_total", ""),
            upstream_handshakes: sum(&metrics, "portcullis_upstream_tls_handshakes_total", ""),
            reused: 1.0 - fresh / all,
            refusal_cpu_us: cpu_us_per_unit(&refused)?,
            program_ns,
        })
    }

    /// Runs the load generator at the other end of the cable, and returns its output.
    fn load(&self, work: &str, name: &str, pid: &str, more: &[[&str; 2]]) -> Result<String> {
        let mut load = self.rig.load(self.generator, work, name);
        load.args(["--connections", &self.options.connections.to_string(), "--pid", pid]);
        load.args(more.iter().flatten());
        output(&mut self.cable.there(&load)?)
    }
}

/// The time of all cores between two moments.
struct CoreUse {
    busy_us: f64,
    interrupts_us: f64,
}

impl CoreUse {
    fn between(before: &BTreeMap<u32, CoreTime>, after: &BTreeMap<u32, CoreTime>) -> Self {
        let of = |ticks: fn(&CoreTime) -> u64| {
            let sum = |times: &BTreeMap<u32, CoreTime>| times.values().map(ticks).sum::<u64>();
            sum(after).saturating_sub(sum(before)) as f64 * 1e6 / TICKS_PER_SECOND as f64
        };
        Self { busy_us: of(|time| time.busy), interrupts_us: of(|time| time.interrupts) }
    }
}

fn output(load: &mut std::process::Command) -> Result<String> {
    let output = load.output().with_context(|| format!("cannot run {}", shown(load)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {said}", shown(load));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn cpu_us_per_unit(said: &str) -> Result<f64> {
    let result: serde_json::Value = serde_json::from_str(said.trim())
        .with_context(|| format!("not the load generator's result: {said}"))?;
    let number = |name| result[name].as_f64().with_context(|| format!("no {name} in: {said}"));
    let units = number("units")?;
    ensure!(units > 0.0, "no unit has succeeded");
    Ok(number("proxy_cpu_us")? / units)
}

fn print(options: &Options, rounds: &[Vec<Measured>; MODES.len()]) {
    println!(
        "\n{} workers, {} names, {} client connections, {} at a time; medians of {} rounds\n",
        options.workers, options.names, options.load, options.connections, options.rounds
    );
    println!(
        "| mode | tcp_syncookies | upstream connections | upstream handshakes | reused \
         | handed over | CPU us per connection | interrupts | all cores | of the cheaper \
         | CPU us per refusal | program ns per run |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (mode, measured) in MODES.iter().zip(rounds) {
        let median = |of: fn(&Measured) -> f64| median(measured.iter().map(of).collect());
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.2} % | {:.1} % | {:.0} | {:.0} | {:.0} | {} | {:.2} \
             | {:.0} |",
            mode.title,
            mode.syncookies,
            median(|one| one.upstream_connections),
            median(|one| one.upstream_handshakes),
            100.0 * median(|one| one.reused),
            100.0 * median(|one| one.handed_over),
            median(|one| one.cpu_us),
            median(|one| one.interrupts_us),
            median(|one| one.all_us),
            ratio(measured, rounds),
            median(|one| one.refusal_cpu_us),
            median(|one| one.program_ns.unwrap_or(0.0)),
        );
    }
}

/// The time of all cores in this mode, as a ratio to that of the cheaper mode in user space in the
/// same round: the median and the extremes.
fn ratio(measured: &[Measured], rounds: &[Vec<Measured>; MODES.len()]) -> String {
    let cheaper = |round: usize| {
        let others = rounds.iter().take(IN_USER_SPACE).filter_map(|mode| mode.get(round));
        others.map(|one| one.all_us).fold(f64::INFINITY, f64::min)
    };
    let ratios: Vec<_> = (0..).zip(measured).map(|(r, one)| one.all_us / cheaper(r)).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2}-{most:.2})", median(ratios))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_cpu_time_is_read_from_the_generators_output() {
        let said = "{\"units\":4,\"proxy_cpu_us\":50.0}\n";
        assert_eq!(cpu_us_per_unit(said).unwrap(), 12.5);
        assert!(cpu_us_per_unit("{\"units\":0,\"proxy_cpu_us\":50.0}").is_err());
        assert!(cpu_us_per_unit("{\"units\":4,\"proxy_cpu_us\":null}").is_err());
    }
}
