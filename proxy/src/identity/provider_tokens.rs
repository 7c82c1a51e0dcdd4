//! Tokens of the provider that upstreams are given (`${pomerium.access_token}`, `${pomerium.id_token}`).
//! Pure.

use std::{fmt, sync::Arc};

/// Which tokens somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WantedTokens {
    /// The access token.
    pub(crate) access: bool,
    /// The ID token.
    pub(crate) id: bool,
}

/// The tokens of one session; a token that nobody wants, or that the provider did not give, is empty.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct ProviderTokens {
    pub(crate) access: Box<str>,
    pub(crate) id: Box<str>,
}

impl WantedTokens {
    /// Both.
    pub(crate) const ALL: WantedTokens = WantedTokens { access: true, id: true };

    /// Whether a token is wanted at all.
    pub(crate) fn any(self) -> bool {
        self.access || self.id
    }

    /// What either of them wants.
    pub(crate) fn or(self, other: WantedTokens) -> WantedTokens {
        WantedTokens { access: self.access || other.access, id: self.id || other.id }
    }

    /// Whether a wanted token is missing.
    pub(crate) fn lacks(self, tokens: Option<&ProviderTokens>) -> bool {
        let is_empty =
            |token: fn(&ProviderTokens) -> &str| tokens.is_none_or(|it| token(it).is_empty());
        self.access && is_empty(|it| &it.access) || self.id && is_empty(|it| &it.id)
    }

    /// Whether there is a token that is not wanted.
    pub(crate) fn are_exceeded_by(self, tokens: Option<&ProviderTokens>) -> bool {
        let is_surplus = |wanted: bool, token: &str| !wanted && !token.is_empty();
        tokens.is_some_and(|it| is_surplus(self.access, &it.access) || is_surplus(self.id, &it.id))
    }

    /// The wanted ones; `None` if there are none.
    pub(crate) fn of(self, tokens: Option<&Arc<ProviderTokens>>) -> Option<Arc<ProviderTokens>> {
        let tokens = tokens?;
        if !self.are_exceeded_by(Some(tokens)) {
            return Some(Arc::clone(tokens));
        }
        let kept = |wanted: bool, token: &str| if wanted { token.into() } else { Box::default() };
        let some = ProviderTokens {
            access: kept(self.access, &tokens.access),
            id: kept(self.id, &tokens.id),
        };
        (!some.is_empty()).then(|| Arc::new(some))
    }
}

impl ProviderTokens {
    /// How many bytes they have.
    pub(crate) fn len(&self) -> usize {
        self.access.len() + self.id.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// They are secrets.
impl fmt::Debug for ProviderTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderTokens(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: WantedTokens = WantedTokens { access: true, id: false };
    const ID: WantedTokens = WantedTokens { access: false, id: true };
    const NONE: WantedTokens = WantedTokens { access: false, id: false };

    fn tokens(access: &str, id: &str) -> Arc<ProviderTokens> {
        Arc::new(ProviderTokens { access: access.into(), id: id.into() })
    }

    #[test]
    fn nobody_gets_a_token_that_he_does_not_want() {
        let both = tokens("a", "i");
        for (wanted, kept) in [
            (WantedTokens::ALL, Some(("a", "i"))),
            (ACCESS, Some(("a", ""))),
            (ID, Some(("", "i"))),
            (NONE, None),
        ] {
            let of = wanted.of(Some(&both));
            assert_eq!(of.as_ref().map(|it| (&*it.access, &*it.id)), kept, "{wanted:?}");
            assert!(!wanted.lacks(of.as_deref()), "{wanted:?}");
        }
        assert!(ID.of(Some(&tokens("a", ""))).is_none());
        assert!(Arc::ptr_eq(&WantedTokens::ALL.of(Some(&both)).unwrap(), &both));
    }

    #[test]
    fn a_wanted_token_that_is_empty_is_missing() {
        assert!(ACCESS.lacks(None) && ID.lacks(None) && !NONE.lacks(None));
        assert!(ACCESS.lacks(Some(&tokens("", "i"))) && ID.lacks(Some(&tokens("a", ""))));
        assert!(
            ACCESS.or(ID).lacks(Some(&tokens("a", ""))) && !ACCESS.lacks(Some(&tokens("a", "")))
        );
        assert_eq!((ACCESS.or(ID), NONE.any(), ID.any()), (WantedTokens::ALL, false, true));
    }

    #[test]
    fn no_token_is_in_a_debug_text() {
        assert_eq!(format!("{:?}", tokens("secret", "secret")), "ProviderTokens(..)");
    }
}
