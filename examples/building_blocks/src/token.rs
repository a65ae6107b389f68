//! The token endpoint, and where a device begins.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, State},
};
use mcp_authflow::{
    grant::device_code::poll::DeviceRecord,
    limiter_key,
    port::{
        Clock as _, Entropy as _,
        rate_limit::Admission,
        token_storage::{NewToken, TokenStorage as _, hash_token},
    },
    registration::ClientRegistry as _,
};
use mcp_authflow_axum::AsResponse;
use mcp_authflow_types::{
    AccessToken, DeviceCode, ErrorReply, Form, GrantType, Reply, UserCode,
    device_authorization::DeviceAuthorization,
};
use serde_json::json;

use crate::{
    App,
    ports::{SystemClock, SystemEntropy, random},
    waiting::system_time,
};

/// An answer of these endpoints, good or bad.
pub(crate) struct Answer(Reply);

impl<T: Into<Reply>> From<T> for Answer {
    fn from(reply: T) -> Self {
        Self(reply.into())
    }
}

impl axum::response::IntoResponse for Answer {
    fn into_response(self) -> axum::response::Response {
        AsResponse(self.0).into_response()
    }
}

/// RFC 8628 §3.1, §3.2
pub(crate) async fn device_authorization(State(app): State<Arc<App>>, body: Bytes) -> Result<Answer, Answer> {
    let form = Form::parse(&body).map_err(|error| ErrorReply::invalid_request(error.to_string()))?;
    let client_id = form.value("client_id").unwrap_or_default();
    let client = app
        .registry
        .get_client(client_id)
        .await
        .map_err(|_| ErrorReply::server_error("try again"))?;
    let grant = GrantType::DeviceCode.as_str();
    if !client.is_some_and(|client| client.metadata.grant_types.iter().any(|one| one == grant)) {
        return Err(ErrorReply::unauthorized_client("this client may not use the device grant").into());
    }
    let device_code = DeviceCode::mint(&random());
    let user_code = UserCode::generate(&mut |bytes| SystemEntropy.fill(bytes));
    let response =
        DeviceAuthorization::new(device_code.expose(), user_code.expose(), "http://127.0.0.1:8000/").build();
    let response = response.map_err(|error| ErrorReply::server_error(error.to_string()))?;

    let end = SystemClock.now() + Duration::from_secs(response.expires_in());
    let [code, typed] = [device_code.expose(), user_code.expose()].map(hash_token);
    app.waiting
        .add(DeviceRecord::new(code, typed, client_id, system_time(end)));
    Ok(Reply::success(response.body()).into())
}

/// RFC 6749 §3.2
pub(crate) async fn token(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Result<Answer, Answer> {
    if let Admission::Refused { retry_after } = app.limiter.admit(&limiter_key(Some(peer.ip()))).await {
        return Err(ErrorReply::rate_limit_exceeded("too many requests", Some(retry_after)).into());
    }
    let form = Form::parse(&body).map_err(|error| ErrorReply::invalid_request(error.to_string()))?;
    let value = |name: &str| {
        let missing = || ErrorReply::invalid_request(format!("{name} is missing"));
        form.value(name).ok_or_else(missing)
    };
    let client_id = value("client_id")?;
    match GrantType::parse(value("grant_type")?) {
        Some(GrantType::AuthorizationCode) => {
            app.waiting
                .redeem(value("code")?, client_id, value("code_verifier")?)?;
        }
        Some(GrantType::DeviceCode) => app.waiting.poll(value("device_code")?, client_id)?,
        _ => return Err(ErrorReply::unsupported_grant_type("codes and device codes only").into()),
    }
    let lifetime = Duration::from_secs(600);
    let expires_at = SystemClock.now() + lifetime;
    let token = AccessToken::mint(&random(), expires_at);
    let mut new = NewToken::new(client_id, expires_at);
    new.scopes = vec!["notes:read".to_owned()];
    let stored = app.tokens.store_token(token.expose(), &new).await;
    stored.map_err(|_| ErrorReply::temporarily_unavailable("try again", None))?;
    let answer = json!({
        "access_token": token.expose(), "token_type": "Bearer", "expires_in": lifetime.as_secs(), "scope": "notes:read"
    });
    Ok(Reply::success(answer.to_string()).into())
}
