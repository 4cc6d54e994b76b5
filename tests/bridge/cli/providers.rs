//! Providers other than One Codex: how they are listed, and that what `send` and `demo` make of each
//! is taken by the bridge.

use std::io::BufRead as _;
use std::path::Path;
use std::process::Command;

use super::{Running, Said, Served, Setup, hookferry, run};
use crate::harness::free_port;

#[test]
fn the_providers_are_listed_and_one_is_printed_to_be_copied() {
    let said = run(&["config", "providers"]).with_code(0);
    let rows: Vec<Vec<&str>> = said
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["provider", "scheme", "header"]);
    assert!(rows.len() > 40, "{}", said.out);
    let row = |name: &str| {
        let found = rows.iter().find(|row| row[0] == name);
        found.unwrap_or_else(|| panic!("{name} is not listed"))[1..].to_vec()
    };
    assert_eq!(row("github"), ["hmac-sha256", "x-hub-signature-256"]);
    assert_eq!(row("docker_hub"), ["url", "-"]);
    let said = run(&["config", "providers", "svix"]).with_code(0);
    let text: toml::Table = said.out.parse().expect(&said.out);
    let svix = &text["provider"]["svix"];
    assert_eq!(svix["signature"]["header"].as_str(), Some("svix-signature"));
    assert_eq!(svix["signature"]["key_prefix"].as_str(), Some("whsec_"));
    assert_eq!(svix["signature"]["hash"].as_str(), Some("sha256"));
    assert!(svix.get("extends").is_none());
}

#[test]
fn a_provider_that_is_none_is_named_with_the_nearest() {
    let url = "http://127.0.0.1:1/webhooks/a";
    for arguments in [
        vec!["config", "providers", "githup"],
        vec!["demo", "--provider", "githup"],
        vec![
            "send",
            "--provider",
            "githup",
            "--url",
            url,
            "--secret-env",
            "PATH",
        ],
    ] {
        let said = run(&arguments).with_code(2);
        assert!(
            said.err.contains("did you mean \"github\"?"),
            "{}",
            said.err
        );
    }
}

#[test]
fn a_provider_of_a_configuration_is_known_to_the_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("providers.toml").display().to_string();
    let table = "[provider.lab]\nextends = \"stripe\"\nuri = \"urn:lab\"\n\
                 [provider.lab.sample]\nbody = '{\"id\":\"<id>\",\"created\":<now:s>,\"type\":\"<type>\"}'\n";
    std::fs::write(&config, table).expect("written");
    let said = run(&["config", "providers", "--config", &config]).with_code(0);
    assert!(said.out.contains("\nlab "), "{}", said.out);
    let said = run(&["config", "providers", "lab", "--config", &config]).with_code(0);
    let copied = said.out.replace("provider.lab", "provider.lab2");
    std::fs::write(&config, format!("{table}{copied}")).expect("written");
    let said = run(&["config", "providers", "--config", &config]).with_code(0);
    assert!(said.out.contains("\nlab2 "), "{}", said.out);
    let said = run(&["demo", "--once", "--provider", "lab2", "--config", &config]).with_code(0);
    assert!(said.out.contains("topic lab2.test\n"), "{}", said.out);
    std::fs::write(&config, table.replace("stripe", "strip")).expect("written");
    let said = run(&["config", "providers", "--config", &config]).with_code(2);
    assert!(said.err.contains("provider.lab.extends"), "{}", said.err);
}

/// A sender, its source in the configuration, and the topic that its sample goes to.
struct Case {
    provider: &'static str,
    /// What the bridge verifies with, and what the sender signs with.
    keys: [String; 2],
    topic: &'static str,
}

impl Case {
    fn shared(provider: &'static str, secret: &str, topic: &'static str) -> Self {
        let keys = [secret.to_owned(), secret.to_owned()];
        Self {
            provider,
            keys,
            topic,
        }
    }

    /// A bridge with a store that takes its deliveries. Its URL is signed where the provider does.
    fn setup(&self, port: u16) -> Setup {
        let setup = Setup::with_store();
        let config = setup.path("hookferry.toml");
        let text = std::fs::read_to_string(&config).expect("there");
        let Self {
            provider, topic, ..
        } = self;
        let (_, event_type) = topic.split_once('.').expect("a source and a type");
        let mut source =
            format!("[source.{provider}]\nevent_types = [\"{event_type}\"]\nanswer = \"json\"\n");
        if *provider == "square" {
            source += &format!("url = \"http://127.0.0.1:{port}/webhooks/square\"\n");
        }
        let text = text
            .replace(
                "ingress.listen = \"127.0.0.1:0\"",
                &format!("ingress.listen = \"127.0.0.1:{port}\""),
            )
            .replace("[source.onecodex]\n", &source)
            .replace("\"onecodex\"", &format!("\"{provider}\""));
        std::fs::write(&config, text).expect("written");
        let [verifying, signing] = &self.keys;
        std::fs::write(setup.path("secret"), verifying).expect("written");
        std::fs::write(setup.path("signing"), signing).expect("written");
        setup
    }

