//! The RabbitMQ sink against a real RabbitMQ. What arrives is read by a client that shares nothing
//! with the sink but the library.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hookferry::route::Template;
use hookferry::sink::rabbitmq::{BrokerAddress, DeclaredQueue, RabbitMq, RabbitMqSettings, follow};
use hookferry::sink::{
    BrokerTls, FollowedMessage, Message, PublishError, RefusalReason, Severity, Sink,
};
use lapin::ExchangeKind;
use lapin::message::BasicGetMessage;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::eventually::eventually;
use crate::message::{Sender, body, unique};
use crate::proxy::Proxy;
use crate::rabbitmq_observer::{Observer, broker_url};

/// The URL with another authority behind the credentials, and its own authority.
fn through(proxy: Option<&Proxy>) -> (String, String) {
    let url = broker_url();
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, "%2f"));
    let (user, host) = authority
        .rsplit_once('@')
        .unwrap_or(("guest:guest", authority));
    let own = match host.contains(':') {
        true => host.to_owned(),
        false => format!("{host}:5672"),
    };
    let shown = proxy.map_or_else(|| own.clone(), |proxy| proxy.address().to_string());
    let path = if path.is_empty() { "%2f" } else { path };
    (format!("{scheme}://{user}@{shown}/{path}"), own)
}

async fn proxy() -> Proxy {
    Proxy::start(through(None).1).await
}

fn settings(url: &str) -> RabbitMqSettings {
    let template = |text| Template::parse(text).expect("a template");
    RabbitMqSettings {
        address: url.parse::<BrokerAddress>().expect("a URL"),
        tls: BrokerTls::default(),
        exchange: template("{source}"),
        routing_key: template("{event_type}.{object_id}"),
        declare: true,
        queues: Vec::new(),
        publish_timeout: Duration::from_secs(10),
        max_message_bytes: 128 * 1024 * 1024,
    }
}

async fn connected(sink: &RabbitMq) {
    eventually("the sink connects", async || {
        sink.health().connected.then_some(())
    })
    .await;
}

fn is_unroutable(result: &Result<hookferry::sink::Receipt, PublishError>) -> bool {
    matches!(result, Err(PublishError::Unroutable(_)))
}

fn is_unavailable(result: &Result<hookferry::sink::Receipt, PublishError>) -> bool {
    matches!(result, Err(PublishError::Unavailable(_)))
}

