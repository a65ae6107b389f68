//! Reads a history and finds what must not have happened.
//!
//! 1. **Loss**: an acknowledged token that is not active later, although nobody ended it.
//! 2. **Undone revocation**: a token that is active after its end was acknowledged.
//! 3. **Double spend**: one code with two sets of tokens; one refresh token with two successors,
//!    or an answer for it after its successor was used.
//! 4. **Lost retry**: the newest refresh token of a living family refused, although all that
//!    ever happened to it is requests without an answer.
//!
//! "Later" is asked after the other was answered; what overlaps may have happened in either
//! order. An exchange without an answer may have happened or not, so it excuses both.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::history::{Answer, Call, Event, FamilyId};

/// Something that must not have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    Loss { token: String },
    UndoneRevocation { token: String },
    DoubleSpend { artifact: String },
    LostRetry { refresh: String, error: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss { token } => {
                write!(out, "lost: {} was acknowledged and is not active", short(token))
            }
            Self::UndoneRevocation { token } => {
                write!(
                    out,
                    "undone: {} is active after its revocation was acknowledged",
                    short(token)
                )
            }
            Self::DoubleSpend { artifact } => write!(out, "spent twice: {}", short(artifact)),
            Self::LostRetry { refresh, error } => {
                write!(
                    out,
                    "retry lost: {} is the newest of its family and got `{error}`",
                    short(refresh)
                )
            }
        }
    }
}

/// Enough of a token to find it in the history, not enough to use it.
fn short(token: &str) -> String {
    format!("{}…", token.chars().take(16).collect::<String>())
}

/// Finds every violation in the history.
pub(super) fn check(events: &[Event]) -> Vec<Violation> {
    let mut families: BTreeMap<FamilyId, Vec<&Event>> = BTreeMap::new();
    for event in events {
        families.entry(event.family).or_default().push(event);
    }
    let mut violations = Vec::new();
    for events in families.values() {
        let family = Family::read(events);
        family.check_introspections(events, &mut violations);
        Family::check_codes(events, &mut violations);
        family.check_rotations(events, &mut violations);
    }
    violations
}

/// When something may have begun to be true, and when it surely was.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Asked: from here on it may be.
    possible_from: u64,
    /// Answered: from here on it must be. `None` when no answer came.
    certain_from: Option<u64>,
}

#[derive(Default)]
struct Family<'a> {
    /// When each access token was acknowledged.
    granted: HashMap<&'a str, u64>,
    /// The ends of single access tokens.
    token_ends: HashMap<&'a str, Vec<End>>,
    /// The ends of the whole family: revocations, and replays that a server punishes.
    ends: Vec<End>,
}

impl<'a> Family<'a> {
    fn read(events: &[&'a Event]) -> Self {
        let mut family = Self::default();
        for event in events {
            let acknowledged = match event.answer {
                Answer::Revoked => Some(event.answered),
                _ => None,
            };
            let end = End {
                possible_from: event.asked,
                certain_from: acknowledged,
            };
            match (&event.call, &event.answer) {
                (_, Answer::Granted { access, .. }) => {
                    let first = family.granted.entry(access).or_insert(event.answered);
                    *first = event.answered.min(*first);
                }
                (Call::RevokeAccess { token }, _) => {
                    family.token_ends.entry(token).or_default().push(end);
                }
                (call, answer) if may_end_family(call, answer, &family) => family.ends.push(end),
                _ => {}
            }
        }
        family
    }

    fn check_introspections(&self, events: &[&Event], violations: &mut Vec<Violation>) {
        for event in events {
            let (Call::Introspect { token }, Answer::Active(is_active)) = (&event.call, &event.answer) else {
                continue;
            };
            let own_ends = self.token_ends.get(token.as_str()).into_iter().flatten();
            let mut ends = own_ends.chain(&self.ends);
            if *is_active {
                let is_over = |end: &End| end.certain_from.is_some_and(|moment| moment < event.asked);
                if ends.any(is_over) {
                    violations.push(Violation::UndoneRevocation { token: token.clone() });
                }
            } else {
                let was_granted = self
                    .granted
                    .get(token.as_str())
                    .is_some_and(|moment| *moment < event.asked);
                if was_granted && !ends.any(|end| end.possible_from < event.answered) {
                    violations.push(Violation::Loss { token: token.clone() });
                }
            }
        }
    }

    fn check_codes(events: &[&Event], violations: &mut Vec<Violation>) {
        let mut first: HashMap<&str, &Event> = HashMap::new();
        for event in events {
            let (Call::Redeem { code }, Answer::Granted { .. }) = (&event.call, &event.answer) else {
                continue;
            };
            if first.insert(code, event).is_some() {
                violations.push(Violation::DoubleSpend {
                    artifact: code.clone(),
                });
            }
        }
    }

    fn check_rotations(&self, events: &[&Event], violations: &mut Vec<Violation>) {
        let mut successors: HashMap<&str, &str> = HashMap::new();
        for event in events {
            if let (
                Call::Rotate { refresh },
                Answer::Granted {
                    refresh: Some(successor),
                    ..
                },
            ) = (&event.call, &event.answer)
            {
                let known = successors.entry(refresh).or_insert(successor);
                if known != successor {
                    violations.push(Violation::DoubleSpend {
                        artifact: refresh.clone(),
                    });
                }
            }
        }
        // The moment from which a token's successor was surely used.
        let mut used_from: HashMap<&str, u64> = HashMap::new();
        for event in events {
            if let (Call::Rotate { refresh }, Answer::Granted { .. }) = (&event.call, &event.answer) {
                let moment = used_from.entry(refresh).or_insert(event.answered);
                *moment = event.answered.min(*moment);
            }
        }
        for event in events {
            let Call::Rotate { refresh } = &event.call else {
                continue;
            };
            let successor = successors.get(refresh.as_str());
            match &event.answer {
                Answer::Granted { .. } => {
                    let is_too_late = successor
                        .and_then(|successor| used_from.get(successor))
                        .is_some_and(|moment| *moment < event.asked);
                    if is_too_late {
                        violations.push(Violation::DoubleSpend {
                            artifact: refresh.clone(),
                        });
                    }
                }
                Answer::Refused(error) => {
                    // Somebody presented the successor, or may have: then this one is spent.
                    let was_superseded = events.iter().any(|other| {
                        matches!(&other.call, Call::Rotate { refresh: other_token }
                            if successor == Some(&other_token.as_str()) && other.asked < event.answered)
                    });
                    let was_ended = self.ends.iter().any(|end| end.possible_from < event.asked);
                    if !was_superseded && !was_ended {
                        violations.push(Violation::LostRetry {
                            refresh: refresh.clone(),
                            error: error.clone(),
                        });
                    }
                }
                _ => {}
            }
        }
    }
}

fn may_end_family(call: &Call, answer: &Answer, family: &Family<'_>) -> bool {
    match (call, answer) {
        // A server may answer the second use of a code or of a spent token by ending the family.
        (Call::RevokeFamily { .. }, _) | (Call::Redeem { .. } | Call::Rotate { .. }, Answer::Refused(_)) => {
            true
        }
        // A first try without an answer is no second use.
        (Call::Redeem { .. }, Answer::Unknown) => !family.granted.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
