//! One HTTP/1.1 request to the provider, on the control thread.
//!
//! Each request has a connection of its own: there are few of them, and a connection that nobody
//! keeps cannot break between two sign-ins. Redirects are not followed: metadata that names an inside
//! address by way of a redirect reaches nothing.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use hyper::{
    body::Incoming,
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::url::ProviderUrl;
use crate::{
    identity::calls::ProviderFailure,
    tls::{TrustAnchors, UpstreamTls, UpstreamTlsSpec},
    upstream::{DnsNames, connect_first, tls_failure_text, with_causes},
};

/// The largest body in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;
/// The largest head in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// DNS, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the begin of the look-up to the last byte of the body.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A provider has a few hosts; their TLS settings hold sessions for resumption.
const MOST_HOSTS: usize = 16;

/// Calls one provider.
pub(super) struct HttpClient {
    names: Arc<DnsNames>,
    anchors: Option<Arc<TrustAnchors>>,
    /// By host.
    tls: RefCell<HashMap<Box<str>, UpstreamTls>>,
}

/// What is asked.
pub(super) struct HttpCall<'a> {
    pub(super) url: &'a ProviderUrl,
    pub(super) authorization: Option<HeaderValue>,
    /// A POST if there is one, else a GET.
    pub(super) form: Option<String>,
}

/// What was answered, whatever its status but a redirect, a 429 or a 5xx.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    /// `max-age` of `Cache-Control`; 0 with `no-store` or `no-cache`.
    pub(super) max_age: Option<Duration>,
    pub(super) body: Bytes,
}

impl HttpClient {
    /// Verifies certificates by these roots.
    pub(super) fn new(names: Arc<DnsNames>, anchors: Option<Arc<TrustAnchors>>) -> HttpClient {
        HttpClient { names, anchors, tls: RefCell::default() }
    }

    /// Makes one request. Needs a `LocalSet` of a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// `Away` if the provider is not reached, is too slow or fails; `Invalid` if it answers with a
    /// redirect, or with something that is too large or encoded.
    pub(super) async fn call(&self, call: HttpCall<'_>) -> Result<HttpAnswer, ProviderFailure> {
        let host = call.url.host.clone();
        let deadline = Instant::now() + TOTAL_TIMEOUT;
        let slow =
            || ProviderFailure::Away(format!("{host} did not answer within {TOTAL_TIMEOUT:?}"));
        // Boxed: the future of a connection is large, and callers await several calls.
        let sending = Box::pin(self.connect_and_send(call));
        timeout_at(deadline, sending).await.unwrap_or_else(|_| Err(slow()))
    }

    async fn connect_and_send(&self, call: HttpCall<'_>) -> Result<HttpAnswer, ProviderFailure> {
        let url = call.url;
        let host = &url.host;
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let slow = || {
            let why = format!("no connection to {host} within {CONNECT_TIMEOUT:?}");
            ProviderFailure::Away(why)
        };
        let request = request(call)?;
        let connected = timeout_at(deadline, self.connect(url, deadline));
        let stream = connected.await.unwrap_or_else(|_| Err(slow()))?;
        if !url.is_tls {
            return send(TokioIo::new(stream), request, host).await;
        }
        let tls = self.tls(host)?;
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let secured = timeout_at(deadline, connector.connect(tls.server_name, stream));
        let stream = secured.await.map_err(|_| slow())?.map_err(|error| {
            ProviderFailure::Away(format!("TLS with {host}: {}", tls_failure_text(&error)))
        })?;
        send(TokioIo::new(stream), request, host).await
    }

    async fn connect(
        &self,
        url: &ProviderUrl,
        deadline: Instant,
    ) -> Result<TcpStream, ProviderFailure> {
        let addresses = self.resolve(url).await?.into_iter();
        let addresses: Vec<_> = addresses.map(|ip| SocketAddr::new(ip, url.port)).collect();
        let unconnected = |why| ProviderFailure::Away(format!("cannot connect to {why}"));
        connect_first(&addresses, deadline).await.map_err(unconnected)
    }

