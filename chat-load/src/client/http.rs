//! The way to an open socket, and single requests.

use std::{
    fmt::{self, Write as _},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::scan::Subprotocol;
pub use super::target::{InvalidTarget, Target};

/// An answer takes no longer: a server under load may be slow, one that hangs is none.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The head of an answer is no longer, nor has it more lines than this.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// A body is no longer: the figures of a server are far below.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("nothing answers at {address}: is the server running? ({source})")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// This process may open no more files.
    #[error("too few file descriptors: raise the limit with ulimit -n")]
    Descriptors,
    /// No port is left on this side.
    #[error("no local port is left for another connection")]
    Ports,
    /// The connection broke off.
    #[error("the connection ended before there was an answer ({0})")]
    Broken(#[source] io::Error),
    /// Nothing came for [`ANSWER_MAX`].
    #[error("no answer for {} s", ANSWER_MAX.as_secs())]
    Silent,
    /// The server said no.
    #[error("the server refuses with {status}{}{}", of_refusal(code, message), of_wait(*retry_after))]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// Its code, where it has one.
        code: String,
        /// For a person.
        message: String,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// It speaks another subprotocol, or none.
    #[error("the server does not speak {wanted} but {got}")]
    Subprotocol {
        /// What was asked for.
        wanted: &'static str,
        /// What it said.
        got: String,
    },
    /// What answers speaks no WebSocket.
    #[error("what answers is no WebSocket server: {0}")]
    Strange(String),
}

impl ConnectError {
    /// When it may have passed, at the earliest; `None` where it does not pass.
    pub fn passes_after(&self) -> Option<Duration> {
        match self {
            // A server that is full or restarts, and a proxy whose server does.
            Self::Refused { status: 429 | 500.., retry_after, .. } => Some(retry_after.unwrap_or_default()),
            Self::Refused { .. } | Self::Subprotocol { .. } => None,
            _ => Some(Duration::ZERO),
        }
    }
}

fn of_refusal(code: &str, message: &str) -> String {
    if code.is_empty() { String::new() } else { format!(", {code}: {message}") }
}

fn of_wait(retry_after: Option<Duration>) -> String {
    retry_after.map_or(String::new(), |wait| format!(" (again in {} s)", wait.as_secs()))
}

/// Who a connection is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A server that believes everybody is told a name, and a role where it is not `member`.
    Named {
        /// The user's id.
        user: String,
        /// The role on the server.
        role: &'static str,
    },
    /// A token that somebody signed.
    Token(String),
    /// Nobody yet: a token in the first frame tells.
    Later,
}

/// A socket that is open.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub stream: TcpStream,
    /// What came behind the answer already.
    pub rest: Vec<u8>,
}

/// Opens a socket, from the local address `from` where one is given.
///
/// # Errors
/// [`ConnectError`].
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn connect(
    target: &Target,
    from: Option<Ipv4Addr>,
    who: &Who,
    subprotocol: Subprotocol,
) -> Result<Opened, ConnectError> {
    let path = match who {
        Who::Named { user, role } => format!("/ws?user={}&role={role}", Escaped(user)),
        Who::Token(_) | Who::Later => "/ws".to_owned(),
    };
    connect_at(target, from, &path, who, Some(subprotocol)).await
}

/// Opens a socket at any path, with a token where it is of one, and with a subprotocol where one must be spoken.
///
/// # Errors
/// [`ConnectError`].
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn connect_at(
    target: &Target,
    from: Option<Ipv4Addr>,
    path: &str,
    who: &Who,
    subprotocol: Option<Subprotocol>,
) -> Result<Opened, ConnectError> {
    let opening = async {
        let mut stream = dial(target.address, from).await?;
        let key = generate_key();
        let answer = ask(&mut stream, &upgrade(target, path, who, subprotocol, &key)).await?;
        match answer.status {
            101 => opened(stream, answer, subprotocol, &key),
            _ => Err(refused(&mut stream, answer).await),
        }
    };
    timeout(ANSWER_MAX, opening).await.unwrap_or(Err(ConnectError::Silent))
}

/// The body of an answer to `GET`, which must be a success.
///
/// # Errors
/// [`ConnectError`].
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn get(target: &Target, path: &str) -> Result<String, ConnectError> {
    let getting = async {
        let mut stream = dial(target.address, None).await?;
        let host = &target.host;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = ask(&mut stream, &request).await?;
        match answer.status {
            200 => Ok(answer.body(&mut stream).await),
            _ => Err(refused(&mut stream, answer).await),
        }
    };
    timeout(ANSWER_MAX, getting).await.unwrap_or(Err(ConnectError::Silent))
}

