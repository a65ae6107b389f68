//! Many callers at a time.

use std::sync::Mutex;

use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use super::{
    peer::{Act, Script, json},
    *,
};
use crate::{BadDocument, Unavailable, cache::Step};

/// Answers only when the test gives a permit.
fn held(gate: &Arc<Semaphore>) -> Script {
    [vec![Act::Await(Arc::clone(gate))], json("{}", "")].concat()
}

async fn all(mut callers: JoinSet<Result<Document, FetchError>>) -> Vec<Result<Document, FetchError>> {
    let mut answers = Vec::new();
    while let Some(answer) = timeout(PATIENCE, callers.join_next()).await.unwrap() {
        answers.push(answer.unwrap());
    }
    answers
}

fn ask(callers: &mut JoinSet<Result<Document, FetchError>>, fetcher: &Fetcher, url: String) {
    let fetcher = fetcher.clone();
    callers.spawn(async move { get(&fetcher, &url).await });
}

#[tokio::test]
async fn many_who_ask_for_the_same_are_one_fetch() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::playing({
        let gate = Arc::clone(&gate);
        move |_| held(&gate)
    })
    .await;
    let fetcher = local().build();
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        ask(&mut callers, &fetcher, peer.url("/d"));
    }
    peer.until_requests(1).await;
    gate.add_permits(1_000);
    let answers = all(callers).await;
    let first = answers[0].as_ref().unwrap();
    for answer in &answers {
        assert!(Arc::ptr_eq(&answer.as_ref().unwrap().body, &first.body));
    }
    assert_eq!((answers.len(), peer.connections()), (100, 1));
}

#[tokio::test]
async fn a_leader_who_gives_up_strands_nobody() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::playing({
        let gate = Arc::clone(&gate);
        move |_| held(&gate)
    })
    .await;
    let fetcher = local().build();
    let mut leader = JoinSet::new();
    ask(&mut leader, &fetcher, peer.url("/d"));
    peer.until_requests(1).await;
    let mut followers = JoinSet::new();
    for _ in 0..10 {
        ask(&mut followers, &fetcher, peer.url("/d"));
    }
    leader.shutdown().await;
    gate.add_permits(1_000);
    for answer in all(followers).await {
        assert_eq!(body(answer), "{}");
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_fetched_all_the_same() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::playing({
        let gate = Arc::clone(&gate);
        move |_| held(&gate)
    })
    .await;
    let fetcher = local().build();
    let mut leader = JoinSet::new();
    ask(&mut leader, &fetcher, peer.url("/d"));
    peer.until_requests(1).await;
    leader.shutdown().await;
    gate.add_permits(1_000);
    assert_eq!(body(get(&fetcher, &peer.url("/d")).await), "{}");
    assert_eq!(peer.connections(), 1);
}

/// P16
#[tokio::test]
async fn one_host_gets_four_at_a_time() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::playing({
        let gate = Arc::clone(&gate);
        move |_| held(&gate)
    })
    .await;
    let fetcher = local().build();
    let mut callers = JoinSet::new();
    for nth in 0..20 {
        ask(&mut callers, &fetcher, peer.url(&format!("/{nth}")));
    }
    peer.until_requests(4).await;
    // Another host has its own four turns. Its answer comes while the others are held.
    let other = Peer::serving("{}").await;
    assert_eq!(
        body(get(&fetcher, &format!("http://localhost:{}/", other.port)).await),
        "{}"
    );
    assert_eq!(peer.requests(), 4);
    gate.add_permits(1_000);
    for answer in all(callers).await {
        assert_eq!(body(answer), "{}");
    }
    assert_eq!((peer.requests(), peer.most_at_once()), (20, 4));
}

/// P16
#[tokio::test]
async fn there_is_a_limit_overall() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::playing({
        let gate = Arc::clone(&gate);
        move |_| held(&gate)
    })
    .await;
    let fetcher = local().max_concurrent(6, 4).build();
    let mut callers = JoinSet::new();
    for nth in 0..10 {
        ask(&mut callers, &fetcher, peer.url(&format!("/{nth}")));
        ask(
            &mut callers,
            &fetcher,
            format!("http://localhost:{}/{nth}", peer.port),
        );
    }
    peer.until_requests(6).await;
    gate.add_permits(1_000);
    for answer in all(callers).await {
        assert_eq!(body(answer), "{}");
    }
    assert_eq!((peer.requests(), peer.most_at_once()), (20, 6));
}

