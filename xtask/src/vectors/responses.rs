//! Calls of the area `responses`: every error helper.

use std::time::Duration;

use axum::response::IntoResponse;
use mcp_authflow_axum::AsResponse;
use mcp_authflow_types::Reply;
use mcp_authflow_types::error::{ErrorReply, InvalidReply};
use serde_json::{Value, json};

use super::case::Case;
use super::http_answer;
use super::json::Json;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    match case.call.as_str() {
        "response" => {
            let params = case.args_as_written.member("params")?;
            Some(match reply(case.text("helper")?, params)? {
                Ok(error) => http_answer::shown(AsResponse(error).into_response()).await?,
                Err(_) => json!({ "error": { "kind": "invalid_argument" } }),
            })
        }
        "constant" => {
            let (name, value) = Reply::NO_STORE;
            let is_it = case.text("name")?.rsplit('.').next() == Some("OAUTH_NO_CACHE_HEADERS");
            is_it.then(|| json!({ "value": { name: value } }))
        }
        _ => None,
    }
}

/// What the helper makes; `None` when there is no such helper.
fn reply(helper: &str, params: &Json) -> Option<Result<ErrorReply, InvalidReply>> {
    let param = |name: &str| params.member(name).map(Json::to_value).unwrap_or_default();
    let text = |name: &str| param(name).as_str().map(str::to_owned);
    let description = |default: &str| text("description").unwrap_or_else(|| default.to_owned());
    let status = || {
        param("status_code")
            .as_u64()
            .map(|status| u16::try_from(status).unwrap_or(0))
    };
    let with_status = |error: ErrorReply| match status() {
        Some(status) => error.with_status(status),
        None => Ok(error),
    };
    let said = description("");
    Some(match helper {
        "invalid_request" => Ok(ErrorReply::invalid_request(said)),
        "invalid_client" => Ok(ErrorReply::invalid_client(said)),
        "invalid_grant" => Ok(ErrorReply::invalid_grant(said)),
        "invalid_scope" => Ok(ErrorReply::invalid_scope(said)),
        "invalid_redirect_uri" => Ok(ErrorReply::invalid_redirect_uri(said)),
        "unsupported_grant_type" => Ok(ErrorReply::unsupported_grant_type(said)),
        "access_denied" => Ok(ErrorReply::access_denied(said)),
        "pkce_required" => Ok(ErrorReply::pkce_required(description(ErrorReply::PKCE_REQUIRED))),
        "authorization_pending" => Ok(ErrorReply::authorization_pending(description(
            ErrorReply::AUTHORIZATION_PENDING,
        ))),
        "expired_token" => Ok(ErrorReply::expired_token(description(ErrorReply::EXPIRED_TOKEN))),
        "slow_down" => Ok(ErrorReply::slow_down(said, wait(&param("retry_after")))),
        "rate_limit_exceeded" => Ok(ErrorReply::rate_limit_exceeded(said, wait(&param("retry_after")))),
        "server_error" => with_status(ErrorReply::server_error(said)),
        "backend_timeout" => Ok(ErrorReply::backend_timeout()),
        "backend_connection_error" => Ok(ErrorReply::backend_connection_error()),
        "backend_invalid_response" => Ok(ErrorReply::backend_invalid_response()),
        "backend_oauth_error" => {
            let body = params.member("error_dict")?.to_text();
            ErrorReply::forward(body.as_bytes(), status()?)
        }
        "oauth_error" => {
            let error = ErrorReply::new(&text("error")?, said).and_then(with_status);
            let Some(Json::Object(headers)) = params.member("extra_headers") else {
                return Some(error);
            };
            headers.iter().fold(error, |error, (name, value)| {
                let value = value.to_value();
                error?.with_header(name, value.as_str().ok_or(InvalidReply::Header)?)
            })
        }
        _ => return None,
    })
}

/// A duration is never negative and may be a part of a second.
fn wait(value: &Value) -> Option<Duration> {
    match value {
        Value::Bool(flag) => flag.then_some(Duration::from_secs(1)),
        value => value.as_u64().map(Duration::from_secs).or_else(|| {
            let seconds = value.as_f64()?;
            Some(Duration::try_from_secs_f64(seconds).unwrap_or_default())
        }),
    }
}
