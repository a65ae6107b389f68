//! What of a request's head is passed on, and what is said instead.
//!
//! Names are compared as the most lenient server would read them: CGI and its descendants (WSGI, PHP) take `_` and `.`
//! for `-`, so `Authflow_Identity` is `Authflow-Identity` to them, and to us.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::Settings;
use crate::identity::IDENTITY_HEADER;

/// Between two neighbours only (RFC 9110 §7.6.1), or made anew for the next hop.
const PER_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "content-length",
    "expect",
    "host",
    "accept-encoding",
];

/// Ours to read and nobody else's: what proves who the client is (M-125), and what tells where a page is, which the layer
/// in front has judged; the upstream knows only its own address and would refuse ours.
const STOPS_HERE: [&str; 6] = ["authorization", "cookie", "cookie2", "dpop", "origin", "referer"];

/// What only a trusted proxy says: addresses, routes, and who the caller is. Several frameworks believe them from anybody.
const ONLY_FROM_A_PROXY: [&str; 19] = [
    "forwarded",
    "via",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-userinfo",
];

const ONLY_FROM_A_PROXY_PREFIXES: [&str; 25] = [
    "authflow-",
    "proxy-",
    "sec-fetch-",
    "x-forwarded-",
    "x-envoy-",
    "x-remote-",
    "x-auth-request-",
    "x-authenticated-",
    "x-goog-authenticated-",
    "x-amzn-oidc-",
    "x-ms-client-principal",
    "cf-access-",
    "remote-",
    "client-cert",
    "ssl-client-",
    "x-ssl-",
    "x-client-cert",
    "oidc-",
    "tailscale-",
    "x-webauth-",
    "x-authentik-",
    "x-consumer-",
    "x-credential-",
    "x-goog-iap-",
    "x-pomerium-",
];

/// The name that we go by in `Via` (RFC 9110 §7.6.3).
const VIA: HeaderValue = HeaderValue::from_static("1.1 authflow");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The head that the upstream gets. `Host` is left to the connection: it is the upstream's own.
pub(super) fn clean(request: &Parts, settings: &Settings, identity: Option<&HeaderValue>) -> HeaderMap {
    let named_by_connection = connection_options(&request.headers);
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 6);
    for (name, value) in &request.headers {
        let spelled = as_lenient_servers_read(name);
        if is_ours(&spelled) || named_by_connection.contains(&spelled) || settings.headers.contains_key(name)
        {
            continue;
        }
        // Before a fixed header in another spelling could be joined to it.
        if settings
            .headers
            .keys()
            .any(|fixed| as_lenient_servers_read(fixed) == spelled)
        {
            continue;
        }
        headers.append(name.clone(), value.clone());
    }
    for (name, value) in &settings.headers {
        headers.append(name.clone(), value.clone());
    }
    // Whoever filters tool lists reads the answers.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::VIA, VIA);
    if let Some(address) = (settings.client_address)(&request.extensions)
        && let Ok(address) = HeaderValue::try_from(address.to_canonical().to_string())
    {
        headers.insert(X_FORWARDED_FOR, address);
    }
    if let Some(proto) = &settings.forwarded_proto {
        headers.insert(X_FORWARDED_PROTO, proto.clone());
    }
    if let Some(host) = &settings.forwarded_host {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if let Some(identity) = identity {
        headers.insert(IDENTITY_HEADER, identity.clone());
    }
    headers
}

/// Whether an operator cannot set this header: it is made here, or belongs to a connection. Credentials are theirs to set.
pub(crate) fn is_managed(name: &HeaderName) -> bool {
    let spelled = as_lenient_servers_read(name);
    PER_HOP.contains(&spelled.as_str()) || spelled.starts_with("authflow-") || spelled == "via"
}

fn is_ours(spelled: &str) -> bool {
    PER_HOP.contains(&spelled)
        || STOPS_HERE.contains(&spelled)
        || ONLY_FROM_A_PROXY.contains(&spelled)
        || ONLY_FROM_A_PROXY_PREFIXES
            .iter()
            .any(|prefix| spelled.starts_with(prefix))
}

fn as_lenient_servers_read(name: &HeaderName) -> String {
    let letters = name.as_str().bytes();
    letters
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte)
            } else {
                '-'
            }
        })
        .collect()
}

/// The headers that `Connection` declares to be between two neighbours.
pub(super) fn connection_options(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|option| HeaderName::try_from(option.trim()).ok())
        .map(|name| as_lenient_servers_read(&name))
        .collect()
}

/// A client's query without a token in it (M-121): the layer in front refuses one, and nothing here rests on that. And
/// without what the operator's own query says: of two values of a name some servers take the last.
pub(super) fn query_for_upstream(query: &str, own: &str) -> String {
    let own: Vec<_> = form_urlencoded::parse(own.as_bytes()).collect();
    let is_kept = |pair: &&str| {
        form_urlencoded::parse(pair.as_bytes())
            .next()
            .is_none_or(|(name, _)| {
                !name.eq_ignore_ascii_case("access_token")
                    && !own.iter().any(|(ours, _)| ours.eq_ignore_ascii_case(&name))
            })
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    kept.join("&")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_name_is_ours_in_whatever_spelling() {
        for name in [
            "authorization",
            "cookie",
            "authflow-identity",
            "authflow_identity",
            "authflow.identity",
            "authflow-anything",
            "proxy-authorization",
            "x_forwarded_for",
            "x-forwarded-user",
            "forwarded",
            "connection",
            "host",
            "origin",
            "referer",
            "sec-fetch-site",
            "remote-user",
            "remote-groups",
            "x-webauth-user",
            "x-goog-iap-jwt-assertion",
            "oidc_claim_sub",
            "client-cert-chain",
        ] {
            let name = HeaderName::try_from(name).unwrap();
            assert!(is_ours(&as_lenient_servers_read(&name)), "{name}");
        }
        for name in [
            "mcp-session-id",
            "mcp-protocol-version",
            "mcp-method",
            "last-event-id",
            "accept",
            "content-type",
            "traceparent",
            "user-agent",
            "x-api-key",
        ] {
            let name = HeaderName::try_from(name).unwrap();
            assert!(!is_ours(&as_lenient_servers_read(&name)), "{name}");
        }
    }

    /// M-121
    #[test]
    fn a_token_in_the_query_goes_nowhere() {
        for (query, passed) in [
            ("a=1&access_token=x&b=2", "a=1&b=2"),
            ("access%5Ftoken=x", ""),
            ("Access_Token=x", ""),
            ("access_token", ""),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(query_for_upstream(query, ""), passed, "{query}");
        }
    }

    #[test]
    fn a_client_does_not_say_again_what_the_operators_query_says() {
        for (query, passed) in [
            ("key=theirs", ""),
            ("a=1&KEY=theirs&b", "a=1&b"),
            ("k%65y=theirs", ""),
            ("keys=1", "keys=1"),
        ] {
            assert_eq!(query_for_upstream(query, "key=ours&v=2"), passed, "{query}");
        }
    }
}
