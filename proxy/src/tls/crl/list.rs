//! One certificate revocation list in DER (RFC 5280, section 5), of version 1 or 2.

use std::collections::HashSet;

use x509_parser::{
    asn1_rs::{FromDer, Oid},
    time::ASN1Time,
    x509::X509Name,
};

use crate::{
    certificate::distinguished_name,
    tls::{
        algorithms::key_of,
        der::{
            BOOLEAN, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE,
            UTC_TIME,
        },
        provider::provider,
        validity::Validity,
    },
};

const VERSION_2: &[u8] = &[1];
const EXTENSIONS: u8 = 0xa0;
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];

/// Extensions that change nothing about who is revoked, critical or not: issuer's other name, CRL
/// number, reason, hold instruction, invalidity date, authority key identifier, freshest CRL.
const HARMLESS: [&[u8]; 7] = [
    &[0x55, 0x1d, 18],
    &[0x55, 0x1d, 20],
    &[0x55, 0x1d, 21],
    &[0x55, 0x1d, 23],
    &[0x55, 0x1d, 24],
    &[0x55, 0x1d, 35],
    &[0x55, 0x1d, 46],
];

/// What a list says.
#[derive(Debug)]
pub(super) struct List<'a> {
    /// The issuer's name in DER, as it stands in the certificates it has issued.
    pub(super) issuer_der: &'a [u8],
    /// As of RFC 4514.
    pub(super) issuer: String,
    /// From `thisUpdate` to `nextUpdate`, without end where the latter is absent.
    pub(super) validity: Validity,
    pub(super) has_next_update: bool,
    /// As of [`serial`].
    pub(super) revoked: HashSet<Box<[u8]>>,
    /// It lists no certificates of clients, by its own word.
    pub(super) is_for_others: bool,
    pub(super) signed: Signed,
}

/// What a signature is over, and the signature.
#[derive(Debug)]
pub(super) struct Signed {
    message: Box<[u8]>,
    /// Contents of the `AlgorithmIdentifier`.
    algorithm: Box<[u8]>,
    signature: Box<[u8]>,
}

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ListError {
    #[error("it is not a CRL in DER ({0})")]
    Malformed(&'static str),
    #[error("it is a delta CRL; give the complete one")]
    Delta,
    #[error("it lists certificates of other issuers (an indirect CRL), which is not supported")]
    Indirect,
    #[error("it leaves out certificates revoked for some reasons; give the complete one")]
    SomeReasons,
    #[error("it has the critical extension {0}, which is not supported")]
    CriticalExtension(String),
    #[error("its signature algorithm {0} is not supported")]
    SignatureAlgorithm(String),
}

impl Signed {
    /// Whether the owner of this key, a `SubjectPublicKeyInfo` in DER, has signed it.
    pub(super) fn is_by(&self, key_info: &[u8]) -> bool {
        let Some((algorithm, key)) = key_of(key_info) else {
            return false;
        };
        let known = provider().signature_verification_algorithms.all.iter();
        known
            .filter(|known| *known.signature_alg_id() == *self.algorithm)
            .filter(|known| *known.public_key_alg_id() == *algorithm)
            .any(|known| known.verify_signature(key, &self.message, &self.signature).is_ok())
    }
}

/// A serial number in the form in which numbers are compared: without leading zeros.
pub(super) fn serial(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    integer.get(zeros..).unwrap_or_default()
}

impl<'a> List<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<List<'a>, ListError> {
        use ListError::Malformed;
        let mut outer = Reader::new(der);
        let mut list = outer.contents(SEQUENCE).map(Reader::new).ok_or(Malformed("no sequence"))?;
        let message = list.optional(SEQUENCE).ok_or(Malformed("nothing signed"))?;
        let algorithm = list.contents(SEQUENCE).ok_or(Malformed("no signature algorithm"))?;
        let signature = list.whole_bytes().ok_or(Malformed("no signature"))?;
        if !list.is_at_end() || !outer.is_at_end() {
            return Err(Malformed("bytes after its end"));
        }
        check_algorithm(algorithm)?;
        let signed = Signed {
            message: message.whole.into(),
            algorithm: algorithm.into(),
            signature: signature.into(),
        };
        parse_contents(message.contents, signed)
    }
}

fn parse_contents(contents: &[u8], signed: Signed) -> Result<List<'_>, ListError> {
    use ListError::Malformed;
    let mut list = Reader::new(contents);
    if list.contents(INTEGER).is_some_and(|version| version != VERSION_2) {
        return Err(Malformed("neither version 1 nor 2"));
    }
    if list.contents(SEQUENCE) != Some(&signed.algorithm) {
        return Err(Malformed("two signature algorithms"));
    }
    let issuer_der = list.optional(SEQUENCE).ok_or(Malformed("no issuer"))?.whole;
    let (_, issuer) = X509Name::from_der(issuer_der).map_err(|_| Malformed("its issuer"))?;
    let this_update_s = time(&mut list)?.ok_or(Malformed("no date"))?;
    let next_update_s = time(&mut list)?;
    let revoked = match list.contents(SEQUENCE) {
        Some(entries) => revoked(entries)?,
        None => HashSet::new(),
    };
    let is_for_others = match list.contents(EXTENSIONS) {
        Some(extensions) => check_extensions(extensions)?,
        None => false,
    };
    if !list.is_at_end() {
        return Err(Malformed("unexpected data after its extensions"));
    }
    Ok(List {
        issuer_der,
        issuer: distinguished_name(&issuer),
        validity: Validity {
            not_before_s: this_update_s,
            not_after_s: next_update_s.unwrap_or(i64::MAX),
        },
        has_next_update: next_update_s.is_some(),
        revoked,
        is_for_others,
        signed,
    })
}

