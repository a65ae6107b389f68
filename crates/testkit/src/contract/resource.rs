//! Laws about protected resources.

use mcp_authflow::port::store::AddResource;
use mcp_authflow::record::{Client, ResourceRecord, ScopeDescription};
use mcp_authflow_types::{ClientId, Resource, ScopeToken};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, add_client, add_resource, is_live},
};

async fn has_client(store: &dyn WholeStore, id: &ClientId) -> bool {
    store.load_client(id).await.unwrap().is_some()
}

pub async fn resources_are_listed_in_the_order_of_their_registration(store: &dyn WholeStore) {
    let resources = [(); 5].map(|()| sample::resource());
    for resource in resources.iter().rev() {
        let introspector = add_resource(store, resource).await;
        let stored = store.load_client(&introspector.id).await.unwrap();
        assert_eq!(stored.as_deref(), Some(&introspector));
    }
    let mut listed = store.list_resources().await.unwrap();
    listed.reverse();
    assert_eq!(listed, resources);
}

pub async fn an_equivalent_resource_is_taken_and_nothing_is_added(store: &dyn WholeStore) {
    let first = sample::resource();
    add_resource(store, &first).await;
    let mut second = sample::resource();
    second.resource =
        Resource::parse(&first.resource.as_str().replacen("https://rs", "HTTPS://RS", 1)).unwrap();
    let introspector = sample::introspector(&second);
    assert_eq!(
        store.add_resource(&second, &introspector).await.unwrap(),
        AddResource::Taken
    );
    assert!(!has_client(store, &introspector.id).await);
    let listed = store.list_resources().await.unwrap();
    assert_eq!(listed[0].resource.as_str(), first.resource.as_str());
    assert_eq!(listed, [first]);
}

pub async fn a_resource_can_be_described_anew_and_nothing_else_of_it_changes(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let mut resource = scene.resource.clone();
    "Another name".clone_into(&mut resource.name);
    resource.scopes.reverse();
    let mut scope = ScopeDescription::new(ScopeToken::parse("notes:admin").unwrap(), "Manage all notes");
    scope.tools = sample::hostile_texts().to_vec();
    scope.includes = sample::scope("notes:write notes:read");
    resource.scopes.push(scope);
    let describe = async |to: &Resource| {
        let described = store.describe_resource(to, &resource.name, &resource.scopes);
        described.await.unwrap()
    };
    assert!(describe(&resource.resource).await);
    assert_eq!(store.list_resources().await.unwrap(), [resource.clone()]);
    assert!(is_live(store, &tokens.access_token).await);
    assert!(!describe(&sample::resource().resource).await);
    assert!(store.remove_resource(&resource.resource).await.unwrap());
    assert!(!describe(&resource.resource).await);
}

pub async fn a_resource_whose_introspector_is_taken_is_not_added(store: &dyn WholeStore) {
    let client = sample::client();
    add_client(store, &client).await;
    let resource = sample::resource();
    let mut introspector = sample::introspector(&resource);
    introspector.id = client.id.clone();
    assert_eq!(
        store.add_resource(&resource, &introspector).await.unwrap(),
        AddResource::ClientTaken
    );
    assert_eq!(store.list_resources().await.unwrap(), []);
    let stored = store.load_client(&client.id).await.unwrap();
    assert_eq!(stored.as_deref(), Some(&client));
}

pub async fn one_of_many_racing_additions_of_a_resource_wins(store: &dyn WholeStore) {
    let resource = sample::resource();
    let introspectors: Vec<Client> = (0..RUNNERS).map(|_| sample::introspector(&resource)).collect();
    let answers = race(RUNNERS, async |runner| {
        store
            .add_resource(&resource, &introspectors[runner])
            .await
            .unwrap()
    });
    let winner = one_won(&answers, &AddResource::Added, &AddResource::Taken);
    assert_eq!(store.list_resources().await.unwrap(), [resource]);
    for (runner, introspector) in introspectors.iter().enumerate() {
        assert_eq!(has_client(store, &introspector.id).await, runner == winner);
    }
}

pub async fn removing_a_resource_removes_whoever_introspects_for_it(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let other = sample::resource();
    let bystander = add_resource(store, &other).await;
    let second = sample::introspector(&scene.resource);
    add_client(store, &second).await;
    assert!(is_live(store, &tokens.access_token).await);

    assert!(store.remove_resource(&scene.resource.resource).await.unwrap());
    assert!(!store.remove_resource(&scene.resource.resource).await.unwrap());
    assert!(!is_live(store, &tokens.access_token).await);
    assert_eq!(store.list_resources().await.unwrap(), [other]);
    assert!(!has_client(store, &second.id).await);
    assert!(has_client(store, &bystander.id).await);
    assert!(has_client(store, &scene.client.id).await);
    let introspectors: Vec<_> = store
        .list_clients(None, 100)
        .await
        .unwrap()
        .into_iter()
        .filter(|client| client.profile.introspects.is_some())
        .collect();
    assert_eq!(introspectors, [bystander]);
}

pub async fn a_removed_resource_may_come_back(store: &dyn WholeStore) {
    let resource = sample::resource();
    let introspector = add_resource(store, &resource).await;
    assert!(store.remove_resource(&resource.resource).await.unwrap());
    let answer = store.add_resource(&resource, &introspector).await.unwrap();
    assert_eq!(answer, AddResource::Added);
    let stored = store.load_client(&introspector.id).await.unwrap().unwrap();
    assert!(stored.generation > introspector.generation);
    assert_eq!(stored.secret, introspector.secret);
}

pub async fn hostile_text_survives_in_a_resource(store: &dyn WholeStore) {
    let mut added: Vec<ResourceRecord> = Vec::new();
    for text in sample::hostile_texts() {
        let mut resource = sample::resource();
        resource.resource =
            Resource::parse(&format!("https://rs.example/';DROP--$1?{}", sample::number())).unwrap();
        resource.name.clone_from(&text);
        resource.scopes[0].description = text;
        add_resource(store, &resource).await;
        added.push(resource);
    }
    assert_eq!(store.list_resources().await.unwrap(), added);
}
