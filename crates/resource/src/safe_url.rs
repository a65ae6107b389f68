//! May this server call that address? A guard for addresses that an operator wrote down: a slip of the pen, or a
//! configuration that somebody else could touch, must not send tokens and secrets to where they do not belong.
//!
//! Two questions, and both must be asked: is the address *written* so that it may be called ([`UrlRules::check`]), and does
//! its name *lead* to where it may ([`SafeUrl::addresses`], [`SafeUrl::resolver`])? The second is asked about the very
//! addresses that are dialled, so that a name cannot have one address for the check and another for the call.
//!
//! ```
//! use mcp_authflow_resource::safe_url::{UrlRules, is_safe_url};
//!
//! assert!(is_safe_url("https://auth.example/introspect", false));
//! assert!(is_safe_url("http://auth.default.svc.cluster.local:8000/introspect", false));
//! assert!(is_safe_url("http://127.0.0.1:8000/introspect", true));
//! for bad in [
//!     "http://auth.example/introspect",      // tokens in clear text through the internet
//!     "https://169.254.169.254/",            // where clouds keep credentials
//!     "https://2130706433/",                 // 127.0.0.1 in disguise, as are the next two
//!     "https://127.1/",
//!     "https://①②⑦.0.0.1/",
//!     "https://auth.example@evil.example/",  // not the host that it seems to be
//! ] {
//!     assert!(!is_safe_url(bad, true), "{bad}");
//! }
//!
//! // A program connects to what was checked, and to nothing else:
//! use hyper_util::client::legacy::connect::HttpConnector;
//! let url = UrlRules::new().check("https://auth.example/introspect")?;
//! let connector = HttpConnector::new_with_resolver(url.resolver());
//! # Ok::<(), mcp_authflow_resource::safe_url::UnsafeUrl>(())
//! ```
//!
//! # Security
//! For URLs that strangers choose use `mcp_authflow_fetch`, which trusts nothing. Follow no redirects: each is a new
//! address. The classes of addresses are those of [`mcp_authflow_types::special_use`] in both.

mod resolve;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcp_authflow_types::{
    special_use::{SpecialUse, special_use},
    uri::parse_port,
};

use self::resolve::Reach;
pub use self::resolve::{CheckedResolver, UnsafeAddress};

/// The longest host name (RFC 1035 §2.3.4), and the longest part of one.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Whether an address is written so that it may be called, by [`UrlRules::new`]; `allow_localhost` says whether this computer
/// is among what may be. No name is looked up: see [`SafeUrl::addresses`].
pub fn is_safe_url(url: &str, allow_localhost: bool) -> bool {
    let rules = UrlRules::new();
    let rules = if allow_localhost {
        rules
    } else {
        rules.without_localhost()
    };
    rules.check(url).is_ok()
}

/// Which addresses may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "nothing is checked before `check`"]
pub struct UrlRules {
    localhost: bool,
    public_addresses: bool,
    private_addresses: bool,
}

/// An address that may be called, in the one form in which every client reads it the same way.
#[derive(Clone, Debug)]
pub struct SafeUrl {
    url: String,
    host: Host,
    port: u16,
    reach: Reach,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// Lower case, ASCII.
    Name(String),
}

/// Why an address may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsafeUrl {
    /// No absolute URL that every program reads the same way.
    #[error("it is not an absolute URL such as https://auth.example/introspect")]
    Malformed,
    /// Another scheme than http and https.
    #[error("it is neither https nor http")]
    Scheme,
    /// User information before the host.
    #[error("it has user information, which makes one host look like another; leave it out")]
    UserInformation,
    /// The host is no name and no address.
    #[error("its host is neither a name nor an address")]
    Host,
    /// An address, or this computer, in an unusual spelling: `127.1`, `2130706433`, `0x7f.1`, full-width digits.
    #[error("its host is an address in disguise; write it in the usual way")]
    Disguised,
    /// This computer, where that is not allowed.
    #[error("it leads to this computer, which is not allowed here")]
    Localhost,
    /// A literal address of the public internet, where only names are allowed, or over plain http.
    #[error("{0} is an address and no name; use the name, which a certificate is for")]
    Literal(IpAddr),
    /// A literal address that is never called.
    #[error("{0} is a special-use address ({1:?})")]
    SpecialUse(IpAddr, SpecialUse),
    /// Plain http beyond this computer, service names of the same network and `.cluster.local`.
    #[error("it is plain http to another network; use https")]
    PlainHttp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Default for UrlRules {
    fn default() -> Self {
        Self::new()
    }
}

