//! A network between a client and a server, which can fail on demand.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    task::{AbortHandle, JoinSet},
};

/// How the link treats what goes over it.
const OPEN: u8 = 0;
/// The next bytes from the client mute the server.
const ARMED: u8 = 1;
/// Nothing from the server comes through.
const MUTED: u8 = 2;

/// A forwarder with an address that stays, to a server whose address may change.
pub(crate) struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
    _forwarding: JoinSet<()>,
}

struct Shared {
    server: Mutex<SocketAddr>,
    connections: Mutex<Vec<AbortHandle>>,
    state: AtomicU8,
}

impl Link {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            connections: Mutex::default(),
            state: AtomicU8::new(OPEN),
        });
        let mut forwarding = JoinSet::new();
        forwarding.spawn(accept(listener, shared.clone()));
        Self { address, shared, _forwarding: forwarding }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections from now on lead there.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Breaks every connection, without a word to either side.
    pub(crate) fn cut(&self) {
        self.shared.state.store(OPEN, Ordering::SeqCst);
        let mut connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.drain(..).for_each(|connection| connection.abort());
    }

    /// What the client says next still reaches the server; what the server says after it is lost.
    pub(crate) fn mute_after_the_next_word(&self) {
        self.shared.state.store(ARMED, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let handle = connections.spawn(forward(client, shared.clone()));
        shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }
}

async fn forward(client: TcpStream, shared: Arc<Shared>) {
    let server = *shared.server.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = copy(from_client, to_server, || {
        let _ = shared.state.compare_exchange(ARMED, MUTED, Ordering::SeqCst, Ordering::SeqCst);
        true
    });
    let down = copy(from_server, to_client, || shared.state.load(Ordering::SeqCst) != MUTED);
    tokio::join!(up, down);
}

/// Copies until one side ends, what `passes` lets through.
async fn copy(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, passes: impl Fn() -> bool) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if passes() && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
