//! Laws about tokens that another program minted.

use mcp_authflow::{
    port::{
        store::{GrantQuery, ImportToken, ImportedEntry, RotateRefreshToken},
        token_storage::TokenKind,
    },
    record::{AccessTokenRecord, ForeignGrant, ImportedToken, RefreshTokenRecord},
};
use mcp_authflow_types::Timestamp;

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, add_client, add_resource, is_live, is_unspent, peek},
};

/// A token of the scene's client and person, for an hour.
fn token(scene: &Scene, kind: TokenKind) -> ImportedToken {
    ImportedToken::new(
        kind,
        sample::hash(),
        ForeignGrant {
            client_id: scene.client.id.clone(),
            subject: scene.user.id.as_str().to_owned(),
            username: Some("alice".to_owned()),
            granted: scene.grant.resources[0].clone(),
        },
        (sample::in_seconds(-60), sample::in_seconds(3_600)),
        sample::now(),
        sample::in_seconds(90 * 86_400),
    )
}

async fn import(store: &dyn WholeStore, token: &ImportedToken) -> ImportToken {
    let answers = store
        .import_tokens(std::slice::from_ref(token), sample::now())
        .await
        .unwrap();
    assert_eq!(answers.len(), 1);
    answers[0]
}

async fn imported(store: &dyn WholeStore, kind: TokenKind) -> (Scene, ImportedToken) {
    let scene = Scene::begin(store).await;
    let token = token(&scene, kind);
    assert_eq!(import(store, &token).await, ImportToken::Imported);
    (scene, token)
}

async fn entry(store: &dyn WholeStore, token: &ImportedToken) -> Option<ImportedEntry> {
    store.find_imported(token.kind, &token.hash).await.unwrap()
}

fn access(token: &ImportedToken) -> AccessTokenRecord {
    token.access_token().unwrap()
}

fn refresh(token: &ImportedToken) -> RefreshTokenRecord {
    token.refresh_token().unwrap()
}

pub async fn an_imported_access_token_is_good_like_one_of_ours(store: &dyn WholeStore) {
    let (scene, token) = imported(store, TokenKind::Access).await;
    let entry = entry(store, &token).await.unwrap();
    assert_eq!((entry.bucket, entry.is_claimed), (token.bucket(), false));
    let peek = store
        .peek_access_token(&token.hash, entry.bucket, &scene.client.id, false)
        .await
        .unwrap();
    let found = peek.token.unwrap();
    assert_eq!(found.record, access(&token));
    assert_eq!(found.username.as_deref(), Some("alice"));
    assert!(store.revoke_grant(token.grant.id, sample::now()).await.unwrap());
    assert!(!is_live(store, &access(&token)).await);
}

pub async fn an_imported_refresh_token_is_exchanged_like_one_of_ours(store: &dyn WholeStore) {
    let (scene, token) = imported(store, TokenKind::Refresh).await;
    let first = refresh(&token);
    let found = peek(store, &first).await.unwrap();
    assert_eq!(found.token, first);
    assert_eq!(found.grant.grant, token.grant);
    assert!(found.grant.gone.is_empty());
    let rotation = sample::rotation(&token.grant, &first);
    let answers = race(RUNNERS, async |_| {
        store
            .rotate_refresh_token(&rotation, sample::now())
            .await
            .unwrap()
    });
    let retried = RotateRefreshToken::Retried {
        sealed: rotation.sealed.clone(),
    };
    one_won(&answers, &RotateRefreshToken::Rotated, &retried);
    assert!(is_live(store, &rotation.access_token).await);
    let next = sample::rotation(&token.grant, &rotation.successor);
    let answer = store.rotate_refresh_token(&next, sample::now()).await.unwrap();
    assert_eq!(answer, RotateRefreshToken::Rotated);
    let answer = store
        .rotate_refresh_token(&sample::rotation(&token.grant, &first), sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RotateRefreshToken::Reused);
    let listed = store
        .list_grants(&GrantQuery::of(scene.user.id.as_str()), 10, sample::now())
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].grant.id, token.grant.id);
}

/// What was revoked or exchanged since must not come back with the next import.
pub async fn a_token_that_was_taken_in_before_is_left_as_it_is(store: &dyn WholeStore) {
    let (_, revoked) = imported(store, TokenKind::Access).await;
    assert!(store.revoke_grant(revoked.grant.id, sample::now()).await.unwrap());
    let (_, spent) = imported(store, TokenKind::Refresh).await;
    let rotation = sample::rotation(&spent.grant, &refresh(&spent));
    let answer = store
        .rotate_refresh_token(&rotation, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RotateRefreshToken::Rotated);
    let answers = store
        .import_tokens(&[revoked.clone(), spent.clone()], sample::now())
        .await
        .unwrap();
    assert_eq!(answers, [ImportToken::AlreadyThere; 2]);
    assert!(!is_live(store, &access(&revoked)).await);
    assert!(!is_unspent(store, &refresh(&spent)).await);
}

pub async fn the_two_kinds_are_taken_in_apart(store: &dyn WholeStore) {
    let (scene, access_token) = imported(store, TokenKind::Access).await;
    let mut same = token(&scene, TokenKind::Refresh);
    same.hash = access_token.hash;
    assert_eq!(store.find_imported(same.kind, &same.hash).await.unwrap(), None);
    let other = token(&scene, TokenKind::Refresh);
    let answers = store
        .import_tokens(
            &[same.clone(), access_token.clone(), other.clone()],
            sample::now(),
        )
        .await
        .unwrap();
    assert_eq!(
        answers,
        [
            ImportToken::Imported,
            ImportToken::AlreadyThere,
            ImportToken::Imported
        ]
    );
    assert!(store.revoke_grant(same.grant.id, sample::now()).await.unwrap());
    assert!(is_live(store, &access(&access_token)).await);
    assert!(is_unspent(store, &refresh(&other)).await);
}

