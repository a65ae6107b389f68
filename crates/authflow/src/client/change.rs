//! What a changed document asks for: that people are asked again, that tokens end.
//!
//! The draft leaves the policy to the server (draft-ietf-oauth-client-id-metadata-document §6, on changes). This one: what a
//! person decided by (where answers go, what the client is called, how it proves itself) is asked about again; tokens end
//! only when the client's proof got weaker, since whoever holds a refresh token could not use it alone before and can now.

use std::{collections::BTreeSet, fmt};

use mcp_authflow_types::{RedirectUri, TokenEndpointAuthMethod, redirect_uri::RedirectHost};

use crate::record::ClientProfile;

/// What is another in a new copy of a document, as far as somebody has to act on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What changed, in the order of [`Changed::ALL`].
    pub changed: Vec<Changed>,
}

/// One thing that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// Answers go to other hosts, or to other apps.
    RedirectHosts,
    /// It is called something else.
    Name,
    /// It signs with other keys.
    Keys,
    /// It proves itself in another way, as well as before or better.
    Method,
    /// It no longer has to prove itself by a key, and had to.
    Proof,
}

impl Changed {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::RedirectHosts,
        Self::Name,
        Self::Keys,
        Self::Method,
        Self::Proof,
    ];

    /// In words, for the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RedirectHosts => "redirect hosts",
            Self::Name => "name",
            Self::Keys => "keys",
            Self::Method => "authentication method",
            Self::Proof => "keys no longer demanded",
        }
    }
}

impl Change {
    /// Compares two copies of one client's document.
    pub fn between(old: &ClientProfile, new: &ClientProfile) -> Self {
        let proof = (strength(old), strength(new));
        let is_other = |what: Changed| match what {
            Changed::RedirectHosts => destinations(old) != destinations(new),
            Changed::Name => old.name != new.name,
            Changed::Keys => old.keys != new.keys,
            Changed::Method => proof.1 > proof.0,
            Changed::Proof => proof.1 < proof.0,
        };
        Self {
            changed: Changed::ALL.into_iter().filter(|what| is_other(*what)).collect(),
        }
    }

    /// Whether people have to be asked again, whatever they approved before.
    pub fn asks_again(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether everything issued to the client so far stops.
    pub fn ends_tokens(&self) -> bool {
        self.changed.contains(&Changed::Proof)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, what) in self.changed.iter().enumerate() {
            let joint = if number == 0 { "" } else { ", " };
            write!(f, "{joint}{}", what.as_str())?;
        }
        Ok(())
    }
}

/// How well a client has to prove itself at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Nothing,
    /// It may sign, and may leave it.
    Optional,
    Demanded,
}

fn strength(profile: &ClientProfile) -> Strength {
    match profile.token_endpoint_auth_method {
        TokenEndpointAuthMethod::None => Strength::Nothing,
        _ if profile.assertion_is_optional => Strength::Optional,
        _ => Strength::Demanded,
    }
}

