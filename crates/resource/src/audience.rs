//! Which of a token's audiences are this resource (RFC 8707 §2).
//!
//! By default its own spellings and nothing else. The rule of the Python package, by which a token for a parent is good
//! for everything below, is there for who needs it, and has to be asked for.

/// Which audiences of a token are this resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AudienceRule {
    /// One of the resource's own spellings, byte for byte.
    #[default]
    OwnSpellings,
    /// The resource itself or a parent of it: same scheme and same authority, both without case and ports as written, and
    /// a path that the resource's path begins with, segment by segment. Queries, fragments and what follows a `;` in the
    /// last segment do not count.
    ///
    /// A path with a dot segment is its own parent only: `/a/../b` is not below `/a`.
    ///
    /// # Security
    /// A token for `https://mcp.example` opens every resource on that host then. A server below a parent path can use the
    /// tokens that it receives for that parent at all its siblings. Choose it only where all of them are one's own.
    HierarchicalLikeThePythonPackage,
}

impl AudienceRule {
    /// The first of `audience` that is the resource with these spellings; `None` when the token is for somebody else, or
    /// for nobody in particular.
    ///
    /// ```
    /// use mcp_authflow_resource::AudienceRule;
    ///
    /// let own = ["https://mcp.example/notes".to_owned()];
    /// let said = ["https://mcp.example".to_owned()];
    /// assert_eq!(AudienceRule::OwnSpellings.matched(&own, &said), None);
    /// assert_eq!(
    ///     AudienceRule::HierarchicalLikeThePythonPackage.matched(&own, &said),
    ///     Some("https://mcp.example")
    /// );
    /// ```
    pub fn matched<'a>(self, own: &[String], audience: &'a [String]) -> Option<&'a str> {
        let is_ours = |one: &&'a String| match self {
            Self::OwnSpellings => own.contains(one),
            Self::HierarchicalLikeThePythonPackage => {
                let named = Address::read(one);
                !one.is_empty() && own.iter().any(|own| named.is_a_parent_of(&Address::read(own)))
            }
        };
        audience.iter().find(is_ours).map(String::as_str)
    }
}

/// The resource's address as the Python package kept it: scheme and authority in lower case, no fragment; path, query
/// and trailing slash as they were (S-219).
///
/// ```
/// use mcp_authflow_resource::audience::resource_address;
///
/// assert_eq!(resource_address("HTTPS://MCP.Example/Notes/?q=1#f"), "https://mcp.example/Notes/?q=1");
/// ```
pub fn resource_address(server_url: &str) -> String {
    let address = Address::read(server_url);
    let mut text = String::with_capacity(server_url.len());
    if !address.scheme.is_empty() {
        text.push_str(&address.scheme);
        text.push(':');
    }
    let is_empty_of_the_web = matches!(address.scheme.as_str(), "http" | "https")
        && (address.path.is_empty() || address.path.starts_with('/'));
    if !address.authority.is_empty() || is_empty_of_the_web {
        text.push_str("//");
        text.push_str(&address.authority);
    }
    text.push_str(&address.path);
    if !address.query.is_empty() {
        text.push('?');
        text.push_str(&address.query);
    }
    text
}

/// An address taken apart as Python's `urlsplit` does; no text is refused.
struct Address {
    scheme: String,
    authority: String,
    path: String,
    query: String,
}

