//! The documents of several protected resources on one host.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Response, request::Parts};
use tower_layer::Layer;

use super::{AuthorizationServerAliases, WellKnown, WithDocuments, before::Answers, document::Document};
use crate::{
    metadata::{ResourceMetadata, WELL_KNOWN},
    outbound::{InvalidEndpoint, OutboundSettings},
};

/// A layer that answers everything under `/.well-known/` for several resources, each with its own document (RFC 9728 §3.1),
/// and passes all other requests on.
///
/// One [`Protect`](crate::Protect) around a whole app needs none of this. Where each route has a protection of its own,
/// this goes around all of them:
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode}, routing::post};
/// use mcp_authflow_resource::{ProtectedResource, well_known::Discovery};
/// use tower::ServiceExt as _;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let protect = |url: &str| {
///     ProtectedResource::builder(url, "https://auth.example").introspect_with("rs", "secret").build()
/// };
/// let (notes, mail) = (protect("https://mcp.example/notes/mcp")?, protect("https://mcp.example/mail/mcp")?);
/// let discovery = Discovery::builder().resource(notes.metadata()).resource(mail.metadata()).build()?;
/// let app: Router = Router::new()
///     .merge(Router::new().route("/notes/mcp", post(|| async { "notes" })).route_layer(notes))
///     .merge(Router::new().route("/mail/mcp", post(|| async { "mail" })).route_layer(mail))
///     .layer(discovery);
///
/// let document = "/.well-known/oauth-protected-resource/mail/mcp";
/// let answer = app.oneshot(Request::get(document).body(Body::empty())?).await?;
/// assert_eq!(answer.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Discovery {
    well_known: Arc<WellKnown>,
}

/// The resources of a [`Discovery`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is answered before `build`"]
pub struct DiscoveryBuilder {
    resources: Vec<ResourceMetadata>,
    at_root: Option<String>,
    aliases: AuthorizationServerAliases,
    outbound: OutboundSettings,
}

/// Why the documents cannot stand beside each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDiscovery {
    /// No resource.
    #[error("there is no resource to be discovered")]
    Empty,
    /// Two resources have the same path, and so the same document.
    #[error("two resources have their document at {0}")]
    SamePath(String),
    /// The resource for the bare path is none of those here.
    #[error("{0} is to be found at the bare path, and is none of the resources")]
    UnknownRoot(String),
    /// The authorization server's own metadata cannot be fetched.
    #[error("the authorization server's metadata cannot be fetched: {0}")]
    AuthorizationServer(#[from] InvalidEndpoint),
}

impl Discovery {
    /// Begins with no resource.
    pub fn builder() -> DiscoveryBuilder {
        DiscoveryBuilder::default()
    }

    /// The paths at which there is a document.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.well_known.paths()
    }
}

impl DiscoveryBuilder {
    /// Adds a resource, such as that of [`Protect::metadata`](crate::Protect::metadata).
    pub fn resource(mut self, metadata: &ResourceMetadata) -> Self {
        self.resources.push(metadata.clone());
        self
    }

    /// Answers for this resource at the bare path `/.well-known/oauth-protected-resource`, too. Default: the one without a
    /// path, or the only one; otherwise nobody, since a client must refuse the document of another resource than the one it
    /// calls (RFC 9728 §3.3).
    pub fn at_root(mut self, resource: impl Into<String>) -> Self {
        self.at_root = Some(resource.into());
        self
    }

    /// Answers for the authorization servers' metadata, too; each resource's first one with its path behind, and the one of
    /// the resource at the bare path there. Default: [`AuthorizationServerAliases::Off`].
    pub fn authorization_server_aliases(mut self, aliases: AuthorizationServerAliases) -> Self {
        self.aliases = aliases;
        self
    }

    /// How an authorization server is asked for [`AuthorizationServerAliases::Copy`]. Default:
    /// [`OutboundSettings::default`].
    pub fn outbound(mut self, settings: OutboundSettings) -> Self {
        self.outbound = settings;
        self
    }

    /// Puts the documents at their places.
    ///
    /// # Errors
    /// [`InvalidDiscovery`]
    pub fn build(self) -> Result<Discovery, InvalidDiscovery> {
        let root = self.root()?;
        let mut well_known = WellKnown::default();
        // Of two spellings of a path, with a slash at the end and without, a resource's own comes before another's alias.
        let mut second: BTreeMap<String, Document> = BTreeMap::new();
        for metadata in &self.resources {
            let document = Document::new(metadata.body());
            let mut paths = metadata.inserted_paths().into_iter();
            if let Some(path) = paths.next()
                && let Some(_) = well_known.documents.insert(path.clone(), document.clone())
            {
                return Err(InvalidDiscovery::SamePath(path));
            }
            second.extend(paths.map(|path| (path, document.clone())));
            well_known.add_aliases(metadata, self.aliases, &self.outbound, metadata.path())?;
        }
        if let Some(metadata) = root {
            second.insert(WELL_KNOWN.to_owned(), Document::new(metadata.body()));
            well_known.add_aliases(metadata, self.aliases, &self.outbound, "")?;
        }
        for (path, document) in second {
            well_known.documents.entry(path).or_insert(document);
        }
        Ok(Discovery {
            well_known: Arc::new(well_known),
        })
    }

    fn root(&self) -> Result<Option<&ResourceMetadata>, InvalidDiscovery> {
        match (&self.at_root, self.resources.as_slice()) {
            (_, []) => Err(InvalidDiscovery::Empty),
            (None, [only]) => Ok(Some(only)),
            (None, several) => Ok(several.iter().find(|metadata| metadata.path().is_empty())),
            (Some(named), several) => match several.iter().find(|one| one.resource().as_str() == named) {
                None => Err(InvalidDiscovery::UnknownRoot(named.clone())),
                found => Ok(found),
            },
        }
    }
}

#[async_trait]
impl Answers for WellKnown {
    async fn answer(&self, request: &Parts) -> Option<Response<Bytes>> {
        WellKnown::answer(self, request).await
    }
}

impl<S> Layer<S> for Discovery {
    type Service = WithDocuments<S>;

    fn layer(&self, inner: S) -> WithDocuments<S> {
        let documents: Arc<dyn Answers> = Arc::<WellKnown>::clone(&self.well_known);
        WithDocuments::new(inner, documents)
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths()).finish()
    }
}
