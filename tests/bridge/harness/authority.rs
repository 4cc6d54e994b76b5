//! A certificate authority of a test's own, and the servers and clients it vouches for: made with
//! openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// An authority; its files go when it is dropped.
pub struct Authority(TempDir);

impl Authority {
    /// A new one, that nobody knows yet.
    pub fn new() -> Self {
        let authority = Self(TempDir::new().expect("a temporary folder"));
        // A name of its own: two authorities of one name differ in their signatures only, and the
        // unknown one would be told as a forgery of the other.
        let name = super::unique("authority");
        authority.openssl(&format!("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout authority.key -out authority.pem"));
        authority
    }

    /// One that this one vouches for, and that vouches for others in turn.
    pub fn vouches_for_authority(&self) -> Self {
        let below = Self(TempDir::new().expect("a temporary folder"));
        std::fs::write(
            self.file("extensions"),
            "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n",
        )
        .expect("writable");
        let folder = below.0.path().display().to_string();
        below.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=between -keyout authority.key -out authority.csr");
        self.openssl(&format!("x509 -req -in {folder}/authority.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile extensions -out {folder}/authority.pem"));
        below
    }

    /// Its certificate, to be trusted.
    pub fn certificate(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// When its own certificate ends.
    pub fn expiry(&self) -> f64 {
        self.expiry_of(&self.certificate())
    }

    /// When the first certificate of a file ends, in seconds since 1970, by somebody else's
    /// reckoning.
    pub fn expiry_of(&self, pem: &Path) -> f64 {
        let end = self.openssl(&format!("x509 -in {} -noout -enddate", pem.display()));
        let end = end.trim().strip_prefix("notAfter=").expect("a date");
        let output = Command::new("date").args(["+%s", "--date", end]).output();
        let seconds = String::from_utf8(output.expect("date is there").stdout).expect("digits");
        seconds.trim().parse().expect("a number")
    }

    /// A key and a certificate in one PEM file, for a server at `address` (such as `IP:127.0.0.1` or
    /// `DNS:localhost`), that counts from now on for so many days: for less than none, it has
    /// expired.
    pub fn vouches(&self, address: &str, days: i32) -> PathBuf {
        self.signs("server", &format!("subjectAltName={address}\n"), days)
    }

    /// The same for a client of this common name.
    pub fn vouches_for(&self, client: &str, days: i32) -> PathBuf {
        self.signs(client, "extendedKeyUsage=clientAuth\n", days)
    }

    fn signs(&self, subject: &str, extensions: &str, days: i32) -> PathBuf {
        let name = super::unique("certificate");
        std::fs::write(self.file("extensions"), extensions).expect("writable");
        self.openssl(&format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={subject} -keyout {name}.key -out {name}.csr"));
        self.openssl(&format!("x509 -req -in {name}.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days {days} -extfile extensions -out {name}.crt"));
        let both = self.file(&format!("{name}.pem"));
        let parts = ["key", "crt"].map(|part| self.text(&format!("{name}.{part}")));
        std::fs::write(&both, parts.concat()).expect("writable");
        both
    }

    /// The key in this file, locked with a passphrase.
    pub fn encrypted(&self, key: &Path) -> PathBuf {
        let locked = self.file("encrypted.key");
        let (key, out) = (key.display(), locked.display());
        self.openssl(&format!(
            "pkcs8 -topk8 -in {key} -out {out} -passout pass:secret"
        ));
        locked
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).expect("openssl has written it")
    }

    fn openssl(&self, arguments: &str) -> String {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir::<&Path>(self.0.path())
            .output()
            .expect("openssl starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }
}