impl Address {
    fn read(text: &str) -> Self {
        let text: String = text
            .trim_start_matches(|c: char| c <= ' ')
            .chars()
            .filter(|c| !matches!(c, '\t' | '\r' | '\n'))
            .collect();
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ => (String::new(), text.as_str()),
        };
        let (authority, rest) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Self {
            scheme,
            authority: authority.to_lowercase(),
            path: path.to_owned(),
            query: query.to_owned(),
        }
    }

    fn is_a_parent_of(&self, other: &Self) -> bool {
        if self.scheme != other.scheme || self.authority != other.authority {
            return false;
        }
        let (parent, child) = (self.segments(), other.segments());
        if has_dot_segment(&parent) || has_dot_segment(&child) {
            parent == child
        } else {
            child.starts_with(&parent)
        }
    }

    /// The path without what follows a `;` in its last segment, and with a slash at its end.
    fn segments(&self) -> String {
        let last = self.path.rfind('/').unwrap_or(0);
        let end = self.path[last..]
            .find(';')
            .map_or(self.path.len(), |at| last + at);
        let mut path = self.path[..end].to_owned();
        if !path.ends_with('/') {
            path.push('/');
        }
        path
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Servers resolve `..` before they route, escaped or not.
fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_hierarchical(own: &str, audience: &str) -> bool {
        let own = [own.to_owned()];
        let audience = [audience.to_owned()];
        AudienceRule::HierarchicalLikeThePythonPackage
            .matched(&own, &audience)
            .is_some()
    }

    /// S-235: the matched one is known.
    #[test]
    fn one_of_several_audiences_is_enough() {
        let own = ["https://rs.test/mcp".to_owned(), "https://rs.test/old".to_owned()];
        let audience = ["x", "https://rs.test/old", "https://rs.test/mcp"].map(str::to_owned);
        for rule in [
            AudienceRule::OwnSpellings,
            AudienceRule::HierarchicalLikeThePythonPackage,
        ] {
            assert_eq!(rule.matched(&own, &audience), Some("https://rs.test/old"));
            assert_eq!(rule.matched(&own, &audience[..1]), None);
            assert_eq!(rule.matched(&own, &[]), None);
        }
    }

    /// S-234, RP-03
    #[test]
    fn strictly_only_an_own_spelling_is_the_resource() {
        let own = ["https://rs.test/mcp".to_owned()];
        for other in [
            "https://rs.test",
            "https://rs.test/mcp/",
            "https://rs.test/mc",
            "https://RS.test/mcp",
            "",
        ] {
            let audience = [other.to_owned()];
            assert_eq!(
                AudienceRule::OwnSpellings.matched(&own, &audience),
                None,
                "{other}"
            );
        }
    }

    /// S-234
    #[test]
    fn by_the_named_rule_a_parent_is_the_resource_too() {
        for (own, audience) in [
            ("https://rs.test/mcp", "https://rs.test"),
            ("https://rs.test/a/b/c", "https://rs.test/a/b/"),
            ("HTTPS://RS.test/a", "https://rs.TEST/a/?x=1#f"),
            ("https://rs.test/a;v=1", "https://rs.test/a;v=2"),
            ("https://rs.test/a/../b", "https://rs.test/a/../b/"),
            ("urn:x:y", "urn:x:y"),
            ("mcp", "mcp"),
        ] {
            assert!(is_hierarchical(own, audience), "{own} {audience}");
        }
        for (own, audience) in [
            ("https://rs.test", "https://rs.test/mcp"),
            ("https://rs.test/api", "https://rs.test/api123"),
            ("https://rs.test/api123", "https://rs.test/api"),
            ("https://rs.test/MCP", "https://rs.test/mcp"),
            ("https://rs.test", "https://rs.test:443"),
            ("https://rs.test", "http://rs.test"),
            ("https://rs.test", "//rs.test"),
            ("https://rs.test", "https://*.test"),
            ("https://rs.test/a/../b", "https://rs.test/a"),
            ("https://rs.test/a/%2E%2e/b", "https://rs.test/a"),
            ("https://rs.test/a/b", "https://rs.test/x/../a"),
            ("urn:x:y", "urn:"),
            ("", ""),
        ] {
            assert!(!is_hierarchical(own, audience), "{own} {audience}");
        }
    }

    /// S-219
    #[test]
    fn an_address_keeps_its_path_and_loses_its_fragment() {
        for (written, kept) in [
            ("https://mcp.example.com", "https://mcp.example.com"),
            ("HTTPS://MCP.Example.COM/Path/", "https://mcp.example.com/Path/"),
            (" https://mcp.example.com ", "https://mcp.example.com "),
            ("https://USER@MCP.example.com", "https://user@mcp.example.com"),
            ("urn:x:Y#f", "urn:x:Y"),
            ("HTTP://", "http://"),
            ("", ""),
        ] {
            assert_eq!(resource_address(written), kept);
        }
    }
}
