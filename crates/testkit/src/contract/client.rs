//! Laws about clients.

use std::collections::HashSet;

use mcp_authflow::port::store::{AddClient, ClientRegistration, ReplaceRegistration};
use mcp_authflow::record::Client;
use mcp_authflow_types::{
    ApplicationType, ClientId, GrantType, Resource, ScopeToken, TokenEndpointAuthMethod, TokenHash,
};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{add_client, add_resource},
};

async fn load(store: &dyn WholeStore, id: &ClientId) -> Option<Client> {
    store
        .load_client(id)
        .await
        .unwrap()
        .map(|client| (*client).clone())
}

pub async fn a_client_is_read_back_as_it_was_added(store: &dyn WholeStore) {
    let plain = sample::client();
    let mut full = sample::registered_client();
    full.secret = Some(sample::hash());
    full.retired_secret = Some((sample::hash(), sample::in_seconds(3_600)));
    full.profile.uri = Some("https://client.example/".to_owned());
    full.profile.grant_types = GrantType::ALL.to_vec();
    full.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::ClientSecretPost;
    full.profile.scope = Some(
        ["b", "a"]
            .map(|token| ScopeToken::parse(token).unwrap())
            .into_iter()
            .collect(),
    );
    full.profile.resources = vec![sample::resource().resource, sample::resource().resource];
    full.profile.introspects = Some(sample::resource().resource);
    full.profile.application_type = ApplicationType::Native;
    full.profile.software_id = Some("4NRB1-0XZABZI9E6-5SM3R".to_owned());
    full.profile.software_version = Some("1.2".to_owned());
    for client in [plain, full] {
        add_client(store, &client).await;
        assert_eq!(load(store, &client.id).await, Some(client.clone()));
        let listed = store.list_clients(None, 100).await.unwrap();
        assert!(listed.contains(&client), "{listed:?}");
    }
    assert_eq!(load(store, &sample::client_id()).await, None);
}

pub async fn an_identifier_that_is_there_is_taken(store: &dyn WholeStore) {
    let first = sample::client();
    let mut second = sample::registered_client();
    second.id = first.id.clone();
    add_client(store, &first).await;
    assert_eq!(store.add_client(&second).await.unwrap(), AddClient::Taken);
    assert_eq!(load(store, &first.id).await, Some(first));
}

pub async fn one_of_many_racing_additions_of_a_client_wins(store: &dyn WholeStore) {
    let id = sample::client_id();
    let clients: Vec<Client> = (0..RUNNERS)
        .map(|runner| {
            let mut client = sample::client();
            client.id = id.clone();
            client.profile.name = Some(format!("racer {runner}"));
            client
        })
        .collect();
    let answers = race(RUNNERS, async |runner| {
        store.add_client(&clients[runner]).await.unwrap()
    });
    let winner = one_won(&answers, &AddClient::Added, &AddClient::Taken);
    assert_eq!(load(store, &id).await.as_ref(), Some(&clients[winner]));
}

pub async fn a_removed_client_is_not_found(store: &dyn WholeStore) {
    let client = sample::client();
    let other = sample::client();
    add_client(store, &client).await;
    add_client(store, &other).await;
    assert!(store.remove_client(&client.id, sample::now()).await.unwrap());
    assert!(!store.remove_client(&client.id, sample::now()).await.unwrap());
    assert!(
        !store
            .remove_client(&sample::client_id(), sample::now())
            .await
            .unwrap()
    );
    assert_eq!(load(store, &client.id).await, None);
    let beside = store.load_client_with_resources(&client.id, &[]).await.unwrap();
    assert!(beside.client.is_none());
    assert_eq!(store.list_clients(None, 100).await.unwrap(), [other]);
    assert_eq!(store.revoke_client(&client.id).await.unwrap(), None);
    assert!(
        !store
            .replace_client_secret(&client.id, &sample::hash(), None)
            .await
            .unwrap()
    );
}

pub async fn a_client_that_comes_back_continues_its_generation(store: &dyn WholeStore) {
    let mut client = sample::client();
    let mut highest = 0;
    for round in 0..3 {
        client.profile.name = Some(format!("round {round}"));
        add_client(store, &client).await;
        let stored = load(store, &client.id).await.unwrap();
        assert!(
            round == 0 || stored.generation > highest,
            "round {round}: {} after {highest}",
            stored.generation
        );
        assert_eq!(stored.profile, client.profile);
        highest = store.revoke_client(&client.id).await.unwrap().unwrap();
        assert!(highest > stored.generation);
        assert!(store.remove_client(&client.id, sample::now()).await.unwrap());
    }
}

