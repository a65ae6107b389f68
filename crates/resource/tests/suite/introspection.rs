//! How the resource asks: which credentials travel, and that each question is one of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use http::StatusCode;
use mcp_authflow_jose::{Algorithm, JwsRules, KeySet, SigningKey, UnverifiedJws};
use mcp_authflow_resource::{
    CannotCheck, ClientAuthentication, Outbound, OutboundSettings, TokenVerifier as _, VerifyError,
    verify::Introspection,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    house::{House, NOW, good_answer, settings},
    peer::{Answer, Peer, Question},
};

/// Asks about the token `t` as one who authenticates so; answers the question that arrived.
async fn question(authentication: ClientAuthentication) -> Question {
    let peer = Peer::start(|_| Answer::Ok(good_answer())).await;
    let house = House::behind(
        settings(&peer.issuer)
            .introspect_as(authentication)
            .build()
            .unwrap(),
    );
    assert_eq!(house.call_with("t").await.status, StatusCode::OK);
    peer.questions().pop().unwrap()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// S-225, S-226
#[tokio::test]
async fn the_resource_proves_who_it_is_in_the_way_that_was_chosen() {
    let token = ("token", "t");
    let (id, secret) = (("client_id", "r s"), ("client_secret", "p&q"));
    for (authentication, header, form) in [
        (ClientAuthentication::None, None, vec![token]),
        (
            ClientAuthentication::client_secret_basic("r s", "p&q"),
            Some("Basic citzOnAlMjZx"),
            vec![token],
        ),
        (
            ClientAuthentication::client_secret_post("r s", "p&q"),
            None,
            vec![token, id, secret],
        ),
        (
            ClientAuthentication::bearer("abc"),
            Some("Bearer abc"),
            vec![token],
        ),
    ] {
        let question = question(authentication).await;
        let authorization = question.headers.get("authorization");
        assert_eq!(authorization.map(|value| value.to_str().unwrap()), header);
        assert_eq!(question.form, pairs(&form));
        assert_eq!(question.headers["accept"], "application/json");
    }
}

/// RFC 7523 §3
#[tokio::test]
async fn an_assertion_is_signed_for_the_issuer_and_for_now() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let keys = KeySet::parse(json!({"keys": [key.public_jwk()]}).to_string().as_bytes()).unwrap();
    let question = question(ClientAuthentication::private_key_jwt("rs", key)).await;
    let form: BTreeMap<_, _> = question.form.into_iter().collect();
    assert_eq!((form["token"].as_str(), form["client_id"].as_str()), ("t", "rs"));
    let jws = UnverifiedJws::parse(&form["client_assertion"], &JwsRules::default()).unwrap();
    let proven = jws.verify(&keys).unwrap();
    let claims = proven.claims().unwrap();
    assert!(claims.audience().unwrap()[0].starts_with("http://127.0.0.1:"));
    assert_eq!(claims.value("iat"), Some(&json!(NOW.seconds())));
    assert_eq!(claims.value("exp"), Some(&json!(NOW.seconds() + 60)));
}

/// A question that is asked again because its connection died may have arrived the first time: its assertion is spent.
#[tokio::test]
async fn a_question_that_is_asked_again_carries_another_assertion() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/introspect", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (questions, answers) = (Arc::clone(&seen), [true, false, true]);
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut buffer = vec![0; 16 * 1_024];
            while let Ok(length @ 1..) = connection.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                questions.lock().unwrap().push(text);
                if answers.next() != Some(true) {
                    break;
                }
                let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"active\":true}";
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let authentication = ClientAuthentication::PrivateKeyJwt {
        client_id: "rs".to_owned(),
        key: Arc::new(SigningKey::generate(Algorithm::Es256).unwrap()),
        audience: Some("https://auth.test".to_owned()),
    };
    let verifier = Introspection::new(&endpoint, authentication).unwrap();
    for _ in 0..2 {
        verifier.verify("t").await.unwrap();
    }
    let questions = seen.lock().unwrap().clone();
    let assertions: BTreeSet<_> = questions
        .iter()
        .map(|text| text.split("client_assertion=").nth(1).unwrap())
        .collect();
    assert_eq!((questions.len(), assertions.len()), (3, 3));
}

