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
    let mut problems = ConfigProblems::default();
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
