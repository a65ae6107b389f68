//! Calls of the area `storage`: the thirteen operations of the token storage, in memory, under the strict rules.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mcp_authflow::memory::MemoryTokenStorage;
use mcp_authflow::port::token_storage::{
    NewToken, TokenRecord, TokenStorage, TokenStorageError, UserId, hash_token, token_fingerprint,
};
use mcp_authflow_testkit::manual_clock::ManualClock;
use mcp_authflow_types::Timestamp;
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    Some(match case.call.as_str() {
        "hash_token" => json!({ "value": hash_token(case.text("token")?) }),
        "token_fingerprint" => json!({ "value": token_fingerprint(case.text("token")?) }),
        "error_is_a" => json!({ "value": error_is_a(case.text("error")?, case.text("base")?)? }),
        "storage_trace" => {
            let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
            let storage = MemoryTokenStorage::new(clock.clone());
            let mut trace = Trace::new(&storage);
            let mut steps = Vec::new();
            for step in case.arg("steps").as_array()? {
                clock.set(whole_second(step["at"].as_f64()?));
                steps.push(trace.step(step).await?);
            }
            json!({ "steps": steps })
        }
        _ => return None,
    })
}

/// The second in which a moment lies.
fn whole_second(at: f64) -> Timestamp {
    let since = Duration::try_from_secs_f64(at.max(0.0)).unwrap_or_default();
    Timestamp::from_seconds(0) + since
}

/// Python's classes of errors, by what they say of an error: ours says the same by asking it.
fn error_is_a(error: &str, base: &str) -> Option<bool> {
    let error = match error {
        "StorageConfigError" => TokenStorageError::Misconfigured(String::new()),
        "SchemaDriftError" => TokenStorageError::SchemaDrift(String::new()),
        "StorageNotInitializedError" => TokenStorageError::NotInitialized,
        // The base itself is none of the three, only final.
        "StorageError" => return Some(["StorageError", "Exception"].contains(&base)),
        _ => return None,
    };
    Some(match base {
        "StorageError" => error.is_final(),
        "ValueError" => error.is_invalid_argument(),
        "RuntimeError" => error.is_final() && !error.is_invalid_argument(),
        "Exception" => true,
        "StorageConfigError" => matches!(error, TokenStorageError::Misconfigured(_)),
        "SchemaDriftError" => matches!(error, TokenStorageError::SchemaDrift(_)),
        "StorageNotInitializedError" => error == TokenStorageError::NotInitialized,
        _ => return None,
    })
}

/// The steps of a trace, on any storage.
pub(super) struct Trace<'a> {
    storage: &'a dyn TokenStorage,
    /// Records that a step kept under a name.
    named: HashMap<String, TokenRecord>,
}

impl<'a> Trace<'a> {
    pub(super) fn new(storage: &'a dyn TokenStorage) -> Self {
        Self {
            storage,
            named: HashMap::new(),
        }
    }

