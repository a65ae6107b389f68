//! `authflow protect`.

use std::{ffi::OsString, net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, middleware, response::IntoResponse, routing::get};
use clap::Args;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{StatusCode, header};
use mcp_authflow::port::{Audit, Store};
use mcp_authflow_axum::ClientAddress;
use mcp_authflow_jose::ServerKey;
use mcp_authflow_protect::{IdentitySigner, Proxy, Upstream};
use mcp_authflow_resource::{
    Cached, Caching, TokenVerifier,
    friction::{FrictionGuard, justification::Plea},
};
use mcp_authflow_types::{Issuer, Resource};
use tokio::sync::watch;

use super::{Refused, output::say, serve};
use crate::{
    audit_trail::BoundedTrail,
    bootstrap,
    client_logo::ClientLogos,
    config::{self, Config, ConfigError, UpstreamUrl},
    http::{
        around,
        health::{self, Draining},
        listen,
    },
    login::People,
    protect::{
        Authority, Door, Doorway, Found, NotRead, OtherIssuer, OwnIssuer, OwnKey, SignedByServer, Watch,
        register,
    },
    public_url,
    system::SinceStart,
    wire::{self, Opened, Purpose},
};

#[derive(Debug, Args)]
#[command(
    override_usage = "authflow protect [OPTIONS] <URL>\n       authflow protect [OPTIONS] -- <COMMAND> [ARGS]…",
    after_help = "Examples:
  authflow protect http://127.0.0.1:9000/mcp
  authflow protect -- python server.py
  authflow protect --public-url https://tools.example http://127.0.0.1:9000/mcp
  authflow protect --issuer https://auth.example http://127.0.0.1:9000/mcp

Give your MCP client the address that is printed as endpoint, such as http://127.0.0.1:8000/mcp. Which tool needs which scope, and more, is set in [protect] of the configuration file."
)]
pub(super) struct Protect {
    /// The MCP server: the address of its endpoint, or of its event stream for the older HTTP with SSE
    #[arg(value_name = "URL", value_parser = UpstreamUrl::parse)]
    url: Option<UpstreamUrl>,
    /// The MCP server: the command of one that speaks over standard input and output
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// The address to listen on [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The public origin, as clients write it [default: http:// and the address it listens on]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// A separate authorization server [default: this process is it]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The client as which that server is asked about tokens [default: its tokens are JWTs]
    #[arg(long, value_name = "ID")]
    introspection_client_id: Option<String>,
    /// The file with that client's secret
    #[arg(long, value_name = "FILE")]
    introspection_client_secret_file: Option<String>,
    /// Users, clients and resources to add at the start, where they are missing
    #[arg(long, value_name = "FILE", conflicts_with = "issuer")]
    bootstrap: Option<PathBuf>,
    /// How the log is written: text or json
    #[arg(long, value_name = "FORMAT")]
    log: Option<String>,
}

