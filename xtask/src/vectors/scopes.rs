//! Calls of the area `scopes`: a scope field, read without a check as the package does.

use mcp_authflow_types::scope::{InvalidScopeField, scope_field_unchecked};
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// What the package falls back on; here the caller says so.
const FALLBACK: &str = "read";

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    if case.call != "parse_scope_field" {
        return None;
    }
    Some(match scope_field_unchecked(case.arg("scopes"), FALLBACK) {
        Ok(scope) => json!({ "value": scope }),
        Err(InvalidScopeField::NotTexts(_)) => json!({ "error": { "kind": "wrong_type" } }),
        Err(_) => json!({ "error": { "kind": "other" } }),
    })
}
