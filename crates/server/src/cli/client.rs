//! `authflow client add|list|show|revoke|remove|rotate-secret`.

use clap::{Args, Subcommand};
use mcp_authflow::{
    client::trust::DomainName,
    port::{
        Audit as _, AuditEvent, AuditOutcome, Clock as _, Entropy, Store,
        audit::AuditAction,
        store::{AddClient, StoreError},
    },
    record::{Client, ClientKeys, ClientOrigin, ClientProfile, UserId},
};
use mcp_authflow_jose::KeySet;
use mcp_authflow_types::{
    ApplicationType, ClientId, ClientSecret, GrantType, RedirectUri, Resource, Scope, Timestamp,
    TokenEndpointAuthMethod, client_id::is_metadata_document_url, redirect_uri::RedirectHost,
    uri::is_loopback_host,
};
use serde_json::json;

use super::{
    Output, Refused,
    output::{moment, table},
    warn_of_old_tokens,
};
use crate::{
    audit_trail::AuditTrail,
    config::Config,
    system::{SystemClock, SystemEntropy},
    wire::Opened,
};

#[derive(Debug, Subcommand)]
pub(super) enum ClientVerb {
    /// Add a client, vouched for by you: its name is shown as a fact
    #[command(after_help = "Examples:
  authflow client add --name 'Team notes' \\
      --redirect-uri https://notes.example/callback
  authflow client add --name Backend --auth-method client_secret_basic \\
      --grant-type client_credentials --scope 'svc:sync'
  authflow client add --name Nightly --auth-method private_key_jwt \\
      --jwks nightly.jwks.json --grant-type client_credentials \\
      --scope 'svc:sync'
  authflow client add --name 'Living room' --grant-type refresh_token \\
      --grant-type urn:ietf:params:oauth:grant-type:device_code")]
    Add(Box<Add>),
    /// List clients
    List,
    /// Show one client
    Show {
        /// Its identifier
        client_id: ClientId,
    },
    /// Stop everything issued to a client at once; the client itself stays
    Revoke {
        /// Its identifier
        client_id: ClientId,
    },
    /// Remove a client: everything issued to it stops at once
    Remove {
        /// Its identifier
        client_id: ClientId,
    },
    /// Give a confidential client a new secret, printed once
    RotateSecret {
        /// Its identifier
        client_id: ClientId,
        /// How many minutes the old secret stays good
        #[arg(long, value_name = "MINUTES", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_080))]
        keep_old: u64,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// What people call it
    #[arg(long)]
    name: String,
    /// Its identifier [default: a random one]
    #[arg(long)]
    id: Option<ClientId>,
    /// Where its answers may go; several times for several
    #[arg(long = "redirect-uri", value_name = "URI", value_parser = RedirectUri::parse)]
    redirect_uris: Vec<RedirectUri>,
    /// How it proves who it is: none, client_secret_basic, client_secret_post or private_key_jwt
    #[arg(long, alias = "token-endpoint-auth-method", default_value = "none", value_parser = method)]
    auth_method: TokenEndpointAuthMethod,
    /// A file with its public keys, a JWK Set, for private_key_jwt
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<std::path::PathBuf>,
    /// The https address of its public keys, a JWK Set, for private_key_jwt
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// The grants it may use; several times for several [default: authorization_code and refresh_token]
    #[arg(long = "grant-type", value_name = "GRANT", value_parser = grant_type)]
    grant_types: Vec<GrantType>,
    /// The most it may be granted, tokens with spaces between [default: no ceiling; needed for client_credentials]
    #[arg(long)]
    scope: Option<Scope>,
    /// The resources it may use; several times for several [default: all]
    #[arg(long = "resource", value_name = "URI")]
    resources: Vec<Resource>,
}

fn method(text: &str) -> Result<TokenEndpointAuthMethod, String> {
    one_of(
        TokenEndpointAuthMethod::parse(text),
        TokenEndpointAuthMethod::ALL.iter().map(|one| one.as_str()),
    )
}

fn grant_type(text: &str) -> Result<GrantType, String> {
    one_of(
        GrantType::parse(text),
        GrantType::ALL.iter().map(|one| one.as_str()),
    )
}

fn one_of<T>(found: Option<T>, known: impl Iterator<Item = &'static str>) -> Result<T, String> {
    found.ok_or_else(|| format!("write one of {}", known.collect::<Vec<_>>().join(", ")))
}

/// A client that the operator vouches for, before it is stored.
pub(crate) struct NewClient {
    pub(crate) id: ClientId,
    pub(crate) name: String,
    pub(crate) redirect_uris: Vec<RedirectUri>,
    pub(crate) application_type: ApplicationType,
    pub(crate) token_endpoint_auth_method: TokenEndpointAuthMethod,
    pub(crate) secret: Option<ClientSecret>,
    pub(crate) keys: Option<ClientKeys>,
    pub(crate) grant_types: Vec<GrantType>,
    pub(crate) scope: Option<Scope>,
    pub(crate) resources: Vec<Resource>,
}

/// Native when any redirect leads to this computer or an app.
pub(crate) fn application_type(redirect_uris: &[RedirectUri]) -> ApplicationType {
    let is_web = |uri: &RedirectUri| matches!(uri.host(), RedirectHost::Web(host) if !is_loopback_host(host));
    if redirect_uris.iter().all(is_web) {
        ApplicationType::Web
    } else {
        ApplicationType::Native
    }
}

impl NewClient {
    /// Checks what belongs together, and stores the client.
    pub(crate) async fn add(self, store: &dyn Store, now: Timestamp) -> anyhow::Result<AddClient> {
        let grant_types = if self.grant_types.is_empty() {
            vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
        } else {
            self.grant_types
        };
        let is_confidential = self.token_endpoint_auth_method != TokenEndpointAuthMethod::None;
        let refuse = |why: &str| Err(Refused(why.to_owned()).into());
        if UserId::has_form_of_one(self.id.as_str()) {
            return refuse(
                "u_ and 32 hexadecimal digits is what accounts are called: choose another identifier",
            );
        }
        if self.token_endpoint_auth_method.uses_secret() != self.secret.is_some() {
            return refuse(
                "a secret goes with client_secret_basic and client_secret_post, and only with them",
            );
        }
        if (self.token_endpoint_auth_method == TokenEndpointAuthMethod::PrivateKeyJwt) != self.keys.is_some()
        {
            return refuse(if self.keys.is_some() {
                "public keys (jwks or jwks_uri) go with private_key_jwt only"
            } else {
                "private_key_jwt needs the client's public keys: --jwks FILE or --jwks-uri URL"
            });
        }
        if grant_types.contains(&GrantType::AuthorizationCode) == self.redirect_uris.is_empty() {
            return refuse(if self.redirect_uris.is_empty() {
                "the authorization_code grant needs a redirect URI: say --redirect-uri, or another --grant-type"
            } else {
                "redirect URIs go with the authorization_code grant only: leave them out, or add that grant"
            });
        }
        if self.redirect_uris.len() > RedirectUri::MAX_PER_CLIENT {
            return refuse("a client has at most 20 redirect URIs");
        }
        if grant_types.contains(&GrantType::ClientCredentials) && !is_confidential {
            return refuse(
                "client_credentials is for confidential clients: choose --auth-method client_secret_basic",
            );
        }
        if grant_types.contains(&GrantType::ClientCredentials) && self.scope.is_none() {
            return refuse("client_credentials needs --scope: without a ceiling there is nothing to give");
        }
        let client = Client {
            id: self.id,
            generation: 0,
            secret: self.secret.as_ref().map(ClientSecret::hash),
            retired_secret: None,
            created_at: now,
            expires_at: None,
            profile: ClientProfile {
                name: Some(self.name),
                redirect_uris: self.redirect_uris,
                grant_types,
                token_endpoint_auth_method: self.token_endpoint_auth_method,
                keys: self.keys,
                scope: self.scope,
                resources: self.resources,
                application_type: self.application_type,
                ..ClientProfile::new(ClientOrigin::Operator)
            },
        };
        Ok(store.add_client(&client).await?)
    }
}

impl ClientVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run(opened, output).await,
            Self::List => list(opened, output).await,
            Self::Show { client_id } => {
                let client = load(opened, &client_id).await?;
                let value = as_json(&client);
                output.print(&value, &format!("{value:#}"))
            }
            Self::Revoke { client_id } => {
                if opened.store.revoke_client(&client_id).await?.is_none() {
                    return Err(unknown(&client_id));
                }
                note(
                    &client_id,
                    AuditAction::Revoke,
                    "everything of the client was revoked",
                );
                warn_of_old_tokens(
                    config,
                    "they are good at the old program, and here when they are presented; delete the client's rows there \
                     (for an end here only: run authflow import, then this again)",
                );
                output.print(
                    &json!({ "client_id": client_id, "revoked": true }),
                    &format!("revoked everything that was issued to {client_id}"),
                )
            }
            Self::Remove { client_id } => {
                if !opened.store.remove_client(&client_id, SystemClock.now()).await? {
                    return Err(unknown(&client_id));
                }
                note(&client_id, AuditAction::Revoke, "the client was removed");
                output.print(&json!({ "client_id": client_id }), &removed(&client_id))
            }
            Self::RotateSecret { client_id, keep_old } => rotate(opened, output, &client_id, keep_old).await,
        }
    }
}

