//! What is copied, table by table, and what is then counted on both sides.

use std::fmt::Write as _;

use crate::sqlite::room_end;

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `bigint`.
    Number,
    /// `smallint`.
    Small,
    /// `boolean`.
    Flag,
    /// `text`: what this program has given a name or an id to.
    Word,
    /// `bytea`: what people wrote.
    Text,
}

/// A value of a row, on its way; `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    Number(Option<i64>),
    Small(Option<i16>),
    Flag(Option<bool>),
    Word(Option<String>),
    Text(Option<Vec<u8>>),
}

pub(crate) type Row = Vec<Field>;

/// What the reader of a database tells the writer of the other: first [`Ready`](Self::Ready), then the rows of each of
/// [`TABLES`], then the answers to each of [`COUNTS`], each of them ended by [`End`](Self::End). Where the last `End` does
/// not come, the reader has failed.
#[derive(Debug)]
pub(crate) enum Part {
    Ready {
        /// The highest number that a room ever had; 0 where there was none.
        highest_no: i64,
    },
    /// Some of the rows.
    Rows(Vec<Row>),
    End,
}

/// A column of Postgres, and the expression that it is read by from SQLite.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    from: &'static str,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, from: name }
}

impl Column {
    const fn from(self, from: &'static str) -> Self {
        Self { from, ..self }
    }
}

/// A table of Postgres, and where its rows stand in SQLite.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
    from: &'static str,
}

/// The tables that are copied, each in the order of its primary key in both databases. `bodies` is in `events`; `totals`
/// is what is counted; `tombstones` are what this way of deleting a room leaves, and SQLite's leaves nothing.
pub(crate) const TABLES: [Table; 6] = [
    Table {
        name: "rooms",
        columns: &[
            column("no", Kind::Number),
            column("id", Kind::Word),
            column("epoch", Kind::Word).from("new_epoch()"),
            column("kind", Kind::Word),
            column("visibility", Kind::Word),
            column("first_seq", Kind::Number),
            column("last_seq", Kind::Number).from(room_end!()),
            column("version", Kind::Number),
            column("private_seq", Kind::Number),
            column("created_at", Kind::Number),
            column("name", Kind::Text),
            column("topic", Kind::Text),
            column("state", Kind::Text),
        ],
        from: "rooms ORDER BY no",
    },
    Table {
        name: "events",
        columns: &[
            column("room", Kind::Number),
            column("seq", Kind::Number),
            column("at", Kind::Number),
            column("kind", Kind::Small),
            column("author", Kind::Word),
            column("target", Kind::Number),
            column("edited_seq", Kind::Number),
            column("edited_at", Kind::Number),
            column("key", Kind::Text),
            column("text", Kind::Text).from("coalesce(edited.text, own.text)"),
            column("meta", Kind::Text).from("own.meta"),
            column("subject", Kind::Text),
            column("change", Kind::Word),
            column("role", Kind::Word),
        ],
        from: "events
            LEFT JOIN bodies AS own ON own.id = body
            LEFT JOIN bodies AS edited ON edited.id = edited_body
            ORDER BY room, seq",
    },
    Table {
        name: "room_changes",
        columns: &[
            column("room", Kind::Number),
            column("seq", Kind::Number),
            column("visibility", Kind::Word),
            column("name", Kind::Text),
            column("topic", Kind::Text),
            column("state", Kind::Text),
        ],
        from: "room_changes ORDER BY room, seq",
    },
    Table {
        name: "reactions",
        columns: &[
            column("room", Kind::Number),
            column("target", Kind::Number),
            column("emoji", Kind::Text),
            column("\"user\"", Kind::Word),
            column("seq", Kind::Number),
            column("at", Kind::Number),
            column("removed", Kind::Flag),
        ],
        from: "reactions ORDER BY room, target, emoji, user",
    },
    Table {
        name: "members",
        columns: &[
            column("room", Kind::Number),
            column("\"user\"", Kind::Word),
            column("role", Kind::Word),
            column("banned", Kind::Flag),
            column("seq", Kind::Number),
            column("lost_seq", Kind::Number),
        ],
        from: "members ORDER BY room, user",
    },
    Table {
        name: "read_marks",
        columns: &[column("room", Kind::Number), column("\"user\"", Kind::Word), column("seq", Kind::Number)],
        from: "read_marks ORDER BY room, user",
    },
];

impl Table {
    /// Reads its rows from SQLite.
    pub(crate) fn select(&self) -> String {
        format!("SELECT {} FROM {}", joined(self.columns.iter().map(|column| column.from)), self.from)
    }

    /// Begins to take rows in Postgres.
    pub(crate) fn copy_in(&self) -> String {
        let columns = joined(self.columns.iter().map(|column| column.name));
        format!("COPY {} ({columns}) FROM STDIN (FORMAT binary)", self.name)
    }
}

