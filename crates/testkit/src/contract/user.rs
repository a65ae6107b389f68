//! Laws about local accounts.

use mcp_authflow::port::store::AddUser;
use mcp_authflow::record::{User, UserId};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::add_user,
};

async fn load(store: &dyn WholeStore, username: &str) -> Option<User> {
    store.load_user(username).await.unwrap()
}

pub async fn an_account_is_read_back_as_it_was_added(store: &dyn WholeStore) {
    assert!(!store.has_users().await.unwrap());
    let plain = sample::user();
    let mut full = sample::user();
    full.is_admin = true;
    full.display_name = None;
    full.disabled_at = Some(sample::in_seconds(-60));
    for user in [plain, full] {
        add_user(store, &user).await;
        assert_eq!(load(store, &user.username).await, Some(user));
        assert!(store.has_users().await.unwrap());
    }
    assert_eq!(load(store, "nobody").await, None);
}

pub async fn a_name_that_is_there_is_taken(store: &dyn WholeStore) {
    let first = sample::user();
    add_user(store, &first).await;
    let mut second = sample::user();
    second.username.clone_from(&first.username);
    assert_eq!(store.add_user(&second, false).await.unwrap(), AddUser::Taken);
    assert_eq!(load(store, &first.username).await, Some(first.clone()));
    assert_eq!(store.list_users(None, 10).await.unwrap(), [first]);
}

pub async fn one_of_many_racing_first_accounts_wins(store: &dyn WholeStore) {
    let users: Vec<User> = (0..RUNNERS).map(|_| sample::user()).collect();
    let answers = race(RUNNERS, async |runner| {
        store.add_user(&users[runner], true).await.unwrap()
    });
    let winner = one_won(&answers, &AddUser::Added, &AddUser::NotTheFirst);
    assert_eq!(
        store.list_users(None, 100).await.unwrap(),
        [users[winner].clone()]
    );
}

pub async fn a_first_account_races_with_others_and_is_the_first_or_none(store: &dyn WholeStore) {
    let is_first = |runner: usize| runner.is_multiple_of(2);
    // Two of them want each name: one as the first account, and one however it comes.
    let users: Vec<User> = (0..RUNNERS)
        .map(|runner| User {
            username: format!("user{}", runner / 2),
            ..sample::user()
        })
        .collect();
    // What a runner was answered, and whether it then found accounts and no first one among them.
    let answers = race(RUNNERS, async |runner| {
        let answer = store.add_user(&users[runner], is_first(runner)).await.unwrap();
        let seen = store.list_users(None, 100).await.unwrap();
        let has_first = (0..RUNNERS).any(|other| is_first(other) && seen.contains(&users[other]));
        (answer, !seen.is_empty() && !has_first)
    });
    let mut firsts = 0;
    for (runner, (answer, _)) in answers.iter().enumerate() {
        match answer {
            AddUser::Added => firsts += usize::from(is_first(runner)),
            AddUser::NotTheFirst if is_first(runner) => {}
            AddUser::Taken if !is_first(runner) && answers[runner - 1].0 == AddUser::Added => {}
            other => panic!("runner {runner} was answered {other:?}: {answers:?}"),
        }
    }
    let none_was_first = answers.iter().any(|(_, others_alone)| *others_alone);
    assert!(firsts <= usize::from(!none_was_first), "{firsts}: {answers:?}");
    assert_eq!(store.list_users(None, 100).await.unwrap().len(), RUNNERS / 2);
}

pub async fn one_of_many_racing_accounts_of_one_name_wins(store: &dyn WholeStore) {
    let users: Vec<User> = (0..RUNNERS)
        .map(|_| User {
            username: "alice".to_owned(),
            ..sample::user()
        })
        .collect();
    let answers = race(RUNNERS, async |runner| {
        store.add_user(&users[runner], false).await.unwrap()
    });
    let winner = one_won(&answers, &AddUser::Added, &AddUser::Taken);
    assert_eq!(load(store, "alice").await.as_ref(), Some(&users[winner]));
}

pub async fn a_first_account_is_refused_when_there_is_one(store: &dyn WholeStore) {
    let mut first = sample::user();
    first.disabled_at = Some(sample::now());
    add_user(store, &first).await;
    let second = sample::user();
    assert_eq!(store.add_user(&second, true).await.unwrap(), AddUser::NotTheFirst);
    assert_eq!(load(store, &second.username).await, None);
    assert_eq!(store.add_user(&second, false).await.unwrap(), AddUser::Added);
}

pub async fn disabling_and_enabling_is_told_to_the_reader(store: &dyn WholeStore) {
    let user = sample::user();
    add_user(store, &user).await;
    let set = async |username: &str, disabled| {
        store
            .set_user_disabled(username, disabled, sample::now())
            .await
            .unwrap()
    };
    assert!(set(&user.username, true).await);
    let disabled = load(store, &user.username).await.unwrap();
    let at = disabled.disabled_at.unwrap();
    assert!(at.since(sample::now()).as_secs() < 120 && sample::now().since(at).as_secs() < 120);
    assert!(set(&user.username, false).await);
    assert_eq!(load(store, &user.username).await, Some(user));
    assert!(!set("nobody", true).await);
    assert!(!set("nobody", false).await);
}

pub async fn a_new_password_is_read_back(store: &dyn WholeStore) {
    let mut user = sample::user();
    add_user(store, &user).await;
    "$argon2id$another".clone_into(&mut user.password_hash);
    assert!(
        store
            .set_user_password(&user.id, &user.password_hash)
            .await
            .unwrap()
    );
    assert_eq!(load(store, &user.username).await, Some(user));
    let unknown = UserId::from_stored("u_nobody");
    assert!(!store.set_user_password(&unknown, "x").await.unwrap());
}

pub async fn accounts_are_listed_by_the_bytes_of_their_names(store: &dyn WholeStore) {
    let names = ["A", "Z", "_", "a", "a-", "a.b", "ab", "z", "é", "\u{1f980}"];
    for name in names.iter().rev() {
        let mut user = sample::user();
        user.username = (*name).to_owned();
        add_user(store, &user).await;
    }
    let mut seen: Vec<String> = Vec::new();
    loop {
        let after = seen.last().map(String::as_str);
        let page = store.list_users(after, 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|user| user.username));
    }
    assert_eq!(seen, names);
}

pub async fn hostile_text_survives_in_an_account(store: &dyn WholeStore) {
    for text in sample::hostile_texts() {
        let mut user = sample::user();
        user.username.clone_from(&text);
        user.display_name = Some(text.clone());
        user.password_hash.clone_from(&text);
        add_user(store, &user).await;
        assert_eq!(load(store, &text).await, Some(user.clone()));
        let session = sample::session(&user);
        assert!(store.begin_session(&session, None, None).await.unwrap());
        let (_, read) = store.load_session(&session.hash).await.unwrap().unwrap();
        assert_eq!(read, user);
    }
}
