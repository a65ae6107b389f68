//! Calls of the area `registration`: dynamic registration: redirect URIs, requests and answers, hooks.
//!
//! The handler is made by the rules of the Python package, whose good answers the plain cases are.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::Engine as _;
use mcp_authflow::{
    SlidingWindowRateLimiter,
    port::{Clock, Entropy, rate_limit::Admission},
    registration::{
        AfterRegistration, ClientRegistrationRequest, ClientRegistry, HookError, IssuedClient,
        MemoryClientRegistry, RegisteredClient, RegistrationGate, RegistrationHandler, RegistrationLimiter,
        RegistrationReply, RegistrationRules, RegistryError, RequestHead, validate_redirect_uri,
    },
};
use mcp_authflow_testkit::{manual_clock::ManualClock, seeded_entropy::SeededEntropy};
use mcp_authflow_types::Timestamp;
use serde_json::{Map, Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    match case.call.as_str() {
        "validate_redirect_uri" => Some(json!({"value": validate_redirect_uri(case.text("uri")?)})),
        "register" => {
            let scene = Scene::new(case.arg("config"))?;
            Some(scene.register(case.now?, case.arg("request")).await)
        }
        "register_trace" => {
            let scene = Scene::new(case.arg("config"))?;
            let mut steps = Vec::new();
            for step in case.arg("steps").as_array()? {
                steps.push(scene.register(step["at"].as_f64()?, &step["request"]).await);
            }
            Some(json!({ "steps": steps }))
        }
        _ => None,
    }
}

/// A handler as a case configures it, and what its plugs have seen.
struct Scene {
    handler: RegistrationHandler,
    registry: Arc<Watched>,
    clock: Arc<ManualClock>,
    /// The same moment with its fraction, for the limiter.
    elapsed: Arc<Mutex<Duration>>,
    hook_calls: Arc<Mutex<usize>>,
}

/// A registry that notes what it was asked.
struct Watched {
    registry: MemoryClientRegistry,
    fails: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    asked: Option<Map<String, Value>>,
    created: Vec<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl ClientRegistry for Watched {
    async fn create_client(
        &self,
        request: &ClientRegistrationRequest,
    ) -> Result<IssuedClient, RegistryError> {
        locked(&self.seen).asked = Some(request.extra.clone());
        if self.fails {
            return Err("it fails as the case asks".into());
        }
        let issued = self.registry.create_client(request).await?;
        locked(&self.seen).created.push(issued.client.client_id.clone());
        Ok(issued)
    }

    async fn get_client(&self, client_id: &str) -> Result<Option<RegisteredClient>, RegistryError> {
        self.registry.get_client(client_id).await
    }
}

/// `Authorization: Bearer` and exactly this.
struct Exactly(String);

#[async_trait::async_trait]
impl RegistrationGate for Exactly {
    async fn admits(&self, head: &RequestHead<'_>) -> bool {
        head.only("authorization")
            .and_then(|header| header.strip_prefix("Bearer "))
            == Some(self.0.as_str())
    }
}

/// The limiter, with the whole seconds that the Python package tells.
struct Limiter(SlidingWindowRateLimiter);

#[async_trait::async_trait]
impl RegistrationLimiter for Limiter {
    async fn admit(&self, key: &str) -> Admission {
        match self.0.admit(key).await {
            Admission::Admitted => Admission::Admitted,
            Admission::Refused { .. } => Admission::Refused {
                retry_after: Duration::from_secs(self.0.retry_after_as_in_python(key).await),
            },
        }
    }
}

struct Hook {
    calls: Arc<Mutex<usize>>,
    fails: bool,
}

#[async_trait::async_trait]
impl AfterRegistration for Hook {
    async fn registered(&self, _: &RegisteredClient) -> Result<(), HookError> {
        *locked(&self.calls) += 1;
        if self.fails {
            Err("it fails as the case asks".into())
        } else {
            Ok(())
        }
    }
}

impl Scene {
    /// `None` for a configuration that has no plug here.
    fn new(config: &Value) -> Option<Self> {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
        let elapsed = Arc::new(Mutex::new(Duration::ZERO));
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let registry = Arc::new(Watched {
            registry: MemoryClientRegistry::new(clock.clone() as Arc<dyn Clock>, entropy).with_lifetime(None),
            fails: match config["registry"].as_str() {
                None => false,
                Some("fails") => true,
                Some(_) => return None,
            },
            seen: Mutex::default(),
        });
        let hook_calls = Arc::new(Mutex::new(0));
        let default_scope = config["default_scope"].as_str().unwrap_or("mcp:tools");
        let mut builder = RegistrationHandler::builder(registry.clone(), default_scope)
            .rules(RegistrationRules::AsPythonPackage)
            .default_redirect_uris(texts(&config["default_redirect_uris"]));
        builder = match config["redirect_uri_validator"].as_str() {
            None => builder,
            Some("off") => builder.dangerous_accept_any_redirect_uri(),
            Some("reject_all") => builder.validate_redirect_uris(|_| false),
            Some("allow_custom_scheme") => {
                builder.validate_redirect_uris(|uri| uri.starts_with("com.example.app:/"))
            }
            Some(_) => return None,
        };
        for name in texts(&config["rewriters"]) {
            let rewrite = rewriter(&name)?;
            builder = builder.rewrite_redirect_uris(rewrite);
        }
        if let Some(limit) = config.get("rate_limit") {
            let tries = u32::try_from(limit["requests_per_window"].as_u64()?).ok()?;
            let window = Duration::from_secs_f64(limit["window_seconds"].as_f64()?);
            let elapsed = elapsed.clone();
            let stopwatch = Arc::new(move || *locked(&elapsed));
            let limiter =
                SlidingWindowRateLimiter::in_memory("registration", tries, window, stopwatch).ok()?;
            builder = builder.limiter(Limiter(limiter));
        }
        if let Some(token) = config["initial_access_token"].as_str() {
            builder = builder.gate(Exactly(token.to_owned()));
        }
        if let Some(header) = config["client_ip_from"].as_str() {
            let header = header.to_owned();
            builder = builder.client_address(move |head| {
                let first = head.values(&header).next()?.split(',').next()?;
                Some(first.trim().to_owned())
            });
        }
        if let Some(name) = config["client_name_fixed"].as_str() {
            let name = name.to_owned();
            builder = builder.client_name(move |_| Some(name.clone()));
        }
        if let Some(hook) = config["hook"].as_str() {
            builder = builder.after_registration(Hook {
                calls: hook_calls.clone(),
                fails: hook == "fails",
            });
        }
        Some(Self {
            handler: builder.build(),
            registry,
            clock,
            elapsed,
            hook_calls,
        })
    }

