//! Ways to Postgres on which something gets lost.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// What becomes of a commit.
pub(crate) enum Fate {
    /// It is done, and the connection ends in the place of the answer.
    Unanswered,
    /// It is done, and then nothing is heard any more.
    Silent,
    /// The connection ends on our side only. The commit gets to the server when told, and what it then says is told
    /// back: nothing, where it has ended the session meanwhile.
    Late { deliver: oneshot::Receiver<()>, answered: oneshot::Sender<Vec<u8>> },
    /// The connection ends, and the commit gets nowhere.
    Lost,
}

/// What a proxy does on all its connections.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Faithful,
    /// What it is told in the start parameter `options` gets lost.
    DropsOptions,
    /// Once it is asked something with this text, nothing is heard any more.
    SilentAt(&'static str),
}

/// A proxy in front of a Postgres server.
pub(crate) struct Proxy {
    url: String,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

impl Proxy {
    /// In front of the server of this URL.
    pub(crate) async fn start(url: &str) -> Self {
        Self::of(url, Manner::Faithful).await
    }

    /// The same, as a pooler that ignores the start parameter `options`.
    pub(crate) async fn without_options(url: &str) -> Self {
        Self::of(url, Manner::DropsOptions).await
    }

    /// The same, until it is asked something with this text in it.
    pub(crate) async fn silent_at(url: &str, text: &'static str) -> Self {
        Self::of(url, Manner::SilentAt(text)).await
    }

    async fn of(url: &str, manner: Manner) -> Self {
        let (user, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, fates) = (server.to_owned(), Arc::new(Mutex::default()));
        let of_connections = Arc::clone(&fates);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server.as_str()).await.unwrap();
                let fates = Arc::clone(&of_connections);
                // A connection that ends is no failure here: the tests see to it from its two sides.
                tokio::spawn(async move { drop(relay(client, server, &fates, manner).await) });
            }
        });
        Self { url: format!("{user}@127.0.0.1:{port}/{database}"), fates }
    }

    /// The URL that leads through it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Says what becomes of the next commit. No read may be under way: it ends with one, too.
    pub(crate) fn next_commit(&self, fate: Fate) {
        self.fates.lock().unwrap().push_back(fate);
    }

    /// Holds the next commit back. It is delivered by the first of these, and the second has what the server answers.
    pub(crate) fn next_commit_late(&self) -> (oneshot::Sender<()>, oneshot::Receiver<Vec<u8>>) {
        let ((deliver, delivered), (answered, answer)) = (oneshot::channel(), oneshot::channel());
        self.next_commit(Fate::Late { deliver: delivered, answered });
        (deliver, answer)
    }
}

/// Both the wish and its fulfilment have this in them.
pub(crate) fn is_commit(bytes: &[u8]) -> bool {
    contains(bytes, b"COMMIT\0")
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text)
}

/// Hears what is asked until nobody is there any more.
async fn fall_silent(mut client: TcpStream) -> std::io::Result<()> {
    while client.read(&mut [0; 1 << 10]).await? > 0 {}
    Ok(())
}

/// All that a server says until it says that it committed, or ends.
async fn hear_out(server: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    while !is_commit(&heard) && server.read_buf(&mut heard).await.is_ok_and(|bytes| bytes > 0) {}
    heard
}

/// Leaves of the start parameter `options` nothing but its length.
fn blank_options(bytes: &mut [u8]) {
    const NAME: &[u8] = b"\0options\0";
    if let Some(at) = bytes.windows(NAME.len()).position(|part| part == NAME) {
        bytes[at + NAME.len()..].iter_mut().take_while(|byte| **byte != 0).for_each(|byte| *byte = b' ');
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    fates: &Mutex<VecDeque<Fate>>,
    manner: Manner,
) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            bytes = client.read(&mut asked) => {
                let bytes = bytes?;
                let bytes = &mut asked[..bytes];
                if bytes.is_empty() {
                    return Ok(());
                }
                match manner {
                    Manner::DropsOptions => blank_options(bytes),
                    Manner::SilentAt(text) if contains(bytes, text.as_bytes()) => return fall_silent(client).await,
                    Manner::Faithful | Manner::SilentAt(_) => {}
                }
                let bytes = &*bytes;
                let fate = if is_commit(bytes) { fates.lock().unwrap().pop_front() } else { None };
                match fate {
                    Some(fate) => return meet(fate, client, server, bytes).await,
                    None => server.write_all(bytes).await?,
                }
            }
            bytes = server.read(&mut answered) => {
                let bytes = bytes?;
                if bytes == 0 {
                    return Ok(());
                }
                client.write_all(&answered[..bytes]).await?;
            }
        }
    }
}

async fn meet(fate: Fate, client: TcpStream, mut server: TcpStream, commit: &[u8]) -> std::io::Result<()> {
    match fate {
        Fate::Lost => {}
        Fate::Unanswered => {
            server.write_all(commit).await?;
            assert!(is_commit(&hear_out(&mut server).await), "the server did not commit");
        }
        Fate::Silent => {
            server.write_all(commit).await?;
            fall_silent(client).await?;
        }
        Fate::Late { deliver, answered } => {
            drop(client);
            // Where the test is over, nobody waits any more.
            let Ok(()) = deliver.await else { return Ok(()) };
            // The server may have ended the session, which it says first.
            drop(server.write_all(commit).await);
            drop(answered.send(hear_out(&mut server).await));
        }
    }
    Ok(())
}
