//! Everything that is in the namespace: names, peers, the server; and how a try is made and judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mcp_authflow_jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

use super::authority::Authority;
use super::dns::{Answer, DnsStub};
use super::door::{self, Door, Tried, authorize_path};
use super::house::{AuthServer, ISSUER, Plan, Shared};
use super::judgement::Judgement;
use super::peers::{Peers, is_global};
use super::room::{NAME_SERVER, tcp_opens};
use super::visitor::{Street, Visitor};

/// The port of the server under test; further ones come after it.
const PORT: u16 = 8000;
/// An address that looks like anybody's, for hosts that are to be asked.
pub(crate) const GLOBAL: &str = "93.184.215.14";
/// The configuration that nobody should have.
const UNGUARDED: &str = "[fetch]\ndangerous_allow_networks = \"0.0.0.0/0,::/0,169.254.169.254\"\n";
/// What tells of the network behind the server. None of it may stand in an answer.
const DETAILS: &[&str] = &[
    "special-use",
    "loopback",
    "getaddrinfo",
    "resolve",
    "os error",
    "refused:",
    "timed out",
    "certificate",
    "handshake",
    "unreachable",
    "no route",
    "10.0.0",
    "169.254",
    "127.0.0",
    "fetched",
    "redirects",
];

/// What a try must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Refused, and nothing was dialled.
    Unasked,
    /// Refused, after one connection to an ordinary address, or to the few that a name has.
    Asked,
}

/// The namespace, furnished.
pub(crate) struct World {
    pub(crate) dns: DnsStub,
    pub(crate) peers: Peers,
    pub(crate) street: Street,
    /// Signs for every honest client with keys.
    pub(crate) key: SigningKey,
    pub(crate) server: AuthServer,
    binary: PathBuf,
    ca_file: PathBuf,
    next_name: AtomicUsize,
}

impl World {
    /// Furnishes the namespace and starts the server; an unguarded one may dial every network.
    pub(crate) async fn open(binary: &Path, folder: &Path, unguarded: bool) -> Result<Self> {
        let dns = DnsStub::start(NAME_SERVER).await?;
        // Every host under these is at an ordinary address, unless it is told otherwise.
        for domain in ["good.test", "client.test"] {
            dns.domain(domain, Answer::of(&[GLOBAL]));
        }
        for host in ["as.test", "client.test", "cimd.test", "rs1.test"] {
            dns.name(host, vec![Answer::of(&[GLOBAL])]);
        }
        let authority = Arc::new(Authority::new()?);
        let ca_file = folder.join("ca.pem");
        std::fs::write(&ca_file, authority.pem())?;
        let key = SigningKey::generate(Algorithm::Es256)?;
        let peers = Peers::start(authority, key.public_jwk()).await?;
        let server = AuthServer::start(&Plan {
            binary,
            ca_file: &ca_file,
            port: PORT,
            config: if unguarded { UNGUARDED } else { "" },
            shared: None,
        })?;
        Ok(Self {
            dns,
            peers,
            street: Street::new(),
            key,
            server,
            binary: binary.to_owned(),
            ca_file,
            next_name: AtomicUsize::new(0),
        })
    }

    /// Starts two nodes of another server, on one PostgreSQL, which ends with the first of what is returned.
    pub(crate) fn two_nodes(&self) -> Result<(Shared, [AuthServer; 2])> {
        let folder = self.ca_file.parent().context("a file has a folder")?;
        let shared = tokio::task::block_in_place(|| Shared::start(folder))?;
        let nodes = [self.another("", Some(&shared))?, self.another("", Some(&shared))?];
        Ok((shared, nodes))
    }

    /// Starts another server with this configuration, on a database of its own or a shared one.
    pub(crate) fn another(&self, config: &str, shared: Option<&Shared>) -> Result<AuthServer> {
        let number = u16::try_from(self.next_name.fetch_add(1, Ordering::Relaxed))?;
        AuthServer::start(&Plan {
            binary: &self.binary,
            ca_file: &self.ca_file,
            port: PORT + 1 + number % 1_000,
            config,
            shared,
        })
    }

    /// Somebody new at the server's door.
    pub(crate) fn visitor(&self) -> Result<Visitor> {
        self.visitor_of(&self.server)
    }

    /// Somebody new at another server's door.
    pub(crate) fn visitor_of(&self, server: &AuthServer) -> Result<Visitor> {
        self.street.visitor(server.address, ISSUER)
    }

    /// A host that nobody has asked yet, at an ordinary address.
    pub(crate) fn host(&self, word: &str) -> String {
        let number = self.next_name.fetch_add(1, Ordering::Relaxed);
        format!("{word}-{number}.good.test")
    }

    /// A host in a domain of its own that nobody has looked up yet, and what is answered to who does.
    pub(crate) fn host_with(&self, word: &str, answers: Vec<Answer>) -> String {
        let number = self.next_name.fetch_add(1, Ordering::Relaxed);
        let host = format!("www.{word}-{number}.test");
        self.dns.name(&host, answers);
        host
    }

    /// Makes the server ask a URL in this way, and tells what came of it. Nobody else may do anything meanwhile.
    pub(crate) async fn knock(&self, door: Door, url: &str) -> Result<Tried> {
        let opens = || -> Result<u64> {
            Ok(tcp_opens()?.saturating_sub(self.street.opened() + self.dns.connections()))
        };
        let (opens_before, contacts_before) = (opens()?, self.peers.contacts().len());
        let (reply, at_registration) = self.ask(door, url).await?;
        Ok(Tried {
            door,
            url: url.to_owned(),
            reply,
            at_registration,
            dialled: opens()?.saturating_sub(opens_before),
            contacts: self.peers.contacts().split_off(contacts_before),
        })
    }

