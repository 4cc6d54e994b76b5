//! The arguments of TLS as a client: the authorities that are trusted, and the client certificate.

use std::path::{Path, PathBuf};

use clap::Args;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::command_error::CommandError;
use crate::crypto;

/// PEM files for TLS.
#[derive(Debug, Args)]
pub(super) struct TlsArguments {
    /// A PEM file of the authorities that vouch for the other side, instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A PEM file of a certificate to show, and after it those that vouch for it.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// A PEM file of its private key; it may be the same file.
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
}

impl TlsArguments {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<TlsConfig, CommandError> {
        let mut tls = crypto::requests();
        if let Some(file) = &self.ca_file {
            let authorities = certificates("--ca-file", file)?;
            tls = tls.root_certs(RootCerts::new_with_certs(&authorities));
        }
        if let (Some(certificate), Some(key)) = (&self.certificate_file, &self.key_file) {
            let chain = certificates("--certificate-file", certificate)?;
            let pem = read("--key-file", key)?;
            let key =
                PrivateKey::from_pem(&pem).map_err(|error| wrong("--key-file", key, &error))?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        Ok(tls.build())
    }
}

fn certificates(option: &str, file: &Path) -> Result<Vec<Certificate<'static>>, CommandError> {
    let pem = read(option, file)?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| wrong(option, file, &error))?
        {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(wrong(option, file, &"it holds no certificate"));
    }
    Ok(certificates)
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(file).map_err(|error| wrong(option, file, &error))
}

fn wrong(option: &str, file: &Path, found: &dyn std::fmt::Display) -> CommandError {
    CommandError::Usage(format!("{option} {}: {found}", file.display()))
}
