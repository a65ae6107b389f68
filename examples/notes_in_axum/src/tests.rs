//! The API as its callers see it, with a verifier in place of the authorization server.

use axum::{body::Body, http::Request, response::Response};
use mcp_authflow_resource::{Scope, TokenVerifier, VerifiedToken, VerifyError};
use tower::ServiceExt as _;

use super::*;

/// Takes `alice.notes-read~notes-write` for a token of alice with two scopes.
struct ByName;

#[async_trait::async_trait]
impl TokenVerifier for ByName {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let (subject, scope) = token.split_once('.').ok_or(VerifyError::Inactive)?;
        let mut verified = VerifiedToken::default();
        verified.subject = Some(subject.to_owned());
        verified.scope = Scope::parse(&scope.replace('~', " ").replace('-', ":")).unwrap();
        verified.audience = vec!["http://127.0.0.1:8002/notes".to_owned()];
        Ok(verified)
    }
}

async fn call(app: &Router, line: &str, token: Option<&str>, body: &'static str) -> (u16, Response) {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = app
        .clone()
        .oneshot(request.body(Body::from(body)).unwrap())
        .await
        .unwrap();
    (response.status().as_u16(), response)
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn notes_app() -> Router {
    let protection = ProtectedResource::builder("http://127.0.0.1:8002/notes", "http://127.0.0.1:8000");
    app(protection.verify_with(ByName)).unwrap()
}

#[tokio::test]
async fn everyone_has_their_own_notes() {
    let app = notes_app();
    let (alice, bob) = (Some("alice.notes-write"), Some("bob.notes-write"));
    assert_eq!(call(&app, "POST /notes", alice, "milk").await.0, 201);
    assert_eq!(call(&app, "DELETE /notes/1", bob, "").await.0, 404);
    let (status, answer) = call(&app, "GET /notes", alice, "").await;
    assert_eq!((status, text(answer).await.as_str()), (200, r#"{"1":"milk"}"#));
    assert_eq!(text(call(&app, "GET /notes", bob, "").await.1).await, "{}");
    assert_eq!(call(&app, "DELETE /notes/1", alice, "").await.0, 204);
}

#[tokio::test]
async fn reading_is_not_writing() {
    let app = notes_app();
    let (status, answer) = call(&app, "POST /notes", Some("alice.notes-read"), "milk").await;
    assert_eq!(status, 403);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains(r#"scope="notes:read notes:write""#),
        "{challenge}"
    );
    assert_eq!(
        text(call(&app, "GET /notes", Some("alice.notes-read"), "").await.1).await,
        "{}"
    );
}

#[tokio::test]
async fn strangers_find_the_front_page_and_the_way_to_a_token() {
    let app = notes_app();
    assert_eq!(call(&app, "GET /", None, "").await.0, 200);
    for line in ["GET /notes", "DELETE /notes/1", "GET /elsewhere"] {
        assert_eq!(call(&app, line, None, "").await.0, 401, "{line}");
    }
    let (status, document) = call(&app, "GET /.well-known/oauth-protected-resource/notes", None, "").await;
    assert_eq!(status, 200);
    assert!(
        text(document)
            .await
            .contains(r#""resource":"http://127.0.0.1:8002/notes""#)
    );
}
