//! Laws about grants and their authorization codes.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use mcp_authflow::{
    port::store::{
        GrantQuery, GrantSummary, LastUse, NewTokens, RedeemCode, RotateRefreshToken, Rotation, Standing,
    },
    record::{Grant, GrantId},
};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, add_client, approve, has_code, is_live, is_unspent, peek, redeem},
};

async fn try_to_redeem(store: &dyn WholeStore, grant: &Grant) -> (RedeemCode, NewTokens) {
    let tokens = sample::tokens(grant);
    let answer = store
        .redeem_code(&grant.code.hash, &tokens, sample::now())
        .await
        .unwrap();
    (answer, tokens)
}

async fn is_gone_and_stores_nothing(store: &dyn WholeStore, grant: &Grant) {
    let (answer, tokens) = try_to_redeem(store, grant).await;
    assert_eq!(answer, RedeemCode::Gone);
    assert!(!is_live(store, &tokens.access_token).await);
    assert!(peek(store, &tokens.refresh_token.unwrap()).await.is_none());
}

pub async fn an_unknown_code_has_no_grant_and_is_gone(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let peek = store
        .peek_code(&scene.grant.code.hash, &scene.client.id, false)
        .await
        .unwrap();
    assert!(peek.grant.is_none());
    assert_eq!(peek.client.as_deref(), Some(&scene.client));
    is_gone_and_stores_nothing(store, &scene.grant).await;
}

pub async fn peeking_at_a_code_changes_nothing(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    for _ in 0..3 {
        let peek = store
            .peek_code(&scene.grant.code.hash, &sample::client_id(), false)
            .await
            .unwrap();
        assert!(peek.client.is_none());
        assert_eq!(peek.grant.unwrap().grant, scene.grant);
    }
    redeem(store, &scene.grant).await;
}

pub async fn redeeming_stores_the_tokens(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    assert!(is_live(store, &tokens.access_token).await);
    let refresh = peek(store, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
    assert_eq!(Some(&refresh.token), tokens.refresh_token.as_ref());
    let redeemed = refresh.grant.grant.code.redeemed_at.unwrap();
    assert!(redeemed.since(sample::now()).as_secs() < 120 && sample::now().since(redeemed).as_secs() < 120);

    let online = scene.another_grant();
    approve(store, &scene.client, &online).await;
    let alone = NewTokens {
        refresh_token: None,
        ..sample::tokens(&online)
    };
    assert_eq!(
        store
            .redeem_code(&online.code.hash, &alone, sample::now())
            .await
            .unwrap(),
        RedeemCode::Redeemed
    );
    assert!(is_live(store, &alone.access_token).await);
}

pub async fn a_code_redeemed_twice_is_replayed_and_stores_nothing(store: &dyn WholeStore) {
    let (scene, first) = Scene::redeemed(store).await;
    let (answer, second) = try_to_redeem(store, &scene.grant).await;
    assert_eq!(answer, RedeemCode::Replayed);
    assert!(!is_live(store, &second.access_token).await);
    assert!(peek(store, &second.refresh_token.unwrap()).await.is_none());
    // Whether a replay ends the family is the caller's decision, made by another verb.
    assert!(is_live(store, &first.access_token).await);
}

pub async fn one_of_many_racing_redemptions_wins(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    let answers = race(RUNNERS, async |_| try_to_redeem(store, &scene.grant).await);
    let outcomes: Vec<RedeemCode> = answers.iter().map(|(outcome, _)| *outcome).collect();
    let winner = one_won(&outcomes, &RedeemCode::Redeemed, &RedeemCode::Replayed);
    for (runner, (_, tokens)) in answers.iter().enumerate() {
        assert_eq!(is_live(store, &tokens.access_token).await, runner == winner);
        let refresh = tokens.refresh_token.as_ref().unwrap();
        assert_eq!(is_unspent(store, refresh).await, runner == winner);
    }
}

pub async fn an_expired_code_is_gone(store: &dyn WholeStore) {
    let mut scene = Scene::begin(store).await;
    scene.grant.code.expires_at = sample::in_seconds(-1);
    approve(store, &scene.client, &scene.grant).await;
    is_gone_and_stores_nothing(store, &scene.grant).await;
}

pub async fn a_replay_is_recognised_after_the_code_has_expired(store: &dyn WholeStore) {
    let mut scene = Scene::begin(store).await;
    scene.grant.code.expires_at = sample::in_seconds(3);
    approve(store, &scene.client, &scene.grant).await;
    redeem(store, &scene.grant).await;
    sample::until_passed(scene.grant.code.expires_at).await;
    let (answer, _) = try_to_redeem(store, &scene.grant).await;
    assert_eq!(answer, RedeemCode::Replayed);
}

pub async fn a_code_of_an_ended_grant_is_gone(store: &dyn WholeStore) {
    let mut scene = Scene::begin(store).await;
    scene.grant.expires_at = sample::in_seconds(-1);
    approve(store, &scene.client, &scene.grant).await;
    is_gone_and_stores_nothing(store, &scene.grant).await;
}

pub async fn a_code_of_a_revoked_grant_is_gone(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());
    is_gone_and_stores_nothing(store, &scene.grant).await;
    let peek = store
        .peek_code(&scene.grant.code.hash, &scene.client.id, false)
        .await
        .unwrap();
    let stored = peek.grant.unwrap();
    assert_eq!(stored.standing, Standing::Ended);
    assert!(stored.grant.revoked_at.is_some());
}

