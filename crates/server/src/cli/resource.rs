//! `authflow resource add|list|set|remove`.

use clap::{
    Args, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use mcp_authflow::{
    port::{
        Audit as _, AuditEvent, AuditOutcome, Clock as _, Entropy, Store, audit::AuditAction,
        store::AddResource,
    },
    record::{
        AccessTokenFormat, Client, ClientOrigin, ClientProfile, ResourceRecord, ScopeDescription,
        SigningAlgorithm,
    },
};
use mcp_authflow_types::{
    ClientId, ClientSecret, Resource, Scope, ScopeToken, Timestamp, TokenEndpointAuthMethod,
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
      --scope 'notes:read=Read your notes' \\
      --scope 'notes:write=Change and delete your notes' \\
      --scope-tools 'notes:read=list_notes,read_note' \\
      --scope-includes 'notes:write=notes:read'

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
        /// The tools that a scope opens, shown to the person who is asked; several times for several scopes
        #[arg(long, value_name = "SCOPE=TOOL,TOOL")]
        scope_tools: Vec<String>,
        /// The narrower scopes that a scope includes; several times for several scopes
        #[arg(long, value_name = "SCOPE=SCOPE,SCOPE")]
        scope_includes: Vec<String>,
        /// The identifier of its credentials [default: a random one]
        #[arg(long)]
        client_id: Option<ClientId>,
        /// Print nothing but PREFIX_CLIENT_ID=… and PREFIX_CLIENT_SECRET=…, for an environment file
        #[arg(long, value_name = "PREFIX", conflicts_with = "json", value_parser = variable_prefix)]
        env: Option<String>,
        #[command(flatten)]
        format: FormatArguments,
    },
    /// List registered resources
    List,
    /// Change how access tokens for a resource are made from now on
    #[command(after_help = "Example:
  authflow resource set https://notes.example/mcp --access-token-format jwt

Tokens that were issued stay as they are.")]
    Set {
        /// Its address
        resource: Resource,
        /// opaque: its server asks about every token; jwt: the token says what it is good for until it expires
        #[arg(long, value_enum, value_name = "FORMAT")]
        access_token_format: FormatName,
        /// What signs its tokens [default: ES256]
        #[arg(long, value_name = "ALGORITHM", value_parser = signing_algorithm())]
        signing_algorithm: Option<SigningAlgorithm>,
    },
    /// Remove a resource: its tokens stop at once
    Remove {
        /// Its address
        resource: Resource,
    },
}

/// How access tokens for a resource are made.
#[derive(Debug, Args)]
pub(super) struct FormatArguments {
    /// opaque: its server asks about every token; jwt: the token says what it is good for until it expires
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "opaque")]
    access_token_format: FormatName,
    /// What signs its tokens [default: ES256]
    #[arg(long, value_name = "ALGORITHM", value_parser = signing_algorithm())]
    signing_algorithm: Option<SigningAlgorithm>,
}

/// The names of the formats.
#[derive(Clone, Copy, Debug, Default, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatName {
    #[default]
    Opaque,
    Jwt,
}

impl FormatName {
    /// Joins it with an algorithm.
    pub(crate) fn by(self, algorithm: Option<SigningAlgorithm>) -> anyhow::Result<AccessTokenFormat> {
        match (self, algorithm) {
            (Self::Jwt, algorithm) => Ok(AccessTokenFormat::Jwt(algorithm.unwrap_or_default())),
            (Self::Opaque, None) => Ok(AccessTokenFormat::Opaque),
            (Self::Opaque, Some(_)) => {
                let why = "a signing algorithm is for jwt: opaque access tokens are not signed";
                Err(Refused(why.to_owned()).into())
            }
        }
    }
}

