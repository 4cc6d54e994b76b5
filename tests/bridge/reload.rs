//! `SIGHUP`: new secrets are taken over without a restart, a bad file changes nothing.

use crate::eventually::eventually;
use crate::harness::delivery::{event, now};
use crate::harness::{Bridge, Post, Setup};

async fn is_taken(bridge: &Bridge, setup: &Setup, secret: &str) -> bool {
    let post = Post::signed_with(&setup.source, event("sample.uploaded", "a"), secret, now());
    let answer = bridge.post(&post).await;
    match answer.status {
        200 => true,
        401 => false,
        _ => panic!("{answer:?}"),
    }
}

async fn comes_to_be(bridge: &Bridge, setup: &Setup, secret: &str, taken: bool) {
    eventually(&format!("{secret:?} is taken: {taken}"), async || {
        (is_taken(bridge, setup, secret).await == taken).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_rotated_without_a_gap() {
    let mut setup = Setup::store();
    let bridge = setup.start().await;
    let (old, new) = (crate::harness::setup::SECRET, "the next secret");
    assert!(is_taken(&bridge, &setup, old).await && !is_taken(&bridge, &setup, new).await);
    let next = setup.path("next");
    std::fs::write(&next, new).unwrap();
    // Both are valid, then only the new one.
    setup.source_keys = String::new();
    let both = setup.text().replace(
        "/secret\" }]",
        &format!("/secret\" }}, {{ file = {next:?} }}]"),
    );
    assert_ne!(both, setup.text());
    std::fs::write(setup.path("hookferry.toml"), both).unwrap();
    bridge.signal("HUP");
    comes_to_be(&bridge, &setup, new, true).await;
    assert!(is_taken(&bridge, &setup, old).await);
    std::fs::write(setup.path("secret"), new).unwrap();
    setup.write();
    bridge.signal("HUP");
    comes_to_be(&bridge, &setup, old, false).await;
    assert!(is_taken(&bridge, &setup, new).await);
    bridge
        .shows("config_last_reload_successful", &[], 1.0)
        .await;
    let labels = [("source", setup.source.as_str()), ("secret", "1")];
    bridge
        .counts("secret_last_used_timestamp_seconds", &labels, 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_keeps_the_old_configuration_and_says_so() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let file = setup.path("hookferry.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let secret = crate::harness::setup::SECRET;
    for bad in [
        "this is no TOML".to_owned(),
        format!("acknowlege = \"spooled\"\n{good}"),
        good.replace("/secret\"", "/no-such-secret\""),
        good.replace("provider = \"onecodex\"", "provider = \"nobody\""),
    ] {
        std::fs::write(&file, &bad).unwrap();
        bridge.signal("HUP");
        bridge
            .shows("config_last_reload_successful", &[], 0.0)
            .await;
        assert!(is_taken(&bridge, &setup, secret).await);
        std::fs::write(&file, &good).unwrap();
        bridge.signal("HUP");
        bridge
            .shows("config_last_reload_successful", &[], 1.0)
            .await;
    }
    assert!(bridge.said("the old one stays").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_or_missing_secret_keeps_the_old_one() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (file, secret) = (setup.path("secret"), crate::harness::setup::SECRET);
    std::fs::write(&file, " \n").unwrap();
    bridge.signal("HUP");
    bridge
        .shows("config_last_reload_successful", &[], 0.0)
        .await;
    assert!(is_taken(&bridge, &setup, secret).await);
    assert!(
        !is_taken(&bridge, &setup, "").await,
        "an empty secret proves nothing"
    );
    std::fs::remove_file(&file).unwrap();
    bridge.signal("HUP");
    bridge
        .shows("config_last_reload_successful", &[], 0.0)
        .await;
    assert!(is_taken(&bridge, &setup, secret).await);
    assert!(!bridge.log().contains(secret), "no secret is ever logged");
}
