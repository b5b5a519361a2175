//! No descriptors left: the server waits for some, says so once, and goes on when there are.

mod support;

use std::{fs::File, time::Duration};

use rlimit::Resource;
use support::{TestServer, lines::Lines};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The only test of its process, as the limit is the process's.
#[tokio::test]
async fn a_server_without_descriptors_waits_and_says_so_once() {
    let lines = Lines::default();
    let _log = lines.collect();
    let server = TestServer::start().await;
    // The client's end is made while there are descriptors: the kernel completes it, the server cannot accept it.
    let (_, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(200.min(hard), hard).unwrap();
    let mut held: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(held.len() > 50, "the limit holds");
    held.pop().unwrap();
    let mut waiting = TcpStream::connect(server.address).await.unwrap();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let failed = async {
        while lines.of("no new connection can be taken").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), failed).await.expect("it is said");
    // Ten tries are enough to tell once from each time.
    tokio::time::sleep(chat_server::limits::ACCEPT_PAUSE * 10).await;
    assert_eq!(lines.of("no new connection can be taken").len(), 1, "once, not at each try");
    drop(held);
    let mut answer = String::new();
    timeout(Duration::from_secs(5), waiting.read_to_string(&mut answer)).await.expect("it goes on").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
