//! The tokens of programs: what a program presents in the place of a session cookie. Pure.
//!
//! ```text
//! token = base64url(header) . base64url({"exp":…,"jti":…}) . sealed(jti | session)
//! ```
//!
//! It has the form of a signed JWT, so that programs such as `pomerium-cli` can read when it expires.
//! What stands in the place of the signature is the session, sealed for one host. The other parts
//! follow from it, and are compared: a token with any other byte does not open.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{error::Unspecified, rand::SecureRandom};

use super::{
    seal::{SealPurpose, Seals},
    session::{Session, SessionId},
};

/// `{"alg":"HS256","typ":"JWT"}`. Readers that verify nothing want a known algorithm.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// The longest token that is looked at, in bytes. A session that cookies can hold is shorter.
const MAX_LEN: usize = 24 * 1024;

/// A token of this session for a host.
pub(super) fn seal(
    seals: &Seals,
    host: &str,
    session: &Session,
    random: &dyn SecureRandom,
) -> Result<String, Unspecified> {
    let id = SessionId::generate(random)?;
    let mut content = id.0.to_vec();
    content.extend(session.encode().ok_or(Unspecified)?);
    let sealed = seals.seal(SealPurpose::ProgramToken, host, &content, random)?;
    let token = format!("{HEADER}.{}.{sealed}", payload(id, session));
    (token.len() <= MAX_LEN).then_some(token).ok_or(Unspecified)
}

/// The session of a token that was made for this host. Whether the session counts is another question.
pub(super) fn open(seals: &Seals, host: &str, token: &[u8]) -> Option<Session> {
    let token = std::str::from_utf8(token).ok().filter(|token| token.len() <= MAX_LEN)?;
    let (presented, sealed) = token.strip_prefix(HEADER)?.strip_prefix('.')?.split_once('.')?;
    let content = seals.open(SealPurpose::ProgramToken, host, sealed.as_bytes())?.plaintext;
    let (id, session) = content.split_first_chunk()?;
    let session = Session::decode(session)?;
    (payload(SessionId(*id), &session) == presented).then_some(session)
}

/// The claims that a program can read.
fn payload(id: SessionId, session: &Session) -> String {
    let claims = format!("{{\"exp\":{},\"jti\":\"{id}\"}}", session.ends_at_s);
    BASE64_URL_SAFE_NO_PAD.encode(claims)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;
    use crate::{
        identity::{session::ProviderId, spec::SealSecret},
        policy::Identity,
    };

    const HOST: &str = "app.example";

    fn seals() -> Seals {
        Seals::new(&SealSecret([7; 32]), None, &[])
    }

    fn session() -> Session {
        Session {
            id: SessionId([1; 16]),
            provider: ProviderId([2; 16]),
            binding: [3; 16],
            identity: Identity { user_id: "alice".into(), ..Identity::default() },
            name: "Alice".into(),
            claims_digest: [4; 8],
            signed_in_at_s: 1_700_000_000,
            ends_at_s: 1_700_050_400,
            check_at_s: 1_700_000_600,
            tokens: None,
        }
    }

    fn token() -> String {
        seal(&seals(), HOST, &session(), &SystemRandom::new()).unwrap()
    }

    #[test]
    fn a_token_opens_at_its_host_to_the_session_it_was_made_of() {
        let token = token();
        assert_eq!(open(&seals(), HOST, token.as_bytes()), Some(session()));
        for host in ["other.example", "", "App.example"] {
            assert_eq!(open(&seals(), host, token.as_bytes()), None, "{host}");
        }
        let others = Seals::new(&SealSecret([8; 32]), None, &[]);
        assert_eq!(open(&others, HOST, token.as_bytes()), None);
    }

    #[test]
    fn a_program_can_read_the_algorithm_and_the_end_of_a_token() {
        let (first, second) = (token(), token());
        let part = |token: &str, at: usize| {
            let part = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
            serde_json::from_slice::<serde_json::Value>(&part).unwrap()
        };
        assert_eq!(first.split('.').count(), 3);
        assert_eq!(part(&first, 0), serde_json::json!({"alg": "HS256", "typ": "JWT"}));
        assert_eq!(part(&first, 1)["exp"], 1_700_050_400);
        assert_ne!(part(&first, 1)["jti"], part(&second, 1)["jti"]);
    }

    #[test]
    fn a_token_with_any_other_byte_does_not_open() {
        let token = token();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(open(&seals(), HOST, &changed), None, "{at}");
            assert_eq!(open(&seals(), HOST, &token.as_bytes()[..at]), None, "{at}");
        }
        for longer in [format!("{token}."), format!("{token}A"), format!(" {token}")] {
            assert_eq!(open(&seals(), HOST, longer.as_bytes()), None);
        }
    }

    #[test]
    fn the_claims_of_one_token_do_not_fit_another() {
        let (one, other) = (token(), token());
        let mixed: Vec<_> = [one.split('.').next(), other.split('.').nth(1), one.split('.').nth(2)]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(open(&seals(), HOST, mixed.join(".").as_bytes()), None);
    }

    #[test]
    fn a_session_cookie_is_no_token_and_a_token_no_cookie() {
        let content = session().encode().unwrap();
        let random = SystemRandom::new();
        let cookie = seals().seal(SealPurpose::Session, HOST, &content, &random).unwrap();
        assert_eq!(open(&seals(), HOST, cookie.as_bytes()), None);
        let token = token();
        let (start, sealed) = token.rsplit_once('.').unwrap();
        assert!(seals().open(SealPurpose::Session, HOST, sealed.as_bytes()).is_none());
        assert_eq!(open(&seals(), HOST, format!("{start}.{cookie}").as_bytes()), None);
    }

    #[test]
    fn a_session_too_long_for_a_header_has_no_token() {
        let mut session = session();
        session.name = "x".repeat(MAX_LEN).into();
        assert!(seal(&seals(), HOST, &session, &SystemRandom::new()).is_err());
        assert_eq!(open(&seals(), HOST, &vec![b'A'; MAX_LEN + 1]), None);
    }
}
