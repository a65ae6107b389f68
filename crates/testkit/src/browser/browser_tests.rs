#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;

const LOGIN: &str = "<title>Sign in</title><form method=post><input type=hidden name=csrf value=c1>\
    <input type=hidden name=step value=login><input name=username><input type=password name=password>\
    <button>Sign in</button></form>";
const CONSENT: &str = "<title>Allow</title><form method=post><input type=hidden name=csrf value=c2>\
    <input type=hidden name=step value=consent><input type=checkbox name=scope value=a checked>\
    <input type=checkbox name=scope value=b checked><button name=decision value=allow>Allow</button>\
    <button name=decision value=deny>Deny</button></form>";

/// What the little server saw of one request: its first line, its fields in lower case, its body.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    fields: String,
    body: String,
    peer: IpAddr,
}

/// A server of a few lines that answers each request with what `answer` says.
async fn serve(answer: fn(&Seen) -> String) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).await.unwrap() > 2 {}
            let (line, fields) = head.split_once("\r\n").unwrap();
            let fields = fields.to_ascii_lowercase();
            let length = fields
                .lines()
                .find_map(|field| field.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.unwrap();
            let request = Seen {
                line: line.to_owned(),
                fields,
                body: String::from_utf8(body).unwrap(),
                peer: peer.ip(),
            };
            let reply = answer(&request);
            log.lock().unwrap().push(request);
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    (origin, seen)
}

fn html(fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n{fields}content-length: {length}\r\n\r\n{body}"
    )
}

fn redirect(fields: &str, location: &str) -> String {
    format!(
        "HTTP/1.1 303 See Other\r\nlocation: {location}\r\nconnection: close\r\n{fields}content-length: 0\r\n\r\n"
    )
}

/// The sign-in as the server does it: `/authorize`, then login and consent on one page.
fn sign_in(request: &Seen) -> String {
    let is_signed_in = request.fields.contains("cookie: session=two");
    match (&*request.line, &*request.body) {
        (line, _) if line.starts_with("GET /authorize") => redirect(
            "set-cookie: session=one; Path=/; HttpOnly\r\n",
            "/ui/interaction/7",
        ),
        ("GET /ui/interaction/7 HTTP/1.1", _) if is_signed_in => {
            html("referrer-policy: no-referrer\r\n", CONSENT)
        }
        ("GET /ui/interaction/7 HTTP/1.1", _) => html("", LOGIN),
        (_, "csrf=c1&step=login&username=alice&password=a+b%26") => {
            redirect("set-cookie: session=two; Path=/\r\n", "/ui/interaction/7")
        }
        (_, body) if body.starts_with("csrf=c1") => html("", LOGIN),
        (_, "csrf=c2&step=consent&scope=a&scope=b&decision=allow") => {
            redirect("", "http://127.0.0.1:1/callback?code=x&state=a%20b")
        }
        (_, "csrf=c2&step=consent&scope=b&decision=allow") => redirect("", "cursor://callback?code=y"),
        (_, "csrf=c2&step=consent&scope=a&scope=b&decision=deny") => {
            redirect("", "https://client.example/cb?error=access_denied")
        }
        _ => html("", "<title>Lost</title><p>nothing here</p>"),
    }
}

#[tokio::test]
async fn a_person_signs_in_decides_and_is_sent_back_to_the_client() {
    for (decision, sent_to) in [
        (Decision::Allow, "http://127.0.0.1:1/callback?code=x&state=a%20b"),
        (Decision::AllowOnly(&["b"]), "cursor://callback?code=y"),
        (Decision::Deny, "https://client.example/cb?error=access_denied"),
    ] {
        let (origin, _) = serve(sign_in).await;
        let browser = Browser::new().unwrap();
        let redirect = browser
            .sign_in_and(&format!("{origin}/authorize?x"), "alice", "a b&", decision)
            .await
            .unwrap();
        assert_eq!(redirect.url, sent_to);
        assert_eq!(browser.cookie("session").as_deref(), Some("two"));
    }
}

