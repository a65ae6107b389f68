//! What is asked of the outside. Each port's doc says what a wrong answer costs.

pub mod audit;
pub mod client_keys;
pub mod clock;
pub mod entropy;
pub mod fetch;
pub mod old_tokens;
pub mod policy;
pub mod rate_limit;
pub mod replay;
pub mod store;
pub mod token_storage;

pub use audit::{Audit, AuditEvent, AuditOutcome};
pub use client_keys::{ClientKeySource, ClientKeysError};
pub use clock::{Clock, Stopwatch};
pub use entropy::Entropy;
pub use fetch::{DocumentKind, Fetch, FetchError, Fetched, Freshness, NoFetch};
pub use old_tokens::OldTokens;
pub use policy::{NoPolicy, Policy};
pub use rate_limit::{Admission, RateLimit};
pub use replay::{OneTimeUse, RecordOnce, Replay, ReplayKind};
pub use store::{AccountStore, Store, StoreError};