async fn close(sink: RabbitMq) {
    let began = Instant::now();
    sink.close(Duration::from_secs(3)).await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

fn headers(message: &BasicGetMessage) -> BTreeMap<String, String> {
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => text.to_string(),
        other => panic!("{other:?} is no long string"),
    };
    let headers = message.properties.headers().as_ref().expect("headers");
    headers
        .into_iter()
        // A quorum queue adds headers of its own.
        .filter(|(name, _)| !name.as_str().starts_with("x-"))
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_message_arrives_whole_and_persistent() {
    let (name, observer) = (unique("whole"), Observer::new().await);
    observer.topic(&name, "sample.uploaded.*").await;
    let sender = Sender::new(&name);
    let sink = RabbitMq::new(settings(&broker_url()), sender.needs());
    connected(&sink).await;
    let message = sender.event("sample.uploaded", "7428cca4a3a04a8e");
    sink.publish(&message).await.expect("confirmed");

    let seen = observer.get(&name).await.expect("confirmed is there");
    assert_eq!(
        seen.data,
        body("sample.uploaded", "7428cca4a3a04a8e").as_bytes()
    );
    assert_eq!(
        seen.routing_key.as_str(),
        "sample.uploaded.7428cca4a3a04a8e"
    );
    let properties = &seen.properties;
    let id = message.id().to_string();
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.message_id(), Some(id.as_str().into()));
    assert_eq!(*properties.kind(), Some("sample.uploaded".into()));
    assert_eq!(*properties.content_type(), Some("application/json".into()));
    assert_eq!(*properties.app_id(), Some("hookferry".into()));
    assert_eq!(*properties.timestamp(), Some(1_772_471_742));
    let headers = headers(&seen);
    for (name, value) in message.cloud_event() {
        assert_eq!(headers[&format!("cloudEvents_{name}")], value, "{name}");
    }
    for (name, value) in message.extensions() {
        assert_eq!(headers[name], value, "{name}");
    }
    assert_eq!(
        headers.len(),
        message.cloud_event().len() + message.extensions().len()
    );
    close(sink).await;
    observer.remove(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_and_quarantined_events_have_lanes_of_their_own() {
    let (name, observer) = (unique("lanes"), Observer::new().await);
    let sender = Sender::new(&name);
    let queue = |suffix: &str, binding: &str| DeclaredQueue {
        name: format!("{name}-{suffix}"),
        exchange: None,
        binding: binding.to_owned(),
    };
    let mut settings = settings(&broker_url());
    settings.queues = vec![
        queue("other", "other.#"),
        queue("quarantine", "quarantine.#"),
    ];
    let sink = RabbitMq::new(settings, sender.needs());
    connected(&sink).await;
    let other = sender.event("sample.sequenced", "a1");
    let quarantined = sender.body(&b"\xff\x00 not json"[..]);
    for message in [&other, &quarantined] {
        sink.publish(message)
            .await
            .expect("declared queues take it");
    }
    let seen = observer.get(&queue("other", "").name).await.expect("there");
    assert_eq!(seen.routing_key.as_str(), "other.a1");
    let seen = observer
        .get(&queue("quarantine", "").name)
        .await
        .expect("there");
    assert_eq!(seen.data, b"\xff\x00 not json");
    assert_eq!(headers(&seen)["hookferry-reason"], "not_utf8");
    close(sink).await;
    for suffix in ["other", "quarantine"] {
        let options = QueueDeleteOptions::default();
        let name = queue(suffix, "").name;
        observer
            .channel
            .queue_delete(name.as_str().into(), options)
            .await
            .expect("deleted");
    }
    observer.delete_exchange(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unroutable_message_is_ever_called_delivered() {
    let (name, observer) = (unique("mixed"), Observer::new().await);
    observer.topic(&name, "sample.uploaded.*").await;
    let sender = Sender::new(&name);
    let sink = RabbitMq::new(settings(&broker_url()), sender.needs());
    connected(&sink).await;
    for round in 0..20 {
        let messages: Vec<(bool, Message)> = (0..500)
            .map(|number| {
                let routable = (number * 7 + round) % 3 != 0;
                let kind = if routable {
                    "sample.uploaded"
                } else {
                    "analysis.failed"
                };
                (routable, sender.event(kind, &format!("{round}-{number}")))
            })
            .collect();
        let results = join_all(messages.iter().map(|(_, message)| sink.publish(message))).await;
        let mut wrong = Vec::new();
        for ((routable, message), result) in messages.iter().zip(&results) {
            match (routable, result) {
                (true, Ok(receipt)) if receipt.position() == message.position() => {}
                (false, Err(PublishError::Unroutable(reason)))
                    if reason.contains(&*message.key()) && reason.contains(&name) => {}
                other => wrong.push(format!("{other:?}")),
            }
        }
        assert!(
            wrong.is_empty(),
            "round {round}: {} wrong, first {}",
            wrong.len(),
            wrong[0]
        );
        let mut expected: Vec<String> = messages
            .iter()
            .filter(|(routable, _)| *routable)
            .map(|(_, message)| message.id().to_string())
            .collect();
        let mut seen = observer.ids(&name).await;
        expected.sort();
        seen.sort();
        assert_eq!(seen, expected, "round {round}");
    }
    close(sink).await;
    observer.remove(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_broker_is_told_at_once_and_found_later() {
    let (name, observer) = (unique("away"), Observer::new().await);
    observer.topic(&name, "#").await;
    let (sender, proxy) = (Sender::new(&name), proxy().await);
    proxy.cut();
    let sink = RabbitMq::new(settings(&through(Some(&proxy)).0), sender.needs());
    let message = sender.event("sample.uploaded", "a");
    let began = Instant::now();
    for _ in 0..100 {
        assert!(is_unavailable(&sink.publish(&message).await));
    }
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert!(!sink.health().connected);
    proxy.restore();
    connected(&sink).await;
    assert_eq!(sink.health().reconnects, 0);
    sink.publish(&message).await.expect("reachable now");
    assert_eq!(observer.ids(&name).await, [message.id().to_string()]);
    close(sink).await;
    observer.remove(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_in_doubt_and_comes_back_by_itself() {
    let (name, observer) = (unique("cut"), Observer::new().await);
    observer.topic(&name, "#").await;
    let (sender, proxy) = (Sender::new(&name), proxy().await);
    let sink = RabbitMq::new(settings(&through(Some(&proxy)).0), sender.needs());
    connected(&sink).await;
    for round in 0..3 {
        let messages: Vec<Message> = (0..300)
            .map(|number| sender.event("sample.uploaded", &format!("{round}-{number}")))
            .collect();
        let publishing = join_all(messages.iter().map(|message| sink.publish(message)));
        let (results, ()) = tokio::join!(publishing, async {
            eventually("some are under way", async || {
                (round == 0 || !observer.ids(&name).await.is_empty()).then_some(())
            })
            .await;
            proxy.cut();
        });
        assert!(
            results
                .iter()
                .all(|result| result.is_ok() || is_unavailable(result)),
            "{results:?}"
        );
        eventually("the cut is noticed", async || {
            (!sink.health().connected).then_some(())
        })
        .await;
        proxy.restore();
        connected(&sink).await;
        assert_eq!(sink.health().reconnects, round + 1);
        let again = sink.publish(&messages[0]).await;
        assert!(again.is_ok(), "{again:?}");
    }
    close(sink).await;
    observer.remove(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_is_told_within_the_deadline() {
    let (name, observer) = (unique("frozen"), Observer::new().await);
    observer.topic(&name, "#").await;
    let (sender, proxy) = (Sender::new(&name), proxy().await);
    let mut settings = settings(&through(Some(&proxy)).0);
    settings.publish_timeout = Duration::from_millis(500);
    let sink = RabbitMq::new(settings.clone(), sender.needs());
    connected(&sink).await;
    proxy.freeze();
    let messages: Vec<Message> = (0..2000)
        .map(|number| sender.event("sample.uploaded", &number.to_string()))
        .collect();
    let began = Instant::now();
    let results = join_all(messages.iter().map(|message| sink.publish(message))).await;
    assert!(results.iter().all(is_unavailable));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let began = Instant::now();
    let findings = sink.check(&sender.needs()).await;
    assert_eq!(findings[0].severity, Severity::Error, "{findings:?}");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let other = RabbitMq::new(settings, sender.needs());
    close(other).await;
    proxy.restore();
    connected(&sink).await;
    sink.publish(&messages[0]).await.expect("thawed");
    proxy.freeze();
    close(sink).await;
    observer.remove(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_exchange_is_named_and_harms_no_other() {
    let (here, gone, observer) = (unique("here"), unique("gone"), Observer::new().await);
    observer.topic(&here, "#").await;
    let mut settings = settings(&broker_url());
    settings.declare = false;
    let (present, absent) = (Sender::new(&here), Sender::new(&gone));
    let sink = RabbitMq::new(settings, present.needs());
    connected(&sink).await;
    let told_apart = async |round: &str| {
        let is_here = |number| number % 5 != 0;
        let messages: Vec<Message> = (0..300)
            .map(|number| {
                let sender = if is_here(number) { &present } else { &absent };
                sender.event("sample.uploaded", &format!("{round}-{number}"))
            })
            .collect();
        let results = join_all(messages.iter().map(|message| sink.publish(message))).await;
        results
            .iter()
            .enumerate()
            .all(|(number, result)| match result {
                Ok(_) => is_here(number),
                Err(PublishError::Unroutable(reason)) => !is_here(number) && reason.contains(&gone),
                Err(_) => false,
            })
    };
    for round in 0..20 {
        assert!(told_apart(&round.to_string()).await, "round {round}");
    }
    assert_eq!(sink.health().reconnects, 0);
    observer.topic(&gone, "#").await;
    let message = absent.event("sample.uploaded", "later");
    sink.publish(&message).await.expect("there now");
    assert_eq!(observer.ids(&gone).await, [message.id().to_string()]);
    observer.remove(&gone).await;
    // A burst is under way when the exchange vanishes, so the first rounds may be in doubt.
    eventually("the vanished exchange is told apart", async || {
        told_apart("vanished").await.then_some(())
    })
    .await;
    for round in 0..10 {
        assert!(told_apart(&format!("after-{round}")).await, "round {round}");
    }
    close(sink).await;
    observer.remove(&here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_holds_the_message_back() {
    let (name, observer) = (unique("full"), Observer::new().await);
    observer.exchange(&name, ExchangeKind::Topic).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    observer.queue(&name, &name, "#", arguments).await;
    let sender = Sender::new(&name);
    let sink = RabbitMq::new(settings(&broker_url()), sender.needs());
    connected(&sink).await;
    let messages: Vec<Message> = (0..50)
        .map(|number| sender.event("sample.uploaded", &number.to_string()))
        .collect();
    let results = join_all(messages.iter().map(|message| sink.publish(message))).await;
    let taken = results.iter().filter(|result| result.is_ok()).count();
    let held = results
        .iter()
        .filter(|result| is_unroutable(result))
        .count();
    assert!(
        taken >= 1 && held >= 1 && taken + held == 50,
        "{taken} taken, {held} held"
    );
    let ids = observer.ids(&name).await;
    assert_eq!(ids.len(), taken);
    for (message, result) in messages.iter().zip(&results) {
        assert_eq!(ids.contains(&message.id().to_string()), result.is_ok());
    }
    sink.publish(&messages[49])
        .await
        .expect("there is room again");
    close(sink).await;
    observer.remove(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_returned_message_is_not_called_delivered() {
    let name = unique("copies");
    let sender = Sender::new(&name);
    let sink = RabbitMq::new(settings(&broker_url()), sender.needs());
    connected(&sink).await;
    let message = sender.event("sample.uploaded", "same");
    let results = join_all((0..200).map(|_| sink.publish(&message))).await;
    assert!(results.iter().all(is_unroutable));
    close(sink).await;
    Observer::new().await.delete_exchange(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_accepted_is_refused() {
    let name = unique("never");
    let sender = Sender::new(&name);
    let mut settings = settings(&broker_url());
    settings.max_message_bytes = 1000;
    let long = format!("{}.{{object_id}}", "x".repeat(250));
    settings.routing_key = Template::parse(&long).expect("a template");
    let sink = RabbitMq::new(settings, sender.needs());
    connected(&sink).await;
    for (message, expected) in [
        (sender.body(vec![b'x'; 1001]), RefusalReason::TooLarge),
        (
            sender.event("sample.sequenced", "a1b2c3"),
            RefusalReason::InvalidAddress,
        ),
    ] {
        match sink.publish(&message).await {
            Err(PublishError::Refused { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
    }
    close(sink).await;
    Observer::new().await.delete_exchange(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_type_shows_in_the_check() {
    let (name, observer) = (unique("kind"), Observer::new().await);
    observer.exchange(&name, ExchangeKind::Fanout).await;
    let sender = Sender::new(&name);
    let sink = RabbitMq::new(settings(&broker_url()), sender.needs());
    connected(&sink).await;
    let findings = sink.check(&sender.needs()).await;
    assert_eq!(findings[0].severity, Severity::Good, "{findings:?}");
    assert_eq!(findings[1].severity, Severity::Error, "{findings:?}");
    assert!(findings[1].found.contains(&name) && findings[1].found.contains("type"));
    assert!(
        findings
            .iter()
            .all(|f| f.severity == Severity::Good || !f.remedy.is_empty())
    );
    observer.delete_exchange(&name).await;
    observer.exchange(&name, ExchangeKind::Topic).await;
    let findings = sink.check(&sender.needs()).await;
    assert_eq!(findings[1].severity, Severity::Good, "{findings:?}");
    close(sink).await;
    observer.delete_exchange(&name).await;
}

/// Where an exchange sends what nothing takes is its operator's affair.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_with_arguments_of_its_own_is_as_good_as_any() {
    let (name, observer) = (unique("alternate"), Observer::new().await);
    let mut arguments = FieldTable::default();
    arguments.insert(
        "alternate-exchange".into(),
        AMQPValue::LongString("amq.fanout".into()),
    );
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    observer
        .channel
        .exchange_declare(
            name.as_str().into(),
            ExchangeKind::Topic,
            options,
            arguments,
        )
        .await
        .expect("declared");
    observer
        .queue(&name, &name, "#", FieldTable::default())
        .await;
    let sender = Sender::new(&name);
    for declare in [true, false] {
        let settings = RabbitMqSettings {
            declare,
            ..settings(&broker_url())
        };
        let sink = RabbitMq::new(settings, sender.needs());
        connected(&sink).await;
        let findings = sink.check(&sender.needs()).await;
        assert_eq!(findings[1].severity, Severity::Good, "{findings:?}");
        assert!(findings[1].found.contains(&name), "{findings:?}");
        let message = sender.event("sample.uploaded", &declare.to_string());
        sink.publish(&message).await.expect("confirmed");
        assert_eq!(observer.ids(&name).await, [message.id().to_string()]);
        close(sink).await;
    }
    observer.remove(&name).await;
}

/// Made by somebody else, of another kind or with arguments of its own: its consumers get their
/// messages all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_there_is_bound_as_it_is_and_its_kind_is_said() {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let limited = [
        ("x-queue-type", text("quorum")),
        ("x-max-length", AMQPValue::LongInt(1000)),
    ];
    let cases = [
        (
            Vec::new(),
            Severity::Warning,
            "is not a durable quorum queue",
        ),
        (limited.to_vec(), Severity::Good, "arguments of its own"),
        (
            vec![("x-queue-type", text("quorum"))],
            Severity::Good,
            "is there",
        ),
    ];
    for (given, severity, words) in cases {
        let (name, observer) = (unique("queue"), Observer::new().await);
        let mut arguments = FieldTable::default();
        for (key, value) in given {
            arguments.insert(key.into(), value);
        }
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        observer
            .channel
            .queue_declare(name.as_str().into(), options, arguments)
            .await
            .expect("declared");
        let sender = Sender::new(&name);
        let mut settings = settings(&broker_url());
        settings.queues = vec![DeclaredQueue {
            name: name.clone(),
            exchange: None,
            binding: "#".to_owned(),
        }];
        let sink = RabbitMq::new(settings, sender.needs());
        connected(&sink).await;
        let findings = sink.check(&sender.needs()).await;
        assert_eq!(findings[2].severity, severity, "{findings:?}");
        assert!(findings[2].found.contains(words), "{findings:?}");
        let message = sender.event("sample.uploaded", "a");
        sink.publish(&message).await.expect("bound");
        assert_eq!(observer.ids(&name).await, [message.id().to_string()]);
        close(sink).await;
        observer.remove(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_misses_what_is_not_there_and_makes_nothing() {
    let name = unique("absent");
    let sender = Sender::new(&name);
    let mut settings = settings(&broker_url());
    settings.declare = false;
    settings.queues = vec![DeclaredQueue {
        name: name.clone(),
        exchange: None,
        binding: "#".to_owned(),
    }];
    let sink = RabbitMq::new(settings, sender.needs());
    for _ in 0..2 {
        let findings = sink.check(&sender.needs()).await;
        let severities: Vec<Severity> = findings.iter().map(|f| f.severity).collect();
        assert_eq!(
            severities,
            [Severity::Good, Severity::Error, Severity::Error],
            "{findings:?}"
        );
    }
    close(sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_what_is_published() {
    let name = unique("follow");
    let sender = Sender::new(&name);
    let settings = settings(&broker_url());
    let sink = RabbitMq::new(settings.clone(), sender.needs());
    connected(&sink).await;
    let (seen, mut messages) = tokio::sync::mpsc::channel(10);
    let exchange = name.clone();
    let follower =
        tokio::spawn(async move { follow(&settings, &exchange, "sample.#", seen).await });
    let message = sender.event("sample.uploaded", "a1");
    eventually("the follower's queue is bound", async || {
        sink.publish(&message).await.ok()
    })
    .await;
    let first: FollowedMessage = messages.recv().await.expect("seen");
    assert_eq!(first.address, format!("{name}/sample.uploaded.a1"));
    assert_eq!(first.body, body("sample.uploaded", "a1"));
    let id = ("message_id".to_owned(), message.id().to_string());
    assert!(first.headers.contains(&id), "{:?}", first.headers);
    drop(messages);
    follower.await.expect("no panic").expect("ended by us");
    close(sink).await;
    Observer::new().await.delete_exchange(&name).await;
}