/// Who receives the client's answers: hosts, and schemes of apps. Which path of a host, or which port of this computer,
/// makes no difference to a person.
fn destinations(profile: &ClientProfile) -> BTreeSet<(&'static str, String)> {
    let destination = |uri: &RedirectUri| match uri.host() {
        RedirectHost::Web(host) => ("web", host.to_ascii_lowercase()),
        RedirectHost::Loopback(host) => ("loopback", host.to_ascii_lowercase()),
        RedirectHost::App(scheme) => ("app", scheme.to_ascii_lowercase()),
    };
    profile.redirect_uris.iter().map(destination).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::record::{ClientKeys, ClientOrigin};

    fn profile(redirect_uris: &[&str], proof: Strength) -> ClientProfile {
        ClientProfile {
            name: Some("Notes".to_owned()),
            redirect_uris: redirect_uris
                .iter()
                .map(|uri| RedirectUri::parse(uri).unwrap())
                .collect(),
            token_endpoint_auth_method: match proof {
                Strength::Nothing => TokenEndpointAuthMethod::None,
                Strength::Optional | Strength::Demanded => TokenEndpointAuthMethod::PrivateKeyJwt,
            },
            assertion_is_optional: proof == Strength::Optional,
            keys: (proof != Strength::Nothing).then(|| ClientKeys::Jwks("1".to_owned())),
            ..ClientProfile::new(ClientOrigin::MetadataDocument)
        }
    }

    /// A copy, and the same with a change.
    fn changed(proof: Strength, change: impl Fn(&mut ClientProfile)) -> [ClientProfile; 2] {
        let old = profile(&["https://app.example/cb"], proof);
        let mut new = old.clone();
        change(&mut new);
        [old, new]
    }

    fn expect(what: &str, [old, new]: [ClientProfile; 2], changed: &[Changed], ends_tokens: bool) {
        let change = Change::between(&old, &new);
        assert_eq!(change.changed, changed, "{what}");
        assert_eq!(change.asks_again(), !changed.is_empty(), "{what}");
        assert_eq!(change.ends_tokens(), ends_tokens, "{what}");
    }

    /// M-176: the change matrix, where answers go.
    #[test]
    fn another_destination_is_asked_about_again() {
        const AGAIN: &[Changed] = &[Changed::RedirectHosts];
        for (what, redirect_uris, changed) in [
            ("nothing", &["https://app.example/cb"][..], &[][..]),
            ("a path", &["https://app.example/callback"], &[]),
            (
                "a second path",
                &["https://app.example/cb", "https://app.example/2"],
                &[],
            ),
            ("the spelling of a host", &["https://APP.example/cb"], &[]),
            (
                "a second host",
                &["https://app.example/cb", "https://b.example/cb"],
                AGAIN,
            ),
            ("another host", &["https://b.example/cb"], AGAIN),
            (
                "this computer",
                &["https://app.example/cb", "http://127.0.0.1/cb"],
                AGAIN,
            ),
            ("an app", &["https://app.example/cb", "app:/cb"], AGAIN),
        ] {
            let old = profile(&["https://app.example/cb"], Strength::Nothing);
            let new = profile(redirect_uris, Strength::Nothing);
            expect(what, [old, new], changed, false);
        }
    }

    /// M-176: the change matrix, what it is called and shows.
    #[test]
    fn another_name_is_asked_about_again_and_another_page_is_not() {
        let name = changed(Strength::Nothing, |new| new.name = Some("Files".to_owned()));
        expect("a name", name, &[Changed::Name], false);
        let pages = changed(Strength::Nothing, |new| {
            new.uri = Some("https://app.example/".to_owned());
            new.logo_uri = Some("https://app.example/logo.png".to_owned());
            new.policy_uri = Some("https://app.example/p".to_owned());
            new.tos_uri = Some("https://app.example/t".to_owned());
            new.software_version = Some("2".to_owned());
        });
        expect("pages and logo", pages, &[], false);
    }

    /// M-176: the change matrix, how it proves itself.
    #[test]
    fn another_key_is_asked_about_again_and_a_weaker_proof_ends_tokens() {
        use Changed as C;
        use Strength as S;
        let keys = changed(S::Demanded, |new| {
            new.keys = Some(ClientKeys::Jwks("2".to_owned()));
        });
        expect("keys", keys, &[C::Keys], false);
        let elsewhere = ClientKeys::JwksUri("https://app.example/jwks".to_owned());
        let address = changed(S::Demanded, |new| new.keys = Some(elsewhere.clone()));
        expect("where keys are", address, &[C::Keys], false);
        for (old, new, changed, ends_tokens) in [
            (S::Demanded, S::Demanded, &[][..], false),
            (S::Nothing, S::Demanded, &[C::Keys, C::Method], false),
            (S::Nothing, S::Optional, &[C::Keys, C::Method], false),
            (S::Optional, S::Demanded, &[C::Method], false),
            (S::Demanded, S::Optional, &[C::Proof], true),
            (S::Demanded, S::Nothing, &[C::Keys, C::Proof], true),
            (S::Optional, S::Nothing, &[C::Keys, C::Proof], true),
        ] {
            let copies = [old, new].map(|proof| profile(&["https://app.example/cb"], proof));
            expect(&format!("{old:?} to {new:?}"), copies, changed, ends_tokens);
        }
    }

    #[test]
    fn a_change_says_what_it_is() {
        let change = Change {
            changed: vec![Changed::Name, Changed::Proof],
        };
        assert_eq!(change.to_string(), "name, keys no longer demanded");
        assert_eq!(Change::default().to_string(), "");
    }
}
