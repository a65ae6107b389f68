//! What comes back, and what of it is used.

use super::{
    peer::{Act, json, raw},
    *,
};
use crate::{BadDocument, Unavailable};

async fn answered(script: peer::Script) -> Result<Document, FetchError> {
    let peer = Peer::playing(move |_| script.clone()).await;
    let answer = get(&local().build(), &peer.url("/d.json")).await;
    assert_eq!(peer.connections(), 1);
    answer
}

fn bad(why: BadDocument) -> Result<Document, FetchError> {
    Err(FetchError::BadDocument(why))
}

/// SF-16
#[tokio::test]
async fn the_request_says_nothing_of_us() {
    let peer = Peer::serving("{}").await;
    assert_eq!(
        body(get(&local().build(), &peer.url("/keys.json?v=1")).await),
        "{}"
    );
    let [head] = &peer.heads()[..] else {
        panic!("{:?}", peer.heads())
    };
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    lines.sort_unstable();
    let host = format!("host: 127.0.0.1:{}", peer.port);
    assert_eq!(
        lines,
        [
            "GET /keys.json?v=1 HTTP/1.1",
            "accept-encoding: identity",
            "accept: application/json",
            "connection: close",
            &host,
            "user-agent: mcp-authflow-fetch/0.1.0",
        ]
    );
}

/// SF-09: neither back here, nor to where another request would be good or be refused.
#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Peer::serving("{}").await;
    let names = Names::answering(&[&["8.8.8.8"]]);
    let fetcher = local().resolver(names.resolver()).build();
    for to in [
        "/other".to_owned(),
        elsewhere.url("/other"),
        format!("https://127.0.0.1:{}/", elsewhere.port),
        "http://169.254.169.254/".to_owned(),
        "https://public.test/keys.json".to_owned(),
    ] {
        for status in [300, 301, 302, 303, 307, 308] {
            let head = format!("HTTP/1.1 {status} Go\r\nlocation: {to}\r\n");
            let peer = Peer::playing(move |nth| match nth {
                0 => raw(&format!(
                    "{head}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
                )),
                _ => json("{}", ""),
            })
            .await;
            let answer = get(&fetcher, &peer.url("/d.json")).await;
            assert_eq!(answer, bad(BadDocument::Redirect(status)), "{to}");
            assert_eq!((peer.connections(), peer.requests()), (1, 1), "{to}");
        }
    }
    assert_eq!((elsewhere.connections(), names.asked()), (0, 0));
    // What a page would lead a browser to is a page, and no document.
    let page = format!(
        "<meta http-equiv=\"refresh\" content=\"0; url={}\">",
        elsewhere.url("/")
    );
    let declared = |what: &str| {
        raw(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {what}\r\ncontent-length: {}\r\n\r\n{page}",
            page.len()
        ))
    };
    assert_eq!(
        answered(declared("text/html")).await,
        bad(BadDocument::ContentType)
    );
    assert_eq!(body(answered(declared("application/json")).await), page);
    assert_eq!(elsewhere.connections(), 0);
    // A Location with 200 is a header like any other.
    let document = answered(json(
        "{}",
        "location: http://127.0.0.1:1/\r\nrefresh: 0; url=/x\r\n",
    ))
    .await;
    assert_eq!(body(document), "{}");
}

#[tokio::test]
async fn another_status_than_200_is_no_document() {
    for (status, expected) in [
        (201, BadDocument::Status(201).into()),
        (204, BadDocument::Status(204).into()),
        (206, BadDocument::Status(206).into()),
        (304, BadDocument::Redirect(304).into()),
        (401, BadDocument::Status(401).into()),
        (404, BadDocument::Status(404).into()),
        (408, Unavailable::Status(408).into()),
        (429, Unavailable::Status(429).into()),
        (500, Unavailable::Status(500).into()),
        (503, Unavailable::Status(503).into()),
        (599, Unavailable::Status(599).into()),
    ] {
        let script = raw(&format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
        ));
        assert_eq!(
            answered(script).await,
            Err::<Document, FetchError>(expected),
            "{status}"
        );
    }
}

