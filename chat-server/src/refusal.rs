//! Connections that are one too many.

use std::sync::Arc;

use axum::response::IntoResponse;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use crate::{
    admission::Full,
    error::ApiError,
    headers,
    lifecycle::Lifecycle,
    limits::{DISCARD_BYTES, REFUSAL_WAIT_MAX, REFUSALS_MAX},
};

/// Turns connections away, at the cost of a bounded number of tasks.
#[derive(Debug)]
pub(crate) struct Refusals {
    room: Arc<Semaphore>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(REFUSALS_MAX)) }
    }
}

impl Refusals {
    /// Answers without a look at the request, and closes.
    pub(crate) fn refuse(&self, stream: TcpStream, full: Full, lifecycle: &Lifecycle) {
        // A new socket takes these few bytes at once; where it does not, its peer misses the answer.
        let _ = socket2::SockRef::from(&stream).send(&answer(full));
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { return };
        lifecycle.spawn(async move {
            // Whoever takes longer, or is gone, may miss the answer.
            let _ = timeout(REFUSAL_WAIT_MAX, part_with(stream)).await;
            drop(place);
        });
    }
}

/// Closes, and reads the request away first: a socket that is closed with bytes unread resets the connection, and not
/// every system then shows its program what had come before.
async fn part_with(mut stream: TcpStream) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut bytes = [0; DISCARD_BYTES];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// The whole answer, head and body.
fn answer(full: Full) -> Vec<u8> {
    let error = ApiError::from(full);
    let body = error.body().to_string();
    let mut response = error.into_response();
    headers::add_security(response.headers_mut());
    let mut bytes =
        format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n", response.status(), body.len())
            .into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.as_bytes());
    bytes
}
