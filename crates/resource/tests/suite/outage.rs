//! When the authorization server cannot be asked: 503 or 504, never 401 and never through (P9).

use std::time::Duration;

use http::StatusCode;

use crate::{
    house::{House, Seen, good_answer, house_where, settings},
    peer::{Answer, Peer, start_raw},
};

fn assert_is_unavailable(seen: &Seen, status: u16) {
    assert_eq!(seen.status.as_u16(), status);
    assert_eq!(
        seen.body,
        r#"{"error":"temporarily_unavailable","error_description":"the server cannot answer at the moment, try again shortly"}"#
    );
    assert_eq!(seen.header("retry-after"), Some("2"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    assert_eq!(seen.header("www-authenticate"), None);
}

/// S-223, S-231, S-232, RP-09: garbage, and `active` as a text.
#[tokio::test]
async fn an_answer_that_is_none_lets_nobody_in_and_sends_nobody_away() {
    let oversize = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(64 * 1024));
    let answers = [
        Answer::Status(500, r#"{"active":true}"#),
        Answer::Status(503, ""),
        Answer::Status(401, r#"{"error":"invalid_client"}"#),
        Answer::Status(403, r#"{"active":false}"#),
        Answer::Status(404, ""),
        Answer::Status(429, ""),
        Answer::Status(204, ""),
        Answer::Status(201, r#"{"active":true}"#),
        Answer::Ok(String::new()),
        Answer::Ok("<html>please sign in</html>".to_owned()),
        Answer::Ok("null".to_owned()),
        Answer::Ok(good_answer().replace(r#""active":true"#, r#""active":"true""#)),
        Answer::Ok(good_answer().replace(r#""active":true"#, r#""active":1"#)),
        Answer::Ok(good_answer().replace(r#""active":true"#, r#""active":false,"active":true"#)),
        Answer::Ok(oversize),
    ];
    for answer in answers {
        let (house, peer) = house_where(answer).await;
        assert_is_unavailable(&house.call_with("t").await, 503);
        assert_eq!((house.runs(), peer.questions().len()), (0, 1));
    }
}

/// S-227, RP-09: a redirect would carry credentials and token to wherever it points.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (house, peer) = house_where(Answer::Redirect).await;
    assert_is_unavailable(&house.call_with("t").await, 503);
    let paths: Vec<_> = peer
        .questions()
        .into_iter()
        .map(|question| question.path)
        .collect();
    assert_eq!(paths, ["/introspect"]);
}

/// S-223, RP-09: connection refused.
#[tokio::test]
async fn an_authorization_server_that_is_down_is_a_503() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let house = House::behind(settings(&issuer).build().unwrap());
    assert_is_unavailable(&house.call_with("t").await, 503);
    assert_eq!(house.runs(), 0);
}

/// S-227, RP-09: no answer.
#[tokio::test]
async fn an_authorization_server_that_hangs_is_a_504_within_the_limit() {
    let peer = Peer::start(|_| Answer::Never).await;
    let protect = settings(&peer.issuer)
        .introspection_time_limit(Duration::from_millis(200))
        .build();
    let house = House::behind(protect.unwrap());
    let seen = tokio::time::timeout(Duration::from_secs(2), house.call_with("t")).await;
    assert_is_unavailable(&seen.expect("the limit holds"), 504);
    assert_eq!(house.runs(), 0);
}

/// RP-09: a firewall drops what is sent, so that no connection comes about. What was never asked is not late.
#[tokio::test]
async fn an_authorization_server_that_cannot_be_connected_to_is_a_503_within_the_limit() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Two may wait to be accepted (Linux); whoever comes later is not heard.
    let _crowd = [
        tokio::net::TcpStream::connect(address).await.unwrap(),
        tokio::net::TcpStream::connect(address).await.unwrap(),
    ];
    let protect = settings(&format!("http://{address}"))
        .introspection_time_limit(Duration::from_millis(200))
        .build();
    let house = House::behind(protect.unwrap());
    let seen = tokio::time::timeout(Duration::from_secs(2), house.call_with("t")).await;
    assert_is_unavailable(&seen.expect("the limit holds"), 503);
    assert_eq!(house.runs(), 0);
}

/// The limit is on the whole: an answer that begins and does not end is late too.
#[tokio::test]
async fn an_answer_that_trickles_is_a_504() {
    let issuer = start_raw(&[
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"active\":",
    ])
    .await;
    let protect = settings(&issuer)
        .introspection_time_limit(Duration::from_millis(200))
        .build();
    let house = House::behind(protect.unwrap());
    assert_is_unavailable(&house.call_with("t").await, 504);
}

/// RP-09: a truncated body.
#[tokio::test]
async fn an_answer_that_breaks_off_is_a_503() {
    for broken in [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 30\r\nconnection: close\r\n\r\n{\"active\":false}",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"active\":fal",
        "SSH-2.0-OpenSSH_9.9 connection: close\r\n",
    ] {
        // A second question, if one comes, is hung up on.
        let house = House::behind(settings(&start_raw(&[broken, ""]).await).build().unwrap());
        assert_is_unavailable(&house.call_with("t").await, 503);
        assert_eq!(house.runs(), 0);
    }
}

/// P11: the authorization server restarts between two questions.
#[tokio::test]
async fn a_kept_connection_that_turns_out_dead_costs_the_caller_nothing() {
    const INACTIVE: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"active\":false}";
    let issuer = start_raw(&[INACTIVE, "", INACTIVE]).await;
    let house = House::behind(settings(&issuer).build().unwrap());
    for _ in 0..2 {
        assert_eq!(house.call_with("t").await.status, StatusCode::UNAUTHORIZED);
    }
}

/// P9: back without a restart of ours.
#[tokio::test]
async fn service_is_back_with_the_next_request() {
    let is_down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let says = std::sync::Arc::clone(&is_down);
    let peer = Peer::start(move |_| {
        if says.load(std::sync::atomic::Ordering::SeqCst) {
            Answer::Status(503, "")
        } else {
            Answer::Ok(good_answer())
        }
    })
    .await;
    let house = House::behind(settings(&peer.issuer).build().unwrap());
    assert_is_unavailable(&house.call_with("t").await, 503);
    is_down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(house.call_with("t").await.status, StatusCode::OK);
}

/// A wrong certificate, or none, is an outage like any other.
#[tokio::test]
async fn an_https_endpoint_that_speaks_plain_http_is_a_503() {
    let peer = Peer::start(|_| Answer::Ok(good_answer())).await;
    let endpoint = format!("{}/introspect", peer.issuer.replace("http:", "https:"));
    match settings(&peer.issuer).introspection_endpoint(endpoint).build() {
        Ok(protect) => {
            let house = House::behind(protect);
            assert_is_unavailable(&house.call_with("t").await, 503);
            assert_eq!((house.runs(), peer.questions().len()), (0, 0));
        }
        // A system without any certificates says so at the start.
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
}
