//! Laws about devices that wait for a person.

use std::time::Duration;

use mcp_authflow::{
    port::store::{BeginDevice, ClaimDevice, CloseInteraction, Closing, PollDevice, RedeemCode, Standing},
    record::{DeviceCodeRecord, Grant, Interaction},
};
use mcp_authflow_types::{Timestamp, TokenHash};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, approval, has_code, is_live},
};

/// A device of the scene's client.
async fn begin(store: &dyn WholeStore, scene: &Scene) -> DeviceCodeRecord {
    let device = sample::device(&scene.client);
    assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
    device
}

async fn find(
    store: &dyn WholeStore,
    device: &DeviceCodeRecord,
    browser: &TokenHash,
) -> Option<DeviceCodeRecord> {
    store
        .find_device(&device.user_code, browser, sample::now())
        .await
        .unwrap()
}

async fn try_claim(
    store: &dyn WholeStore,
    device: &DeviceCodeRecord,
    interaction: &Interaction,
) -> ClaimDevice {
    store
        .claim_device(&device.hash, interaction, sample::now())
        .await
        .unwrap()
}

/// A device with the interaction in which somebody decides about it, and what that somebody would approve.
async fn claimed(store: &dyn WholeStore, scene: &Scene) -> (DeviceCodeRecord, Interaction, Grant) {
    let device = begin(store, scene).await;
    let interaction = sample::interaction_of_device(&scene.client, &device);
    assert_eq!(
        try_claim(store, &device, &interaction).await,
        ClaimDevice::Claimed
    );
    let grant = grant_of(scene, &device);
    (device, interaction, grant)
}

fn grant_of(scene: &Scene, device: &DeviceCodeRecord) -> Grant {
    sample::grant_of_device(&scene.client, scene.user.id.as_str(), &scene.resource, device)
}

async fn close(
    store: &dyn WholeStore,
    device: &DeviceCodeRecord,
    interaction: &Interaction,
    closing: Closing<'_>,
) -> CloseInteraction {
    store
        .close_device(
            &device.hash,
            interaction.id,
            &interaction.browser,
            closing,
            sample::now(),
        )
        .await
        .unwrap()
}

async fn poll(store: &dyn WholeStore, device: &DeviceCodeRecord) -> PollDevice {
    store
        .poll_device(
            &device.hash,
            &device.client_id,
            device.client_generation,
            sample::now(),
        )
        .await
        .unwrap()
}

pub async fn a_device_is_found_by_its_user_code(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let device = begin(store, &scene).await;
    assert_eq!(find(store, &device, &sample::hash()).await, Some(device.clone()));
    let unknown = sample::device(&scene.client);
    assert_eq!(find(store, &unknown, &sample::hash()).await, None);
    assert_eq!(poll(store, &unknown).await, PollDevice::Gone);
}

/// DV-24
pub async fn a_user_code_that_is_there_is_taken(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let device = begin(store, &scene).await;
    let mut second = sample::device(&scene.client);
    second.user_code = device.user_code;
    assert_eq!(
        store.begin_device(&second).await.unwrap(),
        BeginDevice::UserCodeTaken
    );
    assert_eq!(find(store, &device, &sample::hash()).await, Some(device));
    assert_eq!(poll(store, &second).await, PollDevice::Gone);
}

pub async fn one_of_many_racing_devices_gets_a_user_code(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let user_code = sample::hash();
    let answers = race(RUNNERS, async |_| {
        let mut device = sample::device(&scene.client);
        device.user_code = user_code;
        store.begin_device(&device).await.unwrap()
    });
    one_won(&answers, &BeginDevice::Begun, &BeginDevice::UserCodeTaken);
}

pub async fn an_expired_device_is_not_found_and_not_claimed(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut device = sample::device(&scene.client);
    device.expires_at = sample::in_seconds(-1);
    assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
    assert_eq!(find(store, &device, &sample::hash()).await, None);
    let interaction = sample::interaction_of_device(&scene.client, &device);
    assert_eq!(try_claim(store, &device, &interaction).await, ClaimDevice::Gone);
}

