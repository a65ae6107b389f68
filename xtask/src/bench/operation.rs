//! What is asked of a server, request by request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::Full;
use mcp_authflow_jose::SigningKey;
use serde_json::json;

use crate::crowd::{RESOURCE, SCOPE};

/// An operation that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Whether a token, always the same, is good.
    Introspect,
    /// A token for a client that shows its secret.
    ClientCredentials,
    /// A refresh token for its successor, which is the next to go.
    Rotate,
    /// A token for a client that signs an assertion with ES256, each of them good once.
    AssertionEs256,
    /// The same with RS256 and a key of 2,048 bits.
    AssertionRs256,
}

impl Operation {
    pub(super) const ALL: &'static [Self] = &[
        Self::Introspect,
        Self::ClientCredentials,
        Self::Rotate,
        Self::AssertionEs256,
        Self::AssertionRs256,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Introspect => "introspect, hot token",
            Self::ClientCredentials => "client_credentials",
            Self::Rotate => "refresh rotation",
            Self::AssertionEs256 => "private_key_jwt, ES256",
            Self::AssertionRs256 => "private_key_jwt, RS256",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Introspect => "/introspect",
            Self::ClientCredentials | Self::Rotate | Self::AssertionEs256 | Self::AssertionRs256 => "/token",
        }
    }
}

/// Makes the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    path: Uri,
    host: String,
    authorization: Option<String>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Same(Bytes),
    /// A call of a tool, as JSON.
    Call(Bytes),
    /// The refresh token that the next request presents.
    Rotating {
        client_id: String,
        refresh: String,
    },
    /// Assertions, each good once: signed ahead, and when those are used up, one at a time.
    Signed {
        signer: Signer,
        ready: VecDeque<Bytes>,
    },
}

/// How many clients sign with one key: what one of them may have remembered is bounded, and they take turns.
pub(super) const SIGNERS: u64 = 32;

/// Clients that sign, all with one key.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) key: Arc<SigningKey>,
    /// What their identifiers begin with; their number follows.
    pub(super) name: &'static str,
    /// Whom it signs for: the issuer.
    pub(super) audience: String,
    /// What no other signer's identifiers begin with.
    pub(super) tag: String,
    pub(super) made: u64,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// A token request with a new assertion.
    fn form(&mut self) -> Result<Bytes> {
        self.made += 1;
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs();
        let client_id = format!("{}-{}", self.name, self.made % SIGNERS);
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": self.audience,
            "jti": format!("{}-{}", self.tag, self.made), "iat": now, "exp": now + 240,
        });
        let assertion = self.key.sign("JWT", &claims)?;
        Ok(format!(
            "grant_type=client_credentials&scope={SCOPE}&resource={RESOURCE}&client_assertion_type=\
             urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
        )
        .into())
    }
}

impl Requests {
    /// The same form every time.
    pub(super) fn same(host: &str, operation: Operation, client: (&str, &str), form: &str) -> Result<Self> {
        let pair = BASE64_STANDARD.encode(format!("{}:{}", client.0, client.1));
        Ok(Self {
            path: operation.path().parse()?,
            host: host.to_owned(),
            authorization: Some(format!("Basic {pair}")),
            body: Body::Same(Bytes::copy_from_slice(form.as_bytes())),
        })
    }

    /// The same tool call every time, with this token if there is one.
    pub(super) fn call(host: &str, token: Option<&str>, tool: &str) -> Result<Self> {
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {"name": "machine"}},
        });
        Ok(Self {
            path: "/mcp".parse()?,
            host: host.to_owned(),
            authorization: token.map(|token| format!("Bearer {token}")),
            body: Body::Call(call.to_string().into()),
        })
    }

    /// A public client's refresh token, then the one that the answer brings, and so on.
    pub(super) fn rotating(host: &str, client_id: &str, refresh: &str) -> Result<Self> {
        Ok(Self {
            path: Operation::Rotate.path().parse()?,
            host: host.to_owned(),
            authorization: None,
            body: Body::Rotating {
                client_id: client_id.to_owned(),
                refresh: refresh.to_owned(),
            },
        })
    }

    /// A new assertion each time, `ahead` of them signed before anything is measured.
    pub(super) fn signed(host: &str, mut signer: Signer, ahead: usize) -> Result<Self> {
        let ready = (0..ahead).map(|_| signer.form()).collect::<Result<_>>()?;
        Ok(Self {
            path: Operation::AssertionEs256.path().parse()?,
            host: host.to_owned(),
            authorization: None,
            body: Body::Signed { signer, ready },
        })
    }

    /// The next request.
    pub(super) fn make(&mut self) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::post(self.path.clone()).header(HOST, &self.host);
        request = match &self.body {
            Body::Call(_) => request
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "application/json, text/event-stream"),
            _ => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded"),
        };
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = match &mut self.body {
            Body::Same(body) | Body::Call(body) => body.clone(),
            Body::Signed { signer, ready } => match ready.pop_front() {
                Some(form) => form,
                None => signer.form()?,
            },
            Body::Rotating { client_id, refresh } => {
                format!("grant_type=refresh_token&client_id={client_id}&refresh_token={refresh}").into()
            }
        };
        Ok(request.body(Full::new(body))?)
    }

    /// Takes from the answer what the next request needs.
    pub(super) fn learn(&mut self, answer: &[u8]) -> Result<()> {
        match &mut self.body {
            // A server that says "inactive" quickly would win the race.
            Body::Same(_) | Body::Signed { .. } => {
                ensure!(
                    contains(answer, b"\"active\":true") || contains(answer, b"\"access_token\":\""),
                    "a strange answer: {}",
                    String::from_utf8_lossy(answer)
                );
                Ok(())
            }
            Body::Call(_) => {
                ensure!(
                    contains(answer, b"Hello, machine"),
                    "a strange answer: {}",
                    String::from_utf8_lossy(answer)
                );
                Ok(())
            }
            Body::Rotating { refresh, .. } => {
                *refresh = member(answer, "refresh_token").context("no refresh_token in the answer")?;
                Ok(())
            }
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// A string member without escapes, found without parsing the whole answer.
fn member(json: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(json).ok()?;
    let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_is_presented_next() {
        let mut requests = Requests::rotating("127.0.0.1:1", "app", "mcprt_one").unwrap();
        requests
            .learn(br#"{"access_token":"a","refresh_token":"mcprt_two","scope":"x"}"#)
            .unwrap();
        let Body::Rotating { refresh, .. } = &requests.body else {
            panic!("it rotates")
        };
        assert_eq!(refresh, "mcprt_two");
        assert!(requests.learn(b"{}").is_err());
    }

    #[test]
    fn a_quick_no_is_no_answer() {
        let mut requests = Requests::same("h", Operation::Introspect, ("a", "b"), "token=x").unwrap();
        assert!(requests.learn(br#"{"active":false}"#).is_err());
        assert!(requests.learn(br#"{"active":true}"#).is_ok());
    }
}
