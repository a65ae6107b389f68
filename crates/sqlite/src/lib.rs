//! The embedded store of mcp-authflow: one SQLite file, durable, without a service beside it.
//!
//! ```no_run
//! use mcp_authflow_sqlite::{SqliteOptions, SqliteStore, lock_for_serving};
//!
//! # async fn example() -> Result<(), mcp_authflow_sqlite::OpenError> {
//! let path = std::path::Path::new("state.sqlite");
//! let lock = lock_for_serving(path)?;
//! let store = SqliteStore::open(path, SqliteOptions::default()).await?;
//! // … serve …
//! store.close().await;
//! drop(lock);
//! # Ok(())
//! # }
//! ```
//!
//! **Writes** are jobs for one thread, which takes all that waits, runs it in one transaction (each job in a savepoint of
//! its own), and answers everybody after the one commit. **Reads** are jobs for a few threads with a connection each; a
//! read of several statements sees one snapshot. No answer takes longer than a deadline.
//!
//! While it runs there are `-wal` and `-shm` files beside the database: take backups with `VACUUM INTO`, not with a copy.
//! Several processes may open the file at once; of servers, [`lock_for_serving`] admits one.
//!
//! | file | what lives there |
//! |---|---|
//! | `open` | finding, creating and refusing files; `migrate`: the schema |
//! | `writer`, `readers` | the threads |
//! | one file a noun | the verbs of `mcp_authflow::port::store`, with their SQL |
//! | `token_storage` | a part of its own, on a file of its own: [`SqliteTokenStorage`] |

mod client;
mod client_document;
mod device_code;
mod error;
mod grant;
mod imported_token;
mod interaction;
mod lock;
mod migrate;
mod open;
mod readers;
mod replay;
mod resource;
mod session;
mod signing_key;
mod sql;
mod token;
mod token_storage;
mod upkeep;
mod user;
mod writer;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use mcp_authflow::port::{StoreError, store::StoreResult};
use rusqlite::Connection;
use tokio::sync::oneshot;

pub use self::{
    error::OpenError,
    lock::{ServingLock, lock_for_serving},
    token_storage::SqliteTokenStorage,
};
use self::{readers::Readers, writer::Writer};

/// How a database is opened and used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// How many threads read. Default: 2; at least 1.
    pub readers: usize,
    /// How long a call may take before it is answered with [`StoreError::TimedOut`]. A write that has not begun by then
    /// never happens; one that has begun is not withdrawn, and may happen after its answer. Default: 1.5 s.
    pub deadline: Duration,
    /// How many jobs may wait for the writer, and for the readers; more are answered with [`StoreError::Unavailable`].
    /// Default: 1,024.
    pub queue: usize,
    /// How long SQLite's `quick_check` may take when a file is opened. Damage found within that time refuses the file; a
    /// check that takes longer is given up and the file is opened. Zero leaves the check out. Default: 1 s, enough for
    /// some hundred MiB.
    pub quick_check: Duration,
    /// Whether a file that is not there is created. Default: true.
    pub create: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 2,
            deadline: Duration::from_millis(1_500),
            queue: 1_024,
            quick_check: Duration::from_secs(1),
            create: true,
        }
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    deadline: Duration,
    // Readers stop before the writer, so that its last checkpoint finds nobody in the way.
    readers: Readers,
    writer: Writer,
}

impl SqliteStore {
    /// Opens a database, creates it when it is not there and may be, and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`] names the file and the remedy. A file that is damaged, empty, another application's or of a newer
    /// schema is refused and left as it is; it is never replaced by an empty one.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(path, &options));
        opening
            .await
            .unwrap_or_else(|defect| std::panic::resume_unwind(defect.into_panic()))
    }

    fn open_blocking(path: PathBuf, options: &SqliteOptions) -> Result<Self, OpenError> {
        let writing = open::open(&path, options)?;
        let reading = (0..options.readers.max(1))
            .map(|_| open::open_another(&path))
            .collect::<Result<Vec<Connection>, OpenError>>()?;
        let spawned = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        Ok(Self {
            deadline: options.deadline,
            readers: Readers::spawn(reading, options.queue).map_err(spawned)?,
            writer: Writer::spawn(writing, options.queue).map_err(spawned)?,
            path,
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many transactions were committed since the store was opened; one commit may serve many writes.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Finishes what is waiting, writes the log into the database file, and stops the threads. Later calls are answered
    /// with [`StoreError::Unavailable`]. Dropping the store does the same.
    pub async fn close(&self) {
        let mut threads = self.readers.stop();
        threads.extend(self.writer.stop());
        let joining = tokio::task::spawn_blocking(move || join(threads));
        // It was cancelled only if the runtime is ending; the threads end all the same.
        let _ = joining.await;
    }

    /// Runs a job in a savepoint on the writing thread, and answers once it is committed.
    async fn write<T, F>(&self, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.writer.submit(job, answer)?;
        self.wait(answered).await
    }

    /// Runs a job on a reading thread. Several statements belong into [`sql::in_one_snapshot`].
    async fn read<T, F>(&self, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.readers.submit(job, answer)?;
        self.wait(answered).await
    }

    async fn wait<T>(&self, answered: oneshot::Receiver<StoreResult<T>>) -> StoreResult<T> {
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable("the database is closed".to_owned())),
            Err(_) => Err(StoreError::TimedOut(format!("within {:?}", self.deadline))),
        }
    }
}

fn join(threads: Vec<std::thread::JoinHandle<()>>) {
    for thread in threads {
        // Jobs that panic are caught; a thread that panics nevertheless has nothing to hand over.
        let _ = thread.join();
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        join(self.readers.stop());
        join(self.writer.stop().into_iter().collect());
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[tokio::test]
    async fn a_write_that_timed_out_before_it_began_never_happens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let options = SqliteOptions {
            deadline: Duration::from_millis(50),
            ..SqliteOptions::default()
        };
        let store = SqliteStore::open(&path, options).await.unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (answer, slow) = oneshot::channel();
        store
            .writer
            .submit(
                move |connection| {
                    let _ = held.recv();
                    connection.execute_batch("CREATE TABLE slow (x INTEGER)")
                },
                answer,
            )
            .unwrap();
        let late = store.write(|connection| connection.execute_batch("CREATE TABLE late (x INTEGER)"));
        assert!(matches!(late.await, Err(StoreError::TimedOut(_))));
        drop(release);
        assert!(slow.await.unwrap().is_ok());
        store.close().await;

        let file = Connection::open(&path).unwrap();
        assert!(file.table_exists(None, "slow").unwrap());
        assert!(!file.table_exists(None, "late").unwrap());
    }
}
