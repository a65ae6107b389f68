//! The checker finds what is planted, and nothing in a history without a fault.

use super::*;

/// A history of one family, each exchange after the one before it.
#[derive(Default)]
struct Story(Vec<Event>);

impl Story {
    fn then(mut self, call: Call, answer: Answer) -> Self {
        let asked = self.0.len() as u64 * 2 + 1;
        self.0.push(Event {
            family: 1,
            call,
            answer,
            asked,
            answered: asked + 1,
        });
        self
    }

    /// An exchange that was asked together with the one before it, and answered after it.
    fn meanwhile(mut self, call: Call, answer: Answer) -> Self {
        self = self.then(call, answer);
        let before = self.0[self.0.len() - 2].asked;
        if let Some(event) = self.0.last_mut() {
            event.asked = before;
        }
        self
    }

    fn verdict(&self) -> Vec<Violation> {
        check(&self.0)
    }
}

fn redeem() -> Call {
    Call::Redeem { code: "code".into() }
}

fn rotate(refresh: &str) -> Call {
    Call::Rotate {
        refresh: refresh.into(),
    }
}

fn introspect(token: &str) -> Call {
    Call::Introspect { token: token.into() }
}

fn granted(access: &str, refresh: &str) -> Answer {
    Answer::Granted {
        access: access.into(),
        refresh: Some(refresh.into()),
    }
}

fn refused() -> Answer {
    Answer::Refused("invalid_grant".into())
}

fn signed_in() -> Story {
    Story::default().then(redeem(), granted("a1", "r1"))
}

#[test]
fn an_ordinary_life_has_no_fault() {
    let story = signed_in()
        .then(introspect("a1"), Answer::Active(true))
        .then(rotate("r1"), granted("a2", "r2"))
        .then(introspect("a1"), Answer::Active(true))
        .then(rotate("r2"), Answer::Unknown)
        .then(rotate("r2"), granted("a3", "r3"))
        .then(rotate("r2"), granted("a3", "r3"))
        .then(Call::RevokeAccess { token: "a2".into() }, Answer::Revoked)
        .then(introspect("a2"), Answer::Active(false))
        .then(introspect("a3"), Answer::Active(true))
        .then(rotate("r1"), refused())
        .then(introspect("a3"), Answer::Active(false))
        .then(Call::RevokeFamily { refresh: "r3".into() }, Answer::Revoked)
        .then(introspect("a3"), Answer::Active(false));
    assert_eq!(story.verdict(), []);
}

#[test]
fn a_lost_token_is_found() {
    let story = signed_in().then(introspect("a1"), Answer::Active(false));
    assert_eq!(story.verdict(), [Violation::Loss { token: "a1".into() }]);
}

#[test]
fn a_token_lost_through_a_rotation_is_found() {
    let story = signed_in()
        .then(rotate("r1"), granted("a2", "r2"))
        .then(introspect("a2"), Answer::Active(false));
    assert_eq!(story.verdict(), [Violation::Loss { token: "a2".into() }]);
}

#[test]
fn a_token_that_may_have_been_revoked_is_not_lost() {
    let story = signed_in()
        .then(Call::RevokeAccess { token: "a1".into() }, Answer::Unknown)
        .then(introspect("a1"), Answer::Active(false));
    assert_eq!(story.verdict(), []);
}

#[test]
fn the_end_of_another_token_is_no_excuse() {
    let story = signed_in()
        .then(rotate("r1"), granted("a2", "r2"))
        .then(Call::RevokeAccess { token: "a2".into() }, Answer::Revoked)
        .then(introspect("a1"), Answer::Active(false));
    assert_eq!(story.verdict(), [Violation::Loss { token: "a1".into() }]);
}

#[test]
fn a_revocation_that_came_undone_is_found() {
    let story = signed_in()
        .then(Call::RevokeAccess { token: "a1".into() }, Answer::Revoked)
        .then(introspect("a1"), Answer::Active(true));
    assert_eq!(
        story.verdict(),
        [Violation::UndoneRevocation { token: "a1".into() }]
    );
    let story = signed_in()
        .then(Call::RevokeFamily { refresh: "r1".into() }, Answer::Revoked)
        .then(introspect("a1"), Answer::Active(true));
    assert_eq!(
        story.verdict(),
        [Violation::UndoneRevocation { token: "a1".into() }]
    );
}

#[test]
fn a_question_asked_during_the_revocation_may_be_answered_either_way() {
    for is_active in [true, false] {
        let story = signed_in()
            .then(Call::RevokeAccess { token: "a1".into() }, Answer::Revoked)
            .meanwhile(introspect("a1"), Answer::Active(is_active));
        assert_eq!(story.verdict(), []);
    }
}

#[test]
fn a_code_spent_twice_is_found() {
    let story = signed_in().then(redeem(), granted("a2", "r2"));
    assert_eq!(
        story.verdict(),
        [Violation::DoubleSpend {
            artifact: "code".into()
        }]
    );
}

#[test]
fn a_refresh_token_with_two_successors_is_found() {
    let story = signed_in()
        .then(rotate("r1"), granted("a2", "r2"))
        .then(rotate("r1"), granted("a3", "r3"));
    assert_eq!(
        story.verdict(),
        [Violation::DoubleSpend {
            artifact: "r1".into()
        }]
    );
}

#[test]
fn an_answer_for_a_token_whose_successor_was_used_is_found() {
    let story = signed_in()
        .then(rotate("r1"), granted("a2", "r2"))
        .then(rotate("r2"), granted("a3", "r3"))
        .then(rotate("r1"), granted("a2", "r2"));
    assert_eq!(
        story.verdict(),
        [Violation::DoubleSpend {
            artifact: "r1".into()
        }]
    );
}

#[test]
fn a_retry_that_is_refused_is_found() {
    let story = signed_in()
        .then(rotate("r1"), Answer::Unknown)
        .then(rotate("r1"), refused());
    let lost = Violation::LostRetry {
        refresh: "r1".into(),
        error: "invalid_grant".into(),
    };
    assert_eq!(story.verdict(), [lost]);
}

#[test]
fn a_retry_after_a_revocation_may_be_refused() {
    let story = signed_in()
        .then(Call::RevokeFamily { refresh: "r1".into() }, Answer::Unknown)
        .then(rotate("r1"), refused());
    assert_eq!(story.verdict(), []);
}
