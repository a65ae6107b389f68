//! Laws about sessions of local accounts.

use mcp_authflow::{
    port::store::Closing,
    record::{Interaction, Session},
};
use mcp_authflow_types::TokenHash;

use super::{
    WholeStore,
    race::{RUNNERS, race},
    sample,
    scene::{Scene, add_user, begin, close, is_live},
};

async fn is_waiting(store: &dyn WholeStore, interaction: &Interaction, browser: &TokenHash) -> bool {
    store
        .load_interaction(interaction.id, browser, sample::now())
        .await
        .unwrap()
        .is_some()
}

pub async fn a_session_is_read_back_with_its_account(store: &dyn WholeStore) {
    let user = sample::user();
    add_user(store, &user).await;
    let session = sample::session(&user);
    assert!(store.begin_session(&session, None, None).await.unwrap());
    let read = store.load_session(&session.hash).await.unwrap();
    assert_eq!(read, Some((session, user)));
    assert_eq!(store.load_session(&sample::hash()).await.unwrap(), None);
}

pub async fn a_session_is_stamped_with_the_subjects_generation(store: &dyn WholeStore) {
    let user = sample::user();
    add_user(store, &user).await;
    let generation = store.revoke_subject(user.id.as_str()).await.unwrap();
    let session = sample::session(&user);
    assert!(store.begin_session(&session, None, None).await.unwrap());
    let (read, _) = store.load_session(&session.hash).await.unwrap().unwrap();
    assert_eq!(read.subject_generation, generation);
}

pub async fn beginning_a_session_ends_the_one_before_in_that_browser(store: &dyn WholeStore) {
    let (alice, bob) = (sample::user(), sample::user());
    add_user(store, &alice).await;
    add_user(store, &bob).await;
    let (first, second, elsewhere) = (
        sample::session(&alice),
        sample::session(&bob),
        sample::session(&alice),
    );
    assert!(store.begin_session(&first, None, None).await.unwrap());
    assert!(store.begin_session(&elsewhere, None, None).await.unwrap());
    assert!(
        store
            .begin_session(&second, None, Some(&first.hash))
            .await
            .unwrap()
    );
    assert_eq!(store.load_session(&first.hash).await.unwrap(), None);
    assert_eq!(
        store.load_session(&second.hash).await.unwrap(),
        Some((second, bob))
    );
    assert_eq!(
        store.load_session(&elsewhere.hash).await.unwrap(),
        Some((elsewhere, alice))
    );
}

pub async fn open_interactions_move_to_the_new_session(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let bystander = begin(store, &scene.client).await;
    let (open, mut second, mut closed) = (
        begin(store, &scene.client).await,
        sample::interaction(&scene.client),
        sample::interaction(&scene.client),
    );
    for one in [&mut second, &mut closed] {
        one.browser = open.browser;
        store.begin_interaction(one).await.unwrap();
    }
    let _ = close(store, &closed, Closing::Deny).await;

    // The browser was not signed in: its cookie is known by its interactions alone.
    let session = sample::session(&scene.user);
    assert!(
        store
            .begin_session(&session, None, Some(&open.browser))
            .await
            .unwrap()
    );
    for one in [&open, &second] {
        assert!(
            !is_waiting(store, one, &open.browser).await,
            "the old cookie is worth nothing"
        );
        assert!(is_waiting(store, one, &session.hash).await);
    }
    assert!(!is_waiting(store, &closed, &session.hash).await);
    assert!(is_waiting(store, &bystander, &bystander.browser).await);
}

pub async fn a_gone_or_disabled_account_begins_no_session(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let earlier = sample::session(&scene.user);
    assert!(store.begin_session(&earlier, None, None).await.unwrap());
    let mut waiting = sample::interaction(&scene.client);
    waiting.browser = earlier.hash;
    store.begin_interaction(&waiting).await.unwrap();

    let disabled = sample::user();
    add_user(store, &disabled).await;
    let answer = store
        .set_user_disabled(&disabled.username, true, sample::now())
        .await
        .unwrap();
    assert!(answer);
    for user in [&sample::user(), &disabled] {
        let session = sample::session(user);
        assert!(
            !store
                .begin_session(&session, None, Some(&earlier.hash))
                .await
                .unwrap()
        );
        assert_eq!(store.load_session(&session.hash).await.unwrap(), None);
    }
    assert!(store.load_session(&earlier.hash).await.unwrap().is_some());
    assert!(is_waiting(store, &waiting, &earlier.hash).await);
}

