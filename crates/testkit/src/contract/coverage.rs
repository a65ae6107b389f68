//! Laws about whether an earlier approval covers a new request.

use mcp_authflow::record::GrantedResource;
use mcp_authflow_types::Timestamp;

use super::{
    WholeStore, sample,
    scene::{Scene, add_client, add_resource, approve, redeem},
};

struct Question<'a> {
    scene: &'a Scene,
    resources: Vec<GrantedResource>,
    offline_access: bool,
    since: Timestamp,
}

impl<'a> Question<'a> {
    fn about(scene: &'a Scene) -> Self {
        Self {
            scene,
            resources: scene.grant.resources.clone(),
            offline_access: true,
            since: sample::in_seconds(-3_600),
        }
    }

    async fn is_covered(&self, store: &dyn WholeStore) -> bool {
        let (subject, client) = (&self.scene.grant.subject, &self.scene.grant.client_id);
        let (resources, since) = (&self.resources, self.since);
        store
            .is_covered(
                subject,
                client,
                resources,
                self.offline_access,
                since,
                sample::now(),
            )
            .await
            .unwrap()
    }
}

pub async fn an_approval_covers_what_it_grants_and_no_more(store: &dyn WholeStore) {
    let (mut scene, _) = Scene::redeemed(store).await;
    let mut question = Question::about(&scene);
    assert!(question.is_covered(store).await);
    question.offline_access = false;
    question.resources[0].scope = sample::scope("mcp:read");
    assert!(question.is_covered(store).await);
    question.resources[0].scope = sample::scope("mcp:read mcp:admin");
    assert!(!question.is_covered(store).await);
    question.resources.clone_from(&scene.grant.resources);
    question.resources.push(GrantedResource {
        resource: sample::resource().resource,
        scope: sample::scope("mcp:read"),
    });
    assert!(!question.is_covered(store).await);
    question.resources.clone_from(&scene.grant.resources);
    question.since = sample::in_seconds(3_600);
    assert!(!question.is_covered(store).await);

    // The same question of another person, and for another client.
    "somebody else".clone_into(&mut scene.grant.subject);
    assert!(!Question::about(&scene).is_covered(store).await);
    scene.grant.subject = scene.user.id.to_string();
    scene.grant.client_id = sample::client_id();
    assert!(!Question::about(&scene).is_covered(store).await);

    // Without offline access, and in two parts: one grant has to cover everything.
    let resource = sample::resource();
    add_resource(store, &resource).await;
    scene.client = sample::client();
    add_client(store, &scene.client).await;
    scene.grant = scene.another_grant();
    scene.grant.offline_access = false;
    approve(store, &scene.client, &scene.grant).await;
    redeem(store, &scene.grant).await;
    let mut question = Question::about(&scene);
    assert!(!question.is_covered(store).await);
    question.offline_access = false;
    assert!(question.is_covered(store).await);
    let second = sample::grant(&scene.client, &scene.grant.subject, &resource);
    approve(store, &scene.client, &second).await;
    redeem(store, &second).await;
    question.resources.extend(second.resources);
    assert!(!question.is_covered(store).await);
}

pub async fn only_a_live_and_redeemed_grant_covers(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    assert!(!Question::about(&scene).is_covered(store).await, "not redeemed");
    redeem(store, &scene.grant).await;
    assert!(Question::about(&scene).is_covered(store).await);
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());
    assert!(!Question::about(&scene).is_covered(store).await, "revoked");

    let (scene, _) = Scene::redeemed(store).await;
    store.revoke_client(&scene.client.id).await.unwrap();
    assert!(
        !Question::about(&scene).is_covered(store).await,
        "of a revoked client"
    );

    let (scene, _) = Scene::redeemed(store).await;
    store.revoke_subject(&scene.grant.subject).await.unwrap();
    assert!(
        !Question::about(&scene).is_covered(store).await,
        "of a revoked subject"
    );

    let mut scene = Scene::begin(store).await;
    scene.grant.expires_at = sample::in_seconds(3);
    approve(store, &scene.client, &scene.grant).await;
    redeem(store, &scene.grant).await;
    sample::until_passed(scene.grant.expires_at).await;
    assert!(!Question::about(&scene).is_covered(store).await, "ended");
}
