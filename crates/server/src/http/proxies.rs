//! Whom a request comes from, behind the proxies that are named.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use mcp_authflow::{ForwardingHeader, TrustedProxies};
use mcp_authflow_axum::ClientAddress;

/// Notes whom a request comes from: the other end of the connection, or whom a named proxy speaks for.
pub(super) fn note_client_address(proxies: &TrustedProxies, request: &mut Request) {
    const HEADER: ForwardingHeader = ForwardingHeader::XForwardedFor;
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let values = request.headers().get_all(HEADER.name());
        let values = values.iter().filter_map(|value| value.to_str().ok());
        let client = proxies.client(peer.ip(), HEADER, values);
        request.extensions_mut().insert(ClientAddress(client));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use axum::body::Body;

    use super::*;

    /// P10
    #[test]
    fn an_address_header_counts_only_from_a_named_proxy() {
        let proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
        for (peer, client) in [("10.0.0.1:80", "203.0.113.1"), ("192.0.2.9:80", "192.0.2.9")] {
            let mut request = Request::get("/")
                .header("x-forwarded-for", "198.51.100.7, 203.0.113.1")
                .header("forwarded", "for=198.51.100.7")
                .extension(ConnectInfo::<SocketAddr>(peer.parse().unwrap()))
                .body(Body::empty())
                .unwrap();
            note_client_address(&proxies, &mut request);
            assert_eq!(
                request.extensions().get::<ClientAddress>(),
                Some(&ClientAddress(client.parse().unwrap()))
            );
        }
    }
}
