//! Who is calling, and what they may do: the verified facts of the token, for handlers behind the layer.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Extensions, Response};
use mcp_authflow_types::{ClientId, Scope, Timestamp};

use crate::{challenge::Challenge, refusal::Refusal, verify::VerifiedToken};

/// The caller of a request that the layer let in.
///
/// It stands in the request's extensions. In an `rmcp` tool, take it from the HTTP parts; in a plain axum handler (with
/// this crate's feature `axum`), it is an extractor.
///
/// ```
/// use http::{Response, request::Parts};
/// use mcp_authflow_resource::{Caller, InsufficientScope};
///
/// fn delete_note(request: &Parts) -> Result<(), InsufficientScope> {
///     let Some(caller) = Caller::of(&request.extensions) else { unreachable!("the layer is in front") };
///     caller.require_scope("notes:write")?;
///     // … delete the note of caller.subject() …
///     Ok(())
/// }
/// ```
///
/// # Security
/// Only the layer makes one. It holds facts about the token and not the token: there is nothing in it to pass on
/// (M-125).
#[derive(Clone)]
pub struct Caller {
    token: Arc<VerifiedToken>,
    challenge: Arc<Challenge>,
}

impl Caller {
    /// Made by the layer when all checks have passed. `challenge` carries the scopes of the route.
    pub(crate) fn admit(token: VerifiedToken, challenge: Arc<Challenge>) -> Self {
        Self {
            token: Arc::new(token),
            challenge,
        }
    }

    /// The caller of the request with these extensions; `None` when the layer is not in front.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// On whose behalf the client calls: the person's stable identifier at the authorization server, or the client's own
    /// id for `client_credentials`. Key what you keep by this, together with [`issuer`](Self::issuer) where several are
    /// trusted.
    pub fn subject(&self) -> Option<&str> {
        self.token.subject.as_deref()
    }

    /// Who issued the token (`iss`), where the issuer says so or several are trusted: the place in which
    /// [`subject`](Self::subject) means somebody.
    pub fn issuer(&self) -> Option<&str> {
        self.token.issuer.as_deref()
    }

    /// The audience of the token by which it was let in: one of the resource's spellings, or a parent of it where
    /// [`AudienceRule`](crate::AudienceRule) allows that.
    pub fn resource(&self) -> Option<&str> {
        self.token.resource.as_deref()
    }

    /// What tells people apart whose subject is not known: introspection need not tell it (RFC 7662 §2.2), and one client
    /// serves many people. `None` where there is a subject.
    ///
    /// # Security
    /// Whatever belongs to a caller from request to request is kept by issuer, subject, client, and this (M-127).
    pub fn name_in_place_of_subject(&self) -> Option<&str> {
        self.username().filter(|_| self.subject().is_none())
    }

    /// The person's name, for showing. It may change; see [`subject`](Self::subject).
    pub fn username(&self) -> Option<&str> {
        self.token.username.as_deref()
    }

    /// The client through which they call.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.token.client_id.as_ref()
    }

    /// Whether no person is behind the call: the token was issued to the client itself (RFC 6749 §4.4).
    pub fn is_the_client_itself(&self) -> bool {
        match (self.subject(), self.client_id()) {
            (Some(subject), Some(client)) => subject == client.as_str(),
            (subject, _) => subject.is_none(),
        }
    }

    /// What the token allows, with all that its scopes imply
    /// ([`Builder::scope_implies`](crate::Builder::scope_implies)).
    pub fn scope(&self) -> &Scope {
        &self.token.scope
    }

    /// When the token ends, if it does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.token.expires_at
    }

    /// Everything the issuer said of the token.
    pub fn token(&self) -> &VerifiedToken {
        &self.token
    }

    /// Makes sure that the token allows *all* of `scope`, one or several tokens with a space between.
    ///
    /// # Errors
    /// [`InsufficientScope`], which becomes the 403 that makes a client ask its person for more. A `scope` that breaks
    /// the syntax of RFC 6749 §3.3 is never allowed.
    pub fn require_scope(&self, scope: &str) -> Result<(), InsufficientScope> {
        let Ok(needed) = Scope::parse(scope) else {
            return Err(self.refuse(&Scope::empty()));
        };
        self.require(&needed)
    }

    /// The same for a scope that has been read.
    pub(crate) fn require(&self, needed: &Scope) -> Result<(), InsufficientScope> {
        if self.token.scope.covers(needed) {
            Ok(())
        } else {
            Err(self.refuse(needed))
        }
    }

    fn refuse(&self, needed: &Scope) -> InsufficientScope {
        // M-025: everything that the operation needs at once, the route's own scopes included; otherwise the client
        // comes back with a token that lacks the other half.
        let required = self.challenge.scope().union(needed);
        tracing::info!(
            client_id = self.client_id().map(ClientId::as_str),
            subject = self.subject(),
            %required,
            "refused: the token lacks a scope"
        );
        InsufficientScope {
            held: self.token.scope.clone(),
            challenge: Challenge::clone(&self.challenge).with_scope(required),
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.token, f)
    }
}

/// The token allows too little for the operation.
///
/// `http::Response::from` makes the 403 with its challenge (RFC 6750 §3.1, M-024) over any body that can be made from
/// bytes; with the feature `axum` it is an axum response as it stands.
#[derive(Clone, Debug)]
pub struct InsufficientScope {
    held: Scope,
    challenge: Challenge,
}

