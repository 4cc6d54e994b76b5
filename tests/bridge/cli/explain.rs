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
    let late = explain(HEADER, b"{}", super::SECRET, &["--now", "1492774878"]).with_code(1);
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
        &["--now", "1492774878", "--tolerance", "10m"],
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