impl Add {
    async fn run(self, opened: &Opened, output: Output) -> anyhow::Result<()> {
        let secret = self
            .auth_method
            .uses_secret()
            .then(|| ClientSecret::mint(&(&SystemEntropy as &dyn Entropy).draw()));
        let jwks = self
            .jwks
            .map(|path| {
                std::fs::read_to_string(&path)
                    .map_err(|error| Refused(format!("cannot read {}: {error}", path.display())))
            })
            .transpose()?;
        let keys = keys(jwks, self.jwks_uri)?;
        let id = match self.id {
            Some(id) => id,
            None => random_client_id()?,
        };
        let new = NewClient {
            id: id.clone(),
            name: self.name,
            application_type: application_type(&self.redirect_uris),
            redirect_uris: self.redirect_uris,
            token_endpoint_auth_method: self.auth_method,
            secret: secret.clone(),
            keys,
            grant_types: self.grant_types,
            scope: self.scope,
            resources: self.resources,
        };
        if new.add(&*opened.store, SystemClock.now()).await? == AddClient::Taken {
            return Err(Refused(format!("the identifier {id} is taken")).into());
        }
        note(&id, AuditAction::Register, "the client was added");
        print_credentials(output, &id, secret.as_ref())
    }
}

/// Where a client's public keys are, when exactly one place is named.
pub(crate) fn keys(jwks: Option<String>, jwks_uri: Option<String>) -> anyhow::Result<Option<ClientKeys>> {
    match (jwks, jwks_uri) {
        (None, None) => Ok(None),
        (Some(jwks), None) => {
            let keys = KeySet::parse(jwks.as_bytes()).map_err(|error| Refused(format!("jwks: {error}")))?;
            if keys.is_empty() && keys.skipped() == 0 {
                let why = "there is no key in jwks: a JWK Set is an object with a list, {\"keys\": [{…}]}";
                return Err(Refused(why.to_owned()).into());
            }
            if keys.is_empty() {
                return Err(Refused(format!(
                    "none of the {} keys in jwks can be used: they are to be public (no `d`), and RSA of 2048 to 4096 \
                     bits, EC on P-256, P-384 or P-521, or Ed25519",
                    keys.skipped()
                ))
                .into());
            }
            Ok(Some(ClientKeys::Jwks(jwks)))
        }
        (None, Some(uri)) if uri.starts_with("https://") => Ok(Some(ClientKeys::JwksUri(uri))),
        (None, Some(uri)) => Err(Refused(format!("jwks_uri {uri:?} is not an https URL")).into()),
        (Some(_), Some(_)) => Err(Refused("keys are in jwks or at jwks_uri, not both".to_owned()).into()),
    }
}

