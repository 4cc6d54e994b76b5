//! GitHub never sends anything again by itself, but does so when it is asked to: what failed arrives
//! as an ordinary delivery, signed.

use std::fmt::Write as _;
use std::time::Duration;

use super::command::run;
use super::{PATIENCE, assert_delivered, published};
use crate::eventually::{eventually, eventually_within};
use crate::harness::github_api::{TOKEN, WEBHOOK_SECRET, push, signature};
use crate::harness::{Bridge, EventsApi, GitHubApi, Setup};

const SOURCE: &str = "github";

/// A bridge to the store with one more source: GitHub, looked at every second.
fn setup(api: &GitHubApi, keys: &str) -> Setup {
    let mut setup = Setup::store().top("duplicate_window = \"30d\"");
    let (secret, token) = (setup.path("github-secret"), setup.path("github-token"));
    std::fs::write(&secret, WEBHOOK_SECRET).unwrap();
    std::fs::write(&token, TOKEN).unwrap();
    let (url, ca_file) = (api.url(), api.ca_file());
    let _ = write!(
        setup.more,
        "[source.{SOURCE}]\nprovider = \"github\"\nsecrets = [{{ file = {secret:?} }}]\nanswer = \"json\"\n\
         [source.{SOURCE}.recovery]\nkey = {{ file = {token:?} }}\nurl = {url:?}\nca_file = {ca_file:?}\n\
         every = \"1s\"\nyounger_than = \"0s\"\n{keys}\n\
         [[route]]\nsource = \"{SOURCE}\"\nsinks = [\"store\"]\n"
    );
    setup
}

/// A bridge that GitHub sends to.
async fn started(api: &GitHubApi) -> (Setup, Bridge) {
    let setup = setup(api, "");
    let bridge = setup.start().await;
    api.sends_to(bridge.ingress, SOURCE);
    (setup, bridge)
}

async fn ends(bridge: &Bridge, result: &str, least: f64) {
    let labels = [("source", SOURCE), ("result", result)];
    let what = format!("{least} runs end as {result}");
    eventually_within(PATIENCE, &what, async || {
        let metrics = bridge.metrics().await;
        (metrics.sum("backfill_runs_total", &labels) >= least).then_some(())
    })
    .await;
}

async fn completed(bridge: &Bridge) -> f64 {
    let labels = [("source", SOURCE), ("result", "completed")];
    bridge.metrics().await.sum("backfill_runs_total", &labels)
}

async fn looks_again(bridge: &Bridge) {
    ends(bridge, "completed", completed(bridge).await + 2.0).await;
}