pub async fn one_of_many_racing_revocations_ends_the_grant(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    let answers = race(RUNNERS, async |_| {
        store.revoke_grant(scene.grant.id, sample::now()).await.unwrap()
    });
    one_won(&answers, &true, &false);
    let unknown = GrantId::from_bytes([9; 16]);
    assert!(!store.revoke_grant(unknown, sample::now()).await.unwrap());
}

/// XC-07: the end is that of one of the two orders.
pub async fn nothing_lives_after_a_revocation_that_raced_with_a_redemption(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    for _ in 0..8 {
        let grant = scene.another_grant();
        approve(store, &scene.client, &grant).await;
        let answers = race(4, async |runner| {
            if runner == 0 {
                assert!(store.revoke_grant(grant.id, sample::now()).await.unwrap());
                None
            } else {
                Some(try_to_redeem(store, &grant).await)
            }
        });
        let won = answers
            .iter()
            .flatten()
            .filter(|(outcome, _)| *outcome == RedeemCode::Redeemed);
        assert!(won.count() <= 1);
        for (_, tokens) in answers.iter().flatten() {
            assert!(!is_live(store, &tokens.access_token).await);
            assert!(!is_unspent(store, tokens.refresh_token.as_ref().unwrap()).await);
        }
    }
}

pub async fn grants_are_listed_newest_first(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut grants: Vec<Grant> = Vec::new();
    for age in [300, 100, 200, 400] {
        let mut grant = scene.another_grant();
        grant.created_at = grant.created_at - Duration::from_secs(age);
        approve(store, &scene.client, &grant).await;
        redeem(store, &grant).await;
        grants.push(grant);
    }
    let mut ended = scene.another_grant();
    ended.expires_at = sample::in_seconds(-1);
    approve(store, &scene.client, &ended).await;
    let somebody_else = sample::grant(&scene.client, "somebody else", &scene.resource);
    approve(store, &scene.client, &somebody_else).await;
    assert!(store.revoke_grant(grants[0].id, sample::now()).await.unwrap());
    let listed = store
        .list_grants(&GrantQuery::of(scene.user.id.as_str()), 3, sample::now())
        .await
        .unwrap();
    let listed: Vec<_> = listed.iter().map(|one| (one.grant.id, one.standing)).collect();
    let expected = [
        (grants[1].id, Standing::Live),
        (grants[2].id, Standing::Live),
        (grants[0].id, Standing::Ended),
    ];
    assert_eq!(listed, expected);
}

