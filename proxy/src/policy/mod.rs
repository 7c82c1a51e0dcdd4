//! Who may use a route. Pure: no I/O, clock, randomness or log.

/// What a route asks of a request before it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `allow_public_unauthenticated_access: true`: everybody may.
    Public,
    /// A route that names no policy: nobody may, as in Pomerium.
    Nobody,
}

impl Access {
    /// Whether a request may pass.
    pub fn allows(self) -> bool {
        matches!(self, Access::Public)
    }
}
