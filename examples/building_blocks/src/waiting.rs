//! What waits for a person: codes that were handed out, and devices that poll.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mcp_authflow::{
    grant::device_code::poll::{DeviceDecisionKind as Kind, DeviceRecord, DeviceStatus, poll_device},
    port::{Clock as _, token_storage::hash_token},
};
use mcp_authflow_types::{
    AuthorizationCode, ErrorReply, Timestamp, UserCode,
    pkce::{MethodPolicy, verify_pkce},
};

use crate::ports::{SystemClock, random};

/// What waits. Codes are kept as digests.
#[derive(Default)]
pub(crate) struct Waiting {
    codes: Mutex<HashMap<String, Code>>,
    devices: Mutex<HashMap<String, DeviceRecord>>,
}

struct Code {
    client_id: String,
    challenge: String,
    expires_at: Timestamp,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.seconds().unsigned_abs())
}

impl Waiting {
    /// The person approves: a device by its user code, or a client that answers a code challenge.
    pub(crate) fn approve(&self, typed: &str) -> String {
        if let Some((client_id, challenge)) = typed.trim().split_once(' ') {
            let code = AuthorizationCode::mint(&random());
            let waits = Code {
                client_id: client_id.to_owned(),
                challenge: challenge.to_owned(),
                expires_at: SystemClock.now() + Duration::from_secs(60),
            };
            locked(&self.codes).insert(hash_token(code.expose()), waits);
            return code.expose().to_owned();
        }
        let typed = UserCode::read(typed)
            .map(|code| hash_token(code.expose()))
            .unwrap_or_default();
        match locked(&self.devices)
            .values_mut()
            .find(|device| device.user_code == typed)
        {
            Some(device) => {
                device.status = DeviceStatus::Approved;
                "approved".to_owned()
            }
            None => "no device shows this code".to_owned(),
        }
    }

    /// RFC 6749 §4.1.3: one code, one redemption, and a failed try costs nothing.
    pub(crate) fn redeem(&self, code: &str, client_id: &str, verifier: &str) -> Result<(), ErrorReply> {
        let mut codes = locked(&self.codes);
        let code = hash_token(code);
        let is_good = codes.get(&code).is_some_and(|waits| {
            waits.client_id == client_id
                && !waits.expires_at.has_passed(SystemClock.now())
                && verify_pkce(verifier, &waits.challenge, Some("S256"), MethodPolicy::S256Only)
        });
        let redeemed = is_good.then(|| codes.remove(&code)).flatten();
        redeemed
            .map(|_| ())
            .ok_or_else(|| ErrorReply::invalid_grant("the code is no good"))
    }

    /// A device waits from now on; those that nobody approved in time go.
    pub(crate) fn add(&self, device: DeviceRecord) {
        let now = system_time(SystemClock.now());
        let mut devices = locked(&self.devices);
        devices.retain(|_, device| device.expires_at > now);
        devices.insert(device.device_code.clone(), device);
    }

    /// RFC 8628 §3.5
    pub(crate) fn poll(&self, device_code: &str, client_id: &str) -> Result<(), ErrorReply> {
        let mut devices = locked(&self.devices);
        let code = hash_token(device_code);
        let decision = poll_device(
            devices.get_mut(&code),
            &code,
            client_id,
            system_time(SystemClock.now()),
        );
        match decision.kind {
            Kind::Approved => Ok(()),
            Kind::AuthorizationPending => Err(ErrorReply::authorization_pending("nobody has approved yet")),
            Kind::SlowDown => Err(ErrorReply::slow_down("polled too soon", decision.retry_after)),
            Kind::AccessDenied => Err(ErrorReply::access_denied("the person said no")),
            Kind::ExpiredToken => Err(ErrorReply::expired_token("the device code has expired")),
            Kind::InvalidGrant => Err(ErrorReply::invalid_grant("the device code is no good")),
        }
    }
}
