//! What the server says of itself (RFC 8414, and OpenID Connect Discovery's spelling of it).

use crate::{
    GrantType, Issuer, ResponseType, Scope, TokenEndpointAuthMethod,
    pkce::{Method, MethodPolicy},
    registry::ResponseMode,
    scope::OFFLINE_ACCESS,
};

/// Authorization server metadata. Members of features that do not work are absent, never null (RFC 8414 §3.2).
#[derive(Clone, Debug, serde::Serialize)]
pub struct ServerMetadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    device_authorization_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    scopes_supported: Vec<String>,
    response_types_supported: &'static [ResponseType],
    response_modes_supported: &'static [ResponseMode],
    grant_types_supported: &'static [GrantType],
    token_endpoint_auth_methods_supported: &'static [TokenEndpointAuthMethod],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    revocation_endpoint_auth_methods_supported: &'static [TokenEndpointAuthMethod],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revocation_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    introspection_endpoint_auth_methods_supported: &'static [TokenEndpointAuthMethod],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    introspection_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    code_challenge_methods_supported: &'static [Method],
    authorization_response_iss_parameter_supported: bool,
    client_id_metadata_document_supported: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_documentation: Option<String>,
}

impl ServerMetadata {
    /// Describes the server of this issuer. `scopes` are those of all registered resources; `offline_access` joins them,
    /// since clients wait for it before they ask for refresh tokens (M-116).
    pub fn new(issuer: &Issuer, scopes: &Scope, registration: bool) -> Self {
        const PROVEN: &[TokenEndpointAuthMethod] = &[
            TokenEndpointAuthMethod::ClientSecretBasic,
            TokenEndpointAuthMethod::ClientSecretPost,
            TokenEndpointAuthMethod::PrivateKeyJwt,
        ];
        let mut scopes_supported: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        scopes_supported.push(OFFLINE_ACCESS.to_owned());
        Self {
            issuer: issuer.to_string(),
            authorization_endpoint: issuer.endpoint("/authorize"),
            token_endpoint: issuer.endpoint("/token"),
            jwks_uri: issuer.endpoint("/jwks"),
            registration_endpoint: registration.then(|| issuer.endpoint("/register")),
            device_authorization_endpoint: issuer.endpoint("/device_authorization"),
            revocation_endpoint: issuer.endpoint("/revoke"),
            introspection_endpoint: issuer.endpoint("/introspect"),
            scopes_supported,
            response_types_supported: ResponseType::ALL,
            response_modes_supported: ResponseMode::ALL,
            grant_types_supported: GrantType::ALL,
            token_endpoint_auth_methods_supported: TokenEndpointAuthMethod::ALL,
            token_endpoint_auth_signing_alg_values_supported: Vec::new(),
            revocation_endpoint_auth_methods_supported: TokenEndpointAuthMethod::ALL,
            revocation_endpoint_auth_signing_alg_values_supported: Vec::new(),
            introspection_endpoint_auth_methods_supported: PROVEN,
            introspection_endpoint_auth_signing_alg_values_supported: Vec::new(),
            code_challenge_methods_supported: MethodPolicy::S256Only.methods(),
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: false,
            service_documentation: None,
        }
    }

    /// Says which PKCE methods count; S256 alone unless this is called.
    #[must_use]
    pub const fn with_code_challenge_methods(mut self, policy: MethodPolicy) -> Self {
        self.code_challenge_methods_supported = policy.methods();
        self
    }

    /// Says whether a client may be named by the URL of its metadata document
    /// (draft-ietf-oauth-client-id-metadata-document §5); no unless this is called.
    #[must_use]
    pub const fn with_client_documents(mut self, supported: bool) -> Self {
        self.client_id_metadata_document_supported = supported;
        self
    }

    /// Says with which algorithms clients may sign assertions, at every endpoint that takes `private_key_jwt` (RFC 8414 §2:
    /// such a list "MUST be present" there).
    #[must_use]
    pub fn with_signing_algorithms(mut self, algorithms: &[&'static str]) -> Self {
        algorithms.clone_into(&mut self.token_endpoint_auth_signing_alg_values_supported);
        algorithms.clone_into(&mut self.revocation_endpoint_auth_signing_alg_values_supported);
        algorithms.clone_into(&mut self.introspection_endpoint_auth_signing_alg_values_supported);
        self
    }

    /// The JSON body, the same bytes at every spelling of the well-known address.
    pub fn body(&self) -> String {
        // Strings and booleans cannot fail to serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Every path, from the origin, at which clients look for the metadata of this issuer (M-044; RFC 8414 §3.1, OpenID
/// Connect Discovery §4).
pub fn well_known_paths(issuer: &Issuer) -> Vec<String> {
    let path = issuer.path();
    let mut paths = Vec::with_capacity(4);
    for name in ["oauth-authorization-server", "openid-configuration"] {
        paths.push(format!("/.well-known/{name}{path}"));
        if !path.is_empty() {
            paths.push(format!("{path}/.well-known/{name}"));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    /// M-044
    #[test]
    fn all_spellings_are_listed_for_an_issuer_with_and_without_a_path() {
        let plain = Issuer::parse("https://a.example").unwrap();
        assert_eq!(
            well_known_paths(&plain),
            [
                "/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration"
            ]
        );
        let tenant = Issuer::parse("https://a.example/t").unwrap();
        assert_eq!(
            well_known_paths(&tenant),
            [
                "/.well-known/oauth-authorization-server/t",
                "/t/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration/t",
                "/t/.well-known/openid-configuration",
            ]
        );
    }

    /// M-049, M-050, M-116
    #[test]
    fn lists_are_built_from_what_works_and_nothing_is_null() {
        let issuer = Issuer::parse("https://a.example/t").unwrap();
        let metadata = ServerMetadata::new(&issuer, &Scope::parse("mcp:read").unwrap(), true);
        let value: serde_json::Value = serde_json::from_str(&metadata.body()).unwrap();
        let object = value.as_object().unwrap();
        assert!(
            object
                .values()
                .all(|member| !member.is_null() && member != &serde_json::json!([]))
        );
        assert_eq!(object["issuer"], "https://a.example/t");
        assert_eq!(object["token_endpoint"], "https://a.example/t/token");
        assert_eq!(
            object["scopes_supported"],
            serde_json::json!(["mcp:read", "offline_access"])
        );
        assert_eq!(
            object["code_challenge_methods_supported"],
            serde_json::json!(["S256"])
        );
        assert!(
            object["token_endpoint_auth_methods_supported"]
                .as_array()
                .unwrap()
                .contains(&"none".into())
        );
        assert_eq!(object["jwks_uri"], "https://a.example/t/jwks");
        assert_eq!(object["client_id_metadata_document_supported"], false);
        assert!(
            !ServerMetadata::new(&issuer, &Scope::empty(), false)
                .body()
                .contains("registration_endpoint")
        );
    }
}
