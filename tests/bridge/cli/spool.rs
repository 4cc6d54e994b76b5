use hookferry::metrics::Metrics;
use hookferry::name::SinkName;
use hookferry::sink::RefusalReason;
use hookferry::spool::{Burial, Milestone, Spool};

use super::{Said, Setup, run};
use crate::message::{Sender, body};

/// A bridge whose only sink is away, so that everything waits.
fn waiting() -> Setup {
    Setup::with_sink(
        "rabbit",
        "type = \"rabbitmq\"\nurl = \"amqp://127.0.0.1:1\"",
    )
}

fn verb(setup: &Setup, arguments: &[&str], admin: Option<&str>) -> Said {
    let config = setup.config();
    let mut all = arguments.to_vec();
    all.extend(["--config", &config]);
    all.extend(admin.into_iter().flat_map(|url| ["--admin", url]));
    run(&all)
}

fn json(said: Said) -> serde_json::Value {
    serde_json::from_str(&said.with_code(0).out).unwrap()
}

#[test]
fn the_spool_reads_alike_through_a_bridge_and_from_the_file() {
    let setup = waiting();
    let said = verb(&setup, &["spool", "list"], None).with_code(1);
    assert!(said.err.contains("there is no spool yet"), "{}", said.err);
    let mut served = setup.serve();
    setup.send(&served, 20);
    let running = |arguments: &[&str]| verb(&setup, arguments, Some(&served.admin));
    let listed = json(running(&["spool", "list", "--json"]));
    let table = running(&["spool", "list", "--limit", "2"]).with_code(0).out;
    let exported = running(&["spool", "export"]).with_code(0).out;
    let events = listed["events"].as_array().unwrap();
    assert_eq!((events.len(), exported.lines().count()), (20, 20));
    assert!(
        table.contains("sample.uploaded") && table.contains("rabbit"),
        "{table}"
    );
    let sequence = events[7]["sequence"].to_string();
    let shown = json(running(&["spool", "show", &sequence, "--json"]));
    assert!(
        shown["body"]
            .as_str()
            .unwrap()
            .contains("\"event_type\":\"sample.uploaded\"")
    );
    running(&["spool", "show", "999999999"]).with_code(1);
    let said = running(&["spool", "drop", "--sink", "rabbit", "--yes"]).with_code(1);
    assert!(said.err.contains("is configured"), "{}", said.err);
    let said = verb(&setup, &["spool", "list"], None).with_code(2);
    assert!(
        said.err.contains("--admin"),
        "a held spool is asked for through its bridge: {}",
        said.err
    );

    assert_eq!(served.running.stop("TERM").code(), Some(0));
    let direct = |arguments: &[&str]| verb(&setup, arguments, None);
    assert_eq!(
        json(direct(&["spool", "list", "--json"]))["events"],
        listed["events"]
    );
    assert_eq!(json(direct(&["spool", "show", &sequence, "--json"])), shown);
    let file = setup.path("export").display().to_string();
    assert_eq!(
        direct(&["spool", "export", "--output", &file])
            .with_code(0)
            .out,
        ""
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), exported);
    let said = direct(&["spool", "drop", "--sink", "rabbit"]).with_code(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    assert_eq!(
        direct(&["spool", "export"])
            .with_code(0)
            .out
            .lines()
            .count(),
        20
    );
    direct(&["spool", "drop", "--sink", "nobody", "--yes"]).with_code(1);
    let said = direct(&["spool", "drop", "--sink", "rabbit", "--yes"]).with_code(0);
    assert!(said.err.contains("20 dropped"), "{}", said.err);
    assert_eq!(direct(&["spool", "export"]).with_code(0).out, "");
}

/// Sets `count` events aside, as a dispatcher does.
async fn bury(setup: &Setup, count: usize) {
    let text = std::fs::read_to_string(setup.path("hookferry.toml")).unwrap();
    let settings = hookferry::config::parse(&text, &|_| None).unwrap();
    let name = SinkName::parse("rabbit").unwrap();
    let metrics = std::sync::Arc::new(Metrics::new().unwrap());
    let (spool, _stopped) =
        Spool::open(settings.spool, std::slice::from_ref(&name), metrics).unwrap();
    let sink = spool.sink(&name).unwrap();
    let mut after = 0;
    for number in 0..count {
        let routed = Sender::new("onecodex").routed(body("sample.uploaded", &format!("o{number}")));
        spool.append(routed, Milestone::Spooled).await.unwrap();
        let record = spool.fetch(sink, after, 1).await.unwrap().remove(0);
        after = record.position().sequence;
        let burial = Burial {
            record,
            sink,
            reason: RefusalReason::TooLarge,
            detail: "larger than the broker takes".into(),
        };
        spool.bury(burial).await.unwrap();
    }
    spool.close().await;
}

#[tokio::test]
async fn dead_letters_are_listed_requeued_and_dropped() {
    let setup = waiting();
    bury(&setup, 5).await;
    let numbers = |listed: serde_json::Value| -> Vec<i64> {
        let letters = listed.as_array().unwrap();
        letters
            .iter()
            .map(|letter| letter["number"].as_i64().unwrap())
            .collect()
    };
    let direct = |arguments: &[&str]| verb(&setup, arguments, None);
    let all = numbers(json(direct(&["dead-letters", "list", "--json"])));
    assert_eq!(all.len(), 5);
    let table = direct(&["dead-letters", "list"]).with_code(0).out;
    assert!(
        table.contains("too_large") && table.contains("larger than the broker takes"),
        "{table}"
    );
    let text = all.iter().map(i64::to_string).collect::<Vec<_>>();
    let shown = direct(&["dead-letters", "show", &text[0]]).with_code(0).out;
    assert!(
        shown.contains("sample.uploaded") && shown.contains("o0"),
        "{shown}"
    );
    direct(&["dead-letters", "requeue", &text[0]]).with_code(0);
    assert_eq!(
        direct(&["spool", "export"])
            .with_code(0)
            .out
            .lines()
            .count(),
        1
    );
    let said = direct(&["dead-letters", "drop", &text[1]]).with_code(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    let said = direct(&["dead-letters", "drop", &text[0], &text[1], "--yes"]).with_code(1);
    assert!(
        said.err.contains("1 dropped"),
        "the other one is gone already: {}",
        said.err
    );
    direct(&["dead-letters", "requeue"]).with_code(2);

    let served = setup.serve();
    let running = |arguments: &[&str]| verb(&setup, arguments, Some(&served.admin));
    assert_eq!(
        numbers(json(running(&["dead-letters", "list", "--json"]))),
        all[2..]
    );
    assert_eq!(
        running(&["dead-letters", "export"])
            .with_code(0)
            .out
            .lines()
            .count(),
        3
    );
    running(&["dead-letters", "drop", &text[2], "--yes"]).with_code(0);
    running(&["dead-letters", "requeue", "--all"]).with_code(0);
    assert_eq!(
        numbers(json(running(&["dead-letters", "list", "--json"]))),
        [0_i64; 0]
    );
    assert_eq!(
        running(&["spool", "export"])
            .with_code(0)
            .out
            .lines()
            .count(),
        3
    );
}
