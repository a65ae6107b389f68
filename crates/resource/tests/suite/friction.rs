//! Friction as those meet it who call too much of one thing, and where it is better than the Python package's.
#![allow(clippy::float_cmp, reason = "numbers that nothing was done to")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use mcp_authflow_resource::friction::{
    Carry, ControllerConfig, Decay, FrictionController, FrictionEvent, FrictionGuard, FrictionLevel,
    FrictionObserver, FrictionRegistry, FrictionResult, Plea, RegistryBuilder, ToolFrictionConfig,
    ToolGroupConfig, WithoutCaller,
};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// A controller with friction on `d`, from the first call on.
fn controller(config: ControllerConfig) -> FrictionController {
    let tools = [("d".to_owned(), ToolFrictionConfig::default())];
    FrictionController::new(config, tools, []).unwrap()
}

fn eager() -> ControllerConfig {
    ControllerConfig {
        warmup_calls: 0,
        ..ControllerConfig::default()
    }
}

/// Calls `d` each second, from `from` on, until it is refused; the moment of the refusal.
fn call_until_refused(friction: &mut FrictionController, from: Duration) -> (Duration, FrictionResult) {
    let mut now = from;
    for _ in 0..1_000 {
        let result = friction.check("d", now);
        if !result.allowed {
            return (now, result);
        }
        friction.record_call("d", now);
        now += SECOND;
    }
    panic!("never refused");
}

/// A clock that stands where it is put.
#[derive(Clone, Default)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn pass(&self, time: Duration) {
        self.0
            .fetch_add(time.as_millis().try_into().unwrap(), Ordering::SeqCst);
    }
}

fn registry(time: &Time) -> RegistryBuilder {
    let time = time.clone();
    FrictionRegistry::builder()
        .config(eager())
        .tool("d", ToolFrictionConfig::default())
        .clock(move || Duration::from_millis(time.0.load(Ordering::SeqCst)))
}

/// Calls `d` each second until it is refused.
fn call_registry_until_refused(registry: &FrictionRegistry, time: &Time, key: &str) -> FrictionResult {
    for _ in 0..1_000 {
        let result = registry.check_and_record(key, "d");
        if !result.allowed {
            return result;
        }
        time.pass(SECOND);
    }
    panic!("never refused");
}

/// S-277
#[test]
fn who_is_refused_and_waits_as_long_as_told_is_let_through_and_not_before() {
    let mut friction = controller(eager());
    let (now, refused) = call_until_refused(&mut friction, Duration::ZERO);
    assert_eq!(refused.friction_level, FrictionLevel::Blocked);
    let wait = refused.retry_after.unwrap();
    assert!(!friction.check("d", now + wait.saturating_sub(2 * SECOND)).allowed);
    assert!(friction.check("d", now + wait).allowed);
}

/// S-274
#[test]
fn a_client_that_calls_nothing_but_one_tool_gets_32_calls_through() {
    let mut friction = controller(ControllerConfig::default());
    let (refused_at, _) = call_until_refused(&mut friction, Duration::ZERO);
    assert_eq!(refused_at, 32 * SECOND);
}

/// S-277: as it was, for who wants it so.
#[test]
fn when_time_is_felt_at_recorded_calls_only_the_refused_stay_refused() {
    let mut friction = controller(ControllerConfig {
        decay: Decay::WhenRecorded,
        ..eager()
    });
    let (now, refused) = call_until_refused(&mut friction, Duration::ZERO);
    assert_eq!(refused.retry_after, None);
    assert!(!friction.check("d", now + 365 * DAY).allowed);
    friction.record_call_unconfigured("other", now + DAY);
    assert!(friction.check("d", now + DAY).allowed);
}

/// S-272, S-277: friction that is restored before the first call fades too.
#[test]
fn restored_friction_fades_before_the_first_call() {
    let mut friction = controller(eager());
    friction.restore([("d", 1.0)], DAY);
    let refused = friction.check("d", DAY);
    assert!(!refused.allowed);
    assert!(friction.check("d", DAY + refused.retry_after.unwrap()).allowed);
}

