//! TLS to a Postgres server: which certificate is believed, and which one is shown.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{
        WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
};
use rustls_native_certs::{CertificateResult, load_native_certs};

/// Bytes of a file with certificates or a key. The largest bundles of authorities have a few hundred KiB; what is
/// larger is no such file, and is refused.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// The name of Postgres' protocol in the handshake. A server from version 17 on insists on it where TLS begins at
/// once (`sslnegotiation=direct`); for all others it is no more than true.
const ALPN: &[u8] = b"postgresql";

/// How a server is believed, and what is shown to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) verify: Verify,
    pub(super) client: Option<ClientFiles>,
}

/// What of a server's certificate is verified. That the server has its key is verified always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verify {
    Nothing,
    /// That an authority has signed it.
    Chain(Authorities),
    /// Also that it is for the host that was meant.
    ChainAndName(Authorities),
}

/// Who may sign a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Authorities {
    System,
    File(PathBuf),
}

/// The PEM files of what a server knows a client by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientFiles {
    /// The client's own certificate first.
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// Why there is no TLS to a Postgres server: what is wrong with the files that its [address](super::PostgresAddress)
/// names. Each says in one line which file it is and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read, or is no small one.
    #[error("{}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file has no certificate in PEM.
    #[error("{}: no certificate in PEM: {error}", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// Where reading it came to its end.
        error: pem::Error,
    },
    /// A certificate of the file is none, or not of X.509's version 3.
    #[error("{}: not an X.509 v3 certificate that can be used: {error}", .path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// The file has no private key in PEM.
    #[error("{}: no private key in PEM (PKCS#8, PKCS#1 or SEC1, not encrypted)", .0.display())]
    NoKey(PathBuf),
    /// The file's private key is of no kind that is known.
    #[error("{}: not a private key that can be used: {error}", .path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("{}: this is not the key of the certificate in {}", .key.display(), .cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The system has no certificate authorities, and the address names none.
    #[error("the system has no certificate authorities{}: name a file in sslrootcert", because(.0.as_ref()))]
    NoAuthorities(Option<rustls_native_certs::Error>),
}

fn because(error: Option<&rustls_native_certs::Error>) -> String {
    error.map(|error| format!(" ({error})")).unwrap_or_default()
}

impl Tls {
    /// Reads the files.
    pub(super) fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for all versions");
        let nameless = |authorities| Arc::new(Nameless { authorities, algorithms });
        let builder = match &self.verify {
            Verify::Nothing => builder.dangerous().with_custom_certificate_verifier(nameless(None)),
            Verify::Chain(authorities) => {
                builder.dangerous().with_custom_certificate_verifier(nameless(Some(authorities.load()?)))
            }
            Verify::ChainAndName(authorities) => builder.with_root_certificates(authorities.load()?),
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(files) => builder
                .with_client_auth_cert(certificates(&files.cert)?, files.private_key()?)
                .map_err(|error| files.fault(error))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

/// For a server to which no TLS is spoken: who tried would find that nobody is believed.
pub(super) fn believes_nobody() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for all versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

impl Authorities {
    fn load(&self) -> Result<RootCertStore, TlsError> {
        match self {
            Self::System => of_the_system(load_native_certs()),
            Self::File(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots
                        .add(certificate)
                        .map_err(|error| TlsError::BadCertificate { path: path.clone(), error })?;
                }
                Ok(roots)
            }
        }
    }
}

/// Systems have a broken certificate among many: it is passed over, as long as others remain.
fn of_the_system(found: CertificateResult) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities(found.errors.into_iter().next()));
    }
    for error in found.errors {
        tracing::debug!(%error, "some of the system's certificate authorities cannot be read");
    }
    Ok(roots)
}

impl ClientFiles {
    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        // What is wrong with it in detail may show a part of it.
        PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|_private| TlsError::NoKey(self.key.clone()))
    }

    fn fault(&self, error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { cert: self.cert.clone(), key: self.key.clone() }
            }
            rustls::Error::InvalidCertificate(_) => {
                TlsError::BadCertificate { path: self.cert.clone(), error }
            }
            error => TlsError::BadKey { path: self.key.clone(), error },
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = |error| TlsError::NoCertificate { path: path.to_owned(), error };
    let all: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>().map_err(none)?;
    if all.is_empty() { Err(none(pem::Error::NoItemsFound)) } else { Ok(all) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 <= PEM_BYTES_MAX => Ok(bytes),
        Ok(_) => Err(io::ErrorKind::FileTooLarge.into()),
        Err(error) => Err(error),
    }
    .map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })
}

/// Asks no certificate for its name, and where there are no authorities not for its signature either: but always that
/// the server has its key, else the channel would not even be bound to what was shown.
#[derive(Debug)]
struct Nameless {
    authorities: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Nameless {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(authorities) = &self.authorities {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                authorities,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if ParsedCertificate::try_from(cert).is_ok() {
            return verify_tls13_signature(message, cert, dss, &self.algorithms);
        }
        verify_tls13_signature_with_raw_key(message, &key_of(cert)?, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The key in a certificate of X.509's version 1. Postgres' own documentation makes such ones (`openssl x509 -req`, up
/// to OpenSSL 3.1), and rustls takes them as authorities only; where nothing is verified they are as good as any.
fn key_of(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    let anchor = webpki::anchor_from_trusted_cert(certificate)
        .map_err(|_bad| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(webpki::spki_for_anchor(&anchor))
}

#[cfg(test)]
mod tests;
