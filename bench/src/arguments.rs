//! The command line.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use clap::{Parser, ValueEnum};

/// Puts load on a TLS server and prints the result as a line of JSON.
///
/// Keys of the result: `units` that succeeded, `errors` and the `first_error`, `handshakes` and how
/// many of them were `resumed`, `seconds`, `done` (what was done for a unit, the same for all
/// servers that did the same), `client_cpu_us` and `proxy_cpu_us` in all, `slowest_us`, and
/// `latency_us` as pairs of an upper bound and a count.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// What a unit of work is.
    #[arg(value_enum)]
    pub(crate) work: Work,
    /// The server.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The name asked for and verified; in it, `{}` stands for a number.
    #[arg(long)]
    pub(crate) name: String,
    /// How many numbers there are for `{}`, from 0. Connections take the names in turn.
    #[arg(long, default_value_t = 1)]
    pub(crate) names: usize,
    /// What is asked for.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// A file with values of the `Cookie` header, one a line: requests have them in turn, over all
    /// connections. For HTTP/1.1.
    #[arg(long)]
    pub(crate) cookies: Option<PathBuf>,
    /// Length of the body that every response must have, in bytes.
    #[arg(long, default_value_t = 0)]
    pub(crate) body_bytes: usize,
    /// SHA-256 of the body that every response must have, in hexadecimal.
    #[arg(long)]
    pub(crate) body_sha256: Option<String>,
    /// Bodies may differ from one another, in length too; they must be complete.
    #[arg(long, conflicts_with_all = ["body_bytes", "body_sha256"])]
    pub(crate) any_body: bool,
    /// Roots of the server's certificate, PEM.
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// Our certificate, PEM.
    #[arg(long)]
    pub(crate) cert: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// The certificates in this directory, each `NAME.pem` with its key in `NAME-key.pem`, in place
    /// of `--cert`: handshakes show them in turn.
    #[arg(long, value_name = "DIR")]
    pub(crate) client_certificates: Option<PathBuf>,
    /// The protocol, by its ALPN name.
    #[arg(long, value_enum, default_value = "http/1.1")]
    pub(crate) protocol: Protocol,
    /// Requests at a time on each connection, over HTTP/2.
    #[arg(long, default_value = "1")]
    pub(crate) streams: NonZeroUsize,
    /// The version of TLS.
    #[arg(long, value_enum, default_value = "1.3")]
    pub(crate) tls: TlsVersion,
    /// Connections at a time.
    #[arg(long, default_value = "50")]
    pub(crate) connections: NonZeroUsize,
    /// Threads that share the connections.
    #[arg(long, default_value = "1")]
    pub(crate) threads: NonZeroUsize,
    /// Processors to stay on.
    #[arg(long, value_delimiter = ',')]
    pub(crate) cpu: Vec<usize>,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Ends sooner, after so many units.
    #[arg(long, default_value_t = u64::MAX)]
    pub(crate) units: u64,
    /// Open loop: so many units a second fall due in all, whether or not earlier ones are done, and
    /// latencies count from the moment a unit was due. Otherwise each loop begins its next unit
    /// when it is done with one.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Counts a unit that failed, and connects anew; otherwise the first failure ends the run.
    #[arg(long)]
    pub(crate) tolerate: bool,
    /// Connections, pools and caches become as they will be for so long before it counts, in
    /// seconds.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub(crate) warm_up_seconds: f64,
    /// Where the upstream's end of a tunnel listens.
    #[arg(long, required_if_eq("work", "tunnel"))]
    pub(crate) tunnel: Option<SocketAddr>,
    /// Processes whose CPU time is counted, with their descendants.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
}

/// What a unit of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// A request on a connection that stays.
    KeepAlive,
    /// A connection with a full handshake, and one request.
    FullHandshake,
    /// A connection with a resumed handshake, and one request.
    ResumedHandshake,
    /// A connection that is refused for the name it asks for.
    Refused,
    /// A connection that has been idle: opens all and makes a request on each, prints
    /// `{"held":N}`, waits for the end of standard input, and makes another on each.
    Hold,
    /// A connection that is dropped after the first answer to its hello, whatever it is.
    Flood,
    /// One upgraded connection at full speed in both directions, to an upstream of this process.
    Tunnel,
}

/// What is spoken over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    #[value(name = "http/1.1")]
    Http1,
    /// HTTP/2.
    #[value(name = "h2")]
    Http2,
}

/// What is offered; no other is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsVersion {
    /// TLS 1.2.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("not a number above 0".to_owned()),
    }
}

/// Up to a day, so that it is a time.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number from 0 to 86400".to_owned()),
    }
}
