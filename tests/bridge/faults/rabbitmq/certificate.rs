//! The broker shows a certificate that does not hold.

use std::path::Path;
use std::process::Command;

use super::Scene;
use crate::harness::{Copies, Node, Outlet, Report, Setup};

const DAYS: i32 = 30;

/// A certificate authority of the test's own, in a folder.
struct Authority<'a>(&'a Path);

impl<'a> Authority<'a> {
    fn new(folder: &'a Path) -> Self {
        std::fs::create_dir(folder).expect("writable");
        let days = DAYS.to_string();
        let subject = format!("/CN={}", folder.file_name().expect("named").display());
        openssl(
            folder,
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &subject,
                "-keyout",
                "ca.key",
                "-out",
                "ca.pem",
                "-days",
                &days,
            ],
        );
        Self(folder)
    }

    /// Its own certificate, as PEM.
    fn pem(&self) -> String {
        std::fs::read_to_string(self.0.join("ca.pem")).expect("made")
    }

    /// When its own certificate ends, in seconds since 1970, by somebody else's reckoning.
    fn expiry(&self) -> f64 {
        let end = openssl(self.0, &["x509", "-in", "ca.pem", "-noout", "-enddate"]);
        let end = end.trim().strip_prefix("notAfter=").expect("a date");
        let output = Command::new("date").args(["+%s", "--date", end]).output();
        let seconds = String::from_utf8(output.expect("date is there").stdout).expect("digits");
        seconds.trim().parse().expect("a number")
    }

    /// Puts a certificate for the broker into its folder, and the key to it.
    fn certify(&self, broker: &Path, name: &str, days: i32) {
        let text = format!("subjectAltName = DNS:{name}\n");
        std::fs::write(self.0.join("names"), text).expect("writable");
        openssl(
            self.0,
            &[
                "req",
                "-new",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=broker",
                "-keyout",
                "broker.key",
                "-out",
                "request.pem",
            ],
        );
        openssl(
            self.0,
            &[
                "x509",
                "-req",
                "-in",
                "request.pem",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-extfile",
                "names",
                "-out",
                "broker.pem",
                "-days",
                &days.to_string(),
            ],
        );
        for file in ["ca.pem", "broker.key", "broker.pem"] {
            std::fs::copy(self.0.join(file), broker.join(file)).expect("writable");
        }
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The broker takes the certificate in its folder for every connection from now on.
fn renewed(node: &Node) {
    node.ctl(&["eval", "ssl:clear_pem_cache()."]);
    node.ctl(&["close_all_connections", "the certificate is replaced"]);
}

/// Refused while it does not hold, with the reason in the log; taken when it holds again. Nobody
/// touches the bridge in between. Only a new authority needs an operator: its certificate has to be
/// put into `ca_file`, and the bridge started again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_30_a_certificate_that_does_not_hold_is_refused() {
    let mut setup = Setup::rabbitmq("").and_store();
    let (ours, other) = (setup.path("ours"), setup.path("other"));
    let (ours, other) = (Authority::new(&ours), Authority::new(&other));
    let node = Node::rabbitmq_with_tls(|broker| ours.certify(broker, "localhost", DAYS)).await;
    let broker = node.folder().join("tls");
    let trusted = setup.path("trusted.pem");
    std::fs::write(&trusted, ours.pem()).expect("writable");
    let keys = &mut setup.sinks[0].1;
    *keys = keys.replace("url = \"\"", &format!("url = \"{}\"", node.tls_url()));
    keys.push_str(&format!("ca_file = {trusted:?}\n"));
    let outlet = Outlet::durable(&node.url(), &setup).await;
    let mut scene = Scene::begin(setup, outlet).await;
    let expiry = [("sink", "rabbitmq"), ("file", "ca_file")];
    let shown = scene
        .bridge
        .metrics()
        .await
        .sum("tls_certificate_expiry_timestamp_seconds", &expiry);
    assert!((shown - ours.expiry()).abs() < 0.5, "{shown}");
    for (authority, name, days, reason) in [
        (&ours, "localhost", -1, "xpired"),
        (&ours, "elsewhere.test", DAYS, "not valid for name"),
        (&other, "localhost", DAYS, "UnknownIssuer"),
    ] {
        authority.certify(&broker, name, days);
        renewed(&node);
        scene.fails_at("tls").await;
        scene.says(reason).await;
        scene.shows("sink_connected", 0.0).await;
        scene.goes_on(100).await;
        ours.certify(&broker, "localhost", DAYS);
        renewed(&node);
        scene.is_well().await;
    }
    other.certify(&broker, "localhost", DAYS);
    renewed(&node);
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(100).await;
    std::fs::write(&trusted, ours.pem() + &other.pem()).expect("writable");
    scene.bridge.signal("TERM");
    scene.bridge.ended().await;
    scene.restarts().await;
    let recovered = scene.recovers().await;
    let (_, verdict) = scene.ends(Copies::InDoubt).await;
    Report::row(30)
        .sink("rabbitmq")
        .did("the broker's certificate has expired, is for another name, is from an unknown authority; then a new authority")
        .recovered_in(recovered)
        .write(&verdict);
}
