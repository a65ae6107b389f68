//! What the author of a document should know: what is refused, and what other servers, clients and people trip over.

use std::fmt;

use mcp_authflow_jose::KeySet;
use mcp_authflow_types::{
    ApplicationType, ClientId, GrantType, RedirectUri,
    redirect_uri::RedirectHost,
    uri::{Uri, is_loopback_host},
};
use serde_json::{Map, Value};

use super::{
    InvalidDocument, MetadataDocument,
    address::{self, is_public},
    document::Reading,
    methods, name,
};

/// What draft §6.6 recommends as the most that a server reads.
const RECOMMENDED_BYTES: usize = 5 * 1_024;
/// How many characters of a name consent pages have room for.
const NAME_CHARACTERS: usize = 80;

/// One thing to know about a document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The member that it is about; absent where it is the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<&'static str>,
    /// A sentence that says what is wrong and what to do. It may quote the document, which a stranger wrote: show it as
    /// text, with its control characters spelled out.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The document is refused here.
    Error,
    /// Other servers, clients or people trip over it.
    Warning,
    /// It could be better.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Says everything that there is to say about the document of the client `url`, the worst first.
///
/// There is an [`Error`](Severity::Error) among it whenever [`MetadataDocument::parse`] refuses the document, and for one
/// that is larger than [`MetadataDocument::MAX_BYTES`], which would not be fetched.
///
/// ```
/// use mcp_authflow::client::metadata_document::{Severity, lint};
///
/// let url = "https://app.example/client.json";
/// let body = br#"{
///     "client_id": "https://app.example/client.json",
///     "client_name": "An app",
///     "redirect_uris": ["http://127.0.0.1:3118/callback"]
/// }"#;
/// let findings = lint(url, body);
/// assert!(findings.iter().all(|finding| finding.severity > Severity::Error));
/// assert!(findings[0].text.contains("without a port"));
/// ```
pub fn lint(url: &str, body: &[u8]) -> Vec<Finding> {
    let mut advice = Advice::default();
    advice.size(body);
    match ClientId::parse(url) {
        Err(invalid) => advice.error(
            Some("client_id"),
            format!("the URL cannot be a client id: {invalid}"),
        ),
        Ok(client_id) => {
            let reading = Reading::of(&client_id, body);
            let members = match serde_json::from_slice(body) {
                Ok(Value::Object(members)) if reading.problems != [InvalidDocument::NotAnObject] => members,
                _ => Map::new(),
            };
            for problem in &reading.problems {
                advice.problem(*problem, url, &members, body);
            }
            if let Ok(document) = reading.outcome() {
                advice.document(url, &document, &members);
            }
        }
    }
    // What is equally bad stays in the order of the rules.
    advice.findings.sort_by_key(|finding| finding.severity);
    advice.findings
}

#[derive(Default)]
struct Advice {
    findings: Vec<Finding>,
}

