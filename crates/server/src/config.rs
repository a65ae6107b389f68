//! The configuration: one value for every key, and where it came from.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults. A key that nobody knows is
//! an error, wherever it stands: a misspelt safety switch must not be silently without effect.
//!
//! To add a key: a field in [`Config`], a line in [`Config::read`] that says default and range, a line in the reference.

mod client_documents;
mod database;
mod duration;
mod friction;
mod import;
mod known_clients;
mod layers;
mod protect;
mod reader;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use mcp_authflow::{
    ForwardingHeader, Settings, TrustedProxies,
    client_auth::private_key_jwt::AssertionPolicy,
    registration::InitialAccessTokens,
    settings::{KeySettings, Lifetimes, Limits, RegistrationSettings},
};
use mcp_authflow_fetch::Network;
use mcp_authflow_jose::Algorithm;
use mcp_authflow_types::{
    Issuer, RedirectUri, Resource, Scope, cors::AllowedOrigins, redirect_uri::RedirectHost,
};
use zeroize::Zeroizing;

use self::reader::Reader;
pub(crate) use self::{
    database::Database,
    import::{Import, pair},
    known_clients::KnownClientsConfig,
    layers::{Layers, malformed},
    protect::{IntrospectionCredentials, Protect, ToolRule, UpstreamUrl},
    reader::{ConfigError, Effective},
};

/// Everything that can be configured, checked. Nothing in it shows a password: [`Database`] and [`Effective`] mask it.
#[derive(Debug)]
pub(crate) struct Config {
    /// The server's name and public address.
    pub(crate) issuer: Issuer,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// The folder of what is kept in files.
    pub(crate) data_dir: PathBuf,
    /// Where state is kept.
    pub(crate) database: Database,
    /// The file of the server key; for PostgreSQL it must be named.
    pub(crate) server_key_file: Option<PathBuf>,
    /// Certificate and key, when the server ends TLS itself.
    pub(crate) tls: Option<TlsFiles>,
    /// Proxies that are believed when they say whom they speak for.
    pub(crate) trusted_proxies: TrustedProxies,
    /// The header in which they say it.
    pub(crate) forwarding_header: ForwardingHeader,
    /// Whether the public address is asked at the start whether it leads here.
    pub(crate) check_public_url: bool,
    /// What the protocol may choose.
    pub(crate) settings: Settings,
    /// Redis, where there is one.
    pub(crate) redis: Option<Redis>,
    /// How many nodes serve together: without Redis each admits its share of every limit.
    pub(crate) nodes: u32,
    /// How long people stay signed in.
    pub(crate) sessions: Sessions,
    /// How the log is written.
    pub(crate) log: Log,
    /// The operator's own page templates.
    pub(crate) templates_dir: Option<PathBuf>,
    /// Networks that may be fetched from although they are not of the public internet.
    pub(crate) fetch_networks: Vec<Network>,
    /// The table of known clients.
    pub(crate) known_clients: KnownClientsConfig,
    /// Moving over from the Python package.
    pub(crate) import: Import,
    /// The MCP server behind `authflow protect`.
    pub(crate) protect: Protect,
    /// How long running requests may take after a request to stop.
    pub(crate) drain: Duration,
    /// Every key with its value and origin.
    pub(crate) effective: Vec<Effective>,
}

/// Certificate and key.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    /// The certificate chain, PEM.
    pub(crate) certificate: PathBuf,
    /// The private key, PEM.
    pub(crate) key: PathBuf,
}

/// Redis, and what it is used for. Limits are, in any case.
#[derive(Clone)]
pub(crate) struct Redis {
    /// How to reach it.
    pub(crate) url: String,
    /// What its keys begin with.
    pub(crate) prefix: String,
    /// Whether it, and not the database, remembers which assertions were used.
    pub(crate) remembers_assertions: bool,
}

impl std::fmt::Debug for Redis {
    /// Shows no password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("url", &database::mask_password(&self.url))
            .field("prefix", &self.prefix)
            .field("remembers_assertions", &self.remembers_assertions)
            .finish()
    }
}

/// How long people stay signed in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sessions {
    /// Without use.
    pub(crate) idle: Duration,
    /// At most.
    pub(crate) absolute: Duration,
}

