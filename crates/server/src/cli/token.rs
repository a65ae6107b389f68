//! `authflow token revoke|introspect|count`: the operator's own look into the store, past client authentication.

use std::io::BufRead as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use mcp_authflow::port::{
    Audit as _, AuditEvent, AuditOutcome, Clock as _, OldTokens, audit::AuditAction, store::Standing,
    token_storage::TokenKind,
};
use mcp_authflow_types::{ClientId, PresentedToken, TokenHash, secret::ExpiryBucket};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Output, Refused, output::moment};
use crate::{audit_trail::AuditTrail, config::Config, system::SystemClock, wire::Opened};

#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
    /// Revoke a token: an access token alone, a refresh token with its whole grant
    Revoke(Which),
    /// Say what a token is and whether it is good
    Introspect(Which),
    /// Count the tokens that lie in the store
    Count,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples, without leaving the token in the shell's history:\n  authflow token introspect - < token.txt\n  authflow token revoke - < token.txt"
)]
pub(super) struct Which {
    /// The token, or - to read it from standard input
    token: String,
}

impl Which {
    /// Reads the token, and where it lies.
    async fn find(self, opened: &Opened) -> anyhow::Result<Vec<Found>> {
        let places = places(opened, None, &self.read()?).await?;
        if places.is_empty() {
            return Err(unknown().into());
        }
        Ok(places)
    }

    fn read(self) -> anyhow::Result<PresentedToken> {
        let given = Zeroizing::new(self.token);
        let mut line = Zeroizing::new(String::new());
        let text = if *given == "-" {
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .context("cannot read the token")?;
            line.trim()
        } else {
            given.trim()
        };
        Ok(PresentedToken::parse_of_any_issuer(text))
    }
}

fn unknown() -> Refused {
    Refused("this is no access or refresh token of this server".to_owned())
}

/// Where a token lies here; one that lies elsewhere yet is taken in first, where that is wanted.
async fn places(
    opened: &Opened,
    old_tokens: Option<&dyn OldTokens>,
    token: &PresentedToken,
) -> anyhow::Result<Vec<Found>> {
    Ok(match token {
        PresentedToken::Access(token) => {
            vec![Found::new(TokenKind::Access, token.hash(), token.bucket())]
        }
        PresentedToken::Refresh(token) => {
            vec![Found::new(TokenKind::Refresh, token.hash(), token.bucket())]
        }
        // One text may have been both where it came from.
        PresentedToken::Foreign(token) => {
            let mut places = Vec::new();
            for kind in TokenKind::ALL {
                let mut entry = opened.store.find_imported(kind, &token.hash()).await?;
                if let (None, Some(old)) = (entry, old_tokens) {
                    entry = old.take_in(kind, &token.hash(), SystemClock.now()).await?;
                }
                places.extend(entry.map(|entry| Found::new(kind, token.hash(), entry.bucket)));
            }
            places
        }
    })
}

/// A token, by where it lies.
struct Found {
    kind: TokenKind,
    hash: TokenHash,
    bucket: ExpiryBucket,
}

impl Found {
    const fn new(kind: TokenKind, hash: TokenHash, bucket: ExpiryBucket) -> Self {
        Self { kind, hash, bucket }
    }
}

impl TokenVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Revoke(which) => {
                let old_tokens = opened.old_tokens(config);
                revoke(opened, old_tokens.as_deref(), output, &which.read()?).await
            }
            Self::Introspect(which) => introspect(opened, output, which.find(opened).await?).await,
            Self::Count => count(opened, output).await,
        }
    }
}

/// The verbs of the store read a client beside the token; here nobody asks as a client.
fn nobody() -> anyhow::Result<ClientId> {
    Ok(ClientId::parse("-")?)
}

async fn revoke(
    opened: &Opened,
    old_tokens: Option<&dyn OldTokens>,
    output: Output,
    token: &PresentedToken,
) -> anyhow::Result<()> {
    // Taken in, so that no import that runs at this moment brings it back.
    let places = places(opened, old_tokens, token).await?;
    let is_known = !places.is_empty();
    let mut was_there = false;
    for Found { kind, hash, bucket } in places {
        was_there |= match kind {
            TokenKind::Access => opened.store.revoke_access_token(&hash, bucket).await?,
            TokenKind::Refresh => {
                let peek = opened
                    .store
                    .peek_refresh_token(&hash, bucket, &nobody()?, true)
                    .await?;
                let Some(found) = peek.token else {
                    return Err(Refused("the token is unknown, or expired long ago".to_owned()).into());
                };
                opened
                    .store
                    .revoke_grant(found.grant.grant.id, SystemClock.now())
                    .await?
            }
        };
        AuditTrail.record(
            &AuditEvent::new(
                AuditAction::Revoke,
                AuditOutcome::Allowed,
                "revoked by the operator",
            )
            .with_token(&hash),
        );
    }
    if let (PresentedToken::Foreign(token), Some(old)) = (token, old_tokens) {
        was_there |= revoke_elsewhere(old, &token.hash()).await?;
    }
    if !is_known && !was_there {
        return Err(unknown().into());
    }
    let text = if was_there {
        "revoked"
    } else {
        "it was dead already"
    };
    output.print(&json!({ "revoked": was_there }), text)
}

