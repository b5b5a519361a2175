//! The same server over TCP and over TLS, for tests that must hold over both.

use std::{path::Path, sync::Arc};

use chat_core::policy::AllowAll;
use chat_server::{ServerBuilder, Tls};
use rcgen::{CertificateParams, CertifiedKey, KeyPair};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring},
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Client, TestServer};

/// What a test runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Tcp,
    Tls,
}

/// A connection, whatever it runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}
pub(crate) type Line = Box<dyn Stream>;

/// A certificate for `localhost` that signs itself, and its key.
pub(crate) struct Certificate(CertifiedKey<KeyPair>);

impl Certificate {
    pub(crate) fn new() -> Self {
        Self(rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap())
    }

    /// Of a key that there is already, in PEM.
    pub(crate) fn of(key: &str) -> Self {
        let signing_key = KeyPair::from_pem(key).unwrap();
        let parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        Self(CertifiedKey { cert: parameters.self_signed(&signing_key).unwrap(), signing_key })
    }

    pub(crate) fn pem(&self) -> String {
        self.0.cert.pem()
    }

    /// PKCS#8.
    pub(crate) fn key_pem(&self) -> String {
        self.0.signing_key.serialize_pem()
    }

    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.0.signing_key.serialize_der()
    }

    pub(crate) fn write_to(&self, directory: &Path) {
        std::fs::write(directory.join("cert.pem"), self.pem()).unwrap();
        std::fs::write(directory.join("key.pem"), self.key_pem()).unwrap();
    }

    /// How a client is configured that trusts this certificate and no other.
    pub(crate) fn client_config(&self) -> ClientConfig {
        self.client_config_of(ALL_VERSIONS)
    }

    pub(crate) fn client_config_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.cert.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::new(self.client_config()))
    }
}

pub(crate) fn load(directory: &Path) -> Tls {
    Tls::load(&directory.join("cert.pem"), &directory.join("key.pem")).unwrap()
}

/// A running server, and how to reach it.
pub(crate) struct OverServer {
    pub(crate) inner: TestServer,
    pub(crate) certificate: Option<Certificate>,
    /// The certificate's files.
    pub(crate) directory: TempDir,
}

impl OverServer {
    pub(crate) async fn start(over: Over) -> Self {
        Self::start_with(TestServer::builder(AllowAll).await, over).await
    }

    pub(crate) async fn start_with(builder: ServerBuilder, over: Over) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (builder, certificate) = match over {
            Over::Tcp => (builder, None),
            Over::Tls => {
                let certificate = Certificate::new();
                certificate.write_to(directory.path());
                (builder.tls(load(directory.path())), Some(certificate))
            }
        };
        Self { inner: TestServer::serve(builder.build()).await, certificate, directory }
    }

    pub(crate) async fn dial(&self) -> Line {
        self.dial_on(TcpStream::connect(self.inner.address).await.unwrap()).await
    }

    /// With a receive buffer of so many bytes.
    pub(crate) async fn dial_narrow(&self, receive_bytes: u32) -> Line {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(receive_bytes).unwrap();
        self.dial_on(socket.connect(self.inner.address).await.unwrap()).await
    }

    pub(crate) async fn dial_on(&self, stream: TcpStream) -> Line {
        match &self.certificate {
            None => Box::new(stream),
            Some(certificate) => {
                let name = "localhost".try_into().unwrap();
                Box::new(certificate.connector().connect(name, stream).await.unwrap())
            }
        }
    }

    pub(crate) async fn connect(&self, user: &str) -> Client<Line> {
        self.connect_on(self.dial().await, user).await
    }

    pub(crate) async fn connect_on(&self, line: Line, user: &str) -> Client<Line> {
        let request = format!("ws://{}/ws?user={user}", self.inner.address).into_client_request().unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, line).await.unwrap();
        Client::of(socket)
    }
}
