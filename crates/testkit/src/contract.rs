//! The contract of a store: what every store must do, as tests, races included.
//!
//! [`store_contract!`](crate::store_contract) is the definition of a store. It expands to one test a law; the name of a
//! law is its sentence. The memory store passes it like this, and an embedder's own store does so too:
//!
//! ```
//! use std::sync::Arc;
//!
//! use mcp_authflow::memory::MemoryStore;
//!
//! async fn make_store() -> Arc<MemoryStore> {
//!     Arc::new(MemoryStore::new())
//! }
//!
//! mcp_authflow_testkit::store_contract!(make_store);
//! # fn main() {}
//! ```
//!
//! `make_store` is called once a law and answers a fresh, empty store, or a guard that derefs to one: a guard keeps a
//! temporary folder or database alive until its law has been checked. It runs within a tokio runtime of two threads, and
//! the store is dropped within it.
//!
//! The laws use the real time, because a store may compare expiries with a clock of its own; where time must pass, they
//! wait for two or three seconds.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a law says what it wants in its name, and fails by panicking"
)]

use std::{ops::Deref, time::Duration};

use mcp_authflow::port::{AccountStore, Store};

pub mod access_token;
pub mod client;
pub mod client_document;
pub mod coverage;
pub mod device_code;
pub mod grant;
pub mod imported_token;
pub mod interaction;
pub mod race;
pub mod refresh_token;
pub mod registration;
pub mod replay;
pub mod resource;
pub mod sample;
pub mod scene;
pub mod session;
pub mod signing_key;
pub mod standing;
pub mod upkeep;
pub mod user;

/// A store for everything, local accounts included.
pub trait WholeStore: Store + AccountStore {}

impl<T: Store + AccountStore> WholeStore for T {}

/// Checks one law against a fresh store; what [`store_contract!`](crate::store_contract) expands to.
pub fn check<G: Deref<Target: WholeStore + Sized>>(
    make_store: impl AsyncFnOnce() -> G,
    law: impl AsyncFnOnce(&dyn WholeStore),
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let checked = tokio::time::timeout(Duration::from_secs(120), async {
            let store = make_store().await;
            law(&*store).await;
        });
        checked.await.expect("the law is checked within two minutes");
    });
}

