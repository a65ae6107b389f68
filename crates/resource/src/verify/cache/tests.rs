//! What the memory in front of a verifier promises, on clocks that the test moves.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use tokio::sync::Semaphore;

use super::*;
use crate::verify::CannotCheck;

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const DEAD: VerifyError = VerifyError::Inactive;
const NOBODY_KNOWS: VerifyError = VerifyError::CannotCheck(CannotCheck::Refused);

/// Both clocks, moved by the test: milliseconds since the start.
#[derive(Clone, Default)]
struct Time {
    wall: Arc<AtomicU64>,
    monotonic: Arc<AtomicU64>,
}

impl Time {
    fn pass(&self, milliseconds: u64) {
        self.wall.fetch_add(milliseconds, SeqCst);
        self.monotonic.fetch_add(milliseconds, SeqCst);
    }

    fn wall(&self) -> Timestamp {
        START + Duration::from_secs(self.wall.load(SeqCst) / 1_000)
    }
}

/// An authorization server: says the same of every token, counts, and answers when it is let.
struct Authority {
    says: Mutex<Result<VerifiedToken, VerifyError>>,
    asked: AtomicUsize,
    turns: Semaphore,
    /// How long a question takes, in milliseconds.
    takes: AtomicU64,
    panics: AtomicBool,
    time: Time,
}

