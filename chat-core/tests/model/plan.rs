//! What a test case does: operations drawn at random, small enough to read when one fails.

use std::fmt;

use chat_core::{
    protocol::Codec,
    rights::{Role, Standing},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// Who has connections.
pub(crate) const USERS: [&str; 3] = ["ann", "bob", "cyd"];

/// The user of each connection.
pub(crate) const CONNECTIONS: [&str; 5] = ["ann", "ann", "bob", "bob", "cyd"];

/// The rooms: the first is public at first, the second private.
pub(crate) const ROOMS: [&str; 2] = ["hall", "den"];

/// One test case.
#[derive(Clone)]
pub(crate) struct Plan {
    /// How long the store takes, in turn.
    pub(crate) lags_ms: Vec<u8>,
    pub(crate) codecs: [Codec; CONNECTIONS.len()],
    pub(crate) ops: Vec<Op>,
}

/// One line an operation: what a failure prints is meant to be read.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lags_ms, codecs, ops } = self;
        writeln!(f, "Plan {{ lags_ms: {lags_ms:?}, codecs: {codecs:?}, ops: [")?;
        ops.iter().try_for_each(|op| writeln!(f, "    {op:?},"))?;
        f.write_str("] }")
    }
}

/// One operation. Numbers of events are chosen when it is done, among those that are there then.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A command on a connection. Those without a rest between them are a burst.
    Say(usize, Action),
    /// A call beside the connections, which nobody waits for.
    Call(Call),
    /// Time passes: the engine works, and connections that are awake read.
    Rest { ms: u16 },
    /// A connection reads no more.
    Nap(usize),
    /// A connection reads again.
    Wake(usize),
    /// A connection reads this many runs of bytes.
    Read(usize, usize),
    /// A connection ends and comes again, to the rooms that it had joined and from where it was.
    Reconnect(usize, Codec),
}

/// A command.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Join(usize, Start),
    Leave(usize),
    Send { room: usize, key: Option<u8>, reply_to: Option<Pick>, meta: bool, bytes: u16 },
    Edit { room: usize, target: Pick, text: u8 },
    Delete { room: usize, target: Pick },
    React { room: usize, target: Pick, emoji: &'static str, remove: bool },
    Read { room: usize, seq: u8 },
    Typing(usize),
    History { room: usize, from: Edge, limit: Option<usize>, kinds: Vec<&'static str> },
    Ping,
}

/// From where a `join` goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    Live,
    /// After the event so many before the last.
    Back(u8),
    /// After an event that is not there yet.
    Beyond(u8),
    /// Below the oldest event that is kept.
    Below(u8),
    /// With the epoch of today, or another.
    Epoch {
        back: Option<u8>,
        today: bool,
    },
}

/// A number of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pick {
    /// One of the messages, counted from the newest.
    Message(u8),
    /// Any, counted from one past the newest.
    Any(u8),
}

/// Where a page starts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Edge {
    Newest,
    Before(u8),
    After(u8),
}

/// A call beside the connections.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Send { user: usize, room: usize, key: Option<u8>, bytes: u16 },
    Standing { room: usize, user: usize, standing: Standing },
    Open { room: usize, public: bool },
    Rename { room: usize, name: u8 },
    Delete(usize),
    Make(usize),
    Trim { room: usize, keep: u8 },
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let lag = prop_oneof![6 => Just(0), 2 => 1..4u8, 1 => 5..60u8];
    let lags = prop_oneof![1 => Just(Vec::new()), 2 => vec(lag, 1..16)];
    let codecs = std::array::from_fn(|_| codec());
    (lags, codecs, vec(op(), 1..120)).prop_map(|(lags_ms, codecs, ops)| Plan { lags_ms, codecs, ops })
}

fn codec() -> impl Strategy<Value = Codec> {
    select(Codec::ALL.to_vec())
}

fn connection() -> impl Strategy<Value = usize> {
    0..CONNECTIONS.len()
}

fn room() -> impl Strategy<Value = usize> {
    0..ROOMS.len()
}

