//! What fuzzing found worth keeping, and bytes at random.

use proptest::prelude::*;

use crate::identity::flow::probe;

#[test]
fn the_fuzz_corpus_opens_nothing_and_leads_nowhere() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/sign_in");
    let files = std::fs::read_dir(corpus).unwrap();
    let read = files.map(|file| {
        let path = file.unwrap().path();
        let probed = probe(&std::fs::read(&path).unwrap());
        assert_eq!(probed, Ok(()), "{}", path.display());
    });
    assert!(read.count() >= 8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn bytes_of_any_kind_open_nothing_and_lead_nowhere(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        text in "\\PC{0,60}|[/a-z?&=%:.@_;, ]{0,80}",
    ) {
        prop_assert_eq!(probe(&bytes), Ok(()));
        prop_assert_eq!(probe(text.as_bytes()), Ok(()));
    }
}
