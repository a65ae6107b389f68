//! Tokens that tie a form to one browser and one page, beside the checks on `Sec-Fetch-Site` and `Origin`.

use mcp_authflow_jose::ServerKey;
use mcp_authflow_types::{TokenHash, hex};

const PURPOSE: &str = "csrf";

/// Makes and checks the tokens: keyed digests of the browser's cookie and the page, so nothing is stored, and a token of
/// another session or another request is of no use.
pub(super) struct Csrf(ServerKey);

impl Csrf {
    pub(super) fn new(key: ServerKey) -> Self {
        Self(key)
    }

    /// The token of a page in a browser.
    pub(super) fn token(&self, browser: &TokenHash, page: &str) -> String {
        hex::encode(&self.0.digest(PURPOSE, &[browser.as_bytes(), page.as_bytes()]))
    }

    /// Whether a form carries the token of this page in this browser.
    pub(super) fn is_right(&self, browser: &TokenHash, page: &str, presented: Option<&str>) -> bool {
        presented.and_then(hex::decode::<32>).is_some_and(|presented| {
            self.0
                .is_digest(PURPOSE, &[browser.as_bytes(), page.as_bytes()], &presented)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CS-01
    #[test]
    fn a_token_is_good_for_its_browser_and_its_page_alone() {
        let csrf = Csrf::new(ServerKey::from_bytes([1; 32]));
        let (mine, theirs) = (TokenHash::of("mine"), TokenHash::of("theirs"));
        let token = csrf.token(&mine, "/ui/a");
        assert!(csrf.is_right(&mine, "/ui/a", Some(&token)));
        for (browser, page, presented) in [
            (&theirs, "/ui/a", Some(token.as_str())),
            (&mine, "/ui/b", Some(&token)),
            (&mine, "/ui/a", None),
            (&mine, "/ui/a", Some("")),
            (&mine, "/ui/a", Some(&token[..62])),
        ] {
            assert!(!csrf.is_right(browser, page, presented), "{page} {presented:?}");
        }
    }
}
