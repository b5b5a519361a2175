//! Clients that come back by themselves, as `docs/reconnect.md` says: whatever happens to the server, to their connections
//! or to them, each hears everything once and in order, and what each says is kept once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chat_load::client::{Body, Bounds, Draft, Driver, Entry, Told, http::Target};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    checker::Place,
    program::{DEADLINE, Home},
};

const ROOM: &str = "r";
const PEOPLE: usize = 6;
/// Each says so many things at a time.
const WAITING: usize = 16;
/// What is kept in each round before the server ends, while all go on.
const KEPT: u64 = 500;

/// Short enough for a test; the shape is that of the page.
const PAUSES: Bounds = Bounds {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(100),
    restart: Duration::from_millis(100),
    flooding: Duration::from_millis(100),
};

/// What all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talk,
    /// Nothing more is said.
    Settle,
    /// Until everything up to there is heard.
    HearTo(u64),
}

/// How far all are.
#[derive(Debug, Default)]
struct Counts {
    kept: AtomicU64,
    /// People of whom nothing waits any more.
    settled: AtomicU64,
}

/// Somebody who talks and listens.
struct Person {
    server: Target,
    user: String,
    driver: Driver,
    /// Whether this one loses its memory at each lost connection, but for its position and its drafts.
    is_forgetful: bool,
    /// What was said and is not known to be kept.
    drafts: BTreeMap<String, Draft>,
    began: Option<u64>,
    heard: Vec<(u64, String, Option<String>)>,
    kept: Vec<(String, u64)>,
    losses: u64,
}

impl Person {
    fn new(server: &Target, n: usize) -> Self {
        let user = format!("person{n}");
        let driver = Self::driver(server, &user);
        Self {
            server: server.clone(),
            user,
            driver,
            is_forgetful: n == 0,
            drafts: BTreeMap::new(),
            began: None,
            heard: Vec::new(),
            kept: Vec::new(),
            losses: 0,
        }
    }

    fn driver(server: &Target, user: &str) -> Driver {
        Driver::new(server.clone(), Entry::named(user), [ROOM.to_owned()]).pauses(PAUSES)
    }

    async fn live(mut self, mut phase: watch::Receiver<Phase>, counts: Arc<Counts>) -> Self {
        let mut is_settled = false;
        loop {
            let now = *phase.borrow_and_update();
            let position = self.driver.position(0).map_or(0, |position| position.after);
            match now {
                Phase::Talk => self.talk(),
                Phase::HearTo(seq) if position >= seq => return self,
                Phase::Settle if !is_settled && self.drafts.is_empty() => {
                    is_settled = true;
                    counts.settled.fetch_add(1, Ordering::Relaxed);
                }
                Phase::Settle | Phase::HearTo(_) => {}
            }
            tokio::select! {
                told = self.driver.next() => self.hear(told.unwrap(), &counts.kept),
                changed = phase.changed() => changed.unwrap(),
            }
        }
    }

    fn talk(&mut self) {
        while self.drafts.len() < WAITING {
            let draft = Draft::new("hello");
            self.drafts.insert(draft.key.clone(), draft.clone());
            self.driver.send(0, draft).unwrap();
        }
    }

    fn hear(&mut self, told: Told, kept: &AtomicU64) {
        match told {
            Told::Began { last_seq, .. } => {
                assert_eq!(
                    self.began.replace(last_seq),
                    None,
                    "a position that means something is not reset"
                );
            }
            Told::Event { event, .. } => {
                let key = match event.body {
                    Body::Message { key, .. } => key,
                    _ => None,
                };
                self.heard.push((event.seq, event.from, key));
            }
            Told::Kept { key, seq, .. } => {
                self.drafts.remove(&key).expect("what is kept was said");
                self.kept.push((key, seq));
                kept.fetch_add(1, Ordering::Relaxed);
            }
            Told::Lost { .. } => {
                self.losses += 1;
                if self.is_forgetful {
                    self.begin_anew();
                }
            }
            Told::Live => {}
            other => panic!("{}: {other:?}", self.user),
        }
    }

