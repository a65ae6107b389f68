//! Laws about what ends with what: nothing beneath a revocation lives on, and nothing beside it is touched.

use mcp_authflow::{
    port::store::{NewTokens, RedeemCode, RotateRefreshToken, Standing},
    record::{AccessTokenRecord, Grant, Session},
};

use super::{
    WholeStore,
    race::race,
    sample,
    scene::{Scene, add_client, approve, is_live, is_unspent, peek, redeem},
};

/// A scene with everything in it that can end.
struct Everything {
    scene: Scene,
    tokens: NewTokens,
    waiting: Grant,
    session: Session,
    own: AccessTokenRecord,
}

impl Everything {
    async fn begin(store: &dyn WholeStore) -> Self {
        let (scene, tokens) = Scene::redeemed(store).await;
        let waiting = scene.another_grant();
        approve(store, &scene.client, &waiting).await;
        let session = sample::session(&scene.user);
        assert!(store.begin_session(&session, None, None).await.unwrap());
        let own = sample::own_access_token(&scene.client, &scene.resource);
        let _ = store.issue_access_token(&own, sample::now()).await.unwrap();
        let everything = Self {
            scene,
            tokens,
            waiting,
            session,
            own,
        };
        everything.lives(store).await;
        everything
    }

    async fn lives(&self, store: &dyn WholeStore) {
        assert!(is_live(store, &self.tokens.access_token).await);
        assert!(is_unspent(store, self.tokens.refresh_token.as_ref().unwrap()).await);
        assert!(is_live(store, &self.own).await);
        assert!(self.has_session(store).await);
        let peek = store
            .peek_code(&self.waiting.code.hash, &self.waiting.client_id, false)
            .await
            .unwrap();
        assert_eq!(peek.grant.unwrap().standing, Standing::Live);
    }

    async fn has_session(&self, store: &dyn WholeStore) -> bool {
        store.load_session(&self.session.hash).await.unwrap().is_some()
    }

    /// Nothing of the grants is good for anything.
    async fn grants_ended(&self, store: &dyn WholeStore) {
        assert!(!is_live(store, &self.tokens.access_token).await);
        let refresh = self.tokens.refresh_token.as_ref().unwrap();
        assert_eq!(
            peek(store, refresh).await.unwrap().grant.standing,
            Standing::Ended
        );
        let rotation = sample::rotation(&self.scene.grant, refresh);
        let answer = store
            .rotate_refresh_token(&rotation, sample::now())
            .await
            .unwrap();
        assert_eq!(answer, RotateRefreshToken::Gone);
        assert!(!is_live(store, &rotation.access_token).await);

        let code = &self.waiting.code.hash;
        let peek = store
            .peek_code(code, &self.waiting.client_id, false)
            .await
            .unwrap();
        assert_eq!(peek.grant.unwrap().standing, Standing::Ended);
        let tokens = sample::tokens(&self.waiting);
        let answer = store.redeem_code(code, &tokens, sample::now()).await.unwrap();
        assert_eq!(answer, RedeemCode::Gone);
        assert!(!is_live(store, &tokens.access_token).await);
    }

    /// A new approval of the same three is as good as ever.
    async fn can_begin_anew(&self, store: &dyn WholeStore) {
        let client = store.load_client(&self.scene.client.id).await.unwrap().unwrap();
        let grant = sample::grant(&client, self.scene.user.id.as_str(), &self.scene.resource);
        approve(store, &client, &grant).await;
        let tokens = redeem(store, &grant).await;
        assert!(is_live(store, &tokens.access_token).await);
        assert!(is_unspent(store, tokens.refresh_token.as_ref().unwrap()).await);
    }
}

pub async fn revoking_a_grant_ends_it_and_no_other(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let other = scene.another_grant();
    approve(store, &scene.client, &other).await;
    let others = redeem(store, &other).await;
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());
    assert!(!is_live(store, &tokens.access_token).await);
    assert!(!is_unspent(store, tokens.refresh_token.as_ref().unwrap()).await);
    assert!(is_live(store, &others.access_token).await);
    assert!(is_unspent(store, others.refresh_token.as_ref().unwrap()).await);
}

pub async fn revoking_a_client_ends_everything_beneath_it(store: &dyn WholeStore) {
    let (everything, bystander) = (Everything::begin(store).await, Everything::begin(store).await);
    let client = &everything.scene.client;
    assert_eq!(store.revoke_client(&client.id).await.unwrap(), Some(1));
    everything.grants_ended(store).await;
    assert!(!is_live(store, &everything.own).await);
    assert!(everything.has_session(store).await, "the person stays signed in");
    everything.can_begin_anew(store).await;
    bystander.lives(store).await;
}

pub async fn removing_a_client_ends_everything_beneath_it(store: &dyn WholeStore) {
    let (everything, bystander) = (Everything::begin(store).await, Everything::begin(store).await);
    let client = &everything.scene.client;
    assert!(store.remove_client(&client.id, sample::now()).await.unwrap());
    everything.grants_ended(store).await;
    assert!(!is_live(store, &everything.own).await);
    bystander.lives(store).await;
}