/// Expands to one test for every law of the [contract](crate::contract).
#[macro_export]
macro_rules! store_contract {
    ($make_store:expr) => {
        $crate::store_contract! { @laws $make_store;
            client: a_client_is_read_back_as_it_was_added;
            client: an_identifier_that_is_there_is_taken;
            client: one_of_many_racing_additions_of_a_client_wins;
            client: a_removed_client_is_not_found;
            client: a_client_that_comes_back_continues_its_generation;
            client: an_expired_client_is_still_read;
            client: every_revocation_answers_a_new_generation;
            client: a_replaced_secret_retires_the_old_one_for_as_long_as_said;
            client: clients_are_listed_by_the_bytes_of_their_identifiers;
            client: wanted_resources_come_in_the_order_asked;
            client: with_nothing_wanted_the_first_two_resources_come;
            client: hostile_text_survives_in_a_client;
            client: a_registration_is_replaced_under_its_own_token_only;
            client: a_client_without_a_token_has_no_registration_to_replace;
            client_document: the_first_copy_of_a_document_adds_its_client;
            client_document: a_copy_replaces_only_the_one_it_was_compared_with;
            client_document: one_of_many_racing_copies_counts;
            client_document: a_pinned_copy_keeps_its_client_for_good;
            client_document: a_document_leaves_clients_of_another_origin_alone;
            client_document: a_removed_document_client_continues_its_generation;
            client_document: a_host_waits_until_somebody_decides;
            client_document: only_so_many_hosts_wait_and_only_for_so_long;
            resource: resources_are_listed_in_the_order_of_their_registration;
            resource: an_equivalent_resource_is_taken_and_nothing_is_added;
            resource: a_resource_can_be_described_anew_and_nothing_else_of_it_changes;
            resource: a_resource_whose_introspector_is_taken_is_not_added;
            resource: one_of_many_racing_additions_of_a_resource_wins;
            resource: removing_a_resource_removes_whoever_introspects_for_it;
            resource: a_removed_resource_may_come_back;
            resource: hostile_text_survives_in_a_resource;
            interaction: an_interaction_is_read_by_its_browser_alone;
            interaction: an_expired_interaction_is_gone;
            interaction: approving_stores_the_grant_with_its_code;
            interaction: denying_stores_nothing;
            interaction: a_closed_interaction_is_not_closed_again;
            interaction: another_browser_closes_nothing;
            interaction: an_unknown_interaction_is_gone;
            interaction: one_of_many_racing_approvals_closes;
            interaction: approving_and_denying_do_not_both_happen;
            interaction: an_approval_is_gone_when_its_client_is_not_what_it_was;
            interaction: an_approval_is_gone_when_its_subject_is_not_what_it_was;
            interaction: an_approval_is_stamped_with_the_subjects_generation;
            interaction: an_approval_keeps_a_registered_client_and_never_shortens_its_life;
            interaction: hostile_text_survives_in_an_interaction;
            device_code: a_device_is_found_by_its_user_code;
            device_code: a_user_code_that_is_there_is_taken;
            device_code: one_of_many_racing_devices_gets_a_user_code;
            device_code: an_expired_device_is_not_found_and_not_claimed;
            device_code: the_first_browser_keeps_a_device;
            device_code: one_of_many_racing_browsers_claims_a_device;
            device_code: a_browser_claims_again_and_decides_in_its_newest_interaction;
            device_code: approving_stores_a_grant_whose_code_is_the_device_code;
            device_code: a_denial_is_for_good;
            device_code: another_browser_decides_nothing;
            device_code: one_of_many_racing_decisions_counts;
            device_code: an_approval_of_what_has_expired_or_moved_on_is_gone;
            device_code: a_poll_tells_what_was_decided;
            device_code: a_poll_of_a_stranger_is_gone_and_moves_nothing;
            device_code: a_poll_that_comes_too_soon_makes_the_interval_longer_for_good;
            device_code: one_of_many_racing_polls_is_in_time;
            device_code: a_late_poll_is_told_so;
            device_code: one_of_many_racing_polls_takes_the_tokens;
            device_code: a_device_moves_with_its_browser_to_a_new_session;
            device_code: devices_are_purged_some_time_after_their_end;
            device_code: hostile_text_survives_in_a_device;
            grant: an_unknown_code_has_no_grant_and_is_gone;
            grant: peeking_at_a_code_changes_nothing;
            grant: redeeming_stores_the_tokens;
            grant: a_code_redeemed_twice_is_replayed_and_stores_nothing;
            grant: one_of_many_racing_redemptions_wins;
            grant: an_expired_code_is_gone;
            grant: a_replay_is_recognised_after_the_code_has_expired;
            grant: a_code_of_an_ended_grant_is_gone;
            grant: a_code_of_a_revoked_grant_is_gone;
            grant: one_of_many_racing_revocations_ends_the_grant;
            grant: nothing_lives_after_a_revocation_that_raced_with_a_redemption;
            coverage: an_approval_covers_what_it_grants_and_no_more;
            coverage: only_a_live_and_redeemed_grant_covers;
            grant: grants_are_listed_newest_first;
            grant: grants_are_listed_page_by_page;
            grant: a_grant_remembers_when_it_was_last_used_and_from_where;
            grant: disconnecting_a_client_ends_every_grant_of_that_person_to_it;
            grant: nothing_lives_after_a_disconnection_that_raced_with_exchanges;
            grant: hostile_text_survives_in_a_grant;
            access_token: a_token_without_a_grant_is_read_back_as_it_was_issued;
            access_token: a_token_of_a_grant_brings_the_persons_name;
            access_token: a_token_is_found_in_its_own_bucket_only;
            access_token: an_expired_token_is_still_read;
            access_token: a_client_that_is_not_what_it_was_gets_no_token;
            access_token: a_forgotten_token_is_gone_and_its_siblings_stay;
            access_token: a_token_survives_another_spelling_of_its_resource;
            access_token: nothing_lives_after_a_removal_that_raced_with_an_issue;
            refresh_token: rotating_spends_the_old_token_and_stores_the_new_ones;
            refresh_token: a_refresh_token_is_found_in_its_own_bucket_only;
            refresh_token: one_of_many_racing_rotations_wins_and_the_others_get_its_answer;
            refresh_token: without_a_window_one_of_many_racing_rotations_wins_and_the_others_reuse;
            refresh_token: a_retry_gets_the_same_answer_and_stores_nothing;
            refresh_token: the_window_ends_when_the_successor_is_spent;
            refresh_token: the_window_ends_in_time;
            refresh_token: an_unknown_or_expired_token_is_gone;
            refresh_token: reuse_is_recognised_after_the_token_has_expired;
            refresh_token: a_token_of_an_ended_grant_is_gone;
            refresh_token: nothing_lives_after_a_revocation_that_raced_with_a_rotation;
            refresh_token: a_chain_never_forks;
            imported_token: an_imported_access_token_is_good_like_one_of_ours;
            imported_token: an_imported_refresh_token_is_exchanged_like_one_of_ours;
            imported_token: a_token_that_was_taken_in_before_is_left_as_it_is;
            imported_token: the_two_kinds_are_taken_in_apart;
            imported_token: a_token_of_nobody_is_not_taken_in;
            imported_token: what_ends_a_client_or_a_subject_ends_its_imported_tokens;
            imported_token: an_imported_token_lives_with_the_registration_of_its_resource;
            imported_token: of_many_racing_imports_of_a_token_one_takes_it_in;
            imported_token: a_claim_stays;
            imported_token: entries_are_forgotten_when_their_time_has_passed;
            registration: a_token_lives_with_the_registration_of_its_resource;
            registration: an_unregistered_resource_on_loopback_is_good_where_that_is_enough;
            registration: a_grant_tells_which_of_its_resources_are_gone;
            registration: nothing_revives_when_a_removed_resource_comes_back;
            registration: nothing_revives_when_a_removed_resource_with_a_hostile_name_comes_back;
            registration: nothing_revives_when_a_removed_resource_on_loopback_comes_back;
            registration: a_resource_that_is_removed_before_it_is_approved_is_gone_for_good;
            registration: reuse_is_recognised_after_the_resource_is_gone;
            registration: nothing_lives_after_its_resource_came_and_went_in_a_race;
            standing: revoking_a_grant_ends_it_and_no_other;
            standing: revoking_a_client_ends_everything_beneath_it;
            standing: removing_a_client_ends_everything_beneath_it;
            standing: nothing_revives_when_a_removed_client_comes_back;
            standing: revoking_a_subject_ends_its_grants_and_sessions;
            standing: disabling_an_account_ends_everything_and_enabling_revives_nothing;
            standing: nothing_lives_after_an_account_was_disabled_in_a_race;
            standing: a_subject_without_an_account_can_be_revoked;
            standing: a_new_password_ends_the_sessions_and_not_the_grants;
            user: an_account_is_read_back_as_it_was_added;
            user: a_name_that_is_there_is_taken;
            user: one_of_many_racing_first_accounts_wins;
            user: a_first_account_races_with_others_and_is_the_first_or_none;
            user: one_of_many_racing_accounts_of_one_name_wins;
            user: a_first_account_is_refused_when_there_is_one;
            user: disabling_and_enabling_is_told_to_the_reader;
            user: a_new_password_is_read_back;
            user: accounts_are_listed_by_the_bytes_of_their_names;
            user: hostile_text_survives_in_an_account;
            session: a_session_is_read_back_with_its_account;
            session: a_session_is_stamped_with_the_subjects_generation;
            session: beginning_a_session_ends_the_one_before_in_that_browser;
            session: open_interactions_move_to_the_new_session;
            session: a_gone_or_disabled_account_begins_no_session;
            session: a_sign_in_by_an_old_password_begins_no_session;
            session: nothing_lives_after_a_new_password_that_raced_with_sign_ins;
            session: an_ended_session_is_gone;
            session: ending_all_sessions_of_an_account_leaves_its_grants_and_other_people;
            session: a_session_remembers_its_last_use;
            session: an_expired_session_is_still_read;
            signing_key: signing_keys_are_read_back_in_the_order_in_which_they_were_added;
            signing_key: a_signing_key_is_added_behind_the_newest_of_its_algorithm_alone;
            signing_key: one_of_many_racing_first_signing_keys_is_added;
            signing_key: one_of_many_racing_next_signing_keys_is_added;
            signing_key: a_signing_keys_longest_life_grows_and_never_shrinks;
            signing_key: a_removed_signing_key_is_gone_and_its_predecessor_the_newest;
            signing_key: a_resource_remembers_how_its_tokens_are_made;
            signing_key: a_grant_tells_how_tokens_for_its_resources_are_made;
            replay: what_is_used_once_is_a_replay_ever_after;
            replay: one_owners_identifiers_do_not_block_anothers;
            replay: one_of_many_racing_callers_is_the_first;
            replay: of_what_has_expired_nobody_can_tell;
            replay: a_use_is_remembered_for_as_long_as_it_could_be_accepted;
            upkeep: a_store_tells_the_time;
            upkeep: the_first_server_key_is_remembered;
            upkeep: one_of_many_racing_server_keys_is_remembered;
            upkeep: a_clean_store_has_nothing_to_purge;
            upkeep: live_things_survive_a_purge;
            upkeep: what_reuse_detection_remembers_survives_a_purge;
            upkeep: expired_things_are_purged;
            upkeep: grants_go_with_their_end_or_with_a_code_that_nobody_redeemed;
            upkeep: a_purge_respects_its_limit;
            upkeep: tokens_are_counted_by_what_they_are_good_for;
        }
    };
    (@laws $make_store:expr; $($noun:ident: $law:ident;)+) => {
        $(
            #[test]
            fn $law() {
                $crate::contract::check($make_store, $crate::contract::$noun::$law);
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    /// A law that is written and never checked is worse than none.
    #[test]
    fn every_law_is_in_the_list() {
        let list = include_str!("contract.rs");
        let files = [
            ("access_token", include_str!("contract/access_token.rs")),
            ("client", include_str!("contract/client.rs")),
            ("coverage", include_str!("contract/coverage.rs")),
            ("device_code", include_str!("contract/device_code.rs")),
            ("grant", include_str!("contract/grant.rs")),
            ("imported_token", include_str!("contract/imported_token.rs")),
            ("interaction", include_str!("contract/interaction.rs")),
            ("refresh_token", include_str!("contract/refresh_token.rs")),
            ("registration", include_str!("contract/registration.rs")),
            ("replay", include_str!("contract/replay.rs")),
            ("resource", include_str!("contract/resource.rs")),
            ("session", include_str!("contract/session.rs")),
            ("signing_key", include_str!("contract/signing_key.rs")),
            ("standing", include_str!("contract/standing.rs")),
            ("upkeep", include_str!("contract/upkeep.rs")),
            ("user", include_str!("contract/user.rs")),
        ];
        for (noun, text) in files {
            let laws: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn "))
                .filter_map(|line| line.split_once('(').map(|(name, _)| name))
                .collect();
            assert!(!laws.is_empty(), "{noun} has laws");
            for law in laws {
                let line = format!("            {noun}: {law}");
                assert!(
                    list.lines().any(|one| one.trim_end_matches(';') == line),
                    "{noun}: {law} is not in the list"
                );
            }
        }
    }
}
