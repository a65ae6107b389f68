//! `cimd`: client metadata documents, from what an identifier may look like to how long a copy is good.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mcp_authflow_jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

use super::consent::Grant;
use crate::namespace::door::{Door, REDIRECT_URI, Tried, authorize_path};
use crate::namespace::house::AuthServer;
use crate::namespace::judgement::Judgement;
use crate::namespace::peers::{Serve, client_metadata};
use crate::namespace::world::{Expect, World};

/// Serves a document at a host of its own, and judges that the server asks for it and refuses it.
async fn refused_document(
    world: &World,
    judgement: &mut Judgement,
    what: &str,
    make: impl FnOnce(&str) -> Serve,
) -> Result<Tried> {
    let host = world.host("bad");
    let url = format!("https://{host}/client.json");
    world.peers.serve(&host, "/client.json", make(&url));
    let mut found = Judgement::default();
    let tried = world
        .refused(&mut found, Door::Document, &url, Expect::Asked)
        .await?;
    found.demand(tried.reply.status == 400, || tried.describe());
    found.demand(world.peers.hits(&host, "/client.json") == 1, || {
        "it was not asked once".to_owned()
    });
    found
        .faults
        .iter_mut()
        .for_each(|fault| fault.insert_str(0, &format!("{what}: ")));
    judgement.absorb(found);
    Ok(tried)
}

