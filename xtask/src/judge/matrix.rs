//! Every client, by every way to an identity, at every arrangement of issuer and MCP server.
//!
//! A cell is one run of the client library or program, unchanged: refused, it discovers, comes by its identity in the way of
//! the cell (the judge looks whether it did), goes through the real login and consent pages, calls a tool, refreshes, and is
//! out after revocation. Each cell has its own server.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use mcp_authflow_testkit::document_host::DocumentHost;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::Client;
use super::compatibility;
use super::door::{Behind, Door};
use super::house::{House, Keeper, StoreKind};
use super::mcp_server::McpServer;
use super::person::Person;
use super::registration::{self, Identity, Registration};
use super::site::Site;
use super::story;

/// What stores do is judged elsewhere.
pub(super) const STORE: StoreKind = StoreKind::Sqlite;
/// A cell waits for others most of its time; more than this on two processors only makes each slower.
const AT_ONCE: usize = 4;
/// The path of an issuer that has one.
const ISSUER_PATH: &str = "/tenant/a";

/// Where issuer and MCP server are, as a client sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Layout {
    /// Both at one origin: `authflow protect`
    SameOrigin,
    /// At two origins: `authflow serve`, and an MCP server elsewhere
    SplitOrigin,
    /// At two origins, and the issuer has a path
    IssuerWithPath,
}

impl Layout {
    pub(super) const ALL: &'static [Self] = &[Self::SameOrigin, Self::SplitOrigin, Self::IssuerWithPath];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SameOrigin => "same origin",
            Self::SplitOrigin => "split origin",
            Self::IssuerWithPath => "issuer with path",
        }
    }
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) client: Client,
    pub(super) registration: Registration,
    pub(super) layout: Layout,
}

/// What came of a cell.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) cell: Cell,
    pub(super) result: Result<()>,
    pub(super) seconds: f64,
}

/// Which cells.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// Matrix: only this client (may be given more than once)
    #[arg(long, value_name = "CLIENT")]
    client: Vec<Client>,
    /// Matrix: only this way to an identity (may be given more than once)
    #[arg(long, value_name = "WAY")]
    registration: Vec<Registration>,
    /// Matrix: only this arrangement (may be given more than once)
    #[arg(long, value_name = "LAYOUT")]
    layout: Vec<Layout>,
}

impl Filter {
    /// The cells that it lets through, row by row.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let chosen = |cell: &Cell| {
            (self.client.is_empty() || self.client.contains(&cell.client))
                && (self.registration.is_empty() || self.registration.contains(&cell.registration))
                && (self.layout.is_empty() || self.layout.contains(&cell.layout))
        };
        let mut cells = Vec::new();
        for &client in Client::ALL {
            for &registration in Registration::ALL {
                for &layout in Layout::ALL {
                    cells.push(Cell {
                        client,
                        registration,
                        layout,
                    });
                }
            }
        }
        cells.retain(chosen);
        cells
    }
}

/// The issuer and the MCP server of a cell, for as long as it is judged.
#[derive(Debug)]
enum Premises {
    Door(Box<Door>),
    House(Box<House>),
}

impl Premises {
    fn site(&self) -> Site {
        let mut site = match self {
            Self::Door(door) => door.site(),
            Self::House(house) => house.site(),
        };
        // What only some clients can be made to do is judged elsewhere, over every store.
        site.play.step_up = None;
        site.play.stream = None;
        site
    }
}

/// Judges these cells, some at once.
pub(super) async fn judge(keeper: &Keeper<'_>, cells: Vec<Cell>) -> Result<Vec<Verdict>> {
    // Whatever must be installed is, before anybody waits for anybody.
    for &client in Client::ALL {
        if cells.iter().any(|cell| cell.client == client) {
            client.program()?;
        }
    }
    McpServer::TypeScript.on_stdio()?;
    let documents = Arc::new(DocumentHost::start()?);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for cell in cells {
        let keeper = Keeper {
            binary: keeper.binary.clone(),
            postgres: None,
        };
        let (documents, places) = (Arc::clone(&documents), Arc::clone(&places));
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            let start = Instant::now();
            let result = judge_cell(&keeper, &documents, cell).await;
            let name = compatibility::key(cell);
            match &result {
                Ok(()) => eprintln!("--- {name}"),
                Err(error) => eprintln!("--- {name}\nerror: {error:#}"),
            }
            Verdict {
                cell,
                result,
                seconds: start.elapsed().as_secs_f64(),
            }
        });
    }
    let mut verdicts = Vec::new();
    while let Some(verdict) = running.join_next().await {
        verdicts.push(verdict.context("a cell panicked")?);
    }
    // In the order of the table, whoever was ready first.
    let all = Filter::default().cells();
    verdicts.sort_by_key(|verdict| all.iter().position(|cell| *cell == verdict.cell));
    Ok(verdicts)
}

async fn judge_cell(keeper: &Keeper<'_>, documents: &DocumentHost, cell: Cell) -> Result<()> {
    let Cell {
        client,
        registration,
        layout,
    } = cell;
    let path = format!("/{client:?}/{layout:?}/client.json");
    let identity = match registration {
        Registration::Dcr => Identity::Registers,
        Registration::Cimd => Identity::Document {
            url: documents.serve_client(&path, &registration::document(client)),
        },
        Registration::Static => Identity::by_operator(client),
    };
    let trusted = [(
        "SSL_CERT_FILE".to_owned(),
        documents.ca_file().display().to_string(),
    )];
    let clients = identity.bootstrap(client);
    let serve = |issuer_path| -> Result<Premises> {
        let mut house = keeper.serve_with(STORE, issuer_path, &clients, &trusted)?;
        keeper.open_mcp(&mut house, false)?;
        Ok(Premises::House(Box::new(house)))
    };
    let premises = match layout {
        Layout::SameOrigin => {
            let behind = Behind::Command(McpServer::TypeScript.on_stdio()?);
            Premises::Door(Box::new(keeper.protect_with(behind, &clients, &trusted)?))
        }
        Layout::SplitOrigin => serve("")?,
        Layout::IssuerWithPath => serve(ISSUER_PATH)?,
    };
    let person = Person::arrive(false).await?;
    story::allowed_as(&premises.site(), client, &identity, &person).await?;
    ensure!(
        registration != Registration::Cimd || documents.hits(&path) > 0,
        "the server never asked for the document"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_stands_in_nine_cells() {
        let cells = Filter::default().cells();
        assert_eq!(cells.len(), 63);
        for client in Client::ALL {
            assert_eq!(cells.iter().filter(|cell| cell.client == *client).count(), 9);
        }
    }

    #[test]
    fn a_filter_is_the_meeting_of_what_is_named() {
        let filter = Filter {
            client: vec![Client::Rmcp],
            registration: vec![Registration::Cimd, Registration::Dcr],
            layout: vec![Layout::SameOrigin],
        };
        let cells = filter.cells();
        assert_eq!(cells.len(), 2);
        assert!(cells.iter().all(|cell| cell.client == Client::Rmcp));
    }
}
