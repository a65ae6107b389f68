//! The table at the end: one row a judge and store.

use std::fmt;

use crate::tally::Tally;

/// What one judge said.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) judge: String,
    pub(super) store: &'static str,
    /// How the person signed in.
    pub(super) way: &'static str,
    pub(super) has_passed: bool,
    pub(super) seconds: f64,
}

/// What all of them said.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for row in &self.rows {
            tally += Tally::one(row.has_passed);
        }
        tally
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .rows
            .iter()
            .map(|row| row.judge.len())
            .max()
            .unwrap_or(0)
            .max("judge".len());
        writeln!(
            out,
            "{:width$}  {:8}  {:10}  {:6}  {:>7}",
            "judge", "store", "signed in", "result", "seconds"
        )?;
        for Row {
            judge,
            store,
            way,
            has_passed,
            seconds,
        } in &self.rows
        {
            let result = if *has_passed { "passed" } else { "FAILED" };
            writeln!(
                out,
                "{judge:width$}  {store:8}  {way:10}  {result:6}  {seconds:>7.1}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_judge_stands_in_the_table_and_in_the_count() {
        let mut table = Table::default();
        for (judge, has_passed) in [("conformance", true), ("rmcp 3.11", false)] {
            table.push(Row {
                judge: judge.to_owned(),
                store: "sqlite",
                way: "forms",
                has_passed,
                seconds: 1.25,
            });
        }
        let text = table.to_string();
        assert!(
            text.contains("rmcp 3.11    sqlite    forms       FAILED      1.2\n"),
            "{text}"
        );
        assert_eq!(table.tally(), Tally { passed: 1, failed: 1 });
    }
}
