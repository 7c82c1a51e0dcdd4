use http::{HeaderMap, HeaderValue, header::COOKIE};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use serde_json::json;
use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    identity::{
        binding::{BrowserBinding, LastSignIn},
        provider_tokens::ProviderTokens,
        seal::Seals,
        session::{BindingId, ProviderId, Session, SessionId},
        spec::{CookieSpec, SameSite, SealSecret},
    },
    policy::Identity,
};

const NOW_S: u64 = 1_700_000_000;

fn spec() -> CookieSpec {
    CookieSpec {
        name: "_pomerium".into(),
        domain: None,
        http_only: true,
        expire: Duration::from_secs(50_400),
        same_site: SameSite::Lax,
    }
}

fn cookies_by(spec: &CookieSpec) -> IdentityCookies {
    IdentityCookies::new(spec, Arc::new(Seals::new(&SealSecret([1; 32]), None, &[])))
}

fn session(claims: serde_json::Value) -> Session {
    Session {
        id: SessionId([1; 16]),
        provider: ProviderId([2; 16]),
        binding: [3; 16],
        identity: Identity {
            user_id: "alice".into(),
            email: "alice@example.com".into(),
            claims: claims.as_object().unwrap().clone(),
        },
        name: "Alice".into(),
        claims_digest: [4; 8],
        signed_in_at_s: NOW_S,
        ends_at_s: NOW_S + 100,
        check_at_s: NOW_S + 50,
        tokens: None,
    }
}

fn groups(count: usize) -> Session {
    let groups: Vec<_> = (0..count).map(|n| format!("group-number-{n}-of-the-company")).collect();
    session(json!({"groups": groups, "title": "x"}))
}

fn request(fields: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(COOKIE, HeaderValue::from_str(field).unwrap());
    }
    headers
}

/// `name=value` of `Set-Cookie` values, as a browser would send them.
fn sent(set: &[HeaderValue]) -> Vec<String> {
    let pair = |value: &HeaderValue| value.to_str().unwrap().split(';').next().unwrap().to_owned();
    set.iter().map(pair).collect()
}

fn set(cookies: &IdentityCookies, session: &Session) -> Vec<HeaderValue> {
    cookies
        .set_session(
            "app.example",
            session,
            &RequestCookies::default(),
            NOW_S,
            &SystemRandom::new(),
        )
        .unwrap()
}

fn read(cookies: &IdentityCookies, host: &str, fields: &[String]) -> Vec<Session> {
    let headers = request(fields);
    let opened = cookies.sessions(host, &cookies.read(&headers));
    opened.into_iter().map(|opened| opened.session).collect()
}

#[test]
fn a_session_cookie_has_every_attribute() {
    let value = |spec: &CookieSpec| {
        let set = set(&cookies_by(spec), &groups(1));
        set[0].to_str().unwrap().split_once("; ").unwrap().1.to_owned()
    };
    let expires = "Path=/; Max-Age=100; Expires=Tue, 14 Nov 2023 22:15:00 GMT";
    assert_eq!(value(&spec()), format!("{expires}; Secure; HttpOnly; SameSite=Lax"));
    for (same_site, written) in [
        (SameSite::Unset, ""),
        (SameSite::Strict, "; SameSite=Strict"),
        (SameSite::None, "; SameSite=None"),
    ] {
        let spec = CookieSpec { same_site, http_only: false, ..spec() };
        assert_eq!(value(&spec), format!("{expires}; Secure{written}"));
    }
    let spec = CookieSpec { domain: Some("example".into()), ..spec() };
    assert_eq!(value(&spec), format!("{expires}; Domain=example; Secure; HttpOnly; SameSite=Lax"));
}

#[test]
fn a_session_opens_at_its_own_host_alone() {
    let cookies = cookies_by(&spec());
    let sent = sent(&set(&cookies, &groups(1)));
    assert_eq!(read(&cookies, "app.example", &sent), [groups(1)]);
    assert!(read(&cookies, "other.example", &sent).is_empty());
}

#[test]
fn with_a_cookie_domain_a_session_opens_at_the_hosts_below_it() {
    let cookies = cookies_by(&CookieSpec { domain: Some("example".into()), ..spec() });
    let pieces = set(&cookies, &groups(1));
    let sent = sent(&pieces);
    assert_eq!(read(&cookies, "other.example", &sent), [groups(1)]);
    assert_eq!(read(&cookies, "example", &sent), [groups(1)]);
    for outside in ["badexample", "example.com", "xample"] {
        assert!(read(&cookies, outside, &sent).is_empty(), "{outside}");
        let own = cookies
            .set_session(
                outside,
                &groups(1),
                &RequestCookies::default(),
                NOW_S,
                &SystemRandom::new(),
            )
            .unwrap();
        assert!(!own[0].to_str().unwrap().contains("Domain"));
        assert_eq!(read(&cookies, outside, &self::sent(&own)), [groups(1)]);
    }
}

