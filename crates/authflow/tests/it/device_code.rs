//! The device authorization grant (RFC 8628), from the first request of a device to its tokens.

use mcp_authflow::{
    AnswerTo, PageReason, Pending, SendBack, UserCodeEntry, UserCodeProblem, record::InteractionId,
};
use mcp_authflow_testkit::{
    cast::R1,
    failing_store::Fault,
    params::{Params, basic},
};
use mcp_authflow_types::{DeviceAuthorizationResponse, ErrorCode, ErrorResponse, Form, TokenHash};

use crate::scene::{ADDRESS, ISSUER, Scene, challenged, refused};

impl Scene {
    async fn device_start(
        &self,
        authorization: Option<&str>,
        request: &Params,
    ) -> Result<DeviceAuthorizationResponse, ErrorResponse> {
        self.device_start_from(authorization, request, ADDRESS).await
    }

    async fn device_start_from(
        &self,
        authorization: Option<&str>,
        request: &Params,
        address: std::net::IpAddr,
    ) -> Result<DeviceAuthorizationResponse, ErrorResponse> {
        let body = request.encoded();
        let form = Form::parse(body.as_bytes()).unwrap();
        let request = mcp_authflow::FormRequest {
            form: &form,
            authorization,
            address: Some(address),
        };
        self.server.device_authorization(request).await
    }

    /// A device of a client of the cast that waits.
    pub(crate) async fn device(&self, client_id: &str) -> DeviceAuthorizationResponse {
        let header = (client_id == "DEVC").then(|| basic(client_id));
        self.device_start(header.as_deref(), &Params::device_start(client_id))
            .await
            .unwrap()
    }

    /// Alice types something in her browser.
    async fn typed(&self, user_code: &str) -> Result<InteractionId, UserCodeProblem> {
        self.typed_by("u_alice", user_code, Self::browser()).await
    }

    async fn typed_by(
        &self,
        subject: &str,
        user_code: &str,
        browser: TokenHash,
    ) -> Result<InteractionId, UserCodeProblem> {
        let entry = UserCodeEntry {
            user_code,
            browser,
            subject: Some(subject),
            address: Some(ADDRESS),
        };
        self.server.enter_user_code(entry).await
    }

    /// What alice then decides about.
    async fn pending_device(&self, device: &DeviceAuthorizationResponse) -> Pending {
        let id = self.typed(device.user_code()).await.unwrap();
        self.server.resume(id, &Self::browser()).await.unwrap()
    }

    pub(crate) async fn approve_device(
        &self,
        device: &DeviceAuthorizationResponse,
    ) -> Result<SendBack, PageReason> {
        let pending = self.pending_device(device).await;
        self.server.approve(pending, Self::alice(), Some(ADDRESS)).await
    }

    pub(crate) async fn poll(
        &self,
        client_id: &str,
        device: &DeviceAuthorizationResponse,
    ) -> Result<mcp_authflow_types::TokenResponse, ErrorResponse> {
        self.token(client_id, &Params::poll(client_id, device.device_code()))
            .await
    }
}

/// What a device is told that does not get its tokens yet.
fn told<T: std::fmt::Debug>(result: Result<T, ErrorResponse>, code: ErrorCode) {
    let error = result.unwrap_err();
    assert_eq!((error.code, error.status()), (code, 400));
}

/// S-080, S-082, S-083, S-098; RFC 8628 §3
#[tokio::test]
async fn a_device_gets_its_tokens_once_alice_has_approved() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    assert!(device.device_code().starts_with("mcpdc_"));
    assert_eq!(device.user_code().len(), 9);
    assert_eq!(device.verification_uri(), format!("{ISSUER}/ui/device"));
    assert_eq!(
        device.verification_uri_complete(),
        format!("{ISSUER}/ui/device?user_code={}", device.user_code())
    );
    assert_eq!((device.expires_in(), device.interval()), (600, 5));
    told(scene.poll("DEV1", &device).await, ErrorCode::AuthorizationPending);

    let pending = scene.pending_device(&device).await;
    assert_eq!(pending.client().id.as_str(), "DEV1");
    assert_eq!(pending.resources()[0].asked.resource.as_str(), R1);
    let AnswerTo::Device(origin) = pending.answer_to() else {
        panic!("a device waits: {pending:?}");
    };
    assert_eq!(origin.address, Some(ADDRESS));
    scene.wait(5);
    told(scene.poll("DEV1", &device).await, ErrorCode::AuthorizationPending);
    let shown = scene
        .server
        .approve(pending, Scene::alice(), Some(ADDRESS))
        .await
        .unwrap();
    assert_eq!(shown.location(), "/ui/device/approved");

    scene.wait(5);
    let tokens = scene.poll("DEV1", &device).await.unwrap();
    assert_eq!(tokens.scope.to_string(), "mcp:read");
    assert!(scene.opens_r1(&tokens).await);
    let refreshed = scene.refresh("DEV1", &tokens).await.unwrap();
    assert!(scene.opens_r1(&refreshed).await);
}

