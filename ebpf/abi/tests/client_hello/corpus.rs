//! The corpus of the fuzzer, replayed without a fuzzer.

use std::fs;
use std::path::Path;

use crate::oracle;

#[test]
fn rustls_agrees_on_the_whole_fuzz_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/client_hello");
    let mut replayed = 0;
    for file in fs::read_dir(&corpus).unwrap() {
        oracle::compare(&fs::read(file.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 50, "{replayed} files in {}", corpus.display());
}
