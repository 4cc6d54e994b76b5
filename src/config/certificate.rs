//! When configured certificates end. One that expires is an outage with a date, so the date is shown
//! long before it.

use std::path::Path;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::problem::ConfigProblems;
use crate::crypto::Authorities;

/// The certificates of a file.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The file's text.
    pub pem: String,
    /// When they end.
    pub ends: Ends,
}

/// When the certificates of a file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// The first of them: a chain is broken from then on.
    pub first: Timestamp,
    /// The last of them. Authorities stand beside each other, and a system's own file of them always
    /// has some that have expired: it is of no use once all have. That the very one which vouches
    /// for a peer has expired shows where it is relied upon, in a connection that fails.
    pub last: Timestamp,
}

/// Reads the file that the key at `path` names. One without certificates is noted as a problem, or
/// with a broken one; one whose certificates have expired is not: the bridge must start, and keep
/// what it accepts.
pub(super) fn read(path: &str, file: &Path, problems: &mut ConfigProblems) -> Option<Certificates> {
    let read = text(file).and_then(|pem| match ends(pem.as_bytes()) {
        Ok(ends) => Ok(Certificates { pem, ends }),
        Err(why) => Err(format!("{}: {why}", file.display())),
    });
    problems.take(path, read, "name a readable PEM file of certificates")
}

/// Reads the file of authorities that the key at `path` names.
pub(super) fn authorities(
    path: &str,
    file: &Path,
    problems: &mut ConfigProblems,
) -> Option<Authorities> {
    let Certificates { pem, ends } = read(path, file, problems)?;
    let until = ends.last;
    Some(Authorities { pem, until })
}

/// What a file holds, or why it cannot be had.
pub(super) fn text(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// When the certificates end. Text around them is a comment; a certificate that is broken is not,
/// because a client would give up at it.
fn ends(pem: &[u8]) -> Result<Ends, String> {
    let mut ends: Option<Ends> = None;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("it is damaged: {error}"))?;
        let (_, end) =
            validity(&certificate).ok_or("it is damaged: a certificate cannot be understood")?;
        ends = Some(ends.map_or(
            Ends {
                first: end,
                last: end,
            },
            |so_far| Ends {
                first: so_far.first.min(end),
                last: so_far.last.max(end),
            },
        ));
    }
    ends.ok_or_else(|| "it holds no certificate".to_owned())
}

/// From when until when a certificate counts; `der` is one certificate.
pub(super) fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let time = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((time(validity.not_before)?, time(validity.not_after)?))
}

/// Who vouches for the first certificate of a chain, where that is neither itself nor another in it.
pub(super) fn missing_issuer<'a>(chain: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let parsed = chain.filter_map(|der| X509Certificate::from_der(der).ok());
    let parsed: Vec<X509Certificate<'_>> = parsed.map(|(_, certificate)| certificate).collect();
    let issuer = parsed.first()?.issuer();
    let is_there = |of: &X509Certificate<'_>| of.subject().as_raw() == issuer.as_raw();
    (!parsed.iter().any(is_there)).then(|| issuer.to_string())
}

#[cfg(test)]
pub(super) mod tests;
