//! How requests to an endpoint end, as far as that says something of the endpoint.

use ::http::{HeaderMap, StatusCode, header};

use crate::upstream::FailureKind;

/// How a request to an endpoint ended, if that says something of the endpoint. Requests that failed by
/// the client or by us have no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// It answered with this status.
    Response(u16),
    /// No connection, or one that broke.
    Failure,
    /// No answer in time.
    Timeout,
}

impl RequestOutcome {
    /// Of a response's head. As in Envoy, a gRPC status in it counts as the status of HTTP that it is
    /// mapped to; one in trailers does not count.
    pub(in crate::upstream) fn of_head(status: StatusCode, headers: &HeaderMap) -> RequestOutcome {
        let is_grpc = |headers: &HeaderMap| {
            let content_type = headers.get(header::CONTENT_TYPE);
            content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
        };
        match headers.get("grpc-status") {
            Some(grpc) if is_grpc(headers) => RequestOutcome::Response(of_grpc(grpc.as_bytes())),
            _ => RequestOutcome::Response(status.as_u16()),
        }
    }

    /// Of a request that got no response; `None` if that was not the endpoint's fault.
    pub(in crate::upstream) fn of_failure(kind: FailureKind) -> Option<RequestOutcome> {
        match kind {
            FailureKind::Resolve
            | FailureKind::Connect
            | FailureKind::Tls
            | FailureKind::TlsRejected
            | FailureKind::Closed
            | FailureKind::Protocol => Some(RequestOutcome::Failure),
            FailureKind::ConnectTimeout => Some(RequestOutcome::Timeout),
            FailureKind::Overflow | FailureKind::RequestBody => None,
        }
    }
}

/// Envoy's mapping: a status that is not known is the server's error.
fn of_grpc(status: &[u8]) -> u16 {
    let status = std::str::from_utf8(status).ok().and_then(|text| text.parse::<u8>().ok());
    match status {
        Some(0) => 200,
        Some(1) => 499,
        Some(3 | 9 | 11) => 400,
        Some(4) => 504,
        Some(5) => 404,
        Some(6 | 10) => 409,
        Some(7) => 403,
        Some(8) => 429,
        Some(12) => 501,
        Some(14) => 503,
        Some(16) => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &'static str)]) -> RequestOutcome {
        let header = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        RequestOutcome::of_head(StatusCode::OK, &fields.iter().map(header).collect())
    }

    #[test]
    fn a_grpc_status_in_the_head_counts_as_one_of_http() {
        let grpc = ("content-type", "application/grpc+proto");
        for (status, expected) in [("0", 200), ("14", 503), ("4", 504), ("13", 500), ("x", 500)] {
            assert_eq!(head(&[grpc, ("grpc-status", status)]), RequestOutcome::Response(expected));
        }
        assert_eq!(head(&[grpc]), RequestOutcome::Response(200), "it is in the trailers");
        assert_eq!(head(&[("grpc-status", "14")]), RequestOutcome::Response(200), "not gRPC");
    }

    #[test]
    fn only_what_the_endpoint_did_counts_against_it() {
        let of = RequestOutcome::of_failure;
        assert_eq!(of(FailureKind::RequestBody), None, "the client");
        assert_eq!(of(FailureKind::Overflow), None, "this process");
        assert_eq!(of(FailureKind::Closed), Some(RequestOutcome::Failure));
        assert_eq!(of(FailureKind::ConnectTimeout), Some(RequestOutcome::Timeout));
    }
}
