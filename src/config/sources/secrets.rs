//! What a source's deliveries and handshakes are proven with.

use super::super::problem::ConfigProblems;
use super::super::section::join;
use super::super::value::{SecretReference, SecretReferenceError};
use crate::source::{
    HandshakeCondition, KeyForm, MAX_SECRETS, Provider, Scheme, Secret, SecretError, SecretForm,
};

/// Reads the key `secrets` of the source at `path`.
pub(super) fn read(
    path: &str,
    references: Option<&[SecretReference]>,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> Vec<Secret> {
    let path = join(path, "secrets");
    let references = references.unwrap_or_default();
    if !(1..=MAX_SECRETS).contains(&references.len()) {
        // A mistake inside the list has been noted already, and took the list with it.
        if !problems
            .iter()
            .any(|problem| problem.path.starts_with(&path))
        {
            let found = format!("there are {} secrets", references.len());
            problems.add(
                path,
                found,
                format!("name 1 to {MAX_SECRETS}, each as {{ file = \"…\" }} or {{ env = \"…\" }}"),
            );
        }
        return Vec::new();
    }
    let form = provider.map_or_else(any_form, |provider| provider.signature.secret.clone());
    let remedy = |error: &SecretReferenceError| remedy(error, provider);
    let read = |(index, reference): (usize, &SecretReference)| {
        let at = format!("{path}[{index}]");
        reference.take_key(&form, &at, &remedy, problems)
    };
    references.iter().enumerate().filter_map(read).collect()
}

/// Of a provider that is not known, a secret is any text.
fn any_form() -> SecretForm {
    SecretForm {
        key: KeyForm::Pem,
        ..SecretForm::default()
    }
}

fn remedy(error: &SecretReferenceError, provider: Option<&Provider>) -> String {
    use SecretError::{NotBase64, NotHex, NotPublicKey, PrivateKey};
    let written = provider.map(written);
    match (error, written) {
        (SecretReferenceError::EncodedPrefix(_), Some(written)) => {
            format!("take `encoding` out: {written}")
        }
        (SecretReferenceError::Secret(NotBase64 | NotHex | NotPublicKey), Some(written)) => {
            format!("{written}: copy it as it is shown there, and leave `encoding` out")
        }
        (SecretReferenceError::Secret(PrivateKey), Some(written)) => {
            format!("give the public key that belongs to it: {written}")
        }
        _ => {
            let plain = "put the webhook's secret there, alone and readable for this user";
            error.remedy().unwrap_or(plain).to_owned()
        }
    }
}

/// How the provider writes its secrets.
fn written(provider: &Provider) -> String {
    let form = &provider.signature.secret;
    let what = match form.scheme {
        Scheme::Ed25519 => "public key (Ed25519)",
        Scheme::EcdsaP256 => "public key (ECDSA over P-256)",
        Scheme::Token | Scheme::Url => "token",
        Scheme::Hmac(_) => "secret",
    };
    let how = match form.key {
        KeyForm::Text => "the text itself, as it stands",
        KeyForm::Base64 => "base64",
        KeyForm::Hex => "hex",
        KeyForm::Pem => "PEM, from -----BEGIN PUBLIC KEY----- on",
    };
    let prefix = match form.prefix.as_str() {
        "" => String::new(),
        prefix => format!(", after `{prefix}` where that stands before it"),
    };
    format!("the {what} of `{}` is {how}{prefix}", provider.name)
}

/// Reads the key `verify` of the source at `path`, which a handshake of its provider may ask for.
pub(super) fn verify(
    path: &str,
    reference: Option<&SecretReference>,
    provider: Option<&Provider>,
    problems: &mut ConfigProblems,
) -> Option<Secret> {
    let key = join(path, "verify");
    if let Some(provider) = provider {
        match (asks(provider), reference) {
            (true, None) => problems.warn(
                &key,
                format!("the key is missing, so the handshake of `{}` will be refused", provider.name),
                "name the secret that the sender shows in it, as { file = \"…\" } or { env = \"…\" }",
            ),
            (false, Some(_)) => problems.add(
                &key,
                format!("no handshake of `{}` asks for it", provider.name),
                "take the key out; what deliveries are proven with stands in `secrets`",
            ),
            _ => {}
        }
    }
    let form = SecretForm {
        scheme: Scheme::Token,
        ..SecretForm::default()
    };
    let remedy = |error: &SecretReferenceError| {
        let plain = "put the handshake's secret there, alone and readable for this user";
        error.remedy().unwrap_or(plain).to_owned()
    };
    reference?.take_key(&form, &key, &remedy, problems)
}

fn asks(provider: &Provider) -> bool {
    let mut conditions = provider
        .handshakes
        .iter()
        .flat_map(|handshake| &handshake.when);
    conditions.any(|(_, condition)| *condition == HandshakeCondition::VerifySecret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Encoding, built_in};

    /// What is said of a secret of this provider that lies in a file, and what is doubted.
    fn said(provider: &str, text: &str, encoding: Option<Encoding>) -> String {
        let provider = built_in(provider).expect("built in");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, text).expect("written");
        let reference = SecretReference {
            file: Some(file),
            encoding,
            ..SecretReference::default()
        };
        let mut problems = ConfigProblems::default();
        let secrets = read(
            "source.a",
            Some(&[reference]),
            Some(&provider),
            &mut problems,
        );
        assert_eq!(secrets.is_empty(), !problems.is_empty());
        problems.to_string()
    }

    /// An Ed25519 key in the form of RFC 8410, of the bytes 0 to 31.
    const ED25519_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_secret_in_the_form_of_its_provider_is_taken() {
        let base64 = "c2VjcmV0IGtleSBvZiAyNCBieXRl";
        for (provider, text) in [
            ("stripe", "whsec_any text at all"),
            ("svix", &*format!("whsec_{base64}\n")),
            ("svix", base64),
            ("gitlab_token", "glpat-1"),
        ] {
            assert_eq!(said(provider, text, None), "", "{provider}");
        }
        assert_eq!(said("svix", base64, Some(Encoding::Base64)), "");
        assert_eq!(said("onecodex", base64, Some(Encoding::Base64)), "");
    }

    /// A provider, what lies there, its `encoding`, and parts of what is said.
    const OTHER_FORMS: &[(&str, &str, Option<Encoding>, [&str; 2])] = &[
        (
            "svix",
            "hush! hush!",
            None,
            ["no base64", "base64, after `whsec_`"],
        ),
        (
            "svix",
            "whsec_c2VjcmV0",
            Some(Encoding::Base64),
            ["begins with", "take `encoding` out"],
        ),
        (
            "stripe",
            "whsec_c2VjcmV0",
            Some(Encoding::Base64),
            ["begins with", "the text itself"],
        ),
        (
            "github",
            "It's a secret",
            Some(Encoding::Base64),
            ["no base64", "the text itself"],
        ),
        (
            "github",
            "hush",
            Some(Encoding::Hex),
            ["no hex", "the text itself"],
        ),
        (
            "discord",
            "hush",
            None,
            ["no hex", "public key (Ed25519) of `discord` is hex"],
        ),
        ("discord", "00ff", None, ["no public key", "is hex"]),
        ("sendgrid", "aHVzaA==", None, ["no public key", "is base64"]),
        (
            "benchling",
            "aHVzaA==",
            None,
            ["no public key", "PEM, from -----BEGIN PUBLIC KEY-----"],
        ),
        (
            "benchling",
            "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n",
            None,
            ["no public key", "PEM"],
        ),
        (
            "benchling",
            ED25519_PRIVATE,
            None,
            ["private key", "give the public key"],
        ),
        (
            "standard_webhooks_ed25519",
            "whsk_AAAA",
            None,
            ["private key", "after `whpk_`"],
        ),
    ];

    #[test]
    fn a_secret_in_another_form_is_named_with_how_the_provider_writes_it() {
        for &(provider, text, encoding, parts) in OTHER_FORMS {
            let said = said(provider, text, encoding);
            assert!(
                said.starts_with("source.a.secrets[0]: "),
                "{provider}: {said}"
            );
            assert_eq!(said.lines().count(), 1, "{said}");
            for part in parts {
                assert!(said.contains(part), "{provider}: {part} is not in {said}");
            }
            assert!(!said.contains("hush") && !said.contains("c2Vj"), "{said}");
        }
    }

    #[test]
    fn a_secret_in_the_url_is_doubted_where_a_url_encodes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let doubts = |provider: &str, text: &str| {
            let provider = built_in(provider).expect("built in");
            let file = folder.path().join("secret");
            std::fs::write(&file, text).expect("written");
            let reference = SecretReference {
                file: Some(file),
                ..SecretReference::default()
            };
            let mut problems = ConfigProblems::default();
            read(
                "source.a",
                Some(&[reference]),
                Some(&provider),
                &mut problems,
            );
            assert!(problems.is_empty(), "{problems}");
            let doubts = problems.into_warnings();
            doubts.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(doubts("docker_hub", "a-Long_secret.of~letters\n"), [""; 0]);
        for text in [
            "a secret of words here",
            "a/secret/with/slashes",
            "a%2Fsecret+there",
        ] {
            let found = doubts("docker_hub", text);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("source.a.secrets[0]: "), "{found:?}");
            assert!(
                found[0].contains("%XX") && !found[0].contains(text),
                "{found:?}"
            );
            assert_eq!(doubts("gitlab_token", text), [""; 0]);
        }
    }

    #[test]
    fn of_an_unknown_provider_any_text_is_a_secret() {
        let reference = SecretReference {
            env: Some("PATH".to_owned()),
            ..SecretReference::default()
        };
        let mut problems = ConfigProblems::default();
        let secrets = read("source.a", Some(&[reference]), None, &mut problems);
        assert_eq!((secrets.len(), problems.to_string()), (1, String::new()));
    }

    #[test]
    fn what_a_handshake_asks_for_is_taken_and_else_refused() {
        let reference = SecretReference {
            env: Some("PATH".to_owned()),
            ..SecretReference::default()
        };
        let verify = |provider: &str, reference: Option<&SecretReference>| {
            let provider = built_in(provider).expect("built in");
            let mut problems = ConfigProblems::default();
            let secret = verify("source.a", reference, Some(&provider), &mut problems);
            let wrong = problems.to_string();
            let doubts = problems.into_warnings();
            let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
            (secret, wrong, doubts.join("\n"))
        };
        let (secret, wrong, doubts) = verify("meta", Some(&reference));
        assert_eq!((wrong, doubts), (String::new(), String::new()));
        let path = std::env::var("PATH").expect("it is set");
        assert!(secret.expect("taken").matches(&[], &[path.into_bytes()]));
        let (_, wrong, doubts) = verify("meta", None);
        assert_eq!(wrong, "");
        assert!(
            doubts.contains("source.a.verify: the key is missing"),
            "{doubts}"
        );
        let (_, wrong, _) = verify("slack", Some(&reference));
        assert!(
            wrong.contains("no handshake of `slack` asks for it"),
            "{wrong}"
        );
        assert_eq!(verify("slack", None).2, "");
    }
}
