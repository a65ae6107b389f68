//! Calls of the area `ssrf`: is an address one that may be called?

use mcp_authflow_resource::safe_url::is_safe_url;
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    if case.call != "is_safe_url" {
        return None;
    }
    let allow_localhost = case.arg("allow_localhost").as_bool().unwrap_or(true);
    // What is no text in our sense, with half a surrogate pair, can be no address.
    let is_safe = case
        .text("url")
        .is_some_and(|url| is_safe_url(url, allow_localhost));
    Some(json!({ "value": is_safe }))
}
