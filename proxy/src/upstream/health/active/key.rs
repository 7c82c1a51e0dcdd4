//! What tells the checks of endpoints apart.

use super::spec::HealthCheckSpec;
use crate::{
    digest::{Digest, hex},
    upstream::Endpoint,
};

/// The place, the protocol and the TLS identity of an endpoint, its Host, and how it is checked: what
/// is known by one key holds for every cluster, over reloads, and for the process that takes the place
/// of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CheckKey([u8; CheckKey::BYTES]);

impl CheckKey {
    /// Half a digest is far more than tells them apart.
    const BYTES: usize = 16;

    pub(super) fn new(endpoint: &Endpoint, check: &HealthCheckSpec) -> CheckKey {
        let mut digest = Digest::default();
        digest.field(endpoint.key.as_bytes());
        digest.field(endpoint.spec.authority.as_bytes());
        digest.field(&check.digest());
        let mut bytes = [0; CheckKey::BYTES];
        bytes.iter_mut().zip(digest.finish()).for_each(|(byte, of_digest)| *byte = of_digest);
        CheckKey(bytes)
    }

    /// In hexadecimal digits.
    pub(super) fn text(&self) -> String {
        hex(&self.0)
    }

    /// Reads the digits.
    pub(super) fn parse(text: &str) -> Option<CheckKey> {
        let number = u128::from_str_radix(text, 16).ok()?;
        let key = CheckKey(number.to_be_bytes());
        (key.text() == text).then_some(key)
    }
}
