//! A sender that speaks TLS.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use super::Connection;

/// How a sender speaks it. Cloning it shares what it has of sessions.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.name).finish()
    }
}

/// The certificates of a PEM file.
pub fn certificates(pem: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(pem).expect("readable");
    read.map(|certificate| certificate.expect("PEM")).collect()
}

impl Tls {
    /// One that trusts this authority, and calls the bridge by its address.
    pub fn trusting(authority: &Path) -> Self {
        Self::new(authority, None, &[&version::TLS13, &version::TLS12])
    }

    /// The same, in one version alone.
    pub fn in_version(authority: &Path, version: &'static SupportedProtocolVersion) -> Self {
        Self::new(authority, None, &[version])
    }

    /// One that shows the certificate of a PEM file that holds its key too.
    pub fn showing(authority: &Path, identity: &Path) -> Self {
        let versions = [&version::TLS13, &version::TLS12];
        Self::new(authority, Some(identity), &versions)
    }

    /// One that calls the bridge by another name.
    pub fn calling(self, name: &str) -> Self {
        let name = name.to_owned().try_into().expect("a name");
        Self { name, ..self }
    }

    fn new(
        authority: &Path,
        identity: Option<&Path>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority) {
            roots.add(certificate).expect("an authority's");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("known")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let key = PrivateKeyDer::from_pem_file(pem).expect("a key");
                let built = builder.with_client_auth_cert(certificates(pem), key);
                built.expect("a pair")
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
            name: "127.0.0.1".try_into().expect("a name"),
        }
    }

    /// A connection of its own.
    pub async fn open(&self, address: SocketAddr) -> io::Result<Connection> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(self.over(socket).await?.0)
    }

    /// One over a socket that something has been sent on already, and the certificate that the
    /// bridge has shown.
    pub async fn over(
        &self,
        socket: TcpStream,
    ) -> io::Result<(Connection, CertificateDer<'static>)> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), socket).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.and_then(|chain| chain.first()).expect("the bridge's");
        let shown = shown.clone().into_owned();
        Ok((Connection::over(stream), shown))
    }

    /// The certificate that the bridge shows now.
    pub async fn shown(&self, address: SocketAddr) -> io::Result<CertificateDer<'static>> {
        Ok(self.over(TcpStream::connect(address).await?).await?.1)
    }
}
