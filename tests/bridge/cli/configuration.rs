use std::path::Path;

use super::{Said, Setup, hookferry, run};
use crate::harness::Authority;

#[test]
fn check_names_every_problem_at_once_and_ends_with_2() {
    let setup = Setup::with_store();
    let config = setup.path("hookferry.toml");
    std::fs::write(
        &config,
        "acknowledg = \"spooled\"\n[ingress]\nlisten = \"nowhere\"\n[source.a]\nprovider = \"nobody\"\n",
    )
    .unwrap();
    let said = run(&["check", "--config", &setup.config()]).with_code(2);
    assert_eq!(said.out, "");
    for key in [
        "acknowledg: ",
        "ingress.listen: ",
        "source.a.provider: ",
        "source.a.secrets: ",
        "sink: ",
    ] {
        assert!(said.err.contains(key), "{key} is not in:\n{}", said.err);
    }
    let missing = setup.path("none.toml").display().to_string();
    run(&["check", "--config", &missing]).with_code(2);
    run(&["check"]).with_code(2);
}

#[test]
fn check_tells_what_will_run() {
    let setup = Setup::with_store();
    let said = run(&["check", "--config", &setup.config()]).with_code(0);
    for text in [
        "POST /webhooks/onecodex from onecodex, 1 secret",
        "onecodex → store",
        "onecodex.sample.uploaded",
        "onecodex.other",
        "onecodex.quarantine",
    ] {
        assert!(said.out.contains(text), "{text} is not in:\n{}", said.out);
    }
    assert!(!said.out.contains(super::SECRET) && !said.err.contains(super::SECRET));
}

#[test]
fn check_tells_of_a_secret_that_looks_like_a_mistake() {
    let setup = Setup::with_store();
    let check = |secret: &str| {
        std::fs::write(setup.path("secret"), secret).unwrap();
        run(&["check", "--config", &setup.config()])
    };
    for (doubtful, part) in [
        ("\"whsec_hush\"\n", "quotes"),
        ("SECRET=whsec_hush\n", "NAME=…"),
        ("whsec_hush_${NAME}\n", "placeholder"),
        ("whsec_\u{200b}hush\n", "nobody sees"),
    ] {
        let said = check(doubtful).with_code(0);
        for text in ["source.onecodex.secrets[0]: ", part, "unless it is meant"] {
            assert!(said.out.contains(text), "{text} is not in:\n{}", said.out);
        }
        assert!(!said.out.contains("hush"), "{}", said.out);
    }
    let said = check("whsec_hush\n").with_code(0);
    assert!(!said.out.contains("mistake"), "{}", said.out);
    let said = check("\u{feff}whsec_hush\n").with_code(2);
    let expected = "source.onecodex.secrets[0]: the secret begins with a byte-order mark";
    assert!(said.err.contains(expected), "{}", said.err);
}

#[test]
fn check_connects_and_a_store_that_a_bridge_holds_is_no_error() {
    let setup = Setup::with_store();
    let check = || run(&["check", "--connect", "--config", &setup.config()]);
    let said = check().with_code(0);
    assert!(
        said.out.contains("✓") && said.out.contains("is writable"),
        "{}",
        said.out
    );
    let _served = setup.serve();
    let said = check().with_code(0);
    assert!(said.out.contains("in use by a bridge"), "{}", said.out);
}

#[test]
fn check_makes_a_client_of_all_settings_and_warns_of_names_that_kafka_takes_for_the_same() {
    let kafka = |keys: &str| {
        let sink = format!("type = \"kafka\"\nbrokers = \"127.0.0.1:1\"\n{keys}");
        Setup::with_sink("kafka", &sink)
    };
    let check = |keys: &str| run(&["check", "--config", &kafka(keys).config()]);
    let said = check("properties = { \"max.in.flight\" = \"10\" }").with_code(2);
    assert!(
        said.err.contains("sink.kafka.properties.\"max.in.flight\""),
        "{}",
        said.err
    );
    let setup = kafka("topic = \"{event_type}\"");
    let text = std::fs::read_to_string(setup.config()).expect("there");
    let types = "[source.onecodex]\nevent_types = [\"all.the_rest\", \"all_the.rest\"]";
    let text = text.replace("[source.onecodex]", types);
    std::fs::write(setup.config(), text).expect("written");
    let said = run(&["check", "--config", &setup.config()]).with_code(0);
    assert!(
        said.out
            .contains("all.the_rest and all_the.rest differ only in"),
        "{}",
        said.out
    );
}

