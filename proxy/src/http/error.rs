//! What can go wrong with a request: whose fault it is, and what is said of it inside and outside.

use std::borrow::Cow;

use http::StatusCode;

use super::request::Fault;
use crate::{
    tls::ChainError,
    upstream::{FailureKind, UpstreamError},
};

/// Pomerium's words.
const NEEDS_CERTIFICATE: &str = "a valid client certificate is required to access this page";

/// Envoy's words for what Pomerium's policy refuses.
const DENIED: &str = "ext_authz_denied";

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client's.
    Client,
    /// The upstream's, or the way's to it.
    Upstream,
    /// Ours, or our configuration's.
    Us,
}

/// Why a request gets an answer of ours.
#[derive(Debug)]
pub enum Failure {
    /// Its head is at fault.
    Rejected(Fault),
    /// It asks for an upgrade that its route does not allow.
    UpgradeRefused,
    /// No route matches.
    NoRoute,
    /// It is for a host whose clients are asked for certificates of which its connection's was not
    /// (RFC 9110 section 15.5.20).
    Misdirected,
    /// Its route does not let it in.
    Denied,
    /// Its route wants to know who the user is, and nobody can sign in yet.
    SignInUnsupported,
    /// Its route wants a client certificate, and there is none.
    CertificateRequired,
    /// Its route wants a good client certificate, and this is what is wrong with the one there is.
    CertificateInvalid(Option<ChainError>),
    /// It did not arrive in time.
    RequestTimeout,
    /// The upstream did not answer in time.
    ResponseTimeout,
    /// It lived too long.
    StreamTimeout,
    /// The upstream gave no response.
    Upstream(UpstreamError),
    /// The upstream switched protocols without being asked.
    UnexpectedUpgrade,
    /// A rule of the configuration came to nothing, such as a location that is none.
    Misconfigured(&'static str),
}

/// What a failure comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Status of the answer.
    pub status: StatusCode,
    /// Said to the client.
    pub message: &'static str,
    /// Said in the log: Envoy's response code details.
    pub details: Cow<'static, str>,
    /// Envoy's response flags.
    pub flags: &'static str,
    /// Whose fault it is.
    pub blame: Blame,
}

impl Failure {
    /// Whether the route's policy refused it.
    pub(super) fn is_denial(&self) -> bool {
        matches!(
            self,
            Failure::Denied
                | Failure::SignInUnsupported
                | Failure::CertificateRequired
                | Failure::CertificateInvalid(_)
        )
    }

    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        use StatusCode as S;
        match self {
            Failure::Rejected(fault) => rejected(*fault),
            Failure::UpgradeRefused => {
                client(S::FORBIDDEN, "upgrade not allowed", "upgrade_failed")
            }
            Failure::NoRoute => {
                Verdict { flags: "NR", ..client(S::NOT_FOUND, "not found", "route_not_found") }
            }
            Failure::Misdirected => {
                client(S::MISDIRECTED_REQUEST, "misdirected request", "misdirected_request")
            }
            Failure::Denied => denied(S::FORBIDDEN, "forbidden", DENIED.into()),
            Failure::SignInUnsupported => {
                let message =
                    "this page is for users who have signed in, which is not supported yet";
                denied(S::FORBIDDEN, message, DENIED.into())
            }
            Failure::CertificateRequired | Failure::CertificateInvalid(None) => {
                denied(certificate_error(), NEEDS_CERTIFICATE, DENIED.into())
            }
            Failure::CertificateInvalid(Some(flaw)) => {
                let details = format!("{DENIED}{{client certificate: {flaw}}}");
                denied(certificate_error(), NEEDS_CERTIFICATE, details.into())
            }
            Failure::RequestTimeout => {
                client(S::REQUEST_TIMEOUT, "the request took too long", "request_overall_timeout")
            }
            Failure::StreamTimeout => Verdict {
                flags: "DT",
                ..client(S::REQUEST_TIMEOUT, "the request took too long", "max_duration_timeout")
            },
            Failure::ResponseTimeout => upstream(
                S::GATEWAY_TIMEOUT,
                "the upstream did not answer in time",
                "UT",
                "upstream_response_timeout".into(),
            ),
            Failure::Upstream(error) => failed(error),
            Failure::UnexpectedUpgrade => upstream(
                S::BAD_GATEWAY,
                "the upstream gave an invalid response",
                "UPE",
                before_response("protocol_error", "switched protocols without being asked"),
            ),
            Failure::Misconfigured(what) => Verdict {
                status: S::INTERNAL_SERVER_ERROR,
                message: "internal error",
                details: Cow::Borrowed(what),
                flags: "",
                blame: Blame::Us,
            },
        }
    }
}

/// nginx's status for clients without a good certificate, which Pomerium took over.
fn certificate_error() -> StatusCode {
    StatusCode::from_u16(495).unwrap_or(StatusCode::FORBIDDEN)
}

fn denied(status: StatusCode, message: &'static str, details: Cow<'static, str>) -> Verdict {
    Verdict { status, message, details, flags: "UAEX", blame: Blame::Client }
}

