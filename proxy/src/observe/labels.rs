//! The closed sets of values that metric labels and records take, and counts by them.

use std::{array, marker::PhantomData};

use super::Cell;

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// As it stands in metrics and records.
    fn as_str(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// One [`Cell`] for each value of a label.
#[derive(Debug)]
pub struct Family<L, const N: usize> {
    cells: [Cell; N],
    label: PhantomData<fn(L)>,
}

impl<L: Label, const N: usize> Family<L, N> {
    /// Counts one. Only ever called by the cells' own worker.
    pub fn inc(&self, label: L) {
        if let Some(cell) = self.cells.get(label.index()) {
            cell.inc();
        }
    }

    /// Reads one count, from any thread.
    pub fn get(&self, label: L) -> u64 {
        self.cells.get(label.index()).map_or(0, Cell::get)
    }

    /// Reads the sum of all counts, from any thread.
    pub fn sum(&self) -> u64 {
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
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

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
    /// Why a connection was closed before anything was read from it.
    RefusedReason, RefusedCells {
        /// As many connections as all workers together may have.
        GlobalLimit = "global_limit",
        /// As many connections as this worker may have.
        WorkerLimit = "worker_limit",
        /// The kernel gave no IP address for the client, so that no policy could be applied.
        UnknownPeer = "unknown_peer",
    }
}

label! {
    /// How a connection that was taken ended.
    ClosedReason, ClosedCells {
        /// The client closed it.
        Client = "client",
        /// We closed it after the last response, as HTTP asked.
        Done = "done",
        /// The handshake failed.
        Handshake = "handshake",
        /// No request for too long.
        IdleTimeout = "idle_timeout",
        /// A request's head took too long.
        HeaderTimeout = "header_timeout",
        /// It did not take what we sent.
        SendTimeout = "send_timeout",
        /// What came is not HTTP.
        Protocol = "protocol",
        /// The socket failed: reset, unreachable.
        Io = "io",
        /// It ended in time while draining.
        Drain = "drain",
        /// It was cut off at the end of draining.
        DrainTimeout = "drain_timeout",
    }
}

label! {
    /// How a connection found its worker.
    SteeringOutcome, SteeringCells {
        /// To the name's first choice.
        Steered = "steered",
        /// To another one, since the first choice has enough to carry.
        Spilled = "spilled",
        /// To another one, since the first choice takes no connections.
        WorkerUnavailable = "worker_unavailable",
        /// It asks for no name.
        NoSni = "no_sni",
        /// The first segment ends before the name.
        Truncated = "truncated",
        /// It is no TLS.
        NotTls = "not_tls",
        /// The kernel program cannot read its hello.
        Unsupported = "unsupported",
        /// It asks for a name that no route has.
        Unknown = "unknown",
        /// The same, and it was refused.
        UnknownRefused = "unknown_refused",
        /// The kernel did not take the program's choice.
        SelectFailed = "select_failed",
        /// Besides: another worker had accepted it and handed it on.
        HandedOff = "handed_off",
    }
}

label! {
    /// What became of a segment that places no connection.
    SegmentOutcome {
        /// It ends no handshake.
        Passed = "passed",
        /// A SYN, answered with a reset since the process ends.
        Closed = "closed",
        /// A bare ACK, dropped so that the hello completes the handshake.
        Deferred = "deferred",
        /// It came before the bytes in front of it, and was dropped to come again.
        OutOfOrder = "out_of_order",
    }
}

label! {
    /// How a handshake with a client ended.
    HandshakeResult {
        /// It completed.
        Ok = "ok",
        /// The client went away.
        ClientGone = "client_gone",
        /// It took too long.
        Timeout = "timeout",
        /// A client certificate is required and none came.
        ClientCertificateMissing = "client_certificate_missing",
        /// The client's certificate was not accepted.
        ClientCertificateInvalid = "client_certificate_invalid",
        /// No certificate of ours serves the name or the client's algorithms.
        NoCertificate = "no_certificate",
        /// It asks for a name that no route has, and such are refused.
        UnknownName = "unknown_name",
        /// What came is not TLS: garbage, or plain HTTP.
        NotTls = "not_tls",
        /// More TLS input than any handshake message may take, and no whole one.
        Oversized = "oversized",
        /// The client rejected our certificate: it does not know the CA, or the certificate does not
        /// cover the name or has expired.
        ServerCertificateRejected = "server_certificate_rejected",
        /// TLS that cannot be agreed on, or is broken.
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
        /// None was agreed on.
        Unknown = "unknown",
    }
}

label! {
    /// An HTTP version, as far as it matters to a proxy.
    HttpProtocol, HttpProtocolCells {
        /// HTTP/1.0 and HTTP/1.1
        H1 = "h1",
        /// HTTP/2
        H2 = "h2",
    }
}

label! {
    /// Why an upstream gave no response: `upstream::FailureKind` in this room's words.
    UpstreamFailure, UpstreamFailureCells {
        /// The name does not resolve.
        Resolve = "resolve",
        /// No TCP connection.
        Connect = "connect",
        /// No connection in time.
        ConnectTimeout = "connect_timeout",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The connection ended before a response.
        Closed = "closed",
        /// What came is not HTTP.
        Protocol = "protocol",
        /// No response in time.
        ResponseTimeout = "response_timeout",
        /// The client's request body failed.
        RequestBody = "request_body",
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
        /// No response was sent, or a code that is none.
        Other = "other",
    }
}

impl CodeClass {
    /// The class of this code; 0 stands for no response.
    pub fn of(status: u16) -> CodeClass {
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
        values_are_distinct_and_in_place::<ClosedReason>();
        values_are_distinct_and_in_place::<SteeringOutcome>();
        values_are_distinct_and_in_place::<SegmentOutcome>();
        values_are_distinct_and_in_place::<HandshakeResult>();
        values_are_distinct_and_in_place::<TlsVersion>();
        values_are_distinct_and_in_place::<HttpProtocol>();
        values_are_distinct_and_in_place::<UpstreamFailure>();
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
