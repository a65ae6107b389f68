//! A new document.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Args;
use mcp_authflow::client::metadata_document::{Draft, DraftKeys, InvalidDraft, Severity};

use super::{Output, Refused, in_full};
use crate::cli::output::say;

#[derive(Debug, Args)]
pub(crate) struct Make {
    /// The https URL that it will be served at: the client's identifier from then on
    #[arg(long, value_name = "URL")]
    client_id: String,
    /// What people know the client by
    #[arg(long)]
    name: String,
    /// Where its answers may go; several times for several. Loopback ports are taken off: any port matches
    #[arg(long = "redirect-uri", value_name = "URI", required = true)]
    redirect_uris: Vec<String>,
    /// The https address of its public keys, for a client that signs
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// A file with its public keys, a JWK Set, to stand in the document
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<PathBuf>,
    /// It signs, but not always: some of its copies have no key
    #[arg(long)]
    assertion_is_optional: bool,
    /// Devices without a browser use it too (RFC 8628)
    #[arg(long)]
    device: bool,
    /// Its home page
    #[arg(long, value_name = "URL")]
    client_uri: Option<String>,
    /// Its logo: PNG, JPEG, WebP or GIF, at most 64 KiB
    #[arg(long, value_name = "URL")]
    logo_uri: Option<String>,
    /// Its privacy policy
    #[arg(long, value_name = "URL")]
    policy_uri: Option<String>,
    /// Its terms of service
    #[arg(long, value_name = "URL")]
    tos_uri: Option<String>,
    /// Which software it is, the same for all its versions
    #[arg(long, value_name = "ID")]
    software_id: Option<String>,
    /// Which version of it
    #[arg(long, value_name = "VERSION")]
    software_version: Option<String>,
}

impl Make {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        let jwks = self
            .jwks
            .map(|path| {
                let broken =
                    |why: String| Refused(format!("cannot read keys from {}: {why}", path.display()));
                let text = std::fs::read(&path).map_err(|error| broken(error.to_string()))?;
                serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
            })
            .transpose()?;
        if self.assertion_is_optional && jwks.is_none() && self.jwks_uri.is_none() {
            return Err(Refused(
                "--assertion-is-optional needs keys: --jwks-uri URL or --jwks FILE".to_owned(),
            )
            .into());
        }
        let draft = Draft {
            client_id: self.client_id,
            client_name: self.name,
            redirect_uris: self.redirect_uris,
            keys: jwks
                .map(DraftKeys::Jwks)
                .or(self.jwks_uri.map(DraftKeys::JwksUri)),
            assertion_is_optional: self.assertion_is_optional,
            uses_device_grant: self.device,
            client_uri: self.client_uri,
            logo_uri: self.logo_uri,
            policy_uri: self.policy_uri,
            tos_uri: self.tos_uri,
            software_id: self.software_id,
            software_version: self.software_version,
        };
        let text = match draft.write() {
            Ok(text) => text,
            Err(InvalidDraft(findings)) => {
                output.print(&serde_json::json!({ "findings": findings }), &in_full(&findings))?;
                return Err(Refused("the document would be refused".to_owned()).into());
            }
        };
        say(format_args!("{}", text.trim_end()))?;
        let mut findings = draft.findings();
        findings.retain(|finding| finding.severity < Severity::Note);
        if !findings.is_empty() {
            // Where nobody reads it, nothing is lost: the document is good.
            let _ = io::stderr().write_all(in_full(&findings).as_bytes());
        }
        Ok(())
    }
}
