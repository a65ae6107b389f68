//! `[protect]`: the MCP server behind `authflow protect`, and what its tools need.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use mcp_authflow_resource::{
    tool::{self, ArgumentPattern},
    well_known::AuthorizationServerAliases,
};
use mcp_authflow_types::{
    ClientId, ClientSecret, Issuer, Scope, ScopeToken, scope::OFFLINE_ACCESS, uri::Uri,
};
use zeroize::Zeroizing;

use super::{ConfigError, Reader, friction::Friction, reader::MASK};
use crate::protect::Authority;

/// What `authflow protect` stands in front of, and how.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Default)]
pub(crate) struct Protect {
    /// The MCP server, when it is reached over HTTP and the command line does not name it.
    pub(crate) upstream: Option<UpstreamUrl>,
    /// The public origin, where it is not that of the issuer.
    pub(crate) public_url: Option<Issuer>,
    /// The separate authorization server; none: this process is it.
    pub(crate) issuer: Option<Issuer>,
    /// How its introspection endpoint is asked; none: its tokens are JWTs.
    pub(crate) introspection: Option<IntrospectionCredentials>,
    /// What people call the MCP server.
    pub(crate) name: Option<String>,
    /// What every request needs.
    pub(crate) base_scope: Scope,
    /// Scopes beside, or in place of, those made of the tools' annotations.
    pub(crate) scopes: Vec<ScopeRule>,
    /// What single tools need, in place of what their annotations say.
    pub(crate) tools: Vec<ToolRule>,
    /// How often tools may be called; nothing: as often as anybody likes.
    pub(crate) friction: Option<Friction>,
    /// Whether calls at which friction asks for a reason have to give one.
    pub(crate) demand_justification: bool,
    /// Whether tools that the caller may not call are left out of lists.
    pub(crate) hide_forbidden_tools: bool,
    /// How often the list of tools is read again.
    pub(crate) reread_tools: Duration,
    /// Whether the upstream is told who calls.
    pub(crate) identity_header: bool,
    /// How long the upstream may take to answer; nothing: as long as it likes.
    pub(crate) answer_within: Option<Duration>,
    /// The largest request, in bytes.
    pub(crate) max_body_bytes: usize,
    /// Headers that every request to the upstream gets.
    pub(crate) headers: Vec<UpstreamHeader>,
    /// Whether an upstream in plain http may be anywhere.
    pub(crate) may_be_plain: bool,
    /// The most children of a server over stdio, and how long one may idle.
    pub(crate) max_children: u32,
    pub(crate) idle_children: Duration,
    /// How long a good token of a separate authorization server is not asked about again.
    pub(crate) introspection_cache: Duration,
    /// Whether clients of 2025-03-26 find that server by our address.
    pub(crate) aliases: AuthorizationServerAliases,
    /// Origins of browser pages that may call, beside the own one.
    pub(crate) allowed_origins: Vec<String>,
}

/// Where an MCP server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamUrl(String);

