//! Looking a route up.

/// Every route's matcher, arranged for look-ups.
#[derive(Debug)]
pub struct Table {}
