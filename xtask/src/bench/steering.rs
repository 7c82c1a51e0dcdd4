//! The gain and the cost of steering: the same connections in each mode, in one run.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::{namespace::always_send_syn_cookies, prometheus::sum};
use crate::{
    admin,
    command::{command, root, shown, target},
    rig::{Rig, ZONE, build_load_generator},
};

const MODES: [&str; 3] = ["none", "handoff", "kernel"];

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
    /// Rounds; in each, the modes run one after another.
    #[arg(long, default_value_t = 3)]
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
    /// The CPU time of the proxy, in microseconds.
    cpu_us: f64,
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
    let _cookies = always_send_syn_cookies()?;
    let _statistics = ProgramStatistics::switch_on()?;
    let mut rounds: Vec<Vec<Measured>> = MODES.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (mode, measured) in MODES.iter().zip(&mut rounds) {
            println!("* Round {round} of {}: {mode}", options.rounds);
            rig.move_edge()?;
            measured.push(measure(options, &rig, &generator, &proxy, mode)?);
        }
    }
    print(options, &rounds);
    Ok(())
}

fn build_proxy() -> Result<std::path::PathBuf> {
    let mut build = crate::command::cargo("build --release --package portcullis");
    crate::command::run(&mut build)?;
    Ok(target().join("release/portcullis"))
}

fn measure(
    options: &Options,
    rig: &Rig,
    generator: &Path,
    proxy: &Path,
    mode: &str,
) -> Result<Measured> {
    let hosts: Vec<_> = (0..options.names).map(|name| format!("host-{name}.{ZONE}")).collect();
    let own =
        format!(", workers: {}, steering: {{mode: {mode}, unknown_sni: refuse}}", options.workers);
    let running = rig.start_proxy(proxy, &rig.config_yaml(&hosts, &own))?;
    let pid = running.id().to_string();
    let seconds = options.seconds.to_string();
    let connections = options.connections.to_string();

    let mut load = rig.load(generator, "full-handshake", &format!("host-{{}}.{ZONE}"));
    load.args(["--names", &options.names.to_string(), "--path", "/1k", "--body-bytes", "1024"]);
    load.args(["--connections", &connections, "--pid", &pid, "--warm-up-seconds", "0"]);
    load.args(["--seconds", "3600", "--units", &options.load.to_string()]);
    let loaded = output(&mut load)?;
    let metrics = admin::get(rig.admin.port(), "/metrics")?;
    let program_ns = program_ns();

    let mut refused = rig.load(generator, "refused", &format!("unknown.{ZONE}"));
    refused.args(["--connections", &connections, "--seconds", &seconds, "--pid", &pid]);
    let refused = output(&mut refused)?;
    running.stop()?;

    let fresh = sum(&metrics, "portcullis_upstream_requests_total", "connection=\"fresh\"");
    let all = sum(&metrics, "portcullis_upstream_requests_total", "");
    ensure!(all > 0.0, "no request has reached the upstream");
    Ok(Measured {
        cpu_us: cpu_us_per_unit(&loaded)?,
        upstream_connections: sum(&metrics, "portcullis_upstream_connects_total", ""),
        upstream_handshakes: sum(&metrics, "portcullis_upstream_tls_handshakes_total", ""),
        reused: 1.0 - fresh / all,
        refusal_cpu_us: cpu_us_per_unit(&refused)?,
        program_ns,
    })
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

/// Sets `kernel.bpf_stats_enabled` while this lives: the kernel then times every program.
struct ProgramStatistics(String);

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl ProgramStatistics {
    fn switch_on() -> Result<Self> {
        let before = fs::read_to_string(STATISTICS).context(STATISTICS)?;
        fs::write(STATISTICS, "1").context(STATISTICS)?;
        Ok(Self(before))
    }
}

impl Drop for ProgramStatistics {
    fn drop(&mut self) {
        let _ = fs::write(STATISTICS, &self.0);
    }
}

/// Nanoseconds of one run of `steer`, averaged over all loaded programs.
fn program_ns() -> Option<f64> {
    let output =
        command("bpftool").args(["--json", "prog", "show", "name", "steer"]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (time, runs) = (numbers(&said, "\"run_time_ns\":"), numbers(&said, "\"run_cnt\":"));
    (runs > 0.0).then(|| time / runs)
}

fn numbers(json: &str, key: &str) -> f64 {
    let after = json.split(key).skip(1);
    after
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<f64>().ok())
        .sum()
}

fn print(options: &Options, rounds: &[Vec<Measured>]) {
    println!(
        "\n{} workers, {} names, {} client connections, {} at a time; medians of {} rounds\n",
        options.workers, options.names, options.load, options.connections, options.rounds
    );
    println!(
        "| mode | upstream connections | upstream handshakes | reused \
         | CPU us per connection | CPU us per refusal | program ns per run |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (mode, measured) in MODES.iter().zip(rounds) {
        let median = |of: fn(&Measured) -> f64| median(measured.iter().map(of).collect());
        let program = median(|one| one.program_ns.unwrap_or(0.0));
        println!(
            "| {mode} | {:.0} | {:.0} | {:.2} % | {:.0} | {:.2} | {program:.0} |",
            median(|one| one.upstream_connections),
            median(|one| one.upstream_handshakes),
            100.0 * median(|one| one.reused),
            median(|one| one.cpu_us),
            median(|one| one.refusal_cpu_us),
        );
    }
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

    #[test]
    fn times_of_all_instances_are_added_up() {
        let json = r#"[{"run_time_ns":500,"run_cnt":2},{"run_time_ns":100,"run_cnt":1}]"#;
        assert_eq!(numbers(json, "\"run_time_ns\":"), 600.0);
        assert_eq!(numbers(json, "\"absent\":"), 0.0);
    }
}
