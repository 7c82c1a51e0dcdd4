//! The closed sets of values that metric labels and records take, and counts by them.

use std::{array, marker::PhantomData};

use super::Cell;

/// A closed set of label values.
pub(crate) trait Label: Copy + 'static {
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// The value in metrics and records.
    fn as_str(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// One [`Cell`] for each value of a label.
#[derive(Debug)]
pub(crate) struct Family<L, const N: usize> {
    cells: [Cell; N],
    label: PhantomData<fn(L)>,
}

impl<L: Label, const N: usize> Family<L, N> {
    /// Counts one. Only ever called by the cells' own worker.
    pub(crate) fn inc(&self, label: L) {
        if let Some(cell) = self.cells.get(label.index()) {
            cell.inc();
        }
    }

    /// Reads one count, from any thread.
    pub(crate) fn get(&self, label: L) -> u64 {
        self.cells.get(label.index()).map_or(0, Cell::get)
    }

    /// Reads the sum of all counts, from any thread.
    pub(crate) fn sum(&self) -> u64 {
        self.cells.iter().map(Cell::get).fold(0, u64::wrapping_add)
    }
}

impl<L, const N: usize> Default for Family<L, N> {
    fn default() -> Self {
        Family { cells: array::from_fn(|_| Cell::default()), label: PhantomData }
    }
}

/// Defines a label's enum and, where it is counted by alone, the [`Family`] for that.
macro_rules! label {
    (
        $(#[$doc:meta])* $name:ident $(, $family:ident)? {
            $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$($name::$variant,)+];

            fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }

        $(
            #[doc = concat!("Counts by [`", stringify!($name), "`].")]
            pub(super) type $family = Family<$name, { <$name as Label>::ALL.len() }>;
        )?
    };
}

label! {
    /// Why a connection was closed without reading from it.
    RefusedReason, RefusedCells {
        /// The limit of connections of all workers was reached.
        GlobalLimit = "global_limit",
        /// The limit of connections of this worker was reached.
        WorkerLimit = "worker_limit",
        /// The kernel gave no IP address for the client, so that no policy could be applied.
        UnknownPeer = "unknown_peer",
    }
}

label! {
    /// What came of a health check of an endpoint.
    HealthCheckOutcome, HealthCheckCells {
        /// The endpoint gave a good answer.
        Passed = "passed",
        /// It gave a bad one, or none.
        Failed = "failed",
        /// It failed while this process could not run, which says nothing of the endpoint.
        Discarded = "discarded",
    }
}

label! {
    /// How an accepted connection ended.
    ClosedReason, ClosedCells {
        /// The client closed it.
        Client = "client",
        /// We closed it after the last response, as HTTP requires.
        Done = "done",
        /// The handshake failed.
        Handshake = "handshake",
        /// No request arrived within the idle timeout.
        IdleTimeout = "idle_timeout",
        /// The head of a request timed out.
        HeaderTimeout = "header_timeout",
        /// It was idle, and made room for another when the limit of connections was reached.
        Evicted = "evicted",
        /// The client did not read what we sent.
        SendTimeout = "send_timeout",
        /// The bytes are not HTTP.
        Protocol = "protocol",
        /// The socket failed: reset, unreachable.
        Io = "io",
        /// It ended in time during draining.
        Drain = "drain",
        /// It was closed when the drain timeout ended.
        DrainTimeout = "drain_timeout",
    }
}

label! {
    /// An endpoint of the identity provider.
    ProviderEndpoint {
        /// Its metadata.
        Metadata = "metadata",
        /// Its keys.
        Jwks = "jwks",
        /// Where codes and refresh tokens are exchanged.
        Token = "token",
        /// Where claims come from.
        Userinfo = "userinfo",
        /// Where refresh tokens are revoked.
        Revocation = "revocation",
    }
}

