//! The cases of the catalogue that need a network of their own, by number.
//!
//! A case is a class, not its inputs: each tries every door that leads to a fetch, and every spelling that is known.

mod cimd;
mod consent;
mod fetch_ssrf;
mod name;
mod private_key_jwt;
mod slow;

use std::pin::Pin;

use anyhow::Result;

use super::judgement::Judgement;
use super::world::World;

type Running<'a> = Pin<Box<dyn Future<Output = Result<Judgement>> + 'a>>;

/// A case.
pub(super) struct Case {
    /// Its number.
    pub(super) id: &'static str,
    /// It waits for time to pass, and runs beside the others of its kind.
    pub(super) is_patient: bool,
    pub(super) run: for<'a> fn(&'a World) -> Running<'a>,
}

impl Case {
    /// Whether one of these means it: its number, or what that begins with. Nothing means all.
    pub(super) fn is_meant(&self, names: &[String]) -> bool {
        let begins = |name: &String| self.id.starts_with(&name.to_ascii_uppercase());
        names.is_empty() || names.iter().any(begins)
    }
}

macro_rules! case {
    ($id:literal, $run:path) => {
        Case {
            id: $id,
            is_patient: false,
            run: |world| Box::pin($run(world)),
        }
    };
    ($id:literal, $run:path, patient) => {
        Case {
            id: $id,
            is_patient: true,
            run: |world| Box::pin($run(world)),
        }
    };
}

/// All of them, in the order in which they run.
pub(super) const CASES: &[Case] = &[
    case!("SF-01", fetch_ssrf::sf_01),
    case!("SF-03", fetch_ssrf::sf_03),
    case!("SF-04", fetch_ssrf::sf_04),
    case!("SF-05", fetch_ssrf::sf_05),
    case!("SF-07", name::sf_07),
    case!("SF-09", fetch_ssrf::sf_09),
    case!("SF-11", slow::sf_11),
    case!("SF-14", fetch_ssrf::sf_14),
    case!("SF-16", fetch_ssrf::sf_16),
    case!("SF-17", slow::sf_17),
    case!("SF-20", fetch_ssrf::sf_20),
    case!("SF-22", name::sf_22),
    case!("SF-23", fetch_ssrf::sf_23),
    case!("P12-NAMES", name::p12_names),
    case!("P12-SLOW", slow::p12_slow),
    case!("CM-02", cimd::cm_02),
    case!("CM-05", cimd::cm_05),
    case!("CM-07", cimd::cm_07),
    case!("CM-08", consent::cm_08),
    case!("CM-10", consent::cm_10),
    case!("CM-11", consent::cm_11),
    case!("CM-12", consent::cm_12),
    case!("CM-18", cimd::cm_18),
    case!("CM-19", consent::cm_19),
    case!("JA-05", private_key_jwt::ja_05),
    case!("SF-21", slow::sf_21, patient),
    case!("CM-13", cimd::cm_13, patient),
    case!("CM-14", cimd::cm_14, patient),
    case!("CM-15", cimd::cm_15, patient),
    case!("JA-29", private_key_jwt::ja_29, patient),
    case!("JA-30", private_key_jwt::ja_30, patient),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_stands_once_and_is_found_by_its_beginning() {
        let mut ids: Vec<_> = CASES.iter().map(|case| case.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CASES.len());
        let meant = |name: &str| {
            CASES
                .iter()
                .filter(|case| case.is_meant(&[name.to_owned()]))
                .count()
        };
        assert_eq!((meant("sf-03"), meant("XX-01")), (1, 0));
        assert!(meant("CM") > 5);
    }
}
