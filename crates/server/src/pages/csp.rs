//! The Content-Security-Policy of every page.

/// The policy of a page whose forms may be answered by redirects to `form_targets`, beside the server itself.
///
/// CSP 3: nothing is loaded but our own stylesheet and icon, nothing runs, nobody frames us, and no `<base>` bends
/// an address. A target that is not one plain source is left out.
pub(super) fn content_security_policy(form_targets: &[String]) -> String {
    let mut policy = String::from(
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
         object-src 'none'; form-action 'self'",
    );
    for target in form_targets.iter().filter(|target| is_plain_source(target)) {
        policy.push(' ');
        policy.push_str(target);
    }
    policy
}

/// `scheme:`, `scheme://host`, either with a port or `:*`: a star stands for a port and never for a host.
fn is_plain_source(source: &str) -> bool {
    let fixed = source.strip_suffix(":*").unwrap_or(source);
    fixed.starts_with(|first: char| first.is_ascii_lowercase())
        && fixed.contains(':')
        && fixed
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.' | b'/' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XS-05
    #[test]
    fn the_policy_allows_nothing_but_ourselves_and_the_given_targets() {
        assert_eq!(
            content_security_policy(&["https://a.example".to_owned(), "sample-app:".to_owned()]),
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
             object-src 'none'; form-action 'self' https://a.example sample-app:"
        );
        for hostile in [
            "*",
            "",
            "https://a b",
            "x:;script-src",
            "'unsafe-inline'",
            "x:,y",
            "a:\n",
        ] {
            assert_eq!(
                content_security_policy(&[hostile.to_owned()]),
                content_security_policy(&[]),
                "{hostile}"
            );
        }
    }
}
