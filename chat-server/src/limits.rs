//! Every bound of the server in one place: its unit, why it is what it is, and what happens there.

use std::{num::NonZeroU32, time::Duration};

/// Bytes of one request's head. Past it: 431. It holds any token of sense and stays far below what would hurt.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// Header fields of one request. Past it: 431.
pub const HEADERS_MAX: usize = 100;

/// How long a request's head may take to arrive, and an idle connection to send its next one. Then it is closed.
pub const HEAD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Bytes of one request's body. Past it: 413. The same as a frame on the socket.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// How long a request's body may take to arrive. Then: 408.
pub const BODY_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a browser may rely on what it was told a page of an allowed origin may ask. It asks again then.
pub const PREFLIGHT_AGE_MAX: Duration = Duration::from_mins(10);

/// Rooms or members of one page. A larger `limit` is capped.
pub const LIST_PAGE_MAX: usize = 200;

/// How long `/readyz` waits for the store. Then: 503.
pub const READY_WAIT_MAX: Duration = Duration::from_secs(2);

/// Bytes that one read takes from a socket. They lie on the stack; of a connection only those are kept that stand behind a
/// message, until it is their turn.
pub const READ_BYTES: usize = 16 << 10;

/// Bytes in which tungstenite begins to put a message together, and more once a header announces more. It zeroes them
/// before each step and gives none back, so it is dropped itself when nothing is left unfinished: its default of 128 KiB,
/// kept, costs 137 kB a connection and 24 µs a wake. One of 512 bytes is made and dropped within 0.1 µs.
pub const ASSEMBLY_BYTES: usize = 512;

/// Bytes that are read away at once from a peer whose bytes no longer count.
pub const DISCARD_BYTES: usize = 1024;

/// Bytes that the kernel keeps for a reader who does not read; it doubles the figure for its own books. Without a cap
/// it grows to 4 MiB a slow reader.
pub const SEND_BUFFER_BYTES: usize = 128 << 10;

/// Bytes of pongs that wait for their place between two runs of frames. Past it tungstenite keeps the newest only.
pub const CONTROL_BYTES_MAX: usize = 512;

/// Messages that one connection is read in a row before its task lets others run.
pub const MESSAGES_PER_TURN: usize = 64;

/// Pings and pongs that a peer may send at once. Past it, and faster than [`CONTROL_FRAMES_PER_S`]: 1008.
pub const CONTROL_FRAMES_BURST: u32 = 500;

/// Pings and pongs that a peer may send a second.
pub const CONTROL_FRAMES_PER_S: u32 = 50;

/// A message may take so many times its largest size on the wire, in fragments with their headers. Past it: 1008.
/// Without this bound, empty fragments could go on for ever.
pub const FRAGMENTATION_MAX: u32 = 4;

/// How long a message, or a frame of any kind, that has begun may take to end. Then: 1008.
pub const MESSAGE_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long no byte may move to a reader for whom there is something. Then: 4008, and for an answer over HTTP the end of
/// the connection.
pub const STALL_MAX: Duration = Duration::from_secs(30);

/// The time between two looks at a peer from whom nothing is read, as its commands wait: whether it is still there. Not
/// until then is a pause long enough to mean that the store hangs or the peer does not read.
pub const PAUSE_LOOK_PERIOD: Duration = Duration::from_millis(250);

/// The time between two pings.
pub const PING_PERIOD: Duration = Duration::from_secs(25);

/// Pings in a row that a peer may leave unanswered while no byte moves either way. Then: 4009.
pub const PINGS_MISSED_MAX: u8 = 2;

/// How long a socket is kept after our close frame was queued. Then it is reset.
pub const CLOSE_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a stream of which both sides end at once (TLS) is kept open for the peer's close frame, once ours is out.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a socket is kept once both close frames are out and only the peer's FIN is missing.
pub const FIN_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long a draining server goes on reading what had arrived, from a peer that never pauses.
pub const ARRIVALS_WAIT_MAX: Duration = Duration::from_millis(500);

