//! The sealed objects of a sign-in and a sign-out.

use ring::{error::Unspecified, rand::SecureRandom};

use super::{context::SignInContext, return_path::ReturnPath};
use crate::{
    hostname,
    identity::{
        seal::SealPurpose,
        session::{ProviderId, Session, SessionId},
        spec::{DependentHost, MAX_DEPENDENT_HOSTS, origin},
        wire::{FieldReader, FieldWriter},
    },
};

const VERSION: u8 = 2;
const HANDOVER_VERSION: u8 = 3;

/// The longest state, as text: providers send it back in a URL.
const MAX_STATE_LEN: usize = 1536;

/// The most sessions that a request to sign out names.
const MAX_SESSIONS: usize = 16;

/// How much another node's clock may be ahead, in seconds.
const CLOCK_SKEW_S: u64 = 60;

/// A place at one of our hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReturnPlace {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) path: ReturnPath,
    /// The browser is on its way there, and is signed in at a further host first.
    pub(super) visit: Option<DependentVisit>,
}

/// A sign-in at a further host (`depends_on`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DependentVisit {
    pub(super) at: DependentHost,
    /// The hosts that follow.
    pub(super) rest: Vec<DependentHost>,
}

/// From a route's host to the authenticate host: sign this browser in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SealedSignInRequest {
    pub(super) id: [u8; 16],
    /// The process that made it, and that knows whether it was used.
    pub(super) process: [u8; 16],
    /// Where it was asked for.
    pub(super) place: ReturnPlace,
    /// Digest of the browser's binding to that host.
    pub(super) binding: [u8; 16],
    pub(super) provider: ProviderId,
    pub(super) issued_s: u64,
    /// How often this sign-in began again by itself.
    pub(super) restarts: u8,
}

/// What travels to the provider and back.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SignInState {
    pub(super) id: [u8; 16],
    /// The process that made it, and that knows whether it was used.
    pub(super) process: [u8; 16],
    pub(super) issued_s: u64,
    /// Nonce and PKCE verifier come from it.
    pub(super) seed: [u8; 32],
    /// Digest of the browser's binding to the authenticate host.
    pub(super) binding: [u8; 16],
    pub(super) request: SealedSignInRequest,
}

/// From the authenticate host to a route's host: this browser is signed in.
#[derive(Clone, PartialEq)]
pub(super) struct Handover {
    pub(super) id: [u8; 16],
    /// The process that made it, and that knows whether it was used.
    pub(super) process: [u8; 16],
    pub(super) issued_s: u64,
    pub(super) place: ReturnPlace,
    /// Digest of the browser's binding to the route's host.
    pub(super) binding: [u8; 16],
    pub(super) provider: ProviderId,
    pub(super) restarts: u8,
    pub(super) session: HandedSession,
}

/// What a handover brings.
#[derive(Clone, PartialEq)]
pub(super) enum HandedSession {
    /// The session.
    Here(Session),
    /// The session is too long for a URL: the control thread has it.
    Kept,
    /// No session: the sign-in begins again, in whatever browser this is.
    Missing,
}

/// From a host where somebody has just signed in to a further one: sign in there too.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct DependentSignIn {
    pub(super) issued_s: u64,
    /// The session of that sign-in. A host that has it already is left out.
    pub(super) session: SessionId,
    /// Has a visit: at the host that this is for.
    pub(super) place: ReturnPlace,
}

/// From a route's host to the authenticate host: this session ends.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SignOutRequest {
    pub(super) issued_s: u64,
    /// The sessions of the browser that ended at the host, one of each client.
    pub(super) sessions: Vec<SessionId>,
    /// Where to go at the end.
    pub(super) then: Option<ReturnPlace>,
}

/// Whether something issued at `issued_s` is at most `life_s` old.
pub(super) fn is_fresh(issued_s: u64, life_s: u64, now_s: u64) -> bool {
    issued_s <= now_s.saturating_add(CLOCK_SKEW_S) && now_s <= issued_s.saturating_add(life_s)
}

