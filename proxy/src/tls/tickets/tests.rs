use proptest::prelude::*;

use super::*;
use crate::tls::{
    context::{ConnectionContext, with_context},
    testing::{DAY_S, NOW_S, TestClock},
    validity::Validity,
};

const POLICY: [u8; 32] = [7; 32];
const CRLS: Option<[u8; 32]> = Some([9; 32]);
const BINDING: TicketBinding<'_> =
    TicketBinding { policy: &POLICY, crls: CRLS, server_name: Some("a.example") };
const SESSION: TlsSession = TlsSession { authenticated_at_s: NOW_S, client_validity: None };

fn keys() -> (Arc<TestClock>, Arc<TicketKeys>) {
    let clock = TestClock::new();
    let keys = TicketKeys::with_clock(Arc::<TestClock>::clone(&clock)).unwrap();
    (clock, Arc::new(keys))
}

/// What a connection of this session gets from its ticketer.
fn with_session<R>(
    session: Option<TlsSession>,
    body: impl FnOnce() -> R,
) -> (R, Option<TlsSession>) {
    let mut context = ConnectionContext::new(Some("a.example"));
    if let Some(session) = session {
        context.set_session(session);
    }
    let result = with_context(&mut context, body);
    (result, context.session())
}

fn ticketer(keys: &Arc<TicketKeys>) -> Ticketer {
    Ticketer::new(Arc::clone(keys), POLICY, None, false)
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(plaintext: Vec<u8>, authenticated_at_s: i64, client: Option<(i64, i64)>) {
        let (_, keys) = keys();
        let client_validity =
            client.map(|(not_before_s, not_after_s)| Validity { not_before_s, not_after_s });
        let session = TlsSession { authenticated_at_s, client_validity };
        let ticket = keys.seal(&BINDING, &session, &plaintext).unwrap();
        prop_assert_eq!(keys.open(&BINDING, &ticket), Some((session, plaintext)));
    }

    #[test]
    fn a_ticket_with_any_bit_flipped_does_not_open(plaintext: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
        let (_, keys) = keys();
        let mut ticket = keys.seal(&BINDING, &SESSION, &plaintext).unwrap();
        let at = at.index(ticket.len());
        ticket[at] ^= 1_u8 << bit;
        prop_assert_eq!(keys.open(&BINDING, &ticket), None);
    }

    #[test]
    fn a_ticket_cut_short_or_made_longer_does_not_open(len in 0_usize..200) {
        let (_, keys) = keys();
        let mut ticket = keys.seal(&BINDING, &SESSION, b"plaintext").unwrap();
        prop_assume!(len != ticket.len());
        ticket.resize(len, 0);
        prop_assert_eq!(keys.open(&BINDING, &ticket), None);
    }

    #[test]
    fn a_ticket_opens_in_its_own_scope_alone(
        policy: [u8; 32],
        name in prop::option::of("[a-z.]{0,20}"),
        other_policy: [u8; 32],
        other_name in prop::option::of("[a-z.]{0,20}"),
    ) {
        let (_, keys) = keys();
        let ours = TicketBinding { policy: &policy, crls: CRLS, server_name: name.as_deref() };
        let ticket = keys.seal(&ours, &SESSION, b"plaintext").unwrap();
        prop_assert!(keys.open(&ours, &ticket).is_some());
        let same_policy = TicketBinding { policy: &policy, crls: CRLS, server_name: other_name.as_deref() };
        prop_assert_eq!(keys.open(&same_policy, &ticket).is_some(), name == other_name);
        let same_name = TicketBinding { policy: &other_policy, crls: CRLS, server_name: name.as_deref() };
        prop_assert_eq!(keys.open(&same_name, &ticket).is_some(), policy == other_policy);
    }

    #[test]
    fn no_bytes_make_opening_panic(ticket: Vec<u8>) {
        let (_, keys) = keys();
        prop_assert_eq!(keys.open(&BINDING, &ticket), None);
        let mut named = keys.keys.load()[0].name.to_vec();
        named.extend(ticket);
        prop_assert_eq!(keys.open(&BINDING, &named), None);
    }
}

#[test]
fn no_name_and_an_empty_name_are_different_scopes() {
    let (_, keys) = keys();
    let none = TicketBinding { policy: &POLICY, crls: CRLS, server_name: None };
    let empty = TicketBinding { policy: &POLICY, crls: CRLS, server_name: Some("") };
    let ticket = keys.seal(&none, &SESSION, b"plaintext").unwrap();
    assert!(keys.open(&none, &ticket).is_some());
    assert!(keys.open(&empty, &ticket).is_none());
}

