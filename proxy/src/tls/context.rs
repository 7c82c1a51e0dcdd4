//! The connection that rustls's callbacks serve.
//!
//! A `ProducesTickets` or a `ClientCertVerifier` sees neither the server name nor the connection,
//! and a connection on the unbuffered API has no field of ours. But all callbacks run inside
//! `process_tls_records`, on the caller's thread: so the context is put into a thread-local slot
//! for the duration of that call.

use std::cell::RefCell;

use portcullis_abi::ClientOffer;
use rustls::{HandshakeKind, crypto::cipher::MessageDecrypter, pki_types::CertificateDer};

use super::{
    chain::ChainError,
    early_data::{EarlyInput, RejectedEarlyData},
    names::normalize_server_name,
    session::TlsSession,
};
use crate::rt::Buffer;

/// The TLS context of one client connection. Kept with the connection, and lent to rustls's
/// callbacks by [`with_context`].
#[derive(Debug, Default)]
pub struct ConnectionContext {
    server_name: Option<Box<str>>,
    session: Option<TlsSession>,
    /// The session is that of the last ticket opened, which rustls may not resume.
    is_offered: bool,
    /// Boxed: most connections have none, and it stays with the connection.
    rare: Option<Box<RareParts>>,
    /// The client offers no version above TLS 1.2.
    is_tls12: bool,
    /// The server has keys of TLS 1.3.
    is_encrypting: bool,
    no_certificate_fits: bool,
}

/// What hardly any connection has.
#[derive(Debug, Default)]
struct RareParts {
    fault: Option<CertificateFault>,
    early_data: Option<RejectedEarlyData>,
}

/// Why the client's certificate does not count.
#[derive(Debug)]
enum CertificateFault {
    /// The handshake fails.
    Rejected(Rejection),
    /// It counts as none.
    Ignored(ChainError),
}

/// A rejected client certificate. Its possession is not proven.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// The reason, with its subject and issuer, for the log.
    pub reason: String,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

impl ConnectionContext {
    /// For a connection whose ClientHello names a server, in any case, with or without a trailing
    /// dot. An IP address counts as no name, as in rustls (RFC 6066, section 3).
    pub fn new(server_name: Option<&str>) -> ConnectionContext {
        ConnectionContext {
            server_name: server_name.and_then(normalize_server_name),
            ..ConnectionContext::default()
        }
    }

    /// The normalised server name by which the configuration is chosen.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Whether the session is full or resumed. Known once the handshake is done and tickets have
    /// been made.
    pub fn session(&self) -> Option<TlsSession> {
        self.session
    }

    /// The client's certificate, if it was rejected.
    pub fn client_rejection(&self) -> Option<&Rejection> {
        match self.fault() {
            Some(CertificateFault::Rejected(rejection)) => Some(rejection),
            _ => None,
        }
    }

    /// Why the client's certificate counts as none, if it sent one that cannot be used. Its possession
    /// is not proven then.
    pub(crate) fn ignored_certificate(&self) -> Option<&ChainError> {
        match self.fault() {
            Some(CertificateFault::Ignored(error)) => Some(error),
            _ => None,
        }
    }

    pub(super) fn ignore_certificate(&mut self, error: ChainError) {
        self.rare.get_or_insert_default().fault = Some(CertificateFault::Ignored(error));
    }

    fn fault(&self) -> Option<&CertificateFault> {
        self.rare.as_ref()?.fault.as_ref()
    }

    /// Takes what the ClientHello says besides the name.
    pub(super) fn set_offer(&mut self, offer: &ClientOffer) {
        self.is_tls12 = !offer.tls13;
        if offer.tls13 && offer.has_early_data() {
            self.rare.get_or_insert_default().early_data = Some(RejectedEarlyData::new());
        }
    }

    /// Whether the client offers no version above TLS 1.2. False if its hello is unknown.
    pub(super) fn is_tls12(&self) -> bool {
        self.is_tls12
    }

    /// Whether the server encrypts what it sends, in TLS 1.3.
    pub(super) fn is_encrypting(&self) -> bool {
        self.is_encrypting
    }

    /// Whether no certificate is of a curve that the client has.
    pub(super) fn no_certificate_fits(&self) -> bool {
        self.no_certificate_fits
    }

    pub(super) fn set_no_certificate_fits(&mut self) {
        self.no_certificate_fits = true;
    }

    /// Removes early data from the front of the input. Returns how many bytes rustls may see now.
    pub(super) fn skip_early_data(&mut self, input: &mut Buffer) -> usize {
        if let Some(rare) = &mut self.rare
            && let Some(early_data) = &mut rare.early_data
        {
            match early_data.skip(input) {
                EarlyInput::Visible(bytes) => return bytes,
                EarlyInput::Over => rare.early_data = None,
            }
        }
        input.len()
    }

