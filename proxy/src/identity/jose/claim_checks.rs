//! The checks that every token of a provider has to pass (OpenID Connect Core, section 3.1.3.7).

use serde_json::{Map, Value};

use super::error::TokenError;

/// How far clocks may differ, in seconds.
const LEEWAY_S: i64 = 60;

/// The year 5138: a larger number is no time in seconds.
const MAX_TIME_S: f64 = 1e11;

/// What Azure's metadata has in `issuer` for `common`, `organizations` and `consumers`.
const TENANT: &str = "{tenantid}";

/// Google's issuer, and how some of its ID tokens write it, as Google documents.
const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_WITHOUT_SCHEME: &str = "accounts.google.com";

/// `iss` is the issuer; with tenants, `tid` is one of them, and fills the issuer's template.
pub(super) fn issuer(
    claims: &Map<String, Value>,
    issuer: &str,
    tenants: &[Box<str>],
) -> Result<(), TokenError> {
    let other = Err(TokenError::Invalid("iss is another issuer"));
    let Some(iss) = text(claims, "iss") else { return other };
    if tenants.is_empty() {
        // A template is no issuer: without a list of tenants, nobody may choose one.
        let is_google = issuer == GOOGLE && iss == GOOGLE_WITHOUT_SCHEME;
        return if (iss == issuer && !iss.contains(TENANT)) || is_google { Ok(()) } else { other };
    }
    let is_listed = |tid: &&str| tenants.iter().any(|one| one.eq_ignore_ascii_case(tid));
    match text(claims, "tid").filter(is_listed) {
        Some(tid) if iss == issuer.replace(TENANT, tid) => Ok(()),
        Some(_) => other,
        None => Err(TokenError::Invalid("tid is not a tenant that is let in")),
    }
}

/// `aud` holds our client id. If others are there too, `azp` must be; where it is, it is ours.
pub(super) fn audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), TokenError> {
    let named = audiences(claims)?;
    if !named.contains(&client_id) {
        return Err(TokenError::Invalid("aud does not name our client"));
    }
    match claims.get("azp") {
        Some(azp) if azp != client_id => Err(TokenError::Invalid("azp is another client")),
        None if named.len() > 1 => {
            Err(TokenError::Invalid("aud names several clients, and there is no azp"))
        }
        _ => Ok(()),
    }
}

/// `aud` holds one of these audiences. Without any, no token fits.
pub(super) fn one_of_audiences(
    claims: &Map<String, Value>,
    wanted: &[Box<str>],
) -> Result<(), TokenError> {
    let named = audiences(claims)?;
    match wanted.iter().any(|one| named.contains(&&**one)) {
        true => Ok(()),
        false => Err(TokenError::Invalid("aud names none of the configured audiences")),
    }
}

fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, TokenError> {
    let named: Option<Vec<&str>> = match claims.get("aud") {
        Some(Value::String(aud)) => Some(vec![aud]),
        Some(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
        _ => None,
    };
    named.ok_or(TokenError::Invalid("aud is neither a text nor a list of texts"))
}

/// The times of a token, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenTimes {
    pub(super) issued_at: Option<i64>,
    pub(super) expires_at: Option<i64>,
}

/// `iat` and `nbf` are not in the future and `exp` is, where they are there; 60 s do not count.
pub(super) fn times(claims: &Map<String, Value>, now_s: u64) -> Result<TokenTimes, TokenError> {
    let our_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    let issued_at = time(claims, "iat", "iat is no time")?;
    let not_before = time(claims, "nbf", "nbf is no time")?;
    let expires_at = time(claims, "exp", "exp is no time")?;
    for provider_s in [issued_at, not_before].into_iter().flatten() {
        if provider_s > our_s.saturating_add(LEEWAY_S) {
            return Err(TokenError::Clock { provider_s, our_s });
        }
    }
    match expires_at {
        Some(exp) if exp <= our_s.saturating_sub(LEEWAY_S) => {
            Err(TokenError::Clock { provider_s: issued_at.unwrap_or(exp), our_s })
        }
        _ => Ok(TokenTimes { issued_at, expires_at }),
    }
}

/// [`times`], of which `iat` and `exp` are required.
pub(super) fn required_times(
    claims: &Map<String, Value>,
    now_s: u64,
) -> Result<(u64, u64), TokenError> {
    let times = times(claims, now_s)?;
    let required = |time: Option<i64>| time.and_then(|time| u64::try_from(time).ok());
    let issued_at_s = required(times.issued_at).ok_or(TokenError::Invalid("there is no iat"))?;
    let expires_at_s = required(times.expires_at).ok_or(TokenError::Invalid("there is no exp"))?;
    Ok((issued_at_s, expires_at_s))
}

/// A finite number, never a text. A fraction of a second does not count.
fn time(
    claims: &Map<String, Value>,
    name: &str,
    reason: &'static str,
) -> Result<Option<i64>, TokenError> {
    match claims.get(name).map(Value::as_f64) {
        None => Ok(None),
        Some(Some(seconds)) if (0.0..MAX_TIME_S).contains(&seconds) => Ok(Some(seconds as i64)),
        Some(_) => Err(TokenError::Invalid(reason)),
    }
}

/// `sub`: a text of 1 to 255 bytes.
pub(super) fn subject(claims: &Map<String, Value>) -> Result<&str, TokenError> {
    text(claims, "sub")
        .filter(|sub| (1..=255).contains(&sub.len()))
        .ok_or(TokenError::Invalid("sub is not a text of 1 to 255 bytes"))
}

/// The claim, if it is a text.
pub(super) fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}
