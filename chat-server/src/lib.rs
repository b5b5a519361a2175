//! The chat engine on the network.
//!
//! [`Server`] puts a [`chat_core::Engine`] on the network: the socket at `/ws`, the API under `/api/v1`, a web page,
//! health and figures. It runs by itself, or its [`router`](Server::router) is mounted in another service, which says
//! with its own [`Authenticator`] who is asking. The program `chat-server` is little more than its configuration.
//!
//! ```
//! use chat_core::{Engine, store::MemoryStore};
//! use chat_server::{OpenAuth, Server};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let engine = Engine::builder(MemoryStore::new()).build().await?;
//! let app = Server::builder(engine).authenticator(OpenAuth).build().router();
//! # drop(app);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What clients can rely on stands in `docs/protocol.md`; every bound is in [`limits`].

mod admission;
mod api;
mod auth;
mod capacity;
mod connection;
mod error;
mod headers;
mod health;
mod lifecycle;
pub mod limits;
mod listen;
mod metrics;
mod origin;
mod overload;
mod panics;
mod peer;
mod query;
mod rates;
mod refusal;
mod seldom;
mod server;
#[cfg(test)]
mod slow_tls;
mod small_file;
mod target;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod watch;
mod web;

pub use auth::{AuthError, Authenticator, Grant, InvalidKey, JwtAuth, JwtKey, OpenAuth, SignIn, token_of};
pub use chat_core::store::BoxFuture;
pub use ipnet::IpNet;
pub use metrics::{Metrics, MetricsError};
pub use origin::{InvalidOrigin, Origin};
pub use peer::ClientAddress;
pub use rates::{InvalidRateLimit, RateLimit};
pub use server::{Server, ServerBuilder};
pub use small_file::read_small_file;
pub use tls::{Tls, TlsError};
