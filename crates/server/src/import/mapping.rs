//! A row of the Python package's tables → a token of ours, or why it cannot be one.
//!
//! | theirs | ours |
//! |---|---|
//! | `token` (SHA-256, hexadecimal) | the digest, as it is |
//! | `client_id` | the client of that identifier, or of the one in `client_map`; it must be there |
//! | `user_id` | the subject: that text, or the account or text in `user_map`; without one, the client itself |
//! | `resource` | the registered resource of that name, or of the one in `resource_map`; without one, `default_resource` |
//! | `scopes` | the scope, as it is, under the client's ceiling |
//! | `created_at`, `expires_at` | the same; a refresh token's grant ends as that of anybody who signs in now |

use std::{collections::BTreeMap, fmt, time::Duration};

use mcp_authflow::{
    Settings,
    port::{
        AccountStore, Store,
        store::{ImportToken, StoreError},
        token_storage::TokenKind,
    },
    record::{Client, ForeignGrant, GrantedResource, ImportedToken},
};
use mcp_authflow_postgres::StoredToken;
use mcp_authflow_types::{ClientId, Resource, Scope, Timestamp};

use crate::{config::Import, login::username};

/// Why a token is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Skip {
    /// It is over.
    Expired,
    /// The column `token` holds no digest.
    NoDigest,
    /// The client's identifier is none.
    ClientId(String),
    /// There is no such client here.
    NoClient(String),
    /// It names no resource, and there is none that it could mean.
    NoResource,
    /// There is no such resource here.
    UnknownResource(String),
    /// Its scopes are none.
    Scopes(String),
    /// Its client may not use the resource here.
    NotOpen(String),
    /// Its client may have none of its scopes here.
    AboveCeiling(String),
    /// The account is disabled here.
    SubjectDisabled,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("expired"),
            Self::NoDigest => f.write_str("the column token holds no SHA-256 in hexadecimal digits"),
            Self::ClientId(id) => write!(
                f,
                "the client identifier {id:?} cannot be one here; map it with --client-map"
            ),
            Self::NoClient(id) => write!(
                f,
                "there is no client {id} here; add it with authflow client add --id, with --clients FILE, or with \
                 --create-clients public"
            ),
            Self::NoResource => {
                f.write_str("no resource is named; say which one is meant with --default-resource")
            }
            Self::UnknownResource(resource) => write!(
                f,
                "the resource {resource:?} is not registered here; add it with authflow resource add, or map it with \
                 --resource-map"
            ),
            Self::Scopes(scopes) => write!(f, "the scopes {scopes:?} are not of RFC 6749's characters"),
            Self::NotOpen(resource) => write!(f, "the client may not use the resource {resource} here"),
            Self::AboveCeiling(scope) => write!(f, "the client may have none of the scopes {scope:?} here"),
            Self::SubjectDisabled => f.write_str("the account is disabled here"),
        }
    }
}

impl Skip {
    /// What a store's answer says, when it says no.
    pub(crate) fn of(answer: ImportToken, token: &ImportedToken) -> Option<Self> {
        match answer {
            ImportToken::Imported | ImportToken::AlreadyThere => None,
            ImportToken::ClientGone => Some(Self::NoClient(token.grant.client_id.to_string())),
            ImportToken::SubjectDisabled => Some(Self::SubjectDisabled),
        }
    }
}

/// Keeps tokens within what their clients may have here: the operator's ceilings hold for what was granted elsewhere, too.
/// Of a client that is not here the store says so.
pub(crate) async fn within_ceilings(
    store: &dyn Store,
    tokens: Vec<ImportedToken>,
) -> Result<Vec<Result<ImportedToken, Skip>>, StoreError> {
    let mut clients = BTreeMap::new();
    for token in &tokens {
        let id = &token.grant.client_id;
        if !clients.contains_key(id) {
            clients.insert(id.clone(), store.load_client(id).await?);
        }
    }
    let kept = tokens.into_iter().map(|token| {
        let client = clients.get(&token.grant.client_id).cloned().flatten();
        client.map_or(Ok(token.clone()), |client| within(&client, token))
    });
    Ok(kept.collect())
}

fn within(client: &Client, mut token: ImportedToken) -> Result<ImportedToken, Skip> {
    for granted in &mut token.grant.resources {
        if !client.may_reach(&granted.resource) {
            return Err(Skip::NotOpen(granted.resource.to_string()));
        }
        let kept = client.under_ceiling(&granted.scope);
        if kept.is_empty() && !granted.scope.is_empty() {
            return Err(Skip::AboveCeiling(granted.scope.to_string()));
        }
        granted.scope = kept;
    }
    Ok(token)
}

