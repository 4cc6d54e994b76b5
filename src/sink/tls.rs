//! TLS to a broker, as both kinds of brokers are configured with it: what the files held when they
//! were read and checked. The clients get these bytes and never the files, so a file that is being
//! replaced harms nobody, and two configurations can be compared.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

/// Whom to trust, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerTls {
    /// The authorities to trust.
    pub authorities: Option<CertificateFile>,
    /// The client's own certificate.
    pub identity: Option<ClientIdentity>,
}

impl BrokerTls {
    /// All files of certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateFile> {
        let own = self.identity.iter().map(|identity| &identity.certificate);
        self.authorities.iter().chain(own)
    }
}

/// A file of certificates.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateFile {
    /// The key that names it, such as `ca_file`: a metric label.
    pub key: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What it held, PEM.
    pub pem: String,
    /// When it is of no use any more: when the last of its authorities has expired, or the first
    /// certificate of a chain.
    pub expiry: Timestamp,
}

impl fmt::Debug for CertificateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} until {}", self.path.display(), self.expiry)
    }
}

/// A client's certificate chain with the private key to its first certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The chain.
    pub certificate: CertificateFile,
    /// The key.
    pub key: ClientPrivateKey,
}

/// A private key. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientPrivateKey {
    /// The file's text, PEM.
    pub pem: String,
    /// The password it is encrypted with.
    pub password: Option<String>,
}

impl ClientPrivateKey {
    /// Whether it is of no use without a password (RFC 7468, section 11, and the older form of
    /// OpenSSL).
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| self.pem.contains(mark))
    }
}

impl fmt::Debug for ClientPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
