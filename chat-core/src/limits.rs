//! Every bound of the engine in one place: its unit, why it is what it is, and what happens there.

use std::time::Duration;

use serde::Serialize;

/// What a client is told of the bounds that concern it (`welcome.limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a message's text. Past it: `too_large`.
    pub text_bytes: usize,
    /// Bytes of one incoming frame or message. Past it the transport closes with 1009.
    pub frame_bytes: usize,
    /// Events of one history page. A larger `limit` is capped.
    pub history_page: usize,
    /// Bytes of an idempotency key. Past it: `too_large`.
    pub key_bytes: usize,
    /// Bytes of a message's `meta` as JSON text. Past it: `too_large`.
    pub meta_bytes: usize,
    /// Bytes of a reaction's emoji; the longest in Unicode 16 has 35. Past it: `too_large`.
    pub emoji_bytes: usize,
    /// Rooms that one connection may have joined. Past it: `forbidden`.
    #[serde(skip)]
    pub rooms_per_connection: usize,
    /// Bytes of encoded events that a room keeps live, per codec. An older position is fed from the store. A room with more
    /// than [`TAIL_SHARES`] connections keeps more, in proportion: they all would be fed from the store at once.
    #[serde(skip)]
    pub tail_bytes: usize,
    /// Bytes of events in one page read from the store; a page holds at least one event.
    #[serde(skip)]
    pub page_bytes: usize,
    /// Bytes gathered for one write to one connection, give or take what has gathered in a room.
    #[serde(skip)]
    pub flush_bytes: usize,
    /// How long what is new in a busy room gathers before its readers are woken.
    #[serde(skip)]
    pub gathering: Gathering,
    /// Sends, edits and reactions that wait for a commit beside the one under way, in all, where the node
    /// [refuses](crate::Strain::RefuseSends) more. Past it: `overloaded`. Small, so that what is taken does not wait for seconds;
    /// yet a quarter of the largest batch, so that a commit of as many is not much dearer for each.
    #[serde(skip)]
    pub strained_queue: usize,
}

/// How long what is new in a room waits for more, so that it goes out in fewer and larger writes. The wait counts from
/// the receipt of the first, a commit's time included.
///
/// Nothing waits where, by the events of the last tenth of a second, writing each to each reader at once would take less
/// than a hundredth of a processor: so a quiet or small room's message leaves as soon as it is committed. From 2.5 hundredths on, the wait is
/// `first + per_reader × readers`, `max` at most; between them it grows in line. A sender never waits for its ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathering {
    /// What the shortest whole wait begins with: with fewer readers there is less to win.
    pub first: Duration,
    /// What each reader adds: about what a write to one costs, some times over, so that writing takes a share of the
    /// time between two waits whatever their number.
    pub per_reader: Duration,
    /// The longest wait. Zero: nothing ever waits.
    pub max: Duration,
    /// What one write to one reader is taken to cost, by which a room counts as busy.
    pub write_cost: Duration,
}

impl Default for Gathering {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(28),
            per_reader: Duration::from_micros(26),
            max: Duration::from_millis(150),
            write_cost: Duration::from_micros(3),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes: 4096,
            frame_bytes: 65_536,
            history_page: 200,
            key_bytes: 64,
            meta_bytes: 4096,
            emoji_bytes: 64,
            rooms_per_connection: 1000,
            tail_bytes: 1 << 20,
            page_bytes: 256 << 10,
            flush_bytes: 64 << 10,
            gathering: Gathering::default(),
            strained_queue: 256,
        }
    }
}

/// The longest wait for what is new to gather under [strain](crate::Strain), however many times longer it is then; a longer
/// [`Gathering::max`] counts as it is. It stays below the half second that a delivery may take.
pub const GATHERING_STRAINED_MAX: Duration = Duration::from_millis(400);

/// Events up to which a wait may grow under strain. A write costs what some sixty events in it do: with many more, longer
/// waits spare nothing, and only make what is written at once too large for the sockets.
pub const GATHERED_STRAINED_MAX: u32 = 256;