fn check_algorithm(algorithm: &[u8]) -> Result<(), ListError> {
    let mut all = provider().signature_verification_algorithms.all.iter();
    if all.any(|known| *known.signature_alg_id() == *algorithm) {
        return Ok(());
    }
    let oid = Reader::new(algorithm).contents(OID).unwrap_or_default();
    Err(ListError::SignatureAlgorithm(dotted(oid)))
}

fn revoked(entries: &[u8]) -> Result<HashSet<Box<[u8]>>, ListError> {
    const MALFORMED: ListError = ListError::Malformed("an entry of its list");
    let mut entries = Reader::new(entries);
    let mut revoked = HashSet::new();
    while !entries.is_at_end() {
        let mut entry = Reader::new(entries.contents(SEQUENCE).ok_or(MALFORMED)?);
        let number = entry.contents(INTEGER).ok_or(MALFORMED)?;
        time(&mut entry)?.ok_or(MALFORMED)?;
        if let Some(extensions) = entry.contents(SEQUENCE) {
            for_each_that_matters(extensions, |oid, _| match oid {
                CERTIFICATE_ISSUER => Err(ListError::Indirect),
                other => Err(ListError::CriticalExtension(dotted(other))),
            })?;
        }
        if !entry.is_at_end() {
            return Err(MALFORMED);
        }
        revoked.insert(serial(number).into());
    }
    Ok(revoked)
}

/// Whether the list is for others than clients.
fn check_extensions(explicit: &[u8]) -> Result<bool, ListError> {
    const MALFORMED: ListError = ListError::Malformed("its extensions");
    let mut outer = Reader::new(explicit);
    let extensions = outer.contents(SEQUENCE).ok_or(MALFORMED)?;
    if !outer.is_at_end() {
        return Err(MALFORMED);
    }
    let mut is_for_others = false;
    for_each_that_matters(extensions, |oid, value| match oid {
        DELTA_CRL_INDICATOR => Err(ListError::Delta),
        ISSUING_DISTRIBUTION_POINT => {
            is_for_others |= is_distributed_for_others(value)?;
            Ok(())
        }
        other => Err(ListError::CriticalExtension(dotted(other))),
    })?;
    Ok(is_for_others)
}

/// RFC 5280, section 5.2.5.
fn is_distributed_for_others(value: &[u8]) -> Result<bool, ListError> {
    const ONLY_USER_CERTIFICATES: u8 = 0x81;
    const ONLY_CA_CERTIFICATES: u8 = 0x82;
    const ONLY_SOME_REASONS: u8 = 0x83;
    const INDIRECT: u8 = 0x84;
    const ONLY_ATTRIBUTE_CERTIFICATES: u8 = 0x85;
    const DISTRIBUTION_POINT: u8 = 0xa0;
    const MALFORMED: ListError = ListError::Malformed("its issuing distribution point");
    let mut fields = Reader::new(Reader::new(value).contents(SEQUENCE).ok_or(MALFORMED)?);
    let mut is_for_others = false;
    while !fields.is_at_end() {
        let Element { tag, contents, .. } = fields.any().ok_or(MALFORMED)?;
        let is_set = contents != [0];
        match tag {
            ONLY_CA_CERTIFICATES | ONLY_ATTRIBUTE_CERTIFICATES => is_for_others |= is_set,
            ONLY_SOME_REASONS => return Err(ListError::SomeReasons),
            INDIRECT if is_set => return Err(ListError::Indirect),
            INDIRECT | ONLY_USER_CERTIFICATES | DISTRIBUTION_POINT => {}
            _ => return Err(MALFORMED),
        }
    }
    Ok(is_for_others)
}

/// Calls `check` with the name and the value of each extension that changes what the list means.
/// Those of which we know count however they are marked.
fn for_each_that_matters(
    extensions: &[u8],
    mut check: impl FnMut(&[u8], &[u8]) -> Result<(), ListError>,
) -> Result<(), ListError> {
    const MALFORMED: ListError = ListError::Malformed("an extension");
    const KNOWN: [&[u8]; 3] = [DELTA_CRL_INDICATOR, ISSUING_DISTRIBUTION_POINT, CERTIFICATE_ISSUER];
    let mut extensions = Reader::new(extensions);
    while !extensions.is_at_end() {
        let mut extension = Reader::new(extensions.contents(SEQUENCE).ok_or(MALFORMED)?);
        let oid = extension.contents(OID).ok_or(MALFORMED)?;
        let critical = extension.contents(BOOLEAN).is_some_and(|flag| flag != [0]);
        let value = extension.contents(OCTET_STRING).ok_or(MALFORMED)?;
        if KNOWN.contains(&oid) || (critical && !HARMLESS.contains(&oid)) {
            check(oid, value)?;
        }
    }
    Ok(())
}

/// A time in seconds since the epoch, if one comes next.
fn time(reader: &mut Reader<'_>) -> Result<Option<i64>, ListError> {
    let element = reader.optional(UTC_TIME).or_else(|| reader.optional(GENERALIZED_TIME));
    element
        .map(|element| match ASN1Time::from_der(element.whole) {
            Ok(([], time)) => Ok(time.timestamp()),
            _ => Err(ListError::Malformed("a date")),
        })
        .transpose()
}

fn dotted(oid: &[u8]) -> String {
    Oid::new(oid.into()).to_id_string()
}
