//! Whose metadata documents count: a decision about hosts, taken by the operator.
//!
//! Being able to fetch a document proves one thing, that its host says so. Whether that host is anybody is another
//! question; reputation beyond these lists is for a [`Policy`](crate::port::Policy) of the embedder.

use std::{collections::BTreeSet, fmt};

use mcp_authflow_types::{ClientId, uri::Uri};

use crate::record::HostDecision;

/// A host of client metadata documents, with its port where that is not 443, in lower case: the form in which hosts are
/// compared. A sub-domain is another host, but for what is denied.
///
/// ```
/// use mcp_authflow::client::trust::DomainName;
///
/// let host = DomainName::parse("App.Example:443").unwrap();
/// assert_eq!(host.as_str(), "app.example");
/// assert!(DomainName::parse("https://app.example/").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(Box<str>);

/// The text is not a host with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host is a name or an address, with a port where it is not 443: app.example or app.example:8443")]
pub struct InvalidDomainName;

impl DomainName {
    /// Takes the text as a host.
    ///
    /// # Errors
    /// [`InvalidDomainName`] when it is anything else, or more than that.
    pub fn parse(text: &str) -> Result<Self, InvalidDomainName> {
        if text.contains(['/', '?', '#', '@', '*', '%']) {
            return Err(InvalidDomainName);
        }
        Self::of_url(&format!("https://{text}/")).ok_or(InvalidDomainName)
    }

    /// The host of a client whose identifier is the URL of its document.
    pub fn of(client_id: &ClientId) -> Option<Self> {
        Self::of_url(client_id.as_str())
    }

    fn of_url(url: &str) -> Option<Self> {
        let uri = Uri::parse(url).filter(|uri| uri.scheme == "https")?;
        let authority = uri.authority?;
        // A dot at the end is a second spelling of the same name.
        let host = authority.host.strip_suffix('.').unwrap_or(authority.host);
        let host = Some(host.to_ascii_lowercase()).filter(|host| !host.is_empty())?;
        Some(Self(match authority.port {
            None | Some(443) => host.into(),
            Some(port) => format!("{host}:{port}").into(),
        }))
    }

    /// Whether this name, denied, denies a host as well: itself, its sub-domains, and, where it names no port, any port of
    /// them. Whoever owns a name has as many of these as they like.
    pub fn denies(&self, host: &Self) -> bool {
        let (name, port) = self.parts();
        let (other, other_port) = host.parts();
        let is_within = other
            .strip_suffix(name)
            .is_some_and(|front| front.is_empty() || front.ends_with('.'));
        is_within && (port.is_none() || port == other_port)
    }

    /// The host itself, and every name that [denies](Self::denies) it when it is denied.
    pub fn with_names_above(&self) -> Vec<Self> {
        const MOST_LABELS: usize = 127;
        let (name, port) = self.parts();
        let mut names = vec![self.clone()];
        let mut rest = Some(name);
        while let Some(name) = rest.filter(|_| names.len() < 2 * MOST_LABELS) {
            for spelled in [port.map(|port| format!("{name}:{port}")), Some(name.to_owned())]
                .into_iter()
                .flatten()
            {
                let above = Self(spelled.into());
                if above != *self {
                    names.push(above);
                }
            }
            rest = name.split_once('.').map(|(_, above)| above);
        }
        names
    }

    /// The name and the port. An IPv6 address stands in brackets.
    fn parts(&self) -> (&str, Option<&str>) {
        match self.0.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (&self.0, None),
        }
    }

    /// The host as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for DomainName {
    type Err = InvalidDomainName;

    fn from_str(text: &str) -> Result<Self, InvalidDomainName> {
        Self::parse(text)
    }
}

/// Whose documents count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DomainTrust {
    /// Everybody's. A person decides on the consent page, where the host stands large.
    #[default]
    Open,
    /// Only those of these hosts; others are never asked.
    Only(BTreeSet<DomainName>),
    /// All but those of these hosts, their sub-domains, and any port of those that are named without one.
    AllBut(BTreeSet<DomainName>),
    /// Those of hosts that an administrator allowed. A host that nobody decided about is noted, and its clients wait.
    Ask,
}

/// What is decided about a host, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostTrust {
    /// The operator does not want it.
    Denied,
    /// An administrator has to decide first.
    Undecided,
    /// Nobody spoke against it: its documents count, and people are asked every time.
    Open,
    /// The operator named it: its documents count, and what people approved for its clients may be remembered.
    Trusted,
}

