//! The store behind a PgBouncer that knows no prepared statements: a law of each kind, with unnamed ones.

use mcp_authflow_testkit::contract;

async fn unnamed() -> crate::support::Fresh {
    crate::support::fresh_store_with(|config| config.prepared_statements = false).await
}

#[test]
fn hostile_text_survives_in_a_grant() {
    contract::check(unnamed, contract::grant::hostile_text_survives_in_a_grant);
}

#[test]
fn one_of_many_racing_rotations_wins_and_the_others_get_its_answer() {
    contract::check(
        unnamed,
        contract::refresh_token::one_of_many_racing_rotations_wins_and_the_others_get_its_answer,
    );
}

#[test]
fn disabling_an_account_ends_everything_and_enabling_revives_nothing() {
    contract::check(
        unnamed,
        contract::standing::disabling_an_account_ends_everything_and_enabling_revives_nothing,
    );
}

#[test]
fn expired_things_are_purged() {
    contract::check(unnamed, contract::upkeep::expired_things_are_purged);
}
