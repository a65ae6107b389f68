//! Outside judges: programs that others wrote decide whether the server is right.
//!
//! | judge | proves |
//! |---|---|
//! | `conformance` | the official MCP conformance package passes the authorization server |
//! | `mcpjam` | a tester of pairs finds resource server and authorization server right together |
//! | `protect` | MCP servers of others, unchanged behind `authflow protect`, work with the client libraries |
//! | `conformance-server` | the official package finds a server behind `authflow protect` the same as without it |
//! | `ts-v2` `ts-v1` `python` `rmcp` | a real client library gets in, refreshes, and is out after revocation |
//! | `matrix` | every client, by every way to an identity, at every arrangement of issuer and MCP server |
//! | `openid` | two strict clients that know nothing of MCP read every answer of ours by its RFC |
//! | `differential` | the same requests are answered as by `oidc-provider`, or otherwise for a listed reason |
//! | `device` | a device without a browser gets in once a person has approved in a real Chromium |
//! | `screens` | every page fits, can be read and can be used by keyboard, in a real browser |
//!
//! `judges/README.md` tells more. To add a client library: a driver in `judges/` that speaks the lines of
//! `judges/dialogue.mjs`, and a variant of [`client::Client`].

mod client;
mod client_rmcp;
mod compatibility;
mod conformance;
mod device;
mod dialogue;
mod differential;
mod door;
mod house;
mod injector;
mod matrix;
mod mcp_server;
mod mcpjam;
mod openid;
mod person;
mod protected;
mod registration;
pub(crate) mod screens;
mod server_suite;
mod site;
mod story;
mod table;
mod visitor;
mod workshop;

use std::future::Future;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use mcp_authflow_testkit::service::postgres::PrivatePostgres;

use self::client::Client;
use self::compatibility::Results;
use self::house::{Keeper, StoreKind};
use self::person::Person;
use self::table::{Row, Table};
use crate::tally::Tally;
use crate::workspace::{Profile, build_server};

/// A judge, or a group of them, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    /// The official MCP conformance package, `authorization` command.
    Conformance,
    /// Every client × DCR, CIMD, static × same origin, split origin, issuer with path.
    Matrix,
    /// All four SDKs, on every store.
    Clients,
    /// `@modelcontextprotocol/client`, through a real Chromium on SQLite.
    TsV2,
    /// `@modelcontextprotocol/sdk`.
    TsV1,
    /// `mcp`, the Python SDK.
    Python,
    /// `rmcp`, the Rust SDK.
    Rmcp,
    /// A device without a browser, and a person in a real Chromium.
    Device,
    /// `oauth4webapi` and `openid-client`, which know nothing of MCP.
    Openid,
    /// `oidc-provider`, whose answers to the same requests are compared.
    Differential,
    /// The MCPJam pair tester, `@mcpjam/sdk`.
    Mcpjam,
    /// The client libraries at MCP servers behind `authflow protect`.
    Protect,
    /// The official MCP conformance package, `server` command, directly and through `authflow protect`.
    ConformanceServer,
}

/// The flags of `cargo xtask judge`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Which judges; all of them when none is named
    name: Vec<Name>,
    /// On which stores; sqlite and postgres when none is named (may be given more than once)
    #[arg(long, value_name = "STORE")]
    store: Vec<StoreKind>,
    #[command(flatten)]
    cells: matrix::Filter,
    /// Writes what this run and the last ones found to this document
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Arguments {
    fn wants(&self, name: Name) -> bool {
        self.name.is_empty() || self.name.contains(&name)
    }

    fn wants_client(&self, client: Client) -> bool {
        self.name.is_empty() || self.name.contains(&Name::Clients) || self.name.contains(&client.name())
    }

    fn wants_store(&self, store: StoreKind) -> bool {
        match store {
            StoreKind::Memory => self.store.contains(&store),
            _ => self.store.is_empty() || self.store.contains(&store),
        }
    }
}

/// Every judge on every store; the layer of `cargo xtask test`.
pub(crate) fn run_all() -> Result<Tally> {
    run_named(&Arguments::default())
}

/// The judges named, and a table of what they found.
pub(crate) fn run_named(arguments: &Arguments) -> Result<Tally> {
    let binary = build_server(Profile::Dev)?;
    let needs_postgres = arguments.wants_store(StoreKind::Postgres) && arguments.name != [Name::Matrix];
    let postgres = if needs_postgres {
        crate::provide::postgres::provide()?;
        Some(PrivatePostgres::start(false)?)
    } else {
        None
    };
    let (table, verdicts) = block_on(async {
        let keeper = Keeper {
            binary,
            postgres: postgres.as_ref(),
        };
        let mut table = Table::default();
        for &store in StoreKind::ALL {
            if arguments.wants_store(store) {
                judge_store(arguments, &keeper, store, &mut table).await;
            }
        }
        protected::judge(arguments, &keeper, &mut table).await;
        let verdicts = if arguments.wants(Name::Matrix) {
            matrix::judge(&keeper, arguments.cells.cells()).await?
        } else {
            Vec::new()
        };
        anyhow::Ok((table, verdicts))
    })??;
    if let Some(postgres) = postgres {
        postgres.stop()?;
    }
    let table = keep(arguments, table, &verdicts)?;
    println!("\n{table}");
    Ok(table.tally())
}

