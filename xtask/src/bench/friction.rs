//! What a call costs that is put to the friction registry: with windows and numbers of tools of several sizes.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mcp_authflow_resource::friction::{ControllerConfig, FrictionRegistry, ToolFrictionConfig};

use super::table::median;

/// Window size and number of configured tools. The cost is not to grow with the window.
const SIZES: [(u32, usize); 4] = [(100, 1), (100_000, 1), (100, 10), (100, 100)];
const CALLS: u32 = 100_000;
/// The clients that take turns.
const CLIENTS: usize = 100;

/// Measures; a table for a document.
pub(super) fn measure() -> Result<String> {
    let mut rows = String::new();
    for (window_size, tools) in SIZES {
        let cost = Cost::measure(window_size, tools)?;
        writeln!(
            rows,
            "| {window_size} | {tools} | {} | {} |",
            cost.allowed.as_nanos(),
            cost.refused.as_nanos()
        )?;
    }
    Ok(format!(
        "\nA call put to the friction registry, {CLIENTS} clients in turn, their windows full:\n\n\
         | calls in the window | tools | ns, allowed and counted | ns, refused |\n|---:|---:|---:|---:|\n{rows}"
    ))
}

/// The median of one call.
struct Cost {
    allowed: Duration,
    refused: Duration,
}

impl Cost {
    fn measure(window_size: u32, tools: usize) -> Result<Self> {
        let now = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&now);
        let allowed_always = ToolFrictionConfig {
            target_rate: 1.0,
            ..ToolFrictionConfig::default()
        };
        let off = ToolFrictionConfig {
            hard_block_threshold: 0.0,
            ..ToolFrictionConfig::default()
        };
        let registry = FrictionRegistry::builder()
            .config(ControllerConfig {
                window_size,
                ..ControllerConfig::default()
            })
            .tools((1..tools).map(|number| (format!("tool {number}"), allowed_always.clone())))
            .tool("tool 0", allowed_always.clone())
            .tool("off", off)
            .clock(move || Duration::from_millis(clock.load(Ordering::Relaxed)))
            .build()?;
        let keys: Vec<String> = (0..CLIENTS).map(|number| format!("client {number}")).collect();
        // One window of the large size is as good as a hundred.
        let filled = if window_size > 1_000 {
            &keys[..1]
        } else {
            &keys[..]
        };
        for key in filled {
            for _ in 0..window_size {
                registry.record_unconfigured(key, "tool 0");
            }
        }
        let time = |tool: &str| -> Result<Duration> {
            let mut taken = Vec::new();
            // In portions: a clock is read in as much time as a call takes.
            for _ in 0..CALLS / 100 {
                now.fetch_add(1, Ordering::Relaxed);
                let begun = Instant::now();
                let mut refused = 0_u32;
                for key in filled.iter().cycle().take(100) {
                    refused += u32::from(!registry.check_and_record(key, tool).allowed);
                }
                taken.push(begun.elapsed().as_secs_f64() / 100.0);
                ensure!(
                    refused == if tool == "off" { 100 } else { 0 },
                    "another answer than expected"
                );
            }
            median(taken)
                .map(Duration::from_secs_f64)
                .context("nothing was measured")
        };
        Ok(Self {
            allowed: time("tool 0")?,
            refused: time("off")?,
        })
    }
}