label! {
    /// How a call to the identity provider ended.
    ProviderCallOutcome {
        /// With an answer that was taken.
        Ok = "ok",
        /// The provider refused what it was sent.
        Refused = "refused",
        /// The answer breaks a rule of the protocol.
        Invalid = "invalid",
        /// It was not reached, was too slow or failed.
        Unavailable = "unavailable",
    }
}

label! {
    /// What a check of a session brought.
    RecheckOutcome, RecheckCells {
        /// The user may stay signed in.
        Good = "good",
        /// The provider did not tell; the session stays.
        Unavailable = "unavailable",
        /// The provider refused; the session has ended.
        Ended = "ended",
        /// The session was made before this process started.
        Unknown = "unknown",
    }
}

label! {
    /// What became of a logout token.
    BackchannelLogoutOutcome, BackchannelLogoutCells {
        /// What it names has ended.
        Ended = "ended",
        /// It is not acceptable.
        Refused = "refused",
        /// The client has sent too many that were not acceptable.
        Limited = "limited",
        /// It could not be verified, since the provider's keys are missing.
        Unavailable = "unavailable",
    }
}

label! {
    /// How a connection was steered.
    SteeringOutcome, SteeringCells {
        /// It went to the first choice of its name.
        Steered = "steered",
        /// It went to another worker because the first choice is at its load limit.
        Spilled = "spilled",
        /// It went to another worker because the first choice accepts no connections.
        WorkerUnavailable = "worker_unavailable",
        /// The hello has no server name.
        NoSni = "no_sni",
        /// The first segment ends before the name.
        Truncated = "truncated",
        /// The bytes are not TLS.
        NotTls = "not_tls",
        /// The kernel program cannot parse the hello.
        Unsupported = "unsupported",
        /// The server name matches no route.
        Unknown = "unknown",
        /// The server name matches no route and unknown names are refused.
        UnknownRefused = "unknown_refused",
        /// The kernel rejected the program's choice.
        SelectFailed = "select_failed",
        /// In addition: the worker that accepted it handed it over.
        HandedOff = "handed_off",
    }
}

label! {
    /// The verdict on a TCP segment that selects no worker by name.
    SegmentOutcome {
        /// The segment completes no TCP handshake.
        Passed = "passed",
        /// A SYN that gets a reset because the process ends.
        Closed = "closed",
        /// A bare ACK, dropped so that the hello completes the handshake.
        Deferred = "deferred",
        /// The segment arrived out of order, and was dropped to be retransmitted.
        OutOfOrder = "out_of_order",
        /// A SYN, sent to the SYN catcher so that the kernel answers with a cookie.
        Caught = "caught",
        /// A SYN without timestamps: the connection is handed over, and keeps its options.
        NoTimestamps = "no_timestamps",
        /// A SYN with a segment size that a cookie does not keep: the connection is handed over.
        SegmentSize = "segment_size",
    }
}

label! {
    /// How a handshake with a client ended.
    HandshakeResult {
        /// It completed.
        Ok = "ok",
        /// The client closed the connection.
        ClientGone = "client_gone",
        /// The handshake timed out.
        Timeout = "timeout",
        /// No hello came before the connection had to make room for another.
        Evicted = "evicted",
        /// A client certificate is required and the client sent none.
        ClientCertificateMissing = "client_certificate_missing",
        /// The client's certificate was rejected.
        ClientCertificateInvalid = "client_certificate_invalid",
        /// No server certificate matches the name or the client's algorithms.
        NoCertificate = "no_certificate",
        /// The SNI matches no route and unknown names are refused.
        UnknownName = "unknown_name",
        /// The bytes are not TLS: garbage, or plain HTTP.
        NotTls = "not_tls",
        /// More TLS input than any handshake message may take, and no whole one.
        Oversized = "oversized",
        /// The client rejected our certificate: it does not know the CA, or the certificate does not
        /// cover the name or has expired.
        ServerCertificateRejected = "server_certificate_rejected",
        /// No common TLS parameters, or a broken TLS message.
        ProtocolError = "protocol_error",
    }
}

