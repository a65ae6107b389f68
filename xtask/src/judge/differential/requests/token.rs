//! The token endpoint: its form, who may enter, and the grants without a person (RFC 6749 §3.2).

use anyhow::Result;
use serde_json::json;

use super::{ASSERTION, Case, DEVICE_CODE, ELSEWHERE, Ledger, Pairs, VERIFIER, and, with};
use crate::judge::differential::side::SECRET;

pub(super) async fn token(ledger: &mut Ledger<'_>) -> Result<()> {
    let url = ledger.side.endpoint("token")?;
    let good = [
        ("grant_type", "authorization_code"),
        ("client_id", "web"),
        ("code", "x"),
        ("code_verifier", VERIFIER),
    ];
    let http = ledger.side.http()?;
    let requests = [
        ("GET", http.get(&url)),
        ("PUT", http.put(&url).form(&good)),
        (
            "JSON",
            http.post(&url)
                .json(&json!({ "grant_type": "authorization_code", "client_id": "web" })),
        ),
        (
            "no content type",
            http.post(&url).body("grant_type=x&client_id=web"),
        ),
        ("no body", http.post(&url)),
        (
            "parameters in the query",
            http.post(format!("{url}?grant_type=client_credentials"))
                .basic_auth("svc", Some(SECRET)),
        ),
    ];
    for (case, request) in requests {
        ledger.note(format!("token: {case}"), request, &[]).await?;
    }
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("no grant_type", with(&good, "grant_type", None)),
        (
            "an unknown grant_type",
            with(&good, "grant_type", Some("nonsense")),
        ),
        (
            "the password grant",
            vec![
                ("grant_type", "password"),
                ("username", "alice"),
                ("password", "x"),
                ("client_id", "web"),
            ],
        ),
        ("two grant_type", and(&good, "grant_type", "authorization_code")),
        ("two code", and(&good, "code", "y")),
        ("two client_id", and(&good, "client_id", "web2")),
        ("two nonsense parameters", and(&and(&good, "x", "1"), "x", "2")),
        ("an empty code", with(&good, "code", Some(""))),
    ];
    for (case, form) in cases {
        ledger.post("token", case, None, &form, &[]).await?;
    }
    Ok(())
}

pub(super) async fn client_authentication(ledger: &mut Ledger<'_>) -> Result<()> {
    let work = [("grant_type", "client_credentials"), ("scope", "hello:read")];
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let id = |pairs: &[(&'static str, &'static str)], id| and(pairs, "client_id", id);
    let cases: Vec<Case<'_>> = vec![
        ("nobody", None, work.to_vec()),
        ("an unknown client", None, id(&refresh, "nobody")),
        (
            "an unknown client by Basic",
            Some(("nobody", SECRET)),
            work.to_vec(),
        ),
        ("a wrong secret", Some(("svc", "wrong")), work.to_vec()),
        ("an empty secret", Some(("svc", "")), work.to_vec()),
        (
            "a wrong secret in the form",
            None,
            and(&id(&work, "svc"), "client_secret", "wrong"),
        ),
        ("a confidential client's name alone", None, id(&work, "svc")),
        (
            "Basic and the form",
            Some(("svc", SECRET)),
            and(&id(&work, "svc"), "client_secret", SECRET),
        ),
        (
            "Basic and another client_id",
            Some(("svc", SECRET)),
            id(&work, "web"),
        ),
        (
            "Basic and the same client_id",
            Some(("svc", SECRET)),
            id(&work, "svc"),
        ),
        (
            "a public client with a secret",
            None,
            and(&id(&refresh, "web"), "client_secret", "x"),
        ),
        (
            "an assertion that is none",
            None,
            and(
                &and(&work, "client_assertion_type", ASSERTION),
                "client_assertion",
                "x",
            ),
        ),
        (
            "an assertion of an unknown type",
            None,
            and(
                &and(&id(&work, "svc"), "client_assertion_type", "nonsense"),
                "client_assertion",
                "x",
            ),
        ),
        (
            "an assertion without its type",
            None,
            and(&id(&work, "svc"), "client_assertion", "x"),
        ),
    ];
    for (case, basic, form) in cases {
        ledger
            .post("token", &format!("as {case}"), basic, &form, &[])
            .await?;
    }
    let url = ledger.side.endpoint("token")?;
    for (case, authorization) in [
        ("no base64", "Basic %%%"),
        ("Basic without a colon", "Basic c3Zj"),
        ("Basic without a value", "Basic"),
        ("an unknown scheme", "Bearer x"),
    ] {
        let request = ledger.side.http()?.post(&url).form(&work);
        let request = request.header("authorization", authorization);
        ledger.note(format!("token: as {case}"), request, &[]).await?;
    }
    Ok(())
}

pub(super) async fn other_grants(ledger: &mut Ledger<'_>) -> Result<()> {
    let svc = Some(("svc", SECRET));
    let resource = ledger.side.resource.clone();
    let good = [
        ("grant_type", "client_credentials"),
        ("scope", "hello:read"),
        ("resource", &resource),
    ];
    let members = ["token_type", "scope", "refresh_token"];
    let cases: Vec<Case<'_>> = vec![
        ("a machine", svc, good.to_vec()),
        ("a machine by the form", None, {
            and(&and(&good, "client_id", "svc"), "client_secret", SECRET)
        }),
        ("a machine without a scope", svc, with(&good, "scope", None)),
        (
            "a machine with a scope more",
            svc,
            with(&good, "scope", Some("hello:read hello:write")),
        ),
        (
            "a machine with another scope",
            svc,
            with(&good, "scope", Some("hello:write")),
        ),
        (
            "a machine for an unknown resource",
            svc,
            with(&good, "resource", Some(ELSEWHERE)),
        ),
        (
            "a machine that is a public client",
            None,
            and(&good, "client_id", "web"),
        ),
        (
            "a machine without the grant",
            Some(("sec", SECRET)),
            good.to_vec(),
        ),
        ("a machine with a code", svc, {
            vec![
                ("grant_type", "authorization_code"),
                ("code", "x"),
                ("code_verifier", VERIFIER),
            ]
        }),
    ];
    for (case, basic, form) in cases {
        ledger.post("token", case, basic, &form, &members).await?;
    }
    let poll = [
        ("grant_type", DEVICE_CODE),
        ("client_id", "tv"),
        ("device_code", "nonsense"),
    ];
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("an unknown device_code", poll.to_vec()),
        ("no device_code", with(&poll, "device_code", None)),
        (
            "a device that is a client without the grant",
            with(&poll, "client_id", Some("web")),
        ),
    ];
    for (case, form) in cases {
        ledger.post("token", case, None, &form, &[]).await?;
    }
    Ok(())
}
