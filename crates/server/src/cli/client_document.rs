//! `authflow client-document lint|make|pin|unpin|refetch|list|host`: the documents in which clients describe themselves.

mod host;
mod lint;
mod make;
mod pin;

use std::path::Path;

use clap::Subcommand;
use mcp_authflow::client::metadata_document::{Finding, MetadataDocument};
use mcp_authflow_types::ClientId;

use super::{
    Output, Refused,
    output::{WIDTH, wrap},
    with_store,
};
use crate::{config::Config, pages::OneLine};

#[derive(Debug, Subcommand)]
pub(super) enum ClientDocumentVerb {
    /// Say what is wrong with a document, and what could be better
    #[command(after_help = "Exit code 1 means that this server would refuse the document.

Examples:
  authflow client-document lint client.json \\
      --client-id https://app.example/oauth/client.json
  authflow client-document lint https://app.example/oauth/client.json")]
    Lint(lint::Lint),
    /// Write a new document, ready to be served
    // What is needed stands in the list and in the examples; spelled out, the line would be 99 characters long.
    #[command(
        override_usage = "authflow client-document make [OPTIONS] \\\n           --client-id <URL> --name <NAME> --redirect-uri <URI>",
        after_help = "Examples:
  authflow client-document make --name 'An app' \\
      --client-id https://app.example/oauth/client.json \\
      --redirect-uri http://127.0.0.1/callback > client.json
  authflow client-document make --name 'An app' \\
      --client-id https://app.example/oauth/client.json \\
      --redirect-uri https://app.example/callback \\
      --jwks-uri https://app.example/oauth/jwks.json"
    )]
    Make(Box<make::Make>),
    /// Keep a copy of a document whose host refuses servers
    #[command(
        after_help = "The copy counts as long as the host cannot be asked. What the host says replaces it.

Example:
  authflow client-document pin client.json"
    )]
    Pin(pin::Pin),
    /// Let go of a pinned copy: from now on only the host counts
    Unpin {
        /// The client's identifier, the URL of its document
        client_id: ClientId,
    },
    /// Have a document fetched anew the next time that its client comes, on every node
    #[command(
        after_help = "After a client's key was stolen and replaced, this makes the new one count at once.

Example:
  authflow client-document refetch https://app.example/oauth/client.json"
    )]
    Refetch {
        /// The client's identifier, the URL of its document
        client_id: ClientId,
    },
    /// List the clients whose documents are kept
    List,
    /// Decide whose documents count, host by host
    #[command(subcommand)]
    Host(host::HostVerb),
}

impl ClientDocumentVerb {
    pub(super) async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Lint(lint) => lint.run(config, output).await,
            Self::Make(make) => make.run(output),
            Self::Pin(pin) => with_store(config, async |opened| pin.run(opened, output).await).await,
            Self::Unpin { client_id } => {
                with_store(config, async |opened| {
                    pin::unpin(opened, &client_id, output).await
                })
                .await
            }
            Self::Refetch { client_id } => {
                with_store(config, async |opened| {
                    pin::refetch(opened, &client_id, output).await
                })
                .await
            }
            Self::List => with_store(config, async |opened| pin::list(opened, output).await).await,
            Self::Host(host) => {
                with_store(config, async |opened| host.run(opened, config, output).await).await
            }
        }
    }
}

/// Reads a document from a file, or from standard input for `-`; no more of it than a server would read, and a byte.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let limit = u64::try_from(MetadataDocument::MAX_BYTES + 1).unwrap_or(u64::MAX);
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut body)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut body))
    };
    match read {
        Ok(_) => Ok(body),
        Err(error) => Err(Refused(format!("cannot read {}: {error}", path.display())).into()),
    }
}

/// The identifier that a document in a file has: the one that is said, or the one that it says itself.
fn identifier(said: Option<String>, body: &[u8], path: &Path) -> anyhow::Result<String> {
    if let Some(said) = said {
        return Ok(said);
    }
    let refuse = |why: String| Refused(format!("{} {why}", path.display()));
    let document: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| refuse(format!("is not JSON: {error}")))?;
    let said = document["client_id"].as_str().map(str::to_owned);
    said.ok_or_else(|| {
        refuse("names no client_id: say --client-id with the URL that it will be served at".to_owned()).into()
    })
}

/// Findings for people: how bad and where, and beneath it what, in lines that fit a terminal.
fn in_full(findings: &[Finding]) -> String {
    const INDENT: usize = 9;
    let mut lines = Vec::new();
    for finding in findings {
        let member = finding.member.unwrap_or("the document");
        lines.push(format!("{:<INDENT$}{member}", finding.severity));
        let what = OneLine::long(&finding.text).to_string();
        lines.extend(
            wrap(&what, WIDTH - INDENT)
                .into_iter()
                .map(|line| format!("{:INDENT$}{line}", "")),
        );
    }
    lines.join("\n") + "\n"
}
