//! A database, read from its first row to its last at one moment.

use std::{
    mem,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use rusqlite::{
    Connection,
    types::{FromSqlError, FromSqlResult, ValueRef},
};
use tokio::sync::mpsc::Sender;

use super::{OpenError, epochs, open::identify, options::StartCheck, reading::Reading, recover::check_ends};
use crate::copy::tables::{COUNTS, Field, Kind, Part, Row, TABLES};

/// Most rows that are handed over at once.
pub(crate) const PORTION_ROWS_MAX: usize = 512;

/// No more rows are put to those that have as many bytes of text.
pub(crate) const PORTION_BYTES: usize = 128 * 1024;

/// Reads everything in one read transaction beside the commits of whoever has the database, and tells it, until `stop` is
/// set or nobody listens.
pub(crate) fn run(database: &Path, parts: &Sender<Part>, stop: &Arc<AtomicBool>) -> Result<(), OpenError> {
    let reading = Reading::open(database, stop)?;
    match tell(reading.conn(), database, parts) {
        Ok(()) | Err(Broken::Unheard) => Ok(()),
        Err(Broken::Database(error)) => Err(error),
    }
}

/// Why it was not read to its end.
enum Broken {
    /// Nobody listens any more.
    Unheard,
    Database(OpenError),
}

impl From<OpenError> for Broken {
    fn from(error: OpenError) -> Self {
        Self::Database(error)
    }
}

fn tell(conn: &Connection, path: &Path, parts: &Sender<Part>) -> Result<(), Broken> {
    let database = |error| OpenError::database(path, error);
    epochs::provide(conn).map_err(database)?;
    let tx = conn.unchecked_transaction().map_err(database)?;
    if identify(&tx, path, StartCheck::HeaderOnly)? == 0 {
        return Err(OpenError::Missing { path: path.to_owned() }.into());
    }
    let highest_no = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'rooms'), 0)";
    let highest_no = tx.query_row(highest_no, [], |row| row.get(0)).map_err(database)?;
    say(parts, Part::Ready { highest_no })?;
    // The same checks as at a start, and that no room lacks events, while Postgres is being reached.
    identify(&tx, path, StartCheck::Full)?;
    check_ends(&tx).map_err(|unsound| unsound.at(path))?;
    let mut told = Told { parts, path, rows: Vec::new(), bytes: 0 };
    for table in &TABLES {
        let kinds: Vec<_> = table.columns.iter().map(|column| column.kind).collect();
        told.tell_rows(&tx, table.name, &table.select(), &kinds)?;
    }
    for count in &COUNTS {
        told.tell_rows(&tx, count.name, &count.of_sqlite(), &vec![Kind::Number; count.expressions.len()])?;
    }
    Ok(())
}

fn say(parts: &Sender<Part>, part: Part) -> Result<(), Broken> {
    parts.blocking_send(part).or(Err(Broken::Unheard))
}

/// Rows that wait until it is worth handing them over.
struct Told<'a> {
    parts: &'a Sender<Part>,
    path: &'a Path,
    rows: Vec<Row>,
    bytes: usize,
}

impl Told<'_> {
    fn tell_rows(&mut self, conn: &Connection, table: &str, sql: &str, kinds: &[Kind]) -> Result<(), Broken> {
        let path = self.path;
        let database = |error| OpenError::database(path, error);
        let strange = |error| {
            let detail = format!("{table} has a value that this program never writes: {error}");
            OpenError::Damaged { path: path.to_owned(), detail }
        };
        let mut statement = conn.prepare(sql).map_err(database)?;
        let mut rows = statement.query([]).map_err(database)?;
        while let Some(row) = rows.next().map_err(database)? {
            let mut fields = Vec::with_capacity(kinds.len());
            for (column, kind) in kinds.iter().enumerate() {
                let value = row.get_ref(column).map_err(database)?;
                self.bytes += value.as_bytes().map_or(0, <[u8]>::len);
                fields.push(field(value, *kind).map_err(strange)?);
            }
            self.rows.push(fields);
            if self.rows.len() == PORTION_ROWS_MAX || self.bytes >= PORTION_BYTES {
                self.bytes = 0;
                say(self.parts, Part::Rows(mem::take(&mut self.rows)))?;
            }
        }
        self.bytes = 0;
        if !self.rows.is_empty() {
            say(self.parts, Part::Rows(mem::take(&mut self.rows)))?;
        }
        say(self.parts, Part::End)
    }
}

