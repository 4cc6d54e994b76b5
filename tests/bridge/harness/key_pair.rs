//! Key pairs of senders that sign with a private key, made by OpenSSL.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// A key pair.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// What the sender signs with: PKCS #8 in PEM.
    pub private_pem: String,
    /// What its receivers have: a `SubjectPublicKeyInfo` in PEM.
    pub public_pem: String,
    public_der: Vec<u8>,
}

impl KeyPair {
    /// Over P-256, for ECDSA.
    pub fn p256() -> Self {
        Self::make(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    /// For Ed25519.
    pub fn ed25519() -> Self {
        Self::make(&["-algorithm", "ED25519"])
    }

    fn make(arguments: &[&str]) -> Self {
        let private_pem = text(openssl(&[&["genpkey"], arguments].concat(), ""));
        let public = ["pkey", "-pubout", "-outform"];
        let public_pem = text(openssl(&[&public[..], &["PEM"]].concat(), &private_pem));
        let public_der = openssl(&[&public[..], &["DER"]].concat(), &private_pem);
        Self {
            private_pem,
            public_pem,
            public_der,
        }
    }

    /// The public key's DER in base64.
    pub fn public_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.public_der)
    }

    /// The 32 bytes of an Ed25519 public key in base64.
    pub fn raw_public_base64(&self) -> String {
        BASE64_STANDARD.encode(self.raw_public())
    }

    /// The 32 bytes of an Ed25519 public key, which stand at the end of its DER.
    pub fn raw_public(&self) -> &[u8] {
        &self.public_der[self.public_der.len() - 32..]
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("PEM is a text")
}

fn openssl(arguments: &[&str], input: &str) -> Vec<u8> {
    let mut program = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is there");
    let mut stdin = program.stdin.take().expect("piped");
    // One that reads nothing may have closed it already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = program.wait_with_output().expect("openssl ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
    output.stdout
}
