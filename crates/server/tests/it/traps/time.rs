//! Many at once, and too late.

use std::time::Duration;

use mcp_authflow_testkit::document_host::{DocumentHost, Served};
use serde_json::json;

use super::{authorize_url, tokens};
use crate::house::{House, R1, builder, text};

/// M-111; M §6.4 trap 9: five processes of one client share one refresh token. All go on with the same two tokens, nobody is
/// signed out, and who comes with the old one later ends the family.
#[tokio::test]
async fn trap_09_refresh_races_of_five_processes_sign_nobody_out() {
    let config = "[lifetimes]\nrefresh_retry_window = \"1s\"\n";
    let house = House::of(builder().config(config).start().unwrap());
    let first = tokens(&house, "native", "http://127.0.0.1:7777/cb", &[("resource", R1)]).await;
    let mut token = text(&first, "refresh_token").to_owned();
    for _ in 0..4 {
        let race = (0..5).map(|_| house.refresh("native", &token));
        let answers = futures_util::future::join_all(race).await;
        let (_, successor) = &answers[0];
        for (status, given) in &answers {
            assert_eq!(*status, 200, "{given}");
            assert_eq!(given["refresh_token"], successor["refresh_token"]);
            assert_eq!(given["access_token"], successor["access_token"]);
        }
        assert_eq!(
            house.introspect(text(successor, "access_token")).await["active"],
            true
        );
        token = text(successor, "refresh_token").to_owned();
    }
    // Outside the window the retired one is a stolen one.
    let (status, last) = house.refresh("native", &token).await;
    assert_eq!(status, 200);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let (status, refusal) = house.refresh("native", &token).await;
    assert_eq!((status, text(&refusal, "error")), (400, "invalid_grant"));
    let (status, refusal) = house.refresh("native", text(&last, "refresh_token")).await;
    assert_eq!(
        (status, text(&refusal, "error")),
        (400, "invalid_grant"),
        "the family ended"
    );
    assert_eq!(
        house.introspect(text(&last, "access_token")).await,
        json!({ "active": false })
    );
    let (status, refusal) = house.refresh("nobody", text(&last, "refresh_token")).await;
    assert_eq!(
        (status, text(&refusal, "error")),
        (401, "invalid_client"),
        "clients act on exactly these"
    );
}

/// M-170; M §6.4 trap 16: clients wait 5 to 10 s. A document host that does not answer may hold an authorization for about 3 s, then
/// there is a page; and a refresh as long, which then goes by the last good copy.
#[tokio::test]
async fn trap_16_time_limits_a_slow_document_host_holds_nobody_longer_than_three_seconds() {
    let host = DocumentHost::start().unwrap();
    let id = host.serve_client("/client.json", &json!({}));
    let slow = host.serve_client("/slow.json", &json!({}));
    let server = builder()
        .config("[client_documents]\nmin_age = \"1s\"\nmax_age = \"1s\"\n")
        .env("SSL_CERT_FILE", host.ca_file().to_str().unwrap());
    let house = House::of(server.start().unwrap());
    let redirect = "http://127.0.0.1:7777/callback";
    let given = tokens(&house, &id, redirect, &[("resource", R1)]).await;
    for path in ["/client.json", "/slow.json"] {
        host.serve(path, Served::json("{}").after(Duration::from_secs(20)));
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for (client, status) in [(&id, 504), (&slow, 400)] {
        let url = authorize_url(&house, client, redirect, &[("resource", R1)]);
        let response = in_time(house.http.get(url).send()).await.unwrap();
        assert_eq!(response.status(), status, "{client}");
    }
    let (status, refreshed) = in_time(house.refresh(&id, text(&given, "refresh_token"))).await;
    assert_eq!(status, 200, "{refreshed}");
}

/// An answer that a client still waits for when it asks two servers one after the other.
async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_millis(3_500), answer)
        .await
        .expect("an answer within 3.5 s")
}