/// Keeps what was found, and writes the document or compares it with this run.
fn keep(arguments: &Arguments, mut table: Table, verdicts: &[matrix::Verdict]) -> Result<Table> {
    let mut results = Results::load()?;
    results.add(verdicts, table.rows())?;
    for verdict in verdicts {
        table.push(Row {
            judge: compatibility::key(verdict.cell),
            store: matrix::STORE.as_str(),
            way: "forms",
            has_passed: verdict.result.is_ok(),
            seconds: verdict.seconds,
        });
    }
    let complaints = if let Some(document) = &arguments.write {
        Vec::from_iter(results.write(document).err().map(|error| format!("{error:#}")))
    } else if verdicts.is_empty() {
        return Ok(table);
    } else {
        match compatibility::committed() {
            Ok(document) => compatibility::contradictions(&document, verdicts),
            Err(error) => vec![format!("{error:#}")],
        }
    };
    for complaint in &complaints {
        eprintln!("error: the document of compatibility: {complaint}");
    }
    table.push(Row {
        judge: "the document says the same".to_owned(),
        store: "",
        way: "",
        has_passed: complaints.is_empty(),
        seconds: 0.0,
    });
    Ok(table)
}

async fn judge_store(arguments: &Arguments, keeper: &Keeper<'_>, store: StoreKind, table: &mut Table) {
    if arguments.wants(Name::Conformance) {
        for issuer_path in ["", "/tenant"] {
            let judge = if issuer_path.is_empty() {
                "conformance"
            } else {
                "conformance, issuer with path"
            };
            note(
                table,
                judge,
                store,
                "forms",
                conformance::judge(keeper, store, issuer_path),
            )
            .await;
        }
    }
    if arguments.wants(Name::Device) {
        note(table, "device", store, "chromium", device::judge(keeper, store)).await;
    }
    // The operator adds machines beside the running server, which a store in the process does not allow.
    if arguments.wants(Name::Openid) && store != StoreKind::Memory {
        for library in openid::Library::ALL {
            for (issuer_path, place) in [("", ""), ("/tenant", ", issuer with path")] {
                let judge = format!("{}{place}", library.package());
                let judgement = openid::judge(keeper, store, issuer_path, library);
                note(table, &judge, store, "forms", judgement).await;
            }
        }
    }
    if arguments.wants(Name::Differential) {
        let judgement = differential::judge(keeper, store);
        note(table, "oidc-provider 9.13.3", store, "forms", judgement).await;
    }
    if arguments.wants(Name::Mcpjam) {
        note(table, "mcpjam, hello_mcp", store, "forms", async {
            let mut house = keeper.serve(store, "", mcpjam::BOOTSTRAP)?;
            keeper.open_mcp(&mut house, true)?;
            mcpjam::judge(&house.site(), &mcpjam::Version::ALL).await
        })
        .await;
    }
    for &client in Client::SDKS {
        if !arguments.wants_client(client) {
            continue;
        }
        // One client on one store is enough for a real browser; the others submit the same forms without one.
        let is_in_chromium = client == Client::TsV2 && store != StoreKind::Postgres;
        let way = if is_in_chromium { "chromium" } else { "forms" };
        note(table, client.package(), store, way, async {
            let person = Person::arrive(is_in_chromium).await?;
            let house = keeper.serve_with_mcp(store)?;
            story::allowed(&house.site(), client, &person).await
        })
        .await;
        if is_in_chromium {
            note(
                table,
                &format!("{}, denied", client.package()),
                store,
                way,
                async {
                    let person = Person::arrive(true).await?;
                    let house = keeper.serve_with_mcp(store)?;
                    story::denied(&house.site(), client, &person).await
                },
            )
            .await;
        }
    }
}

/// Runs one judge and notes what came of it; the others run all the same.
async fn note(
    table: &mut Table,
    judge: &str,
    store: StoreKind,
    way: &'static str,
    judgement: impl Future<Output = Result<()>>,
) {
    eprintln!("--- {judge} on {}", store.as_str());
    let start = Instant::now();
    let result = judgement.await;
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    table.push(Row {
        judge: judge.to_owned(),
        store: store.as_str(),
        way,
        has_passed: result.is_ok(),
        seconds: start.elapsed().as_secs_f64(),
    });
}

fn block_on<T>(task: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(task))
}
