//! The CPU time that a process has used, with all its threads: user and system.

use std::time::Duration;

use anyhow::{Context, Result};

/// `/proc` counts in hundredths of a second on every Linux that we know (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// Reads the CPU time of the process `pid`.
pub(super) fn of_process(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let (user, system) = parse(&text).with_context(|| format!("{path} reads strangely"))?;
    Ok(in_time(user + system))
}

/// Reads the CPU time of a process and its children, those that have ended included.
pub(super) fn of_family(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let fields = fields(&text).with_context(|| format!("{path} reads strangely"))?;
    let mut sum = in_time(
        fields[11..15]
            .iter()
            .filter_map(|field| field.parse::<u64>().ok())
            .sum(),
    );
    for child in children(pid)? {
        // A backend that ended meanwhile is counted by its parent.
        sum += of_family(child).unwrap_or_default();
    }
    Ok(sum)
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(text
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

/// The fields from the state on; the name before them may have spaces and brackets of its own.
fn fields(stat: &str) -> Option<Vec<&str>> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    (fields.len() > 15).then_some(fields)
}

/// `utime` and `stime`, fields 14 and 15 of proc(5).
fn parse(stat: &str) -> Option<(u64, u64)> {
    let fields = fields(stat)?;
    Some((fields[11].parse().ok()?, fields[12].parse().ok()?))
}

fn in_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 3 4 20 0 5 0 100 0 0";
        assert_eq!(parse(stat), Some((25, 17)));
        assert_eq!(parse("7 (a) S 1"), None);
        assert_eq!(in_time(42), Duration::from_millis(420));
    }

    #[test]
    fn our_own_time_can_be_read() {
        assert!(of_process(std::process::id()).is_ok());
        assert!(of_family(std::process::id()).is_ok());
    }
}
