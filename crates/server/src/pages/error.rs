//! What went wrong, what it means, and what to do.

use http::StatusCode;
use serde::Serialize;

use super::OneLine;
use super::destination::Destination;

/// What the error page shows. It links nowhere: an address that a broken request brought along is not to be followed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ErrorView {
    /// What happened; decides the status and the words.
    #[serde(skip)]
    pub(crate) problem: Problem,
    /// What the protocol calls it, for whoever makes the client: `invalid_scope`, `invalid_request: code_challenge`.
    pub(crate) detail: Option<OneLine>,
    /// Where a request that is not to be redirected would have gone, shown as text (OR-02).
    pub(crate) destination: Option<Destination>,
    /// The web address that an administrator has to decide about.
    pub(crate) host: Option<OneLine>,
    /// The number under which the log knows this request.
    pub(crate) request_id: Option<OneLine>,
}

impl ErrorView {
    /// A page about `problem`, with nothing more to tell.
    pub(crate) fn new(problem: Problem) -> Self {
        Self {
            problem,
            detail: None,
            destination: None,
            host: None,
            request_id: None,
        }
    }
}

/// Everything that can go wrong on the way of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No page has this address.
    NotFound,
    /// The page exists but not for this method.
    MethodNotAllowed,
    /// More was sent than any form of ours holds.
    TooLarge,
    /// Something else than a form was sent.
    NotAForm,
    /// The client's request cannot be used.
    BadRequest,
    /// There is no such client, or it was removed.
    UnknownClient,
    /// The redirect URI is not one of the client's.
    UnknownRedirect,
    /// The request is unknown, has run out, or belongs to another browser.
    RequestEnded,
    /// The request was answered before.
    AlreadyAnswered,
    /// A form came from elsewhere or without its token.
    FormRefused,
    /// This server takes no application from there.
    ClientNotAllowed,
    /// Nobody has decided yet whether this server takes applications from there.
    HostUndecided,
    /// The document by which the client is known cannot be used, or cannot be had.
    DocumentUnusable,
    /// The document by which a known client is identified is past its time, and cannot be asked for now.
    DocumentOutOfReach {
        /// Whether its host did not answer in time.
        timed_out: bool,
    },
    /// The set-up link was used, has run out, or was never right.
    SetupLinkUsed,
    /// Too much was asked in too short a time.
    TooManyRequests {
        /// When to come back.
        retry_after_seconds: u64,
    },
    /// Our own fault.
    Internal,
    /// A part of the server cannot be reached.
    Unavailable,
    /// A part of the server did not answer in time.
    TimedOut,
}

/// A problem in the person's words.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Words {
    /// The heading.
    title: &'static str,
    /// What happened.
    what: &'static str,
    /// What to do.
    remedy: &'static str,
}

