//! Puts a closed loop of load on a TLS server and counts what came back, and what that cost the
//! server.
#![expect(clippy::print_stdout, reason = "the result goes to standard output")]

mod cpu;
mod load;
mod tls;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use rustls::pki_types::ServerName;

/// Puts a closed loop of load on a TLS server.
#[derive(Debug, Parser)]
struct Arguments {
    /// What a unit of work is.
    #[arg(value_enum)]
    work: Work,
    /// The server.
    #[arg(long)]
    address: SocketAddr,
    /// The name asked for and verified; in it, `{}` stands for a number.
    #[arg(long)]
    name: String,
    /// How many numbers there are for `{}`, from 0. Connections take the names in turn.
    #[arg(long, default_value_t = 1)]
    names: usize,
    /// What is asked for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Length of the body that every response must have, in bytes.
    #[arg(long, default_value_t = 0)]
    body_bytes: usize,
    /// Roots of the server's certificate, PEM.
    #[arg(long)]
    ca: PathBuf,
    /// Our certificate, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Loops side by side.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Ends sooner, after so many units.
    #[arg(long, default_value_t = u64::MAX)]
    units: u64,
    /// Connections, pools and caches become as they will be for so long before it counts, in
    /// seconds.
    #[arg(long, default_value_t = 1)]
    warm_up_seconds: u64,
    /// Processes whose CPU time is counted, with their children.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
}

/// What a unit of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    /// A request on a connection that stays.
    KeepAlive,
    /// A connection with a full handshake, and one request.
    FullHandshake,
    /// A connection with a resumed handshake, and one request.
    ResumedHandshake,
    /// A connection that is refused for the name it asks for.
    Refused,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let plan = load::Plan {
        work: arguments.work,
        address: arguments.address,
        hosts: hosts(&arguments)?,
        next_host: AtomicUsize::new(0),
        max_units: arguments.units,
        units: AtomicU64::new(0),
        body_bytes: arguments.body_bytes,
        config: tls::client(&arguments.ca, &arguments.cert, &arguments.key, arguments.work)?,
    };
    plan.run(arguments.connections, Duration::from_secs(arguments.warm_up_seconds))?;
    plan.units.store(0, Ordering::Relaxed);
    let before = cpu::used_by(&arguments.pid)?;
    let begun = Instant::now();
    let done = plan.run(arguments.connections, Duration::from_secs(arguments.seconds))?;
    let took = begun.elapsed();
    let used = cpu::used_by(&arguments.pid)? - before;
    print!(
        "{:?} units={} resumed={} per_s={:.0}",
        arguments.work,
        done.units,
        done.resumed,
        done.units as f64 / took.as_secs_f64(),
    );
    if !arguments.pid.is_empty() {
        print!(" cpu_us_per_unit={:.2}", used.as_secs_f64() * 1e6 / done.units as f64);
    }
    println!();
    Ok(())
}

fn hosts(arguments: &Arguments) -> anyhow::Result<Vec<load::Host>> {
    let host = |number: usize| {
        let name = arguments.name.replace("{}", &number.to_string());
        let request = format!("GET {} HTTP/1.1\r\nHost: {name}\r\n\r\n", arguments.path);
        Ok(load::Host { name: ServerName::try_from(name)?, request })
    };
    (0..arguments.names.max(1)).map(host).collect()
}
