//! What the child says, and where that goes.

use std::sync::PoisonError;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{INTERNAL_ERROR, Instant, Lifecycle, MAX_ASKED, METHOD_NOT_FOUND, Session, Verdict, bytes};
use crate::stdio::{
    message::{self, META_SUBSCRIPTION, Members, Message, method},
    stateless,
    streams::{STANDALONE, WAIT_FOR_READER},
};

impl Session {
    pub(super) async fn hear(&self, said: Value) {
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
            None => self.noted(),
        }
    }

    fn noted(&self) {
        let verdict = self
            .noise
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hear(Instant::now());
        if let Verdict::Logged { left_out } = verdict {
            tracing::warn!(
                left_out,
                "a child of the MCP server says something that is no message"
            );
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
        if pending.method == "tools/list"
            && let Some(list) = members.get("result")
        {
            self.param_headers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .learn(list);
        }
        members.insert("id".to_owned(), pending.client_id.clone());
        let answer = bytes(&Value::Object(members));
        let answer = if self.has_room_for(&answer).await {
            answer
        } else {
            let data = json!({"error": "temporarily_unavailable"});
            let text = "earlier answers of this session are not read: this one was dropped";
            let error = message::error(&pending.client_id, INTERNAL_ERROR, text, Some(data));
            bytes(&error)
        };
        let answer = self.under_way.hold(answer);
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
        self.tell(stream, members).await;
    }

    /// Says what owes no answer.
    async fn tell(&self, stream: u64, members: Members) {
        let told = bytes(&Value::Object(members));
        if self.has_room_for(&told).await {
            self.streams.push(stream, self.under_way.hold(told), false).await;
        }
    }

    async fn has_room_for(&self, said: &Bytes) -> bool {
        let has_room = self.under_way.has_room_for(said.len(), WAIT_FOR_READER).await;
        if !has_room {
            tracing::warn!("a client does not read what it asked for: a message was dropped");
        }
        has_room
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
        self.tell(stream, members).await;
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
