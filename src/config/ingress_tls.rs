//! TLS on the public listener: what its files hold, and whether they belong together.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use toml::Table;

use super::certificate;
use super::file::{ClientCertificates, IngressTlsFile};
use super::problem::ConfigProblems;
use super::section;
use crate::ingress::{
    CertificateChain, ClientVerification, KeyPairError, PemError, ServerKey, ServerTls,
};

const PATH: &str = "ingress.tls";
const CERTIFICATE: &str = "certificate_file";
const CLIENT_CA: &str = "client_ca_file";

/// What the public listener is encrypted with.
#[derive(Debug, Clone)]
pub struct IngressTls {
    /// For the listener.
    pub tls: ServerTls,
    /// When its certificate counts.
    pub validity: Validity,
    /// Who vouches for its certificate, where the chain does not hold that.
    pub missing_issuer: Option<String>,
    /// When the last of the senders' authorities expires, where there are any.
    pub clients_until: Option<Timestamp>,
    /// Whether a sender without a certificate is turned away.
    pub client_certificates_required: bool,
}

/// The certificate does not count now, so that no sender would take it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untimely {
    /// It did once.
    #[error(
        "ingress.tls.certificate_file: the certificate in {file} has expired on {until}; put a renewed one there, then reload (SIGHUP)"
    )]
    Expired {
        /// Where it is.
        file: String,
        /// When it did.
        until: Timestamp,
    },
    /// It will one day.
    #[error(
        "ingress.tls.certificate_file: the certificate in {file} counts only from {from} on; set the clock right, or put one there that counts now, then reload (SIGHUP)"
    )]
    Early {
        /// Where it is.
        file: String,
        /// When it will.
        from: Timestamp,
    },
}

/// When a certificate counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Where it is.
    pub file: PathBuf,
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Validity {
    /// Whether senders can take the certificate at this time. One that has expired is no mistake of
    /// the configuration: at the start the bridge must run all the same, and deliver what it holds.
    ///
    /// # Errors
    /// When they cannot.
    pub fn check(&self, now: Timestamp) -> Result<(), Untimely> {
        let file = self.file.display().to_string();
        match (self.from, self.until) {
            (_, until) if now > until => Err(Untimely::Expired { file, until }),
            (from, _) if now < from => Err(Untimely::Early { file, from }),
            _ => Ok(()),
        }
    }
}

impl IngressTls {
    /// The keys that name certificates, and when these expire.
    pub fn expiries(&self) -> impl Iterator<Item = (&'static str, Timestamp)> {
        let clients = self.clients_until.map(|until| (CLIENT_CA, until));
        std::iter::once((CERTIFICATE, self.validity.until)).chain(clients)
    }
}

/// Reads the table, and every file that it names.
pub(super) fn read(table: Table, problems: &mut ConfigProblems) -> Option<IngressTls> {
    let file: IngressTlsFile = section::read(PATH, table, problems);
    let chain = required(CERTIFICATE, file.certificate_file.as_ref(), problems)
        .and_then(|file| chain(file, problems));
    let key = required("key_file", file.key_file.as_ref(), problems).and_then(|file| {
        let parsed = pem("key_file", file, problems)?;
        take("key_file", file, ServerKey::parse(&parsed), problems)
    });
    let clients = clients(&file, problems)?;
    let (chain, validity) = chain?;
    let missing_issuer = certificate::missing_issuer(chain.certificates());
    let (clients, clients_until) = clients.unzip();
    let client_certificates_required = clients
        .as_ref()
        .is_some_and(ClientVerification::are_required);
    let made = ServerTls::new(chain, key?, clients);
    let tls = made
        .map_err(|error| no_pair(&error, &file, problems))
        .ok()?;
    Some(IngressTls {
        tls,
        validity,
        missing_issuer,
        clients_until,
        client_certificates_required,
    })
}

/// The certificate, and when it counts.
fn chain(file: &Path, problems: &mut ConfigProblems) -> Option<(CertificateChain, Validity)> {
    let text = pem(CERTIFICATE, file, problems)?;
    let chain = take(CERTIFICATE, file, CertificateChain::parse(&text), problems)?;
    let Some((from, until)) = certificate::validity(chain.own()) else {
        let found = format!(
            "{}: the first certificate cannot be understood",
            file.display()
        );
        problems.add(key(CERTIFICATE), found, remedy(CERTIFICATE));
        return None;
    };
    let file = file.to_owned();
    Some((chain, Validity { file, from, until }))
}

