//! The token of the operators' listener, as the commands find it.

use super::{Said, Setup, hookferry, run};
use crate::harness::free_port;

const TOKEN: &str = "a-token-of-the-tests";

/// A bridge with a store and a token, and the same configuration without it.
fn with_token() -> (Setup, String) {
    let setup = Setup::with_store();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let without = setup.path("without.toml").display().to_string();
    std::fs::write(&without, &text).unwrap();
    std::fs::write(setup.path("token"), format!("{TOKEN}\n")).unwrap();
    let token = setup.path("token").display().to_string();
    let key = format!("admin.token = {{ file = {token:?} }}\n");
    std::fs::write(setup.config(), key + &text).unwrap();
    (setup, without)
}

#[test]
fn commands_show_the_token_of_the_configuration_or_the_one_that_is_named() {
    let (setup, without) = with_token();
    let served = setup.serve();
    setup.send(&served, 2);
    let file = setup.path("token").display().to_string();
    let wrong = setup.path("wrong").display().to_string();
    std::fs::write(&wrong, "a-token-of-nobodys").unwrap();
    let commands: [&[&str]; 4] = [
        &["spool", "list"],
        &["dead-letters", "list"],
        &["dead-letters", "requeue", "--all"],
        &["tail", "--sink", "store", "--from-start", "--count", "2"],
    ];
    for command in commands {
        let with = |config: &str, more: &[&str]| {
            let place = ["--config", config, "--admin", &served.admin];
            let mut command = hookferry(&[command, &place, more].concat());
            command.env("A_TOKEN_OF_THE_TESTS", TOKEN);
            Said::of(command.output().unwrap())
        };
        with(&setup.config(), &[]).with_code(0);
        with(&without, &["--token-file", &file]).with_code(0);
        with(&without, &["--token-env", "A_TOKEN_OF_THE_TESTS"]).with_code(0);
        let said = with(&without, &[]).with_code(1);
        for part in ["demands a token", "admin.token", "--token-file"] {
            assert!(said.err.contains(part), "{command:?}: {}", said.err);
        }
        let said = with(&setup.config(), &["--token-file", &wrong]).with_code(1);
        assert!(
            said.err.contains("not the one"),
            "{command:?}: {}",
            said.err
        );
        let said = with(&without, &["--token-env", "A_TOKEN_NOT_SET"]).with_code(2);
        assert!(
            said.err.contains("--token-env: "),
            "{command:?}: {}",
            said.err
        );
        assert!(!said.err.contains(TOKEN) && !said.out.contains(TOKEN));
    }
}

#[test]
fn health_needs_the_token_unless_there_is_a_listener_for_probes() {
    let (setup, _) = with_token();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let (admin, metrics) = (free_port(), free_port());
    let text = text.replace("127.0.0.1:0\"\nlog", &format!("127.0.0.1:{admin}\"\nlog"));
    std::fs::write(setup.config(), &text).unwrap();
    let token = setup.path("token").display().to_string();
    let health = |more: &[&str]| run(&[&["health"], more].concat());
    {
        let served = setup.serve();
        assert_eq!(
            health(&["--config", &setup.config()]).with_code(0).out,
            "ready\n"
        );
        let said = health(&["--url", &served.admin]).with_code(1);
        assert!(said.err.contains("demands a token"), "{}", said.err);
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
        health(&["--url", &served.admin, "--token-file", &token]).with_code(0);
    }
    let with_metrics = format!("metrics.listen = \"127.0.0.1:{metrics}\"\n{text}");
    std::fs::write(setup.config(), with_metrics).unwrap();
    let _served = setup.serve();
    // The check runs as a user who need not be able to read the token.
    std::fs::remove_file(&token).unwrap();
    assert_eq!(
        health(&["--config", &setup.config()]).with_code(0).out,
        "ready\n"
    );
    let url = format!("http://127.0.0.1:{metrics}");
    assert_eq!(
        health(&["--live", "--url", &url]).with_code(0).out,
        "live\n"
    );
}

#[test]
fn check_says_where_operators_and_scrapers_look() {
    let (setup, without) = with_token();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let text = format!("metrics.listen = \"127.0.0.1:8082\"\n{text}");
    std::fs::write(setup.config(), text).unwrap();
    let said = run(&["check", "--config", &setup.config()])
        .with_code(0)
        .out;
    for part in [
        "127.0.0.1:0, by token",
        "metrics      http://127.0.0.1:8082",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains(TOKEN));
    let said = run(&["check", "--config", &without]).with_code(0).out;
    assert!(
        !said.contains("by token") && !said.contains("metrics "),
        "{said}"
    );
}
