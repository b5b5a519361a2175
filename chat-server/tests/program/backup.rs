//! `backup`: a copy of what a server is writing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};

use crate::{
    DEADLINE, Running, Said, ask, clean, program_under_strace, run, signal,
    support::{Client, http},
};

/// The number of each key that was acknowledged.
pub(crate) type Acked = BTreeMap<String, u64>;

/// Users who send one message after the other, as fast as they are acknowledged.
pub(crate) struct Load {
    acked: Arc<Mutex<Acked>>,
    stop: Arc<AtomicBool>,
    users: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (acked, stop) = (Arc::<Mutex<Acked>>::default(), Arc::<AtomicBool>::default());
        let mut users = JoinSet::new();
        for user in ["ann", "ben", "cat", "dan"] {
            let (acked, stop) = (Arc::clone(&acked), Arc::clone(&stop));
            users.spawn(async move {
                let mut client = Client::connect(address, user, None).await;
                client.join("r").await;
                for number in 0.. {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    let key = format!("{user}-{number}");
                    let text = "x".repeat(1000);
                    let send = json!({ "type": "send", "room": "r", "key": key, "text": text });
                    let ack = client.call(send).await;
                    assert_eq!(ack["type"], "ack", "{ack}");
                    acked.lock().unwrap().insert(key, ack["seq"].as_u64().unwrap());
                }
            });
        }
        Self { acked, stop, users }
    }

    /// What is acknowledged by now.
    pub(crate) fn acked(&self) -> Acked {
        self.acked.lock().unwrap().clone()
    }

    /// Waits until so many more are.
    pub(crate) async fn go_on(&self, more: usize) {
        let goal = self.acked().len() + more;
        let wait = async {
            while self.acked().len() < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, wait).await.expect("messages are acknowledged");
    }

    /// All that was acknowledged.
    pub(crate) async fn end(mut self) -> Acked {
        self.stop.store(true, Ordering::Release);
        while let Some(user) = timeout(DEADLINE, self.users.join_next()).await.expect("users end") {
            user.unwrap();
        }
        self.acked()
    }
}

