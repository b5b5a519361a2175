//! Takes away what deleted rooms leave behind.

use super::{
    fault::Failure,
    rows::Columns,
    session::{Begin, Client, Question, begin, commit, end, execute_all},
};

/// One deleted room that nobody else is at.
const NEXT: &str = "SELECT room FROM tombstones ORDER BY room LIMIT 1 FOR UPDATE SKIP LOCKED";

/// Most rows of each table in one transaction: some 50 ms, so that a sweep holds up nobody's disk for long.
macro_rules! delete_some {
    ($table:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ctid = ANY(ARRAY(SELECT ctid FROM ",
            $table,
            " WHERE room = $1 LIMIT 5000))"
        )
    };
}

/// The tables in which rows hang on a room's number.
const DELETE_SOME: [&str; 5] = [
    delete_some!("events"),
    delete_some!("room_changes"),
    delete_some!("reactions"),
    delete_some!("members"),
    delete_some!("read_marks"),
];

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    Some,
    /// Nothing is left, or others are at it.
    All,
}

/// Takes some rows away.
pub(super) async fn step(client: &Client) -> Result<Swept, Failure> {
    let next = Question { sql: NEXT, values: Vec::new() };
    let answers = begin(client, Begin::Write, &[next]).await?;
    let Some(room) = answers.iter().flatten().next() else {
        end(client).await?;
        return Ok(Swept::All);
    };
    let room: i64 = Columns::of(room).get()?;
    let question = |sql| Question { sql, values: vec![Box::new(room)] };
    let deleted = execute_all(client, &DELETE_SOME.map(question)).await?;
    if deleted.iter().all(|rows| *rows == 0) {
        execute_all(client, &[question("DELETE FROM tombstones WHERE room = $1")]).await?;
    }
    commit(client).await?;
    Ok(Swept::Some)
}
