//! Which leniencies are in force: `known_clients.on` and `known_clients.off`.

use mcp_authflow::client::known::Leniency;

/// What the operator decided, each `leniency` or `client/leniency`. What names a client wins over what does not, `off` over
/// `on`, and where nothing is said a leniency is on that gives nothing up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switches {
    pub(crate) on: Vec<Switch>,
    pub(crate) off: Vec<Switch>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Switch {
    /// Whom it is for; everyone in the table otherwise.
    pub(crate) client: Option<String>,
    pub(crate) leniency: Leniency,
}

impl Switch {
    /// Reads a list, separated by commas.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(|one| {
                let (client, leniency) = match one.split_once('/') {
                    Some((client, leniency)) => (Some(client.to_owned()), leniency),
                    None => (None, one),
                };
                let leniency = Leniency::parse(leniency).ok_or_else(|| {
                    let all: Vec<&str> = Leniency::ALL.into_iter().map(Leniency::as_str).collect();
                    format!(
                        "write some of {}, each alone or behind a client's name and a slash",
                        all.join(", ")
                    )
                })?;
                Ok(Self { client, leniency })
            })
            .collect()
    }
}

impl Switches {
    /// Whether a leniency is in force for a client.
    pub(crate) fn are_on(&self, client: &str, leniency: Leniency) -> bool {
        for of in [Some(client), None] {
            let is_among = |switches: &[Switch]| {
                switches
                    .iter()
                    .any(|one| one.client.as_deref() == of && one.leniency == leniency)
            };
            if is_among(&self.off) {
                return false;
            }
            if is_among(&self.on) {
                return true;
            }
        }
        leniency.is_on_by_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn what_names_a_client_wins_and_off_wins_over_on() {
        let switches = |on: &str, off: &str| Switches {
            on: Switch::parse_list(on).unwrap(),
            off: Switch::parse_list(off).unwrap(),
        };
        for (on, off, path, secret) in [
            ("", "", false, true),
            ("loopback-path", "secret-in-body", true, false),
            ("loopback-path", "opencode/loopback-path", false, true),
            ("opencode/loopback-path", "loopback-path", true, true),
            ("loopback-path", "loopback-path", false, true),
            ("other/loopback-path", "other/secret-in-body", false, true),
        ] {
            let switches = switches(on, off);
            assert_eq!(
                switches.are_on("opencode", Leniency::LoopbackPath),
                path,
                "{on} {off}"
            );
            assert_eq!(
                switches.are_on("opencode", Leniency::SecretInBody),
                secret,
                "{on} {off}"
            );
        }
        assert!(Switch::parse_list("opencode/everything").is_err());
    }
}
