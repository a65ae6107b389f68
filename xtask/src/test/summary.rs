//! The table at the end: each layer, its result, its seconds, and the closing count.

use std::fmt;

use crate::tally::Tally;

/// How a layer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ran to its end.
    Ran(Tally),
    /// It could not run or count; that is one failure.
    Broken,
    /// A flag left it out.
    LeftOut(&'static str),
}

impl Outcome {
    fn tally(self) -> Tally {
        match self {
            Self::Ran(tally) => tally,
            Self::Broken => Tally { passed: 0, failed: 1 },
            Self::LeftOut(_) => Tally::default(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            // A layer that ran no test at all proves nothing.
            Self::Ran(tally) if tally == Tally::default() => "ran no test",
            Self::Ran(Tally { failed: 0, .. }) => "passed",
            Self::Ran(_) | Self::Broken => "FAILED",
            Self::LeftOut(reason) => reason,
        }
    }
}

/// One layer's line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) seconds: f64,
}

/// All lines so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    lines: Vec<Line>,
}

impl Summary {
    pub(super) fn push(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub(super) fn total(&self) -> Tally {
        let mut total = Tally::default();
        for line in &self.lines {
            total += line.outcome.tally();
        }
        total
    }

    /// Whether something ran and nothing failed.
    pub(super) fn has_passed(&self) -> bool {
        let total = self.total();
        total.passed > 0 && total.failed == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result_width = self
            .lines
            .iter()
            .map(|line| line.outcome.word().len())
            .max()
            .unwrap_or(0)
            .max("result".len());
        let name_width = self
            .lines
            .iter()
            .map(|line| line.name.len())
            .max()
            .unwrap_or(0)
            .max("layer".len());
        writeln!(
            out,
            "{:name_width$}  {:result_width$}  {:>6}  {:>6}  {:>7}",
            "layer", "result", "passed", "failed", "seconds"
        )?;
        for Line {
            name,
            outcome,
            seconds,
        } in &self.lines
        {
            let Tally { passed, failed } = outcome.tally();
            let word = outcome.word();
            writeln!(
                out,
                "{name:name_width$}  {word:result_width$}  {passed:>6}  {failed:>6}  {seconds:>7.1}"
            )?;
        }
        // CI reads the last line, so nothing follows it.
        write!(out, "{}", self.total())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, outcome: Outcome) -> Line {
        Line {
            name: name.to_owned(),
            outcome,
            seconds: 1.25,
        }
    }

    #[test]
    fn the_last_line_counts_every_layer_and_a_broken_one_is_a_failure() {
        let mut summary = Summary::default();
        summary.push(line(
            "unit",
            Outcome::Ran(Tally {
                passed: 12,
                failed: 0,
            }),
        ));
        summary.push(line("doc", Outcome::LeftOut("left out by --without")));
        assert!(summary.has_passed());
        summary.push(line("judges", Outcome::Broken));
        let text = summary.to_string();
        assert_eq!(text.lines().last(), Some("12 passed, 1 failed"));
        assert!(text.contains("left out by --without"), "{text}");
        assert!(!summary.has_passed());
    }

    #[test]
    fn a_run_without_any_test_has_not_passed() {
        let mut summary = Summary::default();
        summary.push(line("unit", Outcome::Ran(Tally::default())));
        assert!(!summary.has_passed());
    }
}
