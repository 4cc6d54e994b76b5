//! The log: what a refused delivery leaves in it, whose lines are in it, and what happens where
//! nobody reads it.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::future::join_all;
use serde_json::Value;

use crate::eventually::eventually;
use crate::harness::delivery::{event, now};
use crate::harness::program::RELEASED;
use crate::harness::{Authority, Bridge, Post, Report, Setup};

/// The configuration with this filter of the log.
fn filtered(setup: &Setup, filter: &str) -> PathBuf {
    let (text, path) = (setup.text(), setup.path("filtered.toml"));
    let changed = text.replace("[log]\n", &format!("[log]\nfilter = \"{filter}\"\n"));
    assert_ne!(text, changed);
    std::fs::write(&path, changed).unwrap();
    path
}

/// The lines of the log with this text in them.
fn lines(bridge: &Bridge, text: &str) -> Vec<Value> {
    let log = bridge.log();
    let found = log.lines().filter(|line| line.contains(text));
    found
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The one line that the `request_id` of a refusal leads to.
async fn line_of(bridge: &Bridge, post: &Post) -> Value {
    let answer = bridge.post(post).await.json();
    let id = answer["request_id"]
        .as_str()
        .expect("it has one")
        .to_owned();
    let found = eventually("the refusal is in the log", async || {
        let found = lines(bridge, &id);
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["reason"], answer["reason"]);
    found[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_of_a_refused_delivery_leads_to_its_line() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    let (source, here) = (setup.source.as_str(), format!("/webhooks/{}", setup.source));
    let forged = Post::signed_with(source, body.as_str(), "another secret", now());
    let unsigned = || Post::unsigned(source, body.as_str());
    let elsewhere = "/webhooks/one-codex?token=hush";
    for (post, reason, label, path) in [
        (forged, "signature_mismatch", source, &*here),
        (unsigned(), "signature_missing", source, &here),
        (
            unsigned().method("PUT"),
            "method_not_allowed",
            source,
            &here,
        ),
        // A mistake in the address that the provider was given.
        (
            unsigned().path(elsewhere),
            "unknown_source",
            "unknown",
            "/webhooks/one-codex",
        ),
        (
            unsigned().path("/hook"),
            "unknown_source",
            "unknown",
            "/hook",
        ),
        (
            unsigned().method("GET").path("/webhooks"),
            "unknown_source",
            "unknown",
            "/webhooks",
        ),
    ] {
        let line = line_of(&bridge, &post).await;
        assert_eq!(line["level"], "INFO", "{line}");
        for (field, value) in [
            ("reason", reason),
            ("source", label),
            ("path", path),
            ("method", &post.method),
            ("address", "127.0.0.1"),
        ] {
            assert_eq!(line[field], value, "{line}");
        }
    }
    for never in ["hush", "triggered_at"] {
        assert!(!bridge.log().contains(never), "{never}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_fills_the_log_with_what_is_refused() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for _ in 0..40 {
        let scan = Post::unsigned("nobody", "")
            .method("GET")
            .path("/wp-login.php");
        assert_eq!(bridge.post(&scan).await.status, 404);
        assert_eq!(
            bridge
                .post(&Post::unsigned(&setup.source, "{}"))
                .await
                .status,
            400
        );
    }
    // Another reason has lines of its own.
    line_of(&bridge, &Post::unsigned("nobody", "{}")).await;
    // A minute may begin meanwhile, and no second one.
    let said = lines(&bridge, "signature_missing");
    assert!((10..=20).contains(&said.len()), "{said:?}");
    assert!(!lines(&bridge, "at debug only").is_empty(), "{said:?}");
    assert!(!bridge.log().contains("wp-login"), "{}", bridge.log());
}

/// And the last of them are not lost when the bridge stops.
#[tokio::test(flavor = "multi_thread")]
async fn at_debug_every_refusal_has_a_line_and_none_is_lost_at_the_end() {
    let setup = Setup::store();
    let mut bridge = Bridge::start(&filtered(&setup, "debug")).await;
    for _ in 0..40 {
        let post = Post::unsigned(&setup.source, "{}");
        assert_eq!(bridge.post(&post).await.status, 400);
    }
    bridge.signal("TERM");
    assert_eq!(bridge.ended().await.code(), Some(0), "{}", bridge.log());
    eventually("each has its line", async || {
        let found = lines(&bridge, "signature_missing").len();
        assert!(found <= 40, "{found}");
        (found == 40 && bridge.said("stopping").is_some()).then_some(())
    })
    .await;
}

/// The libraries whose lines are in the log: those that are no part of the bridge.
async fn libraries(filter: &str) -> Vec<Value> {
    let setup = Setup::store();
    let bridge = Bridge::start(&filtered(&setup, filter)).await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    let of_a_library = |line: &Value| !line["target"].as_str().unwrap().starts_with("hookferry");
    let mut found = lines(&bridge, "\"target\"");
    found.retain(of_a_library);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_level_brings_no_lines_of_libraries() {
    for filter in ["info", "debug", "trace"] {
        let found = libraries(filter).await;
        let loud = |line: &&Value| !["WARN", "ERROR"].contains(&line["level"].as_str().unwrap());
        let found: Vec<_> = found.iter().filter(loud).collect();
        assert!(found.is_empty(), "{filter}: {found:?}");
    }
    let named = libraries("info,actix_server=debug").await;
    assert!(!named.is_empty(), "what is named is there");
}

/// A bridge whose sink trusts these authorities, one file after the other.
async fn trusting(authorities: &[&Path]) -> (Setup, Bridge) {
    let mut setup = Setup::rabbitmq("amqps://127.0.0.1:1");
    let file = setup.path("bundle.pem");
    let texts = authorities.iter().map(std::fs::read_to_string);
    let bundle: String = texts.map(|text| text.unwrap()).collect();
    std::fs::write(&file, bundle).unwrap();
    setup.sinks[0].1.push_str(&format!("ca_file = {file:?}\n"));
    let bridge = setup.start().await;
    (setup, bridge)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_expired_authority_of_several_is_no_error_and_no_alert() {
    let authority = Authority::new();
    let (good, expired) = (authority.certificate(), authority.vouches_for("old", -1));
    let name = "tls_certificate_expiry_timestamp_seconds";
    let labels = [("component", "sink.rabbitmq"), ("file", "ca_file")];
    let message = "every authority in the file has expired";
    let (_setup, bridge) = trusting(&[&expired, &good]).await;
    bridge.shows(name, &labels, authority.expiry()).await;
    assert!(bridge.said(message).is_none(), "{}", bridge.log());
    let (_setup, bridge) = trusting(&[&expired, &expired]).await;
    bridge
        .shows(name, &labels, authority.expiry_of(&expired))
        .await;
    assert_eq!(bridge.said(message).expect("it is said")["level"], "ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_over_a_plain_connection_is_warned_of_at_the_start_and_at_a_reload() {
    // Nobody is there (RFC 5737).
    let setup = Setup::rabbitmq("amqp://bob:of-bob@192.0.2.1");
    let bridge = setup.start().await;
    let said = || lines(&bridge, "sink.rabbitmq.url: the password goes to 192.0.2.1");
    assert_eq!((said().len(), &said()[0]["level"]), (1, &"WARN".into()));
    bridge.reload(true).await;
    assert_eq!(said().len(), 2);
    assert!(!bridge.log().contains("of-bob"), "{}", bridge.log());
}

/// Whoever reads the bridge's standard error, and can be held up.
struct Reader(String);

impl Reader {
    /// Starts a bridge at `debug` with one.
    async fn with_bridge(setup: &Setup) -> (Self, Bridge) {
        let named = setup.path("reader");
        let mut command = Command::new("bash");
        command
            .arg("-c")
            .arg("exec \"$0\" \"$@\" 2> >(echo $BASHPID >\"$READER\"; exec cat >&2)")
            .arg(RELEASED)
            .env("READER", &named);
        let bridge = Bridge::start_by(command, &filtered(setup, "debug")).await;
        let reader = Self(written(&named).await);
        (reader, bridge)
    }

    fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let status = Command::new("kill").args([&*signal, &*self.0]).status();
        assert!(status.unwrap().success(), "the reader is gone");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It ends with the bridge, which it can only see when it runs.
        let _ = Command::new("kill").args(["-CONT", &*self.0]).status();
    }
}

async fn written(file: &Path) -> String {
    eventually("the reader's number is there", async || {
        let text = std::fs::read_to_string(file).ok()?;
        text.strip_suffix('\n').map(str::to_owned)
    })
    .await
}

/// Refuses deliveries until lines about them are dropped, and returns how many.
async fn overflow(bridge: &Bridge) -> f64 {
    let dropped = async || bridge.metrics().await.sum("log_lines_dropped_total", &[]);
    let before = dropped().await;
    let post = Post::unsigned("nobody", "{}").path(&format!("/{}", "x".repeat(150)));
    eventually("lines are dropped", async || {
        let answers = join_all((0..200).map(|_| bridge.post(&post))).await;
        assert!(answers.iter().all(|answer| answer.status == 404));
        let now = dropped().await;
        (now > before).then_some(now)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_47_standard_error_that_nobody_reads_holds_nothing_up() {
    let setup = Setup::store();
    let (reader, mut bridge) = Reader::with_bridge(&setup).await;
    assert_eq!(
        bridge.metrics().await.sum("log_lines_dropped_total", &[]),
        0.0
    );
    reader.signal("STOP");
    let dropped = overflow(&bridge).await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    // Once somebody reads again, a line says how much is missing.
    reader.signal("CONT");
    let told = eventually("it is told", async || {
        bridge.said("lines of this log were dropped")
    })
    .await;
    assert!(told["lines"].as_f64().unwrap() >= dropped, "{told}");
    // Nobody reads to the end either.
    reader.signal("STOP");
    overflow(&bridge).await;
    bridge.signal("TERM");
    assert_eq!(bridge.ended().await.code(), Some(0));
    Report::row(47)
        .did(format!(
            "standard error that nobody reads: {dropped} lines dropped, counted and told of later; `SIGTERM` meanwhile"
        ))
        .held();
}
