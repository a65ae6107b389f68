//! Laws about requests that wait for a person.

use std::time::Duration;

use mcp_authflow::{
    port::store::{CloseInteraction, Closing, GrantQuery, Standing},
    record::{Client, Grant, Interaction, InteractionId},
};
use mcp_authflow_types::{Prompt, Timestamp, TokenHash};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, add_client, approval, approve, begin, close, has_code},
};

async fn load(store: &dyn WholeStore, interaction: &Interaction, browser: &TokenHash) -> Option<Interaction> {
    store
        .load_interaction(interaction.id, browser, sample::now())
        .await
        .unwrap()
}

pub async fn an_interaction_is_read_by_its_browser_alone(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let interaction = begin(store, &scene.client).await;
    let read = load(store, &interaction, &interaction.browser).await;
    assert_eq!(read, Some(interaction.clone()));
    assert_eq!(load(store, &interaction, &sample::hash()).await, None);
}

pub async fn an_expired_interaction_is_gone(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut interaction = sample::interaction(&scene.client);
    interaction.expires_at = sample::in_seconds(-1);
    store.begin_interaction(&interaction).await.unwrap();
    assert_eq!(load(store, &interaction, &interaction.browser).await, None);
    for closing in [approval(&scene.grant), Closing::Deny] {
        assert_eq!(close(store, &interaction, closing).await, CloseInteraction::Gone);
    }
    assert!(!has_code(store, &scene.grant.code.hash).await);
}

pub async fn approving_stores_the_grant_with_its_code(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let interaction = begin(store, &scene.client).await;
    let answer = close(store, &interaction, approval(&scene.grant)).await;
    assert_eq!(answer, CloseInteraction::Closed);
    let peek = store
        .peek_code(&scene.grant.code.hash, &scene.client.id, false)
        .await
        .unwrap();
    let stored = peek.grant.unwrap();
    assert_eq!(stored.grant, scene.grant);
    assert_eq!(stored.standing, Standing::Live);
    assert_eq!(peek.client.as_deref(), Some(&scene.client));
}

pub async fn denying_stores_nothing(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let interaction = begin(store, &scene.client).await;
    assert_eq!(
        close(store, &interaction, Closing::Deny).await,
        CloseInteraction::Closed
    );
    assert_eq!(load(store, &interaction, &interaction.browser).await, None);
    let grants = store
        .list_grants(&GrantQuery::of(scene.user.id.as_str()), 10, sample::now())
        .await
        .unwrap();
    assert!(grants.is_empty());
}

pub async fn a_closed_interaction_is_not_closed_again(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let interaction = begin(store, &scene.client).await;
    let second = scene.another_grant();
    assert_eq!(
        close(store, &interaction, approval(&scene.grant)).await,
        CloseInteraction::Closed
    );
    for closing in [approval(&second), Closing::Deny, approval(&scene.grant)] {
        assert_eq!(
            close(store, &interaction, closing).await,
            CloseInteraction::AlreadyClosed
        );
    }
    assert!(!has_code(store, &second.code.hash).await);
    assert!(has_code(store, &scene.grant.code.hash).await);
}

pub async fn another_browser_closes_nothing(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let interaction = begin(store, &scene.client).await;
    let stolen = Interaction {
        browser: sample::hash(),
        ..interaction.clone()
    };
    for closing in [approval(&scene.grant), Closing::Deny] {
        assert_eq!(close(store, &stolen, closing).await, CloseInteraction::Gone);
    }
    assert!(!has_code(store, &scene.grant.code.hash).await);
    assert_eq!(
        close(store, &interaction, approval(&scene.grant)).await,
        CloseInteraction::Closed
    );
    assert_eq!(close(store, &stolen, Closing::Deny).await, CloseInteraction::Gone);
}

pub async fn an_unknown_interaction_is_gone(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let unknown = Interaction {
        id: InteractionId::from_bytes([7; 16]),
        ..sample::interaction(&scene.client)
    };
    assert_eq!(load(store, &unknown, &unknown.browser).await, None);
    for closing in [approval(&scene.grant), Closing::Deny] {
        assert_eq!(close(store, &unknown, closing).await, CloseInteraction::Gone);
    }
    assert!(!has_code(store, &scene.grant.code.hash).await);
}

pub async fn one_of_many_racing_approvals_closes(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let interaction = begin(store, &scene.client).await;
    let grants: Vec<Grant> = (0..RUNNERS).map(|_| scene.another_grant()).collect();
    let answers = race(RUNNERS, async |runner| {
        close(store, &interaction, approval(&grants[runner])).await
    });
    let winner = one_won(
        &answers,
        &CloseInteraction::Closed,
        &CloseInteraction::AlreadyClosed,
    );
    for (runner, grant) in grants.iter().enumerate() {
        assert_eq!(has_code(store, &grant.code.hash).await, runner == winner);
    }
}