#[test]
fn every_changed_byte_of_a_session_cookie_makes_it_nobody() {
    let cookies = cookies_by(&spec());
    let sent = sent(&set(&cookies, &groups(1)));
    let (name, value) = sent[0].split_once('=').unwrap();
    for at in 0..value.len() {
        for byte in [b'A', b'B', b'_', b'~', b'='] {
            let mut changed = value.as_bytes().to_vec();
            if std::mem::replace(&mut changed[at], byte) == byte {
                continue;
            }
            let field = format!("{name}={}", String::from_utf8(changed).unwrap());
            assert!(read(&cookies, "app.example", &[field]).is_empty(), "{at}");
        }
        let cut = format!("{name}={}", &value[..at]);
        assert!(read(&cookies, "app.example", &[cut]).is_empty());
    }
    let long = format!("{name}={}", "A".repeat(65_536));
    assert!(read(&cookies, "app.example", &[long]).is_empty());
}

#[test]
fn a_list_of_groups_works_in_pieces_until_it_is_too_large() {
    let cookies = cookies_by(&spec());
    for (count, pieces) in [(1, 1), (50, 1), (250, 4)] {
        let set = set(&cookies, &groups(count));
        assert_eq!(set.len(), pieces, "{count}");
        assert_eq!(read(&cookies, "app.example", &sent(&set)), [groups(count)]);
    }
    let random = SystemRandom::new();
    let none = RequestCookies::default();
    assert_eq!(
        cookies.set_session("app.example", &groups(500), &none, NOW_S, &random),
        Err(SessionCookieError::TooLarge { claim: "groups".into() })
    );
    let immense = groups(10_000);
    assert!(cookies.set_session("app.example", &immense, &none, NOW_S, &random).is_err());
}

#[test]
fn pieces_that_are_not_used_any_more_are_deleted() {
    let cookies = cookies_by(&spec());
    let before = request(&sent(&set(&cookies, &groups(250))));
    let replaced = cookies.read(&before);
    let random = SystemRandom::new();
    let after = cookies.set_session("app.example", &groups(1), &replaced, NOW_S, &random).unwrap();
    assert_eq!(after.len(), 4);
    let attributes =
        "Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax";
    for (index, header) in (1..).zip(&after[1..]) {
        assert_eq!(header.to_str().unwrap(), format!("_pomerium_{index}=; {attributes}"));
    }
    assert_eq!(cookies.delete_session("app.example", &replaced).len(), 4);
    assert_eq!(cookies.delete_session("app.example", &RequestCookies::default()).len(), 0);
}

#[test]
fn deleting_repeats_the_domain() {
    let cookies = cookies_by(&CookieSpec {
        domain: Some("example".into()),
        http_only: false,
        same_site: SameSite::None,
        ..spec()
    });
    let before = request(&["_pomerium=x".into()]);
    let deleted = cookies.delete_session("app.example", &cookies.read(&before));
    assert_eq!(
        deleted[0].to_str().unwrap(),
        "_pomerium=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Domain=example; Secure; SameSite=None"
    );
}

#[test]
fn junk_of_the_same_name_in_front_changes_nothing_up_to_seven() {
    let cookies = cookies_by(&spec());
    let good = sent(&set(&cookies, &groups(1))).remove(0);
    for junk in [0, 1, 7] {
        let field = format!("{}{good}", "_pomerium=junk; ".repeat(junk));
        assert_eq!(read(&cookies, "app.example", &[field]).len(), 1, "{junk}");
    }
    for junk in [8, 500] {
        let field = format!("{}{good}", "_pomerium=junk; ".repeat(junk));
        let headers = request(&[field]);
        let read = cookies.read(&headers);
        assert_eq!(read.session.len(), 8);
        assert_eq!(cookies.sessions("app.example", &read).len(), 0, "{junk}");
    }
}

#[test]
fn cookies_in_several_fields_and_odd_forms_are_read() {
    let cookies = cookies_by(&spec());
    let mut pieces = sent(&set(&cookies, &groups(250)));
    pieces.reverse();
    assert_eq!(read(&cookies, "app.example", &pieces).len(), 1);
    let odd = [
        ["novalue;;; =x;a=1".to_owned(), pieces.join("  ;\t "), "b=\"2\"; _pomerium".to_owned()],
        [format!("x=1;{};", pieces.join(";")), "=".into(), ";".into()],
    ];
    for fields in odd {
        assert_eq!(read(&cookies, "app.example", &fields).len(), 1);
    }
    assert_eq!(read(&cookies, "app.example", &[format!("\"{}\"", pieces[0])]).len(), 0);
    let many = (0..500).map(|n| format!("c{n}=1; _pomerium_99999999=x; _pomerium_5=x"));
    let fields: Vec<_> = many.chain(pieces).collect();
    assert_eq!(read(&cookies, "app.example", &fields).len(), 1);
}