impl UpstreamUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const WRITE: &str = "write the address of the MCP server, such as http://127.0.0.1:9000/mcp";
        let uri = Uri::parse(text).ok_or(WRITE)?;
        let has_host = uri.authority.is_some_and(|authority| !authority.host.is_empty());
        if !matches!(uri.scheme, "http" | "https") || !has_host || uri.fragment.is_some() {
            return Err(WRITE.to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Without its query, which may hold a secret.
    pub(crate) fn shown(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }
}

/// The client as which a separate authorization server is asked about tokens.
pub(crate) struct IntrospectionCredentials {
    pub(crate) client_id: ClientId,
    pub(crate) client_secret: ClientSecret,
}

impl fmt::Debug for IntrospectionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionCredentials")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// `[[protect.scope]]`
#[derive(Clone, Debug)]
pub(crate) struct ScopeRule {
    pub(crate) name: ScopeToken,
    /// What it allows, for the person who is asked.
    pub(crate) description: String,
    /// The scopes that it stands for as well.
    pub(crate) includes: Vec<ScopeToken>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeTable {
    name: String,
    description: String,
    #[serde(default)]
    includes: Vec<String>,
}

/// `[[protect.tool]]`
#[derive(Clone, Debug)]
pub(crate) struct ToolRule {
    /// The tool's name; `*` stands for any text.
    pub(crate) name: String,
    /// What it needs; nothing: nobody may call it.
    pub(crate) scope: Option<Scope>,
    /// Only when these arguments look so.
    pub(crate) when: Vec<(String, ArgumentPattern)>,
    /// Only when these arguments do not look so.
    pub(crate) unless: Vec<(String, ArgumentPattern)>,
}

impl ToolRule {
    /// Whether it speaks of all calls of its tools.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.when.is_empty() && self.unless.is_empty()
    }

    /// Whether it speaks of the tool of this name.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        tool::matches(&self.name, name)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolTable {
    name: String,
    scope: Option<String>,
    #[serde(default)]
    deny: bool,
    #[serde(default)]
    when: BTreeMap<String, toml::Value>,
    #[serde(default)]
    unless: BTreeMap<String, toml::Value>,
}

/// `[[protect.header]]`
#[derive(Clone)]
pub(crate) struct UpstreamHeader {
    pub(crate) name: String,
    pub(crate) value: Zeroizing<String>,
}

impl fmt::Debug for UpstreamHeader {
    /// Shows no value: it may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamHeader")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderTable {
    name: String,
    value_file: PathBuf,
}

/// Whoever is on the way reads and changes what passes.
pub(super) const PLAIN_HTTP: &str = "protect.dangerous_allow_plain_http";
const HEADER: &str = "protect.header";
const SCOPE: &str = "protect.scope";
const TOOL: &str = "protect.tool";
const CLIENT_ID: &str = "protect.introspection_client_id";
const SECRET: &str = "protect.introspection_client_secret";
const SECRET_FILE: &str = "protect.introspection_client_secret_file";
const ISSUER: &str = "protect.issuer";

/// The most rules of a kind: more are an accident of whatever wrote the file.
const MAX_RULES: usize = 1_000;

impl Protect {
    /// The public origin, for whoever needs a default for `issuer`.
    pub(super) fn read_public_url(read: &mut Reader) -> Result<Option<Issuer>, ConfigError> {
        read.with("protect.public_url", "", |text| {
            if text.is_empty() {
                return Ok(None);
            }
            let url = Issuer::parse(text.trim_end_matches('/')).map_err(|error| error.to_string())?;
            if url.path().is_empty() {
                Ok(Some(url))
            } else {
                Err(format!(
                    "write the origin alone, {}: the MCP endpoint is {0}/mcp",
                    url.origin()
                ))
            }
        })
    }

    pub(super) fn read(read: &mut Reader, public_url: Option<Issuer>) -> Result<Self, ConfigError> {
        let upstream = read.with_query_masked("protect.upstream", |text| {
            if text.is_empty() {
                Ok(None)
            } else {
                UpstreamUrl::parse(text).map(Some)
            }
        })?;
        let issuer = read.with(ISSUER, "", |text| {
            if text.is_empty() {
                return Ok(None);
            }
            Issuer::parse(text).map(Some).map_err(|error| error.to_string())
        })?;
        let introspection = read_credentials(read)?;
        if introspection.is_some() && issuer.is_none() {
            return Err(ConfigError::incomplete(ISSUER, CLIENT_ID));
        }
        let name = read.optional("protect.name")?;
        let demand_justification = read.boolean("protect.demand_justification", false)?;
        let hide_forbidden_tools = read.boolean("protect.hide_forbidden_tools", false)?;
        let reread_tools = read.duration(
            "protect.reread_tools",
            Duration::from_secs(300),
            Duration::from_secs(5)..=Duration::from_secs(86_400),
        )?;
        let identity_header = read.boolean("protect.identity_header", true)?;
        let second = Duration::from_secs(1);
        let answer_within = read.duration(
            "protect.answer_within",
            600 * second,
            Duration::ZERO..=86_400 * second,
        )?;
        let max_body_bytes = read.integer("protect.max_body_bytes", 4_194_304, 1_024..=1_073_741_824)?;
        let headers = read_headers(read)?;
        let may_be_plain = read.boolean(PLAIN_HTTP, false)?;
        let max_children = read.integer("protect.max_children", 64, 1..=10_000)?;
        let idle_children = read.duration("protect.idle_children", 600 * second, second..=86_400 * second)?;
        let introspection_cache = read.duration(
            "protect.introspection_cache",
            Duration::ZERO,
            Duration::ZERO..=300 * second,
        )?;
        let aliases = match read.one_of(
            "protect.authorization_server_aliases",
            "off",
            &["off", "redirect", "copy"],
        )? {
            "redirect" => AuthorizationServerAliases::Redirect,
            "copy" => AuthorizationServerAliases::Copy,
            _ => AuthorizationServerAliases::Off,
        };
        let allowed_origins = read.with("protect.allowed_origins", "", |text| {
            let origins = text.split(',').map(str::trim).filter(|one| !one.is_empty());
            Ok(origins.map(str::to_owned).collect())
        })?;
        let base_scope = read.with("protect.base_scope", "tools:read", |text| {
            Scope::parse(text).map_err(|error| error.to_string())
        })?;
        let scopes = read_scopes(read)?;
        let tools = read_tools(read)?;
        let friction = Friction::read(read)?;
        let protect = Self {
            upstream,
            public_url,
            issuer,
            introspection,
            name,
            base_scope,
            scopes,
            tools,
            friction,
            demand_justification,
            hide_forbidden_tools,
            reread_tools,
            identity_header,
            answer_within: Some(answer_within).filter(|limit| !limit.is_zero()),
            max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
            headers,
            may_be_plain,
            max_children,
            idle_children,
            introspection_cache,
            aliases,
            allowed_origins,
        };
        // That scopes and rules fit together is found out here, and not at the first call of a tool.
        Authority::new(&protect).map_err(|error| ConfigError::Unsafe(error.to_string()))?;
        Ok(protect)
    }
}

fn read_credentials(read: &mut Reader) -> Result<Option<IntrospectionCredentials>, ConfigError> {
    let client_id = read.with(CLIENT_ID, "", |text| {
        if text.is_empty() {
            return Ok(None);
        }
        ClientId::parse(text).map(Some).map_err(|error| error.to_string())
    })?;
    let given = read.optional_secret(SECRET)?.map(Zeroizing::new);
    let file = read.optional(SECRET_FILE)?.map(PathBuf::from);
    let secret = match (given, file) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Unsafe(format!(
                "{SECRET} and {SECRET_FILE} are both set: leave one out"
            )));
        }
        (Some(secret), None) => Some((SECRET, MASK.to_owned(), secret)),
        (None, Some(file)) => {
            let path = file.display().to_string();
            let text = std::fs::read_to_string(&file)
                .map(Zeroizing::new)
                .map_err(|source| ConfigError::Unreadable {
                    path: path.clone(),
                    source,
                })?;
            Some((SECRET_FILE, path, Zeroizing::new(text.trim().to_owned())))
        }
        (None, None) => None,
    };
    match (client_id, secret) {
        (None, None) => Ok(None),
        (Some(client_id), Some((key, shown, secret))) => {
            let client_secret = ClientSecret::present(&secret).map_err(|_| {
                read.wrong(
                    key,
                    &shown,
                    "a client secret is 1 to 512 printable ASCII characters",
                )
            })?;
            Ok(Some(IntrospectionCredentials {
                client_id,
                client_secret,
            }))
        }
        (Some(_), None) => Err(ConfigError::incomplete(SECRET_FILE, CLIENT_ID)),
        (None, Some(_)) => Err(ConfigError::incomplete(CLIENT_ID, SECRET_FILE)),
    }
}

