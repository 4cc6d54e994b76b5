//! TLS on the public listener: the bridge's certificate and its key, and who must vouch for
//! senders. Each part is made from the text of its file, so that whoever reads the files can say
//! which one is wrong.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore, ServerConfig};

use crate::crypto;

/// The bridge's certificate, and after it those that vouch for it.
#[derive(Debug, Clone)]
pub struct CertificateChain(Vec<CertificateDer<'static>>);

/// The private key of a certificate. It never prints.
#[derive(Clone)]
pub struct ServerKey(Arc<dyn SigningKey>);

/// Who vouches for senders.
#[derive(Debug, Clone)]
pub struct ClientVerification {
    authorities: RootCertStore,
    required: bool,
}

/// What is wrong with a file of certificates or keys.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// Nothing of the kind is in it.
    #[error("it holds no {0}")]
    Without(&'static str),
    /// A block cannot be read.
    #[error("it is damaged: {0}")]
    Damaged(pem::Error),
    /// The key needs a passphrase, which nobody could type.
    #[error("its key is encrypted")]
    Encrypted,
    /// The library cannot use it.
    #[error("it cannot be used: {0}")]
    Unusable(rustls::Error),
}

/// Why a certificate and a key make no pair.
#[derive(Debug, thiserror::Error)]
pub enum KeyPairError {
    /// The certificate cannot be understood.
    #[error("the certificate cannot be used: {0}")]
    Certificate(rustls::Error),
    /// They belong to others.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

impl CertificateChain {
    /// All certificates of a PEM file.
    ///
    /// # Errors
    /// When there is none, or one is damaged.
    pub fn parse(text: &[u8]) -> Result<Self, PemError> {
        certificates(text).map(Self)
    }

    /// All of them, in DER, the bridge's own first.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|certificate| &**certificate)
    }

    /// The bridge's own certificate, in DER.
    #[must_use]
    pub fn own(&self) -> &[u8] {
        self.0.first().map_or(&[], |certificate| certificate)
    }
}

impl ServerKey {
    /// The first private key of a PEM file.
    ///
    /// # Errors
    /// When there is none, it is damaged, encrypted, or of a kind that is not supported.
    pub fn parse(text: &[u8]) -> Result<Self, PemError> {
        // Old files say it in a line of their own, newer ones in the block's name.
        if text.windows(9).any(|part| part == b"ENCRYPTED") {
            return Err(PemError::Encrypted);
        }
        let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
            pem::Error::NoItemsFound => PemError::Without("private key"),
            error => PemError::Damaged(error),
        })?;
        let loaded = crypto::provider()
            .key_provider
            .load_private_key(key)
            .map_err(PemError::Unusable)?;
        Ok(Self(loaded))
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl ClientVerification {
    /// All certificates of a PEM file, each of an authority. Only where it is `required` must a
    /// sender show one that they vouch for; whoever shows another is always turned away.
    ///
    /// # Errors
    /// When there is none, or one is damaged or cannot be used.
    pub fn parse(text: &[u8], required: bool) -> Result<Self, PemError> {
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(text)? {
            authorities.add(certificate).map_err(PemError::Unusable)?;
        }
        Ok(Self {
            authorities,
            required,
        })
    }

    /// Whether a sender without a certificate is turned away.
    #[must_use]
    pub fn are_required(&self) -> bool {
        self.required
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certificates = read.map_err(PemError::Damaged)?;
    if certificates.is_empty() {
        return Err(PemError::Without("certificate"));
    }
    Ok(certificates)
}

/// What connections are encrypted with. Cloning it shares it.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// TLS 1.2 and 1.3 with this certificate, for HTTP/1.1.
    ///
    /// # Errors
    /// When the key is not the certificate's.
    pub fn new(
        chain: CertificateChain,
        key: ServerKey,
        clients: Option<ClientVerification>,
    ) -> Result<Self, KeyPairError> {
        let pair = CertifiedKey::new(chain.0, key.0);
        match pair.keys_match() {
            // A key that does not tell its public half cannot be compared.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(KeyPairError::Mismatch),
            Err(error) => return Err(KeyPairError::Certificate(error)),
        }
        let provider = crypto::provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has cipher suites for both versions");
        let proves = clients.is_some();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(verifier(clients, provider)),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if proves {
            // A resumed session is not asked for its certificate again: it could outlive it.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

fn verifier(
    clients: ClientVerification,
    provider: Arc<CryptoProvider>,
) -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
    let authorities = Arc::new(clients.authorities);
    let builder = WebPkiClientVerifier::builder_with_provider(authorities, provider);
    let builder = if clients.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .expect("there is at least one authority, and no revocation list")
}
