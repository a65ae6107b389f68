//! All routes on one screen.

mod registration;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    middleware::from_fn_with_state,
    response::Response,
    routing::{any, get, options, post},
};
use http::{HeaderMap, Method, Request, StatusCode, header};
use mcp_authflow::{
    AuthorizationRequest, AuthorizationServer, Authorize, DeviceDecided, PageReason, Pending, UserCodeEntry,
    port::Entropy, record::InteractionId,
};
use mcp_authflow_types::{ErrorCode, ErrorResponse, Form, Issuer, Prompt, metadata::well_known_paths};

use self::registration::{read_registration, register, remove_registration, update_registration};
use crate::{
    browser_cookie::{BrowserCookie, BrowserSecret},
    cors,
    interact::{DeviceOutcome, DeviceVisit, Interact, Outcome, Visit},
    reply,
    request::{FormBody, client_address, is_form, read_body},
    to_its_end::to_its_end,
};

/// What every handler has.
#[derive(Clone)]
struct Edge {
    server: AuthorizationServer,
    interact: Arc<dyn Interact>,
    cookie: BrowserCookie,
}

/// The authorization server as a router, to be merged into an app (not nested: the well-known addresses stand before
/// the issuer's path, RFC 8414 §3, and the issuer's path is in the routes already).
///
/// For limits by address the app must be served with connect info, or a middleware must insert a
/// [`ClientAddress`](crate::ClientAddress).
pub fn router(server: AuthorizationServer, interact: impl Interact) -> Router {
    let issuer = server.settings().issuer.clone();
    let base = issuer.path();
    let at = |path: &str| format!("{base}{path}");
    let edge = Edge {
        cookie: BrowserCookie::of(&issuer),
        interact: Arc::new(interact),
        server,
    };

    let mut router = Router::new()
        .route(&at("/authorize"), get(authorize).fallback(|| allow("GET, HEAD")))
        .route(
            &at("/ui/interaction/{id}"),
            get(visit).post(visit).fallback(|| allow("GET, HEAD, POST")),
        )
        .route(
            &at("/ui/device"),
            get(device).post(device).fallback(|| allow("GET, HEAD, POST")),
        )
        .route(
            &at("/device_authorization"),
            post(device_authorization)
                .options(|| preflight("POST, OPTIONS"))
                .fallback(|| allow("POST, OPTIONS")),
        )
        .route(
            &at("/jwks"),
            get(jwks)
                .options(|| preflight("GET, HEAD, OPTIONS"))
                .fallback(|| allow("GET, HEAD, OPTIONS")),
        )
        .route(
            &at("/token"),
            post(token)
                .options(|| preflight("POST, OPTIONS"))
                .fallback(|| allow("POST, OPTIONS")),
        )
        .route(
            &at("/revoke"),
            post(revoke)
                .options(|| preflight("POST, OPTIONS"))
                .fallback(|| allow("POST, OPTIONS")),
        )
        .route(
            &at("/register"),
            post(register)
                .options(|| preflight("POST, OPTIONS"))
                .fallback(|| allow("POST, OPTIONS")),
        )
        .route(&at("/introspect"), post(introspect).fallback(|| allow("POST")));
    if edge.server.settings().registration.management {
        router = router.route(
            &at("/register/{client_id}"),
            get(read_registration)
                .put(update_registration)
                .delete(remove_registration)
                .options(|| preflight("GET, HEAD, PUT, DELETE, OPTIONS"))
                .fallback(|| allow("GET, HEAD, PUT, DELETE, OPTIONS")),
        );
    }
    for decided in DeviceDecided::ALL {
        router = router.route(
            &at(decided.path()),
            get(move |state, request| device_decided(state, decided, request))
                .fallback(|| allow("GET, HEAD")),
        );
    }
    for path in well_known_paths(&issuer) {
        router = router.route(
            &path,
            get(metadata)
                .options(|| preflight("GET, HEAD, OPTIONS"))
                .fallback(|| allow("GET, HEAD, OPTIONS")),
        );
    }
    // Whatever else is asked for there is not: in JSON, since a client that reads a page as metadata gives up.
    let unknown = || {
        options(|| preflight("GET, HEAD, OPTIONS")).fallback(any(|| async { cors::open(reply::not_found()) }))
    };
    let mut places = vec![String::new()];
    if !base.is_empty() {
        places.push(base.to_owned());
    }
    for place in places {
        router = router
            .route(&format!("{place}/.well-known/"), unknown())
            .route(&format!("{place}/.well-known/{{*rest}}"), unknown());
    }
    let origins = edge.server.settings().allowed_origins.clone();
    router
        .with_state(edge)
        .layer(from_fn_with_state(origins, cors::decide))
}