    async fn resolve(&self, url: &ProviderUrl) -> Result<Vec<IpAddr>, ProviderFailure> {
        if let Ok(address) = url.host.parse() {
            return Ok(vec![address]);
        }
        if url.is_loopback() {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        self.names
            .look_up(&url.host)
            .await
            .map_err(|why| ProviderFailure::Away(format!("cannot resolve {}: {why}", url.host)))
    }

    fn tls(&self, host: &str) -> Result<UpstreamTls, ProviderFailure> {
        if let Some(tls) = self.tls.borrow().get(host) {
            return Ok(tls.clone());
        }
        let no_roots = || ProviderFailure::Away("no trusted roots for its certificate".to_owned());
        let tls = UpstreamTls::new(&UpstreamTlsSpec {
            sni: host.into(),
            verify_name: host.into(),
            skip_verify: false,
            anchors: self.anchors.clone().ok_or_else(no_roots)?,
            identity: None,
            offer_h2: false,
        });
        let tls = tls.map_err(|error| ProviderFailure::Invalid(error.to_string()))?;
        let mut known = self.tls.borrow_mut();
        if known.len() >= MOST_HOSTS {
            known.clear();
        }
        known.insert(host.into(), tls.clone());
        Ok(tls)
    }
}

fn request(call: HttpCall<'_>) -> Result<Request<String>, ProviderFailure> {
    let method = if call.form.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(call.url.path.as_str())
        .header(header::HOST, call.url.authority())
        .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close");
    if call.form.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(mut authorization) = call.authorization {
        authorization.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, authorization);
    }
    request
        .body(call.form.unwrap_or_default())
        .map_err(|error| ProviderFailure::Invalid(format!("its URL cannot be asked for: {error}")))
}

async fn send<S: Read + Write + Unpin + 'static>(
    stream: S,
    request: Request<String>,
    host: &str,
) -> Result<HttpAnswer, ProviderFailure> {
    let away = |error: hyper::Error| {
        ProviderFailure::Away(format!("{host} broke the connection off: {}", with_causes(&error)))
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake::<_, String>(stream)
        .await
        .map_err(away)?;
    // Dropping the set ends the connection.
    let mut driver = JoinSet::new();
    driver.spawn_local(connection);
    let response = sender.send_request(request).await.map_err(away)?;
    let (head, body) = response.into_parts();
    acceptable(head.status, &head.headers, host)?;
    let max_age = max_age(&head.headers);
    Ok(HttpAnswer { status: head.status, max_age, body: read(body, host).await? })
}

fn acceptable(status: StatusCode, headers: &HeaderMap, host: &str) -> Result<(), ProviderFailure> {
    if status.is_redirection() {
        return Err(ProviderFailure::Invalid(format!("{host} redirects, which is not followed")));
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(ProviderFailure::Away(format!("{host} answered {}", status.as_u16())));
    }
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ProviderFailure::Invalid(format!("{host} sent a compressed body")));
    }
    Ok(())
}

async fn read(mut body: Incoming, host: &str) -> Result<Bytes, ProviderFailure> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| {
            ProviderFailure::Away(format!("{host} sent half an answer: {}", with_causes(&error)))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY_BYTES {
            let why = format!("{host} sent more than {MAX_BODY_BYTES} bytes");
            return Err(ProviderFailure::Invalid(why));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// RFC 9111, section 5.2.2.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(header::CACHE_CONTROL).iter();
    let directives =
        fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
    directives
        .filter_map(|directive| {
            let directive = directive.trim().to_ascii_lowercase();
            match directive.split_once('=') {
                Some(("max-age", seconds)) => seconds.trim_matches('"').parse().ok(),
                None if directive == "no-store" || directive == "no-cache" => Some(0),
                _ => None,
            }
        })
        .min()
        .map(Duration::from_secs)
}
