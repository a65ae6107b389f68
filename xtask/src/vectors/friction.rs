//! Calls of the area `friction`: the window, the controller, the registry and the guard before a tool.
//!
//! All cases run with the settings under which our parts count as the seed did (time is felt when a call is recorded,
//! raised targets stay, clients that make room are remembered by their friction alone), so that every number is compared.
//! That our defaults are better where the vectors ask for it is shown by tests beside the code. What makes no sense is
//! refused when it is made, in all cases.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp_authflow_resource::friction::{
    Carry, ControllerConfig, ControllerStatus, Decay, FrictionController, FrictionEvent, FrictionGuard,
    FrictionObserver, FrictionRegistry, FrictionResult, InvalidFriction, SlidingWindow, ToolFrictionConfig,
    ToolGroupConfig, WithoutCaller,
};
use serde_json::{Map, Value, json};

use super::case::Case;
use super::json::Json;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    let steps = match case.call.as_str() {
        "window_trace" => window_trace(case),
        "controller_trace" => controller_trace(case),
        "registry_trace" => registry_trace(case),
        "decorator_trace" => decorator_trace(case).await,
        _ => return None,
    };
    Some(match steps {
        Ok(steps) => json!({ "steps": steps }),
        Err(_) => json!({ "error": { "kind": "invalid_argument" } }),
    })
}

fn steps(case: &Case) -> impl Iterator<Item = &Value> {
    case.arg("steps").as_array().into_iter().flatten()
}

fn text<'a>(step: &'a Value, name: &str) -> &'a str {
    step[name].as_str().unwrap_or_default()
}

/// A number, also one that JSON cannot write.
fn number(value: &Value) -> Option<f64> {
    match value["$num"].as_str() {
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some("nan") => Some(f64::NAN),
        _ => value.as_f64(),
    }
}

/// The number as the vectors write it.
fn written(value: f64) -> Value {
    if value.is_nan() {
        json!({ "$num": "nan" })
    } else if value.is_infinite() {
        json!({ "$num": if value > 0.0 { "inf" } else { "-inf" } })
    } else {
        json!(value)
    }
}

/// A count; none that is negative, which the seed takes for 0.
fn whole(value: &Value) -> Option<u32> {
    if value.as_i64().is_some_and(|value| value < 0) {
        return Some(0);
    }
    value.as_u64().and_then(|value| u32::try_from(value).ok())
}

/// When the step happens, and how often: the moments one after another.
fn moments(step: &Value) -> Vec<Duration> {
    /// Monotonic clocks start anywhere; here far enough from 0 that a trace may look back.
    const START: f64 = 1_000_000.0;
    let (at, dt) = (
        number(&step["at"]).unwrap_or_default(),
        number(&step["dt"]).unwrap_or_default(),
    );
    let repeat = step["repeat"].as_u64().unwrap_or(1);
    let mut moments = Vec::new();
    let mut seconds = at;
    for _ in 0..repeat {
        moments.push(Duration::try_from_secs_f64(START + seconds).unwrap_or_default());
        seconds += dt;
    }
    moments
}

fn is_repeated(step: &Value) -> bool {
    !step["repeat"].is_null()
}

/// The settings given, and for all others the seed's.
fn controller_config(config: &Value) -> ControllerConfig {
    let mut settings = ControllerConfig {
        target_return_rate: 0.0,
        decay: Decay::WhenRecorded,
        ..ControllerConfig::default()
    };
    let mut put = |name: &str, field: fn(&mut ControllerConfig) -> &mut f64| {
        if let Some(value) = number(&config[name]) {
            *field(&mut settings) = value;
        }
    };
    put("ema_alpha", |settings| &mut settings.ema_alpha);
    put("adjustment_rate", |settings| &mut settings.adjustment_rate);
    put("asymmetric_decay", |settings| &mut settings.asymmetric_decay);
    put("dead_zone", |settings| &mut settings.dead_zone);
    put("time_decay_rate", |settings| &mut settings.time_decay_rate);
    put("default_budget", |settings| &mut settings.default_budget);
    put("saturation_threshold", |settings| {
        &mut settings.saturation_threshold
    });
    put("saturation_relief_rate", |settings| {
        &mut settings.saturation_relief_rate
    });
    // A rate below 0 is none for the seed too.
    settings.time_decay_rate = settings.time_decay_rate.max(0.0);
    let mut put = |name: &str, field: fn(&mut ControllerConfig) -> &mut u32| {
        if let Some(value) = whole(&config[name]) {
            *field(&mut settings) = value;
        }
    };
    put("window_size", |settings| &mut settings.window_size);
    put("warmup_calls", |settings| &mut settings.warmup_calls);
    put("saturation_window", |settings| &mut settings.saturation_window);
    settings
}

