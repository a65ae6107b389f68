//! Laws about keeping a store in order.

use mcp_authflow::port::{
    store::{GrantQuery, KeyFingerprint, Purged, RedeemCode, RotateRefreshToken, Standing, TokenCounts},
    token_storage::TokenCount,
};
use mcp_authflow_types::AccessToken;

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, add_client, add_user, approve, begin, has_code, is_live, is_unspent, peek, redeem},
};

/// Purges until nothing is left to purge; answers what went.
async fn purge(store: &dyn WholeStore, limit: u32) -> Purged {
    let mut sum = Purged::default();
    for _ in 0..1_000 {
        let purged = store.purge_expired(sample::now(), limit).await.unwrap();
        if purged == Purged::default() {
            return sum;
        }
        sum.interactions += purged.interactions;
        sum.device_codes += purged.device_codes;
        sum.grants += purged.grants;
        sum.tokens += purged.tokens;
        sum.sessions += purged.sessions;
        sum.clients += purged.clients;
        sum.one_time_uses += purged.one_time_uses;
    }
    panic!("a purge never comes to an end: {sum:?}");
}

pub async fn a_store_tells_the_time(store: &dyn WholeStore) {
    let told = store.probe(sample::now()).await.unwrap();
    let now = sample::now();
    assert!(
        told.since(now).as_secs() < 300 && now.since(told).as_secs() < 300,
        "{told}"
    );
}

pub async fn the_first_server_key_is_remembered(store: &dyn WholeStore) {
    for (fingerprint, answer) in [
        ([1; 32], KeyFingerprint::Matches),
        ([1; 32], KeyFingerprint::Matches),
        ([2; 32], KeyFingerprint::Differs),
        ([1; 32], KeyFingerprint::Matches),
    ] {
        assert_eq!(store.pin_server_key(&fingerprint).await.unwrap(), answer);
    }
}

pub async fn one_of_many_racing_server_keys_is_remembered(store: &dyn WholeStore) {
    let answers = race(RUNNERS, async |runner| {
        let fingerprint = [u8::try_from(runner).unwrap(); 32];
        store.pin_server_key(&fingerprint).await.unwrap()
    });
    let winner = one_won(&answers, &KeyFingerprint::Matches, &KeyFingerprint::Differs);
    let fingerprint = [u8::try_from(winner).unwrap(); 32];
    assert_eq!(
        store.pin_server_key(&fingerprint).await.unwrap(),
        KeyFingerprint::Matches
    );
}

pub async fn a_clean_store_has_nothing_to_purge(store: &dyn WholeStore) {
    assert_eq!(
        store.purge_expired(sample::now(), 100).await.unwrap(),
        Purged::default()
    );
}

pub async fn live_things_survive_a_purge(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let waiting = scene.another_grant();
    approve(store, &scene.client, &waiting).await;
    let interaction = begin(store, &scene.client).await;
    let session = sample::session(&scene.user);
    assert!(store.begin_session(&session, None, None).await.unwrap());
    let registered = sample::registered_client();
    add_client(store, &registered).await;
    let mut kept = sample::registered_client();
    kept.expires_at = Some(sample::in_seconds(30));
    add_client(store, &kept).await;
    approve(
        store,
        &kept,
        &sample::grant(&kept, scene.user.id.as_str(), &scene.resource),
    )
    .await;

    purge(store, 100).await;
    assert!(is_live(store, &tokens.access_token).await);
    assert!(is_unspent(store, tokens.refresh_token.as_ref().unwrap()).await);
    redeem(store, &waiting).await;
    let read = store
        .load_interaction(interaction.id, &interaction.browser, sample::now())
        .await
        .unwrap();
    assert!(read.is_some());
    assert!(store.load_session(&session.hash).await.unwrap().is_some());
    for client in [&scene.client, &registered, &kept] {
        assert!(store.load_client(&client.id).await.unwrap().is_some());
    }
}

/// P5
pub async fn what_reuse_detection_remembers_survives_a_purge(store: &dyn WholeStore) {
    let mut scene = Scene::begin(store).await;
    scene.grant.code.expires_at = sample::in_seconds(3);
    approve(store, &scene.client, &scene.grant).await;
    let first = redeem(store, &scene.grant).await.refresh_token.unwrap();
    let mut one = sample::rotation(&scene.grant, &first);
    one.successor.expires_at = sample::in_seconds(3);
    let two = sample::rotation(&scene.grant, &one.successor);
    for rotation in [&one, &two] {
        let answer = store.rotate_refresh_token(rotation, sample::now()).await.unwrap();
        assert_eq!(answer, RotateRefreshToken::Rotated);
    }
    sample::until_passed(one.successor.expires_at.max(scene.grant.code.expires_at)).await;
    purge(store, 100).await;

    let replay = store
        .redeem_code(
            &scene.grant.code.hash,
            &sample::tokens(&scene.grant),
            sample::now(),
        )
        .await
        .unwrap();
    assert_eq!(replay, RedeemCode::Replayed);
    for spent in [&first, &one.successor] {
        let reuse = sample::rotation(&scene.grant, spent);
        let mut reuse = reuse;
        reuse.retry_window = std::time::Duration::ZERO;
        let answer = store.rotate_refresh_token(&reuse, sample::now()).await.unwrap();
        assert_eq!(answer, RotateRefreshToken::Reused);
    }
    assert!(is_unspent(store, &two.successor).await);
}

