//! The chat as a part of another service: mounted into its axum router, with its own authentication.
//!
//! ```sh
//! cargo run -p chat-examples --bin embed_axum -- 127.0.0.1:8081
//! curl -H 'Authorization: Bearer ann-s-token' http://127.0.0.1:8081/chat/api/v1/me
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, time::Duration};

use axum::{Router, http::request::Parts, routing::get};
use chat_core::{
    Engine, Identity, MissingRooms,
    protocol::Token,
    store::{BoxFuture, MemoryStore},
};
use chat_server::{AuthError, Authenticator, Grant, Server, token_of};
use tokio::net::TcpListener;

/// How long sockets may take to end.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// The users of our service, by their tokens. A real one would ask its database, which is why the trait is async.
#[derive(Debug)]
struct OurUsers;

impl OurUsers {
    fn by_token(token: &str) -> Option<Identity> {
        let (user, name) = match token {
            "ann-s-token" => ("ann", "Ann"),
            "bob-s-token" => ("bob", "Bob"),
            _ => return None,
        };
        Some(Identity::new(user).ok()?.with_name(name))
    }

    fn grant(token: &str) -> Result<Grant, AuthError> {
        Self::by_token(token).map(Grant::from).ok_or(AuthError::Refused)
    }
}

/// The chat asks us who is behind each request, of its API and of its socket alike. It is the only thing that it has to
/// know of our users.
impl Authenticator for OurUsers {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
        // From the Authorization header, or from a cookie, which counts only where it cannot be abused.
        Box::pin(async move { Self::grant(token_of(request)?) })
    }

    // Web pages can set no header on a socket: their first frame is {"type":"auth","token":"…"}.
    fn authenticate_token<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move { Self::grant(token.expose()) })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let missing = MissingRooms::Create { rooms_max: 100 };
    let engine = Engine::builder(MemoryStore::new()).missing_rooms(missing).build().await?;
    let chat = Server::builder(engine).authenticator(OurUsers).build();

    // The socket is at /chat/ws now, the API under /chat/api/v1.
    let app = Router::new().route("/", get(async || "our own page")).nest("/chat", chat.router());

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);

    // axum's own end knows nothing of sockets, which outlive the requests that opened them: they are drained first.
    // Everything that they have asked for is answered, and they are closed with 1001, so that clients come back.
    let ended = async move {
        // Where signals cannot be heard, the process ends without this.
        let _ = tokio::signal::ctrl_c().await;
        chat.drain(DRAIN_WAIT).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(ended).await?;
    Ok(())
}
