//! A layer with a memory: what is asked, and what is judged anew each time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use http::StatusCode;
use mcp_authflow_resource::{
    Cached, Caching, ClientAuthentication, Protect, ProtectedResource, verify::Introspection,
};

use crate::{
    house::{House, NOW, RESOURCE, answer_with, good_answer, settings},
    peer::{Answer, Peer},
};

/// A protection whose memory stands still.
fn remembering(peer: &Peer) -> Protect {
    settings(&peer.issuer)
        .cache(Caching::default())
        .monotonic_clock(|| Duration::ZERO)
        .build()
        .unwrap()
}

/// P8: what is remembered are facts; whether they suffice is judged by each route.
#[tokio::test]
async fn what_is_remembered_is_judged_anew_for_each_audience_issuer_and_scope() {
    let peer = Peer::start(|_| Answer::Ok(good_answer())).await;
    let endpoint = format!("{}/introspect", peer.issuer);
    let asks = Introspection::new(&endpoint, ClientAuthentication::None).unwrap();
    let cached = Cached::new(asks, Caching::default()).unwrap();
    let shared = Arc::new(cached.with_clocks(|| NOW, || Duration::ZERO));
    let house = |resource: &str, scope: &str| {
        let protect = ProtectedResource::builder(resource, &peer.issuer)
            .verify_with(Arc::clone(&shared))
            .require_scope(scope)
            .clock(|| NOW)
            .build();
        House::behind(protect.unwrap())
    };
    for _ in 0..2 {
        for (resource, scope, status) in [
            (RESOURCE, "read", StatusCode::OK),
            (RESOURCE, "admin", StatusCode::FORBIDDEN),
            ("https://other.test/mcp", "read", StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(
                house(resource, scope).call_with("t").await.status,
                status,
                "{resource} {scope}"
            );
        }
    }
    assert_eq!(peer.questions().len(), 1);
}

/// S-246
#[tokio::test]
async fn fifty_requests_at_once_ask_once_with_a_cache_and_each_without() {
    for (caching, questions) in [(Some(Caching::default()), 1), (None, 50)] {
        let peer = Peer::start(|_| Answer::Ok(good_answer())).await;
        let mut builder = settings(&peer.issuer).introspection_time_limit(Duration::from_secs(10));
        if let Some(caching) = caching {
            builder = builder.cache(caching).monotonic_clock(|| Duration::ZERO);
        }
        let house = House::behind(builder.build().unwrap());
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let house = house.clone();
                tokio::spawn(async move { house.call_with("t").await.status })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), StatusCode::OK);
        }
        assert_eq!((peer.questions().len(), house.runs()), (questions, 50));
    }
}

/// RP-09, P9: while the authorization server is away, who was just let in still is, and nobody else.
#[tokio::test]
async fn a_fresh_answer_serves_through_an_outage() {
    let is_down = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&is_down);
    let peer = Peer::start(move |_| {
        if says.load(SeqCst) {
            Answer::Status(503, "")
        } else {
            Answer::Ok(good_answer())
        }
    })
    .await;
    let house = House::behind(remembering(&peer));
    assert_eq!(house.call_with("known").await.status, StatusCode::OK);
    is_down.store(true, SeqCst);
    assert_eq!(house.call_with("known").await.status, StatusCode::OK);
    for _ in 0..2 {
        assert_eq!(
            house.call_with("new").await.status,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
    assert_eq!(peer.questions().len(), 3);
}

/// RP-17: bad tokens are refused, repeated ones without a question, and good ones are let in meanwhile.
#[tokio::test]
async fn a_flood_of_bad_tokens_does_not_touch_the_good_ones() {
    let peer = Peer::start(|token| match token {
        "good" => Answer::Ok(good_answer()),
        _ => Answer::Ok(r#"{"active":false}"#.to_owned()),
    })
    .await;
    let house = House::behind(remembering(&peer));
    assert_eq!(house.call_with("good").await.status, StatusCode::OK);
    for number in 0..300 {
        let bad = format!("bad{}", number % 200);
        assert_eq!(house.call_with(&bad).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(house.call_with("good").await.status, StatusCode::OK);
    }
    let asked = |token: &str| {
        let is_it = |question: &&crate::peer::Question| question.form[0].1 == token;
        peer.questions().iter().filter(is_it).count()
    };
    assert_eq!(asked("good"), 1);
    assert_eq!(peer.questions().len(), 201);
}

/// RP-17: 64 at a time, each token another one; nor do good tokens wait that were never seen before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_good_tokens_get_through_a_flood() {
    let peer = Peer::start(|token| match token.strip_prefix("good") {
        Some(_) => Answer::Ok(good_answer()),
        None => Answer::Ok(r#"{"active":false}"#.to_owned()),
    })
    .await;
    let caching = settings(&peer.issuer).cache(Caching::default()).build();
    let house = House::behind(caching.unwrap());
    let is_over = Arc::new(AtomicBool::new(false));
    let flood: Vec<_> = (0..64)
        .map(|worker| {
            let (house, is_over) = (house.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut number = 0;
                while number < 1_000 && !is_over.load(SeqCst) {
                    let seen = house.call_with(&format!("random-{worker}-{number}")).await;
                    assert_eq!(seen.status, StatusCode::UNAUTHORIZED);
                    number += 1;
                }
                number
            })
        })
        .collect();
    for number in 0..100 {
        let seen = house.call_with(&format!("good-{number}")).await;
        assert_eq!(seen.status, StatusCode::OK, "{number}");
    }
    is_over.store(true, SeqCst);
    let mut refused = 0;
    for worker in flood {
        refused += worker.await.unwrap();
    }
    assert!(refused > 100, "{refused} are no flood");
    assert_eq!(house.runs(), 100);
}

/// RP-16: no answer goes to whoever asks at the same time with another token.
#[tokio::test(flavor = "multi_thread")]
async fn every_caller_is_who_the_own_token_says() {
    let peer = Peer::start(|token| answer_with("username", token.into())).await;
    let caching = Caching::for_at_most(Duration::from_millis(5)).tokens(16);
    let protect = settings(&peer.issuer)
        .introspection_time_limit(Duration::from_secs(10))
        .cache(caching)
        .build();
    let house = House::behind(protect.unwrap());
    let callers: Vec<_> = (0..64)
        .map(|number| {
            let house = house.clone();
            // Two callers with each token.
            let token = format!("t{}", number / 2);
            tokio::spawn(async move {
                for _ in 0..20 {
                    let seen = house.call_with(&token).await;
                    assert_eq!(seen.body.split(' ').nth(1), Some(token.as_str()));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(house.runs(), 64 * 20);
}