/// Reads an algorithm of the command line.
pub(super) fn signing_algorithm() -> impl TypedValueParser<Value = SigningAlgorithm> {
    PossibleValuesParser::new(SigningAlgorithm::ALL.iter().map(|one| one.as_str()))
        .map(|name| SigningAlgorithm::parse(&name).unwrap_or_default())
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
    /// Adds it, with opaque access tokens.
    pub(crate) async fn add(self, store: &dyn Store, now: Timestamp) -> anyhow::Result<AddResource> {
        self.add_with(AccessTokenFormat::Opaque, store, now).await
    }

    /// Adds it, with access tokens of this format.
    pub(crate) async fn add_with(
        self,
        format: AccessTokenFormat,
        store: &dyn Store,
        now: Timestamp,
    ) -> anyhow::Result<AddResource> {
        ResourceRecord::check_inclusions(&self.scopes).map_err(|why| Refused(why.to_string()))?;
        let record = ResourceRecord {
            resource: self.resource.clone(),
            name: self.name.clone(),
            scopes: self.scopes,
            access_token_format: format,
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
                name: Some(self.name),
                token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic,
                introspects: Some(self.resource),
                ..ClientProfile::new(ClientOrigin::Operator)
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
    // MCP security best practices, Scope Minimization: nobody can tell what such a one allows, least of all later.
    if token.as_str().split(':').any(|part| part == "*") || ["all", "full-access"].contains(&token.as_str()) {
        let why =
            format!("{token} allows everything, now and later: name what can be allowed, scope by scope");
        return Err(Refused(why).into());
    }
    if description.trim().is_empty() {
        return Err(Refused(format!(
            "say in words what {token} allows, as in '{token}=Read your notes'"
        ))
        .into());
    }
    Ok(ScopeDescription::new(token, description.trim()))
}

/// Reads the tools of a scope into its description.
fn read_tools(text: &str, scopes: &mut [ScopeDescription]) -> anyhow::Result<()> {
    let (token, tools) = text.split_once('=').unwrap_or((text, ""));
    let Some(scope) = scopes.iter_mut().find(|one| one.token.as_str() == token) else {
        return Err(Refused(format!(
            "--scope-tools speaks of {token}, and there is no --scope '{token}=…'"
        ))
        .into());
    };
    scope.tools.extend(tool_names(tools.split(','))?);
    Ok(())
}

/// Reads what a scope includes into its description.
fn read_includes(text: &str, scopes: &mut [ScopeDescription]) -> anyhow::Result<()> {
    let (token, included) = text.split_once('=').unwrap_or((text, ""));
    let Some(scope) = scopes.iter_mut().find(|one| one.token.as_str() == token) else {
        let why = format!("--scope-includes speaks of {token}, and there is no --scope '{token}=…'");
        return Err(Refused(why).into());
    };
    scope.includes = scope.includes.union(&included_scopes(included.split(','))?);
    Ok(())
}

/// The narrower scopes that a scope includes.
pub(crate) fn included_scopes<'a>(tokens: impl Iterator<Item = &'a str>) -> anyhow::Result<Scope> {
    let tokens: Result<Scope, _> = tokens.map(|token| ScopeToken::parse(token.trim())).collect();
    tokens.map_err(|_| {
        Refused("name the scopes that a scope includes, as in 'notes:write=notes:read'".to_owned()).into()
    })
}

/// Names of tools, as the server lists them.
pub(crate) fn tool_names<'a>(names: impl Iterator<Item = &'a str>) -> anyhow::Result<Vec<String>> {
    let names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        let why = "name the tools of a scope, as in 'notes:read=list_notes,read_note'";
        return Err(Refused(why.to_owned()).into());
    }
    Ok(names)
}

impl ResourceVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Add {
                resource,
                name,
                scopes,
                scope_tools,
                scope_includes,
                client_id,
                env,
                format,
            } => {
                let format = format.access_token_format.by(format.signing_algorithm)?;
                let mut scopes = scopes
                    .iter()
                    .map(|scope| {
                        let (token, description) = scope.split_once('=').unwrap_or((scope, ""));
                        read_scope(token, description)
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                for tools in &scope_tools {
                    read_tools(tools, &mut scopes)?;
                }
                for includes in &scope_includes {
                    read_includes(includes, &mut scopes)?;
                }
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
                match new.add_with(format, &*opened.store, SystemClock.now()).await? {
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
                make_key_for(format, opened, config).await?;
                match env {
                    Some(prefix) => say(format_args!(
                        "{prefix}_CLIENT_ID={client_id}\n{prefix}_CLIENT_SECRET={}",
                        secret.expose()
                    )),
                    None => print_added(output, config, &resource, &client_id, &secret),
                }
            }
            Self::List => list(opened, output).await,
            Self::Set {
                resource,
                access_token_format,
                signing_algorithm,
            } => {
                let format = access_token_format.by(signing_algorithm)?;
                make_key_for(format, opened, config).await?;
                if !opened.store.set_access_token_format(&resource, format).await? {
                    return Err(unknown(&resource).into());
                }
                note(&resource, None, "got another access token format");
                let mut value = json!({ "resource": resource });
                describe_format(format, &mut value);
                output.print(
                    &value,
                    &format!("access tokens for {resource}: {}", in_words(format)),
                )
            }
            Self::Remove { resource } => {
                if !opened.store.remove_resource(&resource).await? {
                    return Err(unknown(&resource).into());
                }
                note(&resource, None, "was removed");
                output.print(&json!({ "resource": resource }), &format!("removed {resource}"))
            }
        }
    }
}

fn unknown(resource: &Resource) -> Refused {
    Refused(format!(
        "{resource} is not registered; see authflow resource list"
    ))
}

/// Makes the first key of an algorithm where there is none yet, so that it is published before there is a token of it.
async fn make_key_for(format: AccessTokenFormat, opened: &Opened, config: &Config) -> anyhow::Result<()> {
    if let Some(algorithm) = format.algorithm() {
        let ring = opened.key_ring(config);
        ring.ensure(algorithm, SystemClock.now()).await?;
    }
    Ok(())
}

fn describe_format(format: AccessTokenFormat, value: &mut serde_json::Value) {
    value["access_token_format"] = format.as_str().into();
    if let Some(algorithm) = format.algorithm() {
        value["signing_algorithm"] = algorithm.as_str().into();
    }
}

fn in_words(format: AccessTokenFormat) -> String {
    let algorithm = format.algorithm().map(|algorithm| format!(" {algorithm}"));
    format!("{}{}", format.as_str(), algorithm.unwrap_or_default())
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
        .map(|one| {
            let mut value = json!({
                "resource": one.resource,
                "name": one.name,
                "scopes": one.scopes,
                "created_at": one.created_at,
            });
            describe_format(one.access_token_format, &mut value);
            value
        })
        .collect();
    let rows: Vec<Vec<String>> = resources
        .iter()
        .map(|one| {
            vec![
                one.resource.to_string(),
                one.name.clone(),
                one.scope().to_string(),
                in_words(one.access_token_format),
            ]
        })
        .collect();
    output.print(
        &value.into(),
        &table(&["RESOURCE", "NAME", "SCOPES", "TOKENS"], &rows),
    )
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
