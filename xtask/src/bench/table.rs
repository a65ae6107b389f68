//! Measurements as medians and ratios, and as Markdown.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::contestant::Kind;
use super::load::Outcome;
use super::operation::Operation;

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// One server, one operation, one concurrency, in one round.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub(super) round: usize,
    pub(super) kind: Kind,
    pub(super) operation: Operation,
    pub(super) concurrency: usize,
    pub(super) server_cpu: Duration,
    pub(super) database_cpu: Duration,
    /// What SQLite by itself did before and after, in rows a second.
    pub(super) raw_rate: Option<f64>,
    pub(super) result: Outcome,
}

impl Measurement {
    fn server_us(&self) -> f64 {
        per_request_us(self.server_cpu, self.result.count)
    }

    fn database_us(&self) -> f64 {
        per_request_us(self.database_cpu, self.result.count)
    }

    /// One line for the person who waits.
    pub(super) fn line(&self) -> String {
        format!(
            "{:22} x{:<2}  {:6.1} us CPU{}  p50 {:6} us  p99 {:6} us  {:6.0}/s  ({} requests)",
            self.operation.title(),
            self.concurrency,
            self.server_us(),
            match (self.database_cpu.is_zero(), self.raw_rate) {
                (false, _) => format!(" + {:.1} database", self.database_us()),
                (true, Some(raw)) => format!(" (SQLite by itself: {raw:.0} rows/s)"),
                (true, None) => String::new(),
            },
            self.result.percentile(50).as_micros(),
            self.result.percentile(99).as_micros(),
            self.result.rate(),
            self.result.count,
        )
    }
}

fn per_request_us(cpu: Duration, count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
    let count = count.max(1) as f64;
    cpu.as_secs_f64() * 1e6 / count
}

/// All measurements of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    measurements: Vec<Measurement>,
}

impl Table {
    pub(super) fn push(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }

    /// The tables for a document, the many-connections one first.
    pub(super) fn markdown(&self) -> String {
        let rounds = self.measurements.iter().map(|one| one.round).max().unwrap_or(0);
        let mut text = format!("Medians of {rounds} rounds; {}.\n", super::circumstances());
        for concurrency in super::CONCURRENCY.iter().rev() {
            let heading = if *concurrency == 1 {
                "1 connection"
            } else {
                &format!("{concurrency} connections")
            };
            text.extend(["\n**", heading, "**\n\n"]);
            text +=
                "| | server | CPU µs a request | + database | × bare axum | p50 µs | p99 µs | requests/s |\n";
            text += "|---|---|---:|---:|---:|---:|---:|---:|\n";
            for operation in Operation::ALL {
                for kind in Kind::ALL {
                    text += &self.row(*operation, *kind, *concurrency).unwrap_or_default();
                }
            }
        }
        text.push_str(&self.raw_line().unwrap_or_default());
        text
    }

    fn row(&self, operation: Operation, kind: Kind, concurrency: usize) -> Option<String> {
        let own = self.select(operation, kind, concurrency);
        let median_of =
            |value: &dyn Fn(&Measurement) -> f64| median(own.iter().map(|one| value(one)).collect());
        let cpu = median_of(&Measurement::server_us)?;
        let database = median_of(&Measurement::database_us)?;
        let micros =
            |percent| median_of(&move |one: &Measurement| one.result.percentile(percent).as_secs_f64() * 1e6);
        Some(format!(
            "| {} | {} | {cpu:.1} | {} | {} | {:.0} | {:.0} | {:.0} |\n",
            operation.title(),
            kind.title(),
            if database > 0.0 {
                format!("{database:.1}")
            } else {
                String::new()
            },
            self.ratio(operation, kind, concurrency)
                .map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            micros(50)?,
            micros(99)?,
            median_of(&|one| one.result.rate())?,
        ))
    }

    /// The median of the ratios taken within each round.
    fn ratio(&self, operation: Operation, kind: Kind, concurrency: usize) -> Option<f64> {
        if kind == Kind::BareAxum {
            return None;
        }
        let bare = self.select(operation, Kind::BareAxum, concurrency);
        let own = self.select(operation, kind, concurrency);
        let ratios = own.iter().filter_map(|one| {
            let bare = bare.iter().find(|bare| bare.round == one.round)?.server_us();
            (bare > 0.0).then(|| one.server_us() / bare)
        });
        median(ratios.collect())
    }

    /// Rotations beside what SQLite by itself does, the ratio taken within each round.
    fn raw_line(&self) -> Option<String> {
        let rotations = self.select(Operation::Rotate, Kind::Sqlite, super::MOST_CONNECTIONS);
        let median_of = |value: &dyn Fn(&Measurement) -> Option<f64>| {
            median(rotations.iter().filter_map(|one| value(one)).collect())
        };
        let raw = median_of(&|one| one.raw_rate)?;
        let ratio = median_of(&|one| one.raw_rate.map(|raw| one.result.rate() / raw))?;
        Some(format!(
            "\nSQLite by itself makes {raw:.0} rows a second durable in commits of {} rows, in the same \
             folder right before and after; rotations a second are {ratio:.2} of that. A rotation changes \
             three rows: the old token is marked as spent, a refresh token and an access token are added.\n",
            super::raw_commits::ROWS,
        ))
    }

    fn select(&self, operation: Operation, kind: Kind, concurrency: usize) -> Vec<&Measurement> {
        self.measurements
            .iter()
            .filter(|one| (one.operation, one.kind, one.concurrency) == (operation, kind, concurrency))
            .collect()
    }
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

/// Replaces what stands between the markers in `file`.
pub(super) fn write_between_markers(file: &Path, text: &str) -> Result<()> {
    let old = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let new = replace_between_markers(&old, text)
        .with_context(|| format!("{} has no `{BEGIN}` and `{END}`", file.display()))?;
    std::fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))
}

fn replace_between_markers(old: &str, text: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(round: usize, kind: Kind, cpu_us: u64) -> Measurement {
        Measurement {
            round,
            kind,
            operation: Operation::Introspect,
            concurrency: 32,
            server_cpu: Duration::from_micros(cpu_us * 1000),
            database_cpu: Duration::ZERO,
            raw_rate: None,
            result: Outcome {
                count: 1000,
                took: Duration::from_secs(1),
                ..Outcome::default()
            },
        }
    }

    #[test]
    fn the_ratio_is_taken_within_each_round() {
        let mut table = Table::default();
        // The machine was twice as slow in the second round.
        for (round, bare, ours) in [(1, 10, 12), (2, 20, 24), (3, 10, 13)] {
            table.push(measured(round, Kind::BareAxum, bare));
            table.push(measured(round, Kind::Memory, ours));
        }
        let ratio = table.ratio(Operation::Introspect, Kind::Memory, 32).unwrap();
        assert!((ratio - 1.2).abs() < 1e-9, "{ratio}");
        let row = table.row(Operation::Introspect, Kind::Memory, 32).unwrap();
        assert!(
            row.starts_with("| introspect, hot token | authflow, memory | 13.0 |  | 1.20 |"),
            "{row}"
        );
        assert_eq!(table.row(Operation::Rotate, Kind::Memory, 32), None);
    }

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let old = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let new = replace_between_markers(&old, "new\n").unwrap();
        assert_eq!(new, format!("above\n{BEGIN}\nnew\n{END}\nbelow\n"));
        assert_eq!(replace_between_markers("no markers", "new"), None);
    }
}