    async fn register(&self, now: f64, request: &Value) -> Value {
        #[expect(clippy::cast_possible_truncation, reason = "the clock shows whole seconds")]
        self.clock.set(Timestamp::from_seconds(now.floor() as i64));
        *locked(&self.elapsed) = Duration::from_secs_f64(now.max(0.0));
        *locked(&self.registry.seen) = Seen::default();
        *locked(&self.hook_calls) = 0;

        let headers: Vec<(&str, &str)> = request["headers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?)))
            .collect();
        let peer = request["client"][0]
            .as_str()
            .and_then(|peer| peer.parse::<IpAddr>().ok());
        let head = RequestHead {
            headers: &headers,
            peer,
        };
        let reply = self.handler.handle(&head, &body(request)).await;

        let seen = std::mem::take(&mut *locked(&self.registry.seen));
        let mut result = json!({"http": http(&reply), "clients_created": seen.created.len()});
        if let Some(id) = seen.created.first() {
            let is_there = async |id: &str| {
                self.registry
                    .get_client(id)
                    .await
                    .is_ok_and(|client| client.is_some())
            };
            result["found_after"] = is_there(id).await.into();
            result["unknown_absent"] = (!is_there("unknown").await).into();
        }
        if let Some(extra) = seen.asked {
            result["registry_saw_extra"] = extra.into();
        }
        match *locked(&self.hook_calls) {
            0 => {}
            calls => result["hook_calls"] = calls.into(),
        }
        result
    }
}

fn http(reply: &RegistrationReply) -> Value {
    let headers: Vec<Value> = reply
        .headers
        .iter()
        .map(|(name, value)| json!([name, value]))
        .collect();
    let body: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    json!({"status": reply.status, "headers": headers, "body": body})
}

fn body(request: &Value) -> Vec<u8> {
    if let Some(text) = request["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(encoded) = request["b64"].as_str() {
        return base64::prelude::BASE64_STANDARD
            .decode(encoded)
            .unwrap_or_default();
    }
    if let Some(parts) = request["repeat"].as_object() {
        let text = |name: &str| parts.get(name).and_then(Value::as_str).unwrap_or_default();
        let count = parts
            .get("count")
            .and_then(Value::as_u64)
            .and_then(|count| usize::try_from(count).ok());
        return format!(
            "{}{}{}",
            text("head"),
            text("unit").repeat(count.unwrap_or(0)),
            text("tail")
        )
        .into_bytes();
    }
    request
        .get("json")
        .map_or_else(Vec::new, |json| json.to_string().into_bytes())
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn rewriter(name: &str) -> Option<fn(Vec<String>) -> Vec<String>> {
    Some(match name {
        "append_debug" => |uris| {
            let copies: Vec<String> = uris.iter().map(|uri| uri.replace("/cb", "/debug")).collect();
            uris.into_iter().chain(copies).collect()
        },
        "drop_all" => |_| Vec::new(),
        "reverse" => |uris| uris.into_iter().rev().collect(),
        "add_http_evil" => |mut uris| {
            uris.push("http://evil.example/cb".to_owned());
            uris
        },
        "strip_slash" => |uris| {
            uris.iter()
                .map(|uri| uri.trim_end_matches('/').to_owned())
                .collect()
        },
        _ => return None,
    })
}
