//! Why a request fails: who is to blame, what the client is told, and what the log says.

use std::borrow::Cow;

use http::StatusCode;

use super::{certificate_problem, headers::InvalidResponse, request::InvalidRequest};
use crate::{
    observe::{Blame, RequestRefusal},
    pages::CertificateProblem,
    tls::ChainError,
    upstream::{FailureKind, UpstreamError},
};

/// Pomerium's message.
const NEEDS_CERTIFICATE: &str = "a valid client certificate is required to access this page";

/// Envoy's response code details for a request that Pomerium's policy denies.
const DENIED: &str = "ext_authz_denied";

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum RequestFailure {
    /// Its head is invalid.
    Rejected(InvalidRequest),
    /// Its route does not allow the upgrade that it asks for.
    UpgradeRefused,
    /// No route matches.
    NoRoute,
    /// Its host asks clients for a certificate, and this connection's handshake did not (RFC 9110
    /// section 15.5.20).
    Misdirected,
    /// Its route's policy denies it.
    Denied,
    /// Its route needs a user who has signed in, and nobody can: no identity provider is configured.
    NobodySignsIn,
    /// Its route needs a bearer token, and the client presented none.
    TokenRequired,
    /// Its route needs a client certificate, and the client presented none.
    CertificateRequired,
    /// Its route needs a valid client certificate; the error says why the presented one is not.
    CertificateInvalid(Option<ChainError>),
    /// It did not arrive in time.
    RequestTimeout,
    /// The upstream did not answer in time.
    ResponseTimeout,
    /// It exceeded the longest time that a stream may live.
    StreamTimeout,
    /// No upstream of its route is available. The next check of one comes after so many seconds, if
    /// there are checks.
    NoHealthyUpstream { retry_after_s: Option<u64> },
    /// The upstream gave no response.
    Upstream(UpstreamError),
    /// The upstream's response cannot be passed on.
    InvalidResponse(InvalidResponse),
    /// A configured rule produced an unusable value, e.g. an invalid Location.
    Misconfigured(&'static str),
}

/// What a failure means to the client, the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailureReport {
    /// Status of the answer.
    pub status: StatusCode,
    /// The message for the client.
    pub message: &'static str,
    /// Envoy's response code details, for the log.
    pub details: Cow<'static, str>,
    /// Envoy's response flags.
    pub flags: &'static str,
    /// Who is to blame.
    pub blame: Blame,
    /// The reason in the metrics, if it is a refusal of ours.
    pub refusal: Option<RequestRefusal>,
}

impl RequestFailure {
    /// What it means to the client, the log and the metrics.
    pub(crate) fn report(&self) -> FailureReport {
        use StatusCode as S;
        match self {
            RequestFailure::Rejected(fault) => rejected(*fault),
            RequestFailure::UpgradeRefused => {
                let refusal = RequestRefusal::UpgradeNotAllowed;
                client(S::FORBIDDEN, "upgrade not allowed", "upgrade_failed", refusal)
            }
            RequestFailure::NoRoute => FailureReport {
                flags: "NR",
                ..client(S::NOT_FOUND, "not found", "route_not_found", RequestRefusal::NoRoute)
            },
            RequestFailure::Misdirected => {
                let (message, details) = ("misdirected request", "misdirected_request");
                client(S::MISDIRECTED_REQUEST, message, details, RequestRefusal::Misdirected)
            }
            RequestFailure::Denied => {
                denied(S::FORBIDDEN, "forbidden", DENIED.into(), RequestRefusal::Forbidden)
            }
            RequestFailure::NobodySignsIn => {
                let message = "this page is for users who have signed in, and no identity provider is configured";
                denied(S::FORBIDDEN, message, DENIED.into(), RequestRefusal::SignInUnavailable)
            }
            RequestFailure::TokenRequired => {
                let refusal = RequestRefusal::TokenRequired;
                denied(S::UNAUTHORIZED, "Unauthenticated", DENIED.into(), refusal)
            }
            RequestFailure::CertificateRequired | RequestFailure::CertificateInvalid(_) => {
                self.certificate_report()
            }
            RequestFailure::RequestTimeout => too_slow("request_overall_timeout"),
            RequestFailure::StreamTimeout => {
                FailureReport { flags: "DT", ..too_slow("max_duration_timeout") }
            }
            RequestFailure::ResponseTimeout => upstream(
                S::GATEWAY_TIMEOUT,
                "the upstream did not answer in time",
                "UT",
                "upstream_response_timeout".into(),
            ),
            RequestFailure::NoHealthyUpstream { .. } => no_healthy_upstream(),
            RequestFailure::Upstream(error) => failed(error),
            RequestFailure::InvalidResponse(InvalidResponse(what)) => upstream(
                S::BAD_GATEWAY,
                "the upstream gave an invalid response",
                "UPE",
                before_response("protocol_error", what),
            ),
            RequestFailure::Misconfigured(what) => FailureReport {
                status: S::INTERNAL_SERVER_ERROR,
                message: "internal error",
                details: Cow::Borrowed(what),
                flags: "",
                blame: Blame::Proxy,
                refusal: None,
            },
        }
    }

