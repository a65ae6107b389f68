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
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    child::{Child, End},
    message::{self, META_SUBSCRIPTION, Members, Message, meta_mut, method},
    stateless,
    streams::{Reader, STANDALONE, Streams},
};
use crate::owner::Owner;

/// The most requests of a session that wait for the child at a time.
const MAX_PENDING: usize = 256;
/// The most questions of the child's that wait for the client.
const MAX_ASKED: usize = 256;
/// How often the session looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// JSON-RPC's "internal error" and "method not found".
const INTERNAL_ERROR: i64 = -32_603;
const METHOD_NOT_FOUND: i64 = -32_601;

/// How the other two speak with each other.
#[derive(Clone, Debug)]
pub(super) enum Lifecycle {
    /// With the handshake and the session that the client began.
    Session,
    /// Without either (2026-07-28), and the child knows it.
    Stateless,
    /// Without either, and the child does not know it; what it said in the handshake with us.
    Translated { handshake: Value },
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) owner: Owner,
    pub(super) lifecycle: Lifecycle,
    pub(super) streams: Arc<Streams>,
    stdin: mpsc::Sender<String>,
    state: Mutex<State>,
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
            stdin: child.stdin.clone(),
            state: Mutex::new(State {
                next: 1,
                pending: HashMap::new(),
                asked: HashSet::new(),
                last_used: Instant::now(),
                is_over: false,
            }),
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
            let text = "the MCP server behind this gateway ended before it answered";
            let data = json!({"error": "bad_gateway"});
            let error = message::error(&pending.client_id, INTERNAL_ERROR, text, Some(data));
            self.streams.push(pending.stream, bytes(&error), true).await;
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

    /// Gives a client's messages to the child. The answers come out of the reader, when there is something to answer.
    pub(super) async fn send(
        &self,
        messages: Vec<Message>,
        version: Option<&str>,
    ) -> Result<Option<Reader>, NotTaken> {
        let requests = messages
            .iter()
            .filter(|message| matches!(message, Message::Request { .. }))
            .count();
        let reader = self.open(requests)?;
        for message in messages {
            match message {
                Message::Request { id, members } => {
                    let Some(stream) = reader.as_ref().map(Reader::stream) else {
                        continue;
                    };
                    self.request(id, members, stream, version).await?;
                }
                Message::Notification { members } => self.notify(members).await?,
                Message::Response { id, members } => {
                    let was_asked = self.lock().asked.remove(&id.to_string());
                    if was_asked {
                        self.write(Value::Object(members)).await?;
                    }
                }
            }
        }
        Ok(reader)
    }

    fn open(&self, requests: usize) -> Result<Option<Reader>, NotTaken> {
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
            return Ok(None);
        }
        self.streams.open(stream, requests);
        Ok(self.streams.read(stream, None))
    }

    async fn request(
        &self,
        id: Value,
        mut members: Members,
        stream: u64,
        version: Option<&str>,
    ) -> Result<(), NotTaken> {
        if let (Lifecycle::Translated { handshake }, Some(version)) = (&self.lifecycle, version) {
            if let Some(answer) = stateless::answer(&id, &members, version, handshake) {
                self.streams.push(stream, bytes(&answer), true).await;
                return Ok(());
            }
            stateless::to_child(&mut members);
        }
        let number = {
            let mut state = self.lock();
            if state.is_over {
                return Err(NotTaken::Over);
            }
            state.next += 1;
            let number = state.next;
            let progress_token = replace_progress_token(&mut members, number);
            let pending = Pending {
                client_id: id,
                progress_token,
                method: method(&members).to_owned(),
                stream,
                since: Instant::now(),
            };
            state.pending.insert(number, pending);
            number
        };
        members.insert("id".to_owned(), json!(number));
        self.write(Value::Object(members)).await
    }

    async fn notify(&self, mut members: Members) -> Result<(), NotTaken> {
        if method(&members) == "notifications/cancelled" {
            let Some(number) = self.cancelled(&members) else {
                // It was answered meanwhile, or never asked.
                return Ok(());
            };
            if let Some(params) = members.get_mut("params").and_then(Value::as_object_mut) {
                params.insert("requestId".to_owned(), json!(number));
            }
        }
        self.write(Value::Object(members)).await
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

    async fn write(&self, message: Value) -> Result<(), NotTaken> {
        let sent = self.stdin.send(message.to_string()).await;
        sent.map_err(|_| NotTaken::Over)
    }

    async fn hear(&self, said: Value) {
        match said {
            Value::Array(batch) => {
                for said in batch {
                    self.take(said).await;
                }
            }
            one => self.take(one).await,
        }
    }

    async fn take(&self, said: Value) {
        match Message::read(said) {
            Some(Message::Response { id, members }) => self.answered(&id, members).await,
            Some(Message::Notification { members }) => self.notified(members).await,
            Some(Message::Request { id, members }) => self.asked(&id, members).await,
            None => tracing::warn!("a child of the MCP server says something that is no message"),
        }
    }

    async fn answered(&self, id: &Value, mut members: Members) {
        let pending = id.as_u64().and_then(|number| self.lock().pending.remove(&number));
        // It was cancelled, or never asked.
        let Some(pending) = pending else { return };
        self.touch();
        if matches!(self.lifecycle, Lifecycle::Translated { .. }) {
            stateless::from_child(&pending.method, &mut members);
        }
        members.insert("id".to_owned(), pending.client_id);
        let answer = bytes(&Value::Object(members));
        self.streams.push(pending.stream, answer, true).await;
    }

    async fn notified(&self, mut members: Members) {
        let stream = if method(&members) == "notifications/progress" {
            match self.restore_progress_token(&mut members) {
                Some(stream) => stream,
                // Of a request that is over.
                None => return,
            }
        } else if let Some(stream) = self.restore_subscription(&mut members) {
            stream
        } else {
            self.stream_for_others()
        };
        self.streams
            .push(stream, bytes(&Value::Object(members)), false)
            .await;
    }

    /// The child asks the client something: a sample, an elicitation, its roots, whether it is there.
    async fn asked(&self, id: &Value, members: Members) {
        if !matches!(self.lifecycle, Lifecycle::Session) {
            // There is nobody whom it could ask (2026-07-28 asks by results).
            let answer = if method(&members) == "ping" {
                message::result(id, &json!({}))
            } else {
                message::error(id, METHOD_NOT_FOUND, "this client cannot be asked", None)
            };
            let _ = self.stdin.try_send(answer.to_string());
            return;
        }
        {
            let mut state = self.lock();
            if state.asked.len() >= MAX_ASKED {
                drop(state);
                let answer =
                    message::error(id, INTERNAL_ERROR, "too many questions wait for the client", None);
                let _ = self.stdin.try_send(answer.to_string());
                return;
            }
            state.asked.insert(id.to_string());
        }
        let stream = self.stream_for_others();
        self.streams
            .push(stream, bytes(&Value::Object(members)), false)
            .await;
    }

    /// Where to say what belongs to no request by name. Over stdio nobody tells to which it belongs: with one request
    /// under way it is that one's; else it goes to the stream that a GET opened, or that of the newest request.
    fn stream_for_others(&self) -> u64 {
        let pending: Vec<u64> = {
            let state = self.lock();
            let mut pending: Vec<(u64, u64)> = state
                .pending
                .iter()
                .map(|(number, pending)| (*number, pending.stream))
                .collect();
            pending.sort_unstable();
            pending.into_iter().map(|(_, stream)| stream).collect()
        };
        match pending.as_slice() {
            [only] => *only,
            [.., newest] if !self.streams.has_reader(STANDALONE) => *newest,
            _ => STANDALONE,
        }
    }

    fn restore_progress_token(&self, members: &mut Members) -> Option<u64> {
        let params = members.get_mut("params")?.as_object_mut()?;
        let number = params.get("progressToken")?.as_u64()?;
        let state = self.lock();
        let pending = state.pending.get(&number)?;
        params.insert("progressToken".to_owned(), pending.progress_token.clone()?);
        Some(pending.stream)
    }

    fn restore_subscription(&self, members: &mut Members) -> Option<u64> {
        let meta = members.get_mut("params")?.get_mut("_meta")?.as_object_mut()?;
        let said = meta.get(META_SUBSCRIPTION)?;
        let number = said
            .as_u64()
            .or_else(|| said.as_str().and_then(|said| said.parse().ok()))?;
        let state = self.lock();
        let pending = state.pending.get(&number)?;
        meta.insert(META_SUBSCRIPTION.to_owned(), pending.client_id.clone());
        Some(pending.stream)
    }
}

/// Puts our number in place of the client's token, and hands that out.
fn replace_progress_token(members: &mut Members, number: u64) -> Option<Value> {
    message::meta(members)?.get("progressToken")?;
    meta_mut(members)?.insert("progressToken".to_owned(), json!(number))
}

fn bytes(message: &Value) -> Bytes {
    Bytes::from(message.to_string())
}
