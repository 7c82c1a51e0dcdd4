//! The administrative address alone, for commands that ask a running process. They work for users who
//! may not read certificates and keys, and while the file is broken: nothing else of it is checked.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use serde_yaml::Value;

use super::{
    Environment,
    check::address,
    context::{read_limited, reason},
    file,
};

/// Where a process listens if the configuration does not say.
pub(crate) const DEFAULT_ADMIN_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

const SECTION: &str = "portcullis";
const KEY: &str = "admin_address";
const VARIABLE: &str = "PORTCULLIS_ADMIN_ADDRESS";

/// What a configuration says of the administrative address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminAddressSetting {
    /// It is this one, or the default.
    Is(SocketAddr),
    /// There is no administrative listener.
    Off,
    /// The configuration does not tell, for this reason.
    Unknown(String),
}

/// Reads it from the environment, or else from the file.
pub(crate) fn admin_address(path: &Path, environment: &Environment) -> AdminAddressSetting {
    if let Some(text) = environment.get(VARIABLE) {
        return setting(&text.to_string_lossy());
    }
    let file = match read_limited(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            let problem = format!("{}: cannot be read: {}", path.display(), reason(&error));
            return AdminAddressSetting::Unknown(problem);
        }
    };
    match of_document(&file) {
        Ok(Some(text)) => setting(&text),
        Ok(None) => AdminAddressSetting::Is(DEFAULT_ADMIN_ADDRESS),
        Err(()) => match of_lines(&file) {
            Some(text) => setting(text),
            None => {
                let problem = format!("{}: this is not YAML", path.display());
                AdminAddressSetting::Unknown(problem)
            }
        },
    }
}

fn setting(text: &str) -> AdminAddressSetting {
    match text.trim() {
        "" => AdminAddressSetting::Off,
        text => match address::parse(text, None) {
            Ok(address) => AdminAddressSetting::Is(address),
            Err(problem) => AdminAddressSetting::Unknown(format!("{SECTION}.{KEY}: {problem}")),
        },
    }
}

/// The value in a document, if it is one; null is the empty text.
fn of_document(text: &str) -> Result<Option<String>, ()> {
    let document = file::parse_but_list(std::rc::Rc::new(text.to_owned())).map_err(drop)?;
    let (document, _) = file::fold_keys(document.value, "");
    let value = document.get(SECTION).and_then(|section| section.get(KEY));
    Ok(value.map(|value| match value {
        Value::String(text) => text.clone(),
        _ => String::new(),
    }))
}

/// The value in a text that is no YAML: the line of the key, below that of its section.
fn of_lines(text: &str) -> Option<&str> {
    let of_key = |line: &'_ str, key: &str| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case(key).then_some(value.len())
    };
    let is_of_section = |line: &&str| line.starts_with([' ', '\t', '#', '-']) || line.is_empty();
    let mut lines = text.lines().skip_while(|line| of_key(line, SECTION).is_none());
    lines.next()?;
    let line = lines.take_while(is_of_section).find(|line| of_key(line, KEY).is_some())?;
    let value = line.split_once(':')?.1;
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim();
    Some(value.trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> AdminAddressSetting {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let environment = variables.iter().map(|(name, value)| (*name, *value)).collect();
        admin_address(file.path(), &environment)
    }

    fn is(address: &str) -> AdminAddressSetting {
        AdminAddressSetting::Is(address.parse().unwrap())
    }

    #[test]
    fn the_address_is_read_from_a_file_with_other_mistakes() {
        let broken = "nonsense: 1\ncertificate_file: /nowhere\nroutes:\n  - from: x\n";
        assert_eq!(read(broken, &[]), is("127.0.0.1:9464"));
        let own = format!("{broken}portcullis:\n  admin_address: localhost:7\n");
        assert_eq!(read(&own, &[]), is("127.0.0.1:7"));
        assert_eq!(read("Portcullis: {Admin_Address: '[::1]:7'}", &[]), is("[::1]:7"));
        assert_eq!(read("portcullis: {admin_address: ''}", &[]), AdminAddressSetting::Off);
        assert_eq!(read("portcullis:\n  admin_address:\n", &[]), AdminAddressSetting::Off);
        assert_eq!(read("", &[]), is("127.0.0.1:9464"));
    }

    #[test]
    fn the_address_is_read_from_a_text_that_is_no_yaml() {
        let before = "a: [1\n\tb: 'x\n  admin_address: 127.0.0.1:1\n";
        let own = "portcullis:\n  workers: 2\n\n  admin_address: \"127.0.0.1:7\" # for us\n";
        assert_eq!(read(&format!("{before}{own}"), &[]), is("127.0.0.1:7"));
        let after = "portcullis:\n  workers: 2\nroutes: [\n  admin_address: 127.0.0.1:1\n";
        assert!(matches!(read(after, &[]), AdminAddressSetting::Unknown(_)));
    }

    #[test]
    fn a_variable_wins_and_a_value_that_is_no_address_is_unknown() {
        let variable = [("PORTCULLIS_ADMIN_ADDRESS", "127.0.0.1:8")];
        assert_eq!(
            read("portcullis: {admin_address: '127.0.0.1:7'}", &variable),
            is("127.0.0.1:8")
        );
        for text in ["portcullis: {admin_address: nonsense}", "portcullis: {admin_address: 'a:b'}"]
        {
            assert!(matches!(read(text, &[]), AdminAddressSetting::Unknown(_)), "{text}");
        }
        let nowhere = admin_address(Path::new("/nowhere"), &Environment::default());
        assert!(
            matches!(nowhere, AdminAddressSetting::Unknown(why) if why.contains("no such file"))
        );
    }
}