    /// What is wrong with the client's certificate, if that is the reason.
    pub(super) fn certificate_problem(&self) -> Option<CertificateProblem> {
        match self {
            RequestFailure::CertificateRequired => Some(certificate_problem::problem(None)),
            // Without an error, the clock has failed, and nothing can be said of the certificate.
            RequestFailure::CertificateInvalid(error) => {
                error.as_ref().map(|error| certificate_problem::problem(Some(error)))
            }
            _ => None,
        }
    }

    fn certificate_report(&self) -> FailureReport {
        let (details, refusal) = match self {
            RequestFailure::CertificateInvalid(Some(flaw)) => {
                let details = format!("{DENIED}{{client certificate: {flaw}}}");
                (details.into(), certificate_problem::refusal(Some(flaw)))
            }
            RequestFailure::CertificateInvalid(None) => {
                (DENIED.into(), RequestRefusal::CertificateUnusable)
            }
            _ => (DENIED.into(), RequestRefusal::CertificateMissing),
        };
        denied(certificate_error(), NEEDS_CERTIFICATE, details, refusal)
    }

    /// After how many seconds the same request may succeed, if that is known.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        match self {
            RequestFailure::NoHealthyUpstream { retry_after_s } => *retry_after_s,
            // As soon as one of the requests under way has ended.
            RequestFailure::Upstream(error) if error.kind == FailureKind::Overflow => Some(1),
            _ => None,
        }
    }
}

/// nginx's status for a client without a valid certificate, which Pomerium uses too.
fn certificate_error() -> StatusCode {
    StatusCode::from_u16(495).unwrap_or(StatusCode::FORBIDDEN)
}

fn no_healthy_upstream() -> FailureReport {
    let message = "no upstream is available";
    upstream(StatusCode::SERVICE_UNAVAILABLE, message, "UH", "no_healthy_upstream".into())
}

fn denied(
    status: StatusCode,
    message: &'static str,
    details: Cow<'static, str>,
    refusal: RequestRefusal,
) -> FailureReport {
    let refusal = Some(refusal);
    FailureReport { status, message, details, flags: "UAEX", blame: Blame::Client, refusal }
}

fn too_slow(details: &'static str) -> FailureReport {
    let message = "the request took too long";
    client(StatusCode::REQUEST_TIMEOUT, message, details, RequestRefusal::Timeout)
}

fn rejected(fault: InvalidRequest) -> FailureReport {
    let (message, details) = match fault {
        InvalidRequest::MissingHost => ("missing Host header", "missing_host_header"),
        InvalidRequest::SeveralHosts => ("more than one Host header", "duplicate_host_header"),
        InvalidRequest::HostMismatch => ("Host differs from the request's target", "host_mismatch"),
        InvalidRequest::BadAuthority => ("malformed host", "invalid_authority"),
        InvalidRequest::UserInfo => ("user information in the host", "userinfo_in_authority"),
        InvalidRequest::BadScheme => ("unsupported scheme", "invalid_scheme"),
        InvalidRequest::BadPath => ("malformed path", "path_normalization_failed"),
        InvalidRequest::RewrittenPath => ("malformed path", "path_rewrite_failed"),
        InvalidRequest::EscapedSlashes => ("escaped slash in the path", "escaped_slashes_in_path"),
        InvalidRequest::Underscore => ("underscore in a header name", "unexpected_underscore"),
        InvalidRequest::TransferEncodingInHttp10 => {
            ("Transfer-Encoding in HTTP/1.0", "http1.transfer_encoding_in_http10")
        }
        InvalidRequest::OddHeaderName => {
            ("unusual character in a header name", "invalid_header_name")
        }
        InvalidRequest::ChunkedAgain => {
            ("chunked more than once", "http1.invalid_transfer_encoding")
        }
        InvalidRequest::MaxForwards => ("malformed Max-Forwards", "invalid_max_forwards"),
        InvalidRequest::Expectation => {
            let status = StatusCode::EXPECTATION_FAILED;
            let message = "send the request again without Expect";
            return client(status, message, "expectation_failed", RequestRefusal::Expectation);
        }
        InvalidRequest::TooManyHeaders => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let message = "too many header fields";
            return client(status, message, "too_many_headers", RequestRefusal::HeadTooLarge);
        }
        InvalidRequest::TransferCoding => {
            let (message, status) = ("unsupported transfer coding", StatusCode::NOT_IMPLEMENTED);
            let (details, refusal) =
                ("http1.invalid_transfer_encoding", RequestRefusal::TransferCoding);
            return client(status, message, details, refusal);
        }
        InvalidRequest::RewriteTooLong => {
            let (message, status) = ("the path is too long to rewrite", StatusCode::URI_TOO_LONG);
            return client(status, message, "path_rewrite_too_long", RequestRefusal::PathTooLong);
        }
        InvalidRequest::Connect => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let message = "CONNECT is not supported";
            return client(status, message, "connect_not_supported", RequestRefusal::Method);
        }
    };
    client(StatusCode::BAD_REQUEST, message, details, RequestRefusal::Malformed)
}

