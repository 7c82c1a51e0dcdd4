//! Signing programs in: a program asks for a URL, a person opens it in a browser and agrees, and the
//! browser brings the program a token of the person's session.
//!
//! ```text
//! R/.pomerium/api/v1/login   login_url  the URL of the next step, as text for the program
//! R/.pomerium/program        ask        the page that asks a person who is signed in at R
//! R/.pomerium/program  POST  grant      302 the program's own URL, with ?pomerium_jwt=…
//! ```
//!
//! Anybody can send somebody a URL of the second step, and nothing binds it to the person who started
//! the program. So it leads to hosts of the configuration alone, a click of the person is needed, and
//! the page says where the token goes and which address asked for it.

use std::net::IpAddr;

use ring::{error::Unspecified, rand::SecureRandom};

use super::{
    answer::{FlowAnswer, FlowEvent, FlowPage, ProgramQuestion, StepInput},
    context::{FlowEnvironment, FlowRequest, SignInContext},
    parameters::{encode, single},
    program_target::ProgramTarget,
    sealed::is_fresh,
    who::{Judgement, RequestSession},
};
use crate::identity::{
    program_token,
    provider_tokens::WantedTokens,
    seal::SealPurpose,
    session::Session,
    shared::IdentityShared,
    spec::{client_network, origin},
    wire::{FieldReader, FieldWriter},
};

const VERSION: u8 = 1;

/// How long a person has to sign in and to agree, in seconds.
const REQUEST_LIFE_S: u64 = 60 * 60;

/// The parameter that names the program's URL.
const REDIRECT_URI: &str = "pomerium_redirect_uri";

/// What a program gets that wants to sign in.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum ProgramLogin {
    /// The URL for a browser.
    Url(String),
    /// It named no URL of its own (404, as in Pomerium).
    Missing,
    /// Its URL is not allowed (400).
    NotAllowed,
    /// Something of ours failed (500).
    Internal,
}

/// A program's wish, on its way through a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProgramRequest {
    issued_s: u64,
    /// The address that asked for it.
    client: IpAddr,
    target: ProgramTarget,
}

/// `/.pomerium/api/v1/login`: what the program is to open in a browser.
pub(crate) fn login_url(
    environment: &FlowEnvironment<'_>,
    request: &FlowRequest<'_>,
) -> ProgramLogin {
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let target = match single(request.query(), REDIRECT_URI) {
        Ok(None) => return ProgramLogin::Missing,
        Ok(Some(text)) => ProgramTarget::parse(&text, &context.spec.program_hosts),
        Err(_) => None,
    };
    let Some(target) = target else { return ProgramLogin::NotAllowed };
    let wish = ProgramRequest { issued_s: now_s, client: request.client, target };
    let content = wish.encode();
    let sealed = content.ok_or(Unspecified).and_then(|content| {
        context.seals().seal(SealPurpose::ProgramRequest, request.host, &content, random)
    });
    match sealed {
        Ok(sealed) => {
            let origin = origin(request.host, request.return_port(context));
            let query = encode([("request", &*sealed)]);
            ProgramLogin::Url(format!("{origin}/.pomerium/program?{query}"))
        }
        Err(Unspecified) => ProgramLogin::Internal,
    }
}

/// The wish that a browser brings; else the page that says so.
pub(crate) fn wish(
    environment: &FlowEnvironment<'_>,
    request: &FlowRequest<'_>,
) -> Result<ProgramRequest, FlowAnswer> {
    let context = environment.context;
    let invalid = |why| FlowAnswer::link_invalid(None, why);
    let text = single(request.query(), "request").ok().flatten();
    let wish = text.and_then(|text| ProgramRequest::open(context, request.host, &text));
    let wish = wish.ok_or_else(|| invalid("the program's request is not ours"))?;
    if !is_fresh(wish.issued_s, REQUEST_LIFE_S, environment.now_s) {
        return Err(invalid("the program's request is late"));
    }
    Ok(wish)
}

