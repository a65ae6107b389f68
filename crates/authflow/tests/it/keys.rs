//! Signing keys: published before they sign and until the last of their tokens has expired, sealed where they are kept.

use std::{sync::Arc, time::Duration};

use mcp_authflow::{
    AuthorizationServer, KeyRing, Ports, ServerKey,
    keys::{KeyPhase, KeyStatus, RetireKey, RingPorts, SigningError},
    port::{Clock as _, StoreError, store::SigningKeyStore as _},
    record::{AccessTokenFormat, SigningAlgorithm, SigningKeyRecord},
};
use mcp_authflow_jose::{JwsRules, KeySet, SigningKey, UnverifiedJws};
use mcp_authflow_testkit::{cast::R1, failing_store::Fault, seeded_entropy::SeededEntropy};
use mcp_authflow_types::{Timestamp, TokenResponse};
use serde_json::json;

use crate::{jwt_access_token::said, scene::Scene};

const ES256: SigningAlgorithm = SigningAlgorithm::Es256;
/// How long before it signs a key is published, by default: five minutes, and twice the half minute a node may be behind.
const LEAD: u64 = 360;

impl Scene {
    async fn keys(&self) -> Vec<KeyStatus> {
        self.server.keys().list(self.clock.now()).await.unwrap()
    }

    async fn phases(&self) -> Vec<KeyPhase> {
        self.keys().await.into_iter().map(|status| status.phase).collect()
    }

    async fn rotate(&self, at_once: bool) -> SigningKeyRecord {
        let now = self.clock.now();
        self.server.keys().rotate(ES256, at_once, now).await.unwrap()
    }

    fn in_seconds(&self, seconds: i64) -> Timestamp {
        Timestamp::from_seconds(self.clock.now().seconds() + seconds)
    }

    /// Another node on the same store.
    fn beside(&self) -> AuthorizationServer {
        let ports: Ports = self.server.ports().clone();
        AuthorizationServer::new(self.server.settings().clone(), ports)
    }
}

/// By which key a token is signed.
fn key_of(tokens: &TokenResponse) -> String {
    let rules = JwsRules {
        types: None,
        ..JwsRules::default()
    };
    let jws = UnverifiedJws::parse(tokens.access_token.expose(), &rules).unwrap();
    jws.key_id().unwrap().to_owned()
}

fn is_proven(tokens: &TokenResponse, keys: &KeySet) -> bool {
    let rules = JwsRules {
        types: None,
        ..JwsRules::default()
    };
    let jws = UnverifiedJws::parse(tokens.access_token.expose(), &rules).unwrap();
    jws.verify(keys).is_ok()
}

async fn machine(scene: &Scene) -> TokenResponse {
    let request = mcp_authflow_testkit::params::Params::client_credentials();
    scene.token("SVC", &request).await.unwrap()
}

async fn scene() -> Scene {
    Scene::with_format(AccessTokenFormat::Jwt(ES256)).await
}

/// How far apart the moments are at which a rotation is looked at, in seconds.
const STEP: usize = 5;

/// P14
#[tokio::test]
async fn a_rotation_refuses_no_token_of_anybody() {
    let scene = scene().await;
    let mut tokens = vec![machine(&scene).await];
    let first = key_of(&tokens[0]);
    let second = scene.rotate(false).await;
    assert_eq!(second.active_from, scene.in_seconds(360));
    assert_eq!(scene.key_set().await.len(), 2, "published at once");

    // Somebody fetches the set of another node at any moment and keeps it for as long as it may. Every token that lives is
    // proven by the oldest set that somebody of that patience can have.
    let other = scene.beside();
    let max_age = usize::try_from(other.jwks().await.unwrap().max_age.as_secs()).unwrap();
    let mut kept: Vec<KeySet> = Vec::new();
    for step in 0..1_800 / STEP {
        kept.push(KeySet::parse(other.jwks().await.unwrap().body.as_bytes()).unwrap());
        if step % 6 == 0 {
            tokens.push(machine(&scene).await);
        }
        let now = scene.clock.now();
        let lives = |tokens: &TokenResponse| {
            let claims = said(tokens);
            claims["exp"].as_i64().unwrap() > now.seconds()
        };
        tokens.retain(lives);
        for keys in [&kept[step], &kept[step.saturating_sub(max_age / STEP)]] {
            let all = tokens.iter().all(|tokens| is_proven(tokens, keys));
            assert!(all, "after {} s", step * STEP);
        }
        scene.wait(u64::try_from(STEP).unwrap());
    }
    assert!(tokens.iter().all(|token| key_of(token) == second.key_id));
    assert_eq!(scene.keys().await.len(), 1, "{first} is removed");
}

