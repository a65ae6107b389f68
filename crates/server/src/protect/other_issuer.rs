//! A separate authorization server: its tokens are asked about (RFC 7662), at the endpoint that its metadata names
//! (RFC 8414), or believed by its keys (RFC 9068).
//!
//! It may be down when we start: whoever calls meanwhile is answered with 503, and it is looked for again.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use mcp_authflow::port::Stopwatch as _;
use mcp_authflow_resource::{
    CannotCheck, IssuerMetadata, Outbound, OutboundSettings, TokenVerifier, VerifiedToken, VerifyError,
    verify::{Introspection, JwtVerifier, introspection::ClientAuthentication},
};
use mcp_authflow_types::Issuer;

use crate::{config::IntrospectionCredentials, system::SinceStart};

/// How long after a look for the authorization server it is not looked for again.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long an endpoint that gives no answers is believed to be still the right one.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is asked about to see whether we may ask; nobody issues it.
const NO_TOKEN: &str = "a-question-of-authflow-protect-at-its-start";

/// Verifies the tokens of a separate authorization server.
pub(crate) enum OtherIssuer {
    /// It is asked.
    Asked(Box<Asked>),
    /// Its signature is believed.
    Believed(Box<JwtVerifier>),
}

/// An authorization server that is asked about tokens. Cheap to clone: clones share what was found.
#[derive(Clone)]
pub(crate) struct Asked {
    finder: Arc<Finder>,
    look: Arc<Mutex<Look>>,
}

/// Who looks for it.
struct Finder {
    issuer: Issuer,
    credentials: IntrospectionCredentials,
    outbound: Outbound,
    watch: SinceStart,
}

/// What was found, and when.
#[derive(Default)]
struct Look {
    found: Option<Endpoint>,
    /// The look that is under way, for all who wait.
    under_way: Option<Shared<BoxFuture<'static, Result<Endpoint, CannotCheck>>>>,
    /// When it was looked for last, to the end.
    at: Option<Duration>,
}

/// Where it is asked, and by whom.
#[derive(Clone)]
struct Endpoint {
    address: Arc<str>,
    introspection: Arc<Introspection>,
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
            finder: Arc::new(Finder {
                issuer: issuer.clone(),
                credentials,
                outbound,
                watch: SinceStart::now(),
            }),
            look: Arc::default(),
        })))
    }

    /// How tokens are verified, in words for the terminal; with a warning when that cannot be done yet.
    pub(crate) async fn look(&self) -> String {
        match self {
            Self::Believed(verifier) => match verifier.fetch_keys().await {
                Ok(1) => "tokens are JWTs, verified by its key".to_owned(),
                Ok(count) => format!("tokens are JWTs, verified by its {count} keys"),
                Err(why) => {
                    format!("its keys are not to be had yet ({why}); asking again when they are needed")
                }
            },
            Self::Asked(asked) => match asked.endpoint().await {
                Ok(endpoint) => match endpoint.introspection.verify(NO_TOKEN).await {
                    Err(VerifyError::CannotCheck(why)) => {
                        format!("not to be asked yet at {}: {why}", endpoint.address)
                    }
                    Ok(_) | Err(VerifyError::Inactive) => {
                        format!("asked about each token at {}", endpoint.address)
                    }
                },
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
                    asked.doubt();
                }
                answer
            }
        }
    }
}

impl Asked {
    /// Whoever asks.
    async fn introspection(&self) -> Result<Arc<Introspection>, CannotCheck> {
        Ok(self.endpoint().await?.introspection)
    }

    /// Where to ask: found before, or looked for once for all who wait. A look goes on when whoever began it hangs up.
    async fn endpoint(&self) -> Result<Endpoint, CannotCheck> {
        let under_way = {
            let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(endpoint) = &look.found {
                return Ok(endpoint.clone());
            }
            let now = self.finder.watch.elapsed();
            match &look.under_way {
                Some(under_way) => under_way.clone(),
                None if look.at.is_some_and(|at| now.saturating_sub(at) < LOOK_EVERY) => {
                    return Err(CannotCheck::Refused);
                }
                None => look.under_way.insert(self.begin()).clone(),
            }
        };
        under_way.await
    }

