//! What goes wrong on the way to the upstream, and what the client is told: reasons inside, codes outside, mapped once.
//!
//! A POST is answered in the shape of JSON-RPC, so that an MCP client shows the message; everything else in the shape of
//! the other errors of this house.

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use mcp_authflow_resource::{JsonRpc, json_rpc::NotJsonRpc};

use crate::CannotSign;

/// JSON-RPC's "internal error" and "invalid request"; the code of the house stands in `data`.
const INTERNAL_ERROR: i32 = -32_603;
const INVALID_REQUEST: i32 = -32_600;

/// Why there is no answer of the upstream's. The text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("there is no caller: put the layer Protect in front of the proxy")]
    NoCaller,
    #[error("the path is not below the endpoint")]
    OtherPath,
    #[error("the method is none of MCP's")]
    Method,
    #[error("the client asks for a WebSocket")]
    WebSocket,
    #[error(transparent)]
    CannotSign(CannotSign),
    #[error("the upstream cannot be reached: {0}")]
    NotReached(String),
    #[error("no connection to the upstream within the time for it")]
    ConnectTimedOut,
    #[error("the upstream does not answer within the time for it")]
    TimedOut,
    #[error("the exchange with the upstream broke: {0}")]
    Broken(String),
    #[error(
        "the upstream asks for credentials of its own (status {0}): switch its sign-in off, or give it a header"
    )]
    AsksForCredentials(u16),
    #[error("the upstream redirects to {0}: configure the URL that it means")]
    RedirectsElsewhere(String),
    #[error("there is no such session, or it is somebody else's")]
    NoSuchSession,
    #[error("the child of the MCP server: {0}")]
    Child(String),
    #[error("there are as many children as there may be, and all are busy")]
    TooManyChildren,
    #[error("too many requests of the session wait for the child")]
    TooManyRequests,
    #[error("the body is not to be read: {0}")]
    NotJsonRpc(NotJsonRpc),
    #[error("the body is no JSON-RPC message")]
    NotAMessage,
    #[error("the client accepts neither JSON nor events")]
    NotAcceptable,
    #[error("there is no session id")]
    NoSessionId,
    #[error("there is no such event to go on from")]
    NoSuchEvent,
}

/// The shape in which a request wants to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerTo {
    JsonRpc(Value),
    Other,
}

impl AnswerTo {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        if request.method() == Method::POST {
            // Read by whoever authorizes tools.
            let read = request.extensions().get::<JsonRpc>();
            Self::JsonRpc(read.map(JsonRpc::id).unwrap_or_default())
        } else {
            Self::Other
        }
    }
}

impl Trouble {
    /// Status, code, and what the client may know.
    fn outside(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NoCaller => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "something went wrong on this server",
            ),
            Self::OtherPath => (
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing at this path",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "use GET, POST or DELETE",
            ),
            Self::WebSocket => (
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "there are no websockets here: use streamable HTTP",
            ),
            Self::CannotSign(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "this server cannot do it at the moment, try again later",
            ),
            Self::NotReached(_) => (
                StatusCode::BAD_GATEWAY,
                "bad_gateway",
                "the MCP server behind this gateway cannot be reached",
            ),
            Self::ConnectTimedOut | Self::TimedOut => (
                StatusCode::GATEWAY_TIMEOUT,
                "gateway_timeout",
                "the MCP server behind this gateway did not answer in time",
            ),
            Self::Broken(_) => (
                StatusCode::BAD_GATEWAY,
                "bad_gateway",
                "the MCP server behind this gateway broke the exchange off; it may have acted on the request",
            ),
            Self::AsksForCredentials(_) | Self::RedirectsElsewhere(_) => (
                StatusCode::BAD_GATEWAY,
                "bad_gateway",
                "the MCP server behind this gateway is not set up for it; its operator finds the reason in the log",
            ),
            Self::NoSuchSession => (StatusCode::NOT_FOUND, "not_found", "there is no such session"),
            Self::Child(_) => (
                StatusCode::BAD_GATEWAY,
                "bad_gateway",
                "the MCP server behind this gateway cannot be started, or has ended",
            ),
            Self::TooManyChildren | Self::TooManyRequests => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "too many sessions or requests at the moment, try again later",
            ),
            Self::NotJsonRpc(why) => (
                why.status(),
                "invalid_request",
                "the body is too large or no strict JSON-RPC message",
            ),
            Self::NotAMessage => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the body is no JSON-RPC message",
            ),
            Self::NotAcceptable => (
                StatusCode::NOT_ACCEPTABLE,
                "invalid_request",
                "accept application/json and text/event-stream",
            ),
            Self::NoSessionId => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the header Mcp-Session-Id is needed: begin with initialize",
            ),
            Self::NoSuchEvent => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "there is no such event to go on from",
            ),
        }
    }

    fn json_rpc_code(&self, status: StatusCode) -> i32 {
        match self {
            Self::NotJsonRpc(why) => why.code(),
            _ if status.is_client_error() => INVALID_REQUEST,
            _ => INTERNAL_ERROR,
        }
    }

    /// Logs the reason and makes the answer.
    pub(crate) fn answer(&self, answer_to: &AnswerTo) -> Response<Body> {
        let (status, code, description) = self.outside();
        if status.is_server_error() && !matches!(self, Self::WebSocket) {
            tracing::warn!(reason = %self, status = status.as_u16(), "not passed on");
        } else {
            tracing::info!(reason = %self, status = status.as_u16(), "not passed on");
        }
        let body = match answer_to {
            AnswerTo::JsonRpc(id) => json!({
                "jsonrpc": "2.0",
                "id": id,
                "error": {"code": self.json_rpc_code(status), "message": description, "data": {"error": code}},
            }),
            AnswerTo::Other => json!({"error": code, "error_description": description}),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if matches!(self, Self::Method) {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
        }
        response
    }
}
