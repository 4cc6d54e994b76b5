//! The configuration changes under load: a secret is replaced, a file is wrong, and no valid delivery
//! is turned away.

use std::fs;

use crate::harness::setup::SECRET;
use crate::harness::{Bridge, Copies, Load, Outlet, Report, Setup, Target, Verdict};

const OBJECTS: usize = 6;
const NEXT: &str = "whsec_the_next_secret";

/// Every sender has had an answer to something it signed after this was called.
async fn everybody_is_answered(load: &Load) {
    load.reaches(load.answered() + 3 * OBJECTS).await;
}

async fn kept(load: Load, bridge: &Bridge, setup: &Setup) -> Verdict {
    let journal = load.stop().await;
    assert_eq!(
        journal.statuses().into_keys().collect::<Vec<_>>(),
        [200],
        "no valid delivery is turned away"
    );
    let seen = Outlet::Store
        .has(bridge, &setup.source, &journal.ids())
        .await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_a_secret_is_rotated_under_load() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::endless(&target, &setup.source, OBJECTS);
    everybody_is_answered(&load).await;
    // Both are taken, then the sender changes over, then only the new one is.
    let (config, next) = (setup.path("hookferry.toml"), setup.path("next"));
    fs::write(&next, NEXT).unwrap();
    let both = format!("/secret\" }}, {{ file = {next:?} }}]");
    let text = setup.text();
    let with_both = text.replace("/secret\" }]", &both);
    assert_ne!(with_both, text);
    fs::write(&config, with_both).unwrap();
    bridge.reload(true).await;
    everybody_is_answered(&load).await;
    target.signs_with(NEXT);
    everybody_is_answered(&load).await;
    fs::write(setup.path("secret"), NEXT).unwrap();
    fs::write(&config, &text).unwrap();
    bridge.reload(true).await;
    everybody_is_answered(&load).await;
    // A file that says nothing, or is not there, leaves the secrets as they are.
    fs::write(setup.path("secret"), " \n").unwrap();
    bridge.reload(false).await;
    everybody_is_answered(&load).await;
    fs::remove_file(setup.path("secret")).unwrap();
    bridge.reload(false).await;
    everybody_is_answered(&load).await;
    let verdict = kept(load, &bridge, &setup).await;
    assert!(!bridge.log().contains(NEXT) && !bridge.log().contains(SECRET));
    Report::row(26)
        .sink("store")
        .did("old; old and new; new; an empty file; no file: `SIGHUP` after each")
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_27_a_bad_file_changes_nothing() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::endless(&target, &setup.source, OBJECTS);
    let config = setup.path("hookferry.toml");
    let good = setup.text();
    let bad = [
        "this is no TOML".to_owned(),
        format!("acknowlege = \"spooled\"\n{good}"),
        good.replace("provider = \"onecodex\"", "provider = \"nobody\""),
        good.replace("sinks = [\"store\"]", "sinks = [\"elsewhere\"]"),
    ];
    for text in &bad {
        assert_ne!(*text, good);
        fs::write(&config, text).unwrap();
        bridge.reload(false).await;
        everybody_is_answered(&load).await;
    }
    fs::write(&config, &good).unwrap();
    bridge.reload(true).await;
    everybody_is_answered(&load).await;
    let verdict = kept(load, &bridge, &setup).await;
    Report::row(27)
        .sink("store")
        .did(format!("{} bad files, each with `SIGHUP`", bad.len()))
        .write(&verdict);
}
