//! Which sinks an event goes to, and what is dropped.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::event::SinkIndex;
use crate::source::{
    ConditionTemplates, DeliveryHead, FieldTemplate, Inbound, Secret, SigningKey, Source, built_in,
};
use crate::trace::TraceContext;

const PUSH: &[(&str, &str)] = &[("x-github-delivery", "1"), ("x-github-event", "push")];
const PING: &[(&str, &str)] = &[("x-github-delivery", "2"), ("x-github-event", "ping")];
const REPOSITORY: &str = r#"{"repository":{"id":42,"private":true}}"#;

/// What the conditions of all these routes look at, in the places that `where_` names.
const TEMPLATES: [&str; 5] = [
    "{/repository/id}",
    "{header.x-github-event}",
    "{query.lab}",
    "{/repository/private}",
    "{/repository/id}-{query.lab}",
];

fn name(text: &str) -> SourceName {
    SourceName::parse(text).expect("a slug")
}

fn sinks(numbers: &[usize]) -> SinkSet {
    let index = |number: &usize| SinkIndex::new(*number).expect("in range");
    numbers.iter().map(index).collect()
}

fn types(names: &[&str]) -> HashSet<EventType> {
    let event_type = |name: &&str| EventType::parse(name).expect("an event type");
    names.iter().map(event_type).collect()
}

/// An event of a source that is asked for all of [`TEMPLATES`].
fn event(source: &str, headers: &[(&str, &str)], query: Option<&str>, body: &str) -> Event {
    let provider = built_in("github").expect("built in");
    let secret = Secret::new("a secret").expect("not empty");
    let template = |text: &str| FieldTemplate::parse(text).expect("a template");
    let source = Source {
        conditions: Arc::new(ConditionTemplates::new(TEMPLATES.map(template).to_vec())),
        ..Source::new(name(source), provider.clone(), vec![secret.clone()])
    };
    let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let head = DeliveryHead::of(headers.iter().map(header).collect());
    let (body, now) = (Bytes::copy_from_slice(body.as_bytes()), Timestamp::now());
    let key = SigningKey::Hmac(secret);
    let head = DeliveryHead {
        query: query.map(str::to_owned),
        ..DeliveryHead::of(provider.sign(&key, head, ("", &body), now))
    };
    let inbound = Inbound {
        body,
        content_type: Some("application/json".to_owned()),
        trace: TraceContext::start(false),
    };
    let claim = source.read_signature(&head).expect("well-formed");
    let verified = claim.verify(inbound, now, || i64::MIN);
    Event::read(verified.expect("signed just now"))
}

fn push() -> Event {
    event("a", PUSH, None, REPOSITORY)
}

fn unreadable(headers: &[(&str, &str)]) -> Event {
    let event = event("a", headers, None, "{");
    assert!(matches!(event.content(), Content::Quarantined(_)));
    event
}

/// A route of source `a` to these sinks, or to none.
fn to(numbers: &[usize]) -> Route {
    let sinks = sinks(numbers);
    let route = Route::new(name("a"), sinks);
    let target = match sinks.is_empty() {
        true => RouteTarget::Nowhere,
        false => route.target,
    };
    Route { target, ..route }
}

fn only(names: &[&str], route: Route) -> Route {
    let event_types = Some(types(names));
    Route {
        event_types,
        ..route
    }
}

/// The same where the template gives one of these texts besides.
fn where_(template: &str, texts: &[&str], mut route: Route) -> Route {
    let place = TEMPLATES.iter().position(|it| *it == template);
    route.conditions.push(RouteCondition {
        place: place.expect("one of the templates"),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
    });
    route
}

fn router(routes: &[Route]) -> Router {
    let known = HashMap::from([(name("a"), types(&["push"]))]);
    Router::new(routes.to_vec(), known)
}

/// Where it goes; none where it is dropped.
fn routed(routes: &[Route], event: Event) -> Option<SinkSet> {
    let routed = router(routes).route(event).routed();
    routed.map(|routed| routed.sinks())
}