pub async fn grants_are_listed_page_by_page(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let other = sample::client();
    add_client(store, &other).await;
    let mut ids = Vec::new();
    for number in 0..7 {
        // Several of one second, so that a page may end between them.
        let client = if number % 2 == 0 { &scene.client } else { &other };
        let mut grant = sample::grant(client, scene.user.id.as_str(), &scene.resource);
        grant.created_at = grant.created_at - Duration::from_secs(100 * (number / 3));
        approve(store, client, &grant).await;
        if number < 5 {
            redeem(store, &grant).await;
        }
        ids.push((grant.created_at, grant.id));
    }
    let somebody_else = sample::grant(&other, "somebody else", &scene.resource);
    approve(store, &other, &somebody_else).await;
    redeem(store, &somebody_else).await;
    assert!(store.revoke_grant(ids[4].1, sample::now()).await.unwrap());

    let whole = |query: GrantQuery| async move {
        let (mut query, mut found) = (query, Vec::new());
        for _ in 0..20 {
            let page = store.list_grants(&query, 2, sample::now()).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else {
                return found;
            };
            query.after = Some((last.grant.created_at, last.grant.id));
            found.extend(page.iter().map(|one| one.grant.id));
        }
        panic!("the pages never end");
    };
    let mine = GrantQuery::of(scene.user.id.as_str());
    let mut newest_first = ids.clone();
    newest_first.sort_unstable();
    newest_first.reverse();
    let newest_first: Vec<GrantId> = newest_first.iter().map(|(_, id)| *id).collect();
    assert_eq!(whole(mine.clone()).await, newest_first);

    let to_one = GrantQuery {
        client: Some(other.id.clone()),
        only_connected: true,
        ..mine
    };
    let mut found = whole(to_one.clone()).await;
    found.sort_unstable();
    let mut expected = vec![ids[1].1, ids[3].1];
    expected.sort_unstable();
    assert_eq!(found, expected);

    // Of everybody, in the order of their identifiers.
    let mut expected: Vec<GrantId> = ids[..4].iter().map(|(_, id)| *id).collect();
    expected.push(somebody_else.id);
    expected.sort_unstable();
    let everybodys = GrantQuery {
        only_connected: true,
        ..GrantQuery::default()
    };
    assert_eq!(whole(everybodys).await, expected);
    let to_one = GrantQuery {
        subject: None,
        ..to_one
    };
    let mut expected = vec![ids[1].1, ids[3].1, somebody_else.id];
    expected.sort_unstable();
    assert_eq!(whole(to_one).await, expected);
}

async fn only_grant(store: &dyn WholeStore, scene: &Scene) -> GrantSummary {
    let query = GrantQuery::of(scene.user.id.as_str());
    let mut listed = store.list_grants(&query, 10, sample::now()).await.unwrap();
    assert_eq!(listed.len(), 1);
    listed.remove(0)
}

fn is_now(used: LastUse) -> bool {
    used.at.since(sample::now()).as_secs() < 120 && sample::now().since(used.at).as_secs() < 120
}

pub async fn a_grant_remembers_when_it_was_last_used_and_from_where(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    assert_eq!(only_grant(store, &scene).await.last_used, None);
    let tokens = redeem(store, &scene.grant).await;
    let used = only_grant(store, &scene).await.last_used.unwrap();
    assert_eq!(used.address, Some(sample::address()));
    assert!(is_now(used));

    // Whoever loses, uses nothing.
    let elsewhere = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let lost = NewTokens {
        address: elsewhere,
        ..sample::tokens(&scene.grant)
    };
    let answer = store
        .redeem_code(&scene.grant.code.hash, &lost, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RedeemCode::Replayed);
    assert_eq!(only_grant(store, &scene).await.last_used, Some(used));

    let mut presented = tokens.refresh_token.unwrap();
    for address in [elsewhere, None, Some(sample::address())] {
        let rotation = Rotation {
            address,
            ..sample::rotation(&scene.grant, &presented)
        };
        let answer = store
            .rotate_refresh_token(&rotation, sample::now())
            .await
            .unwrap();
        assert_eq!(answer, RotateRefreshToken::Rotated);
        let used = only_grant(store, &scene).await.last_used.unwrap();
        assert_eq!(used.address, address);
        assert!(is_now(used));
        let reused = Rotation {
            address: Some(IpAddr::from([198, 51, 100, 9])),
            ..sample::rotation_within(&scene.grant, &presented, Duration::ZERO)
        };
        let answer = store.rotate_refresh_token(&reused, sample::now()).await.unwrap();
        assert_eq!(answer, RotateRefreshToken::Reused);
        assert_eq!(only_grant(store, &scene).await.last_used, Some(used));
        presented = rotation.successor;
    }
}

