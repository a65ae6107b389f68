//! `authflow resource add|list|remove`.

use clap::Subcommand;
use mcp_authflow::{
    port::{
        Audit as _, AuditEvent, AuditOutcome, Clock as _, Entropy, Store, audit::AuditAction,
        store::AddResource,
    },
    record::{Client, ClientOrigin, ClientProfile, ResourceRecord, ScopeDescription},
};
use mcp_authflow_types::{
    ApplicationType, ClientId, ClientSecret, Resource, ScopeToken, Timestamp, TokenEndpointAuthMethod,
    scope::OFFLINE_ACCESS,
};
use serde_json::json;

use super::{
    Output, Refused,
    client::random_client_id,
    output::{say, table},
};
use crate::{
    audit_trail::AuditTrail,
    config::Config,
    system::{SystemClock, SystemEntropy},
    wire::Opened,
};

#[derive(Debug, Subcommand)]
pub(super) enum ResourceVerb {
    /// Register an MCP server, and print the credentials with which it introspects tokens
    #[command(after_help = "Example:
  authflow resource add https://notes.example/mcp --name 'Team notes' \\
      --scope 'notes:read=Read your notes' --scope 'notes:write=Change and delete your notes'

The first scope is the one that a client gets which asks for none.")]
    Add {
        /// Its address, as clients type it
        resource: Resource,
        /// What people call it
        #[arg(long)]
        name: String,
        /// A scope and what it allows, in words for the person who is asked; several times for several
        #[arg(long = "scope", value_name = "SCOPE=DESCRIPTION")]
        scopes: Vec<String>,
        /// The identifier of its credentials [default: a random one]
        #[arg(long)]
        client_id: Option<ClientId>,
        /// Print nothing but PREFIX_CLIENT_ID=… and PREFIX_CLIENT_SECRET=…, for an environment file
        #[arg(long, value_name = "PREFIX", conflicts_with = "json", value_parser = variable_prefix)]
        env: Option<String>,
    },
    /// List registered resources
    List,
    /// Remove a resource: its tokens stop at once
    Remove {
        /// Its address
        resource: Resource,
    },
}

/// A resource with the credentials of its server, before it is stored.
pub(crate) struct NewResource {
    pub(crate) resource: Resource,
    pub(crate) name: String,
    pub(crate) scopes: Vec<ScopeDescription>,
    pub(crate) client_id: ClientId,
    pub(crate) secret: ClientSecret,
}

impl NewResource {
    pub(crate) async fn add(self, store: &dyn Store, now: Timestamp) -> anyhow::Result<AddResource> {
        let record = ResourceRecord {
            resource: self.resource.clone(),
            name: self.name.clone(),
            scopes: self.scopes,
            created_at: now,
        };
        let introspector = Client {
            id: self.client_id,
            generation: 0,
            secret: Some(self.secret.hash()),
            retired_secret: None,
            created_at: now,
            expires_at: None,
            profile: ClientProfile {
                origin: ClientOrigin::Operator,
                name: Some(self.name),
                uri: None,
                redirect_uris: Vec::new(),
                grant_types: Vec::new(),
                token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
                keys: None,
                scope: None,
                resources: Vec::new(),
                introspects: Some(self.resource),
                application_type: ApplicationType::Web,
                software_id: None,
                software_version: None,
            },
        };
        Ok(store.add_resource(&record, &introspector).await?)
    }
}

/// Reads a scope and its description.
pub(crate) fn read_scope(token: &str, description: &str) -> anyhow::Result<ScopeDescription> {
    let token = ScopeToken::parse(token)?;
    if token.as_str() == OFFLINE_ACCESS {
        let why = "offline_access belongs to the authorization server, not to a resource: leave it out";
        return Err(Refused(why.to_owned()).into());
    }
    if description.trim().is_empty() {
        return Err(Refused(format!(
            "say in words what {token} allows, as in '{token}=Read your notes'"
        ))
        .into());
    }
    Ok(ScopeDescription {
        token,
        description: description.trim().to_owned(),
    })
}

