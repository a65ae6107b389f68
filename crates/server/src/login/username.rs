//! One spelling for each account, so that the limiter counts one account once and no two look alike.

/// Why a text cannot be a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a user name is 1 to 64 letters, digits, dots, hyphens, underscores, plus or at signs, beginning with a letter or digit"
)]
pub(crate) struct UnusableUsername;

/// Folds what a person typed to the account's spelling: lower case, without white space around it.
pub(crate) fn normalize(text: &str) -> Result<String, UnusableUsername> {
    let name = text.trim().to_ascii_lowercase();
    let ok = (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-@+".contains(&b));
    if ok { Ok(name) } else { Err(UnusableUsername) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_one_spelling() {
        assert_eq!(
            normalize(" Alice@Example.org "),
            Ok("alice@example.org".to_owned())
        );
        for bad in ["", " ", "a b", "аlice", ".alice", "a\0", "<b>", &"a".repeat(65)] {
            assert_eq!(normalize(bad), Err(UnusableUsername), "{bad:?}");
        }
    }
}