/// S-269
#[test]
fn a_raised_target_falls_back_and_can_be_raised_anew() {
    let saturating = ControllerConfig {
        saturation_window: 3,
        ..eager()
    };
    let mut friction = controller(saturating.clone());
    let mut never_back = controller(ControllerConfig {
        target_return_rate: 0.0,
        ..saturating
    });
    for friction in [&mut friction, &mut never_back] {
        for second in 0..60 {
            friction.record_call("d", second * SECOND);
        }
        assert!(friction.check("d", 60 * SECOND).effective_target > 0.2);
        assert_eq!(friction.drain_saturations().len(), 1);
    }
    let hour = 3_600 * SECOND;
    let later = friction.check("d", hour);
    assert!(later.effective_target < 0.06, "{later:?}");
    assert!(never_back.check("d", hour).effective_target > 0.2);
    // After the fall a new saturation is a new event.
    friction.record_call_unconfigured("other", 10 * hour);
    assert!(!friction.check("d", 10 * hour).saturation_detected);
    for second in 0..60 {
        friction.record_call("d", 10 * hour + second * SECOND);
    }
    assert_eq!(friction.drain_saturations().len(), 1);
}

/// S-273
#[test]
fn a_tool_configured_again_takes_its_target_from_the_new_settings() {
    let changed = ToolFrictionConfig {
        target_rate: 0.5,
        ..ToolFrictionConfig::default()
    };
    let mut friction = controller(ControllerConfig {
        target_return_rate: 0.0,
        ..eager()
    });
    friction
        .configure_tool_keeping_target("d", changed.clone())
        .unwrap();
    assert_eq!(friction.check("d", SECOND).effective_target, 0.05);
    friction.configure_tool("d", changed).unwrap();
    assert_eq!(friction.check("d", SECOND).effective_target, 0.5);
    let senseless = ToolFrictionConfig {
        target_rate: -1.0,
        ..ToolFrictionConfig::default()
    };
    assert!(friction.configure_tool("d", senseless).is_err());
    assert_eq!(friction.check("d", SECOND).target_rate, 0.5);
}

#[test]
fn a_budget_is_refilled_when_it_is_asked_for() {
    let mut friction = controller(ControllerConfig {
        default_budget: 1.0,
        budget_refill_rate: 0.01,
        warmup_calls: 1_000,
        ..ControllerConfig::default()
    });
    let (now, refused) = call_until_refused(&mut friction, Duration::ZERO);
    assert!(refused.message().starts_with("Insufficient budget"), "{refused}");
    let wait = refused.retry_after.unwrap();
    assert!(wait > 40 * SECOND && wait < 60 * SECOND, "{wait:?}");
    assert!(friction.check("d", now + wait).allowed);
    assert!((friction.budget_remaining(now + DAY) - 1.0).abs() < 1e-9);
    friction.reset_budget(Some(f64::NAN), now);
    assert_eq!(friction.budget_remaining(now), 0.0);
}

/// S-283, S-284: the Python package's default for a whole process is a clone handed over here; nothing outlives it.
#[test]
fn clones_of_a_registry_are_one_registry_and_another_is_another() {
    let time = Time::default();
    let another = registry(&time).build().unwrap();
    let registry = registry(&time).build().unwrap();
    call_registry_until_refused(&registry.clone(), &time, "x");
    assert!(!registry.check("x", "d").allowed);
    assert!(registry.check("y", "d").allowed);
    assert!(another.check("x", "d").allowed);
    assert!(registry.forget("x"));
    assert!(registry.check("x", "d").allowed);
    assert!(!registry.forget("nobody"));
}

/// S-260, S-275
#[test]
fn a_registry_that_makes_no_sense_is_not_made() {
    let time = Time::default();
    assert!(registry(&time).max_clients(0).build().is_err());
    assert!(registry(&time).max_clients(1_000_001).build().is_err());
    assert!(registry(&time).max_saved(1_000_001).build().is_err());
    assert!(registry(&time).penalty_min_friction(f64::NAN).build().is_err());
    let heavy = ToolGroupConfig {
        pressure_weight: -1.0,
        ..ToolGroupConfig::default()
    };
    assert!(registry(&time).group("g", heavy).build().is_err());
}

