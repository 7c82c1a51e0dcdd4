//! The names that benchmarks, fuzz targets and the tests of the kernel programs use. Everything else
//! is tested beside its code, or from outside by running the proxy.

/// For the tests of the kernel programs.
pub mod steering {
    pub use crate::{steering::Kernel, sys::raise_descriptor_limit};
}

/// For fuzz targets, and benchmarks.
pub mod identity {
    #[cfg(feature = "bench")]
    pub use crate::identity::bench::{SETTINGS, SessionWorker, session_cookies};
    pub use crate::identity::flow::probe as probe_sign_in;
}

/// For fuzz targets.
pub mod probes {
    pub use crate::probe::{probe_config, probe_path, probe_request, probe_response};
}

/// For benchmarks and fuzz targets.
pub mod policy {
    pub use crate::policy::{
        ClientCertificateStatus, EmailAddress, Identity, LeafCertificate, Policy, PolicyInput,
        PolicyOutcome, PolicySpec, RuleResult, SanKind, parse,
    };
}

/// For those who look at the pages.
pub mod pages {
    pub use crate::pages::gallery;
}

/// For fuzz targets.
pub mod jose {
    pub use crate::identity::jose::{
        AllowedAlgorithms, IdTokenClaims, IdTokenRules, Jwks, KeySetError, ProviderKeys, SignError,
        SigningKey, SigningKeyError, TokenError, public_jwks, verify_id_token,
    };
}

/// For benchmarks.
pub mod route {
    pub use crate::route::{HostMatch, Matcher, PathMatch, PortMatch, Table, WildcardHost};
}

/// For benchmarks and fuzz targets.
pub mod tls {
    pub use crate::certificate::ParsedCertificate;
    pub use crate::tls::{
        AltNameKind, AltNameMatcher, CertificateWithKey, ClientAuthMode, ClientAuthSpec,
        ClientTrust, ClientTrustSpec, Codec, ConnectionContext, CrlBundle, CrlStore, ServerTls,
        ServerTlsSpec, TicketKeys, TrustAnchors, with_context,
    };
}

/// For benchmarks.
#[cfg(feature = "bench")]
pub use crate::http::bench as http;