/// DV-08; S-096: a device whose answer was lost asks again, and loses nothing by it.
#[tokio::test]
async fn a_device_code_is_taken_once_and_a_replay_ends_nothing() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    scene.approve_device(&device).await.unwrap();
    let tokens = scene.poll("DEV1", &device).await.unwrap();
    scene.wait(5);
    refused(scene.poll("DEV1", &device).await, ErrorCode::InvalidGrant);
    assert!(scene.opens_r1(&tokens).await);
    assert!(scene.refresh("DEV1", &tokens).await.is_ok());
}

/// DV-02; RFC 8628 §3.5
#[tokio::test]
async fn a_device_that_hurries_waits_five_seconds_longer_each_time() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    told(scene.poll("DEV1", &device).await, ErrorCode::AuthorizationPending);
    for seconds in (10..=50).step_by(5) {
        let error = scene.poll("DEV1", &device).await.unwrap_err();
        assert_eq!((error.code, error.status()), (ErrorCode::SlowDown, 400));
        assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(seconds)));
    }
    scene.wait(49);
    told(scene.poll("DEV1", &device).await, ErrorCode::SlowDown);
    scene.wait(55);
    told(scene.poll("DEV1", &device).await, ErrorCode::AuthorizationPending);
}

/// DV-04, TI-05: to its device; to whoever types it, it is as unknown as any.
#[tokio::test]
async fn an_expired_code_is_told_so_and_is_not_approved_any_more() {
    let scene = Scene::new().await;
    let unapproved = scene.device("DEV1").await;
    let approved = scene.device("DEV1").await;
    scene.approve_device(&approved).await.unwrap();
    let too_late = scene.device("DEV1").await;
    let pending = scene.pending_device(&too_late).await;
    scene.wait(600);
    told(scene.poll("DEV1", &unapproved).await, ErrorCode::ExpiredToken);
    told(scene.poll("DEV1", &approved).await, ErrorCode::ExpiredToken);
    let answer = scene.server.approve(pending, Scene::alice(), Some(ADDRESS)).await;
    assert_eq!(answer.unwrap_err(), PageReason::Gone);
    told(scene.poll("DEV1", &too_late).await, ErrorCode::ExpiredToken);
    assert_eq!(
        scene.typed(unapproved.user_code()).await,
        Err(UserCodeProblem::Unknown)
    );
}

/// DV-05
#[tokio::test]
async fn a_denied_device_stays_denied() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    let (first, second) = (
        scene.pending_device(&device).await,
        scene.pending_device(&device).await,
    );
    let shown = scene.server.deny(second, Some(ADDRESS)).await.unwrap();
    assert_eq!(shown.location(), "/ui/device/denied");
    let late = scene.server.approve(first, Scene::alice(), Some(ADDRESS)).await;
    assert_eq!(late.unwrap_err(), PageReason::Gone);
    assert_eq!(
        scene.typed(device.user_code()).await,
        Err(UserCodeProblem::Unknown)
    );
    told(scene.poll("DEV1", &device).await, ErrorCode::AccessDenied);
    scene.wait(5);
    told(scene.poll("DEV1", &device).await, ErrorCode::AccessDenied);

    // And the reverse: what was approved is not taken back by a page left open.
    let device = scene.device("DEV1").await;
    let (first, second) = (
        scene.pending_device(&device).await,
        scene.pending_device(&device).await,
    );
    scene
        .server
        .approve(second, Scene::alice(), Some(ADDRESS))
        .await
        .unwrap();
    let late = scene.server.deny(first, Some(ADDRESS)).await;
    assert_eq!(late.unwrap_err(), PageReason::Gone);
    assert!(scene.poll("DEV1", &device).await.is_ok());
}

/// DV-06; P4
#[tokio::test]
async fn a_device_code_is_its_clients_alone() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    scene.approve_device(&device).await.unwrap();
    for other in ["DEV2", "DEVC"] {
        refused(scene.poll(other, &device).await, ErrorCode::InvalidGrant);
    }
    let poll = Params::poll("DEV1", device.device_code());
    let nobody = scene.token_with(None, &poll.clone().unset("client_id")).await;
    assert_eq!(nobody.unwrap_err().code, ErrorCode::InvalidRequest);
    let mixed = scene.token_with(Some(&basic("DEV2")), &poll).await;
    assert!(mixed.is_err());
    // A client that may not use the grant at all.
    refused(scene.poll("PUB", &device).await, ErrorCode::UnauthorizedClient);
    // Nobody's try has moved anything.
    assert!(scene.poll("DEV1", &device).await.is_ok());
}

