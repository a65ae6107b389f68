//! What a request is told that does not get to its tools, apart from a missing scope: JSON-RPC errors, since that is
//! what the client reads.

use bytes::Bytes;
use http::{Response, StatusCode};
use mcp_authflow_types::{ErrorCode, ErrorResponse};
use serde_json::{Value, json};

use super::{headers::Mismatch, policy::Denied};
use crate::{json_rpc::NotJsonRpc, refusal};

/// MCP 2026-07-28: `HeaderMismatch`.
const HEADER_MISMATCH: i32 = -32_020;
/// What the MCP SDKs say of a session that is not there.
const UNKNOWN_SESSION: i32 = -32_001;
/// JSON-RPC 2.0 §5.1; what MCP servers say of a tool that is not there.
const INVALID_PARAMS: i32 = -32_602;
const INTERNAL_ERROR: i32 = -32_603;

fn answer(status: StatusCode, id: &Value, code: i32, message: &str) -> Response<Bytes> {
    let body = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
    refusal::json(status.as_u16(), body.to_string())
}

pub(super) fn not_json_rpc(why: NotJsonRpc, id: &Value) -> Response<Bytes> {
    tracing::info!(reason = %why, "refused");
    answer(why.status(), id, why.code(), &why.to_string())
}

/// M-131
pub(super) fn header_mismatch(mismatch: Mismatch, id: &Value) -> Response<Bytes> {
    tracing::info!(reason = %mismatch, "refused");
    answer(
        StatusCode::BAD_REQUEST,
        id,
        HEADER_MISMATCH,
        &mismatch.to_string(),
    )
}

/// No challenge: no scope would help.
pub(super) fn denied(denied: &Denied, id: &Value) -> Response<Bytes> {
    tracing::info!(reason = %denied, "refused");
    answer(StatusCode::FORBIDDEN, id, INVALID_PARAMS, &denied.to_string())
}

/// As a session that has ended: the client begins a new one (MCP 2025-11-25, *Session Management*).
pub(super) fn unknown_session() -> Response<Bytes> {
    tracing::info!(
        reason = "a session or event id is unknown, or was made for another caller",
        "refused"
    );
    answer(
        StatusCode::NOT_FOUND,
        &Value::Null,
        UNKNOWN_SESSION,
        "Session not found",
    )
}

pub(super) fn bad_answer() -> Response<Bytes> {
    answer(
        StatusCode::BAD_GATEWAY,
        &Value::Null,
        INTERNAL_ERROR,
        "the server's answer cannot be read",
    )
}

/// A fault of the program, not of the caller.
pub(super) fn without_caller() -> Response<Bytes> {
    let error = ErrorResponse::new(ErrorCode::ServerError);
    refusal::json(error.status(), error.body())
}