pub async fn nothing_revives_when_a_removed_client_comes_back(store: &dyn WholeStore) {
    let everything = Everything::begin(store).await;
    let client = &everything.scene.client;
    assert!(store.remove_client(&client.id, sample::now()).await.unwrap());
    add_client(store, client).await;
    everything.grants_ended(store).await;
    assert!(!is_live(store, &everything.own).await);
    everything.can_begin_anew(store).await;
}

pub async fn revoking_a_subject_ends_its_grants_and_sessions(store: &dyn WholeStore) {
    let (everything, bystander) = (Everything::begin(store).await, Everything::begin(store).await);
    let subject = everything.scene.user.id.as_str();
    assert_eq!(store.revoke_subject(subject).await.unwrap(), 1);
    everything.grants_ended(store).await;
    assert!(!everything.has_session(store).await);
    assert!(
        is_live(store, &everything.own).await,
        "the client acts for itself"
    );
    everything.can_begin_anew(store).await;
    assert_eq!(store.revoke_subject(subject).await.unwrap(), 2);
    bystander.lives(store).await;
}

pub async fn disabling_an_account_ends_everything_and_enabling_revives_nothing(store: &dyn WholeStore) {
    let (everything, bystander) = (Everything::begin(store).await, Everything::begin(store).await);
    let name = &everything.scene.user.username;
    for disabled in [true, false] {
        let answer = store
            .set_user_disabled(name, disabled, sample::now())
            .await
            .unwrap();
        assert!(answer);
        everything.grants_ended(store).await;
        assert!(!everything.has_session(store).await);
    }
    everything.can_begin_anew(store).await;
    bystander.lives(store).await;
}

/// XC-02: whatever was being exchanged when the account was disabled.
pub async fn nothing_lives_after_an_account_was_disabled_in_a_race(store: &dyn WholeStore) {
    for _ in 0..8 {
        let (scene, tokens) = Scene::redeemed(store).await;
        let waiting = [(); 2].map(|()| scene.another_grant());
        for grant in &waiting {
            approve(store, &scene.client, grant).await;
        }
        let spent = tokens.refresh_token.as_ref().unwrap();
        let rotations = [(); 2].map(|()| sample::rotation(&scene.grant, spent));
        let redemptions = [0, 1].map(|one| sample::tokens(&waiting[one]));
        race(5, async |runner| match runner {
            0 | 1 => {
                let rotated = store.rotate_refresh_token(&rotations[runner], sample::now());
                let _ = rotated.await.unwrap();
            }
            2 | 3 => {
                let (code, tokens) = (&waiting[runner - 2].code.hash, &redemptions[runner - 2]);
                let _ = store.redeem_code(code, tokens, sample::now()).await.unwrap();
            }
            _ => {
                let name = &scene.user.username;
                assert!(store.set_user_disabled(name, true, sample::now()).await.unwrap());
            }
        });
        assert!(!is_live(store, &tokens.access_token).await);
        assert!(!is_unspent(store, spent).await);
        for rotation in &rotations {
            assert!(!is_live(store, &rotation.access_token).await);
            assert!(!is_unspent(store, &rotation.successor).await);
        }
        for issued in &redemptions {
            assert!(!is_live(store, &issued.access_token).await);
            assert!(!is_unspent(store, issued.refresh_token.as_ref().unwrap()).await);
        }
    }
}

pub async fn a_subject_without_an_account_can_be_revoked(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let subject = "https://idp.example/users/7";
    let grant = sample::grant(&scene.client, subject, &scene.resource);
    approve(store, &scene.client, &grant).await;
    let tokens = redeem(store, &grant).await;
    assert!(is_live(store, &tokens.access_token).await);
    assert_eq!(store.revoke_subject(subject).await.unwrap(), 1);
    assert!(!is_live(store, &tokens.access_token).await);
    let again = sample::grant(&scene.client, subject, &scene.resource);
    approve(store, &scene.client, &again).await;
    let tokens = redeem(store, &again).await;
    assert!(is_live(store, &tokens.access_token).await);
}

pub async fn a_new_password_ends_the_sessions_and_not_the_grants(store: &dyn WholeStore) {
    let (everything, bystander) = (Everything::begin(store).await, Everything::begin(store).await);
    let id = &everything.scene.user.id;
    assert!(store.set_user_password(id, "$argon2id$new").await.unwrap());
    assert!(!everything.has_session(store).await);
    assert!(is_live(store, &everything.tokens.access_token).await);
    assert!(is_unspent(store, everything.tokens.refresh_token.as_ref().unwrap()).await);
    let session = sample::session(&everything.scene.user);
    assert!(store.begin_session(&session, None, None).await.unwrap());
    assert!(store.load_session(&session.hash).await.unwrap().is_some());
    bystander.lives(store).await;
}
