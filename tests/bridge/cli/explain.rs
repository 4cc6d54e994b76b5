mod providers;

use super::{Said, hookferry};

const HEADER: &str =
    "t=1492774577 v1=53140ab8fa70c511cc40d5c9198af7dde7bbaee877038c056d8250c3bd3b2e11";

fn explain(header: &str, body: &[u8], secret: &str, more: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body").display().to_string();
    std::fs::write(&file, body).unwrap();
    let mut arguments = vec![
        "explain",
        "--header",
        header,
        "--body",
        &file,
        "--secret-env",
        "S",
    ];
    arguments.extend(more);
    Said::of(hookferry(&arguments).env("S", secret).output().unwrap())
}

/// The vector that every implementation of the scheme must agree on.
#[test]
fn a_right_signature_verifies_and_the_event_is_told() {
    let said = explain(HEADER, b"{}", super::SECRET, &["--now", "1492774600"]).with_code(0);
    assert!(said.out.contains("it verifies"), "{}", said.out);
    assert!(
        said.out.contains("quarantined: invalid_fields"),
        "{}",
        said.out
    );
    assert!(said.out.contains("onecodex.quarantine"), "{}", said.out);
    let pasted = format!("X-OneCodex-Signature: {HEADER}");
    explain(
        &pasted,
        b"{}",
        super::SECRET,
        &["--now", "2017-04-21T11:36:17Z"],
    )
    .with_code(0);
}

#[test]
fn each_reason_is_named() {
    let at = ["--now", "1492774600"];
    let stale = ["--now", "1492774878", "--duplicate-window", "0s"];
    let late = explain(HEADER, b"{}", super::SECRET, &stale).with_code(1);
    assert!(late.out.contains("timestamp_stale"), "{}", late.out);
    assert!(
        late.out.contains("✓ signature") && late.out.contains("✗ timestamp"),
        "{}",
        late.out
    );
    explain(
        HEADER,
        b"{}",
        super::SECRET,
        &[
            "--now",
            "1492774878",
            "--tolerance",
            "10m",
            "--duplicate-window",
            "0s",
        ],
    )
    .with_code(0);
    let wrong = explain(HEADER, b"{}", "another", &at).with_code(1);
    assert!(wrong.out.contains("signature_mismatch"), "{}", wrong.out);
    assert!(
        wrong.out.contains("another secret, or other bytes"),
        "{}",
        wrong.out
    );
    let malformed = explain("t=1492774577 v1=53140a", b"{}", super::SECRET, &at).with_code(1);
    assert!(
        malformed.out.contains("there are 6 hex digits"),
        "{}",
        malformed.out
    );
    assert!(
        malformed.out.contains("signature_malformed"),
        "{}",
        malformed.out
    );
}

#[test]
fn a_body_that_was_changed_on_its_way_is_recognised_but_never_verifies() {
    let at = ["--now", "1492774600"];
    for (body, text) in [
        (&b"{}\n"[..], "white space at the body's end"),
        (b"{ }", "JSON.stringify"),
    ] {
        let said = explain(HEADER, body, super::SECRET, &at).with_code(1);
        assert!(said.out.contains(text), "{}", said.out);
        assert!(said.out.contains("signature_mismatch"), "{}", said.out);
    }
}

/// As the bridge does, for as long as it remembers events.
#[test]
fn a_late_delivery_verifies_as_long_as_it_is_remembered() {
    let late = explain(HEADER, b"{}", super::SECRET, &["--now", "1492774878"]).with_code(0);
    for text in ["! timestamp", "it is late", "it verifies"] {
        assert!(late.out.contains(text), "{text} is not in {}", late.out);
    }
    let day_later = ["--now", "1492860978"];
    let stale = explain(HEADER, b"{}", super::SECRET, &day_later).with_code(1);
    assert!(stale.out.contains("✗ timestamp"), "{}", stale.out);
    assert!(stale.out.contains("timestamp_stale"), "{}", stale.out);
    let longer = ["--now", "1492860978", "--duplicate-window", "30d"];
    explain(HEADER, b"{}", super::SECRET, &longer).with_code(0);
}

/// Explains with the secret of a file that holds these bytes.
fn explain_file(secret: &[u8], more: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let [body, file] = ["body", "secret"].map(|name| folder.path().join(name));
    std::fs::write(&body, "{}").unwrap();
    std::fs::write(&file, secret).unwrap();
    let (body, file) = (body.display().to_string(), file.display().to_string());
    let mut arguments = vec!["explain", "--header", HEADER, "--now", "1492774600"];
    arguments.extend(["--body", &body, "--secret-file", &file]);
    arguments.extend(more);
    Said::of(hookferry(&arguments).output().unwrap())
}

#[test]
fn what_happened_to_the_secret_on_its_way_into_the_file_is_named() {
    for (secret, form) in [
        (
            &b"\xef\xbb\xbfwhsec_test_secret\r\n"[..],
            "byte-order mark were left out",
        ),
        // At the end it would change nothing: HMAC fills a key up with NUL (RFC 2104).
        (b"\0whsec_test_secret", "NUL bytes were left out"),
        (b"\"whsec_test_secret\"\n", "quotes were left out"),
        (
            b"whsec_old_secret\r\nwhsec_test_secret\r\n",
            "the second line alone",
        ),
        (b"d2hzZWNfdGVzdF9zZWNyZXQ=\n", "decoded from base64"),
        (b"77687365635f746573745f736563726574\n", "decoded from hex"),
    ] {
        let said = explain_file(secret, &[]).with_code(1);
        assert!(said.out.contains(form), "{form} is not in {}", said.out);
        assert!(!said.out.contains("another secret"), "{}", said.out);
        assert!(!said.out.contains("whsec_test"), "{}", said.out);
    }
    let damaged = explain_file(b"whsec_a\nwhsec_b", &[]).with_code(1);
    assert!(damaged.out.contains("✗ secret"), "{}", damaged.out);
    assert!(damaged.out.contains("several lines"), "{}", damaged.out);
    let doubtful = explain_file(b"\"whsec_a\"", &[]).with_code(1);
    assert!(doubtful.out.contains("! secret"), "{}", doubtful.out);
    // White space around it does not count, and an encoding may be named.
    explain_file(b" whsec_test_secret\r\n", &[]).with_code(0);
    let base64 = ["--secret-encoding", "base64"];
    explain_file(b"d2hzZWNfdGVzdF9zZWNyZXQ=\n", &base64).with_code(0);
    let raw = explain_file(b"whsec_test_secret", &base64).with_code(1);
    assert!(raw.out.contains("no base64"), "{}", raw.out);
    explain_file(b"whsec_test_secret", &["--secret-encoding", "rot13"]).with_code(2);
}