/// DV-07, DV-23
#[tokio::test]
async fn a_confidential_client_proves_itself_at_both_endpoints() {
    let scene = Scene::new().await;
    let start = Params::device_start("DEVC");
    refused(scene.device_start(None, &start).await, ErrorCode::InvalidClient);
    challenged(
        scene
            .device_start(
                Some(&mcp_authflow_testkit::params::basic_pair("DEVC:wrong")),
                &start,
            )
            .await,
    );
    let device = scene
        .device_start(Some(&basic("DEVC")), &start.unset("client_id"))
        .await
        .unwrap();
    scene.approve_device(&device).await.unwrap();
    let poll = Params::poll("DEVC", device.device_code());
    refused(scene.token_with(None, &poll).await, ErrorCode::InvalidClient);
    refused(scene.poll("DEV1", &device).await, ErrorCode::InvalidGrant);
    assert!(
        scene
            .token_with(Some(&basic("DEVC")), &poll.unset("client_id"))
            .await
            .is_ok()
    );
}

/// RFC 8628 §3.1; RFC 6749 §3.3; RFC 8707 §2
#[tokio::test]
async fn a_device_asks_by_the_rules_of_the_authorization_endpoint() {
    let scene = Scene::new().await;
    let start = Params::device_start("DEV1");
    for (request, code) in [
        (Params::device_start("PUB"), ErrorCode::UnauthorizedClient),
        (Params::device_start("NOBODY"), ErrorCode::InvalidClient),
        (
            start.clone().set("resource", "https://rs9.test/mcp"),
            ErrorCode::InvalidTarget,
        ),
        (start.clone().unset("resource"), ErrorCode::InvalidTarget),
        (
            start.clone().set("scope", "nothing:known"),
            ErrorCode::InvalidScope,
        ),
        (start.clone().set("scope", "a\"b"), ErrorCode::InvalidScope),
    ] {
        refused(scene.device_start(None, &request).await, code);
    }
    let repeated = scene
        .device_start(None, &start.clone().and("scope", "admin"))
        .await;
    assert_eq!(repeated.unwrap_err().code, ErrorCode::InvalidRequest);
    let narrowed = start.clone().set("scope", "mcp:read nothing:known");
    let device = scene.device_start(None, &narrowed).await.unwrap();
    let pending = scene.pending_device(&device).await;
    assert_eq!(pending.resources()[0].asked.scope.to_string(), "mcp:read");
}

/// CD-03 for devices: an earlier approval never stands in where nobody can tell whose device it is.
#[tokio::test]
async fn a_device_is_asked_about_every_time() {
    let scene = Scene::new().await;
    for _ in 0..2 {
        let device = scene.device("DEV1").await;
        let pending = scene.pending_device(&device).await;
        assert_eq!(
            scene.server.is_approved_already(&pending, "u_alice").await,
            Ok(false)
        );
        scene
            .server
            .approve(pending, Scene::alice(), Some(ADDRESS))
            .await
            .unwrap();
        scene.poll("DEV1", &device).await.unwrap();
    }
    // Neither for a client with a web page of its own, which could prove itself there.
    let mut client = mcp_authflow_testkit::cast::client("BOTH", &["https://client.example/cb"]);
    client
        .profile
        .grant_types
        .push(mcp_authflow_types::GrantType::DeviceCode);
    mcp_authflow_testkit::cast::add_client(&*scene.store, &client).await;
    scene.tokens_for("BOTH").await;
    let device = scene.device("BOTH").await;
    let pending = scene.pending_device(&device).await;
    assert_eq!(
        scene.server.is_approved_already(&pending, "u_alice").await,
        Ok(false)
    );
}

/// DV-15; P13
#[tokio::test]
async fn whoever_types_a_code_first_decides_and_nobody_else() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    let id = scene.typed(device.user_code()).await.unwrap();
    let bobs = TokenHash::of("bob's browser");
    assert_eq!(
        scene.typed_by("u_bob", device.user_code(), bobs).await,
        Err(UserCodeProblem::Unknown)
    );
    assert_eq!(
        scene.server.resume(id, &bobs).await.unwrap_err(),
        PageReason::Gone
    );
    let pending = scene.server.resume(id, &Scene::browser()).await.unwrap();
    scene
        .server
        .approve(pending, Scene::alice(), Some(ADDRESS))
        .await
        .unwrap();
    assert!(scene.poll("DEV1", &device).await.is_ok());
}