    /// Looks in a task of its own, which keeps what it found.
    fn begin(&self) -> Shared<BoxFuture<'static, Result<Endpoint, CannotCheck>>> {
        let (finder, look) = (self.finder.clone(), self.look.clone());
        let task = tokio::spawn(async move {
            // A defect of ours finds nothing, and is not waited for by everybody for ever.
            let looked = AssertUnwindSafe(finder.endpoint()).catch_unwind().await;
            let result = looked.unwrap_or(Err(CannotCheck::Refused));
            let mut look = look.lock().unwrap_or_else(PoisonError::into_inner);
            look.at = Some(finder.watch.elapsed());
            look.under_way = None;
            look.found = result.as_ref().ok().cloned();
            result
        });
        async move { task.await.unwrap_or(Err(CannotCheck::Refused)) }
            .boxed()
            .shared()
    }

    /// After a question without an answer: the endpoint may have moved.
    fn doubt(&self) {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.finder.watch.elapsed();
        if look
            .at
            .is_some_and(|at| now.saturating_sub(at) > LOOK_AGAIN_AFTER)
        {
            look.found = None;
        }
    }
}

impl Finder {
    /// Finds it, and prepares to ask.
    async fn endpoint(&self) -> Result<Endpoint, CannotCheck> {
        let address = self.find().await?;
        let authentication = ClientAuthentication::client_secret_basic(
            self.credentials.client_id.as_str(),
            self.credentials.client_secret.expose(),
        );
        let introspection = Introspection::new(&address, authentication).map_err(|error| {
            tracing::error!(%error, address, "the authorization server names an endpoint that is not to be asked");
            CannotCheck::BadAnswer
        })?;
        Ok(Endpoint {
            address: address.into(),
            introspection: Arc::new(introspection),
        })
    }

    async fn find(&self) -> Result<String, CannotCheck> {
        let metadata = IssuerMetadata::ask(&self.outbound, &self.issuer).await?;
        metadata.text("introspection_endpoint").map(str::to_owned).ok_or_else(|| {
            tracing::warn!(
                issuer = %self.issuer,
                "the authorization server names no introspection_endpoint: leave protect.introspection_client_id out, \
                 when its tokens are JWTs"
            );
            CannotCheck::BadAnswer
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use mcp_authflow_types::{ClientId, ClientSecret};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::{Instant, sleep, timeout},
    };

    use super::*;

    /// An authorization server whose metadata comes after this time, or never.
    async fn asked(answers_after: Option<Duration>) -> Arc<Asked> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let body = format!(r#"{{"issuer":"{issuer}","introspection_endpoint":"{issuer}/introspect"}}"#);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let body = body.clone();
                tokio::spawn(async move {
                    let mut request = [0; 1_024];
                    while connection.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let Some(after) = answers_after else { continue };
                        sleep(after).await;
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                        let _ = connection.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        let credentials = IntrospectionCredentials {
            client_id: ClientId::parse("gateway").unwrap(),
            client_secret: ClientSecret::mint(&[7; 32]),
        };
        match OtherIssuer::new(&Issuer::parse(&issuer).unwrap(), Some(credentials)).unwrap() {
            OtherIssuer::Asked(asked) => (*asked).into(),
            OtherIssuer::Believed(_) => unreachable!("there are credentials"),
        }
    }

    /// P9: whoever calls and hangs up takes nothing from the others.
    #[tokio::test]
    async fn the_server_is_looked_for_by_the_next_one_when_the_first_has_gone() {
        let asked = asked(Some(Duration::from_millis(200))).await;
        for _ in 0..2 {
            assert!(
                timeout(Duration::from_millis(20), asked.introspection())
                    .await
                    .is_err()
            );
        }
        assert!(asked.introspection().await.is_ok());
    }

    /// P9: a crowd does not queue up for one time limit each.
    #[tokio::test]
    async fn a_server_that_hangs_is_looked_for_once_for_all_who_wait() {
        let asked = asked(None).await;
        let start = Instant::now();
        let crowd: Vec<_> = (0..4)
            .map(|_| {
                let asked = Arc::clone(&asked);
                tokio::spawn(async move { asked.introspection().await.err() })
            })
            .collect();
        for one in crowd {
            assert!(one.await.unwrap().is_some());
        }
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
}