impl UrlRules {
    /// The rules of the Python package: names over https; over plain http this computer (`localhost`, loopback
    /// addresses), service names without a dot such as `auth-server`, and names under `.cluster.local`. No other literal
    /// address.
    pub const fn new() -> Self {
        Self {
            localhost: true,
            public_addresses: false,
            private_addresses: false,
        }
    }

    /// Refuses this computer.
    pub const fn without_localhost(mut self) -> Self {
        self.localhost = false;
        self
    }

    /// Allows literal addresses of the public internet over https, `https://8.8.8.8/`. Special-use ones stay refused.
    pub const fn with_public_addresses(mut self) -> Self {
        self.public_addresses = true;
        self
    }

    /// Lets names over https lead to private networks (RFC 1918, RFC 6598, RFC 4193): for an authorization server that is
    /// inside. Default: only service names and `.cluster.local` over http lead there.
    pub const fn with_private_addresses(mut self) -> Self {
        self.private_addresses = true;
        self
    }

    /// Reads an address and says whether it is written as one that may be called.
    ///
    /// White space around it and tabs and line breaks in it do not count, as in browsers (WHATWG URL).
    ///
    /// # Errors
    /// [`UnsafeUrl`]
    pub fn check(self, url: &str) -> Result<SafeUrl, UnsafeUrl> {
        let text: String = url
            .trim_matches(|c: char| c <= ' ')
            .chars()
            .filter(|c| !matches!(c, '\t' | '\n' | '\r'))
            .collect();
        let (scheme, rest) = text.split_once(':').ok_or(UnsafeUrl::Malformed)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(UnsafeUrl::Scheme),
        };
        let rest = rest.strip_prefix("//").ok_or(UnsafeUrl::Malformed)?;
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        if authority.contains('@') {
            return Err(UnsafeUrl::UserInformation);
        }
        let (host, port) = split_port(authority)?;
        let port = match (port, scheme) {
            (Some(port), _) => port,
            (None, Scheme::Http) => 80,
            (None, Scheme::Https) => 443,
        };
        let (host, reach) = self.judge(scheme, host)?;
        let url = url::Url::parse(&text).map_err(|_| UnsafeUrl::Malformed)?;
        Ok(SafeUrl {
            url: url.into(),
            host,
            port,
            reach,
        })
    }

    fn judge(self, scheme: Scheme, host: &str) -> Result<(Host, Reach), UnsafeUrl> {
        match Host::parse(host)? {
            Host::Address(address) => Ok((Host::Address(address), self.judge_address(scheme, address)?)),
            Host::Name(name) => {
                let reach = self.judge_name(scheme, &name)?;
                Ok((Host::Name(name), reach))
            }
        }
    }

    fn judge_address(self, scheme: Scheme, address: IpAddr) -> Result<Reach, UnsafeUrl> {
        match special_use(address) {
            Some(SpecialUse::Loopback) if self.localhost => Ok(Reach::THIS_COMPUTER),
            Some(SpecialUse::Loopback) => Err(UnsafeUrl::Localhost),
            Some(what) => Err(UnsafeUrl::SpecialUse(address, what)),
            None if self.public_addresses && scheme == Scheme::Https => Ok(Reach::INTERNET),
            None => Err(UnsafeUrl::Literal(address)),
        }
    }

    fn judge_name(self, scheme: Scheme, name: &str) -> Result<Reach, UnsafeUrl> {
        // RFC 6761 §6.3; and a dot at the end is a second spelling of the same name.
        let bare = name.strip_suffix('.').unwrap_or(name);
        let is_localhost = bare == "localhost" || bare.ends_with(".localhost");
        match scheme {
            _ if is_localhost && !self.localhost => Err(UnsafeUrl::Localhost),
            Scheme::Https if is_localhost => Ok(Reach::THIS_COMPUTER),
            Scheme::Https if self.private_addresses => Ok(Reach::INTERNET.and_private_networks()),
            Scheme::Https => Ok(Reach::INTERNET),
            Scheme::Http if name == "localhost" => Ok(Reach::THIS_COMPUTER),
            Scheme::Http if is_service_name(name) || name.ends_with(".cluster.local") => {
                let inside = Reach::NOWHERE.and_private_networks();
                Ok(if self.localhost {
                    inside.and_this_computer()
                } else {
                    inside
                })
            }
            Scheme::Http => Err(UnsafeUrl::PlainHttp),
        }
    }
}

