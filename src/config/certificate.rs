//! When configured certificates end. One that expires is an outage with a date, so the date is shown
//! long before it.

use std::path::Path;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::problem::Problems;

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
pub(super) fn read(path: &str, file: &Path, problems: &mut Problems) -> Option<Certificates> {
    let read = text(file).and_then(|pem| match ends(pem.as_bytes()) {
        Ok(ends) => Ok(Certificates { pem, ends }),
        Err(why) => Err(format!("{}: {why}", file.display())),
    });
    problems.take(path, read, "name a readable PEM file of certificates")
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
pub(super) mod tests {
    use super::*;

    // Made for these tests, and of no use to anybody.
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
    /// Until 2036, with its key.
    pub const CLIENT: &str = "-----BEGIN CERTIFICATE-----
MIIBMjCB5aADAgECAhQi6tOBB0a5rgxc4SJJWsRGm5itKDAFBgMrZXAwDzENMAsG
A1UEAwwEdGVzdDAeFw0yNjExMjUwMzUzNDRaFw0zNjExMjIwMzUzNDRaMA8xDTAL
BgNVBAMMBHRlc3QwKjAFBgMrZXADIQA7yXze7Xb9Iu2NaXinyBC1H6liUcdBBhQc
DctNUxG+HKNTMFEwHQYDVR0OBBYEFM6wmW2wCZnG2FftGp7mPnWsyUikMB8GA1Ud
IwQYMBaAFM6wmW2wCZnG2FftGp7mPnWsyUikMA8GA1UdEwEB/wQFMAMBAf8wBQYD
K2VwA0EAEkMx9FEFOYH7zdXXYejbCuTp3F8p0cJdZDlV0eruc8DpcvODZnoIp0Wu
GIrElMJbMTEG4rSbwkwvmDYklldTAQ==
-----END CERTIFICATE-----
";
    pub const CLIENT_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIKcIi4DkeW5G4blxyrxqM5EzjdSQ25wJe0a9Hv6dVh5n
-----END PRIVATE KEY-----
";
    /// The key to another certificate.
    pub const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIHBK6vbbo8lN5TwJPqN1NvOuHppSCzOH9IeZ35k9qVo8
-----END PRIVATE KEY-----
";
    /// The key to [`CLIENT`], encrypted with this password.
    pub const PASSWORD: &str = "sesame";
    pub const ENCRYPTED_KEY: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAh6EWVQU5CsOAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKAP0FBAzmEQBqjCN+Jk1EIEQI91
hsw/1uF+DJhp02Fk02wV87ROUhvpRqX+MwbyrFhKGXDrhvAIu7kl8Xq2uYU8DYut
RyWhVKUxae7+faUHVSA=
-----END ENCRYPTED PRIVATE KEY-----
";

    #[test]
    fn the_first_and_the_last_to_expire_are_found_in_any_order() {
        let seconds = |pem: &str| {
            ends(pem.as_bytes()).map(|ends| (ends.first.as_second(), ends.last.as_second()))
        };
        let (in_2027, in_2036) = (1_827_104_313, 2_110_938_824);
        assert_eq!(seconds(CLIENT), Ok((in_2036, in_2036)));
        for both in [[CLIENT, UNTIL_2027], [UNTIL_2027, CLIENT]] {
            let both = format!("old and new\n{}", both.concat());
            assert_eq!(seconds(&both), Ok((in_2027, in_2036)));
        }
        for nothing in ["", CLIENT_KEY] {
            assert!(seconds(nothing).is_err(), "{nothing}");
            assert!(seconds(&format!("{CLIENT}{nothing}")).is_ok());
        }
    }

    #[test]
    fn broken_pem_is_told_although_another_certificate_is_whole() {
        let cut = &UNTIL_2027[..UNTIL_2027.len() / 2];
        let flipped = UNTIL_2027.replacen("MIIB", "MIIA", 1);
        let no_base64 = UNTIL_2027.replacen("MIIB", "M?IB", 1);
        for broken in [cut, &flipped, &no_base64] {
            let told = ends(format!("{CLIENT}{broken}").as_bytes());
            assert!(told.is_err(), "{broken}: {told:?}");
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

    /// A file with this text.
    pub fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file
    }
}
