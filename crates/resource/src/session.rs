//! Session ids that are good for one caller only: whoever finds another person's session id cannot use it
//! (MCP security best practices, *Session Hijacking*; M-127, M-128).
//!
//! An MCP server up to 2025-11-25 answers `initialize` with an id, which the client then repeats on every request. A
//! server that takes the id for the person gives the session away to everyone who learns it. So the id leaves this
//! layer with a seal: a code over the id and the caller, made with a key that only this layer knows. On the way back the
//! seal is checked against the caller of *that* request, and taken off. The server sees its own ids only.
//!
//! Nothing is remembered, so nothing fills up, and an id stays good on every node and after a restart when the key does.
//! The same is done with what resumes a stream (`Last-Event-ID`), and with the session id in the `endpoint` URL of the
//! transport of 2024-11-05.
//!
//! # Security
//! A session is bound to issuer, subject and client: another token of the same person through the same client is fine, as
//! after a refresh. A seal proves nothing about its bearer; the token is checked on each request all the same.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use mcp_authflow_types::ClientId;

use crate::caller::Caller;

/// A SHA-256 code in base64url.
const SEAL_LEN: usize = 43;

/// What is sealed; a seal of one kind is no good on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Session,
    Event,
    Endpoint,
}

/// The key with which ids are sealed.
#[derive(Clone)]
pub(crate) struct SessionKey(hmac::Key);

/// Seals and opens the ids of one caller.
#[derive(Clone)]
pub(crate) struct CallersIds {
    key: SessionKey,
    caller: Vec<u8>,
}

impl SessionKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A key of this process: ids end with it.
    #[expect(
        clippy::disallowed_methods,
        reason = "a layer that is built by itself has no entropy port; no test depends on the key"
    )]
    pub(crate) fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key)?;
        Ok(Self::new(&key))
    }

    pub(crate) fn ids_of(&self, caller: &Caller) -> CallersIds {
        let token = caller.token();
        let client = token.client_id.as_ref().map(ClientId::as_str);
        let mut text = Vec::new();
        for part in [token.issuer.as_deref(), token.subject.as_deref(), client] {
            append(&mut text, part.map(str::as_bytes));
        }
        if token.subject.is_none() {
            append(&mut text, caller.name_in_place_of_subject().map(str::as_bytes));
        }
        CallersIds {
            key: self.clone(),
            caller: text,
        }
    }
}

/// With its length in front, so that no two lists of parts read alike.
fn append(text: &mut Vec<u8>, part: Option<&[u8]>) {
    let length = part.map_or(u64::MAX, |part| part.len() as u64);
    text.extend_from_slice(&length.to_be_bytes());
    text.extend_from_slice(part.unwrap_or_default());
}

impl CallersIds {
    /// The id with its seal, which is text of `A-Z a-z 0-9 - _` behind a dot.
    pub(crate) fn seal(&self, kind: Kind, id: &[u8]) -> Vec<u8> {
        let tag = hmac::sign(&self.key.0, &self.sealed_text(kind, id));
        let mut sealed = Vec::with_capacity(id.len() + 1 + SEAL_LEN);
        sealed.extend_from_slice(id);
        sealed.push(b'.');
        sealed.extend_from_slice(URL_SAFE_NO_PAD.encode(tag).as_bytes());
        sealed
    }

    /// The id without its seal; `None` when it was not sealed for this caller.
    pub(crate) fn open<'a>(&self, kind: Kind, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (front, seal) = sealed.split_at_checked(sealed.len().checked_sub(SEAL_LEN)?)?;
        let id = front.strip_suffix(b".")?;
        let tag = URL_SAFE_NO_PAD.decode(seal).ok()?;
        // Compares in constant time.
        hmac::verify(&self.key.0, &self.sealed_text(kind, id), &tag).ok()?;
        Some(id)
    }

    fn sealed_text(&self, kind: Kind, id: &[u8]) -> Vec<u8> {
        let kind = match kind {
            Kind::Session => "mcp-authflow session",
            Kind::Event => "mcp-authflow event",
            Kind::Endpoint => "mcp-authflow endpoint",
        };
        let mut text = Vec::with_capacity(self.caller.len() + id.len() + 40);
        append(&mut text, Some(kind.as_bytes()));
        text.extend_from_slice(&self.caller);
        append(&mut text, Some(id));
        text
    }

    /// A query or URL in which the session ids are sealed.
    pub(crate) fn seal_query(&self, url: &str) -> String {
        let Some((path, query)) = url.split_once('?') else {
            return url.to_owned();
        };
        let sealed = map_session_ids(query, |id| {
            String::from_utf8(self.seal(Kind::Endpoint, id.as_bytes())).ok()
        });
        sealed.map_or_else(|| url.to_owned(), |query| format!("{path}?{query}"))
    }

    /// A query whose session ids are opened; `None` when one was not sealed for this caller.
    pub(crate) fn open_query(&self, query: &str) -> Option<String> {
        map_session_ids(query, |id| {
            let id = self.open(Kind::Endpoint, id.as_bytes())?;
            Some(String::from_utf8_lossy(id).into_owned())
        })
    }
}