/// How the log is written.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// As JSON lines instead of text.
    pub(crate) json: bool,
    /// What the server writes: a level, or directives such as `info,audit=debug`.
    pub(crate) filter: String,
    /// What the other verbs write.
    pub(crate) verb_filter: String,
}

/// The file that is read when it is there and no other is named.
const DEFAULT_FILE: &str = "authflow.toml";

impl Config {
    /// Reads file, environment and flags, and checks everything together.
    pub(crate) fn load(file: Option<&Path>, flags: Vec<(&'static str, String)>) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        match file {
            Some(file) => layers.add_file(file)?,
            None if Path::new(DEFAULT_FILE).is_file() => layers.add_file(Path::new(DEFAULT_FILE))?,
            None => {}
        }
        layers.add_environment(crate::environment::variables());
        for (key, value) in flags {
            layers.add_flag(key, &value);
        }
        Self::read(layers)
    }

    /// Checks every key. The order is that of the reference.
    fn read(layers: Layers) -> Result<Self, ConfigError> {
        const DAY: Duration = Duration::from_secs(86_400);
        const MINUTE: Duration = Duration::from_secs(60);
        let mut read = Reader::new(layers);

        let listen: SocketAddr =
            read.parsed("listen", "127.0.0.1:8000", "an address such as 127.0.0.1:8000")?;
        let public_url = Protect::read_public_url(&mut read)?;
        let own_issuer = public_url
            .as_ref()
            .map_or_else(|| format!("http://{listen}"), ToString::to_string);
        let issuer: Issuer = read.with("issuer", &own_issuer, |text| {
            Issuer::parse(text).map_err(|error| {
                if text == own_issuer {
                    "set issuer to the public address of this server, such as https://auth.example (for `authflow protect`: --public-url)".to_owned()
                } else {
                    error.to_string()
                }
            })
        })?;
        let data_dir: PathBuf = read.text("data_dir", &default_data_dir())?.into();
        let database = read.with_secret(
            "database_url",
            &format!("sqlite:{}", data_dir.join("state.sqlite").display()),
            Database::parse,
        )?;
        let pool_size = read.integer("database.pool_size", 8, 1..=1_000)?;
        let prepared_statements = read.boolean("database.prepared_statements", true)?;
        let database = match database {
            Database::Postgres { url, .. } => Database::Postgres {
                url,
                pool_size,
                prepared_statements,
            },
            other => other,
        };
        let server_key_file = read.optional("server_key_file")?.map(PathBuf::from);
        let behind_tls_proxy = read.boolean("behind_tls_proxy", false)?;
        let (trusted_proxies, forwarding_header) = read_proxies(&mut read)?;
        let check_public_url = read.boolean("check_public_url", true)?;
        let tls = read_tls(&mut read)?;
        let templates_dir = read.optional("templates_dir")?.map(PathBuf::from);
        let redis = read_redis(&mut read)?;
        let nodes = read.integer("nodes", 1, 1..=1_000)?;
        let mut settings = read_settings(&mut read, &issuer)?;
        let known_clients = KnownClientsConfig::read(&mut read)?;
        settings.known_clients = known_clients.table.known_clients(&known_clients.switches);
        let sessions = Sessions {
            idle: read.duration("sessions.idle", 30 * MINUTE, MINUTE..=DAY)?,
            absolute: read.duration("sessions.absolute", DAY / 2, MINUTE..=30 * DAY)?,
        };
        let log = read_log(&mut read)?;
        let fetch_networks = read.with(FETCH_NETWORKS, "", |text| {
            let networks = text.split(',').map(str::trim).filter(|one| !one.is_empty());
            networks
                .map(|one| one.parse::<Network>().map_err(|error| error.to_string()))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let import = Import::read(&mut read)?;
        let protect = Protect::read(&mut read, public_url)?;
        let drain = read.duration(
            "drain",
            Duration::from_secs(20),
            Duration::ZERO..=Duration::from_secs(300),
        )?;
        let effective = read.finish()?;

        check_transport(&issuer, listen, tls.is_some(), behind_tls_proxy, &trusted_proxies)?;
        if matches!(database, Database::Postgres { .. }) && server_key_file.is_none() {
            return Err(ConfigError::Unsafe(
                "a PostgreSQL database needs server_key_file (AUTHFLOW_SERVER_KEY_FILE): a file of 64 hexadecimal \
                 digits that only its owner can read, the same on every node; make one with: umask 077; openssl rand \
                 -hex 32 > FILE"
                    .to_owned(),
            ));
        }
        Ok(Self {
            issuer,
            listen,
            data_dir,
            database,
            server_key_file,
            tls,
            trusted_proxies,
            forwarding_header,
            check_public_url,
            settings,
            redis,
            nodes,
            sessions,
            log,
            templates_dir,
            fetch_networks,
            known_clients,
            import,
            protect,
            drain,
            effective,
        })
    }
}

impl Config {
    /// What is set and weakens safety, for a warning at the start.
    pub(crate) fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        if self.settings.dangerous_allow_plain_pkce {
            dangers.push(format!(
                "{ALLOW_PLAIN_PKCE} = true: who reads an authorization request in passing can redeem its code; let \
                 clients use S256 and leave it out"
            ));
        }
        if self.settings.accept_unregistered_loopback_resources && !self.issuer.is_loopback() {
            dangers.push(format!(
                "{ACCEPT_UNREGISTERED} = true at the public issuer {}: tokens are issued for whatever runs on loopback, \
                 registered or not; register resources and leave it out",
                self.issuer
            ));
        }
        if self.protect.may_be_plain {
            dangers.push(format!(
                "{} = true: whoever is on the way to the MCP server reads and changes every call and answer; use https and \
                 leave it out",
                protect::PLAIN_HTTP
            ));
        }
        dangers.extend(self.known_clients.dangers());
        if !self.fetch_networks.is_empty() {
            let networks: Vec<String> = self.fetch_networks.iter().map(ToString::to_string).collect();
            dangers.push(format!(
                "{FETCH_NETWORKS} = \"{}\": whoever registers a client can have this server ask every https server \
                 there; name no more than where your clients' documents are",
                networks.join(",")
            ));
        }
        dangers
    }
}

/// Who is believed when it says for whom it speaks, and in which header.
fn read_proxies(read: &mut Reader) -> Result<(TrustedProxies, ForwardingHeader), ConfigError> {
    let trusted = read.with("trusted_proxies", "", |text| {
        TrustedProxies::parse(text).map_err(|error| error.to_string())
    })?;
    let headers = [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded];
    let names = headers.map(ForwardingHeader::name);
    let name = read.one_of("forwarding_header", names[0], &names)?;
    let header = headers.into_iter().find(|header| header.name() == name);
    Ok((trusted, header.unwrap_or_default()))
}

fn read_tls(read: &mut Reader) -> Result<Option<TlsFiles>, ConfigError> {
    let certificate = read.optional("tls.certificate_file")?;
    let key = read.optional("tls.key_file")?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::incomplete("tls.key_file", "tls.certificate_file")),
        (None, Some(_)) => Err(ConfigError::incomplete("tls.certificate_file", "tls.key_file")),
    }
}

