//! An engine, its connections, and the hand that moves them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use chat_core::{
    Draft, Engine, Identity, Limits, RoomDraft, RoomId, Seq, UserId, WireSession,
    protocol::{Ack, Codec, CommandError, RoomPatch},
    rights::{Role, Standing, Visibility},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    client::{Checked, Client, ensure},
    journal::{Shared, Tick},
    lagging::Lagging,
    ledger::{Asked, Owed, command, refusal_fits},
    plan::{Action, CONNECTIONS, Call, Op, Plan, ROOMS, USERS},
    timeline::HOST,
    wire,
};

/// Bounds so small that tails overflow, pages are needed, and a reply can fill a flush.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.tail_bytes = 2048;
    limits.history_page = 5;
    limits.page_bytes = 1024;
    limits.flush_bytes = 600;
    limits
}

/// A connection and its client.
pub(crate) struct Peer {
    session: WireSession,
    codec: Codec,
    pub(crate) client: Client,
    bell: Arc<Bell>,
    awake: bool,
}

/// Rung when a connection has something to read.
struct Bell {
    rung: AtomicBool,
    anyone: Arc<Notify>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Relaxed);
        self.anyone.notify_one();
    }
}

/// A call that is under way, and what it is to be held against.
type Running = JoinHandle<Checked>;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) journal: Shared,
    pub(crate) peers: Vec<Peer>,
    calls: Vec<Running>,
    /// Rung when any connection has something to read.
    anyone: Arc<Notify>,
    commands: u64,
}

impl World {
    pub(crate) async fn new(plan: &Plan) -> Self {
        let journal = Shared::default();
        let store = Lagging::new(journal.clone(), &plan.lags_ms);
        let engine = Engine::builder(store).limits(limits()).build().await.unwrap();
        let calls = Vec::new();
        let mut world =
            Self { engine, journal, peers: Vec::new(), calls, anyone: Arc::default(), commands: 0 };
        for room in 0..ROOMS.len() {
            make(world.engine.clone(), room).await.unwrap();
        }
        for (user, codec) in CONNECTIONS.into_iter().zip(plan.codecs) {
            world.connect(user, codec);
        }
        world
    }

    /// Lets a connection in; its number is the answer.
    pub(crate) fn connect(&mut self, user: &'static str, codec: Codec) -> usize {
        let peer = self.peer(user, codec);
        self.peers.push(peer);
        self.peers.len() - 1
    }

    fn peer(&self, user: &'static str, codec: Codec) -> Peer {
        let bell = Bell { rung: AtomicBool::new(true), anyone: self.anyone.clone() };
        let session = self.engine.attach(Identity::new(user).unwrap(), codec);
        Peer { session, codec, client: Client::new(user), bell: Arc::new(bell), awake: true }
    }

    pub(crate) async fn apply(&mut self, op: &Op) -> Checked {
        match op {
            Op::Say(conn, action) => self.say(*conn, action),
            Op::Call(call) => self.call(call),
            Op::Rest { ms } => self.rest(Duration::from_millis((*ms).into())).await?,
            Op::Nap(conn) => self.peers[*conn].awake = false,
            Op::Wake(conn) => self.wake(*conn),
            Op::Read(conn, runs) => self.peers[*conn].read(*runs, &self.journal)?,
            Op::Reconnect(conn, codec) => self.reconnect(*conn, *codec),
        }
        let fault = self.journal.lock().unwrap().faults.pop();
        fault.map_or(Ok(()), Err)
    }

    fn say(&mut self, conn: usize, action: &Action) {
        self.commands += 1;
        let tag = format!("{conn}/{} ", self.commands);
        let (room, fields, asked) = command(action, &tag, &self.journal.lock().unwrap());
        self.ask(conn, room, fields, asked);
    }

    /// Sends a command, with a number unless no reply is wanted.
    pub(crate) fn ask(
        &mut self,
        conn: usize,
        room: &'static str,
        mut fields: serde_json::Value,
        asked: Asked,
    ) {
        self.commands += 1;
        let (journal, peer) = (self.journal.lock().unwrap(), &mut self.peers[conn]);
        if !peer.session.wants_input() {
            return;
        }
        if !room.is_empty() {
            fields["room"] = room.into();
        }
        if matches!(asked, Asked::Typing) {
            peer.client.unnumbered += 1;
        } else {
            fields["id"] = self.commands.into();
            let (sent, settled) = (journal.now(), journal.settled(room));
            let owed = Owed { id: self.commands, asked, sent, settled };
            peer.client.owed.entry(room).or_default().push_back(owed);
        }
        drop(journal);
        peer.session.handle_text(&fields.to_string());
        peer.bell.rung.store(true, Ordering::Relaxed);
    }

    pub(crate) fn wake(&mut self, conn: usize) {
        let peer = &mut self.peers[conn];
        peer.awake = true;
        peer.bell.rung.store(true, Ordering::Relaxed);
    }

    fn reconnect(&mut self, conn: usize, codec: Codec) {
        let new = self.peer(CONNECTIONS[conn], codec);
        let old = std::mem::replace(&mut self.peers[conn], new);
        for (room, stint) in &old.client.stints {
            let room = ROOMS.into_iter().find(|known| known == room).unwrap();
            let (after, epoch) = (Some(stint.position), Some(stint.epoch.clone()));
            let fields = crate::ledger::join(after, epoch.as_deref());
            self.ask(conn, room, fields, Asked::Join { after, epoch });
        }
    }

