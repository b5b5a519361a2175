//! Pages of a timeline.

use chat_core::{
    ids::{RoomId, RoomNo, Seq, Timestamp},
    protocol::{Event, EventBody, EventKind, Message, Reactions, RoomPatch},
    rights::{Role, Visibility},
    store::{NoPage, Page, PageQuery},
};
use tokio_postgres::Row;

use super::{
    fault::Failure,
    rows::{Columns, sql, sql_len},
    session::{Begin, Client, Question, begin, end, query},
};
use crate::{
    pages::{self, Cut, Direction, Messages, Span, kinds_mask},
    parts::{member_change, removes},
};

/// Most events that are read at once: a page that ends by its bytes is not preceded by all that the limit allows.
const CHUNK_MAX: usize = 256;

const ROOM: &str = r#"
    SELECT r.id, r.visibility, r.first_seq, r.last_seq, r.private_seq, m.role, m.banned, m.seq, m.lost_seq
    FROM rooms r LEFT JOIN members m ON m.room = r.no AND m."user" = $2
    WHERE r.no = $1"#;

/// `$4` has one bit for each kind that is wanted.
macro_rules! select_events {
    ($where:literal, $order:literal) => {
        concat!(
            "SELECT e.seq, e.at, e.author, e.kind, e.target, e.key, e.text, e.meta, e.edited_at, e.subject, e.change, \
             e.role, c.visibility, c.name, c.topic, c.state
             FROM events e LEFT JOIN room_changes c ON c.room = e.room AND c.seq = e.seq AND e.kind = 6
             WHERE e.room = $1 AND e.seq > $2 AND e.seq < $3 AND ($4::bigint >> e.kind) & 1 = 1",
            $where,
            " ORDER BY e.seq ",
            $order,
            " LIMIT $5"
        )
    };
}
const UPWARDS: &str = select_events!("", "ASC");
const DOWNWARDS: &str = select_events!("", "DESC");

/// Along the index that has no messages.
const OTHERS_UPWARDS: &str = select_events!(" AND e.kind <> 1", "ASC");
const OTHERS_DOWNWARDS: &str = select_events!(" AND e.kind <> 1", "DESC");

const REACTIONS: &str = r#"
    SELECT target, emoji, count(*), bool_or("user" = $4) FROM reactions
    WHERE room = $1 AND target BETWEEN $2 AND $3 AND NOT removed
    GROUP BY target, emoji ORDER BY target, emoji"#;

/// Reads a page; the transaction is what makes it one moment.
pub(super) async fn page(client: &Client, asked: &PageQuery) -> Result<Result<Page, NoPage>, Failure> {
    let reader = asked.reader.as_ref();
    let user = reader.map_or("", |reader| reader.user.as_str());
    let question = Question { sql: ROOM, values: vec![Box::new(sql(asked.room.0)), Box::new(user)] };
    let answers = begin(client, Begin::Read, &[question]).await?;
    let page = match answers.iter().flatten().next() {
        Some(row) => read(client, asked, row).await?,
        None => Err(NoPage::Gone),
    };
    end(client).await?;
    Ok(page)
}

async fn read(client: &Client, asked: &PageQuery, row: &Row) -> Result<Result<Page, NoPage>, Failure> {
    let mut row = Columns::of(row);
    let id = row.parsed(|text| RoomId::new(text).ok())?;
    let visibility = row.parsed(Visibility::parse)?;
    let (first_seq, last_seq, private_seq) = (row.seq()?, row.seq()?, row.maybe_seq()?);
    let end = match &asked.reader {
        Some(reader) => match pages::right_ends(visibility, private_seq, row.person()?, reader.authority) {
            Ok(end) => end,
            Err(none) => return Ok(Err(none)),
        },
        None => None,
    };
    let (mut events, more) = cut(client, asked, &id, Span::of(asked, last_seq, end)).await?;
    if let Some(reader) = &asked.reader {
        add_reactions(client, asked.room, &mut events, reader.user.as_str()).await?;
    }
    Ok(Ok(Page { events, more, first_seq, last_seq, end }))
}

