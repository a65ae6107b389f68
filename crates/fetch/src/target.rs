//! A URL, read strictly: what may be asked at all, whatever its host turns out to be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderValue, uri::PathAndQuery};
use mcp_authflow_types::uri::{Uri, is_loopback_host};
use rustls::pki_types::ServerName;

use crate::error::Refused;

/// The longest URL that is read; as long as a client identifier may be.
const MAX_URL_BYTES: usize = 2_048;
/// Below stand the ports of other protocols, some of which can be talked into something by what a client sends first.
const FIRST_FREE_PORT: u16 = 1_024;

/// Where a request goes and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// The host as it goes into the `Host` header: lower case, with the port where it is not the usual one.
    pub(crate) authority: HeaderValue,
    pub(crate) path_and_query: PathAndQuery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// For hosts spelled as this computer, where the policy lets them.
    Http,
    Https,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

impl Target {
    /// Reads a URL. Whether its host may be asked is the policy's to say.
    pub(crate) fn parse(url: &str) -> Result<Self, Refused> {
        if url.len() > MAX_URL_BYTES {
            return Err(Refused::Malformed);
        }
        let uri = Uri::parse(url).ok_or(Refused::Malformed)?;
        let scheme = match uri.scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(Refused::NotHttps),
        };
        let authority = uri.authority.ok_or(Refused::Malformed)?;
        if uri.fragment.is_some() || has_dot_segment(uri.path) {
            return Err(Refused::Malformed);
        }
        let host = Host::parse(authority.host)?;
        let usual_port = scheme.usual_port();
        let port = authority.port.unwrap_or(usual_port);
        if port != usual_port && port < FIRST_FREE_PORT {
            return Err(Refused::Port(port));
        }
        let mut host_header = authority.host.to_ascii_lowercase();
        if port != usual_port {
            host_header = format!("{host_header}:{port}");
        }
        let path = if uri.path.is_empty() { "/" } else { uri.path };
        let path_and_query = match uri.query {
            None => path.to_owned(),
            Some(query) => format!("{path}?{query}"),
        };
        Ok(Self {
            scheme,
            host,
            port,
            authority: HeaderValue::try_from(host_header).map_err(|_| Refused::Malformed)?,
            path_and_query: PathAndQuery::try_from(path_and_query).map_err(|_| Refused::Malformed)?,
        })
    }

    /// The name that the other side has to show a certificate for.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, Refused> {
        match &self.host {
            Host::Address(address) => Ok(ServerName::from(*address)),
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Refused::Host),
        }
    }
}

impl Scheme {
    fn usual_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, Refused> {
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = inside.parse().map_err(|_| Refused::Host)?;
            return Ok(Self::Address(address.into()));
        }
        // The C library, and so the resolver, reads `127.1`, `0x7f000001` and `017700000001` as addresses. Whatever ends
        // in a number is one, in the one usual spelling, or nothing.
        if ends_in_a_number(text) {
            let address: Ipv4Addr = text.parse().map_err(|_| Refused::Host)?;
            return Ok(Self::Address(address.into()));
        }
        let name = text.to_ascii_lowercase();
        match ServerName::try_from(name.as_str()) {
            // A dot at the end is a second spelling of the same name.
            Ok(ServerName::DnsName(_)) if !name.ends_with('.') => Ok(Self::Name(name)),
            _ => Err(Refused::Host),
        }
    }

    /// Whether it is one of the three spellings of this computer.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Address(IpAddr::V4(address)) => *address == Ipv4Addr::LOCALHOST,
            Self::Address(IpAddr::V6(address)) => *address == Ipv6Addr::LOCALHOST,
            Self::Name(name) => is_loopback_host(name),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// As browsers decide it (WHATWG URL, "ends in a number"): the last label is a decimal, octal or hexadecimal number.
fn ends_in_a_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host).to_ascii_lowercase();
    let is_hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    last.bytes().all(|byte| byte.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hexadecimal)
}

