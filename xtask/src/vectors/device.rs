//! Calls of the area `device`: the device authorization grant.

use std::time::{Duration, SystemTime};

use mcp_authflow::grant::device_code::poll::{
    DeviceDecision, DeviceDecisionKind, DeviceRecord, DeviceStatus, evaluate_device_poll,
};
use mcp_authflow_types::{
    DeviceCode, GrantType,
    device_authorization::{CompleteUri, DeviceAuthorization},
    user_code::UserCodeFormat,
};
use serde_json::{Value, json};

use super::case::Case;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    Some(match case.call.as_str() {
        "constant" if case.text("name") == Some("mcp_authflow.DEVICE_CODE_GRANT_TYPE") => {
            json!({ "value": GrantType::DeviceCode.as_str() })
        }
        "generate_device_code" => result(generate_device_code(case.arg("length"))),
        "generate_user_code" => result(format(case, UserCodeFormat::new).map(|format| {
            let mut source = counting();
            Value::from(format.generate(&mut source))
        })),
        "normalize_user_code" => result(format(case, UserCodeFormat::for_reading).map(|format| {
            let typed = case.text("user_code").or_else(|| case.text("code"));
            Value::from(format.normalize(typed.unwrap_or_default()))
        })),
        "build_device_authorization_response" => result(build(case)),
        "evaluate_device_poll" => {
            let record = record(case.arg("record"));
            let decision = evaluate_device_poll(
                record.as_ref(),
                case.text("presented_device_code").unwrap_or_default(),
                case.text("presented_client_id").unwrap_or_default(),
                moment(case.now.unwrap_or_default()),
            );
            decided(&decision)
        }
        "device_trace" => trace(case),
        _ => return None,
    })
}

/// The call was refused for its arguments.
struct InvalidArgument;

fn result(answer: Result<Value, InvalidArgument>) -> Value {
    match answer {
        Ok(value) => json!({ "value": value }),
        Err(InvalidArgument) => json!({ "error": { "kind": "invalid_argument" } }),
    }
}

/// A source of bytes that are all different: what is looked at is the form of what is made of them.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 17_u8;
    move |bytes: &mut [u8]| {
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(59);
        }
    }
}

fn generate_device_code(length: &Value) -> Result<Value, InvalidArgument> {
    let length = whole(length, 32)?;
    let mut random = vec![0; length];
    counting()(&mut random);
    let code = DeviceCode::hexadecimal(&random).map_err(|_| InvalidArgument)?;
    Ok(code.expose().into())
}

/// A number that cannot be negative; the default when it was left out.
fn whole(value: &Value, default: usize) -> Result<usize, InvalidArgument> {
    if value.is_null() {
        return Ok(default);
    }
    let number = value.as_u64().ok_or(InvalidArgument)?;
    usize::try_from(number).map_err(|_| InvalidArgument)
}

fn format<E>(
    case: &Case,
    make: impl FnOnce(usize, usize, String) -> Result<UserCodeFormat, E>,
) -> Result<UserCodeFormat, InvalidArgument> {
    let separator = case.text("separator").unwrap_or("-").to_owned();
    let (groups, size) = (whole(case.arg("groups"), 2)?, whole(case.arg("group_size"), 4)?);
    make(groups, size, separator).map_err(|_| InvalidArgument)
}

fn build(case: &Case) -> Result<Value, InvalidArgument> {
    let text = |name| case.text(name).unwrap_or_default();
    let seconds = |name| -> Result<Duration, InvalidArgument> {
        let seconds = case.arg(name).as_u64().ok_or(InvalidArgument)?;
        Ok(Duration::from_secs(seconds))
    };
    let response = DeviceAuthorization {
        verification_uri_complete: case.text("verification_uri_complete"),
        complete_uri: CompleteUri::WrittenAnew,
        expires_in: seconds("expires_in")?,
        interval: seconds("interval")?,
        ..DeviceAuthorization::new(text("device_code"), text("user_code"), text("verification_uri"))
    };
    let response = response.build().map_err(|_| InvalidArgument)?;
    serde_json::from_str(&response.body()).map_err(|_| InvalidArgument)
}

fn moment(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

/// A record, with what was left out at its default.
fn record(value: &Value) -> Option<DeviceRecord> {
    value.as_object()?;
    let mut record = DeviceRecord::new("dc", "", "c1", moment(2_000.0));
    set(&mut record, value);
    Some(record)
}

fn set(record: &mut DeviceRecord, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        match name.as_str() {
            "device_code" => text.clone_into(&mut record.device_code),
            "user_code" => text.clone_into(&mut record.user_code),
            "client_id" => text.clone_into(&mut record.client_id),
            "scopes" => text.clone_into(&mut record.scopes),
            "status" => record.status = DeviceStatus::parse(text),
            "user_id" => record.user_id = (!value.is_null()).then(|| value.to_string()),
            "expires_at" => record.expires_at = moment(value.as_f64().unwrap_or_default()),
            // A negative one waits for nothing.
            "interval" => {
                record.interval =
                    Duration::try_from_secs_f64(value.as_f64().unwrap_or_default()).unwrap_or(Duration::ZERO);
            }
            "last_poll_at" => record.last_poll_at = value.as_f64().map(moment),
            _ => {}
        }
    }
}

fn decided(decision: &DeviceDecision<'_>) -> Value {
    json!({ "value": {
        "kind": decision.kind.as_str(),
        "has_record": decision.record.is_some(),
        "retry_after": decision.retry_after.map(|wait| wait.as_secs_f64()),
    } })
}

/// A caller of the seed's function, who moves `last_poll_at` by one of the two rules that its documentation names.
fn trace(case: &Case) -> Value {
    let mut record = record(case.arg("record"));
    let moves_on_slow_down = case.text("last_poll_rule") == Some("all_but_invalid_grant");
    let steps = case.arg("steps").as_array().into_iter().flatten();
    let steps: Vec<Value> = steps
        .map(|step| {
            if step["op"] == "set" {
                if let Some(record) = &mut record {
                    set(record, &step["fields"]);
                }
                return json!({ "value": null });
            }
            let now = moment(step["at"].as_f64().unwrap_or_default());
            let decision = evaluate_device_poll(
                record.as_ref(),
                step["device_code"].as_str().unwrap_or("dc"),
                step["client_id"].as_str().unwrap_or("c1"),
                now,
            );
            let answer = decided(&decision);
            let moves = match decision.kind {
                DeviceDecisionKind::InvalidGrant => false,
                DeviceDecisionKind::SlowDown => moves_on_slow_down,
                _ => true,
            };
            if let Some(record) = record.as_mut().filter(|_| moves) {
                record.last_poll_at = Some(now);
            }
            answer
        })
        .collect();
    json!({ "steps": steps })
}