/// Asks the person of this session.
pub(crate) fn ask(
    (environment, request): StepInput<'_>,
    wish: &ProgramRequest,
    session: &Session,
) -> FlowAnswer {
    let known_as = match &*session.identity.email {
        "" => session.identity.user_id.clone(),
        email => email.into(),
    };
    let question = ProgramQuestion {
        known_as,
        host: request.host.into(),
        program: wish.target.origin().into(),
        asked_by: wish.asked_by(request.client),
        ends_at_s: session.ends_at_s,
        now_s: environment.now_s,
        action: request.path_and_query.into(),
    };
    FlowAnswer::page(FlowPage::ConfirmProgram(Box::new(question)), FlowEvent::ProgramAsked)
}

/// Brings the program a token of this session: the person has agreed.
pub(crate) fn grant(
    (environment, request): StepInput<'_>,
    wish: &ProgramRequest,
    session: &Session,
) -> FlowAnswer {
    if !request.is_of_own_page() || !request.is_navigation() {
        return FlowAnswer::page(FlowPage::ProgramRefused, FlowEvent::ProgramRefused);
    }
    let FlowEnvironment { context, random, .. } = *environment;
    match context.token(request.host, session, random) {
        Ok(token) => {
            FlowAnswer::redirect(wish.target.with_token(&token), FlowEvent::ProgramSignedIn)
        }
        Err(Unspecified) => FlowAnswer::internal(),
    }
}

impl SignInContext {
    /// A token of a session, for programs at a host. It fails only if the random generator does, or if
    /// the session is too long for a header.
    pub(crate) fn token(
        &self,
        host: &str,
        session: &Session,
        random: &dyn SecureRandom,
    ) -> Result<String, Unspecified> {
        // A program's request gets them here, so that its token stays short.
        let session = session.clone().with_tokens(WantedTokens::default());
        program_token::seal(self.seals(), host, &session, random)
    }

    /// The session of a program's token at a host, if it counts.
    pub(crate) fn session_of_token(
        &self,
        host: &str,
        token: &[u8],
        shared: &IdentityShared,
        now_s: u64,
    ) -> Option<RequestSession> {
        let session = program_token::open(self.seals(), host, token)?;
        let Judgement { state, changed } =
            self.judge(&session, shared, now_s, self.wanted_tokens(host))?;
        let seal_again = changed.is_some();
        let session = changed.unwrap_or(session);
        Some(RequestSession { session, state, seal_again, only_tokens: false })
    }
}

impl ProgramRequest {
    /// The address that asked. Programs mostly run beside the browser, but a proxy, a tunnel or a second
    /// protocol may give it another one: so nobody is refused.
    fn asked_by(&self, browser: IpAddr) -> Box<str> {
        let address = self.client.to_canonical();
        match client_network(address) == client_network(browser) {
            true => address.to_string().into(),
            false => format!("{address}, which is not this browser’s address").into(),
        }
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let mut fields = FieldWriter::default();
        fields.fixed(&[VERSION]).number(self.issued_s);
        fields.text(self.client.to_string().as_bytes()).text(self.target.as_str().as_bytes());
        fields.finish()
    }

    /// A host that is not allowed any more takes no token.
    fn open(context: &SignInContext, host: &str, text: &str) -> Option<ProgramRequest> {
        let unsealed = context.seals().open(SealPurpose::ProgramRequest, host, text.as_bytes())?;
        let mut fields = FieldReader::new(&unsealed.plaintext);
        if fields.byte()? != VERSION {
            return None;
        }
        let wish = ProgramRequest {
            issued_s: fields.number()?,
            client: fields.text()?.parse().ok()?,
            target: ProgramTarget::parse(fields.text()?, &context.spec.program_hosts)?,
        };
        fields.end()?;
        Some(wish)
    }
}