    /// Lets the engine work and those who are awake read, for some time; for none at all: a few turns.
    pub(crate) async fn rest(&mut self, time: Duration) -> Checked {
        const TURNS: usize = 8;
        let end = Instant::now() + time;
        let mut turns = 0;
        while turns < TURNS {
            for peer in self.peers.iter_mut().filter(|peer| peer.awake) {
                peer.read_if_rung(&self.journal)?;
            }
            if time.is_zero() {
                turns += 1;
                tokio::task::yield_now().await;
            } else if timeout_at(end, self.anyone.notified()).await.is_err() {
                break;
            }
        }
        for call in self.calls.extract_if(.., |call| call.is_finished()).collect::<Vec<_>>() {
            call.await.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    /// Whether all calls have been answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.calls.is_empty()
    }

    // Calls beside the connections.

    fn call(&mut self, call: &Call) {
        let engine = self.engine.clone();
        self.commands += 1;
        match *call {
            Call::Send { user, room, key, bytes } => {
                let text = format!("call {} {}", self.commands, "y".repeat(bytes.into()));
                let mut draft = Draft::text(text);
                draft.key = key.map(|key| format!("k{key}").into());
                let who = Identity::new(USERS[user]).unwrap();
                self.spawn(USERS[user], room, async move { engine.send(&who, &id(room), draft).await });
            }
            Call::Standing { room, user, standing } => self.spawn(HOST, room, async move {
                engine.set_member(&host(), &id(room), &UserId::new(USERS[user]).unwrap(), standing).await
            }),
            Call::Open { room, public } => {
                let visibility = if public { Visibility::Public } else { Visibility::Private };
                let patch = RoomPatch { visibility: Some(visibility), ..RoomPatch::default() };
                self.spawn(HOST, room, async move { engine.update_room(&host(), &id(room), patch).await });
            }
            Call::Rename { room, name } => {
                let patch = RoomPatch { name: Some(format!("name {name}").into()), ..RoomPatch::default() };
                self.spawn(HOST, room, async move { engine.update_room(&host(), &id(room), patch).await });
            }
            Call::Delete(room) => {
                self.spawn(HOST, room, async move { engine.delete_room(&host(), &id(room)).await });
            }
            Call::Make(room) => self.spawn(HOST, room, make(engine, room)),
            Call::Trim { room, keep } => {
                let last = self.journal.lock().unwrap().today(ROOMS[room]).map_or(0, |room| room.last());
                let first = Seq((last + 1).saturating_sub(keep.into()));
                self.spawn(HOST, room, async move { engine.trim(&id(room), first).await });
            }
        }
    }

    fn spawn<T: Answer>(
        &mut self,
        user: &'static str,
        room: usize,
        call: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) {
        let journal = self.journal.clone();
        let sent = journal.lock().unwrap().now();
        self.calls.push(tokio::spawn(async move {
            let answer = call.await;
            check(&journal, user, room, sent, &answer)
        }));
    }
}

fn check<T: Answer>(
    journal: &Shared,
    user: &str,
    room: usize,
    sent: Tick,
    answer: &Result<T, CommandError>,
) -> Checked {
    let states = journal.lock().unwrap().since(ROOMS[room], sent);
    match answer.as_ref().map(Answer::ack) {
        Ok(Some(ack)) => {
            let is_it = |entry: &crate::timeline::Entry| ack.duplicate || entry.from == user;
            let fits = states.iter().flatten().any(|state| state.entry(ack.seq.0).is_some_and(is_it));
            ensure!(fits, "a call of {user} acked as {ack:?}");
        }
        Ok(None) => {}
        Err(error) => ensure!(refusal_fits(error.code, user, &states), "a call of {user}: {error}"),
    }
    Ok(())
}

/// What a call resolves to.
trait Answer: Send + 'static {
    /// The event that was committed, where one was.
    fn ack(&self) -> Option<&Ack>;
}

impl Answer for Ack {
    fn ack(&self) -> Option<&Ack> {
        Some(self)
    }
}

impl Answer for () {
    fn ack(&self) -> Option<&Ack> {
        None
    }
}

impl Answer for Seq {
    fn ack(&self) -> Option<&Ack> {
        None
    }
}

pub(crate) fn host() -> Identity {
    Identity::new(HOST).unwrap()
}

pub(crate) fn id(room: usize) -> RoomId {
    RoomId::new(ROOMS[room]).unwrap()
}

/// Makes a room, with two of the users in it.
async fn make(engine: Engine, room: usize) -> Result<(), CommandError> {
    let visibility = if room == 0 { Visibility::Public } else { Visibility::Private };
    engine.create_room(&host(), RoomDraft::group(visibility).id(id(room))).await?;
    for user in &USERS[..2] {
        let (user, standing) = (UserId::new(user).unwrap(), Standing::Member(Role::Member));
        engine.set_member(&host(), &id(room), &user, standing).await?;
    }
    Ok(())
}

impl Peer {
    fn read_if_rung(&mut self, journal: &Shared) -> Checked {
        if self.bell.rung.swap(false, Ordering::Relaxed) { self.read(usize::MAX, journal) } else { Ok(()) }
    }

    /// Reads at most this many runs of bytes.
    fn read(&mut self, runs: usize, journal: &Shared) -> Checked {
        let waker = Waker::from(self.bell.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..runs {
            let Poll::Ready(bytes) = self.session.poll_bytes(&mut cx) else { break };
            for object in wire::objects(self.codec, &bytes)? {
                let told = self.client.take(&object, &mut journal.lock().unwrap());
                told.map_err(|wrong| format!("{} was told {object}: {wrong}", self.client.user))?;
            }
        }
        Ok(())
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.session.is_idle()
    }
}
