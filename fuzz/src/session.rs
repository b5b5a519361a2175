//! Two users on one engine, and a script of what they do.

use std::time::Duration;

use chat_core::{
    Codec, Engine, Identity, Limits, MissingRooms, RoomId, Seq,
    store::{BoxFuture, MemoryStore},
};
use tokio::time::sleep;

use crate::user::User;

/// Rooms that joins may make: a script meets the bound.
const ROOMS_MAX: u64 = 4;

/// Rounds in which everything must have been answered and heard. A round is 10 ms of the paused clock; what takes
/// longest is a commit's pace of 10 ms at most, for each command that waits for the one before it.
const ROUNDS_MAX: usize = 20_000;

/// Plays the bytes as a script and checks all that the users hear.
///
/// Each line is one step. Nothing else happens meanwhile, and time stands still, unless a step says so.
///
/// | line | step |
/// |---|---|
/// | `0…`, `1…` | the first or the second user sends what follows as a text frame |
/// | `h0`, `h1` | the user stops to take what comes, or begins again |
/// | `r0`, `r1` | the user loses the connection and resumes every room where it was |
/// | an empty one | the engine gets a turn |
/// | `t` | 600 ms go by: longer than any wait of presence |
/// | `x` | all but the newest event of each room is dropped |
///
/// # Panics
/// Where a reply is missing, doubled, of the wrong kind or out of order, or a room's stream has a hole.
pub fn session(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a paused runtime needs nothing of the system").block_on(async {
        let mut stage = Stage::set().await;
        for line in data.split(|byte| *byte == b'\n') {
            stage.play(line).await;
        }
        stage.settle().await;
    });
}

struct Stage {
    engine: Engine,
    users: [User; 2],
}

impl Stage {
    async fn set() -> Self {
        // Small, so that a small script falls off the tail, fills a page and a flush.
        let mut limits = Limits::default();
        limits.text_bytes = 512;
        limits.tail_bytes = 2048;
        limits.page_bytes = 1024;
        limits.history_page = 5;
        limits.flush_bytes = 512;
        limits.rooms_per_connection = 3;
        let missing = MissingRooms::Create { rooms_max: ROOMS_MAX };
        let engine = Engine::builder(MemoryStore::new()).limits(limits).missing_rooms(missing).build();
        let engine = engine.await.expect("memory answers");
        let user = |name, codec| User::new(&engine, Identity::new(name).expect("an id"), codec);
        let users = [user("ann", Codec::Single), user("bob", Codec::Batch)];
        Self { engine, users }
    }

    async fn play(&mut self, line: &[u8]) {
        match line {
            [who @ (b'0' | b'1'), frame @ ..] => {
                let index = usize::from(who - b'0');
                self.make_room(index).await;
                self.users[index].say(&String::from_utf8_lossy(frame));
            }
            [b'h', who @ (b'0' | b'1')] => self.users[usize::from(who - b'0')].hold(),
            [b'r', who @ (b'0' | b'1')] => {
                let index = usize::from(who - b'0');
                self.users[index].reconnect(&self.engine);
            }
            [] => tokio::task::yield_now().await,
            [b't'] => sleep(Duration::from_millis(600)).await,
            [b'x'] => self.trim().await,
            _ => {}
        }
        self.users.iter_mut().for_each(User::listen);
    }

    /// A transport reads nothing from a peer whose session wants nothing.
    async fn make_room(&mut self, index: usize) {
        for _ in 0..ROUNDS_MAX {
            if self.users[index].wants_input() {
                return;
            }
            self.users[index].release();
            self.users[index].listen();
            sleep(Duration::from_millis(10)).await;
        }
        panic!("user {index} may never say anything again");
    }

    async fn trim(&mut self) {
        for view in self.rooms().await {
            let (room, last): (RoomId, Seq) = (view.room.id, view.room.last_seq);
            self.users.iter_mut().for_each(|user| user.expect_resets(room.as_str()));
            self.engine.trim(&room, last).await.expect("memory answers");
        }
    }

    fn rooms(&self) -> BoxFuture<'_, Vec<chat_core::store::RoomView>> {
        let ann = Identity::new("ann").expect("an id");
        Box::pin(async move { self.engine.rooms(&ann, None, 100).await.expect("memory answers") })
    }

    /// Waits until every command is answered and everybody has heard everything.
    async fn settle(&mut self) {
        self.users.iter_mut().for_each(User::release);
        for _ in 0..ROUNDS_MAX {
            self.users.iter_mut().for_each(User::listen);
            if self.users.iter().all(User::is_idle) && self.all_heard().await {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it never comes to rest: {:?}", self.users.each_ref().map(User::unrest));
    }

    async fn all_heard(&self) -> bool {
        let rooms = self.rooms().await;
        rooms.iter().all(|view| {
            self.users.iter().all(|user| user.has_heard(view.room.id.as_str(), view.room.last_seq.0))
        })
    }
}