/// A random identifier for a client.
pub(crate) fn random_client_id() -> anyhow::Result<ClientId> {
    use std::fmt::Write as _;
    let random: [u8; 16] = (&SystemEntropy as &dyn Entropy).draw();
    let mut text = String::from("c_");
    for byte in random {
        write!(text, "{byte:02x}")?;
    }
    Ok(ClientId::parse(&text)?)
}

/// Prints an identifier and, this once, its secret.
fn print_credentials(output: Output, id: &ClientId, secret: Option<&ClientSecret>) -> anyhow::Result<()> {
    let mut value = json!({ "client_id": id });
    let mut text = format!("client_id      {id}");
    if let Some(secret) = secret {
        value["client_secret"] = secret.expose().into();
        text = format!(
            "{text}\nclient_secret  {}\nThe secret is shown this once; only its digest is kept.",
            secret.expose()
        );
    }
    output.print(&value, &text)
}

/// What is said of a removed client. One that its document describes is let in anew; what was issued to it stays ended.
fn removed(client_id: &ClientId) -> String {
    match DomainName::of(client_id).filter(|_| is_metadata_document_url(client_id.as_str())) {
        Some(host) => format!(
            "removed {client_id}; everything issued to it ended. Its document lets it in anew: to keep it out, \
             authflow client-document host deny {host}"
        ),
        None => format!("removed {client_id}"),
    }
}

