//! The contract of a store, kept by PostgreSQL.

mcp_authflow_testkit::store_contract!(crate::support::fresh_store);
