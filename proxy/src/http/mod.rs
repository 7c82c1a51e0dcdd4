//! One request, from its head to its record.

mod access;
mod account;
mod active_request;
mod authority;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod body;
mod certificate;
mod connection;
mod downstream_body;
mod early;
mod error;
mod error_page;
#[cfg(test)]
mod file_cycles;
mod forward;
mod handle;
mod headers;
mod local_service;
mod negotiation;
mod path;
mod peer;
mod read_stall;
mod redirect;
mod refusal;
mod request;
mod request_config;
mod request_handler;
mod request_id;
mod respond;
mod reused_timer;
mod rewrite;
mod serve_local;
mod spec;
#[cfg(test)]
mod testing;
mod timeouts;
mod tunnel;
mod upload;
mod upstream_head;

pub use authority::{Authority, AuthorityError, normalise_host};
pub use body::{Body, BodyError};
pub use certificate::PeerCertificate;
pub use connection::{ClientConnection, ConnectionState};
pub use early::{PLAIN_HTTP_ON_TLS_PORT, REQUEST_TIMEOUT};
pub use error::{Blame, FailureReport, RequestFailure};
pub use handle::{Handled, handle};
pub use peer::{Peer, PeerTls};
pub use request::{InvalidRequest, NormalizeError, RequestTarget, normalise};
pub use request_config::{LocalRequestConfig, RequestConfig, Route};
pub use request_handler::RequestHandler;
pub use spec::{
    ActionSpec, CertificateField, CertificateHeaders, EscapedSlashes, ForwardedFor,
    HeaderPrefixRewrite, HeaderRules, HeaderTemplate, HostRewrite, PathRewrite, ProxySpec,
    RedirectPath, RedirectSpec, RequestSettings, ResponseHeaderRules, Rfc9440, RouteSpec,
    TemplatePart, Underscores, XfccFields,
};
pub use tunnel::{Tunnel, TunnelRecord};