/// All messages of the room, in order, by their keys. The numbers of its events are dense, or it panics.
pub(crate) async fn messages(address: SocketAddr) -> Acked {
    let mut kept = Acked::new();
    let mut last = 0;
    loop {
        let path = format!("/api/v1/rooms/r/messages?user=ann&after={last}&limit=200");
        let page = http(address, "GET", &path, None).await.json();
        for event in page["events"].as_array().unwrap() {
            last += 1;
            assert_eq!(event["seq"], last, "the numbers are dense");
            if let Value::String(key) = &event["key"] {
                assert_eq!(kept.insert(key.clone(), last), None, "{key} is there once");
            }
        }
        if page["more"] == false {
            return kept;
        }
    }
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

async fn back_up(database: &Path, copy: &Path) -> Said {
    ask(&["--database", &url(database), "backup", copy.to_str().unwrap()]).await
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_copy_under_load_has_all_that_was_acknowledged_and_resets_whoever_resumes() {
    let (dir, target) = (tempdir().unwrap(), tempdir().unwrap());
    let (database, copy) = (dir.path().join("chat.db"), target.path().join("copy.db"));
    let server = Running::start(&database, &[]).await;
    let load = Load::start(server.address());
    load.go_on(300).await;
    let before = load.acked();
    let out = back_up(&database, &copy).await.done();
    assert!(out.contains("1 rooms") && out.lines().count() == 1, "{out}");
    assert_eq!(names(target.path()), ["copy.db".to_owned()].into());
    // The server goes on as if nothing had been.
    load.go_on(100).await;
    let acked = load.end().await;
    assert_eq!(messages(server.address()).await, acked);
    let joined = Client::connect(server.address(), "ann", None).await.join("r").await;
    assert!(server.end().await.success());

    let restored = Running::start(&copy, &[]).await;
    let kept = messages(restored.address()).await;
    for (key, seq) in &before {
        assert_eq!(kept.get(key), Some(seq), "{key} was acknowledged before the copy began");
    }
    assert!(kept.iter().all(|(key, seq)| acked.get(key) == Some(seq)), "and it has nothing else");
    let mut ann = Client::connect(restored.address(), "ann", None).await;
    let resume = json!({ "type": "join", "room": "r", "after": 5, "epoch": joined["epoch"] });
    let reset = ann.call(resume).await;
    assert_eq!(reset["reset"], true, "{reset}");
    assert_ne!(reset["epoch"], joined["epoch"]);
    let mut ben = Client::connect(restored.address(), "ben", None).await;
    let resume = json!({ "type": "join", "room": "r", "after": 5, "epoch": reset["epoch"] });
    let resumed = ben.call(resume).await;
    assert_eq!((&resumed["type"], resumed.get("reset")), (&json!("joined"), None), "{resumed}");
    assert_eq!(ben.next().await["seq"], 6);
    assert!(restored.end().await.success());
}

#[tokio::test]
async fn what_is_there_already_is_not_replaced() {
    let dir = tempdir().unwrap();
    let (database, copy) = (dir.path().join("chat.db"), dir.path().join("copy.db"));
    let line = back_up(&database, &copy).await.refused(1);
    assert!(line.contains("chat.db") && line.contains("no database"), "{line}");
    assert!(names(dir.path()).is_empty(), "and nothing was made");
    ask(&["migrate", "--database", &url(&database)]).await.done();
    fs::write(&copy, "precious").unwrap();
    let line = back_up(&database, &copy).await.refused(1);
    assert!(line.contains("copy.db") && line.contains("exists already"), "{line}");
    assert_eq!(fs::read(&copy).unwrap(), b"precious");
    let line = back_up(&database, &dir.path().join("none/copy.db")).await.refused(1);
    assert!(line.contains("none/copy.db") && line.contains("cannot be written"), "{line}");
    back_up(&database, &dir.path().join("other.db")).await.done();
}

/// A command that copies while some system calls are tampered with.
fn back_up_under_strace(database: &Path, copy: &Path, inject: &str) -> Command {
    let calls = inject.split(':').next().unwrap();
    let mut command =
        program_under_strace(&["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")]);
    command.args(["--database", &url(database), "backup", copy.to_str().unwrap()]);
    command
}

#[tokio::test]
async fn a_disk_that_fails_leaves_no_copy() {
    let (dir, target) = (tempdir().unwrap(), tempdir().unwrap());
    let (database, copy) = (dir.path().join("chat.db"), target.path().join("copy.db"));
    ask(&["migrate", "--database", &url(&database)]).await.done();
    for inject in [
        // The first writes are to the database's shared memory, which a reader needs.
        "pwrite64:error=ENOSPC:when=1",
        "pwrite64:error=ENOSPC:when=4",
        "pwrite64:error=ENOSPC:when=12",
        "pwrite64:error=EIO:when=5+",
        "fsync,fdatasync:error=EIO:when=1",
        "fsync,fdatasync:error=EIO:when=2",
        "renameat2,rename,link,linkat:error=EIO",
    ] {
        let line = run(back_up_under_strace(&database, &copy, inject)).await.refused(1);
        assert!(line.contains("cannot be "), "{inject}: {line}");
        assert!(names(target.path()).is_empty(), "{inject}: {:?}", names(target.path()));
    }
    back_up(&database, &copy).await.done();
}

/// The same command, once `env` has done something about its signals.
fn after_env(flag: &str, command: &Command) -> Command {
    let mut env = clean(Command::new("env"));
    env.arg(flag).arg(command.as_std().get_program()).args(command.as_std().get_args());
    env
}

/// Waits until it is `time`, then sends a signal to the program that a child, strace, runs.
async fn signal_once(strace: &Child, name: &str, time: impl Fn() -> bool) {
    let strace = strace.id().unwrap();
    let wait = async {
        while !time() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.expect("the time comes");
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    signal(children.trim().parse().unwrap(), name).await;
}

#[tokio::test]
async fn a_copy_that_is_interrupted_leaves_nothing() {
    let (dir, target) = (tempdir().unwrap(), tempdir().unwrap());
    let (database, copy) = (dir.path().join("chat.db"), target.path().join("copy.db"));
    ask(&["migrate", "--database", &url(&database)]).await.done();
    for name in ["INT", "TERM", "HUP"] {
        // Each write takes a tenth of a second, so that the signal comes in the middle.
        let strace = back_up_under_strace(&database, &copy, "pwrite64:delay_enter=100000");
        // The tests may run under nohup.
        let mut command = after_env("--default-signal=HUP", &strace);
        let child = command.current_dir(dir.path()).spawn().expect("strace is needed");
        signal_once(&child, name, || !names(target.path()).is_empty()).await;
        let output = timeout(DEADLINE, child.wait_with_output()).await.expect("it ends").unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: it was interrupted\n");
        assert!(names(target.path()).is_empty(), "{:?}", names(target.path()));
    }
}

#[tokio::test]
async fn a_copy_that_has_its_name_when_it_is_interrupted_is_reported() {
    let (dir, target) = (tempdir().unwrap(), tempdir().unwrap());
    let (database, copy) = (dir.path().join("chat.db"), target.path().join("copy.db"));
    ask(&["migrate", "--database", &url(&database)]).await.done();
    // The second one is that of the directory, in which the name is.
    let inject = "fsync,fdatasync:delay_enter=3000000:when=2";
    let mut command = back_up_under_strace(&database, &copy, inject);
    let child = command.current_dir(dir.path()).spawn().expect("strace is needed");
    signal_once(&child, "TERM", || copy.exists()).await;
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("was copied"));
    assert_eq!(names(target.path()), ["copy.db".to_owned()].into());
}

#[tokio::test]
async fn a_copy_outlives_its_session_where_it_is_told_to() {
    let (dir, target) = (tempdir().unwrap(), tempdir().unwrap());
    let (database, copy) = (dir.path().join("chat.db"), target.path().join("copy.db"));
    ask(&["migrate", "--database", &url(&database)]).await.done();
    let strace = back_up_under_strace(&database, &copy, "pwrite64:delay_enter=50000");
    // As nohup does.
    let mut command = after_env("--ignore-signal=HUP", &strace);
    let child = command.current_dir(dir.path()).spawn().expect("strace is needed");
    signal_once(&child, "HUP", || !names(target.path()).is_empty()).await;
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(target.path()), ["copy.db".to_owned()].into());
}