#[tokio::test]
async fn an_old_key_is_published_until_its_last_token_has_expired_and_then_removed() {
    let scene = scene().await;
    machine(&scene).await;
    let second = scene.rotate(false).await;
    assert_eq!(
        scene.phases().await,
        [
            KeyPhase::Signing,
            KeyPhase::Pending {
                signs_from: second.active_from
            }
        ]
    );
    scene.wait(LEAD);
    let last = machine(&scene).await;
    assert_eq!(key_of(&last), second.key_id);
    // Ten minutes of its tokens, and ten more for clocks that are apart.
    let published_until = scene.in_seconds(1_200);
    assert_eq!(
        scene.phases().await,
        [KeyPhase::Retired { published_until }, KeyPhase::Signing]
    );
    scene.wait(1_199);
    assert_eq!(scene.key_set().await.len(), 2);
    scene.wait(1);
    scene.wait(30);
    assert_eq!(scene.key_set().await.len(), 1);
    assert_eq!(
        scene.store.list_signing_keys().await.unwrap().len(),
        1,
        "it is destroyed"
    );
}

#[tokio::test]
async fn a_key_that_is_to_sign_at_once_does() {
    let scene = scene().await;
    let before = machine(&scene).await;
    let waiting = scene.rotate(false).await;
    let next = scene.rotate(true).await;
    let after = machine(&scene).await;
    assert_eq!(key_of(&after), next.key_id);
    let keys = scene.key_set().await;
    assert!(is_proven(&before, &keys) && is_proven(&after, &keys));
    scene.wait(LEAD);
    let later = machine(&scene).await;
    assert_eq!(
        key_of(&later),
        next.key_id,
        "{} never had its turn",
        waiting.key_id
    );
}

/// P14: a compromised key is dropped at once, and somebody signs all the time.
#[tokio::test]
async fn a_retired_key_proves_nothing_any_more_and_another_signs() {
    let scene = scene().await;
    let now = scene.clock.now();
    let before = machine(&scene).await;
    let stolen = key_of(&before);
    let RetireKey::Replaced(successor) = scene.server.keys().retire(&stolen, now).await.unwrap() else {
        panic!("it was the one that signed");
    };
    let keys = scene.key_set().await;
    assert!(!is_proven(&before, &keys));
    let after = machine(&scene).await;
    assert_eq!(key_of(&after), successor);
    assert!(is_proven(&after, &keys));
    assert!(scene.opens_r1(&before).await, "this server knows what it issued");
    let again = scene.server.keys().retire(&stolen, now).await.unwrap();
    assert_eq!(again, RetireKey::Unknown);
    let lines = scene.audit.lines();
    assert!(lines.contains(&format!(
        "signing_key Allowed: a signing key was retired: {stolen}"
    )));
    assert!(lines.contains(&format!(
        "signing_key Allowed: a signing key was made: {successor}"
    )));
}

#[tokio::test]
async fn retiring_a_key_that_does_not_sign_moves_nobody() {
    let scene = scene().await;
    let now = scene.clock.now();
    let signer = key_of(&machine(&scene).await);
    let waiting = scene.rotate(false).await;
    let retired = scene.server.keys().retire(&waiting.key_id, now).await.unwrap();
    assert_eq!(retired, RetireKey::Removed);
    scene.wait(2 * LEAD);
    assert_eq!(key_of(&machine(&scene).await), signer);
    assert_eq!(scene.phases().await, [KeyPhase::Signing]);
}

/// P14: nodes notice by themselves, within half a minute.
#[tokio::test]
async fn other_nodes_notice_within_half_a_minute() {
    let scene = scene().await;
    let token = machine(&scene).await;
    let other = scene.beside();
    let published = other.jwks().await.unwrap();
    scene
        .server
        .keys()
        .retire(&key_of(&token), scene.clock.now())
        .await
        .unwrap();
    scene.wait(30);
    let keys = KeySet::parse(other.jwks().await.unwrap().body.as_bytes()).unwrap();
    assert!(!is_proven(&token, &keys));
    assert_ne!(other.jwks().await.unwrap().etag, published.etag);
}

/// However many nodes begin at once, they have one key.
#[tokio::test]
async fn nodes_that_begin_together_have_one_key() {
    let scene = scene().await;
    let nodes: Vec<AuthorizationServer> = (0..8).map(|_| scene.beside()).collect();
    let mut asking = tokio::task::JoinSet::new();
    for node in nodes {
        asking.spawn(async move { node.jwks().await.unwrap().body });
    }
    let bodies = asking.join_all().await;
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(scene.keys().await.len(), 1);
}

