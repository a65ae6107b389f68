//! What a case found: how many inputs, and everything that was not as it must be.

use std::time::Duration;

/// The findings of one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) inputs: usize,
    pub(crate) faults: Vec<String>,
}

impl Judgement {
    /// Counts an input.
    pub(crate) fn input(&mut self) {
        self.inputs += 1;
    }

    /// Notes a fault unless `is_so`.
    pub(crate) fn demand(&mut self, is_so: bool, otherwise: impl FnOnce() -> String) {
        if !is_so {
            self.faults.push(otherwise());
        }
    }

    /// Takes over what another found.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.faults.extend(other.faults);
    }
}

/// A case that ran.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) inputs: usize,
    pub(crate) seconds: f64,
    pub(crate) faults: Vec<String>,
}

impl Line {
    pub(crate) fn new(id: &str, judgement: Judgement, took: Duration) -> Self {
        Self {
            id: id.to_owned(),
            inputs: judgement.inputs,
            seconds: took.as_secs_f64(),
            faults: judgement.faults,
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = if self.faults.is_empty() {
            "passed"
        } else {
            "FAILED"
        };
        write!(
            out,
            "{:6} {word} {:4} inputs {:6.1} s",
            self.id, self.inputs, self.seconds
        )?;
        for fault in &self.faults {
            write!(out, "\n       {fault}")?;
        }
        Ok(())
    }
}
