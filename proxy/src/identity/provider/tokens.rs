//! The token endpoint's answers (RFC 6749, sections 5.1 and 5.2). Pure.

use http::StatusCode;
use serde_json::{Map, Value};

use crate::identity::{calls::ProviderFailure, jose};

/// The longest token in bytes.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// The longest life of an access token that we believe, in seconds.
const MAX_EXPIRES_IN_S: u64 = 10 * 365 * 86_400;
/// How much of an `error` is shown.
const MAX_ERROR_CHARS: usize = 64;

/// What the provider gave.
pub(in crate::identity) struct TokenResponse {
    pub(in crate::identity) access_token: Box<str>,
    /// For how long the access token is good.
    pub(in crate::identity) expires_in_s: Option<u64>,
    pub(in crate::identity) refresh_token: Option<Box<str>>,
    pub(in crate::identity) id_token: Option<Box<str>>,
}

/// Reads an answer, whatever its status.
pub(super) fn parse(status: StatusCode, body: &[u8]) -> Result<TokenResponse, ProviderFailure> {
    let answer = jose::parse_object(body);
    if let Some(error) = answer.as_ref().and_then(|answer| answer.get("error")) {
        return Err(refused(error.as_str().unwrap_or("")));
    }
    if status != StatusCode::OK {
        return Err(status_failure(status));
    }
    let answer = answer.ok_or_else(|| invalid("the token endpoint sent no JSON object"))?;
    let token_type = text(&answer, "token_type")?.unwrap_or_default();
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err(invalid("the token endpoint gave no token of the type Bearer"));
    }
    let access_token = text(&answer, "access_token")?;
    Ok(TokenResponse {
        access_token: access_token.ok_or_else(|| invalid("there is no access token"))?,
        expires_in_s: expires_in_s(&answer),
        refresh_token: text(&answer, "refresh_token")?,
        id_token: text(&answer, "id_token")?,
    })
}

/// A status that says all there is.
pub(super) fn status_failure(status: StatusCode) -> ProviderFailure {
    let error = format!("HTTP {}", status.as_u16());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ProviderFailure::Refused { error },
        _ => ProviderFailure::Invalid(error),
    }
}

/// Whether a refusal is about our client or the request, so that it says nothing about the user.
pub(in crate::identity) fn is_about_us(error: &str) -> bool {
    matches!(
        error,
        "invalid_client"
            | "invalid_request"
            | "invalid_scope"
            | "unauthorized_client"
            | "unsupported_grant_type"
    )
}

fn refused(error: &str) -> ProviderFailure {
    // The characters of RFC 6749, appendix A.7.
    let allowed = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    let error: String = error.chars().filter(allowed).take(MAX_ERROR_CHARS).collect();
    match &*error {
        "server_error" | "temporarily_unavailable" | "slow_down" => ProviderFailure::Away(error),
        "" => ProviderFailure::Refused { error: "unknown error".to_owned() },
        _ => ProviderFailure::Refused { error },
    }
}

/// A member that is absent, `null` or empty is none.
fn text(answer: &Map<String, Value>, name: &str) -> Result<Option<Box<str>>, ProviderFailure> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        // A token goes into headers: RFC 6749, appendix A.12.
        Some(Value::String(text))
            if text.len() <= MAX_TOKEN_BYTES
                && text.bytes().all(|b| (b' '..=b'~').contains(&b)) =>
        {
            Ok(Some(text.as_str().into()))
        }
        Some(_) => Err(invalid("the token endpoint sent something that is no token")),
    }
}

/// Some providers write the number as text.
fn expires_in_s(answer: &Map<String, Value>) -> Option<u64> {
    let seconds = match answer.get("expires_in")? {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    seconds.map(|seconds| seconds.min(MAX_EXPIRES_IN_S))
}

fn invalid(why: &str) -> ProviderFailure {
    ProviderFailure::Invalid(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> String {
        match parse(StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
            Ok(_) => "taken".to_owned(),
            Err(ProviderFailure::Refused { error }) => format!("refused {error}"),
            Err(ProviderFailure::Away(error)) => format!("away {error}"),
            Err(other) => format!("{other}"),
        }
    }

    #[test]
    fn an_error_is_an_error_even_with_status_200() {
        assert_eq!(failure(400, r#"{"error":"invalid_grant"}"#), "refused invalid_grant");
        assert_eq!(
            failure(200, r#"{"error":"x","access_token":"a","token_type":"Bearer"}"#),
            "refused x"
        );
        assert_eq!(failure(400, r#"{"error":"server_error"}"#), "away server_error");
        assert_eq!(failure(401, "<html>"), "refused HTTP 401");
        assert_eq!(failure(400, r#"{"error":{"a":1}}"#), "refused unknown error");
    }

    #[test]
    fn an_error_s_text_is_cut_and_has_no_control_characters() {
        let body = format!(r#"{{"error":"a\u0000\r\n\"<é{}"}}"#, "x".repeat(100_000));
        let shown = failure(400, &body);
        assert_eq!(shown, format!("refused a<{}", "x".repeat(62)));
    }

    #[test]
    fn an_answer_without_a_bearer_token_is_not_taken() {
        let good = r#"{"access_token":"a","token_type":"bearer","expires_in":"60"}"#;
        let answer = parse(StatusCode::OK, good.as_bytes()).ok().unwrap();
        assert_eq!((&*answer.access_token, answer.expires_in_s), ("a", Some(60)));
        assert!(answer.refresh_token.is_none() && answer.id_token.is_none());
        for bad in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nb","token_type":"Bearer"}"#,
            r#"{"access_token":7,"token_type":"Bearer"}"#,
            r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#,
        ] {
            assert!(parse(StatusCode::OK, bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(StatusCode::CREATED, good.as_bytes()).is_err());
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        let long = format!(r#"{{"access_token":"{long}","token_type":"Bearer"}}"#);
        assert!(parse(StatusCode::OK, long.as_bytes()).is_err());
    }
}
