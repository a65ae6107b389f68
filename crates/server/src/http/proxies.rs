//! Whom a request comes from, behind the proxies that are named.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use mcp_authflow::{ForwardingHeader, TrustedProxies};
use mcp_authflow_axum::ClientAddress;

/// Notes whom a request comes from: the other end of the connection, or whom a named proxy speaks for.
pub(super) fn note_client_address(
    proxies: &TrustedProxies,
    forwarding: ForwardingHeader,
    request: &mut Request,
) {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let values = request.headers().get_all(forwarding.name());
        // What a caller sent of it may be anything; what the proxy wrote behind it, in the same line, counts all the same.
        let values: Vec<_> = values
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let client = proxies.client(peer.ip(), forwarding, values.iter().map(AsRef::as_ref));
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
    fn an_address_header_counts_only_from_a_named_proxy_and_only_the_one_that_was_chosen() {
        let proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
        for (peer, forwarding, client) in [
            ("10.0.0.1:80", ForwardingHeader::XForwardedFor, "203.0.113.1"),
            ("10.0.0.1:80", ForwardingHeader::Forwarded, "198.51.100.7"),
            ("192.0.2.9:80", ForwardingHeader::XForwardedFor, "192.0.2.9"),
            ("192.0.2.9:80", ForwardingHeader::Forwarded, "192.0.2.9"),
        ] {
            let mut request = Request::get("/")
                .header("x-forwarded-for", "198.51.100.7, 203.0.113.1")
                .header("forwarded", "for=198.51.100.7")
                .extension(ConnectInfo::<SocketAddr>(peer.parse().unwrap()))
                .body(Body::empty())
                .unwrap();
            note_client_address(&proxies, forwarding, &mut request);
            assert_eq!(
                request.extensions().get::<ClientAddress>(),
                Some(&ClientAddress(client.parse().unwrap()))
            );
        }
    }

    /// P10, S-149: bytes that are no text, sent by the caller, do not hide whom the proxy speaks for.
    #[test]
    fn bytes_beyond_ascii_do_not_hide_the_caller_behind_the_proxy() {
        let proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
        for (forwarding, sent) in [
            (ForwardingHeader::XForwardedFor, &b"\xff, 203.0.113.1"[..]),
            (ForwardingHeader::XForwardedFor, "\u{e9}, 203.0.113.1".as_bytes()),
            (ForwardingHeader::Forwarded, b"for=\xe9, for=203.0.113.1"),
        ] {
            let mut request = Request::get("/")
                .header(forwarding.name(), sent)
                .extension(ConnectInfo::<SocketAddr>("10.0.0.1:80".parse().unwrap()))
                .body(Body::empty())
                .unwrap();
            note_client_address(&proxies, forwarding, &mut request);
            assert_eq!(
                request.extensions().get::<ClientAddress>(),
                Some(&ClientAddress("203.0.113.1".parse().unwrap())),
                "{sent:?}"
            );
        }
    }
}