/// Whether a query holds a session id, as the transport of 2024-11-05 has it.
pub(crate) fn has_session_id(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| is_session_id(pair.split('=').next().unwrap_or_default()))
}

/// `session_id` in Python, `sessionId` in TypeScript, Java and C#, `sessionid` in Go. In any spelling that a server's
/// query parser could take for one of them.
fn is_session_id(name: &str) -> bool {
    let name = form_urlencoded::parse(name.as_bytes()).next();
    name.is_some_and(|(name, _)| {
        let letters = name.chars().filter(|c| !matches!(c, '_' | '-'));
        letters.map(|c| c.to_ascii_lowercase()).eq("sessionid".chars())
    })
}

fn map_session_ids(query: &str, map: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut pairs = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push(if is_session_id(name) {
            format!("{name}={}", map(value)?)
        } else {
            pair.to_owned()
        });
    }
    Some(pairs.join("&"))
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

impl fmt::Debug for CallersIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallersIds(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use super::*;
    use crate::{challenge::Challenge, verify::VerifiedToken};

    fn caller(issuer: &str, subject: &str, client: &str) -> Caller {
        let token = VerifiedToken {
            issuer: Some(issuer.to_owned()),
            subject: Some(subject.to_owned()),
            client_id: ClientId::parse(client).ok(),
            ..VerifiedToken::default()
        };
        Caller::admit(token, Arc::new(Challenge::bearer("https://rs.test/prm")))
    }

    fn ids(issuer: &str, subject: &str, client: &str) -> CallersIds {
        SessionKey::new(&[7; 32]).ids_of(&caller(issuer, subject, client))
    }

    /// RP-13, M-127, M-128
    #[test]
    fn an_id_is_good_for_its_caller_only() {
        let alice = ids("i", "alice", "c");
        let sealed = alice.seal(Kind::Session, b"s-1");
        assert_eq!(alice.open(Kind::Session, &sealed), Some(&b"s-1"[..]));
        // Another token of the same person through the same client, on another node with the same key.
        assert_eq!(
            ids("i", "alice", "c").open(Kind::Session, &sealed),
            Some(&b"s-1"[..])
        );
        for other in [
            ids("i", "bob", "c"),
            ids("i", "alice", "d"),
            ids("j", "alice", "c"),
            ids("ia", "lice", "c"),
        ] {
            assert_eq!(other.open(Kind::Session, &sealed), None);
        }
        let other_key = SessionKey::random().unwrap().ids_of(&caller("i", "alice", "c"));
        assert_eq!(other_key.open(Kind::Session, &sealed), None);
        assert_eq!(alice.open(Kind::Event, &sealed), None);
    }

    /// M-127: people whose subject nobody tells are not one person.
    #[test]
    fn without_a_subject_the_name_tells_callers_apart() {
        let named = |username: Option<&str>| {
            let token = VerifiedToken {
                username: username.map(str::to_owned),
                client_id: ClientId::parse("c").ok(),
                ..VerifiedToken::default()
            };
            let caller = Caller::admit(token, Arc::new(Challenge::bearer("https://rs.test/prm")));
            SessionKey::new(&[7; 32]).ids_of(&caller)
        };
        let sealed = named(Some("alice")).seal(Kind::Session, b"s-1");
        assert_eq!(
            named(Some("alice")).open(Kind::Session, &sealed),
            Some(&b"s-1"[..])
        );
        for other in [Some("bob"), Some(""), None] {
            assert_eq!(named(other).open(Kind::Session, &sealed), None, "{other:?}");
        }
    }

    #[test]
    fn an_id_that_was_not_sealed_or_was_changed_is_no_good() {
        let alice = ids("i", "alice", "c");
        let sealed = alice.seal(Kind::Session, b"s-1");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(alice.open(Kind::Session, &changed), None, "{at}");
            assert_eq!(alice.open(Kind::Session, &sealed[..at]), None, "{at}");
        }
        assert_eq!(alice.open(Kind::Session, b"s-1"), None);
        let twice = alice.seal(Kind::Session, &sealed);
        assert_eq!(alice.open(Kind::Session, &twice), Some(&sealed[..]));
    }

    #[test]
    fn the_session_id_of_an_old_endpoint_is_sealed_too() {
        let (alice, bob) = (ids("i", "alice", "c"), ids("i", "bob", "c"));
        for name in ["session_id", "sessionId", "sessionid", "SESSION%5fid"] {
            let url = alice.seal_query(&format!("/messages/?a=b&{name}=abc&x"));
            let (_, query) = url.split_once('?').unwrap();
            assert!(has_session_id(query), "{query}");
            assert_eq!(alice.open_query(query), Some(format!("a=b&{name}=abc&x")));
            assert_eq!(bob.open_query(query), None);
            assert_eq!(alice.open_query(&format!("{name}=abc")), None);
            assert_eq!(alice.open_query(&format!("{query}&session_id=abc")), None);
        }
        assert_eq!(alice.seal_query("/messages"), "/messages");
        assert!(!has_session_id("a=session_id&session=1"));
    }
}