#[test]
fn all_conditions_and_the_type_must_hold() {
    let all = |texts: [&[&str]; 3]| {
        let route = only(&["push"], to(&[1]));
        let route = where_("{/repository/id}", texts[0], route);
        let route = where_("{header.x-github-event}", texts[1], route);
        [to(&[0]), where_("{query.lab}", texts[2], route)]
    };
    let (both, first) = (Some(sinks(&[0, 1])), Some(sinks(&[0])));
    let right: [&[&str]; 3] = [&["41", "42"], &["push"], &["x y"]];
    let of = |headers, query, body| event("a", headers, query, body);
    let query = Some("lab=x+y");
    assert_eq!(routed(&all(right), of(PUSH, query, REPOSITORY)), both);
    let wrongs: [[&[&str]; 3]; 4] = [
        [&["4", "422", "42.0"], right[1], right[2]],
        [right[0], &["Push"], right[2]],
        [right[0], right[1], &["x", "y", "x+y"]],
        [right[0], right[1], &[]],
    ];
    for wrong in wrongs {
        let found = routed(&all(wrong), of(PUSH, query, REPOSITORY));
        assert_eq!(found, first, "{wrong:?}");
    }
    // The conditions hold, but not the type.
    let event = of(PUSH, query, r#"{"repository":{"id":42},"action":"forced"}"#);
    assert_eq!(routed(&all(right), event), first);
}

#[test]
fn what_is_not_there_equals_nothing() {
    let of = |template, texts: &[&str]| [to(&[0]), where_(template, texts, to(&[1]))];
    let first = Some(sinks(&[0]));
    for (query, body) in [
        (None, REPOSITORY),
        (Some("lab="), REPOSITORY),
        (Some("lab=b&lab=b"), REPOSITORY),
        (
            Some("lab=b"),
            r#"{"repository":{"id":{"n":42}},"sender":{"id":1}}"#,
        ),
        (
            Some("lab=b"),
            r#"{"repository":{"id":null},"sender":{"id":1}}"#,
        ),
    ] {
        let event = event("a", PUSH, query, body);
        let routes = of(
            "{/repository/id}-{query.lab}",
            &["42-b", "42-", "-b", "", "null-b"],
        );
        assert_eq!(routed(&routes, event), first, "{query:?} {body}");
    }
    let whole = event("a", PUSH, Some("lab=b"), REPOSITORY);
    let routes = of("{/repository/id}-{query.lab}", &["42-b"]);
    assert_eq!(routed(&routes, whole), Some(sinks(&[0, 1])));
    let routes = of("{/repository/private}", &["true"]);
    assert_eq!(routed(&routes, push()), Some(sinks(&[0, 1])));
}

#[test]
fn what_no_route_takes_to_a_sink_is_dropped() {
    let routes = [to(&[]), only(&["push"], to(&[2])), only(&["push"], to(&[]))];
    assert_eq!(routed(&routes, push()), Some(sinks(&[2])));
    let Routing::Dropped { event, lane } =
        router(&routes).route(event("a", PING, None, REPOSITORY))
    else {
        panic!("nobody wants it");
    };
    assert_eq!((lane, event_label(&event, lane)), (Lane::Other, "other"));
    let routes = [
        to(&[]),
        where_("{/repository/id}", &["43"], to(&[2])),
        only(&["ping"], to(&[0])),
    ];
    let Routing::Dropped { event, lane } = router(&routes).route(push()) else {
        panic!("it is of another repository");
    };
    assert_eq!((lane, event_label(&event, lane)), (Lane::Typed, "push"));
}

#[test]
fn what_a_condition_drops_does_not_reach_the_route_of_all_the_rest() {
    let dropping = where_("{header.x-github-event}", &["ping"], to(&[]));
    let routes = [to(&[0]), dropping.clone()];
    assert_eq!(routed(&routes, push()), Some(sinks(&[0])));
    assert_eq!(routed(&routes, event("a", PING, None, REPOSITORY)), None);
    // A route that asks for it by a condition of its own gets it, and so does the one of all the rest.
    let asking = where_("{/repository/id}", &["42"], to(&[1]));
    let routes = [to(&[0]), dropping, asking];
    let found = routed(&routes, event("a", PING, None, REPOSITORY));
    assert_eq!(found, Some(sinks(&[0, 1])));
}

#[test]
fn a_quarantined_delivery_is_never_dropped() {
    let conditional = |texts| where_("{header.x-github-event}", texts, to(&[1]));
    let by_body = where_("{/repository/id}", &["42"], to(&[2, 3]));
    let routes = [
        to(&[]),
        conditional(&["push"]),
        by_body,
        only(&["push"], to(&[3])),
    ];
    // One route takes it by its head.
    assert_eq!(routed(&routes, unreadable(PUSH)), Some(sinks(&[1])));
    // None takes it.
    let other = Route::new(name("b"), sinks(&[5]));
    let routes = [&routes[..], &[other]].concat();
    assert_eq!(routed(&routes, unreadable(PING)), Some(sinks(&[1, 2, 3])));
    let dropping = where_("{header.x-github-event}", &["ping"], to(&[]));
    let routes = [&routes[..], &[dropping]].concat();
    assert_eq!(routed(&routes, unreadable(PING)), Some(sinks(&[1, 2, 3])));
    let routes = [&routes[..], &[to(&[0])]].concat();
    assert_eq!(routed(&routes, unreadable(PING)), Some(sinks(&[0])));
}

#[test]
fn a_source_without_a_way_goes_to_every_sink() {
    let other = Route::new(name("b"), sinks(&[1]));
    let routes = [only(&["ping"], to(&[2])), other];
    assert_eq!(routed(&routes, push()), Some(sinks(&[2])));
    let stranger = event("c", PUSH, None, REPOSITORY);
    assert_eq!(routed(&routes, stranger), Some(sinks(&[1, 2])));
}
