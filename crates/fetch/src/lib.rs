//! Outbound HTTP on a leash: fetches small documents from URLs that strangers chose.
//!
//! A client of an OAuth server may point at documents of its own: its keys (`jwks_uri`, RFC 7591 §2), its metadata. Whoever
//! fetches them can be sent anywhere, so everything about such a fetch is bounded here: where it goes, how long it takes,
//! how much it brings, how often it is done.
//!
//! | file | what it holds |
//! |---|---|
//! | `target` | a URL, read strictly: https, no credentials, no odd spelling of an address |
//! | `policy` | which hosts and which addresses may be dialled |
//! | `resolve` | names to addresses, by the system, on a bounded number of threads |
//! | `exchange` | one request over a connection to exactly an address that was vetted |
//! | `media` | what a document may be: JSON, or a picture made of pixels |
//! | `lifetime` | how long the origin lets a copy be used (RFC 9111) |
//! | `cache` | copies, pauses after failures, the guard against forced refreshes; bounded |
//! | `fetcher` | the order of all that, one fetch a URL at a time |
//!
//! ```no_run
//! use mcp_authflow_fetch::{Fetcher, Freshness, Limits};
//!
//! # async fn fetch() -> Result<(), mcp_authflow_fetch::FetchError> {
//! let fetcher = Fetcher::builder().never_ask("https://auth.example").build();
//! let keys = fetcher
//!     .get("https://client.example/jwks.json", Limits::KEY_SET, Freshness::Cached)
//!     .await?;
//! println!("{} bytes, {:?} old", keys.body.len(), keys.age);
//! # Ok(())
//! # }
//! ```
//!
//! # Security
//! The bytes are what the other side sent: parse them as input of an enemy. An error's text is for the log; told to
//! whoever chose the URL, it would map the network behind the server for them.

mod builder;
mod cache;
mod clock;
mod error;
mod exchange;
mod fetcher;
mod lifetime;
mod media;
mod network;
mod policy;
mod resolve;
mod target;
#[cfg(test)]
mod tests;

pub use builder::{Builder, InvalidCertificates};
pub use cache::{Document, Freshness, Limits};
pub use error::{BadDocument, FetchError, Refused, Unavailable};
pub use fetcher::Fetcher;
pub use media::{Media, RasterImage};
pub use network::{InvalidNetwork, Network};
