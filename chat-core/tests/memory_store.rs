//! The reference store passes the suite that every store passes.

use std::future::{Ready, ready};

use chat_core::{store::MemoryStore, testing::conformance};

fn store() -> Ready<MemoryStore> {
    ready(MemoryStore::new())
}

chat_core::conformance_tests!(store);

#[tokio::test]
async fn the_suite_runs_as_a_whole() {
    conformance::run(store).await;
}
