//! Calls of the area `middleware`: the path that an app sees, and what a log says of a request.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame};
use mcp_authflow_resource::normalize_path::NormalizePath;
use mcp_authflow_resource::request_log::{LoggedBody, Peer, RequestLog};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    match case.call.as_str() {
        "normalize_path" => normalize_path(case).await,
        "logging_middleware" => logged(case).await,
        _ => None,
    }
}

async fn normalize_path(case: &Case) -> Option<Value> {
    let path = case.arg("path");
    let is_http = case.text("type").is_none_or(|kind| kind == "http");
    // Requests of other protocols reach no HTTP service.
    let seen = match path.as_str() {
        Some(path) if is_http => json!(path_behind(path).await?),
        _ => path.clone(),
    };
    Some(json!({ "value": { "path": seen, "original_untouched": true } }))
}

/// The path that a service behind the layer sees.
async fn path_behind(path: &str) -> Option<String> {
    let inner = tower::service_fn(|request: Request<()>| async move {
        Ok::<_, Infallible>(request.uri().path().to_owned())
    });
    // What stands in a target only in its escaped form is written so, and read again.
    if let Ok(uri) = path.parse::<Uri>() {
        let request = Request::builder().uri(uri).body(()).ok()?;
        return NormalizePath.layer(inner).oneshot(request).await.ok();
    }
    let escaped: String = path
        .bytes()
        .map(|byte| match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let request = Request::builder().uri(escaped).body(()).ok()?;
    let seen = NormalizePath.layer(inner).oneshot(request).await.ok()?;
    let form = format!("path={}", seen.replace('+', "%2B"));
    let (_, read) = form_urlencoded::parse(form.as_bytes()).next()?;
    Some(read.into_owned())
}

/// With bodies, as the Python package has it.
async fn logged(case: &Case) -> Option<Value> {
    let Ok(log) = RequestLog::enabled_by(case.text("env")) else {
        return Some(json!({ "error": { "kind": "other" } }));
    };
    let request = case.arg("request");
    if request["type"].as_str().is_some_and(|kind| kind != "http") {
        return Some(json!({ "value": { "status": null, "log": [] } }));
    }
    let log = log.dangerous_show_bodies();
    let log = match case.arg("mask_auth").as_bool() {
        Some(false) => log.dangerous_show_secrets(),
        _ => log,
    };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = log.write_to({
        let lines = Arc::clone(&lines);
        move |level, line| {
            if let Ok(mut lines) = lines.lock() {
                lines.push(format!("{level} {line}"));
            }
        }
    });
    let answer = case.arg("answer");
    let status = answer["status"].as_u64().unwrap_or(200);
    let body = answer["body"].as_str().unwrap_or_default().to_owned();
    let headers = pairs(&answer["headers"]);
    let app = tower::service_fn(move |request: Request<LoggedBody<Chunks>>| {
        let mut response = Response::builder().status(u16::try_from(status).unwrap_or(0));
        for (name, value) in &headers {
            response = response.header(name, value);
        }
        let response = response.body(Full::from(body.clone()));
        async move {
            let _read = request.into_body().collect().await;
            response
        }
    });
    let answer = log.layer(app).oneshot(sent(request)?).await.ok()?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.ok()?;
    let lines = lines.lock().ok()?.clone();
    Some(json!({ "value": { "status": status, "log": lines } }))
}

fn sent(request: &Value) -> Option<Request<Chunks>> {
    let text = |name: &str, default: &str| request[name].as_str().unwrap_or(default).to_owned();
    let target = match text("query", "") {
        query if query.is_empty() => text("path", "/mcp"),
        query => format!("{}?{query}", text("path", "/mcp")),
    };
    let mut built = Request::builder()
        .method(text("method", "POST").as_str())
        .uri(target);
    for (name, value) in pairs(&request["headers"]) {
        built = built.header(name, value);
    }
    let peer = match request.get("client") {
        None => Some("192.0.2.1:5555".parse().ok()?),
        Some(Value::Null) => None,
        Some(pair) => {
            let port = u16::try_from(pair[1].as_u64()?).ok()?;
            Some((pair[0].as_str()?.parse::<std::net::IpAddr>().ok()?, port).into())
        }
    };
    if let Some(peer) = peer {
        built = built.extension(Peer(peer));
    }
    let chunks = request["chunks"].as_array().into_iter().flatten();
    let chunks = chunks.map(|chunk| Bytes::from(chunk.as_str().unwrap_or_default().to_owned()));
    built.body(Chunks(chunks.collect())).ok()
}

/// Headers as names and values; a value of Latin letters has a byte for each, as it went over the wire.
fn pairs(headers: &Value) -> Vec<(String, HeaderValue)> {
    let pair = |pair: &Value| {
        let bytes: Option<Vec<u8>> = pair[1].as_str()?.chars().map(|c| u8::try_from(c).ok()).collect();
        Some((
            pair[0].as_str()?.to_owned(),
            HeaderValue::from_bytes(&bytes?).ok()?,
        ))
    };
    headers
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(pair)
        .collect()
}

/// A body that comes in pieces.
struct Chunks(VecDeque<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}