    fn send(&self, setup: &Setup, served: &Served, more: &[&str]) -> Said {
        self.send_signed_with("signing", setup, served, more)
    }

    /// Sends what is signed with the key in this file of the setup.
    fn send_signed_with(&self, file: &str, setup: &Setup, served: &Served, more: &[&str]) -> Said {
        let url = format!("/{}", self.provider);
        let url = served.webhook.replace("/onecodex", &url);
        let file = setup.path(file).display().to_string();
        let mut arguments = vec!["send", "--provider", self.provider, "--url", &url];
        arguments.extend(["--secret-file", &file]);
        arguments.extend(more);
        run(&arguments)
    }

    /// The events of its topic, of which there are `count`.
    fn events(&self, setup: &Setup, served: &Served, count: &str) -> Vec<serde_json::Value> {
        let config = setup.config();
        let mut arguments = vec!["tail", "--config", &config, "--sink", "store"];
        arguments.extend(["--admin", &served.admin, "--from-start", "--json"]);
        arguments.extend([self.topic, "--count", count]);
        let said = run(&arguments).with_code(0);
        let lines = said.out.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

/// A new key pair over P-256: the private key in PEM, and SendGrid's writing of the public one.
fn key_pair(folder: &Path) -> [String; 2] {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(folder);
        let output = command.output().expect("openssl is there");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out private.pem");
    let public = openssl("pkey -in private.pem -pubout");
    let public = String::from_utf8(public).expect("PEM");
    let lines = public.lines().filter(|line| !line.starts_with("-----"));
    let private = std::fs::read_to_string(folder.join("private.pem")).expect("written");
    [lines.collect(), private]
}

#[test]
fn what_send_makes_of_each_kind_of_sender_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let standard = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let cases = [
        Case::shared("github", "It's a Secret to Everybody", "github.push"),
        Case::shared("stripe", "whsec_not_base64", "stripe.invoice.paid"),
        Case::shared(
            "slack",
            "8f742231b10e8888abcd99yyyzzz85a5",
            "slack.app_mention",
        ),
        Case::shared(
            "standard_webhooks",
            standard,
            "standard_webhooks.run.finished",
        ),
        Case::shared(
            "gitlab_token",
            "a token of some length",
            "gitlab_token.push",
        ),
        Case::shared("docker_hub", "a-secret-of-the-url", "docker_hub.push"),
        Case::shared("square", "asdf1234asdf1234", "square.payment.created"),
        Case {
            provider: "sendgrid",
            keys: key_pair(folder.path()),
            topic: "sendgrid.delivered",
        },
    ];
    for case in cases {
        let port = if case.provider == "square" {
            free_port()
        } else {
            0
        };
        let setup = case.setup(port);
        let served = setup.serve();
        let said = case.send(&setup, &served, &["--object-id", "7428cca4a3a04a8e"]);
        let out = said.with_code(0).out;
        assert!(out.starts_with("200 accepted "), "{}: {out}", case.provider);
        let said = case.send(&setup, &served, &["--count", "3"]).with_code(0);
        assert!(
            said.out.contains("200 accepted: 3"),
            "{}: {}",
            case.provider,
            said.out
        );
        let events = case.events(&setup, &served, "4");
        let first = &events[0]["headers"];
        assert_eq!(first["ce_subject"], "7428cca4a3a04a8e", "{first}");
        let other = match case.provider {
            "sendgrid" => key_pair(folder.path())[1].clone(),
            _ => "whsec_C2FVsBQIhrscChlQIMVb5sSYspob7oDd".to_owned(),
        };
        std::fs::write(setup.path("wrong"), other).expect("written");
        let said = case.send_signed_with("wrong", &setup, &served, &[]);
        let out = said.with_code(1).out;
        assert_eq!(out.trim(), "401 signature_mismatch", "{}", case.provider);
    }
}

#[test]
fn a_body_of_ones_own_comes_with_headers_of_ones_own() {
    let case = Case::shared(
        "github",
        "It's a Secret to Everybody",
        "github.issues.opened",
    );
    let setup = case.setup(0);
    let served = setup.serve();
    let body = setup.path("body.json");
    std::fs::write(&body, r#"{"action":"opened","repository":{"id":42}}"#).expect("written");
    let body = body.display().to_string();
    let given = [
        "--body",
        &body,
        "--header",
        "X-GitHub-Event: issues",
        "--header",
        "X-GitHub-Delivery: 1",
        "--content-type",
        "application/json; charset=utf-8",
    ];
    let said = case.send(&setup, &served, &given).with_code(0);
    assert!(said.out.starts_with("200 accepted "), "{}", said.out);
    let said = case.send(&setup, &served, &given).with_code(0);
    assert!(said.out.starts_with("200 duplicate "), "{}", said.out);
    let said = case.send(&setup, &served, &["--body", &body]).with_code(0);
    assert!(
        said.out.starts_with("200 duplicate "),
        "the same body: {}",
        said.out
    );
    let events = case.events(&setup, &served, "1");
    assert_eq!(events[0]["headers"]["ce_type"], "issues.opened");
}

#[test]
fn what_a_provider_has_no_place_for_is_refused_before_anything_is_sent() {
    let setup = Setup::with_store();
    let secret = setup.secret();
    let send = |provider: &str, more: &[&str]| {
        let url = "http://127.0.0.1:1/webhooks/a";
        let mut arguments = vec!["send", "--provider", provider, "--url", url];
        arguments.extend(["--secret-file", &secret]);
        arguments.extend(more);
        run(&arguments).with_code(2).err
    };
    let said = send("github", &["--event-type", "issues"]);
    assert!(
        said.contains("--event-type") && said.contains("--header"),
        "{said}"
    );
    let said = send("github", &["--timestamp", "1492774577"]);
    assert!(said.contains("github signs no time"), "{said}");
    let said = send("linear", &["--timestamp", "1492774577", "--body", &secret]);
    assert!(said.contains("stands in the body"), "{said}");
    let said = send("github", &["--header", "X-Hub-Signature-256: sha256=00"]);
    assert!(said.contains("is made here"), "{said}");
    let said = send("github", &["--header", "no colon"]);
    assert!(said.contains("Name: value"), "{said}");
    let said = send("sendgrid", &[]);
    assert!(
        said.contains("private key") && said.contains("openssl"),
        "{said}"
    );
    let said = send("standard_webhooks", &["--secret-encoding", "hex"]);
    assert!(said.contains("no hex"), "{said}");
}

#[test]
fn a_time_in_the_body_is_that_of_the_signature() {
    let case = Case::shared("linear", "lin_wh_some_secret", "linear.Issue.create");
    let setup = case.setup(0);
    let served = setup.serve();
    let said = case.send(&setup, &served, &[]).with_code(0);
    assert!(said.out.starts_with("200 accepted "), "{}", said.out);
    let said = case.send(&setup, &served, &["--timestamp", "1492774577"]);
    assert_eq!(said.with_code(1).out.trim(), "401 timestamp_stale");
}

#[test]
fn the_demo_shows_other_senders_and_leaves_nothing() {
    for (provider, topic) in [
        ("github", "github.push"),
        ("standard_webhooks", "standard_webhooks.run.finished"),
        ("sendgrid", "sendgrid.delivered"),
        ("docker_hub", "docker_hub.push"),
        ("twilio", "twilio.message.delivered"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = hookferry(&["demo", "--once", "--provider", provider]);
        let said = command.env("TMPDIR", folder.path()).output();
        let said = Said::of(said.expect("it starts")).with_code(0);
        for text in [
            "200 accepted",
            "200 duplicate",
            "401 signature_mismatch",
            "3 accepted, 0 of them quarantined: 3 delivered, 0 pending, 0 unaccounted for",
            &format!("topic {topic}\n"),
        ] {
            assert!(said.out.contains(text), "{text} is not in:\n{}", said.out);
        }
        let same = said.out.matches("the same bytes as were sent").count();
        assert_eq!(same, 3, "{}", said.out);
        let left = std::fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(left, 0, "{provider}");
    }
}

#[test]
fn what_the_demo_prints_to_paste_works() {
    for provider in ["github", "sendgrid", "square"] {
        let mut demo = Running::start(hookferry(&["demo", "--provider", provider]));
        let mut shown = Vec::new();
        for line in demo.stdout().lines() {
            shown.push(line.expect("text"));
            if shown
                .last()
                .is_some_and(|line| line.starts_with("metrics "))
            {
                break;
            }
        }
        let pasted = shown.iter().find(|line| line.trim().starts_with("curl "));
        let pasted = pasted.expect("a line for curl");
        let sh = |text: &str| Command::new("sh").args(["-c", text]).output().expect("sh");
        for expected in ["accepted", "duplicate"] {
            let answer = String::from_utf8(sh(pasted).stdout).expect("text");
            let expected = format!("\"status\":\"{expected}\"");
            assert!(answer.contains(&expected), "{answer}\n{pasted}");
        }
        let send = shown
            .iter()
            .find_map(|line| line.trim().strip_prefix("or     hookferry "));
        let send = format!(
            "{} {}",
            env!("CARGO_BIN_EXE_hookferry"),
            send.expect("shown")
        );
        assert!(send.contains(&format!("--provider {provider} ")), "{send}");
        assert!(sh(&send).status.success(), "{send}");
        assert_eq!(demo.stop("TERM").code(), Some(0), "{provider}");
    }
}
