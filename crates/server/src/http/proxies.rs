//! Proxies in front: only the named ones are believed when they say whom they speak for.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use http::HeaderMap;
use mcp_authflow_axum::ClientAddress;

/// The networks of proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<(IpAddr, u8)>);

impl TrustedProxies {
    /// Reads addresses and networks with commas between: `127.0.0.1, 10.0.0.0/8, fd00::/8`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
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
            .ok_or_else(|| "write addresses or networks, such as 127.0.0.1, 10.0.0.0/8".to_owned())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, address: IpAddr) -> bool {
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

    /// Notes whom a request comes from.
    pub(super) fn note_client_address(&self, request: &mut Request) {
        if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
            let client = self.client(peer.ip(), request.headers());
            request.extensions_mut().insert(ClientAddress(client));
        }
    }

    /// Whom a request comes from: the nearest address that is not a trusted proxy's, read from the right, since
    /// everything to the left of it is that address's own claim.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        let mut client = peer;
        let hops: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        for hop in hops.into_iter().rev() {
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
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

    /// P10
    #[test]
    fn an_address_header_counts_only_from_a_named_proxy_and_only_its_last_stranger() {
        let proxies = TrustedProxies::parse("10.0.0.0/8, ::1").unwrap();
        let client = |peer: &str, forwarded: &str| {
            let headers =
                HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), forwarded.parse().unwrap())]);
            proxies.client(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("192.0.2.9", "203.0.113.1"), "192.0.2.9");
        assert_eq!(client("10.0.0.1", "203.0.113.1"), "203.0.113.1");
        assert_eq!(
            client("10.0.0.1", "198.51.100.7, 203.0.113.1, 10.2.3.4"),
            "203.0.113.1"
        );
        assert_eq!(client("::1", "nonsense, 203.0.113.1"), "203.0.113.1");
        assert_eq!(client("10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", "203.0.113.1"), "203.0.113.1");
        for bad in ["x", "10.0.0.0/33", "10.0.0.0/", "::/129"] {
            assert!(TrustedProxies::parse(bad).is_err(), "{bad}");
        }
    }
}
