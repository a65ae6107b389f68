//! The questions, and what a good answer is.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use mcp_authflow::{AuthorizationServer, port::Clock as _};
use mcp_authflow_resource::{
    CannotCheck, ResourceMetadata,
    outbound::{InvalidEndpoint, Outbound, OutboundSettings},
};
use mcp_authflow_types::{Issuer, Resource, Scope, metadata::well_known_paths};

use super::{
    finding::Finding,
    mark::{self, CLAIMED, SEEN, Seen},
};
use crate::system::SystemClock;

/// A path of which nobody answers anything but that it is not there.
const UNKNOWN: &str = "/.well-known/oauth-authorization-server-check";

/// Asks a server's public address.
pub(crate) struct Check {
    issuer: Issuer,
    server: AuthorizationServer,
    outbound: Outbound,
}

/// An answer, or the sentence that says why there is none.
type Answer = Result<Response<Bytes>, String>;

impl Check {
    pub(crate) fn new(issuer: &Issuer, server: AuthorizationServer) -> Result<Self, InvalidEndpoint> {
        let outbound = Outbound::new(OutboundSettings {
            time_limit: Duration::from_secs(5),
            ..OutboundSettings::default()
        });
        outbound.endpoint(issuer.as_str())?;
        Ok(Self {
            issuer: issuer.clone(),
            server,
            outbound,
        })
    }

    /// Asks everything, the metadata of these resources too.
    pub(crate) async fn run(&self, resources: &[Resource]) -> Vec<Finding> {
        let metadata = match self.server.metadata().await {
            Ok(metadata) => metadata.body(),
            Err(error) => {
                return vec![Finding::error(
                    self.issuer.as_str(),
                    format!("the store cannot be asked: {}", error.code.as_str()),
                )];
            }
        };
        let mut findings = Vec::new();
        for path in well_known_paths(&self.issuer) {
            let url = format!("{}{path}", self.issuer.origin());
            let answer = self.ask(Method::GET, &url).await;
            let found = judge_metadata(&url, &answer, &metadata, &self.issuer);
            let is_unreachable = answer.is_err();
            findings.push(found);
            if is_unreachable {
                return findings;
            }
        }
        findings.push(self.unknown_path().await);
        findings.push(self.keys().await);
        findings.extend(self.token_endpoint().await);
        for resource in resources {
            findings.push(self.resource(resource).await);
        }
        findings
    }

    async fn ask(&self, method: Method, url: &str) -> Answer {
        let endpoint = self.outbound.endpoint(url).map_err(|error| error.to_string())?;
        let request = Request::builder()
            .method(method)
            .uri(endpoint.uri())
            .header(header::ACCEPT, "application/json")
            // Some clients say so when they look for metadata; a proxy must not mind.
            .header("mcp-protocol-version", "2025-03-26")
            .header(header::ORIGIN, "https://browser.example")
            .header(
                mark::MARK,
                mark::make(&self.server.ports().key, SystemClock.now()),
            )
            .header("x-forwarded-for", CLAIMED)
            .header("forwarded", format!("for={CLAIMED}"))
            .header(header::AUTHORIZATION, "Check of-the-public-address")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        self.outbound.send(request).await.map_err(|error| {
            match error {
                CannotCheck::TimedOut => "it did not answer in time",
                CannotCheck::BadAnswer => "its answer is too long, or broke off",
                _ => {
                    "it cannot be reached from here. Is the name right, the proxy running, and its certificate one that this \
                     computer trusts? (A network may also keep a server from its own public address; then ask from elsewhere.)"
                }
            }
            .to_owned()
        })
    }

    /// Clients look at several well-known paths until one is there; a page at one that is not ends their search.
    async fn unknown_path(&self) -> Finding {
        let url = format!("{}{UNKNOWN}", self.issuer.origin());
        match self.ask(Method::GET, &url).await {
            Err(why) => Finding::warning(&url, why),
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND && is_json(answer.headers()) => {
                Finding::good(&url, "404, as JSON")
            }
            Ok(answer) => Finding::warning(
                &url,
                format!(
                    "{}: clients try several well-known paths, and some give up at anything but a 404 with JSON. Pass all \
                     of /.well-known/ to this server, or answer 404 there",
                    answered(&answer)
                ),
            ),
        }
    }

