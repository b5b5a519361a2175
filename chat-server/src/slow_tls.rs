//! A connection in TLS over a network in memory that is as slow as a test wants it.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, copy, duplex, split},
    sync::watch,
    time::sleep,
};
use tokio_rustls::{
    TlsConnector, client,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
    server,
};

use crate::{connection::transport::Counted, tls::Tls};

/// What the network holds of one direction.
const PIPE_BYTES: usize = 256;

/// Both ends of a connection that has shaken hands.
pub(crate) struct Ends {
    pub(crate) server: server::TlsStream<Counted<DuplexStream>>,
    pub(crate) peer: client::TlsStream<DuplexStream>,
    /// How many bytes a second the network passes on to the peer.
    pub(crate) network: watch::Sender<usize>,
}

pub(crate) async fn connect() -> Ends {
    let (tls, connector) = both_ends();
    let (near, stream) = duplex(PIPE_BYTES);
    let (far, peer) = duplex(PIPE_BYTES);
    let ((from_server, mut to_server), (mut from_peer, to_peer)) = (split(near), split(far));
    let network = watch::Sender::new(1 << 20);
    tokio::spawn(pass_on(from_server, to_peer, network.subscribe()));
    tokio::spawn(async move { copy(&mut from_peer, &mut to_server).await });
    let connecting = connector.connect("localhost".try_into().unwrap(), peer);
    let (peer, server) = tokio::join!(connecting, tls.accept(Counted::new(stream)));
    Ends { server: server.unwrap(), peer: peer.unwrap(), network }
}

/// A server's certificate, and a client that trusts it.
pub(crate) fn both_ends() -> (Tls, TlsConnector) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&cert, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Tls::load(&cert, &key).unwrap(), TlsConnector::from(Arc::new(config)))
}

/// The way to the peer.
async fn pass_on(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut bytes_per_s: watch::Receiver<usize>,
) -> io::Result<()> {
    loop {
        let most = *bytes_per_s.borrow_and_update();
        if most == 0 && bytes_per_s.changed().await.is_ok() {
            continue;
        }
        let mut bytes = vec![0; most.min(PIPE_BYTES)];
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..read]).await?;
        if most < PIPE_BYTES {
            sleep(Duration::from_secs(1)).await;
        }
    }
}
