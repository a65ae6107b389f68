//! What is kept: one record a file.
//!
//! ```text
//! Resource ◀── what a token is for          Client ◀── who asks            User ◀── who decides
//!      ▲                                      ▲   ▲                          ▲
//!      │         Interaction ─────────────────┘   │                       Session
//!      │         (a request waiting for a person) │
//!      │                    ▲                     │
//!      │         DeviceCodeRecord ────────────────┤  a device that waits for a person to type its code
//!      └──────── Grant ───────────────────────────┘  what was approved; the root of every token
//!                 ├── authorization code (its digest and redemption are columns of the grant)
//!                 ├── RefreshToken ─▶ RefreshToken ─▶ …   one live at a time
//!                 └── AccessToken …
//! ```
//!
//! A token is live while its row is there and not expired, its grant is not revoked, and the generations of client and
//! subject that the grant was made under are still current. Revocation therefore raises a counter or sets one mark, and
//! never searches for tokens.

pub mod access_token;
pub mod client;
pub mod device_code;
pub mod document_host;
pub mod grant;
mod identifier;
pub mod imported_token;
pub mod interaction;
pub mod refresh_token;
pub mod resource;
pub mod session;
pub mod signing_key;
pub mod user;

pub use access_token::AccessTokenRecord;
pub use client::{
    Client, ClientKeys, ClientOrigin, ClientProfile, DocumentCopy, DocumentSource, RedirectTarget,
};
pub use device_code::{DeviceCodeRecord, DeviceRequest};
pub use document_host::{DocumentHostRecord, HostDecision};
pub use grant::{CodeBinding, Grant, GrantId, GrantedResource};
pub use imported_token::{ForeignGrant, ImportedToken};
pub use interaction::{DeviceOrigin, Interaction, InteractionId, PendingRequest};
pub use refresh_token::RefreshTokenRecord;
pub use resource::{AccessTokenFormat, InvalidInclusion, ResourceRecord, ScopeDescription};
pub use session::Session;
pub use signing_key::{SigningAlgorithm, SigningKeyRecord};
pub use user::{User, UserId};
