//! An upstream that speaks over its standard input and output, bridged to streamable HTTP.
//!
//! | file | what |
//! |---|---|
//! | `child` | the process |
//! | `talk` | how much of what it says beside messages is logged |
//! | `session` | one child, its caller, and what the caller says |
//! | `session/from_child` | what the child says, and where that goes |
//! | `table` | all sessions |
//! | `streams` | events, kept a while for clients whose connection broke |
//! | `under_way` | how much of what the child said is in memory |
//! | `message` | the messages of a POST |
//! | `param_headers` | headers that repeat arguments of tools |
//! | `stateless` | clients of 2026-07-28 in front of an older child |
//! | `reply` | answers and event streams over HTTP |
//!
//! A stdio server has one client, so every session has a child of its own, and a session is the caller's who began it:
//! the same person through the same client. Clients of 2026-07-28 begin none; all their requests share one child a caller.
//!
//! A request's way:
//! 1. Its body is read whole, strictly, up to 4 MiB.
//! 2. What a client says of its identity is taken out, and what we say is put into each request's `_meta`.
//! 3. `initialize` starts a child; everything else finds one, by session id or by caller.
//! 4. Without sessions, headers that repeat arguments must say the same, as far as the child has told which do.
//! 5. The child's answer goes back as JSON when it comes at once, else as a stream of events.
//!
//! A connection that breaks cancels nothing, as the versions with sessions want it: the answer waits, and a GET with
//! `Last-Event-ID` fetches it. Without sessions there is no coming back, and a client that leaves has cancelled.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Response, request::Parts};
use mcp_authflow_resource::json_rpc;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    builder::InvalidProxy, entropy, identity::IDENTITY_META, owner::Owner, proxy::Admitted, trouble::Trouble,
    upstream::Command,
};

mod child;
mod message;
mod param_headers;
mod reply;
mod session;
mod stateless;
mod streams;
mod table;
mod talk;
mod under_way;

use child::Child;
use message::Message;
use session::{Lifecycle, NotTaken, Session};
use table::Table;

pub(crate) const SESSION_ID: &str = "mcp-session-id";
const LAST_EVENT_ID: &str = "last-event-id";

/// How long a child may take until it has answered its first message: `npx` and its kin download it first.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long it may think about whether it knows `server/discover`.
const DISCOVER_WITHIN: Duration = Duration::from_secs(10);

/// A server that is started and spoken to over pipes.
pub(crate) struct StdioUpstream {
    command: Command,
    answer_within: Option<Duration>,
    table: Arc<Table>,
    /// The versions without sessions that the program knows, if any; found out with the first child that is asked.
    versions: Mutex<Option<Arc<[String]>>>,
}

impl StdioUpstream {
    pub(crate) fn new(command: Command, answer_within: Option<Duration>) -> Result<Self, InvalidProxy> {
        if command.program.is_empty() {
            return Err(InvalidProxy::NoCommand);
        }
        Ok(Self {
            table: Table::new(command.max_children),
            command,
            answer_within,
            versions: Mutex::new(None),
        })
    }

    /// For whom identities are meant: the name of the program, which is all that there is.
    pub(crate) fn audience(&self) -> String {
        let name = Path::new(&self.command.program).file_name();
        let name = name.unwrap_or(&self.command.program).to_string_lossy();
        format!("stdio:{name}")
    }

    /// Ends all children and waits until they are gone.
    pub(crate) async fn shut_down(&self) {
        let sessions = self.table.all();
        for session in &sessions {
            session.end();
        }
        for session in sessions {
            session.gone().await;
        }
    }

    /// Bridges one request.
    pub(crate) async fn pass(
        &self,
        admitted: Admitted,
        request: Parts,
        body: Body,
    ) -> Result<Response<Body>, Trouble> {
        if !admitted.rest.trim_end_matches('/').is_empty() {
            return Err(Trouble::OtherPath);
        }
        let owner = Owner::of(&admitted.caller);
        match request.method {
            Method::POST => {
                self.post(&owner, admitted.identity.as_ref(), &request.headers, body)
                    .await
            }
            Method::GET => self.listen(&owner, &request.headers),
            Method::DELETE => {
                let session = self.session(&owner, &request.headers)?;
                session.end();
                self.table.remove(&session.id);
                Ok(reply::nothing(http::StatusCode::NO_CONTENT))
            }
            _ => Err(Trouble::Method),
        }
    }

