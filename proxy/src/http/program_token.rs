//! The token that a program presents in the place of a session cookie.

use std::fmt;

use http::{HeaderMap, HeaderName, header};

use super::{bearer::bearer, headers::program_token};

const POMERIUM_AUTHORIZATION: HeaderName = HeaderName::from_static("x-pomerium-authorization");

/// The token of a request, in `X-Pomerium-Authorization` or `Authorization`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PresentedProgramToken<'h> {
    /// The request has none.
    None,
    One(&'h [u8]),
    /// There are several.
    Several,
}

impl<'h> PresentedProgramToken<'h> {
    /// Reads both headers. What counts here is taken out of the request for the upstream.
    pub(super) fn of(headers: &'h HeaderMap) -> PresentedProgramToken<'h> {
        let own = headers.get_all(POMERIUM_AUTHORIZATION).iter();
        let own = own.map(|field| field.as_bytes().trim_ascii());
        let usual = headers.get_all(header::AUTHORIZATION).iter().filter_map(program_token);
        let mut tokens = own.chain(usual);
        match (tokens.next(), tokens.next()) {
            (None, _) => PresentedProgramToken::None,
            (Some(token), None) => PresentedProgramToken::One(token),
            (Some(_), Some(_)) => PresentedProgramToken::Several,
        }
    }
}

/// Whether a request has a bearer token that is not a program's, too.
pub(super) fn has_bearer_besides(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    fields.any(|field| bearer(field).is_some() && program_token(field).is_none())
}

/// Without the token, which is a secret.
impl fmt::Debug for PresentedProgramToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PresentedProgramToken::None => "None",
            PresentedProgramToken::One(_) => "One(..)",
            PresentedProgramToken::Several => "Several",
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_token_is_taken_from_each_of_three_forms() {
        for field in [
            ("x-pomerium-authorization", "a.b.c"),
            ("authorization", "Pomerium a.b.c"),
            ("authorization", "pomerium \t a.b.c "),
            ("authorization", "Bearer Pomerium-a.b.c"),
            ("authorization", "bearer  pomerium-a.b.c"),
        ] {
            let presented = headers(&[field]);
            let token = PresentedProgramToken::of(&presented);
            assert_eq!(token, PresentedProgramToken::One(b"a.b.c"), "{field:?}");
            assert!(!has_bearer_besides(&presented), "{field:?}");
        }
    }

    #[test]
    fn other_credentials_are_no_token_of_a_program() {
        for field in [
            ("authorization", "Bearer a.b.c"),
            ("authorization", "Basic UG9tZXJpdW0tYS5iLmM="),
            ("authorization", "PomeriumX a.b.c"),
            ("authorization", "Bearer xPomerium-a.b.c"),
            ("proxy-authorization", "Pomerium a.b.c"),
            ("cookie", "pomerium_jwt=a.b.c"),
        ] {
            assert_eq!(PresentedProgramToken::of(&headers(&[field])), PresentedProgramToken::None);
        }
    }

    #[test]
    fn several_tokens_do_not_count() {
        let (own, usual) = (("x-pomerium-authorization", "a"), ("authorization", "Pomerium a"));
        for fields in [[own, own], [own, usual], [usual, ("authorization", "Bearer Pomerium-a")]] {
            let presented = headers(&fields);
            let several = PresentedProgramToken::of(&presented);
            assert_eq!(several, PresentedProgramToken::Several, "{fields:?}");
        }
        let besides = headers(&[own, ("authorization", "Bearer x")]);
        assert_eq!(PresentedProgramToken::of(&besides), PresentedProgramToken::One(b"a"));
        assert!(has_bearer_besides(&besides));
        assert_eq!(format!("{:?}", PresentedProgramToken::of(&besides)), "One(..)");
    }
}
