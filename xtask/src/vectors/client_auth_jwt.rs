//! Calls of the area `client_auth_jwt`: `private_key_jwt`: assertions against key sets, replay traces.
//!
//! The policy is the one for who moves over from the Python package; what the server's own policy does better is shown by
//! its tests. A trace stands at times of its own, and a memory in Redis goes by the clock of Redis: traces that ask for it
//! run on the memory of one process, which answers the same. `mcp-authflow-redis` shows its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use mcp_authflow::client_auth::private_key_jwt::{
    AssertionError, AssertionPolicy, JWT_CLIENT_ASSERTION_TYPE, JwtClientAuthenticator,
};
use mcp_authflow::memory::MemoryReplay;
use mcp_authflow::port::{ClientKeySource, ClientKeysError, Clock, Freshness};
use mcp_authflow_jose::{KeySet, KeySetLimits, NumericDate};
use mcp_authflow_types::Timestamp;
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    match case.call.as_str() {
        "authenticate" => authenticate(case).await,
        "authenticate_trace" => trace(case).await,
        _ => None,
    }
}

async fn authenticate(case: &Case) -> Option<Value> {
    let keys = match case.text("jwks_provider_error") {
        Some(error) => Err(ClientKeysError::Unavailable(error.to_owned())),
        None => parse(case.arg("jwks")),
    };
    let keys = Keys {
        of_all: Some(keys),
        by_client: BTreeMap::new(),
    };
    let authenticator = authenticator(case, keys, &Arc::new(MemoryReplay::new()))?;
    let assertion_type = case
        .text("client_assertion_type")
        .unwrap_or(JWT_CLIENT_ASSERTION_TYPE);
    let outcome = authenticator
        .authenticate_at(
            case.text("client_id")?,
            case.text("client_assertion")?,
            assertion_type,
            moment(&json!(case.now?))?,
        )
        .await;
    Some(result(&outcome))
}

async fn trace(case: &Case) -> Option<Value> {
    let by_client = case.arg("jwks_by_client").as_object();
    let keys = Keys {
        of_all: by_client.is_none().then(|| parse(case.arg("jwks"))),
        by_client: by_client
            .into_iter()
            .flatten()
            .map(|(client, jwks)| (client.clone(), parse(jwks)))
            .collect(),
    };
    let replay = Arc::new(MemoryReplay::new());
    let authenticator = authenticator(case, keys, &replay)?;
    let mut steps = Vec::new();
    for step in case.arg("steps").as_array()? {
        if step["op"] == "tracked_jtis" {
            steps.push(json!({"value": replay.len()}));
            continue;
        }
        let assertion = case.arg("assertions")[step["assertion"].as_str()?].as_str()?;
        let outcome = authenticator
            .authenticate_at(
                step["client_id"].as_str()?,
                assertion,
                JWT_CLIENT_ASSERTION_TYPE,
                moment(&step["at"])?,
            )
            .await;
        steps.push(result(&outcome));
    }
    Some(json!({ "steps": steps }))
}

fn authenticator(case: &Case, keys: Keys, replay: &Arc<MemoryReplay>) -> Option<JwtClientAuthenticator> {
    Some(JwtClientAuthenticator::new(
        AssertionPolicy::like_the_python_package(case.text("token_endpoint")?),
        Arc::new(keys),
        replay.clone(),
        Arc::new(NoClock),
    ))
}

fn moment(seconds: &Value) -> Option<NumericDate> {
    NumericDate::parse(seconds)
}

fn result(outcome: &Result<(), AssertionError>) -> Value {
    match outcome {
        Ok(()) => json!({"value": true}),
        Err(AssertionError::Refused(reason)) => {
            json!({"error": {"kind": "client_auth", "code": reason.code()}})
        }
        Err(AssertionError::CannotCheck(_) | AssertionError::KeysOutOfReach(_)) => {
            json!({"error": {"kind": "client_auth", "code": "cannot_check"}})
        }
    }
}

/// What a client's provider answers, as the Python package takes it.
fn parse(jwks: &Value) -> Result<Arc<KeySet>, ClientKeysError> {
    // The package has no bounds, and our defaults are those of documents that strangers wrote.
    let limits = KeySetLimits {
        max_bytes: 4 * 1024 * 1024,
        max_keys: 4096,
    };
    if jwks.is_null() {
        return Err(ClientKeysError::None);
    }
    KeySet::parse_within(jwks.to_string().as_bytes(), limits)
        .map(Arc::new)
        .map_err(|error| ClientKeysError::Unusable(error.to_string()))
}

/// The keys that a case gives: the same to every client, or each its own.
struct Keys {
    of_all: Option<Result<Arc<KeySet>, ClientKeysError>>,
    by_client: BTreeMap<String, Result<Arc<KeySet>, ClientKeysError>>,
}

#[async_trait::async_trait]
impl ClientKeySource for Keys {
    async fn client_keys(&self, client_id: &str, _: Freshness) -> Result<Arc<KeySet>, ClientKeysError> {
        let keys = self.of_all.as_ref().or_else(|| self.by_client.get(client_id));
        keys.cloned().unwrap_or(Err(ClientKeysError::None))
    }
}

/// Every call says when it is; nobody asks the clock.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(0)
    }
}
