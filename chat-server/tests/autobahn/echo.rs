//! The endpoint that the Autobahn suite tries. `run` beside it starts it.

#![expect(clippy::print_stdout, reason = "who started it reads there where it listens")]

use chat_server::testing::{Fidelity, serve_echo};
use tokio::net::TcpListener;

/// Cases 9.* send messages of up to 16 MiB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let is_lossy = std::env::args().any(|arg| arg == "--lossy");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let fidelity = if is_lossy { Fidelity::Lossy } else { Fidelity::Exact };
    serve_echo(listener, MESSAGE_BYTES_MAX, fidelity).await;
    Ok(())
}
