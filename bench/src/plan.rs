//! What all loops of a run do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use rustls::{ClientConfig, pki_types::ServerName};

use crate::{
    arguments::{Arguments, Protocol, Work},
    body::Expected,
    pace::Units,
    tls,
};

/// The plan of a run, shared by all threads.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) work: Work,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    /// The number of connections of all threads.
    pub(crate) connections: usize,
    /// The number of streams on each connection.
    pub(crate) streams: usize,
    pub(crate) threads: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) tolerate: bool,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) expected: Expected,
    /// The number of units that ends a period before its time is over.
    pub(crate) max_units: u64,
    pub(crate) units: Arc<Units>,
    hosts: Vec<Host>,
    next_host: AtomicUsize,
}

/// A name that the server serves, and a request to it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: ServerName<'static>,
    pub(crate) http1: Requests,
    pub(crate) http2: Request<()>,
    /// One hello for all connections: the server cannot tell it from a new one, and it costs the
    /// client no key exchange.
    pub(crate) hello: Vec<u8>,
}

/// Requests that are made in turn; clones share the turn.
#[derive(Debug, Clone)]
pub(crate) struct Requests(Arc<(Vec<Bytes>, AtomicUsize)>);

impl Requests {
    fn new(requests: Vec<Bytes>) -> Self {
        Self(Arc::new((requests, AtomicUsize::new(0))))
    }

    /// The next in turn.
    pub(crate) fn next(&self) -> Bytes {
        let (requests, turn) = &*self.0;
        match requests.as_slice() {
            [one] => one.clone(),
            several => {
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                several.get(turn % several.len().max(1)).cloned().unwrap_or_default()
            }
        }
    }
}

impl Plan {
    /// Makes the plan from the command line.
    pub(crate) fn new(arguments: &Arguments) -> Result<Self> {
        let config = Arc::new(tls::client(arguments)?);
        let cookies = cookies(arguments)?;
        let bytes = (!arguments.any_body).then_some(arguments.body_bytes);
        let hosts =
            (0..arguments.names.max(1)).map(|number| host(arguments, &config, &cookies, number));
        Ok(Self {
            work: arguments.work,
            address: arguments.address,
            protocol: arguments.protocol,
            connections: arguments.connections.get(),
            streams: arguments.streams.get(),
            threads: arguments.threads.get(),
            rate: arguments.rate,
            tolerate: arguments.tolerate,
            hosts: hosts.collect::<Result<_>>()?,
            next_host: AtomicUsize::new(0),
            config,
            expected: Expected::new(bytes, arguments.body_sha256.as_deref())?,
            max_units: arguments.units,
            units: Arc::default(),
        })
    }

    /// The next host in turn.
    pub(crate) fn host(&self) -> Result<&Host> {
        let turn = self.next_host.fetch_add(1, Ordering::Relaxed);
        self.hosts.get(turn % self.hosts.len().max(1)).context("no host")
    }

    /// All hosts.
    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

/// The lines of header fields that requests have in turn.
fn cookies(arguments: &Arguments) -> Result<Vec<String>> {
    let Some(path) = &arguments.cookies else { return Ok(vec![String::new()]) };
    ensure!(arguments.protocol == Protocol::Http1, "cookies are for HTTP/1.1");
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let fields: Vec<_> = text.lines().map(|value| format!("Cookie: {value}\r\n")).collect();
    ensure!(!fields.is_empty(), "no cookie in {}", path.display());
    Ok(fields)
}

fn host(
    arguments: &Arguments,
    config: &Arc<ClientConfig>,
    cookies: &[String],
    number: usize,
) -> Result<Host> {
    let name = arguments.name.replace("{}", &number.to_string());
    let path = &arguments.path;
    let http1 = cookies
        .iter()
        .map(|cookie| Bytes::from(format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n{cookie}\r\n")));
    let http1 = Requests::new(http1.collect());
    let http2 = Request::get(format!("https://{name}{path}")).body(())?;
    let name = ServerName::try_from(name)?;
    let hello = tls::hello(config, &name)?;
    Ok(Host { name, http1, http2, hello })
}