/// DV-15; P13
pub async fn the_first_browser_keeps_a_device(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (device, interaction, _) = claimed(store, &scene).await;
    let stranger = sample::interaction_of_device(&scene.client, &device);
    assert_eq!(find(store, &device, &stranger.browser).await, None);
    assert_eq!(try_claim(store, &device, &stranger).await, ClaimDevice::Gone);
    let kept = store
        .load_interaction(stranger.id, &stranger.browser, sample::now())
        .await
        .unwrap();
    assert_eq!(kept, None);
    assert_eq!(
        find(store, &device, &interaction.browser)
            .await
            .map(|one| one.hash),
        Some(device.hash)
    );
    let kept = store
        .load_interaction(interaction.id, &interaction.browser, sample::now())
        .await
        .unwrap();
    assert_eq!(kept, Some(interaction));
}

/// DV-15
pub async fn one_of_many_racing_browsers_claims_a_device(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let device = begin(store, &scene).await;
    let answers = race(RUNNERS, async |_| {
        let interaction = sample::interaction_of_device(&scene.client, &device);
        try_claim(store, &device, &interaction).await
    });
    one_won(&answers, &ClaimDevice::Claimed, &ClaimDevice::Gone);
}

pub async fn a_browser_claims_again_and_decides_in_its_newest_interaction(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (device, first, grant) = claimed(store, &scene).await;
    let mut second = sample::interaction_of_device(&scene.client, &device);
    second.browser = first.browser;
    assert_eq!(try_claim(store, &device, &second).await, ClaimDevice::Claimed);
    for closing in [approval(&grant), Closing::Deny] {
        assert_eq!(
            close(store, &device, &first, closing).await,
            CloseInteraction::Gone
        );
    }
    assert!(!has_code(store, &device.hash).await);
    assert_eq!(
        close(store, &device, &second, approval(&grant)).await,
        CloseInteraction::Closed
    );
    assert_eq!(poll(store, &device).await, PollDevice::Approved);
}

pub async fn approving_stores_a_grant_whose_code_is_the_device_code(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (device, interaction, grant) = claimed(store, &scene).await;
    assert_eq!(
        close(store, &device, &interaction, approval(&grant)).await,
        CloseInteraction::Closed
    );
    let peek = store
        .peek_code(&device.hash, &scene.client.id, false)
        .await
        .unwrap();
    let stored = peek.grant.unwrap();
    assert_eq!((stored.grant, stored.standing), (grant, Standing::Live));
    assert_eq!(find(store, &device, &interaction.browser).await, None);
    let again = close(store, &device, &interaction, Closing::Deny).await;
    assert_eq!(again, CloseInteraction::AlreadyClosed);
    assert_eq!(poll(store, &device).await, PollDevice::Approved);
}

/// DV-05
pub async fn a_denial_is_for_good(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (device, interaction, grant) = claimed(store, &scene).await;
    assert_eq!(
        close(store, &device, &interaction, Closing::Deny).await,
        CloseInteraction::Closed
    );
    assert_eq!(
        close(store, &device, &interaction, approval(&grant)).await,
        CloseInteraction::AlreadyClosed
    );
    let mut again = sample::interaction_of_device(&scene.client, &device);
    again.browser = interaction.browser;
    assert_eq!(find(store, &device, &again.browser).await, None);
    assert_eq!(try_claim(store, &device, &again).await, ClaimDevice::Gone);
    assert!(!has_code(store, &device.hash).await);
    assert_eq!(poll(store, &device).await, PollDevice::Denied);
}

/// DV-15
pub async fn another_browser_decides_nothing(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (device, interaction, grant) = claimed(store, &scene).await;
    let mut stolen = interaction.clone();
    stolen.browser = sample::hash();
    for closing in [approval(&grant), Closing::Deny] {
        assert_eq!(
            close(store, &device, &stolen, closing).await,
            CloseInteraction::Gone
        );
    }
    // The interaction of one device does not decide about another.
    let other = begin(store, &scene).await;
    let answer = close(store, &other, &interaction, Closing::Deny).await;
    assert_eq!(answer, CloseInteraction::Gone);
    assert_eq!(poll(store, &other).await, PollDevice::Pending);
    assert_eq!(poll(store, &device).await, PollDevice::Pending);
    assert!(!has_code(store, &device.hash).await);
}