fn tool_config(config: &Value) -> ToolFrictionConfig {
    let mut settings = ToolFrictionConfig::default();
    let mut put = |name: &str, field: fn(&mut ToolFrictionConfig) -> &mut f64| {
        if let Some(value) = number(&config[name]) {
            *field(&mut settings) = value;
        }
    };
    put("target_rate", |settings| &mut settings.target_rate);
    put("min_cost", |settings| &mut settings.min_cost);
    put("max_cost", |settings| &mut settings.max_cost);
    put("justification_threshold", |settings| {
        &mut settings.justification_threshold
    });
    put("hard_block_threshold", |settings| {
        &mut settings.hard_block_threshold
    });
    settings
}

fn group_config(config: &Value) -> ToolGroupConfig {
    let default = ToolGroupConfig::default();
    let tools = config["tools"].as_array().into_iter().flatten();
    ToolGroupConfig {
        tools: tools.filter_map(Value::as_str).map(str::to_owned).collect(),
        aggregate_target: number(&config["aggregate_target"]).unwrap_or(default.aggregate_target),
        pressure_weight: number(&config["pressure_weight"]).unwrap_or(default.pressure_weight),
    }
}

/// The members of an argument, in their order: it is the order of configuration.
fn named<T>(case: &Case, argument: &str, read: fn(&Value) -> T) -> Vec<(String, T)> {
    let Some(Json::Object(members)) = case.args_as_written.member(argument) else {
        return Vec::new();
    };
    let members = members.iter();
    members
        .map(|(name, config)| (name.clone(), read(&config.to_value())))
        .collect()
}

fn full(result: &FrictionResult) -> Value {
    json!({
        "allowed": result.allowed,
        "level": result.friction_level.as_str(),
        "friction": result.friction,
        "cost": result.cost,
        "current_rate": result.current_rate,
        "target_rate": result.target_rate,
        "effective_target": result.effective_target,
        "justification_required": result.justification_required,
        "saturation_detected": result.saturation_detected,
        "over_target": result.is_over_target(),
        "message": result.message(),
    })
}

/// One result, or the short form of many.
fn told(step: &Value, results: &[FrictionResult]) -> Value {
    let Some(last) = results.last() else {
        return json!({ "value": null });
    };
    if !is_repeated(step) {
        return json!({ "value": full(last) });
    }
    let levels = results.iter().map(|result| &result.friction_level.as_str()[..1]);
    json!({
        "friction": results.iter().map(|result| result.friction).collect::<Vec<_>>(),
        "allowed": results.iter().filter(|result| result.allowed).count(),
        "levels": levels.collect::<String>(),
        "last": full(last),
    })
}

fn status(status: &ControllerStatus) -> Value {
    serde_json::to_value(&status.tools).unwrap_or_default()
}

fn window_trace(case: &Case) -> Result<Vec<Value>, InvalidFriction> {
    let size = case.arg("max_size");
    let mut window = SlidingWindow::new(if size.is_null() {
        100
    } else {
        whole(size).unwrap_or_default()
    })?;
    let answer = |step: &Value| {
        let tool = text(step, "tool");
        let value = match text(step, "op") {
            "record" => {
                for _ in 0..step["repeat"].as_u64().unwrap_or(1) {
                    window.record(tool, number(&step["cost"]).unwrap_or_default());
                }
                Value::Null
            }
            "count" => json!(window.count(tool)),
            "rate" => json!(window.rate(tool)),
            "rates" => window
                .rates()
                .iter()
                .map(|(tool, rate)| (tool.to_string(), json!(rate)))
                .collect(),
            "total" => json!(window.total()),
            "is_full" => json!(window.is_full()),
            "total_cost" => written(window.total_cost()),
            other => json!(format!("unknown op {other}")),
        };
        json!({ "value": value })
    };
    Ok(steps(case).map(answer).collect())
}

