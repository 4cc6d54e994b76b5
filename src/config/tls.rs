//! The files of TLS to a broker, which both kinds of brokers are configured with. Everything that a
//! connection would stumble over later is a problem now; only what time does is none: a bridge whose
//! certificate has expired must start, and keep what it accepts.

use std::path::{Path, PathBuf};

use super::certificate::{self, Certificates};
use super::problem::ConfigProblems;
use super::section::join;
use crate::sink::{BrokerTls, CertificateFile, ClientIdentity, ClientPrivateKey};

/// The file of the client's private key, by its key.
pub(super) const KEY_FILE: &str = "client_key_file";
const CERTIFICATE_FILE: &str = "client_certificate_file";
const AUTHORITIES: &str = "ca_file";

/// The files a section names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    /// The authorities to trust.
    pub authorities: Option<&'a PathBuf>,
    /// The client's own certificate.
    pub certificate: Option<&'a PathBuf>,
    /// The key to it.
    pub key: Option<&'a PathBuf>,
    /// The key's password.
    pub key_password: Option<&'a String>,
}

impl Files<'_> {
    /// Reads them all; none where one of them is of no use, which is noted under `path`.
    pub(super) fn read(self, path: &str, problems: &mut ConfigProblems) -> Option<BrokerTls> {
        let before = problems.iter().count();
        let authorities = self
            .authorities
            .and_then(|file| certificates((path, AUTHORITIES), file, problems));
        let certificate = self
            .certificate
            .and_then(|file| certificates((path, CERTIFICATE_FILE), file, problems));
        let key = self.key.and_then(|file| private_key(path, file, problems));
        let remedy = "name its PEM file: a client's certificate and its key belong together";
        let alone = match (self.certificate, self.key) {
            (Some(_), None) => Some(KEY_FILE),
            (None, Some(_)) => Some(CERTIFICATE_FILE),
            _ => None,
        };
        if let Some(missing) = alone {
            problems.add(join(path, missing), "the key is missing", remedy);
        }
        let identity = certificate
            .zip(key)
            .map(|(certificate, pem)| ClientIdentity {
                certificate,
                key: ClientPrivateKey {
                    pem,
                    password: self.key_password.cloned(),
                },
            });
        (problems.iter().count() == before).then_some(BrokerTls {
            authorities,
            identity,
        })
    }
}

fn certificates(
    (path, key): (&str, &'static str),
    file: &Path,
    problems: &mut ConfigProblems,
) -> Option<CertificateFile> {
    let Certificates { pem, ends } = certificate::read(&join(path, key), file, problems)?;
    Some(CertificateFile {
        key,
        path: file.to_owned(),
        pem,
        expiry: match key {
            AUTHORITIES => ends.last,
            _ => ends.first,
        },
    })
}

fn private_key(path: &str, file: &Path, problems: &mut ConfigProblems) -> Option<String> {
    let read = certificate::text(file).and_then(|pem| {
        if pem.contains("PRIVATE KEY-----") {
            Ok(pem)
        } else {
            Err(format!("{} holds no private key", file.display()))
        }
    });
    let remedy = "name a readable PEM file of the private key";
    problems.take(&join(path, KEY_FILE), read, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::certificate::tests::{CLIENT, CLIENT_KEY, UNTIL_2027, written};

    #[test]
    fn authorities_expire_with_the_last_of_them_and_a_chain_with_the_first() {
        let both = written(&format!("{UNTIL_2027}{CLIENT}"));
        let key = written(CLIENT_KEY);
        let (both, key) = (both.path().to_owned(), key.path().to_owned());
        let files = Files {
            authorities: Some(&both),
            certificate: Some(&both),
            key: Some(&key),
            key_password: None,
        };
        let tls = files.read("sink.mq", &mut ConfigProblems::default());
        let tls = tls.expect("nothing is wrong");
        let until: Vec<_> = tls
            .certificates()
            .map(|file| (file.key, file.expiry.as_second()))
            .collect();
        assert_eq!(
            until,
            [
                ("ca_file", 2_110_938_824),
                ("client_certificate_file", 1_827_104_313)
            ]
        );
    }

    #[test]
    fn a_file_that_is_of_no_use_is_a_problem_of_its_key() {
        let (good, empty) = (written(CLIENT), written(""));
        let missing = PathBuf::from("/does/not/exist");
        let files = |authorities, certificate, key| Files {
            authorities,
            certificate,
            key,
            key_password: None,
        };
        let (good, empty) = (good.path().to_owned(), empty.path().to_owned());
        let cases = [
            (files(Some(&empty), None, None), "ca_file"),
            (files(Some(&missing), None, None), "ca_file"),
            (files(None, Some(&good), None), "client_key_file"),
            (files(None, Some(&good), Some(&good)), "client_key_file"),
            (files(None, Some(&good), Some(&missing)), "client_key_file"),
        ];
        for (files, key) in cases {
            let mut problems = ConfigProblems::default();
            assert!(files.read("sink.mq", &mut problems).is_none());
            let paths: Vec<&str> = problems.iter().map(|problem| &*problem.path).collect();
            assert_eq!(paths, [format!("sink.mq.{key}")], "{files:?}");
        }
    }
}
