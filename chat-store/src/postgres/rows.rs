//! Rows and what they stand for.

use chat_core::{
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    protocol::Json,
    rights::{Role, Standing, Visibility},
    store::{RoomKind, RoomRecord},
};
use tokio_postgres::{Row, types::FromSql};

use super::fault::Failure;
use crate::people::{Person, standing_of};

/// A number as Postgres keeps it. Ours count up one by one and never get near the end: past it is a number that
/// somebody asked for and that nothing has.
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count or a limit as Postgres takes it.
pub(super) fn sql_len(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of a row, one after the other.
pub(super) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

type Read<T> = Result<T, Failure>;

impl<'r> Columns<'r> {
    pub(super) const fn of(row: &'r Row) -> Self {
        Self { row, next: 0 }
    }

    /// The next one as it is.
    pub(super) fn get<T: FromSql<'r>>(&mut self) -> Read<T> {
        let column = self.next;
        self.next += 1;
        Ok(self.row.try_get(column)?)
    }

    /// The next one, read by `parse`.
    pub(super) fn parsed<T>(&mut self, parse: impl FnOnce(&'r str) -> Option<T>) -> Read<T> {
        parse(self.get()?).ok_or(Failure::Strange("a word that is none"))
    }

    /// The same where it may be missing.
    pub(super) fn maybe<T>(&mut self, parse: impl FnOnce(&'r str) -> Option<T>) -> Read<Option<T>> {
        let Some(text) = self.get()? else { return Ok(None) };
        parse(text).map(Some).ok_or(Failure::Strange("a word that is none"))
    }

    pub(super) fn number(&mut self) -> Read<u64> {
        u64::try_from(self.get::<i64>()?).or(Err(Failure::Strange("a number below zero")))
    }

    pub(super) fn room_no(&mut self) -> Read<RoomNo> {
        self.number().map(RoomNo)
    }

    pub(super) fn seq(&mut self) -> Read<Seq> {
        self.number().map(Seq)
    }

    pub(super) fn maybe_seq(&mut self) -> Read<Option<Seq>> {
        let Some(number) = self.get::<Option<i64>>()? else { return Ok(None) };
        u64::try_from(number).map(|number| Some(Seq(number))).or(Err(Failure::Strange("a number below zero")))
    }

    pub(super) fn timestamp(&mut self) -> Read<Timestamp> {
        self.get().map(Timestamp)
    }

    pub(super) fn user(&mut self) -> Read<UserId> {
        self.parsed(|text| UserId::new(text).ok())
    }

    /// What somebody wrote.
    pub(super) fn text(&mut self) -> Read<Box<str>> {
        self.maybe_text()?.ok_or(Failure::Strange("a missing text"))
    }

    /// The same where it may be missing.
    pub(super) fn maybe_text(&mut self) -> Read<Option<Box<str>>> {
        let Some(bytes) = self.get::<Option<&[u8]>>()? else { return Ok(None) };
        let text = str::from_utf8(bytes).or(Err(Failure::Strange("a text that is no Unicode")))?;
        Ok(Some(text.into()))
    }

    pub(super) fn json(&mut self) -> Read<Option<Json>> {
        let Some(text) = self.maybe_text()? else { return Ok(None) };
        Json::parse(&text).map(Some).or(Err(Failure::Strange("a text that is no JSON")))
    }

    /// Somebody's `role`, `banned`, which may both be missing.
    pub(super) fn standing(&mut self) -> Read<Standing> {
        let role = self.maybe(Role::parse)?;
        let banned: Option<bool> = self.get()?;
        Ok(standing_of(role, banned == Some(true)))
    }

    /// Somebody's `role`, `banned`, `seq`, `lost_seq`; `None` where there is no such row.
    pub(super) fn person(&mut self) -> Read<Option<Person>> {
        let standing = self.standing()?;
        let (seq, lost) = (self.maybe_seq()?, self.maybe_seq()?);
        Ok(seq.map(|seq| Person { standing, seq, lost }))
    }

    /// The columns of [`room_columns`].
    pub(super) fn room(&mut self) -> Read<RoomRecord> {
        Ok(RoomRecord {
            no: self.room_no()?,
            id: self.parsed(|text| RoomId::new(text).ok())?,
            epoch: self.parsed(|text| Some(Epoch::from_text(text)))?,
            kind: self.parsed(RoomKind::parse)?,
            visibility: self.parsed(Visibility::parse)?,
            name: self.text()?,
            topic: self.text()?,
            state: self.json()?,
            version: self.number()?,
            first_seq: self.seq()?,
            last_seq: self.seq()?,
        })
    }
}

/// The columns of [`Columns::room`], of a table or alias `r`.
macro_rules! room_columns {
    () => {
        "r.no, r.id, r.epoch, r.kind, r.visibility, r.name, r.topic, r.state, r.version, r.first_seq, r.last_seq"
    };
}
pub(super) use room_columns;