pub async fn an_expired_client_is_still_read(store: &dyn WholeStore) {
    let mut client = sample::registered_client();
    client.expires_at = Some(sample::in_seconds(-3_600));
    add_client(store, &client).await;
    assert_eq!(load(store, &client.id).await, Some(client.clone()));
    assert_eq!(store.add_client(&client).await.unwrap(), AddClient::Taken);
}

pub async fn every_revocation_answers_a_new_generation(store: &dyn WholeStore) {
    let client = sample::client();
    add_client(store, &client).await;
    let answers = race(RUNNERS, async |_| {
        store.revoke_client(&client.id).await.unwrap().unwrap()
    });
    let distinct: HashSet<u32> = answers.iter().copied().collect();
    assert_eq!(distinct.len(), RUNNERS, "{answers:?}");
    let stored = load(store, &client.id).await.unwrap();
    assert_eq!(Some(&stored.generation), answers.iter().max());
    assert_eq!(store.revoke_client(&sample::client_id()).await.unwrap(), None);
}

pub async fn a_replaced_secret_retires_the_old_one_for_as_long_as_said(store: &dyn WholeStore) {
    let mut client = sample::client();
    add_client(store, &client).await;
    let (first, second, third) = (sample::hash(), sample::hash(), sample::hash());
    let until = sample::in_seconds(3_600);
    for (secret, old_until, retired) in [
        (first, Some(until), None),
        (second, Some(until), Some((first, until))),
        (third, None, None),
    ] {
        assert!(
            store
                .replace_client_secret(&client.id, &secret, old_until)
                .await
                .unwrap()
        );
        client.secret = Some(secret);
        client.retired_secret = retired;
        assert_eq!(load(store, &client.id).await, Some(client.clone()));
    }
    assert!(
        !store
            .replace_client_secret(&sample::client_id(), &first, None)
            .await
            .unwrap()
    );
}

pub async fn clients_are_listed_by_the_bytes_of_their_identifiers(store: &dyn WholeStore) {
    let ids = ["A", "Z", "_", "a", "a-", "a1", "aB", "ab", "~"].map(|id| ClientId::parse(id).unwrap());
    for id in ids.iter().rev() {
        let mut client = sample::client();
        client.id = id.clone();
        add_client(store, &client).await;
    }
    let mut seen = Vec::new();
    loop {
        let page = store.list_clients(seen.last(), 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|client| client.id));
    }
    assert_eq!(seen, ids);
}

pub async fn wanted_resources_come_in_the_order_asked(store: &dyn WholeStore) {
    let client = sample::client();
    add_client(store, &client).await;
    let (a, b, c) = (sample::resource(), sample::resource(), sample::resource());
    for resource in [&a, &b, &c] {
        add_resource(store, resource).await;
    }
    let shouted = Resource::parse(&a.resource.as_str().replacen("https://rs", "HTTPS://RS", 1)).unwrap();
    let wanted = [c.resource.clone(), sample::resource().resource, shouted];
    let found = store
        .load_client_with_resources(&client.id, &wanted)
        .await
        .unwrap();
    assert_eq!(found.client.as_deref(), Some(&client));
    let found: Vec<_> = found.resources.iter().map(|one| (**one).clone()).collect();
    assert_eq!(found, [c, a.clone()]);
    assert_eq!(
        found[1].resource.as_str(),
        a.resource.as_str(),
        "the registered spelling"
    );

    let without = store
        .load_client_with_resources(&sample::client_id(), std::slice::from_ref(&b.resource))
        .await
        .unwrap();
    assert!(without.client.is_none());
    assert_eq!(*without.resources[0], b);
}

pub async fn with_nothing_wanted_the_first_two_resources_come(store: &dyn WholeStore) {
    let client = sample::client();
    add_client(store, &client).await;
    let resources = [(); 3].map(|()| sample::resource());
    for (count, resource) in resources.iter().enumerate() {
        let found = store.load_client_with_resources(&client.id, &[]).await.unwrap();
        assert_eq!(found.resources.len(), count.min(2));
        add_resource(store, resource).await;
    }
    let found = store.load_client_with_resources(&client.id, &[]).await.unwrap();
    let found: Vec<_> = found.resources.iter().map(|one| (**one).clone()).collect();
    assert_eq!(found, resources[..2]);
}

