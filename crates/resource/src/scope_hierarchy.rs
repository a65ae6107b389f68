//! Which scopes include others: a token with `notes:admin` may do what asks for `notes:read`, when the resource says so
//! (MCP 2026-07-28, *Step-Up Authorization*; M-027).

use std::collections::BTreeMap;

use mcp_authflow_types::{
    Scope,
    scope::{InvalidScope, ScopeToken},
};

/// A set of statements "broad implies narrow", followed to their ends. The default says nothing.
///
/// ```
/// use mcp_authflow_resource::{Scope, ScopeHierarchy};
///
/// let hierarchy = ScopeHierarchy::new([("admin", "write"), ("write", "read")])?;
/// assert_eq!(hierarchy.expand(&Scope::parse("admin")?).to_string(), "admin read write");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeHierarchy {
    /// Everything that a scope implies, near and far.
    implied: BTreeMap<ScopeToken, Scope>,
}

/// Why a hierarchy is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHierarchy {
    /// A scope is none.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// A scope implies itself, so that all scopes on the way are worth the same.
    #[error("the scope {0} implies itself: leave out one of the steps that lead back to it")]
    Cycle(ScopeToken),
}

impl ScopeHierarchy {
    /// Takes pairs of a scope and the scopes (one or several, with a space between) that it implies.
    ///
    /// # Errors
    /// [`InvalidHierarchy`]
    pub fn new<A: AsRef<str>, B: AsRef<str>>(
        pairs: impl IntoIterator<Item = (A, B)>,
    ) -> Result<Self, InvalidHierarchy> {
        let mut direct = BTreeMap::<ScopeToken, Scope>::new();
        for (broad, narrow) in pairs {
            let narrow = Scope::parse(narrow.as_ref())?;
            let entry = direct.entry(ScopeToken::parse(broad.as_ref())?).or_default();
            *entry = entry.union(&narrow);
        }
        let mut implied = BTreeMap::new();
        for (broad, narrow) in &direct {
            let mut all = narrow.clone();
            let mut waiting: Vec<ScopeToken> = narrow.iter().cloned().collect();
            while let Some(next) = waiting.pop() {
                let Some(further) = direct.get(&next) else {
                    continue;
                };
                waiting.extend(further.iter().filter(|one| !all.contains(one.as_str())).cloned());
                all = all.union(further);
            }
            if all.contains(broad.as_str()) {
                return Err(InvalidHierarchy::Cycle(broad.clone()));
            }
            implied.insert(broad.clone(), all);
        }
        Ok(Self { implied })
    }

    /// The scope with all that it implies.
    #[must_use]
    pub fn expand(&self, held: &Scope) -> Scope {
        let implied = held.iter().filter_map(|token| self.implied.get(token));
        implied.fold(held.clone(), |all, further| all.union(further))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn expand(pairs: &[(&str, &str)], held: &str) -> String {
        let hierarchy = ScopeHierarchy::new(pairs.iter().copied()).unwrap();
        hierarchy.expand(&Scope::parse(held).unwrap()).to_string()
    }

    /// M-027
    #[test]
    fn a_broad_scope_implies_the_narrow_ones_to_the_end() {
        let pairs = [("admin", "write audit"), ("write", "read"), ("audit", "read")];
        assert_eq!(expand(&pairs, "admin"), "admin audit read write");
        assert_eq!(expand(&pairs, "write other"), "other read write");
        assert_eq!(expand(&pairs, "read"), "read");
        assert_eq!(expand(&pairs, ""), "");
        assert_eq!(expand(&[], "admin"), "admin");
    }

    /// M-023: nothing but what was said; a name says nothing.
    #[test]
    fn names_imply_nothing() {
        let pairs = [("notes:admin", "notes:read")];
        assert_eq!(
            expand(&pairs, "notes notes:ADMIN notes:admi"),
            "notes notes:ADMIN notes:admi"
        );
    }

    #[test]
    fn a_circle_is_refused() {
        let new = |pairs: &[(&str, &str)]| ScopeHierarchy::new(pairs.iter().copied());
        for pairs in [
            &[("a", "a")][..],
            &[("a", "b"), ("b", "a")],
            &[("x", "a"), ("a", "b"), ("b", "c"), ("c", "a")],
        ] {
            assert!(matches!(new(pairs), Err(InvalidHierarchy::Cycle(_))), "{pairs:?}");
        }
        assert_eq!(new(&[("a b", "c")]), Err(InvalidHierarchy::Scope(InvalidScope)));
        assert_eq!(new(&[("a", "b  c")]), Err(InvalidHierarchy::Scope(InvalidScope)));
    }
}
