//! The rules of a document, in their order.

use mcp_authflow_types::{
    ApplicationType, ClientId, GrantType, RedirectUri, ResponseType, Scope, TokenEndpointAuthMethod,
    client_id::is_metadata_document_url, json, redirect_uri::RedirectHost, registration::RegistrationRequest,
};
use serde_json::Value;

use super::{
    InvalidDocument,
    address::{self, is_public},
    members::Members,
    methods::Methods,
    name,
};
use crate::{
    record::{ClientKeys, ClientOrigin, ClientProfile},
    registration::{InvalidKeys, keys::client_keys},
};

/// A client as its document describes it. All of it is the client's own word.
///
/// ```
/// use mcp_authflow::client::metadata_document::{InvalidDocument, MetadataDocument};
/// use mcp_authflow_types::{ClientId, TokenEndpointAuthMethod};
///
/// let id = ClientId::parse("https://app.example/client.json")?;
/// let body = br#"{
///     "client_id": "https://app.example/client.json",
///     "client_name": "An app",
///     "redirect_uris": ["https://app.example/callback"]
/// }"#;
/// let document = MetadataDocument::parse(&id, body)?;
/// assert_eq!(document.token_endpoint_auth_method, TokenEndpointAuthMethod::None);
///
/// let other = ClientId::parse("https://app.example/other.json")?;
/// assert_eq!(MetadataDocument::parse(&other, body).err(), Some(InvalidDocument::AnotherClientId));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataDocument {
    /// Its identifier, which is where the document lies.
    pub client_id: ClientId,
    /// What it calls itself.
    pub client_name: String,
    /// Its home page. Here and below, an address that is not https, or not of the public internet by its spelling, is
    /// left out: nobody is sent there, and nobody is locked out for it.
    pub client_uri: Option<String>,
    /// Its picture.
    pub logo_uri: Option<String>,
    /// What it does with data.
    pub policy_uri: Option<String>,
    /// Its terms.
    pub tos_uri: Option<String>,
    /// Where its answers may go: 1 to 20.
    pub redirect_uris: Vec<RedirectUri>,
    /// The grants it may use, of those that a person's approval feeds. Default: authorization code and refresh.
    pub grant_types: Vec<GrantType>,
    /// `none` or `private_key_jwt`. Default: `none`.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// With `private_key_jwt`: it may also come without an assertion (SEP-3149). One that is there is verified all the
    /// same.
    pub assertion_is_optional: bool,
    /// Its public keys, with `private_key_jwt`.
    pub keys: Option<ClientKeys>,
    /// The scope it believes it will ask for. No ceiling: most name nothing, or too little.
    pub scope: Option<Scope>,
    /// Web or native, as its redirect URIs show; what it says of itself does not count.
    pub application_type: ApplicationType,
    /// Which software it is.
    pub software_id: Option<String>,
    /// Which version of it.
    pub software_version: Option<String>,
}

impl MetadataDocument {
    /// The largest document that is fetched, in bytes; draft §6.6 recommends 5 KB, real ones with keys have more.
    pub const MAX_BYTES: usize = 10 * 1_024;
    /// The deepest nesting that is read.
    pub const MAX_DEPTH: usize = RegistrationRequest::MAX_DEPTH;

    /// Reads the document of a client. Members that mean nothing here are ignored; one of the wrong type is an error.
    ///
    /// # Errors
    /// [`InvalidDocument`] says which rule is broken, the first one where there are several.
    pub fn parse(client_id: &ClientId, body: &[u8]) -> Result<Self, InvalidDocument> {
        Reading::of(client_id, body).outcome()
    }

    /// What is kept of it. Where the copy is from is not known here: `document` is absent.
    pub fn into_profile(self) -> ClientProfile {
        ClientProfile {
            origin: ClientOrigin::MetadataDocument,
            name: Some(self.client_name),
            uri: self.client_uri,
            logo_uri: self.logo_uri,
            policy_uri: self.policy_uri,
            tos_uri: self.tos_uri,
            redirect_uris: self.redirect_uris,
            grant_types: self.grant_types,
            token_endpoint_auth_method: self.token_endpoint_auth_method,
            assertion_is_optional: self.assertion_is_optional,
            keys: self.keys,
            // What a client believes it will ask for is no ceiling (M 6.4 trap 6).
            scope: None,
            resources: Vec::new(),
            introspects: None,
            application_type: self.application_type,
            software_id: self.software_id,
            software_version: self.software_version,
            document: None,
        }
    }
}

