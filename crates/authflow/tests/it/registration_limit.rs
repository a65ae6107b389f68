//! What keeps registration from being a flood: a limit per address, an end for unused clients, and a switch.

use std::net::{IpAddr, Ipv4Addr};

use mcp_authflow::port::{Clock as _, store::ClientStore as _};
use mcp_authflow_testkit::params::Params;
use mcp_authflow_types::{ClientId, ErrorCode, ErrorResponse};
use serde_json::Value;

use crate::{
    registration::{good, register},
    scene::{Answer, Scene},
};

/// DC-04
#[tokio::test]
async fn one_address_registers_twenty_clients_an_hour() {
    let scene = Scene::new().await;
    for _ in 0..20 {
        register(&scene, &good()).await.unwrap();
        scene.wait(1);
    }
    scene.audit.drain();
    assert_eq!(
        register(&scene, &good()).await,
        Err(ErrorResponse::too_many_requests(std::time::Duration::from_secs(
            3_580
        )))
    );
    assert_eq!(
        scene.audit.lines(),
        ["register Refused: too many from one address"]
    );
    let other = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10)));
    scene
        .server
        .register(good().to_string().as_bytes(), None, other)
        .await
        .unwrap();
    scene.wait(3_580);
    register(&scene, &good()).await.unwrap();
}

/// DC-04: IPv6 is counted by the /64 that one subscriber holds.
#[tokio::test]
async fn an_ipv6_neighbourhood_counts_as_one() {
    let scene = Scene::with(|settings| settings.registration.per_address_per_hour = 1).await;
    let body = good().to_string();
    let from = async |address: &str| {
        let address = Some(address.parse().unwrap());
        scene
            .server
            .register(body.as_bytes(), None, address)
            .await
            .is_ok()
    };
    assert!(from("2001:db8:0:1::1").await);
    assert!(!from("2001:db8:0:1:ffff::2").await);
    assert!(from("2001:db8:0:2::1").await);
    assert!(from("192.0.2.1").await);
    assert!(!from("::ffff:192.0.2.1").await);
}

/// DC-04: unused clients die after a day, and one that got a grant is kept as long as that lives.
#[tokio::test]
async fn a_client_that_nobody_approves_expires_in_a_day() {
    let scene = Scene::new().await;
    let (unused, used) = (
        register(&scene, &good()).await.unwrap(),
        register(&scene, &good()).await.unwrap(),
    );
    let request =
        |client: &Value| Params::authorize("WEB").set("client_id", client["client_id"].as_str().unwrap());
    scene.wait(86_399);
    scene.pending(&request(&unused)).await;
    let pending = scene.pending(&request(&used)).await;
    let answer = scene.server.approve(pending, Scene::alice(), None).await.unwrap();
    let code = Answer::of(&answer).value("code").unwrap().to_owned();
    let redeem = Params::redeem("WEB", &code).set("client_id", request(&used).value("client_id"));
    let tokens = scene.token_with(None, &redeem).await.unwrap();

    scene.wait(1);
    assert_eq!(
        scene.shown(&request(&unused)).await,
        mcp_authflow::PageReason::UnknownClient
    );
    let gone = Params::refresh(request(&unused).value("client_id"), "x");
    assert_eq!(
        scene.token_with(None, &gone).await.unwrap_err(),
        ErrorCode::InvalidClient.into()
    );
    scene.pending(&request(&used)).await;
    let refresh = Params::refresh(
        request(&used).value("client_id"),
        crate::scene::refresh_token(&tokens),
    );
    scene.token_with(None, &refresh).await.unwrap();

    let id: ClientId = request(&used).value("client_id").parse().unwrap();
    let kept = scene.store.load_client(&id).await.unwrap().unwrap();
    let grant_end = scene.clock.now() + std::time::Duration::from_secs(90 * 86_400);
    assert!(kept.is_current(grant_end));
    assert!(!kept.is_current(grant_end + std::time::Duration::from_secs(86_400)));
}

/// DC-19
#[tokio::test]
async fn registration_can_be_switched_off() {
    let scene = Scene::with(|settings| settings.registration.enabled = false).await;
    let error = register(&scene, &good()).await.unwrap_err();
    assert_eq!((error.status(), error.code), (403, ErrorCode::AccessDenied));
    let metadata = scene.server.metadata().await.unwrap().body();
    assert!(!metadata.contains("registration_endpoint"), "{metadata}");
}
