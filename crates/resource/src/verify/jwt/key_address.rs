//! Where the issuer's keys are, and how they are brought from there.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use mcp_authflow_types::Issuer;

use crate::{
    issuer_metadata::IssuerMetadata,
    outbound::{InvalidEndpoint, Outbound, OutboundSettings},
    verify::CannotCheck,
};

/// An address that was said, or one that is found in the issuer's metadata.
#[derive(Debug)]
pub(super) struct KeyAddress {
    outbound: Outbound,
    /// Whose metadata names the address; `None` when it was said.
    issuer: Option<Issuer>,
    url: Mutex<Option<String>>,
}

impl KeyAddress {
    pub(super) fn at(url: &str, time_limit: Duration) -> Result<Self, InvalidEndpoint> {
        let outbound = outbound(time_limit);
        outbound.endpoint(url)?;
        Ok(Self {
            outbound,
            issuer: None,
            url: Mutex::new(Some(url.to_owned())),
        })
    }

    pub(super) fn in_metadata_of(issuer: &Issuer, time_limit: Duration) -> Result<Self, InvalidEndpoint> {
        let outbound = outbound(time_limit);
        outbound.endpoint(issuer.as_str())?;
        Ok(Self {
            outbound,
            issuer: Some(issuer.clone()),
            url: Mutex::new(None),
        })
    }

    /// Brings the keys, as they came.
    pub(super) async fn fetch(&self) -> Result<Bytes, CannotCheck> {
        let known = self.url().clone();
        let url = match (known, &self.issuer) {
            (Some(url), _) => url,
            (None, Some(issuer)) => self.find(issuer).await?,
            (None, None) => return Err(CannotCheck::Refused),
        };
        match self.get(&url).await {
            Ok((StatusCode::OK, body)) => {
                *self.url() = Some(url);
                Ok(body)
            }
            outcome => {
                if self.issuer.is_some() {
                    // Perhaps they have moved: the next try looks it up anew.
                    *self.url() = None;
                }
                let status = outcome?.0;
                tracing::warn!(url, %status, "the issuer's keys are not given out");
                Err(CannotCheck::Refused)
            }
        }
    }

    /// Finds the address in the issuer's metadata.
    async fn find(&self, issuer: &Issuer) -> Result<String, CannotCheck> {
        let metadata = IssuerMetadata::ask(&self.outbound, issuer).await?;
        let named = metadata
            .text("jwks_uri")
            .filter(|url| self.outbound.endpoint(url).is_ok());
        named.map(str::to_owned).ok_or_else(|| {
            tracing::warn!(%issuer, "the issuer's metadata names no keys that may be fetched");
            CannotCheck::BadAnswer
        })
    }

    async fn get(&self, url: &str) -> Result<(StatusCode, Bytes), CannotCheck> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = url.parse().map_err(|_| CannotCheck::BadAnswer)?;
        let accept = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::ACCEPT, accept);
        let response = self.outbound.send(request).await?;
        Ok((response.status(), response.into_body()))
    }

    fn url(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.url.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that has an answer, even a bad one, within this time.
fn outbound(time_limit: Duration) -> Outbound {
    Outbound::new(OutboundSettings {
        time_limit,
        ..OutboundSettings::default()
    })
}