impl ResourceVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Add {
                resource,
                name,
                scopes,
                client_id,
                env,
            } => {
                let scopes = scopes
                    .iter()
                    .map(|scope| {
                        let (token, description) = scope.split_once('=').unwrap_or((scope, ""));
                        read_scope(token, description)
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                let client_id = match client_id {
                    Some(client_id) => client_id,
                    None => random_client_id()?,
                };
                let secret = ClientSecret::mint(&(&SystemEntropy as &dyn Entropy).draw());
                let new = NewResource {
                    resource: resource.clone(),
                    name,
                    scopes,
                    client_id: client_id.clone(),
                    secret: secret.clone(),
                };
                match new.add(&*opened.store, SystemClock.now()).await? {
                    AddResource::Added => {}
                    AddResource::Taken => {
                        return Err(Refused(format!(
                            "{resource} is registered already; for a new secret see authflow client list and rotate-secret"
                        ))
                        .into());
                    }
                    AddResource::ClientTaken => {
                        return Err(Refused(format!("the identifier {client_id} is taken")).into());
                    }
                }
                note(&resource, Some(&client_id), "was added");
                match env {
                    Some(prefix) => say(format_args!(
                        "{prefix}_CLIENT_ID={client_id}\n{prefix}_CLIENT_SECRET={}",
                        secret.expose()
                    )),
                    None => print_added(output, config, &resource, &client_id, &secret),
                }
            }
            Self::List => list(opened, output).await,
            Self::Remove { resource } => {
                if !opened.store.remove_resource(&resource).await? {
                    let why = format!("{resource} is not registered; see authflow resource list");
                    return Err(Refused(why).into());
                }
                note(&resource, None, "was removed");
                output.print(&json!({ "resource": resource }), &format!("removed {resource}"))
            }
        }
    }
}

/// A name that every shell takes for a variable's beginning.
fn variable_prefix(text: &str) -> Result<String, String> {
    let ok = text.starts_with(|first: char| first.is_ascii_uppercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if ok {
        Ok(text.to_owned())
    } else {
        Err("write capitals, digits and underscores, such as HELLO_MCP".to_owned())
    }
}

fn print_added(
    output: Output,
    config: &Config,
    resource: &Resource,
    client_id: &ClientId,
    secret: &ClientSecret,
) -> anyhow::Result<()> {
    let introspection = config.issuer.endpoint("/introspect");
    let value = json!({
        "resource": resource,
        "issuer": config.issuer.as_str(),
        "introspection_endpoint": introspection,
        "client_id": client_id,
        "client_secret": secret.expose(),
    });
    let text = format!(
        "registered {resource}\n\nIts server introspects tokens at {introspection} with\n  client_id      {client_id}\n  \
         client_secret  {}\nThe secret is shown this once; only its digest is kept.",
        secret.expose()
    );
    output.print(&value, &text)
}

async fn list(opened: &Opened, output: Output) -> anyhow::Result<()> {
    let resources = opened.store.list_resources().await?;
    let value: Vec<_> = resources
        .iter()
        .map(|one| json!({ "resource": one.resource, "name": one.name, "scopes": one.scopes, "created_at": one.created_at }))
        .collect();
    let rows: Vec<Vec<String>> = resources
        .iter()
        .map(|one| {
            vec![
                one.resource.to_string(),
                one.name.clone(),
                one.scope().to_string(),
            ]
        })
        .collect();
    output.print(&value.into(), &table(&["RESOURCE", "NAME", "SCOPES"], &rows))
}

/// Notes what was done to a resource. Its address is no caller's words: the operator wrote it, and it was parsed.
pub(crate) fn note(resource: &Resource, introspector: Option<&ClientId>, what: &str) {
    let reason = format!("the resource {resource} {what}");
    let mut event = AuditEvent::new(AuditAction::Register, AuditOutcome::Allowed, reason);
    if let Some(client_id) = introspector {
        event = event.with_client(client_id);
    }
    AuditTrail.record(&event);
}
