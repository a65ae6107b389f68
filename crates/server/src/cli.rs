//! The command line: one verb a file.
//!
//! Verbs other than `serve` and `protect` open the database directly, also beside a running server. What they change is
//! noted in the audit trail, on standard error; what they were asked for goes to standard output. Exit codes: 0 done, 1
//! refused, 2 usage or configuration.

pub(crate) mod client;
mod client_document;
mod config;
mod grant;
mod import;
mod keys;
mod known_clients;
mod migrate;
pub(crate) mod output;
mod protect;
pub(crate) mod resource;
mod serve;
mod token;
pub(crate) mod user;

use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use self::output::Output;
use crate::{
    config::{Config, ConfigError},
    log,
    wire::{Opened, Purpose},
};

/// An OAuth 2.1 authorization server for MCP.
#[derive(Debug, Parser)]
#[command(name = "authflow", version, about, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "Examples:
  authflow serve                              start, everything at its default
  authflow protect http://127.0.0.1:9000/mcp  sign-in in front of an MCP server
  authflow resource add http://127.0.0.1:8001/mcp --name 'Hello MCP' \\
      --scope 'hello:read=Say hello to you'
  authflow user add alice
  authflow config print                       every setting, and its origin

Settings are read from flags, then from variables (AUTHFLOW_ISSUER, AUTHFLOW_LIFETIMES__CODE, DATABASE_URL), then from \
./authflow.toml or --config.";

/// Where help shows them: below what the verb itself takes.
const FOR_ALL: &str = "Options of every verb";

/// What every verb takes.
#[derive(Debug, Args)]
struct Common {
    /// The configuration file [default: ./authflow.toml, when it is there]
    #[arg(long, global = true, help_heading = FOR_ALL, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where state is kept: sqlite:PATH, postgres://…, or memory:
    #[arg(long, global = true, help_heading = FOR_ALL, value_name = "URL")]
    database_url: Option<String>,
    /// The folder of the embedded database and the server key
    #[arg(long, global = true, help_heading = FOR_ALL, value_name = "DIR")]
    data_dir: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = FOR_ALL)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the server
    Serve(serve::Serve),
    /// Run the server in front of an MCP server, so that only people who signed in can call its tools
    Protect(Box<protect::Protect>),
    /// Bring the database's schema up to date
    Migrate,
    /// Check or print the configuration
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Accounts of people
    #[command(subcommand)]
    User(user::UserVerb),
    /// Clients: the applications that ask for tokens
    #[command(subcommand)]
    Client(client::ClientVerb),
    /// Client ID metadata documents: check, write, keep, decide whose count
    #[command(subcommand)]
    ClientDocument(client_document::ClientDocumentVerb),
    /// Resources: the MCP servers that tokens are for
    #[command(subcommand)]
    Resource(resource::ResourceVerb),
    /// Copy the live tokens of the Python package's tables, without signing anyone out
    Import(Box<import::ImportVerb>),
    /// What real MCP clients do, and what each needs here
    #[command(subcommand)]
    KnownClients(known_clients::KnownClientsVerb),
    /// The keys that sign tokens
    #[command(subcommand)]
    Keys(keys::KeysVerb),
    /// What people have allowed, and its end
    #[command(subcommand)]
    Grant(grant::GrantVerb),
    /// Look into tokens, count and revoke them
    #[command(subcommand)]
    Token(token::TokenVerb),
}

/// What a verb was refused, for exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// Reads the command line, runs the verb, and says how it went.
pub(crate) fn run() -> ExitCode {
    let Cli { common, verb } = Cli::parse();
    let output = Output { json: common.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("the runtime cannot be started: {error}"));
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run_verb(&common, verb, output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

/// Says what a verb that ends everything of somebody does not reach: with `import.read_through` there are tokens of which
/// nothing here knows yet.
fn warn_of_old_tokens(config: &Config, what_becomes_of_them: &str) {
    if config.import.read_through.is_some() {
        complain(format_args!(
            "warning: import.read_through is set, and tokens that were not taken in yet were not reached: \
             {what_becomes_of_them}"
        ));
    }
}

/// Says what went wrong; where nobody listens, the exit code says it alone.
fn complain(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "authflow: {what}");
}

async fn run_verb(common: &Common, verb: Verb, output: Output) -> anyhow::Result<()> {
    let mut flags = Vec::new();
    for (key, value) in [
        ("database_url", &common.database_url),
        ("data_dir", &common.data_dir),
    ] {
        if let Some(value) = value {
            flags.push((key, value.clone()));
        }
    }
    match &verb {
        Verb::Serve(serve) => flags.extend(serve.settings()),
        Verb::Protect(protect) => flags.extend(protect.settings()),
        _ => {}
    }
    let config = Config::load(common.config.as_deref(), flags)?;
    let filter = match &verb {
        // The trail says who was refused what, in so many lines; the layer would say it each time.
        Verb::Protect(_) if config.log.filter == crate::config::FILTER => &format!(
            "{},mcp_authflow_resource::layer=warn,mcp_authflow_resource::friction=warn",
            config.log.filter
        ),
        Verb::Serve(_) | Verb::Protect(_) => &config.log.filter,
        _ => &config.log.verb_filter,
    };
    let _log = log::start(config.log.json, filter)?;
    match verb {
        Verb::Serve(serve) => serve.run(config).await,
        Verb::Protect(protect) => protect.run(config).await,
        Verb::Migrate => migrate::run(&config, output).await,
        Verb::Config(verb) => verb.run(&config, output).await,
        Verb::KnownClients(verb) => verb.run(&config, output),
        Verb::User(verb) => with_store(&config, async |opened| verb.run(opened, &config, output).await).await,
        Verb::Client(verb) => {
            with_store(&config, async |opened| verb.run(opened, &config, output).await).await
        }
        Verb::ClientDocument(verb) => verb.run(&config, output).await,
        Verb::Resource(verb) => {
            with_store(&config, async |opened| verb.run(opened, &config, output).await).await
        }
        Verb::Import(verb) => {
            with_store(&config, async |opened| verb.run(opened, &config, output).await).await
        }
        Verb::Keys(verb) => with_store(&config, async |opened| verb.run(opened, &config, output).await).await,
        Verb::Grant(verb) => {
            with_store(&config, async |opened| verb.run(opened, &config, output).await).await
        }
        Verb::Token(verb) => {
            with_store(&config, async |opened| verb.run(opened, &config, output).await).await
        }
    }
}

/// Opens the store for one command, and leaves it whole.
async fn with_store(
    config: &Config,
    work: impl AsyncFnOnce(&Opened) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if config.database == crate::config::Database::Memory {
        return Err(Refused(
            "memory: lives in the server's process; give it users, clients and resources with serve --bootstrap FILE"
                .to_owned(),
        )
        .into());
    }
    let opened = Opened::open(config, Purpose::Command).await?;
    let result = work(&opened).await;
    opened.close().await;
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    /// What is broken over lines by the terminal cannot be copied.
    fn wide_examples(verb: &clap::Command, found: &mut Vec<String>) {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        let wide = help
            .lines()
            .filter(|line| line.starts_with("  ") && line.chars().count() > 80);
        found.extend(wide.map(|line| format!("{}: {line}", verb.get_name())));
        for verb in verb.get_subcommands() {
            wide_examples(verb, found);
        }
    }

    #[test]
    fn examples_fit_a_terminal_of_80_columns() {
        let mut found = Vec::new();
        wide_examples(&Cli::command(), &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
}
