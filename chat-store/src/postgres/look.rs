//! The first turn of a batch: the locks of its rooms, and every fact that the rules may ask for.

use chat_core::{
    ids::{RoomId, Seq, Timestamp},
    protocol::RoomPatch,
    rights::Visibility,
    store::{
        Append,
        judge::{MessageFacts, ReactionFacts, RoomFacts},
    },
};
use tokio_postgres::Row;

use super::{
    fault::Failure,
    ledger::{Ledger, Room},
    rows::{Columns, sql},
    session::{Begin, Client, Question, begin, column},
};
use crate::keys::KeyCheck;

/// In order of numbers, as every transaction takes them: so none waits for one that waits for it. What is read is what
/// stands there when the lock is had. Deletions want more than this lock, read marks want less.
const LOCK: &str = "
    SELECT no, private_seq, id, visibility, version, first_seq, last_seq FROM rooms
    WHERE no = ANY($1) ORDER BY no FOR NO KEY UPDATE";

/// The same for one room: most batches have no other, and a plan without arrays and sorting has begun sooner.
const LOCK_ONE: &str = "
    SELECT no, private_seq, id, visibility, version, first_seq, last_seq FROM rooms
    WHERE no = $1 FOR NO KEY UPDATE";

const PEOPLE: &str = r#"
    SELECT m.room, m."user", m.role, m.banned, m.seq, m.lost_seq
    FROM unnest($1::bigint[], $2::text[]) AS a (room, "user")
    JOIN members m ON m.room = a.room AND m."user" = a."user""#;

const PERSON: &str = r#"
    SELECT room, "user", role, banned, seq, lost_seq FROM members WHERE room = $1 AND "user" = $2"#;

const KEYS: &str = "
    SELECT e.room, e.author, e.key, e.seq, e.at
    FROM unnest($1::bigint[], $2::text[], $3::bytea[]) AS a (room, author, key)
    JOIN events e ON e.room = a.room AND e.author = a.author AND e.key = a.key AND e.key IS NOT NULL";

const MESSAGES: &str = "
    SELECT e.room, e.seq, e.author, e.at, e.text, e.edited_seq, e.edited_at
    FROM unnest($1::bigint[], $2::bigint[]) AS a (room, seq)
    JOIN events e ON e.room = a.room AND e.seq = a.seq AND e.kind = 1";

const REACTIONS: &str = r#"
    SELECT r.room, r.target, r.emoji, r."user", r.seq, r.at, r.removed
    FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[]) AS a (room, target, emoji, "user")
    JOIN reactions r ON r.room = a.room AND r.target = a.target AND r.emoji = a.emoji AND r."user" = a."user""#;

/// From emoji to emoji along the index: however many users stand under each, one row of it is read.
const EMOJIS: &str = "
    SELECT a.room, a.target, under.emoji
    FROM unnest($1::bigint[], $2::bigint[]) AS a (room, target)
    CROSS JOIN LATERAL (
        WITH RECURSIVE step (emoji) AS (
            (SELECT r.emoji FROM reactions r WHERE r.room = a.room AND r.target = a.target ORDER BY r.emoji LIMIT 1)
            UNION ALL
            SELECT (
                SELECT r.emoji FROM reactions r
                WHERE r.room = a.room AND r.target = a.target AND r.emoji > step.emoji
                ORDER BY r.emoji LIMIT 1
            )
            FROM step WHERE step.emoji IS NOT NULL
        )
        SELECT emoji FROM step WHERE emoji IS NOT NULL
    ) AS under";

const NEWEST: &str = "
    SELECT r.no, e.at FROM rooms r JOIN events e ON e.room = r.no AND e.seq = r.last_seq WHERE r.no = ANY($1)";

const PROFILES: &str = "SELECT no, name, topic, state FROM rooms WHERE no = ANY($1)";

/// What a row tells of.
#[derive(Debug, Clone, Copy)]
enum What {
    Rooms,
    People,
    Keys,
    Messages,
    Reactions,
    Emojis,
    Newest,
    Profiles,
}

impl Ledger {
    /// Begins the transaction of a batch. The rooms are locked until it ends.
    pub(super) async fn begin(
        client: &Client,
        items: &[Append],
        key_check: KeyCheck,
    ) -> Result<Self, Failure> {
        let mut ledger = Self::asked_by(items, key_check);
        let asked = ledger.questions();
        let (whats, questions): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let answers = begin(client, Begin::Write, &questions).await?;
        drop(questions);
        for (what, rows) in whats.into_iter().zip(&answers) {
            for row in rows {
                ledger.learn(what, row)?;
            }
        }
        Ok(ledger)
    }

