//! How many tests passed and failed, read from what the runners print.

use std::ops::AddAssign;

/// Counted tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    /// One test that passed or failed.
    pub(crate) fn one(has_passed: bool) -> Self {
        Self {
            passed: usize::from(has_passed),
            failed: usize::from(!has_passed),
        }
    }

    /// Adds up the `test result:` lines of `cargo test`.
    pub(crate) fn of_cargo_test(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines() {
            if let Some((_, result)) = plain(line).split_once("test result:") {
                sum += Self {
                    passed: number_before(result, "passed"),
                    failed: number_before(result, "failed"),
                };
            }
        }
        sum
    }

    /// Reads the last `Summary` line of nextest. What timed out or could not start has failed.
    pub(crate) fn of_nextest(output: &str) -> Self {
        let mut lines = output.lines().map(plain);
        let Some(line) = lines.rfind(|line| line.trim_start().starts_with("Summary")) else {
            return Self::default();
        };
        let failed = ["failed", "timed out", "exec failed"];
        Self {
            passed: number_before(&line, "passed"),
            failed: failed.iter().map(|word| number_before(&line, word)).sum(),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// The number in `… 12 WORD …`, else 0.
fn number_before(line: &str, word: &str) -> usize {
    line.split([',', ';', ':', '(', '.'])
        .find_map(|part| part.trim().strip_suffix(word)?.trim_end().parse().ok())
        .unwrap_or(0)
}

/// The line without the escape sequences that colour it.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            for parameter in characters.by_ref() {
                if parameter.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_every_test_binary_are_added() {
        let output = "\
running 2 tests
test result: ok. 9 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.10s
";
        assert_eq!(
            Tally::of_cargo_test(output),
            Tally {
                passed: 12,
                failed: 2
            }
        );
    }

    #[test]
    fn a_test_that_timed_out_has_failed() {
        let output =
            "     Summary [   0.123s] 10 tests run: 7 passed (1 slow), 2 failed, 1 timed out, 4 skipped";
        assert_eq!(Tally::of_nextest(output), Tally { passed: 7, failed: 3 });
        let failed_to_start = "Summary [ 1.0s] 3 tests run: 2 passed, 1 exec failed, 0 skipped";
        assert_eq!(Tally::of_nextest(failed_to_start), Tally { passed: 2, failed: 1 });
    }

    #[test]
    fn colours_change_no_count() {
        let output = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped";
        assert_eq!(Tally::of_nextest(output), Tally { passed: 2, failed: 0 });
    }

    #[test]
    fn a_run_that_never_came_to_a_summary_counts_nothing() {
        assert_eq!(
            Tally::of_nextest("error: could not compile `x`"),
            Tally::default()
        );
    }
}
