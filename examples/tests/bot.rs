//! The example `bot`: it answers everything once, over lost connections, lost acks, restarts of the server and of itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod link;

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use chat_core::{
    Draft, Engine, Identity, MissingRooms, RoomId, Seq,
    protocol::{Event, EventBody, HistoryFrom, HistoryQuery, Message},
};
use chat_examples::bot::{Bot, Stopped, answer_to};
use chat_load::client::{self, Bounds};
use chat_server::{OpenAuth, Server};
use chat_store::{OpenError, SqliteStore};
use link::Link;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

const WAIT_MAX: Duration = Duration::from_secs(20);

/// Short enough for a test; the shape is that of the program.
const PAUSES: Bounds = Bounds {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(100),
    restart: Duration::from_millis(100),
    flooding: Duration::from_millis(100),
};

fn room() -> RoomId {
    "lobby".parse().unwrap()
}

fn ann() -> Identity {
    Identity::new("ann").unwrap()
}

/// A server over a file, in this process.
struct Running {
    engine: Engine,
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(database: &Path) -> Self {
        let missing = MissingRooms::Create { rooms_max: 10 };
        let engine = Engine::builder(open(database).await).missing_rooms(missing).build().await.unwrap();
        let server = Server::builder(engine.clone()).authenticator(OpenAuth).endure_overload().build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let asked = async {
                let _ = asked.await;
            };
            server.serve(listener, asked).await;
        });
        Self { engine, address, shutdown, server }
    }

    async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.server.await.unwrap();
    }

    /// Asks without a socket: only the bot's is to be lost. Returns the question's number.
    async fn ask(&self, text: &str) -> u64 {
        self.engine.send(&ann(), &room(), Draft::text(text)).await.unwrap().seq.0
    }

    async fn timeline(&self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let after = events.last().map_or(Seq::ZERO, |event| event.seq);
            let query = HistoryQuery { from: HistoryFrom::After(after), ..HistoryQuery::default() };
            let page = self.engine.history(&ann(), &room(), &query).await.unwrap();
            events.extend(page.events);
            if !page.more {
                return events;
            }
        }
    }

    /// Waits until the bot has answered every question.
    async fn all_answered(&self) {
        let answered = async {
            while !unanswered(&self.timeline().await).is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = timeout(WAIT_MAX, answered).await.is_ok();
        assert!(in_time, "not answered: {:?}", unanswered(&self.timeline().await));
    }
}

/// The store of a server that has ended is closed by the last of its tasks, a moment later.
async fn open(database: &Path) -> SqliteStore {
    loop {
        match SqliteStore::open(database).await {
            Err(OpenError::InUse { .. }) => sleep(Duration::from_millis(5)).await,
            opened => return opened.unwrap(),
        }
    }
}

fn messages(timeline: &[Event]) -> impl Iterator<Item = (&Event, &Message)> {
    timeline.iter().filter_map(|event| match &event.body {
        EventBody::Message(message) => Some((event, message)),
        _ => None,
    })
}

/// What must be answered how, by the question's number.
fn questions(timeline: &[Event]) -> BTreeMap<u64, String> {
    let asked = messages(timeline).filter(|(event, _)| event.from.as_str() == "ann");
    asked
        .filter_map(|(event, message)| Some((event.seq.0, answer_to(message.text.as_deref()?, event.seq.0)?)))
        .collect()
}

fn answers(timeline: &[Event]) -> Vec<(u64, String)> {
    let said = messages(timeline).filter(|(event, _)| event.from.as_str() == "bot");
    said.map(|(_, message)| (message.reply_to.unwrap().0, message.text.as_deref().unwrap().to_owned()))
        .collect()
}

fn unanswered(timeline: &[Event]) -> Vec<u64> {
    let answers: BTreeMap<_, _> = answers(timeline).into_iter().collect();
    questions(timeline).into_keys().filter(|question| !answers.contains_key(question)).collect()
}

/// Every question has its one answer, and nothing else was said.
fn assert_each_answered_once(timeline: &[Event]) {
    let mut answers = answers(timeline);
    answers.sort();
    let questions: Vec<_> = questions(timeline).into_iter().collect();
    assert_eq!(answers, questions);
}