/// S-223: a mistake in the settings is told from an outage, and neither is a bad token.
#[tokio::test]
async fn credentials_that_are_not_taken_are_a_mistake_in_the_settings() {
    for (status, why) in [
        (401, CannotCheck::Misconfigured),
        (403, CannotCheck::Misconfigured),
        (400, CannotCheck::Refused),
        (503, CannotCheck::Refused),
    ] {
        let peer = Peer::start(move |_| Answer::Status(status, r#"{"error":"invalid_client"}"#)).await;
        let endpoint = format!("{}/introspect", peer.issuer);
        let verifier = Introspection::new(&endpoint, ClientAuthentication::bearer("abc")).unwrap();
        assert_eq!(verifier.verify("t").await, Err(VerifyError::CannotCheck(why)));
    }
}

/// P9, P12, RP-17: whoever waits for a turn waits within the time of the question; and what was never asked is not late.
#[tokio::test]
async fn no_more_questions_are_open_than_were_allowed() {
    let peer = Peer::start(|token| match token {
        "slow" => Answer::Never,
        _ => Answer::Ok(good_answer()),
    })
    .await;
    let outbound = Outbound::new(OutboundSettings {
        max_in_flight: 2,
        time_limit: std::time::Duration::from_millis(300),
        ..OutboundSettings::default()
    });
    let endpoint = format!("{}/introspect", peer.issuer);
    let verifier = Introspection::through(outbound, &endpoint, ClientAuthentication::None).unwrap();
    let late = Err(VerifyError::CannotCheck(CannotCheck::TimedOut));
    let without_a_turn = Err(VerifyError::CannotCheck(CannotCheck::Refused));
    let outcomes = tokio::join!(
        verifier.verify("slow"),
        verifier.verify("slow"),
        verifier.verify("t")
    );
    assert_eq!(outcomes, (late.clone(), late, without_a_turn));
    assert_eq!(peer.questions().len(), 2);
    assert!(verifier.verify("t").await.is_ok());
}

/// S-005: the proxy of the environment is used when that was asked for, and not otherwise.
#[test]
fn a_proxy_is_read_from_the_environment_only_on_request() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for connection in proxy.incoming().flatten() {
            let mut buffer = [0; 1_024];
            let length = std::io::Read::read(&mut &connection, &mut buffer).unwrap_or(0);
            let line = String::from_utf8_lossy(&buffer[..length])
                .lines()
                .next()
                .map(str::to_owned);
            sender.send(line.unwrap_or_default()).unwrap();
        }
    });
    for (child, asked) in [
        ("asks_without_the_proxy", None),
        (
            "asks_through_the_proxy",
            Some("CONNECT auth.invalid:443 HTTP/1.1"),
        ),
    ] {
        let outcome = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", &format!("introspection::{child}")])
            .env("HTTPS_PROXY", &address)
            .env("ALL_PROXY", &address)
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&outcome.stdout);
        assert!(shown.contains("1 passed"), "{shown}");
        let patience = std::time::Duration::from_millis(if asked.is_some() { 5_000 } else { 0 });
        assert_eq!(heard.recv_timeout(patience).ok().as_deref(), asked);
    }
}

/// Asks at a name that does not exist.
async fn ask_nobody(use_proxy_from_environment: bool) {
    let outbound = Outbound::new(OutboundSettings {
        use_proxy_from_environment,
        ..OutboundSettings::default()
    });
    let endpoint = "https://auth.invalid/introspect";
    match Introspection::through(outbound, endpoint, ClientAuthentication::None) {
        Ok(verifier) => assert!(matches!(
            verifier.verify("t").await,
            Err(VerifyError::CannotCheck(_))
        )),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
#[ignore = "run by the test above, in an environment of its own"]
async fn asks_without_the_proxy() {
    ask_nobody(false).await;
}

#[tokio::test]
#[ignore = "run by the test above, in an environment of its own"]
async fn asks_through_the_proxy() {
    ask_nobody(true).await;
}
