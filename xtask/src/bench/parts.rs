//! What single parts cost, measured in this process: the memory of a live token, a limiter's check, a
//! call put to the friction registry, the check of a JWT.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mcp_authflow::SlidingWindowRateLimiter;
use mcp_authflow::memory::MemoryStore;
use mcp_authflow::port::store::{AddClient, ClientStore, IssueAccessToken, TokenStore};
use mcp_authflow::record::AccessTokenRecord;
use mcp_authflow_testkit::contract::sample;
use mcp_authflow_types::{AccessToken, Timestamp};

use super::table::median;
use super::{friction, jwt};

/// How many live tokens the store holds when its memory is measured.
const TOKENS: u32 = 1_000_000;
/// The lifetimes of tokens spread over as many buckets as ten minutes ever touch.
const LIFETIME: Duration = Duration::from_secs(600);

/// What holding a million live access tokens takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenMemory {
    /// Bytes of the process's resident memory for each token.
    pub(super) bytes: f64,
    /// The longest that storing one took.
    pub(super) longest_insert: Duration,
    /// The median of storing one.
    pub(super) median_insert: Duration,
}

/// Measures every part; the tables for a document.
pub(super) fn measure(runtime: &tokio::runtime::Runtime) -> Result<String> {
    let memory = runtime.block_on(token_memory())?;
    let mut limiter = String::new();
    for tries in LIMITS {
        let cost = runtime.block_on(limiter_check(tries))?;
        let (admitted, refused) = (cost.admitted.as_nanos(), cost.refused.as_nanos());
        writeln!(limiter, "| {tries} | {admitted} | {refused} |")?;
    }
    Ok(format!(
        "\nMemory: {TOKENS} live access tokens in the memory store take {:.0} bytes each (resident memory of the process); \
         storing one took {:.2} µs in the middle and {:.2} ms at most.\n\n\
         A check of the sliding-window limiter in memory, the window full:\n\n\
         | tries a window | ns, admitted | ns, refused |\n|---:|---:|---:|\n{limiter}{}{}",
        memory.bytes,
        memory.median_insert.as_secs_f64() * 1e6,
        memory.longest_insert.as_secs_f64() * 1e3,
        friction::measure()?,
        runtime.block_on(jwt::measure())?,
    ))
}

/// The limits whose checks are compared: the cost must not grow with the limit.
const LIMITS: [u32; 3] = [10, 10_000, 100_000];
const CHECKS: u32 = 200_000;

/// What a check of the limiter takes.
struct LimiterCheck {
    /// One try leaves the window, one enters.
    admitted: Duration,
    /// The window is full.
    refused: Duration,
}

/// Checks a key whose window is full, while time passes so that each check is admitted, and while it stands still.
async fn limiter_check(tries: u32) -> Result<LimiterCheck> {
    const WINDOW: Duration = Duration::from_secs(60);
    let now = Arc::new(AtomicU64::new(0));
    let shown = now.clone();
    let stopwatch = Arc::new(move || Duration::from_nanos(shown.load(Ordering::Relaxed)));
    let limiter = SlidingWindowRateLimiter::in_memory("bench", tries, WINDOW, stopwatch)?;
    let step = u64::try_from(WINDOW.as_nanos())? / u64::from(tries) + 1;
    let pass = async |checks: u32, step: u64| {
        let mut admitted = 0_u32;
        let start = Instant::now();
        for _ in 0..checks {
            now.fetch_add(step, Ordering::Relaxed);
            admitted += u32::from(limiter.is_allowed("198.51.100.7").await);
        }
        (start.elapsed() / checks, admitted)
    };
    pass(tries, step).await;
    let (admitted, count) = pass(CHECKS, step).await;
    ensure!(count == CHECKS, "{} checks were refused", CHECKS - count);
    let (refused, count) = pass(CHECKS, 0).await;
    ensure!(count <= 1, "{count} checks too many were admitted");
    Ok(LimiterCheck { admitted, refused })
}

/// Fills a memory store with live access tokens of one machine client.
pub(super) async fn token_memory() -> Result<TokenMemory> {
    let store = Arc::new(MemoryStore::new());
    let client = sample::client();
    ensure!(
        store.add_client(&client).await? == AddClient::Added,
        "the sample client is taken"
    );
    let now = sample::now();
    let mut latencies = Vec::with_capacity(TOKENS as usize);
    let template = sample::own_access_token(&client, &sample::resource());
    let before = resident_bytes()?;
    for number in 0..TOKENS {
        let record = record(&template, number, now);
        let asked = Instant::now();
        let issued = store.issue_access_token(&record, now).await?;
        latencies.push(asked.elapsed().as_secs_f64());
        ensure!(issued == IssueAccessToken::Issued, "a token was not stored");
    }
    let after = resident_bytes()?;
    let longest = latencies.iter().copied().fold(0.0, f64::max);
    let bytes = after.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let bytes = bytes as f64 / f64::from(TOKENS);
    drop(store);
    Ok(TokenMemory {
        bytes,
        longest_insert: Duration::from_secs_f64(longest),
        median_insert: Duration::from_secs_f64(median(latencies).unwrap_or_default()),
    })
}

fn record(template: &AccessTokenRecord, number: u32, now: Timestamp) -> AccessTokenRecord {
    let mut random = [0; 32];
    random[..4].copy_from_slice(&number.to_be_bytes());
    let expires_at = now + LIFETIME;
    let token = AccessToken::mint(&random, expires_at);
    AccessTokenRecord {
        hash: token.hash(),
        bucket: token.bucket(),
        issued_at: now,
        expires_at,
        ..template.clone()
    }
}

/// The memory of this process that is in use, from `/proc/self/statm`.
fn resident_bytes() -> Result<u64> {
    const PAGE: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").context("cannot read /proc/self/statm")?;
    let pages = text
        .split_whitespace()
        .nth(1)
        .context("/proc/self/statm reads strangely")?;
    Ok(pages.parse::<u64>()? * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_alike() {
        let client = sample::client();
        let template = sample::own_access_token(&client, &sample::resource());
        let (one, other) = (
            record(&template, 1, sample::now()),
            record(&template, 2, sample::now()),
        );
        assert_ne!(one.hash, other.hash);
        assert!(resident_bytes().unwrap() > 0);
    }
}