fn controller_trace(case: &Case) -> Result<Vec<Value>, InvalidFriction> {
    let mut friction = FrictionController::new(
        controller_config(case.arg("config")),
        named(case, "tools", tool_config),
        named(case, "groups", group_config),
    )?;
    let mut now = Duration::ZERO;
    let mut answers = Vec::new();
    for step in steps(case) {
        let moments = moments(step);
        if !step["at"].is_null() {
            now = moments.last().copied().unwrap_or(now);
        }
        answers.push(controller_step(&mut friction, step, &moments, now)?);
    }
    Ok(answers)
}

fn controller_step(
    friction: &mut FrictionController,
    step: &Value,
    moments: &[Duration],
    now: Duration,
) -> Result<Value, InvalidFriction> {
    let tool = text(step, "tool");
    let levels = |friction: &FrictionController| -> Value {
        let levels = friction.friction_levels();
        levels
            .iter()
            .map(|(tool, level)| (tool.to_string(), json!(level)))
            .collect()
    };
    let value = match text(step, "op") {
        "check" => {
            return Ok(told(
                step,
                &moments
                    .iter()
                    .map(|_| friction.check(tool, now))
                    .collect::<Vec<_>>(),
            ));
        }
        "record_call" => {
            let results: Vec<_> = moments.iter().map(|at| friction.record_call(tool, *at)).collect();
            return Ok(told(step, &results));
        }
        "check_then_record" => {
            let check_then_record = |at: &Duration| {
                let result = friction.check(tool, *at);
                if result.allowed {
                    friction.record_call(tool, *at);
                }
                result
            };
            return Ok(told(
                step,
                &moments.iter().map(check_then_record).collect::<Vec<_>>(),
            ));
        }
        "cycle" => {
            let tools = step["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
            let of_each = moments.iter().zip(tools.iter().cycle()).map(|(at, tool)| {
                let result = friction.record_call(tool.as_str().unwrap_or_default(), *at);
                let is_configured = friction.friction_levels().contains_key(&*result.tool_name);
                is_configured.then_some(result.friction)
            });
            return Ok(json!({ "friction": of_each.collect::<Vec<_>>() }));
        }
        "record_call_unconfigured" => {
            for at in moments {
                friction.record_call_unconfigured(tool, *at);
            }
            Value::Null
        }
        "configure_tool" => {
            friction.configure_tool_keeping_target(tool, tool_config(&step["config"]))?;
            Value::Null
        }
        "restore" => {
            let named = step["levels"].as_object().into_iter().flatten();
            let named = named.filter_map(|(tool, level)| Some((tool.as_str(), number(level)?)));
            friction.restore(named, now);
            levels(friction)
        }
        "friction_levels" => levels(friction),
        "reset_budget" => {
            friction.reset_budget(number(&step["budget"]), now);
            written(friction.budget_remaining(now))
        }
        "budget_remaining" => written(friction.budget_remaining(now)),
        "drain_saturation" => {
            let drained = friction.drain_saturations();
            let event = drained.iter().map(|saturation| {
                json!([
                    *saturation.tool_name,
                    saturation.effective_target,
                    saturation.original_target
                ])
            });
            event.collect()
        }
        "status" => status(&friction.status(now)),
        other => json!(format!("unknown op {other}")),
    };
    Ok(json!({ "value": value }))
}

/// Time as the trace has it.
#[derive(Clone, Default)]
struct TraceTime(Arc<AtomicU64>);

impl TraceTime {
    fn set(&self, now: Duration) {
        let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanoseconds, Ordering::SeqCst);
    }
}

/// Keeps what happened, as the vectors write it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Value>>>);

impl FrictionObserver for Log {
    fn observe(&self, event: &FrictionEvent<'_>) {
        // The line that is logged: the name, a space, the fields.
        let line = event.to_string();
        let (name, fields) = line.split_once(' ').unwrap_or((&line, ""));
        let level = match event.level().to_string() {
            level if level == "WARN" => "WARNING".to_owned(),
            level => level,
        };
        let entry = json!({
            "logger": event.target().replace("::", "."),
            "level": level,
            "event": name,
            "fields": serde_json::from_str::<Value>(fields).unwrap_or_default(),
        });
        self.lines().push(entry);
    }
}