    async fn post(
        &self,
        owner: &Owner,
        identity: Option<&HeaderValue>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, Trouble> {
        let accepts = reply::Accepts::read(headers)?;
        // 1. What it says.
        let read = json_rpc::read(headers, body, json_rpc::DEFAULT_MAX_BODY_BYTES).await;
        let (body, _) = read.map_err(Trouble::NotJsonRpc)?;
        let (mut messages, is_batch) = message::read_body(&body).ok_or(Trouble::NotAMessage)?;
        drop(body);
        let is_stateless = message::is_stateless(headers, &messages);
        // 2. Who says it.
        for message in &mut messages {
            say_who(message, identity)?;
        }
        // 3. To which child.
        if let [Message::Request { members, .. }] = messages.as_slice()
            && message::method(members) == "initialize"
            && !is_stateless
        {
            return self.initialize(owner, messages, accepts).await;
        }
        let session = if is_stateless {
            self.shared(owner).await?
        } else {
            self.session(owner, headers)?
        };
        // 4. M-131: over the pipe the child gets no headers to compare.
        if let [Message::Request { id, members }] = messages.as_slice()
            && is_stateless
            && let Err(mismatch) = session.compare(headers, members)
        {
            tracing::info!(reason = %mismatch, "not passed on");
            let error = message::error(id, param_headers::HEADER_MISMATCH, &mismatch.to_string(), None);
            return Ok(reply::single(accepts, error.to_string().into(), true));
        }
        // 5. The answer.
        let reader = session
            .send(messages, is_stateless)
            .await
            .map_err(|error| not_taken(error, is_stateless))?;
        let Some(reader) = reader else {
            return Ok(reply::nothing(http::StatusCode::ACCEPTED));
        };
        let terms = reply::Terms {
            accepts,
            is_batch,
            is_stateless,
            has_events_to_resume: is_resumable(headers),
        };
        reply::answer(session, reader, terms).await
    }

    /// Starts a child for the session that a client begins.
    async fn initialize(
        &self,
        owner: &Owner,
        messages: Vec<Message>,
        accepts: reply::Accepts,
    ) -> Result<Response<Body>, Trouble> {
        let permit = self.table.permit(owner)?;
        let child = self.start()?;
        let session = self.begin(owner, Lifecycle::Session, child);
        drop(permit);
        let answer = async {
            let reader = session
                .send(messages, false)
                .await
                .map_err(|error| not_taken(error, true))?;
            let mut reader = reader.ok_or(Trouble::NotAMessage)?;
            while let Some(event) = timeout(START_WITHIN, reader.next())
                .await
                .map_err(|_| Trouble::TimedOut)?
            {
                if event.is_last {
                    return Ok(event.data);
                }
            }
            Err(Trouble::Child("it ended during the handshake".to_owned()))
        };
        // Whatever happens in between, the client's leaving included, the child does not stay behind.
        let unfinished = Unfinished(Some(&session), &self.table);
        let data = answer.await?;
        let answered: Value = serde_json::from_slice(&data).unwrap_or_default();
        if answered.get("result").is_none() {
            let has_ended = session.is_over();
            drop(unfinished);
            return if has_ended {
                Err(Trouble::Child("it ended during the handshake".to_owned()))
            } else {
                Ok(reply::single(accepts, data, false))
            };
        }
        unfinished.keep();
        let mut response = reply::single(accepts, data, false);
        if let Ok(id) = HeaderValue::try_from(session.id.as_str()) {
            response.headers_mut().insert(SESSION_ID, id);
        }
        Ok(response)
    }

    fn listen(&self, owner: &Owner, headers: &HeaderMap) -> Result<Response<Body>, Trouble> {
        if !reply::Accepts::read(headers)?.events {
            return Err(Trouble::NotAcceptable);
        }
        if !headers.contains_key(SESSION_ID) {
            // Without sessions there is nothing to listen to (2026-07-28): a POST does that.
            return Err(Trouble::Method);
        }
        let session = self.session(owner, headers)?;
        session.touch();
        let last = headers
            .get(LAST_EVENT_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| !id.is_empty());
        let reader = match last {
            None => session.streams.read(streams::STANDALONE, None),
            Some(id) => {
                streams::after(id).and_then(|(stream, from)| session.streams.read(stream, Some(from)))
            }
        };
        let reader = reader.ok_or(Trouble::NoSuchEvent)?;
        Ok(reply::stream(session, reader, None, false))
    }

    /// The session that a request names, if it is the caller's.
    fn session(&self, owner: &Owner, headers: &HeaderMap) -> Result<Arc<Session>, Trouble> {
        let id = headers.get(SESSION_ID).ok_or(Trouble::NoSessionId)?;
        let id = id.to_str().map_err(|_| Trouble::NoSuchSession)?;
        self.table.find(id, owner).ok_or(Trouble::NoSuchSession)
    }

    fn start(&self) -> Result<Child, Trouble> {
        child::start(&self.command).map_err(|error| Trouble::Child(format!("it cannot be started: {error}")))
    }

    fn begin(&self, owner: &Owner, lifecycle: Lifecycle, child: Child) -> Arc<Session> {
        let session = Session::new(
            entropy::session_id(),
            owner.clone(),
            lifecycle,
            &child,
            self.answer_within,
            self.command.idle_after,
        );
        self.table.insert(&session);
        let (running, table) = (Arc::clone(&session), Arc::clone(&self.table));
        tokio::spawn(async move {
            running.run(child).await;
            table.remove(&running.id);
        });
        session
    }

    /// The one session of a caller whose client begins none.
    async fn shared(&self, owner: &Owner) -> Result<Arc<Session>, Trouble> {
        let place = self.table.place(owner);
        let mut place = place.lock().await;
        if let Some(session) = place.as_ref().filter(|session| !session.is_over()) {
            return Ok(Arc::clone(session));
        }
        let _permit = self.table.permit(owner)?;
        let (child, lifecycle) = self.start_stateless().await?;
        let session = self.begin(owner, lifecycle, child);
        *place = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Starts a child and finds out whether it can do without a handshake; if not, makes it.
    async fn start_stateless(&self) -> Result<(Child, Lifecycle), Trouble> {
        let mut known = self
            .versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut child = self.start()?;
        if known.is_none() {
            let question = stateless::discover(0);
            match timeout(DISCOVER_WITHIN, ask(&mut child, &question, 0)).await {
                Ok(Some(answer)) => {
                    let versions = stateless::versions(&answer);
                    // That it knows none is believed when it has agreed to the handshake.
                    if !versions.is_empty() {
                        known = Some(self.remember(versions));
                    }
                }
                // It says nothing: it is asked in the old way.
                Err(_) => {}
                // Some older servers end on hearing anything else than the handshake.
                Ok(None) => child = self.start()?,
            }
        }
        if let Some(versions) = known.filter(|versions| !versions.is_empty()) {
            return Ok((child, Lifecycle::Stateless { versions }));
        }
        let limit = self
            .answer_within
            .map_or(START_WITHIN, |limit| limit.min(START_WITHIN));
        let answer = timeout(limit, ask(&mut child, &stateless::initialize(1), 1))
            .await
            .map_err(|_| Trouble::TimedOut)?
            .ok_or_else(|| Trouble::Child("it ended during the handshake".to_owned()))?;
        let Some(handshake) = answer.get("result").cloned() else {
            return Err(Trouble::Child("it refuses the handshake".to_owned()));
        };
        let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned();
        if child.stdin.send(ready).await.is_err() {
            return Err(Trouble::Child("it ended during the handshake".to_owned()));
        }
        self.remember(Vec::new());
        Ok((child, Lifecycle::Translated { handshake }))
    }

    fn remember(&self, versions: Vec<String>) -> Arc<[String]> {
        let versions: Arc<[String]> = versions.into();
        let known = Some(Arc::clone(&versions));
        *self.versions.lock().unwrap_or_else(PoisonError::into_inner) = known;
        versions
    }
}

/// A session whose handshake is not finished; ended when dropped.
struct Unfinished<'a>(Option<&'a Arc<Session>>, &'a Table);

impl Unfinished<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            session.end();
            self.1.remove(&session.id);
        }
    }
}