fn op() -> impl Strategy<Value = Op> {
    let rest = prop_oneof![4 => Just(0), 3 => 1..20u16, 1 => 20..700u16, 1 => 700..2500u16];
    prop_oneof![
        12 => (connection(), action()).prop_map(|(conn, action)| Op::Say(conn, action)),
        3 => call().prop_map(Op::Call),
        5 => rest.prop_map(|ms| Op::Rest { ms }),
        1 => connection().prop_map(Op::Nap),
        1 => connection().prop_map(Op::Wake),
        1 => (connection(), 1..4usize).prop_map(|(conn, runs)| Op::Read(conn, runs)),
        1 => (connection(), codec()).prop_map(|(conn, codec)| Op::Reconnect(conn, codec)),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        4 => Just(Start::Live),
        6 => any::<u8>().prop_map(Start::Back),
        1 => (1..4u8).prop_map(Start::Beyond),
        1 => (2..4u8).prop_map(Start::Below),
        1 => (option::of(0..9u8), any::<bool>()).prop_map(|(back, today)| Start::Epoch { back, today }),
    ]
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![5 => (0..8u8).prop_map(Pick::Message), 1 => (0..12u8).prop_map(Pick::Any)]
}

fn bytes() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 0..40u16, 2 => 100..500u16, 1 => 1000..1500u16]
}

fn key() -> impl Strategy<Value = Option<u8>> {
    option::weighted(0.3, 0..4u8)
}

fn action() -> impl Strategy<Value = Action> {
    let emoji = select(vec!["👍", "x"]);
    let kinds = prop_oneof![
        3 => Just(Vec::new()),
        1 => Just(vec!["message"]),
        1 => Just(vec!["edited", "deleted", "reaction", "member"]),
    ];
    let edge = prop_oneof![
        Just(Edge::Newest),
        any::<u8>().prop_map(Edge::Before),
        any::<u8>().prop_map(Edge::After),
    ];
    prop_oneof![
        6 => (room(), start()).prop_map(|(room, start)| Action::Join(room, start)),
        1 => room().prop_map(Action::Leave),
        10 => (room(), key(), option::weighted(0.2, pick()), any::<bool>(), bytes()).prop_map(
            |(room, key, reply_to, meta, bytes)| Action::Send { room, key, reply_to, meta, bytes }
        ),
        2 => (room(), pick(), 0..3u8).prop_map(|(room, target, text)| Action::Edit { room, target, text }),
        2 => (room(), pick()).prop_map(|(room, target)| Action::Delete { room, target }),
        2 => (room(), pick(), emoji, any::<bool>()).prop_map(
            |(room, target, emoji, remove)| Action::React { room, target, emoji, remove }
        ),
        2 => (room(), any::<u8>()).prop_map(|(room, seq)| Action::Read { room, seq }),
        1 => room().prop_map(Action::Typing),
        3 => (room(), edge, option::of(1..9usize), kinds).prop_map(
            |(room, from, limit, kinds)| Action::History { room, from, limit, kinds }
        ),
        1 => Just(Action::Ping),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let standing = prop_oneof![
        4 => Just(Standing::Member(Role::Member)),
        1 => Just(Standing::Member(Role::Manager)),
        3 => Just(Standing::Outsider),
        1 => Just(Standing::Banned),
    ];
    let user = 0..USERS.len();
    prop_oneof![
        4 => (user.clone(), room(), key(), bytes()).prop_map(
            |(user, room, key, bytes)| Call::Send { user, room, key, bytes }
        ),
        6 => (room(), user, standing).prop_map(
            |(room, user, standing)| Call::Standing { room, user, standing }
        ),
        2 => (room(), any::<bool>()).prop_map(|(room, public)| Call::Open { room, public }),
        1 => (room(), 0..3u8).prop_map(|(room, name)| Call::Rename { room, name }),
        1 => room().prop_map(Call::Delete),
        2 => room().prop_map(Call::Make),
        1 => (room(), 0..6u8).prop_map(|(room, keep)| Call::Trim { room, keep }),
    ]
}