async fn list(opened: &Opened, output: Output) -> anyhow::Result<()> {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let after = clients.last().map(|client| client.id.clone());
        let page = opened.store.list_clients(after.as_ref(), 500).await?;
        if page.is_empty() {
            break;
        }
        clients.extend(page);
    }
    let value: Vec<_> = clients.iter().map(as_json).collect();
    let rows: Vec<Vec<String>> = clients
        .iter()
        .map(|client| {
            let origin = match (&client.profile.introspects, client.profile.origin) {
                (Some(_), _) => "resource server",
                (None, ClientOrigin::Operator) => "operator",
                (None, ClientOrigin::Registration) => "registered itself",
                (None, ClientOrigin::MetadataDocument) => "metadata document",
            };
            vec![
                client.id.to_string(),
                client.profile.name.clone().unwrap_or_default(),
                origin.to_owned(),
                client.profile.token_endpoint_auth_method.to_string(),
                moment(client.created_at),
            ]
        })
        .collect();
    output.print(
        &value.into(),
        &table(&["CLIENT_ID", "NAME", "ORIGIN", "AUTH_METHOD", "CREATED"], &rows),
    )
}

async fn rotate(opened: &Opened, output: Output, id: &ClientId, keep_old: u64) -> anyhow::Result<()> {
    let client = load(opened, id).await?;
    if !client.profile.token_endpoint_auth_method.uses_secret() {
        return Err(Refused(format!(
            "{id} has no secret: it is public, or proves itself with a key"
        ))
        .into());
    }
    let secret = ClientSecret::mint(&(&SystemEntropy as &dyn Entropy).draw());
    let old_until = (keep_old > 0).then(|| SystemClock.now() + std::time::Duration::from_secs(keep_old * 60));
    if !opened
        .store
        .replace_client_secret(id, &secret.hash(), old_until)
        .await?
    {
        return Err(unknown(id));
    }
    note(id, AuditAction::Register, "the client's secret was replaced");
    print_credentials(output, id, Some(&secret))
}

async fn load(opened: &Opened, id: &ClientId) -> anyhow::Result<Client> {
    let found: Result<_, StoreError> = opened.store.load_client(id).await;
    Ok(found?.ok_or_else(|| unknown(id))?.as_ref().clone())
}

fn unknown(id: &ClientId) -> anyhow::Error {
    Refused(format!("there is no client {id}; see authflow client list")).into()
}

fn as_json(client: &Client) -> serde_json::Value {
    let mut value = serde_json::to_value(&client.profile).unwrap_or_default();
    value["client_id"] = json!(client.id);
    value["created_at"] = json!(client.created_at);
    value["generation"] = json!(client.generation);
    if let Some(expires_at) = client.expires_at {
        value["expires_at"] = json!(expires_at);
    }
    value
}

/// Notes what was done to a client.
pub(crate) fn note(id: &ClientId, action: AuditAction, what: &'static str) {
    AuditTrail.record(&AuditEvent::new(action, AuditOutcome::Allowed, what).with_client(id));
}