    pub(super) fn set_session(&mut self, session: TlsSession) {
        self.session = Some(session);
        self.is_offered = false;
    }

    /// The session of a ticket that opened. rustls decides after that whether to resume it, by server
    /// name and cipher suite.
    pub(super) fn offer_session(&mut self, session: TlsSession) {
        self.session = Some(session);
        self.is_offered = true;
    }

    /// To be called after each step of a handshake. A full handshake discards the session of its
    /// ticket, which would otherwise enter the tickets of another session.
    pub(super) fn stepped(&mut self, kind: Option<HandshakeKind>) {
        let is_full = kind.is_some_and(|kind| kind != HandshakeKind::Resumed);
        if is_full && std::mem::take(&mut self.is_offered) {
            self.session = None;
        }
    }

    pub(super) fn set_client_rejection(&mut self, rejection: Rejection) {
        self.rare.get_or_insert_default().fault = Some(CertificateFault::Rejected(rejection));
    }
}

thread_local! {
    static CURRENT: RefCell<Option<ConnectionContext>> = const { RefCell::new(None) };
}

/// Runs `body`, during which rustls's callbacks see `context`. Every call of rustls for a
/// connection from a client belongs inside one: without a context no certificate is chosen.
pub fn with_context<R>(context: &mut ConnectionContext, body: impl FnOnce() -> R) -> R {
    let _lent = Lent::new(context);
    body()
}

/// Reads the current context; `None` outside of [`with_context`].
pub(super) fn current<R>(read: impl FnOnce(&mut ConnectionContext) -> R) -> Option<R> {
    CURRENT.with_borrow_mut(|slot| slot.as_mut().map(read))
}

/// Sees the decrypter of the client's next records. Early data is told from them by it.
pub(super) fn observe_decrypter(decrypter: Box<dyn MessageDecrypter>) -> Box<dyn MessageDecrypter> {
    CURRENT.with_borrow_mut(|slot| {
        let rare = slot.as_mut().and_then(|context| context.rare.as_mut());
        match rare.and_then(|rare| rare.early_data.as_mut()) {
            Some(early_data) => Box::new(early_data.share(decrypter)),
            None => decrypter,
        }
    })
}

/// Sees that everything sent from here on is encrypted.
pub(super) fn observe_encrypter() {
    current(|context| context.is_encrypting = true);
}

/// Returns the context when dropped, also when rustls panics.
struct Lent<'a> {
    owner: &'a mut ConnectionContext,
    outer: Option<ConnectionContext>,
}

impl<'a> Lent<'a> {
    fn new(owner: &'a mut ConnectionContext) -> Lent<'a> {
        let outer = CURRENT.replace(Some(std::mem::take(owner)));
        Lent { owner, outer }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(context) = CURRENT.replace(self.outer.take()) {
            *self.owner = context;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn current_name() -> Option<String> {
        current(|context| context.server_name().map(String::from)).flatten()
    }

    #[test]
    fn what_callbacks_write_stays_with_the_connection() {
        let session = TlsSession { authenticated_at_s: 7, client_validity: None };
        let mut context = ConnectionContext::new(Some("a.example"));
        with_context(&mut context, || current(|context| context.set_session(session)));
        assert_eq!(context.session(), Some(session));
        assert_eq!(context.server_name(), Some("a.example"));
        assert!(current(|_| ()).is_none(), "nothing is left in the thread");
    }

    #[test]
    fn a_context_within_another_hides_it_and_gives_it_back() {
        let mut outer = ConnectionContext::new(Some("outer.example"));
        let mut inner = ConnectionContext::new(Some("inner.example"));
        with_context(&mut outer, || {
            with_context(&mut inner, || {
                assert_eq!(current_name().as_deref(), Some("inner.example"))
            });
            assert_eq!(current_name().as_deref(), Some("outer.example"));
        });
        assert_eq!(outer.server_name(), Some("outer.example"));
    }

    #[test]
    fn a_panic_leaves_no_context_behind() {
        let mut context = ConnectionContext::new(Some("a.example"));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            with_context(&mut context, || panic!("a bug in a call-back"));
        }));
        assert!(panicked.is_err());
        assert!(current(|_| ()).is_none());
        assert_eq!(context.server_name(), Some("a.example"));
    }

    #[test]
    fn names_are_normalised_and_addresses_are_no_names() {
        let name = |raw| ConnectionContext::new(Some(raw)).server_name().map(String::from);
        assert_eq!(name("WWW.Example.COM.").as_deref(), Some("www.example.com"));
        assert_eq!(name("127.0.0.1"), None);
        assert_eq!(name(""), None);
    }
}
