//! Starting and stopping.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use mcp_authflow_testkit::{
    browser::Decision,
    service::process::{OwnedProcess, StopSignal},
};

use crate::house::{House, builder, text};

/// RT-05, P3: what was answered survives, and what was spent stays spent.
#[tokio::test]
async fn a_restart_forgets_and_forgives_nothing() {
    let mut house = House::of(
        builder()
            .config("[lifetimes]\nrefresh_retry_window = \"0s\"\n")
            .start()
            .unwrap(),
    );
    let code = house.code(&house.browser(), "web", Decision::Allow).await;
    let (_, first) = house.redeem("web", &code).await;
    let (_, second) = house.refresh("web", text(&first, "refresh_token")).await;
    house.server.kill().unwrap();
    house.server.start_again().unwrap();
    assert_eq!(
        house.introspect(text(&second, "access_token")).await["active"],
        true
    );
    let (status, error) = house.refresh("web", text(&first, "refresh_token")).await;
    assert_eq!((status, text(&error, "error")), (400, "invalid_grant"));
    // The replay ended the family.
    assert_eq!(
        house.introspect(text(&second, "access_token")).await["active"],
        false
    );
    assert_eq!(house.refresh("web", text(&second, "refresh_token")).await.0, 400);
}

#[tokio::test]
async fn sigterm_ends_the_server_with_success_after_it_reports_not_ready() {
    let mut house = House::open();
    let ready = house
        .http
        .get(format!("{}/readyz", house.server.origin()))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (ready.status().as_u16(), ready.text().await.unwrap().as_str()),
        (200, "ready\n")
    );
    let status = house.server.stop(Duration::from_secs(25)).unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn ctrl_c_once_more_breaks_off_what_is_running() {
    let folder = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.10:0").unwrap().local_addr().unwrap();
    let mut server = OwnedProcess::spawn(
        "authflow at a terminal",
        Command::new(env!("CARGO_BIN_EXE_authflow"))
            .args([
                "serve",
                "--database-url",
                "memory:",
                "--issuer",
                "http://127.0.0.1:9",
                "--listen",
            ])
            .arg(address.to_string())
            .current_dir(folder.path()),
        StopSignal::Interrupt,
        None,
    )
    .unwrap();
    let patience = Duration::from_secs(20);
    server.wait_until("listening on", patience).unwrap();
    let mut running = TcpStream::connect(address).unwrap();
    running.set_read_timeout(Some(patience)).unwrap();
    let head = "POST /token HTTP/1.1\r\nHost: 127.0.0.1:9\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Expect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    running.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 12];
    running.read_exact(&mut go_on).unwrap();
    assert_eq!(
        &go_on, b"HTTP/1.1 100",
        "the server waits for the body, for ten seconds"
    );

    server.signal(StopSignal::Interrupt).unwrap();
    server.wait_until("asked to stop", patience).unwrap();
    assert!(server.has_ended().unwrap().is_none());
    let status = server.stop(Duration::from_secs(5)).unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let house = House::open();
    let file = house.server.folder().join("state.sqlite");
    let mut second = OwnedProcess::spawn(
        "second authflow",
        Command::new(env!("CARGO_BIN_EXE_authflow"))
            .args([
                "serve",
                "--listen",
                "127.0.0.8:0",
                "--issuer",
                "http://127.0.0.1:9",
                "--database-url",
            ])
            .arg(format!("sqlite:{}", file.display()))
            .current_dir(house.server.folder()),
        StopSignal::Terminate,
        None,
    )
    .unwrap();
    let error = second
        .wait_until("listening on", Duration::from_secs(20))
        .unwrap_err();
    assert!(format!("{error:#}").contains("state.sqlite"), "{error:#}");
    assert_eq!(second.stop(Duration::from_secs(5)).unwrap().code(), Some(1));
}

#[tokio::test]
async fn another_server_key_than_the_databases_own_is_refused() {
    let mut house = House::open();
    let key = house.server.folder().join("server.key");
    house.server.stop(Duration::from_secs(25)).unwrap();
    std::fs::write(&key, format!("{}\n", "ab".repeat(32))).unwrap();
    let error = format!("{:#}", house.server.start_again().unwrap_err());
    assert!(error.contains("another server key"), "{error}");
    std::fs::remove_file(&key).unwrap();
    let error = format!("{:#}", house.server.start_again().unwrap_err());
    assert!(error.contains("another server key"), "{error}");
    assert!(
        !key.exists(),
        "a new key must not lie where the right one is missing"
    );
}

/// M-044 at an issuer with a path.
#[tokio::test]
async fn an_issuer_with_a_path_is_found_at_every_spelling() {
    let house = House::of(builder().issuer_path("/tenant").start().unwrap());
    let mut documents = Vec::new();
    for path in [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
        "/tenant/.well-known/oauth-authorization-server",
    ] {
        let response = house
            .http
            .get(format!("{}{path}", house.server.origin()))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{path}");
        documents.push(response.text().await.unwrap());
    }
    assert!(documents.windows(2).all(|two| two[0] == two[1]));
    for unknown in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/nothing",
        "/tenant/.well-known/nothing",
    ] {
        let response = house
            .http
            .get(format!("{}{unknown}", house.server.origin()))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 404, "{unknown}");
        assert_eq!(response.headers()["content-type"], "application/json");
    }
    let code = house.code(&house.browser(), "web", Decision::Allow).await;
    assert_eq!(house.redeem("web", &code).await.0, 200);
}

#[test]
fn a_setting_that_weakens_safety_is_warned_of_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = OwnedProcess::spawn(
        "dangerous authflow",
        Command::new(env!("CARGO_BIN_EXE_authflow"))
            .args([
                "serve",
                "--listen",
                "127.0.0.9:0",
                "--issuer",
                "https://auth.test",
            ])
            .args(["--database-url", "memory:"])
            .env("AUTHFLOW_CHECK_PUBLIC_URL", "false")
            .env("AUTHFLOW_TRUSTED_PROXIES", "127.0.0.1")
            .env(
                "AUTHFLOW_DANGEROUS_ACCEPT_UNREGISTERED_LOOPBACK_RESOURCES",
                "true",
            )
            .current_dir(folder.path()),
        StopSignal::Terminate,
        None,
    )
    .unwrap();
    let patience = Duration::from_secs(20);
    server
        .wait_until(
            "dangerous_accept_unregistered_loopback_resources = true",
            patience,
        )
        .unwrap();
    server.wait_until("listening on", patience).unwrap();
    assert!(
        server.output().text().contains("WARN"),
        "{}",
        server.output().text()
    );
    assert!(server.stop(patience).unwrap().success());
}
