//! The commands and a listener that speaks TLS: what a check says of its certificate, and a delivery
//! that an operator sends to it.

use std::path::Path;

use super::{Said, Setup, hookferry, run};
use crate::harness::Authority;

const HERE: &str = "IP:127.0.0.1";

/// A bridge with a store and this certificate, whose key is in the same file.
fn encrypted(pair: &Path, more: &str) -> Setup {
    let setup = Setup::with_store();
    let config = setup.path("hookferry.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let keys =
        format!("ingress.tls.certificate_file = {pair:?}\ningress.tls.key_file = {pair:?}\n");
    std::fs::write(&config, format!("{keys}{more}{text}")).unwrap();
    setup
}

#[test]
fn check_tells_when_the_certificate_expires() {
    let authority = Authority::new();
    for (days, code, signs) in [
        (400, 0, ["✓", "until 20"]),
        (2, 0, ["!", "renew it"]),
        (-1, 1, ["✗", "no sender takes it"]),
    ] {
        let pair = authority.vouches(HERE, days);
        let setup = encrypted(&pair, "");
        let said = run(&["check", "--config", &setup.config()]).with_code(code);
        assert!(said.out.contains("https://127.0.0.1:0"), "{}", said.out);
        let (_, about) = said
            .out
            .split_once("certificates of the public listener")
            .unwrap();
        for text in signs.into_iter().chain([pair.to_str().unwrap()]) {
            assert!(about.contains(text), "{text} is not in:\n{about}");
        }
    }
}

/// Those who know only the root cannot tell that the certificate counts.
#[test]
fn check_warns_of_a_chain_that_lacks_its_issuer() {
    let root = Authority::new();
    let between = root.vouches_for_authority();
    let pair = between.vouches(HERE, 400);
    let issuer = std::fs::read_to_string(between.certificate()).unwrap();
    let whole = between.certificate().with_file_name("whole.pem");
    let own = std::fs::read_to_string(&pair).unwrap();
    std::fs::write(&whole, format!("{own}{issuer}")).unwrap();
    let warns = |chain: &Path| {
        let setup = encrypted(chain, "");
        let said = run(&["check", "--config", &setup.config()]).with_code(0);
        said.out
            .contains("does not hold the certificate of CN=between")
    };
    assert!(warns(&pair) && !warns(&whole));
}

#[test]
fn an_operator_can_send_to_a_listener_that_asks_for_certificates() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let ca = clients.certificate();
    let asks = format!("ingress.tls.client_ca_file = {ca:?}\n");
    let setup = encrypted(&authority.vouches(HERE, 2), &asks);
    let said = run(&["check", "--config", &setup.config()]).with_code(0);
    assert!(
        said.out
            .contains("client_ca_file: the last of its authorities expires on"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("client certificates required"),
        "{}",
        said.out
    );
    let served = setup.serve();
    let url = served.webhook.replace("http://", "https://");
    let secret = setup.secret();
    let send = |more: &[&Path]| -> Said {
        let mut arguments = vec!["send", "--url", &url, "--secret-file", &secret];
        arguments.extend(more.iter().map(|part| part.to_str().unwrap()));
        run(&arguments)
    };
    let [by_ca, by_certificate, by_key] =
        ["--ca-file", "--certificate-file", "--key-file"].map(Path::new);
    let ca = authority.certificate();
    let pair = clients.vouches("DNS:sender.test", 2);
    let said = send(&[by_ca, &ca, by_certificate, &pair, by_key, &pair]).with_code(0);
    assert!(said.out.starts_with("200 accepted "), "{}", said.out);
    // Without its own certificate, and without trust in the bridge's.
    send(&[by_ca, &ca]).with_code(1);
    let said = send(&[by_certificate, &pair, by_key, &pair]).with_code(1);
    assert!(said.err.contains("nknown"), "{}", said.err);
    for wrong in [
        &[by_ca, Path::new("/no/such/file")][..],
        &[by_ca, Path::new(&secret)],
        &[by_ca, &ca, by_certificate, &pair],
        &[by_ca, &ca, by_certificate, &pair, by_key, &ca],
    ] {
        let said = send(wrong).with_code(2);
        assert!(said.err.contains("--"), "{}", said.err);
    }
}

/// An operator who has put a private authority into the system's store names no file.
#[test]
fn without_a_file_the_systems_authorities_are_trusted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let setup = encrypted(&authority.vouches(HERE, 2), "");
    let served = setup.serve();
    let url = served.webhook.replace("http://", "https://");
    let secret = setup.secret();
    let send = |store: &Path| {
        let mut command = hookferry(&["send", "--url", &url, "--secret-file", &secret]);
        Said::of(command.env("SSL_CERT_FILE", store).output().unwrap())
    };
    let said = send(&authority.certificate()).with_code(0);
    assert!(said.out.starts_with("200 accepted "), "{}", said.out);
    let said = send(&other.certificate()).with_code(1);
    assert!(said.err.contains("UnknownIssuer"), "{}", said.err);
}