/// `.` and `..` as segments, plain or escaped: a server that resolves them gives one document two URLs.
fn has_dot_segment(path: &str) -> bool {
    path.split('/')
        .map(|segment| segment.to_ascii_lowercase().replace("%2e", "."))
        .any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_url_is_split_into_where_and_what() {
        let target = Target::parse("HTTPS://Client.Example:8443/Keys.json?v=1").unwrap();
        assert_eq!(
            target,
            Target {
                scheme: Scheme::Https,
                host: Host::Name("client.example".to_owned()),
                port: 8_443,
                authority: HeaderValue::from_static("client.example:8443"),
                path_and_query: PathAndQuery::from_static("/Keys.json?v=1"),
            }
        );
        let target = Target::parse("https://client.example:443").unwrap();
        assert_eq!(
            (target.port, &target.authority, target.path_and_query.as_str()),
            (443, &HeaderValue::from_static("client.example"), "/")
        );
        let target = Target::parse("https://[2606:4700::1]/").unwrap();
        assert_eq!(target.host, Host::Address("2606:4700::1".parse().unwrap()));
        assert_eq!(target.authority, "[2606:4700::1]");
    }

    /// SF-01, CM-05
    #[rustfmt::skip]
    #[test]
    fn what_is_not_a_plain_https_url_is_refused() {
        let long = format!("https://c.test/{}", "x".repeat(MAX_URL_BYTES));
        for (bad, why) in [
            ("ftp://c.test/x", Refused::NotHttps), ("file:///etc/passwd", Refused::NotHttps),
            ("gopher://c.test/x", Refused::NotHttps), ("data:application/json,{}", Refused::Malformed),
            ("unix:/run/x.sock", Refused::NotHttps), ("wss://c.test/x", Refused::NotHttps),
            ("https:c.test", Refused::Malformed), ("//c.test/x", Refused::Malformed), ("", Refused::Malformed),
            ("https://user:pw@c.test/x", Refused::Malformed), ("https://c.test@10.0.0.5/", Refused::Malformed),
            ("https://c.test/x#f", Refused::Malformed), ("https://c.test/#", Refused::Malformed),
            ("https://c.test/a/../x", Refused::Malformed), ("https://c.test/./x", Refused::Malformed),
            ("https://c.test/%2e%2E/x", Refused::Malformed), ("https://c.test/.%2e", Refused::Malformed),
            ("https://c.test/a b", Refused::Malformed), ("https://c.test/\tx", Refused::Malformed),
            ("https://c.test/x\r\nHost: y", Refused::Malformed), ("https://c.test\\@d.test/", Refused::Malformed),
            ("https://c.test/ü", Refused::Malformed), ("https://ｃ.test/", Refused::Malformed),
            ("https://c%2etest/", Refused::Malformed), ("https:///x", Refused::Host),
            ("https://c.test:0/", Refused::Malformed), ("https://c.test:65536/", Refused::Malformed),
            ("https://c.test:22/", Refused::Port(22)), ("https://c.test:80/", Refused::Port(80)),
            ("https://c.test:1023/", Refused::Port(1_023)), ("https://c.test./", Refused::Host),
            ("https://-c.test/", Refused::Host), ("https://c..test/", Refused::Host), ("https://.test/", Refused::Host),
            (long.as_str(), Refused::Malformed),
        ] {
            assert_eq!(Target::parse(bad), Err(why), "{bad}");
        }
    }

    /// SF-05 and every other way of writing an address as a number.
    #[rustfmt::skip]
    #[test]
    fn an_address_has_one_spelling() {
        for bad in [
            "2130706433", "0x7f000001", "0X7F000001", "017700000001", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1",
            "127.0.0.01", "127.0.0.1.", "127.0.0.0x1", "8.8.8", "134744072", "256.0.0.1", "1.2.3.4.5", "c.test.1",
            "c.test.0x7f", "0", "0x", "00.0.0.0", "127.000.000.001", "4294967296", "1.", "a.09",
        ] {
            assert_eq!(Target::parse(&format!("https://{bad}/x")), Err(Refused::Host), "{bad}");
        }
        for number in ["1", "0x", "0x7F", "a.0XFF", "a.7.", "127.1"] {
            assert!(ends_in_a_number(number), "{number}");
        }
        for name in ["a", "1a", "0xg", "1.a", "x.0x.b", "xn--0"] {
            assert!(!ends_in_a_number(name), "{name}");
        }
        for bad in ["[::1%25eth0]", "[fe80::1%eth0]", "[127.0.0.1]", "[::1", "::1", "[]", "[v1.x]", "[::g]"] {
            let error = Target::parse(&format!("https://{bad}/x"));
            assert!(matches!(error, Err(Refused::Malformed | Refused::Host)), "{bad}: {error:?}");
        }
        for (good, address) in [
            ("127.0.0.1", "127.0.0.1"), ("[::ffff:7f00:1]", "::ffff:127.0.0.1"), ("[0:0:0:0:0:0:0:1]", "::1"),
            ("[::FFFF:127.0.0.1]", "::ffff:127.0.0.1"), ("0.0.0.0", "0.0.0.0"),
        ] {
            let target = Target::parse(&format!("https://{good}/x")).unwrap();
            assert_eq!(target.host, Host::Address(address.parse().unwrap()), "{good}");
        }
    }
}
