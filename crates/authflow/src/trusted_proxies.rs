//! Proxies in front: only the named ones are believed when they say whom they speak for.

use std::net::{IpAddr, SocketAddr};

/// The header in which the proxies in front write down whom they speak for.
///
/// # Security
/// Name the one that your proxies write. One that they pass on unread is the caller's own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`: addresses with commas between.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): the `for` of each element.
    Forwarded,
}

impl ForwardingHeader {
    /// The header's name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// The elements of one value; none of one in which a quote is left open, since nobody can say who wrote what of it.
    fn elements(self, value: &str) -> Vec<&str> {
        match self {
            Self::XForwardedFor => value.split(',').collect(),
            Self::Forwarded => split_outside_quotes(value, ',').unwrap_or_else(|| vec![""]),
        }
    }

    /// The address that one element of the header names. A name, an obfuscated one included, is nobody's address.
    fn address(self, element: &str) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => node_address(element.trim()),
            Self::Forwarded => split_outside_quotes(element, ';')?
                .into_iter()
                .filter_map(|pair| pair.trim().split_once('='))
                .find(|(name, _)| name.eq_ignore_ascii_case("for"))
                .and_then(|(_, node)| node_address(node.trim_matches('"'))),
        }
    }
}

/// Splits at a separator that is not part of a quoted string (RFC 9110 §5.6.4); `None` when a quote is left open.
///
/// # Security
/// Proxies write down the `Host` that a caller sent, and `x,for=192.0.2.1` is one.
fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text
        .split(|c| {
            let was_escaped = is_escaped;
            is_escaped = is_quoted && !was_escaped && c == '\\';
            is_quoted ^= c == '"' && !was_escaped;
            c == separator && !is_quoted
        })
        .collect();
    (!is_quoted).then_some(parts)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`
fn node_address(node: &str) -> Option<IpAddr> {
    let bare = node
        .strip_prefix('[')
        .and_then(|node| node.strip_suffix(']'))
        .unwrap_or(node);
    bare.parse()
        .ok()
        .or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// The networks of proxies that are believed.
///
/// ```
/// use mcp_authflow::{ForwardingHeader, TrustedProxies};
///
/// let proxies = TrustedProxies::parse("127.0.0.1, 10.0.0.0/8")?;
/// let client = |peer: &str, said| {
///     proxies.client(peer.parse().unwrap(), ForwardingHeader::XForwardedFor, [said]).to_string()
/// };
/// // Read from the right: what stands to the left of the last stranger is that stranger's own claim.
/// assert_eq!(client("10.0.0.7", "198.51.100.1, 203.0.113.9, 10.0.0.8"), "203.0.113.9");
/// assert_eq!(client("192.0.2.1", "198.51.100.1"), "192.0.2.1");
/// # Ok::<(), mcp_authflow::InvalidProxies>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<(IpAddr, u8)>);

/// The text does not list addresses and networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write addresses or networks, such as 127.0.0.1, 10.0.0.0/8")]
pub struct InvalidProxies;

impl TrustedProxies {
    /// Reads addresses and networks with commas between: `127.0.0.1, 10.0.0.0/8, fd00::/8`. The empty text names none.
    ///
    /// # Errors
    /// [`InvalidProxies`]
    pub fn parse(text: &str) -> Result<Self, InvalidProxies> {
        text.split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(|one| {
                let (address, bits) = one.split_once('/').map_or((one, None), |(a, b)| (a, Some(b)));
                let address: IpAddr = address.parse().ok()?;
                let longest = if address.is_ipv4() { 32 } else { 128 };
                let bits = bits.map_or(Some(longest), |bits| bits.parse().ok())?;
                (bits <= longest).then_some((address, bits))
            })
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(InvalidProxies)
    }

