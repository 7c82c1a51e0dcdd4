use rcgen::KeyPair;
use webpki::EndEntityCert;

use super::*;
use crate::tls::{
    anchors::TrustAnchors,
    chain::signatures::BUDGET,
    testing::{Issued, ca, client_leaf, self_signed, self_signed_with},
};

fn chosen(
    leaf: &Issued,
    sent: &[CertificateDer<'static>],
    root: &Issued,
    depth: u32,
) -> Vec<usize> {
    let budget = SignatureBudget::default();
    let anchors = root.anchors();
    let leaf = EndEntityCert::try_from(&leaf.der).unwrap();
    let chosen = Intermediates::choose(leaf.issuer(), sent, anchors.issuers(), depth, &budget);
    let place = |kept: &CertificateDer<'_>| sent.iter().position(|sent| sent == kept).unwrap();
    assert!(budget.spent() <= BUDGET);
    chosen.kept.iter().map(place).collect()
}

#[test]
fn what_lies_on_no_way_or_too_long_a_way_is_left_out() {
    let root = self_signed(ca("root"));
    let (upper, aside) = (root.issue(ca("upper")), root.issue(ca("aside")));
    let lower = upper.issue(ca("lower"));
    let leaf = lower.issue(client_leaf());
    let sent = [lower.der.clone(), aside.der.clone(), upper.der.clone(), root.der.clone()];
    assert_eq!(chosen(&leaf, &sent, &root, 3), [2, 0]);
    assert_eq!(chosen(&leaf, &sent, &root, 2), [0; 0]);
    assert_eq!(chosen(&leaf, &sent[..2], &root, 3), [0; 0], "a gap");
    let twice = [&sent[..], &sent[..]].concat();
    assert_eq!(chosen(&leaf, &twice, &root, 7), [2, 0], "each once");
}

#[test]
fn what_another_key_has_signed_is_left_out() {
    let (root, namesake) = (self_signed(ca("root")), self_signed(ca("root")));
    let (good, bad) = (root.issue(ca("X")), namesake.issue(ca("X")));
    let below = bad.issue(ca("X"));
    let leaf = good.issue(client_leaf());
    let sent = [bad.der, below.der, good.der];
    assert_eq!(chosen(&leaf, &sent, &root, 7), [2]);
}

#[test]
fn anchors_of_one_name_and_key_cost_one_signature() {
    let root = self_signed(ca("root"));
    let key = KeyPair::from_pem(&root.key.serialize_pem()).unwrap();
    let renewed = self_signed_with(ca("root"), key);
    let anchors = TrustAnchors::union(&[&root.anchors(), &renewed.anchors()]);
    assert_eq!(anchors.issuers().len(), 2);
    let budget = SignatureBudget::default();
    let forged = self_signed(ca("root")).issue(ca("X"));
    let leaf = forged.issue(client_leaf());
    let leaf = EndEntityCert::try_from(&leaf.der).unwrap();
    let sent = [forged.der.clone()];
    let chosen = Intermediates::choose(leaf.issuer(), &sent, anchors.issuers(), 7, &budget);
    assert!(chosen.kept.is_empty());
    assert_eq!(budget.spent(), 1);
}

#[test]
fn of_many_good_ones_six_are_kept() {
    let root = self_signed(ca("root"));
    let sent: Vec<_> = (0..9).map(|_| root.issue(ca("X")).der).collect();
    let leaf = root.issue(ca("X")).issue(client_leaf());
    assert_eq!(chosen(&leaf, &sent, &root, 7).len(), MAX_INTERMEDIATES);
}

#[test]
fn the_length_of_a_way_is_known_without_signatures() {
    let root = self_signed(ca("root"));
    let mut chain = vec![root.issue(ca("1"))];
    for name in ["2", "3", "4", "5", "6", "7", "8"] {
        let next = chain.last().unwrap().issue(ca(name));
        chain.push(next);
    }
    let leaf = chain.last().unwrap().issue(client_leaf());
    let leaf = EndEntityCert::try_from(&leaf.der).unwrap();
    let anchors = root.anchors();
    let mut sent: Vec<_> = chain.iter().map(|issued| issued.der.clone()).collect();
    let depth = |sent: &[_]| shortest_depth(leaf.issuer(), sent, anchors.issuers());
    assert_eq!(depth(&sent), Some(9));
    sent.remove(3);
    assert_eq!(depth(&sent), None);
}

#[test]
fn bytes_that_are_no_certificate_are_left_out() {
    let root = self_signed(ca("root"));
    let middle = root.issue(ca("middle"));
    let leaf = middle.issue(client_leaf());
    let sent = [vec![0x30, 3, 2, 1, 0].into(), Vec::new().into(), middle.der];
    assert_eq!(chosen(&leaf, &sent, &root, 7), [2]);
}