    /// Takes a step; `None` for one that is not known.
    pub(super) async fn step(&mut self, step: &Value) -> Option<Value> {
        let args = &step["args"];
        let storage = self.storage;
        let token = args["token"].as_str().or_else(|| args["refresh_token"].as_str());
        let done = |answer: Result<(), TokenStorageError>| answered(answer, |()| Value::Null);
        Some(match step["op"].as_str()? {
            "initialize" => done(storage.initialize().await),
            "close" => {
                storage.close().await;
                json!({ "value": null })
            }
            "store_token" => match new_token(args) {
                Some(new) => done(storage.store_token(token?, &new).await),
                None => no_moment(),
            },
            "store_refresh_token" => match new_token(args) {
                Some(new) => done(storage.store_refresh_token(token?, &new).await),
                None => no_moment(),
            },
            "store_then_mutate_input" => {
                let mut new = new_token(args)?;
                let answer = storage.store_token(token?, &new).await;
                new.scopes.push("injected".to_owned());
                done(answer)
            }
            "load_token" => self.loaded(step, token?, storage.load_token(token?).await),
            "load_refresh_token" => self.loaded(step, token?, storage.load_refresh_token(token?).await),
            "mutate_loaded" => {
                let record = self.named.get_mut(args["step"].as_str()?)?;
                match args["what"].as_str()? {
                    "scopes" => record.scopes.push("injected".to_owned()),
                    "client_id" => "changed".clone_into(&mut record.client_id),
                    "expires_at" => record.expires_at = Timestamp::from_seconds(0),
                    "resource" => record.resource = Some("changed".to_owned()),
                    "user_id" => record.user_id = Some(UserId::Integer(-1)),
                    _ => return None,
                }
                json!({ "value": null })
            }
            "delete_token" => done(storage.delete_token(token?).await),
            "delete_refresh_token" => done(storage.delete_refresh_token(token?).await),
            "revoke_client_tokens" => {
                let revoked = storage.revoke_client_tokens(args["client_id"].as_str()?).await;
                answered(revoked, |count| json!(count))
            }
            "cleanup_expired_tokens" => {
                answered(storage.cleanup_expired_tokens().await, |count| json!(count))
            }
            "cleanup_expired_refresh_tokens" => {
                answered(storage.cleanup_expired_refresh_tokens().await, |count| {
                    json!(count)
                })
            }
            // The seed counts what is stored; ours says both.
            "get_token_count" => answered(storage.get_token_count().await, |count| json!(count.stored())),
            "get_refresh_token_count" => answered(storage.get_refresh_token_count().await, |count| {
                json!(count.stored())
            }),
            _ => return None,
        })
    }

    /// What a load answers. The seed hands the token back in the record, ours leaves it with whoever asked.
    fn loaded(
        &mut self,
        step: &Value,
        token: &str,
        answer: Result<Option<TokenRecord>, TokenStorageError>,
    ) -> Value {
        if let (Some(name), Ok(Some(record))) = (step["name"].as_str(), &answer) {
            self.named.insert(name.to_owned(), record.clone());
        }
        answered(answer, |found| {
            found.map_or(Value::Null, |record| {
                json!({
                    "token": token,
                    "client_id": record.client_id,
                    "scopes": record.scopes,
                    "resource": record.resource,
                    "expires_at": record.expires_at,
                    "created_at": record.created_at,
                    "user_id": match record.user_id {
                        None => Value::Null,
                        Some(UserId::Integer(id)) => id.into(),
                        Some(UserId::Text(id)) => id.into(),
                    },
                })
            })
        })
    }
}

/// What is to be stored; `None` when the moment is one that our types cannot say.
fn new_token(args: &Value) -> Option<NewToken> {
    let expires_at = Timestamp::from_seconds(args["expires_at"].as_i64()?);
    let mut new = NewToken::new(args["client_id"].as_str().unwrap_or_default(), expires_at);
    new.scopes = args["scopes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    new.resource = args["resource"].as_str().map(str::to_owned);
    new.user_id = match &args["user_id"] {
        Value::String(id) => Some(UserId::Text(id.clone())),
        id => id.as_i64().map(UserId::Integer),
    };
    Some(new)
}

/// A moment of more than 64 bits has no form in our types: whoever reads one refuses it first.
fn no_moment() -> Value {
    json!({ "error": { "kind": "invalid_argument" } })
}

fn answered<T>(answer: Result<T, TokenStorageError>, print: impl FnOnce(T) -> Value) -> Value {
    match answer {
        Ok(answer) => json!({ "value": print(answer) }),
        Err(error) => json!({ "error": { "kind": kind(&error) } }),
    }
}

fn kind(error: &TokenStorageError) -> &'static str {
    match error {
        TokenStorageError::Misconfigured(_) => "storage_config",
        TokenStorageError::SchemaDrift(_) => "schema_drift",
        TokenStorageError::NotInitialized => "not_initialized",
        TokenStorageError::InvalidArgument(_) | TokenStorageError::OtherClients => "invalid_argument",
        _ => "other",
    }
}

/// The clock of a trace that a storage goes by must tell fractions of a second, too.
pub(super) fn moment(at: f64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + Duration::try_from_secs_f64(at.max(0.0)).unwrap_or_default()
}
