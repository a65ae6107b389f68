//! `authflow keys list|rotate|retire`.

use clap::Subcommand;
use mcp_authflow::{
    keys::{KeyPhase, KeyStatus, RetireKey},
    port::Clock as _,
    record::SigningAlgorithm,
};
use serde_json::json;

use super::{
    Output, Refused,
    output::{moment, table},
    resource::signing_algorithm,
};
use crate::{config::Config, system::SystemClock, wire::Opened};

#[derive(Debug, Subcommand)]
pub(super) enum KeysVerb {
    /// List the keys that sign tokens, and what each does
    List,
    /// Make the next key: it is published now and signs once everybody can know it
    #[command(after_help = "Examples:
  authflow keys rotate                    the next key signs in six minutes
  authflow keys rotate --algorithm EdDSA
  authflow keys rotate --now              at once: whoever verifies tokens must
                                          fetch the keys again first

Six minutes: keys.publish_ahead, and a minute for the slowest node.

The key before it stays published until the last of its tokens has expired. No token is refused for a rotation.")]
    Rotate {
        /// Of which algorithm
        #[arg(long, default_value = "ES256", value_parser = signing_algorithm())]
        algorithm: SigningAlgorithm,
        /// Let it sign at once
        #[arg(long)]
        now: bool,
    },
    /// Drop a key that somebody else may know: at once, with a new one in its place where it signs
    #[command(
        after_help = "Running servers notice within 30 s (a tenth of keys.publish_ahead). Whoever verifies tokens by itself \
                      notices when it fetches the keys again, and then refuses what the key signed; clients get new tokens \
                      by themselves."
    )]
    Retire {
        /// Its kid, as `authflow keys list` prints it
        #[arg(allow_hyphen_values = true, value_name = "KID")]
        key_id: String,
    },
}

impl KeysVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        let ring = opened.key_ring(config);
        let now = SystemClock.now();
        match self {
            Self::List => {
                let keys = ring.list(now).await?;
                let value: Vec<_> = keys.iter().map(described).collect();
                let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
                output.print(
                    &value.into(),
                    &table(&["KID", "ALGORITHM", "DOES", "MADE"], &rows),
                )
            }
            Self::Rotate {
                algorithm,
                now: at_once,
            } => {
                let key = ring.rotate(algorithm, at_once, now).await?;
                let value = json!({
                    "kid": key.key_id,
                    "algorithm": algorithm.as_str(),
                    "signs_from": key.active_from,
                });
                let when = if key.active_from.has_passed(now) {
                    "signs from now on".to_owned()
                } else {
                    format!("is published now and signs from {}", moment(key.active_from))
                };
                output.print(&value, &format!("{} {when}", key.key_id))
            }
            Self::Retire { key_id } => match ring.retire(&key_id, now).await? {
                RetireKey::Unknown => {
                    Err(Refused(format!("there is no key {key_id}; see authflow keys list")).into())
                }
                RetireKey::Removed => output.print(
                    &json!({ "kid": key_id, "replaced_by": null }),
                    &format!("retired {key_id}"),
                ),
                RetireKey::Replaced(successor) => output.print(
                    &json!({ "kid": key_id, "replaced_by": successor }),
                    &format!("retired {key_id}; {successor} signs in its place from now on"),
                ),
            },
        }
    }
}

fn described(status: &KeyStatus) -> serde_json::Value {
    let key = &status.key;
    let mut value = json!({
        "kid": key.key_id,
        "algorithm": key.algorithm.as_str(),
        "created_at": key.created_at,
    });
    let (state, moment) = match status.phase {
        KeyPhase::Pending { signs_from } => ("pending", Some(("signs_from", signs_from))),
        KeyPhase::Signing => ("signing", None),
        KeyPhase::Retired { published_until } => ("retired", Some(("published_until", published_until))),
        KeyPhase::Over => ("over", None),
    };
    value["state"] = state.into();
    if let Some((name, at)) = moment {
        value[name] = json!(at);
    }
    value
}

fn row(status: &KeyStatus) -> Vec<String> {
    let does = match status.phase {
        KeyPhase::Pending { signs_from } => format!("published, signs from {}", moment(signs_from)),
        KeyPhase::Signing => "signs".to_owned(),
        KeyPhase::Retired { published_until } => format!("published until {}", moment(published_until)),
        KeyPhase::Over => "over".to_owned(),
    };
    vec![
        status.key.key_id.clone(),
        status.key.algorithm.to_string(),
        does,
        moment(status.key.created_at),
    ]
}