/// Plain http stays on this computer, or behind named proxies that speak TLS.
fn check_transport(
    issuer: &Issuer,
    listen: SocketAddr,
    has_tls: bool,
    behind_tls_proxy: bool,
    trusted_proxies: &TrustedProxies,
) -> Result<(), ConfigError> {
    if !has_tls && !listen.ip().is_loopback() {
        if !behind_tls_proxy {
            return Err(ConfigError::Unsafe(format!(
                "listen = \"{listen}\" speaks plain http beyond this computer: set tls.certificate_file and \
                 tls.key_file, or behind_tls_proxy = true together with trusted_proxies"
            )));
        }
        if trusted_proxies.is_empty() {
            return Err(ConfigError::Unsafe(
                "behind_tls_proxy = true needs trusted_proxies: the addresses of the proxies in front, such as \
                 \"10.0.0.0/8\""
                    .to_owned(),
            ));
        }
    }
    // Without it everybody would come from the proxy's address, and share one limit for tries and registrations.
    if !has_tls && issuer.is_https() && trusted_proxies.is_empty() {
        return Err(ConfigError::Unsafe(format!(
            "issuer = \"{issuer}\" is https and this server has no certificate, so a proxy stands in front: set \
             trusted_proxies to its address, such as \"127.0.0.1\", or tls.certificate_file and tls.key_file"
        )));
    }
    if has_tls && !issuer.is_https() {
        return Err(ConfigError::Unsafe(format!(
            "issuer = \"{issuer}\" is plain http although tls.certificate_file is set: write https://…"
        )));
    }
    Ok(())
}

