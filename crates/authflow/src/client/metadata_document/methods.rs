//! How a client with a document proves itself: with a key of its own, or not at all.
//!
//! A document is public, so there is no secret to share. One member says how: the array
//! `token_endpoint_auth_methods_supported` (SEP-3149), or the older `token_endpoint_auth_method`. Real documents have
//! both, with ChatGPT's saying `private_key_jwt` in the one and `none` beside it in the other, and meaning it: some of its
//! requests come without an assertion.

use mcp_authflow_types::TokenEndpointAuthMethod;

use super::{InvalidDocument, members::Members};

/// The array of SEP-3149.
pub(super) const ARRAY: &str = "token_endpoint_auth_methods_supported";
/// The member of RFC 7591 §2.
pub(super) const SINGULAR: &str = "token_endpoint_auth_method";

/// What of the methods a document names can be used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Methods {
    /// It may come without proof.
    pub(super) none: bool,
    /// It may come with an assertion.
    pub(super) private_key_jwt: bool,
}

impl Methods {
    /// Reads both members: the array counts where there is one, and neither means `none`. Every name in either is looked
    /// at for methods that need a shared secret.
    pub(super) fn read(members: &mut Members) -> Self {
        let singular = members.text(SINGULAR);
        let array = members.list(ARRAY);
        if singular.as_deref().is_some_and(needs_secret) {
            members.note(InvalidDocument::SharedSecretMethod(SINGULAR));
        }
        if array.iter().flatten().any(|method| needs_secret(method)) {
            members.note(InvalidDocument::SharedSecretMethod(ARRAY));
        }
        let (name, named) = match (array, singular) {
            (Some(array), _) => (ARRAY, array),
            (None, Some(singular)) => (SINGULAR, vec![singular]),
            (None, None) => {
                return Self {
                    none: true,
                    private_key_jwt: false,
                };
            }
        };
        let has = |method: TokenEndpointAuthMethod| named.iter().any(|one| one == method.as_str());
        let methods = Self {
            none: has(TokenEndpointAuthMethod::None),
            private_key_jwt: has(TokenEndpointAuthMethod::PrivateKeyJwt),
        };
        if !methods.none && !methods.private_key_jwt && !named.iter().any(|method| needs_secret(method)) {
            members.note(InvalidDocument::NoCommonMethod(name));
        }
        methods
    }
}

/// The symmetric methods of the draft's §4.1, in whatever spelling of letters.
fn needs_secret(method: &str) -> bool {
    method.to_ascii_lowercase().starts_with("client_secret")
}
