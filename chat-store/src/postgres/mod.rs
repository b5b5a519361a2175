//! What a store on Postgres is reached by.

#[cfg_attr(not(test), expect(dead_code, reason = "the store that goes there comes next"))]
mod address;
mod tls;

pub use address::{InvalidAddress, PostgresAddress};
pub use tls::TlsError;