label! {
    /// A TLS version.
    TlsVersion {
        /// TLS 1.2
        Tls12 = "tls12",
        /// TLS 1.3
        Tls13 = "tls13",
        /// No version was negotiated.
        Unknown = "unknown",
    }
}

label! {
    /// The HTTP version of a client connection.
    HttpProtocol, HttpProtocolCells {
        /// HTTP/1.0 and HTTP/1.1
        H1 = "h1",
        /// HTTP/2
        H2 = "h2",
    }
}

label! {
    /// Why an upstream gave no response: the label for an `upstream::FailureKind`.
    UpstreamFailure, UpstreamFailureCells {
        /// The name does not resolve.
        Resolve = "resolve",
        /// The TCP connection failed.
        Connect = "connect",
        /// The connect timed out.
        ConnectTimeout = "connect_timeout",
        /// The TLS handshake failed.
        Tls = "tls",
        /// A limit on requests or connections to upstreams is reached.
        Overflow = "overflow",
        /// The connection ended before a response.
        Closed = "closed",
        /// The bytes are not HTTP.
        Protocol = "protocol",
        /// The response timed out.
        ResponseTimeout = "response_timeout",
        /// The client's request body failed.
        RequestBody = "request_body",
    }
}

label! {
    /// Why a request was sent to an upstream again.
    UpstreamRetry, UpstreamRetryCells {
        /// No connection to an endpoint could be made: the request goes to another one.
        Connect = "connect",
        /// The pooled connection had been closed: the request goes over a new one.
        StaleConnection = "stale_connection",
        /// The endpoint says that it has not processed the request (HTTP/2).
        RefusedStream = "refused_stream",
        /// The endpoint's response was a 502, 503 or 504.
        Gateway = "gateway",
    }
}

label! {
    /// A limit that refused a request, or its repetition: a key of `circuit_breaker_thresholds`, or the
    /// limit on open files.
    CircuitLimit, CircuitCells {
        /// Requests under way.
        MaxRequests = "max_requests",
        /// Connections.
        MaxConnections = "max_connections",
        /// Requests that wait for a connection.
        MaxPendingRequests = "max_pending_requests",
        /// Requests that are sent again.
        MaxRetries = "max_retries",
        /// What the limit on open files allows one worker.
        OpenFiles = "open_files",
    }
}

label! {
    /// Who caused a request to fail.
    Blame, BlameCells {
        /// The client: its request is invalid or not allowed.
        Client = "client",
        /// The upstream, or the network between it and the proxy.
        Upstream = "upstream",
        /// The proxy or its configuration.
        Proxy = "proxy",
    }
}

label! {
    /// Why a request was answered with an error instead of being served, where that is no failure of an
    /// upstream or of ours.
    RequestRefusal, RequestRefusalCells {
        /// The policy of the route denies it.
        Forbidden = "forbidden",
        /// It needs a user, and nobody can sign in.
        SignInUnavailable = "sign_in_unavailable",
        /// The route does not allow the upgrade that it asks for.
        UpgradeNotAllowed = "upgrade_not_allowed",
        /// It needs a user, and the client can neither be redirected nor sign in by itself.
        Unauthenticated = "unauthenticated",
        /// It needs a bearer token, and there is none.
        TokenRequired = "token_required",
        /// Its bearer token does not count.
        TokenInvalid = "token_invalid",
        /// It has a bearer token and a session at once.
        TokenAndSession = "token_and_session",
        /// Its host needs a connection of its own.
        Misdirected = "misdirected",
        /// It needs a client certificate, and none was presented.
        CertificateMissing = "client_certificate_missing",
        /// The client certificate, or one above it, has expired.
        CertificateExpired = "client_certificate_expired",
        /// The client certificate, or one above it, is not valid yet.
        CertificateNotYetValid = "client_certificate_not_yet_valid",
        /// No CA of the route issued the client certificate.
        CertificateUntrusted = "client_certificate_untrusted",
        /// The issuer has revoked the client certificate.
        CertificateRevoked = "client_certificate_revoked",
        /// No CRL tells whether the client certificate was revoked.
        CertificateRevocationUnknown = "client_certificate_revocation_unknown",
        /// The client certificate is not acceptable for another reason.
        CertificateUnusable = "client_certificate_unusable",
        /// No route matches.
        NoRoute = "no_route",
        /// Its head or its body is malformed.
        Malformed = "malformed",
        /// It has too many header fields.
        HeadTooLarge = "head_too_large",
        /// Its path is too long to be rewritten.
        PathTooLong = "path_too_long",
        /// Its method is not supported.
        Method = "method_not_allowed",
        /// It expects what is not supported.
        Expectation = "expectation_failed",
        /// Its transfer coding is not supported.
        TransferCoding = "transfer_coding",
        /// It took too long.
        Timeout = "timeout",
    }
}