/// Bytes of a token. Past it: 401, or 4001, before anything is computed over it.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// How long a socket whose request named nobody may take until its `auth` frame has come. Then: 4001.
pub const AUTH_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long an authenticator may take over a token. Then it counts as one that does not answer.
pub const AUTH_CHECK_MAX: Duration = Duration::from_secs(5);

/// Commands of one connection that may be refused as `rate_limited` at once. Past it, and faster than
/// [`REFUSALS_PER_S`]: 4029. It leaves room for a client that sends what it had queued, and then heeds the answers.
pub const REFUSALS_BURST: u32 = 256;

/// Commands of one connection that may be refused as `rate_limited` a second.
pub const REFUSALS_PER_S: u32 = 2;

/// How many times the rate of sends what costs little (joins, leaves, read marks, typing, pings, tokens) may come, and how
/// many times its burst joins that replay: a client that comes back joins all its rooms at once.
pub const RATE_FACTOR: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// Sends a second, or at once, that a rate limit may allow at most.
pub const RATE_MAX: u32 = 1_000_000;

/// Connections and requests after which the rates of users who have rested are forgotten: so those of at most so many
/// more are kept than have asked for something lately.
pub const RATES_SWEEP_EVERY: usize = 1024;

/// How long a server that drains by itself waits for its connections and requests.
pub const DRAIN_WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// The pause after the system refused a new connection, as it does where no descriptor is left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are one too many and whose requests are read away after the answer. Past it they are closed at
/// once, and the answer may be lost.
pub const REFUSALS_MAX: usize = 64;

/// How long such a connection may take to close its end. Then ours is closed.
pub const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(1);

/// When a client may try again for whom the server had no connection left.
pub const SERVER_FULL_RETRY: Duration = Duration::from_secs(5);

/// When a client may try again whose address had too many connections.
pub const ADDRESS_FULL_RETRY: Duration = Duration::from_secs(10);

/// When a client may try again whose connection is refused as the server has more to do than it can.
pub const OVERLOADED_RETRY: Duration = Duration::from_secs(5);

/// The time between two looks of the server at itself.
pub const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// Looks between two reckonings of what the server can bear.
pub const LOOKS_PER_RECKONING: u32 = 4;

/// How long the signs of a higher level of overload must last until the server goes to the next one. Two looks and more, so
/// that a moment is no reason; and no longer, as what is accepted meanwhile has to be done.
pub const OVERLOAD_RISE: Duration = Duration::from_millis(500);

/// How long the signs of a level must be gone until the server goes back to the one before.
pub const OVERLOAD_FALL: Duration = Duration::from_secs(3);

/// The share of its processors that a server must use for its late timers, or a full machine, to count as its own: what
/// one takes that does less is others' work, and leaving off spares nothing of it. A wait for commits counts always.
pub const OVERLOAD_OWN_SHARE_MIN: f64 = 0.1;

/// The time between two log lines of what a stranger can repeat as often as they like.
pub const REPEAT_LOG_PERIOD: Duration = Duration::from_secs(10);

/// Connections that the address of the metrics takes. Past it: 503.
pub const METRICS_CONNECTIONS_MAX: usize = 64;

/// How long a TLS handshake may take. Then the connection is closed.
pub const TLS_HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Bytes that TLS holds of one connection's output, on top of the socket's. Past it the connection waits.
pub const TLS_BUFFER_BYTES: usize = 32 << 10;

/// Bytes of a file with certificates, a key or settings: more than any needs. A larger one is refused.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Rooms that joins may make where they may make any, as they may in the program's `open` mode. Past it a join of
/// another finds nothing.
pub const OPEN_ROOMS_MAX: u64 = 100_000;

/// The time between two looks whether the certificate's files have changed.
pub const TLS_RELOAD_PERIOD: Duration = Duration::from_secs(30);

/// The time between two upkeeps of the metrics: samples of histograms pile up until then.
pub const METRICS_UPKEEP_PERIOD: Duration = Duration::from_secs(5);