#[tokio::test]
async fn what_is_not_declared_as_json_is_not_used() {
    for declared in [
        "content-type: text/html",
        "x: y",
        "content-type: application/json\r\ncontent-type: text/html",
    ] {
        let script = raw(&format!(
            "HTTP/1.1 200 OK\r\n{declared}\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
        assert_eq!(
            answered(script).await,
            bad(BadDocument::ContentType),
            "{declared}"
        );
    }
    let script =
        raw("HTTP/1.1 200 OK\r\ncontent-type: application/jwk-set+json\r\ncontent-length: 2\r\n\r\n{}");
    assert_eq!(body(answered(script).await), "{}");
}

#[tokio::test]
async fn nothing_is_unpacked() {
    for coding in ["gzip", "br", "deflate", "identity, gzip", "x"] {
        let script = json("{}", &format!("content-encoding: {coding}\r\n"));
        assert_eq!(
            answered(script).await,
            bad(BadDocument::ContentEncoding),
            "{coding}"
        );
    }
    assert_eq!(
        body(answered(json("{}", "content-encoding: identity\r\n")).await),
        "{}"
    );
}

/// SF-11
#[tokio::test]
async fn a_body_is_read_up_to_its_limit() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let limit = Limits::METADATA.max_bytes;
    let too_large = || bad(BadDocument::TooLarge(limit));
    let full = "x".repeat(limit);

    assert_eq!(body(answered(json(&full, "")).await), full);
    assert_eq!(answered(json(&format!("{full}x"), "")).await, too_large());
    // Refused by its head, before a byte of the body has come.
    let announced = raw(&format!("{HEAD}content-length: 5368709120\r\n\r\n"));
    assert_eq!(answered([announced, vec![Act::Hang]].concat()).await, too_large());
    // Without a length, up to the end of the connection.
    assert_eq!(body(answered(raw(&format!("{HEAD}\r\n{full}"))).await), full);
    assert_eq!(answered(raw(&format!("{HEAD}\r\n{full}x"))).await, too_large());
    let endless = [
        raw(&format!("{HEAD}\r\n")),
        vec![Act::SendForever(vec![b'x'; 4_096])],
    ]
    .concat();
    assert_eq!(answered(endless).await, too_large());
    let chunk = b"3e8\r\n"
        .iter()
        .copied()
        .chain([b'x'; 1_000])
        .chain(*b"\r\n")
        .collect();
    let chunked = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
    assert_eq!(
        answered([raw(&chunked), vec![Act::SendForever(chunk)]].concat()).await,
        too_large()
    );
}

#[tokio::test]
async fn the_limit_is_the_callers() {
    let long = "x".repeat(20_000);
    let script = json(&long, "");
    let peer = Peer::playing(move |_| script.clone()).await;
    let fetcher = local().build();
    let keys = fetcher
        .get(&peer.url("/d"), Limits::KEY_SET, Freshness::Cached)
        .await;
    assert_eq!(body(keys), long);
    assert_eq!(
        get(&fetcher, &peer.url("/d")).await,
        bad(BadDocument::TooLarge(10_240))
    );
}

/// SF-11
#[tokio::test]
async fn a_head_has_its_limits_too() {
    let line = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "y".repeat(1_048_576));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    for head in [
        line,
        many,
        "SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(),
        "HTTP/1.1 9 x\r\n\r\n".to_owned(),
    ] {
        let answer = answered(raw(&head)).await;
        assert!(
            matches!(answer, Err(FetchError::BadDocument(BadDocument::NotHttp(_)))),
            "{answer:?}"
        );
    }
    let endless = vec![
        Act::Send(b"HTTP/1.1 200 OK\r\nx: ".to_vec()),
        Act::SendForever(vec![b'y'; 4_096]),
    ];
    assert!(matches!(
        answered(endless).await,
        Err(FetchError::BadDocument(BadDocument::NotHttp(_)))
    ));
}

#[tokio::test]
async fn a_head_has_sixty_four_headers_at_most() {
    // Two of them are the script's own.
    assert_eq!(body(answered(json("{}", &"a: b\r\n".repeat(62))).await), "{}");
    let answer = answered(json("{}", &"a: b\r\n".repeat(63))).await;
    assert!(
        matches!(answer, Err(FetchError::BadDocument(BadDocument::NotHttp(_)))),
        "{answer:?}"
    );
}

/// SF-11
#[tokio::test]
async fn a_few_interim_answers_are_passed_over() {
    let after = |number| {
        let interim = raw(&"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(number));
        answered([interim, json("{}", "")].concat())
    };
    assert_eq!(body(after(16).await), "{}");
    for number in [17, 100] {
        let answer = after(number).await;
        assert!(
            matches!(answer, Err(FetchError::BadDocument(BadDocument::NotHttp(_)))),
            "{number}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    let short = raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{}");
    for script in [vec![], raw("HTTP/1.1 200 OK\r\nconte"), short] {
        let answer = answered(script).await;
        assert!(
            matches!(answer, Err(FetchError::Unavailable(Unavailable::Broken(_)))),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn nobody_listening_is_no_connection() {
    let peer = Peer::serving("{}").await;
    let url = peer.url("/d");
    let port = peer.port;
    drop(peer);
    // The port is free once the listener has gone; until then there is somebody who never answers.
    let gone = async { while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    let answer = get(&local().build(), &url).await;
    assert!(
        matches!(answer, Err(FetchError::Unavailable(Unavailable::NotConnected(_)))),
        "{answer:?}"
    );
}

/// M-172
/// CM-12
#[tokio::test]
async fn a_logo_is_a_small_picture_and_nothing_else() {
    let png = format!("\u{89}PNG\r\n\u{1a}\n{}", "x".repeat(100));
    let bytes: Vec<u8> = png.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let answer = |content_type: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\ncache-control: max-age=60\r\n\r\n",
            body.len()
        );
        vec![Act::Send([head.as_bytes(), body].concat())]
    };
    let logo = async |script: peer::Script| {
        let peer = Peer::playing(move |_| script.clone()).await;
        let fetched = local()
            .build()
            .get(&peer.url("/logo"), Limits::LOGO, Freshness::Cached)
            .await;
        assert!(peer.heads()[0].contains("accept: image/png, image/jpeg, image/webp, image/gif\r\n"));
        fetched
    };
    let good = logo(answer("image/png", &bytes)).await.unwrap();
    assert_eq!(&*good.body, &bytes);
    assert!(good.fresh_for.is_some_and(|left| left <= Duration::from_secs(60)));
    for script in [
        answer("image/svg+xml", b"<svg/>"),
        answer("image/png", b"<svg/>"),
        answer("image/gif", &bytes),
        answer("application/json", b"{}"),
    ] {
        assert_eq!(logo(script).await, bad(BadDocument::NotAnImage));
    }
    let large = [&bytes[..], &vec![0; Limits::LOGO.max_bytes]].concat();
    assert_eq!(
        logo(answer("image/png", &large)).await,
        bad(BadDocument::TooLarge(Limits::LOGO.max_bytes))
    );
}
