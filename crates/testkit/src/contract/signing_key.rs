//! Laws about keys that sign tokens, and about the resources whose tokens they sign.

use std::time::Duration;

use mcp_authflow::{
    port::store::AddSigningKey,
    record::{AccessTokenFormat, SigningAlgorithm, SigningKeyRecord},
};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, add_resource},
};

async fn add(store: &dyn WholeStore, key: &SigningKeyRecord, after: Option<&SigningKeyRecord>) {
    let after = after.map(|key| key.key_id.as_str());
    let answer = store.add_signing_key(key, after).await.unwrap();
    assert_eq!(answer, AddSigningKey::Added);
}

async fn is_overtaken(store: &dyn WholeStore, key: &SigningKeyRecord, after: Option<&str>) -> bool {
    store.add_signing_key(key, after).await.unwrap() == AddSigningKey::Overtaken
}

async fn names(store: &dyn WholeStore) -> Vec<String> {
    let keys = store.list_signing_keys().await.unwrap();
    keys.into_iter().map(|key| key.key_id).collect()
}

pub async fn signing_keys_are_read_back_in_the_order_in_which_they_were_added(store: &dyn WholeStore) {
    assert_eq!(store.list_signing_keys().await.unwrap(), []);
    let mut keys: Vec<SigningKeyRecord> = Vec::new();
    for place in 0..6 {
        let mut key = sample::signing_key(SigningAlgorithm::ALL[place % 2]);
        // Neither name nor time tells the order.
        key.active_from = sample::in_seconds(600 - i64::try_from(place).unwrap());
        key.sealed = vec![0xff; 200 + place];
        let after = keys.iter().rev().find(|kept| kept.algorithm == key.algorithm);
        add(store, &key, after).await;
        keys.push(key);
    }
    assert_eq!(store.list_signing_keys().await.unwrap(), keys);
}

pub async fn a_signing_key_is_added_behind_the_newest_of_its_algorithm_alone(store: &dyn WholeStore) {
    let [first, second, third] = [(); 3].map(|()| sample::signing_key(SigningAlgorithm::Es256));
    let other = sample::signing_key(SigningAlgorithm::EdDsa);
    assert!(is_overtaken(store, &first, Some("another")).await);
    add(store, &first, None).await;
    assert!(is_overtaken(store, &second, None).await);
    assert!(is_overtaken(store, &other, Some(&first.key_id)).await);
    add(store, &other, None).await;
    add(store, &second, Some(&first)).await;
    assert!(is_overtaken(store, &third, Some(&first.key_id)).await);
    assert!(is_overtaken(store, &third, Some(&other.key_id)).await);
    assert_eq!(
        names(store).await,
        [&first, &other, &second].map(|key| key.key_id.clone())
    );
}

pub async fn one_of_many_racing_first_signing_keys_is_added(store: &dyn WholeStore) {
    let keys = [(); RUNNERS].map(|()| sample::signing_key(SigningAlgorithm::Es256));
    let answers = race(RUNNERS, async |runner| {
        store.add_signing_key(&keys[runner], None).await.unwrap()
    });
    let winner = one_won(&answers, &AddSigningKey::Added, &AddSigningKey::Overtaken);
    assert_eq!(names(store).await, [keys[winner].key_id.clone()]);
}

pub async fn one_of_many_racing_next_signing_keys_is_added(store: &dyn WholeStore) {
    let mut newest = sample::signing_key(SigningAlgorithm::EdDsa);
    add(store, &newest, None).await;
    for _ in 0..3 {
        let keys = [(); RUNNERS].map(|()| sample::signing_key(SigningAlgorithm::EdDsa));
        let answers = race(RUNNERS, async |runner| {
            let after = Some(newest.key_id.as_str());
            store.add_signing_key(&keys[runner], after).await.unwrap()
        });
        let winner = one_won(&answers, &AddSigningKey::Added, &AddSigningKey::Overtaken);
        newest = keys[winner].clone();
    }
    assert_eq!(names(store).await.len(), 4);
    assert_eq!(names(store).await.last(), Some(&newest.key_id));
}

