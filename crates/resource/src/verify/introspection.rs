//! Verifies a token by asking the authorization server about it (RFC 7662).
//!
//! One POST a token, with the resource's own credentials, over kept-alive connections, with a limit on time and size.
//! Nothing is cached: a revoked token is refused from the next request on. No redirect is followed, no proxy is read
//! from the environment, and no address is ever taken from a token.

use std::{fmt, time::Duration};

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use mcp_authflow_types::{ClientId, ClientSecret, Scope, Timestamp, json::parse_strict, uri};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde_json::{Map, Value};
use tokio::{sync::Semaphore, time::timeout};

use super::{CannotCheck, TokenVerifier, VerifiedToken, VerifyError};

/// A caller gets its answer, even a bad one, within two seconds.
const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(2);
/// The longest answer read. Ours have some 400 bytes; 64 KiB is what the server itself takes in a request.
const MAX_ANSWER_BYTES: usize = 64 * 1_024;
/// The deepest answer read; `cnf` and `authorization_details` nest three or four deep.
const MAX_DEPTH: usize = 16;
/// The most questions at a time; more wait, within their time limit. Each holds a connection, and most of the 1,024 file
/// descriptors that a process customarily has are for its callers.
const MAX_IN_FLIGHT: usize = 128;
/// Shorter than the idle times of servers and proxies (60 s and up), so that we are the one who closes.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Asks one introspection endpoint.
///
/// # Security
/// https is verified against the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others). Plain http is
/// for loopback only: the resource's secret and the tokens travel in it.
pub struct Introspection {
    endpoint: Uri,
    /// Basic, marked sensitive so that nothing prints it.
    credentials: HeaderValue,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    time_limit: Duration,
    in_flight: Semaphore,
}

/// Why introspection cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIntrospection {
    /// The endpoint is no https URL, nor an http URL on loopback.
    #[error(
        "the introspection endpoint is an https URL without fragment; plain http is only for 127.0.0.1, [::1] and localhost"
    )]
    Endpoint,
    /// The client id is empty, too long or not printable.
    #[error("the introspection client id is 1 to 2048 printable ASCII characters")]
    ClientId,
    /// The client secret is empty, too long or not printable.
    #[error("the introspection client secret is 1 to 512 printable ASCII characters")]
    ClientSecret,
    /// The system has no usable certificates of authorities.
    #[error(
        "no certificate authorities to verify the authorization server with ({0}): install the system's (ca-certificates) or set SSL_CERT_FILE"
    )]
    Certificates(String),
}

impl Introspection {
    /// Prepares to ask `endpoint` as this client. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidIntrospection`]
    pub fn new(endpoint: &str, client_id: &str, client_secret: &str) -> Result<Self, InvalidIntrospection> {
        let is_https = is_https(endpoint).ok_or(InvalidIntrospection::Endpoint)?;
        let client_id = ClientId::parse(client_id).map_err(|_| InvalidIntrospection::ClientId)?;
        let client_secret =
            ClientSecret::present(client_secret).map_err(|_| InvalidIntrospection::ClientSecret)?;
        Ok(Self {
            endpoint: endpoint.parse().map_err(|_| InvalidIntrospection::Endpoint)?,
            credentials: basic(&client_id, &client_secret),
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_CONNECTION)
                .build(connector(is_https)?),
            time_limit: DEFAULT_TIME_LIMIT,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        })
    }

    /// How long one question may take in all. Default: 2 s.
    #[must_use]
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sends the question and reads the answer's bytes.
    async fn ask(&self, token: &str) -> Result<Bytes, CannotCheck> {
        // The semaphore is never closed; were it, we could not ask.
        let _permit = self.in_flight.acquire().await.map_err(|_| CannotCheck::Refused)?;
        let response = self.send(token).await?;
        if response.status() != StatusCode::OK {
            let hint = match response.status() {
                StatusCode::UNAUTHORIZED => ": check the introspection client's id and secret",
                status if status.is_redirection() => ": redirects are not followed",
                _ => "",
            };
            tracing::warn!(endpoint = %self.endpoint, status = %response.status(), "introspection refused{hint}");
            return Err(CannotCheck::Refused);
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| {
            tracing::warn!(endpoint = %self.endpoint, %error, "introspection answer is too long or broken off");
            CannotCheck::BadAnswer
        })
    }

    /// Sends the question; once more when a kept connection turns out to have been closed in the meantime, as when the
    /// authorization server restarts. Asking twice changes nothing there.
    async fn send(&self, token: &str) -> Result<Response<Incoming>, CannotCheck> {
        let mut error = match self.client.request(self.request(token)).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if !error.is_connect() {
            error = match self.client.request(self.request(token)).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
        }
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(endpoint = %self.endpoint, %error, cause, "introspection endpoint cannot be reached");
        Err(CannotCheck::Refused)
    }

    /// RFC 7662 §2.1
    fn request(&self, token: &str) -> Request<Full<Bytes>> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.credentials.clone());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request
    }
}