/// DV-12; S-086
#[tokio::test]
async fn a_code_is_forgiven_its_spelling_and_nothing_else() {
    for (spelling, is_right) in [
        (0, true),
        (1, true),
        (2, true),
        (3, false),
        (4, false),
        (5, false),
        (6, false),
    ] {
        let scene = Scene::new().await;
        let device = scene.device("DEV1").await;
        let code = device.user_code();
        let typed = match spelling {
            0 => code.to_lowercase(),
            1 => code.replace('-', " "),
            2 => code.replace('-', ""),
            3 => code[..8].to_owned(),
            4 => "%".to_owned(),
            5 => code
                .chars()
                .map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap())
                .collect(),
            _ => code.repeat(100_000),
        };
        assert_eq!(scene.typed(&typed).await.is_ok(), is_right, "{typed:.20}");
    }
}

/// DV-11; S-097; RFC 8628 §5.1
#[tokio::test]
async fn codes_are_tried_five_times_a_person_and_twenty_times_an_address() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    for _ in 0..5 {
        assert_eq!(scene.typed("BBBB-BBBB").await, Err(UserCodeProblem::Unknown));
        // Right ones of one's own in between neither count nor make up for wrong ones.
        let own = scene.device("DEV2").await;
        if scene.typed(own.user_code()).await.is_err() {
            break;
        }
    }
    // From now on the right one is refused as well.
    let Err(UserCodeProblem::TooMany { retry_after }) = scene.typed(device.user_code()).await else {
        panic!("a sixth try is refused");
    };
    assert_eq!(retry_after.as_secs(), 600);
    for other in 0..3 {
        for _ in 0..5 {
            let browser = TokenHash::of(&format!("browser {other}"));
            let tried = scene.typed_by(&format!("u_{other}"), "BBBB-BBBB", browser).await;
            assert_eq!(tried, Err(UserCodeProblem::Unknown));
        }
    }
    let tried = scene
        .typed_by("u_last", device.user_code(), TokenHash::of("last"))
        .await;
    assert!(matches!(tried, Err(UserCodeProblem::TooMany { .. })));
}

/// DV-11: an attacker of many addresses and accounts has a chance of 2^-20 at one given code while it lives.
#[tokio::test]
async fn there_is_a_bound_on_all_guesses_together() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    let guess = async |number: u32| {
        let entry = UserCodeEntry {
            user_code: if number < 10_000 {
                "BBBB-BBBB"
            } else {
                device.user_code()
            },
            browser: TokenHash::of(&number.to_string()),
            subject: None,
            address: Some(std::net::Ipv4Addr::from(0x0a00_0000 + number).into()),
        };
        scene.server.enter_user_code(entry).await
    };
    for number in 0..10_000 {
        assert_eq!(guess(number).await, Err(UserCodeProblem::Unknown));
    }
    assert!(matches!(
        guess(10_000).await,
        Err(UserCodeProblem::TooMany { .. })
    ));
}

/// P3: what could not be checked was no guess.
#[tokio::test]
async fn codes_typed_while_nobody_can_be_asked_do_not_count() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    for verb in ["find_device", "claim_device"] {
        scene.store.fail(verb, Fault::Refuses);
        for _ in 0..5 {
            let problem = scene.typed(device.user_code()).await;
            assert_eq!(problem, Err(UserCodeProblem::Unavailable { timed_out: false }));
        }
        scene.store.heal();
    }
    assert!(scene.typed(device.user_code()).await.is_ok());
}

/// DV-24; P12: right codes do not count as guesses, so they have a bound of their own: each stores a request.
#[tokio::test]
async fn one_device_is_not_asked_about_over_and_over() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    for _ in 0..20 {
        assert!(scene.typed(device.user_code()).await.is_ok());
    }
    assert!(matches!(
        scene.typed(device.user_code()).await,
        Err(UserCodeProblem::TooMany { .. })
    ));
    // Its last request is decided about all the same, and another device is none of its business.
    assert!(scene.typed(scene.device("DEV1").await.user_code()).await.is_ok());
}

/// DV-24; P12
#[tokio::test]
async fn devices_are_bounded_by_address() {
    let scene = Scene::new().await;
    let start = Params::device_start("DEV1");
    let mut codes = std::collections::BTreeSet::new();
    for _ in 0..60 {
        codes.insert(scene.device("DEV1").await.user_code().to_owned());
    }
    assert_eq!(codes.len(), 60);
    let refused = scene.device_start(None, &start).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.status()),
        (ErrorCode::TooManyRequests, 429)
    );
    assert!(refused.retry_after.is_some());
    let elsewhere = scene
        .device_start_from(None, &start, std::net::Ipv4Addr::new(127, 0, 0, 77).into())
        .await;
    assert!(elsewhere.is_ok());
}