    async fn keys(&self) -> Finding {
        let url = self.issuer.endpoint("/jwks");
        match self.ask(Method::GET, &url).await {
            Err(why) => Finding::error(&url, why),
            Ok(answer) if answer.status() == StatusCode::OK && is_json(answer.headers()) => {
                Finding::good(&url, "the keys that sign tokens")
            }
            Ok(answer) => Finding::error(&url, not_passed_on(&answer)),
        }
    }

    /// An empty token request: refused, by this server, and told apart by what the answer says of the way here.
    async fn token_endpoint(&self) -> Vec<Finding> {
        let url = self.issuer.endpoint("/token");
        let answer = match self.ask(Method::POST, &url).await {
            Err(why) => return vec![Finding::error(&url, why)],
            Ok(answer) => answer,
        };
        if answer.status() != StatusCode::BAD_REQUEST || !is_json(answer.headers()) {
            return vec![Finding::error(&url, not_passed_on(&answer))];
        }
        let mut findings = vec![Finding::good(&url, "answers requests")];
        if let Some(trouble) = cors_trouble(answer.headers()) {
            findings.push(Finding::warning(&url, trouble));
        }
        if !header_says(answer.headers(), header::CACHE_CONTROL, "no-store") {
            findings.push(Finding::error(
                &url,
                "its answer lost Cache-Control: no-store on the way: something in front may keep tokens. Do not let the proxy \
                 change or cache answers of this server",
            ));
        }
        let seen = answer.headers().get(SEEN).and_then(|seen| seen.to_str().ok());
        match seen.and_then(|seen| seen.parse::<Seen>().ok()) {
            Some(seen) => findings.extend(judge_way(&url, seen)),
            None => findings.push(Finding::warning(
                &url,
                "the answer says nothing of the way here: this is another server than the one of this configuration (another \
                 server key), one whose clock is off by a minute, or the proxy takes headers away",
            )),
        }
        findings
    }

    async fn resource(&self, resource: &Resource) -> Finding {
        let metadata = ResourceMetadata::new(resource.clone(), self.issuer.clone(), &Scope::empty(), None);
        let url = metadata.url();
        match self.ask(Method::GET, &url).await {
            Err(why) => Finding::warning(&url, format!("the metadata of {resource}: {why}")),
            Ok(answer) => judge_resource(&url, &answer, resource, &self.issuer),
        }
    }
}

fn judge_metadata(url: &str, answer: &Answer, expected: &str, issuer: &Issuer) -> Finding {
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return Finding::error(url, why.clone()),
    };
    if answer.status() != StatusCode::OK || !is_json(answer.headers()) {
        return Finding::error(url, not_passed_on(answer));
    }
    if let Some(trouble) = cors_trouble(answer.headers()) {
        return Finding::warning(url, trouble);
    }
    if answer.body() == expected.as_bytes() {
        return Finding::good(url, "this server's metadata, byte for byte");
    }
    let says = serde_json::from_slice::<serde_json::Value>(answer.body())
        .ok()
        .and_then(|document| document.get("issuer")?.as_str().map(str::to_owned));
    match says {
        Some(other) if other != issuer.as_str() => Finding::error(
            url,
            format!(
                "it names the issuer {other:?} and not {:?}: clients compare the two byte for byte. Another server answers \
                 there, or one with another `issuer`",
                issuer.as_str()
            ),
        ),
        Some(_) => Finding::warning(
            url,
            "another document than this configuration's: a node with other settings answers, a cache in front keeps an old \
             copy, or resources were registered this moment",
        ),
        None => Finding::error(
            url,
            "it is no metadata of an authorization server: another program answers there",
        ),
    }
}

