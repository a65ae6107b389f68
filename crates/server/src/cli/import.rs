//! `authflow import`: copies the live tokens of the Python package's tables, without signing anyone out.
//!
//! Tokens go over by their digest, in the order of their digests, a batch a commit. A run that was interrupted is simply
//! run again: what is there already is left as it is, whatever became of it since.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use mcp_authflow::{
    port::{
        Audit as _, AuditEvent, AuditOutcome, Clock as _,
        audit::AuditAction,
        store::ImportToken,
        token_storage::{TokenCount, TokenKind, TokenStorage as _},
    },
    record::ImportedToken,
};
use mcp_authflow_postgres::{PostgresTokenStorage, PostgresTokenStorageConfig, StoredToken};
use mcp_authflow_types::{ClientId, GrantType, Resource, TokenEndpointAuthMethod};
use serde_json::json;

use super::{
    Output, Refused,
    client::{self, NewClient},
};
use crate::{
    audit_trail::AuditTrail,
    bootstrap,
    config::{Config, Import, pair},
    import::{Mapping, Skip, within_ceilings},
    system::SystemClock,
    wire::Opened,
};

/// How many tokens go over in one commit.
const BATCH: u32 = 200;
/// How many different reasons are told apart in the summary.
const MOST_REASONS: usize = 30;
/// Nobody waits for an import but its operator.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  authflow import --from postgres://app@db/app --dry-run\n  authflow import --from \
                  postgres://app@db/app --clients clients.toml \\\n      --default-resource https://mcp.example/mcp\n\nStop the \
                  Python program first, or set import.read_through and let both run until this is done."
)]
pub(super) struct ImportVerb {
    /// The database with the tables mcp_access_tokens and mcp_refresh_tokens
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// What a token without a resource is for [default: default_resource, else the only registered one]
    #[arg(long, value_name = "URI")]
    default_resource: Option<Resource>,
    /// A resource that has another name here; several times for several
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    resource_map: Vec<(String, String)>,
    /// A client that has another identifier here; several times for several
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    client_map: Vec<(String, String)>,
    /// A user_id that has an account here, by its username, or another subject; several times for several
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    user_map: Vec<(String, String)>,
    /// Clients to add first, as in serve --bootstrap; nothing else of the file is used
    #[arg(long, value_name = "FILE")]
    clients: Option<PathBuf>,
    /// Make clients that are not here: without redirect URIs, so that all they can do is refresh
    #[arg(long, value_name = "KIND")]
    create_clients: Option<CreateClients>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// What to make of a client that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CreateClients {
    /// A public client.
    Public,
}

/// What came of the tokens of a kind.
#[derive(Default)]
struct Tally {
    copied: u64,
    already_there: u64,
    expired: u64,
    skipped: BTreeMap<String, u64>,
}

impl Tally {
    const fn seen(&self) -> u64 {
        self.copied + self.already_there + self.expired
    }

    fn skip(&mut self, skip: &Skip) {
        if *skip == Skip::Expired {
            self.expired += 1;
            return;
        }
        let mut reason = skip.to_string();
        if !self.skipped.contains_key(&reason) && self.skipped.len() >= MOST_REASONS {
            "other reasons".clone_into(&mut reason);
        }
        *self.skipped.entry(reason).or_default() += 1;
    }

    fn skipped(&self) -> u64 {
        self.skipped.values().sum()
    }

    fn as_json(&self) -> serde_json::Value {
        json!({
            "copied": self.copied,
            "already_there": self.already_there,
            "expired": self.expired,
            "skipped": self.skipped(),
            "reasons": self.skipped,
        })
    }
}

/// One run.
struct Run<'a> {
    old: PostgresTokenStorage,
    opened: &'a Opened,
    mapping: Mapping,
    create_clients: bool,
    only_rehearses: bool,
    /// Clients of the file that would be added first, in a rehearsal.
    promised: Vec<ClientId>,
    /// Clients that were made, or would be.
    created: Vec<ClientId>,
}

