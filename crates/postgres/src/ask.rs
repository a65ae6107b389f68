//! A verb's dealings with the database: all before one deadline, and no connection is used again that may still be busy.
//!
//! | what happens | what follows |
//! |---|---|
//! | no free connection in time | [`StoreError::Unavailable`] |
//! | no answer before the deadline | [`StoreError::TimedOut`]; the connection is thrown away |
//! | the caller goes away | the connection is thrown away |
//! | deadlock, serialization failure | the statement is sent again, at most twice |
//! | the connection is lost | what may be repeated is, at most twice; else [`StoreError::Unavailable`] |

use deadpool_postgres::{ClientWrapper, Object, PoolError};
use mcp_authflow::port::{StoreError, store::StoreResult};
use tokio::time::{Duration, Instant, timeout_at};
use tokio_postgres::{Error, Row};

use crate::{
    PostgresStore,
    error::{self, Trouble},
    statement::{Params, Statement},
};

/// How often a statement is sent at most.
pub(crate) const TRIES: usize = 3;

/// One verb's dealings.
pub(crate) struct Ask<'a> {
    store: &'a PostgresStore,
    deadline: Instant,
}

/// Whether an earlier try of a statement, the connection of which was lost, may have happened after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Nothing was lost.
    None,
    /// It may have happened: whoever finds the work done asks whether it was its own.
    MayHaveHappened,
}

/// Whether to send a statement again whose connection was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenLost {
    GiveUp,
    Repeat,
}

impl PostgresStore {
    /// Begins a verb.
    pub(crate) fn ask(&self) -> Ask<'_> {
        self.ask_within(self.call_deadline())
    }

    /// Begins something that may take longer than a verb.
    pub(crate) fn ask_within(&self, time: Duration) -> Ask<'_> {
        Ask {
            store: self,
            deadline: Instant::now() + time,
        }
    }
}

impl Ask<'_> {
    /// Looks.
    pub(crate) async fn read(&self, statement: &Statement, params: Params<'_>) -> StoreResult<Vec<Row>> {
        let (rows, _) = self.send(statement, params, WhenLost::Repeat).await?;
        Ok(rows)
    }

    /// Changes something that must not be tried again when it may have happened.
    pub(crate) async fn write(&self, statement: &Statement, params: Params<'_>) -> StoreResult<Vec<Row>> {
        let (rows, _) = self.send(statement, params, WhenLost::GiveUp).await?;
        Ok(rows)
    }

    /// Changes something whose owner can be told afterwards.
    pub(crate) async fn write_again(
        &self,
        statement: &Statement,
        params: Params<'_>,
    ) -> StoreResult<(Vec<Row>, Doubt)> {
        self.send(statement, params, WhenLost::Repeat).await
    }

    /// Begins a transaction of several statements.
    pub(crate) async fn begin(&self) -> Result<Transaction<'_>, Trouble> {
        let transaction = Transaction {
            lease: self.lease().await?,
            ask: self,
        };
        transaction.batch("BEGIN").await?;
        Ok(transaction)
    }

    async fn send(
        &self,
        statement: &Statement,
        params: Params<'_>,
        when_lost: WhenLost,
    ) -> StoreResult<(Vec<Row>, Doubt)> {
        let named = self.store.prepares();
        let mut doubt = Doubt::None;
        let mut tries = 1;
        loop {
            let lease = self.lease().await?;
            let trouble = match self.in_time(statement.run(lease.client(), named, params)).await? {
                Ok(rows) => {
                    lease.settle();
                    return Ok((rows, doubt));
                }
                Err(error) => Trouble::of(&error),
            };
            match trouble {
                Trouble::Undone(_) if tries < TRIES => lease.settle(),
                Trouble::Lost(_) if tries < TRIES && when_lost == WhenLost::Repeat => {
                    doubt = Doubt::MayHaveHappened;
                }
                Trouble::Undone(error)
                | Trouble::Final {
                    error,
                    discard: false,
                } => {
                    lease.settle();
                    return Err(error);
                }
                Trouble::Lost(error) | Trouble::Final { error, discard: true } => return Err(error),
            }
            tries += 1;
        }
    }

    /// Borrows a connection. One that was cut off while it was made is made again: nothing was sent on it yet.
    async fn lease(&self) -> StoreResult<Lease> {
        let mut tries = 1;
        loop {
            self.store.check_hold_off()?;
            match self.in_time(self.store.pool().get()).await? {
                Ok(object) => {
                    return Ok(Lease {
                        object: Some(object),
                        settled: false,
                    });
                }
                Err(error) if error::is_refusal(&error) => {
                    self.store.hold_off();
                    return Err(error::of_pool(&error));
                }
                Err(PoolError::Backend(_) | PoolError::PostCreateHook(_)) if tries < TRIES => tries += 1,
                Err(error) => return Err(error::of_pool(&error)),
            }
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> StoreResult<T> {
        timeout_at(self.deadline, work).await.map_err(|_| late())
    }
}

fn late() -> StoreError {
    StoreError::TimedOut("PostgreSQL gave no answer before the deadline".to_owned())
}

/// Several statements that happen together. Dropped before its end, it takes its connection with it, and the server
/// undoes it. Nothing in it is tried again by itself: whoever began it may begin anew.
pub(crate) struct Transaction<'a> {
    lease: Lease,
    ask: &'a Ask<'a>,
}

impl Transaction<'_> {
    /// Sends a statement.
    pub(crate) async fn rows(&self, statement: &Statement, params: Params<'_>) -> Result<Vec<Row>, Trouble> {
        let named = self.ask.store.prepares();
        self.answer(statement.run(self.lease.client(), named, params))
            .await
    }

    /// Sends text of our own making.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Trouble> {
        self.answer(self.lease.client().batch_execute(sql)).await
    }

    /// Sends a query of our own making that is not worth preparing.
    pub(crate) async fn query(&self, sql: &str) -> Result<Vec<Row>, Trouble> {
        self.answer(self.lease.client().query_typed(sql, &[])).await
    }

    /// Makes it so.
    pub(crate) async fn commit(self) -> Result<(), Trouble> {
        self.batch("COMMIT").await?;
        self.lease.settle();
        Ok(())
    }

    /// Undoes it.
    pub(crate) async fn roll_back(self) -> Result<(), Trouble> {
        self.batch("ROLLBACK").await?;
        self.lease.settle();
        Ok(())
    }

    async fn answer<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
        self.ask.in_time(work).await?.map_err(|error| Trouble::of(&error))
    }
}

/// A connection on loan. It goes back to the pool only when its work is known to be over.
struct Lease {
    object: Option<Object>,
    settled: bool,
}

impl Lease {
    fn client(&self) -> &ClientWrapper {
        // It is taken by nobody but `drop`.
        #[expect(clippy::expect_used, reason = "see above")]
        self.object
            .as_ref()
            .expect("a lease holds its connection until it is dropped")
    }

    fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && !self.settled
        {
            drop(Object::take(object));
        }
    }
}
