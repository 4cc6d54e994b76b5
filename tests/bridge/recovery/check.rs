//! What `check` says of a recovery: what is wrong with its configuration, and with `--connect` what
//! the provider says.

use super::RecoverySetup;
use super::command::{Ended, run};
use crate::harness::Setup;
use crate::harness::events_api::{KEY, Rights, Subscription};

async fn check(setup: &Setup, more: &[&str]) -> Ended {
    let config = setup.write().display().to_string();
    let all = ["check", "--config", &config];
    let all = all.iter().chain(more);
    run(all.map(|argument| (*argument).to_owned()).collect()).await
}

/// A subscription for the bridge's URL.
fn subscription(recovery: &RecoverySetup) -> Subscription {
    Subscription {
        post_url: format!("https://hooks.example.com/webhooks/{}", recovery.source()),
        enabled: true,
        event_type: "sample.uploaded",
    }
}

/// The lines of the section about the recovery.
#[track_caller]
fn section(ended: &Ended, source: &str) -> Vec<String> {
    let title = format!("recovery of source {source}");
    let lines = ended.out.lines().skip_while(|line| *line != title);
    let lines: Vec<String> = lines
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(!lines.is_empty(), "there is no {title}:\n{}", ended.out);
    lines
}

fn has(lines: &[String], symbol: &str) -> bool {
    lines
        .iter()
        .any(|line| line.trim_start().starts_with(symbol))
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_provider_for_the_key_and_the_subscription() {
    let recovery = RecoverySetup::store().await;
    recovery.api.subscribes(Subscription {
        post_url: "https://elsewhere.example.com/webhooks/other".to_owned(),
        enabled: false,
        event_type: "*",
    });
    recovery.api.subscribes(subscription(&recovery));
    recovery.api.subscribes(Subscription {
        event_type: "analysis.succeeded",
        ..subscription(&recovery)
    });
    // Without --connect, nobody is asked.
    let ended = check(&recovery.setup, &[]).await.with_code(0);
    let summary = ended.out.lines().find(|line| line.contains("  recovery "));
    assert!(
        summary.is_some_and(|line| line.contains(&recovery.api.url())),
        "{}",
        ended.out
    );
    assert_eq!(recovery.api.requests(), 0);
    let ended = check(&recovery.setup, &["--connect"]).await.with_code(0);
    let lines = section(&ended, recovery.source());
    assert!(lines.len() > 1, "{lines:#?}");
    for line in &lines {
        assert!(line.trim_start().starts_with("✓"), "{lines:#?}");
    }
    for part in ["sample.uploaded", "analysis.succeeded"] {
        let told = lines.iter().any(|line| line.contains(part));
        assert!(told, "{part}: {lines:#?}");
    }
    recovery.api.assert_polite();
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_a_key_that_does_not_work() {
    for rights in [None, Some(Rights::Nothing)] {
        let recovery = RecoverySetup::store().await;
        recovery.api.revokes(KEY);
        if let Some(rights) = rights {
            recovery.api.knows(KEY, rights);
        }
        let ended = check(&recovery.setup, &["--connect"]).await.with_code(1);
        let lines = section(&ended, recovery.source());
        assert!(has(&lines, "✗") && has(&lines, "→"), "{lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_a_server_that_cannot_prove_who_it_is() {
    let recovery = RecoverySetup::store().await.without("ca_file");
    let ended = check(&recovery.setup, &["--connect"]).await.with_code(1);
    let lines = section(&ended, recovery.source());
    assert!(has(&lines, "✗") && has(&lines, "→"), "{lines:#?}");
    assert_eq!(recovery.api.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_a_subscription_that_is_missing_or_disabled() {
    let missing = RecoverySetup::store().await;
    let disabled = RecoverySetup::store().await;
    disabled.api.subscribes(Subscription {
        enabled: false,
        ..subscription(&disabled)
    });
    // One whose name only begins as ours does.
    missing.api.subscribes(Subscription {
        post_url: format!("https://hooks.example.com/webhooks/{}2", missing.source()),
        ..subscription(&missing)
    });
    for recovery in [missing, disabled] {
        let ended = check(&recovery.setup, &["--connect"]).await.with_code(1);
        let lines = section(&ended, recovery.source());
        assert!(has(&lines, "✗") && has(&lines, "→"), "{lines:#?}");
        let path = format!("/webhooks/{}", recovery.source());
        assert!(lines.iter().any(|line| line.contains(&path)), "{lines:#?}");
        // The key itself works.
        assert!(has(&lines, "✓"), "{lines:#?}");
    }
}

/// A key may be allowed to list events, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn check_says_where_the_subscriptions_may_not_be_read() {
    let recovery = RecoverySetup::store().await;
    recovery.api.knows(KEY, Rights::Events);
    let ended = check(&recovery.setup, &["--connect"]).await.with_code(0);
    let lines = section(&ended, recovery.source());
    assert!(
        has(&lines, "✓") && has(&lines, "!") && !has(&lines, "✗"),
        "{lines:#?}"
    );
}

/// Each mistake is named by its key, with the exit code of a wrong configuration, and by a start too.
async fn is_refused(setup: &Setup, key: &str) {
    let ended = check(setup, &[]).await.with_code(2);
    let named = ended
        .err
        .lines()
        .any(|line| line.contains(&format!("{key}: ")));
    assert!(named, "{key} is not in:\n{}", ended.err);
    let (code, said) = setup.fails().await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(key), "{key} is not in:\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_is_named_by_its_key() {
    for (key, value) in [
        ("url", "\"http://127.0.0.1:1\""),
        ("url", "\"app.onecodex.com\""),
        ("url", "\"\""),
        ("every", "\"0s\""),
        ("every", "\"999ms\""),
        ("audit", "\"0s\""),
        ("ca_file", "\"/no/such/file.pem\""),
        ("key", "{ file = \"/no/such/key\" }"),
        ("key", "{ env = \"HOOKFERRY_TEST_NO_SUCH_VARIABLE\" }"),
        ("key", "\"in-the-file-itself\""),
        ("look_back", "\"soon\""),
        ("evry", "\"1h\""),
    ] {
        let recovery = RecoverySetup::store().await.with(key, value);
        let path = format!("source.{}.recovery.{key}", recovery.source());
        is_refused(&recovery.setup, &path).await;
    }
    let of_type = RecoverySetup::store().await;
    let of_type = of_type.with("event_types", "[\"sample.uploaded\", \"not a type\"]");
    let path = format!("source.{}.recovery.event_types[1]", of_type.source());
    is_refused(&of_type.setup, &path).await;
    let recovery = RecoverySetup::store().await.without("key");
    let path = format!("source.{}.recovery.key", recovery.source());
    is_refused(&recovery.setup, &path).await;
}

/// What is forgotten sooner than it is looked for would be published again.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_shorter_than_what_is_looked_for_is_refused() {
    let mut recovery = RecoverySetup::store().await;
    recovery.setup = recovery.setup.top("");
    is_refused(&recovery.setup, "duplicate_window").await;
    recovery.setup = recovery.setup.top("duplicate_window = \"29d\"");
    is_refused(&recovery.setup, "duplicate_window").await;
    let recovery = recovery.with("look_back", "\"29d\"");
    check(&recovery.setup, &[]).await.with_code(0);
    let mut recovery = recovery.with("look_back", "\"31d\"");
    recovery.setup = recovery.setup.top("duplicate_window = \"31d\"");
    check(&recovery.setup, &[]).await.with_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_needs_a_spool_that_remembers_and_a_provider_with_a_record() {
    let mut recovery = RecoverySetup::store().await;
    let source = recovery.source().to_owned();
    recovery.setup = recovery
        .setup
        .top("acknowledge = \"delivered\"\nduplicate_window = \"30d\"")
        .in_memory();
    let ended = check(&recovery.setup, &[]).await.with_code(2);
    assert!(ended.err.contains("recovery"), "{}", ended.err);
    assert!(ended.err.contains("memory"), "{}", ended.err);
    let recovery = RecoverySetup::store().await;
    let config = recovery.setup.write();
    let text = std::fs::read_to_string(&config).unwrap();
    let stripe = text.replace("provider = \"onecodex\"", "provider = \"stripe\"");
    let stripe = stripe.replace(recovery.source(), &source);
    std::fs::write(&config, stripe).unwrap();
    let arguments = ["check", "--config", &config.display().to_string()];
    let arguments = arguments.map(str::to_owned).to_vec();
    let ended = run(arguments).await.with_code(2);
    let path = format!("source.{source}.recovery");
    assert!(ended.err.contains(&path), "{}", ended.err);
}

/// Two sources may recover, each with its own key and pace.
#[tokio::test(flavor = "multi_thread")]
async fn check_tells_of_each_source_that_recovers() {
    let mut recovery = RecoverySetup::store().await;
    let (secret, key) = (recovery.setup.path("secret"), recovery.key());
    let (url, ca_file) = (recovery.api.url(), recovery.api.ca_file());
    recovery.setup.more = format!(
        "[source.second]\nprovider = \"onecodex\"\nsecrets = [{{ file = {secret:?} }}]\n\
         [source.second.recovery]\nkey = {{ file = {key:?} }}\nurl = {url:?}\nca_file = {ca_file:?}\n\
         [[route]]\nsource = \"second\"\nsinks = [\"store\"]\n"
    );
    recovery.api.subscribes(subscription(&recovery));
    let ended = check(&recovery.setup, &["--connect"]).await;
    assert!(!section(&ended, recovery.source()).is_empty());
    assert!(!section(&ended, "second").is_empty());
    recovery.api.assert_polite();
}
