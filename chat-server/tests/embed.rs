//! The server as a part of another service.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::{net::SocketAddr, time::Duration};

use axum::{Router, http::request::Parts, routing::get};
use chat_core::{
    Engine, Identity, MissingRooms,
    store::{BoxFuture, MemoryStore},
};
use chat_server::{AuthError, Authenticator, Grant, OpenAuth, Server};
use futures_util::StreamExt;
use serde_json::json;
use support::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// An authentication of the service's own.
#[derive(Debug)]
struct ByHeader;

impl Authenticator for ByHeader {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move {
            let user = request.headers.get("x-user").and_then(|user| user.to_str().ok());
            user.and_then(|user| Identity::new(user).ok()).map(Grant::from).ok_or(AuthError::Refused)
        })
    }
}

async fn service() -> (SocketAddr, Server) {
    let missing = MissingRooms::Create { rooms_max: 10 };
    let engine = Engine::builder(MemoryStore::new()).missing_rooms(missing).build().await.unwrap();
    let chat = Server::builder(engine).authenticator(ByHeader).build();
    let app = Router::new().route("/", get(async || "the service's own")).nest("/chat", chat.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, chat)
}

/// Over a stream that is no TCP socket, as TLS would be one.
#[tokio::test]
async fn it_speaks_over_any_stream() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let engine = Engine::builder(MemoryStore::new()).missing_rooms(MissingRooms::Create { rooms_max: 10 });
    let chat = Server::builder(engine.build().await.unwrap()).authenticator(OpenAuth).build();
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let app = chat.router();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = "ws://localhost/ws?user=ann".into_client_request().unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut ann = Client::of(socket);
    assert_eq!(ann.join("r").await["type"], "joined");
    for n in 2..500 {
        let text = "x".repeat(n);
        let ack = ann.call(json!({ "type": "send", "room": "r", "text": text })).await;
        assert_eq!(ack["type"], "ack");
    }
    let history = ann.call(json!({ "type": "history", "room": "r" })).await;
    assert_eq!(history["events"].as_array().unwrap().len(), 200);
}

async fn connect(address: SocketAddr, user: Option<&str>) -> Result<Client<TcpStream>, u16> {
    let mut request = format!("ws://{address}/chat/ws").into_client_request().unwrap();
    if let Some(user) = user {
        request.headers_mut().insert("x-user", user.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(Client::of(socket)),
        Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn it_is_nested_with_an_authentication_of_the_services_own() {
    let (address, chat) = service().await;
    assert_eq!(connect(address, None).await.err(), Some(401));
    let mut ann = connect(address, Some("ann")).await.ok().unwrap();
    assert_eq!(ann.next().await["user"]["id"], "ann");
    assert_eq!(ann.join("r").await["type"], "joined");
    let ((), code) = tokio::join!(chat.drain(Duration::from_secs(5)), async {
        let code = u16::from(ann.closed().await.code);
        while ann.socket.next().await.is_some() {}
        code
    });
    assert_eq!(code, 1001);
    assert_eq!(
        connect(address, Some("ann")).await.err(),
        Some(503),
        "a server that has drained opens nothing"
    );
}
