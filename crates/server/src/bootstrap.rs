//! `serve --bootstrap FILE`: users, clients and resources from a file. What is there already is left as it is.

use std::path::Path;

use anyhow::Context as _;
use mcp_authflow::{
    port::{
        AccountStore, Clock as _, Entropy, Store,
        store::{AddClient, AddResource, AddUser},
    },
    record::{User, UserId},
};
use mcp_authflow_types::{
    ClientId, ClientSecret, GrantType, RedirectUri, Resource, Scope, TokenEndpointAuthMethod,
};

use crate::{
    cli::{
        client::{NewClient, application_type},
        resource::{NewResource, read_scope},
    },
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
    scope: Vec<BootstrapScope>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapScope {
    name: String,
    description: String,
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
    grant_types: Vec<GrantType>,
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(default)]
    resources: Vec<Resource>,
}

/// Reads the file and adds what is missing.
pub(crate) async fn apply(path: &Path, store: &dyn Store, accounts: &dyn AccountStore) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File =
        toml::from_str(&text).with_context(|| format!("{} is not a bootstrap file", path.display()))?;
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
        AddUser::Added | AddUser::Taken | AddUser::NotTheFirst => Ok(()),
    }
}

async fn add_resource(resource: BootstrapResource, store: &dyn Store) -> anyhow::Result<()> {
    let new = NewResource {
        resource: resource.uri,
        name: resource.name,
        scopes: resource
            .scope
            .into_iter()
            .map(|scope| read_scope(&scope.name, &scope.description))
            .collect::<Result<_, _>>()?,
        client_id: resource.introspection_client_id,
        secret: ClientSecret::bring(&resource.introspection_client_secret)?,
    };
    match new.add(store, SystemClock.now()).await? {
        AddResource::Added | AddResource::Taken => Ok(()),
        AddResource::ClientTaken => anyhow::bail!("introspection_client_id is another client's already"),
    }
}

async fn add_client(client: BootstrapClient, store: &dyn Store) -> anyhow::Result<()> {
    let secret = client
        .client_secret
        .as_deref()
        .map(ClientSecret::bring)
        .transpose()?;
    let new = NewClient {
        id: client.client_id,
        name: client.name,
        application_type: application_type(&client.redirect_uris),
        redirect_uris: client.redirect_uris,
        token_endpoint_auth_method: client.token_endpoint_auth_method,
        secret,
        grant_types: client.grant_types,
        scope: client.scope,
        resources: client.resources,
    };
    match new.add(store, SystemClock.now()).await? {
        AddClient::Added | AddClient::Taken => Ok(()),
    }
}
