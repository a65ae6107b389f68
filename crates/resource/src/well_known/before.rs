//! A service in front of another one: answers what is its own, and passes everything else on.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use tower_service::Service;

use crate::body::ResponseBody;

/// Answers some requests, by their head alone.
#[async_trait]
pub(super) trait Answers: Send + Sync {
    async fn answer(&self, request: &Parts) -> Option<Response<Bytes>>;
}

/// A service with documents in front of it; made by [`Discovery`](super::Discovery) and
/// [`DiscoveryEndpoints`](super::DiscoveryEndpoints).
#[derive(Clone)]
pub struct WithDocuments<S> {
    inner: S,
    documents: Arc<dyn Answers>,
}

impl<S> WithDocuments<S> {
    pub(super) fn new(inner: S, documents: Arc<dyn Answers>) -> Self {
        Self { inner, documents }
    }
}

impl<S, RequestBody, Body> Service<Request<RequestBody>> for WithDocuments<S>
where
    S: Service<Request<RequestBody>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    RequestBody: Send + 'static,
{
    type Response = Response<ResponseBody<Body>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The service that was polled ready is the one to call; its clone waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let documents = Arc::clone(&self.documents);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            if let Some(answer) = documents.answer(&parts).await {
                return Ok(answer.map(ResponseBody::of_layer));
            }
            let response = inner.call(Request::from_parts(parts, body)).await?;
            Ok(response.map(ResponseBody::of_inner))
        })
    }
}

impl<S: fmt::Debug> fmt::Debug for WithDocuments<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithDocuments")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