/// Connections of a room that [`Limits::tail_bytes`] is for.
pub const TAIL_SHARES: usize = 256;

/// Bytes, as the tail counts them, up to which what gathered is encoded as one. That is more than they are on the wire:
/// about what is written at once.
pub const BLOCK_BYTES_MAX: usize = 128 << 10;

/// Bytes of a user's or a room's name. Past it: `too_large`.
pub const NAME_BYTES_MAX: usize = 200;

/// Bytes of a room's topic. Past it: `too_large`.
pub const TOPIC_BYTES_MAX: usize = 1024;

/// Bytes of a room's opaque state as JSON text. Past it: `too_large`.
pub const STATE_BYTES_MAX: usize = 16 << 10;

/// Commands of one connection that still wait for their reply or for its place in the stream.
/// At the bound no more is read from the connection.
pub const PENDING_COMMANDS_MAX: usize = 1024;

/// Bytes of commands of one connection that have not begun, as they wait for one before them.
/// At the bound no more is read from the connection.
pub const PENDING_COMMAND_BYTES_MAX: usize = 256 << 10;

/// Bytes of errors and pongs that wait to be taken by one connection. At the bound no more is read from it.
pub const PENDING_REPLY_BYTES_MAX: usize = 256 << 10;

/// Appends that wait for a commit, in all. Past it a send is refused as `overloaded`.
pub const COMMIT_QUEUE_MAX: usize = 65_536;

/// Bytes of appends that wait for a commit, in all. Past it a send is refused as `overloaded`.
pub const COMMIT_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Appends of one transaction: keeps one commit under some 10 ms (2.2 µs a row measured on SQLite).
pub const BATCH_ITEMS_MAX: usize = 1000;

/// Bytes of one transaction; one item may be larger.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Different emojis that a message ever had under it. Past it a new one is refused as `too_large`: a page of history
/// must stay bounded.
pub const EMOJIS_MAX: usize = 100;

/// Longest pause between two commits, which gathers sends into one transaction.
pub const COMMIT_PACE_MAX: Duration = Duration::from_millis(10);

/// First pause before a failed store is asked again; it doubles up to [`STORE_RETRY_MAX`].
pub const STORE_RETRY_MIN: Duration = Duration::from_millis(50);

/// Longest pause before a failed store is asked again.
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(1);

/// Store reads that run at the same time; the others wait their turn.
pub const STORE_READS_MAX: usize = 16;

/// Where several nodes share a store, each asks it this often where its rooms end: so a notice that nobody sent costs
/// at most this.
pub const STORE_LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Ephemeral events that a room keeps for its connections; who is further behind misses the oldest.
pub const EPHEMERAL_MAX: usize = 256;

/// Connected users up to which a room tells of each one's presence; past it, of their number only.
pub const PRESENCE_NAMED_MAX: usize = 200;

/// Ids in `joined.online`.
pub const ONLINE_IDS_MAX: usize = 100;

/// How long after a user's last connection the room hears `offline`: covers a reconnect, and ends well
/// inside the promised 5 s.
pub const PRESENCE_LINGER: Duration = Duration::from_millis(500);

/// At most one `typing`, `read` or count of the online a user and room in this time.
pub const EPHEMERAL_PAUSE: Duration = Duration::from_secs(1);

/// Read marks are written at the latest this long after they moved.
pub const READ_MARK_DELAY: Duration = Duration::from_secs(2);

/// Items of a batch whose senders the committer remembers, to tell whether they all wait for each other.
pub const CLOSED_LOOP_MAX: usize = 128;

/// Deliveries that a room times at once. Who is further behind is as good as fed from the store.
pub const DELIVERIES_TIMED_MAX: usize = 64;

/// Ends of rights (removals, bans, a room made private) that a room remembers, so that a join whose rights were
/// read before one of them notices. An older reading is made again.
pub const BARRIERS_MAX: usize = 1024;
