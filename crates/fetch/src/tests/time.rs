//! How long a copy is used, and how often an origin is asked.

use super::{
    peer::{json, raw},
    *,
};
use crate::{BadDocument, Unavailable};

/// Answers with its number, and what the test wants in the head.
async fn numbered(headers: &'static str) -> Peer {
    Peer::playing(move |nth| json(&nth.to_string(), headers)).await
}

/// CM-13
#[tokio::test]
async fn a_copy_is_used_for_as_long_as_its_origin_says_within_bounds() {
    for (headers, lives) in [
        ("", 300),
        ("cache-control: no-store\r\n", 30),
        ("cache-control: max-age=0\r\n", 30),
        ("cache-control: max-age=45\r\n", 45),
        ("cache-control: max-age=3600\r\nage: 3000\r\n", 600),
        ("cache-control: max-age=315360000\r\n", 86_400),
        (
            "cache-control: max-age=600, stale-while-revalidate=31536000\r\n",
            600,
        ),
        ("age: 999999\r\n", 300),
        (
            "date: Tue, 24 Nov 2026 10:00:00 GMT\r\nexpires: Tue, 24 Nov 2026 10:01:00 GMT\r\n",
            60,
        ),
        (
            "date: Tue, 24 Nov 2026 10:00:00 GMT\r\nexpires: Thu, 01 Jan 2099 00:00:00 GMT\r\n",
            86_400,
        ),
    ] {
        let clock = ManualClock::default();
        let peer = numbered(headers).await;
        let fetcher = local().clock(clock.clock()).build();
        assert_eq!(body(get(&fetcher, &peer.url("/d")).await), "0", "{headers}");
        clock.advance(lives - 1);
        assert_eq!(body(get(&fetcher, &peer.url("/d")).await), "0", "{headers}");
        clock.advance(1);
        assert_eq!(body(get(&fetcher, &peer.url("/d")).await), "1", "{headers}");
    }
}

#[tokio::test]
async fn a_key_set_lives_five_minutes_at_most() {
    let clock = ManualClock::default();
    let peer = numbered("cache-control: max-age=3600\r\nage: 7\r\n").await;
    let fetcher = local().clock(clock.clock()).build();
    let keys = async || {
        fetcher
            .get(&peer.url("/d"), Limits::KEY_SET, Freshness::Cached)
            .await
            .unwrap()
    };
    assert_eq!((&*keys().await.body, keys().await.age.as_secs()), (&b"0"[..], 7));
    clock.advance(299);
    assert_eq!(
        (&*keys().await.body, keys().await.age.as_secs()),
        (&b"0"[..], 306)
    );
    clock.advance(1);
    assert_eq!(&*keys().await.body, b"1");
}

#[tokio::test]
async fn whoever_forces_refreshes_forces_one_in_thirty_seconds() {
    let clock = ManualClock::default();
    let peer = numbered("").await;
    let fetcher = local().clock(clock.clock()).build();
    let url = peer.url("/d");
    assert_eq!(body(get(&fetcher, &url).await), "0");
    // The first one is answered at once: a key that has just been published is found.
    assert_eq!(body(refresh(&fetcher, &url).await), "1");
    for _ in 0..1_000 {
        assert_eq!(body(refresh(&fetcher, &url).await), "1");
    }
    clock.advance(29);
    // CM-15: whoever keeps copies of its own is told that this one comes from memory.
    let remembered = refresh(&fetcher, &url).await.unwrap();
    assert_eq!(
        (&*remembered.body, remembered.asked_ago.as_secs()),
        (&b"1"[..], 29)
    );
    clock.advance(1);
    let asked = refresh(&fetcher, &url).await.unwrap();
    assert_eq!((&*asked.body, asked.asked_ago), (&b"2"[..], Duration::ZERO));
    assert_eq!(peer.requests(), 3);
}

/// SF-21
#[tokio::test]
async fn a_failing_host_is_left_alone_for_a_while_and_found_again() {
    let clock = ManualClock::default();
    let peer = Peer::playing(|nth| match nth {
        0 => raw("HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n"),
        1 => raw("HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n"),
        _ => json("{}", ""),
    })
    .await;
    let fetcher = local().clock(clock.clock()).build();
    let url = peer.url("/d");
    for (nth, expected) in [
        FetchError::from(Unavailable::Status(503)),
        BadDocument::Status(404).into(),
    ]
    .iter()
    .enumerate()
    {
        for _ in 0..500 {
            assert_eq!(get(&fetcher, &url).await.as_ref(), Err(expected));
            assert_eq!(refresh(&fetcher, &url).await.as_ref(), Err(expected));
        }
        assert_eq!(peer.requests(), nth + 1);
        clock.advance(10);
    }
    assert_eq!(body(get(&fetcher, &url).await), "{}");
}

/// CM-14
#[tokio::test]
async fn a_host_that_goes_down_is_unknown_only_when_its_copy_is_past_its_time() {
    let clock = ManualClock::default();
    let down = |nth| {
        if nth == 0 {
            json("{}", "cache-control: max-age=60\r\n")
        } else {
            vec![]
        }
    };
    let peer = Peer::playing(down).await;
    let fetcher = local().clock(clock.clock()).build();
    let url = peer.url("/d");
    assert_eq!(body(get(&fetcher, &url).await), "{}");
    clock.advance(59);
    assert_eq!(body(get(&fetcher, &url).await), "{}");
    clock.advance(1);
    assert!(matches!(
        get(&fetcher, &url).await,
        Err(FetchError::Unavailable(_))
    ));

    let peer = Peer::playing(down).await;
    let fetcher = local()
        .clock(clock.clock())
        .keep_last_good(Duration::from_secs(60))
        .build();
    let url = peer.url("/d");
    assert!(!get(&fetcher, &url).await.unwrap().stale);
    clock.advance(60);
    for _ in 0..3 {
        let document = get(&fetcher, &url).await.unwrap();
        assert!(document.stale && document.age == Duration::from_secs(60));
    }
    assert_eq!(peer.requests(), 2);
    assert!(refresh(&fetcher, &url).await.is_err());
    clock.advance(60);
    assert!(get(&fetcher, &url).await.is_err());
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let peer = Peer::serving("{}").await;
    let fetcher = local().cache(2, 1_000_000).build();
    for path in ["/a", "/b", "/c", "/c", "/b", "/a"] {
        assert_eq!(body(get(&fetcher, &peer.url(path)).await), "{}");
    }
    // /a had gone when /c came.
    assert_eq!(peer.requests(), 4);
}
