//! The same requests to our server and to `oidc-provider`, a certified one; what differs must be listed with its reason.
//!
//! | room | what is in it |
//! |---|---|
//! | [`side`] | the two servers, with the same clients, person and resource |
//! | [`answer`] | what of an answer is compared |
//! | [`requests`] | the list of requests, one function an endpoint |
//! | [`listed`] | `tests/differential.toml`: differences that are meant |
//!
//! To add a request: a line in [`requests`]. If the two answers differ, one of them is wrong by some RFC, or the RFC leaves
//! room; in the second case it goes to the list.

mod answer;
mod listed;
mod requests;
mod side;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use self::answer::{Answer, PARTS};
use self::listed::Listed;
use self::side::Side;
use super::house::{Keeper, StoreKind};
use crate::workspace::root;

/// Both servers, every request, every part of the answer.
pub(super) async fn judge(keeper: &Keeper<'_>, store: StoreKind) -> Result<()> {
    let house = keeper.serve(store, "", &side::bootstrap())?;
    let (theirs, _process) = side::start_reference(&house.mcp_url).await?;
    let ours = Side::ours(&house).await?;
    let ours = requests::send_all(&ours).await.context("at our server")?;
    let theirs = requests::send_all(&theirs).await.context("at oidc-provider")?;
    let mut listed = Listed::read(&root().join("tests/differential.toml"))?;
    let comparison = compare(&ours, &theirs, &mut listed)?;
    println!("{comparison}");
    let unlisted = comparison.unlisted;
    let stale = listed.never_seen();
    ensure!(
        unlisted == 0 && stale.is_empty(),
        "{unlisted} differences are not in tests/differential.toml, and these of its lines were not seen: {stale:?}"
    );
    Ok(())
}

/// The table at the end.
struct Comparison {
    lines: Vec<String>,
    same: usize,
    listed: usize,
    unlisted: usize,
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        write!(
            out,
            "{} requests: {} answered alike, {} otherwise for a listed reason, {} otherwise without one",
            self.same + self.listed + self.unlisted,
            self.same,
            self.listed,
            self.unlisted
        )
    }
}

fn compare(
    ours: &[(String, Answer)],
    theirs: &[(String, Answer)],
    listed: &mut Listed,
) -> Result<Comparison> {
    let mut theirs: BTreeMap<_, _> = theirs.iter().map(|(case, answer)| (case, answer)).collect();
    let mut comparison = Comparison {
        lines: Vec::new(),
        same: 0,
        listed: 0,
        unlisted: 0,
    };
    for (case, own) in ours {
        let other = theirs
            .remove(case)
            .with_context(|| format!("`{case}` was asked once only"))?;
        let (mut differs, mut has_reasons) = (false, true);
        for part in PARTS {
            let (own, other) = (own.part(part), other.part(part));
            if own == other {
                continue;
            }
            differs = true;
            let reason = listed.reason(case, part, &own, &other);
            has_reasons &= reason.is_some();
            let reason = reason.unwrap_or_else(|| "NOT LISTED".to_owned());
            comparison
                .lines
                .push(format!("{case}: {part}: `{own}` here, `{other}` there: {reason}"));
        }
        match (differs, has_reasons) {
            (false, _) => comparison.same += 1,
            (true, true) => comparison.listed += 1,
            (true, false) => comparison.unlisted += 1,
        }
        if !differs {
            comparison.lines.push(format!("{case}: {own}"));
        }
    }
    ensure!(theirs.is_empty(), "asked there only: {:?}", theirs.keys());
    Ok(comparison)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: &str) -> Vec<(String, Answer)> {
        vec![(
            "token: an unknown grant".to_owned(),
            Answer::of([("status", status)]),
        )]
    }

    #[test]
    fn a_difference_counts_as_meant_only_when_it_is_listed_as_it_is() {
        let text = "[[difference]]\npart = \"status\"\nours = \"400\"\ntheirs = \"401\"\n\
                    cases = [\"token: an unknown grant\"]\nbecause = \"the RFC leaves it open\"\n";
        for (theirs, expected, stale) in [
            ("400", (1, 0, 0), 1),
            ("401", (0, 1, 0), 0),
            ("402", (0, 0, 1), 1),
        ] {
            let mut listed = Listed::parse(text).unwrap();
            let found = compare(&answered("400"), &answered(theirs), &mut listed).unwrap();
            assert_eq!(
                (found.same, found.listed, found.unlisted),
                expected,
                "{theirs}: {found}"
            );
            assert_eq!(listed.never_seen().len(), stale, "{theirs}");
        }
        let mut listed = Listed::parse(text).unwrap();
        assert!(compare(&answered("400"), &[], &mut listed).is_err());
    }
}