impl RequestRefusal {
    /// The status code of the answer.
    pub(crate) fn code(self) -> &'static str {
        use RequestRefusal as R;
        match self {
            R::Forbidden | R::SignInUnavailable | R::UpgradeNotAllowed => "403",
            R::Unauthenticated | R::TokenRequired | R::TokenInvalid => "401",
            R::TokenAndSession | R::Malformed => "400",
            R::Misdirected => "421",
            R::CertificateMissing
            | R::CertificateExpired
            | R::CertificateNotYetValid
            | R::CertificateUntrusted
            | R::CertificateRevoked
            | R::CertificateRevocationUnknown
            | R::CertificateUnusable => "495",
            R::NoRoute => "404",
            R::HeadTooLarge => "431",
            R::PathTooLong => "414",
            R::Method => "405",
            R::Expectation => "417",
            R::TransferCoding => "501",
            R::Timeout => "408",
        }
    }
}

label! {
    /// What became of the session cookies of a request.
    SessionCookieOutcome, SessionCookieCells {
        /// The worker knew the session.
        Remembered = "remembered",
        /// It was opened.
        Opened = "opened",
        /// No cookie opened, or the session does not count here.
        Refused = "refused",
        /// The session has ended.
        Ended = "ended",
    }
}

label! {
    /// How a step of a sign-in ended.
    SignInOutcome, SignInCells {
        /// A client was sent to sign in.
        Begun = "begun",
        /// Somebody has signed in at a host.
        SignedIn = "signed_in",
        /// Somebody has signed out.
        SignedOut = "signed_out",
        /// A program got a token of somebody's session.
        ProgramSignedIn = "program_signed_in",
        /// A parameter or a cookie was missing, forged, used or late.
        Refused = "refused",
        /// The provider refused.
        Denied = "denied",
        /// The provider's answer is not acceptable.
        ProviderInvalid = "provider_invalid",
        /// The provider did not answer, or too many sign-ins wait for it.
        ProviderAway = "provider_away",
        /// The sign-in did not last, or its session is too large.
        Failed = "failed",
    }
}

label! {
    /// Why the certificate of an upstream was refused.
    UpstreamCertificateReason, UpstreamCertificateCells {
        /// No trusted CA issued it.
        Untrusted = "untrusted",
        /// It has expired, or a certificate above it has.
        Expired = "expired",
        /// It is not valid yet, or a certificate above it is not.
        NotYetValid = "not_yet_valid",
        /// It is for another name.
        Name = "name",
        /// It is not for servers.
        Purpose = "purpose",
        /// It cannot be parsed, or it uses a feature that is not supported.
        Unusable = "unusable",
    }
}