impl SafeUrl {
    /// The address, as every client reads it: hosts of other scripts in ASCII, a path after the host.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The host: a name in lower-case ASCII, or an address without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// The port, 443 or 80 when none is written.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Host {
    /// Reads a host as browsers do (WHATWG URL §3.5: percent-encoding, IDNA, numbers), and refuses every address that is not
    /// written in the one usual way.
    fn parse(text: &str) -> Result<Self, UnsafeUrl> {
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = inside.parse().map_err(|_| UnsafeUrl::Host)?;
            // Mapped IPv4 is what the connection is made to (RFC 4291 §2.5.5.2); it is judged as that.
            return Ok(Self::Address(match address.to_ipv4_mapped() {
                Some(address) => address.into(),
                None => address.into(),
            }));
        }
        if text.contains('%') {
            return Err(UnsafeUrl::Disguised);
        }
        match url::Host::parse(text).map_err(|_| UnsafeUrl::Host)? {
            url::Host::Ipv6(_) => Err(UnsafeUrl::Host),
            url::Host::Ipv4(address) if text.parse::<Ipv4Addr>() == Ok(address) => {
                Ok(Self::Address(address.into()))
            }
            url::Host::Ipv4(_) => Err(UnsafeUrl::Disguised),
            url::Host::Domain(name) if !is_name(&name) => Err(UnsafeUrl::Host),
            url::Host::Domain(name) => {
                let is_special =
                    name.contains("localhost") || name.ends_with(".cluster.local") || !name.contains('.');
                if is_special && !text.is_ascii() {
                    return Err(UnsafeUrl::Disguised);
                }
                Ok(Self::Name(name))
            }
        }
    }
}

/// Host and port as written.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), UnsafeUrl> {
    let end = if authority.starts_with('[') {
        authority.find(']').ok_or(UnsafeUrl::Host)? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    match port.strip_prefix(':') {
        _ if host.is_empty() => Err(UnsafeUrl::Host),
        None if port.is_empty() => Ok((host, None)),
        None => Err(UnsafeUrl::Host),
        Some(digits) => Ok((host, Some(parse_port(digits).ok_or(UnsafeUrl::Malformed)?))),
    }
}

/// A name as the DNS has them, underscores included, with or without the dot at its end.
fn is_name(name: &str) -> bool {
    let bare = name.strip_suffix('.').unwrap_or(name);
    bare.len() <= MAX_NAME
        && bare.split('.').all(|label| {
            (1..=MAX_LABEL).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
        })
}

