//! The command line.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use clap::{Parser, ValueEnum};

/// Puts load on a TLS server and prints the result as a line of JSON.
///
/// Keys of the result: `units` that succeeded, `errors` and the `first_error`, `handshakes` and the
/// number of `resumed` ones, `seconds`, `done` (what was done for a unit, equal for all servers
/// that did the same), `refused_by` (how servers refused that may do so in several ways), the total `client_cpu_us` and `proxy_cpu_us`, `slowest_us`, and `latency_us`
/// as pairs of an upper bound and a count.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The unit of work.
    #[arg(value_enum)]
    pub(crate) work: Work,
    /// The address of the server.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The server name that is sent and verified; in it, `{}` stands for a number.
    #[arg(long)]
    pub(crate) name: String,
    /// The count of numbers for `{}`, from 0. Connections use the names in turn.
    #[arg(long, default_value_t = 1)]
    pub(crate) names: usize,
    /// The path of each request.
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
    /// Accepts bodies that differ in content and length; each must be complete.
    #[arg(long, conflicts_with_all = ["body_bytes", "body_sha256"])]
    pub(crate) any_body: bool,
    /// Roots for the server's certificate, PEM.
    #[arg(long)]
    pub(crate) ca: PathBuf,
    /// The client certificate, PEM.
    #[arg(long)]
    pub(crate) cert: PathBuf,
    /// The key of the client certificate, PEM.
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// A directory of client certificates, each `NAME.pem` with its key in `NAME-key.pem`:
    /// handshakes present them in turn, instead of `--cert`.
    #[arg(long, value_name = "DIR")]
    pub(crate) client_certificates: Option<PathBuf>,
    /// Presents this number of self-made certificates in turn, instead of `--cert`. No CA that a server
    /// knows has issued them.
    #[arg(long, value_name = "COUNT", conflicts_with = "client_certificates")]
    pub(crate) unknown_certificates: Option<NonZeroUsize>,
    /// Puts this number of CA certificates of one name behind each of them: a server that searches for a
    /// path by names alone has a factorial of that number to try.
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "unknown_certificates")]
    pub(crate) namesakes: usize,
    /// The protocol, by its ALPN name.
    #[arg(long, value_enum, default_value = "http/1.1")]
    pub(crate) protocol: Protocol,
    /// Concurrent requests on each connection, over HTTP/2.
    #[arg(long, default_value = "1")]
    pub(crate) streams: NonZeroUsize,
    /// The TLS version.
    #[arg(long, value_enum, default_value = "1.3")]
    pub(crate) tls: TlsVersion,
    /// Concurrent connections.
    #[arg(long, default_value = "50")]
    pub(crate) connections: NonZeroUsize,
    /// Threads that share the connections.
    #[arg(long, default_value = "1")]
    pub(crate) threads: NonZeroUsize,
    /// The processors to run on.
    #[arg(long, value_delimiter = ',')]
    pub(crate) cpu: Vec<usize>,
    /// The duration in seconds.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Ends the run earlier, after this number of units.
    #[arg(long, default_value_t = u64::MAX)]
    pub(crate) units: u64,
    /// Open loop: this number of units falls due each second, over all threads, whether or not
    /// earlier units are done. The latency counts from the moment a unit was due. Without it, each
    /// loop begins its next unit when the last one is done.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Counts failed units and reconnects; without it, the first failure ends the run.
    #[arg(long)]
    pub(crate) tolerate: bool,
    /// Warm-up in seconds: connections, pools and caches fill before the count begins.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub(crate) warm_up_seconds: f64,
    /// The address at which the upstream's end of a tunnel listens.
    #[arg(long, required_if_eq("work", "tunnel"))]
    pub(crate) tunnel: Option<SocketAddr>,
    /// Processes whose CPU time is counted, with their descendants.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
}

/// The unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// A request on a connection that stays open.
    KeepAlive,
    /// A connection with a full handshake, and one request.
    FullHandshake,
    /// A connection with a resumed handshake, and one request.
    ResumedHandshake,
    /// A connection that the server rejects because of its server name.
    Refused,
    /// A connection, with a request, whose client certificate the server refuses: by an alert, by
    /// closing the connection, or by a status of 400 or above.
    RefusedClient,
    /// An idle connection: opens all connections and makes a request on each, prints `{"held":N}`,
    /// waits for the end of standard input, and makes another request on each.
    Hold,
    /// A connection that is dropped after the server's first answer to the hello.
    Flood,
    /// One upgraded connection at full speed in both directions, to an upstream of this process.
    Tunnel,
    /// Connections, one after another, that send HTTP/2 PING frames at full speed: prints
    /// `{"flood":"begun"}`, `{"flood":"cut off"}` when the server ends one for the first time, and at the
    /// end of standard input what became of them.
    FrameFlood,
}

/// The protocol over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    #[value(name = "http/1.1")]
    Http1,
    /// HTTP/2.
    #[value(name = "h2")]
    Http2,
}

/// The TLS version that the client offers; the client accepts no other.
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

/// A duration of at most a day.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number from 0 to 86400".to_owned()),
    }
}
