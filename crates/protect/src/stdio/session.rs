//! A session: one child, the caller whom it belongs to, and the way of every message between the two.
//!
//! Ids and progress tokens of the client's are replaced by numbers of ours on the way to the child and put back on the way
//! from it: several connections of one caller may use the same ones. The child's questions keep their ids, and only those
//! that it asked are answered.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};

use super::{
    child::{Child, End},
    message::{self, Members, Message, meta_mut, method},
    param_headers::{Mismatch, ParamHeaders},
    stateless,
    streams::{Reader, Streams},
    talk::{Talk, Verdict},
    under_way::UnderWay,
};
use crate::owner::Owner;

mod from_child;

/// The most requests of a session that wait for the child at a time.
const MAX_PENDING: usize = 256;
/// The most questions of the child's that wait for the client.
const MAX_ASKED: usize = 256;
/// How often the session looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// How long a child may take to read what waits for it already.
const WAIT_FOR_CHILD: Duration = Duration::from_secs(30);
/// JSON-RPC's "internal error" and "method not found".
const INTERNAL_ERROR: i64 = -32_603;
const METHOD_NOT_FOUND: i64 = -32_601;

/// How the other two speak with each other.
#[derive(Clone, Debug)]
pub(super) enum Lifecycle {
    /// With the handshake and the session that the client began.
    Session,
    /// Without either (2026-07-28), and the child knows it; its versions.
    Stateless { versions: Arc<[String]> },
    /// Without either, and the child does not know it; what it said in the handshake with us.
    Translated { handshake: Value },
}