/// On whose behalf.
#[derive(Clone, Debug)]
struct Person {
    subject: String,
    username: Option<String>,
}

/// How their rows become our tokens.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    clients: BTreeMap<String, String>,
    resources: BTreeMap<String, String>,
    people: BTreeMap<String, Person>,
    default_resource: Option<Resource>,
    registered: Vec<Resource>,
    accept_unregistered: bool,
    grant: Duration,
}

impl Mapping {
    /// Reads what is registered now, and looks up the accounts that are named.
    pub(crate) async fn read(
        settings: &Settings,
        import: &Import,
        store: &dyn Store,
        accounts: &dyn AccountStore,
    ) -> Result<Self, StoreError> {
        let mut people = BTreeMap::new();
        for (user_id, name) in &import.user_map {
            let account = match username::normalize(name) {
                Ok(username) => accounts.load_user(&username).await?,
                Err(_) => None,
            };
            let person = match account {
                Some(user) => Person {
                    subject: user.id.as_str().to_owned(),
                    username: Some(user.username),
                },
                None => Person {
                    subject: name.clone(),
                    username: None,
                },
            };
            people.insert(user_id.clone(), person);
        }
        let registered: Vec<Resource> = store
            .list_resources()
            .await?
            .into_iter()
            .map(|record| record.resource)
            .collect();
        let only = match registered.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        };
        let default_resource = import
            .default_resource
            .clone()
            .or_else(|| settings.default_resource.clone())
            .or(only);
        Ok(Self {
            clients: import.client_map.clone(),
            resources: import.resource_map.clone(),
            people,
            default_resource,
            registered,
            accept_unregistered: settings.accept_unregistered_loopback_resources,
            grant: settings.lifetimes.grant,
        })
    }

    /// The mapped users whose name is that of no account, each with the subject that it stands for then.
    pub(crate) fn without_account(&self) -> BTreeMap<&str, &str> {
        let people = self.people.iter();
        people
            .filter(|(_, person)| person.username.is_none())
            .map(|(id, person)| (id.as_str(), person.subject.as_str()))
            .collect()
    }

    /// Makes a token of ours of a row of theirs.
    pub(crate) fn map(
        &self,
        kind: TokenKind,
        stored: &StoredToken,
        now: Timestamp,
    ) -> Result<ImportedToken, Skip> {
        let record = &stored.record;
        if record.expires_at.has_passed(now) {
            return Err(Skip::Expired);
        }
        let hash = stored.hash().ok_or(Skip::NoDigest)?;
        let client_id = self.clients.get(&record.client_id).unwrap_or(&record.client_id);
        let client_id = ClientId::parse(client_id).map_err(|_| Skip::ClientId(client_id.clone()))?;
        let person = match record.user_id.as_ref().map(ToString::to_string) {
            None => Person {
                subject: client_id.to_string(),
                username: None,
            },
            Some(id) => self.people.get(&id).cloned().unwrap_or(Person {
                subject: id,
                username: None,
            }),
        };
        let scopes = record.scopes.join(" ");
        let scope = if scopes.is_empty() {
            Scope::empty()
        } else {
            Scope::parse(&scopes).map_err(|_| Skip::Scopes(scopes))?
        };
        let known = ForeignGrant {
            client_id,
            subject: person.subject,
            username: person.username,
            granted: GrantedResource {
                resource: self.resource(record.resource.as_deref())?,
                scope,
            },
        };
        let times = (record.created_at, record.expires_at);
        Ok(ImportedToken::new(
            kind,
            hash,
            known,
            times,
            now,
            now + self.grant,
        ))
    }

    /// The resource that a row means, in the spelling in which it is registered here.
    fn resource(&self, named: Option<&str>) -> Result<Resource, Skip> {
        let Some(named) = named.filter(|named| !named.is_empty()) else {
            return self.default_resource.clone().ok_or(Skip::NoResource);
        };
        let named = self.resources.get(named).map_or(named, String::as_str);
        let unknown = || Skip::UnknownResource(named.to_owned());
        let resource = Resource::parse(named).map_err(|_| unknown())?;
        match self.registered.iter().find(|one| **one == resource) {
            Some(registered) => Ok(registered.clone()),
            None if self.accept_unregistered && resource.is_loopback() => Ok(resource),
            None => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use mcp_authflow::port::token_storage::{NewToken, TokenRecord, UserId, hash_token};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn mapping() -> Mapping {
        let map = |old: &str, new: &str| BTreeMap::from([(old.to_owned(), new.to_owned())]);
        Mapping {
            clients: map("old client", "new-client"),
            resources: map("notes", "https://RS.example/mcp"),
            people: BTreeMap::from([(
                "7".to_owned(),
                Person {
                    subject: "u_alice".to_owned(),
                    username: Some("alice".to_owned()),
                },
            )]),
            default_resource: Some(Resource::parse("https://default.example/mcp").unwrap()),
            registered: vec![Resource::parse("https://rs.example/mcp").unwrap()],
            accept_unregistered: false,
            grant: Duration::from_secs(90 * 86_400),
        }
    }

    fn stored(change: impl FnOnce(&mut TokenRecord)) -> StoredToken {
        let mut record = TokenRecord::of(&NewToken::new("c1", NOW + Duration::from_secs(60)), NOW);
        record.resource = Some("https://rs.example/mcp".to_owned());
        change(&mut record);
        StoredToken {
            digest: hash_token("t"),
            record,
        }
    }

    #[test]
    fn what_a_row_lacks_is_what_the_operator_says() {
        let map = |row: &StoredToken| mapping().map(TokenKind::Refresh, row, NOW).unwrap();
        let bare = map(&stored(|row| row.resource = None));
        assert_eq!(bare.grant.subject, "c1");
        assert_eq!(bare.grant.username, None);
        assert_eq!(
            bare.grant.resources[0].resource.as_str(),
            "https://default.example/mcp"
        );
        assert!(bare.grant.offline_access && bare.grant.resources[0].scope.is_empty());
        let whole = map(&stored(|row| {
            row.client_id = "old client".to_owned();
            row.resource = Some("notes".to_owned());
            row.user_id = Some(UserId::Integer(7));
            row.scopes = vec!["read".to_owned(), "write".to_owned()];
        }));
        assert_eq!(whole.grant.client_id.as_str(), "new-client");
        assert_eq!(
            whole.grant.resources[0].resource.as_str(),
            "https://rs.example/mcp"
        );
        assert_eq!(whole.grant.resources[0].scope.to_string(), "read write");
        assert_eq!(
            (whole.grant.subject.as_str(), whole.grant.username.as_deref()),
            ("u_alice", Some("alice"))
        );
        assert_eq!(whole.expires_at, NOW + Duration::from_secs(60));
        assert_eq!(whole.grant.expires_at, NOW + Duration::from_secs(90 * 86_400));
        assert_eq!(map(&stored(|_| {})).grant.id, bare.grant.id);
        let unmapped = map(&stored(|row| row.user_id = Some(UserId::from("bob"))));
        assert_eq!(unmapped.grant.subject, "bob");
    }

    #[test]
    fn a_row_that_cannot_be_a_token_here_says_why() {
        let map = |row: &StoredToken| mapping().map(TokenKind::Access, row, NOW).unwrap_err();
        let mut odd = stored(|_| {});
        odd.digest = "ZZ".to_owned();
        assert_eq!(map(&odd), Skip::NoDigest);
        assert_eq!(map(&stored(|row| row.expires_at = NOW)), Skip::Expired);
        assert!(matches!(
            map(&stored(|row| row.client_id = "\u{7}".to_owned())),
            Skip::ClientId(_)
        ));
        for resource in ["https://other.example/mcp", "nonsense", "http://127.0.0.1/mcp"] {
            let skip = map(&stored(|row| row.resource = Some(resource.to_owned())));
            assert_eq!(skip, Skip::UnknownResource(resource.to_owned()));
        }
        assert!(matches!(
            map(&stored(|row| row.scopes = vec!["\"".to_owned()])),
            Skip::Scopes(_)
        ));
        let mut without = mapping();
        without.default_resource = None;
        let row = stored(|row| row.resource = None);
        assert_eq!(without.map(TokenKind::Access, &row, NOW), Err(Skip::NoResource));
    }

    #[test]
    fn a_resource_on_loopback_needs_no_registration_where_that_is_enough() {
        let mut mapping = mapping();
        mapping.accept_unregistered = true;
        let row = stored(|row| row.resource = Some("http://127.0.0.1:8001/mcp".to_owned()));
        assert!(mapping.map(TokenKind::Access, &row, NOW).is_ok());
    }
}
