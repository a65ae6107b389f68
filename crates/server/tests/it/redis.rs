//! Nodes that count limits together in Redis, and go on without it.

use std::{process::Command, time::Duration};

use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::{server::Store, service::redis::PrivateRedis};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client_assertion::{claims, machine, now};
use crate::house::{BOOTSTRAP, House, R1, answer, builder, page};

/// Guesses alice's password until that is refused; says how often it was not.
async fn guesses(nodes: &[&House]) -> usize {
    let browsers: Vec<_> = nodes.iter().map(|house| house.browser()).collect();
    let mut shown = Vec::new();
    for (house, browser) in nodes.iter().zip(&browsers) {
        shown.push(page(browser.open(&house.authorize_url("web", "")).await.unwrap()));
    }
    for guess in 0..30 {
        let node = guess % nodes.len();
        let form = shown[node]
            .form_with("step", "login")
            .expect("a login form")
            .clone();
        let fields = [("username", "alice"), ("password", "not her password at all")];
        shown[node] = page(browsers[node].submit(&shown[node], &form, &fields).await.unwrap());
        if shown[node].status == 429 {
            return guess;
        }
    }
    30
}

async fn readyz(house: &House) -> (u16, String) {
    let answer = house.http.get(house.server.url("/readyz")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn node(redis: &PrivateRedis, nodes: u32) -> House {
    let config = format!("nodes = {nodes}\n[redis]\nurl = \"{}\"\n", redis.url());
    House::of(builder().store(Store::Memory).config(config).start().unwrap())
}

/// P10, RL-06, RL-07, S-073, S-079
#[tokio::test]
async fn nodes_count_limits_together_and_each_its_share_without_redis() {
    let mut redis = PrivateRedis::start().unwrap();
    let (one, two) = (node(&redis, 2), node(&redis, 2));
    assert_eq!(guesses(&[&one, &two]).await, 10);
    assert_eq!(readyz(&one).await, (200, "ready\n".to_owned()));

    let (three, four) = (node(&redis, 2), node(&redis, 2));
    let Some(process) = redis.process() else {
        return;
    };
    process.kill().unwrap();
    // Ten tries an account are five for each of two nodes; the others remember what they let through.
    assert_eq!(guesses(&[&three]).await, 5);
    assert_eq!(guesses(&[&four]).await, 5);
    assert_eq!(guesses(&[&one]).await, 0);
    assert_eq!(readyz(&three).await, (200, "ready, without redis\n".to_owned()));
    let said = three.server.output().text();
    assert_eq!(
        said.matches("Redis cannot be asked any more").count(),
        1,
        "{said}"
    );

    // One that starts without it serves, too.
    let five = node(&redis, 2);
    assert_eq!(readyz(&five).await, (200, "ready, without redis\n".to_owned()));
    assert_eq!(guesses(&[&five]).await, 5);
}

/// DC-04: three nodes are one door, whatever a caller writes into its headers.
#[tokio::test]
async fn one_address_registers_no_more_clients_at_three_nodes_than_at_one() {
    let redis = PrivateRedis::start().unwrap();
    let nodes = [node(&redis, 3), node(&redis, 3), node(&redis, 3)];
    let mut registered = 0;
    for number in 0..90 {
        let house = &nodes[number % nodes.len()];
        let body = json!({
            "client_name": format!("Probe {number}"), "redirect_uris": ["https://client.example/cb"],
            "token_endpoint_auth_method": "none",
        });
        let request = house.http.post(house.server.url("/register")).json(&body);
        let response = request
            .header("x-forwarded-for", format!("203.0.113.{number}"))
            .send()
            .await
            .unwrap();
        match response.status().as_u16() {
            201 => registered += 1,
            429 => assert!(response.headers().contains_key("retry-after"), "{number}"),
            status => panic!("{number}: {status}"),
        }
    }
    assert_eq!(registered, 20);
}

/// What happens to Redis.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Dies,
    Hangs,
    IsFull,
}

/// Says a command to Redis, as `redis-cli` would.
async fn command(redis: &PrivateRedis, words: &str) {
    let address = redis.url().trim_start_matches("redis://").trim_end_matches('/');
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{words}\r\n").as_bytes()).await.unwrap();
    let mut said = [0; 5];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"+OK\r\n", "{words}");
}