/// A server, a bot, and the link between them.
struct Stage {
    directory: tempfile::TempDir,
    link: Link,
    running: Running,
    bot: JoinHandle<Stopped>,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let running = Running::start(&directory.path().join("chat.db")).await;
        let link = Link::to(running.address).await;
        let bot = start_bot(&link, &directory);
        // It has heard where the room ends: from here on it owes an answer to everything.
        while !directory.path().join("bot.json").exists() {
            sleep(Duration::from_millis(5)).await;
        }
        Self { directory, link, running, bot }
    }

    /// The same with another server on the same database, and a question that was asked while the bot was away.
    async fn with_the_server_restarted(self) -> Self {
        self.running.stop().await;
        let running = Running::start(&self.directory.path().join("chat.db")).await;
        running.ask("!ping").await;
        self.link.lead_to(running.address);
        Self { running, ..self }
    }

    /// The same with another bot on the same notebook, and questions that were asked while there was none.
    async fn with_the_bot_restarted(self) -> Self {
        self.bot.abort();
        self.bot.await.unwrap_err();
        self.running.ask("!roll 20").await;
        self.running.ask("!ping").await;
        let bot = start_bot(&self.link, &self.directory);
        Self { bot, ..self }
    }
}

fn start_bot(link: &Link, directory: &tempfile::TempDir) -> JoinHandle<Stopped> {
    let bot = Bot::new(link.address().into(), "bot", "lobby", directory.path().join("bot.json"));
    tokio::spawn(bot.unwrap().pauses(PAUSES).run())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_is_answered_once_whatever_restarts() {
    let mut stage = Stage::set().await;
    stage.running.ask("hello").await;
    let question = stage.running.ask("!ping").await;
    stage.running.all_answered().await;
    assert_eq!(answers(&stage.running.timeline().await), [(question, "pong".to_owned())]);

    stage = stage.with_the_server_restarted().await;
    stage.running.all_answered().await;
    stage = stage.with_the_bot_restarted().await;
    stage.running.all_answered().await;

    let timeline = stage.running.timeline().await;
    assert_eq!(questions(&timeline).len(), 4);
    assert_each_answered_once(&timeline);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_whose_ack_was_lost_is_not_said_again() {
    let stage = Stage::set().await;
    stage.link.mute_after_the_next_word();
    stage.running.ask("!roll").await;
    stage.running.all_answered().await;
    stage.link.cut();
    // It has gone over the old question when it answers the new one.
    stage.running.ask("!ping").await;
    stage.running.all_answered().await;
    let timeline = stage.running.timeline().await;
    assert_eq!(questions(&timeline).len(), 2);
    assert_each_answered_once(&timeline);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_questions_than_it_holds_at_once_are_answered_too() {
    let stage = Stage::set().await;
    stage.bot.abort();
    stage.bot.await.unwrap_err();
    for _ in 0..client::WAITING_MAX + 200 {
        stage.running.ask("!ping").await;
    }
    let bot = start_bot(&stage.link, &stage.directory);
    stage.running.all_answered().await;
    assert_each_answered_once(&stage.running.timeline().await);
    bot.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_all_the_time_loses_and_doubles_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let stage = Stage::set().await;
    for _ in 0..200 {
        stage.running.ask(["!ping", "!roll 20", "no question"][random.usize(..3)]).await;
        if random.u8(..5) == 0 {
            sleep(Duration::from_millis(random.u64(..30))).await;
            stage.link.cut();
        }
    }
    stage.running.all_answered().await;
    assert_each_answered_once(&stage.running.timeline().await);
}

#[tokio::test]
async fn a_bot_that_may_not_come_in_stops_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(&directory.path().join("chat.db")).await;
    let bot = |user: &str, room: &str| {
        Bot::new(running.address.into(), user, room, directory.path().join("bot.json"))
            .unwrap()
            .pauses(PAUSES)
            .run()
    };
    let unknown = timeout(WAIT_MAX, bot("", "lobby")).await.unwrap();
    assert!(matches!(unknown, Stopped::ShutOut(client::Stopped::Refused(_))), "{unknown}");
    let no_room = timeout(WAIT_MAX, bot("bot", "No Room")).await.unwrap();
    assert!(no_room.to_string().starts_with("it is shut out: invalid"), "{no_room}");
}
