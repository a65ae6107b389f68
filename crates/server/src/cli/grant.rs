//! `authflow grant list|revoke`: what people have allowed, and its end.

use clap::{Args, Subcommand};
use mcp_authflow::{
    port::{
        Audit as _, AuditEvent, AuditOutcome, Clock as _,
        audit::AuditAction,
        store::{GrantQuery, GrantSummary, Standing},
    },
    record::{GrantId, User},
};
use mcp_authflow_types::ClientId;
use serde_json::json;

use super::{
    Output, Refused,
    output::{moment, table},
    user, warn_of_old_tokens,
};
use crate::{audit_trail::AuditTrail, config::Config, system::SystemClock, wire::Opened};

/// How many grants are read at a time.
const PAGE: u32 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum GrantVerb {
    /// List what people have allowed: to which client, for what, when, and from where it was last used
    #[command(after_help = "Examples:
  authflow grant list --user alice
  authflow grant list --client https://app.example/client.json --json")]
    List {
        #[command(flatten)]
        whose: Whose,
        /// Also those that were revoked, and those whose code has not been redeemed
        #[arg(long)]
        all: bool,
    },
    /// End grants: every access token, refresh token and code beneath them stops at once
    #[command(
        override_usage = "authflow grant revoke [OPTIONS] <GRANT>\n       authflow grant revoke [OPTIONS] --user <NAME> [--client <ID>]",
        after_help = "Examples:
  authflow grant revoke 0123456789abcdef0123456789abcdef
  authflow grant revoke --user alice --client https://app.example/client.json
  authflow grant revoke --user alice

The account stays signed in; to end that too, see authflow user sign-out.
Every grant to one client, whoever gave it: authflow client revoke."
    )]
    Revoke {
        /// The grant, as authflow grant list names it
        #[arg(value_parser = grant_id, conflicts_with_all = ["user", "client"], required_unless_present = "user")]
        grant: Option<GrantId>,
        /// Every grant of this account
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Of those, the ones to this client
        #[arg(long, value_name = "ID", requires = "user")]
        client: Option<ClientId>,
    },
}

/// Which grants are meant.
#[derive(Debug, Args)]
pub(super) struct Whose {
    /// Only those of this account
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those to this client
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
}

fn grant_id(text: &str) -> Result<GrantId, String> {
    GrantId::parse(text)
        .ok_or_else(|| "a grant has 32 hexadecimal digits; see authflow grant list".to_owned())
}

impl GrantVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List { whose, all } => list(opened, output, whose, all).await,
            Self::Revoke {
                grant: Some(grant), ..
            } => revoke(opened, output, grant).await,
            Self::Revoke { user, client, .. } => {
                let name = user.unwrap_or_default();
                revoke_of(opened, output, &name, client).await?;
                warn_of_old_tokens(
                    config,
                    "they are good at the old program, and here when they are presented; run authflow import, then this \
                     again",
                );
                Ok(())
            }
        }
    }
}

async fn list(opened: &Opened, output: Output, whose: Whose, all: bool) -> anyhow::Result<()> {
    let user = match &whose.user {
        Some(name) => Some(user::find(opened, name).await?),
        None => None,
    };
    let query = GrantQuery {
        subject: user.map(|user| user.id.to_string()),
        client: whose.client,
        only_connected: !all,
        after: None,
    };
    let grants = read(opened, query).await?;
    let value: Vec<_> = grants.iter().map(describe).collect();
    let rows: Vec<Vec<String>> = grants.iter().map(row).collect();
    let headings = [
        "GRANT",
        "USER",
        "CLIENT",
        "ALLOWS",
        "ALLOWED",
        "LAST USED",
        "FROM",
        "STANDING",
    ];
    output.print(&value.into(), &table(&headings, &rows))
}

