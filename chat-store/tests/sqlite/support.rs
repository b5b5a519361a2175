//! A store in a file, and what the tests of every store use.

use std::path::Path;

use chat_store::SqliteStore;

pub(crate) use crate::rooms::*;

pub(crate) async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).await.unwrap()
}