impl ImportVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        let import = self.settings(config);
        let Some(url) = self.from.as_ref().or(config.import.read_through.as_ref()) else {
            return Err(Refused("name the old database with --from postgres://…".to_owned()).into());
        };
        let mut old = PostgresTokenStorageConfig::new(Some(url.clone()));
        old.pool_size = 2;
        old.statement_timeout = PATIENCE;
        let old = PostgresTokenStorage::new(old);
        old.initialize().await.context("the old database")?;
        let totals = totals(&old).await?;
        let mut promised = Vec::new();
        match &self.clients {
            Some(file) if self.dry_run => promised = bootstrap::clients(file)?,
            Some(file) => bootstrap::apply_clients(file, &*opened.store).await?,
            None => {}
        }
        let mut run = Run {
            mapping: Mapping::read(&config.settings, &import, &*opened.store, &*opened.accounts).await?,
            old,
            opened,
            create_clients: self.create_clients.is_some(),
            only_rehearses: self.dry_run,
            promised,
            created: Vec::new(),
        };
        let mut tallies = Vec::new();
        for (kind, total) in totals {
            tallies.push((kind, run.copy(kind, total).await?));
        }
        run.old.close().await;
        if !self.dry_run {
            let copied: u64 = tallies.iter().map(|(_, tally)| tally.copied).sum();
            let reason = format!("{copied} tokens were copied");
            AuditTrail.record(&AuditEvent::new(
                AuditAction::Import,
                AuditOutcome::Allowed,
                reason,
            ));
        }
        summarize(output, &tallies, &run, self.dry_run)
    }

    /// The configured mapping, with what the flags say on top.
    fn settings(&self, config: &Config) -> Import {
        let mut import = config.import.clone();
        import.default_resource = self.default_resource.clone().or(import.default_resource);
        import.resource_map.extend(self.resource_map.iter().cloned());
        import.client_map.extend(self.client_map.iter().cloned());
        import.user_map.extend(self.user_map.iter().cloned());
        import
    }
}

impl Run<'_> {
    async fn copy(&mut self, kind: TokenKind, total: u64) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut progress = Progress::begin(kind, total);
        let mut after: Option<String> = None;
        loop {
            let page = self
                .old
                .list(kind, after.as_deref(), BATCH)
                .await
                .context("the old database")?;
            let Some(last) = page.last() else { break };
            after = Some(last.digest.clone());
            self.copy_page(kind, &page, &mut tally).await?;
            progress.show(tally.seen() + tally.skipped());
        }
        progress.end();
        Ok(tally)
    }

    async fn copy_page(
        &mut self,
        kind: TokenKind,
        page: &[StoredToken],
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let now = SystemClock.now();
        let mut tokens = Vec::new();
        for stored in page {
            match self.mapping.map(kind, stored, now) {
                Ok(token) => tokens.push(token),
                Err(skip) => tally.skip(&skip),
            }
        }
        if self.create_clients {
            self.add_missing_clients(&tokens).await?;
        }
        let mut kept = Vec::new();
        for token in within_ceilings(&*self.opened.store, tokens).await? {
            match token {
                Ok(token) => kept.push(token),
                Err(skip) => tally.skip(&skip),
            }
        }
        let tokens = kept;
        let answers = if self.only_rehearses {
            self.rehearse(&tokens).await?
        } else {
            self.opened.store.import_tokens(&tokens, now).await?
        };
        for (token, answer) in tokens.iter().zip(answers) {
            match (answer, Skip::of(answer, token)) {
                (_, Some(skip)) => tally.skip(&skip),
                (ImportToken::AlreadyThere, None) => tally.already_there += 1,
                (_, None) => tally.copied += 1,
            }
        }
        Ok(())
    }

    /// What an import would answer, as far as looking tells.
    async fn rehearse(&self, tokens: &[ImportedToken]) -> anyhow::Result<Vec<ImportToken>> {
        let mut answers = Vec::new();
        for token in tokens {
            let store = &self.opened.store;
            let client = &token.grant.client_id;
            answers.push(if store.find_imported(token.kind, &token.hash).await?.is_some() {
                ImportToken::AlreadyThere
            } else if self.knows(client).await? {
                ImportToken::Imported
            } else {
                ImportToken::ClientGone
            });
        }
        Ok(answers)
    }

    /// Whether a client is here, or would be by now.
    async fn knows(&self, client: &ClientId) -> anyhow::Result<bool> {
        Ok(self.created.contains(client)
            || self.promised.contains(client)
            || self.opened.store.load_client(client).await?.is_some())
    }

    async fn add_missing_clients(&mut self, tokens: &[ImportedToken]) -> anyhow::Result<()> {
        for token in tokens {
            let id = &token.grant.client_id;
            if self.knows(id).await? {
                continue;
            }
            if !self.only_rehearses {
                let new = NewClient {
                    id: id.clone(),
                    name: id.to_string(),
                    redirect_uris: Vec::new(),
                    application_type: client::application_type(&[]),
                    token_endpoint_auth_method: TokenEndpointAuthMethod::None,
                    secret: None,
                    keys: None,
                    grant_types: vec![GrantType::RefreshToken],
                    scope: None,
                    resources: Vec::new(),
                };
                // Somebody else may have added it at this very moment; that is as good.
                let _ = new.add(&*self.opened.store, SystemClock.now()).await?;
                client::note(id, AuditAction::Register, "the client was added by an import");
            }
            self.created.push(id.clone());
        }
        Ok(())
    }
}