/// The senders' authorities, and when the last of them expires; the outer none is a problem.
#[allow(clippy::option_option, reason = "absent and wrong are two things")]
fn clients(
    table: &IngressTlsFile,
    problems: &mut ConfigProblems,
) -> Option<Option<(ClientVerification, Timestamp)>> {
    let Some(file) = &table.client_ca_file else {
        if table.client_certificates.is_none() {
            return Some(None);
        }
        let remedy = "name client_ca_file, the authorities that vouch for senders";
        let found = "nobody could tell whose certificate is good";
        problems.add(key("client_certificates"), found, remedy);
        return None;
    };
    let required = table.client_certificates != Some(ClientCertificates::Optional);
    let read = certificate::read(&key(CLIENT_CA), file, problems)?;
    let parsed = ClientVerification::parse(read.pem.as_bytes(), required);
    let clients = take(CLIENT_CA, file, parsed, problems)?;
    Some(Some((clients, read.ends.last)))
}

fn required<'a>(
    name: &'static str,
    file: Option<&'a PathBuf>,
    problems: &mut ConfigProblems,
) -> Option<&'a PathBuf> {
    problems.require(&key(name), file, remedy(name))
}

fn pem(name: &'static str, file: &Path, problems: &mut ConfigProblems) -> Option<Vec<u8>> {
    let read = std::fs::read(file);
    let read = read.map_err(|error| format!("cannot read {}: {error}", file.display()));
    problems.take(&key(name), read, remedy(name))
}

fn take<T>(
    name: &'static str,
    file: &Path,
    parsed: Result<T, PemError>,
    problems: &mut ConfigProblems,
) -> Option<T> {
    parsed
        .map_err(|error| {
            let remedy = match (&error, name) {
                (PemError::Encrypted, _) => {
                    "decrypt it (`openssl pkey -in OLD -out NEW`), and let only the bridge read it"
                }
                (PemError::Unusable(_), "key_file") => {
                    "use a key for RSA (2048 to 8192 bits), ECDSA (P-256 or P-384) or Ed25519"
                }
                _ => remedy(name),
            };
            problems.add(key(name), format!("{}: {error}", file.display()), remedy);
        })
        .ok()
}

fn no_pair(error: &KeyPairError, table: &IngressTlsFile, problems: &mut ConfigProblems) {
    let file = |file: &Option<PathBuf>| {
        let path = file.as_deref().unwrap_or(Path::new(""));
        path.display().to_string()
    };
    let certificate_file = file(&table.certificate_file);
    match error {
        KeyPairError::Certificate(_) => {
            let found = format!("{certificate_file}: {error}");
            problems.add(key(CERTIFICATE), found, remedy(CERTIFICATE));
        }
        KeyPairError::Mismatch => {
            let found = format!(
                "the key in {} does not belong to the first certificate in {certificate_file}",
                file(&table.key_file)
            );
            let remedy = "name the key that the certificate was made for; the bridge's own certificate comes first in its file";
            problems.add(key("key_file"), found, remedy);
        }
    }
}

fn key(name: &str) -> String {
    section::join(PATH, name)
}

fn remedy(name: &str) -> &'static str {
    match name {
        CERTIFICATE => {
            "name a PEM file that the bridge may read, with its certificate first and those that vouch for it after it"
        }
        "key_file" => {
            "name a PEM file that the bridge may read, with the certificate's private key"
        }
        _ => "name a PEM file that the bridge may read, with the certificates of authorities",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_counts_from_its_first_moment_to_its_last() {
        let second = |second| Timestamp::from_second(second).expect("in range");
        let validity = Validity {
            file: "bridge.pem".into(),
            from: second(1_000),
            until: second(2_000),
        };
        for (now, good) in [(999, false), (1_000, true), (2_000, true), (2_001, false)] {
            assert_eq!(validity.check(second(now)).is_ok(), good, "{now}");
        }
        let said = |now| {
            validity
                .check(second(now))
                .expect_err("not now")
                .to_string()
        };
        for (text, date) in [(said(999), "00:16:40"), (said(2_001), "00:33:20")] {
            assert!(text.starts_with("ingress.tls.certificate_file: "), "{text}");
            assert!(text.contains("bridge.pem") && text.contains(date), "{text}");
        }
    }

    #[test]
    fn a_table_alone_is_not_enough() {
        let wrong = |text: &str| {
            let mut problems = ConfigProblems::default();
            let table = text.parse().expect("TOML");
            assert!(read(table, &mut problems).is_none(), "{text}");
            let mut paths: Vec<String> = problems.iter().map(|it| it.path.clone()).collect();
            paths.sort_unstable();
            paths
        };
        let files = ["ingress.tls.certificate_file", "ingress.tls.key_file"];
        assert_eq!(wrong(""), files);
        assert_eq!(wrong("certificate_file = '/no'\nkey_file = '/no'"), files);
        let unknown = wrong("certificate = '/no'\nclient_certificates = 'required'");
        assert_eq!(
            unknown,
            [
                "ingress.tls.certificate",
                files[0],
                "ingress.tls.client_certificates",
                files[1]
            ]
        );
    }
}