/// What the way here says of the proxies.
fn judge_way(url: &str, seen: Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Seen { is_named, hops, .. } = seen;
    if is_named && hops == 1 && seen.ends_with_claim {
        findings.push(Finding::error(
            url,
            format!(
                "the proxy {} passes on whatever callers say of their address, and this server believes it: everybody can \
                 pretend to be anybody, and limits count for nothing. Let the proxy set X-Forwarded-For itself, or append to it",
                seen.peer
            ),
        ));
    } else if !(is_named || hops == 1 && seen.ends_with_claim) {
        findings.push(Finding::warning(
            url,
            format!(
                "requests come through the proxy {}, which is not among trusted_proxies: all callers count as one address \
                 and share its limits. Add it: trusted_proxies = \"{}\"",
                seen.peer, seen.peer
            ),
        ));
    } else if is_named && hops == 0 {
        findings.push(Finding::warning(
            url,
            format!(
                "the proxy {} does not say for whom it speaks: all callers count as one address and share its limits. Let \
                 it set X-Forwarded-For (or Forwarded, with forwarding_header = \"forwarded\")",
                seen.peer
            ),
        ));
    } else {
        let way = if is_named {
            "through the proxy"
        } else {
            "straight from"
        };
        findings.push(Finding::good(
            url,
            format!("requests come {way} {}, and count for their callers", seen.peer),
        ));
    }
    if !seen.has_authorization {
        findings.push(Finding::error(
            url,
            "the proxy takes the Authorization header away: clients with a secret and resource servers cannot prove who they \
             are. Let it pass",
        ));
    }
    findings
}

fn judge_resource(url: &str, answer: &Response<Bytes>, resource: &Resource, issuer: &Issuer) -> Finding {
    if answer.status() != StatusCode::OK || !is_json(answer.headers()) {
        return Finding::warning(
            url,
            format!(
                "the metadata of {resource}: {}. Without it clients do not find this server (RFC 9728 §3)",
                answered(answer)
            ),
        );
    }
    let document: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let names = document["resource"].as_str().unwrap_or_default();
    let servers = document["authorization_servers"].as_array();
    let first = servers
        .and_then(|servers| servers.first()?.as_str())
        .unwrap_or_default();
    let has_offline_access = document["scopes_supported"]
        .as_array()
        .is_some_and(|scopes| scopes.iter().any(|scope| scope == "offline_access"));
    if names != resource.as_str() {
        Finding::error(
            url,
            format!(
                "it names the resource {names:?} and not {:?}: clients refuse it (RFC 9728 §3.3)",
                resource.as_str()
            ),
        )
    } else if first != issuer.as_str() {
        Finding::error(
            url,
            format!(
                "the first of its authorization_servers is {first:?} and not {:?}: clients compare the two byte for byte, and \
                 most take the first",
                issuer.as_str()
            ),
        )
    } else if has_offline_access {
        Finding::warning(
            url,
            "its scopes_supported hold offline_access, which is the authorization server's to offer: leave it out",
        )
    } else {
        Finding::good(url, format!("{resource} leads here"))
    }
}

fn not_passed_on(answer: &Response<Bytes>) -> String {
    if answer.status().is_redirection() {
        format!(
            "{}: clients do not follow it. Pass the path on as it is",
            answered(answer)
        )
    } else {
        format!(
            "{}: that is not this server. Pass this path on to it",
            answered(answer)
        )
    }
}

/// What was answered, in words.
fn answered(answer: &Response<Bytes>) -> String {
    let header = |name| {
        let value = answer.headers().get(name).map(header::HeaderValue::to_str);
        value.and_then(Result::ok).unwrap_or("nothing")
    };
    if answer.status().is_redirection() {
        format!("{} to {}", answer.status(), header(header::LOCATION))
    } else {
        format!("{} with {}", answer.status(), header(header::CONTENT_TYPE))
    }
}

/// Browsers refuse an answer without the header, and one with two of it.
fn cors_trouble(headers: &HeaderMap) -> Option<&'static str> {
    match headers
        .get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN)
        .iter()
        .count()
    {
        1 => None,
        0 => Some(
            "its answer has no Access-Control-Allow-Origin: clients in browsers cannot read it. The proxy takes it away, or \
             allowed_origins keeps all of them out",
        ),
        _ => Some(
            "its answer has Access-Control-Allow-Origin twice: browsers refuse it. This server sends the header; take it out \
             of the proxy's configuration",
        ),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    ["application/json", "application/jwk-set+json"]
        .iter()
        .any(|kind| header_says(headers, header::CONTENT_TYPE, kind))
}

fn header_says(headers: &HeaderMap, name: header::HeaderName, beginning: &str) -> bool {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(beginning))
}
