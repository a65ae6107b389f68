//! Limits, as somebody meets them who looks for a way around.

use std::net::Ipv4Addr;

use mcp_authflow_testkit::browser::Browser;
use reqwest::{Method, StatusCode};

use crate::house::{House, PASSWORD, builder, page};

/// What a proxy would say of its caller; nobody named a proxy here.
const ADDRESS_HEADERS: [&[&str]; 7] = [
    &["x-forwarded-for"],
    &["x-real-ip"],
    &["true-client-ip"],
    &["cf-connecting-ip"],
    &["forwarded"],
    &["x-client-ip"],
    &["x-forwarded-for", "x-forwarded-for"],
];

/// The headers of one kind, with an address that was not seen before.
fn address_headers(kind: usize, number: u8) -> Vec<(&'static str, String)> {
    let names = ADDRESS_HEADERS[kind % ADDRESS_HEADERS.len()].iter().enumerate();
    let headers = names.map(|(place, name)| {
        let address = Ipv4Addr::new(203, 0, u8::try_from(place).unwrap(), number).to_string();
        let is_rfc_7239 = *name == "forwarded";
        (
            *name,
            if is_rfc_7239 {
                format!("for={address}")
            } else {
                address
            },
        )
    });
    headers.collect()
}

/// A login form, and what is needed to send it by hand.
struct LoginForm {
    path: String,
    cookie: String,
    csrf: String,
}

impl LoginForm {
    async fn open(house: &House, browser: &Browser, url: &str) -> Self {
        let shown = page(browser.open(url).await.unwrap());
        let form = shown.form_with("step", "login").expect("a login form");
        assert_eq!(form.action.origin().ascii_serialization(), house.server.origin());
        Self {
            path: form.action.path().to_owned(),
            cookie: format!("authflow_session={}", browser.cookie("authflow_session").unwrap()),
            csrf: form.value("csrf").unwrap().to_owned(),
        }
    }

    /// Sends it, to another path perhaps, and with further headers.
    async fn send(
        &self,
        house: &House,
        path: &str,
        account: (&str, &str),
        headers: &[(&'static str, String)],
    ) -> reqwest::Response {
        let fields = [
            ("csrf", self.csrf.as_str()),
            ("step", "login"),
            ("username", account.0),
            ("password", account.1),
        ];
        let mut request = house
            .http
            .post(format!("{}{path}", house.server.origin()))
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin")
            .form(&fields);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.unwrap()
    }
}

/// RL-02: a caller has one address, whatever it says of itself. Were one of these headers believed, its tries would be missing
/// from the count.
#[tokio::test]
async fn no_header_makes_a_guesser_somebody_else() {
    let house = House::open();
    let browser = house.browser();
    let form = LoginForm::open(&house, &browser, &house.authorize_url("web", "")).await;
    for number in 1..=50 {
        let name = format!("nobody{number}");
        let headers = address_headers(number.into(), number);
        let account = (name.as_str(), "whatever it may be");
        let answer = form.send(&house, &form.path, account, &headers).await;
        assert_eq!(answer.status(), StatusCode::OK, "{number}");
    }
    for kind in 0..ADDRESS_HEADERS.len() {
        let headers = address_headers(kind, 200);
        let answer = form.send(&house, &form.path, ("alice", PASSWORD), &headers).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{headers:?}");
        assert!(answer.headers().contains_key("retry-after"));
        assert!(!answer.headers().contains_key("set-cookie"));
    }
    // Nobody else is concerned.
    let elsewhere = House::browser_at("127.0.0.66");
    house.code_of(&elsewhere).await;
}

impl House {
    async fn code_of(&self, browser: &Browser) -> String {
        self.code(browser, "web", mcp_authflow_testkit::browser::Decision::Allow)
            .await
    }
}

/// A server with a small limit on requests at the token endpoint.
fn strict() -> House {
    House::of(
        builder()
            .env("AUTHFLOW_LIMITS__TOKEN_REQUESTS_PER_ADDRESS_PER_MINUTE", "14")
            .start()
            .unwrap(),
    )
}

async fn ask_for_a_token(
    house: &House,
    method: Method,
    path: &str,
    headers: &[(&str, String)],
) -> StatusCode {
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "x"),
        ("client_id", "web"),
    ];
    let mut request = house
        .http
        .request(method, format!("{}{path}", house.server.origin()))
        .form(&form);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.send().await.unwrap().status()
}

/// RL-02, at the token endpoint.
#[tokio::test]
async fn no_header_gives_a_client_another_share() {
    let house = strict();
    for number in 0..14 {
        let headers = address_headers(number.into(), number);
        let status = ask_for_a_token(&house, Method::POST, "/token", &headers).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{number}");
    }
    for kind in 0..ADDRESS_HEADERS.len() {
        let headers = address_headers(kind, 200);
        let status = ask_for_a_token(&house, Method::POST, "/token", &headers).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{headers:?}");
    }
}