/// On a loopback issuer nobody else is there to name a resource on loopback; on a public one the resource would be
/// whatever runs on the computer of whoever approves.
const ACCEPT_UNREGISTERED: &str = "dangerous_accept_unregistered_loopback_resources";

/// Clients point at documents of theirs, and anyone may be a client.
const FETCH_NETWORKS: &str = "fetch.dangerous_allow_networks";

/// Whoever reads the challenge of `plain` has the verifier.
const ALLOW_PLAIN_PKCE: &str = "dangerous_allow_plain_pkce";

/// The filter, where none is set, of `serve` and of the other verbs: these print what they did themselves, and note it
/// for the audit trail.
pub(crate) const FILTER: &str = "info";
const VERB_FILTER: &str = "warn,audit=info";

fn read_log(read: &mut Reader) -> Result<Log, ConfigError> {
    let json = read.one_of("log.format", "text", &["text", "json"])? == "json";
    let filter = read.with("log.filter", FILTER, |text| {
        crate::log::check_filter(text).map(|()| text.to_owned())
    })?;
    let verb_filter = if read.is_set("log.filter") {
        filter.clone()
    } else {
        VERB_FILTER.to_owned()
    };
    Ok(Log {
        json,
        filter,
        verb_filter,
    })
}

fn read_redis(read: &mut Reader) -> Result<Option<Redis>, ConfigError> {
    const REPLAY: &str = "redis.replay";
    let url = read.with_secret("redis.url", "", |text| match text {
        "" => Ok(None),
        text if text.starts_with("redis://") => Ok(Some(text.to_owned())),
        _ => Err("write redis://[USER:PASSWORD@]HOST[:PORT]/[DATABASE]".to_owned()),
    })?;
    let prefix = read.with("redis.prefix", "mcp_authflow", |text| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(text.to_owned())
        } else {
            Err("write 1 to 64 of the characters A-Z a-z 0-9 _ . - :".to_owned())
        }
    })?;
    let remembers_assertions = read.one_of(REPLAY, "store", &["store", "redis"])? == "redis";
    let Some(url) = url else {
        if remembers_assertions {
            return Err(ConfigError::incomplete("redis.url", REPLAY));
        }
        return Ok(None);
    };
    Ok(Some(Redis {
        url,
        prefix,
        remembers_assertions,
    }))
}

fn read_limits(read: &mut Reader, default: Limits) -> Result<Limits, ConfigError> {
    let mut limits = default;
    for (field, key) in [
        (
            &mut limits.token_requests_per_address_per_minute,
            "limits.token_requests_per_address_per_minute",
        ),
        (
            &mut limits.introspections_per_client_per_minute,
            "limits.introspections_per_client_per_minute",
        ),
        (
            &mut limits.client_authentications_per_minute,
            "limits.client_authentications_per_minute",
        ),
        (
            &mut limits.client_authentications_per_address_per_minute,
            "limits.client_authentications_per_address_per_minute",
        ),
    ] {
        *field = read.integer(key, *field, 1..=10_000_000)?;
    }
    Ok(limits)
}