/// P2
pub async fn disconnecting_a_client_ends_every_grant_of_that_person_to_it(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let second = scene.another_grant();
    approve(store, &scene.client, &second).await;
    let unredeemed = scene.another_grant();
    approve(store, &scene.client, &unredeemed).await;
    let second_tokens = redeem(store, &second).await;
    let somebody_else = sample::grant(&scene.client, "somebody else", &scene.resource);
    approve(store, &scene.client, &somebody_else).await;
    let theirs = redeem(store, &somebody_else).await;
    let other = sample::client();
    add_client(store, &other).await;
    let to_other = sample::grant(&other, scene.user.id.as_str(), &scene.resource);
    approve(store, &other, &to_other).await;
    let kept = redeem(store, &to_other).await;

    let subject = scene.user.id.as_str();
    let unknown = sample::client_id();
    let disconnect = async |subject: &str, client: &mcp_authflow_types::ClientId| {
        store
            .revoke_client_grants(subject, client, sample::now())
            .await
            .unwrap()
    };
    assert_eq!(disconnect(subject, &unknown).await, 0);
    assert_eq!(disconnect("nobody", &scene.client.id).await, 0);
    assert_eq!(disconnect(subject, &scene.client.id).await, 3);
    assert_eq!(disconnect(subject, &scene.client.id).await, 0);

    for tokens in [&tokens, &second_tokens] {
        assert!(!is_live(store, &tokens.access_token).await);
        assert!(!is_unspent(store, tokens.refresh_token.as_ref().unwrap()).await);
    }
    is_gone_and_stores_nothing(store, &unredeemed).await;
    for tokens in [&theirs, &kept] {
        assert!(is_live(store, &tokens.access_token).await);
        assert!(is_unspent(store, tokens.refresh_token.as_ref().unwrap()).await);
    }
    // Whoever was disconnected may be let in again.
    let again = scene.another_grant();
    approve(store, &scene.client, &again).await;
    let again = redeem(store, &again).await;
    assert!(is_live(store, &again.access_token).await);
}

/// P2, XC-07: tokens that are being issued included.
pub async fn nothing_lives_after_a_disconnection_that_raced_with_exchanges(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    for _ in 0..8 {
        let redeemed = scene.another_grant();
        approve(store, &scene.client, &redeemed).await;
        let presented = redeem(store, &redeemed).await.refresh_token.unwrap();
        let fresh = scene.another_grant();
        approve(store, &scene.client, &fresh).await;
        let issued = race(5, async |runner| match runner {
            0 => {
                let client = &scene.client.id;
                let subject = scene.user.id.as_str();
                let ended = store.revoke_client_grants(subject, client, sample::now()).await;
                assert_eq!(ended.unwrap(), 2);
                None
            }
            1 | 2 => {
                let rotation = sample::rotation(&redeemed, &presented);
                let answer = store
                    .rotate_refresh_token(&rotation, sample::now())
                    .await
                    .unwrap();
                assert_ne!(answer, RotateRefreshToken::Reused);
                Some((rotation.access_token, rotation.successor))
            }
            _ => {
                let (_, tokens) = try_to_redeem(store, &fresh).await;
                Some((tokens.access_token, tokens.refresh_token.unwrap()))
            }
        });
        for (access_token, refresh_token) in issued.iter().flatten() {
            assert!(!is_live(store, access_token).await);
            assert!(!is_unspent(store, refresh_token).await);
        }
    }
}

pub async fn hostile_text_survives_in_a_grant(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    for text in sample::hostile_texts() {
        let mut grant = sample::grant(&scene.client, &text, &scene.resource);
        grant.username = Some(text.clone());
        grant.code.redirect_uri = Some(text.clone());
        grant.resources[0].scope = sample::scope("';DROP-- $1 %_ {}");
        approve(store, &scene.client, &grant).await;
        let peek = store
            .peek_code(&grant.code.hash, &grant.client_id, false)
            .await
            .unwrap();
        assert_eq!(peek.grant.unwrap().grant, grant);
        let listed = store
            .list_grants(&GrantQuery::of(&text), 10, sample::now())
            .await
            .unwrap();
        assert_eq!(listed[0].grant, grant);
        let tokens = redeem(store, &grant).await;
        let peek = store
            .peek_access_token(
                &tokens.access_token.hash,
                tokens.access_token.bucket,
                &grant.client_id,
                false,
            )
            .await
            .unwrap();
        let live = peek.token.unwrap();
        assert_eq!(live.record, tokens.access_token);
        assert_eq!(live.username, grant.username);
        assert_eq!(store.revoke_subject(&text).await.unwrap(), 1);
        assert!(!is_live(store, &tokens.access_token).await);
        assert!(has_code(store, &grant.code.hash).await);
    }
}
