//! The device authorization endpoint (RFC 8628).

use anyhow::Result;

use super::{DEVICE_CODE, ELSEWHERE, Ledger, Pairs, and, with};

pub(super) async fn device_authorization(ledger: &mut Ledger<'_>) -> Result<()> {
    let url = ledger.side.endpoint("device_authorization")?;
    let get = ledger.side.http()?.get(&url);
    ledger
        .note("device_authorization: GET".to_owned(), get, &[])
        .await?;
    let resource = ledger.side.resource.clone();
    let good = [
        ("client_id", "tv"),
        ("scope", "hello:read"),
        ("resource", &resource),
    ];
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("no client", with(&good, "client_id", None)),
        ("an unknown client", with(&good, "client_id", Some("nobody"))),
        (
            "a client without the grant",
            with(&good, "client_id", Some("web")),
        ),
        ("an unknown scope", with(&good, "scope", Some("nothing:here"))),
        ("an unknown resource", with(&good, "resource", Some(ELSEWHERE))),
        ("two scope", and(&good, "scope", "hello:write")),
    ];
    for (case, form) in cases {
        ledger
            .post("device_authorization", case, None, &form, &[])
            .await?;
    }
    let codes = ledger
        .post(
            "device_authorization",
            "all is well",
            None,
            &good,
            &["expires_in"],
        )
        .await?;
    let device_code = codes["device_code"].as_str().unwrap_or_default();
    let poll = [
        ("grant_type", DEVICE_CODE),
        ("client_id", "tv"),
        ("device_code", device_code),
    ];
    ledger
        .post("token", "a device too early", None, &poll, &[])
        .await?;
    ledger
        .post("token", "a device in a hurry", None, &poll, &[])
        .await?;
    let theirs = with(&poll, "client_id", Some("web2"));
    ledger
        .post(
            "token",
            "a device_code of a client without the grant",
            None,
            &theirs,
            &[],
        )
        .await?;
    Ok(())
}
