//! Where clients come from that nobody wrote down: a document at the URL that is their identifier
//! (draft-ietf-oauth-client-id-metadata-document).
//!
//! Clients that the operator added or that registered themselves are read from the store by their plain identifier.
//!
//! | file | what it says |
//! |---|---|
//! | [`known`] | clients whose ways are known, and how far each is met |
//! | [`metadata_document`] | what a client says of itself at its own address, read and judged |
//! | [`change`] | what a changed document asks for: consent again, an end of tokens |
//! | `resolve` | the order of it all: the copy at hand, the host's leave, the fetch, the row |
//! | [`trust`] | whose documents count |

pub mod change;
pub mod known;
pub mod metadata_document;
pub(crate) mod resolve;
pub mod trust;
