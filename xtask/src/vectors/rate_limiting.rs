//! Calls of the area `rate_limiting`: the sliding-window rate limiter, in memory and on Redis.
//!
//! A case that calls what the seed did weak gets the limiter as it is. A plain case compares: there the wait is told by
//! the seed's formula, which the limiter offers beside its own. What Redis is sent is not compared (S-077: one script
//! instead of four commands); what is admitted and refused is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mcp_authflow::SlidingWindowRateLimiter;
use mcp_authflow::memory::MemoryRateLimit;
use mcp_authflow::port::RateLimit;
use mcp_authflow_redis::{RedisConfig, RedisConnection, RedisRateLimit};
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// The names of a trace's limiters, by their order.
const NAMES: [&str; 8] = [
    "limiter-0",
    "limiter-1",
    "limiter-2",
    "limiter-3",
    "limiter-4",
    "limiter-5",
    "limiter-6",
    "limiter-7",
];

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, rig: &Rig) -> Option<Value> {
    match case.call.as_str() {
        "rate_limit_trace" => Some(trace(case, rig).await),
        _ => None,
    }
}

/// Time as the trace has it.
#[derive(Clone, Default)]
struct TraceTime(Arc<AtomicU64>);

impl TraceTime {
    fn set(&self, seconds: f64) {
        let nanoseconds = Duration::try_from_secs_f64(seconds).map_or(0, |at| at.as_nanos());
        self.0
            .store(u64::try_from(nanoseconds).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn stopwatch(&self) -> Arc<dyn mcp_authflow::port::Stopwatch> {
        let time = self.0.clone();
        Arc::new(move || Duration::from_nanos(time.load(Ordering::SeqCst)))
    }
}

/// A limiter, and its memory where that can be looked into.
struct Subject {
    limiter: SlidingWindowRateLimiter,
    memory: Option<Arc<MemoryRateLimit>>,
}

async fn trace(case: &Case, rig: &Rig) -> Value {
    let config = match case.arg("config") {
        Value::Null => &case.args,
        config => config,
    };
    let settings: Vec<&Value> = match config["limiters"].as_array() {
        Some(several) => several.iter().collect(),
        None => vec![config],
    };
    let time = TraceTime::default();
    let mut subjects = Vec::new();
    for (settings, name) in settings.into_iter().zip(NAMES) {
        let backend = config["backend"].as_str().or(settings["backend"].as_str());
        let (backend, memory): (Arc<dyn RateLimit>, _) = if backend == Some("redis") {
            match on_redis(rig, &time).await {
                Ok(backend) => (backend, None),
                Err(error) => return json!({"no_redis": format!("{error:#}")}),
            }
        } else {
            let memory = Arc::new(MemoryRateLimit::new(time.stopwatch()));
            (memory.clone(), Some(memory))
        };
        match make(backend, name, settings) {
            Some(limiter) => subjects.push(Subject { limiter, memory }),
            None => return json!({"error": {"kind": "invalid_argument"}}),
        }
    }
    let mut steps = Vec::new();
    for step in case.arg("steps").as_array().into_iter().flatten() {
        time.set(step["at"].as_f64().unwrap_or_default());
        let number = step["limiter"].as_u64().unwrap_or_default();
        let subject = &subjects[usize::try_from(number).unwrap_or_default()];
        let value = subject.take(step, case.better.is_none()).await;
        steps.push(json!({"value": value}));
    }
    json!({ "steps": steps })
}

/// A backend on Redis that no other case shares.
async fn on_redis(rig: &Rig, time: &TraceTime) -> anyhow::Result<Arc<RedisRateLimit>> {
    static CASES: AtomicU64 = AtomicU64::new(0);
    let url = rig.redis_url().await?;
    let mut config = RedisConfig::new(url);
    config.prefix = format!(
        "vectors:{}:{}",
        std::process::id(),
        CASES.fetch_add(1, Ordering::Relaxed)
    );
    let redis = RedisConnection::connect(config).await?;
    let limiter = RedisRateLimit::new(redis, time.stopwatch(), 1);
    Ok(Arc::new(limiter.timed_by(time.stopwatch())))
}

/// Numbers that the limiter's types do not have are arguments that it refuses.
fn make(
    backend: Arc<dyn RateLimit>,
    name: &'static str,
    settings: &Value,
) -> Option<SlidingWindowRateLimiter> {
    let tries = u32::try_from(settings["requests_per_window"].as_u64()?).ok()?;
    let window = Duration::try_from_secs_f64(settings["window_seconds"].as_f64()?).ok()?;
    SlidingWindowRateLimiter::over(backend, name, tries, window).ok()
}

impl Subject {
    async fn take(&self, step: &Value, as_in_python: bool) -> Value {
        let key = step["key"].as_str().unwrap_or_default();
        let name = self.limiter.limit().name;
        match (step["op"].as_str(), &self.memory) {
            (Some("is_allowed"), _) => json!(self.limiter.is_allowed(key).await),
            (Some("get_retry_after"), _) if as_in_python => {
                json!(self.limiter.retry_after_as_in_python(key).await)
            }
            (Some("get_retry_after"), _) => json!(self.limiter.retry_after(key).await),
            (Some("tracked_keys"), Some(memory)) => json!(memory.keys_of(name)),
            (Some("tracked_entries"), Some(memory)) => json!(memory.tries_of(name, key)),
            (op, _) => json!({"unknown": op}),
        }
    }
}
