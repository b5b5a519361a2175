//! The suite that every store passes, on each.

#![cfg(any(feature = "sqlite", feature = "testing"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of a #[test]")]

#[cfg(feature = "sqlite")]
mod sqlite {
    use chat_store::SqliteStore;

    async fn store() -> SqliteStore {
        SqliteStore::in_memory().await.unwrap()
    }

    chat_core::conformance_tests!(store);
}

#[cfg(feature = "testing")]
mod postgres {
    use std::cell::RefCell;

    use chat_store::{
        PostgresStore,
        testing::{PostgresDatabase, postgres_database},
    };

    thread_local! {
        /// The database of the test on this thread: dropped once the test, and the store with it, is over.
        static DATABASE: RefCell<Option<PostgresDatabase>> = const { RefCell::new(None) };
    }

    async fn store() -> PostgresStore {
        let database = postgres_database();
        let store = PostgresStore::open(database.url().parse().unwrap()).await.unwrap();
        DATABASE.set(Some(database));
        store
    }

    chat_core::conformance_tests!(store);
}
