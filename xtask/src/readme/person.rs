//! What the reader does in a browser, with the real pages and forms.

use anyhow::{Context, Result, ensure};
use mcp_authflow_testkit::browser::{Browser, Decision, Visit};

/// The password that our reader thinks of.
const PASSWORD: &str = "correct horse battery staple";

/// Opens the one-time link and creates the first account.
pub(super) fn create_account(link: &str, name: &str) -> Result<()> {
    in_runtime(async {
        let browser = Browser::new()?;
        let Visit::Page(page) = browser.open(link).await? else {
            anyhow::bail!("the set-up link leads away from the server");
        };
        let form = page
            .forms
            .iter()
            .find(|form| {
                form.controls
                    .iter()
                    .any(|control| control.name == "password_again")
            })
            .with_context(|| format!("no form to create an account: {}", page.describe()))?;
        let fields = [
            ("username", name),
            ("password", PASSWORD),
            ("password_again", PASSWORD),
        ];
        if let Visit::Page(page) = browser.submit(&page, form, &fields).await? {
            ensure!(page.status < 400, "the account was refused: {}", page.describe());
        }
        Ok(())
    })
}

/// Opens the authorization URL in `line`, signs in, allows, and follows the redirect to
/// the client, as a browser would.
pub(super) fn sign_in(line: &str, name: &str) -> Result<()> {
    let url = url_in(line, "/authorize?").with_context(|| format!("no URL in `{line}`"))?;
    in_runtime(async {
        let browser = Browser::new()?;
        let redirect = browser.sign_in_and(&url, name, PASSWORD, Decision::Allow).await?;
        browser
            .open(&redirect.url)
            .await
            .context("the client does not take the redirect")?;
        Ok(())
    })
}

/// Opens the address that a device shows, signs in, compares the code that is filled in, and allows.
pub(super) fn allow_device(line: &str, name: &str) -> Result<()> {
    let url = url_in(line, "?user_code=").with_context(|| format!("no URL in `{line}`"))?;
    in_runtime(async {
        let browser = Browser::new()?;
        let login = [("username", name), ("password", PASSWORD)];
        let mut visit = browser.open(&url).await?;
        for (step, fields) in [
            ("login", &login[..]),
            ("code", &[]),
            ("consent", &[("decision", "allow")]),
        ] {
            let Visit::Page(page) = visit else {
                anyhow::bail!("the device's pages lead away from the server");
            };
            let form = page
                .form_with("step", step)
                .with_context(|| format!("no {step} form: {}", page.describe()))?;
            visit = browser.submit(&page, form, fields).await?;
        }
        let Visit::Page(page) = visit else {
            anyhow::bail!("the last page leads away from the server");
        };
        ensure!(
            page.url.path().ends_with("/approved"),
            "the device was not approved: {}",
            page.describe()
        );
        Ok(())
    })
}

/// The last URL in a text that contains `part`.
pub(super) fn url_in(text: &str, part: &str) -> Option<String> {
    text.split_whitespace()
        .map(|word| word.trim_matches(['"', '\'', '<', '>', '`', '(', ')']))
        .rfind(|word| word.starts_with("http") && word.contains(part))
        .map(str::to_owned)
}

fn in_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_url_is_taken_without_its_quotes() {
        let text = "open http://127.0.0.1:1/ui/setup?token=old\nopen <http://127.0.0.1:1/ui/setup?token=new>";
        let found = url_in(text, "/ui/setup?");
        assert_eq!(found.as_deref(), Some("http://127.0.0.1:1/ui/setup?token=new"));
        assert_eq!(url_in(text, "/authorize?"), None);
    }
}
