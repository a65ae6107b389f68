//! A resource server asks about a token (RFC 7662).

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, header},
};
use mcp_authflow::port::token_storage::TokenStorage as _;
use mcp_authflow_types::{ErrorReply, Form, Reply, TokenHash};
use serde_json::json;

use crate::{App, token::Answer};

pub(crate) async fn introspect(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, Answer> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if bearer.map(TokenHash::of) != Some(app.resource_secret) {
        return Err(ErrorReply::invalid_token("introspection is for the resource server").into());
    }
    let form = Form::parse(&body).map_err(|error| ErrorReply::invalid_request(error.to_string()))?;
    let token = form
        .value("token")
        .ok_or_else(|| ErrorReply::invalid_request("token is missing"))?;
    // A store that cannot be asked is no answer about the token: "active: false" would sign people out.
    let found = app.tokens.load_token(token).await;
    let found = found.map_err(|_| ErrorReply::temporarily_unavailable("try again", None))?;
    let answer = match found {
        None => json!({"active": false}),
        Some(record) => json!({
            "active": true,
            "client_id": record.client_id,
            "scope": record.scopes.join(" "),
            "exp": record.expires_at,
            "iat": record.created_at,
        }),
    };
    Ok(Reply::success(answer.to_string()).into())
}
