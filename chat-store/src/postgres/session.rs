//! Transactions on a pooled connection.

use std::ops::Deref;

use deadpool_postgres::{ClientWrapper, Object};
use futures_util::{
    TryStreamExt,
    future::{join, try_join, try_join_all},
};
use tokio_postgres::{Row, Statement, types::ToSql};

use super::fault::Failure;

/// A connection, with the statements that it has prepared.
pub(super) type Client = ClientWrapper;

/// The values of a statement's parameters.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection taken for one piece of work. Unless the work comes to a good end the connection is closed, and the
/// server then rolls back what is open: nothing half done gets back into the pool.
pub(super) struct Lease(Option<Object>);

impl Lease {
    pub(super) const fn of(object: Object) -> Self {
        Self(Some(object))
    }

    /// The work came to its end, and no transaction is open.
    pub(super) fn give_back(mut self) {
        self.0.take();
    }
}

impl Deref for Lease {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0.as_ref().expect("it is taken only where the lease ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// How a transaction begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    /// Each statement sees what was committed before it began.
    Write,
    /// All statements see one moment, that of the first.
    Read,
}

impl Begin {
    const fn as_str(self) -> &'static str {
        match self {
            // The isolation is that of the connection: see `open::settings`.
            Self::Write => "BEGIN",
            Self::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// The value of a parameter.
pub(super) type Value<'a> = Box<dyn ToSql + Send + Sync + 'a>;

/// An array for `unnest`: one value a row.
pub(super) fn column<'a, T: 'a>(values: impl Iterator<Item = T>) -> Value<'a>
where
    Vec<T>: ToSql + Send + Sync,
{
    Box::new(values.collect::<Vec<T>>())
}

/// A statement and the values of its parameters.
pub(super) struct Question<'a> {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value<'a>>,
}

impl Question<'_> {
    fn params(&self) -> impl ExactSizeIterator<Item = &(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync))
    }
}

/// Most questions of one turn: up to here `try_join_all` polls in order.
const QUESTIONS_MAX: usize = 30;

/// Begins a transaction and asks its first questions, in one turn. Their answers, in order.
pub(super) async fn begin(
    client: &Client,
    how: Begin,
    questions: &[Question<'_>],
) -> Result<Vec<Vec<Row>>, Failure> {
    let statements = prepare(client, questions).await?;
    // Requests are done in the order in which they are first polled, and that is from the left to the right.
    let begun = async { Ok(client.batch_execute(how.as_str()).await?) };
    let asked = statements.iter().zip(questions).map(async |(statement, question)| {
        Ok(client.query_raw(statement, question.params()).await?.try_collect().await?)
    });
    let answers = try_join_all(asked);
    try_join(begun, answers).await.map(|((), answers)| answers)
}

/// Does several things in one turn and in order. How many rows each concerned.
pub(super) async fn execute_all(client: &Client, questions: &[Question<'_>]) -> Result<Vec<u64>, Failure> {
    let statements = prepare(client, questions).await?;
    let asked = statements.iter().zip(questions);
    let asked = asked.map(|(statement, question)| client.execute_raw(statement, question.params()));
    Ok(try_join_all(asked).await?)
}

/// Before the first of them is asked: a statement that is not prepared yet would come after those that are.
async fn prepare(client: &Client, questions: &[Question<'_>]) -> Result<Vec<Statement>, Failure> {
    assert!(questions.len() <= QUESTIONS_MAX, "more than that might be asked in any order");
    let mut statements = Vec::with_capacity(questions.len());
    for question in questions {
        statements.push(client.prepare_cached(question.sql).await?);
    }
    Ok(statements)
}

/// Commits. Where an answer does not come, nobody knows.
pub(super) async fn commit(client: &Client) -> Result<(), Failure> {
    client.batch_execute("COMMIT").await.map_err(Failure::Commit)
}

/// Does the one thing that a transaction has to do and commits, in one turn. Where the first fails, the second undoes the
/// transaction, and so it does where the first never got to the server.
pub(super) async fn execute_and_commit(client: &Client, question: &Question<'_>) -> Result<u64, Failure> {
    let statement = client.prepare_cached(question.sql).await?;
    let (done, committed) =
        join(client.execute_raw(&statement, question.params()), client.batch_execute("COMMIT")).await;
    let rows = done?;
    committed.map_err(Failure::Commit)?;
    Ok(rows)
}

/// Undoes a transaction.
pub(super) async fn rollback(client: &Client) -> Result<(), Failure> {
    Ok(client.batch_execute("ROLLBACK").await?)
}

/// Ends a transaction that changed nothing.
pub(super) async fn end(client: &Client) -> Result<(), Failure> {
    Ok(client.batch_execute("COMMIT").await?)
}

/// Asks a question, whose statement is prepared once a connection.
pub(super) async fn query(client: &Client, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, params).await?)
}

/// The same where there is at most one answer.
pub(super) async fn query_opt(
    client: &Client,
    sql: &str,
    params: Params<'_>,
) -> Result<Option<Row>, Failure> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_opt(&statement, params).await?)
}

/// Changes something. How many rows.
pub(super) async fn execute(client: &Client, sql: &str, params: Params<'_>) -> Result<u64, Failure> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.execute(&statement, params).await?)
}
