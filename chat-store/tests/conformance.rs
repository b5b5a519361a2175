//! The suite that every store passes, on SQLite.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a helper of tests, outside of a #[test]")]

use chat_store::SqliteStore;

async fn store() -> SqliteStore {
    SqliteStore::in_memory().await.unwrap()
}

chat_core::conformance_tests!(store);
