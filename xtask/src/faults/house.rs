//! The server that is killed, and the database beneath it, which is not.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use mcp_authflow_testkit::server::{Store, TestServer};
use mcp_authflow_testkit::service::postgres::PrivatePostgres;

use crate::crowd::bootstrap;
use crate::provide;

/// Where the server keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StoreKind {
    /// In the process, gone with it: the checker must find that everything is lost.
    Memory,
    /// One file.
    Sqlite,
    /// A private PostgreSQL that keeps what it has acknowledged.
    Postgres,
}

impl StoreKind {
    /// What a server is told of its store, and the database that is to be kept until it has ended.
    pub(super) fn start(self) -> Result<(Store, Option<PrivatePostgres>)> {
        Ok(match self {
            Self::Memory => (Store::Memory, None),
            Self::Sqlite => (Store::Sqlite, None),
            Self::Postgres => {
                provide::postgres::provide()?;
                let postgres = PrivatePostgres::start(true)?;
                (Store::Postgres(postgres.url().to_owned()), Some(postgres))
            }
        })
    }

    /// Refuses more nodes than can share it.
    pub(super) fn check_nodes(self, nodes: usize) -> Result<()> {
        ensure!(
            nodes == 1 || self == Self::Postgres,
            "several nodes need --store postgres"
        );
        Ok(())
    }
}

/// How often these servers say that they panicked.
pub(super) fn panics(nodes: &[TestServer]) -> usize {
    nodes
        .iter()
        .map(|node| node.output().text().matches("panicked at").count())
        .sum()
}

/// A running server and the database beneath it.
pub(super) struct House {
    // Dropped in this order: first the server ends, then its database.
    pub(super) server: TestServer,
    _postgres: Option<PrivatePostgres>,
}

impl House {
    /// Starts a server with one person for each of `people` tasks.
    pub(super) fn start(binary: PathBuf, kind: StoreKind, people: usize) -> Result<Self> {
        let (store, postgres) = kind.start()?;
        let server = TestServer::builder()
            .binary(binary)
            .store(store)
            .bootstrap(bootstrap(people))
            .start()?;
        Ok(Self {
            server,
            _postgres: postgres,
        })
    }
}
