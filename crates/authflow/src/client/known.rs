//! Clients whose ways are known, and how far each is met where it strays from the rules.
//!
//! Most of what real clients do differently works for everyone, by the general rules (loopback ports, odd redirect URIs,
//! both ways of Basic …). What is left is a closed set of [`Leniency`]s. Each gives something up, so each hangs on a client
//! that is *proven*: by the address that is its identifier, or by redirect URIs that lead to its maker's host and nowhere
//! else. What a client merely says of itself, such as its name, opens nothing.
//!
//! The table itself is data and comes from outside; `authflow` reads it from a TOML file.

use std::{fmt, sync::Arc};

use mcp_authflow_types::RedirectUri;

use crate::record::{Client, ClientOrigin};

/// One way in which a known client may stray from the rules.
///
/// To add one: a variant, its three arms below, and a use of [`KnownClients::lets`] where the rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leniency {
    /// It may use a loopback redirect of another path than it registered, if the table lists that path.
    ///
    /// # Security
    /// The code may go to another page of a program on the person's own computer. The consent page shows loopback as
    /// what it is in any case.
    LoopbackPath,
    /// It may use a redirect on another host of its maker than it registered, if the table lists that address.
    ///
    /// # Security
    /// The code goes to a host that the client itself did not name; whoever takes that host over gets codes.
    RedirectHost,
    /// It may send its secret in the body although it is registered for the header, and the reverse, where
    /// [`let_basic_and_post_swap`](crate::Settings::let_basic_and_post_swap) is off for everyone else.
    ///
    /// # Security
    /// Gives up nothing but order: the secret has to be the right one.
    SecretInBody,
    /// It may leave its assertion out although it is registered for `private_key_jwt` and nothing else. An assertion that
    /// is there is verified. Clients whose document lists `none` beside it need no leniency for that.
    ///
    /// # Security
    /// The client proves nothing at the token endpoint: what protects a code is its redirect URI and PKCE alone, and a
    /// refresh token that leaks can be used by whoever has it.
    AssertionLeftOut,
}

impl Leniency {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::LoopbackPath,
        Self::RedirectHost,
        Self::SecretInBody,
        Self::AssertionLeftOut,
    ];

    /// The name in the table, in the configuration and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoopbackPath => "loopback-path",
            Self::RedirectHost => "redirect-host",
            Self::SecretInBody => "secret-in-body",
            Self::AssertionLeftOut => "assertion-left-out",
        }
    }

    /// The leniency of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// What it gives up, in one line.
    pub const fn gives_up(self) -> &'static str {
        match self {
            Self::LoopbackPath => {
                "a code may go to another path on the person's own computer than was registered"
            }
            Self::RedirectHost => "a code may go to another host of the same maker than was registered",
            Self::SecretInBody => "nothing: the secret still has to be right",
            Self::AssertionLeftOut => {
                "the client proves nothing at the token endpoint; PKCE alone protects its codes"
            }
        }
    }

    /// Whether it is granted where nobody decided: only what gives nothing up is.
    pub const fn is_on_by_default(self) -> bool {
        matches!(self, Self::SecretInBody)
    }
}

impl fmt::Display for Leniency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An https address, or a family of them: `{id}` stands for one path segment.
///
/// ```
/// use mcp_authflow::client::known::AddressPattern;
///
/// let connectors = AddressPattern::parse("https://app.example/oauth/{id}/client.json").unwrap();
/// assert!(connectors.matches("https://app.example/oauth/c_17/client.json"));
/// assert!(!connectors.matches("https://app.example/oauth/a/b/client.json"));
/// assert!(AddressPattern::parse("https://{id}/client.json").is_none(), "a host is never left open");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPattern {
    before: Box<str>,
    /// What follows the placeholder, where there is one.
    after: Option<Box<str>>,
}

impl AddressPattern {
    const PLACEHOLDER: &str = "{id}";
    /// The longest segment that a placeholder takes.
    const MAX_SEGMENT_BYTES: usize = 128;

    /// Reads an address or a pattern: https, a host that is not this computer, a path, at most one placeholder, which is a
    /// whole path segment.
    pub fn parse(text: &str) -> Option<Self> {
        // With something plain in the placeholder's place it has to be an address like any other.
        let sample = text.replacen(Self::PLACEHOLDER, "id", 1);
        let is_address = RedirectUri::parse(&sample).is_ok_and(|uri| uri.is_web())
            && !sample.contains(['{', '}'])
            && sample
                .strip_prefix("https://")
                .is_some_and(|rest| rest.contains('/'));
        if !is_address {
            return None;
        }
        match text.split_once(Self::PLACEHOLDER) {
            None => Some(Self {
                before: text.into(),
                after: None,
            }),
            Some((before, after)) => {
                let is_segment = before.ends_with('/') && (after.is_empty() || after.starts_with('/'));
                // "https://" alone before it would leave the host open.
                (is_segment && before.matches('/').count() > 2).then(|| Self {
                    before: before.into(),
                    after: Some(after.into()),
                })
            }
        }
    }

