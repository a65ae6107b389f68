//! To whom something that outlives a request belongs: the person, and the client through which they called.

use mcp_authflow_resource::Caller;
use mcp_authflow_types::ClientId;

/// A caller, as far as it stays the same from request to request.
///
/// # Security
/// Sessions are keyed by it (M-128), so that a session id alone opens nothing (M-127). Another client of the same person
/// is somebody else: the person has not let it into this session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    /// Of the token: two issuers may have the same subjects.
    issuer: Option<String>,
    subject: Option<String>,
    client_id: Option<String>,
    /// Where no subject is known: introspection need not tell it (RFC 7662 §2.2), and one client serves many people.
    username: Option<String>,
}

/// Whose share a child counts to.
///
/// # Security
/// The person alone: clients register themselves (RFC 7591), so that one person has as many as they like. Where nobody
/// is known, the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Person {
    issuer: Option<String>,
    name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Subject(String),
    Username(String),
    Client(Option<String>),
}

impl Owner {
    /// The person, whatever the client.
    pub(crate) fn person(&self) -> Person {
        let name = match (&self.subject, &self.username) {
            (Some(subject), _) => Name::Subject(subject.clone()),
            (None, Some(username)) => Name::Username(username.clone()),
            (None, None) => Name::Client(self.client_id.clone()),
        };
        Person {
            issuer: self.issuer.clone(),
            name,
        }
    }

    pub(crate) fn of(caller: &Caller) -> Self {
        Self {
            issuer: caller.token().issuer.clone(),
            subject: caller.subject().map(str::to_owned),
            client_id: caller.client_id().map(|id| ClientId::as_str(id).to_owned()),
            username: caller.name_in_place_of_subject().map(str::to_owned),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(subject: &str) -> Self {
        Self {
            issuer: None,
            subject: Some(subject.to_owned()),
            client_id: None,
            username: None,
        }
    }
}
