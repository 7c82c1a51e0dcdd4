//! A strict pass over a compact token, before any other code reads it. Pure.
//!
//! `jsonwebtoken` gives claims as `serde_json` does, so that the last of two members of a name wins,
//! while another reader may take the first. It also reads a `b64` and tokens of any size.

use std::fmt;

use jsonwebtoken::Algorithm;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::{algorithm, base64url, error::TokenError};

/// The longest token, in bytes.
pub(super) const MAX_TOKEN_LEN: usize = 16 * 1024;

/// What a token is for, by its `typ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    /// `typ` is absent or `JWT`.
    Jwt,
    /// The same, or `at+jwt` (RFC 9068, section 2.1).
    AccessToken,
    /// The same as [`TokenType::Jwt`], or `logout+jwt` (Back-Channel Logout, section 2.4).
    Logout,
}

/// The header of a token that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StrictHeader {
    /// One that we verify.
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

/// Reads the header, and checks the form of all parts. The signature is not verified yet.
pub(super) fn check(token: &str, token_type: TokenType) -> Result<StrictHeader, TokenError> {
    checked(token, token_type).map(|(header, _)| header)
}

/// Reads the claims, of which nothing is verified.
pub(super) fn unverified_claims(
    token: &str,
    token_type: TokenType,
) -> Result<Map<String, Value>, TokenError> {
    checked(token, token_type).map(|(_, claims)| claims)
}

fn checked(
    token: &str,
    token_type: TokenType,
) -> Result<(StrictHeader, Map<String, Value>), TokenError> {
    if token.len() > MAX_TOKEN_LEN {
        return Err(TokenError::Invalid("the token is longer than 16 KiB"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Invalid("the token has not three parts"));
    };
    let header = part(header)?;
    let claims = part(payload)?;
    base64url::decode(signature).ok_or(NOT_BASE64URL)?;
    Ok((strict_header(header, token_type)?, claims))
}

const NOT_BASE64URL: TokenError = TokenError::Invalid("a part of the token is not base64url");

fn part(text: &str) -> Result<Map<String, Value>, TokenError> {
    parse_object(&base64url::decode(text).ok_or(NOT_BASE64URL)?).ok_or(TokenError::Invalid(
        "a part of the token is not a JSON object whose members are unique",
    ))
}

fn strict_header(
    header: Map<String, Value>,
    token_type: TokenType,
) -> Result<StrictHeader, TokenError> {
    for (member, reason) in [
        ("crit", "the token has critical extensions (crit)"),
        ("b64", "the token has an unencoded payload (b64)"),
        ("enc", "the token is encrypted"),
        ("zip", "the token is compressed"),
    ] {
        if header.contains_key(member) {
            return Err(TokenError::Invalid(reason));
        }
    }
    check_type(header.get("typ"), token_type)?;
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(algorithm::parse);
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(TokenError::Invalid("the token's kid is no text")),
    };
    match algorithm {
        Some(algorithm) => Ok(StrictHeader { algorithm, kid }),
        None => Err(TokenError::Invalid("the token has no algorithm that we verify")),
    }
}

fn check_type(typ: Option<&Value>, token_type: TokenType) -> Result<(), TokenError> {
    let own = match token_type {
        TokenType::Jwt => None,
        TokenType::AccessToken => Some("at+jwt"),
        TokenType::Logout => Some("logout+jwt"),
    };
    let fits = match typ {
        None => true,
        Some(Value::String(typ)) if typ.eq_ignore_ascii_case("JWT") => true,
        Some(Value::String(typ)) => {
            let typ = typ.strip_prefix("application/").unwrap_or(typ);
            own.is_some_and(|own| typ.eq_ignore_ascii_case(own))
        }
        Some(_) => false,
    };
    fits.then_some(()).ok_or(TokenError::Invalid("the token is of another type (typ)"))
}

/// Reads a JSON object; `None` if it is none, has a member twice at any depth, or is no UTF-8.
pub(crate) fn parse_object(json: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(json).ok()?;
    match serde_json::from_str(text) {
        Ok(UniqueMembers(Value::Object(object))) => Some(object),
        _ => None,
    }
}

/// A JSON value whose objects have each member once. `serde_json` bounds the depth (128).
struct UniqueMembers(Value);

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueMembersVisitor).map(UniqueMembers)
    }
}

struct UniqueMembersVisitor;

impl<'de> Visitor<'de> for UniqueMembersVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no finite number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(UniqueMembers(element)) = elements.next_element()? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, UniqueMembers(value))) = members.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}