#[async_trait::async_trait]
impl TokenVerifier for Introspection {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let Ok(answer) = timeout(self.time_limit, self.ask(token)).await else {
            tracing::warn!(endpoint = %self.endpoint, limit = ?self.time_limit, "introspection did not answer in time");
            return Err(CannotCheck::TimedOut.into());
        };
        read(&answer?).inspect_err(|error| {
            if let VerifyError::CannotCheck(_) = error {
                tracing::warn!(endpoint = %self.endpoint, "introspection answer is none that RFC 7662 knows");
            }
        })
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Whether the endpoint is https; `None` when it may not be asked at all.
fn is_https(endpoint: &str) -> Option<bool> {
    let uri = uri::Uri::parse(endpoint).filter(|uri| uri.fragment.is_none())?;
    let authority = uri.authority.filter(|authority| !authority.host.is_empty())?;
    match uri.scheme {
        "https" => Some(true),
        "http" if authority.is_loopback() => Some(false),
        _ => None,
    }
}

/// RFC 6749 §2.3.1: id and secret are form-encoded each, then joined by a colon.
fn basic(client_id: &ClientId, client_secret: &ClientSecret) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!(
        "{}:{}",
        encode(client_id.as_str()),
        encode(client_secret.expose())
    );
    let value = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair));
    // Base64 is printable ASCII; an empty value would be refused by any server.
    let mut value = HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Dials https and nothing else, or plain http; in that case without reading the system's certificates, which a small
/// container may not have.
fn connector(is_https: bool) -> Result<HttpsConnector<HttpConnector>, InvalidIntrospection> {
    let no_certificates = |error: &dyn fmt::Display| InvalidIntrospection::Certificates(error.to_string());
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| no_certificates(&error))?;
    let config = if is_https {
        config
            .with_native_roots()
            .map_err(|error| no_certificates(&error))?
    } else {
        config.with_root_certificates(RootCertStore::empty())
    };
    let builder = HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth());
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    Ok(if is_https {
        builder.https_only().enable_http1().wrap_connector(http)
    } else {
        builder.https_or_http().enable_http1().wrap_connector(http)
    })
}

/// Reads an answer (RFC 7662 §2.2). Types are strict: what has the wrong one is no answer, so nothing follows from it.
fn read(answer: &[u8]) -> Result<VerifiedToken, VerifyError> {
    let Some(Value::Object(members)) = parse_strict(answer, MAX_DEPTH) else {
        return Err(CannotCheck::BadAnswer.into());
    };
    match members.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err(VerifyError::Inactive),
        _ => return Err(CannotCheck::BadAnswer.into()),
    }
    let scope = text(&members, "scope")?.unwrap_or_default();
    let client_id = text(&members, "client_id")?;
    Ok(VerifiedToken {
        subject: text(&members, "sub")?,
        client_id: client_id
            .map(|id| ClientId::parse(&id))
            .transpose()
            .map_err(|_| CannotCheck::BadAnswer)?,
        username: text(&members, "username")?,
        scope: Scope::parse(&scope).map_err(|_| CannotCheck::BadAnswer)?,
        audience: audience(&members)?,
        issuer: text(&members, "iss")?,
        token_type: text(&members, "token_type")?,
        expires_at: moment(&members, "exp")?,
        not_before: moment(&members, "nbf")?,
        issued_at: moment(&members, "iat")?,
        is_sender_constrained: members.contains_key("cnf"),
        token_id: text(&members, "jti")?,
        claims: members.into(),
    })
}

fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, CannotCheck> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(CannotCheck::BadAnswer),
    }
}

fn moment(members: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, CannotCheck> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(seconds) => Ok(Some(Timestamp::from_seconds(seconds))),
            None => Err(CannotCheck::BadAnswer),
        },
    }
}

