//! The users of this machine, in the form of passwd(5).

use std::fs;

const USERS: &str = "/etc/passwd";

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name to log in by.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of the user's first group.
    pub gid: u32,
}

impl Account {
    /// The user of this number, if the file has it. Reads the file.
    pub(crate) fn of_uid(uid: u32) -> Option<Account> {
        find(&fs::read_to_string(USERS).ok()?, |account| account.uid == uid)
    }

    /// The user of this name. Reads the file.
    pub(crate) fn of_name(name: &str) -> Option<Account> {
        find(&fs::read_to_string(USERS).ok()?, |account| account.name == name)
    }
}

/// A user as people know it: its name, or else its number. Reads the file.
pub(crate) fn shown(uid: u32) -> String {
    Account::of_uid(uid).map_or_else(|| uid.to_string(), |account| account.name)
}

fn find(users: &str, is_meant: impl Fn(&Account) -> bool) -> Option<Account> {
    users.lines().filter_map(parse).find(is_meant)
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_those_of_the_list() {
        let users = "root:x:0:0:root:/root:/bin/sh\nodd\nweb:x:33:34::/:/bin/false\n";
        let web = Account { name: "web".to_owned(), uid: 33, gid: 34 };
        assert_eq!(find(users, |account| account.uid == 33), Some(web.clone()));
        assert_eq!(find(users, |account| account.name == "web"), Some(web));
        assert_eq!(find(users, |account| account.uid == 1), None);
    }
}