fn read_headers(read: &mut Reader) -> Result<Vec<UpstreamHeader>, ConfigError> {
    read.tables(HEADER, MAX_RULES, |table: HeaderTable| {
        let value = std::fs::read_to_string(&table.value_file)
            .map(Zeroizing::new)
            .map_err(|error| format!("cannot read {}: {error}", table.value_file.display()))?;
        Ok(UpstreamHeader {
            name: table.name,
            value: Zeroizing::new(value.trim().to_owned()),
        })
    })
}

fn read_scopes(read: &mut Reader) -> Result<Vec<ScopeRule>, ConfigError> {
    read.tables(SCOPE, MAX_RULES, |table: ScopeTable| {
        let description = table.description.trim();
        if description.is_empty() {
            return Err("say in words what it allows: description = \"Read your notes\"".to_owned());
        }
        Ok(ScopeRule {
            name: scope_token(&table.name)?,
            description: description.to_owned(),
            includes: table
                .includes
                .iter()
                .map(|one| scope_token(one))
                .collect::<Result<_, _>>()?,
        })
    })
}

fn scope_token(text: &str) -> Result<ScopeToken, String> {
    let token = ScopeToken::parse(text).map_err(|error| error.to_string())?;
    if token.as_str() == OFFLINE_ACCESS {
        return Err(
            "offline_access belongs to the authorization server, not to a resource: leave it out".to_owned(),
        );
    }
    Ok(token)
}

fn read_tools(read: &mut Reader) -> Result<Vec<ToolRule>, ConfigError> {
    read.tables(TOOL, MAX_RULES, |table: ToolTable| {
        if table.name.is_empty() {
            return Err("name a tool, or several: name = \"delete_*\"".to_owned());
        }
        let scope = match (table.deny, table.scope.as_deref().unwrap_or_default().trim()) {
            (true, "") => None,
            (true, _) => return Err("write scope or deny = true, not both".to_owned()),
            (false, "") => return Err("say what the tool needs: scope = \"notes:write\"".to_owned()),
            (false, scope) => Some(Scope::parse(scope).map_err(|error| error.to_string())?),
        };
        Ok(ToolRule {
            name: table.name,
            scope,
            when: patterns(table.when)?,
            unless: patterns(table.unless)?,
        })
    })
}

/// What arguments look like: a text with `*` for any characters, a value, or a list of values.
fn patterns(table: BTreeMap<String, toml::Value>) -> Result<Vec<(String, ArgumentPattern)>, String> {
    let write =
        |name: &str| format!("write {name} = \"a text with *\", a number, true, false, or a list of these");
    let value = |name: &str, value: &toml::Value| match value {
        toml::Value::String(text) => Ok(serde_json::Value::from(text.as_str())),
        toml::Value::Integer(number) => Ok((*number).into()),
        toml::Value::Float(number) => Ok((*number).into()),
        toml::Value::Boolean(flag) => Ok((*flag).into()),
        _ => Err(write(name)),
    };
    table
        .into_iter()
        .map(|(name, written)| {
            let pattern = match &written {
                toml::Value::String(text) if text == "*" => ArgumentPattern::present(),
                toml::Value::String(text) => ArgumentPattern::glob(text),
                toml::Value::Array(values) if !values.is_empty() => {
                    let values: Result<Vec<_>, _> = values.iter().map(|one| value(&name, one)).collect();
                    ArgumentPattern::one_of(values?)
                }
                one => ArgumentPattern::equals(value(&name, one)?),
            };
            Ok((name, pattern))
        })
        .collect()
}
