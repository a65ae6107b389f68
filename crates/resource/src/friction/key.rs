//! Under which name a caller's calls are counted.

use std::{fmt, sync::Arc};

use crate::caller::Caller;

/// Says a caller's name; `None` is nobody.
pub type NameOf = Arc<dyn Fn(&Caller) -> Option<String> + Send + Sync>;

/// Under which name a caller's calls are counted.
///
/// Two callers with one name share their friction; one caller with two names has twice as much room. So a name is to be
/// something that nobody can have many of.
#[derive(Clone, Default)]
pub enum KeyBy {
    /// By the person, with whatever clients they call; without a person, by the client that calls for itself.
    ///
    /// The default: client ids are free where clients register themselves (RFC 7591) or are named by a URL, and whoever
    /// makes a new one would be free of friction again; a person has to sign up.
    #[default]
    Subject,
    /// By the client alone: all people who use it share its friction.
    ///
    /// # Security
    /// Only where clients are registered by hand.
    Client,
    /// By the person and the client together.
    ///
    /// # Security
    /// As for [`Client`](Self::Client).
    SubjectAndClient,
    /// By what the issuer says of the token under this name, such as the id of a grant or of a tenant; by the person
    /// where it says nothing. A claim whose value is no text counts as its JSON.
    Claim(String),
    /// By whatever the function says; `None` is nobody.
    Custom(NameOf),
}

impl KeyBy {
    /// The caller's name; `None` when there is nothing to name them by.
    pub fn key(&self, caller: &Caller) -> Option<String> {
        let issuer = caller.token().issuer.as_deref().unwrap_or("-");
        // Two issuers may know two people by one name. No issuer's name has a space in it.
        let named = |kind: &str, name: &str| format!("{kind}:{issuer} {name}");
        let client = || caller.client_id().map(|client| named("client", client.as_str()));
        let subject = || match caller.subject() {
            Some(subject) if !caller.is_the_client_itself() => Some(named("subject", subject)),
            subject => client().or_else(|| subject.map(|subject| named("subject", subject))),
        };
        match self {
            Self::Subject => subject(),
            Self::Client => client(),
            Self::SubjectAndClient => match (subject(), client()) {
                (Some(subject), Some(client)) => Some(format!("{subject} {client}")),
                (subject, client) => subject.or(client),
            },
            Self::Claim(claim) => match caller.token().claims.get(claim) {
                None | Some(serde_json::Value::Null) => subject(),
                Some(serde_json::Value::String(value)) => Some(named(claim, value)),
                Some(value) => Some(named(claim, &value.to_string())),
            },
            Self::Custom(name) => name(caller),
        }
    }
}

impl fmt::Debug for KeyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => f.write_str("Subject"),
            Self::Client => f.write_str("Client"),
            Self::SubjectAndClient => f.write_str("SubjectAndClient"),
            Self::Claim(claim) => f.debug_tuple("Claim").field(claim).finish(),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::{Value, json};

    use super::*;
    use crate::{ClientId, VerifiedToken, challenge::Challenge};

    pub(crate) fn caller(subject: Option<&str>, client: Option<&str>, claims: Value) -> Caller {
        let Value::Object(claims) = claims else {
            panic!("claims are an object")
        };
        let token = VerifiedToken {
            subject: subject.map(str::to_owned),
            client_id: client.map(|client| ClientId::parse(client).unwrap()),
            issuer: Some("https://as.test".to_owned()),
            claims: Arc::new(claims),
            ..VerifiedToken::default()
        };
        Caller::admit(token, Arc::new(Challenge::bearer("https://rs.test/prm")))
    }

    /// S-282
    #[test]
    fn a_person_with_many_clients_is_one_person() {
        let first = caller(Some("alice"), Some("c1"), json!({}));
        let second = caller(Some("alice"), Some("c2"), json!({}));
        let by = KeyBy::default();
        assert_eq!(by.key(&first).unwrap(), "subject:https://as.test alice");
        assert_eq!(by.key(&first), by.key(&second));
        assert_ne!(KeyBy::Client.key(&first), KeyBy::Client.key(&second));
        assert_ne!(
            KeyBy::SubjectAndClient.key(&first),
            KeyBy::SubjectAndClient.key(&second)
        );
    }

    #[test]
    fn a_person_is_never_taken_for_a_client_of_that_name() {
        let person = caller(Some("c1"), Some("c2"), json!({}));
        let client = caller(Some("c1"), Some("c1"), json!({}));
        let nameless = caller(None, Some("c1"), json!({}));
        let by = KeyBy::Subject;
        assert_ne!(by.key(&person), by.key(&client));
        assert_eq!(by.key(&client).unwrap(), "client:https://as.test c1");
        assert_eq!(by.key(&client), by.key(&nameless));
        assert_eq!(by.key(&caller(None, None, json!({}))), None);
    }

    #[test]
    fn a_claim_names_the_caller_where_the_issuer_makes_it() {
        let by = KeyBy::Claim("grant".to_owned());
        let with = caller(Some("alice"), Some("c1"), json!({"grant": "g1"}));
        let number = caller(Some("alice"), Some("c1"), json!({"grant": 7}));
        let without = caller(Some("alice"), Some("c1"), json!({}));
        assert_eq!(by.key(&with).unwrap(), "grant:https://as.test g1");
        assert_eq!(by.key(&number).unwrap(), "grant:https://as.test 7");
        assert_eq!(by.key(&without), KeyBy::Subject.key(&without));
        let custom = KeyBy::Custom(Arc::new(|_| Some("all".to_owned())));
        assert_eq!(custom.key(&with).unwrap(), "all");
    }
}
