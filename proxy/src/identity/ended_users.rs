//! Users whose sessions were ended all at once. Pure.
//!
//! Sessions are in cookies, and no process knows all of them: those of an earlier process open here
//! too. So the end of all sessions of a user is a time, and sessions that began before it do not
//! count.

use std::{collections::HashMap, sync::Arc};

use crate::policy;

/// By what a user is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserSelector {
    /// The user's id, to the letter.
    Id(Box<str>),
    /// The email address, whatever the case of its letters.
    Email(Box<str>),
}

/// From when on the sessions of a user count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct UserEnd {
    /// Sessions that began before this second have ended.
    pub(crate) ended_before_s: u64,
    /// Sessions that began before this second must be checked before they count.
    pub(crate) suspect_before_s: u64,
    /// When no session from before can be left.
    pub(crate) until_s: u64,
}

/// The ends of all users that have one. The control thread makes it, workers read it.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndedUsers {
    by_id: HashMap<Arc<str>, UserEnd>,
    /// By the address in lower case.
    by_email: HashMap<Arc<str>, UserEnd>,
}

impl UserSelector {
    /// The longest id or address in bytes: an id has at most 255 (OpenID Connect Core 1.0, section 2),
    /// an address 320 (RFC 5321, section 4.5.3.1).
    pub(crate) const MAX_BYTES: usize = 320;

    /// Whether it can be the name of a user: an empty id, and an address without `@`, are nobody's.
    pub(crate) fn can_name_a_user(&self) -> bool {
        let is_name = match self {
            UserSelector::Id(id) => !id.is_empty(),
            UserSelector::Email(address) => address.contains('@'),
        };
        is_name && self.text().len() <= UserSelector::MAX_BYTES
    }

    /// The id or the address.
    pub(crate) fn text(&self) -> &str {
        match self {
            UserSelector::Id(text) | UserSelector::Email(text) => text,
        }
    }

    /// Whether it names this user.
    pub(crate) fn matches(&self, identity: &policy::Identity) -> bool {
        match self {
            UserSelector::Id(id) => !id.is_empty() && *identity.user_id == **id,
            UserSelector::Email(email) => {
                !email.is_empty() && identity.email.to_lowercase() == email.to_lowercase()
            }
        }
    }
}

impl UserEnd {
    /// A session that begins now begins at this second at the earliest, so that the end does not
    /// include it.
    pub(crate) fn next_begin_s(self, now_s: u64) -> u64 {
        now_s.max(self.ended_before_s).max(self.suspect_before_s)
    }

    fn later(self, other: UserEnd) -> UserEnd {
        UserEnd {
            ended_before_s: self.ended_before_s.max(other.ended_before_s),
            suspect_before_s: self.suspect_before_s.max(other.suspect_before_s),
            until_s: self.until_s.max(other.until_s),
        }
    }
}

