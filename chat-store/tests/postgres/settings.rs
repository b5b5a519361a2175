//! What holds for the sessions of a store, whatever others set.

use chat_core::store::Store;
use chat_store::testing::postgres_database;

use crate::support::{commit, message, open, outsider, room};

/// Settings as others make them, each with what it then is in a session of ours.
const SETTINGS: [(&str, &str, &str); 6] = [
    ("synchronous_commit", "off", "on"),
    ("search_path", "public", "chat"),
    ("statement_timeout", "1", "0"),
    ("lock_timeout", "1", "1500ms"),
    ("idle_in_transaction_session_timeout", "1", "5s"),
    ("default_transaction_isolation", "serializable", "read committed"),
];

#[tokio::test]
async fn what_is_ours_holds_whatever_the_role_the_database_and_the_url_say() {
    let database = postgres_database();
    let outsider = outsider(database.url()).await;
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
    let store = open(&format!("postgres://{login}@{place}?options={}", options.join("%20"))).await;
    let room = room(&store, "r").await;

    // What a session of the store has, as it writes.
    let names: Vec<_> = SETTINGS.iter().map(|(name, ..)| format!("current_setting('{name}')")).collect();
    outsider
        .batch_execute(&format!(
            "SET search_path = chat, public;
             CREATE TABLE public.seen (settings text[]);
             GRANT INSERT ON public.seen TO {login};
             CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                INSERT INTO public.seen VALUES (ARRAY[{}]);
                RETURN NULL;
             END $$;
             CREATE TRIGGER look AFTER INSERT ON chat.events EXECUTE FUNCTION public.look()",
            names.join(", ")
        ))
        .await
        .unwrap();
    commit(&store, message(room, "text")).await;
    let seen: Vec<String> = outsider.query_one("SELECT settings FROM public.seen", &[]).await.unwrap().get(0);
    assert_eq!(seen, SETTINGS.map(|(_, _, ours)| ours));
    store.ping().await.unwrap();
}
