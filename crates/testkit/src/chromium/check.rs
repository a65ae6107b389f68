//! What is asserted about every page: it fits, can be read, has names, and can be used by keyboard.

use std::sync::PoisonError;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::json;

use super::Chromium;

const PAGE_CHECK: &str = include_str!("page_check.js");
const TAB_ORDER: &str = include_str!("tab_order.js");

#[derive(Deserialize)]
struct Controls {
    names: Vec<String>,
    positive: Vec<String>,
}

#[derive(Deserialize)]
struct Focus {
    index: i64,
    shows: bool,
}

impl Chromium {
    /// Everything that is wrong with the page shown; an empty list is what a test wants.
    pub async fn faults(&self) -> Result<Vec<String>> {
        self.settle().await?;
        let mut faults: Vec<String> = {
            let width = self.view.lock().unwrap_or_else(PoisonError::into_inner).width;
            serde_json::from_value(self.script(PAGE_CHECK, vec![json!(width)]).await?)?
        };
        faults.extend(self.keyboard_faults().await?);
        faults.extend(self.complaints().await?);
        Ok(faults)
    }

    /// What the browser itself complained about since it was last asked: blocked by the
    /// content security policy, not found, thrown.
    ///
    /// A refused login is a page with a 4xx status, which the browser logs as a failed
    /// load of the page itself; that is no fault of the page.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let here = self.url().await?;
        Ok(self
            .driver()
            .browser_log()
            .await?
            .into_iter()
            .filter(|entry| matches!(entry.level.as_str(), "SEVERE" | "WARNING"))
            .filter(|entry| {
                !(entry.message.starts_with(here.as_str()) && entry.message.contains("status of 4"))
            })
            .map(|entry| format!("the browser says: {}", entry.message))
            .collect())
    }

    /// Presses Tab through the whole page: every control is reached in document order, and it shows.
    async fn keyboard_faults(&self) -> Result<Vec<String>> {
        let controls = self.script(TAB_ORDER, vec![json!("start")]).await?;
        let controls: Controls = serde_json::from_value(controls).context("the list of controls")?;
        let mut faults: Vec<String> = controls
            .positive
            .iter()
            .map(|name| format!("{name} has a positive tabindex"))
            .collect();
        for (position, name) in controls.names.iter().enumerate() {
            self.press_tab().await?;
            let focus: Focus = serde_json::from_value(self.script(TAB_ORDER, vec![json!("where")]).await?)?;
            if usize::try_from(focus.index) != Ok(position) {
                let reached = usize::try_from(focus.index)
                    .ok()
                    .and_then(|index| controls.names.get(index));
                let reached = reached.map_or("nothing", String::as_str);
                faults.push(format!(
                    "Tab {} reaches {reached} instead of {name}",
                    position + 1
                ));
                break;
            }
            if !focus.shows {
                faults.push(format!("the focus on {name} does not show"));
            }
        }
        self.script(TAB_ORDER, vec![json!("end")]).await?;
        Ok(faults)
    }

    async fn press_tab(&self) -> Result<()> {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            self.cdp("Input.dispatchKeyEvent", key).await?;
        }
        Ok(())
    }
}
