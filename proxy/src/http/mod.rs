//! One request, from its head to its record.

mod access;
mod account;
mod active_request;
mod authority;
mod backchannel_logout;
mod bearer;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod body;
mod certificate;
mod certificate_problem;
mod connection;
mod debug_log;
mod downstream_body;
mod early;
mod error;
mod error_context;
mod error_page;
mod explain;
mod failover;
#[cfg(test)]
mod file_cycles;
mod former_clusters;
mod forward;
mod handle;
mod headers;
mod interim;
mod interim_outbox;
mod limit;
mod local_service;
mod max_forwards;
mod negotiation;
mod path;
mod peer;
pub(crate) mod probe;
mod program_token;
mod redirect;
mod refusal;
mod reply;
mod request;
mod request_config;
mod request_handler;
mod request_id;
mod respond;
mod response_data;
mod response_flow;
mod reused_timer;
mod rewrite;
mod serve_local;
mod session;
mod sign_in;
mod spec;
#[cfg(test)]
mod testing;
mod timeouts;
mod tunnel;
mod unread_body;
mod unread_streams;
mod upload;
mod upstream_head;
mod well_known;

#[cfg(test)]
pub(crate) use authority::Authority;
pub(crate) use body::Body;
pub(crate) use certificate::PeerCertificate;
pub(crate) use connection::ClientConnection;
pub(crate) use early::{PLAIN_HTTP_ON_TLS_PORT, REQUEST_TIMEOUT};
pub(crate) use explain::{ExplainedVerdict, HypotheticalRequest, RequestExplanation, explain};
pub(crate) use former_clusters::FormerClusters;
pub(crate) use handle::{ClientStream, Handled, handle};
pub(crate) use headers::is_forwarding_name;
pub(crate) use interim_outbox::InterimHead;
pub(crate) use limit::Limit;
pub(crate) use peer::{Peer, PeerTls};
pub(crate) use request_config::{RequestConfig, Route};
pub(crate) use request_handler::RequestHandler;
#[cfg(test)]
pub(crate) use response_data::ResponseData;
pub(crate) use response_data::UnsentData;
pub(crate) use response_flow::{HeldResponse, ResponseFlow, ResponseStep, SEND_STALL};
pub(crate) use spec::{
    ActionSpec, CertificateField, CertificateHeaders, EscapedSlashes, ForwardedFor,
    HeaderPrefixRewrite, HeaderRules, HeaderTemplate, HostRewrite, PathRewrite, ProxySpec,
    RedirectPath, RedirectSpec, RegexRewrite, RequestSettings, ResponseHeaderRules, Rfc9440,
    RouteSpec, TemplatePart, Underscores, XfccFields,
};
pub(crate) use tunnel::Tunnel;