#[test]
fn two_tickets_of_a_session_share_only_the_key_name() {
    let (_, keys) = keys();
    let first = keys.seal(&BINDING, &SESSION, &[0; 100]).unwrap();
    let second = keys.seal(&BINDING, &SESSION, &[0; 100]).unwrap();
    assert_eq!(first[..KEY_NAME_LEN], second[..KEY_NAME_LEN]);
    let same = first.iter().zip(&second).skip(KEY_NAME_LEN).filter(|(a, b)| a == b).count();
    assert!(same < 20, "{same} of {} bytes are the same", first.len());
}

#[test]
fn a_plaintext_too_long_gets_no_ticket() {
    let (_, keys) = keys();
    assert!(keys.seal(&BINDING, &SESSION, &vec![0; MAX_PLAINTEXT_LEN]).is_some());
    assert!(keys.seal(&BINDING, &SESSION, &vec![0; MAX_PLAINTEXT_LEN + 1]).is_none());
    let validity = Validity { not_before_s: 0, not_after_s: NOW_S };
    let longest = TlsSession { client_validity: Some(validity), ..SESSION };
    let ticket = keys.seal(&BINDING, &longest, &vec![0; MAX_PLAINTEXT_LEN]).unwrap();
    assert!(keys.open(&BINDING, &ticket).is_some());
}

#[test]
fn a_key_opens_tickets_until_the_last_it_made_has_expired() {
    let (clock, keys) = keys();
    clock.set(NOW_S + ROTATION_S - 1);
    assert_eq!(keys.rotate(), Ok(false));
    let ticket = keys.seal(&BINDING, &SESSION, b"plaintext").unwrap();

    clock.set(NOW_S + ROTATION_S);
    assert_eq!(keys.rotate(), Ok(true));
    let newer = keys.seal(&BINDING, &SESSION, b"plaintext").unwrap();
    assert_ne!(ticket[..KEY_NAME_LEN], newer[..KEY_NAME_LEN], "the new key makes tickets");

    clock.set(NOW_S + ROTATION_S + LIFETIME_S - 1);
    keys.rotate().unwrap();
    assert!(keys.open(&BINDING, &ticket).is_some());
    clock.set(NOW_S + ROTATION_S + LIFETIME_S);
    keys.rotate().unwrap();
    assert!(keys.open(&BINDING, &ticket).is_none());
    assert!(keys.open(&BINDING, &newer).is_some());
}

#[test]
fn a_clock_that_was_years_ahead_does_not_keep_a_key_for_years() {
    let (clock, keys) = keys();
    let ticket = keys.seal(&BINDING, &SESSION, b"plaintext").unwrap();
    clock.set(NOW_S - 365 * DAY_S);
    assert_eq!(keys.rotate(), Ok(true));
    clock.set(NOW_S - 364 * DAY_S);
    keys.rotate().unwrap();
    assert!(keys.open(&BINDING, &ticket).is_none());
}

#[test]
fn the_number_of_keys_stays_small() {
    let (clock, keys) = keys();
    for hour in 0..1000 {
        clock.set(NOW_S + hour * 3600);
        keys.rotate().unwrap();
        assert!(keys.keys.load().len() <= 4);
    }
}

#[test]
fn nothing_is_made_or_opened_outside_of_a_connection() {
    let (_, keys) = keys();
    let ticketer = ticketer(&keys);
    let (ticket, _) = with_session(None, || ticketer.encrypt(b"plaintext").unwrap());
    assert!(ticketer.encrypt(b"plaintext").is_none());
    assert!(ticketer.decrypt(&ticket).is_none());
}

#[test]
fn a_resumed_connection_hands_on_the_time_of_its_full_handshake() {
    let (clock, keys) = keys();
    let ticketer = ticketer(&keys);
    let (mut ticket, first) = with_session(None, || ticketer.encrypt(b"plaintext").unwrap());
    for hour in 1..24 {
        clock.set(NOW_S + hour * 3600);
        keys.rotate().unwrap();
        let (next, session) = with_session(None, || {
            ticketer.decrypt(&ticket).unwrap();
            ticketer.encrypt(b"plaintext").unwrap()
        });
        assert_eq!(session, first);
        ticket = next;
    }
    clock.set(NOW_S + DAY_S);
    let (opened, session) = with_session(None, || ticketer.decrypt(&ticket));
    assert_eq!((opened, session), (None, None), "a day after the full handshake it is over");
}

