//! What came of sending a request to an upstream.

use super::limit::Limit;
use crate::upstream::{SendFailure, UpstreamResponse};

/// The upstream's reply, or the limit that was reached before it.
pub(super) type Reply = Result<Result<UpstreamResponse, SendFailure>, Limit>;
