//! Addresses that a document may name: what their spelling says, before any look-up.
//!
//! Where a name really leads is seen only when it is dialled, and is judged there again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcp_authflow_types::{
    special_use::special_use,
    uri::{Uri, is_loopback_host},
};

/// Whether the text is an https URL of the public internet by its spelling. Where the document itself lies on this
/// computer, its addresses may too.
pub(super) fn is_public(text: &str, document_host: Option<&str>) -> bool {
    let Some(uri) = Uri::parse(text) else { return false };
    let Some(authority) = uri.authority else {
        return false;
    };
    text.len() <= mcp_authflow_types::ClientId::MAX_BYTES
        && uri.scheme.eq_ignore_ascii_case("https")
        && uri.fragment.is_none()
        && (is_public_host(authority.host)
            || is_loopback_host(authority.host) && document_host.is_some_and(is_loopback_host))
}

/// Whether a host can be one of the public internet. What ends in a number is an address in its one usual spelling or
/// nothing: the C library reads `127.1` and `0x7f000001` as addresses too.
fn is_public_host(host: &str) -> bool {
    if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| is_ordinary(address.into()));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|first: char| first.is_ascii_digit()) {
        return host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| is_ordinary(address.into()));
    }
    !last.is_empty() && last != "localhost"
}

fn is_ordinary(address: IpAddr) -> bool {
    special_use(address).is_none()
}

/// The host of a URL.
pub(super) fn host(url: &str) -> Option<&str> {
    Uri::parse(url)?.authority.map(|authority| authority.host)
}
