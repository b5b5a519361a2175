//! Databases as they are opened: empty, in use, and not ours.

use chat_core::store::Store;
use chat_store::{
    PostgresError, PostgresStore, maintenance::postgres as maintenance, testing::postgres_database,
};
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::{
    child::{Sender, sender},
    proxy::Proxy,
    support::{PATIENCE, commit, count, fresh, message, open, outsider, room, timeline, until},
};

/// What stands in a database: every relation, and what was migrated.
async fn contents(client: &Client) -> Vec<String> {
    let relations =
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg_%'
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%' ORDER BY 1";
    client.query(relations, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Opens what must not open, and holds the database against what it was.
async fn refusal(url: &str) -> PostgresError {
    let outsider = outsider(url.split('?').next().unwrap()).await;
    let before = contents(&outsider).await;
    let error = PostgresStore::open(url.parse().unwrap()).await.unwrap_err();
    assert_eq!(contents(&outsider).await, before, "{error}");
    assert!(!error.to_string().contains('\n'), "{error:?}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_an_empty_database_at_once_whatever_its_isolation() {
    for isolation in ["read committed", "serializable"] {
        let database = postgres_database();
        let outsider = outsider(database.url()).await;
        let set =
            format!("ALTER DATABASE {} SET default_transaction_isolation = '{isolation}'", database.name());
        outsider.batch_execute(&set).await.unwrap();
        let processes = [0, 1].map(|_| {
            let sender = Sender::start(sender(database.url(), 5, 100));
            tokio::task::spawn_blocking(|| sender.finish())
        });
        let (one, other, _) = tokio::join!(open(database.url()), open(database.url()), open(database.url()));
        for process in processes {
            assert!(process.await.unwrap().done);
        }
        let room = room(&one, "r").await;
        commit(&one, message(room, "text")).await;
        assert_eq!(timeline(&other, room).await.len(), 7);
        assert_eq!(count(&outsider, "SELECT count(*) FROM migrations").await, 1);
    }
}

#[tokio::test]
async fn a_newer_or_altered_schema_is_refused() {
    let (database, store) = fresh().await;
    drop(store);
    let outsider = outsider(database.url()).await;
    outsider
        .batch_execute("INSERT INTO migrations SELECT max(version) + 1, 'next', '0', 0 FROM migrations")
        .await
        .unwrap();
    let error = refusal(database.url()).await;
    let PostgresError::Newer { found, known, .. } = error else { panic!("{error:?}") };
    assert_eq!(found, known + 1);
    let sql =
        "DELETE FROM migrations WHERE name = 'next'; UPDATE migrations SET checksum = '0' WHERE version = 1";
    outsider.batch_execute(sql).await.unwrap();
    let error = refusal(database.url()).await;
    assert!(matches!(error, PostgresError::Altered { version: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_schema_of_another_program_is_left_alone() {
    for table in ["other (n int)", "migrations (id int, name text)", "rooms (no int)"] {
        let database = postgres_database();
        let outsider = outsider(database.url()).await;
        outsider.batch_execute(&format!("CREATE SCHEMA chat; CREATE TABLE chat.{table}")).await.unwrap();
        let error = refusal(database.url()).await;
        assert!(matches!(error, PostgresError::Foreign { .. }), "{table}: {error:?}");
        let error = maintenance::renew_epochs(&database.url().parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, PostgresError::Foreign { .. }), "{table}: {error:?}");
    }
}

#[tokio::test]
async fn who_may_make_no_schema_needs_one_that_is_there() {
    let database = postgres_database();
    let outsider = outsider(database.url()).await;
    let login = format!("login_{}", database.name());
    outsider.batch_execute(&format!("CREATE ROLE {login} LOGIN")).await.unwrap();
    let (_, place) = database.url().split_once('@').unwrap();
    let url = format!("postgres://{login}@{place}");

    let error = refusal(&url).await;
    assert!(matches!(error, PostgresError::Database { .. }), "{error:?}");
    outsider.batch_execute("CREATE SCHEMA chat").await.unwrap();
    let error = refusal(&url).await;
    assert!(matches!(error, PostgresError::Database { .. }), "{error:?}");
    outsider.batch_execute(&format!("ALTER SCHEMA chat OWNER TO {login}")).await.unwrap();
    let store = open(&url).await;
    let room = room(&store, "r").await;
    drop(store);

    // Whoever only uses what others made needs no more than that.
    let user = format!("user_{}", database.name());
    let grant = format!(
        "CREATE ROLE {user} LOGIN; GRANT USAGE ON SCHEMA chat TO {user};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA chat TO {user}"
    );
    outsider.batch_execute(&grant).await.unwrap();
    let store = open(&format!("postgres://{user}@{place}")).await;
    commit(&store, message(room, "text")).await;
    self::room(&store, "another").await;
}

#[tokio::test]
async fn a_postgres_that_falls_silent_while_it_is_opened_is_given_up() {
    let (database, _) = fresh().await;
    // The settings, the version of the schema, and what a connection of a pool begins with.
    for text in ["SET search_path", "FROM chat.migrations", "pg_advisory_lock_shared"] {
        let proxy = Proxy::silent_at(database.url(), text).await;
        let opened = timeout(PATIENCE, PostgresStore::open(proxy.url().parse().unwrap())).await;
        let error = opened.expect(text).unwrap_err();
        assert!(matches!(error, PostgresError::Unreachable { .. }), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn who_comes_while_no_server_may_run_is_told_so() {
    let (database, store) = fresh().await;
    drop(store);
    let outsider = outsider(database.url()).await;
    // As a copy has it, or who renews the epochs; and the store that was dropped has left then.
    outsider.batch_execute("SELECT pg_advisory_lock(x'63686174'::int, 2)").await.unwrap();
    let error = refusal(database.url()).await;
    assert!(matches!(error, PostgresError::InUse { .. }), "{error:?}");
    outsider.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    open(database.url()).await.ping().await.unwrap();
}

#[tokio::test]
async fn epochs_are_renewed_once_no_store_is_open() {
    let database = postgres_database();
    let address = database.url().parse().unwrap();
    let error = maintenance::renew_epochs(&address).await.unwrap_err();
    assert!(matches!(error, PostgresError::Missing { .. }), "{error:?}");
    assert!(maintenance::migrate(&address).await.unwrap().to > 0);

    let (one, other) = (open(database.url()).await, open(database.url()).await);
    let error = maintenance::renew_epochs(&address).await.unwrap_err();
    assert!(matches!(error, PostgresError::InUse { .. }), "{error:?}");
    let migrated = maintenance::migrate(&address).await.unwrap();
    assert_eq!(migrated.from, migrated.to);
    for id in ["a", "b"] {
        room(&one, id).await;
    }
    let views = async |store: &PostgresStore| store.rooms("ann".parse().unwrap(), None, 10).await.unwrap();
    let before = views(&one).await;
    drop(one);
    let error = maintenance::renew_epochs(&address).await.unwrap_err();
    assert!(matches!(error, PostgresError::InUse { .. }), "{error:?}");
    drop(other);
    let mut renewed = None;
    until("the store has left", async || {
        renewed = maintenance::renew_epochs(&address).await.ok();
        renewed.is_some()
    })
    .await;
    assert_eq!(renewed, Some(2));

    let after = views(&open(database.url()).await).await;
    let mut epochs: Vec<_> = before.iter().chain(&after).map(|view| view.room.epoch.as_str()).collect();
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 3, "the two of before are one, and those of afterwards differ: {epochs:?}");
    for (mut now, was) in after.into_iter().zip(before) {
        now.room.epoch = was.room.epoch.clone();
        assert_eq!(now, was);
    }
}
