//! The store contract, on the memory store.

use std::sync::Arc;

use mcp_authflow::memory::MemoryStore;

async fn make_store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new())
}

mcp_authflow_testkit::store_contract!(make_store);