/// A value as the other database is to have it.
fn field(value: ValueRef<'_>, kind: Kind) -> FromSqlResult<Field> {
    Ok(match kind {
        Kind::Number => Field::Number(value.as_i64_or_null()?),
        Kind::Small => match value.as_i64_or_null()? {
            None => Field::Small(None),
            Some(number) => Field::Small(Some(number.try_into().or(Err(FromSqlError::OutOfRange(number)))?)),
        },
        Kind::Flag => match value.as_i64_or_null()? {
            None => Field::Flag(None),
            Some(flag @ (0 | 1)) => Field::Flag(Some(flag == 1)),
            Some(other) => return Err(FromSqlError::OutOfRange(other)),
        },
        Kind::Word => Field::Word(value.as_str_or_null()?.map(str::to_owned)),
        Kind::Text => Field::Text(value.as_str_or_null()?.map(|text| text.as_bytes().to_vec())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{copy::tables::Column, sqlite::migrations};

    /// The tables of a new database with their columns.
    fn schema() -> Vec<(String, Vec<String>)> {
        let mut conn = Connection::open_in_memory().unwrap();
        migrations::run(&mut conn).unwrap();
        let listed = |sql: &str, name: &[&str]| -> Vec<String> {
            let mut names = conn.prepare(sql).unwrap();
            let params = rusqlite::params_from_iter(name);
            names.query_map(params, |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let tables =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
        let columns = "SELECT name FROM pragma_table_info(?1)";
        listed(tables, &[]).into_iter().map(|table| (table.clone(), listed(columns, &[&table]))).collect()
    }

    #[test]
    fn no_table_and_no_column_is_forgotten() {
        // What Postgres has otherwise, or has of its own.
        let elsewhere = ["bodies", "migrations", "totals"];
        let in_texts = ["body", "edited_body", "deleted"];
        let mut missing = Vec::new();
        for (table, columns) in schema() {
            let copied = TABLES.iter().find(|copied| copied.name == table);
            let Some(copied) = copied else {
                if !elsewhere.contains(&table.as_str()) {
                    missing.push(table);
                }
                continue;
            };
            let has = |name: &String| {
                copied.columns.iter().any(|Column { name: copied, .. }| copied.trim_matches('"') == name)
            };
            let lost = columns.iter().filter(|name| !has(name) && !in_texts.contains(&name.as_str()));
            missing.extend(lost.map(|column| format!("{table}.{column}")));
        }
        assert!(missing.is_empty(), "{missing:?}: copy them, or say here where they are");
    }

    #[test]
    fn each_table_is_counted() {
        let names = |names: &[&'static str]| names.to_vec();
        assert_eq!(names(&TABLES.map(|table| table.name)), names(&COUNTS.map(|count| count.name)));
    }

    #[test]
    fn a_value_of_another_kind_is_found() {
        field(ValueRef::Integer(2), Kind::Flag).unwrap_err();
        field(ValueRef::Integer(1 << 20), Kind::Small).unwrap_err();
        field(ValueRef::Text(b"\xff"), Kind::Text).unwrap_err();
        field(ValueRef::Blob(b"x"), Kind::Text).unwrap_err();
        let text = field(ValueRef::Text(b"a\0b"), Kind::Text).unwrap();
        assert_eq!(text, Field::Text(Some(b"a\0b".to_vec())));
    }
}
