//! The reading threads: a queue, and a connection each.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use mcp_authflow::port::{StoreError, store::StoreResult};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::caught;

type Job = Box<dyn FnOnce(&Connection) + Send>;

pub(crate) struct Readers {
    queue: Arc<Queue>,
    max_waiting: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; nothing when there will be none.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Readers {
    pub(crate) fn spawn(connections: Vec<Connection>, max_waiting: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let readers = Self {
            queue: queue.clone(),
            max_waiting: max_waiting.max(1),
            threads: Mutex::default(),
        };
        for connection in connections {
            let queue = queue.clone();
            let thread = std::thread::Builder::new()
                .name("authflow-sqlite-reader".to_owned())
                .spawn(move || {
                    while let Some(job) = queue.next() {
                        job(&connection);
                    }
                })?;
            readers
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
        }
        Ok(readers)
    }

    /// Queues a job.
    pub(crate) fn submit<T, F>(&self, job: F, answer: oneshot::Sender<StoreResult<T>>) -> StoreResult<()>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let job: Job = Box::new(move |connection| {
            // A read changes nothing, so nobody misses it.
            if answer.is_closed() {
                return;
            }
            let result = caught(|| job(connection));
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
            let _ = answer.send(result);
        });
        let mut waiting = self.queue.lock();
        if waiting.is_closed {
            return Err(StoreError::Unavailable("the database is closed".to_owned()));
        }
        if waiting.jobs.len() >= self.max_waiting {
            return Err(StoreError::Unavailable("too many reads are waiting".to_owned()));
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.queue.changed.notify_one();
        Ok(())
    }

    /// Lets the threads finish what is queued and end; answers them the first time.
    pub(crate) fn stop(&self) -> Vec<JoinHandle<()>> {
        self.queue.lock().is_closed = true;
        self.queue.changed.notify_all();
        std::mem::take(&mut self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