pub async fn expired_things_are_purged(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let long_ago = sample::in_seconds(-3 * 86_400);
    let mut interaction = sample::interaction(&scene.client);
    interaction.expires_at = long_ago;
    store.begin_interaction(&interaction).await.unwrap();
    let mut session = sample::session(&scene.user);
    session.expires_at = long_ago;
    assert!(store.begin_session(&session, None, None).await.unwrap());
    let mut client = sample::registered_client();
    client.expires_at = Some(long_ago);
    add_client(store, &client).await;
    let mut token = sample::own_access_token(&scene.client, &scene.resource);
    token.expires_at = long_ago;
    token.bucket = AccessToken::bucket_of(long_ago);
    let _ = store.issue_access_token(&token, sample::now()).await.unwrap();

    let mut device = sample::device(&scene.client);
    device.expires_at = long_ago;
    let _ = store.begin_device(&device).await.unwrap();

    let purged = purge(store, 100).await;
    let expected = Purged {
        interactions: 1,
        device_codes: 1,
        grants: 0,
        tokens: 1,
        sessions: 1,
        clients: 1,
        one_time_uses: 0,
        imported_tokens: 0,
    };
    assert_eq!(purged, expected);
    assert!(!is_live(store, &token).await);
    assert_eq!(store.load_session(&session.hash).await.unwrap(), None);
    assert!(store.load_client(&client.id).await.unwrap().is_none());
}

pub async fn grants_go_with_their_end_or_with_a_code_that_nobody_redeemed(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    let mut abandoned = scene.another_grant();
    abandoned.code.expires_at = sample::in_seconds(-86_400);
    approve(store, &scene.client, &abandoned).await;
    let mut ended = scene.another_grant();
    ended.expires_at = sample::in_seconds(3);
    approve(store, &scene.client, &ended).await;
    let tokens = redeem(store, &ended).await;
    let mut revoked = scene.another_grant();
    revoked.expires_at = sample::in_seconds(3);
    approve(store, &scene.client, &revoked).await;
    assert!(store.revoke_grant(revoked.id, sample::now()).await.unwrap());
    sample::until_passed(ended.expires_at.max(revoked.expires_at)).await;

    assert_eq!(purge(store, 100).await.grants, 3);
    for gone in [&abandoned, &ended, &revoked] {
        assert!(!has_code(store, &gone.code.hash).await);
    }
    assert!(!is_live(store, &tokens.access_token).await);
    assert!(peek(store, &tokens.refresh_token.unwrap()).await.is_none());
    let listed = store
        .list_grants(&GrantQuery::of(scene.user.id.as_str()), 10, sample::now())
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].grant.id, listed[0].standing),
        (scene.grant.id, Standing::Live)
    );
}

pub async fn a_purge_respects_its_limit(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let past = sample::in_seconds(-3_600);
    for _ in 0..5 {
        let mut interaction = sample::interaction(&scene.client);
        interaction.expires_at = past;
        store.begin_interaction(&interaction).await.unwrap();
        let user = sample::user();
        add_user(store, &user).await;
        let mut session = sample::session(&user);
        session.expires_at = past;
        assert!(store.begin_session(&session, None, None).await.unwrap());
        let mut client = sample::registered_client();
        client.expires_at = Some(past);
        add_client(store, &client).await;
        let mut grant = scene.another_grant();
        grant.expires_at = past;
        approve(store, &scene.client, &grant).await;
    }
    let purged = store.purge_expired(sample::now(), 2).await.unwrap();
    let (sessions, clients) = (purged.sessions, purged.clients);
    for count in [purged.interactions, purged.grants, sessions, clients] {
        assert!(count <= 2, "{purged:?}");
    }
    assert_ne!(purged, Purged::default());
    let rest = purge(store, 2).await;
    assert_eq!(purged.interactions + rest.interactions, 5);
    assert_eq!(purged.grants + rest.grants, 5);
    assert_eq!(sessions + rest.sessions, 5);
    assert_eq!(clients + rest.clients, 5);
}

/// S-179, S-205
pub async fn tokens_are_counted_by_what_they_are_good_for(store: &dyn WholeStore) {
    assert_eq!(
        store.count_tokens(sample::now()).await.unwrap(),
        TokenCounts::default()
    );
    let (scene, tokens) = Scene::redeemed(store).await;
    let rotation = sample::rotation(&scene.grant, &tokens.refresh_token.unwrap());
    let answer = store
        .rotate_refresh_token(&rotation, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RotateRefreshToken::Rotated);
    let mut over = sample::own_access_token(&scene.client, &scene.resource);
    over.expires_at = sample::in_seconds(-10);
    let _ = store.issue_access_token(&over, sample::now()).await.unwrap();
    let expected = TokenCounts {
        access_tokens: TokenCount { live: 2, expired: 1 },
        refresh_tokens: TokenCount { live: 1, expired: 0 },
        spent_refresh_tokens: 1,
    };
    assert_eq!(store.count_tokens(sample::now()).await.unwrap(), expected);
}
