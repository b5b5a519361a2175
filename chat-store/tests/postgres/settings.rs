//! What holds for the sessions of a store, whatever others set.

use chat_core::store::Store;
use chat_store::testing::{PostgresDatabase, postgres_database};
use tokio_postgres::Client;

use crate::{
    proxy::Proxy,
    support::{commit, message, open, outsider, room},
};

/// Settings as others make them, each with what it then is in a session of ours. They hold until the session has ours: a
/// shorter time for a statement would let nobody in.
const SETTINGS: [(&str, &str, &str); 6] = [
    ("synchronous_commit", "off", "on"),
    ("search_path", "public", "chat"),
    ("statement_timeout", "10000", "0"),
    ("lock_timeout", "1", "1500ms"),
    ("idle_in_transaction_session_timeout", "1", "5s"),
    ("default_transaction_isolation", "serializable", "read committed"),
];

/// Sets them for a database and a login of its own, and has an URL say so, too.
async fn set_otherwise(database: &PostgresDatabase, outsider: &Client) -> String {
    let login = format!("login_{}", database.name());
    outsider
        .batch_execute(&format!(
            "CREATE ROLE {login} LOGIN; GRANT CREATE ON DATABASE {} TO {login}",
            database.name()
        ))
        .await
        .unwrap();
    let mut options = Vec::new();
    for (name, value, _) in SETTINGS {
        for whose in [
            format!("DATABASE {}", database.name()),
            format!("ROLE {login}"),
            format!("ROLE {login} IN DATABASE {}", database.name()),
        ] {
            outsider.batch_execute(&format!("ALTER {whose} SET {name} = '{value}'")).await.unwrap();
        }
        options.push(format!("-c%20{name}%3D{value}"));
    }
    let (_, place) = database.url().split_once('@').unwrap();
    format!("postgres://{login}@{place}?options={}", options.join("%20"))
}

/// Opens a store, and holds what its sessions have against what is ours.
async fn assert_ours_hold(database: &PostgresDatabase, outsider: &Client, url: &str) {
    let store = open(url).await;
    let room = room(&store, "r").await;

    // What a session of the store has, as it writes.
    let names: Vec<_> = SETTINGS.iter().map(|(name, ..)| format!("current_setting('{name}')")).collect();
    outsider
        .batch_execute(&format!(
            "SET search_path = chat, public;
             CREATE TABLE public.seen (settings text[]);
             GRANT INSERT ON public.seen TO login_{};
             CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                INSERT INTO public.seen VALUES (ARRAY[{}]);
                RETURN NULL;
             END $$;
             CREATE TRIGGER look AFTER INSERT ON chat.events EXECUTE FUNCTION public.look()",
            database.name(),
            names.join(", ")
        ))
        .await
        .unwrap();
    commit(&store, message(room, "text")).await;
    let seen: Vec<String> = outsider.query_one("SELECT settings FROM public.seen", &[]).await.unwrap().get(0);
    assert_eq!(seen, SETTINGS.map(|(_, _, ours)| ours));
    store.ping().await.unwrap();
}

#[tokio::test]
async fn what_is_ours_holds_whatever_the_role_the_database_and_the_url_say() {
    let database = postgres_database();
    let outsider = outsider(database.url()).await;
    let url = set_otherwise(&database, &outsider).await;
    assert_ours_hold(&database, &outsider, &url).await;
}

#[tokio::test]
async fn it_holds_on_a_way_on_which_start_parameters_get_lost() {
    let database = postgres_database();
    let outsider = outsider(database.url()).await;
    let url = set_otherwise(&database, &outsider).await;
    let pooler = Proxy::without_options(&url).await;
    assert_ours_hold(&database, &outsider, pooler.url()).await;
}
