//! The last so many calls of a client, and which share of them went to which tool.
//!
//! Counted by calls and not by time. Every question but [`rates`](SlidingWindow::rates) is answered without walking
//! the window.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::settings::{InvalidFriction, validate_window_size};

/// A tool's name is counted by its first so many bytes: anybody can name a tool that does not exist, and what they
/// write is kept for as long as the window. MCP tools have names of at most 128 characters.
const MAX_NAME_BYTES: usize = 512;

/// One call in the window.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCallRecord {
    /// Which tool was called.
    pub tool_name: Arc<str>,
    /// What it cost.
    pub cost: f64,
}

/// The last calls of a client.
///
/// ```
/// use mcp_authflow_resource::friction::SlidingWindow;
///
/// let mut window = SlidingWindow::new(4)?;
/// for tool in ["read", "read", "read", "delete", "delete"] {
///     window.record(tool, 0.5);
/// }
/// // The first of the five has left.
/// assert_eq!(window.rate("delete"), 0.5);
/// assert_eq!(window.total_cost(), 2.0);
/// # Ok::<(), mcp_authflow_resource::friction::InvalidFriction>(())
/// ```
#[derive(Clone, Debug)]
pub struct SlidingWindow {
    max_calls: u32,
    calls: VecDeque<ToolCallRecord>,
    counts: HashMap<Arc<str>, u32>,
    total: u32,
    cost: f64,
    /// Calls since the costs were last added up afresh.
    since_added_up: u32,
}

impl SlidingWindow {
    /// An empty window over `max_calls` calls, 1 to [`MAX_WINDOW_SIZE`](super::settings::MAX_WINDOW_SIZE).
    ///
    /// # Errors
    /// [`InvalidFriction`] for any other number.
    pub fn new(max_calls: u32) -> Result<Self, InvalidFriction> {
        validate_window_size(max_calls)?;
        Ok(Self::of_valid_size(max_calls))
    }

    pub(super) fn of_valid_size(max_calls: u32) -> Self {
        Self {
            max_calls,
            calls: VecDeque::new(),
            counts: HashMap::new(),
            total: 0,
            cost: 0.0,
            since_added_up: 0,
        }
    }

    /// Takes a call in; when the window is full, the oldest one leaves.
    pub fn record(&mut self, tool: &str, cost: f64) {
        if self.is_full() {
            self.forget_oldest();
        }
        let tool = counted(tool);
        let tool_name = match self.counts.get_key_value(tool) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(tool),
        };
        *self.counts.entry(Arc::clone(&tool_name)).or_default() += 1;
        self.calls.push_back(ToolCallRecord { tool_name, cost });
        self.total += 1;
        self.cost += cost;
        // Sums that only go up and down drift apart from what is in the window: once a round they are made anew.
        self.since_added_up += 1;
        if self.since_added_up >= self.max_calls {
            self.since_added_up = 0;
            self.cost = self.calls.iter().map(|call| call.cost).sum();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.calls.pop_front() else {
            return;
        };
        self.total -= 1;
        self.cost -= oldest.cost;
        if let Some(count) = self.counts.get_mut(&oldest.tool_name) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest.tool_name);
            }
        }
    }

    /// How many of the calls went to `tool`.
    pub fn count(&self, tool: &str) -> u32 {
        self.counts.get(counted(tool)).copied().unwrap_or_default()
    }

    /// Which share of the calls went to `tool`: 0 to 1, and 0 while there is none.
    pub fn rate(&self, tool: &str) -> f64 {
        self.share(self.count(tool))
    }

    /// The shares of all tools in the window.
    pub fn rates(&self) -> BTreeMap<Arc<str>, f64> {
        let rate = |(tool, count): (&Arc<str>, &u32)| (Arc::clone(tool), self.share(*count));
        self.counts.iter().map(rate).collect()
    }

    fn share(&self, count: u32) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        f64::from(count) / f64::from(self.total)
    }

    /// How many calls are in the window.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Whether the next call makes the oldest one leave.
    pub fn is_full(&self) -> bool {
        self.total >= self.max_calls
    }

    /// What all calls in the window cost together.
    pub fn total_cost(&self) -> f64 {
        self.cost
    }

    /// The calls, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &ToolCallRecord> {
        self.calls.iter()
    }
}

/// The part of the name that counts.
fn counted(tool: &str) -> &str {
    if tool.len() <= MAX_NAME_BYTES {
        return tool;
    }
    let mut end = MAX_NAME_BYTES;
    while !tool.is_char_boundary(end) {
        end -= 1;
    }
    &tool[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    /// S-261
    #[test]
    fn an_empty_window_has_no_rates() {
        let window = SlidingWindow::new(3).unwrap();
        assert_eq!(
            (window.rate("a"), window.total(), window.is_full()),
            (0.0, 0, false)
        );
        assert!(window.rates().is_empty());
        assert!(window.total_cost().abs() < f64::EPSILON);
    }

    /// S-260
    #[test]
    fn a_window_over_no_call_cannot_be_made() {
        assert!(SlidingWindow::new(0).is_err());
    }

    #[test]
    fn a_long_name_is_kept_short() {
        let mut window = SlidingWindow::new(3).unwrap();
        let long = "é".repeat(10_000);
        window.record(&long, 0.0);
        assert_eq!(window.count(&long), 1);
        assert!(
            window
                .records()
                .all(|call| call.tool_name.len() <= MAX_NAME_BYTES)
        );
    }

    proptest! {
        /// S-261: whatever has been called, the answers are those of a walk over the last calls.
        #[test]
        fn the_answers_are_those_of_a_walk(
            size in 1_u32..20,
            calls in prop::collection::vec((0_u8..4, 0.0_f64..20.0), 0..200),
        ) {
            let mut window = SlidingWindow::new(size).unwrap();
            let name = |tool: u8| char::from(b'a' + tool).to_string();
            for (tool, cost) in &calls {
                window.record(&name(*tool), *cost);
            }
            let kept = &calls[calls.len().saturating_sub(size as usize)..];
            prop_assert_eq!(window.total() as usize, kept.len());
            prop_assert_eq!(window.is_full(), kept.len() == size as usize);
            let cost: f64 = kept.iter().map(|(_, cost)| cost).sum();
            prop_assert!((window.total_cost() - cost).abs() < 1e-9);
            for tool in 0..4 {
                let count = kept.iter().filter(|(kept, _)| *kept == tool).count();
                prop_assert_eq!(window.count(&name(tool)) as usize, count);
            }
            let rates: f64 = window.rates().values().sum();
            prop_assert!(kept.is_empty() || (rates - 1.0).abs() < 1e-9);
        }
    }
}
