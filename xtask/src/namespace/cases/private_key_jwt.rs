//! `private_key_jwt`: which keys count, and how often they are asked for.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures_util::future::join_all;
use mcp_authflow_jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

use crate::namespace::door::{self, assertion, show};
use crate::namespace::house::ISSUER;
use crate::namespace::judgement::Judgement;
use crate::namespace::peers::Serve;
use crate::namespace::visitor::Visitor;
use crate::namespace::world::World;

async fn register(visitor: &Visitor, members: &Value) -> Result<String> {
    let registered = door::register(visitor, members).await?;
    registered.map_err(|refusal| anyhow!("registration: {} {}", refusal.status, refusal.brief()))
}

/// JA-05: what an assertion says of its own key is not asked for, wherever it is.
pub(super) async fn ja_05(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let visitor = world.visitor()?;
    let id = register(&visitor, &json!({ "jwks": {"keys": [world.key.public_jwk()]} })).await?;
    judgement.input();
    let good = show(&visitor, &id, &assertion(&id, &world.key, &json!({}))?).await?;
    judgement.demand(good.error() == "invalid_grant", || {
        format!("the good one is refused: {}", good.brief())
    });
    let thief = SigningKey::generate(Algorithm::Es256)?;
    let host = world.host("evil");
    let keys = json!({"keys": [thief.public_jwk()]});
    world.peers.serve(&host, "/jwks", Serve::json(&keys));
    let registered = world.key.key_id().to_owned();
    for header in [
        json!({"jku": format!("https://{host}/jwks")}),
        json!({"jku": format!("https://{host}/jwks"), "kid": registered}),
        json!({"x5u": format!("https://{host}/chain.pem")}),
        json!({"jku": format!("{ISSUER}/authorize?redirect_uri=https://{host}/jwks")}),
        json!({"jku": format!("{ISSUER}/jwks"), "kid": registered}),
        json!({"jku": "http://169.254.169.254/latest/meta-data"}),
        json!({"jku": "https://169.254.169.254/jwks", "x5u": "https://10.0.0.5/x"}),
        json!({"jku": "https://127.0.0.1:8443/jwks"}),
        json!({"jwk": thief.public_jwk()}),
        json!({"jwk": thief.public_jwk(), "kid": registered}),
        json!({"x5c": ["MIIB"], "x5t": "AAAA", "x5t#S256": "AAAA"}),
    ] {
        judgement.input();
        let opens = || -> Result<u64> {
            Ok(crate::namespace::room::tcp_opens()?
                .saturating_sub(world.street.opened() + world.dns.connections()))
        };
        let before = opens()?;
        let reply = show(&visitor, &id, &assertion(&id, &thief, &header)?).await?;
        judgement.demand(
            [400, 401].contains(&reply.status)
                && ["invalid_client", "invalid_request"].contains(&&*reply.error()),
            || format!("{header}: {} {}", reply.status, reply.brief()),
        );
        judgement.demand(opens()? == before, || format!("{header}: somebody was asked"));
    }
    judgement.demand(world.peers.hits(&host, "/jwks") == 0, || {
        "the thief's keys were asked for".to_owned()
    });
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// JA-29: a key that its owner has withdrawn is refused when the copy's time is over at the latest, and at once when the
/// new key was seen; the new key is good at once.
pub(super) async fn ja_29(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let (at_once, in_time) = tokio::join!(new_key_is_used(world), only_old_key_is_used(world));
    judgement.absorb(at_once?);
    judgement.absorb(in_time?);
    Ok(judgement)
}

/// A client whose key set forbids keeping it, with the old key in it.
async fn client_with(world: &World, place: &str, keys: &[&SigningKey]) -> Result<(Visitor, String, String)> {
    let host = world.host(place);
    publish(world, &host, keys);
    let visitor = world.visitor()?;
    let id = register(&visitor, &json!({ "jwks_uri": format!("https://{host}/jwks") })).await?;
    Ok((visitor, id, host))
}

fn publish(world: &World, host: &str, keys: &[&SigningKey]) {
    let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
    let headers = "content-type: application/json\r\ncache-control: no-store\r\n";
    world.peers.serve(
        host,
        "/jwks",
        Serve::text(200, headers, &json!({ "keys": keys }).to_string()),
    );
}

async fn new_key_is_used(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let (old, new) = (
        SigningKey::generate(Algorithm::Es256)?,
        SigningKey::generate(Algorithm::Es256)?,
    );
    let (visitor, id, host) = client_with(world, "rotating", &[&old]).await?;
    for (what, key, is_good, publish_first) in [
        ("the old key", &old, true, false),
        ("the new key, just published", &new, true, true),
        ("the old key after the new one", &old, false, false),
        ("the new key again", &new, true, false),
    ] {
        judgement.input();
        if publish_first {
            publish(world, &host, &[&new]);
        }
        let reply = show(&visitor, &id, &assertion(&id, key, &json!({}))?).await?;
        let is_through = reply.error() == "invalid_grant";
        judgement.demand(is_through == is_good, || {
            format!("{what}: {} {}", reply.status, reply.brief())
        });
    }
    Ok(judgement)
}

async fn only_old_key_is_used(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let (old, new) = (
        SigningKey::generate(Algorithm::Es256)?,
        SigningKey::generate(Algorithm::Es256)?,
    );
    let (visitor, id, host) = client_with(world, "withdrawing", &[&old]).await?;
    let first = show(&visitor, &id, &assertion(&id, &old, &json!({}))?).await?;
    judgement.demand(first.error() == "invalid_grant", || {
        format!("the old key: {}", first.brief())
    });
    publish(world, &host, &[&new]);
    let withdrawn = Instant::now();
    // The set may not be kept, so its copy lives for the least time: 30 s.
    let until = Duration::from_secs(45);
    let refused_after = loop {
        judgement.input();
        let reply = show(&visitor, &id, &assertion(&id, &old, &json!({}))?).await?;
        if reply.error() == "invalid_client" {
            break Some(withdrawn.elapsed());
        }
        if withdrawn.elapsed() > until {
            break None;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    judgement.demand(refused_after.is_some(), || {
        format!("a withdrawn key is good after {until:?}")
    });
    let reply = show(&visitor, &id, &assertion(&id, &new, &json!({}))?).await?;
    judgement.demand(reply.error() == "invalid_grant", || {
        format!("the new key: {}", reply.brief())
    });
    Ok(judgement)
}

/// How many assertions name a key that does not exist.
const UNKNOWN_KEYS: usize = 10_000;

/// JA-30: assertions that name keys nobody has seen make the server ask for the set again once in 30 s, not more; and
/// others are served meanwhile.
pub(super) async fn ja_30(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let (visitor, id, host) = client_with(world, "guessed", &[&world.key]).await?;
    let began = Instant::now();
    let first = show(&visitor, &id, &assertion(&id, &world.key, &json!({}))?).await?;
    judgement.demand(first.error() == "invalid_grant", || {
        format!("the good one is refused: {}", first.brief())
    });
    let (other, other_id, _) = client_with(world, "bystander", &[&world.key]).await?;
    let callers = 8;
    let guessing = join_all((0..callers).map(|caller| {
        let id = &id;
        async move {
            let visitor = world.visitor()?;
            for number in 0..UNKNOWN_KEYS / callers {
                let header = json!({"kid": format!("guess-{caller}-{number}")});
                let reply = show(&visitor, id, &assertion(id, &world.key, &header)?).await?;
                anyhow::ensure!(
                    [400, 401, 429].contains(&reply.status),
                    "an unknown key is answered with {}: {}",
                    reply.status,
                    reply.brief()
                );
            }
            anyhow::Ok(())
        }
    }));
    let bystanding = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..10 {
            let reply = show(&other, &other_id, &assertion(&other_id, &world.key, &json!({}))?).await?;
            anyhow::ensure!(
                reply.error() == "invalid_grant",
                "another client is refused: {}",
                reply.brief()
            );
            slowest = slowest.max(reply.took);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(slowest)
    };
    let (guessed, slowest) = tokio::join!(guessing, bystanding);
    for caller in guessed {
        caller.context("while guessing")?;
    }
    judgement.inputs += UNKNOWN_KEYS;
    let slowest = slowest?;
    judgement.demand(slowest < Duration::from_secs(3), || {
        format!("another client waits for {slowest:?}")
    });
    let hits = world.peers.hits(&host, "/jwks");
    // The first one, a forced one at once, and as many as 30 s went by; a copy that may not be kept lives as long.
    let most = 2 + 2 * usize::try_from(began.elapsed().as_secs() / 30)?;
    judgement.demand(hits <= most, || {
        format!("asked {hits} times in {:?}", began.elapsed())
    });
    Ok(judgement)
}
