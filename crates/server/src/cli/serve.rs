//! `authflow serve`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, middleware};
use clap::Args;
use mcp_authflow::{
    AuthorizationServer,
    port::{Clock as _, Entropy, Stopwatch as _},
    record::SigningAlgorithm,
};

use super::output::say;
use crate::{
    bootstrap,
    client_logo::ClientLogos,
    config::{Config, Database},
    http::{
        around::{self, Around},
        health::{self, Draining},
        listen,
    },
    login::{self, People},
    pages::{OneLine, Pages, Site},
    public_url,
    system::{SinceStart, SystemClock, SystemEntropy},
    wire::{Opened, Purpose, Shared},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  authflow serve
  authflow serve --listen 127.0.0.1:9000
  authflow serve --issuer https://auth.example \\
      --database-url postgres://authflow@db/authflow

The first start prints a link by which you make the first account.")]
pub(super) struct Serve {
    /// The address to listen on [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The public address of this server, as clients write it [default: http:// and the address it listens on]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Users, clients and resources to add at the start, where they are missing
    #[arg(long, value_name = "FILE")]
    bootstrap: Option<PathBuf>,
    /// How the log is written: text or json
    #[arg(long, value_name = "FORMAT")]
    log: Option<String>,
}

/// How often expired rows are removed, give or take a quarter.
const CLEAN_EVERY: Duration = Duration::from_secs(60);
/// How many rows of a kind one clean-up step removes, and how many steps follow each other: little at a time.
const CLEAN_ROWS: u32 = 250;
const CLEAN_STEPS: u32 = 20_000;
/// How many times as long as a step took the clean-up rests after it, so that requests beside it hardly notice.
const CLEAN_REST: u32 = 3;
/// And how long it rests at least.
const CLEAN_REST_AT_LEAST: Duration = Duration::from_millis(5);

impl Serve {
    /// The settings that flags override.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        [
            ("listen", &self.listen),
            ("issuer", &self.issuer),
            ("log.format", &self.log),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)))
        .collect()
    }

    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        for danger in config.dangers() {
            tracing::warn!("{danger}");
        }
        let listener = listen::bind(config.listen)?;
        let opened = Opened::open(&config, Purpose::Serve).await?;
        if let Some(file) = &self.bootstrap {
            bootstrap::apply(file, &*opened.store, &*opened.accounts).await?;
        }
        let shared = Shared::connect(&config).await?;
        let server = opened.server(&config, &shared);
        make_keys(&server).await?;
        let people = People::new(
            server.clone(),
            opened.accounts.clone(),
            pages(&config)?,
            opened.key.clone(),
            config.sessions,
        );
        let draining = Draining::default();
        let around = Arc::new(around_of(&config).answering_checks(opened.key.clone()));
        let logos = ClientLogos::new(&config, server.clone(), opened.accounts.clone());
        let app = routes(server.clone(), people, draining.clone(), shared)
            .merge(logos.router())
            .layer(middleware::from_fn_with_state(around, around::around));

        let cleaner = tokio::spawn(keep_clean(server.clone()));
        let asked_to_stop = listen::asked_to_stop()?;
        let running = listen::serve(listener, &config, app, draining, asked_to_stop);
        say_hello(&config, &opened).await?;
        let check = tokio::spawn(public_url::at_start(&config, server, None));
        running.await?;
        check.abort();
        cleaner.abort();
        opened.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Makes the first keys that tokens of the registered resources need, so that they are published before the first token.
async fn make_keys(server: &AuthorizationServer) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let resources = server.ports().store.list_resources().await?;
    let wanted = resources
        .iter()
        .filter_map(|one| one.access_token_format.algorithm());
    for algorithm in wanted.chain([SigningAlgorithm::default()]) {
        server.keys().ensure(algorithm, now).await?;
    }
    Ok(())
}

/// Checks what else a start reads: templates, certificate and key.
pub(super) fn check_files(config: &Config) -> anyhow::Result<()> {
    pages(config)?;
    listen::check_tls(config)
}

pub(super) fn pages(config: &Config) -> anyhow::Result<Pages> {
    let origin = config.issuer.origin();
    let site = Site {
        name: OneLine::name("authflow"),
        host: OneLine::long(origin.split_once("://").map_or(origin, |(_, host)| host)),
        base_path: config.issuer.path().to_owned(),
    };
    Ok(Pages::new(&site, config.templates_dir.as_deref())?)
}

/// All routes of the authorization server.
pub(super) fn routes(
    server: AuthorizationServer,
    people: People,
    draining: Draining,
    shared: Shared,
) -> Router {
    mcp_authflow_axum::router(server.clone(), people.clone())
        .merge(health::router(server, draining, shared.redis))
        .merge(login::router(people))
}

/// What stands around them.
pub(super) fn around_of(config: &Config) -> Around {
    let process = u32::from_be_bytes((&SystemEntropy as &dyn Entropy).draw());
    Around::new(
        process,
        config.trusted_proxies.clone(),
        config.forwarding_header,
        &config.issuer,
    )
}

/// Tells the person at the terminal where the server is, and how to begin.
async fn say_hello(config: &Config, opened: &Opened) -> anyhow::Result<()> {
    say(format_args!("authflow {}", env!("CARGO_PKG_VERSION")))?;
    say(format_args!("  state    {}", place_of_state(config)))?;
    if config.listen.to_string() != config.issuer.origin().trim_start_matches("http://") {
        say(format_args!("  socket   {}", config.listen))?;
    }
    offer_first_account(config, opened).await?;
    // Last, since this is what scripts wait for.
    say(format_args!("authflow listening on {}", config.issuer))
}

/// Where state is kept, in words.
pub(super) fn place_of_state(config: &Config) -> String {
    match &config.database {
        Database::Memory => "in memory, and gone with this process".to_owned(),
        Database::Sqlite(path) => format!("in {}", path.display()),
        Database::Postgres { .. } => "in PostgreSQL".to_owned(),
    }
}

/// Prints the link by which the first account is made, where there is none.
pub(super) async fn offer_first_account(config: &Config, opened: &Opened) -> anyhow::Result<()> {
    if !opened.accounts.has_users().await? {
        let link = login::setup_link(&config.issuer, &opened.key);
        say(format_args!(
            "  There is no account yet. Make the first one, an administrator, here (good once):\n  {link}"
        ))?;
    }
    Ok(())
}

/// Removes what has expired, a little at a time, for as long as the server runs.
pub(super) async fn keep_clean(server: AuthorizationServer) {
    let watch = SinceStart::now();
    loop {
        for _ in 0..CLEAN_STEPS {
            let began = watch.elapsed();
            match server
                .ports()
                .store
                .purge_expired(SystemClock.now(), CLEAN_ROWS)
                .await
            {
                Ok(purged) if purged == mcp_authflow::port::store::Purged::default() => break,
                Ok(purged) => tracing::debug!(?purged, "expired rows removed"),
                Err(error) => {
                    tracing::warn!(%error, "expired rows could not be removed; trying again later");
                    break;
                }
            }
            let took = watch.elapsed().saturating_sub(began);
            tokio::time::sleep((took * CLEAN_REST).max(CLEAN_REST_AT_LEAST)).await;
        }
        let jitter: [u8; 1] = (&SystemEntropy as &dyn Entropy).draw();
        // Three to five quarters of the interval.
        let quarter = CLEAN_EVERY / 4;
        tokio::time::sleep(quarter * 3 + quarter * 2 * u32::from(jitter[0]) / 255).await;
    }
}
