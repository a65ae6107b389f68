//! The process environment: the one room that reads it.

/// Every variable whose name and value are text.
#[expect(clippy::disallowed_methods, reason = "this is the room for the environment")]
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// One variable.
#[expect(clippy::disallowed_methods, reason = "this is the room for the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
