//! `[client_documents]`: clients that are named by the URL of their metadata document, and whose documents count.

use std::{collections::BTreeSet, time::Duration};

use mcp_authflow::{
    client::trust::{DomainName, DomainTrust},
    settings::ClientDocumentSettings,
};

use super::{ConfigError, Reader, duration};

const TRUST: &str = "client_documents.trust";
const HOSTS: &str = "client_documents.hosts";

pub(super) fn read(
    read: &mut Reader,
    default: ClientDocumentSettings,
) -> Result<ClientDocumentSettings, ConfigError> {
    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(86_400);
    let mut settings = default;
    settings.enabled = read.boolean("client_documents.enabled", settings.enabled)?;
    let trust = read.one_of(TRUST, "open", &["open", "only", "all_but", "ask"])?;
    let hosts = read.with(HOSTS, "", |text| {
        let hosts = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        hosts
            .map(|one| DomainName::parse(one).map_err(|error| format!("{one}: {error}")))
            .collect::<Result<BTreeSet<_>, _>>()
    })?;
    settings.trust = match (trust, hosts.is_empty()) {
        ("only", false) => DomainTrust::Only(hosts),
        ("all_but", false) => DomainTrust::AllBut(hosts),
        ("open", true) => DomainTrust::Open,
        ("ask", true) => DomainTrust::Ask,
        (_, true) => {
            return Err(ConfigError::Unsafe(format!(
                "{TRUST} is {trust:?}, and {HOSTS} names no host: write them there"
            )));
        }
        (_, false) => {
            return Err(ConfigError::Unsafe(format!(
                "{HOSTS} counts for {TRUST} \"only\" and \"all_but\"; with {trust:?}, decide with: authflow \
                 client-document host allow HOST"
            )));
        }
    };
    settings.max_age = read.duration("client_documents.max_age", settings.max_age, SECOND..=DAY)?;
    settings.min_age = read.duration("client_documents.min_age", settings.min_age, SECOND..=DAY)?;
    if settings.min_age > settings.max_age {
        return Err(ConfigError::Unsafe(format!(
            "client_documents.min_age is {} and longer than client_documents.max_age, {}: lower the one or raise the other",
            duration::print(settings.min_age),
            duration::print(settings.max_age)
        )));
    }
    settings.last_good = read.duration(
        "client_documents.last_good",
        settings.last_good,
        Duration::ZERO..=30 * DAY,
    )?;
    settings.per_address_per_hour = read.integer(
        "client_documents.per_address_per_hour",
        settings.per_address_per_hour,
        1..=1_000_000,
    )?;
    settings.per_host_per_hour = read.integer(
        "client_documents.per_host_per_hour",
        settings.per_host_per_hour,
        1..=1_000_000,
    )?;
    Ok(settings)
}
