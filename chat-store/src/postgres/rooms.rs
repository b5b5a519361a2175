//! Rooms: made, deleted, trimmed, and how far their readers are.

use std::collections::BTreeMap;

use chat_core::{
    ids::{RoomNo, Seq},
    protocol::{Event, EventBody, MemberChange},
    rights::{Actor, Role, Visibility, role_in_room},
    store::{Committed, Created, NewRoom, ReadMark, Refused, judge::RoomFacts},
};
use tokio_postgres::Row;

use super::{
    doubt::Doubts,
    fault::Failure,
    ledger::{Ledger, Room},
    rows::{Columns, room_columns, sql},
    session::{Begin, Client, Question, begin, commit, end, execute, execute_all, query_opt},
};
use crate::keys::KeyCheck;

/// Whoever makes or deletes a room has this lock first, before that of any room.
const LOCK_TOTALS: &str = "SELECT rooms FROM totals FOR UPDATE";

const BY_ID: &str = concat!("SELECT ", room_columns!(), " FROM rooms r WHERE r.id = $1");

const INSERT: &str = "
    INSERT INTO rooms (first_seq, last_seq, version, created_at, id, epoch, kind, visibility, name, topic)
    VALUES (1, 0, 0, $1, $2, $3, $4, $5, $6, $7) RETURNING no";

const ADD_TO_TOTALS: &str = "UPDATE totals SET rooms = rooms + $1";

/// Against everybody else, read marks too.
const LOCK_FOR_GOOD: &str = "SELECT FROM rooms WHERE no = $1 FOR UPDATE";

/// A statement after that of the lock: one that waits for a lock sees only the locked rows as they are after the wait.
const DELETER: &str = r#"
    SELECT r.visibility, m.role, m.banned
    FROM rooms r LEFT JOIN members m ON m.room = r.no AND m."user" = $2
    WHERE r.no = $1"#;

const LOCK: &str = "SELECT first_seq, last_seq FROM rooms WHERE no = $1 FOR NO KEY UPDATE";

/// In order of rooms and users, as every transaction takes their locks; and not beside a deletion of their room.
const SAVE_READ_MARKS: &str = r#"
    INSERT INTO read_marks (room, "user", seq)
    SELECT a.room, a."user", a.seq
    FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS a (room, "user", seq)
    JOIN rooms r ON r.no = a.room
    ORDER BY a.room, a."user" FOR KEY SHARE OF r
    ON CONFLICT (room, "user") DO UPDATE SET seq = excluded.seq WHERE excluded.seq > read_marks.seq"#;

/// Most read marks of one statement: some 10 ms. More are moved by several.
const READ_MARKS_MAX: usize = 1000;

/// Makes a room with its first members.
pub(super) async fn create(client: &Client, new: &NewRoom, rooms_max: u64) -> Result<Created, Failure> {
    let lock = Question { sql: LOCK_TOTALS, values: Vec::new() };
    let find = Question { sql: BY_ID, values: vec![Box::new(new.id.as_str())] };
    let answers = begin(client, Begin::Write, &[lock, find]).await?;
    let mut rows = answers.iter().map(|rows| rows.first().map(Columns::of));
    let total = rows.next().flatten().ok_or(Failure::Strange("no count of rooms"))?.number()?;
    if let Some(mut room) = rows.next().flatten() {
        end(client).await?;
        return Ok(Created::Exists(room.room()?));
    }
    if total >= rooms_max {
        end(client).await?;
        return Ok(Created::Full);
    }
    let no = insert(client, new).await?;
    let ledger = first_events(no, new)?;
    if !ledger.accepted.is_empty() {
        ledger.write(client).await?;
    }
    execute(client, ADD_TO_TOTALS, &[&1_i64]).await?;
    let row = query_opt(client, BY_ID, &[&new.id.as_str()]).await?;
    let row = row.ok_or(Failure::Strange("a room that was made is not there"))?;
    commit(client).await?;
    Ok(Created::New(Columns::of(&row).room()?))
}

async fn insert(client: &Client, new: &NewRoom) -> Result<RoomNo, Failure> {
    let row = query_opt(
        client,
        INSERT,
        &[
            &new.at.0,
            &new.id.as_str(),
            &new.epoch.as_str(),
            &new.kind.as_str(),
            &new.visibility.as_str(),
            &new.name.as_bytes(),
            &new.topic.as_bytes(),
        ],
    )
    .await?;
    Columns::of(&row.ok_or(Failure::Strange("a room without a number"))?).room_no()
}

/// The ledger of a new room: its members came one after the other.
fn first_events(no: RoomNo, new: &NewRoom) -> Result<Ledger, Failure> {
    let facts = RoomFacts {
        id: new.id.clone(),
        visibility: new.visibility,
        version: 0,
        first_seq: Seq(1),
        last_seq: Seq::ZERO,
    };
    let mut ledger = Ledger::new(KeyCheck::Trust);
    ledger.rooms.insert(no, Some(Room { facts, private_seq: None }));
    ledger.people.extend(new.members.iter().map(|(user, _)| ((no, user.clone()), None)));
    for (seq, (user, role)) in (1..).map(Seq).zip(&new.members) {
        let body = EventBody::Member { user: user.clone(), change: MemberChange::Added(*role) };
        let event = Event { room: new.id.clone(), seq, at: new.at, from: new.creator.clone(), body };
        ledger.accept(&Committed::new(no, event))?;
    }
    Ok(ledger)
}

