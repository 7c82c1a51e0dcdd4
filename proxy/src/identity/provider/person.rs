//! Who somebody is by a provider's claims. Pure.

use serde_json::{Map, Value};

use crate::{
    identity::{
        bearer::spec::ClaimRules,
        spec::{ProviderPreset, UnverifiedEmail},
    },
    policy,
};

/// The longest user id in bytes.
const MAX_ID_BYTES: usize = 255;

/// A person, as the provider's claims say.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::identity) struct Person {
    pub(in crate::identity) identity: policy::Identity,
    /// Empty if the provider gave none.
    pub(in crate::identity) name: Box<str>,
    /// The provider left the groups out because there are too many (Azure).
    pub(in crate::identity) lacks_groups: bool,
}

impl Person {
    /// By claims that were verified. Keeps the claims that the configuration uses.
    pub(in crate::identity) fn new(claims: &Map<String, Value>, rules: ClaimRules<'_>) -> Person {
        let mut claims = claims.clone();
        let email = email(&mut claims, rules);
        let name = text(&claims, "name").unwrap_or_default().into();
        let lacks_groups = claims
            .get("_claim_names")
            .and_then(Value::as_object)
            .is_some_and(|elsewhere| elsewhere.contains_key("groups"));
        let user_id = user_id(&claims, rules.preset).into();
        claims.retain(|claim, _| rules.kept_claims.iter().any(|kept| **kept == **claim));
        let identity = policy::Identity { user_id, email, claims };
        Person { identity, name, lacks_groups }
    }
}

/// Azure's `sub` differs between clients; `oid` is the user's id in the tenant.
pub(super) fn user_id(claims: &Map<String, Value>, preset: ProviderPreset) -> &str {
    let fits = |id: &&str| (1..=MAX_ID_BYTES).contains(&id.len());
    let oid = match preset {
        ProviderPreset::Azure => text(claims, "oid").filter(fits),
        _ => None,
    };
    oid.or_else(|| text(claims, "sub")).unwrap_or_default()
}

/// The address, if it counts; else the claims lose it too.
fn email(claims: &mut Map<String, Value>, rules: ClaimRules<'_>) -> policy::EmailAddress {
    let claim = match rules.preset {
        ProviderPreset::Ping if !claims.contains_key("email") => "mail",
        _ => "email",
    };
    let address = text(claims, claim)
        .filter(|_| rules.unverified_email == UnverifiedEmail::Accept || !is_unverified(claims))
        .and_then(policy::EmailAddress::parse);
    address.unwrap_or_else(|| {
        claims.remove("email");
        claims.remove(claim);
        policy::EmailAddress::default()
    })
}

/// Cognito writes the flag as text. A value that is neither is not "verified".
fn is_unverified(claims: &Map<String, Value>) -> bool {
    match claims.get("email_verified") {
        None => false,
        Some(Value::Bool(is_verified)) => !is_verified,
        Some(Value::String(text)) => text != "true",
        Some(_) => true,
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::provider::testing::sign_in_spec;

    fn person(preset: ProviderPreset, claims: Value) -> Person {
        let mut spec = sign_in_spec("https://idp.example");
        spec.provider.preset = preset;
        spec.kept_claims = ["email", "groups", "mail", "team"].map(Into::into).into();
        Person::new(claims.as_object().unwrap(), spec.claim_rules())
    }

    #[test]
    fn only_claims_that_the_configuration_uses_are_kept() {
        let claims = json!({"sub": "1", "name": "Ann", "groups": ["a"], "team": {"x": 1}, "z": 1});
        let person = person(ProviderPreset::Oidc, claims);
        assert_eq!(
            Value::Object(person.identity.claims),
            json!({"groups": ["a"], "team": {"x": 1}})
        );
        assert_eq!((&*person.identity.user_id, &*person.name), ("1", "Ann"));
        assert!(person.identity.email.is_empty() && !person.lacks_groups);
    }

    #[test]
    fn an_unverified_or_odd_address_is_neither_address_nor_claim() {
        for (address, verified, counts) in [
            (json!("a@b.example"), json!(null), false),
            (json!("a@b.example"), json!(true), true),
            (json!("a@b.example"), json!("true"), true),
            (json!("a@b.example"), json!(false), false),
            (json!("a@b.example"), json!("false"), false),
            (json!("a@b.example"), json!("False"), false),
            (json!("a@b.example"), json!(0), false),
            (json!("a@evil@b.example"), json!(true), false),
            (json!("\"a@evil\"@b.example"), json!(true), false),
            (json!("a\n@b.example"), json!(true), false),
            (json!("a\u{0}@b.example"), json!(true), false),
            (json!("a b@b.example"), json!(true), false),
            (json!("a"), json!(true), false),
            (json!("@"), json!(true), false),
            (json!(["a@b.example"]), json!(true), false),
        ] {
            let claims = json!({"sub": "1", "email": address, "email_verified": verified});
            let identity = person(ProviderPreset::Oidc, claims).identity;
            assert_eq!(!identity.email.is_empty(), counts, "{address} {verified}");
            assert_eq!(identity.claims.contains_key("email"), counts, "{address} {verified}");
        }
        let claims = json!({"sub": "1", "email": "a@b.example"});
        assert_eq!(&*person(ProviderPreset::Oidc, claims).identity.email, "a@b.example");
    }

    #[test]
    fn the_operator_may_accept_addresses_that_are_not_verified() {
        let mut spec = sign_in_spec("https://idp.example");
        spec.unverified_email = UnverifiedEmail::Accept;
        let claims = json!({"sub": "1", "email": "a@b.example", "email_verified": false});
        let person = Person::new(claims.as_object().unwrap(), spec.claim_rules());
        assert_eq!(&*person.identity.email, "a@b.example");
    }

    #[test]
    fn ping_s_mail_counts_where_there_is_no_email() {
        let mail = json!({"sub": "1", "mail": "a@b.example"});
        assert_eq!(&*person(ProviderPreset::Ping, mail.clone()).identity.email, "a@b.example");
        assert_eq!(&*person(ProviderPreset::Oidc, mail).identity.email, "");
        let both = json!({"sub": "1", "email": "bad", "mail": "a@b.example"});
        assert_eq!(&*person(ProviderPreset::Ping, both).identity.email, "");
        let unverified = json!({"sub": "1", "mail": "a@b.example", "email_verified": false});
        let identity = person(ProviderPreset::Ping, unverified).identity;
        assert!(identity.email.is_empty() && !identity.claims.contains_key("mail"));
    }

    #[test]
    fn azure_s_oid_is_the_user_and_left_out_groups_are_noticed() {
        let claims = json!({"sub": "pairwise", "oid": "5f3a", "_claim_names": {"groups": "src1"}});
        let azure = person(ProviderPreset::Azure, claims.clone());
        assert_eq!(&*azure.identity.user_id, "5f3a");
        assert!(azure.lacks_groups);
        assert_eq!(&*person(ProviderPreset::Oidc, claims).identity.user_id, "pairwise");
        let empty = json!({"sub": "pairwise", "oid": ""});
        assert_eq!(&*person(ProviderPreset::Azure, empty).identity.user_id, "pairwise");
    }
}
