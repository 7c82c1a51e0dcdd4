//! What a process leaves to the next one: ended sessions, and sessions with their refresh tokens.
//! Pure.

use std::sync::Arc;

use super::session_table::{Grant, SessionEntry};
use crate::{
    identity::{
        calls::RenewedSession,
        ended_users::{EndedUsers, UserEnd, UserSelector},
        provider_tokens::WantedTokens,
        session::{ProviderId, SessionId},
        wire::{FieldReader, FieldWriter},
    },
    policy,
};

const VERSION: u8 = 2;
const VERSION_OF_ONE_CLIENT: u8 = 1;
/// The most bytes of all sessions together. Others are left out, and are to the next process as if
/// it had no file.
const MAX_SESSION_BYTES: usize = 128 << 20;

/// The state of one process. A clone of it is cheap beside its encoding.
#[derive(Clone)]
pub(super) struct SavedState {
    /// Sessions from before this second must be checked before they count.
    pub(super) suspect_before_s: u64,
    /// Users whose sessions were ended all at once.
    pub(super) users: Arc<EndedUsers>,
    /// Sessions that ended, each with the second until which it is remembered.
    pub(super) ended: Vec<(SessionId, u64)>,
    /// Sessions that count.
    pub(super) sessions: Vec<(SessionId, SessionEntry)>,
}

impl SavedState {
    /// The content of the file; `None` if a text is longer than any that we keep.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut fields = FieldWriter::default();
        fields.fixed(&[VERSION]).number(self.suspect_before_s);
        fields.number(self.users.len() as u64);
        for (user, UserEnd { ended_before_s, suspect_before_s, until_s }) in self.users.iter() {
            let kind = matches!(user, UserSelector::Email(_));
            fields.fixed(&[u8::from(kind)]).text(user.text().as_bytes());
            fields.number(ended_before_s).number(suspect_before_s).number(until_s);
        }
        fields.number(self.ended.len() as u64);
        for (id, until_s) in &self.ended {
            fields.fixed(&id.0).number(*until_s);
        }
        let mut left = MAX_SESSION_BYTES;
        for (id, entry) in &self.sessions {
            let Some(bytes) = encode_session(entry).filter(|bytes| bytes.len() <= left) else {
                continue;
            };
            left -= bytes.len();
            fields.fixed(&id.0).long(&bytes);
        }
        fields.finish()
    }

    /// Reads the whole of what [`SavedState::encode`] wrote; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<SavedState> {
        let mut fields = FieldReader::new(bytes);
        // Before there were clients of single routes, the file named the client of all sessions.
        let of_all = match fields.byte()? {
            VERSION => None,
            VERSION_OF_ONE_CLIENT => Some(ProviderId(fields.fixed()?)),
            _ => return None,
        };
        let suspect_before_s = fields.number()?;
        let mut users = EndedUsers::default();
        for _ in 0..fields.number()? {
            let (user, end) = decode_user(&mut fields)?;
            users.set(&user, end);
        }
        let mut ended = Vec::new();
        for _ in 0..fields.number()? {
            ended.push((SessionId(fields.fixed()?), fields.number()?));
        }
        let mut sessions = Vec::new();
        while !fields.is_empty() {
            sessions.push((SessionId(fields.fixed()?), decode_session(fields.long()?, of_all)?));
        }
        let users = Arc::new(users);
        Some(SavedState { suspect_before_s, users, ended, sessions })
    }
}

fn decode_user(fields: &mut FieldReader<'_>) -> Option<(UserSelector, UserEnd)> {
    let is_email = fields.byte()? == 1;
    let name = fields.text()?.into();
    let user = if is_email { UserSelector::Email(name) } else { UserSelector::Id(name) };
    let (ended_before_s, suspect_before_s) = (fields.number()?, fields.number()?);
    Some((user, UserEnd { ended_before_s, suspect_before_s, until_s: fields.number()? }))
}

fn encode_session(entry: &SessionEntry) -> Option<Vec<u8>> {
    let current = &entry.current;
    let claims = serde_json::to_vec(&current.identity.claims).ok()?;
    let mut fields = FieldWriter::default();
    fields.fixed(&entry.client.0);
    match &entry.grant {
        Grant::RefreshToken(token) => fields.fixed(&[0]).text(token.as_bytes()).number(0),
        Grant::AccessToken { token, ends_at_s } => {
            fields.fixed(&[1]).text(token.as_bytes()).number(*ends_at_s)
        }
    };
    fields
        .long(entry.id_token.as_bytes())
        .text(entry.subject.as_bytes())
        .text(entry.provider_session().unwrap_or_default().as_bytes())
        .number(entry.began_at_s)
        .number(entry.checked_at_s)
        .fixed(&[u8::from(entry.was_answered)])
        .text(current.identity.user_id.as_bytes())
        .text(current.identity.email.as_bytes())
        .long(&claims)
        .text(current.name.as_bytes())
        .fixed(&current.claims_digest)
        .number(current.check_at_s)
        .number(current.ends_at_s);
    fields.finish()
}

