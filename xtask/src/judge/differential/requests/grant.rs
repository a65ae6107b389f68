//! What a person has allowed, redeemed and refreshed (RFC 6749 §4.1.3, §6).

use anyhow::Result;

use super::{ELSEWHERE, Ledger, Pairs, and, good_code, with};

pub(super) async fn authorization_code(ledger: &mut Ledger<'_>) -> Result<()> {
    let code = ledger.code("web").await?;
    let good = good_code("web", &code);
    let short = "a".repeat(42);
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("no code", with(&good, "code", None)),
        ("an unknown code", with(&good, "code", Some("nonsense"))),
        ("a code of another client", with(&good, "client_id", Some("web2"))),
        ("no code_verifier", with(&good, "code_verifier", None)),
        (
            "a short code_verifier",
            with(&good, "code_verifier", Some(&short)),
        ),
    ];
    for (case, form) in cases {
        ledger.post("token", case, None, &form, &[]).await?;
    }
    // What spoils a code at one server and not at the other has a code of its own.
    let wrong = "b".repeat(43);
    for (case, name, value) in [
        ("a wrong code_verifier", "code_verifier", Some(wrong.as_str())),
        (
            "a wrong redirect_uri",
            "redirect_uri",
            Some("https://client.example/other"),
        ),
        ("no redirect_uri", "redirect_uri", None),
        ("an unknown resource", "resource", Some(ELSEWHERE)),
    ] {
        let code = ledger.code("web").await?;
        let form = with(&good_code("web", &code), name, value);
        ledger.post("token", case, None, &form, &[]).await?;
    }
    let code = ledger.code("web").await?;
    let good = good_code("web", &code);
    let members = ["token_type", "scope"];
    let tokens = ledger.post("token", "a good code", None, &good, &members).await?;
    ledger.post("token", "a used code", None, &good, &members).await?;
    let token = tokens["access_token"].as_str().unwrap_or_default();
    ledger
        .is_active("a token of a code that was used twice", token)
        .await
}

pub(super) async fn refresh_token(ledger: &mut Ledger<'_>) -> Result<()> {
    let (_, token) = ledger.tokens("web").await?;
    let good = [
        ("grant_type", "refresh_token"),
        ("client_id", "web"),
        ("refresh_token", &token),
    ];
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("no refresh_token", with(&good, "refresh_token", None)),
        (
            "an unknown refresh_token",
            with(&good, "refresh_token", Some("nonsense")),
        ),
        ("two refresh_token", and(&good, "refresh_token", "x")),
        (
            "a refresh_token of another client",
            with(&good, "client_id", Some("web2")),
        ),
        (
            "a refresh with a scope more",
            and(&good, "scope", "hello:read hello:write"),
        ),
        (
            "a refresh for an unknown resource",
            and(&good, "resource", ELSEWHERE),
        ),
    ];
    for (case, form) in cases {
        ledger.post("token", case, None, &form, &[]).await?;
    }
    let members = ["token_type", "scope"];
    let (_, token) = ledger.tokens("web").await?;
    let good = with(&good, "refresh_token", Some(&token));
    let second = ledger.post("token", "a refresh", None, &good, &members).await?;
    let successor = second["refresh_token"].as_str().unwrap_or_default();
    let next = with(&good, "refresh_token", Some(successor));
    let third = ledger
        .post("token", "a refresh with the successor", None, &next, &members)
        .await?;
    // The successor was used: there is no lost answer to forgive any more.
    ledger
        .post("token", "a spent refresh_token", None, &good, &members)
        .await?;
    let token = third["access_token"].as_str().unwrap_or_default();
    ledger
        .is_active("a token of a family whose spent token came again", token)
        .await?;
    let newest = third["refresh_token"].as_str().unwrap_or_default();
    let newest = with(&good, "refresh_token", Some(newest));
    ledger
        .post(
            "token",
            "the newest refresh_token of that family",
            None,
            &newest,
            &members,
        )
        .await?;
    Ok(())
}
