//! Files that are not as they must be: named with their key and a remedy, at the start and at a
//! reload, where the old certificate stays.

use std::path::Path;

use super::{DAYS, Files, HERE, asking, encrypted, status};
use crate::eventually::eventually;
use crate::harness::delivery::event;
use crate::harness::{Authority, Post, Tls};

/// A mistake, the key it is named with, and a part of what is said.
struct Mistake {
    make: fn(&Files, &Authority),
    key: &'static str,
    says: &'static str,
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}

fn cut(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let end = text.rfind("-----END").unwrap();
    write(file, &text[..end - 30]);
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        make: |files, _| std::fs::remove_file(&files.certificate).unwrap(),
        key: "certificate_file",
        says: "cannot read",
    },
    Mistake {
        make: |files, _| write(&files.certificate, "\n"),
        key: "certificate_file",
        says: "holds no certificate",
    },
    Mistake {
        make: |files, _| cut(&files.certificate),
        key: "certificate_file",
        says: "is damaged",
    },
    Mistake {
        make: |files, _| {
            let nonsense = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
            write(&files.certificate, nonsense);
        },
        key: "certificate_file",
        says: "cannot be understood",
    },
    Mistake {
        make: |files, _| std::fs::remove_file(&files.key).unwrap(),
        key: "key_file",
        says: "cannot read",
    },
    Mistake {
        make: |files, _| write(&files.key, ""),
        key: "key_file",
        says: "holds no private key",
    },
    Mistake {
        make: |files, _| {
            let nonsense = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
            write(&files.key, nonsense);
        },
        key: "key_file",
        says: "RSA (2048 to 8192 bits)",
    },
    Mistake {
        make: |files, authority| {
            let locked = authority.encrypted(&files.key);
            std::fs::copy(locked, &files.key).unwrap();
        },
        key: "key_file",
        says: "openssl pkey",
    },
    Mistake {
        make: |files, authority| {
            std::fs::copy(authority.vouches(HERE, DAYS), &files.key).unwrap();
        },
        key: "key_file",
        says: "does not belong to the first certificate",
    },
    Mistake {
        make: |files, _| write(&files.clients, "nothing"),
        key: "client_ca_file",
        says: "holds no certificate",
    },
    Mistake {
        make: |files, _| {
            let text = std::fs::read_to_string(&files.clients).unwrap();
            write(
                &files.clients,
                &format!("{text}-----BEGIN CERTIFICATE-----\n"),
            );
        },
        key: "client_ca_file",
        says: "is damaged",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn at_the_start_each_mistake_is_named_with_its_file_and_a_remedy() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let pair = authority.vouches(HERE, DAYS);
    for Mistake { make, key, says } in MISTAKES {
        let (setup, files) = asking(&pair, &clients, "");
        make(&files, &authority);
        let (code, said) = setup.fails().await;
        assert_eq!(code, Some(2), "{says}: {said}");
        let path = format!("ingress.tls.{key}: ");
        let line = said.lines().find(|line| line.starts_with(&path));
        let line = line.unwrap_or_else(|| panic!("{path} is not named in:\n{said}"));
        let folder = setup.path("").display().to_string();
        assert!(line.contains(says) && line.contains("; "), "{says}: {line}");
        assert!(line.contains(&folder), "{line}");
        let named = said.lines().filter(|line| line.starts_with("ingress."));
        assert_eq!(named.count(), 1, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_reload_each_mistake_keeps_the_old_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let pair = authority.vouches(HERE, DAYS);
    let (setup, files) = asking(&pair, &clients, "");
    let bridge = setup.start().await;
    let identity = clients.vouches("DNS:sender.test", DAYS);
    let tls = Tls::showing(&authority.certificate(), &identity);
    for Mistake { make, key, says } in MISTAKES {
        make(&files, &authority);
        bridge.signal("HUP");
        bridge
            .shows("config_last_reload_successful", &[], 0.0)
            .await;
        assert_eq!(status(&setup, &tls, &bridge).await, Some(200), "{says}");
        let path = format!("ingress.tls.{key}: ");
        let parts = ["the old one stays", &path, says];
        eventually(&format!("{path}{says} is said"), async || {
            let log = bridge.log();
            let mut lines = log.lines();
            let found = lines.any(|line| parts.iter().all(|part| line.contains(part)));
            found.then_some(())
        })
        .await;
        files.renew(&pair);
        std::fs::copy(clients.certificate(), &files.clients).unwrap();
        bridge.signal("HUP");
        bridge
            .shows("config_last_reload_successful", &[], 1.0)
            .await;
    }
    assert!(!bridge.log().contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_certificates_needs_an_authority() {
    let authority = Authority::new();
    let pair = authority.vouches(HERE, DAYS);
    let (setup, _) = encrypted(&pair, "client_certificates = \"optional\"\n");
    let (code, said) = setup.fails().await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("\ningress.tls.client_certificates: ") && said.contains("client_ca_file"),
        "{said}"
    );
}

/// What is held must be delivered, so the bridge runs, and says all it can.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_no_reason_not_to_start() {
    let authority = Authority::new();
    let expired = authority.vouches(HERE, -1);
    let (setup, files) = encrypted(&expired, "");
    let bridge = setup.start().await;
    let error = bridge.said("has expired on").expect("it is said");
    let message = error["message"].as_str().unwrap();
    assert_eq!(error["level"], "ERROR");
    assert!(message.starts_with("ingress.tls.certificate_file: "));
    assert!(message.contains(&files.certificate.display().to_string()));
    assert!(message.contains("SIGHUP"), "{message}");
    let labels = [("component", "ingress"), ("file", "certificate_file")];
    let name = "tls_certificate_expiry_timestamp_seconds";
    let end = authority.expiry_of(&expired);
    bridge.shows(name, &labels, end).await;
    // A sender that looks at dates does not take it; a renewed one it does, without a restart.
    let tls = Tls::trusting(&authority.certificate());
    assert_eq!(status(&setup, &tls, &bridge).await, None);
    files.renew(&authority.vouches(HERE, DAYS));
    bridge.signal("HUP");
    eventually("the renewed one counts", async || {
        (status(&setup, &tls, &bridge).await == Some(200)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused_at_a_reload() {
    let authority = Authority::new();
    let good = authority.vouches(HERE, DAYS);
    let (setup, files) = encrypted(&good, "");
    let bridge = setup.start().await;
    files.renew(&authority.vouches(HERE, -1));
    bridge.signal("HUP");
    bridge
        .shows("config_last_reload_successful", &[], 0.0)
        .await;
    let line = eventually("it is said", async || {
        let log = bridge.log();
        let line = log.lines().find(|line| line.contains("has expired on"));
        line.map(str::to_owned)
    })
    .await;
    assert!(line.contains("the old one stays"), "{line}");
    assert!(line.contains(&files.certificate.display().to_string()));
    let tls = Tls::trusting(&authority.certificate());
    assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
    let labels = [("component", "ingress"), ("file", "certificate_file")];
    let name = "tls_certificate_expiry_timestamp_seconds";
    bridge
        .shows(name, &labels, authority.expiry_of(&good))
        .await;
}

/// A table that was lost by mistake must not open the listener to plain HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_turned_on_and_off_only_with_a_restart() {
    let authority = Authority::new();
    let (setup, _) = encrypted(&authority.vouches(HERE, DAYS), "");
    let bridge = setup.start().await;
    let plain = setup.text().replace("[ingress.tls]", "");
    let plain: Vec<&str> = plain
        .lines()
        .filter(|line| !line.starts_with("certificate_file") && !line.starts_with("key_file"))
        .collect();
    std::fs::write(setup.path("hookferry.toml"), plain.join("\n")).unwrap();
    bridge.signal("HUP");
    bridge.shows("config_restart_required", &[], 1.0).await;
    let warning = eventually("it is said", async || bridge.said("need a restart")).await;
    assert_eq!(warning["keys"], "ingress.tls");
    let tls = Tls::trusting(&authority.certificate());
    assert_eq!(status(&setup, &tls, &bridge).await, Some(200));
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    assert!(
        post.to(bridge.ingress).await.is_err(),
        "plain HTTP stays out"
    );
}
