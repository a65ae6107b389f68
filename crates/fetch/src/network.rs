//! A network: an address and the length of its prefix.

use std::{fmt, net::IpAddr, str::FromStr};

/// A network, such as `10.0.0.0/8`, or a single address.
///
/// ```
/// use mcp_authflow_fetch::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(!network.contains("11.0.0.0".parse()?));
/// assert!("10.1.2.3/8".parse::<Network>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    prefix: u32,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no network: write its first address and the length of its prefix, as in 10.0.0.0/8 or fd00::/8"
)]
pub struct InvalidNetwork(String);

impl Network {
    /// Whether the address is in it. IPv4 addresses inside IPv6 addresses are not looked for.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address).1 == bits(self.first).1 && self.head(address) == self.head(self.first)
    }

    /// Whether it holds one address only.
    pub fn is_single_address(&self) -> bool {
        self.prefix == bits(self.first).1
    }

    /// The part of the address that all of the network share.
    fn head(&self, address: IpAddr) -> u128 {
        let (bits, width) = bits(address);
        bits.checked_shr(width - self.prefix).unwrap_or(0)
    }
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let read = || {
            let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
            let first: IpAddr = address.parse().ok()?;
            let (address, width) = bits(first);
            let prefix = match prefix {
                None => width,
                Some(digits) => digits
                    .parse()
                    .ok()
                    .filter(|prefix| *prefix <= width && digits.bytes().all(|byte| byte.is_ascii_digit()))?,
            };
            // A set bit beyond the prefix is a slip of the pen: which of the two was meant cannot be known.
            let beyond = 1u128.checked_shl(width - prefix).map_or(u128::MAX, |bit| bit - 1);
            (address & beyond == 0).then_some(Self { first, prefix })
        };
        read().ok_or_else(|| InvalidNetwork(text.to_owned()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_network_holds_its_first_and_last_address_and_not_their_neighbours() {
        for (network, first, last, before, after) in [
            (
                "10.0.0.0/8",
                "10.0.0.0",
                "10.255.255.255",
                "9.255.255.255",
                "11.0.0.0",
            ),
            (
                "192.168.7.0/25",
                "192.168.7.0",
                "192.168.7.127",
                "192.168.6.255",
                "192.168.7.128",
            ),
            ("10.0.0.5", "10.0.0.5", "10.0.0.5", "10.0.0.4", "10.0.0.6"),
            (
                "fd00::/8",
                "fd00::",
                "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "fcff::",
                "fe00::",
            ),
            ("::1/128", "::1", "::1", "::", "::2"),
        ] {
            let network: Network = network.parse().unwrap();
            for inside in [first, last] {
                assert!(network.contains(inside.parse().unwrap()), "{inside} in {network}");
            }
            for outside in [before, after, "::ffff:10.0.0.5"] {
                assert!(
                    !network.contains(outside.parse().unwrap()),
                    "{outside} in {network}"
                );
            }
        }
        assert!(
            "0.0.0.0/0"
                .parse::<Network>()
                .unwrap()
                .contains("8.8.8.8".parse().unwrap())
        );
        assert!(
            !"0.0.0.0/0"
                .parse::<Network>()
                .unwrap()
                .contains("::1".parse().unwrap())
        );
        assert!(
            "::/0"
                .parse::<Network>()
                .unwrap()
                .contains("::1".parse().unwrap())
        );
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.1/8",
            "::/129",
            "fd00::1/8",
            "10/8",
            "localhost",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
