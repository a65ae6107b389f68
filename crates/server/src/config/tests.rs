//! What is read from where, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
use super::*;

fn read(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, String> {
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
            "[[protect.tools]]\nname = \"x\"",
            &[],
            "did you mean `[[protect.tool]]`?",
        ),
        (
            "[protect.tool]\nname = \"x\"",
            &[],
            "did you mean `[[protect.tool]]`?",
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
        ("[redis]\nreplay = \"redis\"", &[], "redis.url is not"),
        ("[redis]\nreplay = \"both\"", &[], "store, redis"),
        ("[redis]\nprefix = \"a b\"", &[], "1 to 64 of the characters"),
        ("", &[("REDIS_URL", "http://h/")], "redis://"),
        ("nodes = 0", &[], "between 1 and 1000"),
        (
            "[limits]\nintrospections_per_client_per_minute = 0",
            &[],
            "between 1 and 10000000",
        ),
        ("[log]\nformat = \"xml\"", &[], "text, json"),
        (
            "[fetch]\ndangerous_allow_networks = \"10.0.0.1/8\"",
            &[],
            "is no network",
        ),
        ("[log]\nfilter = \"info,=x=\"", &[], "log.filter"),
        ("\nlisten = ", &[], "authflow.toml:2:10: "),
    ] {
        let error = read(file, environment, &[]).unwrap_err();
        assert!(error.contains(said), "{file:?} {environment:?}: {error}");
    }
}