impl ReturnPlace {
    pub(super) fn url(&self) -> String {
        self.path.absolute(&self.host, self.port)
    }

    /// The host at which the sign-in takes place.
    pub(super) fn sign_in_host(&self) -> &str {
        self.visit.as_ref().map_or(&self.host, |visit| &visit.at.host)
    }

    /// Its origin.
    pub(super) fn sign_in_origin(&self) -> String {
        let (host, port) =
            self.visit.as_ref().map_or((&self.host, self.port), |it| (&it.at.host, it.at.port));
        origin(host, port)
    }

    /// Gives up the query of the path, then the path, then the further hosts; `false` if nothing is
    /// left to give up.
    fn shorten(&mut self) -> bool {
        if self.path != ReturnPath::root() {
            self.path = self.path.shorter();
            return true;
        }
        let rest = self.visit.as_mut().map(|visit| std::mem::take(&mut visit.rest));
        rest.is_some_and(|rest| !rest.is_empty())
    }

    fn write(&self, fields: &mut FieldWriter) {
        write_host(fields, &self.host, self.port);
        fields.text(self.path.as_str().as_bytes());
        let visit = self.visit.as_ref();
        let hosts = visit.into_iter().flat_map(|it| [&it.at].into_iter().chain(&it.rest));
        // No route has more than five.
        fields.fixed(&[u8::try_from(hosts.clone().count()).unwrap_or(u8::MAX)]);
        hosts.for_each(|it| write_host(fields, &it.host, it.port));
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<ReturnPlace> {
        let DependentHost { host, port } = read_host(fields)?;
        let path = ReturnPath::parse(fields.text()?)?;
        let count = usize::from(fields.byte()?);
        let hosts = (0..count.min(MAX_DEPENDENT_HOSTS + 1)).map(|_| read_host(fields));
        let mut hosts: Vec<DependentHost> = hosts.collect::<Option<_>>()?;
        let visit = match hosts.len() {
            0 => None,
            1..=MAX_DEPENDENT_HOSTS => Some(DependentVisit { at: hosts.remove(0), rest: hosts }),
            _ => return None,
        };
        Some(ReturnPlace { host, port, path, visit })
    }
}

fn write_host(fields: &mut FieldWriter, host: &str, port: u16) {
    fields.text(host.as_bytes()).fixed(&port.to_be_bytes());
}

fn read_host(fields: &mut FieldReader<'_>) -> Option<DependentHost> {
    let text = fields.text()?;
    let host = hostname::normalise_host(text).filter(|host| **host == *text)?;
    Some(DependentHost { host, port: u16::from_be_bytes(fields.fixed()?) })
}

impl SealedSignInRequest {
    fn write(&self, fields: &mut FieldWriter) {
        fields.fixed(&self.id).fixed(&self.process);
        self.place.write(fields);
        fields.fixed(&self.binding).fixed(&self.provider.0);
        fields.number(self.issued_s).fixed(&[self.restarts]);
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<SealedSignInRequest> {
        Some(SealedSignInRequest {
            id: fields.fixed()?,
            process: fields.fixed()?,
            place: ReturnPlace::read(fields)?,
            binding: fields.fixed()?,
            provider: ProviderId(fields.fixed()?),
            issued_s: fields.number()?,
            restarts: fields.byte()?,
        })
    }

    pub(super) fn seal(
        &self,
        context: &SignInContext,
        random: &dyn SecureRandom,
    ) -> Result<String, Unspecified> {
        let mut fields = FieldWriter::default();
        fields.fixed(&[VERSION]);
        self.write(&mut fields);
        let host = context.authenticate_host();
        let content = fields.finish().ok_or(Unspecified)?;
        context.seals().seal(SealPurpose::Request, host, &content, random)
    }

    pub(super) fn open(context: &SignInContext, text: &str) -> Option<SealedSignInRequest> {
        let host = context.authenticate_host();
        let content = context.seals().open(SealPurpose::Request, host, text.as_bytes())?.plaintext;
        let mut fields = versioned(&content, VERSION)?;
        let request = SealedSignInRequest::read(&mut fields)?;
        fields.end()?;
        Some(request)
    }
}

impl SignInState {
    /// A state that is too long loses the query of its return path first, then the path, then the
    /// further hosts.
    pub(super) fn seal(
        &self,
        context: &SignInContext,
        random: &dyn SecureRandom,
    ) -> Result<String, Unspecified> {
        let mut state = self.clone();
        loop {
            let text = state.seal_as_it_is(context, random)?;
            if text.len() <= MAX_STATE_LEN || !state.request.place.shorten() {
                return Ok(text);
            }
        }
    }