label! {
    /// Why an endpoint was ejected.
    EjectionReason, EjectionCells {
        /// Responses of status 5xx in a row.
        Consecutive5xx = "consecutive_5xx",
        /// Responses of status 502 to 504 in a row.
        ConsecutiveGatewayFailure = "consecutive_gateway_failure",
        /// Requests without an answer in a row.
        ConsecutiveLocalOriginFailure = "consecutive_local_origin_failure",
        /// Fewer responses without an error than other endpoints gave.
        SuccessRate = "success_rate",
        /// Fewer answers than other endpoints gave.
        LocalOriginSuccessRate = "success_rate_local_origin",
        /// A share of responses of status 5xx.
        FailurePercentage = "failure_percentage",
        /// A share of requests without an answer.
        LocalOriginFailurePercentage = "failure_percentage_local_origin",
    }
}

label! {
    /// The class of a status code.
    CodeClass, CodeClassCells {
        /// 100 to 199, which a finished request has after an upgrade.
        Informational = "1xx",
        /// 200 to 299
        Success = "2xx",
        /// 300 to 399
        Redirect = "3xx",
        /// 400 to 499
        ClientError = "4xx",
        /// 500 to 599
        ServerError = "5xx",
        /// No response was sent, or an invalid code.
        Other = "other",
    }
}

impl CodeClass {
    /// The class of this code; 0 stands for no response.
    pub(crate) fn of(status: u16) -> CodeClass {
        match status {
            100..200 => CodeClass::Informational,
            200..300 => CodeClass::Success,
            300..400 => CodeClass::Redirect,
            400..500 => CodeClass::ClientError,
            500..600 => CodeClass::ServerError,
            _ => CodeClass::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values_are_distinct_and_in_place<L: Label + std::fmt::Debug>() {
        let names: std::collections::BTreeSet<_> = L::ALL.iter().map(|l| l.as_str()).collect();
        assert_eq!(names.len(), L::ALL.len(), "two values of {:?} share a name", L::ALL);
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place);
        }
    }

    #[test]
    fn every_label_value_has_a_name_and_a_place_of_its_own() {
        values_are_distinct_and_in_place::<RefusedReason>();
        values_are_distinct_and_in_place::<RequestRefusal>();
        values_are_distinct_and_in_place::<ClosedReason>();
        values_are_distinct_and_in_place::<SteeringOutcome>();
        values_are_distinct_and_in_place::<SegmentOutcome>();
        values_are_distinct_and_in_place::<HandshakeResult>();
        values_are_distinct_and_in_place::<TlsVersion>();
        values_are_distinct_and_in_place::<HttpProtocol>();
        values_are_distinct_and_in_place::<UpstreamFailure>();
        values_are_distinct_and_in_place::<UpstreamRetry>();
        values_are_distinct_and_in_place::<CircuitLimit>();
        values_are_distinct_and_in_place::<Blame>();
        values_are_distinct_and_in_place::<SessionCookieOutcome>();
        values_are_distinct_and_in_place::<SignInOutcome>();
        values_are_distinct_and_in_place::<UpstreamCertificateReason>();
        values_are_distinct_and_in_place::<EjectionReason>();
        values_are_distinct_and_in_place::<CodeClass>();
    }

    #[test]
    fn a_family_counts_each_value_apart() {
        let cells = ClosedCells::default();
        cells.inc(ClosedReason::Client);
        cells.inc(ClosedReason::DrainTimeout);
        cells.inc(ClosedReason::DrainTimeout);
        assert_eq!(cells.get(ClosedReason::Client), 1);
        assert_eq!(cells.get(ClosedReason::DrainTimeout), 2);
        assert_eq!(cells.get(ClosedReason::Io), 0);
        assert_eq!(cells.sum(), 3);
    }

    #[test]
    fn a_code_outside_of_http_counts_as_other() {
        let classes = [0, 99, 101, 204, 308, 495, 599, 600].map(CodeClass::of);
        assert_eq!(
            classes.map(Label::as_str),
            ["other", "other", "1xx", "2xx", "3xx", "4xx", "5xx", "other"]
        );
    }
}
