//! What the layer answers under `/.well-known/`: the metadata document at each of its paths, and a JSON 404 elsewhere.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header, request::Parts};

use crate::{cors, metadata::ResourceMetadata, refusal::json};

/// How long the metadata document may be kept: five minutes, so that a change of mind arrives soon.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The documents and where they are.
#[derive(Clone, Debug)]
pub(crate) struct WellKnown {
    body: Bytes,
    paths: Vec<String>,
}

impl WellKnown {
    /// The document of one resource, at every spelling.
    pub(crate) fn of(metadata: &ResourceMetadata) -> Self {
        Self {
            body: Bytes::from(metadata.body()),
            paths: metadata.well_known_paths(),
        }
    }

    /// The paths at which there is a document.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Answers everything under `/.well-known/`. Clients probe there for documents of many kinds, and take a 401 or a page
    /// for the end of the road (M §6.4.7).
    #[expect(clippy::unused_async, reason = "documents of others are asked for")]
    pub(crate) async fn answer(&self, request: &Parts) -> Option<Response<Bytes>> {
        let path = request.uri.path();
        if !path.starts_with("/.well-known/") {
            return None;
        }
        let mut answer = if !self.paths.iter().any(|known| known == path) {
            json(
                404,
                r#"{"error":"not_found","error_description":"there is no such document"}"#.to_owned(),
            )
        } else if request.method == Method::GET || request.method == Method::HEAD {
            self.document(request.method == Method::HEAD)
        } else if request.method == Method::OPTIONS {
            let mut answer = json(204, String::new());
            answer.headers_mut().remove(header::CONTENT_TYPE);
            answer
        } else {
            let mut answer = json(
                405,
                r#"{"error":"method_not_allowed","error_description":"use GET or HEAD"}"#.to_owned(),
            );
            let allow = HeaderValue::from_static("GET, HEAD, OPTIONS");
            answer.headers_mut().insert(header::ALLOW, allow);
            answer
        };
        cors::admit_all(answer.headers_mut());
        Some(answer)
    }

    fn document(&self, is_head: bool) -> Response<Bytes> {
        let mut answer = json(200, String::new());
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
        headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        if !is_head {
            *answer.body_mut() = self.body.clone();
        }
        answer
    }
}
