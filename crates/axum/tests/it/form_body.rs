//! Form bodies, the same at the token, revocation and introspection endpoints: what is odd is refused, never overlooked.

use axum::body::Body;
use bytes::Bytes;
use http::header;
use mcp_authflow_testkit::params::{Params, basic};

use crate::edge::{Edge, form, request};

const ENDPOINTS: [&str; 3] = ["/token", "/revoke", "/introspect"];

/// TE-02, TE-03, RT-16, PK-12, CA-12: secrets in the URL never authenticate.
#[tokio::test]
async fn parameters_belong_in_the_body() {
    let edge = Edge::new().await;
    let good = Params::client_credentials();
    for endpoint in ENDPOINTS {
        for query in [good.encoded(), "x".to_owned(), "client_secret=x".to_owned()] {
            let reply = edge
                .post(&format!("{endpoint}?{query}"), Some("SVC"), &good)
                .await;
            reply.assert_error(400, "invalid_request");
        }
        let request = form(&format!("{endpoint}?{}", good.encoded()))
            .header(header::AUTHORIZATION, basic("SVC"))
            .body(Body::empty());
        edge.send(request.unwrap())
            .await
            .assert_error(400, "invalid_request");
    }
    assert_eq!(edge.post("/token?", Some("SVC"), &good).await.status, 200);
}

/// TE-04, TE-05
#[tokio::test]
async fn only_forms_in_utf_8_are_read() {
    let edge = Edge::new().await;
    let send = async |endpoint: &str, content_type: Option<&[u8]>| {
        let mut request = request("POST", endpoint).header(header::AUTHORIZATION, basic("SVC"));
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let body = Params::client_credentials().set("token", "x").encoded();
        edge.send(request.body(Body::from(body)).unwrap()).await
    };
    for endpoint in ENDPOINTS {
        send(endpoint, None).await.assert_error(415, "invalid_request");
        for other in [
            &b"application/json"[..],
            b"text/plain",
            b"multipart/form-data; boundary=x",
            b"application/xml",
            b"application/x-www-form-urlencoded; charset=utf-16",
            b"application/x-www-form-urlencoded; charset=utf-7",
            b";;;",
            b"application/",
            b"/x",
            b"\xff",
            b"",
            &[b'a'; 8_192],
        ] {
            send(endpoint, Some(other))
                .await
                .assert_error(415, "invalid_request");
        }
    }
    for good in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded;",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "APPLICATION/X-WWW-FORM-URLENCODED;charset=\"utf-8\"",
    ] {
        assert_eq!(send("/token", Some(good.as_bytes())).await.status, 200, "{good}");
    }
    let two = form("/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::empty());
    edge.send(two.unwrap()).await.assert_error(415, "invalid_request");
}

/// TE-03, TE-07, TE-09, TE-19
#[tokio::test]
async fn a_body_that_could_be_read_two_ways_is_refused() {
    let edge = Edge::new().await;
    let many = "a=1&".repeat(101);
    let distinct: Vec<String> = (0..5_000).map(|number| format!("a{number}=1&")).collect();
    for endpoint in ENDPOINTS {
        for (body, description) in [
            (&b"token=a&token=a&grant_type=b&grant_type=b"[..], None),
            (b"a=1&%61=2", Some("a is given more than once")),
            (b"a=%", Some("a percent escape is broken")),
            (b"a=%4", Some("a percent escape is broken")),
            (b"a=%zz", Some("a percent escape is broken")),
            (b"token=abc%00def", Some("a parameter holds a NUL character")),
            (b"token=abc\0def", Some("a parameter holds a NUL character")),
            (b"%00=x", Some("a parameter holds a NUL character")),
            (b"token=\xff", Some("a parameter is not UTF-8")),
            (b"token=%ff", Some("a parameter is not UTF-8")),
            (b"token=%c0%ae", Some("a parameter is not UTF-8")),
            (b"token=%ed%a0%80", Some("a parameter is not UTF-8")),
            (many.as_bytes(), Some("there are more than 100 parameters")),
            (
                distinct.concat().as_bytes(),
                Some("there are more than 100 parameters"),
            ),
            (b"", None),
            (b"&", None),
            (b"=", None),
            (b"&&=&", None),
            (b"null", None),
            (b"[]", None),
            (b"   ", None),
            ("\u{feff}grant_type=client_credentials".as_bytes(), None),
        ] {
            let request = form(endpoint)
                .header(header::AUTHORIZATION, basic("SVC"))
                .body(Body::from(body.to_vec()));
            let reply = edge.send(request.unwrap()).await;
            reply.assert_error(400, "invalid_request");
            if let Some(description) = description {
                assert_eq!(reply.json()["error_description"], description);
            }
        }
    }
}

/// TE-06, IN-12, P12
#[tokio::test]
async fn a_body_is_at_most_64_kib() {
    let edge = Edge::new().await;
    let filled = |length: usize| {
        let mut body = Params::client_credentials().encoded() + "&x=";
        body += &"a".repeat(length - body.len());
        body
    };
    let with = |endpoint: &str, body: Body| {
        form(endpoint)
            .header(header::AUTHORIZATION, basic("SVC"))
            .body(body)
            .unwrap()
    };
    assert_eq!(
        edge.send(with("/token", Body::from(filled(65_536)))).await.status,
        200
    );
    for endpoint in ENDPOINTS {
        let reply = edge.send(with(endpoint, Body::from(filled(65_537)))).await;
        reply.assert_error(413, "invalid_request");
        assert_eq!(reply.header("connection"), "close");
        assert_eq!(
            reply.json()["error_description"],
            "the body is larger than 64 KiB"
        );
    }
    // The same when nobody said how long it would be.
    let chunk = Bytes::from(vec![b'a'; 16_384]);
    let chunks = (0..640).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    let endless = Body::from_stream(futures_util::stream::iter(chunks));
    edge.send(with("/token", endless))
        .await
        .assert_error(413, "invalid_request");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_request() {
    let edge = Edge::new().await;
    let whole = Bytes::from(Params::client_credentials().encoded());
    let broken = [
        Ok(whole),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ];
    let request = form("/token")
        .header(header::AUTHORIZATION, basic("SVC"))
        .body(Body::from_stream(futures_util::stream::iter(broken)));
    let reply = edge.send(request.unwrap()).await;
    reply.assert_error(400, "invalid_request");
    assert_eq!(reply.json()["error_description"], "the body could not be read");
}

/// CA-11
#[tokio::test]
async fn two_authorization_headers_are_refused() {
    let edge = Edge::new().await;
    for second in [basic("SEC"), basic("SVC"), "Bearer x".to_owned(), String::new()] {
        for endpoint in ENDPOINTS {
            let request = form(endpoint)
                .header(header::AUTHORIZATION, basic("SVC"))
                .header(header::AUTHORIZATION, &second)
                .body(Body::from(
                    Params::client_credentials().set("token", "x").encoded(),
                ));
            let reply = edge.send(request.unwrap()).await;
            reply.assert_error(400, "invalid_request");
            assert_eq!(
                reply.json()["error_description"],
                "there is more than one Authorization header"
            );
        }
    }
}

/// CA-09
#[tokio::test]
async fn a_header_that_is_no_text_is_a_bad_credential() {
    let edge = Edge::new().await;
    let request = form("/token")
        .header(header::AUTHORIZATION, &b"Basic \xff\xfe"[..])
        .body(Body::from(Params::client_credentials().encoded()));
    let reply = edge.send(request.unwrap()).await;
    reply.assert_error(401, "invalid_client");
    assert_eq!(reply.header("www-authenticate"), "Basic realm=\"authflow\"");
}