pub async fn a_signing_keys_longest_life_grows_and_never_shrinks(store: &dyn WholeStore) {
    let key = sample::signing_key(SigningAlgorithm::Es256);
    add(store, &key, None).await;
    for (life, kept) in [(60, 600), (3_600, 3_600), (700, 3_600)] {
        let extended = store.extend_signing_key(&key.key_id, Duration::from_secs(life));
        assert!(extended.await.unwrap());
        let keys = store.list_signing_keys().await.unwrap();
        assert_eq!(keys[0].longest_life, Duration::from_secs(kept));
    }
    let unknown = store.extend_signing_key("unknown", Duration::from_secs(1));
    assert!(!unknown.await.unwrap());
}

pub async fn a_removed_signing_key_is_gone_and_its_predecessor_the_newest(store: &dyn WholeStore) {
    let [first, second, third] = [(); 3].map(|()| sample::signing_key(SigningAlgorithm::Es256));
    add(store, &first, None).await;
    add(store, &second, Some(&first)).await;
    assert!(store.remove_signing_key(&second.key_id).await.unwrap());
    assert!(!store.remove_signing_key(&second.key_id).await.unwrap());
    assert_eq!(names(store).await, std::slice::from_ref(&first.key_id));
    assert!(is_overtaken(store, &third, Some(&second.key_id)).await);
    add(store, &third, Some(&first)).await;
    for key in [&first, &third] {
        assert!(store.remove_signing_key(&key.key_id).await.unwrap());
    }
    add(store, &second, None).await;
    assert_eq!(names(store).await, [second.key_id]);
}

pub async fn a_resource_remembers_how_its_tokens_are_made(store: &dyn WholeStore) {
    let eddsa = AccessTokenFormat::Jwt(SigningAlgorithm::EdDsa);
    let mut resource = sample::resource();
    resource.access_token_format = eddsa;
    add_resource(store, &resource).await;
    for format in [
        AccessTokenFormat::Jwt(SigningAlgorithm::Es256),
        AccessTokenFormat::Opaque,
        eddsa,
    ] {
        assert_eq!(store.list_resources().await.unwrap(), [resource.clone()]);
        let wanted = [resource.resource.clone()];
        let nobody = sample::client_id();
        let read = store.load_client_with_resources(&nobody, &wanted).await;
        assert_eq!(*read.unwrap().resources[0], resource);
        let set = store.set_access_token_format(&resource.resource, format);
        assert!(set.await.unwrap());
        resource.access_token_format = format;
    }
    let unknown = sample::resource().resource;
    assert!(!store.set_access_token_format(&unknown, eddsa).await.unwrap());
    assert!(store.remove_resource(&resource.resource).await.unwrap());
    assert!(
        !store
            .set_access_token_format(&resource.resource, eddsa)
            .await
            .unwrap()
    );
}

pub async fn a_grant_tells_how_tokens_for_its_resources_are_made(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let resource = &scene.resource.resource;
    let hash = scene.grant.code.hash;
    let eddsa = AccessTokenFormat::Jwt(SigningAlgorithm::EdDsa);
    for format in [
        AccessTokenFormat::Opaque,
        AccessTokenFormat::Jwt(SigningAlgorithm::Es256),
        eddsa,
    ] {
        assert!(store.set_access_token_format(resource, format).await.unwrap());
        let peek = store.peek_code(&hash, &scene.client.id, false).await.unwrap();
        assert_eq!(peek.grant.unwrap().access_token_format(resource), format);
        let refresh = tokens.refresh_token.as_ref().unwrap();
        let peek = store.peek_refresh_token(&refresh.hash, refresh.bucket, &scene.client.id, false);
        let found = peek.await.unwrap().token.unwrap();
        assert_eq!(found.grant.access_token_format(resource), format);
    }
    // A registration that has ended says nothing, and neither does the one that came in its place.
    assert!(store.remove_resource(resource).await.unwrap());
    let mut again = scene.resource.clone();
    again.access_token_format = eddsa;
    add_resource(store, &again).await;
    let peek = store.peek_code(&hash, &scene.client.id, false).await.unwrap();
    let found = peek.grant.unwrap();
    assert_eq!(found.access_token_format(resource), AccessTokenFormat::Opaque);
    assert_eq!(found.gone, std::slice::from_ref(resource));
}
