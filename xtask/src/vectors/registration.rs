//! Calls of the area `registration`: dynamic registration: redirect URIs, requests and answers, hooks.

use serde_json::Value;

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(_case: &Case, _rig: &Rig) -> Option<Value> {
    None
}
