//! A certificate authority of a test's own, made with openssl.

use std::path::Path;
use std::process::Command;

/// A certificate authority of the test's own, in a folder.
pub struct Authority<'a>(&'a Path);

impl<'a> Authority<'a> {
    pub fn new(folder: &'a Path) -> Self {
        std::fs::create_dir(folder).expect("writable");
        let days = "30";
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
                days,
            ],
        );
        Self(folder)
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        std::fs::read_to_string(self.0.join("ca.pem")).expect("made")
    }

    /// When its own certificate ends, in seconds since 1970, by somebody else's reckoning.
    pub fn expiry(&self) -> f64 {
        let end = openssl(self.0, &["x509", "-in", "ca.pem", "-noout", "-enddate"]);
        let end = end.trim().strip_prefix("notAfter=").expect("a date");
        let output = Command::new("date").args(["+%s", "--date", end]).output();
        let seconds = String::from_utf8(output.expect("date is there").stdout).expect("digits");
        seconds.trim().parse().expect("a number")
    }

    /// Puts a certificate for a broker with this name, such as `DNS:localhost`, into its folder, and
    /// the key to it, also both in one file as Kafka wants them. For less than no days, it has
    /// expired.
    pub fn certify(&self, broker: &Path, name: &str, days: i32) {
        let text = format!("subjectAltName = {name}\n");
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
        let parts = ["broker.key", "broker.pem"]
            .map(|file| std::fs::read(broker.join(file)).expect("made"));
        std::fs::write(broker.join("keystore.pem"), parts.concat()).expect("writable");
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
