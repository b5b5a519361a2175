//! TLS: certificates from files, and new ones without a restart.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
    },
    server::TlsStream,
};

use crate::{
    lifecycle::Lifecycle,
    limits::{TLS_BUFFER_BYTES, TLS_RELOAD_PERIOD},
    small_file::read_small_file,
};

/// The one protocol that is spoken inside. A client that offers others only is turned away in the handshake.
const ALPN: &[u8] = b"http/1.1";

/// A certificate and its key, for a server that speaks TLS 1.2 and 1.3. A clone is the same.
///
/// While a server [serves](crate::Server::serve), it looks from time to time whether the files have changed, and takes
/// what is new: connections that are open go on, new ones get the new certificate.
///
/// ```no_run
/// use std::path::Path;
///
/// use chat_core::{Engine, store::MemoryStore};
/// use chat_server::{Server, Tls};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let tls = Tls::load(Path::new("chain.pem"), Path::new("key.pem"))?;
/// let engine = Engine::builder(MemoryStore::new()).build().await?;
/// let server = Server::builder(engine).tls(tls.clone()).build();
/// // For example at a SIGHUP:
/// tls.reload()?;
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    cert: PathBuf,
    key: PathBuf,
    in_service: RwLock<Arc<ServerConfig>>,
    /// What the files held when they were last tried; `None` where they could not be read. Who reads the files holds it
    /// until what they hold is in service: else the slower of two could put back what the other had replaced.
    tried: Mutex<Option<Fingerprint>>,
}

type Fingerprint = [u8; 32];

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert", &self.0.cert).field("key", &self.0.key).finish_non_exhaustive()
    }
}

/// Why files give no certificate and key. Each says in one line which file it is and what is wrong with it.
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
    /// The first certificate of the file is none.
    #[error("{}: not a certificate that can be used: {error}", .path.display())]
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
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its private key; both are PEM.
    ///
    /// # Errors
    /// [`TlsError`] where they cannot be read, or do not fit.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files::read(cert, key)?;
        let config = files.config(cert, key)?;
        Ok(Self(Arc::new(Inner {
            cert: cert.to_owned(),
            key: key.to_owned(),
            in_service: RwLock::new(config),
            tried: Mutex::new(Some(files.fingerprint())),
        })))
    }

    /// Reads the files again, and puts what they hold into service. It blocks for as long as reading two small files
    /// takes. Of two reloads side by side one waits for the other.
    ///
    /// # Errors
    /// [`TlsError`] where they cannot be read, or do not fit. What was in service remains.
    pub fn reload(&self) -> Result<(), TlsError> {
        let mut tried = self.0.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let files = Files::read(&self.0.cert, &self.0.key);
        *tried = fingerprint(&files);
        self.put_into_service(files)
    }

    /// [Reloads](Self::reload) where the files hold something else than when they were last tried.
    fn reload_if_changed(&self) -> Result<(), TlsError> {
        let mut tried = self.0.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let files = Files::read(&self.0.cert, &self.0.key);
        let found = fingerprint(&files);
        if found == *tried {
            return Ok(());
        }
        *tried = found;
        self.put_into_service(files)
    }

    /// For who holds the lock.
    fn put_into_service(&self, files: Result<Files, TlsError>) -> Result<(), TlsError> {
        let config = files?.config(&self.0.cert, &self.0.key)?;
        *self.0.in_service.write().unwrap_or_else(PoisonError::into_inner) = config;
        tracing::info!(cert = %self.0.cert.display(), "certificates loaded again");
        Ok(())
    }

    /// Looks after the files until the drain.
    pub(crate) async fn keep_fresh(self, lifecycle: Lifecycle) {
        let mut drain = std::pin::pin!(lifecycle.drain_begins());
        while timeout(TLS_RELOAD_PERIOD, &mut drain).await.is_err() {
            let tls = self.clone();
            // A bug in there was reported by the panic hook; what is in service remains.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await {
                tracing::error!(%error, "the certificates remain as they were");
            }
        }
    }

    /// The server's side of the handshake. Whoever calls it bounds its time.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.0.in_service.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config)
            .accept_with(stream, |session| session.set_buffer_limit(Some(TLS_BUFFER_BYTES)))
            .await
    }
}

/// Of what was read; `None` where nothing was.
fn fingerprint(files: &Result<Files, TlsError>) -> Option<Fingerprint> {
    files.as_ref().ok().map(Files::fingerprint)
}

/// What the two files hold.
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            read_small_file(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })
        };
        Ok(Self { cert: read(cert)?, key: read(key)? })
    }

    fn fingerprint(&self) -> Fingerprint {
        let lengths = [self.cert.len(), self.key.len()].map(usize::to_be_bytes).concat();
        Sha256::new().chain_update(lengths).chain_update(&self.cert).chain_update(&self.key).finalize().into()
    }

    fn config(&self, cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
        let no_certificate = |error| TlsError::NoCertificate { path: cert.to_owned(), error };
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&self.cert).collect::<Result<_, _>>().map_err(no_certificate)?;
        if chain.is_empty() {
            return Err(no_certificate(pem::Error::NoItemsFound));
        }
        // What is wrong with it in detail may show a part of it.
        let private =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|_private| TlsError::NoKey(key.to_owned()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for all versions")
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
                }
                rustls::Error::InvalidCertificate(_) => {
                    TlsError::BadCertificate { path: cert.to_owned(), error }
                }
                error => TlsError::BadKey { path: key.to_owned(), error },
            })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    fn write(directory: &Path) -> [PathBuf; 2] {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.join(name));
        fs::write(&cert, pair.cert.pem()).unwrap();
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        [cert, key]
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_have_changed_are_taken_by_themselves_and_only_those() {
        let directory = tempfile::tempdir().unwrap();
        let [cert, key] = write(directory.path());
        let tls = Tls::load(&cert, &key).unwrap();
        let lifecycle = Lifecycle::default();
        lifecycle.spawn(tls.clone().keep_fresh(lifecycle.clone()));
        let in_service = || Arc::clone(&tls.0.in_service.read().unwrap());
        let two_looks = || tokio::time::sleep(TLS_RELOAD_PERIOD * 2 + Duration::from_secs(1));

        let first = in_service();
        two_looks().await;
        assert!(Arc::ptr_eq(&first, &in_service()), "nothing has changed");
        write(directory.path());
        two_looks().await;
        let second = in_service();
        assert!(!Arc::ptr_eq(&first, &second), "new files are taken");

        fs::write(&key, "junk").unwrap();
        two_looks().await;
        assert!(Arc::ptr_eq(&second, &in_service()), "what cannot be used is not");
        assert_eq!(*tls.0.tried.lock().unwrap(), Some(Files::read(&cert, &key).unwrap().fingerprint()));
        fs::remove_file(&key).unwrap();
        two_looks().await;
        assert_eq!((Arc::ptr_eq(&second, &in_service()), *tls.0.tried.lock().unwrap()), (true, None));

        write(directory.path());
        two_looks().await;
        assert!(!Arc::ptr_eq(&second, &in_service()), "and once they are good they are");
        lifecycle.drain(Duration::from_secs(1)).await;
    }
}
