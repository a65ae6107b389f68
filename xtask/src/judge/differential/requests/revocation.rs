//! Revocation (RFC 7009) and introspection (RFC 7662).

use anyhow::Result;

use super::{Case, Ledger, and, with};
use crate::judge::differential::side::SECRET;
use crate::judge::house::INTROSPECTION_CLIENT;

pub(super) async fn revocation(ledger: &mut Ledger<'_>) -> Result<()> {
    let url = ledger.side.endpoint("revocation")?;
    let get = ledger.side.http()?.get(&url);
    ledger.note("revocation: GET".to_owned(), get, &[]).await?;
    let (access_token, refresh_token) = ledger.tokens("web").await?;
    let good = [("client_id", "web"), ("token", access_token.as_str())];
    let cases: Vec<Case<'_>> = vec![
        ("nobody", None, vec![("token", &access_token)]),
        (
            "a wrong secret",
            Some(("sec", "wrong")),
            vec![("token", &access_token)],
        ),
        ("no token", None, with(&good, "token", None)),
        ("an empty token", None, with(&good, "token", Some(""))),
        ("an unknown token", None, with(&good, "token", Some("nonsense"))),
        ("two token", None, and(&good, "token", "x")),
        (
            "a token of another client",
            None,
            with(&good, "client_id", Some("web2")),
        ),
        (
            "a token of a client that is confidential",
            Some(("sec", SECRET)),
            vec![("token", &access_token)],
        ),
    ];
    for (case, basic, form) in cases {
        ledger.post("revocation", case, basic, &form, &[]).await?;
    }
    ledger
        .is_active("a token that others wanted to revoke", &access_token)
        .await?;
    let hinted = and(&good, "token_type_hint", "nonsense");
    ledger
        .post(
            "revocation",
            "a token with a hint of nonsense",
            None,
            &hinted,
            &[],
        )
        .await?;
    ledger.is_active("a revoked token", &access_token).await?;
    ledger
        .post("revocation", "a revoked token", None, &good, &[])
        .await?;
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "web"),
        ("refresh_token", refresh_token.as_str()),
    ];
    ledger
        .post(
            "token",
            "a refresh after its access token was revoked",
            None,
            &refresh,
            &["scope"],
        )
        .await?;
    let (access_token, refresh_token) = ledger.tokens("web").await?;
    let hinted = [
        ("client_id", "web"),
        ("token", refresh_token.as_str()),
        ("token_type_hint", "access_token"),
    ];
    ledger
        .post(
            "revocation",
            "a refresh token with the wrong hint",
            None,
            &hinted,
            &[],
        )
        .await?;
    ledger
        .is_active("a token whose refresh token was revoked", &access_token)
        .await?;
    let refresh = with(&refresh, "refresh_token", Some(&refresh_token));
    ledger
        .post("token", "a revoked refresh_token", None, &refresh, &[])
        .await?;
    Ok(())
}

pub(super) async fn introspection(ledger: &mut Ledger<'_>) -> Result<()> {
    let url = ledger.side.endpoint("introspection")?;
    let get = ledger.side.http()?.get(&url);
    ledger.note("introspection: GET".to_owned(), get, &[]).await?;
    let (access_token, _) = ledger.tokens("web").await?;
    let (id, secret) = INTROSPECTION_CLIENT;
    let good = [("token", access_token.as_str())];
    let members = ["active", "client_id", "scope", "token_type"];
    let cases: Vec<Case<'_>> = vec![
        ("nobody", None, good.to_vec()),
        ("a wrong secret", Some((id, "wrong")), good.to_vec()),
        ("a public client", None, and(&good, "client_id", "web2")),
        ("no token", Some((id, secret)), Vec::new()),
        ("two token", Some((id, secret)), and(&good, "token", "x")),
        (
            "an unknown token",
            Some((id, secret)),
            vec![("token", "nonsense")],
        ),
        ("a good token", Some((id, secret)), good.to_vec()),
        (
            "a good token with a hint of nonsense",
            Some((id, secret)),
            and(&good, "token_type_hint", "nonsense"),
        ),
        (
            "a good token with the wrong hint",
            Some((id, secret)),
            and(&good, "token_type_hint", "refresh_token"),
        ),
    ];
    for (case, basic, form) in cases {
        ledger.post("introspection", case, basic, &form, &members).await?;
    }
    Ok(())
}