/// RFC 7519 §4.1.3: one string, or a list of strings.
fn audience(members: &Map<String, Value>) -> Result<Vec<String>, CannotCheck> {
    let one = |value: &Value| value.as_str().map(str::to_owned).ok_or(CannotCheck::BadAnswer);
    match members.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(one).collect(),
        Some(value) => one(value).map(|audience| vec![audience]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const BAD: VerifyError = VerifyError::CannotCheck(CannotCheck::BadAnswer);

    fn short_claims() -> std::sync::Arc<Map<String, Value>> {
        std::sync::Arc::new(Map::from_iter([("active".to_owned(), true.into())]))
    }

    #[test]
    fn a_full_answer_is_read_in_full() {
        let answer = br#"{"active":true,"scope":"b a","client_id":"c1","username":"alice","token_type":"Bearer",
            "exp":20,"iat":10,"nbf":11,"sub":"u1","aud":["https://rs.test/mcp","x"],"iss":"https://auth.test","jti":"1",
            "cnf":{"jkt":"k"}}"#;
        let expected = VerifiedToken {
            subject: Some("u1".to_owned()),
            client_id: ClientId::parse("c1").ok(),
            username: Some("alice".to_owned()),
            scope: Scope::parse("a b").unwrap(),
            audience: vec!["https://rs.test/mcp".to_owned(), "x".to_owned()],
            issuer: Some("https://auth.test".to_owned()),
            token_type: Some("Bearer".to_owned()),
            expires_at: Some(Timestamp::from_seconds(20)),
            not_before: Some(Timestamp::from_seconds(11)),
            issued_at: Some(Timestamp::from_seconds(10)),
            is_sender_constrained: true,
            token_id: Some("1".to_owned()),
            claims: serde_json::from_slice::<Map<String, Value>>(answer).unwrap().into(),
        };
        assert_eq!(read(answer), Ok(expected));
        let short = read(br#"{"active":true,"aud":"x"}"#).unwrap();
        assert_eq!(short.audience, ["x"]);
        let says_nothing = VerifiedToken {
            claims: short_claims(),
            ..VerifiedToken::default()
        };
        assert_eq!(read(br#"{"active":true}"#), Ok(says_nothing));
    }

    /// RFC 7662 §2.2: `active` is a boolean, and only the boolean `false` is a no.
    #[test]
    fn an_answer_that_is_none_is_neither_yes_nor_no() {
        assert_eq!(read(br#"{"active":false}"#), Err(VerifyError::Inactive));
        assert_eq!(read(br#"{"active":false,"exp":"x"}"#), Err(VerifyError::Inactive));
        for bad in [
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"active":[true]}"#,
            r#"{"ACTIVE":true}"#,
            "{}",
            "",
            "true",
            r#"[{"active":true}]"#,
            "<html>",
            r#"{"active":false,"active":true}"#,
            r#"{"active":true}{"active":true}"#,
            r#"{"active":true"#,
            r#"{"error":"invalid_client"}"#,
        ] {
            assert_eq!(read(bad.as_bytes()), Err(BAD), "{bad}");
        }
        let deep = format!(r#"{{"active":true,"x":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
        assert_eq!(read(deep.as_bytes()), Err(BAD));
    }

    #[test]
    fn a_member_of_the_wrong_type_spoils_the_answer() {
        for bad in [
            r#""exp":"20""#,
            r#""exp":20.5"#,
            r#""exp":1e99"#,
            r#""exp":null"#,
            r#""nbf":true"#,
            r#""iat":{}"#,
            r#""sub":1"#,
            r#""scope":["a"]"#,
            r#""scope":"a  b""#,
            r#""client_id":"""#,
            r#""username":null"#,
            r#""iss":["https://auth.test"]"#,
            r#""aud":1"#,
            r#""aud":["x",1]"#,
            r#""aud":{"x":"x"}"#,
            r#""token_type":1"#,
        ] {
            let answer = format!(r#"{{"active":true,{bad}}}"#);
            assert_eq!(read(answer.as_bytes()), Err(BAD), "{bad}");
        }
    }

    /// RFC 6749 §2.3.1
    #[test]
    fn credentials_are_form_encoded_before_they_are_joined() {
        let value = basic(
            &ClientId::parse("https://c.test/a+b").unwrap(),
            &ClientSecret::present("p% +/=&").unwrap(),
        );
        let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        let pair = base64::prelude::BASE64_STANDARD.decode(encoded).unwrap();
        assert_eq!(pair, b"https%3A%2F%2Fc.test%2Fa%2Bb:p%25+%2B%2F%3D%26");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for good in [
            "http://127.0.0.1:8000/introspect",
            "http://[::1]/i",
            "http://localhost/i",
        ] {
            assert_eq!(is_https(good), Some(false), "{good}");
        }
        assert_eq!(is_https("https://auth.test/introspect?x=1"), Some(true));
        for bad in [
            "http://auth.test/i",
            "http://127.0.0.2/i",
            "http://localhost.evil.test/i",
            "http://127.0.0.1@evil.test/i",
            "ftp://auth.test/i",
            "https://auth.test/i#f",
            "https:///i",
            "/i",
            "",
        ] {
            assert_eq!(is_https(bad), None, "{bad}");
        }
    }
}
