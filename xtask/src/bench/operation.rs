//! What is asked of a server, request by request.

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::Full;

/// An operation that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Whether a token, always the same, is good.
    Introspect,
    /// A token for a client that shows its secret.
    ClientCredentials,
    /// A refresh token for its successor, which is the next to go.
    Rotate,
}

impl Operation {
    pub(super) const ALL: &'static [Self] = &[Self::Introspect, Self::ClientCredentials, Self::Rotate];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Introspect => "introspect, hot token",
            Self::ClientCredentials => "client_credentials",
            Self::Rotate => "refresh rotation",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Introspect => "/introspect",
            Self::ClientCredentials | Self::Rotate => "/token",
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
    /// The refresh token that the next request presents.
    Rotating {
        client_id: String,
        refresh: String,
    },
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

    /// The next request.
    pub(super) fn next(&self) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::post(self.path.clone())
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = match &self.body {
            Body::Same(body) => body.clone(),
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
            Body::Same(_) => {
                ensure!(
                    contains(answer, b"\"active\":true") || contains(answer, b"\"access_token\":\""),
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
