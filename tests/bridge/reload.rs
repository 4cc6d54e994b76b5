//! `SIGHUP`, and `reload_interval`: secrets, routes and limits are taken over without a restart and
//! without a valid delivery turned away; a bad file changes nothing; what needs a restart is said.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::eventually::eventually;
use crate::harness::delivery::{event, now};
use crate::harness::setup::SECRET;
use crate::harness::{
    Bridge, Connection, Copies, Load, Outlet, Post, Setup, Target, Verdict, amqp_url, unique,
};
use crate::order::proxied;

const NEXT: &str = "whsec_the_next_secret";
const OBJECTS: usize = 6;

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

/// The file with one text in place of another.
fn rewrite(setup: &Setup, old: &str, new: &str) {
    let text = setup.text();
    let changed = text.replace(old, new);
    assert_ne!(text, changed, "{old} is not in the file");
    fs::write(setup.path("hookferry.toml"), changed).unwrap();
}

/// The file with both secrets.
fn accept_both(setup: &Setup) {
    let both = format!("/secret\" }}, {{ file = {:?} }}]", setup.path("next"));
    rewrite(setup, "/secret\" }]", &both);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_rotated_without_a_gap() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    assert!(is_taken(&bridge, &setup, SECRET).await && !is_taken(&bridge, &setup, NEXT).await);
    fs::write(setup.path("next"), NEXT).unwrap();
    // Both are valid, then only the new one.
    accept_both(&setup);
    bridge.reload(true).await;
    assert!(is_taken(&bridge, &setup, NEXT).await && is_taken(&bridge, &setup, SECRET).await);
    let labels = [("source", setup.source.as_str()), ("secret", "1")];
    bridge
        .counts("secret_last_used_timestamp_seconds", &labels, 1.0)
        .await;
    fs::write(setup.path("secret"), NEXT).unwrap();
    setup.write();
    bridge.reload(true).await;
    assert!(is_taken(&bridge, &setup, NEXT).await && !is_taken(&bridge, &setup, SECRET).await);
    let metrics = bridge.metrics().await;
    let forgotten = metrics.sum_or_zero("secret_last_used_timestamp_seconds", &labels);
    assert!(forgotten < 0.5, "a secret that was taken out is not shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_from_before_does_not_show_a_secret_that_is_gone() {
    let setup = Setup::store();
    fs::write(setup.path("next"), NEXT).unwrap();
    let bridge = setup.start().await;
    accept_both(&setup);
    bridge.reload(true).await;
    let body = event("sample.uploaded", "a");
    let bytes = Post::signed_with(&setup.source, body, NEXT, now()).bytes();
    let (begin, rest) = bytes.split_at(bytes.len() - 10);
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection.send(begin).await.unwrap();
    bridge.counts("http_requests_in_flight", &[], 1.0).await;
    setup.write();
    bridge.reload(true).await;
    connection.send(rest).await.unwrap();
    let answer = connection.answer().await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "it keeps to the end what it began with");
    let labels = [("source", setup.source.as_str()), ("secret", "1")];
    let metrics = bridge.metrics().await;
    let shown = metrics.sum_or_zero("secret_last_used_timestamp_seconds", &labels);
    assert!(shown < 0.5, "the secret is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_keeps_the_old_configuration_and_says_so() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let file = setup.path("hookferry.toml");
    let good = setup.text();
    fs::create_dir(setup.path("folder")).unwrap();
    let route = "[[route]]";
    // What is wrong, and the key path and the remedy that are said.
    for (bad, key, remedy) in [
        ("this is no TOML".to_owned(), "the file", "mend the TOML"),
        (
            format!("acknowlege = \"spooled\"\n{good}"),
            "acknowlege",
            "did you mean `acknowledge`?",
        ),
        (
            good.replace("/secret\"", "/no-such-secret\""),
            ".secrets[0]",
            "readable for this user",
        ),
        (
            good.replace("/secret\"", "/folder\""),
            ".secrets[0]",
            "readable for this user",
        ),
        (
            good.replace("provider = \"onecodex\"", "provider = \"nobody\""),
            ".provider",
            "name one of benchling",
        ),
        (
            good.replace("sinks = [\"store\"]", "sinks = []"),
            "route[0].sinks",
            "name at least one sink",
        ),
        (
            good.replace("sinks = [\"store\"]", "sinks = [\"elsewhere\"]"),
            "route[0].sinks",
            "add [sink.elsewhere]",
        ),
        // Half of this could be taken over, and is not.
        (
            good.replace(
                "[ingress]",
                "[ingress]\nmax_body = \"1KiB\"\nallow = [\"x\"]",
            ),
            "ingress.allow[0]",
            "write it as",
        ),
        (
            good.replace(
                route,
                &format!("[sink.extra]\ntype = \"rabbitmq\"\nurl = \"amqp://mq\"\n{route}"),
            )
            .replace("sinks = [\"store\"]", "sinks = [\"store\", \"extra\"]"),
            "sink.extra",
            "a restart is needed",
        ),
    ] {
        assert_ne!(bad, good);
        fs::write(&file, &bad).unwrap();
        let before = bridge.log().len();
        bridge.reload(false).await;
        let said = bridge.log()[before..].to_owned();
        for text in [key, remedy, "/hookferry.toml"] {
            assert!(said.contains(text), "{text} is not in {said}");
        }
        assert!(is_taken(&bridge, &setup, SECRET).await);
        fs::write(&file, &good).unwrap();
        bridge.reload(true).await;
        assert!(is_taken(&bridge, &setup, SECRET).await);
    }
    fs::remove_file(&file).unwrap();
    bridge.reload(false).await;
    assert!(is_taken(&bridge, &setup, SECRET).await);
}

/// Who has changed another file than the one that is read must be told.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_finds_nothing_new_says_so() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let counts = || {
        let said = |text: &str| bridge.log().matches(text).count();
        let new = said("the new configuration is in force");
        (said("nothing new was found"), new)
    };
    fs::write(setup.path("elsewhere"), NEXT).unwrap();
    bridge.reload(true).await;
    assert_eq!(counts(), (1, 0));
    // Behind the same name there is another secret.
    fs::write(setup.path("secret"), NEXT).unwrap();
    bridge.reload(true).await;
    assert_eq!(counts(), (1, 1));
    // A mistake that is put right is nothing new either.
    let good = setup.text();
    fs::write(setup.path("hookferry.toml"), "no TOML").unwrap();
    bridge.reload(false).await;
    fs::write(setup.path("hookferry.toml"), good).unwrap();
    bridge.reload(true).await;
    let failures = bridge.log().matches("the old one stays").count();
    assert_eq!((counts(), failures), ((2, 1), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_or_missing_secret_keeps_the_old_one() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let file = setup.path("secret");
    fs::write(&file, " \n").unwrap();
    bridge.reload(false).await;
    assert!(is_taken(&bridge, &setup, SECRET).await);
    assert!(
        !is_taken(&bridge, &setup, "").await,
        "an empty secret proves nothing"
    );
    fs::remove_file(&file).unwrap();
    bridge.reload(false).await;
    assert!(is_taken(&bridge, &setup, SECRET).await);
    let named = format!("{} ", setup.path("secret").display());
    assert!(bridge.log().contains(named.trim_end()), "the file is named");
    assert!(!bridge.log().contains(SECRET), "no secret is ever logged");
}

/// Somebody has to rotate a secret just when a disk has failed, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_changed_while_the_spool_cannot_be_written() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    fs::rename(&setup.spool_folder, setup.path("away")).unwrap();
    fs::write(setup.path("secret"), NEXT).unwrap();
    bridge.reload(true).await;
    bridge.shows("config_restart_required", &[], 0.0).await;
    fs::create_dir(&setup.spool_folder).unwrap();
    eventually("the new secret counts in a new spool", async || {
        let body = event("sample.uploaded", "a");
        let post = Post::signed_with(&setup.source, body, NEXT, now());
        (bridge.post(&post).await.status == 200).then_some(())
    })
    .await;
    // A folder that is yet to be opened is looked at.
    rewrite(&setup, "/spool\"", "/no/such/folder/spool\"");
    bridge.reload(false).await;
    assert!(bridge.log().contains("spool.path"), "{}", bridge.log());
}