fn rejected(fault: Fault) -> Verdict {
    let (message, details) = match fault {
        Fault::MissingHost => ("missing Host header", "missing_host_header"),
        Fault::SeveralHosts => ("more than one Host header", "duplicate_host_header"),
        Fault::HostMismatch => ("Host differs from the request's target", "host_mismatch"),
        Fault::BadAuthority => ("malformed host", "invalid_authority"),
        Fault::UserInfo => ("user information in the host", "userinfo_in_authority"),
        Fault::BadScheme => ("unsupported scheme", "invalid_scheme"),
        Fault::BadPath => ("malformed path", "path_normalization_failed"),
        Fault::RewrittenPath => ("malformed path", "path_rewrite_failed"),
        Fault::EscapedSlashes => ("escaped slash in the path", "escaped_slashes_in_path"),
        Fault::Underscore => ("underscore in a header name", "unexpected_underscore"),
        Fault::TransferEncodingInHttp10 => {
            ("Transfer-Encoding in HTTP/1.0", "http1.transfer_encoding_in_http10")
        }
        Fault::UpgradeWithBody => ("an upgrade with a body", "upgrade_with_body"),
        Fault::TooManyHeaders => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return client(status, "too many header fields", "too_many_headers");
        }
        Fault::Connect => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return client(status, "CONNECT is not supported", "connect_not_supported");
        }
    };
    client(StatusCode::BAD_REQUEST, message, details)
}

fn failed(error: &UpstreamError) -> Verdict {
    let unavailable = |message, flags, reason| {
        upstream(
            StatusCode::SERVICE_UNAVAILABLE,
            message,
            flags,
            before_response(reason, &error.detail),
        )
    };
    let no_connection = "no connection to the upstream";
    match error.kind {
        FailureKind::Resolve | FailureKind::Connect | FailureKind::Tls => {
            unavailable(no_connection, "UF", "connection_failure")
        }
        FailureKind::ConnectTimeout => unavailable(no_connection, "UF", "connection_timeout"),
        FailureKind::Closed => {
            unavailable("the upstream closed the connection", "UC", "connection_termination")
        }
        FailureKind::Protocol => upstream(
            StatusCode::BAD_GATEWAY,
            "the upstream gave an invalid response",
            "UPE",
            before_response("protocol_error", &error.detail),
        ),
        FailureKind::RequestBody => Verdict {
            flags: "DC",
            ..client(
                StatusCode::BAD_REQUEST,
                "the request's body ended early or was malformed",
                "downstream_remote_disconnect",
            )
        },
    }
}

fn before_response(reason: &str, detail: &str) -> Cow<'static, str> {
    match detail.is_empty() {
        true => format!("upstream_reset_before_response_started{{{reason}}}").into(),
        false => format!("upstream_reset_before_response_started{{{reason}|{detail}}}").into(),
    }
}

fn client(status: StatusCode, message: &'static str, details: &'static str) -> Verdict {
    Verdict { status, message, details: details.into(), flags: "", blame: Blame::Client }
}

fn upstream(
    status: StatusCode,
    message: &'static str,
    flags: &'static str,
    details: Cow<'static, str>,
) -> Verdict {
    Verdict { status, message, details, flags, blame: Blame::Upstream }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: FailureKind) -> Verdict {
        Failure::Upstream(UpstreamError { kind, detail: "10.0.0.1:443: why".into() }).verdict()
    }

    #[test]
    fn the_inside_reason_is_for_the_log_alone() {
        for kind in [
            FailureKind::Resolve,
            FailureKind::Connect,
            FailureKind::ConnectTimeout,
            FailureKind::Tls,
            FailureKind::Closed,
            FailureKind::Protocol,
        ] {
            let verdict = of(kind);
            assert!(verdict.details.contains("10.0.0.1:443: why"), "{kind:?}");
            assert!(!verdict.message.contains("10.0.0.1"), "{kind:?}");
            assert_eq!(verdict.blame, Blame::Upstream);
        }
    }

    #[test]
    fn upstream_failures_have_envoys_statuses_and_flags() {
        let status_and_flags = |kind| (of(kind).status.as_u16(), of(kind).flags);
        assert_eq!(status_and_flags(FailureKind::Resolve), (503, "UF"));
        assert_eq!(status_and_flags(FailureKind::Connect), (503, "UF"));
        assert_eq!(status_and_flags(FailureKind::ConnectTimeout), (503, "UF"));
        assert_eq!(status_and_flags(FailureKind::Tls), (503, "UF"));
        assert_eq!(status_and_flags(FailureKind::Closed), (503, "UC"));
        assert_eq!(status_and_flags(FailureKind::Protocol), (502, "UPE"));
        let late = Failure::ResponseTimeout.verdict();
        assert_eq!((late.status.as_u16(), late.flags), (504, "UT"));
        assert_eq!(status_and_flags(FailureKind::RequestBody), (400, "DC"));
        assert_eq!(
            of(FailureKind::Connect).details,
            "upstream_reset_before_response_started{connection_failure|10.0.0.1:443: why}"
        );
    }

    #[test]
    fn a_client_is_blamed_for_its_request_and_not_for_an_upstream() {
        assert_eq!(Failure::Rejected(Fault::BadPath).verdict().blame, Blame::Client);
        assert_eq!(of(FailureKind::RequestBody).blame, Blame::Client);
        assert_eq!(Failure::ResponseTimeout.verdict().blame, Blame::Upstream);
        assert_eq!(Failure::Misconfigured("x").verdict().blame, Blame::Us);
        assert_eq!(Failure::Rejected(Fault::TooManyHeaders).verdict().status.as_u16(), 431);
    }
}