impl HostTrust {
    /// The same with what an administrator decided about the host. What the settings deny stays denied.
    #[must_use]
    pub const fn with(self, decision: Option<HostDecision>) -> Self {
        match (self, decision) {
            (Self::Denied, _) | (_, Some(HostDecision::Denied)) => Self::Denied,
            (_, Some(HostDecision::Allowed)) => Self::Trusted,
            (other, None) => other,
        }
    }
}

impl DomainTrust {
    /// What is decided about a host, before what an administrator decided host by host.
    pub fn of(&self, host: &DomainName) -> HostTrust {
        match self {
            Self::Open => HostTrust::Open,
            Self::Only(hosts) if hosts.contains(host) => HostTrust::Trusted,
            Self::AllBut(hosts) if !hosts.iter().any(|denied| denied.denies(host)) => HostTrust::Open,
            Self::Only(_) | Self::AllBut(_) => HostTrust::Denied,
            Self::Ask => HostTrust::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn host(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    #[test]
    fn a_host_is_a_name_with_or_without_a_port_and_nothing_more() {
        for (text, as_compared) in [
            ("app.example", "app.example"),
            ("APP.example:443", "app.example"),
            ("app.example:8443", "app.example:8443"),
            ("[::1]:8443", "[::1]:8443"),
            ("app.example.", "app.example"),
            ("app.example.:8443", "app.example:8443"),
        ] {
            assert_eq!(host(text).as_str(), as_compared);
        }
        for bad in [
            "",
            ".",
            "https://app.example",
            "app.example/x",
            "u@app.example",
            "*.example",
            "a b",
            "app.example:x",
            "app.example?",
        ] {
            assert_eq!(DomainName::parse(bad), Err(InvalidDomainName), "{bad}");
        }
    }

    /// M-177
    #[test]
    fn an_administrator_decides_where_the_settings_do_not_deny() {
        use HostTrust as Is;
        for (settings, decision, is) in [
            (Is::Open, None, Is::Open),
            (Is::Open, Some(HostDecision::Allowed), Is::Trusted),
            (Is::Open, Some(HostDecision::Denied), Is::Denied),
            (Is::Undecided, None, Is::Undecided),
            (Is::Undecided, Some(HostDecision::Allowed), Is::Trusted),
            (Is::Undecided, Some(HostDecision::Denied), Is::Denied),
            (Is::Trusted, None, Is::Trusted),
            (Is::Trusted, Some(HostDecision::Denied), Is::Denied),
            (Is::Denied, None, Is::Denied),
            (Is::Denied, Some(HostDecision::Allowed), Is::Denied),
        ] {
            assert_eq!(settings.with(decision), is, "{settings:?} {decision:?}");
        }
    }

    /// CM-18
    /// M-177
    #[test]
    fn a_sub_domain_or_a_longer_name_is_another_host() {
        let only = DomainTrust::Only([host("app.example")].into());
        assert_eq!(only.of(&host("app.example")), HostTrust::Trusted);
        for other in [
            "sub.app.example",
            "evil-app.example",
            "app.example.evil.example",
            "app.example:8443",
            "example",
        ] {
            assert_eq!(only.of(&host(other)), HostTrust::Denied, "{other}");
        }
        let all_but =
            DomainTrust::AllBut([host("evil.example"), host("[::1]"), host("b.example:8443")].into());
        for denied in [
            "evil.example",
            "a.b.evil.example",
            "evil.example:8443",
            "[::1]:8443",
            "b.example:8443",
        ] {
            assert_eq!(all_but.of(&host(denied)), HostTrust::Denied, "{denied}");
        }
        for (name, above) in [
            ("a.example", &["a.example", "example"][..]),
            (
                "b.a.example:8443",
                &[
                    "b.a.example:8443",
                    "b.a.example",
                    "a.example:8443",
                    "a.example",
                    "example:8443",
                    "example",
                ],
            ),
            ("[::1]:8443", &["[::1]:8443", "[::1]"]),
        ] {
            let names = host(name).with_names_above();
            assert_eq!(names.iter().map(DomainName::as_str).collect::<Vec<_>>(), above);
            assert!(names.iter().all(|one| one.denies(&host(name))), "{name}");
        }
        for open in ["not-evil.example", "evil.example.org", "b.example", "example"] {
            assert_eq!(all_but.of(&host(open)), HostTrust::Open, "{open}");
        }
        assert_eq!(all_but.of(&host("app.example")), HostTrust::Open);
        assert_eq!(DomainTrust::Open.of(&host("app.example")), HostTrust::Open);
        assert_eq!(DomainTrust::Ask.of(&host("app.example")), HostTrust::Undecided);
    }
}