impl Log {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn registry(case: &Case, time: &TraceTime, log: &Log) -> Result<FrictionRegistry, InvalidFriction> {
    let time = time.clone();
    let mut registry = FrictionRegistry::builder()
        .config(controller_config(case.arg("config")))
        .tools(named(case, "tools", tool_config))
        .carry(Carry::Friction)
        .clock(move || Duration::from_nanos(time.0.load(Ordering::SeqCst)))
        .observer(Arc::new(log.clone()));
    for (name, group) in named(case, "groups", group_config) {
        registry = registry.group(name, group);
    }
    if let Some(clients) = whole(case.arg("max_clients")) {
        registry = registry.max_clients(clients as usize);
    }
    if let Some(seconds) = number(case.arg("penalty_ttl")) {
        // A lifetime below 0 is none for the seed too.
        registry =
            registry.penalty_ttl(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
    }
    if let Some(friction) = number(case.arg("penalty_min_friction")) {
        registry = registry.penalty_min_friction(friction);
    }
    registry.build()
}

fn registry_trace(case: &Case) -> Result<Vec<Value>, InvalidFriction> {
    let (time, log) = (TraceTime::default(), Log::default());
    let registry = registry(case, &time, &log)?;
    let with_logs = case.arg("logs") == &json!(true);
    let answer = |step: &Value| {
        log.lines().clear();
        let mut answer = registry_step(&registry, &time, step);
        if with_logs && !is_repeated(step) {
            answer["logs"] = log.lines().drain(..).collect();
        }
        answer
    };
    Ok(steps(case).map(answer).collect())
}

fn registry_step(registry: &FrictionRegistry, time: &TraceTime, step: &Value) -> Value {
    let (client, tool) = (text(step, "client"), text(step, "tool"));
    let at_each = |call: &mut dyn FnMut()| {
        for at in moments(step) {
            if !step["at"].is_null() {
                time.set(at);
            }
            call();
        }
    };
    let value = match text(step, "op") {
        "check_and_record" => {
            let mut results = Vec::new();
            at_each(&mut || results.push(registry.check_and_record(client, tool)));
            return told(step, &results);
        }
        "record_unconfigured" => {
            at_each(&mut || registry.record_unconfigured(client, tool));
            Value::Null
        }
        "touch_many" => {
            for client in many(step) {
                at_each(&mut || drop(registry.check_and_record(&client, tool)));
            }
            Value::Null
        }
        "status" => registry
            .client_status(client)
            .as_ref()
            .map_or(Value::Null, status),
        "client_count" => json!(registry.client_count()),
        "penalty_count" => json!(registry.saved_count()),
        other => json!(format!("unknown op {other}")),
    };
    json!({ "value": value })
}

/// The clients of a step that touches many: as listed, or so many made up.
fn many(step: &Value) -> Vec<String> {
    let count = ["clients", "count", "n"]
        .into_iter()
        .find_map(|name| step[name].as_u64());
    match (step["clients"].as_array(), count) {
        (Some(listed), _) => listed
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        (None, count) => {
            let prefix = step["prefix"].as_str().unwrap_or("touched-");
            (0..count.unwrap_or_default())
                .map(|number| format!("{prefix}{number}"))
                .collect()
        }
    }
}

/// A server with two tools: one is refused when it has much friction, the calls of the other are only counted.
async fn decorator_trace(case: &Case) -> Result<Vec<Value>, InvalidFriction> {
    let (time, log) = (TraceTime::default(), Log::default());
    let guard = FrictionGuard::new(registry(case, &time, &log)?).without_caller(WithoutCaller::Allow);
    let mut answers = Vec::new();
    for step in steps(case) {
        let mut ran = 0_u32;
        let mut last = Value::Null;
        for at in moments(step) {
            time.set(at);
            let (value, handler_ran) = tool_call(&guard, step).await;
            ran += u32::from(handler_ran);
            last = json!({ "value": value, "handler_ran": handler_ran });
        }
        answers.push(if is_repeated(step) {
            json!({ "ran": ran, "last": last })
        } else {
            last
        });
    }
    Ok(answers)
}

async fn tool_call(guard: &FrictionGuard, step: &Value) -> (String, bool) {
    let (tool, client, argument) = (text(step, "tool"), step["client"].as_str(), text(step, "arg"));
    if tool == "get_tasks" {
        guard.record_key(client, tool);
        return (format!("tasks {argument}"), true);
    }
    match guard.admit_key(client, tool, None).await {
        Ok(_) => (format!("deleted {argument}"), true),
        Err(refusal) => {
            let result: Map<String, Value> = match refusal.tool_result() {
                Value::Object(result) => result,
                _ => Map::new(),
            };
            // What the seed sent as an ordinary text is the text of our tool error.
            (text(&result["content"][0], "text").to_owned(), false)
        }
    }
}
