//! Why there is no document.

use std::{net::IpAddr, time::Duration};

use mcp_authflow_types::special_use::SpecialUse;

/// Why there is no document. The three kinds ask for different things of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Such a URL is not asked; trying again changes nothing as long as the URL, its addresses and the settings stay.
    #[error("the URL is refused: {0}")]
    Refused(#[from] Refused),
    /// It cannot be asked now; later it may be.
    #[error("the document cannot be fetched now: {0}")]
    Unavailable(#[from] Unavailable),
    /// The origin answered, with what is not to be used.
    #[error("this is no document to use: {0}")]
    BadDocument(#[from] BadDocument),
}

/// Why a URL is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No absolute URL of at most 2,048 plain characters; or one with credentials, a fragment or dot segments.
    #[error(
        "it is not a plain URL of at most 2048 characters without credentials, fragment and dot segments"
    )]
    Malformed,
    /// Another scheme than https.
    #[error("it is not https")]
    NotHttps,
    /// The host is no name, and no address in the one usual spelling: `2130706433`, `0x7f.1`, `127.1`, `010.0.0.1`.
    #[error("its host is neither a name nor an address in the usual spelling")]
    Host,
    /// A port where other protocols live.
    #[error("port {0} is neither 443 nor above 1023")]
    Port(u16),
    /// The host is not among those that the operator named.
    #[error("its host is not among those allowed")]
    HostNotAllowed,
    /// It leads back to this server.
    #[error("it leads back to this server")]
    OwnOrigin,
    /// An address is not of the public internet. One of several is enough.
    #[error("{0} is a special-use address ({1:?})")]
    SpecialUse(IpAddr, SpecialUse),
}

/// Why an origin cannot be asked now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The name has no address, or nobody could say.
    #[error("its host has no address: {0}")]
    NoAddress(String),
    /// No connection.
    #[error("no connection: {0}")]
    NotConnected(String),
    /// No answer in full within the deadline.
    #[error("no answer in full within {0:?}")]
    TimedOut(Duration),
    /// The connection broke before the answer was whole.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The origin says that it cannot: a status of 500 or above, 408, 425 or 429.
    #[error("status {0}")]
    Status(u16),
    /// Too many fetches are on the way, to this host or at all.
    #[error("too many fetches are on the way")]
    Busy,
    /// The machine has no certificate authorities to verify anyone with.
    #[error("no certificate authorities: install the system's (ca-certificates) or set SSL_CERT_FILE")]
    NoAuthorities,
    /// The fetch was given up half-way, as at the end of the program.
    #[error("the fetch was given up")]
    GivenUp,
}

/// Why an answer is not to be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadDocument {
    /// The other side could not show with TLS that it is the host.
    #[error("TLS: {0}")]
    Tls(String),
    /// Not HTTP as we read it, or too much of a head.
    #[error("not HTTP as it is read here: {0}")]
    NotHttp(String),
    /// A redirect. None is followed: each would be a new choice of where to go.
    #[error("status {0}: redirects are not followed")]
    Redirect(u16),
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// Another content type than `application/json` or `application/*+json`, none, or several.
    #[error("its content type is not JSON")]
    ContentType,
    /// Where a picture was asked for: another content type than those of [`RasterImage`](crate::RasterImage), or bytes of
    /// another kind than it says.
    #[error("it is no PNG, JPEG, WebP or GIF picture, or not the kind that its content type says")]
    NotAnImage,
    /// A content coding. None was asked for, and unpacking is how small bodies become large ones.
    #[error("it has a content coding")]
    ContentEncoding,
    /// More bytes than allowed.
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
}