fn assert_keeps_the_token(bridge: &Bridge) {
    assert!(!bridge.log().contains(TOKEN), "{}", bridge.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_asked_for_again_and_arrives_signed_and_what_did_not_is_not() {
    let api = GitHubApi::start().await;
    let (_setup, bridge) = started(&api).await;
    let bodies: Vec<String> = (0..4).map(push).collect();
    let taken = api.delivers(&bodies[0]).await;
    let failed: Vec<String> = [502, 503, 0]
        .iter()
        .zip(&bodies[1..])
        .map(|(status, body)| api.has_failed(body, *status))
        .collect();
    let seen = published(&bridge, SOURCE, bodies.len()).await;
    for body in &bodies {
        let one = seen.iter().find(|one| one.body == body.as_bytes());
        let one = one.expect("byte for byte");
        assert_delivered(one);
        assert_eq!(
            one.header("hookferry-signature"),
            signature(WEBHOOK_SECRET, body)
        );
    }
    looks_again(&bridge).await;
    looks_again(&bridge).await;
    for guid in &failed {
        assert_eq!(api.redeliveries(guid), 1, "{guid}");
    }
    assert_eq!(api.redeliveries(&taken), 0);
    let labels = [("source", SOURCE), ("result", "redelivered")];
    bridge.shows("backfill_events_total", &labels, 3.0).await;
    published(&bridge, SOURCE, bodies.len()).await;
    for (request, status) in api.requests() {
        assert!(matches!(status, 200 | 202), "{request:?}");
        let header = |name: &str| request.header(name).unwrap_or_default();
        assert_eq!(header("accept"), "application/vnd.github+json");
        assert_eq!(header("x-github-api-version"), "2022-11-28");
    }
    assert_keeps_the_token(&bridge);
}

/// What failed first and was then taken, however often it was tried, is not missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_taken_in_the_end_is_not_asked_for_again() {
    let api = GitHubApi::start().await;
    let (setup, bridge) = started(&api).await;
    let guid = api.has_failed(&push(0), 503);
    published(&bridge, SOURCE, 1).await;
    eventually("it is noted as taken", async || {
        let deliveries = api.deliveries();
        let taken = deliveries
            .iter()
            .any(|it| it.guid == guid && it.status_code == 200);
        taken.then_some(())
    })
    .await;
    bridge.stop().await;
    // Neither after a start.
    let bridge = setup.start().await;
    api.sends_to(bridge.ingress, SOURCE);
    looks_again(&bridge).await;
    assert_eq!(api.redeliveries(&guid), 1);
}

/// All attempts of a delivery count, whichever came last; and a failed one is tried once more when its
/// pause is over.
#[tokio::test(flavor = "multi_thread")]
async fn all_attempts_at_a_delivery_are_looked_at() {
    let api = GitHubApi::start().await;
    let (_setup, bridge) = started(&api).await;
    // Older than everything that comes, as the list is in the order of time.
    let never = api.was_tried(&push(0), &[(9, 503), (8, 502)]);
    let at_last = api.was_tried(&push(1), &[(7, 503), (6, 200)]);
    let at_first = api.was_tried(&push(2), &[(5, 200), (4, 503)]);
    let accepted = api.was_tried(&push(3), &[(3, 202)]);
    let seen = published(&bridge, SOURCE, 1).await;
    assert_eq!(seen[0].body, api.body_of(&never).as_bytes());
    looks_again(&bridge).await;
    assert_eq!(api.redeliveries(&never), 2);
    assert_eq!(api.redeliveries(&at_last), 1);
    assert_eq!(api.redeliveries(&at_first), 1);
    assert_eq!(api.redeliveries(&accepted), 0);
    published(&bridge, SOURCE, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_found_on_the_last_page_too() {
    let api = GitHubApi::start().await;
    let body = push(0);
    let oldest = api.was_tried(&body, &[(2, 502)]);
    for number in 1..250 {
        api.was_tried(&push(number), &[(1, 200)]);
    }
    let (_setup, bridge) = started(&api).await;
    eventually_within(PATIENCE, "it is asked for again", async || {
        (api.redeliveries(&oldest) > 0).then_some(())
    })
    .await;
    let seen = published(&bridge, SOURCE, 1).await;
    assert_eq!(seen[0].body, body.as_bytes());
    let requests = api.requests();
    let pages = requests
        .iter()
        .filter(|(request, _)| request.path.ends_with("/deliveries"));
    for (request, _) in pages {
        assert_eq!(request.parameter("per_page"), Some("100"), "{request:?}");
    }
}

/// The link to the next page leads to the API's own host, or nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_another_host_never_gets_the_token() {
    let api = GitHubApi::start().await;
    let other = EventsApi::start().await;
    api.links_to(&other.url());
    for number in 0..250 {
        api.has_failed(&push(number), 200);
    }
    let (_setup, bridge) = started(&api).await;
    eventually("a run is over", async || {
        let runs = [("source", SOURCE)];
        let metrics = bridge.metrics().await;
        (metrics.sum("backfill_runs_total", &runs) > 0.5).then_some(())
    })
    .await;
    assert_eq!(other.requests(), 0, "{:#?}", other.recorded());
    assert_keeps_the_token(&bridge);
}

/// A delivery that the bridge will never take is not asked for at each run for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_again_and_again_is_asked_for_less_and_less_often() {
    let api = GitHubApi::start().await;
    let (_setup, bridge) = started(&api).await;
    api.signs_with("not-the-secret");
    let guid = api.has_failed(&push(0), 502);
    eventually("it is asked for again", async || {
        (api.redeliveries(&guid) > 0).then_some(())
    })
    .await;
    for _ in 0..6 {
        looks_again(&bridge).await;
    }
    let times = api.redeliveries(&guid);
    assert!((1..=5).contains(&times), "{times} times in a dozen runs");
    published(&bridge, SOURCE, 0).await;
    // Another one does not wait for it.
    api.signs_with(WEBHOOK_SECRET);
    let other = api.has_failed(&push(1), 502);
    eventually_within(Duration::from_secs(10), "the other is sent", async || {
        (api.redeliveries(&other) > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_refuses_is_counted_and_the_next_run_goes_on() {
    for (status, result) in [
        (401, "unauthorized"),
        (403, "unauthorized"),
        (404, "invalid_answer"),
        (422, "invalid_answer"),
    ] {
        let api = GitHubApi::start().await;
        api.fails(Some(status));
        let (_setup, bridge) = started(&api).await;
        let guid = api.has_failed(&push(0), 502);
        ends(&bridge, result, 1.0).await;
        assert_eq!(api.redeliveries(&guid), 0);
        api.fails(None);
        published(&bridge, SOURCE, 1).await;
        assert_keeps_the_token(&bridge);
    }
}

/// GitHub says no to one delivery, which may be too old by now; the others are sent all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_github_does_not_send_again_keeps_no_other_back() {
    let api = GitHubApi::start().await;
    let refused = api.has_failed(&push(0), 502);
    api.refuses(&refused);
    let (_setup, bridge) = started(&api).await;
    let wanted = push(1);
    api.has_failed(&wanted, 502);
    let seen = published(&bridge, SOURCE, 1).await;
    assert_eq!(seen[0].body, wanted.as_bytes());
    looks_again(&bridge).await;
    assert_keeps_the_token(&bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_for_what_failed_and_check_looks_at_the_hook() {
    let api = GitHubApi::start().await;
    let (mut setup, bridge) = started(&api).await;
    ends(&bridge, "completed", 1.0).await;
    bridge.stop().await;
    setup.more = setup.more.replace("every = \"1s\"", "every = \"1h\"");
    let bridge = setup.start().await;
    api.sends_to(bridge.ingress, SOURCE);
    ends(&bridge, "completed", 1.0).await;
    let guid = api.has_failed(&push(0), 502);
    let config = setup.write().display().to_string();
    let admin = format!("http://{}", bridge.admin);
    let command = |more: &[&str]| {
        let of = [
            "backfill", "--source", SOURCE, "--config", &config, "--admin", &admin,
        ];
        let all = [&of, more].concat();
        run(all.into_iter().map(str::to_owned).collect())
    };
    let ended = command(&["--dry-run", "--json"]).await.with_code(0);
    assert!(ended.out.contains("\"missing\""), "{}", ended.out);
    assert_eq!(api.redeliveries(&guid), 0);
    let ended = command(&["--json"]).await.with_code(0);
    let last = ended.out.lines().last().expect("a summary");
    let last: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(last["summary"]["redelivered"], 1, "{last}");
    published(&bridge, SOURCE, 1).await;
    assert_eq!(api.redeliveries(&guid), 1);
    for (active, code) in [(true, Some(0)), (false, None)] {
        api.switches(active);
        let arguments = ["check", "--connect", "--config", &config];
        let ended = run(arguments.map(str::to_owned).to_vec()).await;
        assert!(
            ended.out.contains("recovery of source github"),
            "{}",
            ended.out
        );
        if let Some(code) = code {
            ended.with_code(code);
        } else {
            let doubtful = ended.out.contains("✗") || ended.out.contains("\n  !");
            assert!(doubtful, "{}", ended.out);
        }
    }
}
