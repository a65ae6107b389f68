//! `fetch_ssrf`, names: what a name leads to is judged as a whole, at each use, by the answer that is dialled.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::fetch_ssrf::one_text;
use crate::namespace::dns::{Answer, parse};
use crate::namespace::door::{self, Door};
use crate::namespace::judgement::Judgement;
use crate::namespace::peers::{Serve, is_global};
use crate::namespace::world::{Expect, GLOBAL, World};

/// SF-07: one special-use address in an answer refuses the whole name, whatever stands beside it and however it came.
pub(super) async fn sf_07(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let many = |last: &str| {
        let mut addresses: Vec<String> = (1..=60).map(|number| format!("93.184.215.{number}")).collect();
        addresses.push(last.to_owned());
        Answer::Addresses(
            addresses
                .iter()
                .filter_map(|address| address.parse().ok())
                .collect(),
        )
    };
    let mut refused = Vec::new();
    for answer in [
        Answer::of(&[GLOBAL, "127.0.0.1"]),
        Answer::of(&["127.0.0.1", GLOBAL]),
        Answer::of(&[GLOBAL, "::1"]),
        Answer::of(&[GLOBAL, "2606:4700::1", "fd00::1"]),
        Answer::of(&[GLOBAL, "10.0.0.5"]),
        Answer::of(&[GLOBAL, "169.254.169.254"]),
        Answer::of(&[GLOBAL, "100.64.0.1"]),
        Answer::of(&["::ffff:127.0.0.1"]),
        Answer::of(&["64:ff9b::a9fe:a9fe"]),
        Answer::of(&[GLOBAL, "64:ff9b::808:808"]),
        Answer::of(&["2002:a00:5::1"]),
        Answer::of(&["fe80::1"]),
        Answer::of(&["0.0.0.0"]),
        Answer::of(&["::"]),
        Answer::of(&["255.255.255.255"]),
        Answer::of(&["224.0.0.251"]),
        Answer::of(&["198.18.0.1"]),
        Answer::of(&["203.0.113.7"]),
        // More than a datagram holds, so that the resolver asks again over TCP.
        many("10.0.0.5"),
        Answer::Alias(vec!["localhost".to_owned()], parse(&["127.0.0.1"])),
        Answer::Alias(vec!["db.corp.internal".to_owned()], parse(&["10.0.0.7"])),
        Answer::chain(30, &["10.0.0.5"]),
        Answer::chain(30, &[GLOBAL, "10.0.0.5"]),
    ] {
        for door in Door::ALL {
            let host = world.host_with("mixed", vec![answer.clone()]);
            let url = format!("https://{host}{}", door.path());
            refused.push(world.refused(&mut judgement, door, &url, Expect::Unasked).await?);
        }
    }
    one_text(&mut judgement, &refused);
    for door in Door::ALL {
        // The same shapes, all of ordinary addresses, are believed: it is the address that counts.
        for answer in [
            Answer::of(&[GLOBAL, "2606:4700::1"]),
            Answer::of(&["2606:4700::1"]),
            many("93.184.215.99"),
            Answer::Alias(vec!["edge.cdn.test".to_owned()], parse(&[GLOBAL])),
            Answer::chain(8, &[GLOBAL]),
        ] {
            let host = world.host_with("plain", vec![answer]);
            let url = format!("https://{host}{}", door.path());
            world.control(&mut judgement, door, &url).await?;
        }
        refused.extend(rebinding(world, &mut judgement, door).await?);
    }
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// The name leads to an ordinary address at the first look-up, and to this computer at every later one. The address that
/// was judged is the one that is dialled; and at the next fetch it is judged anew.
async fn rebinding(world: &World, judgement: &mut Judgement, door: Door) -> Result<Vec<door::Tried>> {
    let mut refused = Vec::new();
    for later in ["127.0.0.1", "10.0.0.5", "169.254.169.254"] {
        let host = world.host_with("rebind", vec![Answer::of(&[GLOBAL]), Answer::of(&[later])]);
        let first = world
            .control(judgement, door, &format!("https://{host}{}", door.path()))
            .await?;
        let are_global = first.contacts.iter().all(|contact| is_global(contact.to.ip()));
        judgement.demand(are_global && world.dns.asked(&host) == 1, || {
            format!("looked up {} times: {}", world.dns.asked(&host), first.describe())
        });
        let second = format!("https://{host}/second{}", door.path());
        refused.push(world.refused(judgement, door, &second, Expect::Unasked).await?);
    }
    Ok(refused)
}

/// SF-22: what is registered is a text, judged at each use by what it leads to then.
pub(super) async fn sf_22(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let door = Door::KeySet;
    world
        .control(
            &mut judgement,
            door,
            &format!("https://{}/jwks", world.host("registered")),
        )
        .await?;
    let redirecting = world.host("redirecting");
    world.peers.serve(
        &redirecting,
        "/jwks",
        Serve::text(302, "location: https://10.0.0.5/jwks\r\n", ""),
    );
    for (url, expect) in [
        ("https://169.254.169.254/jwks".to_owned(), Expect::Unasked),
        ("https://10.0.0.5/jwks".to_owned(), Expect::Unasked),
        ("https://[::1]/jwks".to_owned(), Expect::Unasked),
        ("http://cimd.test/jwks".to_owned(), Expect::Unasked),
        ("http://10.0.0.5/jwks".to_owned(), Expect::Unasked),
        (format!("https://{redirecting}/jwks"), Expect::Asked),
    ] {
        world.refused(&mut judgement, door, &url, expect).await?;
    }
    // Harmless when it was registered and at its first use; another address afterwards.
    let host = world.host_with("later", vec![Answer::of(&[GLOBAL]), Answer::of(&["10.0.0.5"])]);
    // A set that may not be kept: the next use after a while asks again, and so does an unknown key at once.
    let visitor = world.visitor()?;
    let members = json!({ "jwks_uri": format!("https://{host}/jwks") });
    if let Ok(id) = door::register(&visitor, &members).await? {
        judgement.input();
        let good = door::assertion(&id, &world.key, &json!({}))?;
        let reply = door::show(&visitor, &id, &good).await?;
        judgement.demand(reply.error() == "invalid_grant", || {
            format!("the good one: {}", reply.brief())
        });
        let before = world.peers.contacts().len();
        let unknown = door::assertion(&id, &world.key, &json!({"kid": "another"}))?;
        let reply = door::show(&visitor, &id, &unknown).await?;
        judgement.demand(reply.error() != "invalid_grant", || {
            format!("believed: {}", reply.brief())
        });
        let contacts = world.peers.contacts().split_off(before);
        judgement.demand(contacts.is_empty(), || {
            format!("dialled after rebinding: {contacts:?}")
        });
        judgement.demand(world.dns.asked(&host) == 2, || {
            "it was not looked up anew".to_owned()
        });
    } else {
        judgement.demand(false, || "a name cannot be registered".to_owned());
    }
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// P12: names that nobody can say, that take their time, that go round in circles: an answer comes in time, nobody is
/// dialled, and others are served meanwhile.
pub(super) async fn p12_names(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let circle = vec![
        "alias-0.test".to_owned(),
        "alias-1.test".to_owned(),
        "alias-0.test".to_owned(),
    ];
    let mut refused = Vec::new();
    for answer in [
        Answer::NoSuchName,
        Answer::Failure,
        Answer::of(&[]),
        Answer::Alias(circle, Vec::new()),
        Answer::chain(40, &[]),
        Answer::Silence,
        Answer::Late(Duration::from_secs(20), parse(&[GLOBAL])),
    ] {
        for door in Door::ALL {
            judgement.input();
            let host = world.host_with("lost", vec![answer.clone()]);
            let tried = world
                .knock(door, &format!("https://{host}{}", door.path()))
                .await?;
            let statuses = [400, 401, 503, 504];
            judgement.demand(
                !tried.is_through() && statuses.contains(&tried.reply.status) && tried.dialled == 0,
                || format!("{answer:?}: {}", tried.describe()),
            );
            judgement.demand(tried.took() < Duration::from_secs(6), || {
                format!("too late: {}", tried.describe())
            });
            refused.push(tried);
        }
    }
    // Two seconds are within what a fetch may take.
    for door in Door::ALL {
        let late = Answer::Late(Duration::from_secs(1), parse(&[GLOBAL]));
        let host = world.host_with("slow", vec![late]);
        world
            .control(&mut judgement, door, &format!("https://{host}{}", door.path()))
            .await?;
    }
    world.controls(&mut judgement).await?;
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}
