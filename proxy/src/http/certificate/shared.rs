//! The certificates of a worker's connections, each kept once for each name that it is shown to: a
//! client that opens many connections shows them all the same.
//!
//! Everything that is found out of a certificate depends on it, and on nothing of the connection.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak},
};

use rustls_pki_types::CertificateDer;

use super::ClientCertificate;

/// What a client shows, and to whom: certificates are shared within a name, since what one remembers
/// of the CAs that it was judged by is bounded by how many a host has.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Shown {
    pub(super) leaf: CertificateDer<'static>,
    pub(super) intermediates: Vec<CertificateDer<'static>>,
    pub(super) to: Option<Box<str>>,
}

thread_local! {
    static HELD: RefCell<HashMap<Rc<Shown>, Weak<ClientCertificate>>> = RefCell::default();
}

/// The certificate that another connection holds already, or a new one.
pub(super) fn held_once(shown: Shown) -> Rc<ClientCertificate> {
    HELD.with_borrow_mut(|held| {
        if let Some(certificate) = held.get(&shown).and_then(Weak::upgrade) {
            return certificate;
        }
        let certificate = Rc::new(ClientCertificate::of(shown));
        held.insert(Rc::clone(&certificate.shown), Rc::downgrade(&certificate));
        certificate
    })
}

/// Nothing is kept of a certificate that no connection holds any more.
pub(super) fn let_go(shown: &Rc<Shown>) {
    // Once the thread ends there may be none left to keep it.
    let _ = HELD.try_with(|held| {
        let mut held = held.borrow_mut();
        if held.get(shown).is_some_and(|certificate| certificate.strong_count() == 0) {
            held.remove(shown);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(content: &[u8]) -> CertificateDer<'static> {
        content.to_vec().into()
    }

    fn shown(chain: &[&[u8]], to: &str) -> Rc<ClientCertificate> {
        let chain: Vec<_> = chain.iter().map(|content| der(content)).collect();
        ClientCertificate::shown(&chain, Some(to)).unwrap()
    }

    #[test]
    fn connections_that_are_shown_the_same_chain_share_it() {
        let first = shown(&[b"leaf", b"issuer"], "a.example");
        assert!(Rc::ptr_eq(&first, &shown(&[b"leaf", b"issuer"], "a.example")));
    }

    #[test]
    fn whatever_else_is_shown_is_another() {
        let first = shown(&[b"leaf", b"issuer"], "a.example");
        for (chain, to) in [
            (&[&b"leaf"[..], b"issuer"][..], "b.example"),
            (&[b"leaf"], "a.example"),
            (&[b"issuer", b"leaf"], "a.example"),
            (&[b"leaf", b"other"], "a.example"),
            (&[b"other", b"issuer"], "a.example"),
        ] {
            assert!(!Rc::ptr_eq(&first, &shown(chain, to)), "{chain:?} {to}");
        }
    }

    #[test]
    fn nothing_is_kept_once_the_last_has_ended() {
        let before = HELD.with_borrow(HashMap::len);
        let first = shown(&[b"gone"], "a.example");
        let second = shown(&[b"gone"], "a.example");
        drop(first);
        assert_eq!(HELD.with_borrow(HashMap::len), before + 1);
        drop(second);
        assert_eq!(HELD.with_borrow(HashMap::len), before);
        // One that was never shared takes nothing with it.
        let held = shown(&[b"held"], "a.example");
        let to = Some("a.example".into());
        let apart = Shown { leaf: der(b"held"), intermediates: Vec::new(), to };
        drop(ClientCertificate::of(apart));
        assert!(Rc::ptr_eq(&held, &shown(&[b"held"], "a.example")));
    }
}
