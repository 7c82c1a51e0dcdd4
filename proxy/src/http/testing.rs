//! What the tests of this room share.

use super::spec::{EscapedSlashes, ForwardedFor, Settings, Underscores};

/// The default settings of Pomerium, without response headers.
pub(super) fn settings() -> Settings {
    Settings {
        read_timeout: None,
        stream_timeout: None,
        upstream_timeout: None,
        max_headers: 100,
        normalize_path: true,
        merge_slashes: true,
        escaped_slashes: EscapedSlashes::Reject,
        underscores: Underscores::Reject,
        forwarded_for: ForwardedFor { skip_append: false, trusted_hops: 0 },
        response_headers: Vec::new(),
        identity_headers: Vec::new(),
    }
}
