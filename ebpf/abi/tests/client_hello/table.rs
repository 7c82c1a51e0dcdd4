//! The shared table of hellos, read as the kernel and as user space read them.

use crate::oracle;
use portcullis_abi::cases::{self, Expected};
use portcullis_abi::{HostName, Invalid, Progress, client_hello, sni};

#[test]
fn the_kernel_reads_from_the_first_segment_what_the_table_says() {
    for case in cases::all() {
        let mut name = HostName::EMPTY;
        let outcome = sni(&case.bytes[..case.first_segment], 0, &mut name);
        assert_eq!((outcome, name.as_str()), case.kernel, "{}", case.title);
    }
}

#[test]
fn the_segment_may_start_anywhere_in_its_buffer() {
    for case in cases::all() {
        let packet = [&[0xaa; 20], &case.bytes[..case.first_segment]].concat();
        let mut name = HostName::EMPTY;
        let outcome = sni(&packet[..], 20, &mut name);
        assert_eq!((outcome, name.as_str()), case.kernel, "{}", case.title);
    }
}

#[test]
fn a_name_left_over_from_the_last_segment_is_gone() {
    let mut name = HostName::EMPTY;
    sni(&cases::Hello::to(b"old.example").record()[..], 0, &mut name);
    sni(&b"GET / HTTP/1.1\r\n"[..], 0, &mut name);
    assert_eq!(name, HostName::EMPTY);
}

#[test]
fn user_space_reads_what_the_table_says() {
    for case in cases::all() {
        let progress = client_hello(&case.bytes);
        assert_eq!(told(&progress), case.user, "{}", case.title);
        if let Progress::Complete { consumed, .. } = progress {
            assert_eq!(consumed, case.bytes.len(), "{}", case.title);
        }
    }
}

#[test]
fn rustls_agrees_with_the_table() {
    for case in cases::all() {
        oracle::compare(&case.bytes);
        oracle::compare(&case.bytes[..case.first_segment]);
    }
}

#[test]
fn the_alert_is_the_one_that_rustls_sends() {
    let mut compared = 0;
    for case in cases::all() {
        let Expected::Invalid(reason) = case.user else { continue };
        if let Some(theirs) = oracle::alert(&case.bytes) {
            assert_eq!(reason.alert(), theirs, "{}", case.title);
            compared += 1;
        }
    }
    assert!(compared > 10, "rustls sent {compared} alerts only");
}

#[test]
fn a_hello_is_complete_at_its_last_byte_and_not_before() {
    for case in cases::all().iter().filter(|case| is_complete(&case.bytes)) {
        for len in [0, 1, 5, 9, case.bytes.len() / 2, case.bytes.len() - 1] {
            let progress = client_hello(&case.bytes[..len]);
            let Progress::NeedMore { at_least } = progress else {
                panic!("{} with {len} bytes: {progress:?}", case.title)
            };
            assert!((len + 1..=case.bytes.len()).contains(&at_least), "{}", case.title);
        }
    }
}

#[test]
fn what_follows_the_hello_is_not_looked_at() {
    let hello = cases::Hello::to(b"app.example.com").record();
    let followed = [&hello[..], &[0xff; 3]].concat();
    assert!(is_complete(&hello));
    assert_eq!(client_hello(&followed), client_hello(&hello));
}

#[test]
fn a_method_is_waited_for_until_it_is_clear() {
    for (bytes, plain_http) in
        [("P", None), ("PAT", None), ("PATCH ", Some(true)), ("PX", Some(false))]
    {
        let progress = client_hello(bytes.as_bytes());
        match plain_http {
            Some(plain_http) => assert_eq!(progress, Progress::NotTls { plain_http }),
            None => assert_eq!(progress, Progress::NeedMore { at_least: bytes.len() + 1 }),
        }
    }
}

#[test]
fn every_refusal_says_what_is_wrong() {
    let reasons = [
        Invalid::UnexpectedRecord,
        Invalid::RecordLength,
        Invalid::UnexpectedMessage,
        Invalid::TooLarge,
        Invalid::TrailingData,
        Invalid::Malformed,
        Invalid::ServerName,
    ];
    let words: std::collections::HashSet<_> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), reasons.len());
}

fn is_complete(bytes: &[u8]) -> bool {
    matches!(client_hello(bytes), Progress::Complete { .. })
}

/// The result in the terms of the table.
fn told(progress: &Progress) -> Expected<'_> {
    match progress {
        Progress::Complete { name: Some(name), .. } => Expected::Name(name.as_str()),
        Progress::Complete { name: None, .. } => Expected::NoName,
        Progress::NotTls { plain_http } => Expected::NotTls(*plain_http),
        Progress::Invalid(reason) => Expected::Invalid(*reason),
        Progress::NeedMore { at_least } => panic!("{at_least} bytes wanted"),
    }
}
