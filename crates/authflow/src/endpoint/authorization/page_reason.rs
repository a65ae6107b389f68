//! Why a page of ours is shown and nothing leaves for anywhere.

use mcp_authflow_types::ErrorCode;

use crate::port::StoreError;

/// Why a page is shown instead of going on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageReason {
    /// A parameter that decides where to go comes twice.
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    /// No client identifier, or a malformed one.
    #[error("client_id is missing or malformed")]
    NoClientId,
    /// There is no such client, or it has expired.
    #[error("unknown client")]
    UnknownClient,
    /// The client describes itself in a document, and the operator does not want such clients, or not of its host.
    #[error("clients of this kind, or of this host, are not let in here")]
    ClientNotAllowed,
    /// The client describes itself in a document, and an administrator has to allow its host first. The host was noted.
    #[error("an administrator has to allow {host} first")]
    HostUndecided {
        /// The host, as it stands in the client's identifier.
        host: String,
    },
    /// The client's document cannot be had, or is none. The text is the same whatever the cause is, since whoever asks
    /// chose where the document is.
    #[error("the document that this client is named by cannot be had or cannot be used")]
    DocumentUnusable,
    /// The client is known, its copy is past its time, and its document cannot be asked for now.
    #[error("this client cannot be checked at the moment")]
    DocumentOutOfReach {
        /// Whether its host did not answer in time.
        timed_out: bool,
    },
    /// The redirect URI is not the client's.
    #[error("{0}")]
    RedirectUri(#[from] crate::record::client::NotItsRedirectUri),
    /// The request is bad, and the client is a stranger to whom nothing is sent before a person has acted.
    #[error("{description}")]
    Refused {
        /// What is wrong.
        code: ErrorCode,
        /// What is wrong, in fixed words.
        description: &'static str,
        /// Where the answer would have gone, where that is proven; to be shown, not to be followed.
        target: Option<String>,
    },
    /// The interaction is unknown, over, or another browser's.
    #[error("this sign-in request is over, was used already, or was started in another browser")]
    Gone,
    /// Too many requests from one address.
    #[error("too many sign-in requests from this address")]
    TooMany {
        /// How long until another is taken.
        retry_after: std::time::Duration,
    },
    /// The store cannot be asked (503), or did not answer in time (504).
    #[error("the server cannot answer at the moment")]
    Unavailable {
        /// Whether it did not answer in time.
        timed_out: bool,
    },
}

impl PageReason {
    /// The status of the page.
    pub const fn status(&self) -> u16 {
        match self {
            Self::TooMany { .. } => 429,
            Self::HostUndecided { .. } => 403,
            Self::Unavailable { timed_out: true } | Self::DocumentOutOfReach { timed_out: true } => 504,
            Self::Unavailable { timed_out: false } | Self::DocumentOutOfReach { timed_out: false } => 503,
            _ => 400,
        }
    }
}

impl From<StoreError> for PageReason {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store cannot be asked");
        Self::Unavailable {
            timed_out: matches!(error, StoreError::TimedOut(_)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P9
    #[test]
    fn a_store_that_cannot_be_asked_is_503_or_504_and_all_else_400() {
        let status = |error: StoreError| PageReason::from(error).status();
        assert_eq!(status(StoreError::Unavailable("x".to_owned())), 503);
        assert_eq!(status(StoreError::Broken("x".to_owned())), 503);
        assert_eq!(status(StoreError::TimedOut("x".to_owned())), 504);
        for reason in [
            PageReason::Repeated("client_id"),
            PageReason::NoClientId,
            PageReason::UnknownClient,
            PageReason::RedirectUri(crate::record::client::NotItsRedirectUri::Missing),
            PageReason::Gone,
            PageReason::Refused {
                target: None,
                code: ErrorCode::ServerError,
                description: "x",
            },
        ] {
            assert_eq!(reason.status(), 400, "{reason}");
        }
    }
}