pub async fn a_token_of_nobody_is_not_taken_in(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut expired = sample::registered_client();
    expired.expires_at = Some(sample::in_seconds(-1));
    add_client(store, &expired).await;
    for client in [sample::client_id(), expired.id] {
        let mut token = token(&scene, TokenKind::Refresh);
        token.grant.client_id = client;
        assert_eq!(import(store, &token).await, ImportToken::ClientGone);
        assert_eq!(entry(store, &token).await, None);
        assert!(peek(store, &refresh(&token)).await.is_none());
    }
    let username = &scene.user.username;
    assert!(
        store
            .set_user_disabled(username, true, sample::now())
            .await
            .unwrap()
    );
    let token = token(&scene, TokenKind::Access);
    assert_eq!(import(store, &token).await, ImportToken::SubjectDisabled);
    assert_eq!(entry(store, &token).await, None);
    assert!(
        store
            .set_user_disabled(username, false, sample::now())
            .await
            .unwrap()
    );
    assert_eq!(import(store, &token).await, ImportToken::Imported);
    assert!(is_live(store, &access(&token)).await);
}

/// P2
pub async fn what_ends_a_client_or_a_subject_ends_its_imported_tokens(store: &dyn WholeStore) {
    for what in [
        "revoke client",
        "remove client",
        "revoke subject",
        "disable account",
    ] {
        let (scene, one) = imported(store, TokenKind::Access).await;
        let two = token(&scene, TokenKind::Refresh);
        assert_eq!(import(store, &two).await, ImportToken::Imported);
        assert!(is_live(store, &access(&one)).await && is_unspent(store, &refresh(&two)).await);
        let now = sample::now();
        match what {
            "revoke client" => assert!(store.revoke_client(&scene.client.id).await.unwrap().is_some()),
            "remove client" => assert!(store.remove_client(&scene.client.id, now).await.unwrap()),
            "revoke subject" => assert!(store.revoke_subject(scene.user.id.as_str()).await.unwrap() > 0),
            _ => assert!(
                store
                    .set_user_disabled(&scene.user.username, true, now)
                    .await
                    .unwrap()
            ),
        }
        assert!(!is_live(store, &access(&one)).await, "{what}");
        assert!(!is_unspent(store, &refresh(&two)).await, "{what}");
        let rotation = sample::rotation(&two.grant, &refresh(&two));
        let answer = store.rotate_refresh_token(&rotation, now).await.unwrap();
        assert_eq!(answer, RotateRefreshToken::Gone, "{what}");
    }
}

pub async fn an_imported_token_lives_with_the_registration_of_its_resource(store: &dyn WholeStore) {
    let (scene, one) = imported(store, TokenKind::Access).await;
    let two = token(&scene, TokenKind::Refresh);
    assert_eq!(import(store, &two).await, ImportToken::Imported);
    assert!(store.remove_resource(&scene.resource.resource).await.unwrap());
    assert!(!is_live(store, &access(&one)).await);
    let found = peek(store, &refresh(&two)).await.unwrap();
    assert_eq!(found.grant.gone, std::slice::from_ref(&scene.resource.resource));
    add_resource(store, &scene.resource).await;
    assert!(!is_live(store, &access(&one)).await);
}

pub async fn of_many_racing_imports_of_a_token_one_takes_it_in(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let token = token(&scene, TokenKind::Refresh);
    let answers = race(RUNNERS, async |_| import(store, &token).await);
    one_won(&answers, &ImportToken::Imported, &ImportToken::AlreadyThere);
    assert!(is_unspent(store, &refresh(&token)).await);
}

pub async fn a_claim_stays(store: &dyn WholeStore) {
    let (_, token) = imported(store, TokenKind::Refresh).await;
    assert!(!store.claim_imported(&sample::hash()).await.unwrap());
    for _ in 0..2 {
        assert!(store.claim_imported(&token.hash).await.unwrap());
        assert!(entry(store, &token).await.unwrap().is_claimed);
    }
    assert_eq!(import(store, &token).await, ImportToken::AlreadyThere);
    assert!(entry(store, &token).await.unwrap().is_claimed);
    assert!(is_unspent(store, &refresh(&token)).await);
}

pub async fn entries_are_forgotten_when_their_time_has_passed(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (mut one, mut two, three) = (
        token(&scene, TokenKind::Access),
        token(&scene, TokenKind::Access),
        token(&scene, TokenKind::Refresh),
    );
    for gone in [&mut one, &mut two] {
        gone.remembered_until = Timestamp::from_seconds(sample::now().seconds() - 1);
    }
    for token in [&one, &two, &three] {
        assert_eq!(import(store, token).await, ImportToken::Imported);
    }
    for left in [1, 0] {
        let purged = store.purge_expired(sample::now(), 1).await.unwrap();
        assert_eq!(purged.imported_tokens, 1, "{left} left");
    }
    assert_eq!((entry(store, &one).await, entry(store, &two).await), (None, None));
    assert!(entry(store, &three).await.is_some());
}