fn read_settings(read: &mut Reader, issuer: &Issuer) -> Result<Settings, ConfigError> {
    let mut settings = Settings::new(issuer.clone());
    settings.default_resource = read
        .optional("default_resource")?
        .map(|text| {
            Resource::parse(&text).map_err(|error| read.wrong("default_resource", &text, &error.to_string()))
        })
        .transpose()?;
    settings.let_basic_and_post_swap =
        read.boolean("let_basic_and_post_swap", settings.let_basic_and_post_swap)?;
    settings.accept_audience_parameter =
        read.boolean("accept_audience_parameter", settings.accept_audience_parameter)?;
    settings.dangerous_allow_plain_pkce =
        read.boolean(ALLOW_PLAIN_PKCE, settings.dangerous_allow_plain_pkce)?;
    settings.allowed_origins = read.with("cors.allowed_origins", "*", |text| {
        AllowedOrigins::parse(text).map_err(|error| error.to_string())
    })?;
    settings.accept_unregistered_loopback_resources = read.boolean(
        ACCEPT_UNREGISTERED,
        settings.accept_unregistered_loopback_resources,
    )?;
    read_client_assertions(read, issuer, &mut settings.client_assertions)?;
    settings.device_poll_interval = read.duration(
        "device_poll_interval",
        settings.device_poll_interval,
        Duration::from_secs(1)..=Duration::from_secs(60),
    )?;
    settings.lifetimes = read_lifetimes(read, settings.lifetimes)?;
    settings.registration = read_registration(read, settings.registration)?;
    settings.client_documents = client_documents::read(read, settings.client_documents)?;
    settings.limits = read_limits(read, settings.limits)?;
    settings.keys = read_keys(read, settings.keys)?;
    Ok(settings)
}

/// The keys that sign tokens.
fn read_keys(read: &mut Reader, default: KeySettings) -> Result<KeySettings, ConfigError> {
    const ROTATE_EVERY: &str = "keys.rotate_every";
    const DAY: Duration = Duration::from_secs(86_400);
    let mut keys = default;
    keys.publish_ahead = read.duration(
        "keys.publish_ahead",
        keys.publish_ahead,
        Duration::from_secs(1)..=DAY,
    )?;
    let every = read.duration(ROTATE_EVERY, Duration::ZERO, Duration::ZERO..=3_650 * DAY)?;
    if !every.is_zero() {
        if every < keys.lead() {
            let remedy = format!(
                "write 0s for never, or at least {}s: that long a key is published before it signs",
                keys.lead().as_secs()
            );
            return Err(read.wrong(ROTATE_EVERY, &format!("{}s", every.as_secs()), &remedy));
        }
        keys.rotate_every = Some(every);
    }
    Ok(keys)
}

/// What clients may sign to prove who they are.
fn read_client_assertions(
    read: &mut Reader,
    issuer: &Issuer,
    policy: &mut AssertionPolicy,
) -> Result<(), ConfigError> {
    const ALGORITHMS: &str = "client_assertions.algorithms";
    if read.boolean("client_assertions.accept_token_endpoint", false)? {
        policy.audiences.push(issuer.endpoint("/token"));
    }
    let all = policy.algorithm_names().join(",");
    policy.rules.algorithms = read.with(ALGORITHMS, &all, |text| {
        text.split(',')
            .map(|name| Algorithm::parse(name.trim()).ok_or_else(|| format!("write some of {all}")))
            .collect()
    })?;
    Ok(())
}

fn read_lifetimes(read: &mut Reader, default: Lifetimes) -> Result<Lifetimes, ConfigError> {
    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(86_400);
    let mut lifetimes = default;
    let mut set = |field: &mut Duration, key, range| -> Result<(), ConfigError> {
        *field = read.duration(key, *field, range)?;
        Ok(())
    };
    set(&mut lifetimes.code, "lifetimes.code", SECOND..=600 * SECOND)?;
    set(
        &mut lifetimes.device_code,
        "lifetimes.device_code",
        60 * SECOND..=3_600 * SECOND,
    )?;
    set(
        &mut lifetimes.access_token,
        "lifetimes.access_token",
        10 * SECOND..=DAY,
    )?;
    set(
        &mut lifetimes.refresh_idle,
        "lifetimes.refresh_idle",
        60 * SECOND..=365 * DAY,
    )?;
    // A refresh token's partition is made 92 days ahead.
    set(&mut lifetimes.grant, "lifetimes.grant", 60 * SECOND..=90 * DAY)?;
    set(
        &mut lifetimes.refresh_retry_window,
        "lifetimes.refresh_retry_window",
        Duration::ZERO..=300 * SECOND,
    )?;
    set(
        &mut lifetimes.interaction,
        "lifetimes.interaction",
        30 * SECOND..=3_600 * SECOND,
    )?;
    set(
        &mut lifetimes.consent,
        "lifetimes.consent",
        Duration::ZERO..=365 * DAY,
    )?;
    set(
        &mut lifetimes.unused_client,
        "lifetimes.unused_client",
        60 * SECOND..=90 * DAY,
    )?;
    Ok(lifetimes)
}