async fn dial(address: SocketAddr, from: Option<Ipv4Addr>) -> Result<TcpStream, ConnectError> {
    let failed = |error: io::Error| match error.kind() {
        _ if error.raw_os_error() == Some(EMFILE) => ConnectError::Descriptors,
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => ConnectError::Ports,
        _ => ConnectError::Unreachable { address, source: error },
    };
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(failed)?;
    if let Some(from) = from {
        socket.bind((from, 0).into()).map_err(failed)?;
    }
    let stream = socket.connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// "Too many open files", on every system with this name for it.
const EMFILE: i32 = 24;

fn upgrade(target: &Target, path: &str, who: &Who, subprotocol: Option<Subprotocol>, key: &str) -> String {
    let mut request = String::with_capacity(512);
    let host = &target.host;
    let _ = write!(
        request,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    );
    if let Some(subprotocol) = subprotocol {
        let _ = write!(request, "Sec-WebSocket-Protocol: {}\r\n", subprotocol.name());
    }
    if let Who::Token(token) = who {
        let _ = write!(request, "Authorization: Bearer {token}\r\n");
    }
    request.push_str("\r\n");
    request
}

/// A value of a URL's query (RFC 3986).
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    f.write_char(byte.into())?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

/// The head of an answer, and what came behind it.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    rest: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as far as it comes: to its length, or to the end of the connection.
    async fn body(self, stream: &mut TcpStream) -> String {
        let length = self.header("content-length").and_then(|length| length.parse().ok());
        let length = length.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        let mut body = self.rest;
        let missing = length.saturating_sub(body.len() as u64);
        // A body that breaks off is as good as one that ends there: it is read for a person, or by whoever looks for
        // what must be in it.
        let _ = stream.take(missing).read_to_end(&mut body).await;
        String::from_utf8_lossy(&body).into_owned()
    }
}

/// Sends a request and reads the head of the answer. A server that is full answers without reading, and closes: then
/// the request cannot be written, and the answer is there all the same.
async fn ask(stream: &mut TcpStream, request: &str) -> Result<Answer, ConnectError> {
    let written = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(answer) = parse(&bytes)? {
            return Ok(answer);
        }
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err(ConnectError::Strange("its answer has no end".to_owned()));
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) => {
                let error = written.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                return Err(ConnectError::Broken(error));
            }
            Ok(_) => {}
            Err(error) => return Err(ConnectError::Broken(error)),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Answer>, ConnectError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(bytes).map_err(|error| ConnectError::Strange(error.to_string()))?;
    let httparse::Status::Complete(end) = parsed else { return Ok(None) };
    let status = head.code.unwrap_or_default();
    let headers = head.headers.iter();
    let headers =
        headers.map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()));
    Ok(Some(Answer { status, headers: headers.collect(), rest: bytes[end..].to_vec() }))
}

fn opened(
    stream: TcpStream,
    answer: Answer,
    subprotocol: Option<Subprotocol>,
    key: &str,
) -> Result<Opened, ConnectError> {
    if answer.header("sec-websocket-accept") != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(ConnectError::Strange("it does not answer the key".to_owned()));
    }
    let got = answer.header("sec-websocket-protocol").unwrap_or("none");
    if let Some(wanted) = subprotocol.map(Subprotocol::name)
        && got != wanted
    {
        return Err(ConnectError::Subprotocol { wanted, got: got.to_owned() });
    }
    Ok(Opened { stream, rest: answer.rest })
}

/// The body of a refusal, as far as it is of interest.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Reason,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reason {
    code: String,
    message: String,
}

async fn refused(stream: &mut TcpStream, answer: Answer) -> ConnectError {
    let status = answer.status;
    let retry_after = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
    let retry_after = retry_after.map(Duration::from_secs);
    let body = answer.body(stream).await;
    let Reason { code, message } = serde_json::from_str::<Refusal>(&body).unwrap_or_default().error;
    ConnectError::Refused { status, code, message, retry_after }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The answer of a server that says `answer` to whoever comes, without reading.
    async fn answered(answer: &'static str) -> Result<Opened, ConnectError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::from(listener.local_addr().unwrap());
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            // What the client says must not be answered with a reset, which could overtake the answer.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let who = Who::Named { user: "ann".to_owned(), role: "member" };
        let ((), opened) = tokio::join!(serving, connect(&target, None, &who, Subprotocol::Plain));
        opened
    }

    #[test]
    fn a_name_stays_where_it_is_put() {
        assert_eq!(Escaped("a.b-c_9").to_string(), "a.b-c_9");
        assert_eq!(Escaped("a b&role=admin\r\né").to_string(), "a%20b%26role%3Dadmin%0D%0A%C3%A9");
    }

    #[tokio::test]
    async fn refusals_say_why_and_when_to_come_back() {
        let full = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 59\r\n\r\n\
                    {\"error\":{\"code\":\"overloaded\",\"message\":\"no place is left\"}}";
        let error = answered(full).await.unwrap_err();
        let wanted = "the server refuses with 503, overloaded: no place is left (again in 5 s)";
        assert_eq!(error.to_string(), wanted);
        let error = answered("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap_err();
        assert_eq!(error.to_string(), "the server refuses with 404");
    }

    #[tokio::test]
    async fn what_is_no_chat_server_is_told_from_one_that_is_gone() {
        let error = answered("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n").await;
        assert!(matches!(error, Err(ConnectError::Strange(_))), "{error:?}");
        let error = answered("SSH-2.0-OpenSSH_9.2\r\n").await;
        assert!(matches!(error, Err(ConnectError::Strange(_))), "{error:?}");
        let error = answered("").await;
        assert!(matches!(error, Err(ConnectError::Broken(_))), "{error:?}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::from(listener.local_addr().unwrap());
        drop(listener);
        let error = get(&target, "/metrics").await.unwrap_err();
        assert!(error.to_string().contains("is the server running?"), "{error}");
    }
}