/// RL-10: an endpoint has one path and one way to be asked, and its limit is there; no other spelling is an endpoint.
#[tokio::test]
async fn no_alias_of_the_token_endpoint_passes_its_limit() {
    let house = strict();
    let own = house.server.origin().trim_start_matches("http://").to_owned();
    let hosts = [own.as_str(), "localhost", "another.example:99"];
    for number in 0..14 {
        // By another name, or with an empty query, it is the same endpoint, and counts.
        let (path, host) = (["/token", "/token?"][number % 2], hosts[number % 3]);
        let status = ask_for_a_token(&house, Method::POST, path, &[("host", host.to_owned())]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {host}");
    }
    for (path, host) in [("/token", hosts[0]), ("/token?", hosts[1]), ("/token", hosts[2])] {
        let status = ask_for_a_token(&house, Method::POST, path, &[("host", host.to_owned())]).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{path} {host}");
    }
    // A query is refused as such, before anything is read.
    for query in ["x", "grant_type=refresh_token&refresh_token=x&client_id=web"] {
        let answer = house
            .http
            .post(format!("{}/token?{query}", house.server.origin()))
            .form(&[("grant_type", "refresh_token")]);
        let (status, error) = crate::house::answer(answer).await;
        assert_eq!(
            (status, crate::house::text(&error, "error_description")),
            (400, "parameters belong in the body, not in the query")
        );
    }
    for alias in [
        "/Token",
        "/TOKEN",
        "//token",
        "/token/",
        "/token//",
        "/token%20",
        "/%74oken",
        "/token;x",
        "/token%2f",
        "/token%00",
        "/ui/..%2ftoken",
        "/token.json",
        "/v1/token",
    ] {
        let status = ask_for_a_token(&house, Method::POST, alias, &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{alias}");
    }
    for method in [
        Method::GET,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
    ] {
        let status = ask_for_a_token(&house, method.clone(), "/token", &[]).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    let override_it = [("x-http-method-override", "POST".to_owned())];
    let status = ask_for_a_token(&house, Method::PUT, "/token", &override_it).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(by_http_2(&house, "/token").await, StatusCode::TOO_MANY_REQUESTS);
}

/// The status of a token request by HTTP/2, from the same address.
async fn by_http_2(house: &House, path: &str) -> StatusCode {
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((house.address(), 0).into()).unwrap();
    let server = (Ipv4Addr::LOCALHOST, house.server.port()).into();
    let stream = TokioIo::new(socket.connect(server).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("{}{path}", house.server.origin()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=refresh_token&refresh_token=x&client_id=web".to_owned())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    let status = answer.status();
    // A server that is asked to stop would wait for it.
    drop((answer, sender));
    connection.await.unwrap().unwrap();
    status
}

/// RL-10: the password of an account is asked for at one limit, whichever form, path or host name it comes by.
#[tokio::test]
async fn no_other_door_takes_a_password_beyond_the_limit() {
    let house = House::open();
    let browser = house.browser();
    let form = LoginForm::open(&house, &browser, &house.authorize_url("web", "")).await;
    let device = LoginForm::open(&house, &browser, &house.server.url("/ui/device")).await;
    let wrong = ("alice", "not her password at all");
    for number in 0..10 {
        let (form, query) = [(&form, ""), (&form, "?x"), (&device, ""), (&device, "?x")][number % 4];
        let path = format!("{}{query}", form.path);
        let answer = form.send(&house, &path, wrong, &[]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let right = ("alice", PASSWORD);
    let is_refused = async |form: &LoginForm, path: &str, host: &str, statuses: &[u16]| {
        let host = [("host", host.to_owned())];
        let answer = form.send(&house, path, right, &host).await;
        let status = answer.status().as_u16();
        assert!(statuses.contains(&status), "{path} {host:?}: {status}");
        assert!(!answer.headers().contains_key("location"), "{path} {host:?}");
        assert!(!answer.headers().contains_key("set-cookie"), "{path} {host:?}");
    };
    for form in [&form, &device] {
        let path = &form.path;
        for query in ["", "?x", "?step=login"] {
            for host in ["127.0.0.1", "localhost", "another.example"] {
                is_refused(form, &format!("{path}{query}"), host, &[429]).await;
            }
        }
        let upper = path.replacen("/ui/", "/UI/", 1);
        for alias in [
            upper.as_str(),
            &format!("/{path}"),
            &format!("{path}/"),
            &format!("{path}%20"),
            &format!("{path};x"),
            &path.replacen("/ui/", "/ui//", 1),
            &path.replacen("/ui/", "/%75i/", 1),
            &path.to_uppercase(),
        ] {
            is_refused(form, alias, "127.0.0.1", &[400, 404, 429]).await;
        }
    }
    let home = page(browser.open(&house.server.url("/ui/")).await.unwrap());
    assert!(home.text.contains("Not signed in"), "{}", home.text);
}