/// A document, read to its end, and everything that is wrong with it.
pub(super) struct Reading {
    /// What it would be without the problems; absent when there is not even an object.
    document: Option<MetadataDocument>,
    pub(super) problems: Vec<InvalidDocument>,
}

impl Reading {
    pub(super) fn outcome(self) -> Result<MetadataDocument, InvalidDocument> {
        match (self.problems.first(), self.document) {
            (None, Some(document)) => Ok(document),
            (problem, _) => Err(problem.copied().unwrap_or(InvalidDocument::NotAnObject)),
        }
    }

    pub(super) fn of(client_id: &ClientId, body: &[u8]) -> Self {
        // 1. RFC 8259 §4: "The names within an object SHOULD be unique". Of two equal ones, every reader takes another.
        let Some(Value::Object(members)) = json::parse_strict(body, MetadataDocument::MAX_DEPTH) else {
            return Self {
                document: None,
                problems: vec![InvalidDocument::NotAnObject],
            };
        };
        let mut members = Members::new(members);
        let document = read(client_id, &mut members);
        Self {
            document: Some(document),
            problems: members.problems,
        }
    }
}

/// Reads all members; what is wrong is noted in them.
fn read(client_id: &ClientId, members: &mut Members) -> MetadataDocument {
    // 2. Draft §3, §4.1: the identifier can name a document, and this one says that it is meant.
    if !is_metadata_document_url(client_id.as_str()) {
        members.note(InvalidDocument::BadClientId);
    }
    match members.value("client_id") {
        None => members.note(InvalidDocument::Missing("client_id")),
        Some(Value::String(said)) if said == client_id.as_str() => {}
        Some(Value::String(_)) => members.note(InvalidDocument::AnotherClientId),
        Some(_) => members.note(InvalidDocument::WrongType("client_id")),
    }

    // 3. Draft §4.1: "The client_secret and client_secret_expires_at properties MUST NOT be used." Whatever else begins
    //    so is no better.
    if members.names().any(|name| name == "client_secret_expires_at") {
        members.note(InvalidDocument::Secret("client_secret_expires_at"));
    }
    if members.names().any(|name| {
        name.to_ascii_lowercase().starts_with("client_secret") && name != "client_secret_expires_at"
    }) {
        members.note(InvalidDocument::Secret("client_secret"));
    }

    // 4. MCP, Client ID Metadata Documents: "The metadata document MUST include at least … client_id, client_name,
    //    redirect_uris".
    let client_name = client_name(members);
    let redirect_uris = redirect_uris(members);

    // 5. Draft §4.1, SEP-3149: how it proves itself, and with which keys.
    let methods = Methods::read(members);
    let document_host = address::host(client_id.as_str());
    let keys = keys(members, methods, document_host);
    let uses_keys = methods.private_key_jwt && keys.is_some();
    let (method, keys) = if uses_keys {
        (TokenEndpointAuthMethod::PrivateKeyJwt, keys)
    } else {
        (TokenEndpointAuthMethod::None, None)
    };
    let is_app = |uri: &RedirectUri| matches!(uri.host(), RedirectHost::App(_));
    if methods.private_key_jwt && !methods.none && redirect_uris.iter().any(is_app) {
        members.note(InvalidDocument::AppOfConfidentialClient);
    }

    // 6. RFC 7591 §2, grant_types and response_types: as for a client that registers itself.
    let grant_types = grant_types(members);
    let uses_code = grant_types.contains(&GrantType::AuthorizationCode);
    if let Some(asked) = members.list("response_types")
        && uses_code
        && !asked.iter().any(|asked| asked == ResponseType::Code.as_str())
    {
        members.note(InvalidDocument::NoResponseType);
    }

    // 7. RFC 7591 §2, the rest.
    let scope = members.text("scope").and_then(|asked| {
        let scope = Scope::parse_asked(&asked);
        if scope.is_err() {
            members.note(InvalidDocument::MalformedScope);
        }
        scope.ok()
    });
    members.text("application_type");
    let mut page = |name| members.text(name).filter(|url| is_public(url, document_host));
    MetadataDocument {
        client_id: client_id.clone(),
        client_name,
        client_uri: page("client_uri"),
        logo_uri: page("logo_uri"),
        policy_uri: page("policy_uri"),
        tos_uri: page("tos_uri"),
        application_type: RedirectUri::application_type(&redirect_uris),
        redirect_uris,
        grant_types,
        token_endpoint_auth_method: method,
        assertion_is_optional: uses_keys && methods.none,
        keys,
        scope,
        software_id: members.text("software_id"),
        software_version: members.text("software_version"),
    }
}

