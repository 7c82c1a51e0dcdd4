//! Clients of single routes at the identity provider.

use super::*;

/// Two routes, which users sign in for, with these keys.
fn routes(first: &str, second: &str) -> String {
    let route = |name: &str, keys: &str| {
        let keys = keys.replace('\n', "\n  ");
        format!("- from: https://{name}.example\n  to: http://b\n  allowed_users: [a]\n  {keys}\n")
    };
    let routes = [route("a", first), route("b", second)].concat();
    signing_in(&format!("shared_secret: {SECRET}\nroutes:\n{routes}"))
}

#[test]
fn a_client_of_a_route_has_an_id_and_one_secret() {
    let hint = "(both belong to the client that the provider knows)";
    let at = |key: &str, problem: &str| vec![format!("{key}: {problem}")];
    let of = |first: &str, second: &str| {
        let found = errors(&routes(first, second)).into_iter();
        found.map(|text| text.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        of("idp_client_id: own", ""),
        at("routes[0].idp_client_secret", &format!("is missing beside idp_client_id {hint}"))
    );
    assert_eq!(
        of("idp_client_secret: s", ""),
        at("routes[0].idp_client_id", &format!("is missing beside idp_client_secret {hint}"))
    );
    let own = "idp_client_id: own\nidp_client_secret: s";
    assert_eq!(
        of(own, &own.replace(": s", ": t")),
        at("routes[1].idp_client_secret", "routes[0] (line 7) has another secret for this client")
    );
    assert!(warnings(&routes(own, own)).is_empty());
}

#[test]
fn a_client_without_effect_is_said_aloud() {
    let own = "idp_client_id: own\nidp_client_secret: s";
    let of = |yaml: &str| {
        let found = warnings(yaml).into_iter().filter(|text| text.contains("idp_client_id"));
        found.collect::<Vec<_>>()
    };
    let global = routes("idp_client_id: c\nidp_client_secret: s", "");
    let [warning] = &*of(&global) else { panic!("{:?}", of(&global)) };
    assert!(warning.contains("is the global client, whose secret counts"), "{warning}");
    let public =
        routes(own, "").replace("allowed_users: [a]", "allow_public_unauthenticated_access: true");
    let [warning] = &*of(&public) else { panic!("{:?}", of(&public)) };
    assert!(warning.contains("the route does not depend on the user"), "{warning}");
    let nobody = super::super::route(&format!("to: http://b\n{own}"));
    let [warning] = &*of(&nobody) else { panic!("{:?}", of(&nobody)) };
    assert!(warning.contains("there is no idp_provider"), "{warning}");
}
