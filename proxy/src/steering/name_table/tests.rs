use portcullis_abi::NAME_KEY_LEN;
use proptest::prelude::*;

use super::*;

fn pin(host: &str, workers: &[u32]) -> Pin {
    Pin { host: host.into(), workers: workers.to_vec() }
}

fn table(hosts: &[impl AsRef<str>], pins: &[Pin]) -> NameTable {
    let hosts: Vec<_> = hosts.iter().map(|host| Arc::from(host.as_ref())).collect();
    NameTable::new(&hosts, pins)
}

fn pattern<'a>(names: &'a NameTable, name: &str) -> Option<&'a str> {
    names.find(name.as_bytes()).map(|entry| &*entry.pattern)
}

fn workers<'a>(names: &'a NameTable, name: &str) -> Option<&'a [u32]> {
    names.find(name.as_bytes())?.pinned.as_deref()
}

#[test]
fn the_longest_ending_wins_and_an_exact_name_wins_over_all() {
    let hosts = ["*.com", "*.example.com", "a.example.com", "x*y*-dev.example.com"];
    let names = table(&hosts, &[]);
    for (name, expected) in [
        ("a.example.com", Some("a.example.com")),
        ("b.example.com", Some("*.example.com")),
        ("b.a.example.com", Some("*.example.com")),
        ("a-dev.example.com", Some("*-dev.example.com")),
        ("example.com", Some("*.com")),
        ("com", None),
        ("a.example.org", None),
    ] {
        assert_eq!(pattern(&names, name), expected, "{name}");
    }
}

#[test]
fn a_wildcard_without_an_ending_takes_every_name() {
    let names = table(&["a.example", "app*"], &[]);
    assert_eq!(pattern(&names, "anything.test"), Some("*"));
    assert_eq!(pattern(&names, "a.example"), Some("a.example"));
}

#[test]
fn hosts_that_no_client_can_send_as_sni_have_no_entry() {
    let hosts = ["10.0.0.1", "::1", "*.ex\u{e4}mple", "b\u{fc}cher.example", "a..b"];
    assert!(table(&hosts, &[]).keys().is_empty());
}

#[test]
fn names_of_one_wildcard_share_a_home_in_any_order_of_routes() {
    let names = table(&["*.a.test", "x*.a.test"], &[]);
    let swapped = table(&["x*.a.test", "*.a.test"], &[]);
    let home = |names: &NameTable, name: &[u8]| names.find(name).unwrap().home;
    assert_eq!(home(&names, b"one.a.test"), home(&names, b"two.a.test"));
    assert_eq!(home(&names, b"one.a.test"), home(&swapped, b"one.a.test"));
}

#[test]
fn a_pin_applies_to_names_it_covers_and_the_longest_wins() {
    let hosts = ["*.tenant.test", "own.tenant.test", "other.test"];
    let pins = [pin("*.tenant.test", &[1]), pin("vip.tenant.test", &[2, 3])];
    let names = table(&hosts, &pins);
    assert_eq!(workers(&names, "any.tenant.test"), Some([1].as_slice()));
    assert_eq!(workers(&names, "own.tenant.test"), Some([1].as_slice()));
    assert_eq!(workers(&names, "vip.tenant.test"), Some([2, 3].as_slice()));
    assert_eq!(workers(&names, "other.test"), None);
    assert!(names.find(b"own.tenant.test").unwrap().home.allows(1));
    assert!(!names.find(b"own.tenant.test").unwrap().home.allows(0));
}

/// An LPM trie as the kernel has it, only slow.
fn longest_prefix(keys: &[(NameKey, Home)], name: &HostName) -> Option<Home> {
    let mut wanted = NameKey::EMPTY;
    wanted.set(name);
    let fits = |key: &NameKey| {
        let len = key.prefix_bits as usize / 8;
        assert!(len <= NAME_KEY_LEN && key.prefix_bits.is_multiple_of(8));
        key.prefix_bits <= wanted.prefix_bits && key.reversed[..len] == wanted.reversed[..len]
    };
    keys.iter().filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.prefix_bits).map(|k| k.1)
}

/// Few letters, so that endings meet.
fn hosts() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("(\\*|[ab]\\*)?[ab.]{0,4}(\\.?[ab]{1,2}){0,3}", 0..12)
}

proptest! {
    #[test]
    fn user_space_finds_what_the_kernels_trie_finds(
        hosts in hosts(),
        name in "[ab]{1,3}(\\.[ab]{1,2}){0,4}",
    ) {
        let names = table(&hosts, &[]);
        let name = HostName::parse(name.as_bytes()).unwrap();
        let found = names.find(name.as_bytes()).map(|entry| entry.home);
        prop_assert_eq!(found, longest_prefix(&names.keys(), &name));
    }
}
