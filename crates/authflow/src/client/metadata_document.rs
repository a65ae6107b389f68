//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document-02): a client whose identifier is an https
//! URL describes itself in a JSON document there, with the members of a registration (RFC 7591 §2).
//!
//! Everything here is pure: bytes go in, a judgement comes out. Who fetches them, how large they may be and how long they
//! count is decided elsewhere.
//!
//! | file | what |
//! |---|---|
//! | `document` | [`MetadataDocument`]: the rules, in their order |
//! | `invalid` | [`InvalidDocument`]: which rule is broken |
//! | `members` | members by name and type |
//! | `methods` | how the client proves itself (SEP-3149) |
//! | `address` | addresses that a document may name |
//! | `name` | names that people can read |
//! | `lint` | [`lint`]: what its author should know, beyond what is refused |
//! | `draft` | [`Draft`]: a new document, written so that it lints clean |

mod address;
mod document;
mod draft;
mod invalid;
mod lint;
mod members;
mod methods;
mod name;
#[cfg(test)]
mod tests;

pub use self::{
    document::MetadataDocument,
    draft::{Draft, DraftKeys, InvalidDraft},
    invalid::InvalidDocument,
    lint::{Finding, Severity, lint},
};