#[test]
fn check_fails_with_a_remedy_where_a_broker_is_away() {
    let setup = Setup::with_sink(
        "rabbit",
        "type = \"rabbitmq\"\nurl = \"amqp://127.0.0.1:1\"",
    );
    run(&["check", "--config", &setup.config()]).with_code(0);
    let said = run(&["check", "--connect", "--config", &setup.config()]).with_code(1);
    assert!(
        said.out.contains("✗") && said.out.contains("→"),
        "{}",
        said.out
    );
    assert!(!said.out.contains('\x1b'), "no colours into a pipe");
}

/// Replaces what only an installed bridge has; the rest is as delivered.
fn check_relocated(text: &str, folder: &Path) -> Said {
    let state = folder.display().to_string();
    for secret in ["onecodex", "rabbitmq", "kafka"] {
        std::fs::write(folder.join(secret), super::SECRET).unwrap();
    }
    let authority = Authority::new();
    for certificate in ["rabbitmq-ca.pem", "kafka-ca.pem"] {
        std::fs::copy(authority.certificate(), folder.join(certificate)).unwrap();
    }
    let text = text
        .replace("/var/lib/hookferry", &state)
        .replace("/run/secrets", &state)
        .replace("/etc/hookferry/tls", &state);
    let config = folder.join("relocated.toml");
    std::fs::write(&config, text).unwrap();
    let mut command = hookferry(&["check", "--config", &config.display().to_string()]);
    Said::of(
        command
            .env("ONECODEX_SECRET", super::SECRET)
            .env("HOOKFERRY_ADMIN_TOKEN", "a-token-of-the-tests")
            .output()
            .unwrap(),
    )
}

#[test]
fn check_tells_when_a_sinks_certificates_expire() {
    let authority = Authority::new();
    let check = |days| {
        let (ca, identity) = (
            authority.certificate(),
            authority.vouches_for("bridge", days),
        );
        let keys = format!(
            "type = \"rabbitmq\"\nurl = \"amqps://mq?auth_mechanism=external\"\nca_file = {ca:?}\nclient_certificate_file = {identity:?}\nclient_key_file = {identity:?}"
        );
        run(&[
            "check",
            "--config",
            &Setup::with_sink("rabbit", &keys).config(),
        ])
    };
    let said = check(365).with_code(0).out;
    let [authority, own] = ["! ", "✓ "].map(|mark| said.matches(mark).count());
    assert_eq!(
        (authority, own),
        (1, 1),
        "the authority has two days left: {said}"
    );
    let said = check(-1).with_code(1).out;
    assert!(
        said.contains("certificates of sink rabbit") && said.contains('✗'),
        "{said}"
    );
}

