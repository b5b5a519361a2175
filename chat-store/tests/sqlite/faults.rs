//! Disks that fail, by strace's fault injection: these tests need `strace`.
//!
//! It counts system calls per thread. On Linux the page cache still has what an injected failure "lost", so that what
//! these tests can see is the procedure: who is told what, and what is written again before anybody is answered.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use rusqlite::{Connection, OpenFlags};
use tempfile::tempdir;

use crate::{
    child::{Said, Sender, sender},
    support::{keys, open, room, timeline},
};

/// A sender under strace, with its arguments.
fn sender_under_strace(path: &Path, messages: usize, text_bytes: usize, strace: &[&str]) -> Command {
    let sender = sender(path, messages, text_bytes);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(strace).arg(sender.get_program()).args(sender.get_args());
    command.envs(sender.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Every key that was acknowledged is there once, under the number that was told, and there is nothing else.
async fn assert_kept(path: &Path, said: &Said) {
    let store = open(path).await;
    let room = room(&store, "r").await;
    let kept = keys(&timeline(&store, room).await);
    assert_eq!(kept.into_iter().collect::<BTreeMap<_, _>>(), said.acked);
}

#[tokio::test]
async fn after_a_failed_fsync_it_goes_on_by_itself_and_nothing_is_lost() {
    for nth in [25, 26, 40] {
        let dir = tempdir().unwrap();
        let (path, trace) = (dir.path().join("chat.db"), dir.path().join("trace"));
        let inject = format!("inject=fdatasync,fsync:error=EIO:when={nth}");
        let strace = ["-y", "-o", trace.to_str().unwrap(), "-e", "trace=fdatasync,fsync", "-e", &inject];
        let said = Sender::start(sender_under_strace(&path, 60, 200, &strace)).finish();
        assert!(said.done, "{said:?}");
        assert!(said.unavailable >= 1, "{said:?}");
        assert_eq!(said.acked.len(), 60);
        let trace = fs::read_to_string(trace).unwrap();
        // The log as it begins, the directory that it was made in, the database file itself, and only then a commit.
        let mut after = trace.lines().skip_while(|line| !line.contains("INJECTED")).skip(1).take(3);
        let again = after.any(|line| line.contains("chat.db>") && line.ends_with("= 0"));
        assert!(again, "the database file itself is synced before service goes on:\n{trace}");
        assert_kept(&path, &said).await;
    }
}

#[tokio::test]
async fn while_fsync_keeps_failing_nothing_is_acknowledged_and_all_that_was_is_kept() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let strace =
        ["-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO:when=30+"];
    let said =
        Sender::start(sender_under_strace(&path, 60, 200, &strace)).kill_once(|said| said.unavailable > 50);
    assert!(!said.acked.is_empty() && said.acked.len() < 60, "{said:?}");
    let store = open(&path).await;
    let room = room(&store, "r").await;
    let kept: BTreeMap<_, _> = keys(&timeline(&store, room).await).into_iter().collect();
    assert!(said.acked.iter().all(|(key, seq)| kept.get(key) == Some(seq)));
    assert!(kept.len() <= said.acked.len() + 1);
}

#[tokio::test]
async fn after_a_failed_fsync_of_a_checkpoint_the_whole_log_is_written_again() {
    let dir = tempdir().unwrap();
    let (path, trace) = (dir.path().join("chat.db"), dir.path().join("trace"));
    drop(open(&path).await);
    let file = path.to_str().unwrap();
    let strace = [
        "-y",
        "-o",
        trace.to_str().unwrap(),
        "-P",
        file,
        "-e",
        "trace=fdatasync,fsync",
        "-e",
        "inject=fdatasync,fsync:error=EIO:when=1",
    ];
    // A log of 60 MB, of which a checkpoint comes after 48 MiB at the latest.
    let said = Sender::start(sender_under_strace(&path, 1200, 50_000, &strace)).finish();
    let trace = fs::read_to_string(trace).unwrap();
    assert!(said.done, "{trace}");
    let failed = trace.lines().position(|line| line.contains("INJECTED")).expect("a checkpoint was synced");
    assert!(trace.lines().skip(failed).any(|line| line.ends_with("= 0")), "{trace}");
    assert_kept(&path, &said).await;
}

#[tokio::test]
async fn while_another_program_has_the_database_a_failure_is_not_got_over() {
    let (dir, trace) = (tempdir().unwrap(), tempdir().unwrap());
    let (path, trace) = (dir.path().join("chat.db"), trace.path().join("trace"));
    drop(open(&path).await);
    // Its shared memory tells how much of the log is in the file already.
    let other = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let rooms: i64 = other.query_row("SELECT count(*) FROM rooms", [], |row| row.get(0)).unwrap();
    assert_eq!(rooms, 0);
    let inject = "inject=fdatasync,fsync:error=EIO:when=30";
    let strace = ["-y", "-o", trace.to_str().unwrap(), "-e", "trace=fdatasync,fsync,pwrite64", "-e", inject];
    let mut sender = Sender::start(sender_under_strace(&path, 80, 200, &strace));
    let acked = sender.listen_until(|said| said.unavailable > 0).acked.len();
    assert_eq!(
        sender.listen_until(|said| said.unavailable > 50).acked.len(),
        acked,
        "nothing is acknowledged"
    );
    drop(other);
    let said = sender.finish();
    assert!(said.done, "{said:?}");
    let trace = fs::read_to_string(trace).unwrap();
    let mut after = trace.lines().skip_while(|line| !line.contains("INJECTED")).skip(1);
    assert!(
        after.any(|line| line.contains("pwrite64") && line.contains("chat.db>")),
        "the log is written out:\n{trace}"
    );
    assert_kept(&path, &said).await;
}

#[tokio::test]
async fn a_full_disk_refuses_changes_lets_reads_go_on_and_comes_back() {
    for (error, from) in [("ENOSPC", 60), ("EFBIG", 61)] {
        let dir = tempdir().unwrap();
        let path = dir.path().join("chat.db");
        drop(open(&path).await);
        let inject = format!("inject=pwrite64:error={error}:when={from}..{}", from + 5);
        let strace = ["-o", "/dev/null", "-e", "trace=pwrite64", "-e", &inject];
        let said = Sender::start(sender_under_strace(&path, 60, 200, &strace)).finish();
        assert!(said.done, "{said:?}");
        assert!(said.unavailable >= 1, "{error}: {said:?}");
        assert_eq!(said.reads, said.unavailable, "{error}: every read was answered");
        assert_kept(&path, &said).await;
    }
}