#[test]
fn the_reference_names_every_key() {
    let reference = include_str!("../../../../docs/configuration.md");
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
    let [danger] = dangers("[fetch]\ndangerous_allow_networks = [\"10.0.0.0/8\", \"fd00::/8\"]")
        .try_into()
        .unwrap();
    assert!(
        danger.starts_with("fetch.dangerous_allow_networks = \"10.0.0.0/8,fd00::/8\": "),
        "{danger}"
    );
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
fn redis_and_limits_are_read() {
    let config = read("", &[], &[]).unwrap();
    assert!(config.redis.is_none() && config.nodes == 1);
    assert_eq!(config.settings.limits.client_authentications_per_minute, 300);
    let text = "nodes = 3\n[redis]\nprefix = \"other\"\nreplay = \"redis\"\n\
                [limits]\nclient_authentications_per_minute = 7\n\
                token_requests_per_address_per_minute = 8\n";
    let config = read(text, &[("REDIS_URL", "redis://u:hunter2@h:7/1")], &[]).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let redis = config.redis.unwrap();
    assert_eq!(
        (redis.url.as_str(), redis.prefix.as_str()),
        ("redis://u:hunter2@h:7/1", "other")
    );
    assert!(redis.remembers_assertions);
    let limits = config.settings.limits;
    assert_eq!((config.nodes, limits.client_authentications_per_minute), (3, 7));
    assert_eq!(limits.token_requests_per_address_per_minute, 8);
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

/// S-147
#[test]
fn initial_access_tokens_come_from_the_environment_and_a_file_and_are_shown_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let (one, other) = ("f".repeat(32), "0123456789abcdef".repeat(4));
    std::fs::write(&file, format!("{other}\n\n")).unwrap();
    let text = format!(
        "[registration]\ninitial_access_token_file = \"{}\"",
        file.display()
    );
    let environment = [("AUTHFLOW_REGISTRATION__INITIAL_ACCESS_TOKEN", one.as_str())];
    let config = read(&text, &environment, &[]).unwrap();
    let tokens = &config.settings.registration.initial_access_tokens;
    for good in [&one, &other] {
        assert!(tokens.admit(Some(&format!("Bearer {good}"))));
    }
    assert!(!tokens.admit(Some("Bearer x")) && !tokens.admit(None));
    assert!(!format!("{config:?}").contains(&one), "a token is in plain sight");

    for (content, said) in [
        ("", "one token a line"),
        ("short\n", "32 to 512"),
        ("a b\n", "32 to 512"),
    ] {
        std::fs::write(&file, content).unwrap();
        let error = read(&text, &[], &[]).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let error = read("[registration]\ninitial_access_token = \"hunter2\"", &[], &[]).unwrap_err();
    assert!(
        error.contains("openssl rand") && !error.contains("hunter2"),
        "{error}"
    );
    let error = read(
        "[registration]\ninitial_access_token_file = \"/nowhere/tokens\"",
        &[],
        &[],
    )
    .unwrap_err();
    assert!(error.contains("cannot read /nowhere/tokens"), "{error}");
}

#[test]
fn registration_is_narrowed_by_hosts_and_given_a_scope() {
    let text = "[registration]\nallowed_redirect_hosts = [\"app.example\", \"[::1]\", \"cursor:\"]\n\
                default_scope = \"notes:read\"";
    let registration = read(text, &[], &[]).unwrap().settings.registration;
    assert_eq!(
        registration.allowed_redirect_hosts,
        ["app.example", "[::1]", "cursor:"]
    );
    assert_eq!(registration.default_scope.unwrap().to_string(), "notes:read");
    for bad in [
        "https://app.example",
        "app.example/cb",
        "*.example",
        "app.example:443",
        "javascript:",
        "a b",
    ] {
        let error = read(
            &format!("registration.allowed_redirect_hosts = [\"{bad}\"]"),
            &[],
            &[],
        )
        .unwrap_err();
        assert!(error.contains("schemes with their colon"), "{error}");
    }
    let error = read("registration.default_scope = \"a\\\"b\"", &[], &[]).unwrap_err();
    assert!(error.contains("registration.default_scope"), "{error}");
}

/// S-005, S-030, S-031, M-132
#[test]
fn origins_are_read_from_where_the_ecosystem_keeps_them_and_checked_at_the_start() {
    use mcp_authflow_types::cors::AllowedOrigins;

    let origins = |file: &str, environment: &[(&str, &str)]| {
        read(file, environment, &[]).map(|config| config.settings.allowed_origins)
    };
    assert_eq!(origins("", &[]), Ok(AllowedOrigins::any()));
    let two = AllowedOrigins::parse("https://a.example,http://localhost:1").unwrap();
    let variable = [("ALLOWED_MCP_ORIGINS", "https://a.example, http://localhost:1")];
    assert_eq!(origins("", &variable), Ok(two.clone()));
    let list = "[cors]\nallowed_origins = [\"https://a.example\", \"http://localhost:1\"]";
    assert_eq!(origins(list, &[]), Ok(two));
    assert_eq!(
        origins("", &[("ALLOWED_MCP_ORIGINS", "")]),
        Ok(AllowedOrigins::default())
    );
    for bad in ["null", "https://a.example/", "*, https://a.example", "a.example"] {
        let said = origins("", &[("ALLOWED_MCP_ORIGINS", bad)]).unwrap_err();
        assert!(said.contains("cors.allowed_origins"), "{said}");
    }
}

#[test]
fn plain_pkce_is_off_and_warned_of_when_it_is_on() {
    assert!(!read("", &[], &[]).unwrap().settings.dangerous_allow_plain_pkce);
    let config = read("dangerous_allow_plain_pkce = true", &[], &[]).unwrap();
    assert!(config.settings.dangerous_allow_plain_pkce);
    let [danger] = config.dangers().try_into().unwrap();
    assert!(danger.contains("dangerous_allow_plain_pkce"), "{danger}");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let file = r#"
        listen = "127.0.0.1:1001"
        templates_dir = 'C:\a "b"'
        [protect.friction]
        window_size = 50
        ema_alpha = 0.2
        [[protect.friction.tool]]
        name = "delete_note"
        target_rate = 0.05
        [[protect.scope]]
        name = "notes:admin"
        description = "Manage \"all\" notes"
        includes = ["tools:destructive"]
        [[protect.tool]]
        name = "read_file"
        unless = { path = "/srv/public/*" }
        scope = "tools:write"
    "#;
    let print = |config: &Config| -> String {
        let lines = config
            .effective
            .iter()
            .map(|one| format!("{one}  # {}\n", one.origin));
        lines.collect()
    };
    let printed = print(&read(file, &[], &[]).unwrap());
    assert!(printed.contains("protect.friction.window_size = 50"), "{printed}");
    let again = read(&printed, &[], &[])
        .map_err(|error| format!("{error}\n{printed}"))
        .unwrap();
    assert_eq!(again.listen.port(), 1001);
    let said = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split("  # ").next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(said(&print(&again)), said(&printed));
}

/// CM-18
/// M-177
#[test]
fn the_section_of_client_documents_says_whose_count() {
    use mcp_authflow::client::trust::{DomainName, DomainTrust};

    let host = |text| DomainName::parse(text).unwrap();
    let section = |text: &str| read(&format!("[client_documents]\n{text}"), &[], &[]);
    let settings = |text: &str| section(text).unwrap().settings.client_documents;
    assert_eq!(settings("").trust, DomainTrust::Open);
    assert_eq!(settings("trust = \"ask\"").trust, DomainTrust::Ask);
    assert_eq!(
        settings("trust = \"only\"\nhosts = \"App.Example, b.example:8443\"").trust,
        DomainTrust::Only([host("app.example"), host("b.example:8443")].into())
    );
    assert_eq!(
        settings("trust = \"all_but\"\nhosts = \"evil.example\"").trust,
        DomainTrust::AllBut([host("evil.example")].into())
    );
    let times = settings("enabled = false\nmin_age = \"1m\"\nmax_age = \"1h\"\nlast_good = \"0s\"");
    assert!(!times.enabled);
    assert_eq!((times.min_age.as_secs(), times.max_age.as_secs()), (60, 3_600));
    assert!(times.last_good.is_zero());
    for (wrong, said) in [
        ("trust = \"some\"", "write one of open, only, all_but, ask"),
        ("trust = \"only\"", "names no host"),
        ("trust = \"ask\"\nhosts = \"a.example\"", "host allow"),
        (
            "hosts = \"https://a.example/\"\ntrust = \"only\"",
            "a host is a name",
        ),
        ("max_age = \"2d\"", "client_documents.max_age"),
        ("min_age = \"2h\"\nmax_age = \"1h\"", "client_documents.min_age"),
        ("max_age = \"10s\"", "longer than client_documents.max_age, 10s"),
        ("max_bytes = 5", "unknown key"),
    ] {
        let error = section(wrong).unwrap_err();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

/// A switch that could change nothing is a mistake, and not silently so.
#[test]
fn a_leniency_is_switched_for_clients_that_are_known_to_need_it() {
    let section = |text: &str| read(&format!("[known_clients]\n{text}"), &[], &[]);
    for fine in [
        "on = [\"opencode/loopback-path\"]",
        "on = [\"loopback-path\"]",
        "off = [\"claude/secret-in-body\"]",
    ] {
        assert!(section(fine).is_ok(), "{fine}");
    }
    for (wrong, said) in [
        ("on = [\"zed/loopback-path\"]", "authflow known-clients show zed"),
        (
            "off = [\"opencode/secret-in-body\"]",
            "is not known to need secret-in-body",
        ),
        ("on = [\"opencod/loopback-path\"]", "is no known client"),
    ] {
        let error = section(wrong).unwrap_err();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}
