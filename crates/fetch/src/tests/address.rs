//! Where a connection goes.

use mcp_authflow_types::special_use::SpecialUse;

use super::{peer::json, *};
use crate::{Refused, Unavailable};

fn refused(answer: Result<Document, FetchError>) -> Refused {
    match answer {
        Err(FetchError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// SF-01, SF-03, SF-04, SF-05: nothing is looked up, nothing is dialled.
/// M-069, M-168
#[tokio::test]
async fn a_special_address_in_a_url_is_refused_in_every_spelling() {
    let canary = Peer::serving("{}").await;
    let names = Names::answering(&[&["127.0.0.1"]]);
    let fetcher = Fetcher::builder().resolver(names.resolver()).build();
    for host in [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.5",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "203.0.113.1",
        "240.0.0.1",
        "224.0.0.1",
        "169.254.1.1",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fd00:ec2::254]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2001:0:a9fe:a9fe::1]",
        "[2002:7f00:1::]",
        "[2606:4700::5efe:127.0.0.1]",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[100::1]",
        "[2001:db8::1]",
    ] {
        let answer = get(&fetcher, &format!("https://{host}:{}/x", canary.port)).await;
        assert!(matches!(refused(answer), Refused::SpecialUse(_, _)), "{host}");
    }
    for host in [
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "localhost.",
    ] {
        let answer = get(&fetcher, &format!("https://{host}:{}/x", canary.port)).await;
        assert_eq!(refused(answer), Refused::Host, "{host}");
    }
    for host in ["[fe80::1%25eth0]", "[fe80::1%eth0]"] {
        let answer = get(&fetcher, &format!("https://{host}:{}/x", canary.port)).await;
        assert!(
            matches!(refused(answer), Refused::Host | Refused::Malformed),
            "{host}"
        );
    }
    for scheme in ["http", "ftp", "gopher", "ws"] {
        for host in ["127.0.0.1", "client.test"] {
            let answer = get(&fetcher, &format!("{scheme}://{host}:{}/x", canary.port)).await;
            assert_eq!(refused(answer), Refused::NotHttps, "{scheme}://{host}");
        }
    }
    for url in [
        "file:///etc/passwd",
        "unix:/run/x.sock",
        "data:application/json,{}",
        "jar:https://client.test!/",
    ] {
        let answer = get(&fetcher, url).await;
        assert!(
            matches!(refused(answer), Refused::NotHttps | Refused::Malformed),
            "{url}"
        );
    }
    assert_eq!((canary.connections(), names.asked()), (0, 0));
}

/// SF-04, SF-17: a name is as good as what it leads to, and nobody learns whether there is somebody: not by what is said,
/// and not by the time, since nothing is dialled.
#[tokio::test]
async fn a_name_of_a_private_address_is_no_scanner() {
    let open = Peer::serving("{}").await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    // Nobody accepts, and the queue is full: what is sent there is not heard.
    let filtered = tokio::net::TcpSocket::new_v4().unwrap();
    filtered.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let filtered = filtered.listen(1).unwrap();
    let address = filtered.local_addr().unwrap();
    let _crowd = [
        tokio::net::TcpStream::connect(address).await.unwrap(),
        tokio::net::TcpStream::connect(address).await.unwrap(),
    ];
    for host in ["metadata.google.internal", "probe-1.test", "localhost.probe.test"] {
        for address in [
            &["127.0.0.1"][..],
            &["169.254.169.254"],
            &["10.0.0.5"],
            &["fd00:ec2::254"],
        ] {
            let fetcher = local().resolver(Names::answering(&[address]).resolver()).build();
            let mut said = Vec::new();
            for port in [open.port, closed, filtered.local_addr().unwrap().port(), 443] {
                let answer = get(&fetcher, &format!("https://{host}:{port}/c.json")).await;
                said.push(refused(answer).to_string());
            }
            said.dedup();
            assert_eq!(said.len(), 1, "{host} {address:?}: {said:?}");
        }
    }
    assert_eq!(open.connections(), 0);
}

/// SF-07, SF-17: what an alias leads to, over however many others, is in the answer as addresses.
/// M-069, M-168
#[tokio::test]
async fn a_name_with_one_special_address_is_refused() {
    let canary = Peer::serving("{}").await;
    let url = format!("https://mixed.test:{}/c.json", canary.port);
    for answer in [
        &["127.0.0.1"][..],
        &["8.8.8.8", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8"],
        &["8.8.8.8", "::1"],
        &["::ffff:127.0.0.1"],
        &["0.0.0.0"],
        &["10.0.0.5", "10.0.0.6"],
        &["8.8.8.8", "8.8.4.4", "169.254.169.254"],
    ] {
        // The switch for this computer is for its own names only.
        let fetcher = local().resolver(Names::answering(&[answer]).resolver()).build();
        assert!(
            matches!(refused(get(&fetcher, &url).await), Refused::SpecialUse(_, _)),
            "{answer:?}"
        );
    }
    assert_eq!(canary.connections(), 0);
}

/// SF-22, DNS rebinding: what is dialled is what was vetted, and it is vetted at every fetch.
/// M-069, M-168
#[tokio::test]
async fn a_name_that_rebinds_is_refused() {
    let (clock, tls) = (ManualClock::default(), tls::Authority::new());
    let peer = Peer::secured(tls.acceptor("rebind.test"), |_| {
        json("{}", "cache-control: max-age=60\r\n")
    })
    .await;
    let names = Names::answering(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let fetcher = Fetcher::builder()
        .deadline(PATIENCE)
        .dangerous_allow_network("127.0.0.1".parse().unwrap())
        .trust_also(&tls.pem())
        .unwrap()
        .resolver(names.resolver())
        .clock(clock.clock())
        .build();
    let url = format!("https://rebind.test:{}/c.json", peer.port);
    assert_eq!(body(get(&fetcher, &url).await), "{}");
    // One look-up: there was no second answer that could have been dialled.
    assert_eq!((names.asked(), peer.connections()), (1, 1));
    clock.advance(60);
    let why = refused(get(&fetcher, &url).await);
    assert_eq!(
        why,
        Refused::SpecialUse("127.0.0.2".parse().unwrap(), SpecialUse::Loopback)
    );
    // The copy went with it, and the refusal is remembered.
    assert_eq!(refused(get(&fetcher, &url).await), why);
    assert_eq!((names.asked(), peer.connections()), (2, 1));
}

#[tokio::test]
async fn this_computer_is_asked_only_by_its_own_names() {
    let peer = Peer::serving("{}").await;
    let fetcher = local().build();
    for host in ["127.0.0.1", "localhost", "LOCALHOST"] {
        assert_eq!(
            body(get(&fetcher, &format!("http://{host}:{}/{host}", peer.port)).await),
            "{}"
        );
    }
    for host in ["127.0.0.2", "x.localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let answer = get(&fetcher, &format!("http://{host}:{}/", peer.port)).await;
        assert_eq!(refused(answer), Refused::NotHttps, "{host}");
    }
    assert_eq!(peer.connections(), 3);
}

/// SF-20
#[tokio::test]
async fn the_server_never_asks_itself() {
    let own = Peer::serving("{}").await;
    let other = Peer::serving("{}").await;
    let fetcher = local().never_ask(&own.url("/tenant")).build();
    for path in [
        "/jwks",
        "/register",
        "/",
        "/authorize?client_id=https://auth.test",
    ] {
        assert_eq!(
            refused(get(&fetcher, &own.url(path)).await),
            Refused::OwnOrigin,
            "{path}"
        );
    }
    assert_eq!(body(get(&fetcher, &other.url("/jwks")).await), "{}");
    assert_eq!(own.connections(), 0);
}

#[tokio::test]
async fn only_the_named_hosts_are_asked() {
    let peer = Peer::serving("{}").await;
    let fetcher = local().only_hosts(["LocalHost", "[::1]"]).build();
    assert_eq!(
        refused(get(&fetcher, &peer.url("/")).await),
        Refused::HostNotAllowed
    );
    assert_eq!(
        body(get(&fetcher, &format!("http://localhost:{}/", peer.port)).await),
        "{}"
    );
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_name_without_an_address_is_unavailable() {
    for names in [Names::answering(&[]), Names::answering(&[&[]])] {
        let fetcher = Fetcher::builder().resolver(names.resolver()).build();
        let answer = get(&fetcher, "https://nowhere.test/x").await;
        assert!(
            matches!(answer, Err(FetchError::Unavailable(Unavailable::NoAddress(_)))),
            "{answer:?}"
        );
        // SF-21: the name is not looked up at every request.
        assert_eq!(get(&fetcher, "https://nowhere.test/x").await, answer);
        assert_eq!(names.asked(), 1);
    }
}

/// The next address is tried when one refuses.
#[tokio::test]
async fn a_dead_address_does_not_hide_a_living_one() {
    let peer = Peer::serving("{}").await;
    let names = Names::answering(&[&["::1", "127.0.0.1"]]);
    let fetcher = local().resolver(names.resolver()).build();
    let url = format!("http://localhost:{}/d", peer.port);
    assert_eq!(body(get(&fetcher, &url).await), "{}");
}
