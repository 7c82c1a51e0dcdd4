//! Authentication of a connection in place of a request (NTLM, and Negotiate with NTLM in it): what
//! follows on the connection counts as the same user's (RFC 4559 section 6). Pure.

use ::http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, PROXY_AUTHENTICATE, WWW_AUTHENTICATE},
};

use crate::fields::{is, tokens};

/// The schemes, in any case.
const SCHEMES: [&str; 4] = ["ntlm", "negotiate", "kerberos", "credssp"];

/// Whether a request may authenticate the connection that carries it.
pub(super) fn authenticates(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|value| is_of_connection(value.as_bytes()))
}

/// Whether a response asks the client to authenticate the connection.
pub(super) fn challenges(status: StatusCode, headers: &HeaderMap) -> bool {
    let name = match status {
        StatusCode::UNAUTHORIZED => WWW_AUTHENTICATE,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => PROXY_AUTHENTICATE,
        _ => return false,
    };
    // A comma in a quoted parameter may look like the start of a challenge, which does no harm.
    tokens(headers, &name).any(is_of_connection)
}

/// Whether credentials, or a challenge, begin with such a scheme.
fn is_of_connection(value: &[u8]) -> bool {
    let scheme = value.trim_ascii_start().split(u8::is_ascii_whitespace).next().unwrap_or_default();
    SCHEMES.iter().any(|known| is(scheme, known))
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderName, HeaderValue};

    use super::*;

    fn fields(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| (name.clone(), HeaderValue::from_static(value)));
        values.collect()
    }

    #[test]
    fn credentials_of_a_connection_are_known_by_their_scheme() {
        for value in ["NTLM TlRM", "negotiate YII=", "Kerberos x", "CredSSP\tx", "NTLM"] {
            assert!(authenticates(&fields(&AUTHORIZATION, &[value])), "{value}");
        }
        for value in ["Basic NTLM", "Bearer negotiate", "NTLMx y", "Negotiated z", ""] {
            assert!(!authenticates(&fields(&AUTHORIZATION, &[value])), "{value}");
        }
        assert!(authenticates(&fields(&AUTHORIZATION, &["Basic x", "NTLM y"])));
    }

    #[test]
    fn a_challenge_is_found_among_others() {
        let asks = |values: &[&'static str]| {
            challenges(StatusCode::UNAUTHORIZED, &fields(&WWW_AUTHENTICATE, values))
        };
        assert!(asks(&["Negotiate"]));
        assert!(asks(&["Basic realm=\"x\", NTLM"]));
        assert!(asks(&["Basic realm=\"x\"", "ntlm TlRM"]));
        assert!(!asks(&["Basic realm=\"NTLM\"", "Bearer"]));
        assert!(!asks(&[]));
    }

    #[test]
    fn a_challenge_counts_in_the_field_of_its_status_alone() {
        let found = |status, name| challenges(status, &fields(name, &["NTLM"]));
        assert!(found(StatusCode::PROXY_AUTHENTICATION_REQUIRED, &PROXY_AUTHENTICATE));
        assert!(!found(StatusCode::UNAUTHORIZED, &PROXY_AUTHENTICATE));
        assert!(!found(StatusCode::OK, &WWW_AUTHENTICATE));
    }
}