/// A damaged secret leaves the old one; a doubtful one is taken over, and told of by its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_looks_like_a_mistake_does_not_come_in_unnoticed() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for damaged in [
        format!("\u{feff}{NEXT}"),
        format!("{NEXT}\0"),
        format!("{SECRET}\n{NEXT}\n"),
        "${NEXT}".to_owned(),
    ] {
        fs::write(setup.path("secret"), damaged).unwrap();
        bridge.reload(false).await;
        assert!(is_taken(&bridge, &setup, SECRET).await);
    }
    let quoted = format!("\"{NEXT}\"");
    fs::write(setup.path("secret"), &quoted).unwrap();
    bridge.reload(true).await;
    comes_to_be(&bridge, &setup, &quoted, true).await;
    let key = format!("source.{}.secrets[0]", setup.source);
    let log = bridge.log();
    let told = |line: &str| line.contains(&key) && line.contains("quotes");
    assert!(log.lines().any(told), "{log}");
    assert!(!log.contains(NEXT) && !log.contains(SECRET), "{log}");
}

/// Everything that a reload takes over changes again and again while senders send.
#[tokio::test(flavor = "multi_thread")]
async fn no_valid_delivery_is_turned_away_while_everything_changes() {
    let setup = Setup::store().and_rabbitmq(&amqp_url());
    let source = &setup.source;
    let mut queue = Outlet::rabbitmq(&setup).await;
    let only_failures = format!(
        "[[route]]\nsource = \"{source}\"\nsinks = [\"store\"]\n[[route]]\nsource = \"{source}\"\nsinks = [\"rabbitmq\"]\nevent_types = [\"analysis.failed\"]\n"
    );
    let everything_to_both = "[[route]]\nsource = \"SOURCE\"\nsinks = [\"store\", \"rabbitmq\"]\n";
    let everything_to_both = everything_to_both.replace("SOURCE", source);
    let limits = [
        (
            "max_body = \"64KiB\"\nmax_in_flight = 100\nbody_timeout = \"3s\"",
            "duplicates = \"forward\"\nacknowledge_timeout = \"9s\"",
        ),
        (
            "rate_limit_per_address = 100000\nallow = [\"127.0.0.0/8\"]",
            "duplicate_window = \"1h\"",
        ),
        (
            "client_address = \"x_forwarded_for\"\ntrusted_proxies = [\"192.0.2.1\"]",
            "",
        ),
    ];
    fs::write(setup.path("next"), NEXT).unwrap();
    let secret = format!("{{ file = {:?} }}", setup.path("secret"));
    let next = format!("{{ file = {:?} }}", setup.path("next"));
    let configured = |secrets: &str, round: usize| {
        let (ingress, top) = limits[round % limits.len()];
        let routes = [&only_failures, &everything_to_both][round % 2];
        let text = setup
            .text()
            .replace("[ingress]\n", &format!("{top}\n[ingress]\n{ingress}\n"));
        let text = text.replace(&secret, secrets);
        let (head, _) = text.split_once("[[route]]").unwrap();
        let rate = 100_000 + round % 2;
        let head = head.replace("provider = ", &format!("rate_limit = {rate}\nprovider = "));
        fs::write(setup.path("hookferry.toml"), format!("{head}{routes}")).unwrap();
    };
    configured(&secret, 0);
    let bridge = Bridge::start(&setup.path("hookferry.toml")).await;
    let target = Target::new(bridge.ingress);
    let load = Load::endless(&target, source, OBJECTS);
    for round in 0..12 {
        let (old, new) = if round % 2 == 0 {
            (&secret, (&next, NEXT))
        } else {
            (&next, (&secret, SECRET))
        };
        configured(&format!("{old}, {}", new.0), 2 * round);
        bridge.reload(true).await;
        target.signs_with(new.1);
        // Each sender has signed with the new one, and has its answer.
        load.reaches(load.answered() + 3 * OBJECTS).await;
        configured(new.0, 2 * round + 1);
        bridge.reload(true).await;
        load.reaches(load.answered() + OBJECTS).await;
    }
    let journal = load.stop().await;
    assert_eq!(journal.statuses().into_keys().collect::<Vec<_>>(), [200]);
    let ids = journal.ids();
    let seen = Outlet::Store.has(&bridge, source, &ids).await;
    Verdict::of(&journal, &seen).assert_kept(Copies::Once);
    // Now and then everything went to the other sink too.
    let last = bridge.accepted(source, event("sample.uploaded", "z")).await;
    let also = queue.has(&bridge, source, &[last]).await;
    assert!(also.len() > 1, "a route that came by reload was taken");
    assert!(
        also.len() < ids.len(),
        "a route that went by reload was not"
    );
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("store");
    bridge.metrics().await.assert_balanced("rabbitmq");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_taken_over() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let note = format!("\"note\":\"{}", "x".repeat(1024));
    let body = event("sample.uploaded", "a").replace("\"note\":\"", &note);
    assert!(body.len() > 1024, "{body}");
    let post = || Post::signed(&setup.source, body.as_str());
    assert_eq!(bridge.post(&post()).await.status, 200);
    for (old, new, status) in [
        ("[ingress]", "[ingress]\nmax_body = \"1KiB\"", 413),
        ("[ingress]", "[ingress]\nallow = [\"192.0.2.1\"]", 403),
        ("[spool]", "[spool]\nmax_events = 7", 200),
        ("[log]", "[log]\nfilter = \"error\"", 200),
    ] {
        rewrite(&setup, old, new);
        let silent = new.contains("filter");
        if silent {
            // A delivery may be refused, and logged, before the first of them is heard.
            let reloads = || bridge.log().matches("is in force").count();
            let before = reloads();
            bridge.signal("HUP");
            // The log says no more, so the reload shows in what it also takes over.
            fs::write(setup.path("secret"), NEXT).unwrap();
            bridge.signal("HUP");
            comes_to_be(&bridge, &setup, NEXT, true).await;
            assert_eq!(reloads(), before);
            fs::write(setup.path("secret"), SECRET).unwrap();
        } else {
            bridge.reload(true).await;
            assert_eq!(bridge.post(&post()).await.status, status, "{new}");
        }
        if new.contains("max_events") {
            bridge.shows("spool_max_events", &[], 7.0).await;
        }
        setup.write();
        bridge.reload(true).await;
        assert_eq!(bridge.post(&post()).await.status, 200);
    }
    // A duplicate is one, and then it is not.
    assert_eq!(bridge.post(&post()).await.outcome(), "duplicate");
    rewrite(&setup, "[ingress]", "duplicates = \"forward\"\n[ingress]");
    bridge.reload(true).await;
    assert_eq!(bridge.post(&post()).await.outcome(), "accepted");
    bridge.shows("config_restart_required", &[], 0.0).await;
}