impl Lifecycle {
    /// The versions without sessions in which one can speak to it.
    fn versions(&self) -> Vec<&str> {
        match self {
            Self::Session => Vec::new(),
            Self::Stateless { versions } => versions.iter().map(String::as_str).collect(),
            Self::Translated { .. } => vec![message::STATELESS_SINCE],
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) owner: Owner,
    pub(super) lifecycle: Lifecycle,
    pub(super) streams: Arc<Streams>,
    pub(super) under_way: Arc<UnderWay>,
    stdin: mpsc::Sender<String>,
    state: Mutex<State>,
    /// What the child says that is no message.
    noise: Mutex<Talk>,
    param_headers: Mutex<ParamHeaders>,
    end: Notify,
    child_end: End,
    answer_within: Option<Duration>,
    idle_after: Duration,
}

#[derive(Debug)]
struct State {
    /// Numbers of requests and of streams; never used twice.
    next: u64,
    pending: HashMap<u64, Pending>,
    asked: HashSet<String>,
    last_used: Instant,
    is_over: bool,
}

/// A request that the child has not answered.
#[derive(Debug)]
struct Pending {
    client_id: Value,
    progress_token: Option<Value>,
    method: String,
    stream: u64,
    since: Instant,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The child is gone.
    Over,
    /// Too much waits for it already.
    Full,
}

impl Session {
    pub(super) fn new(
        id: String,
        owner: Owner,
        lifecycle: Lifecycle,
        child: &Child,
        answer_within: Option<Duration>,
        idle_after: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            owner,
            lifecycle,
            streams: Streams::new(),
            under_way: Arc::default(),
            stdin: child.stdin.clone(),
            state: Mutex::new(State {
                next: 1,
                pending: HashMap::new(),
                asked: HashSet::new(),
                last_used: Instant::now(),
                is_over: false,
            }),
            noise: Mutex::new(Talk::starting(Instant::now())),
            param_headers: Mutex::default(),
            end: Notify::new(),
            child_end: child.end.clone(),
            answer_within,
            idle_after,
        })
    }

    /// Carries the child's messages until the child ends, or is to end. Whoever starts a session runs this beside it.
    pub(super) async fn run(&self, mut child: Child) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                message = child.stdout.recv() => {
                    let Some(message) = message else {
                        tracing::warn!("a child of the MCP server closed its output: its session ends");
                        break;
                    };
                    self.hear(message).await;
                }
                () = self.end.notified() => break,
                _ = tick.tick() => {
                    self.give_up_late().await;
                    if self.is_idle() && self.lock().last_used.elapsed() >= self.idle_after {
                        tracing::info!("a session was idle: ended");
                        break;
                    }
                }
            }
        }
        let left = {
            let mut state = self.lock();
            state.is_over = true;
            std::mem::take(&mut state.pending)
        };
        for pending in left.into_values() {
            self.streams
                .push(pending.stream, ended(&pending.client_id), true)
                .await;
        }
        self.streams.end_all();
        child.end.ask();
    }

    /// Ends the session, and its child.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.end.notify_one();
    }

    /// Waits until the child is gone.
    pub(super) async fn gone(&self) {
        self.child_end.clone().gone().await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Nobody waits, and nobody listens.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().pending.is_empty() && !self.streams.have_readers()
    }

    pub(super) fn last_used(&self) -> Instant {
        self.lock().last_used
    }

    pub(super) fn touch(&self) {
        self.lock().last_used = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the headers of a request say what its arguments say, as far as the child has told what they have to.
    pub(super) fn compare(&self, headers: &HeaderMap, request: &Members) -> Result<(), Mismatch> {
        self.param_headers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .compare(headers, request)
    }

    /// Gives a client's messages to the child. The answers come out of the reader, when there is something to answer.
    pub(super) async fn send(
        &self,
        messages: Vec<Message>,
        is_stateless: bool,
    ) -> Result<Option<Reader>, NotTaken> {
        // Room for all is found first; from then on nothing waits, so that a client who leaves leaves no half behind.
        let reserved = timeout(WAIT_FOR_CHILD, self.stdin.reserve_many(messages.len())).await;
        let mut room = match reserved {
            Ok(Ok(room)) => room,
            Ok(Err(_)) if messages.len() <= self.stdin.max_capacity() => return Err(NotTaken::Over),
            Ok(Err(_)) | Err(_) => return Err(NotTaken::Full),
        };
        let requests = messages
            .iter()
            .filter(|message| matches!(message, Message::Request { .. }))
            .count();
        let (stream, reader) = self.open(requests)?;
        for message in messages {
            let said = match message {
                Message::Request { id, members } => self.request(id, members, stream, is_stateless),
                Message::Notification { members } if is_stateless && stateless::is_removed(&members) => None,
                Message::Notification { members } => self.notification(members),
                Message::Response { id, members } => {
                    let was_asked = self.lock().asked.remove(&id.to_string());
                    was_asked.then_some(members)
                }
            };
            if let (Some(said), Some(place)) = (said, room.next()) {
                place.send(Value::Object(said).to_string());
            }
        }
        Ok(reader)
    }

    fn open(&self, requests: usize) -> Result<(u64, Option<Reader>), NotTaken> {
        let stream = {
            let mut state = self.lock();
            state.last_used = Instant::now();
            if state.is_over {
                return Err(NotTaken::Over);
            }
            if state.pending.len() + requests > MAX_PENDING {
                return Err(NotTaken::Full);
            }
            state.next += 1;
            state.next
        };
        if requests == 0 {
            return Ok((stream, None));
        }
        self.streams.open(stream, requests);
        Ok((stream, self.streams.read(stream, None)))
    }

    /// What the child gets for a request; nothing when it need not be asked.
    fn request(&self, id: Value, mut members: Members, stream: u64, is_stateless: bool) -> Option<Members> {
        if is_stateless && let Some(refusal) = stateless::refuse(&id, &members, &self.lifecycle.versions()) {
            self.streams.answer(stream, bytes(&refusal));
            return None;
        }
        if let Lifecycle::Translated { handshake } = &self.lifecycle {
            if let Some(answer) = stateless::answer(&id, &members, handshake) {
                self.streams.answer(stream, bytes(&answer));
                return None;
            }
            stateless::to_child(&mut members);
        }
        let mut state = self.lock();
        if state.is_over {
            // Between the opening and now; those that were asked before have been answered so already.
            drop(state);
            self.streams.answer(stream, ended(&id));
            return None;
        }
        state.next += 1;
        let number = state.next;
        let pending = Pending {
            client_id: id,
            progress_token: replace_progress_token(&mut members, number),
            method: method(&members).to_owned(),
            stream,
            since: Instant::now(),
        };
        state.pending.insert(number, pending);
        drop(state);
        members.insert("id".to_owned(), json!(number));
        Some(members)
    }

    fn notification(&self, mut members: Members) -> Option<Members> {
        if method(&members) == "notifications/cancelled" {
            // None: it was answered meanwhile, or never asked.
            let number = self.cancelled(&members)?;
            let params = members.get_mut("params")?.as_object_mut()?;
            params.insert("requestId".to_owned(), json!(number));
        }
        Some(members)
    }

    /// Takes the request that a client has cancelled off the list. No answer is owed to it any more.
    fn cancelled(&self, notification: &Members) -> Option<u64> {
        let asked = notification.get("params")?.get("requestId")?;
        let pending = {
            let mut state = self.lock();
            let mut of_that_id = state
                .pending
                .iter()
                .filter(|(_, pending)| pending.client_id == *asked)
                .map(|(number, _)| *number);
            let number = of_that_id.next()?;
            // Two connections may have a request of this id; neither may end the other's.
            if of_that_id.next().is_some() {
                return None;
            }
            (number, state.pending.remove(&number)?)
        };
        self.streams.give_up(pending.1.stream);
        Some(pending.0)
    }

    /// Cancels what a client has left that does not come back.
    pub(super) fn abandon(&self, stream: u64) {
        let left: Vec<u64> = {
            let mut state = self.lock();
            let left: Vec<u64> = state
                .pending
                .iter()
                .filter(|(_, pending)| pending.stream == stream)
                .map(|(number, _)| *number)
                .collect();
            for number in &left {
                state.pending.remove(number);
            }
            left
        };
        for number in left {
            self.streams.give_up(stream);
            self.tell_cancelled(number, "the client has left");
        }
    }

    fn tell_cancelled(&self, number: u64, reason: &str) {
        let notification = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": number, "reason": reason},
        });
        // A child that takes nothing more cannot be told.
        let _ = self.stdin.try_send(notification.to_string());
    }

    /// Answers in the child's stead what it has not answered in time.
    async fn give_up_late(&self) {
        let Some(limit) = self.answer_within else { return };
        let late: Vec<(u64, Pending)> = {
            let mut state = self.lock();
            let late: Vec<u64> = state
                .pending
                .iter()
                .filter(|(_, pending)| {
                    pending.method != "subscriptions/listen" && pending.since.elapsed() >= limit
                })
                .map(|(number, _)| *number)
                .collect();
            late.into_iter()
                .filter_map(|number| Some((number, state.pending.remove(&number)?)))
                .collect()
        };
        for (number, pending) in late {
            tracing::warn!(
                method = pending.method,
                "the MCP server does not answer within the time for it"
            );
            self.tell_cancelled(number, "it took too long");
            let text = "the MCP server behind this gateway did not answer in time";
            let data = json!({"error": "gateway_timeout"});
            let error = message::error(&pending.client_id, INTERNAL_ERROR, text, Some(data));
            self.streams.push(pending.stream, bytes(&error), true).await;
        }
    }
}

/// Puts our number in place of the client's token, and hands that out.
fn replace_progress_token(members: &mut Members, number: u64) -> Option<Value> {
    message::meta(members)?.get("progressToken")?;
    meta_mut(members)?.insert("progressToken".to_owned(), json!(number))
}

/// The answer to a request whose child has ended.
fn ended(id: &Value) -> Bytes {
    let text = "the MCP server behind this gateway ended before it answered";
    let data = json!({"error": "bad_gateway"});
    bytes(&message::error(id, INTERNAL_ERROR, text, Some(data)))
}

fn bytes(message: &Value) -> Bytes {
    Bytes::from(message.to_string())
}
