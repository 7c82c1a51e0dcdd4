//! What the fuzzer starts from, replayed.

use std::{fs, path::Path};

use proptest::{prelude::*, sample::select};

use super::super::{
    AllowedAlgorithms, IdTokenClaims, IdTokenRules, ProviderKeys, SigningKey, TokenError,
    public_jwks, verify_id_token,
};

#[path = "oracle.rs"]
mod oracle;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(corpus).unwrap().map(|file| file.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

#[test]
fn the_fuzz_corpus_of_tokens_is_read_as_the_model_reads_it() {
    for (name, input) in corpus("id_token") {
        let read = oracle::read_token(&input);
        assert_eq!(read.result.is_ok(), name.starts_with("good"), "{name}: {:?}", read.result);
    }
}

#[test]
fn the_fuzz_corpus_of_key_sets_has_so_many_keys() {
    for (name, input) in corpus("key_set") {
        let expected: usize = name.split('-').next().unwrap().parse().unwrap();
        assert_eq!(oracle::read_key_set(&input), expected, "{name}");
    }
}

#[test]
fn the_fuzz_corpus_of_private_keys_has_so_many_keys() {
    for (name, input) in corpus("signing_key") {
        let expected: usize = name.split('-').next().unwrap().parse().unwrap();
        assert_eq!(oracle::read_signing_keys(&input), expected, "{name}");
    }
}

/// One edit: at this place, so many bytes are replaced by these.
fn edit(input: &mut Vec<u8>, (at, removed, added): &(usize, usize, Vec<u8>)) {
    let start = at % (input.len() + 1);
    let end = (start + removed).min(input.len());
    input.splice(start..end, added.iter().copied());
}

fn edits() -> impl Strategy<Value = Vec<(usize, usize, Vec<u8>)>> {
    let words = [
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\\",
        "\\u0073",
        "\"sub\":\"s\",",
        "\"exp\":1e9,",
        "null",
        "1",
        "-",
        ".5",
        "e9",
        "true",
        "\n",
        " ",
        "é",
        "\"aud\":[\"c\",\"d\"],",
        "\"azp\":\"c\",",
        "\"kid\":\"k\",",
        "\"b64\":true,",
    ];
    let added = prop_oneof![
        select(words.map(|word| word.as_bytes().to_vec()).to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec((any::<usize>(), 0usize..4, added), 1..4)
}

proptest! {
    #[test]
    fn edited_tokens_are_read_as_the_model_reads_them(
        (_, mut input) in select(corpus("id_token")), edits in edits(),
    ) {
        edits.iter().for_each(|one| edit(&mut input, one));
        oracle::read_token(&input);
    }

    #[test]
    fn edited_key_sets_verify_nothing_forged(
        (_, mut input) in select(corpus("key_set")), edits in edits(),
    ) {
        edits.iter().for_each(|one| edit(&mut input, one));
        oracle::read_key_set(&input);
    }
}