impl Problem {
    pub(super) const ALL: [Self; 20] = [
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TooLarge,
        Self::NotAForm,
        Self::BadRequest,
        Self::UnknownClient,
        Self::UnknownRedirect,
        Self::RequestEnded,
        Self::AlreadyAnswered,
        Self::FormRefused,
        Self::ClientNotAllowed,
        Self::HostUndecided,
        Self::DocumentUnusable,
        Self::DocumentOutOfReach { timed_out: false },
        Self::DocumentOutOfReach { timed_out: true },
        Self::SetupLinkUsed,
        Self::TooManyRequests {
            retry_after_seconds: 60,
        },
        Self::Internal,
        Self::Unavailable,
        Self::TimedOut,
    ];

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NotFound | Self::SetupLinkUsed => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadRequest
            | Self::UnknownClient
            | Self::UnknownRedirect
            | Self::RequestEnded
            | Self::AlreadyAnswered
            | Self::ClientNotAllowed
            | Self::DocumentUnusable => StatusCode::BAD_REQUEST,
            Self::FormRefused | Self::HostUndecided => StatusCode::FORBIDDEN,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable | Self::DocumentOutOfReach { timed_out: false } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TimedOut | Self::DocumentOutOfReach { timed_out: true } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    pub(super) fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooManyRequests { retry_after_seconds } => Some(retry_after_seconds),
            Self::Unavailable | Self::TimedOut => Some(5),
            Self::DocumentOutOfReach { .. } => Some(60),
            _ => None,
        }
    }

    #[expect(clippy::too_many_lines, reason = "a list, one problem after the other")]
    pub(super) fn words(self) -> Words {
        let (title, what, remedy) = match self {
            Self::NotFound => (
                "Page not found",
                "There is no page at this address.",
                "If you came here to sign in, go back to your application and start again from there.",
            ),
            Self::MethodNotAllowed => (
                "This page works differently",
                "The page exists, but it cannot be used in this way.",
                "Go back to your application and start again from there.",
            ),
            Self::TooLarge => (
                "That was too much",
                "More was sent than this server accepts at once.",
                "Go back to your application and start again. If it keeps happening, tell the people who make it.",
            ),
            Self::NotAForm => (
                "That form could not be read",
                "What was sent is not a form this server understands.",
                "Go back to your application and start again. If it keeps happening, tell the people who make it.",
            ),
            Self::BadRequest => (
                "This request cannot be used",
                "The application sent a sign-in request that this server does not accept. Nothing has been shared.",
                "Go back to the application and try again. If it keeps happening, tell the people who make it.",
            ),
            Self::UnknownClient => (
                "This application is not known here",
                "It has not been registered with this server, or its registration has run out. Nothing has been \
                 shared.",
                "Go back to the application, disconnect this server and connect it again.",
            ),
            Self::UnknownRedirect => (
                "This request was stopped",
                "The application asked to send you to an address that is not registered for it. That can be a \
                 mistake, or someone trying to get at your account. Nothing has been shared.",
                "If you did not start this yourself, close the page. Otherwise tell the people who make the \
                 application.",
            ),
            Self::RequestEnded => (
                "This sign-in has ended",
                "It was answered already, took too long, or was started in another browser.",
                "Go back to your application and start again from there.",
            ),
            Self::AlreadyAnswered => (
                "Already over",
                "You have answered this request already, perhaps with a second click or in another tab, or it took too \
                 long.",
                "Look into your application: it may be connected. If not, start again from there.",
            ),
            Self::FormRefused => (
                "That form was refused",
                "It did not come from a page of this server that belongs to your browser, so it was ignored. \
                 Nothing has been shared.",
                "Go back to your application and start again. Cookies must be allowed for this site.",
            ),
            Self::ClientNotAllowed => (
                "This application is not let in here",
                "Whoever runs this server does not take applications from that web address. Nothing has been shared.",
                "If you need it, ask whoever runs this server.",
            ),
            Self::HostUndecided => (
                "An administrator has to allow this first",
                "This application comes from a web address that nobody has decided about yet. The request was noted, \
                 and nothing has been shared.",
                "Ask whoever runs this server to allow the address below, then start again from your application.",
            ),
            Self::DocumentUnusable => (
                "This application cannot be identified",
                "It is known by a document at its web address, and this server could not get that document or cannot \
                 use it. Nothing has been shared.",
                "Try again in a few minutes. If it keeps happening, tell the people who make the application.",
            ),
            Self::DocumentOutOfReach { .. } => (
                "This application cannot be checked right now",
                "What this server knows of it is past its time, and its web address does not answer. Nothing has been \
                 shared.",
                "Try again in a minute. If it keeps happening, tell the people who make the application.",
            ),
            Self::SetupLinkUsed => (
                "This set-up link does not work",
                "It has been used already, has run out, or was not copied whole.",
                "If you run this server, start it again to get a new link, or make an account with \
                 “authflow user add”.",
            ),
            Self::TooManyRequests { .. } => (
                "Too many requests",
                "More was asked from your network in a short time than this server allows.",
                "Wait a little and try again.",
            ),
            Self::Internal => (
                "Something went wrong",
                "The server made a mistake. It is not your fault, and nothing has been shared.",
                "Try again in a moment. If it keeps happening, give the reference below to whoever runs this server.",
            ),
            Self::Unavailable => (
                "Not available right now",
                "A part of this server cannot be reached, so nothing can be decided safely. Nothing has been shared.",
                "Try again in a moment.",
            ),
            Self::TimedOut => (
                "That took too long",
                "A part of this server did not answer in time, so nothing can be decided safely.",
                "Try again in a moment.",
            ),
        };
        Words { title, what, remedy }
    }
}
