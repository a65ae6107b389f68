//! Lengths of time as people write them: `60s`, `10m`, `12h`, `90d`.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a number and a unit.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (unit, seconds) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// Prints in the largest unit that leaves nothing over.
pub(super) fn print(duration: Duration) -> String {
    let total = duration.as_secs();
    let (unit, seconds) = UNITS
        .into_iter()
        .find(|(_, seconds)| total != 0 && total.is_multiple_of(*seconds))
        .unwrap_or(('s', 1));
    format!("{}{unit}", total / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for text in ["0s", "59s", "10m", "12h", "90d"] {
            assert_eq!(parse(text).map(print).as_deref(), Some(text));
        }
        for bad in ["", "s", "10", "1.5h", "-1s", "1 h", "1w", "99999999999999999999d"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
