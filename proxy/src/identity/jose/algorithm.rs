//! The signature algorithms of providers.

use std::str::FromStr;

use jsonwebtoken::Algorithm;

/// The algorithms that a provider's tokens may have: ours, and in its metadata too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedAlgorithms(Vec<Algorithm>);

impl AllowedAlgorithms {
    /// By a list of the metadata such as `id_token_signing_alg_values_supported`; without the list,
    /// RS256. `none`, HMAC (the key would be a secret that both sides know) and unknown names do not
    /// count.
    pub fn from_metadata<S: AsRef<str>>(listed: Option<&[S]>) -> AllowedAlgorithms {
        AllowedAlgorithms(match listed {
            Some(names) => names.iter().filter_map(|name| parse(name.as_ref())).collect(),
            None => vec![Algorithm::RS256],
        })
    }

    /// Whether this is the name of an algorithm that we verify.
    pub(crate) fn is_known(name: &str) -> bool {
        parse(name).is_some()
    }

    /// Whether a token may have this algorithm.
    pub(super) fn contains(&self, algorithm: Algorithm) -> bool {
        self.0.contains(&algorithm)
    }
}

/// Reads the name of an algorithm that we verify.
pub(super) fn parse(name: &str) -> Option<Algorithm> {
    let algorithm = Algorithm::from_str(name).ok()?;
    is_ours(algorithm).then_some(algorithm)
}

/// Whether we verify it: public keys only.
fn is_ours(algorithm: Algorithm) -> bool {
    use Algorithm::*;
    matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512 | ES256 | ES384 | EdDSA)
}

/// The hash that an algorithm uses, for `at_hash`. Ed25519 uses SHA-512.
pub(super) fn hash_of(algorithm: Algorithm) -> &'static ring::digest::Algorithm {
    use Algorithm::*;
    match algorithm {
        RS256 | PS256 | ES256 | HS256 => &ring::digest::SHA256,
        RS384 | PS384 | ES384 | HS384 => &ring::digest::SHA384,
        _ => &ring::digest::SHA512,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_none_and_unknown_names_of_the_metadata_do_not_count() {
        let listed = ["none", "HS256", "HS512", "ES512", "es256", "RS256 ", "", "PS384"];
        let allowed = AllowedAlgorithms::from_metadata(Some(&listed));
        assert_eq!(allowed, AllowedAlgorithms(vec![Algorithm::PS384]));
    }

    #[test]
    fn metadata_without_a_list_means_rs256() {
        let allowed = AllowedAlgorithms::from_metadata::<&str>(None);
        assert_eq!(allowed, AllowedAlgorithms(vec![Algorithm::RS256]));
        assert_eq!(AllowedAlgorithms::from_metadata::<&str>(Some(&[])).0, []);
    }
}