    fn seal_as_it_is(
        &self,
        context: &SignInContext,
        random: &dyn SecureRandom,
    ) -> Result<String, Unspecified> {
        let mut fields = FieldWriter::default();
        fields.fixed(&[VERSION]).fixed(&self.id).fixed(&self.process).number(self.issued_s);
        fields.fixed(&self.seed).fixed(&self.binding);
        self.request.write(&mut fields);
        let host = context.authenticate_host();
        let content = fields.finish().ok_or(Unspecified)?;
        context.seals().seal(SealPurpose::State, host, &content, random)
    }

    pub(super) fn open(context: &SignInContext, text: &str) -> Option<SignInState> {
        let host = context.authenticate_host();
        let content = context.seals().open(SealPurpose::State, host, text.as_bytes())?.plaintext;
        let mut fields = versioned(&content, VERSION)?;
        let state = SignInState {
            id: fields.fixed()?,
            process: fields.fixed()?,
            issued_s: fields.number()?,
            seed: fields.fixed()?,
            binding: fields.fixed()?,
            request: SealedSignInRequest::read(&mut fields)?,
        };
        fields.end()?;
        Some(state)
    }
}

impl Handover {
    fn encode(&self) -> Option<Vec<u8>> {
        let mut fields = FieldWriter::default();
        fields.fixed(&[HANDOVER_VERSION]).fixed(&self.id).fixed(&self.process);
        self.place.write(fields.number(self.issued_s));
        fields.fixed(&self.binding).fixed(&self.provider.0).fixed(&[self.restarts]);
        match &self.session {
            HandedSession::Missing => fields.fixed(&[0]),
            HandedSession::Here(session) => fields.fixed(&[1]).text(&session.encode()?),
            HandedSession::Kept => fields.fixed(&[2]),
        };
        fields.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Handover> {
        let mut fields = versioned(bytes, HANDOVER_VERSION)?;
        let handover = Handover {
            id: fields.fixed()?,
            process: fields.fixed()?,
            issued_s: fields.number()?,
            place: ReturnPlace::read(&mut fields)?,
            binding: fields.fixed()?,
            provider: ProviderId(fields.fixed()?),
            restarts: fields.byte()?,
            session: match fields.byte()? {
                0 => HandedSession::Missing,
                1 => HandedSession::Here(Session::decode(fields.bytes()?)?),
                2 => HandedSession::Kept,
                _ => return None,
            },
        };
        fields.end()?;
        Some(handover)
    }

    pub(super) fn seal(
        &self,
        context: &SignInContext,
        random: &dyn SecureRandom,
    ) -> Result<String, Unspecified> {
        let content = self.encode().ok_or(Unspecified)?;
        context.seals().seal(SealPurpose::Handover, self.place.sign_in_host(), &content, random)
    }

    pub(super) fn seal_raw(
        &self,
        context: &SignInContext,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, Unspecified> {
        let content = self.encode().ok_or(Unspecified)?;
        context.seals().seal_raw(SealPurpose::Handover, self.place.sign_in_host(), &content, random)
    }

    /// Opens what was sealed for a host.
    pub(super) fn open(context: &SignInContext, host: &str, text: &str) -> Option<Handover> {
        let unsealed = context.seals().open(SealPurpose::Handover, host, text.as_bytes())?;
        Handover::decode(&unsealed.plaintext)
            .filter(|handover| *handover.place.sign_in_host() == *host)
    }

    /// The session that the control thread kept for this handover.
    pub(super) fn open_kept(&self, context: &SignInContext, sealed: &[u8]) -> Option<Session> {
        let host = self.place.sign_in_host();
        let unsealed = context.seals().open_raw(SealPurpose::Handover, host, sealed)?;
        let kept = Handover::decode(&unsealed.plaintext)?;
        let is_same = Handover { session: HandedSession::Kept, ..kept.clone() } == *self;
        match kept.session {
            HandedSession::Here(session) if is_same => Some(session),
            _ => None,
        }
    }
}

impl DependentSignIn {
    pub(super) fn seal(
        &self,
        context: &SignInContext,
        random: &dyn SecureRandom,
    ) -> Result<String, Unspecified> {
        let mut fields = FieldWriter::default();
        fields.fixed(&[VERSION]).number(self.issued_s).fixed(&self.session.0);
        self.place.write(&mut fields);
        let content = fields.finish().ok_or(Unspecified)?;
        context.seals().seal(SealPurpose::Dependent, self.place.sign_in_host(), &content, random)
    }

    /// Opens what was sealed for a host.
    pub(super) fn open(context: &SignInContext, host: &str, text: &str) -> Option<DependentSignIn> {
        let unsealed = context.seals().open(SealPurpose::Dependent, host, text.as_bytes())?;
        let mut fields = versioned(&unsealed.plaintext, VERSION)?;
        let sign_in = DependentSignIn {
            issued_s: fields.number()?,
            session: SessionId(fields.fixed()?),
            place: ReturnPlace::read(&mut fields)?,
        };
        fields.end()?;
        sign_in.place.visit.as_ref().is_some_and(|it| *it.at.host == *host).then_some(sign_in)
    }
}

impl SignOutRequest {
    pub(super) fn seal(
        &self,
        context: &SignInContext,
        random: &dyn SecureRandom,
    ) -> Result<String, Unspecified> {
        let mut fields = FieldWriter::default();
        fields.fixed(&[VERSION]).number(self.issued_s);
        let sessions = self.sessions.iter().take(MAX_SESSIONS);
        fields.fixed(&[u8::try_from(sessions.len()).map_err(|_| Unspecified)?]);
        for SessionId(id) in sessions {
            fields.fixed(id);
        }
        match &self.then {
            Some(place) => place.write(fields.fixed(&[1])),
            None => drop(fields.fixed(&[0])),
        }
        let host = context.authenticate_host();
        let content = fields.finish().ok_or(Unspecified)?;
        context.seals().seal(SealPurpose::SignOut, host, &content, random)
    }

    pub(super) fn open(context: &SignInContext, text: &str) -> Option<SignOutRequest> {
        let host = context.authenticate_host();
        let content = context.seals().open(SealPurpose::SignOut, host, text.as_bytes())?.plaintext;
        let mut fields = versioned(&content, VERSION)?;
        let request = SignOutRequest {
            issued_s: fields.number()?,
            sessions: match usize::from(fields.byte()?) {
                count @ 0..=MAX_SESSIONS => {
                    let ids = (0..count).map(|_| fields.fixed().map(SessionId));
                    ids.collect::<Option<_>>()?
                }
                _ => return None,
            },
            then: match fields.byte()? {
                0 => None,
                1 => Some(ReturnPlace::read(&mut fields)?),
                _ => return None,
            },
        };
        fields.end()?;
        Some(request)
    }
}

fn versioned(content: &[u8], version: u8) -> Option<FieldReader<'_>> {
    let mut fields = FieldReader::new(content);
    (fields.byte()? == version).then_some(fields)
}

#[cfg(test)]
mod tests;
