//! The configuration: one value for every key, and where it came from.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults. A key that nobody knows is
//! an error, wherever it stands: a misspelt safety switch must not be silently without effect.
//!
//! To add a key: a field in [`Config`], a line in [`Config::read`] that says default and range, a line in the reference.

mod database;
mod duration;
mod layers;
mod reader;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use mcp_authflow::{
    Settings,
    settings::{Lifetimes, RegistrationSettings},
};
use mcp_authflow_types::{Issuer, Resource};

use self::reader::Reader;
pub(crate) use self::{
    database::Database,
    layers::{Layers, malformed},
    reader::{ConfigError, Effective},
};
use crate::http::proxies::TrustedProxies;

/// Everything that can be configured, checked. Nothing in it shows a password: [`Database`] and [`Effective`] mask it.
#[derive(Debug)]
pub(crate) struct Config {
    /// The server's name and public address.
    pub(crate) issuer: Issuer,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Where state is kept.
    pub(crate) database: Database,
    /// The file of the server key; for PostgreSQL it must be named.
    pub(crate) server_key_file: Option<PathBuf>,
    /// Certificate and key, when the server ends TLS itself.
    pub(crate) tls: Option<TlsFiles>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: TrustedProxies,
    /// What the protocol may choose.
    pub(crate) settings: Settings,
    /// How long people stay signed in.
    pub(crate) sessions: Sessions,
    /// How the log is written.
    pub(crate) log: Log,
    /// The operator's own page templates.
    pub(crate) templates_dir: Option<PathBuf>,
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
        let own_issuer = format!("http://{listen}");
        let issuer: Issuer = read.with("issuer", &own_issuer, |text| {
            Issuer::parse(text).map_err(|error| {
                if text == own_issuer {
                    "set issuer to the public address of this server, such as https://auth.example".to_owned()
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
        let trusted_proxies: TrustedProxies = read.with("trusted_proxies", "", TrustedProxies::parse)?;
        let certificate = read.optional("tls.certificate_file")?;
        let key = read.optional("tls.key_file")?;
        let templates_dir = read.optional("templates_dir")?.map(PathBuf::from);
        let settings = read_settings(&mut read, &issuer)?;
        let sessions = Sessions {
            idle: read.duration("sessions.idle", 30 * MINUTE, MINUTE..=DAY)?,
            absolute: read.duration("sessions.absolute", DAY / 2, MINUTE..=30 * DAY)?,
        };
        let log = read_log(&mut read)?;
        let drain = read.duration(
            "drain",
            Duration::from_secs(20),
            Duration::ZERO..=Duration::from_secs(300),
        )?;

        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: certificate.into(),
                key: key.into(),
            }),
            (None, None) => None,
            (Some(_), None) => return Err(ConfigError::incomplete("tls.key_file", "tls.certificate_file")),
            (None, Some(_)) => return Err(ConfigError::incomplete("tls.certificate_file", "tls.key_file")),
        };
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
            database,
            server_key_file,
            tls,
            trusted_proxies,
            settings,
            sessions,
            log,
            templates_dir,
            drain,
            effective,
        })
    }
}

