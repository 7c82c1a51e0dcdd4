//! What a configuration makes of a request, without a running process: its connection, then the
//! request. Compiles the configuration as a start does, and opens no socket.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use http::{Uri, request::Parts, uri::Scheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::Serialize;

use super::{identity, worker_cores};
use crate::{
    config::Config,
    http::{
        ExplainedVerdict, HypotheticalRequest, Peer, PeerCertificate, PeerTls, RequestExplanation,
        explain as explain_request,
    },
    identity::jose,
    observe::{Metrics, TlsVersion},
    policy::Identity,
    snapshot::Compiler,
    tls::{
        CertificateDemand, ChainError, ConnectionContext, HandshakeCertificate, ServerTls,
        TicketKeys,
    },
    upstream::DnsNames,
    worker::Snapshot,
};

/// A request of a client that does not exist.
#[derive(Debug)]
pub(crate) struct Visit {
    /// With scheme and host; the server name of the connection is the host.
    pub url: Uri,
    /// The head, in origin-form with a Host.
    pub parts: Parts,
    /// The client's address.
    pub source: IpAddr,
    /// What the client presents if it is asked for it, leaf first.
    pub certificate: Vec<CertificateDer<'static>>,
    /// The user who is signed in.
    pub user: Option<Identity>,
    /// The server name of the connection, if it was opened for another host.
    pub server_name: Option<String>,
}

/// What happens to a request, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// How the client connects.
    pub connection: ExplainedConnection,
    /// What happens to the request; `None` if it is never read.
    pub request: Option<RequestExplanation>,
    /// What comes of the request, or of the connection.
    pub verdict: ExplainedVerdict,
}

/// What a handshake asks of a client, and makes of its certificate.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ExplainedConnection {
    /// Whether it is TLS.
    pub tls: bool,
    /// Sent by the client; `None` for an address.
    pub server_name: Option<String>,
    /// The certificate that the client is asked for; `None` if for none.
    pub asked: Option<CertificateDemand>,
    /// What becomes of the client's certificate, in words; `None` if it has none.
    pub certificate: Option<String>,
    /// Its subject (RFC 4514).
    pub subject: Option<String>,
}

/// Says what a configuration makes of a request.
///
/// Fails if the configuration cannot be compiled, or serves no such URL at all.
pub(crate) fn explain(config: &mut Config, visit: Visit) -> anyhow::Result<Explanation> {
    jose::install();
    let redirects = config.listen.redirect_address.is_some();
    let snapshot = compile(config)?;
    let is_https = visit.url.scheme() == Some(&Scheme::HTTPS);
    let mut connection = ExplainedConnection { tls: is_https, ..Default::default() };
    let tls = match (&snapshot.front.tls, is_https) {
        (Some(server), true) => match connection.handshake(&snapshot, server, &visit) {
            Ok(tls) => Some(tls),
            Err(reason) => return Ok(Explanation::without_request(connection, reason)),
        },
        (None, false) => None,
        (Some(_), false) if redirects => return Ok(Explanation::to_https(connection, &visit.url)),
        (Some(_), false) => bail!("this configuration serves TLS alone: use an https URL"),
        (None, true) => {
            bail!("this configuration serves without TLS (insecure_server): use an http URL")
        }
    };
    let Visit { parts, source, user, .. } = visit;
    let peer = Peer::new(SocketAddr::new(source, 0), tls);
    let request = HypotheticalRequest { peer, parts, user, now: UnixTime::now() };
    let request = explain_request(&snapshot.site, request);
    Ok(Explanation { connection, verdict: request.verdict.clone(), request: Some(request) })
}

fn compile(config: &mut Config) -> anyhow::Result<Snapshot> {
    let workers = worker_cores(config.workers)?.len();
    let metrics = Arc::new(Metrics::new(workers));
    let names = Arc::new(DnsNames::new(config.dns));
    let tickets = TicketKeys::generate().context("the system's random generator failed")?;
    let secret = identity::random_secret()?;
    let mut compiler = Compiler::new(metrics, names, Arc::new(tickets), secret, workers);
    let (snapshot, _parts) = compiler.compile(config)?;
    Ok(snapshot)
}

impl ExplainedConnection {
    /// Does what the handshake would; the error says why it fails.
    fn handshake(
        &mut self,
        snapshot: &Snapshot,
        server: &ServerTls,
        visit: &Visit,
    ) -> Result<PeerTls, String> {
        let host = visit.server_name.as_deref().or_else(|| visit.url.host());
        let context = ConnectionContext::new(host.map(|host| host.trim_matches(['[', ']'])));
        let name = context.server_name();
        self.server_name = name.map(str::to_owned);
        let steering = &snapshot.front.steering;
        if let Some(name) = name.filter(|_| steering.refuse_unknown)
            && steering.names.find(name.as_bytes()).is_none()
        {
            return Err("the server name matches no route, and unknown names are refused \
                (portcullis.steering.unknown_sni)"
                .to_owned());
        }
        self.asked = server.demand(name);
        let (certificate, ignored_certificate) = self.present(server, name, &visit.certificate)?;
        Ok(PeerTls {
            version: TlsVersion::Tls13,
            server_name: name.map(Into::into),
            certificate_asked: server.client_auth().asks(name),
            certificate,
            ignored_certificate,
        })
    }

    /// What becomes of the client's chain: the certificate, if requests see it, or why it counts as
    /// none.
    fn present(
        &mut self,
        server: &ServerTls,
        name: Option<&str>,
        chain: &[CertificateDer<'static>],
    ) -> Result<PresentedCertificate, String> {
        let is_required = match &self.asked {
            Some(CertificateDemand { required, .. }) => *required,
            None if chain.is_empty() => return Ok((None, None)),
            None => {
                self.certificate = Some("not sent: the client is not asked for one".to_owned());
                return Ok((None, None));
            }
        };
        let Some(certificate) = PeerCertificate::presented(chain, name) else {
            return match is_required {
                false => Ok((None, None)),
                true => Err("the handshake fails: a client certificate is required \
                    (downstream_mtls.enforcement: reject_connection)"
                    .to_owned()),
            };
        };
        self.subject = certificate.summary().map(|summary| summary.subject.clone());
        match server.present(name, chain, UnixTime::now()) {
            HandshakeCertificate::Presented => {
                self.certificate = Some("sent".to_owned());
                Ok((Some(certificate), None))
            }
            HandshakeCertificate::Ignored(error) => {
                self.certificate = Some(format!("sent, and counts as none: {error}"));
                Ok((None, Some(Box::new(error))))
            }
            HandshakeCertificate::Rejected(reason) => {
                self.certificate = Some("rejected".to_owned());
                Err(format!("the handshake fails: {reason}"))
            }
        }
    }
}

/// The certificate that requests see, or why the one that was sent counts as none.
type PresentedCertificate = (Option<Rc<PeerCertificate>>, Option<Box<ChainError>>);

impl Explanation {
    fn without_request(connection: ExplainedConnection, summary: String) -> Explanation {
        let verdict = ExplainedVerdict { summary, ..Default::default() };
        Explanation { connection, request: None, verdict }
    }

    fn to_https(connection: ExplainedConnection, url: &Uri) -> Explanation {
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let verdict = ExplainedVerdict {
            served: true,
            status: Some(301),
            summary: "the listener at http_redirect_addr redirects to HTTPS".to_owned(),
            location: Some(format!("https://{}{target}", url.host().unwrap_or_default())),
            ..Default::default()
        };
        Explanation { connection, request: None, verdict }
    }
}
