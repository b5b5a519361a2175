//! A process of its own that sends messages one by one, to be killed or to meet faults.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use chat_core::{
    Draft,
    protocol::HistoryFrom,
    store::{Appended, Change, Store, StoreError},
};

use crate::support::{change, open, page, room};

const PATH: &str = "CHAT_STORE_TEST_CHILD";
const MESSAGES: &str = "CHAT_STORE_TEST_MESSAGES";
const TEXT_BYTES: &str = "CHAT_STORE_TEST_TEXT_BYTES";

/// The command of a process that sends `messages` messages of this size into room `r` of a database.
pub(crate) fn sender(path: &Path, messages: usize, text_bytes: usize) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child::child", "--ignored", "--nocapture", "--test-threads=1"]);
    prepare(&mut command, path, messages, text_bytes);
    command
}

/// The same under strace, with its arguments.
pub(crate) fn sender_under_strace(
    path: &Path,
    messages: usize,
    text_bytes: usize,
    strace: &[&str],
) -> Command {
    let sender = sender(path, messages, text_bytes);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(strace).arg(sender.get_program()).args(sender.get_args());
    prepare(&mut command, path, messages, text_bytes);
    command
}

fn prepare(command: &mut Command, path: &Path, messages: usize, text_bytes: usize) {
    command.env(PATH, path).env(MESSAGES, messages.to_string()).env(TEXT_BYTES, text_bytes.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
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

/// A running sender.
pub(crate) struct Sender {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    said: Said,
}

impl Sender {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?} is needed: {error}"));
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
    let Some(path) = env::var_os(PATH) else { return };
    let number = |name| env::var(name).unwrap().parse::<usize>().unwrap();
    let store = open(path.as_ref()).await;
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