#[test]
fn the_session_made_for_this_browser_wins_then_the_newest() {
    let binding = BrowserBinding { id: BindingId([9; 16]), used_at_s: NOW_S, last_sign_in: None };
    let own = Session { binding: binding.digest(), ..groups(1) };
    let newer = Session { signed_in_at_s: NOW_S + 50, id: SessionId([7; 16]), ..groups(1) };
    let older = Session { signed_in_at_s: NOW_S - 50, id: SessionId([8; 16]), ..groups(1) };
    let pick = |sessions: &[&Session], binding| {
        choose(sessions.iter().copied(), |session| session, binding).map(|session| session.id)
    };
    assert_eq!(pick(&[&newer, &own, &older], Some(&binding)), Some(own.id));
    assert_eq!(pick(&[&own, &newer], Some(&binding)), Some(own.id));
    assert_eq!(pick(&[&newer, &own, &older], None), Some(newer.id));
    assert_eq!(pick(&[&older, &newer], Some(&binding)), Some(newer.id));
    assert_eq!(pick(&[], Some(&binding)), None);
}

#[test]
fn the_names_of_our_cookies_are_known_and_no_others() {
    let names = |name: &str| CookieNames::new(&CookieSpec { name: name.into(), ..spec() });
    let ours = names("app");
    for name in
        ["app", "app_1", "app_4", "app_authenticate", "app_authenticate_4", "__Host-app_csrf"]
    {
        assert!(ours.is_ours(name.as_bytes()), "{name}");
    }
    for name in ["_pomerium", "_pomerium_1", "_pomerium_csrf", "__Host-_pomerium_csrf"] {
        assert!(ours.is_ours(name.as_bytes()), "{name}");
    }
    for name in ["app_5", "app_0", "app_id", "application", "App", "app_authenticate_x", "csrf", ""]
    {
        assert!(!ours.is_ours(name.as_bytes()), "{name}");
    }
    for (name, binding) in [
        ("__Host-app", "__Host-app_csrf"),
        ("__secure-app", "__Host-app_csrf"),
        ("é", "__Host-é_csrf"),
    ] {
        assert_eq!(&*names(name).binding, binding);
    }
}

#[test]
fn a_binding_comes_back_at_its_own_host_and_junk_does_not_hide_it() {
    let cookies = cookies_by(&spec());
    let last = LastSignIn { at_s: 5, provider: ProviderId([2; 16]) };
    let binding =
        BrowserBinding { id: BindingId([9; 16]), used_at_s: NOW_S, last_sign_in: Some(last) };
    let set = cookies.set_binding("app.example", &binding, NOW_S, &SystemRandom::new()).unwrap();
    let (pair, attributes) = set.to_str().unwrap().split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/; Max-Age=43200; Expires=Wed, 15 Nov 2023 10:13:20 GMT; Secure; HttpOnly; SameSite=Lax"
    );
    let headers =
        request(&["__Host-_pomerium_csrf=junk; __Host-_pomerium_csrf=".into(), pair.into()]);
    let read = cookies.read(&headers);
    assert_eq!(cookies.binding("app.example", &read, NOW_S), Some(binding));
    assert_eq!(cookies.binding("other.example", &read, NOW_S), None);
    assert_eq!(cookies.binding("app.example", &read, NOW_S + 43_200), None);
}

#[test]
fn the_binding_has_same_site_lax_unless_sessions_have_none() {
    let binding = BrowserBinding { id: BindingId([9; 16]), used_at_s: NOW_S, last_sign_in: None };
    for (same_site, written) in [
        (SameSite::Unset, "Lax"),
        (SameSite::Strict, "Lax"),
        (SameSite::Lax, "Lax"),
        (SameSite::None, "None"),
    ] {
        let cookies = cookies_by(&CookieSpec { same_site, ..spec() });
        let set = cookies.set_binding("a", &binding, NOW_S, &SystemRandom::new()).unwrap();
        assert!(set.to_str().unwrap().ends_with(&format!("; SameSite={written}")));
    }
}