/// DV-24: many addresses together do not fill the store by way of one client.
#[tokio::test]
async fn devices_are_bounded_by_client() {
    let scene = Scene::new().await;
    let start = Params::device_start("DEV1");
    let from = |number: u32| std::net::Ipv4Addr::from(0x0a00_0000 + number).into();
    for number in 0..10_000 {
        assert!(scene.device_start_from(None, &start, from(number)).await.is_ok());
    }
    let refused = scene.device_start_from(None, &start, from(10_000)).await;
    assert_eq!(refused.unwrap_err().status(), 429);
    let other = Params::device_start("DEV2");
    assert!(scene.device_start_from(None, &other, from(10_001)).await.is_ok());
}

/// DV-21: neither kind of code passes for the other.
#[tokio::test]
async fn a_device_code_is_no_authorization_code_and_the_reverse() {
    let scene = Scene::new().await;
    let mut client = mcp_authflow_testkit::cast::client("BOTH", &["https://client.example/cb"]);
    client
        .profile
        .grant_types
        .push(mcp_authflow_types::GrantType::DeviceCode);
    mcp_authflow_testkit::cast::add_client(&*scene.store, &client).await;
    let device = scene.device("BOTH").await;
    scene.approve_device(&device).await.unwrap();
    let code = scene.code_for("BOTH").await;
    refused(
        scene
            .token("BOTH", &Params::redeem("BOTH", device.device_code()))
            .await,
        ErrorCode::InvalidGrant,
    );
    refused(
        scene.token("BOTH", &Params::poll("BOTH", &code)).await,
        ErrorCode::InvalidGrant,
    );
    refused(
        scene
            .typed(&code)
            .await
            .map_err(|_| ErrorCode::InvalidGrant.into()),
        ErrorCode::InvalidGrant,
    );
    // Both are still good for what they are.
    assert!(scene.poll("BOTH", &device).await.is_ok());
    assert!(scene.token("BOTH", &Params::redeem("BOTH", &code)).await.is_ok());
}

/// P9: a store that cannot be asked is said so, at every step.
#[tokio::test]
async fn a_store_that_cannot_be_asked_is_never_guessed_about() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    scene.store.fail("begin_device", Fault::Refuses);
    let refused = scene
        .device_start(None, &Params::device_start("DEV1"))
        .await
        .unwrap_err();
    assert_eq!(refused.status(), 503);
    for verb in ["find_device", "claim_device"] {
        scene.store.fail(verb, Fault::Hangs);
        let problem = scene.typed(device.user_code()).await;
        assert_eq!(problem, Err(UserCodeProblem::Unavailable { timed_out: true }));
        scene.store.heal();
    }
    let pending = scene.pending_device(&device).await;
    scene.store.fail("close_device", Fault::Refuses);
    let answer = scene.server.approve(pending, Scene::alice(), Some(ADDRESS)).await;
    assert_eq!(answer.unwrap_err().status(), 503);
    scene.store.heal();
    scene.approve_device(&device).await.unwrap();
    for verb in ["poll_device", "peek_code", "redeem_code"] {
        scene.store.fail(verb, Fault::Refuses);
        assert_eq!(scene.poll("DEV1", &device).await.unwrap_err().status(), 503);
        scene.store.heal();
        scene.wait(5);
    }
    assert!(scene.poll("DEV1", &device).await.is_ok());
}

/// What is decided about a device leaves a record, and no code in it.
#[tokio::test]
async fn every_decision_about_a_device_is_recorded() {
    let scene = Scene::new().await;
    let device = scene.device("DEV1").await;
    scene.typed("BBBB-BBBB").await.unwrap_err();
    scene.approve_device(&device).await.unwrap();
    scene.poll("DEV1", &device).await.unwrap();
    scene.wait(5);
    scene.poll("DEV1", &device).await.unwrap_err();
    let records = scene.audit.drain();
    let lines: Vec<&str> = records.iter().map(|record| record.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "device_authorization Allowed: waiting for a person",
            "user_code Refused: no device waits with this code",
            "user_code Allowed: entered",
            "consent Allowed: approved",
            "redeem_device_code Allowed: redeemed",
            "redeem_device_code Refused: the device code was used before",
        ]
    );
    let shown = format!("{records:?}");
    assert!(!shown.contains(device.user_code()) && !shown.contains(device.device_code()));
}