impl Protect {
    /// The settings that flags override.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        [
            ("listen", &self.listen),
            ("protect.public_url", &self.public_url),
            ("protect.issuer", &self.issuer),
            ("protect.introspection_client_id", &self.introspection_client_id),
            (
                "protect.introspection_client_secret_file",
                &self.introspection_client_secret_file,
            ),
            ("log.format", &self.log),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)))
        .collect()
    }

    pub(super) async fn run(self, mut config: Config) -> anyhow::Result<()> {
        for danger in config.dangers() {
            tracing::warn!("{danger}");
        }
        let behind = self.behind(&config)?;
        let listener = listen::bind(config.listen)?;
        let resource = Resource::parse(&format!("{}/mcp", origin(&config)))?;
        match config.protect.issuer.take() {
            None => self.beside_own_issuer(config, behind, listener, resource).await,
            Some(issuer) => beside_other_issuer(config, behind, listener, resource, issuer).await,
        }
    }

    /// The MCP server, by command line or configuration.
    fn behind(&self, config: &Config) -> Result<Behind, ConfigError> {
        let url = self.url.as_ref().or(config.protect.upstream.as_ref());
        match (self.command.split_first(), url) {
            (Some(_), _) if self.url.is_some() => Err(ConfigError::Unsafe(
                "name the MCP server by its address or by its command, not by both".to_owned(),
            )),
            (Some((program, arguments)), _) => Ok(Behind {
                upstream: Upstream::command(program, arguments),
                // Arguments may hold keys.
                shown: if arguments.is_empty() {
                    program.to_string_lossy().into_owned()
                } else {
                    format!("{} …", program.to_string_lossy())
                },
                is_sse: false,
                // Each time costs a child.
                reread_at_most: Duration::from_secs(3_600),
            }),
            (None, Some(url)) => Ok(Behind {
                upstream: Upstream::http(url.as_str()),
                shown: url.shown().to_owned(),
                is_sse: url.shown().ends_with("/sse"),
                reread_at_most: Duration::ZERO,
            }),
            (None, None) => Err(ConfigError::Unsafe(
                "name the MCP server: authflow protect http://127.0.0.1:9000/mcp, or authflow protect -- python server.py"
                    .to_owned(),
            )),
        }
    }

    /// Authorization server and gateway in one process.
    async fn beside_own_issuer(
        self,
        config: Config,
        behind: Behind,
        listener: TcpListener,
        resource: Resource,
    ) -> anyhow::Result<()> {
        let opened = Opened::open(&config, Purpose::Serve).await?;
        if let Some(file) = &self.bootstrap {
            bootstrap::apply(file, &*opened.store, &*opened.accounts).await?;
        }
        let shared = wire::Shared::connect(&config).await?;
        let server = opened.server(&config, &shared);
        let mut gateway = Gateway::open(
            &config,
            behind,
            resource.clone(),
            &config.issuer,
            Arc::new(OwnIssuer::new(server.clone(), resource)),
            Keys {
                signer: Arc::new(SignedByServer(server.clone())),
                session_key: opened.key.digest(SESSIONS, &[]),
            },
        )
        .await?;
        register(
            &*opened.store,
            &gateway.doorway.resource,
            gateway.name(),
            &gateway.doorway.authority.described(gateway.found.as_ref().ok()),
        )
        .await?;
        gateway.store = Some(opened.store.clone());
        gateway.check_key = Some(opened.key.clone());
        gateway.trail = server.ports().audit.clone();
        let people = People::new(
            server.clone(),
            opened.accounts.clone(),
            serve::pages(&config)?,
            opened.key.clone(),
            config.sessions,
        );
        let draining = Draining::default();
        let logos = ClientLogos::new(&config, server.clone(), opened.accounts.clone());
        let routes = serve::routes(server.clone(), people, draining.clone(), shared).merge(logos.router());
        let resource = gateway.doorway.resource.clone();
        let check = tokio::spawn(public_url::at_start(&config, server.clone(), Some(resource)));
        let cleaner = tokio::spawn(serve::keep_clean(server));
        let greeting = async {
            say(format_args!("  state     {}", serve::place_of_state(&config)))?;
            serve::offer_first_account(&config, &opened).await
        };
        gateway
            .serve(&config, listener, routes, draining, greeting)
            .await?;
        check.abort();
        cleaner.abort();
        opened.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The gateway alone; people sign in elsewhere.
async fn beside_other_issuer(
    mut config: Config,
    behind: Behind,
    listener: TcpListener,
    resource: Resource,
    issuer: Issuer,
) -> anyhow::Result<()> {
    let verifier = Arc::new(OtherIssuer::new(&issuer, config.protect.introspection.take())?);
    let key = Arc::new(OwnKey::open(&config.data_dir, origin(&config))?);
    let key_set = key.key_set().to_string();
    let keys = Keys {
        session_key: key.digest(SESSIONS)?,
        signer: key,
    };
    let cache = config.protect.introspection_cache;
    let checked: Arc<dyn TokenVerifier> = if cache.is_zero() {
        verifier.clone()
    } else {
        Arc::new(Cached::new(verifier.clone(), Caching::for_at_most(cache))?)
    };
    let gateway = Gateway::open(&config, behind, resource, &issuer, checked, keys).await?;
    let draining = Draining::default();
    let routes = health::router_without_store(draining.clone()).route(
        "/jwks",
        get(async move || {
            (
                [
                    (header::CONTENT_TYPE, "application/jwk-set+json"),
                    (header::CACHE_CONTROL, "public, max-age=300"),
                ],
                key_set.clone(),
            )
        }),
    );
    let greeting = async {
        say(format_args!(
            "  issuer    {issuer}\n            {}",
            verifier.look().await
        ))
    };
    gateway
        .serve(&config, listener, routes, draining, greeting)
        .await?;
    tracing::info!("stopped");
    Ok(())
}

/// The origin under which clients see us.
fn origin(config: &Config) -> &str {
    config
        .protect
        .public_url
        .as_ref()
        .unwrap_or(&config.issuer)
        .origin()
}

/// The MCP server behind.
struct Behind {
    upstream: Upstream,
    /// As it is shown: without a query, which may hold a secret.
    shown: String,
    /// Whether it speaks the older HTTP with SSE, by its address.
    is_sse: bool,
    /// How often its tools are read again at most.
    reread_at_most: Duration,
}

/// What is signed and sealed with.
struct Keys {
    signer: Arc<dyn IdentitySigner>,
    session_key: [u8; 32],
}

/// What session keys are drawn for.
const SESSIONS: &str = "mcp sessions";

/// The gateway, ready to serve.
struct Gateway {
    doorway: Doorway,
    shown: String,
    is_sse: bool,
    reread: Duration,
    found: Result<Found, NotRead>,
    asked_to_stop: Shared<BoxFuture<'static, ()>>,
    /// Where refusals are noted.
    trail: Arc<dyn Audit>,
    /// Where the MCP server stands under its name, when that is here.
    store: Option<Arc<dyn Store>>,
    /// By which questions to the public address are recognised, when this process asks any.
    check_key: Option<ServerKey>,
}

impl Gateway {
    /// Puts it together, and asks the MCP server for its tools. One that is not up does not keep us from starting.
    async fn open(
        config: &Config,
        behind: Behind,
        resource: Resource,
        issuer: &Issuer,
        verifier: Arc<dyn TokenVerifier>,
        keys: Keys,
    ) -> anyhow::Result<Self> {
        let protect = &config.protect;
        let upstream = behind
            .upstream
            .max_children(usize::try_from(protect.max_children)?)
            .idle_after(protect.idle_children);
        let mut proxy = Proxy::builder(upstream)
            .public_origin(origin(config))
            .answer_within(protect.answer_within)
            .client_address(|extensions| extensions.get().map(|ClientAddress(address)| *address));
        for header in &protect.headers {
            proxy = proxy.header(&header.name, &*header.value);
        }
        if protect.may_be_plain {
            proxy = proxy.dangerous_allow_plain_http();
        }
        if protect.identity_header {
            proxy = proxy.identity(keys.signer);
        }
        let doorway = Doorway {
            resource,
            issuer: issuer.clone(),
            verifier,
            authority: Authority::new(protect)?,
            proxy: proxy.build()?,
            name: protect.name.clone(),
            allowed_origins: protect.allowed_origins.clone(),
            aliases: protect.aliases,
            max_body_bytes: protect.max_body_bytes,
            hides_forbidden: protect.hide_forbidden_tools,
            friction: guard(protect)?,
            session_key: keys.session_key,
        };
        // What is wrong with the settings is found out before anybody is asked.
        doorway.hang(None)?;
        // From here on a child may run, which is not to outlive us.
        let asked_to_stop = listen::asked_to_stop()?.boxed().shared();
        let survey = doorway.survey()?;
        let read = tokio::select! {
            read = survey.read() => read,
            () = asked_to_stop.clone() => return Err(Refused("asked to stop before everything was started".to_owned()).into()),
        };
        let found = read.inspect_err(|error| {
            tracing::warn!(%error, "the tools cannot be read; trying again");
        });
        Ok(Self {
            doorway,
            shown: behind.shown,
            is_sse: behind.is_sse,
            reread: protect.reread_tools.max(behind.reread_at_most),
            found,
            asked_to_stop,
            trail: Arc::new(BoundedTrail::new(SinceStart::now())),
            store: None,
            check_key: None,
        })
    }

    /// What people are asked to allow access to.
    fn name(&self) -> Option<&str> {
        let own = || self.found.as_ref().ok().and_then(|found| found.name.as_deref());
        self.doorway.name.as_deref().or_else(own)
    }

    /// Serves until the process is asked to stop.
    async fn serve(
        mut self,
        config: &Config,
        listener: TcpListener,
        routes: Router,
        draining: Draining,
        greeting: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let (end, ending) = watch::channel(false);
        let door = Door::new(
            self.doorway.hang(self.found.as_ref().ok())?,
            ending,
            self.trail.clone(),
        );
        let around = serve::around_of(config);
        let around = match self.check_key.take() {
            Some(key) => around.answering_checks(key),
            None => around,
        };
        let app = routes
            .merge(door.routes(&self.doorway.well_known_paths()?, self.is_sse))
            .fallback(nothing_here)
            .layer(middleware::from_fn_with_state(Arc::new(around), around::around));
        let asked_to_stop = self.asked_to_stop.clone();
        let asked_to_stop = async move {
            asked_to_stop.await;
            // Nobody listens when no stream is open.
            end.send(true).ok();
        };
        let running = listen::serve(listener, config, app, draining, asked_to_stop);
        self.say_hello(config)?;
        greeting.await?;
        // Last, since this is what scripts wait for.
        say(format_args!("authflow listening on {}", origin(config)))?;
        let mut watch = Watch::new(self.doorway, door, self.reread, self.found.ok())?;
        if let Some(store) = self.store {
            watch = watch.telling(store);
        }
        let watching = tokio::spawn(watch.run());
        running.await?;
        watching.abort();
        Ok(())
    }

    /// Tells the person at the terminal what stands in front of what.
    fn say_hello(&self, config: &Config) -> anyhow::Result<()> {
        say(format_args!("authflow {}", env!("CARGO_PKG_VERSION")))?;
        say(format_args!("  endpoint  {}", self.doorway.resource))?;
        if config.listen.to_string() != origin(config).trim_start_matches("http://") {
            say(format_args!("  socket    {}", config.listen))?;
        }
        match &self.found {
            Err(error) => say(format_args!(
                "  upstream  {}\n            {}",
                self.shown,
                error.at_the_start()
            )),
            Ok(found) => {
                say(format_args!("  upstream  {}", self.shown))?;
                for line in self.doorway.authority.lines(found) {
                    say(format_args!("            {line}"))?;
                }
                Ok(())
            }
        }
    }
}

/// What keeps count of calls, where that is wanted.
fn guard(protect: &config::Protect) -> anyhow::Result<Option<FrictionGuard>> {
    let Some(friction) = &protect.friction else {
        return Ok(None);
    };
    let guard = FrictionGuard::new(friction.registry()?);
    Ok(Some(if protect.demand_justification {
        guard.justify(is_noted)
    } else {
        guard
    }))
}

/// Accepts a reason that says something, and writes it down: somebody can be held to it.
fn is_noted(plea: &Plea<'_>) -> bool {
    let text = plea.text.trim();
    if text.is_empty() {
        return false;
    }
    let tool = &*plea.result.tool_name;
    tracing::info!(caller = plea.key, tool, reason = ?text, "a call was justified");
    true
}

/// Whatever is neither the endpoint nor the authorization server's.
async fn nothing_here() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let body = r#"{"error":"not_found","error_description":"there is nothing at this path"}"#;
    (StatusCode::NOT_FOUND, headers, body)
}