/// A session without the tokens that upstreams get: its next check brings others.
fn decode_session(bytes: &[u8], of_all: Option<ProviderId>) -> Option<SessionEntry> {
    let mut fields = FieldReader::new(bytes);
    let client = match of_all {
        Some(client) => client,
        None => ProviderId(fields.fixed()?),
    };
    let (kind, token, token_ends_at_s) = (fields.byte()?, fields.text()?, fields.number()?);
    let grant = match kind {
        0 => Grant::RefreshToken(token.into()),
        1 => Grant::AccessToken { token: token.into(), ends_at_s: token_ends_at_s },
        _ => return None,
    };
    let id_token = std::str::from_utf8(fields.long()?).ok()?.into();
    let subject = fields.text()?.into();
    let provider_session = Some(fields.text()?).filter(|sid| !sid.is_empty()).map(Arc::from);
    let (began_at_s, checked_at_s) = (fields.number()?, fields.number()?);
    let was_answered = fields.byte()? == 1;
    let identity = policy::Identity {
        user_id: fields.text()?.into(),
        email: fields.text()?.into(),
        claims: serde_json::from_slice(fields.long()?).ok()?,
    };
    let current = Arc::new(RenewedSession {
        identity,
        name: fields.text()?.into(),
        claims_digest: fields.fixed()?,
        check_at_s: fields.number()?,
        ends_at_s: fields.number()?,
        tokens: None,
    });
    fields.end()?;
    Some(SessionEntry {
        client,
        grant,
        id_token,
        subject,
        provider_session,
        current,
        began_at_s,
        checked_at_s,
        was_answered,
        asked: WantedTokens::default(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::identity::jose::IdTokenClaims;

    /// A state with something of every kind.
    pub(in crate::identity::control) fn state() -> SavedState {
        let mut users = EndedUsers::default();
        let end = UserEnd { ended_before_s: 5, suspect_before_s: 6, until_s: 4_000_000_000 };
        users.set(&UserSelector::Id("eve".into()), end);
        users.set(&UserSelector::Email("Eve@example.com".into()), end);
        let by_access = Grant::AccessToken { token: "access".into(), ends_at_s: 77 };
        SavedState {
            suspect_before_s: 7,
            users: Arc::new(users),
            ended: vec![(SessionId([3; 16]), 100), (SessionId([4; 16]), 200)],
            sessions: vec![
                (SessionId([1; 16]), entry(Grant::RefreshToken("refresh".into()))),
                (SessionId([2; 16]), entry(by_access)),
            ],
        }
    }

    fn entry(grant: Grant) -> SessionEntry {
        let claims = json!({"groups": ["a"], "n": 1.5});
        let current = RenewedSession {
            identity: policy::Identity {
                user_id: "ann".into(),
                email: "ann@example.com".into(),
                claims: claims.as_object().unwrap().clone(),
            },
            name: "Ann \u{e9}".into(),
            claims_digest: [1; 8],
            check_at_s: 600,
            ends_at_s: 50_000,
            tokens: None,
        };
        let id_token = IdTokenClaims {
            claims: json!({"sid": "s"}).as_object().unwrap().clone(),
            subject: "ann-sub".into(),
            issued_at_s: 0,
            expires_at_s: 0,
        };
        let mut entry =
            SessionEntry::new(ProviderId([9; 16]), grant, &id_token, Arc::new(current), 50);
        (entry.checked_at_s, entry.was_answered) = (60, false);
        entry
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let bytes = state().encode().unwrap();
        let read = SavedState::decode(&bytes).unwrap();
        assert_eq!(read.suspect_before_s, 7);
        assert_eq!(read.ended, state().ended);
        let eve = policy::Identity { email: "EVE@example.com".into(), ..Default::default() };
        let end = UserEnd { ended_before_s: 5, suspect_before_s: 6, until_s: 4_000_000_000 };
        assert_eq!((read.users.len(), read.users.end_of(&eve)), (2, end));
        let [(id, first), (_, second)] = &*read.sessions else { panic!() };
        let (_, written) = &state().sessions[0];
        assert_eq!((id.0, &first.current), ([1; 16], &written.current));
        assert_eq!(first.client, ProviderId([9; 16]));
        assert_eq!(first.id_token().claims["sid"], "s");
        assert_eq!((&*first.subject, first.provider_session()), ("ann-sub", Some("s")));
        assert_eq!((first.began_at_s, first.checked_at_s, first.was_answered), (50, 60, false));
        assert!(matches!(&first.grant, Grant::RefreshToken(token) if **token == *"refresh"));
        let Grant::AccessToken { token, ends_at_s } = &second.grant else { panic!() };
        assert_eq!((&**token, *ends_at_s), ("access", 77));
    }

    #[test]
    fn a_file_of_before_clients_of_routes_names_one_client() {
        let mut session = FieldWriter::default();
        let long = encode_session(&entry(Grant::RefreshToken("refresh".into()))).unwrap();
        session.fixed(&[1; 16]).long(&long[16..]);
        let mut file = FieldWriter::default();
        file.fixed(&[VERSION_OF_ONE_CLIENT]).fixed(&[7; 16]).number(5).number(0).number(0);
        file.fixed(&session.finish().unwrap());
        let read = SavedState::decode(&file.finish().unwrap()).unwrap();
        let [(_, session)] = &*read.sessions else { panic!() };
        assert_eq!((session.client, read.suspect_before_s), (ProviderId([7; 16]), 5));
    }

    #[test]
    fn a_state_of_another_version_or_with_a_cut_session_is_refused() {
        let bytes = state().encode().unwrap();
        let mut other = bytes.clone();
        other[0] = 3;
        assert!(SavedState::decode(&other).is_none());
        assert!(SavedState::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(SavedState::decode(&[bytes, vec![0]].concat()).is_none());
        assert!(SavedState::decode(&[]).is_none());
    }

    #[test]
    fn a_session_that_cannot_be_written_is_left_out() {
        let mut state = state();
        state.sessions[0].1.subject = "s".repeat(70_000).into();
        let read = SavedState::decode(&state.encode().unwrap()).unwrap();
        assert_eq!(read.sessions.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [[2; 16]]);
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_read_or_refused_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0..600usize,
            byte: u8,
        ) {
            let _ = SavedState::decode(&bytes);
            let mut changed = state().encode().unwrap();
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            let _ = SavedState::decode(&changed);
        }
    }
}