    /// Whether no proxy is named.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is one of theirs.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|(network, bits)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        })
    }

    /// Whom a request comes from: the nearest address that is not a trusted proxy's, read from the right, since
    /// everything to the left of it is that address's own claim. `values` are those of the header, in order.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        header: ForwardingHeader,
        values: impl IntoIterator<Item = &'a str>,
    ) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        let mut client = peer;
        let hops: Vec<&str> = values
            .into_iter()
            .flat_map(|value| header.elements(value))
            .collect();
        for hop in hops.into_iter().rev() {
            let Some(address) = header.address(hop) else {
                break;
            };
            client = address;
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn client(header: ForwardingHeader, peer: &str, forwarded: &[&str]) -> String {
        TrustedProxies::parse("10.0.0.0/8, ::1")
            .unwrap()
            .client(peer.parse().unwrap(), header, forwarded.iter().copied())
            .to_string()
    }

    /// P10
    /// S-149
    #[test]
    fn an_address_header_counts_only_from_a_named_proxy_and_only_its_last_stranger() {
        let client = |peer, forwarded: &[&str]| client(ForwardingHeader::XForwardedFor, peer, forwarded);
        assert_eq!(client("192.0.2.9", &["203.0.113.1"]), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &["203.0.113.1"]), "203.0.113.1");
        assert_eq!(
            client("10.0.0.1", &["198.51.100.7, 203.0.113.1, 10.2.3.4"]),
            "203.0.113.1"
        );
        assert_eq!(
            client("10.0.0.1", &["198.51.100.7", "203.0.113.1"]),
            "203.0.113.1"
        );
        assert_eq!(client("::1", &["nonsense, 203.0.113.1"]), "203.0.113.1");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.1:4711"]), "203.0.113.1");
        assert_eq!(client("::1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        for bad in ["x", "10.0.0.0/33", "10.0.0.0/", "::/129"] {
            assert_eq!(TrustedProxies::parse(bad), Err(InvalidProxies), "{bad}");
        }
        assert!(TrustedProxies::parse("").unwrap().is_empty());
    }

    /// RFC 7239 §4
    #[test]
    fn the_standard_header_is_read_likewise() {
        let client = |forwarded| client(ForwardingHeader::Forwarded, "10.0.0.1", &[forwarded]);
        assert_eq!(client("for=203.0.113.1;proto=https"), "203.0.113.1");
        assert_eq!(
            client("for=198.51.100.7, proto=http; For=\"[2001:db8::7]:80\""),
            "2001:db8::7"
        );
        assert_eq!(client("for=203.0.113.1, for=10.0.0.3"), "203.0.113.1");
        assert_eq!(client("for=198.51.100.7, for=_hidden"), "10.0.0.1");
        assert_eq!(client("by=203.0.113.1"), "10.0.0.1");
    }

    /// RFC 7239 §4: a value may be a quoted string. The caller chooses what proxies write down as `host`.
    #[test]
    fn commas_and_semicolons_in_quotes_separate_nothing() {
        let client = |forwarded| client(ForwardingHeader::Forwarded, "10.0.0.1", &[forwarded]);
        for honest in [
            r#"for=203.0.113.1;host="x,for=198.51.100.7""#,
            r#"host="x;for=198.51.100.7";for=203.0.113.1"#,
            r#"host="x\\";for=203.0.113.1"#,
            r#"for=198.51.100.7;host="a\"b", for=203.0.113.1;host="c\",for=198.51.100.7""#,
            r#" proto=https ; For="203.0.113.1" "#,
        ] {
            assert_eq!(client(honest), "203.0.113.1", "{honest}");
        }
        // A quote that a caller leaves open in front of what the proxy writes: nobody can say what is whose.
        for open in [
            r#"for="198.51.100.7, for=203.0.113.1"#,
            r#"for="x, for=203.0.113.1;host="x,for=198.51.100.7""#,
            r#"for="x\", for=203.0.113.1;host="y,for=198.51.100.7""#,
        ] {
            assert_eq!(client(open), "10.0.0.1", "{open}");
        }
    }
}