#[test]
fn check_warns_of_a_login_that_others_can_overhear() {
    let rabbit = |url: &str| format!("type = \"rabbitmq\"\nurl = \"{url}\"");
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "of-the-bridge").unwrap();
    let kafka = |brokers: &str, mechanism: &str, more: &str| {
        format!(
            "type = \"kafka\"\nbrokers = \"{brokers}\"\nsasl = {{ mechanism = \"{mechanism}\", username = \"u\", password = {{ file = {:?} }} }}\n{more}",
            password.path()
        )
    };
    for (sink, warned) in [
        (
            rabbit("amqp://mq.example"),
            Some("sink.out.url: the password goes to mq.example"),
        ),
        (rabbit("amqps://mq.example"), None),
        (rabbit("amqp://localhost"), None),
        (rabbit("amqp://[::1]:5672"), None),
        (rabbit("amqp://mq.example?auth_mechanism=external"), None),
        (
            kafka("127.0.0.1:9092,k2:9092", "PLAIN", ""),
            Some("sink.out.sasl: the password or token goes to k2"),
        ),
        (
            kafka("k1:9092", "SCRAM-SHA-512", ""),
            Some("sink.out.sasl: the login, from which"),
        ),
        (kafka("k1:9092", "PLAIN", "tls = {}"), None),
        (kafka("127.0.0.1:9092,localhost:9093", "PLAIN", ""), None),
    ] {
        let setup = Setup::with_sink("out", &sink);
        let said = run(&["check", "--config", &setup.config()]).with_code(0);
        let found = said.out.lines().find(|line| line.trim().starts_with("! "));
        match warned {
            None => assert_eq!(found, None, "{sink}"),
            Some(text) => assert!(found.unwrap_or_default().contains(text), "{}", said.out),
        }
        assert!(!said.out.contains("of-the-bridge"));
    }
}

/// A system's own file of authorities always has some that have expired.
#[test]
fn a_file_of_authorities_has_expired_when_all_of_them_have() {
    let authority = Authority::new();
    let (good, expired) = (authority.certificate(), authority.vouches_for("old", -1));
    let text = |file: &Path| std::fs::read_to_string(file).unwrap();
    for (parts, code, mark) in [
        (vec![&expired, &good], 0, "! "),
        (vec![&good, &expired], 0, "! "),
        (vec![&expired, &expired], 1, "✗ "),
    ] {
        let bundle: String = parts.into_iter().map(|part| text(part)).collect();
        let setup = Setup::with_sink(
            "rabbit",
            "type = \"rabbitmq\"\nurl = \"amqps://mq\"\nca_file = \"BUNDLE\"",
        );
        let file = setup.path("bundle.pem");
        std::fs::write(&file, bundle).unwrap();
        let config = text(&setup.path("hookferry.toml"));
        let config = config.replace("BUNDLE", file.to_str().unwrap());
        std::fs::write(setup.path("hookferry.toml"), config).unwrap();
        let said = run(&["check", "--config", &setup.config()]).with_code(code);
        let (_, about) = said.out.split_once("certificates of sink rabbit").unwrap();
        assert!(about.contains(mark), "{}", said.out);
        assert!(
            about.contains("the last of its authorities expires on"),
            "{}",
            said.out
        );
    }
}

#[test]
fn every_delivered_configuration_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let delivered = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/config");
    let mut count = 0;
    for entry in std::fs::read_dir(delivered).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let said = check_relocated(&text, folder.path());
        assert_eq!(said.code, Some(0), "{}: {}", file.display(), said.err);
        count += 1;
    }
    assert!(count >= 3, "the delivered configurations were not found");
}

#[test]
fn the_printed_example_is_good_and_the_schema_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let example = run(&["config", "example"]).with_code(0).out;
    check_relocated(&example, folder.path()).with_code(0);
    let schema = run(&["config", "schema"]).with_code(0).out;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["title"], "Hookferry configuration");
}

#[test]
fn every_command_has_examples_in_its_help() {
    for command in [
        "demo",
        "serve",
        "check",
        "health",
        "ui",
        "send",
        "explain",
        "tail",
        "spool",
        "dead-letters",
        "config",
    ] {
        let said = run(&[command, "--help"]).with_code(0);
        assert!(said.out.contains("Examples:"), "{command}:\n{}", said.out);
        assert!(
            said.out.contains(&format!("hookferry {command}")),
            "{command}"
        );
    }
    run(&["no-such-command"]).with_code(2);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for command in ["config schema", "config example", "demo --once"] {
        let program = env!("CARGO_BIN_EXE_hookferry");
        // The reader is gone before a word is written.
        let script = format!("{{ read -r _; {program} {command}; echo \"code $?\" >&2; }} | true");
        let mut shell = std::process::Command::new("bash");
        let mut child = shell
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // `true` has long ended when the command is let go; if not, the output fits the pipe.
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();
        let err = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert_eq!(err.trim(), "code 0", "{command}");
    }
}
