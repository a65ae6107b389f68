//! `serve --bootstrap FILE`: users, clients and resources from a file. What is there already is left as it is.

use std::path::Path;

use anyhow::Context as _;
use mcp_authflow::{
    port::{
        AccountStore, Clock as _, Entropy, Store,
        audit::AuditAction,
        store::{AddClient, AddResource, AddUser},
    },
    record::{SigningAlgorithm, User, UserId},
};
use mcp_authflow_types::{
    ClientId, ClientSecret, GrantType, RedirectUri, Resource, Scope, TokenEndpointAuthMethod,
};

use crate::{
    cli::{
        client::{self, NewClient, application_type},
        resource::{self, FormatName, NewResource, included_scopes, read_scope, tool_names},
        user,
    },
    config::{ConfigError, malformed},
    login::{password, username},
    system::{SystemClock, SystemEntropy},
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<BootstrapUser>,
    #[serde(default)]
    resource: Vec<BootstrapResource>,
    #[serde(default)]
    client: Vec<BootstrapClient>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapUser {
    username: String,
    password: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    admin: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapResource {
    uri: Resource,
    name: String,
    introspection_client_id: ClientId,
    introspection_client_secret: String,
    #[serde(default)]
    access_token_format: FormatName,
    #[serde(default)]
    signing_algorithm: Option<String>,
    #[serde(default)]
    scope: Vec<BootstrapScope>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapScope {
    name: String,
    description: String,
    /// The tools that it opens, shown to the person who is asked.
    #[serde(default)]
    tools: Vec<String>,
    /// The narrower scopes that it includes.
    #[serde(default)]
    includes: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapClient {
    client_id: ClientId,
    name: String,
    #[serde(default)]
    redirect_uris: Vec<RedirectUri>,
    token_endpoint_auth_method: TokenEndpointAuthMethod,
    #[serde(default)]
    client_secret: Option<String>,
    #[serde(default)]
    jwks: Option<String>,
    #[serde(default)]
    jwks_uri: Option<String>,
    #[serde(default)]
    grant_types: Vec<GrantType>,
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(default)]
    resources: Vec<Resource>,
}

/// Reads the file and adds what is missing.
pub(crate) async fn apply(path: &Path, store: &dyn Store, accounts: &dyn AccountStore) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = read(&text, path)?;
    for user in file.user {
        let name = user.username.clone();
        add_user(user, accounts)
            .await
            .with_context(|| format!("user \"{name}\""))?;
    }
    for resource in file.resource {
        let uri = resource.uri.clone();
        add_resource(resource, store)
            .await
            .with_context(|| format!("resource \"{uri}\""))?;
    }
    for client in file.client {
        let id = client.client_id.clone();
        add_client(client, store)
            .await
            .with_context(|| format!("client \"{id}\""))?;
    }
    Ok(())
}

/// The clients that the file names; nothing else of it.
pub(crate) fn clients(path: &Path) -> anyhow::Result<Vec<ClientId>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let clients = read(&text, path)?.client;
    Ok(clients.into_iter().map(|client| client.client_id).collect())
}

/// Reads the file and adds the clients that are missing; nothing else of it.
pub(crate) async fn apply_clients(path: &Path, store: &dyn Store) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    for client in read(&text, path)?.client {
        let id = client.client_id.clone();
        add_client(client, store)
            .await
            .with_context(|| format!("client \"{id}\""))?;
    }
    Ok(())
}

fn read(text: &str, path: &Path) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| malformed(text, path, &error))
}

async fn add_user(user: BootstrapUser, accounts: &dyn AccountStore) -> anyhow::Result<()> {
    let username = username::normalize(&user.username)?;
    if accounts.load_user(&username).await?.is_some() {
        return Ok(());
    }
    password::check_length(&user.password)?;
    let user = User {
        id: UserId::from_random((&SystemEntropy as &dyn Entropy).draw()),
        username,
        display_name: user.display_name,
        password_hash: password::hash(&user.password)?,
        is_admin: user.admin,
        created_at: SystemClock.now(),
        disabled_at: None,
    };
    match accounts.add_user(&user, false).await? {
        AddUser::Added => user::note(&user.id, "added by the bootstrap file"),
        AddUser::Taken | AddUser::NotTheFirst => {}
    }
    Ok(())
}

async fn add_resource(resource: BootstrapResource, store: &dyn Store) -> anyhow::Result<()> {
    let (uri, client_id) = (resource.uri, resource.introspection_client_id);
    let algorithm = resource
        .signing_algorithm
        .map(|name| {
            SigningAlgorithm::parse(&name).context("signing_algorithm is neither \"ES256\" nor \"EdDSA\"")
        })
        .transpose()?;
    let format = resource.access_token_format.by(algorithm)?;
    let new = NewResource {
        resource: uri.clone(),
        name: resource.name,
        scopes: resource
            .scope
            .into_iter()
            .map(|scope| {
                let mut read = read_scope(&scope.name, &scope.description)?;
                read.tools = tool_names(scope.tools.iter().map(String::as_str))?;
                read.includes = included_scopes(scope.includes.iter().map(String::as_str))?;
                Ok(read)
            })
            .collect::<anyhow::Result<_>>()?,
        client_id: client_id.clone(),
        secret: ClientSecret::bring(&resource.introspection_client_secret)?,
    };
    match new.add_with(format, store, SystemClock.now()).await? {
        AddResource::Added => resource::note(&uri, Some(&client_id), "was added by the bootstrap file"),
        AddResource::Taken => {}
        AddResource::ClientTaken => anyhow::bail!("introspection_client_id is another client's already"),
    }
    Ok(())
}

async fn add_client(client: BootstrapClient, store: &dyn Store) -> anyhow::Result<()> {
    let secret = client
        .client_secret
        .as_deref()
        .map(ClientSecret::bring)
        .transpose()?;
    let id = client.client_id;
    let new = NewClient {
        id: id.clone(),
        name: client.name,
        application_type: application_type(&client.redirect_uris),
        redirect_uris: client.redirect_uris,
        token_endpoint_auth_method: client.token_endpoint_auth_method,
        secret,
        keys: client::keys(client.jwks, client.jwks_uri)?,
        grant_types: client.grant_types,
        scope: client.scope,
        resources: client.resources,
    };
    match new.add(store, SystemClock.now()).await? {
        AddClient::Added => client::note(&id, AuditAction::Register, "added by the bootstrap file"),
        AddClient::Taken => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_found_by_its_place_and_no_password_is_repeated() {
        for (line, place) in [
            ("password = \"hunter2", ":3:"),
            ("password = hunter2", ":3:12: "),
            ("password = \"hunter2\" \"", ":3:"),
            (
                "password = 123456789012",
                ":3:12: invalid type: integer, expected a string",
            ),
            (
                "password = \"x\"\nadmin = \"hunter2, expected `x\"",
                ":4:9: invalid type: string, expected a boolean",
            ),
            ("passwort = \"hunter2\"", ":3:1: unknown field `passwort`"),
        ] {
            let text = format!("[[user]]\nusername = \"alice\"\n{line}\n");
            let error = read(&text, Path::new("people.toml"))
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(
                error.starts_with(&format!("people.toml{place}")),
                "{line}: {error}"
            );
            assert!(
                !error.contains("hunter2") && !error.contains("123456789012"),
                "{line}: {error}"
            );
        }
    }
}
