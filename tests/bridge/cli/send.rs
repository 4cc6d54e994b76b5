use super::{Setup, run, run_with_input};

#[test]
fn one_delivery_prints_its_answer_and_the_same_body_is_a_duplicate() {
    let setup = Setup::with_store();
    let served = setup.serve();
    let secret = setup.secret();
    let send = |more: &[&str]| {
        let mut arguments = vec!["send", "--url", &served.webhook, "--secret-file", &secret];
        arguments.extend(more);
        run(&arguments)
    };
    let said = send(&[
        "--event-type",
        "analysis.failed",
        "--object-id",
        "495d7e4c16934e12",
    ]);
    let out = said.with_code(0).out;
    let id = out.trim().strip_prefix("200 accepted ").expect(&out);
    assert_eq!(id.len(), 36, "{id}");
    let body = setup.path("body.json");
    std::fs::write(&body, r#"{"event_type":"sample.uploaded","object_type":"sample","triggered_at":"2026-03-02T09:15:42Z","object":{"$uri":"/api/v1/samples/7428cca4a3a04a8e"}}"#).unwrap();
    let body = body.display().to_string();
    assert!(
        send(&["--body", &body])
            .with_code(0)
            .out
            .starts_with("200 accepted ")
    );
    assert!(
        send(&["--body", &body])
            .with_code(0)
            .out
            .starts_with("200 duplicate ")
    );
    assert_eq!(
        send(&["--timestamp", "1492774577"]).with_code(1).out.trim(),
        "401 timestamp_stale"
    );
}

#[test]
fn many_deliveries_print_what_came_of_them() {
    let setup = Setup::with_store();
    let served = setup.serve();
    let (url, secret) = (served.webhook.as_str(), setup.secret());
    let said = run(&[
        "send",
        "--url",
        url,
        "--secret-file",
        &secret,
        "--count",
        "40",
        "--parallel",
        "4",
    ]);
    let said = said.with_code(0);
    assert!(said.out.contains("200 accepted: 40"), "{}", said.out);
    assert!(
        said.out.contains("p50") && said.out.contains("p99"),
        "{}",
        said.out
    );
    assert_eq!(said.err, "", "no bar where nobody watches");
    let began = std::time::Instant::now();
    let said = run(&[
        "send",
        "--url",
        url,
        "--secret-file",
        &secret,
        "--count",
        "6",
        "--rate",
        "10",
    ]);
    said.with_code(0);
    assert!(
        began.elapsed().as_millis() >= 500,
        "five pauses of a tenth of a second"
    );
}

#[test]
fn whatever_is_not_a_200_is_a_failure() {
    let setup = Setup::with_store();
    let served = setup.serve();
    let url = served.webhook.as_str();
    let wrong = setup.path("wrong").display().to_string();
    std::fs::write(&wrong, "another secret").unwrap();
    let said = run(&["send", "--url", url, "--secret-file", &wrong]).with_code(1);
    assert_eq!(said.out.trim(), "401 signature_mismatch");
    let said = run(&[
        "send",
        "--url",
        url,
        "--secret-file",
        &wrong,
        "--count",
        "3",
    ])
    .with_code(1);
    assert!(
        said.out.contains("401 signature_mismatch: 3"),
        "{}",
        said.out
    );
    let secret = setup.secret();
    let nobody = "http://127.0.0.1:1/webhooks/onecodex";
    run(&["send", "--url", nobody, "--secret-file", &secret]).with_code(1);
    let said = run(&[
        "send",
        "--url",
        nobody,
        "--secret-file",
        &secret,
        "--count",
        "2",
    ])
    .with_code(1);
    assert!(said.out.contains("no answer"), "{}", said.out);
    run(&["send", "--url", url]).with_code(2);
    run(&[
        "send",
        "--url",
        url,
        "--secret-env",
        "HOOKFERRY_NO_SUCH_VARIABLE",
    ])
    .with_code(2);
}

#[test]
fn a_body_may_come_through_standard_input() {
    let setup = Setup::with_store();
    let served = setup.serve();
    let secret = setup.secret();
    let arguments = [
        "send",
        "--url",
        &served.webhook,
        "--secret-file",
        &secret,
        "--body",
        "-",
    ];
    let said = run_with_input(&arguments, b"no event").with_code(0);
    assert!(said.out.starts_with("200 quarantined "), "{}", said.out);
}