fn signal(redis: &mut PrivateRedis, name: &str) {
    let pid = redis.process().unwrap().pid().to_string();
    assert!(
        Command::new("kill")
            .args([name, &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// JA-12: while the memory of used assertions is away none is taken on trust, and one that was used stays used.
async fn nothing_is_taken_on_trust(trouble: Trouble) {
    let mut redis = PrivateRedis::start().unwrap();
    if redis.process().is_none() {
        return;
    }
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let config = format!("[redis]\nurl = \"{}\"\nreplay = \"redis\"\n", redis.url());
    let bootstrap = format!("{BOOTSTRAP}{}", machine("robot", &key));
    let house = House::of(builder().bootstrap(bootstrap).config(config).start().unwrap());
    let sign = |jti: &str| {
        let mut claims = claims("robot", house.server.issuer(), jti);
        // A memory that begins now cannot tell of what may have been signed before; what is dated ahead is told of sooner.
        claims["iat"] = json!(now() + 28);
        claims["exp"] = json!(now() + 90);
        key.sign("JWT", &claims).unwrap()
    };
    // 200, 401, or 503 with the time to come again; nothing else, and nothing late.
    let enter = async |assertion: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", R1),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion),
        ];
        let request = house.http.post(house.server.url("/token")).form(&form);
        let sent = tokio::time::timeout(Duration::from_secs(10), request.send()).await;
        let response = sent.expect("an answer in time").unwrap();
        let status = response.status().as_u16();
        if [503, 504].contains(&status) {
            assert!(response.headers().contains_key("retry-after"), "{trouble:?}");
        } else {
            assert!([200, 401].contains(&status), "{trouble:?}: {status}");
        }
        status
    };
    let until_it_enters = async |name: &str| {
        for number in 0..900 {
            let assertion = sign(&format!("{name} {number}"));
            if enter(&assertion).await == 200 {
                return assertion;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{trouble:?}: no assertion enters");
    };
    let used = until_it_enters("before").await;
    match trouble {
        Trouble::Dies => drop(redis.process().unwrap().kill().unwrap()),
        Trouble::Hangs => signal(&mut redis, "-STOP"),
        Trouble::IsFull => {
            command(&redis, "CONFIG SET maxmemory-policy noeviction").await;
            command(&redis, "CONFIG SET maxmemory 1").await;
        }
    }
    assert_ne!(enter(&used).await, 200, "{trouble:?}: used before");
    let meanwhile = sign("meanwhile");
    let first = enter(&meanwhile).await;
    let second = enter(&meanwhile).await;
    assert!(
        first != 200 || second != 200,
        "{trouble:?}: twice while it was away"
    );
    assert_ne!(enter(&used).await, 200, "{trouble:?}: used before");
    match trouble {
        Trouble::Dies => return,
        Trouble::Hangs => signal(&mut redis, "-CONT"),
        Trouble::IsFull => command(&redis, "CONFIG SET maxmemory 0").await,
    }
    until_it_enters("after").await;
    assert_ne!(
        enter(&used).await,
        200,
        "{trouble:?}: used before, and well again"
    );
    if first == 200 {
        assert_ne!(enter(&meanwhile).await, 200, "{trouble:?}: used meanwhile");
    }
    let health = house.http.get(house.server.url("/healthz"));
    assert_eq!(answer(health).await.0, 200);
}

/// JA-12
#[tokio::test]
async fn no_assertion_is_taken_on_trust_when_redis_dies() {
    nothing_is_taken_on_trust(Trouble::Dies).await;
}

/// JA-12
#[tokio::test]
async fn no_assertion_is_taken_on_trust_when_redis_hangs() {
    nothing_is_taken_on_trust(Trouble::Hangs).await;
}

/// JA-12
#[tokio::test]
async fn no_assertion_is_taken_on_trust_when_redis_is_full() {
    nothing_is_taken_on_trust(Trouble::IsFull).await;
}