/// Reads all grants of a query, page by page.
async fn read(opened: &Opened, mut query: GrantQuery) -> anyhow::Result<Vec<GrantSummary>> {
    let mut grants: Vec<GrantSummary> = Vec::new();
    loop {
        let page = opened.store.list_grants(&query, PAGE, SystemClock.now()).await?;
        let Some(last) = page.last() else {
            return Ok(grants);
        };
        query.after = Some((last.grant.created_at, last.grant.id));
        grants.extend(page);
    }
}

fn standing(summary: &GrantSummary) -> &'static str {
    match (summary.standing, summary.grant.code.redeemed_at) {
        (Standing::Ended, _) => "ended",
        (Standing::Live, None) => "not redeemed",
        (Standing::Live, Some(_)) => "connected",
    }
}

fn describe(summary: &GrantSummary) -> serde_json::Value {
    let GrantSummary { grant, last_used, .. } = summary;
    json!({
        "id": grant.id.to_string(),
        "subject": grant.subject,
        "username": grant.username,
        "client_id": grant.client_id,
        "resources": grant.resources,
        "offline_access": grant.offline_access,
        "created_at": grant.created_at,
        "expires_at": grant.expires_at,
        "last_used_at": last_used.map(|used| used.at),
        "last_used_from": last_used.and_then(|used| used.address),
        "standing": standing(summary),
    })
}

fn row(summary: &GrantSummary) -> Vec<String> {
    let GrantSummary { grant, last_used, .. } = summary;
    let allows = grant
        .resources
        .iter()
        .map(|one| format!("{} {}", one.resource, one.scope).trim_end().to_owned());
    let from = last_used.and_then(|used| used.address);
    vec![
        grant.id.to_string(),
        grant.username.clone().unwrap_or_else(|| grant.subject.clone()),
        grant.client_id.to_string(),
        allows.collect::<Vec<_>>().join("; "),
        moment(grant.created_at),
        last_used.map(|used| moment(used.at)).unwrap_or_default(),
        from.map(|address| address.to_string()).unwrap_or_default(),
        standing(summary).to_owned(),
    ]
}

async fn revoke(opened: &Opened, output: Output, grant: GrantId) -> anyhow::Result<()> {
    if !opened.store.revoke_grant(grant, SystemClock.now()).await? {
        return Err(Refused(format!(
            "there is no grant {grant} that stands; see authflow grant list --all"
        ))
        .into());
    }
    AuditTrail.record(&revoked("the operator revoked the grant").with_grant(grant));
    output.print(
        &json!({ "revoked": 1, "id": grant.to_string() }),
        &format!("revoked the grant {grant}; everything beneath it has ended"),
    )
}

async fn revoke_of(
    opened: &Opened,
    output: Output,
    name: &str,
    client: Option<ClientId>,
) -> anyhow::Result<()> {
    let user: User = user::find(opened, name).await?;
    let subject = user.id.as_str();
    let clients = if let Some(client) = client {
        vec![client]
    } else {
        let grants = read(opened, GrantQuery::of(subject)).await?;
        let mut clients: Vec<ClientId> = grants.into_iter().map(|one| one.grant.client_id).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    };
    let mut ended = 0;
    for client in &clients {
        let of_client = opened
            .store
            .revoke_client_grants(subject, client, SystemClock.now())
            .await?;
        if of_client > 0 {
            AuditTrail.record(
                &revoked("the operator disconnected the client from the account")
                    .with_client(client)
                    .with_subject(subject),
            );
        }
        ended += of_client;
    }
    output.print(
        &json!({ "revoked": ended, "username": user.username }),
        &match ended {
            0 => format!("{} has no grant there that stands", user.username),
            1 => format!(
                "revoked 1 grant of {}; everything beneath it has ended",
                user.username
            ),
            many => format!(
                "revoked {many} grants of {}; everything beneath them has ended",
                user.username
            ),
        },
    )
}

fn revoked(what: &'static str) -> AuditEvent<'static> {
    AuditEvent::new(AuditAction::Revoke, AuditOutcome::Allowed, what)
}