/// A name that can be seen, on one line, in the direction of its own letters.
fn client_name(members: &mut Members) -> String {
    let before = members.problems.len();
    let name = members.text("client_name");
    match &name {
        Some(name) if name.chars().any(name::turns_direction) => {
            members.note(InvalidDocument::ControlCharacter("client_name"));
        }
        Some(name) if name.chars().all(name::is_invisible) => members.note(InvalidDocument::InvisibleName),
        None if members.problems.len() == before => members.note(InvalidDocument::Missing("client_name")),
        _ => {}
    }
    name.unwrap_or_default()
}

/// The redirect URIs, by the rules of registration (M-178). Nobody is told which were dropped, so none is: one that may not
/// be used is an error.
fn redirect_uris(members: &mut Members) -> Vec<RedirectUri> {
    let before = members.problems.len();
    let Some(listed) = members.list("redirect_uris").filter(|listed| !listed.is_empty()) else {
        if members.problems.len() == before {
            members.note(InvalidDocument::Missing("redirect_uris"));
        }
        return Vec::new();
    };
    if listed.len() > RedirectUri::MAX_PER_CLIENT {
        members.note(InvalidDocument::TooManyRedirectUris);
    }
    let mut uris = Vec::new();
    for uri in listed.iter().take(RedirectUri::MAX_PER_CLIENT) {
        match RedirectUri::parse(uri) {
            Ok(uri) if uris.contains(&uri) => {}
            Ok(uri) => uris.push(uri),
            Err(invalid) => members.note(invalid.into()),
        }
    }
    uris
}

/// The keys; needed where nothing but a key proves the client. Private ones are refused whoever needs them.
fn keys(members: &mut Members, methods: Methods, document_host: Option<&str>) -> Option<ClientKeys> {
    let jwks_uri = members.text("jwks_uri");
    let jwks = members.value("jwks").cloned();
    let must_sign = methods.private_key_jwt && !methods.none;
    match client_keys(jwks.as_ref(), jwks_uri.as_deref()) {
        Ok(Some(ClientKeys::JwksUri(uri))) if !is_public(&uri, document_host) => {
            members.note(InvalidDocument::JwksUriNotPublic);
            None
        }
        Ok(None) | Err(InvalidKeys::NoneUsable) if !must_sign => None,
        Ok(None) => {
            members.note(InvalidKeys::Missing.into());
            None
        }
        Ok(keys) => keys,
        Err(invalid) => {
            members.note(invalid.into());
            None
        }
    }
}

/// The grants that a person's approval feeds: a document earns no machine authority (M-200).
fn grant_types(members: &mut Members) -> Vec<GrantType> {
    let Some(asked) = members.list("grant_types") else {
        return vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    };
    let grants: Vec<GrantType> = [
        GrantType::AuthorizationCode,
        GrantType::DeviceCode,
        GrantType::RefreshToken,
    ]
    .into_iter()
    .filter(|grant| asked.iter().any(|asked| asked == grant.as_str()))
    .collect();
    if grants.iter().all(|grant| *grant == GrantType::RefreshToken) {
        members.note(InvalidDocument::NoGrant);
    }
    grants
}
