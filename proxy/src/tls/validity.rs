//! The validity of certificates.

use rustls::pki_types::UnixTime;

/// The time during which a certificate, or a whole chain, is valid; both ends are inclusive (RFC
/// 5280, section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// In seconds since the epoch.
    pub not_before_s: i64,
    /// In seconds since the epoch.
    pub not_after_s: i64,
}

impl Validity {
    /// Unlimited.
    pub(super) const ALWAYS: Validity = Validity { not_before_s: i64::MIN, not_after_s: i64::MAX };

    /// Whether a time, in seconds since the epoch, is within it.
    pub fn contains(&self, now_s: i64) -> bool {
        (self.not_before_s..=self.not_after_s).contains(&now_s)
    }

    /// The intersection of both.
    pub(super) fn intersection(self, other: Validity) -> Validity {
        Validity {
            not_before_s: self.not_before_s.max(other.not_before_s),
            not_after_s: self.not_after_s.min(other.not_after_s),
        }
    }

    /// The reason why a certificate is not valid now.
    pub(super) fn check(&self, now: UnixTime) -> Result<(), webpki::Error> {
        let now_s = seconds(now);
        if now_s < self.not_before_s {
            let not_before = unix_time(self.not_before_s);
            Err(webpki::Error::CertNotValidYet { time: now, not_before })
        } else if now_s > self.not_after_s {
            let not_after = unix_time(self.not_after_s);
            Err(webpki::Error::CertExpired { time: now, not_after })
        } else {
            Ok(())
        }
    }
}

impl From<&x509_parser::certificate::Validity> for Validity {
    fn from(validity: &x509_parser::certificate::Validity) -> Self {
        Validity {
            not_before_s: validity.not_before.timestamp(),
            not_after_s: validity.not_after.timestamp(),
        }
    }
}

/// Seconds since the epoch, signed, as certificates need them.
pub(super) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.try_into().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNE: Validity = Validity { not_before_s: 100, not_after_s: 200 };

    #[test]
    fn both_ends_belong_to_the_validity() {
        assert!(!JUNE.contains(99));
        assert!(JUNE.contains(100));
        assert!(JUNE.contains(200));
        assert!(!JUNE.contains(201));
    }

    #[test]
    fn a_chain_holds_only_while_each_certificate_does() {
        let other = Validity { not_before_s: 150, not_after_s: 300 };
        assert_eq!(JUNE.intersection(other), Validity { not_before_s: 150, not_after_s: 200 });
    }

    #[test]
    fn too_early_and_too_late_are_told_apart() {
        assert!(matches!(JUNE.check(unix_time(99)), Err(webpki::Error::CertNotValidYet { .. })));
        assert!(matches!(JUNE.check(unix_time(201)), Err(webpki::Error::CertExpired { .. })));
        assert!(JUNE.check(unix_time(150)).is_ok());
    }
}