fn allow(methods: &'static str) -> std::future::Ready<Response> {
    std::future::ready(reply::method_not_allowed(methods))
}

fn preflight(methods: &'static str) -> std::future::Ready<Response> {
    std::future::ready(cors::preflight(methods))
}

/// RFC 8414 §3.2: the same bytes at every spelling.
async fn metadata(State(edge): State<Edge>) -> Response {
    cors::open(match edge.server.metadata().await {
        Ok(metadata) => reply::json(StatusCode::OK, metadata.body()),
        Err(error) => reply::error(&error),
    })
}

/// RFC 7517 §5. Everybody may keep it, for as long as a new key is published before it signs.
async fn jwks(State(edge): State<Edge>, headers: HeaderMap) -> Response {
    cors::open(match edge.server.jwks().await {
        Ok(keys) => reply::key_set(&keys, &headers),
        Err(error) => reply::error(&error),
    })
}

/// RFC 6749 §3.1: stores the request and sends the browser to its page.
async fn authorize(State(edge): State<Edge>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let Ok(form) = Form::parse(query.as_bytes()) else {
        let reason = PageReason::Refused {
            code: ErrorCode::InvalidRequest,
            description: "the address of this page is malformed",
            target: None,
        };
        return edge.interact.refuse(&reason, &parts).await;
    };
    let known = edge.cookie.read(&parts.headers);
    let is_new = known.is_none();
    let secret = known.unwrap_or_else(|| BrowserSecret::from_random(draw(&*edge.server.ports().entropy)));
    let request = AuthorizationRequest {
        query: &form,
        browser: secret.hash(),
        address: client_address(&parts),
    };
    match edge.server.authorize(request).await {
        Authorize::Pending(pending) => {
            let mut response = reply::see_other(&page(&edge.server.settings().issuer, &pending));
            if is_new {
                response
                    .headers_mut()
                    .append(header::SET_COOKIE, edge.cookie.set(&secret));
            }
            response
        }
        Authorize::SendBack(answer) => reply::send_back(&answer),
        Authorize::ShowPage(reason) => edge.interact.refuse(&reason, &parts).await,
    }
}

/// One visit of a request's page, and what it leads to.
async fn visit(
    State(edge): State<Edge>,
    id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method == Method::HEAD {
        // A look from afar decides nothing: an earlier approval is spent by a visit alone.
        return Response::default();
    }
    let address = client_address(&parts);
    if parts.method == Method::POST
        && !(is_form(&parts.headers)
            && is_same_origin(edge.server.settings().issuer.origin(), &parts.headers))
    {
        let reason = PageReason::Refused {
            code: ErrorCode::InvalidRequest,
            description: "the form was not sent by a page of this server",
            target: None,
        };
        return edge.interact.refuse(&reason, &parts).await;
    }
    let found = match (
        id.ok().and_then(|Path(id)| InteractionId::parse(&id)),
        edge.cookie.read(&parts.headers),
    ) {
        (Some(id), Some(secret)) => edge
            .server
            .resume(id, &secret.hash())
            .await
            .map(|pending| (pending, secret.hash())),
        _ => Err(PageReason::Gone),
    };
    let (pending, browser) = match found {
        Ok(found) => found,
        Err(reason) => return edge.interact.refuse(&reason, &parts).await,
    };
    let Ok(body) = read_body(body).await else {
        let reason = PageReason::Refused {
            code: ErrorCode::InvalidRequest,
            description: "the form is too large, or did not arrive in time",
            target: None,
        };
        return edge.interact.refuse(&reason, &parts).await;
    };
    let again = parts.clone();
    let visit = Visit {
        page: page(&edge.server.settings().issuer, &pending),
        parts,
        body,
        browser,
        address,
    };
    let is_silent = pending.interaction().request.prompts(Prompt::None);
    let server = edge.server.clone();
    let answer = match edge.interact.interact(&pending, visit).await {
        Outcome::Approve(approval) => {
            to_its_end(async move { server.approve(pending, approval, address).await }).await
        }
        Outcome::Deny => to_its_end(async move { server.deny(pending, address).await }).await,
        Outcome::ConsentRequired => {
            Ok(edge
                .server
                .cannot_be_silent(&pending, ErrorCode::ConsentRequired, address))
        }
        Outcome::Show(response) if !is_silent => return response,
        Outcome::LoginRequired | Outcome::Show(_) => {
            Ok(edge
                .server
                .cannot_be_silent(&pending, ErrorCode::LoginRequired, address))
        }
    };
    match answer {
        Ok(answer) => reply::send_back(&answer),
        Err(reason) => edge.interact.refuse(&reason, &again).await,
    }
}

