//! The writing thread: group commit.
//!
//! It takes all that waits (there is no timer), runs each job in a savepoint of its own within one transaction, so that
//! one that fails takes nothing with it, commits once, and only then answers. Alone, a job costs one commit; many at once
//! share it. One that nobody waits for any more when its turn comes is not begun.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use mcp_authflow::port::{StoreError, store::StoreResult};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{caught, judge};

/// The most jobs that share a commit. More would make the first of them wait for nothing.
const MAX_BATCH: usize = 256;

/// Told how the commit went.
type Answer = Box<dyn FnOnce(StoreResult<()>) + Send>;
/// Given the connection within a transaction, or why there is none.
type Job = Box<dyn FnOnce(StoreResult<&Connection>) -> Answer + Send>;

enum Message {
    Job(Job),
    Stop,
}

pub(crate) struct Writer {
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    pub(crate) fn spawn(connection: Connection, queue: usize) -> io::Result<Self> {
        let (sender, waiting) = sync_channel(queue.max(1));
        let commits = Arc::new(AtomicU64::new(0));
        let counted = commits.clone();
        let thread = std::thread::Builder::new()
            .name("authflow-sqlite-writer".to_owned())
            .spawn(move || serve(&connection, &waiting, &counted))?;
        Ok(Self {
            queue: sender,
            thread: Mutex::new(Some(thread)),
            commits,
        })
    }

