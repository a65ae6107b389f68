//! A separate authorization server: its tokens are asked about (RFC 7662), at the endpoint that its metadata names
//! (RFC 8414), or believed by its keys (RFC 9068).
//!
//! It may be down when we start: whoever calls meanwhile is answered with 503, and it is looked for again.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use mcp_authflow::port::Stopwatch as _;
use mcp_authflow_resource::{
    CannotCheck, Outbound, OutboundSettings, TokenVerifier, VerifiedToken, VerifyError,
    verify::{Introspection, JwtVerifier, introspection::ClientAuthentication},
};
use mcp_authflow_types::{Issuer, metadata::well_known_paths};
use tokio::sync::Mutex;

use crate::{config::IntrospectionCredentials, system::SinceStart};

/// How long after a look for the authorization server it is not looked for again.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long an endpoint that gives no answers is believed to be still the right one.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Verifies the tokens of a separate authorization server.
pub(crate) enum OtherIssuer {
    /// It is asked.
    Asked(Box<Asked>),
    /// Its signature is believed.
    Believed(Box<JwtVerifier>),
}

/// An authorization server that is asked about tokens.
pub(crate) struct Asked {
    issuer: Issuer,
    credentials: IntrospectionCredentials,
    outbound: Outbound,
    watch: SinceStart,
    found: Mutex<Look>,
}

#[derive(Default)]
struct Look {
    introspection: Option<Arc<Introspection>>,
    endpoint: String,
    /// When it was looked for last.
    at: Option<Duration>,
}

impl OtherIssuer {
    /// Prepares; nothing is asked yet.
    pub(crate) fn new(
        issuer: &Issuer,
        credentials: Option<IntrospectionCredentials>,
    ) -> anyhow::Result<Self> {
        let Some(credentials) = credentials else {
            let verifier = JwtVerifier::builder(issuer.as_str())
                .build()
                .context("protect.issuer")?;
            return Ok(Self::Believed(Box::new(verifier)));
        };
        let outbound = Outbound::new(OutboundSettings::default());
        outbound.endpoint(issuer.as_str()).context("protect.issuer")?;
        Ok(Self::Asked(Box::new(Asked {
            issuer: issuer.clone(),
            credentials,
            outbound,
            watch: SinceStart::now(),
            found: Mutex::default(),
        })))
    }

    /// How tokens are verified, in words for the terminal; with a warning when that cannot be done yet.
    pub(crate) async fn look(&self) -> String {
        match self {
            Self::Believed(_) => "tokens are JWTs, verified by its keys".to_owned(),
            Self::Asked(asked) => match asked.introspection().await {
                Ok(_) => format!("asked about each token at {}", asked.found.lock().await.endpoint),
                Err(_) => "not reached yet; looking for it again when it is needed".to_owned(),
            },
        }
    }
}

#[async_trait::async_trait]
impl TokenVerifier for OtherIssuer {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        match self {
            Self::Believed(verifier) => verifier.verify(token).await,
            Self::Asked(asked) => {
                let answer = asked.introspection().await?.verify(token).await;
                if let Err(VerifyError::CannotCheck(_)) = answer {
                    asked.doubt().await;
                }
                answer
            }
        }
    }
}

impl Asked {
    /// Whoever asks; found first, by one caller for all.
    async fn introspection(&self) -> Result<Arc<Introspection>, CannotCheck> {
        let mut found = self.found.lock().await;
        if let Some(introspection) = &found.introspection {
            return Ok(introspection.clone());
        }
        let now = self.watch.elapsed();
        if found.at.is_some_and(|at| now.saturating_sub(at) < LOOK_EVERY) {
            return Err(CannotCheck::Refused);
        }
        found.at = Some(now);
        let endpoint = self.find().await?;
        let authentication = ClientAuthentication::client_secret_basic(
            self.credentials.client_id.as_str(),
            self.credentials.client_secret.expose(),
        );
        let introspection = Introspection::new(&endpoint, authentication)
        .map_err(|error| {
            tracing::error!(%error, endpoint, "the authorization server names an endpoint that is not to be asked");
            CannotCheck::BadAnswer
        })?;
        let introspection = Arc::new(introspection);
        found.introspection = Some(introspection.clone());
        found.endpoint = endpoint;
        Ok(introspection)
    }

    /// After a question without an answer: the endpoint may have moved.
    async fn doubt(&self) {
        let mut found = self.found.lock().await;
        let now = self.watch.elapsed();
        if found
            .at
            .is_some_and(|at| now.saturating_sub(at) > LOOK_AGAIN_AFTER)
        {
            found.introspection = None;
        }
    }

    /// RFC 8414 §3: asks the well-known places in turn.
    async fn find(&self) -> Result<String, CannotCheck> {
        let origin = self.issuer.origin();
        for path in well_known_paths(&self.issuer) {
            let url = format!("{origin}{path}");
            let request = Request::get(&url)
                .header(header::ACCEPT, "application/json")
                .body(Full::<Bytes>::default())
                .map_err(|_| CannotCheck::Refused)?;
            let answer = self.outbound.send(request).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                continue;
            }
            if answer.status() != StatusCode::OK {
                tracing::warn!(url, status = %answer.status(), "the authorization server's metadata cannot be had");
                return Err(CannotCheck::Refused);
            }
            return self.read(&url, answer.body());
        }
        tracing::warn!(issuer = %self.issuer, "the authorization server publishes no metadata");
        Err(CannotCheck::BadAnswer)
    }

    fn read(&self, url: &str, body: &[u8]) -> Result<String, CannotCheck> {
        let metadata: serde_json::Value = serde_json::from_slice(body).map_err(|_| {
            tracing::warn!(url, "the authorization server's metadata is no JSON");
            CannotCheck::BadAnswer
        })?;
        // RFC 8414 §3.3: "The issuer value returned MUST be identical".
        if metadata["issuer"] != self.issuer.as_str() {
            tracing::warn!(url, issuer = %self.issuer, "the metadata is that of another issuer");
            return Err(CannotCheck::BadAnswer);
        }
        metadata["introspection_endpoint"].as_str().map(str::to_owned).ok_or_else(|| {
            tracing::warn!(
                url,
                "the authorization server names no introspection_endpoint: leave protect.introspection_client_id out, \
                 when its tokens are JWTs"
            );
            CannotCheck::BadAnswer
        })
    }
}