/// The events that fit into the page, oldest first, and whether another one would follow.
async fn cut(
    client: &Client,
    asked: &PageQuery,
    id: &RoomId,
    mut span: Span,
) -> Result<(Vec<Event>, bool), Failure> {
    let has_messages = asked.kinds.is_empty() || asked.kinds.contains(&EventKind::Message);
    let statement = match (span.direction, has_messages) {
        (Direction::Upwards, true) => UPWARDS,
        (Direction::Upwards, false) => OTHERS_UPWARDS,
        (Direction::Downwards, true) => DOWNWARDS,
        (Direction::Downwards, false) => OTHERS_DOWNWARDS,
    };
    let (room, kinds) = (sql(asked.room.0), kinds_mask(&asked.kinds));
    let chunk = asked.limit.saturating_add(1).min(CHUNK_MAX);
    let mut cut = Cut::new(asked);
    'chunks: loop {
        let (after, before) = (sql(span.after.0), sql(span.before.0));
        let rows = query(client, statement, &[&room, &after, &before, &kinds, &sql_len(chunk)]).await?;
        let is_last = rows.len() < chunk;
        for row in &rows {
            let event = event(row, id)?;
            match span.direction {
                Direction::Upwards => span.after = event.seq,
                Direction::Downwards => span.before = event.seq,
            }
            if cut.take(event).is_break() {
                break 'chunks;
            }
        }
        if is_last {
            break;
        }
    }
    Ok(cut.finish(span.direction))
}

fn event(row: &Row, room: &RoomId) -> Result<Event, Failure> {
    let mut row = Columns::of(row);
    let (seq, at, from) = (row.seq()?, row.timestamp()?, row.user()?);
    let kind = u8::try_from(row.get::<i16>()?).ok().and_then(EventKind::from_number);
    let kind = kind.ok_or(Failure::Strange("an event of an unknown kind"))?;
    Ok(Event { room: room.clone(), seq, at, from, body: body(&mut row, kind)? })
}

fn body(row: &mut Columns<'_>, kind: EventKind) -> Result<EventBody, Failure> {
    let target = row.maybe_seq()?;
    let (key, text, meta) = (row.maybe_text()?, row.maybe_text()?, row.json()?);
    let edited_at = row.get::<Option<i64>>()?.map(Timestamp);
    let (subject, change) = (row.maybe_text()?, row.get::<Option<&str>>()?);
    let role = row.maybe(Role::parse)?;
    let change = change.ok_or(Failure::Strange("an event without its change"));
    let subject = subject.ok_or(Failure::Strange("an event without its subject"));
    let its_target = target.ok_or(Failure::Strange("an event without its target"));
    Ok(match kind {
        EventKind::Message => {
            let reactions = Vec::new();
            EventBody::Message(Message { text, key, reply_to: target, meta, edited_at, reactions })
        }
        EventKind::Edited => EventBody::Edited { target: its_target?, text },
        EventKind::Deleted => EventBody::Deleted { target: its_target? },
        EventKind::Reaction => EventBody::Reaction {
            target: its_target?,
            emoji: subject?,
            remove: removes(change?).ok_or(Failure::Strange("a reaction that did nothing known"))?,
        },
        EventKind::Member => EventBody::Member {
            user: subject?.parse().or(Err(Failure::Strange("a user's id that is none")))?,
            change: member_change(change?, role)
                .ok_or(Failure::Strange("a membership that did not change in a known way"))?,
        },
        EventKind::Room => EventBody::Room(RoomPatch {
            visibility: row.maybe(Visibility::parse)?,
            name: row.maybe_text()?,
            topic: row.maybe_text()?,
            state: row.json()?,
        }),
    })
}

async fn add_reactions(
    client: &Client,
    room: RoomNo,
    events: &mut [Event],
    reader: &str,
) -> Result<(), Failure> {
    let mut messages = Messages::of(events);
    let Some((first, last)) = messages.span() else { return Ok(()) };
    let rows = query(client, REACTIONS, &[&sql(room.0), &sql(first.0), &sql(last.0), &reader]).await?;
    for row in &rows {
        let mut row = Columns::of(row);
        let target: Seq = row.seq()?;
        messages.add(target, Reactions { emoji: row.text()?, count: row.number()?, me: row.get()? });
    }
    Ok(())
}