/// Asks a child something before it has a session, and waits for the answer; `None` when it ends.
async fn ask(child: &mut Child, question: &Value, id: u64) -> Option<Value> {
    child.stdin.send(question.to_string()).await.ok()?;
    loop {
        let said = child.stdout.recv().await?;
        match Message::read(said) {
            Some(Message::Response { id: of, members }) if of.as_u64() == Some(id) => {
                return Some(Value::Object(members));
            }
            Some(Message::Request { id, members }) if message::method(&members) == "ping" => {
                let pong = message::result(&id, &serde_json::json!({}));
                child.stdin.send(pong.to_string()).await.ok()?;
            }
            _ => {}
        }
    }
}

/// Takes out what the client says of its identity, and puts in what we say.
fn say_who(message: &mut Message, identity: Option<&HeaderValue>) -> Result<(), Trouble> {
    let (Message::Request { members, .. }
    | Message::Notification { members }
    | Message::Response { members, .. }) = message;
    message::remove_claims(members);
    if let (Message::Request { members, .. }, Some(identity)) = (message, identity) {
        let identity = identity.to_str().map_err(|_| Trouble::NotAMessage)?;
        let meta = message::meta_mut(members).ok_or(Trouble::NotAMessage)?;
        meta.insert(IDENTITY_META.to_owned(), Value::from(identity));
    }
    Ok(())
}

/// A client whose session is over begins another; one without sessions is told what happened.
fn not_taken(error: NotTaken, has_no_session: bool) -> Trouble {
    match error {
        NotTaken::Over if has_no_session => Trouble::Child("it has ended".to_owned()),
        NotTaken::Over => Trouble::NoSuchSession,
        NotTaken::Full => Trouble::TooManyRequests,
    }
}

/// From 2025-11-25 on clients understand an event without data, whose id they can come back with.
fn is_resumable(headers: &HeaderMap) -> bool {
    headers
        .get("mcp-protocol-version")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|version| (message::LAST_WITH_SESSIONS..message::STATELESS_SINCE).contains(&version))
}