#[tokio::test]
async fn keys_are_rotated_by_themselves_where_that_is_wanted() {
    let scene = Scene::with(|settings| settings.keys.rotate_every = Some(Duration::from_secs(86_400))).await;
    scene.set_format(R1, AccessTokenFormat::Jwt(ES256)).await;
    let first = key_of(&machine(&scene).await);
    scene.wait(86_399);
    assert_eq!(key_of(&machine(&scene).await), first);
    assert_eq!(scene.keys().await.len(), 1);
    scene.wait(31);
    assert_eq!(
        key_of(&machine(&scene).await),
        first,
        "the next one is published only"
    );
    assert_eq!(scene.keys().await.len(), 2);
    scene.wait(LEAD);
    assert_ne!(key_of(&machine(&scene).await), first);
    let never = self::scene().await;
    machine(&never).await;
    never.wait(10 * 86_400 * 365);
    machine(&never).await;
    assert_eq!(never.keys().await.len(), 1);
}

/// A key is published as long as anything lives that it signed, however long that is.
#[tokio::test]
async fn a_key_outlives_the_longest_lived_token_of_it() {
    let scene = scene().await;
    let now = scene.clock.now();
    let claims = |life: i64| json!({"sub": "x", "exp": now.seconds() + life});
    scene.server.sign("x+jwt", &claims(60)).await.unwrap();
    assert_eq!(scene.keys().await[0].key.longest_life, Duration::from_secs(600));
    scene.server.sign("x+jwt", &claims(86_400)).await.unwrap();
    assert_eq!(
        scene.keys().await[0].key.longest_life,
        Duration::from_secs(86_400)
    );
    scene.rotate(true).await;
    let published_until = scene.in_seconds(86_400 + 600);
    assert_eq!(scene.phases().await[0], KeyPhase::Retired { published_until });
    scene.store.fail("extend_signing_key", Fault::Refuses);
    let refused = scene.server.sign("x+jwt", &claims(86_400)).await;
    assert!(
        matches!(refused, Err(SigningError::Store(_))),
        "the new key has promised less"
    );
    let no_end = scene.server.sign("x+jwt", &json!({"sub": "x"})).await;
    assert!(matches!(no_end, Err(SigningError::NoExpiry)));
}

/// Verifiers read so many keys of a set and no more.
#[tokio::test]
async fn no_more_keys_are_published_than_verifiers_read() {
    let scene = scene().await;
    machine(&scene).await;
    for _ in 0..30 {
        scene.rotate(true).await;
    }
    let now = scene.clock.now();
    let refused = scene.server.keys().rotate(ES256, true, now).await;
    assert!(matches!(refused, Err(SigningError::TooMany(31))), "{refused:?}");
    // A stolen one can be dropped all the same.
    let signer = key_of(&machine(&scene).await);
    let retired = scene.server.keys().retire(&signer, now).await.unwrap();
    assert!(matches!(retired, RetireKey::Replaced(_)));
    assert_eq!(scene.key_set().await.len(), 31);
    scene.wait(1_200);
    scene.rotate(true).await;
}

/// P7: who reads the store reads no key.
#[tokio::test]
async fn a_key_is_sealed_under_the_server_key() {
    let scene = scene().await;
    scene
        .server
        .keys()
        .ensure(SigningAlgorithm::EdDsa, scene.clock.now())
        .await
        .unwrap();
    let records = scene.store.list_signing_keys().await.unwrap();
    assert_eq!(records.len(), 2);
    let sealing = ServerKey::from_bytes([7; 32]).sealing_key("signing keys");
    for record in &records {
        let algorithm = record.algorithm.algorithm();
        assert!(SigningKey::from_pkcs8(algorithm, &record.sealed).is_err());
        let opened = sealing.open(record.key_id.as_bytes(), &record.sealed).unwrap();
        let key = SigningKey::from_pkcs8(algorithm, &opened).unwrap();
        assert_eq!(key.key_id(), record.key_id);
        for piece in opened.chunks_exact(16) {
            assert!(!record.sealed.windows(16).any(|window| window == piece));
        }
        assert!(!format!("{record:?} {:?}", scene.server).contains("BEGIN"));
    }
    let body = scene.server.jwks().await.unwrap().body;
    assert!(!body.contains("\"d\""), "only public members: {body}");

    // Another server key opens none, and says what to do.
    let ring = KeyRing::new(
        RingPorts {
            store: scene.store.clone(),
            entropy: Arc::new(SeededEntropy::new(2)),
            audit: scene.audit.clone(),
            key: ServerKey::from_bytes([8; 32]),
        },
        scene.server.settings(),
    );
    let refused = ring.published(scene.clock.now()).await.unwrap_err();
    let SigningError::Store(StoreError::Broken(why)) = &refused else {
        panic!("{refused:?}");
    };
    assert!(
        why.ends_with(&format!("authflow keys retire {}", records[0].key_id)),
        "{why}"
    );
    for record in &records {
        ring.retire(&record.key_id, scene.clock.now()).await.unwrap();
    }
    ring.published(scene.clock.now()).await.unwrap();
}
