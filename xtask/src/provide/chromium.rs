//! Chromium and the driver of the same version.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::debian;
use crate::command::{capture, is_program, which};

/// A browser and its WebDriver.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    /// The browser.
    pub(crate) chromium: PathBuf,
    /// The driver, of the same major version.
    pub(crate) chromedriver: PathBuf,
}

/// Finds a browser with a driver that fits it, or installs both.
pub(crate) fn provide() -> Result<Browser> {
    if let Some(found) = find() {
        return Ok(found);
    }
    // Both at once, since a driver drives only the browser of its own version.
    debian::install(&["chromium", "chromium-driver"], "sign in through a real browser")?;
    find()
        .context("no chromium with a chromedriver of the same version, although both packages were installed")
}

fn find() -> Option<Browser> {
    let browser = Browser {
        chromium: ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find_map(which)?,
        chromedriver: which("chromedriver").or_else(|| {
            Some(PathBuf::from("/usr/lib/chromium/chromedriver")).filter(|path| is_program(path))
        })?,
    };
    let browser_version = major_version(&browser.chromium)?;
    (major_version(&browser.chromedriver)? == browser_version).then_some(browser)
}

fn major_version(program: &PathBuf) -> Option<u32> {
    parse_major(&capture(Command::new(program).arg("--version")).ok()?)
}

/// The first number of the first word that begins with one: "Chromium 156.0.8078 built on …".
fn parse_major(text: &str) -> Option<u32> {
    text.split_whitespace().find_map(|word| {
        let (major, _) = word.split_once('.')?;
        major.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_browser_and_driver_say() {
        assert_eq!(
            parse_major("Chromium 156.0.8078.79 built on Debian GNU/Linux 12"),
            Some(156)
        );
        assert_eq!(parse_major("ChromeDriver 156.0.8078.79 (ab12)"), Some(156));
        assert_eq!(parse_major("unknown"), None);
    }
}