/// What is counted of a table, room by room and in their order, in words that both databases understand alike. The first
/// expression is the room, the second how many rows there are, and with events the third how many messages.
#[derive(Debug)]
pub(crate) struct Count {
    /// Of which table.
    pub(crate) name: &'static str,
    pub(crate) expressions: &'static [&'static str],
    /// Where SQLite has the same columns, if that is not the table of this name.
    sqlite: Option<&'static str>,
    group: &'static str,
}

const BY_ROOM: &str = "GROUP BY room ORDER BY room";

/// In the order of [`TABLES`]. The numbers of bytes are those of texts that either database knows without reading them.
/// Epochs are not the same.
pub(crate) const COUNTS: [Count; TABLES.len()] = [
    Count {
        name: "rooms",
        expressions: &[
            "no",
            "1",
            "first_seq",
            "last_seq",
            "version",
            "coalesce(private_seq, 0)",
            "created_at",
            "octet_length(id)",
            "octet_length(name)",
            "octet_length(topic)",
            "coalesce(octet_length(state), -1)",
        ],
        sqlite: Some(concat!(
            "(SELECT no, first_seq, ",
            room_end!(),
            " AS last_seq, version, private_seq, created_at, id, name, topic, state FROM rooms)"
        )),
        group: "ORDER BY no",
    },
    Count {
        name: "events",
        expressions: &[
            "room",
            "count(*)",
            "count(*) FILTER (WHERE kind = 1)",
            "count(*) FILTER (WHERE kind = 2)",
            "count(*) FILTER (WHERE kind = 3)",
            "count(*) FILTER (WHERE kind = 4)",
            "count(*) FILTER (WHERE kind = 5)",
            "count(*) FILTER (WHERE kind = 6)",
            "min(seq)",
            "max(seq)",
            "count(target)",
            "count(edited_seq)",
            "count(edited_at)",
            "count(key)",
            "count(text)",
            "count(meta)",
            "count(subject)",
            "count(change)",
            "count(role)",
            "coalesce(sum(octet_length(key)), 0)",
            "coalesce(sum(octet_length(text)), 0)",
            "coalesce(sum(octet_length(meta)), 0)",
            "coalesce(sum(octet_length(subject)), 0)",
        ],
        sqlite: Some(
            "(SELECT room, kind, seq, target, edited_seq, edited_at, key, coalesce(edited.text, own.text) AS text,
                own.meta AS meta, subject, change, role
             FROM events
             LEFT JOIN bodies AS own ON own.id = body
             LEFT JOIN bodies AS edited ON edited.id = edited_body)",
        ),
        group: BY_ROOM,
    },
    Count {
        name: "room_changes",
        expressions: &[
            "room",
            "count(*)",
            "min(seq)",
            "max(seq)",
            "count(visibility)",
            "coalesce(sum(octet_length(name)), -1)",
            "coalesce(sum(octet_length(topic)), -1)",
            "coalesce(sum(octet_length(state)), -1)",
        ],
        sqlite: None,
        group: BY_ROOM,
    },
    Count {
        name: "reactions",
        expressions: &[
            "room",
            "count(*)",
            "count(*) FILTER (WHERE removed)",
            "min(seq)",
            "max(seq)",
            "min(target)",
            "max(target)",
            "sum(octet_length(emoji))",
        ],
        sqlite: None,
        group: BY_ROOM,
    },
    Count {
        name: "members",
        expressions: &[
            "room",
            "count(*)",
            "count(role)",
            "count(*) FILTER (WHERE banned)",
            "min(seq)",
            "max(seq)",
            "count(lost_seq)",
            "coalesce(max(lost_seq), -1)",
        ],
        sqlite: None,
        group: BY_ROOM,
    },
    Count {
        name: "read_marks",
        expressions: &["room", "count(*)", "min(seq)", "max(seq)"],
        sqlite: None,
        group: BY_ROOM,
    },
];

impl Count {
    /// Asks SQLite.
    pub(crate) fn of_sqlite(&self) -> String {
        self.of(self.sqlite.unwrap_or(self.name))
    }

    /// Asks Postgres.
    pub(crate) fn of_postgres(&self) -> String {
        self.of(self.name)
    }

    fn of(&self, from: &str) -> String {
        let mut numbers = String::new();
        for expression in self.expressions {
            let comma = if numbers.is_empty() { "" } else { ", " };
            // What Postgres counts with is `integer`, `bigint` or `numeric`.
            write!(numbers, "{comma}CAST({expression} AS bigint)").expect("a String takes it");
        }
        format!("SELECT {numbers} FROM {from} {}", self.group)
    }
}

fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