#[tokio::test]
async fn a_navigation_carries_the_headers_of_a_browser() {
    let (origin, seen) = serve(sign_in).await;
    let browser = Browser::from_address("127.0.0.9".parse().unwrap()).unwrap();
    browser
        .sign_in_and(&format!("{origin}/authorize"), "alice", "a b&", Decision::Allow)
        .await
        .unwrap();
    let seen = seen.lock().unwrap();
    let lines: Vec<&str> = seen
        .iter()
        .map(|request| request.line.trim_end_matches(" HTTP/1.1"))
        .collect();
    assert_eq!(
        lines,
        [
            "GET /authorize",
            "GET /ui/interaction/7",
            "POST /ui/interaction/7",
            "GET /ui/interaction/7",
            "POST /ui/interaction/7"
        ]
    );
    assert!(seen.iter().all(|request| request.peer.to_string() == "127.0.0.9"));
    assert!(seen[0].fields.contains("sec-fetch-site: none"));
    assert!(!seen[0].fields.contains("cookie:"));
    assert!(seen[1].fields.contains("cookie: session=one"));
    assert!(seen[2].fields.contains(&format!("origin: {origin}\r\n")));
    assert!(seen[2].fields.contains("sec-fetch-site: same-origin"));
    assert!(
        seen[2]
            .fields
            .contains("content-type: application/x-www-form-urlencoded")
    );
    // The consent page asks for no referrer, and then browsers hide the origin too.
    assert!(seen[4].fields.contains("origin: null"));
}

#[tokio::test]
async fn a_refused_password_and_a_strange_page_are_told_with_their_text() {
    let (origin, _) = serve(sign_in).await;
    let browser = Browser::new().unwrap();
    let url = format!("{origin}/authorize");
    let error = browser
        .sign_in_and(&url, "alice", "wrong", Decision::Allow)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("signing in as `alice` was refused: 200 “Sign in”"),
        "{error}"
    );
    let error = browser
        .sign_in_and(&format!("{origin}/other"), "a", "b", Decision::Allow)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("“Lost”") && error.to_string().contains("nothing here"),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_that_repeats_what_was_sent_or_never_ends_is_an_error() {
    let (origin, _) = serve(|request| {
        if request.line.contains("/loop") {
            redirect("", "/loop")
        } else {
            redirect("", "/loop").replace("303 See Other", "307 Temporary Redirect")
        }
    })
    .await;
    let browser = Browser::new().unwrap();
    let error = browser
        .open(&format!("{origin}/loop"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 10 redirects"), "{error}");
    let error = browser.open(&origin).await.unwrap_err().to_string();
    assert!(error.contains("307"), "{error}");
}

#[tokio::test]
async fn a_redirect_that_the_page_s_policy_forbids_is_an_error() {
    let (origin, _) = serve(|request| {
        if request.line.starts_with("GET") {
            html(
                "content-security-policy: form-action 'self' https://client.example\r\n",
                CONSENT,
            )
        } else if request.body.ends_with("deny") {
            redirect("", "https://client.example/cb")
        } else {
            redirect("", "http://127.0.0.1:1/callback")
        }
    })
    .await;
    let browser = Browser::new().unwrap();
    let allowed = browser
        .sign_in_and(&origin, "a", "b", Decision::Deny)
        .await
        .unwrap();
    assert_eq!(allowed.url, "https://client.example/cb");
    let error = browser
        .sign_in_and(&origin, "a", "b", Decision::Allow)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("form-action"), "{error}");
}

#[test]
fn a_redirect_parameter_is_unescaped_and_must_not_stand_twice() {
    let redirect = Redirect {
        url: "http://127.0.0.1:1/cb?code=a%20b&iss=x&iss=y".into(),
    };
    assert_eq!(redirect.parameter("code").unwrap().as_deref(), Some("a b"));
    assert_eq!(redirect.parameter("state").unwrap(), None);
    assert!(redirect.parameter("iss").is_err());
}