impl Authority {
    fn say(&self, answer: Result<VerifiedToken, VerifyError>) {
        *self.says.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    /// From now on answers only when it is let.
    fn hold(&self) {
        self.turns.forget_permits(usize::MAX);
    }

    fn let_answer(&self, times: usize) {
        self.turns.add_permits(times);
    }
}

#[async_trait::async_trait]
impl TokenVerifier for Authority {
    async fn verify(&self, _: &str) -> Result<VerifiedToken, VerifyError> {
        self.asked.fetch_add(1, SeqCst);
        assert!(!self.panics.load(SeqCst), "the verifier panics");
        self.turns.acquire().await.unwrap().forget();
        self.time.pass(self.takes.load(SeqCst));
        self.says.lock().unwrap().clone()
    }
}

type Verifier = Cached<Arc<Authority>>;

fn cached(caching: Caching) -> (Verifier, Arc<Authority>, Time) {
    let time = Time::default();
    let authority = Arc::new(Authority {
        says: Mutex::new(Ok(good())),
        asked: AtomicUsize::new(0),
        turns: Semaphore::new(Semaphore::MAX_PERMITS),
        takes: AtomicU64::new(0),
        panics: AtomicBool::new(false),
        time: time.clone(),
    });
    let (wall, monotonic) = (time.clone(), time.clone());
    let verifier = Cached::new(Arc::clone(&authority), caching).unwrap().with_clocks(
        move || wall.wall(),
        move || Duration::from_millis(monotonic.monotonic.load(SeqCst)),
    );
    (verifier, authority, time)
}

fn for_ten_seconds() -> (Verifier, Arc<Authority>, Time) {
    cached(Caching::for_at_most(Duration::from_secs(10)))
}

fn good() -> VerifiedToken {
    VerifiedToken {
        subject: Some("u1".to_owned()),
        ..VerifiedToken::default()
    }
}

fn good_until(seconds: u64) -> VerifiedToken {
    VerifiedToken {
        expires_at: Some(START + Duration::from_secs(seconds)),
        ..good()
    }
}

/// Goes as far as it can without anybody else.
fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// S-240, S-241, S-242, S-245
#[tokio::test]
async fn a_good_token_is_asked_about_once_while_it_is_fresh() {
    let (verifier, authority, time) = for_ten_seconds();
    for (passes, asked) in [(0, 1), (0, 1), (9_999, 1), (1, 2), (9_999, 2), (60_000, 3)] {
        time.pass(passes);
        assert_eq!(verifier.verify("t").await, Ok(good()));
        assert_eq!(authority.asked(), asked);
    }
    assert_eq!(verifier.verify("other").await, Ok(good()));
    assert_eq!((authority.asked(), verifier.len()), (4, 2));
}

/// P8: the answer may be as old as the question.
#[tokio::test]
async fn the_time_counts_from_when_the_question_was_sent() {
    let (verifier, authority, time) = for_ten_seconds();
    authority.takes.store(4_000, SeqCst);
    verifier.verify("t").await.unwrap();
    time.pass(5_999);
    verifier.verify("t").await.unwrap();
    assert_eq!(authority.asked(), 1);
    time.pass(1);
    authority.takes.store(10_000, SeqCst);
    verifier.verify("t").await.unwrap();
    assert_eq!((authority.asked(), verifier.len()), (2, 0));
}

/// S-242, S-248
#[tokio::test]
async fn no_token_is_kept_beyond_its_expiry() {
    let (verifier, authority, time) = for_ten_seconds();
    authority.say(Ok(good_until(4)));
    verifier.verify("t").await.unwrap();
    time.pass(3_999);
    verifier.verify("t").await.unwrap();
    assert_eq!(authority.asked(), 1);
    time.pass(1);
    verifier.verify("t").await.unwrap();
    verifier.verify("t").await.unwrap();
    assert_eq!((authority.asked(), verifier.len()), (3, 0));
    // The clock of day jumps forward; the other one knows nothing of it.
    authority.say(Ok(good_until(3_600)));
    verifier.verify("t").await.unwrap();
    time.wall.store(3_600_000, SeqCst);
    verifier.verify("t").await.unwrap();
    assert_eq!(authority.asked(), 5);
}

/// S-243
#[tokio::test]
async fn the_least_recently_used_token_leaves_first() {
    let (verifier, authority, _) = cached(Caching::default().tokens(2));
    for (token, asked) in [
        ("a", 1),
        ("b", 2),
        ("a", 2),
        ("c", 3),
        ("a", 3),
        ("b", 4),
        ("c", 5),
    ] {
        verifier.verify(token).await.unwrap();
        assert_eq!(authority.asked(), asked, "{token}");
        assert!(verifier.len() <= 2);
    }
}

/// S-247, RP-17, P12: neither memory nor the good tokens give way to a flood.
#[tokio::test]
async fn a_flood_of_bad_tokens_is_bounded_and_leaves_the_good_ones_alone() {
    let (verifier, authority, _) = cached(Caching::default());
    for number in 0..1_000 {
        verifier.verify(&format!("good{number}")).await.unwrap();
    }
    authority.say(Err(DEAD));
    for number in 0..20_000 {
        assert_eq!(verifier.verify(&format!("bad{number}")).await, Err(DEAD));
    }
    let bad: usize = verifier.parts.iter().map(|part| lock(part).bad.len()).sum();
    assert!((4_096..=8_192).contains(&bad), "{bad}");
    assert!(verifier.parts.iter().all(|part| lock(part).flights.is_empty()));
    assert_eq!(authority.asked(), 21_000);
    for number in 0..1_000 {
        verifier.verify(&format!("good{number}")).await.unwrap();
    }
    assert_eq!(authority.asked(), 21_000);
    authority.say(Ok(good()));
    for number in 0..20_000 {
        verifier.verify(&format!("more{number}")).await.unwrap();
    }
    assert!((4_096..=8_192).contains(&verifier.len()), "{}", verifier.len());
}

/// S-244, S-247
#[tokio::test]
async fn a_no_takes_effect_at_once_and_is_kept_for_a_second() {
    let (verifier, authority, time) = for_ten_seconds();
    verifier.verify("t").await.unwrap();
    time.pass(10_000);
    authority.say(Err(DEAD));
    assert_eq!(verifier.verify("t").await, Err(DEAD));
    assert_eq!((authority.asked(), verifier.len()), (2, 0));
    authority.say(Ok(good()));
    time.pass(999);
    assert_eq!(verifier.verify("t").await, Err(DEAD));
    assert_eq!(authority.asked(), 2);
    time.pass(1);
    assert_eq!(verifier.verify("t").await, Ok(good()));
    assert_eq!(authority.asked(), 3);
}

#[tokio::test]
async fn a_no_is_not_kept_when_that_was_not_asked_for() {
    let caching = Caching::for_at_most(Duration::from_secs(10)).refusals_for(Duration::ZERO);
    let (verifier, authority, _) = cached(caching);
    authority.say(Err(DEAD));
    assert_eq!(verifier.verify("t").await, Err(DEAD));
    authority.say(Ok(good()));
    assert_eq!(verifier.verify("t").await, Ok(good()));
}

/// S-244, P9: and no old answer stands in for one that cannot be had.
#[tokio::test]
async fn what_nobody_could_say_is_not_kept() {
    let (verifier, authority, time) = for_ten_seconds();
    verifier.verify("t").await.unwrap();
    time.pass(10_000);
    authority.say(Err(NOBODY_KNOWS));
    for asked in [2, 3] {
        assert_eq!(verifier.verify("t").await, Err(NOBODY_KNOWS));
        assert_eq!(authority.asked(), asked);
    }
    authority.say(Ok(good()));
    assert_eq!(verifier.verify("t").await, Ok(good()));
}

/// RP-09: fresh entries serve while the authorization server is away.
#[tokio::test]
async fn a_fresh_answer_serves_through_an_outage() {
    let (verifier, authority, time) = for_ten_seconds();
    verifier.verify("t").await.unwrap();
    authority.say(Err(NOBODY_KNOWS));
    time.pass(9_999);
    assert_eq!(verifier.verify("t").await, Ok(good()));
    time.pass(1);
    assert_eq!(verifier.verify("t").await, Err(NOBODY_KNOWS));
}

#[tokio::test]
async fn a_token_that_is_forgotten_is_asked_about_again() {
    let (verifier, authority, _) = for_ten_seconds();
    verifier.verify("t").await.unwrap();
    verifier.forget("t");
    authority.say(Err(DEAD));
    assert_eq!(verifier.verify("t").await, Err(DEAD));
    verifier.forget("t");
    authority.say(Ok(good()));
    assert_eq!(verifier.verify("t").await, Ok(good()));
}

/// S-246
#[tokio::test]
async fn fifty_requests_at_once_ask_once() {
    let (verifier, authority, _) = for_ten_seconds();
    let verifier = Arc::new(verifier);
    for answer in [Err(NOBODY_KNOWS), Ok(good())] {
        let before = authority.asked();
        authority.hold();
        authority.say(answer.clone());
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let verifier = Arc::clone(&verifier);
                tokio::spawn(async move { verifier.verify("t").await })
            })
            .collect();
        // One thread: after this every caller has got as far as it can.
        tokio::task::yield_now().await;
        authority.let_answer(1);
        for caller in callers {
            assert_eq!(caller.await.unwrap(), answer);
        }
        assert_eq!(authority.asked(), before + 1);
    }
}

