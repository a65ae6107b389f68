//! Real services for tests: a private PostgreSQL, a private Redis, the built server.
//!
//! Each runs in a temporary folder on a free loopback port, is ended by the pid
//! that was written down at its start, and leaves nothing behind: not when a
//! test panics, and not when the test's own process is killed (see [`guardian`]).
//!
//! | module | what |
//! |---|---|
//! | [`postgres`] | [`postgres::PrivatePostgres`], databases of a test's own |
//! | [`redis`] | [`redis::PrivateRedis`] |
//! | [`reverse_proxy`] | [`reverse_proxy::ReverseProxy`]: nginx or Caddy in front of a server |
//! | [`process`] | a child process with a name, a way to stop it, and its output |
//! | [`guardian`] | ends the child when we are gone |

#![expect(
    clippy::disallowed_methods,
    reason = "the test services' room: it waits for real processes by the real clock and reads TEST_*_URL"
)]

pub mod guardian;
pub mod output;
pub mod port;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod reverse_proxy;
mod user;