    /// Whether an address is of the family, byte for byte.
    pub fn matches(&self, address: &str) -> bool {
        match &self.after {
            None => *self.before == *address,
            Some(after) => address
                .strip_prefix(&*self.before)
                .and_then(|rest| rest.strip_suffix(&**after))
                .is_some_and(|segment| {
                    (1..=Self::MAX_SEGMENT_BYTES).contains(&segment.len())
                        && segment
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b"-_~.".contains(&b))
                        && !matches!(segment, "." | "..")
                }),
        }
    }
}

/// One known client: what proves that it is the one, and what is let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownClient {
    /// Its name in the table: what the log says.
    pub name: Box<str>,
    /// The identifiers of its documents. Who has one is the client: its document came from that address, or the operator
    /// vouches for it.
    pub client_ids: Vec<AddressPattern>,
    /// Its redirect URIs on its maker's hosts. Who has these and no others is the client, as far as a code goes: nobody
    /// else receives one.
    pub redirect_uris: Vec<AddressPattern>,
    /// Redirect URIs that it uses without having registered them.
    pub also_redirects_to: Vec<RedirectUri>,
    /// What is let pass: those that are in force.
    pub leniencies: Vec<Leniency>,
}

impl KnownClient {
    /// How well the client is proven to be this one: by its very address, by a family of addresses, by its redirect URIs.
    fn proof(&self, client: &Client) -> Option<Proof> {
        // What registers itself gets its identifier from us, and proves nothing by it.
        let by_id = self
            .client_ids
            .iter()
            .filter(|_| client.profile.origin != ClientOrigin::Registration)
            .filter(|pattern| pattern.matches(client.id.as_str()))
            .map(|pattern| pattern.after.as_ref().map_or(Proof::Address, |_| Proof::Family))
            .min();
        let registered = &client.profile.redirect_uris;
        let leads_here = |uri: &RedirectUri| {
            self.redirect_uris
                .iter()
                .any(|pattern| pattern.matches(uri.as_str()))
        };
        by_id.or_else(|| {
            (!registered.is_empty() && registered.iter().all(leads_here)).then_some(Proof::Redirects)
        })
    }
}

/// What proves a client, the best first: one maker's addresses may be members of a family of another of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    Address,
    Family,
    Redirects,
}

/// The table of known clients. Cheap to clone; empty by default.
#[derive(Clone, Debug, Default)]
pub struct KnownClients(Arc<[KnownClient]>);

impl FromIterator<KnownClient> for KnownClients {
    fn from_iter<I: IntoIterator<Item = KnownClient>>(clients: I) -> Self {
        Self(clients.into_iter().collect())
    }
}

impl KnownClients {
    /// The known client that this one is proven to be.
    pub fn recognise(&self, client: &Client) -> Option<&KnownClient> {
        let proven = self
            .0
            .iter()
            .filter_map(|known| Some((known.proof(client)?, known)));
        proven.min_by_key(|(proof, _)| *proof).map(|(_, known)| known)
    }

    /// Whether an identifier is, byte for byte, the address of a known client's document. A family of addresses does not
    /// count: it has as many as anybody likes to ask for.
    pub fn lists_document(&self, client_id: &str) -> bool {
        let mut patterns = self.0.iter().flat_map(|known| &known.client_ids);
        patterns.any(|pattern| pattern.after.is_none() && pattern.matches(client_id))
    }

    /// The known client that this one is proven to be, if this is let pass for it.
    pub fn lets(&self, client: &Client, leniency: Leniency) -> Option<Granted> {
        let known = self.recognise(client)?;
        known.leniencies.contains(&leniency).then(|| Granted {
            leniency,
            known_as: known.name.clone(),
        })
    }

    /// By which leniency the client may use a redirect URI that it did not register.
    pub(crate) fn lets_redirect(&self, client: &Client, presented: &str) -> Option<Granted> {
        let known = self.recognise(client)?;
        let uri = known
            .also_redirects_to
            .iter()
            .find(|uri| uri.matches(presented))?;
        let leniency = if uri.is_web() {
            Leniency::RedirectHost
        } else {
            Leniency::LoopbackPath
        };
        self.lets(client, leniency)
    }
}

/// A leniency that was needed, and for whom: to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What was let pass.
    pub leniency: Leniency,
    /// The client's name in the table.
    pub known_as: Box<str>,
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.leniency, self.known_as)
    }
}

#[cfg(test)]
mod tests;
