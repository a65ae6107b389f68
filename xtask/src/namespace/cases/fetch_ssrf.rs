//! `fetch_ssrf`: what a stranger writes down leads the server nowhere but to the public internet.

use anyhow::{Context, Result};
use serde_json::json;

use crate::namespace::authority::Certificate;
use crate::namespace::dns::Answer;
use crate::namespace::door::{self, Door, REDIRECT_URI, Tried, authorize_path};
use crate::namespace::house::{ISSUER, PASSWORD, USERNAME};
use crate::namespace::judgement::Judgement;
use crate::namespace::peers::Serve;
use crate::namespace::world::{Expect, GLOBAL, World};

/// Tries every door with these URLs, which must all be refused in one way, before anything is dialled.
async fn all_refused_unasked(
    world: &World,
    judgement: &mut Judgement,
    urls: impl IntoIterator<Item = String>,
) -> Result<()> {
    let mut refused = Vec::new();
    for url in urls {
        for door in Door::ALL {
            refused.push(world.refused(judgement, door, &url, Expect::Unasked).await?);
        }
    }
    one_text(judgement, &refused);
    world.judge_after(judgement, &refused).await
}

/// One text and one status at each door: who reads the answer learns nothing of the place.
pub(super) fn one_text(judgement: &mut Judgement, refused: &[Tried]) {
    for door in Door::ALL {
        let mut texts: Vec<_> = refused
            .iter()
            .filter(|tried| tried.door == door && !tried.at_registration)
            .map(|tried| (tried.reply.status, tried.text().replace(&tried.url, "URL")))
            .collect();
        texts.sort_unstable();
        texts.dedup();
        judgement.demand(texts.len() <= 1, || {
            format!(
                "{door:?}: the answers differ: {:?}",
                texts
                    .iter()
                    .map(|(status, text)| format!("{status} {text}"))
                    .collect::<Vec<_>>()
            )
        });
    }
}

fn at_hosts(hosts: &[&str]) -> Vec<String> {
    let places = hosts.iter().flat_map(|host| {
        ["", ":8443", ":9999"].map(|port| {
            [
                format!("https://{host}{port}/client.json"),
                format!("https://{host}{port}/jwks"),
            ]
        })
    });
    places.flatten().collect()
}

