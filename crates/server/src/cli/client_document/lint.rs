//! What is wrong with a document, in a file or where it is served.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use mcp_authflow::client::metadata_document::{Finding, Severity, lint};
use mcp_authflow_fetch as leash;
use serde_json::{Value, json};

use super::{Output, Refused, identifier, in_full, read};
use crate::{config::Config, wire::on_a_leash};

/// How long a host may take; longer than the server gives it, which is said then.
const PATIENCE: Duration = Duration::from_secs(10);
/// Below this, a host is asked at nearly every sign-in.
const SHORT: Duration = Duration::from_secs(300);
/// Above this, this server asks again anyway.
const LONG: Duration = Duration::from_secs(86_400);

#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// The document: a file, - for standard input, or the https URL that it is served at
    #[arg(value_name = "FILE_OR_URL")]
    document: String,
    /// The URL that a file will be served at [default: the client_id that it names]
    #[arg(long, value_name = "URL")]
    client_id: Option<String>,
}

impl Lint {
    pub(super) async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let is_url = self.document.starts_with("https://") || self.document.starts_with("http://");
        let (client_id, mut findings) = if is_url {
            let client_id = self.client_id.unwrap_or_else(|| self.document.clone());
            let findings = served(config, &self.document, &client_id).await;
            (client_id, findings)
        } else {
            let path = PathBuf::from(&self.document);
            let body = read(&path)?;
            let client_id = identifier(self.client_id, &body, &path)?;
            let findings = lint(&client_id, &body);
            (client_id, findings)
        };
        findings.sort_by_key(|finding| finding.severity);
        let text = if findings.is_empty() {
            format!("there is nothing to say against it as the document of {client_id}")
        } else {
            in_full(&findings)
        };
        output.print(&json!({ "client_id": client_id, "findings": findings }), &text)?;
        let errors = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .count();
        match errors {
            0 => Ok(()),
            1 => Err(Refused("the document is refused: one error".to_owned()).into()),
            errors => Err(Refused(format!("the document is refused: {errors} errors")).into()),
        }
    }
}

/// Fetches a document as the server would, and what it points at.
async fn served(config: &Config, url: &str, client_id: &str) -> Vec<Finding> {
    let fetcher = on_a_leash(&config.issuer, config.listen, &config.fetch_networks)
        .deadline(PATIENCE)
        .build();
    let get = async |url: &str, limits| fetcher.get(url, limits, leash::Freshness::Cached).await;
    let document = match get(url, leash::Limits::METADATA).await {
        Ok(document) => document,
        Err(error) => return vec![finding(Severity::Error, None, not_fetched(&error))],
    };
    let mut findings = lint(client_id, &document.body);
    findings.extend(caching(document.fresh_for));
    let members: Value = serde_json::from_slice(&document.body).unwrap_or_default();
    if let Some(url) = members["jwks_uri"].as_str()
        && let Err(error) = get(url, leash::Limits::KEY_SET).await
    {
        findings.push(finding(Severity::Error, Some("jwks_uri"), not_fetched(&error)));
    }
    if let Some(url) = members["logo_uri"].as_str()
        && let Err(error) = get(url, leash::Limits::LOGO).await
    {
        let text = format!("it is not shown: {}", not_fetched(&error));
        findings.push(finding(Severity::Warning, Some("logo_uri"), text));
    }
    findings
}

fn finding(severity: Severity, member: Option<&'static str>, text: impl Into<String>) -> Finding {
    Finding {
        severity,
        member,
        text: text.into(),
    }
}

/// What the host's answer was, and what to do about it.
fn not_fetched(error: &leash::FetchError) -> String {
    use leash::{BadDocument, FetchError, Unavailable};
    let what_to_do = match error {
        FetchError::BadDocument(BadDocument::Redirect(_)) => {
            "serve it at this very URL; redirects are not followed, anywhere"
        }
        FetchError::BadDocument(BadDocument::Status(401 | 403)) => {
            "let servers in data centres read it without signing in: bot protection has to make an exception for this \
             path, or operators have to pin a copy"
        }
        FetchError::BadDocument(BadDocument::Status(404)) => "put it there",
        FetchError::BadDocument(BadDocument::Status(_)) => "answer 200",
        FetchError::BadDocument(BadDocument::ContentType) => "serve it as application/json",
        FetchError::BadDocument(BadDocument::NotAnImage) => {
            "serve a PNG, JPEG, WebP or GIF picture with the content type of just that"
        }
        FetchError::BadDocument(BadDocument::ContentEncoding) => {
            "serve it without a content coding to those who ask for none"
        }
        FetchError::BadDocument(BadDocument::TooLarge(_)) => "make it smaller",
        FetchError::BadDocument(BadDocument::Tls(_)) => {
            "show a certificate for this name, with the whole chain, by an authority that everybody trusts"
        }
        FetchError::BadDocument(_) => "serve it by plain HTTP/1.1 over TLS",
        FetchError::Refused(_) => "use an https URL on a public host",
        FetchError::Unavailable(Unavailable::TimedOut(_)) => {
            "be quick: clients wait five to ten seconds for a whole sign-in"
        }
        FetchError::Unavailable(_) => "try again later, or see whether the host can be reached from here",
    };
    format!("it cannot be fetched ({error}): {what_to_do}")
}

/// Advice about `Cache-Control`.
fn caching(stated: Option<Duration>) -> Option<Finding> {
    let (severity, text) = match stated {
        None => (
            Severity::Warning,
            "the answer does not say how long it may be kept, so every server guesses: send Cache-Control: max-age=3600"
                .to_owned(),
        ),
        Some(stated) if stated < SHORT => (
            Severity::Warning,
            format!(
                "it may be kept for {} s, so your host is asked at nearly every sign-in, and nobody signs in when it is \
                 down: send Cache-Control: max-age=3600",
                stated.as_secs()
            ),
        ),
        Some(stated) if stated > LONG => (
            Severity::Note,
            "it may be kept for more than a day; this server asks again after a day, and others may not: a changed key \
             then counts late"
                .to_owned(),
        ),
        Some(_) => return None,
    };
    Some(finding(severity, None, text))
}