pub async fn a_sign_in_by_an_old_password_begins_no_session(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (user, old) = (&scene.user, scene.user.password_hash.as_str());
    let earlier = sample::session(user);
    assert!(store.begin_session(&earlier, Some(old), None).await.unwrap());
    let new = "$argon2id$another";
    assert!(store.set_user_password(&user.id, new).await.unwrap());

    let current = sample::session(user);
    assert!(store.begin_session(&current, Some(new), None).await.unwrap());
    let mut waiting = sample::interaction(&scene.client);
    waiting.browser = current.hash;
    store.begin_interaction(&waiting).await.unwrap();
    for stale in [old, "", "$argon2id$", "$argon2id$another "] {
        let late = sample::session(user);
        let begun = store.begin_session(&late, Some(stale), Some(&current.hash)).await;
        assert!(!begun.unwrap(), "{stale:?} is not the password");
        assert_eq!(store.load_session(&late.hash).await.unwrap(), None);
    }
    assert!(store.load_session(&current.hash).await.unwrap().is_some());
    assert!(is_waiting(store, &waiting, &current.hash).await);
}

pub async fn nothing_lives_after_a_new_password_that_raced_with_sign_ins(store: &dyn WholeStore) {
    let user = sample::user();
    add_user(store, &user).await;
    let mut old = user.password_hash.clone();
    for round in 0..4 {
        let new = format!("$argon2id$another{round}");
        let sessions: Vec<Session> = (1..RUNNERS).map(|_| sample::session(&user)).collect();
        let answers = race(RUNNERS, async |runner| match runner.checked_sub(1) {
            None => store.set_user_password(&user.id, &new).await.unwrap(),
            Some(one) => {
                let begun = store.begin_session(&sessions[one], Some(&old), None).await;
                begun.unwrap()
            }
        });
        assert!(answers[0], "the password is replaced");
        for session in &sessions {
            assert_eq!(store.load_session(&session.hash).await.unwrap(), None);
        }
        old = new;
    }
}

pub async fn an_ended_session_is_gone(store: &dyn WholeStore) {
    let user = sample::user();
    add_user(store, &user).await;
    let (here, there) = (sample::session(&user), sample::session(&user));
    for session in [&here, &there] {
        assert!(store.begin_session(session, None, None).await.unwrap());
    }
    for _ in 0..2 {
        store.end_session(&here.hash).await.unwrap();
        assert_eq!(store.load_session(&here.hash).await.unwrap(), None);
    }
    assert!(store.load_session(&there.hash).await.unwrap().is_some());
}

pub async fn ending_all_sessions_of_an_account_leaves_its_grants_and_other_people(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let somebody_else = sample::user();
    add_user(store, &somebody_else).await;
    let theirs = sample::session(&somebody_else);
    assert!(store.begin_session(&theirs, None, None).await.unwrap());
    let mine: Vec<_> = (0..3).map(|_| sample::session(&scene.user)).collect();
    for session in &mine {
        assert!(store.begin_session(session, None, None).await.unwrap());
    }
    assert_eq!(store.end_sessions_of(&scene.user.id).await.unwrap(), 3);
    assert_eq!(store.end_sessions_of(&scene.user.id).await.unwrap(), 0);
    for session in &mine {
        assert!(store.load_session(&session.hash).await.unwrap().is_none());
    }
    assert!(store.load_session(&theirs.hash).await.unwrap().is_some());
    assert!(is_live(store, &tokens.access_token).await);
    let again = sample::session(&scene.user);
    assert!(store.begin_session(&again, None, None).await.unwrap());
    assert!(store.load_session(&again.hash).await.unwrap().is_some());
}

pub async fn a_session_remembers_its_last_use(store: &dyn WholeStore) {
    let user = sample::user();
    add_user(store, &user).await;
    let mut session = sample::session(&user);
    session.last_seen_at = sample::in_seconds(-600);
    session.authenticated_at = session.last_seen_at;
    assert!(store.begin_session(&session, None, None).await.unwrap());
    store.touch_session(&session.hash, sample::now()).await.unwrap();
    let (read, _) = store.load_session(&session.hash).await.unwrap().unwrap();
    let ago = sample::now().since(read.last_seen_at);
    assert!(ago.as_secs() < 120, "{ago:?}");
    assert_eq!(read.authenticated_at, session.authenticated_at);
    assert_eq!(read.expires_at, session.expires_at);
    let unknown = sample::hash();
    store.touch_session(&unknown, sample::now()).await.unwrap();
    assert_eq!(store.load_session(&unknown).await.unwrap(), None);
}

pub async fn an_expired_session_is_still_read(store: &dyn WholeStore) {
    let user = sample::user();
    add_user(store, &user).await;
    let mut session = sample::session(&user);
    session.expires_at = sample::in_seconds(-1);
    assert!(store.begin_session(&session, None, None).await.unwrap());
    assert_eq!(
        store.load_session(&session.hash).await.unwrap(),
        Some((session, user))
    );
}