impl InsufficientScope {
    /// All scopes that the operation needs.
    pub fn required(&self) -> &Scope {
        self.challenge.scope()
    }

    /// Those of them that the token lacks.
    pub fn missing(&self) -> Scope {
        let lacks = |token: &&mcp_authflow_types::ScopeToken| !self.held.contains(token.as_str());
        self.required().iter().filter(lacks).cloned().collect()
    }
}

impl fmt::Display for InsufficientScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the access token lacks the scope {}", self.missing())
    }
}

impl std::error::Error for InsufficientScope {}

impl<B: From<Bytes>> From<InsufficientScope> for Response<B> {
    fn from(refused: InsufficientScope) -> Self {
        Refusal::InsufficientScope
            .response(&refused.challenge)
            .map(B::from)
    }
}

#[cfg(feature = "axum")]
mod extract {
    use axum::{
        body::Body,
        extract::FromRequestParts,
        response::{IntoResponse, Response},
    };
    use http::request::Parts;
    use mcp_authflow_types::{ErrorCode, ErrorResponse};

    use super::{Caller, InsufficientScope};
    use crate::refusal::json;

    /// Rejects with 500 when the layer is not in front of the handler: a fault of the program, not of the caller.
    impl<S: Sync> FromRequestParts<S> for Caller {
        type Rejection = Response;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
            Self::of(&parts.extensions).cloned().ok_or_else(|| {
                tracing::error!(
                    "a handler asks for its Caller but mcp_authflow_resource::Protect is not in front of it"
                );
                let error = ErrorResponse::new(ErrorCode::ServerError);
                json(error.status(), error.body()).map(Body::from)
            })
        }
    }

    impl IntoResponse for InsufficientScope {
        fn into_response(self) -> Response {
            self.into()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::StatusCode;

    use super::*;
    use crate::challenge::tests::parse;

    fn caller(scope: &str) -> Caller {
        let token = VerifiedToken {
            scope: Scope::parse(scope).unwrap(),
            subject: Some("u1".to_owned()),
            client_id: ClientId::parse("c1").ok(),
            ..VerifiedToken::default()
        };
        let challenge =
            Challenge::bearer("https://rs.test/prm").with_scope(Scope::parse("notes:read").unwrap());
        Caller::admit(token, Arc::new(challenge))
    }

    #[test]
    fn what_the_token_allows_is_allowed() {
        let caller = caller("notes:read notes:write");
        assert!(caller.require_scope("notes:write").is_ok());
        assert!(caller.require_scope("notes:write notes:read").is_ok());
        assert!(caller.require_scope("").is_ok());
    }

    /// M-024, M-025, M-026
    #[test]
    fn a_refusal_names_all_scopes_of_the_operation_at_once() {
        let refused = caller("notes:read")
            .require_scope("notes:write notes:delete")
            .unwrap_err();
        assert_eq!(refused.missing().to_string(), "notes:delete notes:write");
        assert_eq!(
            refused.to_string(),
            "the access token lacks the scope notes:delete notes:write"
        );
        let response: Response<Bytes> = refused.into();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let (scheme, parameters) = parse(&response.headers()["www-authenticate"]);
        assert_eq!(scheme, "Bearer");
        let description = "the access token does not allow this operation";
        let expected = [
            ("error", "insufficient_scope"),
            ("error_description", description),
            ("scope", "notes:delete notes:read notes:write"),
            ("resource_metadata", "https://rs.test/prm"),
        ];
        assert_eq!(
            parameters,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(
            response.into_body(),
            format!(r#"{{"error":"insufficient_scope","error_description":"{description}"}}"#)
        );
    }

    /// M-031: whoever reads the log sees who asked for more, by which client, and for what; it is no more than is needed.
    #[test]
    fn every_request_for_more_is_told_to_the_log() {
        use std::sync::Mutex;

        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (log, caller) = (Log::default(), caller("notes:read"));
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            caller.require_scope("notes:read").unwrap();
            caller.require_scope("notes:write").unwrap_err();
        });
        let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        for said in [
            "client_id=\"c1\"",
            "subject=\"u1\"",
            "required=notes:read notes:write",
        ] {
            assert!(written.contains(said), "{said}: {written}");
        }
    }

    #[test]
    fn a_scope_that_is_none_is_never_allowed() {
        let refused = caller("a b").require_scope("a  b").unwrap_err();
        assert_eq!(refused.required().to_string(), "notes:read");
    }

    /// RP-19
    /// M-127
    #[test]
    fn a_name_stands_in_only_where_there_is_no_subject() {
        let named = |subject: Option<&str>| {
            let mut token = VerifiedToken::clone(caller("").token());
            token.subject = subject.map(str::to_owned);
            token.username = Some("alice".to_owned());
            Caller::admit(token, Arc::new(Challenge::bearer("https://rs.test/prm")))
        };
        assert_eq!(named(None).name_in_place_of_subject(), Some("alice"));
        assert_eq!(named(Some("u1")).name_in_place_of_subject(), None);
    }

    #[test]
    fn a_client_that_calls_for_itself_is_told_from_one_that_calls_for_a_person() {
        assert!(!caller("").is_the_client_itself());
        let mut token = VerifiedToken::clone(caller("").token());
        token.subject = Some("c1".to_owned());
        let challenge = Arc::new(Challenge::bearer("https://rs.test/prm"));
        assert!(Caller::admit(token, challenge).is_the_client_itself());
    }
}