    /// Makes the server ask a URL in this way; others may do something meanwhile. Whether it was refused at registration.
    pub(crate) async fn ask(&self, door: Door, url: &str) -> Result<(super::visitor::Reply, bool)> {
        let visitor = self.visitor()?;
        match door {
            Door::Document => Ok((
                visitor.get(&authorize_path(url, door::REDIRECT_URI)).await?,
                false,
            )),
            Door::KeySet => match door::register(&visitor, &json!({ "jwks_uri": url })).await? {
                Err(refusal) => Ok((refusal, true)),
                Ok(id) => {
                    let assertion = door::assertion(&id, &self.key, &json!({}))?;
                    Ok((door::show(&visitor, &id, &assertion).await?, false))
                }
            },
        }
    }

    /// Makes the server ask a URL, and judges that it was refused.
    pub(crate) async fn refused(
        &self,
        judgement: &mut Judgement,
        door: Door,
        url: &str,
        expect: Expect,
    ) -> Result<Tried> {
        judgement.input();
        let tried = self.knock(door, url).await?;
        let reply = &tried.reply;
        let mut statuses = match door {
            Door::KeySet => vec![400, 401],
            Door::Document => vec![400],
        };
        if expect == Expect::Asked {
            // It may be a bad minute of an honest host.
            statuses.extend([503, 504]);
        }
        judgement.demand(!tried.is_through() && statuses.contains(&reply.status), || {
            format!("not refused: {}", tried.describe())
        });
        if door == Door::KeySet {
            let error = reply.error();
            let mut errors = vec!["invalid_client", "invalid_request", "invalid_client_metadata"];
            if expect == Expect::Asked {
                errors.push("temporarily_unavailable");
            }
            judgement.demand(errors.contains(&error.as_str()), || {
                format!("wrong error: {}", tried.describe())
            });
        }
        judgement.demand(reply.location().is_none(), || {
            format!("redirected: {}", tried.describe())
        });
        judge_network(judgement, &tried, expect);
        Ok(tried)
    }

    /// Makes the server ask a good URL, which it must believe: a refusal proves nothing where this is refused too.
    pub(crate) async fn control(&self, judgement: &mut Judgement, door: Door, url: &str) -> Result<Tried> {
        judgement.input();
        let tried = self.knock(door, url).await?;
        judgement.demand(tried.is_through() && tried.dialled == 1, || {
            format!(
                "the good one is refused: {}: {}",
                tried.describe(),
                tried.reply.brief()
            )
        });
        Ok(tried)
    }

    /// A control for each door.
    pub(crate) async fn controls(&self, judgement: &mut Judgement) -> Result<()> {
        for door in Door::ALL {
            let url = format!("https://{}{}", self.host("control"), door.path());
            self.control(judgement, door, &url).await?;
        }
        Ok(())
    }

    /// What must hold after every case: the server is well, and wrote down no client that it refused.
    pub(crate) async fn judge_after(&self, judgement: &mut Judgement, refused: &[Tried]) -> Result<()> {
        let visitor = self.visitor()?;
        for path in ["/healthz", "/readyz"] {
            let reply = visitor.get(path).await?;
            judgement.demand(reply.status == 200, || format!("{path} answers {}", reply.status));
        }
        let panicked = self.server.log().contains("panicked at");
        judgement.demand(!panicked, || "the server panicked".to_owned());
        let listed: Value = serde_json::from_str(&self.server.run(&["client", "list", "--json"])?)?;
        let ids: Vec<&str> = listed
            .as_array()
            .context("the clients are no list")?
            .iter()
            .filter_map(|client| client["client_id"].as_str())
            .collect();
        judgement.demand(ids.contains(&"pub"), || {
            format!("the list has no clients: {listed}")
        });
        for tried in refused.iter().filter(|tried| tried.door == Door::Document) {
            let is_written_down = ids.contains(&tried.url.as_str());
            judgement.demand(!is_written_down, || {
                format!("it is written down: {}", tried.describe())
            });
        }
        Ok(())
    }

    /// Waits for something that the server does by itself.
    pub(crate) async fn until(&self, most: Duration, is_so: impl Fn() -> bool) -> Result<()> {
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        ensure!(
            tokio::time::timeout(most, waiting).await.is_ok(),
            "it does not come about"
        );
        Ok(())
    }
}

/// Whom the server dialled, and what its answer tells of that.
fn judge_network(judgement: &mut Judgement, tried: &Tried, expect: Expect) {
    let (most, what) = match expect {
        Expect::Unasked => (0, "nothing may be dialled"),
        Expect::Asked => (3, "a few ordinary addresses may be dialled"),
    };
    judgement.demand(tried.dialled <= most, || format!("{what}: {}", tried.describe()));
    let private = tried.contacts.iter().find(|contact| !is_global(contact.to.ip()));
    judgement.demand(private.is_none(), || {
        format!("A CANARY WAS DIALLED: {}", tried.describe())
    });
    let text = tried.text().replace(&tried.url, "");
    let told = DETAILS
        .iter()
        .find(|detail| text.to_ascii_lowercase().contains(*detail));
    judgement.demand(told.is_none(), || {
        format!("the answer tells {told:?}: {}: {}", tried.describe(), text)
    });
}
