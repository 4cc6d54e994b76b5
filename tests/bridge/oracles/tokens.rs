//! Providers that sign nothing: a token in a header, a secret in the URL. They are compared, and nothing
//! of the request is proven by it.

use hookferry::source::DeliveryHead;

use super::ours::Ours;
use super::rows::NOW;
use crate::harness::Question;

/// All of them.
pub const PROVIDERS: &[&str] = &[
    "cloudevents",
    "docker_hub",
    "gitlab_token",
    "ms_graph",
    "nextflow",
    "okta",
    "redcap",
    "scinote",
];

const TOKEN: &str = "a-token-of-32-characters-and-more";

fn verdict(ours: &Ours, head: &DeliveryHead) -> Result<(), String> {
    ours.verify_head(&Question::new("", TOKEN, b"{}", NOW), head)
}

fn refused(reason: &str) -> Result<(), String> {
    Err(reason.to_owned())
}

/// What could be taken for the token and is none.
fn wrong_tokens() -> [String; 4] {
    let shorter = &TOKEN[..TOKEN.len() - 1];
    [
        shorter.to_owned(),
        format!("{TOKEN}x"),
        TOKEN.to_uppercase(),
        format!("{TOKEN},{TOKEN}"),
    ]
}

#[test]
fn a_token_is_the_whole_value_of_its_header() {
    for (provider, header, prefix) in [
        ("cloudevents", "authorization", "Bearer "),
        ("gitlab_token", "x-gitlab-token", ""),
        ("okta", "authorization", ""),
        ("scinote", "webhook-secret-key", ""),
    ] {
        let ours = Ours::named(provider);
        let head = |value: String| DeliveryHead::of(vec![(header.to_owned(), value)]);
        let right = head(format!("{prefix}{TOKEN}"));
        assert_eq!(verdict(&ours, &right), Ok(()), "{provider}");
        for wrong in wrong_tokens() {
            let found = verdict(&ours, &head(format!("{prefix}{wrong}")));
            assert_eq!(found, refused("signature_mismatch"), "{provider}: {wrong}");
        }
        let none = verdict(&ours, &DeliveryHead::default());
        assert_eq!(none, refused("signature_missing"), "{provider}");
        let empty = verdict(&ours, &head(prefix.to_owned()));
        assert_eq!(empty, refused("signature_malformed"), "{provider}");
        let mut twice = right.clone();
        twice.headers.extend(right.headers.clone());
        let found = verdict(&ours, &twice);
        assert_eq!(found, refused("signature_repeated"), "{provider}");
        let in_path = DeliveryHead {
            path_secret: Some(TOKEN.to_owned()),
            ..DeliveryHead::default()
        };
        let found = verdict(&ours, &in_path);
        assert_eq!(found, refused("signature_missing"), "{provider}");
    }
    let basic = vec![("authorization".to_owned(), format!("Basic {TOKEN}"))];
    let found = verdict(&Ours::named("cloudevents"), &DeliveryHead::of(basic));
    assert_eq!(found, refused("signature_malformed"));
}

#[test]
fn a_secret_in_the_url_is_the_whole_segment() {
    for provider in ["docker_hub", "ms_graph", "nextflow", "redcap"] {
        let ours = Ours::named(provider);
        let head = |secret: &str| DeliveryHead {
            path_secret: Some(secret.to_owned()),
            ..DeliveryHead::default()
        };
        assert_eq!(verdict(&ours, &head(TOKEN)), Ok(()), "{provider}");
        for wrong in wrong_tokens() {
            let found = verdict(&ours, &head(&wrong));
            assert_eq!(found, refused("signature_mismatch"), "{provider}: {wrong}");
        }
        let in_query = DeliveryHead {
            query: Some(format!("secret={TOKEN}")),
            ..DeliveryHead::default()
        };
        let found = verdict(&ours, &in_query);
        assert_eq!(found, refused("signature_missing"), "{provider}");
    }
}
