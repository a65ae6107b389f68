//! Takes trailing slashes off a request's path before it is routed: `/mcp/` and `/mcp` are one endpoint.
//!
//! ```
//! use axum::{Router, http::{Request, StatusCode}, routing::post};
//! use mcp_authflow_resource::normalize_path::NormalizePath;
//! use tower::{Layer as _, ServiceExt as _};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Around the router and not within it: `Router::layer` runs after routing.
//! let app = NormalizePath.layer(Router::<()>::new().route("/mcp", post(|| async { "found" })));
//! let answer = app.oneshot(Request::post("/mcp/").body(axum::body::Body::empty())?).await?;
//! assert_eq!(answer.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! # Security
//! Put it outside of everything that decides by the path, [`Protect`](crate::Protect) included: a check that sees one path
//! in front of a router that sees another is no check.

use std::task::{Context, Poll};

use http::{
    Request, Uri,
    uri::{Parts, PathAndQuery},
};
use tower_layer::Layer;
use tower_service::Service;

/// A layer that removes all slashes at the end of the path; a path of slashes only becomes `/`. The query stays.
///
/// Slashes elsewhere, percent-encoded ones and the requests of other protocols than HTTP are left alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NormalizePath;

/// A service behind the layer.
#[derive(Clone, Debug)]
pub struct Normalized<S> {
    inner: S,
}

impl<S> Layer<S> for NormalizePath {
    type Service = Normalized<S>;

    fn layer(&self, inner: S) -> Normalized<S> {
        Normalized { inner }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Normalized<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(uri) = normalized(request.uri()) {
            *request.uri_mut() = uri;
        }
        self.inner.call(request)
    }
}

/// The target without slashes at the end of its path; `None` when there are none to take off.
fn normalized(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path == "/" || !path.ends_with('/') {
        return None;
    }
    let path = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let target = match uri.query() {
        None => path.to_owned(),
        Some(query) => format!("{path}?{query}"),
    };
    let mut parts: Parts = uri.clone().into_parts();
    // What stood in a target before can stand in one.
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// S-292, S-293
    #[test]
    fn slashes_at_the_end_go_and_nothing_else() {
        for (target, expected) in [
            ("/mcp/", "/mcp"),
            ("/mcp///?a=/", "/mcp?a=/"),
            ("/a//b/", "/a//b"),
            ("//", "/"),
            ("///?q", "/?q"),
            ("/a%2F/", "/a%2F"),
            ("https://rs.test/mcp/", "https://rs.test/mcp"),
        ] {
            let uri: Uri = target.parse().unwrap();
            assert_eq!(
                normalized(&uri).map(|uri| uri.to_string()).as_deref(),
                Some(expected),
                "{target}"
            );
        }
        for target in ["/", "/mcp", "/a//b", "/a%2F", "*", "/mcp?a/", "https://rs.test/"] {
            let uri: Uri = target.parse().unwrap();
            assert_eq!(normalized(&uri), None, "{target}");
        }
    }

    /// S-292
    #[tokio::test]
    async fn the_inner_service_sees_the_path_and_the_rest_of_the_request_as_it_was() {
        use tower::ServiceExt as _;

        let inner = tower::service_fn(|request: Request<&'static str>| async move {
            Ok::<_, std::convert::Infallible>(format!(
                "{} {} {:?} {}",
                request.method(),
                request.uri(),
                request.headers().get("x-a"),
                request.body()
            ))
        });
        let request = Request::put("/mcp//?b=/")
            .header("x-a", "1")
            .body("body")
            .unwrap();
        let seen = NormalizePath.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(seen, "PUT /mcp?b=/ Some(\"1\") body");
    }
}
