//! The documents under `/.well-known/`, which are open to everyone: where a client finds out whom to ask for a token.
//!
//! [`Protect`](crate::Protect) answers those of its own resource by itself. This room is for more than that:
//!
//! | file | what | source |
//! |---|---|---|
//! | `document` | one JSON document: its bytes, its `ETag`, conditional requests | RFC 9110 §13 |
//! | [`Discovery`] | the documents of several resources on one host | RFC 9728 §3.1 |
//! | [`AuthorizationServerAliases`] | the authorization server's own metadata, for clients that look here | RFC 8414, MCP 2025-03-26 |
//! | [`DiscoveryEndpoints`] | the five routes of the Python package, byte for byte | – |

mod authorization_server;
mod before;
mod discovery;
mod discovery_endpoints;
mod document;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header, request::Parts};

use self::{authorization_server::Alias, document::Document};
pub use self::{
    authorization_server::AuthorizationServerAliases,
    before::WithDocuments,
    discovery::{Discovery, DiscoveryBuilder, InvalidDiscovery},
    discovery_endpoints::{
        CorsHeaderBuilder, DEFAULT_SCOPES, DiscoveryEndpoints, DiscoverySettings, InvalidDiscoveryEndpoints,
    },
};
use crate::{
    cors,
    metadata::ResourceMetadata,
    outbound::{InvalidEndpoint, OutboundSettings},
    refusal::json,
};

/// The documents and where they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct WellKnown {
    documents: BTreeMap<String, Document>,
    aliases: BTreeMap<String, Arc<Alias>>,
}

impl WellKnown {
    /// The document of one resource, at every spelling.
    pub(crate) fn of(
        metadata: &ResourceMetadata,
        aliases: AuthorizationServerAliases,
        outbound: &OutboundSettings,
    ) -> Result<Self, InvalidEndpoint> {
        let document = Document::new(metadata.body());
        let documents = metadata
            .well_known_paths()
            .into_iter()
            .map(|path| (path, document.clone()))
            .collect();
        let mut well_known = Self {
            documents,
            ..Self::default()
        };
        well_known.add_aliases(metadata, aliases, outbound, "")?;
        well_known.add_aliases(metadata, aliases, outbound, metadata.path())?;
        Ok(well_known)
    }

    /// The metadata of the resource's first authorization server, at the addresses that `path` makes.
    fn add_aliases(
        &mut self,
        metadata: &ResourceMetadata,
        aliases: AuthorizationServerAliases,
        outbound: &OutboundSettings,
        path: &str,
    ) -> Result<(), InvalidEndpoint> {
        for (alias_path, alias) in aliases.of(metadata.authorization_server(), outbound, path)? {
            self.aliases.insert(alias_path, alias);
        }
        Ok(())
    }

    /// The paths at which there is a document.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.documents
            .keys()
            .chain(self.aliases.keys())
            .map(String::as_str)
    }

    /// Answers everything under `/.well-known/`. Clients probe there for documents of many kinds, and take a 401 or a page
    /// for the end of the road (M §6.4.7).
    pub(crate) async fn answer(&self, request: &Parts) -> Option<Response<Bytes>> {
        let path = request.uri.path();
        if !path.starts_with("/.well-known/") {
            return None;
        }
        let document = self.documents.get(path);
        let alias = self.aliases.get(path);
        let mut answer = if document.is_none() && alias.is_none() {
            json(
                404,
                r#"{"error":"not_found","error_description":"there is no such document"}"#.to_owned(),
            )
        } else if request.method == Method::OPTIONS {
            let mut answer = json(204, String::new());
            answer.headers_mut().remove(header::CONTENT_TYPE);
            answer
        } else if request.method != Method::GET && request.method != Method::HEAD {
            let mut answer = json(
                405,
                r#"{"error":"method_not_allowed","error_description":"use GET or HEAD"}"#.to_owned(),
            );
            let allow = HeaderValue::from_static("GET, HEAD, OPTIONS");
            answer.headers_mut().insert(header::ALLOW, allow);
            answer
        } else if let Some(document) = document {
            document.answer(request)
        } else {
            alias?.answer(request).await
        };
        cors::admit_all(answer.headers_mut());
        Some(answer)
    }
}
