//! Values of `Set-Cookie` (6265bis section 4.1).

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use http::HeaderValue;

use crate::identity::spec::SameSite;

/// The attributes of a cookie besides `Secure` and `Path=/`, which all of ours have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CookieAttributes<'a> {
    pub(super) domain: Option<&'a str>,
    pub(super) http_only: bool,
    pub(super) same_site: SameSite,
}

impl CookieAttributes<'_> {
    /// Sets a cookie for some seconds.
    pub(super) fn set(
        self,
        name: &str,
        value: &str,
        now_s: u64,
        max_age_s: u64,
    ) -> Option<HeaderValue> {
        let expires = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(now_s.checked_add(max_age_s)?))
            .filter(|time| *time < SystemTime::UNIX_EPOCH + Duration::from_secs(MAX_DATE_S))?;
        let expires = httpdate::fmt_http_date(expires);
        self.write(format!("{name}={value}; Path=/; Max-Age={max_age_s}; Expires={expires}"))
    }

    /// Deletes a cookie. A browser finds it by name, domain and path, and refuses to touch a name
    /// with a prefix unless the other attributes are there too.
    pub(super) fn delete(self, name: &str) -> Option<HeaderValue> {
        let expires = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
        self.write(format!("{name}=; Path=/; Max-Age=0; Expires={expires}"))
    }

    fn write(self, mut text: String) -> Option<HeaderValue> {
        if let Some(domain) = self.domain {
            // Writing to a String cannot fail.
            let _ = write!(text, "; Domain={domain}");
        }
        text.push_str("; Secure");
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        text.push_str(match self.same_site {
            SameSite::Unset => "",
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()?;
        // Neither in debug output nor in HPACK's table.
        value.set_sensitive(true);
        Some(value)
    }
}

/// The year 9999, up to which a date can be written.
const MAX_DATE_S: u64 = 253_402_300_800;
