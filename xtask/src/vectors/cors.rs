//! Calls of the area `cors`: the list of origins, the origin's choice, the headers.

use mcp_authflow_types::cors::{
    ALLOWED_ORIGINS_VARIABLE, AllowedOrigins, CorsPolicy, CorsRequest, split_origins,
};
use serde_json::{Map, Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    let value: Value = match case.call.as_str() {
        "parse_allowed_origins" => {
            let variable = case.text("env_var").unwrap_or(ALLOWED_ORIGINS_VARIABLE);
            let text = case.arg("env").get(variable).and_then(Value::as_str);
            split_origins(text.unwrap_or_default()).into()
        }
        "get_cors_origin" => {
            let origin = allowed(case)?.admit(&sent(case, "origin")?);
            origin.unwrap_or_default().into()
        }
        "build_cors_headers" => {
            let request = CorsRequest {
                origins: &sent(case, "origin")?,
                is_preflight: case.text("method") == Some("OPTIONS")
                    && !sent(case, "access-control-request-method")?.is_empty(),
            };
            let headers = CorsPolicy::discovery(allowed(case)?).headers(request);
            let headers: Map<String, Value> = headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            headers.into()
        }
        _ => return None,
    };
    Some(json!({ "value": value }))
}

fn allowed(case: &Case) -> Option<AllowedOrigins> {
    let members = case.arg("allowed_origins").as_array()?;
    let members: Option<Vec<&str>> = members.iter().map(Value::as_str).collect();
    Some(AllowedOrigins::as_listed(members?))
}

/// The values of a header, however its name is spelled.
fn sent<'a>(case: &'a Case, name: &str) -> Option<Vec<&'a str>> {
    let pairs = case.arg("headers").as_array()?;
    Some(
        pairs
            .iter()
            .filter(|pair| pair[0].as_str().is_some_and(|one| one.eq_ignore_ascii_case(name)))
            .map(|pair| pair[1].as_str().unwrap_or_default())
            .collect(),
    )
}
