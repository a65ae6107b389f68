//! Calls of the area `pkce`: verifiers, challenges and methods.

use mcp_authflow_types::pkce::{MethodPolicy, is_code_challenge, is_code_verifier, verify_pkce};
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    let value: Value = match case.call.as_str() {
        "verify_pkce" => verify_pkce(
            case.text("code_verifier")?,
            case.text("code_challenge")?,
            case.text("method"),
            policy(case),
        )
        .into(),
        "validate_code_verifier" => case.text("value").is_some_and(is_code_verifier).into(),
        "validate_code_challenge" => case.text("value").is_some_and(is_code_challenge).into(),
        "validate_code_challenge_method" => policy(case).admit(case.text("method")).is_some().into(),
        "constant" => constant(case.text("name")?)?,
        _ => return None,
    };
    Some(json!({ "value": value }))
}

/// The package allows `plain` unless told otherwise, and takes a null for no.
fn policy(case: &Case) -> MethodPolicy {
    let is_allowed = case
        .args
        .get("allow_plain")
        .is_none_or(|flag| flag.as_bool() == Some(true));
    if is_allowed {
        MethodPolicy::DangerousAllowPlain
    } else {
        MethodPolicy::S256Only
    }
}

fn constant(name: &str) -> Option<Value> {
    use mcp_authflow_types::pkce::Method;

    let (module, name) = name.rsplit_once('.')?;
    if !matches!(module, "mcp_authflow" | "mcp_authflow.pkce") {
        return None;
    }
    let spelled = |policy: MethodPolicy| {
        let mut methods: Vec<&str> = policy.methods().iter().map(|method| method.as_str()).collect();
        methods.sort_unstable();
        methods
    };
    Some(match name {
        "S256" => Method::S256.as_str().into(),
        "PLAIN" => Method::Plain.as_str().into(),
        "ALLOWED_CODE_CHALLENGE_METHODS" => spelled(MethodPolicy::DangerousAllowPlain).into(),
        "S256_ONLY_CODE_CHALLENGE_METHODS" => spelled(MethodPolicy::S256Only).into(),
        _ => return None,
    })
}