/// RFC 8628 §3.3: the page where a person types a user code, and what was typed.
async fn device(State(edge): State<Edge>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method == Method::HEAD {
        return Response::default();
    }
    let refuse = |description| PageReason::Refused {
        code: ErrorCode::InvalidRequest,
        description,
        target: None,
    };
    let is_sent = parts.method == Method::POST;
    if is_sent
        && !(is_form(&parts.headers)
            && is_same_origin(edge.server.settings().issuer.origin(), &parts.headers))
    {
        let reason = refuse("the form was not sent by a page of this server");
        return edge.interact.refuse(&reason, &parts).await;
    }
    let Ok(body) = read_body(body).await else {
        let reason = refuse("the form is too large, or did not arrive in time");
        return edge.interact.refuse(&reason, &parts).await;
    };
    let sent: &[u8] = if is_sent {
        &body
    } else {
        parts.uri.query().unwrap_or_default().as_bytes()
    };
    let Ok(form) = Form::parse(sent) else {
        let reason = refuse("the address or the form of this page is malformed");
        return edge.interact.refuse(&reason, &parts).await;
    };
    let user_code = form.value("user_code").map(str::to_owned);
    drop(form);
    let known = edge.cookie.read(&parts.headers);
    let is_new = known.is_none();
    let secret = known.unwrap_or_else(|| BrowserSecret::from_random(draw(&*edge.server.ports().entropy)));
    let (browser, address) = (secret.hash(), client_address(&parts));
    let issuer = &edge.server.settings().issuer;
    let mut visit = DeviceVisit {
        visit: Visit {
            page: format!("{}/ui/device", issuer.path()),
            parts,
            body,
            browser,
            address,
        },
        user_code,
        problem: None,
    };
    let mut response = match edge.interact.device(&visit).await {
        DeviceOutcome::Show(response) => response,
        DeviceOutcome::Enter { user_code, subject } => {
            let server = edge.server.clone();
            let entered = to_its_end(async move {
                server
                    .enter_user_code(UserCodeEntry {
                        user_code: &user_code,
                        browser,
                        subject: subject.as_deref(),
                        address,
                    })
                    .await
            });
            match entered.await {
                Ok(id) => reply::see_other(&page_of(issuer, id)),
                Err(problem) => {
                    visit.problem = Some(problem);
                    match edge.interact.device(&visit).await {
                        DeviceOutcome::Show(response) => response,
                        DeviceOutcome::Enter { .. } => {
                            edge.interact.refuse(&PageReason::Gone, &visit.visit.parts).await
                        }
                    }
                }
            }
        }
    };
    // A hook that signs somebody in sets a cookie of its own.
    if is_new && !response.headers().contains_key(header::SET_COOKIE) {
        response
            .headers_mut()
            .append(header::SET_COOKIE, edge.cookie.set(&secret));
    }
    response
}

/// What was decided about a device: the same for every device.
async fn device_decided(
    State(edge): State<Edge>,
    decided: DeviceDecided,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    edge.interact.device_decided(decided, &parts).await
}

/// RFC 8628 §3.1.
async fn device_authorization(State(edge): State<Edge>, request: Request<Body>) -> Response {
    cors::open(match run_device_authorization(&edge, request).await {
        Ok(body) => reply::json(StatusCode::OK, body),
        Err(error) => reply::error(&error),
    })
}