    /// With nothing but what it would have kept on disk.
    fn begin_anew(&mut self) {
        let position = self.driver.position(0);
        self.driver = Self::driver(&self.server, &self.user);
        if let Some(position) = position {
            self.driver = Self::driver(&self.server, &self.user).resume(0, position);
        }
        for draft in self.drafts.values() {
            self.driver.send(0, draft.clone()).unwrap();
        }
    }

    /// Everything was heard once and in order, and all that was said is kept once.
    fn assert_sound(&self, timeline: &[Place]) {
        let user = &self.user;
        assert_eq!(self.drafts.len(), 0, "{user}");
        assert!(self.heard.is_sorted_by_key(|(seq, ..)| *seq), "{user}");
        let heard: BTreeSet<u64> = self.heard.iter().map(|(seq, ..)| *seq).collect();
        assert_eq!(heard.len(), self.heard.len(), "{user} heard something twice");
        let kept: BTreeSet<u64> = self.kept.iter().map(|(_, seq)| *seq).collect();
        assert_eq!(kept.len(), self.kept.len(), "{user} was told twice that something is kept");
        let began = self.began.expect("it has joined");
        let all: Vec<u64> = heard.union(&kept).copied().collect();
        assert_eq!(all, (began + 1..=timeline.len() as u64).collect::<Vec<_>>(), "{user}");
        for (seq, from, key) in &self.heard {
            let place = &timeline[usize::try_from(*seq).unwrap() - 1];
            assert_eq!((&place.from, &place.key), (from, key), "{user}");
        }
        let own = timeline.iter().filter(|place| place.from == *user);
        let mut own: Vec<_> = own.map(|place| (place.key.clone().unwrap(), place.seq)).collect();
        let mut said = self.kept.clone();
        own.sort();
        said.sort();
        assert_eq!(own, said, "{user}");
    }
}

/// Waits until so many are counted.
async fn reach(count: &AtomicU64, wanted: u64) {
    let begun = Instant::now();
    while count.load(Ordering::Relaxed) < wanted {
        assert!(begun.elapsed() < DEADLINE, "only {count:?} of {wanted}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn all_come_back(home: &Home) {
    let mut program = home.start().await;
    let address = program.address;
    let (phase, _) = watch::channel(Phase::Talk);
    let counts = Arc::new(Counts::default());
    let kept = &counts.kept;
    let people = (0..PEOPLE).map(|n| {
        let person = Person::new(&address.into(), n);
        tokio::spawn(person.live(phase.subscribe(), counts.clone()))
    });
    let people: Vec<_> = people.collect();
    for round in 0..4 {
        reach(kept, kept.load(Ordering::Relaxed) + KEPT + 37 * round).await;
        if round == 1 {
            program.terminate().await;
            assert_eq!(program.ended().await, Some(0));
        } else {
            program.kill().await;
        }
        home.quiet().await;
        program = home.start_at(address).await;
    }
    reach(kept, kept.load(Ordering::Relaxed) + KEPT).await;
    phase.send_replace(Phase::Settle);
    reach(&counts.settled, PEOPLE.try_into().unwrap()).await;
    let timeline = program.timeline("ann", ROOM).await;
    let last_seq = timeline[ROOM].len() as u64;
    phase.send_replace(Phase::HearTo(last_seq));
    for person in people {
        let person = timeout(DEADLINE, person).await.expect("everybody hears everything").unwrap();
        assert!(person.losses >= 4, "{} had {} losses", person.user, person.losses);
        person.assert_sound(&timeline[ROOM]);
    }
    println!("{} kept over 4 ends of the server", kept.load(Ordering::Relaxed));
    program.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_has_heard_all_and_said_all_once() {
    all_come_back(&Home::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_has_heard_all_and_said_all_once_on_postgres() {
    all_come_back(&Home::on_postgres()).await;
}