/// Values that contradict each other would be found by the next start alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_next_start_would_refuse_is_refused_by_the_reload() {
    let setup = Setup::store().and_kafka("127.0.0.1:1", "properties = { \"retries\" = \"5\" }\n");
    let bridge = setup.start().await;
    rewrite(&setup, "= \"5\" }", "= \"0\" }");
    bridge.reload(false).await;
    eventually("the log names the property", async || {
        let log = bridge.log();
        log.contains("sink.kafka.properties.").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_with_the_delay_it_was_made_of() {
    let (proxy, url) = proxied().await;
    let mut setup = Setup::rabbitmq(&url);
    let slow = "retry_delay_max = \"24h\"";
    let keys = setup.sinks[0]
        .1
        .replace("retry_delay_max = \"500ms\"", slow);
    setup.sinks[0].1 = keys;
    let mut queue = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    proxy.cut();
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.shows("sink_paused", &[], 1.0).await;
    rewrite(&setup, slow, "retry_delay_max = \"500ms\"");
    bridge.reload(true).await;
    let tried = [("result", "unavailable")];
    let before = bridge.metrics().await.sum("publish_attempts_total", &tried);
    bridge
        .counts("publish_attempts_total", &tried, before + 2.0)
        .await;
    proxy.restore();
    queue.has(&bridge, &setup.source, &[id]).await;
    bridge.shows("config_restart_required", &[], 0.0).await;
}

/// Or whoever may send so many a second could send as many more with every reload.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_no_fresh_burst() {
    for (limit, table) in [
        ("rate_limit = 10", "provider ="),
        ("rate_limit_per_address = 10", "[admin]"),
    ] {
        let setup = Setup::store();
        rewrite(&setup, table, &format!("{limit}\n{table}"));
        let bridge = Bridge::start(&setup.path("hookferry.toml")).await;
        let (began, mut let_in) = (Instant::now(), 0.0);
        for _ in 0..12 {
            let mut connections = Vec::new();
            for _ in 0..12 {
                let mut connection = Connection::open(bridge.ingress).await.unwrap();
                let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
                connection.send(&post.bytes()).await.unwrap();
                connections.push(connection);
            }
            for connection in &mut connections {
                match connection
                    .answer()
                    .await
                    .unwrap()
                    .expect("an answer")
                    .status
                {
                    200 => let_in += 1.0,
                    status => assert_eq!(status, 429),
                }
            }
            bridge.reload(true).await;
        }
        let most = 10.0 + 10.0 * began.elapsed().as_secs_f64() + 1.0;
        assert!(let_in <= most, "{limit}: {let_in} of at most {most}");
        // A limit that has changed is in force at once.
        let doubled = format!("{}\n{table}", limit.replace("10", "1000"));
        rewrite(&setup, table, &doubled);
        bridge.reload(true).await;
        for _ in 0..30 {
            bridge
                .accepted(&setup.source, event("sample.uploaded", "a"))
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_and_shown() {
    let setup = Setup::store().and_rabbitmq(&amqp_url());
    let mut queue = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    bridge.shows("config_restart_required", &[], 0.0).await;
    let text = setup.text();
    let changed = text
        .replace("[admin]", "head_timeout = \"6s\"\n[admin]")
        .replace("/spool\"", "/other\"")
        .replace("/topics\"", "/topics\"\nretention = \"1d\"")
        .replace("publish_timeout = \"2s\"", "publish_timeout = \"3s\"");
    fs::write(setup.path("hookferry.toml"), &changed).unwrap();
    bridge.reload(true).await;
    let said = bridge.said("need a restart").expect("it is said");
    assert_eq!(
        (said["level"].as_str(), said["keys"].as_str()),
        (
            Some("WARN"),
            Some(
                "ingress.head_timeout, sink.rabbitmq.publish_timeout, sink.store.retention, spool.path"
            )
        )
    );
    bridge.shows("config_restart_required", &[], 1.0).await;
    // What else is in the file is in force.
    fs::write(setup.path("secret"), NEXT).unwrap();
    bridge.reload(true).await;
    assert!(is_taken(&bridge, &setup, NEXT).await);
    fs::write(setup.path("hookferry.toml"), &text).unwrap();
    bridge.reload(true).await;
    bridge.shows("config_restart_required", &[], 0.0).await;
    // A sink that is taken out stays open, and what waits for it is delivered.
    let post = Post::signed_with(&setup.source, event("sample.uploaded", "a"), NEXT, now());
    let id = bridge.post(&post).await.id();
    let (head, _) = text.split_once("[sink.rabbitmq]").unwrap();
    let routes = format!(
        "[[route]]\nsource = \"{}\"\nsinks = [\"store\"]\n",
        setup.source
    );
    fs::write(setup.path("hookferry.toml"), format!("{head}{routes}")).unwrap();
    bridge.reload(true).await;
    bridge.shows("config_restart_required", &[], 1.0).await;
    assert!(
        bridge.log().contains("\"sink.rabbitmq\""),
        "{}",
        bridge.log()
    );
    queue.has(&bridge, &setup.source, &[id]).await;
}

/// Its queues are bound to the exchanges of the sources that were there when it connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_source_is_served_at_once_and_its_queues_are_bound_by_a_restart() {
    let mut setup = Setup::store().and_rabbitmq(&amqp_url());
    let queue = format!("[[sink.rabbitmq.queue]]\nname = \"{}\"\n", setup.source);
    setup.sinks[1].1.push_str(&queue);
    let bridge = setup.start().await;
    let late = unique("late");
    let secret = setup.path("secret");
    let source =
        format!("[source.{late}]\nprovider = \"onecodex\"\nsecrets = [{{ file = {secret:?} }}]\n");
    let route = format!("[[route]]\nsource = \"{late}\"\nsinks = [\"store\"]\n");
    let text = format!("{}{source}{route}", setup.text());
    fs::write(setup.path("hookferry.toml"), text).unwrap();
    bridge.reload(true).await;
    // Its series are there before its first delivery.
    let labels = [("source", late.as_str()), ("reason", "signature_mismatch")];
    bridge
        .shows("deliveries_rejected_total", &labels, 0.0)
        .await;
    let id = bridge.accepted(&late, event("sample.uploaded", "a")).await;
    Outlet::Store.has(&bridge, &late, &[id]).await;
    let said = bridge.said("need a restart").expect("it is said");
    assert_eq!(said["keys"].as_str(), Some("sink.rabbitmq.queue"));
    setup.write();
    bridge.reload(true).await;
    bridge.shows("config_restart_required", &[], 0.0).await;
    let gone = bridge
        .post(&Post::signed(&late, event("sample.uploaded", "a")))
        .await;
    assert_eq!(gone.status, 404);
}

/// As a container's secrets are renewed: a link leads elsewhere, and nobody sends a signal.
#[tokio::test(flavor = "multi_thread")]
async fn with_an_interval_changes_are_found_without_a_signal() {
    let setup = Setup::store().top("reload_interval = \"1s\"");
    let (link, staged) = (setup.path("secret"), setup.path("staged"));
    fs::write(setup.path("old"), SECRET).unwrap();
    fs::write(setup.path("new"), NEXT).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(setup.path("old"), &link).unwrap();
    let bridge = setup.start().await;
    assert!(is_taken(&bridge, &setup, SECRET).await);
    symlink(setup.path("new"), &staged).unwrap();
    fs::rename(&staged, &link).unwrap();
    comes_to_be(&bridge, &setup, NEXT, true).await;
    let in_force = || bridge.log().matches("is in force").count();
    assert_eq!(in_force(), 1, "nothing else has changed");
    // A failure is said once, however often one looks.
    fs::remove_file(&link).unwrap();
    bridge
        .shows("config_last_reload_successful", &[], 0.0)
        .await;
    let failed = Instant::now();
    eventually("it has looked twice more", async || {
        (failed.elapsed() > Duration::from_millis(2500)).then_some(())
    })
    .await;
    assert_eq!(bridge.log().matches("the old one stays").count(), 1);
    assert!(is_taken(&bridge, &setup, NEXT).await);
    // The file that was missing comes back.
    symlink(setup.path("old"), &link).unwrap();
    bridge
        .shows("config_last_reload_successful", &[], 1.0)
        .await;
    assert!(is_taken(&bridge, &setup, SECRET).await);
    // Without the interval it looks no more, but hears the signal.
    let text = setup.text().replace("reload_interval = \"1s\"", "");
    fs::write(setup.path("hookferry.toml"), text).unwrap();
    eventually("the interval is gone", async || {
        (in_force() == 3).then_some(())
    })
    .await;
    bridge.reload(true).await;
}
