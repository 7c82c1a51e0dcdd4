//! The client's end of a connection: everything that is known before its first request.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use http::HeaderValue;

use super::{certificate::PeerCertificate, headers::forwarded};
use crate::{observe::TlsVersion, tls::ChainError};

/// The client's end of a connection. Made once the connection's first bytes have been read, and
/// never changed.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// What the handshake settled; `None` in plain text.
    pub tls: Option<PeerTls>,
    address_value: HeaderValue,
}

/// What a TLS handshake reveals of the client.
#[derive(Debug)]
pub(crate) struct PeerTls {
    /// The version agreed on.
    pub version: TlsVersion,
    /// The SNI, in the form of a request's host.
    pub server_name: Option<Box<str>>,
    /// The handshake, or the one that the session was resumed from, asked for a certificate.
    pub certificate_asked: bool,
    /// The certificate that the client presented.
    pub certificate: Option<Rc<PeerCertificate>>,
    /// Why the certificate that it presented counts as none; boxed since it is rare.
    pub ignored_certificate: Option<Box<ChainError>>,
}

impl Peer {
    /// A client at this address; `tls` is `None` in plain text.
    pub(crate) fn new(address: SocketAddr, tls: Option<PeerTls>) -> Peer {
        let address_value = forwarded::address_value(address.ip().to_canonical());
        Peer { address, tls, address_value }
    }

    /// Whether the connection is TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The version of TLS; `None` in plain text.
    pub(crate) fn tls_version(&self) -> Option<TlsVersion> {
        self.tls.as_ref().map(|tls| tls.version)
    }

    /// The SNI.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.tls.as_ref()?.server_name.as_deref()
    }

    /// Why the certificate that the client presented counts as none.
    pub(crate) fn ignored_certificate(&self) -> Option<&ChainError> {
        self.tls.as_ref()?.ignored_certificate.as_deref()
    }

    /// The certificate that the client presented.
    pub(crate) fn certificate(&self) -> Option<&Rc<PeerCertificate>> {
        self.tls.as_ref()?.certificate.as_ref()
    }

    /// The client's IP address; an IPv4-mapped one as IPv4.
    pub(super) fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// The client's IP address as a header value.
    pub(super) fn ip_value(&self) -> &HeaderValue {
        &self.address_value
    }

    /// An IP address as a header value; the client's own is not formatted again.
    pub(super) fn value_of(&self, ip: IpAddr) -> HeaderValue {
        match ip == self.ip() {
            true => self.address_value.clone(),
            false => forwarded::address_value(ip),
        }
    }
}