pub async fn hostile_text_survives_in_a_client(store: &dyn WholeStore) {
    for text in sample::hostile_texts() {
        let mut client = sample::client();
        client.id = ClientId::parse(&format!("';DROP--\"\\%_{}", sample::number())).unwrap();
        client.profile.name = Some(text.clone());
        client.profile.uri = Some(text.clone());
        client.profile.software_id = Some(text.clone());
        client.profile.software_version = Some(text);
        add_client(store, &client).await;
        assert_eq!(load(store, &client.id).await, Some(client));
    }
    let mut long = sample::client();
    long.id = ClientId::parse(&"x".repeat(ClientId::MAX_BYTES)).unwrap();
    add_client(store, &long).await;
    assert_eq!(load(store, &long.id).await, Some(long));
}

async fn registration(store: &dyn WholeStore, id: &ClientId) -> Option<(Client, TokenHash)> {
    let found: Option<ClientRegistration> = store.load_registration(id).await.unwrap();
    found.map(|one| ((*one.client).clone(), one.access_token))
}

pub async fn a_registration_is_replaced_under_its_own_token_only(store: &dyn WholeStore) {
    let mut client = sample::registered_client();
    let (first, second, token) = (sample::hash(), sample::hash(), sample::hash());
    client.secret = Some(first);
    client.retired_secret = Some((sample::hash(), sample::in_seconds(3_600)));
    let added = store.register_client(&client, &token).await.unwrap();
    assert_eq!(added, AddClient::Added);
    let again = store.register_client(&client, &sample::hash()).await.unwrap();
    assert_eq!(again, AddClient::Taken);
    assert_eq!(load(store, &client.id).await, Some(client.clone()));
    assert_eq!(
        registration(store, &client.id).await,
        Some((client.clone(), token))
    );

    let mut replacement = ReplaceRegistration {
        client_id: client.id.clone(),
        access_token: token,
        profile: client.profile.clone(),
        secret: Some(first),
        ends_what_was_issued: false,
    };
    replacement.profile.name = Some("Another name".to_owned());
    let stranger = ReplaceRegistration {
        access_token: sample::hash(),
        ..replacement.clone()
    };
    assert!(!store.replace_registration(&stranger).await.unwrap());
    let nobody = ReplaceRegistration {
        client_id: sample::client_id(),
        ..replacement.clone()
    };
    assert!(!store.replace_registration(&nobody).await.unwrap());
    assert_eq!(load(store, &client.id).await, Some(client.clone()));

    // What is not said stays: the secret with the one before it, the generation, and the end.
    assert!(store.replace_registration(&replacement).await.unwrap());
    client.profile = replacement.profile.clone();
    assert_eq!(
        registration(store, &client.id).await,
        Some((client.clone(), token))
    );

    for secret in [Some(second), None] {
        replacement.secret = secret;
        replacement.ends_what_was_issued = true;
        assert!(store.replace_registration(&replacement).await.unwrap());
        client.secret = secret;
        client.retired_secret = None;
        client.generation += 1;
        assert_eq!(load(store, &client.id).await, Some(client.clone()));
    }
}

pub async fn a_client_without_a_token_has_no_registration_to_replace(store: &dyn WholeStore) {
    let client = sample::client();
    add_client(store, &client).await;
    assert_eq!(registration(store, &client.id).await, None);
    assert_eq!(registration(store, &sample::client_id()).await, None);

    let (registered, token) = (sample::registered_client(), sample::hash());
    let added = store.register_client(&registered, &token).await.unwrap();
    assert_eq!(added, AddClient::Added);
    assert!(store.remove_client(&registered.id, sample::now()).await.unwrap());
    let replacement = ReplaceRegistration {
        client_id: registered.id.clone(),
        access_token: token,
        profile: registered.profile.clone(),
        secret: None,
        ends_what_was_issued: false,
    };
    for _ in ["removed", "added again by somebody else"] {
        assert_eq!(registration(store, &registered.id).await, None);
        assert!(!store.replace_registration(&replacement).await.unwrap());
        let _ = store.add_client(&registered).await.unwrap();
    }
}
