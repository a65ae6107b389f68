//! Nodes that count limits together in Redis, and go on without it.

use mcp_authflow_testkit::{server::Store, service::redis::PrivateRedis};

use crate::house::{House, builder, page};

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