/// DV-05; P1
pub async fn one_of_many_racing_decisions_counts(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (device, interaction, _) = claimed(store, &scene).await;
    let answers = race(RUNNERS, async |runner| {
        let grant = grant_of(&scene, &device);
        let closing = if runner % 2 == 0 {
            approval(&grant)
        } else {
            Closing::Deny
        };
        close(store, &device, &interaction, closing).await
    });
    let winner = one_won(
        &answers,
        &CloseInteraction::Closed,
        &CloseInteraction::AlreadyClosed,
    );
    let is_approved = winner % 2 == 0;
    assert_eq!(has_code(store, &device.hash).await, is_approved);
    let told = if is_approved {
        PollDevice::Approved
    } else {
        PollDevice::Denied
    };
    assert_eq!(poll(store, &device).await, told);
}

/// DV-04
pub async fn an_approval_of_what_has_expired_or_moved_on_is_gone(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut device = sample::device(&scene.client);
    device.expires_at = sample::in_seconds(2);
    assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
    let mut interaction = sample::interaction_of_device(&scene.client, &device);
    interaction.expires_at = sample::in_seconds(600);
    assert_eq!(
        try_claim(store, &device, &interaction).await,
        ClaimDevice::Claimed
    );
    sample::until_passed(device.expires_at).await;
    for closing in [approval(&grant_of(&scene, &device)), Closing::Deny] {
        assert_eq!(
            close(store, &device, &interaction, closing).await,
            CloseInteraction::Gone
        );
    }
    assert!(!has_code(store, &device.hash).await);

    let (device, interaction, grant) = claimed(store, &scene).await;
    store.revoke_client(&scene.client.id).await.unwrap();
    let answer = close(store, &device, &interaction, approval(&grant)).await;
    assert_eq!(answer, CloseInteraction::Gone);
    assert!(!has_code(store, &device.hash).await);
    // What was not decided can be: by a denial.
    let answer = close(store, &device, &interaction, Closing::Deny).await;
    assert_eq!(answer, CloseInteraction::Closed);
}

pub async fn a_poll_tells_what_was_decided(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let device = begin(store, &scene).await;
    assert_eq!(poll(store, &device).await, PollDevice::Pending);
    let found = find(store, &device, &sample::hash()).await.unwrap();
    assert!(found.last_poll_at.is_some());
    assert_eq!(found.interval, Duration::from_secs(5));
}

/// DV-06
pub async fn a_poll_of_a_stranger_is_gone_and_moves_nothing(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let device = begin(store, &scene).await;
    let (stranger, now) = (sample::client_id(), sample::now());
    for (client, generation) in [
        (&stranger, device.client_generation),
        (&device.client_id, device.client_generation + 1),
    ] {
        let answer = store.poll_device(&device.hash, client, generation, now).await;
        assert_eq!(answer.unwrap(), PollDevice::Gone);
    }
    assert_eq!(find(store, &device, &sample::hash()).await, Some(device.clone()));
    assert_eq!(poll(store, &device).await, PollDevice::Pending);
}

/// DV-02; S-095
pub async fn a_poll_that_comes_too_soon_makes_the_interval_longer_for_good(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut device = sample::device(&scene.client);
    device.interval = Duration::from_secs(600);
    assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
    assert_eq!(poll(store, &device).await, PollDevice::Pending);
    for seconds in [605, 610, 615] {
        let interval = Duration::from_secs(seconds);
        assert_eq!(poll(store, &device).await, PollDevice::SlowDown { interval });
    }
    let found = find(store, &device, &sample::hash()).await.unwrap();
    assert_eq!(found.interval, Duration::from_secs(615));
    // Whatever was decided.
    let interaction = sample::interaction_of_device(&scene.client, &device);
    assert_eq!(
        try_claim(store, &device, &interaction).await,
        ClaimDevice::Claimed
    );
    let answer = close(store, &device, &interaction, Closing::Deny).await;
    assert_eq!(answer, CloseInteraction::Closed);
    let interval = Duration::from_secs(620);
    assert_eq!(poll(store, &device).await, PollDevice::SlowDown { interval });
}