fn read_registration(
    read: &mut Reader,
    default: RegistrationSettings,
) -> Result<RegistrationSettings, ConfigError> {
    const DEFAULT_SCOPE: &str = "registration.default_scope";
    let mut registration = default;
    registration.enabled = read.boolean("registration.enabled", registration.enabled)?;
    registration.per_address_per_hour = read.integer(
        "registration.per_address_per_hour",
        registration.per_address_per_hour,
        1..=1_000_000,
    )?;
    registration.management = read.boolean("registration.management", registration.management)?;
    registration.management_per_address_per_hour = read.integer(
        "registration.management_per_address_per_hour",
        registration.management_per_address_per_hour,
        1..=1_000_000,
    )?;
    registration.initial_access_tokens = read_initial_access_tokens(read)?;
    registration.allowed_redirect_hosts = read.with("registration.allowed_redirect_hosts", "", |text| {
        text.split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(|one| is_redirect_host(one).then(|| one.to_owned()))
            .collect::<Option<_>>()
            .ok_or_else(|| {
                "write hosts, and schemes with their colon, such as app.example, 127.0.0.1, localhost, \
                 com.example.app:"
                    .to_owned()
            })
    })?;
    registration.default_scope = read
        .optional(DEFAULT_SCOPE)?
        .map(|text| Scope::parse(&text).map_err(|error| read.wrong(DEFAULT_SCOPE, &text, &error.to_string())))
        .transpose()?;
    Ok(registration)
}

/// Initial access tokens, from a setting (meant for the environment) and from a file. Only their digests are kept, so they
/// must be beyond guessing.
fn read_initial_access_tokens(read: &mut Reader) -> Result<InitialAccessTokens, ConfigError> {
    const TOKEN: &str = "registration.initial_access_token";
    const FILE: &str = "registration.initial_access_token_file";
    const MIN_BYTES: usize = 32;
    let remedy = "an initial access token has 32 to 512 printable characters without blanks; make one with: openssl rand \
                  -hex 32";
    let is_good =
        |token: &str| (MIN_BYTES..=512).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    let mut tokens = Vec::new();
    if let Some(token) = read.optional_secret(TOKEN)? {
        if !is_good(&token) {
            return Err(read.wrong(TOKEN, reader::MASK, remedy));
        }
        tokens.push(Zeroizing::new(token));
    }
    if let Some(file) = read.optional(FILE)? {
        let text = std::fs::read_to_string(&file)
            .map(Zeroizing::new)
            .map_err(|source| ConfigError::Unreadable {
                path: file.clone(),
                source,
            })?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let before = tokens.len();
        tokens.extend(lines.map(|line| Zeroizing::new(line.to_owned())));
        // A file without tokens would open registration to everybody.
        if tokens.len() == before || !tokens.iter().all(|token| is_good(token)) {
            return Err(read.wrong(FILE, &file, &format!("write one token a line; {remedy}")));
        }
    }
    Ok(InitialAccessTokens::new(
        tokens.iter().map(|token| token.as_str()),
    ))
}

/// Whether a redirect URI can lead there: a host, or a private-use scheme with its colon.
fn is_redirect_host(text: &str) -> bool {
    let uri = match text.strip_suffix(':') {
        Some(scheme) => format!("{scheme}:/cb"),
        None => format!("https://{text}/cb"),
    };
    RedirectUri::parse(&uri).is_ok_and(|uri| match uri.host() {
        RedirectHost::Web(host) => host == text,
        RedirectHost::App(scheme) => text.strip_suffix(':') == Some(scheme),
        RedirectHost::Loopback(_) => false,
    })
}

/// `$XDG_DATA_HOME/authflow`, else `~/.local/share/authflow`, else a folder beside the program's own.
fn default_data_dir() -> String {
    let variable = |name| crate::environment::variable(name).filter(|value| !value.is_empty());
    let base = variable("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("."));
    base.join("authflow").display().to_string()
}

#[cfg(test)]
mod tests;