impl EndedUsers {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len() + self.by_email.len()
    }

    /// The end of a user; all is 0 for a user without one.
    pub(crate) fn end_of(&self, identity: &policy::Identity) -> UserEnd {
        if self.len() == 0 {
            return UserEnd::default();
        }
        let by_id = self.by_id.get(&*identity.user_id).copied().unwrap_or_default();
        let by_email = match &*identity.email {
            "" => None,
            email => self.by_email.get(&*email.to_lowercase()).copied(),
        };
        by_id.later(by_email.unwrap_or_default())
    }

    /// Whether a user with this name has an end already.
    pub(crate) fn has(&self, user: &UserSelector) -> bool {
        match user {
            UserSelector::Id(id) => self.by_id.contains_key(&**id),
            UserSelector::Email(email) => self.by_email.contains_key(&*email.to_lowercase()),
        }
    }

    /// Sets the end of a user. Of two ends, the later one of each kind counts.
    pub(crate) fn set(&mut self, user: &UserSelector, end: UserEnd) {
        let former = match user {
            UserSelector::Id(id) => self.by_id.entry(Arc::from(&**id)),
            UserSelector::Email(email) => self.by_email.entry(email.to_lowercase().into()),
        }
        .or_default();
        *former = former.later(end);
    }

    /// All names that have an end, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (UserSelector, UserEnd)> {
        let by_id = self.by_id.iter().map(|(id, end)| (UserSelector::Id(Box::from(&**id)), *end));
        let by_email = self
            .by_email
            .iter()
            .map(|(email, end)| (UserSelector::Email(Box::from(&**email)), *end));
        by_id.chain(by_email)
    }

    /// Whether there is an end that no session is left for.
    pub(crate) fn is_expired(&self, now_s: u64) -> bool {
        self.by_id.values().chain(self.by_email.values()).any(|end| end.until_s < now_s)
    }

    /// Forgets the ends that no session is left for.
    pub(crate) fn remove_expired(&mut self, now_s: u64) {
        self.by_id.retain(|_, end| end.until_s >= now_s);
        self.by_email.retain(|_, end| end.until_s >= now_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str, email: &str) -> policy::Identity {
        policy::Identity { user_id: id.into(), email: email.into(), ..Default::default() }
    }

    fn id(id: &str) -> UserSelector {
        UserSelector::Id(id.into())
    }

    fn email(email: &str) -> UserSelector {
        UserSelector::Email(email.into())
    }

    fn ended(ended_before_s: u64) -> UserEnd {
        UserEnd { ended_before_s, until_s: 1000, ..UserEnd::default() }
    }

    #[test]
    fn a_user_is_named_by_id_to_the_letter_or_by_address() {
        let ann = user("Ann", "Ann@Example.com");
        for (selector, matches) in [
            (id("Ann"), true),
            (id("ann"), false),
            (id("Ann@Example.com"), false),
            (email("ann@example.COM"), true),
            (email("ann@example.co"), false),
            (email("Ann"), false),
        ] {
            assert_eq!(selector.matches(&ann), matches, "{selector:?}");
            let mut users = EndedUsers::default();
            users.set(&selector, ended(7));
            assert_eq!(users.end_of(&ann).ended_before_s, if matches { 7 } else { 0 });
        }
    }

    #[test]
    fn users_without_an_address_are_not_named_by_an_empty_one() {
        let mut users = EndedUsers::default();
        users.set(&email(""), ended(7));
        assert_eq!(users.end_of(&user("ann", "")), UserEnd::default());
        assert!(!email("").matches(&user("ann", "")));
    }

    #[test]
    fn of_two_ends_the_later_counts_also_by_another_name() {
        let mut users = EndedUsers::default();
        users.set(&id("ann"), ended(9));
        users.set(&id("ann"), ended(7));
        assert_eq!(users.end_of(&user("ann", "a@b.example")).ended_before_s, 9);
        users.set(&email("a@b.example"), ended(12));
        assert_eq!(users.end_of(&user("ann", "a@b.example")).ended_before_s, 12);
        assert_eq!(users.end_of(&user("bob", "b@b.example")), UserEnd::default());
        assert!(users.has(&id("ann")) && !users.has(&id("bob")) && users.len() == 2);
    }

    #[test]
    fn an_end_is_kept_until_no_session_from_before_is_left() {
        let mut users = EndedUsers::default();
        users.set(&id("ann"), ended(9));
        assert!(!users.is_expired(1000));
        users.remove_expired(1000);
        assert!(users.has(&id("ann")) && users.is_expired(1001));
        users.remove_expired(1001);
        assert_eq!(users.end_of(&user("ann", "")), UserEnd::default());
    }

    #[test]
    fn a_session_that_begins_in_the_second_of_an_end_is_not_included() {
        let end = UserEnd { ended_before_s: 51, suspect_before_s: 40, until_s: 1000 };
        assert_eq!(end.next_begin_s(50), 51);
        assert_eq!(end.next_begin_s(60), 60);
        assert_eq!(UserEnd { suspect_before_s: 55, ..end }.next_begin_s(50), 55);
    }
}