/// Deletes a room where `actor` manages it. From then on nothing finds what hangs on it; [`sweep`](super::sweep) takes
/// it away.
pub(super) async fn delete(
    client: &Client,
    no: RoomNo,
    actor: &Actor,
    doubts: &Doubts,
) -> Result<Result<(), Refused>, Failure> {
    let lock_totals = Question { sql: LOCK_TOTALS, values: Vec::new() };
    let room = sql(no.0);
    let lock = Question { sql: LOCK_FOR_GOOD, values: vec![Box::new(room)] };
    let deleter = Question { sql: DELETER, values: vec![Box::new(room), Box::new(actor.user.as_str())] };
    let answers = begin(client, Begin::Write, &[lock_totals, lock, deleter]).await?;
    if let Err(refused) = may_delete(answers.last().and_then(|rows| rows.first()), actor)? {
        end(client).await?;
        return Ok(Err(refused));
    }
    let question = |sql| Question { sql, values: vec![Box::new(room)] };
    let deleted = [
        question("INSERT INTO tombstones (room) VALUES ($1)"),
        question("DELETE FROM rooms WHERE no = $1"),
        Question { sql: ADD_TO_TOTALS, values: vec![Box::new(-1_i64)] },
    ];
    execute_all(client, &deleted).await?;
    let doubt = doubts.raise([no]);
    commit(client).await?;
    doubt.settle();
    Ok(Ok(()))
}

fn may_delete(row: Option<&Row>, actor: &Actor) -> Result<Result<(), Refused>, Failure> {
    let Some(row) = row else { return Ok(Err(Refused::NoRoom)) };
    let mut row = Columns::of(row);
    let visibility = row.parsed(Visibility::parse)?;
    Ok(match role_in_room(visibility, row.standing()?, actor.authority) {
        None => Err(Refused::NoRoom),
        Some(role) if role < Role::Manager => Err(Refused::Forbidden),
        Some(_) => Ok(()),
    })
}

/// Most events that are dropped in one transaction: some 50 ms, in which nobody else can write to the room.
const TRIM_STEP: u64 = 5000;

/// How far a trim has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trimmed {
    /// There is no such room.
    NoRoom,
    /// This is the oldest event kept, and more is to be dropped.
    To(Seq),
    /// This is the oldest event kept, and that is all.
    Done(Seq),
}

/// Drops the oldest events of a room, with what hangs on them: as many as one step takes, and none from `first` on.
pub(super) async fn trim(client: &Client, no: RoomNo, first: Seq) -> Result<Trimmed, Failure> {
    let room = sql(no.0);
    let lock = Question { sql: LOCK, values: vec![Box::new(room)] };
    let answers = begin(client, Begin::Write, &[lock]).await?;
    let Some(mut row) = answers.iter().flatten().next().map(Columns::of) else {
        end(client).await?;
        return Ok(Trimmed::NoRoom);
    };
    let (first_seq, last_seq) = (row.seq()?, row.seq()?);
    let first = first.min(last_seq.next());
    if first <= first_seq {
        end(client).await?;
        return Ok(Trimmed::Done(first_seq));
    }
    let step = first.min(Seq(first_seq.0.saturating_add(TRIM_STEP)));
    let question =
        |statement| Question { sql: statement, values: vec![Box::new(room), Box::new(sql(step.0))] };
    let dropped = [
        question("DELETE FROM events WHERE room = $1 AND seq < $2"),
        question("DELETE FROM room_changes WHERE room = $1 AND seq < $2"),
        question("DELETE FROM reactions WHERE room = $1 AND target < $2"),
        question("UPDATE rooms SET first_seq = $2 WHERE no = $1"),
    ];
    execute_all(client, &dropped).await?;
    commit(client).await?;
    Ok(if step < first { Trimmed::To(step) } else { Trimmed::Done(step) })
}

/// Moves read marks forward.
pub(super) async fn save_read_marks(client: &Client, marks: &[ReadMark]) -> Result<(), Failure> {
    let mut furthest = BTreeMap::new();
    for mark in marks {
        let seq = furthest.entry((mark.room, &mark.user)).or_insert(mark.seq);
        *seq = mark.seq.max(*seq);
    }
    let furthest: Vec<_> =
        furthest.iter().map(|((room, user), seq)| (sql(room.0), user.as_str(), sql(seq.0))).collect();
    for some in furthest.chunks(READ_MARKS_MAX) {
        let rooms: Vec<_> = some.iter().map(|(room, ..)| *room).collect();
        let users: Vec<_> = some.iter().map(|(_, user, _)| *user).collect();
        let seqs: Vec<_> = some.iter().map(|(.., seq)| *seq).collect();
        execute(client, SAVE_READ_MARKS, &[&rooms, &users, &seqs]).await?;
    }
    Ok(())
}
