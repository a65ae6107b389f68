//! The MCPJam pair tester: a resource server and its authorization server, judged together.
//!
//! It goes the whole way of a client of a protocol version, then tries what must be refused: an `http` redirect in a
//! registration, an unknown client, a foreign redirect at both endpoints, a token that is none.

use anyhow::{Context as _, Result, bail, ensure};
use mcp_authflow_testkit::browser::Decision;
use serde_json::{Value, json};

use super::dialogue::Driver;
use super::person::Person;
use super::site::Site;
use super::workshop;

/// For the server's bootstrap file: the client that is registered beforehand.
pub(super) const BOOTSTRAP: &str = r#"
[[client]]
client_id = "mcpjam"
name = "MCPJam"
redirect_uris = ["http://127.0.0.1/callback"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]
"#;
const PREREGISTERED: &str = "mcpjam";

/// What the tester can leave out, and why that is right.
const MAY_BE_SKIPPED: &[&str] = &[
    // It presents a used code, which is refused whatever redirect comes with it; then it cannot tell why.
    "oauth_invalid_redirect",
];

/// A protocol version that the tester knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The authorization server is looked for at the MCP server's own origin.
    A,
    /// It is found through the protected resource's metadata.
    B,
    C,
}

impl Version {
    pub(super) const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    fn as_str(self) -> &'static str {
        match self {
            Self::A => "2025-03-26",
            Self::B => "2025-06-18",
            Self::C => "2025-11-25",
        }
    }
}

/// Each version, with dynamic registration and with a client that is registered beforehand.
pub(super) async fn judge(site: &Site, versions: &[Version]) -> Result<()> {
    let flows: Vec<Value> = versions
        .iter()
        .flat_map(|version| {
            let flow = |registration: &str| json!({ "protocolVersion": version.as_str(), "registrationStrategy": registration });
            let mut preregistered = flow("preregistered");
            preregistered["client"] = json!({ "preregistered": { "clientId": PREREGISTERED } });
            [flow("dcr"), preregistered]
        })
        .collect();
    let call = &site.play.call;
    let options = json!({ "flows": flows, "tool": { "name": call.tool, "params": call.arguments } });
    let mut command = workshop::node_script("mcpjam", "driver.mjs")?;
    command
        .env("DO_NOT_TRACK", "1")
        .env("MCPJAM_TELEMETRY_DISABLED", "1")
        .arg(&site.mcp_url)
        .arg(options.to_string());
    let mut driver = Driver::program(command)?;
    let mut wrong = Vec::new();
    for flow in &flows {
        let name = format!("{} {}", flow["protocolVersion"], flow["registrationStrategy"]).replace('"', "");
        // Without its callback the tester does not go on, so that is the end of it.
        let judgement = hear_judgement(&mut driver).await.with_context(|| name.clone())?;
        match check(&judgement) {
            Ok(steps) => eprintln!("    {name}: {steps} steps"),
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    driver.end().await
}

/// Takes a person through the pages where the tester asks for it, and returns its judgement.
async fn hear_judgement(driver: &mut Driver) -> Result<Value> {
    let mut line = driver.hear().await?;
    if let Some(url) = line["authorize"].as_str() {
        let person = Person::arrive(false).await?;
        let redirect = person.sign_in(url, Decision::Allow).await?;
        driver.say(json!({ "callback": redirect.url })).await?;
        line = driver.hear().await?;
    }
    ensure!(line["step"] == "judged", "instead of a judgement: {line}");
    Ok(line)
}

/// Everything was tried and nothing failed; returns how many steps that were.
fn check(judgement: &Value) -> Result<usize> {
    let steps = judgement["steps"].as_array().context("no steps")?;
    ensure!(judgement["passed"] == true, "{}", judgement["summary"]);
    for needed in [
        "oauth_dcr_http_redirect_uri",
        "oauth_token_format",
        "verify_call_tool",
    ] {
        ensure!(
            steps.iter().any(|step| step["step"] == needed),
            "the tester did not come to {needed}"
        );
    }
    for step in steps {
        let name = step["step"].as_str().unwrap_or_default();
        match step["status"].as_str() {
            Some("passed") => {}
            Some("skipped") if MAY_BE_SKIPPED.contains(&name) => {}
            status => bail!("{name} is {status:?}: {}", step["error"]),
        }
    }
    Ok(steps.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_the_tester_left_out_counts_as_failed() {
        let judgement = |status: &str| {
            let step = |name: &str, status: &str| json!({ "step": name, "status": status });
            json!({ "passed": true, "steps": [
                step("oauth_dcr_http_redirect_uri", status),
                step("oauth_invalid_redirect", "skipped"),
                step("oauth_token_format", "passed"),
                step("verify_call_tool", "passed"),
            ] })
        };
        assert_eq!(check(&judgement("passed")).unwrap(), 4);
        assert!(check(&judgement("skipped")).is_err());
        assert!(check(&json!({ "passed": true, "steps": [] })).is_err());
        assert!(check(&json!({ "passed": false, "steps": [], "summary": "no" })).is_err());
    }
}
