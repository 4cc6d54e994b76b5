//! Two bridges never share a spool or a store.

use crate::harness::delivery::event;
use crate::harness::{Outlet, Setup, amqp_url};

fn assert_says(code: Option<i32>, said: &str, folder: &str) {
    assert!(matches!(code, Some(1 | 2)), "{code:?}: {said}");
    assert!(said.contains(folder), "it names the folder: {said}");
    assert!(said.contains("another"), "it says who has it: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_on_one_spool_refuses_clearly() {
    let setup = Setup::rabbitmq(&amqp_url());
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let (code, said) = setup.fails().await;
    assert_says(code, &said, &setup.spool_folder.display().to_string());
    // The first is none the worse for it.
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    outlet.has(&bridge, &setup.source, &[id]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_on_one_store_refuses_clearly() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let other = setup.text().replace("/spool\"", "/other-spool\"");
    let config = setup.path("other.toml");
    std::fs::write(&config, other).unwrap();
    let (code, said) = crate::harness::setup::ends(&config).await;
    assert_says(code, &said, "/topics");
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    Outlet::Store.has(&bridge, &setup.source, &[id]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_killed_instance_holds_nobody_up() {
    let setup = Setup::store();
    for _ in 0..3 {
        setup.start().await.kill();
    }
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let other = Setup::store();
    let taken = format!("listen = \"{}\"", bridge.ingress);
    let text = other.text().replacen("listen = \"127.0.0.1:0\"", &taken, 1);
    let config = other.path("hookferry.toml");
    std::fs::write(&config, text).unwrap();
    let (code, said) = crate::harness::setup::ends(&config).await;
    assert!(matches!(code, Some(1 | 2)), "{code:?}");
    assert!(
        said.contains("ingress.listen") && said.contains(&bridge.ingress.to_string()),
        "{said}"
    );
}
