//! Server metadata (RFC 8414).

use mcp_authflow_types::{ErrorResponse, Scope, metadata::ServerMetadata, scope::OFFLINE_ACCESS};

use crate::server::AuthorizationServer;

impl AuthorizationServer {
    /// Says what the server can do. The scopes are those of all registered resources.
    ///
    /// # Errors
    /// `temporarily_unavailable` when the store cannot be asked.
    pub async fn metadata(&self) -> Result<ServerMetadata, ErrorResponse> {
        let scopes = self.scopes_on_offer().await?;
        Ok(ServerMetadata::new(
            &self.settings().issuer,
            &scopes,
            self.settings().registration.enabled,
        )
        .with_code_challenge_methods(self.settings().code_challenge_methods())
        .with_client_documents(self.settings().client_documents.enabled)
        .with_signing_algorithms(&self.settings().client_assertions.algorithm_names()))
    }

    /// Every scope of every registered resource, `offline_access` aside.
    pub(crate) async fn scopes_on_offer(&self) -> Result<Scope, ErrorResponse> {
        let resources = self.store().list_resources().await?;
        Ok(resources
            .iter()
            .flat_map(|resource| resource.scopes.iter().map(|scope| scope.token.clone()))
            .filter(|token| token.as_str() != OFFLINE_ACCESS)
            .collect())
    }
}
