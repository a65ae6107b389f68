//! Decisions that are the operator's own.

use std::net::IpAddr;

use mcp_authflow_types::RedirectUri;

use crate::{
    client::trust::{DomainName, HostTrust},
    record::Client,
};

/// The operator's own decisions, one a method. Each comes behind the server's rules and can only narrow them; each default
/// leaves everything as it is, so implement what you mean to change.
///
/// A wrong answer costs what the method says.
///
/// ```
/// use mcp_authflow::port::Policy;
/// use mcp_authflow_types::RedirectUri;
///
/// /// Clients come from one company, and each is told so.
/// struct OneCompany;
///
/// #[async_trait::async_trait]
/// impl Policy for OneCompany {
///     fn may_register_redirect_uri(&self, uri: &RedirectUri) -> bool {
///         uri.as_str().starts_with("https://apps.example/")
///     }
///
///     fn client_name(&self, claimed: Option<&str>) -> Option<String> {
///         Some(format!("{} (example.com)", claimed.unwrap_or("An app")))
///     }
/// }
/// ```
#[async_trait::async_trait]
pub trait Policy: Send + Sync {
    /// Whether whoever sends this `Authorization` header from this address may register a client. A yes to a stranger costs
    /// a row in a table, and a name on a consent page. Default: yes.
    async fn may_register(&self, authorization: Option<&str>, address: Option<IpAddr>) -> bool {
        let _ = (authorization, address);
        true
    }

    /// Makes other redirect URIs of those that a client registers and that the server's rules let pass. One that the client
    /// does not own receives its codes. Default: the same.
    fn rewrite_redirect_uris(&self, uris: Vec<RedirectUri>) -> Vec<RedirectUri> {
        uris
    }

    /// Whether a redirect URI may be registered. Those that may not are dropped; the registration fails when none is left.
    /// A yes costs nothing that the server's own rules would not allow. Default: yes.
    fn may_register_redirect_uri(&self, uri: &RedirectUri) -> bool {
        let _ = uri;
        true
    }

    /// What a client that registers itself is called. People decide by it, so a name without a claim behind it misleads
    /// them. Default: what it calls itself, which pages show as a claim.
    fn client_name(&self, claimed: Option<&str>) -> Option<String> {
        claimed.map(str::to_owned)
    }

    /// What is decided about a host of client metadata documents, by what you know of it: its reputation, your customers'
    /// list. You are told what the settings and the administrators decided; what you answer counts where it is less than
    /// that. Asked at every authorization of such a client, before anything is fetched. A careless answer lets a stranger's
    /// name and logo stand before your people. Default: the same.
    async fn document_host_trust(&self, host: &DomainName, decided: HostTrust) -> HostTrust {
        let _ = host;
        decided
    }

    /// Is told of a client that has registered itself. It is waited for, so be quick; what goes wrong here is yours to note.
    /// Default: nothing.
    async fn client_registered(&self, client: &Client) {
        let _ = client;
    }
}

/// The policy that changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPolicy;

#[async_trait::async_trait]
impl Policy for NoPolicy {}
