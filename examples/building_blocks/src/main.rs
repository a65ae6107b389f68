//! A small authorization server written by hand from the parts: registration, PKCE, the device grant, token storage, error
//! answers, limiter, CORS. What stands between them is this program's own.
//!
//! ```sh
//! cargo run -p building_blocks
//! ```
//!
//! serves `http://127.0.0.1:8000`. Whoever sits at its terminal is the person who approves: type a user code to let a
//! device in, or `CLIENT_ID CODE_CHALLENGE` for a code. Your own pages go there.
//!
//! A code by hand, from another terminal:
//!
//! ```sh
//! curl http://127.0.0.1:8000/register -H 'content-type: application/json' \
//!     -d '{"redirect_uris": ["http://127.0.0.1:9/cb"], "token_endpoint_auth_method": "none"}'
//! verifier=$(openssl rand -hex 32)
//! printf %s "$verifier" | openssl dgst -sha256 -binary | openssl base64 -A | tr '+/' '-_' | tr -d =    # the challenge
//! # Type CLIENT_ID CHALLENGE at the server's terminal; it answers with the code.
//! curl http://127.0.0.1:8000/token -d grant_type=authorization_code \
//!     -d client_id=CLIENT_ID -d code=CODE -d code_verifier="$verifier"
//! curl http://127.0.0.1:8000/introspect -H 'authorization: Bearer SECRET' -d token=TOKEN
//! ```
//!
//! | file | what |
//! |---|---|
//! | `main.rs` | the routes, and what they share |
//! | `waiting.rs` | codes and devices that wait for the person |
//! | `token.rs` | a code, or a device's polling, becomes an access token |
//! | `introspect.rs` | a resource server asks about a token |
//! | `ports.rs` | clock and randomness |

mod introspect;
mod ports;
#[cfg(test)]
mod tests;
mod token;
mod waiting;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::post,
};
use mcp_authflow::{
    SlidingWindowRateLimiter,
    memory::MemoryTokenStorage,
    port::token_storage::TokenStorage as _,
    registration::{MemoryClientRegistry, RegistrationHandler},
};
use mcp_authflow_types::{
    TokenEndpointAuthMethod, TokenHash,
    cors::{AllowedOrigins, CorsPolicy, CorsRequest},
};

use crate::{
    ports::{SystemClock, SystemEntropy, stopwatch},
    waiting::Waiting,
};

/// What the endpoints share.
pub(crate) struct App {
    registry: Arc<MemoryClientRegistry>,
    /// `SqliteTokenStorage` and `PostgresTokenStorage` go here just the same.
    tokens: MemoryTokenStorage,
    limiter: SlidingWindowRateLimiter,
    waiting: Waiting,
    /// What the resource server introspects with.
    resource_secret: TokenHash,
}

impl App {
    pub(crate) async fn new(resource_secret: &str) -> anyhow::Result<Arc<Self>> {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let minute = Duration::from_secs(60);
        let app = Self {
            registry: Arc::new(MemoryClientRegistry::new(clock.clone(), entropy)),
            tokens: MemoryTokenStorage::new(clock),
            limiter: SlidingWindowRateLimiter::in_memory("token", 60, minute, stopwatch())?,
            waiting: Waiting::default(),
            resource_secret: TokenHash::of(resource_secret),
        };
        app.tokens.initialize().await?;
        Ok(Arc::new(app))
    }

    pub(crate) fn router(self: Arc<Self>) -> anyhow::Result<Router> {
        let minute = Duration::from_secs(60);
        let registration = RegistrationHandler::builder(self.registry.clone(), "notes:read")
            .methods_on_offer([TokenEndpointAuthMethod::None])
            .limiter(SlidingWindowRateLimiter::in_memory(
                "registration",
                10,
                minute,
                stopwatch(),
            )?)
            .build();
        let policy = CorsPolicy::endpoint(AllowedOrigins::any(), "POST, OPTIONS");
        Ok(Router::new()
            .route(
                "/register",
                mcp_authflow_axum::registration(Arc::new(registration)),
            )
            .route("/device_authorization", post(token::device_authorization))
            .route("/token", post(token::token))
            .layer(from_fn_with_state(policy, cors))
            .route("/introspect", post(introspect::introspect))
            .with_state(self))
    }
}

/// Scripts on other sites may register, poll and redeem.
async fn cors(State(policy): State<CorsPolicy>, request: Request, next: Next) -> Response {
    let is_preflight = request.method() == "OPTIONS";
    let origins = request.headers().get_all("origin").into_iter();
    let origins: Vec<_> = origins
        .map(|one| one.to_str().unwrap_or_default().to_owned())
        .collect();
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    let headers = policy.headers(CorsRequest {
        origins: &origins,
        is_preflight,
    });
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let secret = ports::random_text();
    let app = App::new(&secret).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    println!(
        "listening on http://{}\nsecret to introspect with: {secret}",
        listener.local_addr()?
    );
    let person = app.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            println!("{}", person.waiting.approve(&line));
        }
    });
    let service = app.router()?.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).await?)
}