#[test]
fn the_authenticate_cookie_drops_its_id_token_before_it_is_too_large() {
    let cookies = cookies_by(&CookieSpec {
        domain: Some("example".into()),
        http_only: false,
        same_site: SameSite::None,
        ..spec()
    });
    let random = SystemRandom::new();
    let back = |master: &MasterSession| {
        let none = RequestCookies::default();
        let set = cookies.set_master("auth.example", master, &none, NOW_S, &random)?;
        assert!(set.iter().all(|value| {
            let value = value.to_str().unwrap();
            value.ends_with("GMT; Secure; HttpOnly; SameSite=Lax") && !value.contains("Domain")
        }));
        let headers = request(&sent(&set));
        Ok::<_, SessionCookieError>(
            cookies.master_sessions("auth.example", &cookies.read(&headers)).remove(0),
        )
    };
    let small = MasterSession { session: groups(50), id_token: Some("t".repeat(1000).into()) };
    assert_eq!(back(&small), Ok(small));
    for length in [10_000, 70_000] {
        let large =
            MasterSession { session: groups(50), id_token: Some("t".repeat(length).into()) };
        assert_eq!(back(&large), Ok(MasterSession { id_token: None, ..large.clone() }));
    }
    let immense = MasterSession { session: groups(500), id_token: None };
    assert_eq!(back(&immense), Err(SessionCookieError::TooLarge { claim: "groups".into() }));
}

#[test]
fn the_cookies_of_the_authenticate_host_and_of_a_route_do_not_mix() {
    let cookies = cookies_by(&spec());
    let value = sent(&set(&cookies, &groups(1))).remove(0).split_once('=').unwrap().1.to_owned();
    let headers = request(&[format!(
        "_pomerium_authenticate={value}; __Host-_pomerium_csrf={value}; _pomerium_1={value}"
    )]);
    let read = cookies.read(&headers);
    assert!(cookies.master_sessions("app.example", &read).is_empty());
    assert!(cookies.sessions("app.example", &read).is_empty());
    assert!(cookies.binding("app.example", &read, NOW_S).is_none());
}

#[test]
fn a_cookie_of_a_previous_secret_is_to_be_sealed_again() {
    let old = cookies_by(&spec());
    let sent = sent(&set(&old, &groups(250)));
    let by = |previous: &[SealSecret]| {
        let seals = Seals::new(&SealSecret([2; 32]), None, previous);
        let headers = request(&sent);
        let cookies = IdentityCookies::new(&spec(), Arc::new(seals));
        let opened = cookies.sessions("app.example", &cookies.read(&headers));
        opened.into_iter().map(|opened| opened.by_previous).collect::<Vec<_>>()
    };
    assert_eq!(by(&[SealSecret([1; 32])]), [true]);
    assert!(by(&[]).is_empty());
}

proptest! {
    #[test]
    fn cookie_fields_of_any_kind_are_read_without_panic(
        fields in proptest::collection::vec("[ -~]{0,40}|[_pomeriumauthenticate0-9;= ]{0,60}", 0..5),
    ) {
        let cookies = cookies_by(&spec());
        let headers = request(&fields);
        let read = cookies.read(&headers);
        prop_assert!(cookies.sessions("a", &read).is_empty());
        prop_assert!(cookies.master_sessions("a", &read).is_empty());
        prop_assert!(cookies.binding("a", &read, NOW_S).is_none());
    }
}

#[test]
fn tokens_are_left_out_of_cookies_that_cannot_hold_them() {
    let cookies = cookies_by(&spec());
    let (random, none) = (SystemRandom::new(), RequestCookies::default());
    let with = |len: usize| {
        let tokens = ProviderTokens { access: "t".repeat(len).into(), id: "".into() };
        Session { tokens: Some(Arc::new(tokens)), ..groups(10) }
    };
    let back = |session: &Session| {
        let set = cookies.set_session("app.example", session, &none, NOW_S, &random).unwrap();
        let headers = request(&sent(&set));
        cookies.sessions("app.example", &cookies.read(&headers)).remove(0).session
    };
    assert_eq!(back(&with(4_000)), with(4_000));
    for len in [12_000, 70_000] {
        assert_eq!(back(&with(len)), groups(10), "{len}");
        let whole = cookies.set_whole_session("app.example", &with(len), &none, NOW_S, &random);
        assert!(matches!(whole, Err(SessionCookieError::TooLarge { .. })), "{len}");
    }
    let master = MasterSession { session: with(100), id_token: None };
    let set = cookies.set_master("auth.example", &master, &none, NOW_S, &random).unwrap();
    let headers = request(&sent(&set));
    let back = cookies.master_sessions("auth.example", &cookies.read(&headers)).remove(0);
    assert_eq!(back.session, groups(10), "the authenticate host needs none");
}
