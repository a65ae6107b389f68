//! Where laws begin: a client, a resource, a person, and what the person approved.

use mcp_authflow::{
    port::store::{
        AddClient, AddResource, AddUser, CloseInteraction, Closing, NewTokens, RedeemCode,
        RefreshTokenWithGrant,
    },
    record::{AccessTokenRecord, Client, Grant, Interaction, RefreshTokenRecord, ResourceRecord, User},
};
use mcp_authflow_types::TokenHash;

use super::{WholeStore, sample};

/// A client, a resource and a person in a store, and a grant among them.
pub struct Scene {
    /// Who asks.
    pub client: Client,
    /// What for.
    pub resource: ResourceRecord,
    /// Who decides.
    pub user: User,
    /// What is, or will be, approved.
    pub grant: Grant,
}

impl Scene {
    /// Nothing is approved yet.
    pub async fn begin(store: &dyn WholeStore) -> Self {
        let (client, resource, user) = (sample::client(), sample::resource(), sample::user());
        add_client(store, &client).await;
        add_resource(store, &resource).await;
        add_user(store, &user).await;
        let grant = sample::grant(&client, user.id.as_str(), &resource);
        Self {
            client,
            resource,
            user,
            grant,
        }
    }

    /// The grant is approved, its code not yet redeemed.
    pub async fn approved(store: &dyn WholeStore) -> Self {
        let scene = Self::begin(store).await;
        approve(store, &scene.client, &scene.grant).await;
        scene
    }

    /// The code is redeemed for an access token and a refresh token.
    pub async fn redeemed(store: &dyn WholeStore) -> (Self, NewTokens) {
        let scene = Self::approved(store).await;
        let tokens = redeem(store, &scene.grant).await;
        (scene, tokens)
    }

    /// Another grant among the same three.
    pub fn another_grant(&self) -> Grant {
        sample::grant(&self.client, self.user.id.as_str(), &self.resource)
    }
}

/// Adds a client.
pub async fn add_client(store: &dyn WholeStore, client: &Client) {
    assert_eq!(store.add_client(client).await.unwrap(), AddClient::Added);
}

/// Adds a resource with an introspector of its own, which it answers.
pub async fn add_resource(store: &dyn WholeStore, resource: &ResourceRecord) -> Client {
    let introspector = sample::introspector(resource);
    assert_eq!(
        store.add_resource(resource, &introspector).await.unwrap(),
        AddResource::Added
    );
    introspector
}

/// Adds an account.
pub async fn add_user(store: &dyn WholeStore, user: &User) {
    assert_eq!(store.add_user(user, false).await.unwrap(), AddUser::Added);
}

/// Begins an interaction of a client.
pub async fn begin(store: &dyn WholeStore, client: &Client) -> Interaction {
    let interaction = sample::interaction(client);
    store.begin_interaction(&interaction).await.unwrap();
    interaction
}

/// What approves a grant, whatever its subject's generation.
pub fn approval(grant: &Grant) -> Closing<'_> {
    Closing::Approve {
        grant,
        subject_generation: None,
        keep_client_until: grant.expires_at,
    }
}

/// Closes an interaction in its own browser.
pub async fn close(
    store: &dyn WholeStore,
    interaction: &Interaction,
    closing: Closing<'_>,
) -> CloseInteraction {
    store
        .close_interaction(interaction.id, &interaction.browser, closing, sample::now())
        .await
        .unwrap()
}

/// Approves a grant by way of an interaction of its own.
pub async fn approve(store: &dyn WholeStore, client: &Client, grant: &Grant) {
    let interaction = begin(store, client).await;
    assert_eq!(
        close(store, &interaction, approval(grant)).await,
        CloseInteraction::Closed
    );
}

/// Redeems the code of a grant for new tokens.
pub async fn redeem(store: &dyn WholeStore, grant: &Grant) -> NewTokens {
    let tokens = sample::tokens(grant);
    assert_eq!(
        store
            .redeem_code(&grant.code.hash, &tokens, sample::now())
            .await
            .unwrap(),
        RedeemCode::Redeemed
    );
    tokens
}

/// Whether a code is known.
pub async fn has_code(store: &dyn WholeStore, code: &TokenHash) -> bool {
    let peek = store.peek_code(code, &sample::client_id(), false).await.unwrap();
    peek.grant.is_some()
}

/// Whether an access token stands.
pub async fn is_live(store: &dyn WholeStore, token: &AccessTokenRecord) -> bool {
    let peek = store
        .peek_access_token(&token.hash, token.bucket, &sample::client_id(), false)
        .await
        .unwrap();
    peek.token.is_some()
}

/// A refresh token as the store knows it.
pub async fn peek(store: &dyn WholeStore, token: &RefreshTokenRecord) -> Option<RefreshTokenWithGrant> {
    let peek = store
        .peek_refresh_token(&token.hash, token.bucket, &sample::client_id(), false)
        .await
        .unwrap();
    peek.token
}

/// Whether a refresh token is there, unspent, and its grant stands.
pub async fn is_unspent(store: &dyn WholeStore, token: &RefreshTokenRecord) -> bool {
    use mcp_authflow::port::store::Standing;
    peek(store, token)
        .await
        .is_some_and(|one| one.spent_at.is_none() && one.grant.standing == Standing::Live)
}