async fn run_device_authorization(edge: &Edge, request: Request<Body>) -> Result<String, ErrorResponse> {
    let body = FormBody::read(request).await?;
    let server = edge.server.clone();
    to_its_end(async move {
        Ok(server
            .device_authorization(body.words(&body.form()?))
            .await?
            .body())
    })
    .await
}

/// RFC 6749 §3.2.
async fn token(State(edge): State<Edge>, request: Request<Body>) -> Response {
    cors::open(match run_token(&edge, request).await {
        Ok(body) => reply::json(StatusCode::OK, body),
        Err(error) => reply::error(&error),
    })
}

async fn run_token(edge: &Edge, request: Request<Body>) -> Result<String, ErrorResponse> {
    let body = FormBody::read(request).await?;
    let server = edge.server.clone();
    to_its_end(async move { Ok(server.token(body.words(&body.form()?)).await?.body()) }).await
}

/// RFC 7009 §2: 200 with nothing in it.
async fn revoke(State(edge): State<Edge>, request: Request<Body>) -> Response {
    cors::open(match run_revoke(&edge, request).await {
        Ok(()) => reply::nothing(),
        Err(error) => reply::error(&error),
    })
}

async fn run_revoke(edge: &Edge, request: Request<Body>) -> Result<(), ErrorResponse> {
    let body = FormBody::read(request).await?;
    let server = edge.server.clone();
    to_its_end(async move { server.revoke(body.words(&body.form()?)).await }).await
}

/// RFC 7662 §2.
async fn introspect(State(edge): State<Edge>, request: Request<Body>) -> Response {
    match run_introspect(&edge, request).await {
        Ok(body) => reply::json(StatusCode::OK, body),
        Err(error) => reply::error(&error),
    }
}

async fn run_introspect(edge: &Edge, request: Request<Body>) -> Result<String, ErrorResponse> {
    let body = FormBody::read(request).await?;
    Ok(edge.server.introspect(body.words(&body.form()?)).await?.body())
}

/// The path of a request's page.
fn page(issuer: &Issuer, pending: &Pending) -> String {
    page_of(issuer, pending.id())
}

fn page_of(issuer: &Issuer, id: InteractionId) -> String {
    format!("{}/ui/interaction/{id}", issuer.path())
}

/// Whether a POST was sent by a page of this origin, as far as its headers tell.
///
/// Browsers say so in `Sec-Fetch-Site`, and that decides; `Origin` then may be `null`, which is what they send from pages
/// that send no referrer. Without it `Origin` must name this origin, and without either `Referer` must not name another:
/// such a request comes from no browser of today.
pub fn is_same_origin(origin: &str, headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &http::HeaderValue| value.to_str().unwrap_or("null"))
    };
    let sec_fetch_site = text(http::HeaderName::from_static("sec-fetch-site"));
    match (sec_fetch_site, text(header::ORIGIN), text(header::REFERER)) {
        (Some(site), from, _) => {
            site == "same-origin" && from.is_none_or(|from| from == origin || from == "null")
        }
        (None, Some(from), _) => from == origin,
        (None, None, Some(referer)) => referer
            .strip_prefix(origin)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        (None, None, None) => true,
    }
}

fn draw(entropy: &dyn Entropy) -> [u8; 32] {
    entropy.draw()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    /// CS-02
    #[test]
    fn a_form_counts_only_when_a_page_of_this_origin_sent_it() {
        let ours = "https://a.example";
        let sent = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| {
                    (
                        http::HeaderName::from_static(name),
                        http::HeaderValue::from_static(value),
                    )
                })
                .collect();
            is_same_origin(ours, &headers)
        };
        assert!(sent(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(sent(&[
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://a.example")
        ]));
        assert!(sent(&[("origin", "https://a.example")]));
        assert!(sent(&[("referer", "https://a.example/ui/")]));
        assert!(sent(&[]));
        for forged in [
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://evil.example"),
            ][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://evil.example"),
            ],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "https://sub.a.example")],
            &[("origin", "http://a.example")],
            &[("referer", "https://evil.example/")],
            &[("referer", "https://a.example.evil.example/")],
        ] {
            assert!(!sent(forged), "{forged:?}");
        }
    }
}