/// P12: neither do those who wait pile up, nor is their failure held against the URL.
#[tokio::test]
async fn too_many_who_wait_are_turned_away_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::playing({
        let gate = Arc::clone(&gate);
        move |_| held(&gate)
    })
    .await;
    let fetcher = local().max_concurrent(1, 1).build();
    let mut callers = JoinSet::new();
    // One runs and four wait.
    for nth in 0..6 {
        ask(&mut callers, &fetcher, peer.url(&format!("/{nth}")));
    }
    let turned_away = timeout(PATIENCE, callers.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(turned_away, Err(Unavailable::Busy.into()));
    gate.add_permits(1_000);
    let answers = all(callers).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
    for nth in 0..6 {
        assert_eq!(body(get(&fetcher, &peer.url(&format!("/{nth}"))).await), "{}");
    }
    assert_eq!(peer.requests(), 6);
}

#[tokio::test]
async fn whose_turn_does_not_come_in_time_hears_that_it_is_busy() {
    let peer = Peer::serving("{}").await;
    let fetcher = local().deadline(Duration::from_millis(100)).build();
    let _turns = fetcher.inner.overall.acquire_many(64).await.unwrap();
    let answer = timeout(PATIENCE, get(&fetcher, &peer.url("/d"))).await.unwrap();
    assert_eq!(answer, Err(Unavailable::Busy.into()));
    assert_eq!(peer.connections(), 0);
    // It is not held against the URL.
    assert_eq!(fetcher.step(&peer.url("/d"), Limits::METADATA), Step::Fetch);
}

/// What is kept beside the copies goes with the last fetch.
#[tokio::test]
async fn nothing_is_left_of_a_fetch_that_ended() {
    let peer = Peer::serving("{}").await;
    let nobody = Names::answering(&[]);
    let fetcher = local().resolver(nobody.resolver()).build();
    let mut callers = JoinSet::new();
    for nth in 0..50 {
        ask(&mut callers, &fetcher, peer.url(&format!("/{nth}")));
        ask(&mut callers, &fetcher, format!("https://{nth}.nowhere.test/"));
    }
    all(callers).await;
    assert_eq!((peer.requests(), nobody.asked()), (50, 50));
    assert_eq!(fetcher.on_the_way(), (0, 0));
}

/// SF-11, P16: whatever the other side does slowly, the deadline ends it.
#[tokio::test]
async fn a_slow_peer_is_cut_off() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n";
    let limit = Duration::from_millis(200);
    let scripts = Mutex::new(vec![
        vec![],
        peer::raw("HTTP/1.1 200"),
        peer::raw(HEAD),
        peer::raw(&format!("{HEAD}\r\n")),
        peer::raw(&format!("{HEAD}\r\n{{}}")),
        peer::raw(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(10)),
    ]);
    let number = scripts.lock().unwrap().len();
    let peer = Peer::playing(move |nth| {
        let script = scripts.lock().unwrap()[nth].clone();
        [script, vec![Act::Hang]].concat()
    })
    .await;
    let fetcher = local().deadline(limit).build();
    for nth in 0..number {
        let answer = timeout(PATIENCE, get(&fetcher, &peer.url(&format!("/{nth}"))))
            .await
            .unwrap();
        assert_eq!(answer, Err(Unavailable::TimedOut(limit).into()), "{nth}");
    }
    let endless_interim =
        Peer::playing(|_| vec![Act::SendForever(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())]).await;
    let answer = timeout(PATIENCE, get(&local().build(), &endless_interim.url("/")))
        .await
        .unwrap();
    assert!(
        matches!(answer, Err(FetchError::BadDocument(BadDocument::NotHttp(_)))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_look_up_that_hangs_is_cut_off() {
    let limit = Duration::from_millis(100);
    let resolver = Resolver::new(|_| Box::pin(std::future::pending()));
    let fetcher = Fetcher::builder().deadline(limit).resolver(resolver).build();
    let answer = timeout(PATIENCE, get(&fetcher, "https://slow.test/"))
        .await
        .unwrap();
    assert_eq!(answer, Err(Unavailable::TimedOut(limit).into()));
}

/// A look-up that found no turn says nothing of the URL: the next caller tries again, and is not told of a failure.
#[tokio::test]
async fn a_name_that_found_no_turn_is_looked_up_at_the_next_call() {
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = Resolver::new({
        let asked = Arc::clone(&asked);
        move |_| -> Resolving {
            asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Err(io::ErrorKind::ResourceBusy.into()) })
        }
    });
    let fetcher = Fetcher::builder().resolver(resolver).build();
    let url = "https://c.test/d";
    for times in 1..3 {
        assert_eq!(get(&fetcher, url).await, Err(Unavailable::Busy.into()));
        assert_eq!(fetcher.step(url, Limits::METADATA), Step::Fetch);
        assert_eq!(asked.load(Ordering::SeqCst), times);
    }
}
