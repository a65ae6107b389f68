//! Calls of the area `response_validation`: what a back end answered, checked for a tool.

use mcp_authflow_resource::response_validation::{ApiResponse, InvalidResponse, ResponseRules, json_error};
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    let value = match case.call.as_str() {
        "json_error" => json_error(case.text("message")?).into(),
        "validate_list_response" => match rules(case)?.list(&response(case)) {
            Ok(list) => json!({ "items": list.items, "error": null }),
            Err(error) => json!({ "items": [], "error": error.to_string() }),
        },
        "validate_dict_response" => match rules(case)?.object(&response(case)) {
            Ok(object) => json!({ "item": object, "error": null }),
            Err(error) => json!({ "item": null, "error": error.to_string() }),
        },
        "require_list" => required(rules(case)?.list(&response(case)).map(|list| list.items)),
        "require_dict" => required(rules(case)?.object(&response(case))),
        _ => return None,
    };
    Some(json!({ "value": value }))
}

/// The value, or the text in its place.
fn required(result: Result<impl serde::Serialize, InvalidResponse>) -> Value {
    match result {
        Ok(value) => json!(value),
        Err(error) => error.to_json().into(),
    }
}

/// With the back end's own words, as the Python package has it.
fn rules(case: &Case) -> Option<ResponseRules> {
    let rules = ResponseRules::new(case.text("context")?).dangerous_forward_all_errors();
    Some(match case.text("key") {
        Some(key) => rules.key(key),
        None => rules,
    })
}

fn response(case: &Case) -> ApiResponse {
    let response = case.arg("response");
    ApiResponse {
        success: response["success"] == true,
        error: response["error"].as_str().map(str::to_owned),
        data: read(&response["data"]),
    }
}

/// A number that JSON cannot write is still a number, wherever its type counts.
fn read(data: &Value) -> Value {
    match data {
        Value::Object(members) if members.contains_key("$num") || members.contains_key("$int") => json!(0),
        Value::Array(members) => members.iter().map(read).collect(),
        data => data.clone(),
    }
}