/// Removes a token from the Python package's tables, presented here before or not; answers whether it was there.
async fn revoke_elsewhere(old: &dyn OldTokens, token: &TokenHash) -> anyhow::Result<bool> {
    let mut was_there = false;
    for kind in TokenKind::ALL {
        if old.is_there(kind, token).await? {
            old.remove(kind, token).await?;
            AuditTrail.record(
                &AuditEvent::new(
                    AuditAction::Revoke,
                    AuditOutcome::Allowed,
                    "revoked by the operator in the old database",
                )
                .with_token(token),
            );
            was_there = true;
        }
    }
    Ok(was_there)
}

async fn introspect(opened: &Opened, output: Output, tokens: Vec<Found>) -> anyhow::Result<()> {
    let mut value = json!({ "active": false });
    for token in tokens {
        let described = describe(opened, token).await?;
        // Of a text that is both kinds, the one that is good.
        if described["active"] == true || value.get("kind").is_none() {
            value = described;
        }
    }
    let text = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| match (name.as_str(), value.as_i64()) {
            ("iat" | "exp" | "spent", Some(at)) => {
                format!(
                    "{name:<10} {}",
                    moment(mcp_authflow_types::Timestamp::from_seconds(at))
                )
            }
            _ => format!(
                "{name:<10} {}",
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            ),
        })
        .collect::<Vec<_>>()
        .join("\n");
    output.print(&value, &text)
}

async fn describe(opened: &Opened, Found { kind, hash, bucket }: Found) -> anyhow::Result<serde_json::Value> {
    let now = SystemClock.now();
    let inactive = json!({ "active": false });
    Ok(match kind {
        TokenKind::Access => {
            let peek = opened
                .store
                .peek_access_token(&hash, bucket, &nobody()?, true)
                .await?;
            match peek
                .token
                .filter(|found| !found.record.expires_at.has_passed(now))
            {
                None => inactive,
                Some(found) => json!({
                    "active": true,
                    "kind": "access_token",
                    "client_id": found.record.client_id,
                    "sub": found.record.subject,
                    "username": found.username,
                    "aud": found.record.resource,
                    "scope": found.record.scope,
                    "iat": found.record.issued_at,
                    "exp": found.record.expires_at,
                    "grant": found.record.grant.map(|grant| grant.to_string()),
                }),
            }
        }
        TokenKind::Refresh => {
            let peek = opened
                .store
                .peek_refresh_token(&hash, bucket, &nobody()?, true)
                .await?;
            match peek.token {
                None => inactive,
                Some(found) => {
                    let grant = &found.grant.grant;
                    let is_live = found.spent_at.is_none()
                        && found.grant.standing == Standing::Live
                        && !found.token.expires_at.has_passed(now);
                    json!({
                        "active": is_live,
                        "kind": "refresh_token",
                        "client_id": grant.client_id,
                        "sub": grant.subject,
                        "username": grant.username,
                        "resources": grant.resources,
                        "iat": found.token.issued_at,
                        "exp": found.token.expires_at,
                        "spent": found.spent_at,
                        "grant": grant.id.to_string(),
                    })
                }
            }
        }
    })
}

/// What lies in the store; tokens of revoked grants count until they expire.
async fn count(opened: &Opened, output: Output) -> anyhow::Result<()> {
    let counts = opened.store.count_tokens(SystemClock.now()).await?;
    let (access, refresh) = (counts.access_tokens, counts.refresh_tokens);
    let value = json!({
        "access_tokens": { "live": access.live, "expired": access.expired },
        "refresh_tokens": {
            "live": refresh.live,
            "expired": refresh.expired,
            "spent": counts.spent_refresh_tokens,
        },
    });
    let text = format!(
        "access tokens   {} live, {} expired\nrefresh tokens  {} live, {} expired, {} spent",
        access.live, access.expired, refresh.live, refresh.expired, counts.spent_refresh_tokens
    );
    output.print(&value, &text)
}
