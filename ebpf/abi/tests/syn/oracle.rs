//! A second reader of options, which splits the list first.

use portcullis_abi::{CookieLoss, MAX_OPTIONS, SynOptions};

/// Fails if the two readers disagree, or if the result says what cannot be.
pub(crate) fn compare(bytes: &[u8]) {
    let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let read = SynOptions::read(bytes, 0, end);
    assert_eq!(read, expected(bytes), "{bytes:?}");
    // A longer buffer, as a segment with payload, changes nothing.
    let longer = [bytes, &[2, 4, 1, 1]].concat();
    assert_eq!(SynOptions::read(longer.as_slice(), 0, end), read, "{bytes:?}");
    for is_ipv6 in [false, true] {
        if !read.timestamps {
            assert_eq!(read.cookie_loss(is_ipv6), CookieLoss::Options);
        }
    }
}

fn expected(bytes: &[u8]) -> SynOptions {
    let none = SynOptions { mss: 0, timestamps: false };
    let (options, is_whole) = split(bytes);
    if !is_whole {
        return none;
    }
    let mut sizes = options.iter().filter_map(|(kind, body)| match (kind, body) {
        (2, [high, low]) => Some(u32::from(*high) << 8 | u32::from(*low)),
        _ => None,
    });
    SynOptions {
        mss: sizes.rfind(|size| *size > 0).unwrap_or(0),
        timestamps: options.iter().any(|(kind, body)| *kind == 8 && body.len() == 8),
    }
}

/// The options up to the end or the first broken one; whether there are few enough.
fn split(mut bytes: &[u8]) -> (Vec<(u8, &[u8])>, bool) {
    let mut options = Vec::new();
    for _ in 0..MAX_OPTIONS {
        let (option, rest) = match bytes {
            [1, rest @ ..] => ((1, [].as_slice()), rest),
            [kind, len, rest @ ..]
                if *kind >= 2 && *len >= 2 && usize::from(*len) - 2 <= rest.len() =>
            {
                let (body, rest) = rest.split_at(usize::from(*len) - 2);
                ((*kind, body), rest)
            }
            _ => return (options, true),
        };
        options.push(option);
        bytes = rest;
    }
    (options, false)
}
