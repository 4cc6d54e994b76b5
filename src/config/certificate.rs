//! When configured certificates end. One that expires is an outage with a date, so the date is shown
//! long before it.

use std::path::Path;

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::problem::Problems;

/// The certificates of a file.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The file's text.
    pub pem: String,
    /// When the first of them ends.
    pub expiry: Timestamp,
}

/// Reads the file that the key at `path` names. One without certificates is noted as a problem; one
/// whose certificates have expired is not: the bridge must start, and keep what it accepts.
pub(super) fn read(path: &str, file: &Path, problems: &mut Problems) -> Option<Certificates> {
    let read = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))
        .and_then(|pem| match first_expiry(pem.as_bytes()) {
            Some(expiry) => Ok(Certificates { pem, expiry }),
            None => Err(format!("{} holds no certificate", file.display())),
        });
    problems.take(path, read, "name a readable PEM file of certificates")
}

/// Blocks that are no certificates, and certificates that only other libraries understand, are
/// passed over: whether to trust any of them is for TLS to say.
fn first_expiry(pem: &[u8]) -> Option<Timestamp> {
    let expiry = |block: Pem| {
        let certificate = block.parse_x509().ok()?;
        Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
    };
    Pem::iter_from_buffer(pem)
        .filter_map(Result::ok)
        .filter_map(expiry)
        .min()
}

/// From when until when a certificate counts; `der` is one certificate.
pub(super) fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let time = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((time(validity.not_before)?, time(validity.not_after)?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Made for this test, and of no use to anybody.
    pub const UNTIL_2027: &str = "-----BEGIN CERTIFICATE-----
MIIBMjCB5aADAgECAhRGStEiFVcu6BN+Q+6bPhcushmJazAFBgMrZXAwDzENMAsG
A1UEAwwEdGVzdDAeFw0yNjExMjUwMDU4MzNaFw0yNzExMjUwMDU4MzNaMA8xDTAL
BgNVBAMMBHRlc3QwKjAFBgMrZXADIQByAihjhWxm8dP7nWVn0GTbhi9KTl2/5x8g
PslX7woOR6NTMFEwHQYDVR0OBBYEFOa/DxSEVdUOYTYs/3KBgwFkXET4MB8GA1Ud
IwQYMBaAFOa/DxSEVdUOYTYs/3KBgwFkXET4MA8GA1UdEwEB/wQFMAMBAf8wBQYD
K2VwA0EApLX3VvF6BZIWGVY0eCF4u1p+J3xoN5kp2+o0PDIyTIdr60478RQgCahx
jMEbT4DZxdi47OwOIkgulUOSGaXmBQ==
-----END CERTIFICATE-----
";
    const UNTIL_2036: &str = "-----BEGIN CERTIFICATE-----
MIIBMjCB5aADAgECAhRYZxWqwLY+DCpYSExk4aFQxIDfCzAFBgMrZXAwDzENMAsG
A1UEAwwEdGVzdDAeFw0yNjExMjUwMDU4MzRaFw0zNjExMjIwMDU4MzRaMA8xDTAL
BgNVBAMMBHRlc3QwKjAFBgMrZXADIQDAJuZZwlr+hmEd5qMreagcQ9mwPI1vk5Uy
tdfDEMt+kaNTMFEwHQYDVR0OBBYEFA6N2v4aq1fG0twmb6ZilUCccQRdMB8GA1Ud
IwQYMBaAFA6N2v4aq1fG0twmb6ZilUCccQRdMA8GA1UdEwEB/wQFMAMBAf8wBQYD
K2VwA0EACzgo4R44MrsTdmvEAT7+xmc0+I1VWVmnGBKHYNtgMdX/U575+uEXnLA8
iM0E0G/4aoPUC5k9skh/fuXnvdusDg==
-----END CERTIFICATE-----
";

    #[test]
    fn the_first_to_expire_counts() {
        let seconds = |pem: &str| first_expiry(pem.as_bytes()).map(Timestamp::as_second);
        let both = format!("old and new\n{UNTIL_2036}{UNTIL_2027}");
        assert_eq!(seconds(UNTIL_2036), Some(2_110_928_314));
        assert_eq!(seconds(&both), Some(1_827_104_313));
        for nothing in [
            "",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN X-----\nAAAA\n-----END X-----",
        ] {
            assert_eq!(seconds(nothing), None, "{nothing}");
            assert!(seconds(&format!("{UNTIL_2036}{nothing}")).is_some());
        }
    }

    #[test]
    fn a_file_without_certificates_is_a_problem_of_its_key() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut problems = Problems::default();
        for name in [file.path(), Path::new("/does/not/exist")] {
            assert!(read("sink.mq.ca_file", name, &mut problems).is_none());
        }
        let paths: Vec<&str> = problems.iter().map(|problem| &*problem.path).collect();
        assert_eq!(paths, ["sink.mq.ca_file"; 2]);
        std::fs::write(file.path(), UNTIL_2027).expect("written");
        assert!(read("sink.mq.ca_file", file.path(), &mut problems).is_some());
    }
}