impl Config {
    /// What is set and weakens safety, for a warning at the start.
    pub(crate) fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        if self.settings.accept_unregistered_loopback_resources && !self.issuer.is_loopback() {
            dangers.push(format!(
                "{ACCEPT_UNREGISTERED} = true at the public issuer {}: tokens are issued for whatever runs on loopback, \
                 registered or not; register resources and leave it out",
                self.issuer
            ));
        }
        dangers
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

/// The filter, where none is set, of `serve` and of the other verbs: these print what they did themselves, and note it
/// for the audit trail.
const FILTER: &str = "info";
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
    settings.accept_unregistered_loopback_resources = read.boolean(
        ACCEPT_UNREGISTERED,
        settings.accept_unregistered_loopback_resources,
    )?;
    settings.lifetimes = read_lifetimes(read, settings.lifetimes)?;
    settings.registration = read_registration(read, settings.registration)?;
    Ok(settings)
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
    let mut registration = default;
    registration.enabled = read.boolean("registration.enabled", default.enabled)?;
    registration.per_address_per_hour = read.integer(
        "registration.per_address_per_hour",
        default.per_address_per_hour,
        1..=1_000_000,
    )?;
    Ok(registration)
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn read(
        file: &str,
        environment: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Result<Config, String> {
        let mut layers = Layers::default();
        layers
            .add_text(file, Path::new("authflow.toml"))
            .map_err(|error| error.to_string())?;
        layers.add_environment(
            environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        for (key, value) in flags {
            layers.add_flag(key, value);
        }
        Config::read(layers).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "listen = \"127.0.0.1:1001\"\n[lifetimes]\ncode = \"30s\"\naccess_token = \"5m\"";
        let environment = [
            ("AUTHFLOW_LISTEN", "127.0.0.1:1002"),
            ("AUTHFLOW_LIFETIMES__CODE", "40s"),
        ];
        let config = read(file, &environment, &[("listen", "127.0.0.1:1003")]).unwrap();
        assert_eq!(config.listen.port(), 1003);
        assert_eq!(config.issuer.as_str(), "http://127.0.0.1:1003");
        assert_eq!(config.settings.lifetimes.code, Duration::from_secs(40));
        assert_eq!(config.settings.lifetimes.access_token, Duration::from_secs(300));
        assert_eq!(config.settings.lifetimes.grant, Duration::from_secs(90 * 86_400));
    }

    #[test]
    fn a_mistake_is_told_with_key_value_and_remedy() {
        for (file, environment, said) in [
            ("lifetime = 1", &[][..], "unknown key `lifetime` in authflow.toml"),
            (
                "[lifetimes]\ncodes = \"1s\"",
                &[],
                "did you mean `lifetimes.code`?",
            ),
            (
                "",
                &[("AUTHFLOW_ISUER", "x")],
                "unknown key `isuer` in the environment variable AUTHFLOW_ISUER",
            ),
            (
                "issuer = \"https://a.example/\"",
                &[],
                "leave the issuer's trailing slash out",
            ),
            ("issuer = \"http://a.example\"", &[], "an issuer is https"),
            ("issuer = 7", &[], "issuer"),
            ("[lifetimes]\ncode = \"2 weeks\"", &[], "lifetimes.code"),
            ("[lifetimes]\ncode = \"0s\"", &[], "between 1s and 10m"),
            ("listen = \"0.0.0.0:80\"", &[], "set issuer to the public address"),
            (
                "listen = \"0.0.0.0:80\"\nissuer = \"https://a.example\"",
                &[],
                "behind_tls_proxy",
            ),
            (
                "listen = \"0.0.0.0:80\"\nissuer = \"https://a.example\"\nbehind_tls_proxy = true",
                &[],
                "trusted_proxies",
            ),
            (
                "issuer = \"https://a.example\"",
                &[],
                "set trusted_proxies to its address, such as \"127.0.0.1\"",
            ),
            (
                "issuer = \"https://a.example\"\nbehind_tls_proxy = true",
                &[],
                "set trusted_proxies",
            ),
            (
                "database_url = \"mysql://x\"",
                &[],
                "memory:, sqlite:PATH or postgres://",
            ),
            ("", &[("DATABASE_URL", "postgres://u@h/d")], "server_key_file"),
            ("[tls]\nkey_file = \"x\"", &[], "tls.certificate_file"),
            ("[log]\nformat = \"xml\"", &[], "text, json"),
            ("[log]\nfilter = \"info,=x=\"", &[], "log.filter"),
            ("\nlisten = ", &[], "authflow.toml:2:10: "),
        ] {
            let error = read(file, environment, &[]).unwrap_err();
            assert!(error.contains(said), "{file:?} {environment:?}: {error}");
        }
    }

    #[test]
    fn the_reference_names_every_key() {
        let reference = include_str!("../../../docs/configuration.md");
        for one in read("", &[], &[]).unwrap().effective {
            assert!(
                reference.contains(&format!("`{}`", one.key)),
                "{} is not in docs/configuration.md",
                one.key
            );
        }
    }

    #[test]
    fn plain_http_is_spoken_on_loopback_and_to_named_proxies() {
        let tls = "[tls]\ncertificate_file = \"c\"\nkey_file = \"k\"";
        for file in [
            String::new(),
            "issuer = \"http://localhost:8000\"".to_owned(),
            "issuer = \"https://a.example\"\ntrusted_proxies = \"127.0.0.1\"".to_owned(),
            "listen = \"0.0.0.0:80\"\nissuer = \"https://a.example\"\nbehind_tls_proxy = true\n\
             trusted_proxies = [\"10.0.0.0/8\", \"::1\"]"
                .to_owned(),
            format!("listen = \"0.0.0.0:443\"\nissuer = \"https://a.example\"\n{tls}"),
        ] {
            assert_eq!(read(&file, &[], &[]).err(), None, "{file}");
        }
    }

    #[test]
    fn a_setting_that_weakens_safety_is_named_dangerous_and_told_at_the_start() {
        let dangers = |file: &str| read(file, &[], &[]).unwrap().dangers();
        let public = "issuer = \"https://a.example\"\ntrusted_proxies = \"127.0.0.1\"\n";
        let set = format!("{ACCEPT_UNREGISTERED} = true");
        assert!(
            read("", &[], &[])
                .unwrap()
                .settings
                .accept_unregistered_loopback_resources
        );
        assert_eq!(dangers(&set), [""; 0]);
        assert_eq!(dangers(public), [""; 0]);
        let [danger] = dangers(&format!("{public}{set}")).try_into().unwrap();
        assert!(
            danger.starts_with("dangerous_accept_unregistered_loopback_resources = true"),
            "{danger}"
        );
    }

    #[test]
    fn verbs_are_quiet_but_for_the_audit_trail_unless_told_otherwise() {
        let log = read("", &[], &[]).unwrap().log;
        assert_eq!((&*log.filter, &*log.verb_filter), ("info", "warn,audit=info"));
        let log = read("[log]\nfilter = \"debug\"", &[], &[]).unwrap().log;
        assert_eq!((&*log.filter, &*log.verb_filter), ("debug", "debug"));
    }

    #[test]
    fn a_malformed_line_is_found_by_its_place_and_not_repeated() {
        for (file, place) in [
            ("database_url = \"postgres://u:hunter2@h/d", ":1:"),
            ("listen = \"127.0.0.1:1\"\ndatabase_url = hunter2", ":2:16"),
            ("database_url = \"postgres://u:hunter2@h/d\" x", ":1:"),
            ("database_url = \"\\hunter2\"", ":1:"),
            ("a = 1\ndatabase_url = 'a'\ndatabase_url = 'hunter2'", ":3:1"),
        ] {
            let error = read(file, &[], &[]).unwrap_err();
            assert!(error.starts_with(&format!("authflow.toml{place}")), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn secrets_are_masked_when_shown() {
        let environment = [
            ("DATABASE_URL", "postgres://u:hunter2@h/d?password=hunter2"),
            ("AUTHFLOW_SERVER_KEY_FILE", "/k"),
        ];
        let config = read("", &environment, &[]).unwrap();
        let shown = format!("{config:?} {:?}", config.database);
        assert!(
            !shown.contains("hunter2") && shown.contains("DATABASE_URL"),
            "{shown}"
        );
        for wrong in [
            "mysql://u:hunter2@h",
            "u:hunter2@h",
            "host=h password='a hunter2'",
        ] {
            let error = read("", &[("DATABASE_URL", wrong)], &[]).unwrap_err();
            assert!(
                !error.contains("hunter2") && error.contains("postgres://"),
                "{error}"
            );
        }
    }
}
