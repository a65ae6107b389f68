//! Whether the public address leads here: the server asks itself from outside, and says what a proxy in front changes.
//!
//! Most of what goes wrong between a client and a server that runs well is in between: a path that is not passed on, a
//! redirect, a page where JSON belongs, an issuer with one slash more. A client then says no more than "failed to connect".
//!
//! | file | what |
//! |---|---|
//! | `mark` | a header by which the server recognises its own questions, and answers what it saw of them |
//! | `check` | the questions, and what a good answer is |
//! | `finding` | what came of one question, in a sentence with a remedy |

mod check;
mod finding;
pub(crate) mod mark;

use std::time::Duration;

use mcp_authflow::AuthorizationServer;
use mcp_authflow_types::Resource;

pub(crate) use self::{check::Check, finding::Severity};
use crate::config::Config;

/// How long after the start it is asked, and again while it does not answer: whoever balances loads takes a while to find a
/// new node.
const TRIES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];

/// Asks at the start, and logs what is wrong. It keeps nobody from signing in: the address may lead here from everywhere but
/// from here.
pub(crate) fn at_start(
    config: &Config,
    server: AuthorizationServer,
    resource: Option<Resource>,
) -> impl Future<Output = ()> + Send + use<> {
    let is_wanted = config.check_public_url && !leads_here_directly(config);
    let check = is_wanted.then(|| Check::new(&config.issuer, server));
    async move {
        match check {
            None => {}
            Some(Ok(check)) => ask_until_good(&check, resource.as_slice()).await,
            Some(Err(error)) => {
                tracing::warn!(%error, "the public address cannot be asked whether it leads here");
            }
        }
    }
}

async fn ask_until_good(check: &Check, resources: &[Resource]) {
    let mut findings = Vec::new();
    for wait in TRIES {
        tokio::time::sleep(wait).await;
        findings = check.run(resources).await;
        if findings.iter().all(|one| one.severity == Severity::Good) {
            tracing::info!(
                checks = findings.len(),
                "the public address leads here as it should"
            );
            return;
        }
    }
    for finding in findings.iter().filter(|one| one.severity != Severity::Good) {
        tracing::warn!(url = finding.url, "{}", finding.text);
    }
    tracing::warn!(
        "`authflow config check --live` asks again; check_public_url = false asks no more at the start"
    );
}

/// Whether nothing stands in between.
fn leads_here_directly(config: &Config) -> bool {
    config.issuer.is_loopback()
        && config
            .issuer
            .origin()
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .unwrap_or(80)
            == config.listen.port()
}