fn failed(error: &UpstreamError) -> FailureReport {
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
        FailureKind::Resolve
        | FailureKind::Connect
        | FailureKind::Tls
        | FailureKind::TlsRejected => unavailable(no_connection, "UF", "connection_failure"),
        FailureKind::Overflow => FailureReport {
            blame: Blame::Proxy,
            ..unavailable("too many requests to the upstream", "UO", "overflow")
        },
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
        FailureKind::RequestBody => FailureReport {
            flags: "DC",
            ..client(
                StatusCode::BAD_REQUEST,
                "the request's body ended early or was malformed",
                "downstream_remote_disconnect",
                RequestRefusal::Malformed,
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

fn client(
    status: StatusCode,
    message: &'static str,
    details: &'static str,
    refusal: RequestRefusal,
) -> FailureReport {
    let (details, refusal) = (details.into(), Some(refusal));
    FailureReport { status, message, details, flags: "", blame: Blame::Client, refusal }
}

fn upstream(
    status: StatusCode,
    message: &'static str,
    flags: &'static str,
    details: Cow<'static, str>,
) -> FailureReport {
    FailureReport { status, message, details, flags, blame: Blame::Upstream, refusal: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: FailureKind) -> FailureReport {
        RequestFailure::Upstream(UpstreamError { kind, detail: "10.0.0.1:443: why".into() })
            .report()
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
            let report = of(kind);
            assert!(report.details.contains("10.0.0.1:443: why"), "{kind:?}");
            assert!(!report.message.contains("10.0.0.1"), "{kind:?}");
            assert_eq!(report.blame, Blame::Upstream);
        }
    }

    #[test]
    fn upstream_failures_have_envoys_statuses_and_flags() {
        let status_and_flags = |kind| (of(kind).status.as_u16(), of(kind).flags);
        assert_eq!(status_and_flags(FailureKind::Resolve), (503, "UF"));
        assert_eq!(status_and_flags(FailureKind::Connect), (503, "UF"));
        assert_eq!(status_and_flags(FailureKind::ConnectTimeout), (503, "UF"));
        assert_eq!(status_and_flags(FailureKind::Tls), (503, "UF"));
        assert_eq!(status_and_flags(FailureKind::Overflow), (503, "UO"));
        assert_eq!(of(FailureKind::Overflow).blame, Blame::Proxy);
        assert_eq!(status_and_flags(FailureKind::Closed), (503, "UC"));
        assert_eq!(status_and_flags(FailureKind::Protocol), (502, "UPE"));
        let none = RequestFailure::NoHealthyUpstream { retry_after_s: None }.report();
        assert_eq!((none.status.as_u16(), none.flags), (503, "UH"));
        assert_eq!(none.details, "no_healthy_upstream");
        let late = RequestFailure::ResponseTimeout.report();
        assert_eq!((late.status.as_u16(), late.flags), (504, "UT"));
        assert_eq!(status_and_flags(FailureKind::RequestBody), (400, "DC"));
        assert_eq!(
            of(FailureKind::Connect).details,
            "upstream_reset_before_response_started{connection_failure|10.0.0.1:443: why}"
        );
    }

    #[test]
    fn a_client_is_blamed_for_its_request_and_not_for_an_upstream() {
        assert_eq!(RequestFailure::Rejected(InvalidRequest::BadPath).report().blame, Blame::Client);
        assert_eq!(of(FailureKind::RequestBody).blame, Blame::Client);
        assert_eq!(RequestFailure::ResponseTimeout.report().blame, Blame::Upstream);
        assert_eq!(RequestFailure::Misconfigured("x").report().blame, Blame::Proxy);
        assert_eq!(
            RequestFailure::Rejected(InvalidRequest::TooManyHeaders).report().status.as_u16(),
            431
        );
    }
}