pub async fn one_of_many_racing_polls_is_in_time(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut device = sample::device(&scene.client);
    device.interval = Duration::from_secs(600);
    assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
    let mut answers = race(RUNNERS, async |_| poll(store, &device).await);
    answers.sort_by_key(|answer| match answer {
        PollDevice::SlowDown { interval } => *interval,
        _ => Duration::ZERO,
    });
    let expected: Vec<PollDevice> = std::iter::once(PollDevice::Pending)
        .chain(
            (1..u64::try_from(RUNNERS).unwrap()).map(|hurried| PollDevice::SlowDown {
                interval: Duration::from_secs(600 + 5 * hurried),
            }),
        )
        .collect();
    assert_eq!(answers, expected);
}

/// DV-04
pub async fn a_late_poll_is_told_so(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut device = sample::device(&scene.client);
    device.expires_at = sample::in_seconds(-2);
    assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
    assert_eq!(poll(store, &device).await, PollDevice::Expired);
    assert_eq!(poll(store, &device).await, PollDevice::Expired);
    let purged = store.purge_expired(sample::now(), 10).await.unwrap();
    assert_eq!(purged.device_codes, 0);
    assert_eq!(poll(store, &device).await, PollDevice::Expired);
}

/// DV-08; S-096; P1
pub async fn one_of_many_racing_polls_takes_the_tokens(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (device, interaction, grant) = claimed(store, &scene).await;
    assert_eq!(
        close(store, &device, &interaction, approval(&grant)).await,
        CloseInteraction::Closed
    );
    let sets: Vec<_> = (0..RUNNERS).map(|_| sample::tokens(&grant)).collect();
    let answers = race(RUNNERS, async |runner| {
        store
            .redeem_code(&device.hash, &sets[runner], sample::now())
            .await
            .unwrap()
    });
    let winner = one_won(&answers, &RedeemCode::Redeemed, &RedeemCode::Replayed);
    for (runner, tokens) in sets.iter().enumerate() {
        assert_eq!(is_live(store, &tokens.access_token).await, runner == winner);
    }
}

/// A person who signs in again, in the same browser, goes on with the same device.
pub async fn a_device_moves_with_its_browser_to_a_new_session(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (device, interaction, grant) = claimed(store, &scene).await;
    let session = sample::session(&scene.user);
    let begun = store
        .begin_session(&session, None, Some(&interaction.browser))
        .await
        .unwrap();
    assert!(begun);
    assert_eq!(find(store, &device, &interaction.browser).await, None);
    assert_eq!(
        find(store, &device, &session.hash).await.map(|one| one.hash),
        Some(device.hash)
    );
    let answer = close(store, &device, &interaction, approval(&grant)).await;
    assert_eq!(answer, CloseInteraction::Gone);
    let moved = Interaction {
        browser: session.hash,
        ..interaction
    };
    let answer = close(store, &device, &moved, approval(&grant)).await;
    assert_eq!(answer, CloseInteraction::Closed);
}

/// DV-24; P12
pub async fn devices_are_purged_some_time_after_their_end(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let kept = begin(store, &scene).await;
    let kept_for = i64::try_from(DeviceCodeRecord::KEPT_AFTER_ITS_END.as_secs()).unwrap();
    let mut user_codes = Vec::new();
    for _ in 0..5 {
        let mut device = sample::device(&scene.client);
        device.expires_at = Timestamp::from_seconds(sample::now().seconds() - kept_for - 2);
        assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
        user_codes.push(device.user_code);
    }
    let mut removed = Vec::new();
    loop {
        let purged = store.purge_expired(sample::now(), 2).await.unwrap().device_codes;
        if purged == 0 {
            break;
        }
        removed.push(purged);
    }
    assert_eq!(removed, [2, 2, 1]);
    // A user code that was forgotten may come up again.
    let mut device = sample::device(&scene.client);
    device.user_code = user_codes[0];
    assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
    assert_eq!(find(store, &kept, &sample::hash()).await, Some(kept));
}

pub async fn hostile_text_survives_in_a_device(store: &dyn WholeStore) {
    for text in [
        "https://rs.example/'--",
        "https://rs.example/%22%24%7Bx%7D?q=:name",
    ] {
        let scene = Scene::begin(store).await;
        let mut device = sample::device(&scene.client);
        device.request.resources[0].resource = mcp_authflow_types::Resource::parse(text).unwrap();
        device.request.address = Some("2001:db8::1".parse().unwrap());
        assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
        assert_eq!(find(store, &device, &sample::hash()).await, Some(device));
    }
}
