//! CRLs as they are configured: a PEM text with any number of them.

use std::collections::{BTreeMap, HashMap};

use base64::prelude::{BASE64_STANDARD, Engine};

use super::{Crl, CrlFacts, list::List};
use crate::tls::{anchors::TrustAnchors, material::Digest};

/// The CRLs of a configuration, of each issuer the last.
#[derive(Debug)]
pub struct CrlBundle {
    by_issuer: HashMap<Box<[u8]>, Crl>,
    /// Where they were read from.
    pub origin: String,
    /// SHA-256 over the CRLs.
    pub digest: [u8; 32],
    /// What is odd about them, for a warning each.
    pub remarks: Vec<String>,
}

/// What is wrong with a text of CRLs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlBundleError {
    /// There is none in it.
    #[error("{origin}: no CRL found{}", if *.is_der {
        "; this looks like DER; PEM is required (`openssl crl -inform DER -in FILE`)"
    } else {
        ""
    })]
    NoCrl {
        /// Where it was read from.
        origin: String,
        /// It may be DER, which is not PEM.
        is_der: bool,
    },
    /// One line or section of it.
    #[error("{origin}, line {line}: {problem}")]
    Section {
        /// Where it was read from.
        origin: String,
        /// From 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
}

impl CrlBundle {
    /// Reads CRLs of version 1 or 2 from a PEM text; what stands before a section explains it
    /// (RFC 7468, section 2), what stands after the last one is an error, and so is every CRL that
    /// cannot be used. Signatures are not verified yet: that takes the issuers.
    pub fn from_pem(pem: &[u8], origin: &str) -> Result<CrlBundle, CrlBundleError> {
        let failure = |(line, problem)| {
            let origin = origin.to_owned();
            CrlBundleError::Section { origin, line, problem }
        };
        let mut bundle = Loading::default();
        for section in sections(pem).map_err(failure)? {
            let line = section.line;
            bundle.add(section).map_err(|problem| failure((line, problem)))?;
        }
        if bundle.ders.is_empty() && !bundle.has_any {
            let origin = origin.to_owned();
            return Err(CrlBundleError::NoCrl { origin, is_der: pem.starts_with(&[0x30]) });
        }
        Ok(bundle.finish(origin))
    }

    /// The CRL of an issuer, by its name in DER.
    pub(super) fn of(&self, issuer_der: &[u8]) -> Option<&Crl> {
        self.by_issuer.get(issuer_der)
    }

    /// Each with its issuer's name in DER, in no order.
    #[cfg(test)]
    pub(super) fn by_issuer(&self) -> impl Iterator<Item = (&[u8], &Crl)> {
        self.by_issuer.iter().map(|(issuer_der, crl)| (&**issuer_der, crl))
    }

    /// Verifies, once and for all, the signatures of those CRLs whose issuer is among the anchors.
    /// Gives what is odd, for a warning each.
    pub fn verify(&self, anchors: &TrustAnchors) -> Vec<String> {
        let crls = self.by_issuer.iter();
        let mut remarks: Vec<_> =
            crls.filter_map(|(issuer_der, crl)| crl.verify(issuer_der, anchors)).collect();
        remarks.sort();
        remarks
    }

    /// What status and metrics show, in the order of the issuers' names.
    pub fn facts(&self) -> Vec<CrlFacts> {
        let mut facts: Vec<_> = self.by_issuer.values().map(Crl::facts).collect();
        facts.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        facts
    }
}

#[derive(Default)]
struct Loading {
    by_issuer: HashMap<Box<[u8]>, (usize, Crl)>,
    /// In order of the issuers, so that the digest does not depend on that of the text.
    ders: BTreeMap<Box<[u8]>, Vec<u8>>,
    has_any: bool,
    remarks: Vec<String>,
}

impl Loading {
    fn add(&mut self, section: Section<'_>) -> Result<(), String> {
        let Section { line, label, body } = section;
        if label != "X509 CRL" {
            self.remarks.push(format!("line {line}: {label} is passed over, it is no CRL"));
            return Ok(());
        }
        let text: Vec<u8> = body.iter().flat_map(|line| line.as_bytes()).copied().collect();
        let der = BASE64_STANDARD.decode(text).map_err(|_| "it is not valid base64".to_owned())?;
        let list = List::parse(&der).map_err(|error| error.to_string())?;
        self.has_any = true;
        if list.is_for_others {
            self.remarks.push(format!(
                "line {line}: the CRL of \"{}\" is passed over, it is not for certificates of \
                 clients",
                list.issuer
            ));
            return Ok(());
        }
        let issuer: Box<[u8]> = list.issuer_der.into();
        let crl = Crl::new(list);
        if let Some((earlier, crl)) = self.by_issuer.insert(issuer.clone(), (line, crl)) {
            self.remarks.push(format!(
                "line {line}: takes the place of the CRL of \"{}\" at line {earlier}",
                crl.issuer
            ));
        }
        self.ders.insert(issuer, der);
        Ok(())
    }

    fn finish(self, origin: &str) -> CrlBundle {
        let mut digest = Digest::default();
        self.ders.values().for_each(|der| digest.field(der));
        CrlBundle {
            by_issuer: self.by_issuer.into_iter().map(|(key, (_, crl))| (key, crl)).collect(),
            origin: origin.to_owned(),
            digest: digest.finish(),
            remarks: self.remarks,
        }
    }
}

struct Section<'a> {
    /// Of its first line, from 1.
    line: usize,
    label: &'a str,
    body: Vec<&'a str>,
}

type Problem = (usize, String);

/// The sections of a PEM text. Stricter than the parser of certificates: a line that is damaged must
/// not hide a CRL.
fn sections(pem: &[u8]) -> Result<Vec<Section<'_>>, Problem> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut open: Option<Section<'_>> = None;
    let mut stray = None;
    for (number, line) in (1..).zip(pem.split(|byte| *byte == b'\n')) {
        // What explains may be in any encoding; base64 and marks are ASCII.
        let line = std::str::from_utf8(line).unwrap_or("\u{fffd}").trim();
        if let Some(label) = mark(line, "-----BEGIN ") {
            if let Some(section) = open {
                return Err((section.line, "it has no end line".to_owned()));
            }
            open = Some(Section { line: number, label, body: Vec::new() });
            stray = None;
        } else if let Some(label) = mark(line, "-----END ") {
            match open.take() {
                Some(section) if section.label == label => sections.push(section),
                _ => return Err((number, "an END line has no BEGIN line".to_owned())),
            }
        } else if line.contains("BEGIN X509 CRL") {
            return Err((number, "a damaged first line of a CRL".to_owned()));
        } else if let Some(section) = &mut open {
            section.body.push(line);
        } else if !line.is_empty() {
            stray = stray.or(Some(number));
        }
    }
    match (open, stray, sections.is_empty()) {
        (Some(section), ..) => Err((section.line, "it has no end line (cut off?)".to_owned())),
        (None, Some(line), false) => Err((line, "non-PEM data in CRL bundle".to_owned())),
        _ => Ok(sections),
    }
}

fn mark<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}