#[tokio::test]
async fn whoever_waits_is_not_stranded_when_the_one_who_asks_goes_away() {
    let (verifier, authority, _) = for_ten_seconds();
    authority.hold();
    let mut first = Box::pin(verifier.verify("t"));
    assert!(poll(first.as_mut()).is_pending());
    let mut second = pin!(verifier.verify("t"));
    let mut third = pin!(verifier.verify("t"));
    assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
    assert_eq!(authority.asked(), 1);
    drop(first);
    assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
    assert_eq!(authority.asked(), 2);
    authority.let_answer(1);
    assert_eq!(second.await, Ok(good()));
    assert_eq!(third.await, Ok(good()));
    assert_eq!(authority.asked(), 2);
}

#[tokio::test]
async fn a_verifier_that_panics_harms_only_its_own_request() {
    let (verifier, authority, _) = for_ten_seconds();
    let verifier = Arc::new(verifier);
    authority.panics.store(true, SeqCst);
    let asks = Arc::clone(&verifier);
    assert!(tokio::spawn(async move { asks.verify("t").await }).await.is_err());
    authority.panics.store(false, SeqCst);
    assert_eq!(verifier.verify("t").await, Ok(good()));
}

/// P8: an answer that was asked for longer ago than the time allows is not for whoever comes now.
#[tokio::test]
async fn a_question_that_takes_too_long_is_not_joined_and_its_answer_not_kept() {
    let (verifier, authority, time) = for_ten_seconds();
    authority.hold();
    let mut slow = pin!(verifier.verify("t"));
    assert!(poll(slow.as_mut()).is_pending());
    time.pass(10_000);
    let mut quick = pin!(verifier.verify("t"));
    assert!(poll(quick.as_mut()).is_pending());
    assert_eq!(authority.asked(), 2);
    // The slow question's answer was given before a revocation, the quick one's after it.
    authority.let_answer(1);
    assert_eq!(slow.await, Ok(good()));
    assert_eq!(verifier.len(), 0);
    authority.say(Err(DEAD));
    authority.let_answer(1);
    assert_eq!(quick.await, Err(DEAD));
    assert_eq!(verifier.verify("t").await, Err(DEAD));
    assert_eq!(authority.asked(), 2);
}

#[tokio::test]
async fn the_answer_to_a_question_about_a_token_forgotten_meanwhile_is_not_kept() {
    let (verifier, authority, _) = for_ten_seconds();
    authority.hold();
    let mut asks = pin!(verifier.verify("t"));
    assert!(poll(asks.as_mut()).is_pending());
    verifier.forget("t");
    authority.let_answer(1);
    assert_eq!(asks.await, Ok(good()));
    assert_eq!(verifier.len(), 0);
}

/// S-220
#[test]
fn a_cache_that_keeps_nothing_is_refused() {
    let (_, authority, _) = for_ten_seconds();
    let new = |caching| Cached::new(Arc::clone(&authority), caching).err();
    assert_eq!(
        new(Caching::for_at_most(Duration::ZERO)),
        Some(InvalidCaching::NoTime)
    );
    assert_eq!(new(Caching::default().tokens(0)), Some(InvalidCaching::NoRoom));
    assert_eq!(new(Caching::for_at_most(Duration::MAX).tokens(1)), None);
}

/// S-241
#[tokio::test]
async fn no_token_stands_in_the_memory() {
    let (verifier, _, _) = for_ten_seconds();
    verifier.verify("hush-hush").await.unwrap();
    let mut kept = Vec::new();
    for part in &verifier.parts {
        kept.extend(
            lock(part)
                .good
                .iter()
                .map(|(hash, good)| (*hash, Arc::clone(&good.token))),
        );
    }
    assert_eq!(kept, [(TokenHash::of("hush-hush"), Arc::new(good()))]);
    assert!(!format!("{verifier:?}").contains("hush"));
}
