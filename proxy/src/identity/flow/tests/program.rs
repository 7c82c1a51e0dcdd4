//! Signing programs in.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::rand::SystemRandom;

use super::world;
use crate::identity::{
    calls::RenewedSession,
    flow::{
        FlowAnswer, FlowBody, FlowEvent, FlowPage, FlowRequest,
        program::{self, ProgramLogin, ProgramRequest},
        world::{START_S, World, spec},
    },
    session::{Session, SessionId},
    shared::SessionUpdate,
};

const HOST: &str = "app.example";
const TARGET: &str = "http%3A%2F%2F127.0.0.1%3A43211";
/// What a browser says of a form of our own page.
const OWN_FORM: [(&str, &str); 3] = [
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

/// A request from another address.
const ELSEWHERE: &[(&str, &str)] = &[("x-from", "elsewhere")];

fn session(world: &World) -> Session {
    Session {
        id: SessionId([1; 16]),
        provider: world.context().provider,
        binding: [0; 16],
        identity: crate::policy::Identity { user_id: "alice".into(), ..Default::default() },
        name: "".into(),
        claims_digest: world.context().claims_digest,
        signed_in_at_s: START_S,
        ends_at_s: START_S + 10_000,
        check_at_s: START_S + 600,
        tokens: None,
    }
}

/// One request at a host, without cookies.
fn request<T>(
    world: &World,
    (host, path): (&str, &str),
    fields: &[(&'static str, &str)],
    take: impl FnOnce(&super::super::FlowEnvironment<'_>, &FlowRequest<'_>) -> T,
) -> T {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let request = FlowRequest {
        method: &Method::GET,
        headers: &headers,
        host,
        port: None,
        route_port: None,
        path_and_query: path,
        client: if fields == ELSEWHERE { [198, 51, 100, 1] } else { [192, 0, 2, 7] }.into(),
    };
    let random = SystemRandom::new();
    take(&world.environment(&random), &request)
}

fn login(world: &World, query: &str) -> ProgramLogin {
    let path = format!("/.pomerium/api/v1/login?{query}");
    request(world, (HOST, &path), &[], program::login_url)
}

/// The path of the URL that a program gets.
fn asked(world: &World) -> String {
    let ProgramLogin::Url(url) = login(world, &format!("pomerium_redirect_uri={TARGET}")) else {
        panic!()
    };
    url.strip_prefix("https://app.example").unwrap().to_owned()
}

fn wish(world: &World, host: &str, path: &str) -> Result<ProgramRequest, FlowAnswer> {
    request(world, (host, path), &[], program::wish)
}

fn granted(world: &World, fields: &[(&'static str, &str)]) -> FlowAnswer {
    let path = asked(world);
    let wish = wish(world, HOST, &path).unwrap();
    request(world, (HOST, &path), fields, |environment, request| {
        program::grant((environment, request), &wish, &session(world))
    })
}

fn token(world: &World) -> String {
    match granted(world, &OWN_FORM).body {
        FlowBody::Redirect(to) => to.split_once("pomerium_jwt=").unwrap().1.to_owned(),
        FlowBody::Page(page) => panic!("{page:?}"),
    }
}

#[test]
fn a_program_gets_a_url_of_its_host_to_open() {
    let world = world();
    let path = asked(&world);
    assert!(path.starts_with("/.pomerium/program?request="), "{path}");
    assert!(!path.contains("127.0.0.1"), "{path}");
    assert_eq!(login(&world, ""), ProgramLogin::Missing);
    assert_eq!(login(&world, "x=y"), ProgramLogin::Missing);
}

#[test]
fn no_url_off_the_list_may_take_a_token() {
    let world = world();
    for bad in ["http://evil.example", "http://localhost@evil.example", "http://localhost.evil", ""]
    {
        let login = login(&world, &format!("pomerium_redirect_uri={bad}"));
        assert_eq!(login, ProgramLogin::NotAllowed, "{bad}");
    }
    let twice = format!("pomerium_redirect_uri={TARGET}&pomerium_redirect_uri={TARGET}");
    assert_eq!(login(&world, &twice), ProgramLogin::NotAllowed);
    let path = asked(&world);
    let mut stricter = spec();
    stricter.program_hosts = Box::default();
    let stricter = World::new(stricter);
    assert!(wish(&world, HOST, &path).is_ok());
    assert!(wish(&stricter, HOST, &path).is_err(), "the list changed meanwhile");
}

#[test]
fn a_request_of_a_program_opens_at_its_host_for_an_hour() {
    let mut world = world();
    let path = asked(&world);
    for (host, path) in [
        ("other.example", &*path),
        (HOST, "/.pomerium/program"),
        (HOST, "/.pomerium/program?request=x"),
        (HOST, &path.replace("request=", "request=A")),
        (HOST, &path.replace("request=", "other=")),
    ] {
        let answer = wish(&world, host, path).unwrap_err();
        assert!(matches!(answer.body, FlowBody::Page(FlowPage::LinkInvalid { again: None })));
    }
    world.now_s += 3600;
    assert!(wish(&world, HOST, &path).is_ok());
    world.now_s += 1;
    assert!(wish(&world, HOST, &path).is_err());
}

#[test]
fn the_longest_request_fits_into_a_return_path() {
    let world = world();
    let longest = format!("http://localhost:43211/{}", "x".repeat(400 - 23));
    let ProgramLogin::Url(url) = login(&world, &format!("pomerium_redirect_uri={longest}")) else {
        panic!()
    };
    let path = url.strip_prefix("https://app.example").unwrap();
    let kept = super::super::return_path::ReturnPath::of_request(path);
    assert_eq!(kept.as_str(), path);
}

#[test]
fn the_page_says_where_the_token_goes_and_who_asked() {
    let world = world();
    let path = asked(&world);
    let wish = wish(&world, HOST, &path).unwrap();
    let ask = |fields| {
        let answer = request(&world, (HOST, &path), fields, |environment, request| {
            program::ask((environment, request), &wish, &session(&world))
        });
        match answer.body {
            FlowBody::Page(FlowPage::ConfirmProgram(question)) => question,
            other => panic!("{other:?}"),
        }
    };
    let question = ask(&[]);
    assert_eq!(&*question.known_as, "alice");
    assert_eq!(&*question.program, "http://127.0.0.1:43211");
    assert_eq!(&*question.asked_by, "192.0.2.7");
    assert_eq!((&*question.host, question.ends_at_s), (HOST, START_S + 10_000));
    assert_eq!(*question.action, *path);
    let elsewhere = ask(ELSEWHERE).asked_by;
    assert_eq!(&*elsewhere, "192.0.2.7, which is not this browser’s address");
}

#[test]
fn only_a_form_of_our_own_page_brings_a_token() {
    let world = world();
    for fields in [&OWN_FORM[..], &OWN_FORM[..1], &[("origin", "https://app.example")]] {
        let FlowBody::Redirect(to) = granted(&world, fields).body else { panic!("{fields:?}") };
        assert!(to.starts_with("http://127.0.0.1:43211/?pomerium_jwt=ey"), "{to}");
    }
    for fields in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site"), OWN_FORM[1], OWN_FORM[2]],
        &[("sec-fetch-site", "same-site"), OWN_FORM[1], OWN_FORM[2]],
        &[("sec-fetch-site", "none"), OWN_FORM[1], OWN_FORM[2]],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")],
        // A script of the site itself, and a frame.
        &[OWN_FORM[0], ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        &[OWN_FORM[0], OWN_FORM[1], ("sec-fetch-dest", "iframe")],
    ] {
        let answer = granted(&world, fields);
        assert_eq!(answer.body, FlowBody::Page(FlowPage::ProgramRefused), "{fields:?}");
        assert_eq!(answer.event, FlowEvent::ProgramRefused);
    }
}

#[test]
fn a_token_counts_at_its_host_as_long_as_its_session() {
    let world = world();
    let token = token(&world);
    let judged = |host: &str, now_s| {
        let known = world.context().session_of_token(host, token.as_bytes(), &world.shared, now_s);
        known.map(|known| known.session)
    };
    assert_eq!(judged(HOST, START_S), Some(session(&world)));
    assert_eq!(judged("other.example", START_S), None);
    assert!(judged(HOST, START_S + 9_999).is_some());
    assert_eq!(judged(HOST, START_S + 10_000), None);
    let renewed = RenewedSession {
        identity: crate::policy::Identity { email: "a@b.example".into(), ..Default::default() },
        name: "".into(),
        claims_digest: world.context().claims_digest,
        check_at_s: START_S + 1_200,
        ends_at_s: START_S + 10_000,
        tokens: None,
    };
    let id = session(&world).id;
    world.shared.set_update(id, Some(SessionUpdate::Renewed(Arc::new(renewed))));
    assert_eq!(&*judged(HOST, START_S).unwrap().identity.email, "a@b.example");
    world.end(id);
    assert_eq!(judged(HOST, START_S), None);
}

#[test]
fn the_debug_form_of_a_program_s_request_has_no_query() {
    let world = world();
    let query = format!("pomerium_redirect_uri={TARGET}%2F%3Fstate%3Dsecret");
    let ProgramLogin::Url(url) = login(&world, &query) else { panic!() };
    let path = url.strip_prefix("https://app.example").unwrap();
    let shown = format!("{:?}", wish(&world, HOST, path).unwrap());
    assert!(shown.contains("127.0.0.1:43211") && !shown.contains("secret"), "{shown}");
}
