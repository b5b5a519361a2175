//! A process of its own that sends messages one by one, to be killed or to meet faults.
//!
//! Which database it opens, and how, `support::open` of the tests around it says.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use chat_core::{
    Draft,
    protocol::{Event, HistoryFrom},
    store::{Appended, Change, Store, StoreError},
};

use crate::support::{change, keys, open, page, room};

const DATABASE: &str = "CHAT_STORE_TEST_CHILD";
const MESSAGES: &str = "CHAT_STORE_TEST_MESSAGES";
const TEXT_BYTES: &str = "CHAT_STORE_TEST_TEXT_BYTES";

/// The command of a process that sends `messages` messages of this size into room `r` of a database.
pub(crate) fn sender(database: impl AsRef<OsStr>, messages: usize, text_bytes: usize) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child::child", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(DATABASE, database);
    command.env(MESSAGES, messages.to_string()).env(TEXT_BYTES, text_bytes.to_string());
    command
}

/// What a sender said, line by line.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The number of each key that was acknowledged.
    pub(crate) acked: BTreeMap<String, u64>,
    /// How often a send was answered `unavailable`.
    pub(crate) unavailable: usize,
    /// How often a read right after that was answered.
    pub(crate) reads: usize,
    /// Whether it came to its end.
    pub(crate) done: bool,
    /// Its process, which is not the one that was started where that is strace.
    pid: u32,
}

impl Said {
    fn hear(&mut self, line: &str) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["acked", key, seq] => drop(self.acked.insert(key.to_owned(), seq.parse().unwrap())),
            ["unavailable"] => self.unavailable += 1,
            ["read"] => self.reads += 1,
            ["done"] => self.done = true,
            ["pid", pid] => self.pid = pid.parse().unwrap(),
            _ => {}
        }
    }
}

/// Every key that was acknowledged to a sender that was killed is among `events` under the number that was told.
pub(crate) fn assert_kept(events: &[Event], said: &Said) {
    let kept: BTreeMap<_, _> = keys(events).into_iter().collect();
    for (key, seq) in &said.acked {
        assert_eq!(kept.get(key), Some(seq), "{key} was acknowledged");
    }
    assert!(kept.len() <= said.acked.len() + 1, "at most the last one was not told of");
}

/// A running sender.
pub(crate) struct Sender {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    said: Said,
}

impl Sender {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} is needed: {error}"));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines, said: Said::default() }
    }

    /// Listens until `enough` was said.
    pub(crate) fn listen_until(&mut self, enough: impl Fn(&Said) -> bool) -> &Said {
        while !enough(&self.said) {
            let line = self.lines.next().expect("the sender ended too soon").unwrap();
            self.said.hear(&line);
        }
        &self.said
    }

    /// Listens until `enough` was said, then kills it.
    pub(crate) fn kill_once(mut self, enough: impl Fn(&Said) -> bool) -> Said {
        self.listen_until(enough);
        let killed = Command::new("kill").args(["-KILL", &self.said.pid.to_string()]).status().unwrap();
        assert!(killed.success());
        self.finish()
    }

    /// Listens until it ends.
    pub(crate) fn finish(mut self) -> Said {
        for line in self.lines.by_ref() {
            self.said.hear(&line.unwrap());
        }
        self.process.wait().unwrap();
        self.said
    }
}

#[ignore = "the other process of the tests beside it"]
#[tokio::test]
async fn child() {
    let Ok(database) = env::var(DATABASE) else { return };
    let number = |name| env::var(name).unwrap().parse::<usize>().unwrap();
    let store = open(database.as_ref()).await;
    let room = room(&store, "r").await;
    let text = "x".repeat(number(TEXT_BYTES));
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
    };
    // The test harness has begun a line.
    say(format!("\npid {}", std::process::id()));
    for key in (0..number(MESSAGES)).map(|i| format!("k{i}")) {
        loop {
            let draft = Change::Message(Draft::text(text.as_str()).key(key.as_str()));
            match store.append(vec![change(room, draft)]).await {
                Ok(outcomes) => {
                    let seq = match outcomes[0].as_ref().unwrap() {
                        Appended::New(committed) => committed.event().seq,
                        Appended::Duplicate { seq, .. } => *seq,
                    };
                    break say(format!("acked {key} {seq}"));
                }
                Err(StoreError::Unavailable(_)) => say("unavailable".to_owned()),
                Err(error) => panic!("{error:?}"),
            }
            if store.ping().await.is_ok() {
                page(&store, room, HistoryFrom::Newest).await;
                say("read".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    say("done".to_owned());
}
