//! Connections over tokio's own sockets, for threads that are no workers.

use std::{io, net::SocketAddr};

use rustls::{CertificateError, Error};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{connect::share, failure::with_causes};

/// Tries one address after the other; each gets an equal part of the time that is left.
///
/// # Errors
///
/// Each address with the reason why it was not reached.
pub(crate) async fn connect_first(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, String> {
    let mut failures = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let part = share(remaining, addresses.len() - tried);
        match timeout_at(Instant::now() + part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no answer")),
        }
    }
    Err(failures.join("; "))
}

/// The reason why a TLS handshake has failed. If our verifier rejected the certificate, its message;
/// rustls would wrap it in debug output.
pub(crate) fn tls_failure_text(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::InvalidCertificate(CertificateError::Other(why))) => {
            format!("invalid certificate: {}", with_causes(&*why.0))
        }
        _ => with_causes(error),
    }
}