/// CM-02: a document that does not describe a client is none.
pub(super) async fn cm_02(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let good = format!("https://{}/client.json", world.host("good"));
    world.control(&mut judgement, Door::Document, &good).await?;
    let mut refused = Vec::new();
    for (member, value) in [
        ("redirect_uris", Value::Null),
        ("redirect_uris", json!([])),
        ("redirect_uris", json!([REDIRECT_URI, 7])),
        ("redirect_uris", json!([REDIRECT_URI, ""])),
        ("redirect_uris", json!([REDIRECT_URI, "javascript:alert(1)"])),
        ("redirect_uris", json!([REDIRECT_URI, "https://*/cb"])),
        ("redirect_uris", json!([REDIRECT_URI, "data:text/html,x"])),
        ("redirect_uris", json!(REDIRECT_URI)),
        ("redirect_uris", json!({"0": REDIRECT_URI})),
        ("client_name", json!("")),
        ("client_name", json!(7)),
        ("client_name", Value::Null),
        ("client_id", json!("https://elsewhere.good.test/client.json")),
        ("client_id", json!("")),
        ("client_id", Value::Null),
        (
            "client_secret",
            json!("mcpcs_a-secret-that-everybody-can-read-in-here"),
        ),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
    ] {
        let what = format!("{member} = {value}");
        let tried = refused_document(world, &mut judgement, &what, |url| {
            let mut document = client_metadata(url);
            match (&value, document.as_object_mut()) {
                (Value::Null, Some(members)) => drop(members.remove(member)),
                _ => document[member] = value,
            }
            Serve::json(&document)
        });
        refused.push(tried.await?);
    }
    for case in [
        "client_id in capitals",
        "client_id with another path",
        "client_id with a dot at its end",
    ] {
        let tried = refused_document(world, &mut judgement, case, |url| {
            let id = match case {
                "client_id in capitals" => url.to_ascii_uppercase(),
                "client_id with another path" => format!("{url}/"),
                _ => url.replace(".test/", ".test./"),
            };
            Serve::json(&client_metadata(&id))
        });
        refused.push(tried.await?);
    }
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// CM-05: an identifier that is no plain address is refused before anything is asked or looked up.
pub(super) async fn cm_05(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world
        .control(&mut judgement, Door::Document, "https://cimd.test/control.json")
        .await?;
    let asked = world.dns.asked("cimd.test");
    let long = format!("https://cimd.test/{}", "x".repeat(8 * 1_024));
    let mut refused = Vec::new();
    for url in [
        "https://cimd.test/a/../client.json",
        "https://cimd.test/./client.json",
        "https://cimd.test/a/%2e%2e/client.json",
        "https://cimd.test/a/.%2E/client.json",
        "https://cimd.test/client.json#frag",
        "https://cimd.test/client.json#",
        "https://cimd.test",
        "https://cimd.test/cli\tent.json",
        "https://cimd.test/cli ent.json",
        "https://cimd.test/client.json ",
        " https://cimd.test/client.json",
        "https://cimd.test/client.json?",
        "https://user@cimd.test/client.json",
        "https://user:pw@cimd.test/client.json",
        "https://cimd.test@10.0.0.5/client.json",
        "https://cimd.test\\@10.0.0.5/client.json",
        "https://cimd.test:22/client.json",
        "https://cimd.test./client.json",
        "https://cimd.test/client.json\r\nx: y",
        "https://cimd.test/clïent.json",
        "https:///client.json",
        "https://cimd.test:0/client.json",
        "https://cimd.test:99999/client.json",
        &long,
    ] {
        refused.push(
            world
                .refused(&mut judgement, Door::Document, url, Expect::Unasked)
                .await?,
        );
    }
    judgement.demand(world.dns.asked("cimd.test") == asked, || {
        "the name was looked up".to_owned()
    });
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// What is done to the text of a good document.
type Change = fn(&str) -> Vec<u8>;

/// CM-07: what two readers could read in two ways, or none can read, is no document.
pub(super) async fn cm_07(world: &World) -> Result<Judgement> {
    const JSON: &str = "content-type: application/json\r\n";
    let mut judgement = Judgement::default();
    let good = format!("https://{}/client.json", world.host("good"));
    world.control(&mut judgement, Door::Document, &good).await?;
    let changes: [(&str, Change); 15] = [
        ("redirect_uris twice", |text| {
            add(text, r#","redirect_uris":["https://evil.test/cb"]}"#)
        }),
        ("client_id twice", |text| {
            add(text, r#","client_id":"https://evil.test/c"}"#)
        }),
        ("the same name, escaped", |text| {
            add(text, r#","client\u005fid":"https://evil.test/c"}"#)
        }),
        ("a byte order mark", |text| {
            [b"\xef\xbb\xbf", text.as_bytes()].concat()
        }),
        ("UTF-16", |text| {
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        }),
        ("bad UTF-8", |text| {
            [&text.as_bytes()[..text.len() - 1], b",\"x\":\"\xff\"}"].concat()
        }),
        ("half a surrogate pair", |text| add(text, r#","x":"\ud800"}"#)),
        ("a trailing comma", |text| add(text, ",}")),
        ("trailing bytes", |text| [text.as_bytes(), b" x"].concat()),
        ("two documents", |text| text.repeat(2).into_bytes()),
        ("NaN", |text| add(text, r#","x":NaN}"#)),
        ("a string", |text| format!("{text:?}").into_bytes()),
        ("a number", |_| b"7".to_vec()),
        ("an array", |text| format!("[{text}]").into_bytes()),
        ("nothing", |_| Vec::new()),
    ];
    let mut refused = Vec::new();
    for (what, change) in changes {
        let tried = refused_document(world, &mut judgement, what, |url| {
            let text = client_metadata(url).to_string();
            Serve::Answer(200, JSON.to_owned(), change(&text))
        });
        refused.push(tried.await?);
    }
    for (what, depth) in [("deep", 4_000), ("deep and too large", 100_000)] {
        let tried = refused_document(world, &mut judgement, what, |url| {
            let text = client_metadata(url).to_string();
            let nested = format!(
                "{},\"x\":{}{}}}",
                &text[..text.len() - 1],
                "[".repeat(depth),
                "]".repeat(depth)
            );
            Serve::Answer(200, JSON.to_owned(), nested.into_bytes())
        });
        refused.push(tried.await?);
    }
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// The object with something else instead of its last brace.
fn add(text: &str, end: &str) -> Vec<u8> {
    [&text.as_bytes()[..text.len() - 1], end.as_bytes()].concat()
}

/// Asks for approval in the name of this client; the status, and whether it was believed.
async fn authorize(world: &World, url: &str) -> Result<(u16, bool)> {
    let reply = world.visitor()?.get(&authorize_path(url, REDIRECT_URI)).await?;
    Ok((reply.status, reply.status == 303))
}

/// CM-13: a copy lives for 30 s at least, whatever its origin says; what was no document is never one.
pub(super) async fn cm_13(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let mut hosts = Vec::new();
    for (what, headers) in [
        ("ten years", "cache-control: max-age=315360000\r\n"),
        ("no-store", "cache-control: no-store\r\n"),
        ("no-cache", "cache-control: no-cache, must-revalidate\r\n"),
        (
            "an end in 2099",
            "expires: Thu, 01 Jan 2099 00:00:00 GMT\r\ndate: Tue, 24 Nov 2026 00:00:00 GMT\r\n",
        ),
        ("an end in the past", "expires: 0\r\n"),
        ("a great age", "cache-control: max-age=60\r\nage: 999999\r\n"),
        (
            "stale for a year",
            "cache-control: max-age=1, stale-while-revalidate=31536000\r\n",
        ),
        ("nonsense", "cache-control: max-age=-1, max-age=abc\r\n"),
        ("nothing", ""),
    ] {
        judgement.input();
        let host = world.host("kept");
        let url = format!("https://{host}/client.json");
        let headers = format!("content-type: application/json\r\n{headers}");
        let body = client_metadata(&url).to_string();
        world
            .peers
            .serve(&host, "/client.json", Serve::text(200, &headers, &body));
        for _ in 0..4 {
            let (status, is_through) = authorize(world, &url).await?;
            judgement.demand(is_through, || format!("{what}: {status}"));
        }
        let hits = world.peers.hits(&host, "/client.json");
        judgement.demand(hits == 1, || format!("{what}: asked {hits} times within moments"));
        hosts.push((what, host, url));
    }
    judgement.input();
    let broken = world.host("broken");
    let url = format!("https://{broken}/client.json");
    let headers = "content-type: application/json\r\ncache-control: max-age=86400\r\n";
    world
        .peers
        .serve(&broken, "/client.json", Serve::text(200, headers, "{}"));
    let (status, is_through) = authorize(world, &url).await?;
    judgement.demand(!is_through && status == 400, || {
        format!("an empty document: {status}")
    });
    world.peers.serve_usual(&broken, "/client.json");
    tokio::time::sleep(Duration::from_secs(32)).await;
    let (status, is_through) = authorize(world, &url).await?;
    judgement.demand(is_through, || {
        format!("a document that was mended is remembered as broken: {status}")
    });
    for (what, host, url) in hosts {
        let (status, is_through) = authorize(world, &url).await?;
        judgement.demand(is_through, || format!("{what}, later: {status}"));
        let is_over = [
            "no-store",
            "no-cache",
            "an end in the past",
            "a great age",
            "stale for a year",
        ]
        .contains(&what);
        let hits = world.peers.hits(&host, "/client.json");
        if is_over {
            judgement.demand(hits == 2, || format!("{what}: asked {hits} times in 32 s"));
        } else if what != "nonsense" {
            judgement.demand(hits == 1, || format!("{what}: asked {hits} times in 32 s"));
        }
    }
    Ok(judgement)
}

/// CM-14: while a host is down the last good copy is used, or it is said that the client cannot be checked now; it does not
/// become unknown. What it was given keeps working by the same rule.
pub(super) async fn cm_14(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let host = world.host("outage");
    let url = format!("https://{host}/client.json");
    let headers = "content-type: application/json\r\ncache-control: no-store\r\n";
    let body = client_metadata(&url).to_string();
    world
        .peers
        .serve(&host, "/client.json", Serve::text(200, headers, &body));
    let mut grant = Grant::obtain(world, &world.server, &url, None).await?;
    for (what, down) in [
        ("an error", Serve::text(503, "", "")),
        ("no answer", Serve::Raw(Vec::new())),
    ] {
        judgement.input();
        world.peers.serve(&host, "/client.json", down);
        let (status, is_through) = authorize(world, &url).await?;
        judgement.demand(is_through || status == 503, || {
            format!("{what}, while the copy is fresh: {status}")
        });
        tokio::time::sleep(Duration::from_secs(32)).await;
        let (status, is_through) = authorize(world, &url).await?;
        judgement.demand(is_through || status == 503, || {
            format!("{what}, past the copy's time: {status}")
        });
        let reply = grant.refresh(None).await?;
        judgement.demand([200, 503].contains(&reply.status), || {
            format!("{what}, refresh: {} {}", reply.status, reply.brief())
        });
        // A code for a client that is down is no other's.
        world
            .peers
            .serve(&host, "/client.json", Serve::text(200, headers, &body));
    }
    // One that was never good is not made good by being down.
    judgement.input();
    let never = world.host("never");
    world
        .peers
        .serve(&never, "/client.json", Serve::text(503, "", ""));
    let (status, is_through) = authorize(world, &format!("https://{never}/client.json")).await?;
    judgement.demand(!is_through && [400, 503].contains(&status), || {
        format!("never seen: {status}")
    });
    Ok(judgement)
}

/// How the owner of a stolen key gets rid of it.
struct Replacement {
    what: &'static str,
    cache_control: &'static str,
    /// How long after it was fetched the document is replaced.
    after: Duration,
    /// Whether an administrator then has it fetched anew.
    is_purged: bool,
    /// How long the old key may be good from then on.
    patience: Duration,
}

/// CM-15: a stolen key that its owner has replaced in the document is refused when the copy's time is over at the latest,
/// and at once when an administrator has it fetched anew, on every node. Only what was fetched less than 30 s ago is not
/// fetched again before these are over.
pub(super) async fn cm_15(world: &World) -> Result<Judgement> {
    // The clock of copies counts whole seconds, and nodes take turns here.
    let least = Duration::from_secs(30);
    let moments = Duration::from_secs(5);
    let replacements = [
        Replacement {
            what: "past its time",
            cache_control: "no-store",
            after: Duration::ZERO,
            is_purged: false,
            patience: least + moments,
        },
        Replacement {
            what: "purged",
            cache_control: "max-age=86400",
            after: least + Duration::from_secs(1),
            is_purged: true,
            patience: moments,
        },
        Replacement {
            what: "purged as soon as it was fetched",
            cache_control: "max-age=86400",
            after: Duration::ZERO,
            is_purged: true,
            patience: least + moments,
        },
    ];
    let (shared, nodes) = world.two_nodes()?;
    let replacing = replacements.iter().map(|one| replace_key(world, &nodes, one));
    let mut judgement = Judgement::default();
    for found in futures_util::future::join_all(replacing).await {
        judgement.absorb(found?);
    }
    nodes.into_iter().try_for_each(AuthServer::stop)?;
    drop(shared);
    Ok(judgement)
}

async fn replace_key(world: &World, nodes: &[AuthServer; 2], how: &Replacement) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let what = how.what;
    let (old, new) = (
        SigningKey::generate(Algorithm::Es256)?,
        SigningKey::generate(Algorithm::Es256)?,
    );
    let host = world.host("stolen");
    let url = format!("https://{host}/client.json");
    publish(world, &url, &host, how.cache_control, &old);
    // The client asks for tokens with what it was given: of a stranger's code nothing is asked.
    let mut grants = Vec::new();
    for node in nodes {
        judgement.input();
        grants.push(Grant::obtain(world, node, &url, Some(&old)).await?);
    }
    tokio::time::sleep(how.after).await;
    publish(world, &url, &host, how.cache_control, &new);
    if how.is_purged {
        nodes[0].run(&["client-document", "refetch", &url])?;
    }
    let replaced = Instant::now();
    let are_refused = loop {
        let mut refused = 0;
        for grant in &mut grants {
            let reply = grant.refresh(Some(&old)).await?;
            refused += usize::from(reply.error() == "invalid_client");
        }
        if refused == grants.len() {
            break true;
        }
        if replaced.elapsed() >= how.patience {
            break false;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    judgement.demand(are_refused, || {
        format!("{what}: the old key is good after {:?}", replaced.elapsed())
    });
    for (number, grant) in grants.iter_mut().enumerate() {
        let reply = grant.refresh(Some(&new)).await?;
        judgement.demand(reply.status == 200, || {
            let reply = reply.brief();
            format!("{what}, node {number}: the new key is refused: {reply}")
        });
    }
    Ok(judgement)
}

/// Publishes the document of a client that signs with this key.
fn publish(world: &World, url: &str, host: &str, cache_control: &str, key: &SigningKey) {
    let mut document = client_metadata(url);
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["jwks"] = json!({"keys": [key.public_jwk()]});
    let headers = format!("content-type: application/json\r\ncache-control: {cache_control}\r\n");
    let served = Serve::text(200, &headers, &document.to_string());
    world.peers.serve(host, "/client.json", served);
}

/// CM-18: where documents are off, or their host is not let in, nothing is asked, and the metadata says so.
pub(super) async fn cm_18(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    for (config, path, is_let_in) in [
        (
            "[client_documents]\nenabled = false\n",
            "https://allowed.good.test/client.json",
            false,
        ),
        (ONLY, "https://allowed.good.test/client.json", true),
        (ONLY, "https://other.good.test/client.json", false),
        (ONLY, "https://sub.allowed.good.test/client.json", false),
        (ONLY, "https://evilallowed.good.test/client.json", false),
        (ONLY, "https://allowed.good.test.client.test/client.json", false),
        (ALL_BUT, "https://denied.good.test/client.json", false),
        (ALL_BUT, "https://DENIED.good.test/client.json", false),
        (ALL_BUT, "https://sub.denied.good.test/client.json", false),
        (ALL_BUT, "https://notdenied.good.test/client.json", true),
        (ALL_BUT, "https://other.good.test/client.json", true),
    ] {
        judgement.input();
        let server = world.another(config, None)?;
        let visitor = world.visitor_of(&server)?;
        let metadata = visitor
            .get("/.well-known/oauth-authorization-server")
            .await?
            .json();
        let says = metadata["client_id_metadata_document_supported"]
            .as_bool()
            .unwrap_or(false);
        judgement.demand(says != config.contains("enabled = false"), || {
            format!("{config}: the metadata says {says}")
        });
        let before = world.peers.contacts().len();
        let reply = visitor.get(&authorize_path(path, REDIRECT_URI)).await?;
        let contacts = world.peers.contacts().split_off(before);
        if is_let_in {
            judgement.demand(reply.status == 303, || {
                format!("{config}: {path}: {} {}", reply.status, reply.brief())
            });
        } else {
            let status = reply.status;
            judgement.demand([400, 403].contains(&status), || {
                format!("{config}: {path}: {status}")
            });
            judgement.demand(contacts.is_empty(), || {
                format!("{config}: {path}: asked {contacts:?}")
            });
        }
        server.stop().context("the server with another configuration")?;
    }
    Ok(judgement)
}

const ONLY: &str = "[client_documents]\ntrust = \"only\"\nhosts = \"allowed.good.test\"\n";
const ALL_BUT: &str = "[client_documents]\ntrust = \"all_but\"\nhosts = \"denied.good.test\"\n";