    /// Queues a job; the answer comes when its transaction is committed.
    pub(crate) fn submit<T, F>(&self, job: F, answer: oneshot::Sender<StoreResult<T>>) -> StoreResult<()>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let job: Job = Box::new(move |connection| {
            // Whoever was told that it came to nothing, or has gone, must not find it done much later.
            if answer.is_closed() {
                return Box::new(|_| {});
            }
            let result = connection.and_then(|connection| in_savepoint(connection, job));
            Box::new(move |committed| {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(committed.and(result));
            })
        });
        self.queue
            .try_send(Message::Job(job))
            .map_err(|refused| match refused {
                TrySendError::Full(_) => StoreError::Unavailable("too many writes are waiting".to_owned()),
                TrySendError::Disconnected(_) => StoreError::Unavailable("the database is closed".to_owned()),
            })
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Lets the thread finish what is queued and end; answers it the first time.
    pub(crate) fn stop(&self) -> Option<JoinHandle<()>> {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        // It waits while the queue is full, and fails if the thread has ended already.
        let _ = self.queue.send(Message::Stop);
        Some(thread)
    }
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn in_savepoint<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> StoreResult<T> {
    let result = caught(|| {
        execute(connection, "SAVEPOINT job")?;
        let answer = job(connection)?;
        execute(connection, "RELEASE job")?;
        Ok(answer)
    });
    if result.is_err() && !connection.is_autocommit() {
        let undone = execute(connection, "ROLLBACK TO job").and_then(|()| execute(connection, "RELEASE job"));
        if undone.is_err() {
            // Half a job must not be committed: the whole transaction goes.
            let _ = execute(connection, "ROLLBACK");
        }
    }
    result
}

fn serve(connection: &Connection, waiting: &Receiver<Message>, commits: &AtomicU64) {
    while let Ok(Message::Job(job)) = waiting.recv() {
        if run_batch(connection, job, waiting, commits) {
            break;
        }
    }
    // Everything into the one file. What cannot be done now is done when the file is opened next.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
}

/// Runs a job and all that waits behind it in one transaction; answers whether the thread is to stop.
fn run_batch(connection: &Connection, first: Job, waiting: &Receiver<Message>, commits: &AtomicU64) -> bool {
    let begun = execute(connection, "BEGIN IMMEDIATE").map_err(|error| judge(&error));
    let mut answers: Vec<Answer> = Vec::new();
    let mut next = Some(first);
    let mut is_stopping = false;
    let mut is_undone = false;
    while let Some(job) = next.take() {
        answers.push(job(begun.clone().map(|()| connection)));
        // SQLite undoes the whole transaction by itself after some failures, such as a full disk.
        is_undone = begun.is_ok() && connection.is_autocommit();
        if is_undone || answers.len() >= MAX_BATCH {
            break;
        }
        match waiting.try_recv() {
            Ok(Message::Job(job)) => next = Some(job),
            Ok(Message::Stop) => is_stopping = true,
            Err(_) => {}
        }
    }
    let committed = begun.and_then(|()| {
        if is_undone {
            return Err(StoreError::Unavailable(
                "another write of the same transaction failed, and all of it was undone".to_owned(),
            ));
        }
        commit(connection)?;
        commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    for answer in answers {
        answer(committed.clone());
    }
    is_stopping
}

fn commit(connection: &Connection) -> StoreResult<()> {
    execute(connection, "COMMIT").map_err(|error| {
        if !connection.is_autocommit() {
            // If even this fails, the next BEGIN does, and every write is refused.
            let _ = execute(connection, "ROLLBACK");
        }
        judge(&error)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::sync::mpsc;

    use super::*;

    struct Table {
        writer: Writer,
        folder: tempfile::TempDir,
    }

    impl Table {
        fn new(queue: usize) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let connection = Connection::open(folder.path().join("t.sqlite")).unwrap();
            connection
                .busy_timeout(std::time::Duration::from_millis(20))
                .unwrap();
            connection
                .execute_batch("CREATE TABLE t (x INTEGER PRIMARY KEY, y BLOB)")
                .unwrap();
            let writer = Writer::spawn(connection, queue).unwrap();
            Self { writer, folder }
        }

        fn submit<T: Send + 'static>(
            &self,
            job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        ) -> oneshot::Receiver<StoreResult<T>> {
            let (answer, answered) = oneshot::channel();
            if let Err(refused) = self.writer.submit(job, answer) {
                let (answer, answered) = oneshot::channel();
                let _ = answer.send(Err(refused));
                return answered;
            }
            answered
        }

        /// Holds the thread until the answer is dropped.
        fn hold(&self) -> (mpsc::Sender<()>, oneshot::Receiver<StoreResult<()>>) {
            let (release, held) = mpsc::channel::<()>();
            let (begun, beginning) = mpsc::channel::<()>();
            let answered = self.submit(move |_| {
                begun.send(()).unwrap();
                let _ = held.recv();
                Ok(())
            });
            beginning.recv().unwrap();
            (release, answered)
        }

        fn rows(self) -> Vec<i64> {
            self.writer.stop().unwrap().join().unwrap();
            let connection = Connection::open(self.folder.path().join("t.sqlite")).unwrap();
            let mut statement = connection.prepare("SELECT x FROM t ORDER BY x").unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        }
    }

    fn insert(x: i64) -> impl FnOnce(&Connection) -> rusqlite::Result<i64> + Send {
        move |connection| {
            connection.execute("INSERT INTO t (x) VALUES (?1)", [x])?;
            Ok(x)
        }
    }

    #[test]
    fn writes_that_wait_share_a_commit() {
        let table = Table::new(1_000);
        let (release, _held) = table.hold();
        let answers: Vec<_> = (0..200).map(|x| table.submit(insert(x))).collect();
        drop(release);
        for (x, answer) in (0..).zip(answers) {
            assert_eq!(answer.blocking_recv().unwrap().unwrap(), x);
        }
        assert_eq!(table.writer.commits(), 1);
        assert_eq!(table.rows(), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_failing_job_leaves_the_others_of_its_batch_alone() {
        let table = Table::new(1_000);
        let (release, _held) = table.hold();
        let good = table.submit(insert(1));
        let half = table.submit(|connection| {
            insert(2)(connection)?;
            insert(1)(connection)
        });
        let panicking = table.submit(|connection| {
            insert(3)(connection)?;
            panic!("as a defect would")
        });
        let panicking: oneshot::Receiver<StoreResult<()>> = panicking;
        let last = table.submit(insert(4));
        drop(release);
        assert_eq!(good.blocking_recv().unwrap().unwrap(), 1);
        assert!(matches!(
            half.blocking_recv().unwrap(),
            Err(StoreError::Broken(_))
        ));
        assert!(matches!(
            panicking.blocking_recv().unwrap(),
            Err(StoreError::Broken(_))
        ));
        assert_eq!(last.blocking_recv().unwrap().unwrap(), 4);
        assert_eq!(table.writer.commits(), 1);
        assert_eq!(table.rows(), [1, 4]);
    }

    #[test]
    fn a_transaction_that_is_undone_answers_nobody_with_success() {
        let table = Table::new(1_000);
        let (release, held) = table.hold();
        let before = table.submit(insert(1));
        let culprit = table.submit(|connection| {
            connection.execute_batch("ROLLBACK")?;
            insert(2)(connection)?;
            // The savepoint is gone: releasing it fails.
            Ok(())
        });
        let after = table.submit(insert(3));
        drop(release);
        assert!(matches!(
            held.blocking_recv().unwrap(),
            Err(StoreError::Unavailable(_))
        ));
        assert!(matches!(
            before.blocking_recv().unwrap(),
            Err(StoreError::Unavailable(_))
        ));
        assert!(culprit.blocking_recv().unwrap().is_err());
        assert_eq!(after.blocking_recv().unwrap().unwrap(), 3);
    }

    #[test]
    fn a_job_that_nobody_waits_for_does_not_begin_and_one_that_has_begun_is_finished() {
        let table = Table::new(10);
        let (begun, beginning) = mpsc::channel::<()>();
        let (release, held) = mpsc::channel::<()>();
        let slow = table.submit(move |connection| {
            begun.send(()).unwrap();
            let _ = held.recv();
            insert(1)(connection)
        });
        beginning.recv().unwrap();
        let abandoned = table.submit(insert(2));
        let awaited = table.submit(insert(3));
        drop((slow, abandoned));
        drop(release);
        assert_eq!(awaited.blocking_recv().unwrap().unwrap(), 3);
        assert_eq!(table.rows(), [1, 3]);
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let table = Table::new(2);
        let (release, _held) = table.hold();
        let waiting = [table.submit(insert(1)), table.submit(insert(2))];
        let refused = table.submit(insert(3));
        assert!(matches!(
            refused.blocking_recv().unwrap(),
            Err(StoreError::Unavailable(_))
        ));
        drop(release);
        for answer in waiting {
            assert!(answer.blocking_recv().unwrap().is_ok());
        }
        assert_eq!(table.rows(), [1, 2]);
    }

    /// F-35, in small: SQLite says the same of a file that may not grow as of a disk that is full.
    #[test]
    fn a_full_disk_refuses_what_does_not_fit_and_nothing_else_is_lost() {
        let table = Table::new(100);
        let limited = |pages: u32| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            table.submit(move |connection| connection.query_row(&sql, [], |_| Ok(())))
        };
        assert!(limited(20).blocking_recv().unwrap().is_ok());
        let (release, _held) = table.hold();
        let mut answers = Vec::new();
        for x in 0..10 {
            answers.push(table.submit(move |connection| {
                let bytes = if x % 3 == 1 { 1 << 20 } else { 1 };
                connection.execute("INSERT INTO t (x, y) VALUES (?1, zeroblob(?2))", [x, bytes])
            }));
        }
        drop(release);
        let mut expected = Vec::new();
        for (x, answer) in (0..).zip(answers) {
            match answer.blocking_recv().unwrap() {
                Ok(_) => expected.push(x),
                Err(StoreError::Unavailable(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert!(!expected.contains(&1) && !expected.contains(&4) && !expected.contains(&7));
        assert!(limited(10_000).blocking_recv().unwrap().is_ok());
        assert_eq!(table.submit(insert(100)).blocking_recv().unwrap().unwrap(), 100);
        expected.push(100);
        assert_eq!(table.rows(), expected);
    }

    #[test]
    fn a_database_that_another_process_writes_refuses_everything_that_waits() {
        let table = Table::new(10);
        let other = Connection::open(table.folder.path().join("t.sqlite")).unwrap();
        let (release, _held) = table.hold();
        let waiting = table.submit(insert(1));
        drop(release);
        assert!(waiting.blocking_recv().unwrap().is_ok());
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let refused = table.submit(insert(2));
        assert!(matches!(
            refused.blocking_recv().unwrap(),
            Err(StoreError::Unavailable(_))
        ));
        other.execute_batch("ROLLBACK").unwrap();
        assert!(table.submit(insert(3)).blocking_recv().unwrap().is_ok());
        assert_eq!(table.rows(), [1, 3]);
    }
}
