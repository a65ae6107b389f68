//! Calls of the area `validation`: client identifiers and list fields.

use mcp_authflow_types::client_id::is_plain_client_id;
use mcp_authflow_types::json_list::parse_json_list;
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    match case.call.as_str() {
        "validate_client_id" => {
            let is_one = case.text("client_id").is_some_and(is_plain_client_id);
            Some(json!({ "value": is_one }))
        }
        "parse_json_field" => {
            let default: Vec<String> = case
                .arg("default")
                .as_array()?
                .iter()
                .map(|member| member.as_str().map(str::to_owned))
                .collect::<Option<_>>()?;
            Some(match parse_json_list(case.arg("value"), &default) {
                Ok(list) => json!({ "value": list }),
                Err(_) => json!({ "error": { "kind": "wrong_type" } }),
            })
        }
        _ => None,
    }
}