/// S-281
#[test]
fn who_makes_room_and_comes_back_is_as_they_were_but_for_the_time_away() {
    let time = Time::default();
    let config = ControllerConfig {
        default_budget: 1_000.0,
        saturation_window: 1,
        saturation_threshold: 0.5,
        ..eager()
    };
    let small = registry(&time)
        .config(config.clone())
        .max_clients(1)
        .build()
        .unwrap();
    let large = registry(&time).config(config).build().unwrap();
    for registry in [&small, &large] {
        time.0.store(0, Ordering::SeqCst);
        call_registry_until_refused(registry, &time, "x");
        registry.record_unconfigured("y", "other");
        time.pass(100 * SECOND);
        registry.check("x", "d");
    }
    let (back, stayed) = (
        small.client_status("x").unwrap(),
        large.client_status("x").unwrap(),
    );
    assert_eq!(back.calls, stayed.calls);
    assert!((back.budget_remaining - stayed.budget_remaining).abs() < 1e-9);
    let (back, stayed) = (&back.tools["d"], &stayed.tools["d"]);
    for (back, stayed) in [
        (back.friction, stayed.friction),
        (back.ema_rate, stayed.ema_rate),
        (back.effective_target, stayed.effective_target),
    ] {
        assert!(stayed > 0.0 && (back - stayed).abs() < 1e-9, "{back} {stayed}");
    }
    assert!(back.effective_target > 0.05, "the raise was carried too");
}

/// S-280, S-281
#[test]
fn a_crowd_of_passers_by_does_not_wash_friction_away() {
    let time = Time::default();
    let registry = registry(&time).max_clients(1).max_saved(2).build().unwrap();
    call_registry_until_refused(&registry, &time, "x");
    for number in 0..100 {
        registry.record_unconfigured(&format!("passer-by {number}"), "other");
        assert!(registry.saved_count() <= 4);
    }
    assert!(!registry.check("x", "d").allowed);
}

/// S-280
#[test]
fn nobody_is_remembered_longer_than_said_or_in_greater_number() {
    let time = Time::default();
    let registry = registry(&time)
        .max_clients(1)
        .max_saved(3)
        .penalty_ttl(600 * SECOND)
        .build()
        .unwrap();
    for number in 0..10 {
        call_registry_until_refused(&registry, &time, &format!("x{number}"));
    }
    assert_eq!((registry.client_count(), registry.saved_count()), (1, 3));
    time.pass(600 * SECOND);
    registry.record_unconfigured("y", "other");
    assert_eq!(registry.saved_count(), 1, "the one that has just left");
    assert!(registry.check("x0", "d").allowed);
}

/// S-280
#[test]
fn without_a_lifetime_nobody_is_remembered() {
    let time = Time::default();
    let registry = registry(&time)
        .max_clients(1)
        .penalty_ttl(Duration::ZERO)
        .build()
        .unwrap();
    call_registry_until_refused(&registry, &time, "x");
    registry.record_unconfigured("y", "other");
    assert_eq!(registry.saved_count(), 0);
    assert!(registry.check("x", "d").allowed);
}

/// S-279
#[test]
fn the_list_of_all_clients_is_as_long_as_asked_for_and_begins_with_the_latest() {
    let time = Time::default();
    let registry = registry(&time).build().unwrap();
    for key in ["a", "b", "c"] {
        registry.check_and_record(key, "d");
    }
    registry.client_status("a");
    let status = registry.status(2);
    assert_eq!((status.total_clients, status.saved_clients), (3, 0));
    let keys: Vec<_> = status.clients.iter().map(|client| &*client.key).collect();
    assert_eq!(keys, ["c", "b"]);
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["clients"][0]["tools"]["d"]["level"], "LOW");
    assert_eq!(json["clients"][0]["calls"], 1);
    assert!(json["clients"][0]["budget_remaining"].is_null(), "no limit");
}