    /// The locks first, then what has to be known. What nobody asks for is left out.
    fn questions(&self) -> Vec<(What, Question<'_>)> {
        let keys: Vec<_> = self
            .keys
            .iter()
            .flat_map(|((no, user), keys)| keys.keys().map(|key| (sql(no.0), user.as_str(), key.as_bytes())))
            .collect();
        let (keys, messages, reactions) = (&keys, &self.messages, &self.reactions);
        let (lock, people) = (self.lock(), self.people());
        let all = [
            (What::Rooms, lock.sql, self.rooms.len(), lock.values),
            (What::People, people.sql, self.people.len(), people.values),
            (
                What::Keys,
                KEYS,
                keys.len(),
                vec![
                    column(keys.iter().map(|(no, ..)| *no)),
                    column(keys.iter().map(|(_, user, _)| *user)),
                    column(keys.iter().map(|(.., key)| *key)),
                ],
            ),
            (
                What::Messages,
                MESSAGES,
                messages.len(),
                vec![
                    column(messages.keys().map(|(no, _)| sql(no.0))),
                    column(messages.keys().map(|(_, seq)| sql(seq.0))),
                ],
            ),
            (
                What::Reactions,
                REACTIONS,
                reactions.len(),
                vec![
                    column(reactions.keys().map(|(no, ..)| sql(no.0))),
                    column(reactions.keys().map(|(_, target, ..)| sql(target.0))),
                    column(reactions.keys().map(|(.., emoji, _)| emoji.as_bytes())),
                    column(reactions.keys().map(|(.., user)| user.as_str())),
                ],
            ),
            (
                What::Emojis,
                EMOJIS,
                self.emojis.len(),
                vec![
                    column(self.emojis.keys().map(|(no, _)| sql(no.0))),
                    column(self.emojis.keys().map(|(_, target)| sql(target.0))),
                ],
            ),
            (What::Newest, NEWEST, self.newest.len(), vec![column(self.newest.keys().map(|no| sql(no.0)))]),
            (
                What::Profiles,
                PROFILES,
                self.profiles.len(),
                vec![column(self.profiles.keys().map(|no| sql(no.0)))],
            ),
        ];
        let asked = all.into_iter().filter(|(_, _, count, _)| *count > 0);
        asked.map(|(what, sql, _, values)| (what, Question { sql, values })).collect()
    }

    fn lock(&self) -> Question<'_> {
        let mut numbers = self.rooms.keys().map(|no| sql(no.0));
        match (numbers.next(), self.rooms.len()) {
            (Some(no), 1) => Question { sql: LOCK_ONE, values: vec![Box::new(no)] },
            (first, _) => Question { sql: LOCK, values: vec![column(first.into_iter().chain(numbers))] },
        }
    }

    fn people(&self) -> Question<'_> {
        if let (Some((no, user)), 1) = (self.people.keys().next(), self.people.len()) {
            return Question { sql: PERSON, values: vec![Box::new(sql(no.0)), Box::new(user.as_str())] };
        }
        let rooms = column(self.people.keys().map(|(no, _)| sql(no.0)));
        let users = column(self.people.keys().map(|(_, user)| user.as_str()));
        Question { sql: PEOPLE, values: vec![rooms, users] }
    }

    fn learn(&mut self, what: What, row: &Row) -> Result<(), Failure> {
        let mut row = Columns::of(row);
        let room = row.room_no()?;
        match what {
            What::Rooms => {
                let room_now = Room {
                    private_seq: row.maybe_seq()?,
                    facts: RoomFacts {
                        id: row.parsed(|text| RoomId::new(text).ok())?,
                        visibility: row.parsed(Visibility::parse)?,
                        version: row.number()?,
                        first_seq: row.seq()?,
                        last_seq: row.seq()?,
                    },
                };
                self.rooms.insert(room, Some(room_now));
            }
            What::People => drop(self.people.insert((room, row.user()?), row.person()?)),
            What::Keys => {
                let keys = self.keys.entry((room, row.user()?)).or_default();
                keys.insert(row.text()?, Some((row.seq()?, row.timestamp()?)));
            }
            What::Messages => drop(self.messages.insert((room, row.seq()?), Some(message(&mut row)?))),
            What::Reactions => {
                let key = (room, row.seq()?, row.text()?, row.user()?);
                let last = ReactionFacts { seq: row.seq()?, at: row.timestamp()?, removed: row.get()? };
                self.reactions.insert(key, Some(last));
            }
            What::Emojis => {
                let target: Seq = row.seq()?;
                self.emojis.entry((room, target)).or_default().insert(row.text()?);
            }
            What::Newest => drop(self.newest.insert(room, Some(row.timestamp()?))),
            What::Profiles => {
                let (name, topic, state) = (row.maybe_text()?, row.maybe_text()?, row.json()?);
                self.profiles.insert(room, Some(RoomPatch { name, topic, state, visibility: None }));
            }
        }
        Ok(())
    }
}

fn message(row: &mut Columns<'_>) -> Result<MessageFacts, Failure> {
    Ok(MessageFacts {
        author: row.user()?,
        at: row.timestamp()?,
        text: row.maybe_text()?,
        edited: row.maybe_seq()?.zip(row.get::<Option<i64>>()?.map(Timestamp)),
    })
}
