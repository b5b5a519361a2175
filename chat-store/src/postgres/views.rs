//! Rooms as one user sees them. Each is one statement, and so one moment.

use chat_core::{
    ids::{RoomId, RoomNo, Seq, UserId},
    rights::Role,
    store::{Member, RoomView, UNREAD_MAX},
};
use tokio_postgres::Row;

use super::{
    doubt::Doubts,
    fault::Failure,
    rows::{Columns, room_columns, sql, sql_len},
    session::{Client, query, query_opt},
};

/// What [`view`] reads, of a table or alias `r`, for the user `$1`; `$2` is [`UNREAD_MAX`].
macro_rules! select_views {
    ($from:literal, $rest:literal) => {
        concat!(
            $from,
            " SELECT ",
            room_columns!(),
            r#", m.role, m.banned, coalesce(k.seq, 0), (
                SELECT count(*) FROM (
                    SELECT FROM events e
                    WHERE e.room = r.no AND e.seq > coalesce(k.seq, 0)
                        AND e.kind = 1 AND e.text IS NOT NULL AND e.author <> $1
                    LIMIT $2
                ) AS news
            )
            FROM rooms r
            LEFT JOIN members m ON m.room = r.no AND m."user" = $1
            LEFT JOIN read_marks k ON k.room = r.no AND k."user" = $1 "#,
            $rest
        )
    };
}

const ROOM: &str = select_views!("", "WHERE r.id = $3");

/// The public rooms and those of the user, less those that banned them, in order of ids. Each of the two ends at the
/// limit, so that not all public rooms are read.
const ROOMS: &str = select_views!(
    r#"
    WITH listed AS (
        (
            SELECT r.id, r.no FROM rooms r
            WHERE r.visibility = 'public' AND r.id > $3
                AND NOT EXISTS (SELECT FROM members m WHERE m.room = r.no AND m."user" = $1 AND m.banned)
            ORDER BY r.id LIMIT $4
        )
        UNION
        (
            SELECT r.id, r.no FROM members m JOIN rooms r ON r.no = m.room
            WHERE m."user" = $1 AND m.role IS NOT NULL AND r.id > $3
            ORDER BY r.id LIMIT $4
        )
        ORDER BY id LIMIT $4
    )"#,
    "JOIN listed l ON l.no = r.no ORDER BY r.id"
);

const MEMBERS: &str = r#"
    SELECT "user", role FROM members WHERE room = $1 AND "user" > $2 AND role IS NOT NULL ORDER BY "user" LIMIT $3"#;

const ENDS: &str = "SELECT no, last_seq FROM rooms WHERE no = ANY($1)";

/// Waits for whoever is about to change one of them.
const SETTLED_ENDS: &str = "SELECT no, last_seq FROM rooms WHERE no = ANY($1) ORDER BY no FOR SHARE";

/// The room of this id as `user` sees it.
pub(super) async fn room(client: &Client, id: &RoomId, user: &UserId) -> Result<Option<RoomView>, Failure> {
    let row = query_opt(client, ROOM, &[&user.as_str(), &sql(UNREAD_MAX), &id.as_str()]).await?;
    row.as_ref().map(view).transpose()
}

/// The rooms that are listed for `user`.
pub(super) async fn rooms(
    client: &Client,
    user: &UserId,
    after: Option<&RoomId>,
    limit: usize,
) -> Result<Vec<RoomView>, Failure> {
    // Every id is longer than no text at all, and so comes after it.
    let after = after.map_or("", RoomId::as_str);
    let rows = query(client, ROOMS, &[&user.as_str(), &sql(UNREAD_MAX), &after, &sql_len(limit)]).await?;
    rows.iter().map(view).collect()
}

fn view(row: &Row) -> Result<RoomView, Failure> {
    let mut row = Columns::of(row);
    Ok(RoomView { room: row.room()?, standing: row.standing()?, read: row.seq()?, unread: row.number()? })
}

/// Members in order of ids.
pub(super) async fn members(
    client: &Client,
    room: RoomNo,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<Member>, Failure> {
    let after = after.map_or("", UserId::as_str);
    let rows = query(client, MEMBERS, &[&sql(room.0), &after, &sql_len(limit)]).await?;
    let member = |row: &Row| {
        let mut row = Columns::of(row);
        Ok(Member { user: row.user()?, role: row.parsed(Role::parse)? })
    };
    rows.iter().map(member).collect()
}

/// The newest number of each room. Where the outcome of a commit is not known, this waits until there is one.
pub(super) async fn ends(
    client: &Client,
    rooms: &[RoomNo],
    doubts: &Doubts,
) -> Result<Vec<Option<Seq>>, Failure> {
    let doubted = doubts.about(rooms.iter().copied());
    let statement = if doubted.is_empty() { ENDS } else { SETTLED_ENDS };
    let numbers: Vec<_> = rooms.iter().map(|room| sql(room.0)).collect();
    let rows = query(client, statement, &[&numbers]).await?;
    doubts.settle(&doubted);
    let end = |row: &Row| {
        let mut row = Columns::of(row);
        Ok((row.room_no()?, row.seq()?))
    };
    let ends = rows.iter().map(end).collect::<Result<std::collections::BTreeMap<_, _>, Failure>>()?;
    Ok(rooms.iter().map(|room| ends.get(room).copied()).collect())
}

/// Waits until nothing is in doubt that was so before.
pub(super) async fn settle(client: &Client, doubts: &Doubts) -> Result<(), Failure> {
    let doubted = doubts.all();
    if doubted.is_empty() {
        return Ok(());
    }
    let mut numbers: Vec<_> = doubted.iter().map(|(room, _)| sql(room.0)).collect();
    numbers.dedup();
    query(client, SETTLED_ENDS, &[&numbers]).await?;
    doubts.settle(&doubted);
    Ok(())
}