/// `auth`, `auth-server-2`: a name within the network of containers.
fn is_service_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split('-').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn check(url: &str) -> Result<String, UnsafeUrl> {
        UrlRules::new().check(url).map(|url| url.url)
    }

    /// S-208, S-212, S-213, S-214, S-216
    #[test]
    fn names_over_https_and_names_of_the_same_network_over_http_are_safe() {
        for (url, read) in [
            ("https://auth.example", "https://auth.example/"),
            (
                "HTTPS://Auth.Example:8443/x?y#z",
                "https://auth.example:8443/x?y#z",
            ),
            ("https://as", "https://as/"),
            ("https://as_x.example/", "https://as_x.example/"),
            ("https://as.example./", "https://as.example./"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
            (" \u{1}https://as.exa\tmple/\n", "https://as.example/"),
            (
                "http://localhost:8000/introspect",
                "http://localhost:8000/introspect",
            ),
            ("http://auth-server-2", "http://auth-server-2/"),
            ("http://MCP-AUTH/", "http://mcp-auth/"),
            (
                "http://a.b.svc.cluster.local:80/x",
                "http://a.b.svc.cluster.local/x",
            ),
            ("http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
        ] {
            assert_eq!(check(url).as_deref(), Ok(read), "{url}");
        }
    }

    /// S-209, S-213, S-214, S-215, S-216, SF-01
    #[rustfmt::skip]
    #[test]
    fn what_is_not_written_as_an_address_to_call_is_refused() {
        let long = format!("http://{}/", "a".repeat(64));
        for (url, why) in [
            ("", UnsafeUrl::Malformed), ("as.example", UnsafeUrl::Malformed), ("//as.example/", UnsafeUrl::Malformed),
            ("https:as.example", UnsafeUrl::Malformed), ("https:/as.example", UnsafeUrl::Malformed),
            ("ftp://as.example/", UnsafeUrl::Scheme), ("file:///etc/passwd", UnsafeUrl::Scheme),
            ("data:text/plain,x", UnsafeUrl::Scheme), ("unix:/run/x", UnsafeUrl::Scheme),
            ("https://", UnsafeUrl::Host), ("https:///x", UnsafeUrl::Host), ("https://?x", UnsafeUrl::Host),
            ("https://:443/", UnsafeUrl::Host), ("https://a..b/", UnsafeUrl::Host), ("https://*/", UnsafeUrl::Host),
            ("https://a b/", UnsafeUrl::Host), ("https://as.example\\@evil.example/", UnsafeUrl::UserInformation),
            ("https://as.example\\.evil.example/", UnsafeUrl::Host),
            ("https://u:p@as.example/", UnsafeUrl::UserInformation), ("https://@as.example/", UnsafeUrl::UserInformation),
            ("https://as.example:0/", UnsafeUrl::Malformed), ("https://as.example:99999/", UnsafeUrl::Malformed),
            ("https://as.example:x/", UnsafeUrl::Malformed), ("https://as.example:/", UnsafeUrl::Malformed),
            ("http://[::1", UnsafeUrl::Host), ("http://[::1]x/", UnsafeUrl::Host), ("http://::1/", UnsafeUrl::Host),
            ("http://[127.0.0.1]/", UnsafeUrl::Host), ("https://[localhost]/", UnsafeUrl::Host),
            ("http://[fe80::1%25eth0]/", UnsafeUrl::Host), ("https://as%2eexample/", UnsafeUrl::Disguised),
            ("http://as.example/", UnsafeUrl::PlainHttp), ("http://1auth/", UnsafeUrl::PlainHttp),
            ("http://mcp--auth/", UnsafeUrl::PlainHttp), ("http://auth-/", UnsafeUrl::PlainHttp),
            ("http://cluster.local/", UnsafeUrl::PlainHttp), ("http://evilcluster.local/", UnsafeUrl::PlainHttp),
            ("http://a.cluster.local./", UnsafeUrl::PlainHttp), ("http://a.cluster.local.evil.example/", UnsafeUrl::PlainHttp),
            ("http://.cluster.local/", UnsafeUrl::Host), ("http://localhost./", UnsafeUrl::PlainHttp),
            ("http://127.0.0.1.nip.io/", UnsafeUrl::PlainHttp), (&long, UnsafeUrl::Host),
        ] {
            assert_eq!(check(url), Err(why), "{url}");
        }
    }

    /// S-210, S-211
    #[test]
    fn this_computer_is_safe_only_where_it_is_allowed() {
        for url in [
            "http://localhost/",
            "https://localhost:8443/",
            "https://localhost./",
            "https://a.localhost/",
            "http://127.0.0.1:1/",
            "https://127.8.9.10/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(is_safe_url(url, true), "{url}");
            assert_eq!(
                UrlRules::new().without_localhost().check(url).unwrap_err(),
                UnsafeUrl::Localhost,
                "{url}"
            );
        }
    }

    /// S-217, SF-05
    #[rustfmt::skip]
    #[test]
    fn an_address_in_disguise_is_refused_over_both_schemes() {
        for host in [
            "127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F.1", "0177.0.0.1", "017700000001", "0", "127.0.0.1.",
            "127.0.0.01", "①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1", "ｌocalhost", "localhost。", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "8.8", "１.1.1.1",
            "%31%32%37.0.0.1", "127.0.0.1%2e", "ａuth", "x.cluster.loca\u{ff4c}",
        ] {
            for scheme in ["http", "https"] {
                assert_eq!(check(&format!("{scheme}://{host}/")), Err(UnsafeUrl::Disguised), "{scheme}://{host}");
            }
        }
        for host in ["0x7f.0.0.256", "127.0.0.1.1", "256.1", "a.1", "as.example.0x7f"] {
            assert_eq!(check(&format!("https://{host}/")), Err(UnsafeUrl::Host), "{host}");
        }
    }

    /// S-210, SF-03, SF-04, SF-05: special-use addresses, plain, mapped and translated.
    #[rustfmt::skip]
    #[test]
    fn no_literal_address_is_safe_unless_it_is_public_and_that_is_asked_for() {
        let all = UrlRules::new().with_public_addresses().with_private_addresses();
        for host in [
            "10.0.0.5", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "169.254.170.2", "100.100.100.200",
            "168.63.129.16", "192.0.2.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "0.0.0.0",
            "[::]", "[fc00::1]", "[fe80::1]", "[ff02::1]", "[fd00:ec2::254]", "[2001:db8::1]", "[100::1]",
            "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::169.254.169.254]", "[64:ff9b:1::a9fe:a9fe]",
            "[2002:7f00:1::]", "[2001:0:a9fe:a9fe::1]", "[::169.254.169.254]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
        ] {
            for scheme in ["http", "https"] {
                let error = all.check(&format!("{scheme}://{host}/")).unwrap_err();
                assert!(matches!(error, UnsafeUrl::SpecialUse(..)), "{host}: {error}");
            }
        }
        for host in ["8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]"] {
            let url = format!("https://{host}/");
            assert!(matches!(check(&url), Err(UnsafeUrl::Literal(_))), "{host}");
            assert!(all.check(&url).is_ok(), "{host}");
            assert!(matches!(all.check(&format!("http://{host}/")), Err(UnsafeUrl::Literal(_))), "{host}");
        }
    }

    proptest::proptest! {
        /// Two readers read the same: what was let through is let through again as it is printed, to the same place, and
        /// is what the library of the WHATWG's rules makes of it.
        #[test]
        fn what_is_safe_is_read_the_same_way_again(
            scheme in "(https?|HTTPS?|ht\ttp)",
            host in "([a-z0-9.%@\\\\\\[\\]:xX_①１。ｌ\u{ad}-]{1,14}|localhost|127\\.[0-9.]{1,8}|[a-z]{1,5}\\.cluster\\.local)",
            rest in "(:[0-9]{1,5})?([/?#][ -~\\\\é]{0,12})?",
        ) {
            let rules = UrlRules::new().with_public_addresses();
            if let Ok(safe) = rules.check(&format!("{scheme}://{host}{rest}")) {
                let again = rules.check(safe.as_str()).unwrap();
                proptest::prop_assert_eq!(again.as_str(), safe.as_str());
                proptest::prop_assert_eq!((again.host(), again.port()), (safe.host(), safe.port()));
                let read = url::Url::parse(safe.as_str()).unwrap();
                proptest::prop_assert_eq!(read.port_or_known_default(), Some(safe.port()));
                proptest::prop_assert_eq!((read.username(), read.password()), ("", None));
                match read.host().unwrap() {
                    url::Host::Domain(name) => proptest::prop_assert_eq!(name, safe.host()),
                    url::Host::Ipv4(address) => proptest::prop_assert_eq!(address.to_string(), safe.host()),
                    url::Host::Ipv6(address) => {
                        let address = address.to_canonical();
                        proptest::prop_assert_eq!(address.to_string(), safe.host());
                    }
                }
            }
        }
    }
}