impl Advice {
    fn add(&mut self, severity: Severity, member: Option<&'static str>, text: impl Into<String>) {
        let text = text.into();
        let finding = Finding {
            severity,
            member,
            text,
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn error(&mut self, member: Option<&'static str>, text: impl Into<String>) {
        self.add(Severity::Error, member, text);
    }

    fn warn(&mut self, member: &'static str, text: impl Into<String>) {
        self.add(Severity::Warning, Some(member), text);
    }

    fn note(&mut self, member: &'static str, text: impl Into<String>) {
        self.add(Severity::Note, Some(member), text);
    }

    fn size(&mut self, body: &[u8]) {
        if body.len() > MetadataDocument::MAX_BYTES {
            self.error(
                None,
                format!(
                    "the document has {} bytes and at most {} are read: shorten it, or move jwks to jwks_uri",
                    body.len(),
                    MetadataDocument::MAX_BYTES
                ),
            );
        } else if body.len() > RECOMMENDED_BYTES {
            self.add(
                Severity::Warning,
                None,
                format!(
                    "the document has {} bytes; many servers read no more than {RECOMMENDED_BYTES}: shorten it, or move \
                     jwks to jwks_uri",
                    body.len()
                ),
            );
        }
    }

    /// What is refused, with what to do about it.
    fn problem(&mut self, problem: InvalidDocument, url: &str, members: &Map<String, Value>, body: &[u8]) {
        use InvalidDocument as No;
        let what_to_do = match problem {
            No::NotAnObject => return self.error(None, format!("{problem}: {}", why_no_object(body))),
            No::AnotherClientId => {
                let said = members
                    .get("client_id")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                return self.error(
                    Some("client_id"),
                    format!("it says {said}; write {url}, byte for byte the URL that clients send"),
                );
            }
            No::BadRedirectUri(_) => return self.bad_redirect_uris(members),
            No::BadClientId => {
                "serve it at an https URL with a path, such as https://app.example/oauth/client.json"
            }
            No::Missing("redirect_uris") => "list every address that answers may go to",
            No::Missing("client_name") | No::InvisibleName => "write the name that people know the client by",
            No::Missing(_) => "write the URL of the document there",
            No::WrongType(name) if name.ends_with('s') && name != "jwks" => "write a list of texts",
            No::WrongType(_) => "write a text",
            No::TooLong(_) => "shorten it to 1024 bytes",
            No::ControlCharacter(_) => "take them out",
            No::Secret(_) => {
                "take it out, count the secret as lost, and use private_key_jwt, or none with PKCE"
            }
            No::SharedSecretMethod(_) | No::NoCommonMethod(_) => {
                "write none for a client that keeps no key, private_key_jwt for one that does"
            }
            No::BadKeys(crate::registration::InvalidKeys::Private) => {
                "take the private parts out, count that key as lost, and make a new one"
            }
            No::BadKeys(crate::registration::InvalidKeys::Both) => "keep one of them",
            No::BadKeys(_) => "give the public keys as a JWK Set, in jwks or at jwks_uri",
            No::JwksUriNotPublic => "serve the key set by https at a public name",
            No::TooManyRedirectUris => {
                "leave out ports of loopback addresses (any port matches) and what is not used any more"
            }
            No::AppOfConfidentialClient => {
                "add none to token_endpoint_auth_methods_supported, or use an https address that opens the app"
            }
            No::NoGrant => "write authorization_code, and refresh_token beside it",
            No::NoResponseType => "write [\"code\"], or leave it out",
            No::MalformedScope => "write scope tokens with one space between them, or leave it out",
        };
        self.error(problem.member(), format!("{problem}: {what_to_do}"));
    }

    fn bad_redirect_uris(&mut self, members: &Map<String, Value>) {
        let listed = members.get("redirect_uris").and_then(Value::as_array);
        for uri in listed.into_iter().flatten().filter_map(Value::as_str) {
            if let Err(invalid) = RedirectUri::parse(uri) {
                let uri: String = uri.chars().take(200).collect();
                self.error(
                    Some("redirect_uris"),
                    format!("`{uri}` cannot be used ({invalid}): correct it or take it out"),
                );
            }
        }
    }

    /// What could be better about a document that is taken.
    fn document(&mut self, url: &str, document: &MetadataDocument, members: &Map<String, Value>) {
        self.identifier(url);
        self.name(&document.client_name);
        self.redirects(url, &document.redirect_uris);
        self.methods(members);
        self.keys(document, members);
        self.grants(document, members);
        self.pages(url, members);
        self.leftovers(members);
    }

    fn identifier(&mut self, url: &str) {
        let Some(uri) = Uri::parse(url) else { return };
        if uri.query.is_some() {
            self.warn(
                "client_id",
                "it has a query, which the specification advises against: some servers refuse it; use a path instead",
            );
        }
        if uri.authority.is_some_and(|authority| authority.port.is_some()) {
            self.note(
                "client_id",
                "it names a port, which people see as part of who asks; serve it at the usual one",
            );
        }
        if uri
            .authority
            .is_some_and(|authority| authority.host.bytes().any(|b| b.is_ascii_uppercase()))
        {
            self.warn(
                "client_id",
                "its host has capital letters: identifiers are compared byte for byte, and libraries lower a host's \
                 letters; write it in small ones",
            );
        }
    }

    fn name(&mut self, client_name: &str) {
        if let Some(letter) = name::look_alike(client_name) {
            self.warn(
                "client_name",
                format!(
                    "a word of it mixes Latin letters with one that only looks like them (U+{:04X}): write it in one \
                     script, or people will take the client for a forgery",
                    u32::from(letter)
                ),
            );
        }
        if client_name
            .chars()
            .any(|c| name::is_invisible(c) && !c.is_whitespace())
        {
            self.warn(
                "client_name",
                "it has invisible characters, which pages leave out: take them out",
            );
        }
        if client_name.chars().any(name::is_badge) {
            self.warn(
                "client_name",
                "it has a sign that looks like a mark of trust: take it out, trust is not the client's to state",
            );
        }
        if client_name.chars().count() > NAME_CHARACTERS {
            self.warn(
                "client_name",
                format!(
                    "it has more than {NAME_CHARACTERS} characters, and consent pages cut it: shorten it"
                ),
            );
        }
    }

    fn redirects(&mut self, url: &str, uris: &[RedirectUri]) {
        let own = address::host(url).unwrap_or_default();
        let mut loopback_names = Vec::new();
        for uri in uris {
            let parts = Uri::parse(uri.as_str());
            let authority = parts.and_then(|parts| parts.authority);
            match uri.host() {
                RedirectHost::Loopback(host) => {
                    loopback_names.push(host);
                    if let Some(port) = authority.and_then(|authority| authority.port) {
                        self.warn(
                            "redirect_uris",
                            format!(
                                "{uri} names port {port}: native clients take any free port, and servers that do not know \
                                 this then refuse them; write it without a port (RFC 8252 §7.3)"
                            ),
                        );
                    }
                }
                RedirectHost::Web(host) if is_loopback_host(host) => self.warn(
                    "redirect_uris",
                    format!("{uri} is https on this computer, where ports have to match: write http instead"),
                ),
                RedirectHost::Web(host) if !is_same_site(own, host) => self.warn(
                    "redirect_uris",
                    format!(
                        "{uri} is on another host than the document ({own}): people are shown both and will wonder, and \
                         some servers refuse it; move one of them"
                    ),
                ),
                RedirectHost::Web(_) => {}
                RedirectHost::App(scheme) if !scheme.contains('.') => self.warn(
                    "redirect_uris",
                    format!(
                        "the scheme of {uri} has no dot: any app can claim it, and some servers refuse it; use one made \
                         of a domain of yours in reverse, such as com.example.app:/callback (RFC 8252 §7.1)"
                    ),
                ),
                RedirectHost::App(_) => self.note(
                    "redirect_uris",
                    format!("{uri} is a private-use scheme: people are warned, because any app can claim it"),
                ),
            }
        }
        if loopback_names.contains(&"localhost") && !loopback_names.contains(&"127.0.0.1") {
            self.note(
                "redirect_uris",
                "localhost can lead elsewhere than to this computer; 127.0.0.1 cannot (RFC 8252 §8.3): list it as well \
                 and use it",
            );
        }
    }

    fn methods(&mut self, members: &Map<String, Value>) {
        let singular = members.get(methods::SINGULAR).and_then(Value::as_str);
        let array: Option<Vec<&str>> = members
            .get(methods::ARRAY)
            .and_then(Value::as_array)
            .map(|array| array.iter().filter_map(Value::as_str).collect());
        match (singular, array) {
            (None, None) => self.warn(
                methods::SINGULAR,
                "it is missing; RFC 7591 then means client_secret_basic, and servers that follow it refuse the \
                 document: write \"none\"",
            ),
            (Some(singular), None) => self.note(
                methods::ARRAY,
                format!("it is missing: write [\"{singular}\"] as well, for servers that read the array (SEP-3149)"),
            ),
            (None, Some(array)) => self.warn(
                methods::SINGULAR,
                format!(
                    "it is missing, and most servers read nothing else yet: write \"{}\" beside the array",
                    array.first().copied().unwrap_or("none")
                ),
            ),
            (Some(singular), Some(array)) if !array.contains(&singular) => self.warn(
                methods::SINGULAR,
                format!("it says {singular}, and the array does not: make them agree, for servers read one or the other"),
            ),
            (Some(singular), Some(array)) if singular == "private_key_jwt" && array.contains(&"none") => self.note(
                methods::SINGULAR,
                "servers that read it alone will demand an assertion each time, although the array says that it may be \
                 left out",
            ),
            _ => {}
        }
    }

    fn keys(&mut self, document: &MetadataDocument, members: &Map<String, Value>) {
        let has = |name: &str| members.get(name).is_some_and(|value| !value.is_null());
        let at = if has("jwks") { "jwks" } else { "jwks_uri" };
        if document.keys.is_none() {
            if has("jwks") || has("jwks_uri") {
                self.note(
                    at,
                    "nothing uses these keys: name private_key_jwt as a method, or take them out",
                );
            } else if named(members, "private_key_jwt") {
                self.warn(
                    methods::ARRAY,
                    "private_key_jwt is among the methods, and there are no keys for it: add jwks_uri, or take it out",
                );
            }
            return;
        }
        let Some(jwks) = members.get("jwks").filter(|jwks| !jwks.is_null()) else {
            return;
        };
        self.note(
            "jwks",
            "a key that stands here is changed by changing the document, which people are asked about again; jwks_uri \
             lets you rotate keys quietly",
        );
        let keys = jwks["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        if keys.len() > 1 && keys.iter().any(|key| key["kid"].as_str().is_none()) {
            self.warn(
                "jwks",
                "a key has no kid: with several keys, give each one of its own",
            );
        }
        if let Ok(set) = KeySet::parse(jwks.to_string().as_bytes())
            && set.skipped() > 0
        {
            self.warn(
                "jwks",
                format!(
                    "{} of the keys cannot be used here: use ES256, EdDSA or RS256 keys",
                    set.skipped()
                ),
            );
        }
    }

    fn grants(&mut self, document: &MetadataDocument, members: &Map<String, Value>) {
        let has = |name: &str| members.get(name).is_some_and(|value| !value.is_null());
        if !has("grant_types") {
            self.warn(
                "grant_types",
                "it is missing; RFC 7591 then means authorization_code alone, and people sign in again every few \
                 minutes: write [\"authorization_code\", \"refresh_token\"]",
            );
        } else if !document.grant_types.contains(&GrantType::RefreshToken) {
            self.warn(
                "grant_types",
                "refresh_token is not among them, so people sign in again every few minutes: add it",
            );
        }
        if named_in(members, "grant_types", "client_credentials") {
            self.warn(
                "grant_types",
                "client_credentials is not given to a client that vouches for itself: take it out, and have the \
                 operator add the client",
            );
        }
        if document.grant_types.contains(&GrantType::AuthorizationCode) && !has("response_types") {
            self.note("response_types", "it is missing: write [\"code\"]");
        }
        let shown = document.application_type;
        match members.get("application_type").and_then(Value::as_str) {
            None => self.note(
                "application_type",
                format!("it is missing: write \"{shown}\", which is what the redirect URIs show"),
            ),
            Some(said) if said != shown.as_str() => self.warn(
                "application_type",
                match shown {
                    ApplicationType::Native => format!(
                        "it says {said}, and a redirect URI leads to this computer or to an app: write \"native\", or \
                         strict servers refuse the document"
                    ),
                    ApplicationType::Web => {
                        format!("it says {said}, and all redirect URIs lead to the web: write \"web\"")
                    }
                },
            ),
            Some(_) => {}
        }
        if document.scope.is_some() {
            self.note(
                "scope",
                "some servers take it for the most the client may ever ask for: leave it out unless that is meant",
            );
        }
    }

    fn pages(&mut self, url: &str, members: &Map<String, Value>) {
        let own = address::host(url);
        for (name, what) in [
            ("client_uri", "the home page"),
            ("logo_uri", "a logo"),
            ("policy_uri", "the privacy policy"),
            ("tos_uri", "the terms of service"),
        ] {
            match members
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
            {
                None => self.note(name, format!("it is missing: {what} would help people to decide")),
                Some(text) if !is_public(text, own) => self.warn(
                    name,
                    "it is left out, because it is no https address of a public host: serve it by https",
                ),
                Some(text) => {
                    let host = address::host(text).unwrap_or_default();
                    if !is_same_site(own.unwrap_or_default(), host) {
                        self.note(name, format!("it is on another host ({host}) than the document"));
                    }
                }
            }
        }
        let logo = members
            .get("logo_uri")
            .and_then(Value::as_str)
            .and_then(Uri::parse);
        if logo.is_some_and(|logo| logo.path.to_ascii_lowercase().ends_with(".svg")) {
            self.warn(
                "logo_uri",
                "an SVG picture can hold scripts and is not shown: serve a PNG, JPEG, WebP or GIF of at most 64 KiB",
            );
        }
    }

    /// Members that have no meaning, and the ones that were probably meant.
    fn leftovers(&mut self, members: &Map<String, Value>) {
        for (name, meant) in [
            ("redirect_uri", "redirect_uris, a list"),
            ("name", "client_name"),
            ("grant_type", "grant_types, a list"),
            ("response_type", "response_types, a list"),
            ("scopes", "scope, a text"),
            ("logo_url", "logo_uri"),
            ("logo", "logo_uri"),
            ("client_url", "client_uri"),
            ("jwks_url", "jwks_uri"),
            ("policy_url", "policy_uri"),
            ("tos_url", "tos_uri"),
            (
                "token_endpoint_auth_methods",
                "token_endpoint_auth_methods_supported",
            ),
        ] {
            if members.contains_key(name) {
                self.add(
                    Severity::Warning,
                    Some(name),
                    format!("nobody reads it: {meant} was probably meant"),
                );
            }
        }
        for name in [
            "client_id_issued_at",
            "registration_access_token",
            "registration_client_uri",
        ] {
            if members.contains_key(name) {
                let text =
                    "it belongs into the answer to a registration, and means nothing here: take it out";
                self.add(Severity::Warning, Some(name), text);
            }
        }
    }
}

/// Why a body is not one object, as far as a parser can tell.
fn why_no_object(body: &[u8]) -> String {
    if body.is_empty() {
        return "it is empty".to_owned();
    }
    if body.starts_with("\u{feff}".as_bytes()) {
        return "it begins with a byte order mark: save it without one".to_owned();
    }
    if let Err(error) = std::str::from_utf8(body) {
        return format!(
            "the byte at {} is not UTF-8: save it as UTF-8",
            error.valid_up_to()
        );
    }
    match serde_json::from_slice::<Value>(body) {
        Err(error) => format!("{error}"),
        Ok(Value::Object(_)) => {
            "a name stands twice in one object, or it is nested too deeply: keep one of them".to_owned()
        }
        Ok(_) => "write an object, in braces".to_owned(),
    }
}

/// Whether the member that counts names a method: the array where there is one.
fn named(members: &Map<String, Value>, method: &str) -> bool {
    if members.get(methods::ARRAY).is_some_and(Value::is_array) {
        named_in(members, methods::ARRAY, method)
    } else {
        members.get(methods::SINGULAR).is_some_and(|one| one == method)
    }
}

fn named_in(members: &Map<String, Value>, list: &str, value: &str) -> bool {
    let list = members.get(list).and_then(Value::as_array);
    list.is_some_and(|list| list.iter().any(|one| one == value))
}

/// Whether one host is the other or lies under it: `www.app.example` and `app.example` are one site to people. What lies
/// beside it under a common parent may belong to somebody else.
fn is_same_site(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let is_under = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'));
    one == other || is_under(&one, &other) || is_under(&other, &one)
}
