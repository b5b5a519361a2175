//! How the way to Postgres is secured, against a server that can do TLS and one that cannot. What else certificates can
//! have in them is tried beside the code.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of a #[test]")]

use std::{path::Path, time::Duration};

use chat_core::store::Store;
use chat_store::{PostgresAddress, PostgresStore, testing::PostgresServer};
use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;

/// Nothing that is waited for may take longer. It is generous: it tells what hangs from what is slow.
const DEADLINE: Duration = Duration::from_mins(1);

/// Opens a database, and says whether its connections are encrypted. Otherwise all that is told of why not.
async fn encrypted(server: &PostgresServer, place: &str, parameters: &str) -> Result<bool, String> {
    let address: PostgresAddress = format!("{place}?{parameters}").parse().unwrap();
    let store = PostgresStore::open(address).await.map_err(|error| with_causes(&error))?;
    store.ping().await.unwrap();
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let ways = "SELECT bool_and(ssl), bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'chat'";
    let row = client.query_one(ways, &[]).await.unwrap();
    assert_eq!(row.get::<_, bool>(0), row.get::<_, bool>(1), "all of them or none");
    drop(store);
    // Those of a store are closed in their own time.
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chat'";
    let closed = async {
        while client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, closed).await.expect("they are closed");
    Ok(row.get(0))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The same server by a name that its certificate is not for.
fn elsewhere(server: &PostgresServer) -> String {
    server.url().replace("@127.0.0.1", "@elsewhere.example")
}

/// An authority that has signed nothing.
fn stranger(dir: &Path) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let path = dir.join("stranger.pem");
    std::fs::write(&path, authority.self_signed(&key).unwrap().pem()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_mode_encrypts_and_verifies_what_it_says() {
    let server = PostgresServer::start_with_tls();
    let dir = tempfile::tempdir().unwrap();
    let (known, stranger) = (server.authority().unwrap().display(), stranger(dir.path()));
    let (here, elsewhere) = (server.url(), &elsewhere(&server));
    for (place, parameters, expected) in [
        (here, "sslmode=disable".to_owned(), false),
        (here, "application_name=chat".to_owned(), true),
        (here, "sslmode=prefer".to_owned(), true),
        (here, "sslmode=require".to_owned(), true),
        (here, format!("sslmode=require&sslrootcert={known}"), true),
        (here, format!("sslmode=verify-ca&sslrootcert={known}"), true),
        (here, format!("sslmode=verify-full&sslrootcert={known}"), true),
        (elsewhere, "hostaddr=127.0.0.1&sslmode=require".to_owned(), true),
        (elsewhere, format!("hostaddr=127.0.0.1&sslmode=verify-ca&sslrootcert={known}"), true),
    ] {
        assert_eq!(encrypted(&server, place, &parameters).await, Ok(expected), "{parameters}");
    }
    for (place, parameters, told) in [
        (here, format!("sslmode=require&sslrootcert={stranger}"), "UnknownIssuer"),
        (here, format!("sslmode=verify-ca&sslrootcert={stranger}"), "UnknownIssuer"),
        (here, format!("sslmode=verify-full&sslrootcert={stranger}"), "UnknownIssuer"),
        (here, "sslmode=verify-full&sslrootcert=/none.pem".to_owned(), "/none.pem"),
        (
            elsewhere,
            format!("hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={known}"),
            "not valid for name",
        ),
    ] {
        let line = encrypted(&server, place, &parameters).await.unwrap_err();
        assert!(line.contains(told), "{parameters}: {line}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let server = PostgresServer::start();
    for parameters in ["sslmode=disable", "sslmode=prefer"] {
        assert_eq!(encrypted(&server, server.url(), parameters).await, Ok(false), "{parameters}");
    }
    for parameters in ["sslmode=require", "sslmode=verify-ca", "sslmode=verify-full"] {
        let line = encrypted(&server, server.url(), parameters).await.unwrap_err();
        assert!(line.contains("does not support TLS"), "{parameters}: {line}");
    }
}