#[test]
fn no_ticket_is_made_for_a_certificate_that_has_expired() {
    let (_, keys) = keys();
    let validity = Validity { not_before_s: NOW_S - 10, not_after_s: NOW_S };
    let session = TlsSession { client_validity: Some(validity), ..SESSION };
    let (ticket, _) = with_session(Some(session), || ticketer(&keys).encrypt(b"plaintext"));
    assert!(ticket.is_none());
}

#[test]
fn a_session_without_a_needed_certificate_gets_no_ticket() {
    let (_, keys) = keys();
    let strict = Ticketer::new(Arc::clone(&keys), POLICY, None, true);
    let (ticket, _) = with_session(None, || strict.encrypt(b"plaintext"));
    assert!(ticket.is_none());
    // Even one made under the same scope, which could only be our own mistake.
    let (ticket, _) = with_session(None, || ticketer(&keys).encrypt(b"plaintext").unwrap());
    let (opened, _) = with_session(None, || strict.decrypt(&ticket));
    assert!(opened.is_none());
}

#[test]
fn the_lifetime_told_to_clients_ends_with_the_session() {
    let (_, keys) = keys();
    let ticketer = ticketer(&keys);
    let lifetime = |session| with_session(Some(session), || ticketer.lifetime()).0;
    assert_eq!(i64::from(lifetime(SESSION)), LIFETIME_S);
    let validity = Validity { not_before_s: 0, not_after_s: NOW_S + 60 };
    assert_eq!(lifetime(TlsSession { client_validity: Some(validity), ..SESSION }), 60);
    assert_eq!(lifetime(TlsSession { authenticated_at_s: NOW_S - DAY_S + 5, ..SESSION }), 5);
}

#[test]
fn key_material_is_not_shown() {
    let (_, keys) = keys();
    let shown = format!("{keys:?} {:?}", ticketer(&keys));
    assert_eq!(shown, "TicketKeys { keys: 1, .. } Ticketer { .. }");
}

fn secret(seed: u8, len: usize) -> TicketSecret {
    let bytes: Vec<u8> = (0..len).map(|at| seed.wrapping_add(at as u8)).collect();
    TicketSecret::new(&bytes).unwrap()
}

fn given(secrets: &[TicketSecret]) -> TicketKeys {
    let (_, others) = keys();
    TicketKeys::given(secrets, &others)
}

#[test]
fn the_same_given_keys_open_each_others_tickets() {
    for len in [48, 80] {
        let [one, other] = [0, 1].map(|_| given(&[secret(1, len)]));
        let ticket = one.seal(&BINDING, &SESSION, b"plaintext").unwrap();
        assert!(other.open(&BINDING, &ticket).is_some());
        assert!(given(&[secret(2, len)]).open(&BINDING, &ticket).is_none());
        // The same name with another secret.
        let mut forged = secret(1, len);
        forged.secret[0] ^= 1;
        assert!(given(&[forged]).open(&BINDING, &ticket).is_none());
    }
}

#[test]
fn the_first_given_key_makes_tickets_and_all_open_them() {
    let (old, new) = (secret(1, 80), secret(2, 80));
    let before = given(std::slice::from_ref(&old)).seal(&BINDING, &SESSION, b"plaintext").unwrap();
    let both = given(&[new.clone(), old.clone()]);
    assert!(both.open(&BINDING, &before).is_some());
    let after = both.seal(&BINDING, &SESSION, b"plaintext").unwrap();
    assert!(given(&[new]).open(&BINDING, &after).is_some());
    assert!(given(&[old]).open(&BINDING, &after).is_none());
}

#[test]
fn a_given_key_is_all_of_its_file() {
    for len in [0, 16, 47, 49, 79, 81, 160] {
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        assert_eq!(TicketSecret::new(&bytes).unwrap_err(), TicketSecretError::Length(len));
    }
    let named_zeros = [[7; 16].as_slice(), &[0; 32]].concat();
    assert_eq!(TicketSecret::new(&named_zeros).unwrap_err(), TicketSecretError::Uniform);
    let mut last = [[7; 16].as_slice(), &[1; 31], &[2]].concat();
    let one = given(&[TicketSecret::new(&last).unwrap()]);
    last[47] = 3;
    let other = given(&[TicketSecret::new(&last).unwrap()]);
    let ticket = one.seal(&BINDING, &SESSION, b"plaintext").unwrap();
    assert!(other.open(&BINDING, &ticket).is_none());
}

#[test]
fn a_given_key_is_not_shown() {
    assert_eq!(format!("{:?}", secret(1, 80)), "TicketSecret { .. }");
}
