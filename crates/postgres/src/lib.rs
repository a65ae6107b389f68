//! The PostgreSQL store of mcp-authflow: the store for more than one node.
//!
//! ```no_run
//! # async fn example() -> Result<(), mcp_authflow_postgres::OpenError> {
//! use mcp_authflow_postgres::{PostgresConfig, PostgresStore};
//!
//! let config = PostgresConfig::new("postgres://authflow@127.0.0.1/authflow");
//! mcp_authflow_postgres::migrate(&config).await?; // once, however many nodes start
//! let store = PostgresStore::connect(&config).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything lies in the schema `authflow`. A look costs one statement, a commit one statement, too: what a verb checks,
//! it checks in the statement that changes. Only whoever loses a race looks a second time, to learn how it was lost, since
//! under READ COMMITTED a statement that waited for a winner still sees everything else as it was before.
//!
//! | file | what |
//! |---|---|
//! | `client` `resource` `interaction` `grant` `token` `user` `session` `signing_key` `replay` `upkeep` | the verbs of the port of that name, each file with its SQL |
//! | `ask` | a verb's dealings with the database: deadline, connection, what is tried again |
//! | `connection` | the pool, session settings, TLS |
//! | `error` | SQLSTATE → [`StoreError`](mcp_authflow::port::StoreError) |
//! | `schema` | migrations, and the check that they were run |
//! | `partition` | the partitions of the tokens: made ahead, dropped when passed |
//! | `token_storage` | a part of its own, on tables that are not ours: [`PostgresTokenStorage`] |
//! | `statement` `row` | SQL with its parameter types; columns → records |
//!
//! To add a statement: a `static` in the file of its noun and in that file's `STATEMENTS`. [`PostgresStore::connect`]
//! then prepares it, and a test prepares it against a freshly migrated database.

mod ask;
mod client;
mod client_document;
mod config;
mod connection;
mod device_code;
mod error;
mod grant;
mod imported_token;
mod interaction;
mod partition;
mod replay;
mod resource;
mod row;
mod schema;
mod session;
mod signing_key;
mod statement;
mod token;
mod token_storage;
mod upkeep;
mod user;

pub use config::PostgresConfig;
pub use connection::PostgresStore;
pub use error::OpenError;
pub use schema::{MigrationReport, SchemaStatus, migrate, schema_status};
pub use token_storage::{PostgresTokenStorage, PostgresTokenStorageConfig, StoredToken, TokenClock};