/// XC-06: one outcome, and no code that lives beside a denial.
pub async fn approving_and_denying_do_not_both_happen(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    for _ in 0..8 {
        let interaction = begin(store, &scene.client).await;
        let grant = scene.another_grant();
        let answers = race(2, async |runner| {
            let closing = if runner == 0 {
                approval(&grant)
            } else {
                Closing::Deny
            };
            close(store, &interaction, closing).await
        });
        let winner = one_won(
            &answers,
            &CloseInteraction::Closed,
            &CloseInteraction::AlreadyClosed,
        );
        assert_eq!(has_code(store, &grant.code.hash).await, winner == 0);
    }
}

pub async fn an_approval_is_gone_when_its_client_is_not_what_it_was(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let attempt = async |client: &Client| {
        let interaction = begin(store, client).await;
        let grant = sample::grant(client, scene.user.id.as_str(), &scene.resource);
        (interaction, grant)
    };
    let (removed, revoked) = (sample::client(), sample::client());
    let mut expired = sample::registered_client();
    expired.expires_at = Some(sample::in_seconds(-1));
    for client in [&removed, &revoked, &expired] {
        add_client(store, client).await;
    }
    let attempts = [
        attempt(&removed).await,
        attempt(&revoked).await,
        attempt(&expired).await,
    ];
    assert!(store.remove_client(&removed.id, sample::now()).await.unwrap());
    assert!(store.revoke_client(&revoked.id).await.unwrap().is_some());
    for (interaction, grant) in &attempts {
        assert_eq!(
            close(store, interaction, approval(grant)).await,
            CloseInteraction::Gone,
            "{}",
            grant.client_id
        );
        assert!(!has_code(store, &grant.code.hash).await);
    }
}

pub async fn an_approval_is_gone_when_its_subject_is_not_what_it_was(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let known = |generation| Closing::Approve {
        grant: &scene.grant,
        subject_generation: Some(generation),
        keep_client_until: scene.grant.expires_at,
    };
    let interaction = begin(store, &scene.client).await;
    let generation = store.revoke_subject(scene.user.id.as_str()).await.unwrap();
    assert_eq!(
        close(store, &interaction, known(generation - 1)).await,
        CloseInteraction::Gone
    );
    assert!(!has_code(store, &scene.grant.code.hash).await);
    let interaction = begin(store, &scene.client).await;
    assert!(
        store
            .set_user_disabled(&scene.user.username, true, sample::now())
            .await
            .unwrap()
    );
    assert_eq!(
        close(store, &interaction, approval(&scene.grant)).await,
        CloseInteraction::Gone
    );
    assert!(!has_code(store, &scene.grant.code.hash).await);
}

pub async fn an_approval_is_stamped_with_the_subjects_generation(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let generation = store.revoke_subject(scene.user.id.as_str()).await.unwrap();
    for given in [None, Some(generation)] {
        let grant = scene.another_grant();
        let interaction = begin(store, &scene.client).await;
        let closing = Closing::Approve {
            grant: &grant,
            subject_generation: given,
            keep_client_until: grant.expires_at,
        };
        assert_eq!(
            close(store, &interaction, closing).await,
            CloseInteraction::Closed
        );
        let peek = store
            .peek_code(&grant.code.hash, &grant.client_id, false)
            .await
            .unwrap();
        let stored = peek.grant.unwrap();
        assert_eq!(stored.grant.subject_generation, generation);
        assert_eq!(stored.standing, Standing::Live);
    }
}

pub async fn an_approval_keeps_a_registered_client_and_never_shortens_its_life(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let client = sample::registered_client();
    add_client(store, &client).await;
    let end_of = async |client: &Client| -> Option<Timestamp> {
        store.load_client(&client.id).await.unwrap().unwrap().expires_at
    };
    let long = sample::grant(&client, scene.user.id.as_str(), &scene.resource);
    approve(store, &client, &long).await;
    assert_eq!(end_of(&client).await, Some(long.expires_at));
    let mut short = sample::grant(&client, scene.user.id.as_str(), &scene.resource);
    short.expires_at = short.expires_at - Duration::from_secs(86_400);
    approve(store, &client, &short).await;
    assert_eq!(end_of(&client).await, Some(long.expires_at));
    approve(store, &scene.client, &scene.grant).await;
    assert_eq!(end_of(&scene.client).await, None);
}

pub async fn hostile_text_survives_in_an_interaction(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    for text in sample::hostile_texts() {
        let mut interaction = sample::interaction(&scene.client);
        interaction.request.redirect_uri = Some(text.clone());
        interaction.request.state = Some(text.clone());
        interaction.request.login_hint = Some(text);
        interaction.request.prompt = Prompt::ALL.to_vec();
        interaction.request.max_age = Some(u32::MAX);
        store.begin_interaction(&interaction).await.unwrap();
        let read = load(store, &interaction, &interaction.browser).await;
        assert_eq!(read, Some(interaction));
    }
}