/// How many rows there are, for the progress. One table may be missing; a database without either is not the old one.
async fn totals(old: &PostgresTokenStorage) -> anyhow::Result<[(TokenKind, u64); 2]> {
    let (refresh, access) = (old.get_refresh_token_count().await, old.get_token_count().await);
    if let (Err(_), Err(error)) = (&refresh, &access) {
        return Err(anyhow::anyhow!(
            "no table of the Python package can be read in the old database: {error}"
        ));
    }
    // Refresh tokens first: they are what keeps people signed in.
    Ok([
        (TokenKind::Refresh, refresh.map_or(0, TokenCount::stored)),
        (TokenKind::Access, access.map_or(0, TokenCount::stored)),
    ])
}

/// A line on the terminal that says how far it is; nothing where nobody looks.
struct Progress {
    kind: TokenKind,
    total: u64,
    is_shown: bool,
}

impl Progress {
    fn begin(kind: TokenKind, total: u64) -> Self {
        Self {
            kind,
            total,
            is_shown: io::stderr().is_terminal() && total > 0,
        }
    }

    fn show(&mut self, done: u64) {
        const WIDTH: u64 = 30;
        if !self.is_shown {
            return;
        }
        // Rows may be added meanwhile.
        let total = self.total.max(done);
        let filled = usize::try_from(done * WIDTH / total).unwrap_or(0);
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(30 - filled.min(30)));
        // A terminal that went away must not end an import.
        let _ = write!(
            io::stderr(),
            "\r[{bar}] {done} of {total} {}s",
            self.kind.as_str()
        );
    }

    fn end(&self) {
        if self.is_shown {
            let _ = writeln!(io::stderr());
        }
    }
}

fn summarize(
    output: Output,
    tallies: &[(TokenKind, Tally)],
    run: &Run<'_>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let created = &run.created;
    let strangers = run.mapping.without_account();
    let mut value = json!({
        "dry_run": dry_run,
        "clients_created": created,
        "users_without_account": strangers,
    });
    let mut text = String::new();
    if dry_run {
        text.push_str("Nothing was changed; this is what would be done:\n");
    }
    for (kind, tally) in tallies {
        let name = match kind {
            TokenKind::Access => "access_tokens",
            TokenKind::Refresh => "refresh_tokens",
        };
        value[name] = tally.as_json();
        writeln!(
            text,
            "{:<15} {} copied, {} already there, {} expired, {} skipped",
            format!("{}s", kind.as_str()),
            tally.copied,
            tally.already_there,
            tally.expired,
            tally.skipped(),
        )?;
        for (reason, count) in &tally.skipped {
            writeln!(text, "  {count} skipped: {reason}")?;
        }
    }
    if !created.is_empty() {
        let names: Vec<String> = created.iter().map(ToString::to_string).collect();
        writeln!(text, "clients added   {}", names.join(", "))?;
    }
    for (user_id, subject) in strangers {
        writeln!(
            text,
            "user {user_id} is mapped to {subject:?}, which is no account here: that text itself is the subject"
        )?;
    }
    output.print(&value, &text)
}