/// SF-01: an address that is not https is never asked, nor looked up.
pub(super) async fn sf_01(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let asked = world.dns.asked("cimd.test");
    let urls = [
        "http://cimd.test/client.json",
        "HTTP://cimd.test/client.json",
        "http://cimd.test:443/client.json",
        "ftp://cimd.test/client.json",
        "file:///etc/passwd",
        "file://cimd.test/etc/passwd",
        "gopher://cimd.test/_x",
        "data:application/json,{}",
        "unix:/run/x.sock",
        "ws://cimd.test/client.json",
        "//cimd.test/client.json",
        "https:cimd.test/client.json",
    ];
    let mut refused = Vec::new();
    for url in urls {
        for door in Door::ALL {
            refused.push(world.refused(&mut judgement, door, url, Expect::Unasked).await?);
        }
    }
    judgement.demand(world.dns.asked("cimd.test") == asked, || {
        "the name was looked up".to_owned()
    });
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// SF-03: no special-use address is dialled, on whatever port, first and last of each block.
pub(super) async fn sf_03(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let hosts = [
        "10.0.0.5",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.168.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "198.19.255.255",
        "240.0.0.1",
        "255.255.255.254",
        "255.255.255.255",
        "224.0.0.1",
        "239.255.255.255",
        "169.254.1.1",
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "localhost",
        "192.88.99.1",
    ];
    all_refused_unasked(world, &mut judgement, at_hosts(&hosts)).await?;
    Ok(judgement)
}

/// SF-04: where clouds keep the credentials of a machine, by address and by name.
pub(super) async fn sf_04(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    world
        .dns
        .name("metadata.google.internal", vec![Answer::of(&["169.254.169.254"])]);
    world
        .dns
        .name("metadata.azure.internal", vec![Answer::of(&["168.63.129.16"])]);
    let mut urls = at_hosts(&[
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "metadata.google.internal",
        "metadata.azure.internal",
        "192.0.0.192",
        "168.63.129.16",
        "[fd20:ce::254]",
    ]);
    urls.push("https://169.254.169.254/latest/meta-data/iam/security-credentials/".to_owned());
    all_refused_unasked(world, &mut judgement, urls).await?;
    Ok(judgement)
}

/// SF-05: IPv4 inside IPv6 in every form, the special blocks of IPv6, and addresses that are spelled in odd ways.
pub(super) async fn sf_05(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let hosts = [
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::ffff:127.0.0.1]",
        "[::ffff:0:10.0.0.5]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2001:0:a9fe:a9fe::1]",
        "[2002:a00:5::1]",
        "[2002:a9fe:a9fe::1]",
        "[::169.254.169.254]",
        "[::10.0.0.5]",
        "[2606:4700::5efe:a00:5]",
        "[::1]",
        "[::]",
        "[fc00::1]",
        "[fdff::1]",
        "[fe80::1]",
        "[febf::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[100::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[2001:2::1]",
        "[2001:10::1]",
        "[5f00::1]",
        "[4000::1]",
    ];
    all_refused_unasked(world, &mut judgement, at_hosts(&hosts)).await?;
    // These are no addresses in the one usual spelling; some resolvers read them as 127.0.0.1 all the same.
    let spellings = [
        "[fe80::1%25lo]",
        "[fe80::1%lo]",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "169.254.43518",
        "0xa9fea9fe",
        "[127.0.0.1]",
        "127.0.0.1%00.cimd.test",
        "①⑥⑨.254.169.254",
    ];
    let mut refused = Vec::new();
    for url in at_hosts(&spellings) {
        for door in Door::ALL {
            refused.push(world.refused(&mut judgement, door, &url, Expect::Unasked).await?);
        }
    }
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// SF-09: a redirect is an answer like any other that is no document; nobody goes where it leads.
pub(super) async fn sf_09(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let mut refused = Vec::new();
    for door in Door::ALL {
        let page = "<meta http-equiv=refresh content='0;url=https://169.254.169.254/'>";
        let elsewhere = format!("location: https://{}{}\r\n", world.host("elsewhere"), door.path());
        for what in [
            Serve::text(302, "location: http://169.254.169.254/\r\n", ""),
            Serve::text(301, "location: https://127.0.0.1/client.json\r\n", ""),
            Serve::text(308, &elsewhere, ""),
            Serve::text(307, &elsewhere, ""),
            Serve::text(303, &elsewhere, ""),
            Serve::text(300, &elsewhere, ""),
            Serve::text(
                302,
                "location: /elsewhere\r\ncontent-type: application/json\r\n",
                "{}",
            ),
            Serve::text(200, "content-type: text/html\r\n", page),
            Serve::text(
                200,
                "refresh: 0;url=https://10.0.0.5/\r\ncontent-type: text/html\r\n",
                page,
            ),
            Serve::text(200, &format!("content-type: text/plain\r\n{elsewhere}"), ""),
            Serve::text(
                201,
                &format!("content-type: application/json\r\n{elsewhere}"),
                "{}",
            ),
        ] {
            let host = world.host("redirect");
            world.peers.serve(&host, door.path(), what);
            let url = format!("https://{host}{}", door.path());
            let tried = world.refused(&mut judgement, door, &url, Expect::Asked).await?;
            judgement.demand(tried.dialled == 1, || {
                format!("one connection and no other: {}", tried.describe())
            });
            refused.push(tried);
        }
    }
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// SF-14: a host that cannot show that it is the host is not asked for anything.
pub(super) async fn sf_14(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let mut refused = Vec::new();
    for door in Door::ALL {
        for how in [
            Certificate::SelfSigned,
            Certificate::OtherName,
            Certificate::WildcardBelow,
            Certificate::WildcardTooHigh,
            Certificate::Expired,
            Certificate::NotYetValid,
            Certificate::Tls10,
        ] {
            let host = format!("deep.{}", world.host("wrongcert"));
            world.peers.show(&host, how);
            let url = format!("https://{host}{}", door.path());
            let tried = world.refused(&mut judgement, door, &url, Expect::Asked).await?;
            let has_asked = tried.contacts.iter().any(|contact| !contact.head.is_empty());
            judgement.demand(!has_asked && tried.contacts.len() == 1, || {
                format!("{how:?}: nothing may be asked: {}", tried.describe())
            });
            refused.push(tried);
        }
        // Plain http on the port of https.
        let url = format!("https://{}:8080{}", world.host("plain"), door.path());
        refused.push(world.refused(&mut judgement, door, &url, Expect::Asked).await?);
    }
    one_text_of(&mut judgement, Door::Document, &refused);
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

fn one_text_of(judgement: &mut Judgement, door: Door, refused: &[Tried]) {
    let of_it: Vec<_> = refused
        .iter()
        .filter(|tried| tried.door == door)
        .cloned()
        .collect();
    one_text(judgement, &of_it);
}

/// SF-16: what goes out is a plain request without anything of ours; proxies of the environment are not asked.
pub(super) async fn sf_16(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    for door in Door::ALL {
        let host = world.host("observer");
        let url = format!("https://{host}{}", door.path());
        let tried = world.control(&mut judgement, door, &url).await?;
        let contact = tried.contacts.first().context("nobody came")?;
        let mut names: Vec<String> = contact
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        names.sort_unstable();
        let usual = ["accept", "accept-encoding", "connection", "host", "user-agent"];
        judgement.demand(names == usual, || {
            format!("more than a plain request: {}", contact.head)
        });
        let begins = contact
            .head
            .starts_with(&format!("GET {} HTTP/1.1\r\n", door.path()));
        judgement.demand(begins, || format!("another request: {}", contact.head));
        judgement.demand(contact.header("host").as_deref() == Some(&*host), || {
            "another host".to_owned()
        });
        let agent = contact.header("user-agent").unwrap_or_default();
        let is_plain = agent.starts_with("mcp-authflow") && !agent.contains("as.test");
        judgement.demand(is_plain, || format!("the user agent tells too much: {agent}"));
        judgement.demand(contact.to.ip().to_string() == GLOBAL, || {
            format!("{} was dialled", contact.to)
        });
    }
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// SF-20: the server never asks itself, by whatever name it has.
pub(super) async fn sf_20(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let listens = world.server.address.port();
    let mut urls: Vec<String> = [
        format!("{ISSUER}/authorize?client_id={ISSUER}"),
        format!("{ISSUER}/client.json"),
        format!("{ISSUER}/jwks"),
        format!("{ISSUER}/register"),
        format!("{ISSUER}:443/jwks"),
        "https://AS.test/jwks".to_owned(),
        "https://as.test./jwks".to_owned(),
    ]
    .into();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[::]",
    ] {
        urls.push(format!("https://{host}:{listens}/jwks"));
        // Another node beside it.
        urls.push(format!("https://{host}:{}/jwks", listens + 1));
    }
    let mut refused = Vec::new();
    for url in urls {
        for door in Door::ALL {
            refused.push(world.refused(&mut judgement, door, &url, Expect::Unasked).await?);
        }
    }
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// SF-23: of everything else that a client's metadata points at, nothing is asked; a picture at most, for showing, and
/// never at an address of special use.
pub(super) async fn sf_23(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let host = world.host("pointed-at");
    let inner = world.host_with("inner", vec![Answer::of(&["10.0.0.5"])]);
    let pointing = |place: &str| {
        json!({
            "logo_uri": format!("https://{inner}/logo.png"),
            "policy_uri": format!("https://{place}/policy"),
            "tos_uri": format!("https://{place}/tos"),
            "client_uri": format!("https://{place}/"),
            "sector_identifier_uri": format!("https://{place}/sector"),
            "request_uris": [format!("https://{place}/request")],
            "backchannel_logout_uri": format!("https://{place}/logout"),
            "frontchannel_logout_uri": format!("https://{place}/front"),
            "initiate_login_uri": format!("https://{place}/login"),
        })
    };
    for place in [host.as_str(), inner.as_str(), "169.254.169.254"] {
        judgement.input();
        let before = world.peers.contacts().len();
        let visitor = world.visitor()?;
        let mut members = pointing(place);
        members["token_endpoint_auth_method"] = json!("none");
        let id = match door::register(&visitor, &members).await? {
            Ok(id) => id,
            Err(refusal) => {
                judgement.demand(refusal.status == 400, || {
                    format!("registration answers {}", refusal.status)
                });
                continue;
            }
        };
        show_consent(world, &mut judgement, &id).await?;
        let contacts = world.peers.contacts().split_off(before);
        judgement.demand(contacts.is_empty(), || {
            format!("somebody was asked: {contacts:?}")
        });
    }
    for place in [host.as_str(), inner.as_str(), "169.254.169.254"] {
        judgement.input();
        let own = world.host("pointing");
        let id = format!("https://{own}/client.json");
        let mut document = crate::namespace::peers::client_metadata(&id);
        for (name, value) in pointing(place).as_object().context("an object")? {
            document[name] = value.clone();
        }
        world.peers.serve(&own, "/client.json", Serve::json(&document));
        let before = world.peers.contacts().len();
        show_consent(world, &mut judgement, &id).await?;
        let contacts = world.peers.contacts().split_off(before);
        let others: Vec<_> = contacts
            .iter()
            .filter(|contact| contact.place() != Some((own.clone(), "/client.json".to_owned())))
            .collect();
        judgement.demand(others.is_empty(), || {
            format!("somebody else was asked: {others:?}")
        });
    }
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// Opens the consent page of this client, signed in, and everything of ours that the page shows.
async fn show_consent(world: &World, judgement: &mut Judgement, client_id: &str) -> Result<()> {
    let browser = world.visitor()?;
    let reply = browser.get(&authorize_path(client_id, REDIRECT_URI)).await?;
    let place = reply.location().map(str::to_owned);
    judgement.demand(reply.status == 303, || {
        format!("{client_id}: {} {}", reply.status, reply.brief())
    });
    let Some(place) = place else { return Ok(()) };
    let page = browser.sign_in(&place, USERNAME, PASSWORD).await?;
    judgement.demand(page.asks_for("consent"), || {
        format!("no consent page: {}", page.brief())
    });
    for piece in page.body.split("src=\"").skip(1) {
        let source = piece.split('"').next().unwrap_or("");
        judgement.demand(source.starts_with('/'), || format!("the page shows {source}"));
        browser.get(source).await?;
    }
    Ok(())
}