#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl FrictionObserver for Names {
    fn observe(&self, event: &FrictionEvent<'_>) {
        self.0.lock().unwrap().push(event.name().to_owned());
    }
}

impl Names {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// S-288, S-289, S-291
#[test]
fn events_come_in_the_order_in_which_things_happened() {
    let time = Time::default();
    let names = Arc::new(Names::default());
    let registry = registry(&time)
        .max_clients(1)
        .carry(Carry::Everything)
        .observer(names.clone())
        .build()
        .unwrap();
    call_registry_until_refused(&registry, &time, "x");
    let first = names.take();
    assert_eq!(first[..2], ["friction_client_created", "friction_check"]);
    assert_eq!(first[first.len() - 2..], ["friction_check", "friction_block"]);
    assert!(first.iter().any(|name| name == "friction_justification"));
    call_registry_until_refused(&registry, &time, "y");
    names.take();
    registry.check_and_record("x", "d");
    let back = [
        "friction_penalty_captured",
        "friction_client_evicted",
        "friction_penalty_restored",
        "friction_client_created",
        "friction_check",
        "friction_block",
    ];
    assert_eq!(names.take(), back);
}

#[test]
fn many_threads_on_few_places_count_every_call() {
    let time = Time::default();
    let registry = registry(&time).max_clients(2).build().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let registry = registry.clone();
            thread::spawn(move || {
                for _ in 0..500 {
                    registry.record_unconfigured(&format!("client {number}"), "other");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for number in 0..4 {
        let key = format!("client {number}");
        registry.check(&key, "d");
        assert_eq!(
            registry.client_status(&key).unwrap().calls,
            500,
            "none was lost with an eviction"
        );
    }
}

/// S-285, S-286, S-287
#[tokio::test]
async fn a_guard_admits_by_name_refuses_with_a_tool_error_and_only_counts_when_told_to() {
    let time = Time::default();
    let guard = FrictionGuard::new(registry(&time).build().unwrap());
    let result = guard.admit_key(Some("x"), "d", None).await.unwrap().unwrap();
    assert!(result.allowed);
    assert_eq!(
        guard.admit_key(Some("x"), "without friction", None).await,
        Ok(None)
    );
    guard.record_key(Some("x"), "d");
    guard.record(None, "d");
    assert_eq!(guard.registry().client_status("x").unwrap().calls, 3);
    call_registry_until_refused(guard.registry(), &time, "x");
    let refused = guard.admit_key(Some("x"), "d", None).await.unwrap_err();
    assert_eq!((refused.tool(), refused.reason()), ("d", "blocked"));
    assert_eq!(refused.tool_result()["isError"], true);
    assert!(
        refused
            .to_string()
            .starts_with("Tool 'd' is temporarily rate-limited. Blocked: friction ")
    );
    let nobody = guard.admit_key(None, "d", None).await.unwrap_err();
    assert_eq!((nobody.reason(), nobody.result()), ("caller_unknown", None));
    let open = guard.without_caller(WithoutCaller::Allow);
    assert_eq!(open.admit_key(None, "d", None).await, Ok(None));
}

/// S-278
#[tokio::test]
async fn without_a_judge_a_justification_is_only_reported() {
    let time = Time::default();
    let plain = FrictionGuard::new(registry(&time).build().unwrap());
    let judged =
        FrictionGuard::new(registry(&time).build().unwrap()).justify(|plea: &Plea<'_>| plea.key == "x");
    let (mut reported, mut demanded) = (0, 0);
    for _ in 0..19 {
        let result = plain.admit_key(Some("x"), "d", None).await.unwrap().unwrap();
        reported += u32::from(result.justification_required);
        if let Err(refused) = judged.admit_key(Some("x"), "d", None).await {
            assert!(refused.wants_justification());
            judged.admit_key(Some("x"), "d", Some("needed")).await.unwrap();
            demanded += 1;
        }
        time.pass(SECOND);
    }
    assert!(reported > 3);
    assert_eq!(reported, demanded);
}

#[derive(Clone, Debug)]
enum Step {
    Check(usize),
    Record(usize),
    Unconfigured,
    Wait(u32),
    Restore(f64),
    ResetBudget(f64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize).prop_map(Step::Check),
        (0..3_usize).prop_map(Step::Record),
        Just(Step::Unconfigured),
        (0..100_000_u32).prop_map(Step::Wait),
        any::<f64>().prop_map(Step::Restore),
        any::<f64>().prop_map(Step::ResetBudget),
    ]
}

fn any_config() -> impl Strategy<Value = ControllerConfig> {
    let numbers = (0.0..=1.0, 0.0..2.0, 0.0..10.0, 0.0..0.5, 0.000_01..0.1, 0.0..0.1);
    (numbers, 1..50_u32, 0..30_u32, 0..5_u32, any::<bool>()).prop_map(
        |((alpha, adjustment, asymmetry, dead_zone, decay, back), window, warmup, saturation, has_budget)| {
            ControllerConfig {
                window_size: window,
                ema_alpha: alpha,
                adjustment_rate: adjustment,
                asymmetric_decay: asymmetry,
                dead_zone,
                warmup_calls: warmup,
                time_decay_rate: decay,
                default_budget: if has_budget { 20.0 } else { f64::INFINITY },
                budget_refill_rate: back,
                saturation_window: saturation,
                target_return_rate: back,
                ..ControllerConfig::default()
            }
        },
    )
}

proptest! {
    /// S-262, S-268, S-270: whatever happens, friction stays from 0 to 1 and nothing panics.
    #[test]
    fn friction_stays_between_none_and_full(config in any_config(), steps in prop::collection::vec(any_step(), 0..200)) {
        let names = ["a", "b", "c"];
        let tools = names.map(|name| (name.to_owned(), ToolFrictionConfig::default()));
        let group = ToolGroupConfig {
            tools: names.map(str::to_owned).to_vec(),
            ..ToolGroupConfig::default()
        };
        let mut friction = FrictionController::new(config, tools, [("g".to_owned(), group)]).unwrap();
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Check(tool) => {
                    let result = friction.check(names[tool], now);
                    let can_pay = friction.budget_remaining(now) >= result.cost;
                    prop_assert_eq!(result.allowed, result.friction < 0.95 && can_pay);
                }
                Step::Record(tool) => drop(friction.record_call(names[tool], now)),
                Step::Unconfigured => friction.record_call_unconfigured("other", now),
                Step::Wait(seconds) => now += Duration::from_secs(seconds.into()),
                Step::Restore(level) => friction.restore([("a", level), ("other", level)], now),
                Step::ResetBudget(budget) => friction.reset_budget(Some(budget), now),
            }
            for (name, level) in friction.friction_levels() {
                prop_assert!((0.0..=1.0).contains(&level), "{name}: {level}");
            }
            let status = friction.status(now);
            for tool in status.tools.values() {
                prop_assert!((0.0..=1.0).contains(&tool.friction));
                prop_assert!((0.0..=1.0).contains(&tool.ema_rate));
                prop_assert!(tool.cost >= 0.5 && tool.cost <= 10.0 + 1e-9);
            }
        }
    }

    /// S-277: whoever is refused by friction is let through when the time is over that they were told, and is told one.
    #[test]
    fn nobody_is_refused_for_ever(
        config in any_config(),
        calls in prop::collection::vec((any::<bool>(), 0..10_u32), 1..200),
    ) {
        let refilled = config.budget_refill_rate > 1e-6;
        let mut friction = controller(config);
        let mut now = Duration::ZERO;
        for (is_d, wait) in calls {
            now += Duration::from_secs(wait.into());
            let result = friction.check("d", now);
            if !result.allowed && (refilled || friction.budget_remaining(now) >= 1.0) {
                let Some(retry_after) = result.retry_after else {
                    return Err(TestCaseError::fail(format!("no time told: {result:?}")));
                };
                prop_assert!(friction.check("d", now + retry_after).allowed, "{result:?}");
            }
            if is_d && result.allowed {
                friction.record_call("d", now);
            } else {
                friction.record_call_unconfigured("other", now);
            }
        }
    }
}
