//! The contract of a store, kept by PostgreSQL.

mod support;

mcp_authflow_testkit::store_contract!(support::fresh_store);
