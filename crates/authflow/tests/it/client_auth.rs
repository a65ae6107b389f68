//! Client authentication by secret (RFC 6749 §2.3), at the token endpoint.

use std::time::Duration;

use mcp_authflow::port::{Clock as _, store::ClientStore as _};
use mcp_authflow_testkit::{
    cast::secret_of,
    params::{Params, basic, basic_pair},
};
use mcp_authflow_types::{ErrorCode, ErrorResponse, TokenHash};

use crate::scene::{Scene, challenged, refused};

/// What a machine sends in the body in place of the header.
fn in_body(client_id: &str, secret: &str) -> Params {
    Params::client_credentials()
        .set("client_id", client_id)
        .set("client_secret", secret)
}

fn invalid_request(detail: &str) -> ErrorResponse {
    ErrorResponse::invalid_request(detail.to_owned())
}

/// CA-05, M §6.3: clients registered for one way use the other; it is a switch.
#[tokio::test]
async fn header_and_body_stand_in_for_each_other_by_a_switch() {
    let lenient = Scene::new().await;
    let strict = Scene::with(|settings| settings.let_basic_and_post_swap = false).await;
    for (registered_for, other_way, with_header) in [
        ("SVC", in_body("SVC", &secret_of("SVC")), None),
        ("POST", Params::redeem("POST", "mcpac_"), Some(basic("POST"))),
    ] {
        let answer = lenient.token_with(with_header.as_deref(), &other_way).await;
        assert_ne!(
            answer.err().map(|error| error.code),
            Some(ErrorCode::InvalidClient),
            "{registered_for}"
        );
        let answer = strict.token_with(with_header.as_deref(), &other_way).await;
        assert_eq!(
            answer.unwrap_err().code,
            ErrorCode::InvalidClient,
            "{registered_for}"
        );
    }
    strict
        .token_with(Some(&basic("SVC")), &Params::client_credentials())
        .await
        .unwrap();
}

/// CA-01: two methods in one request are refused even if both are right.
#[tokio::test]
async fn one_method_in_each_request() {
    let scene = Scene::new().await;
    let header = basic("SVC");
    let twice = scene
        .token_with(Some(&header), &in_body("SVC", &secret_of("SVC")))
        .await;
    assert_eq!(
        twice.unwrap_err(),
        invalid_request("more than one client authentication method is used")
    );
    let assertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    for (authorization, request, code) in [
        (
            Some(header.as_str()),
            Params::client_credentials().set("client_assertion", "x.y.z"),
            ErrorCode::InvalidRequest,
        ),
        (
            None,
            in_body("SVC", &secret_of("SVC")).set("client_assertion", "x.y.z"),
            ErrorCode::InvalidRequest,
        ),
        (
            None,
            Params::client_credentials()
                .set("client_id", "SVC")
                .set("client_assertion_type", assertion),
            ErrorCode::InvalidClient,
        ),
    ] {
        let error = scene.token_with(authorization, &request).await.unwrap_err();
        assert_eq!(error.code, code);
    }
}

/// CA-02
#[tokio::test]
async fn header_and_body_name_one_client() {
    let scene = Scene::new().await;
    for other in ["SEC", "PUB"] {
        let request = Params::client_credentials().set("client_id", other);
        assert_eq!(
            scene.token_with(Some(&basic("SVC")), &request).await.unwrap_err(),
            invalid_request("the header and the body name different clients")
        );
    }
    let same = Params::client_credentials().set("client_id", "SVC");
    scene.token_with(Some(&basic("SVC")), &same).await.unwrap();
}

/// CA-06, CA-07
#[tokio::test]
async fn a_confidential_client_cannot_drop_to_public() {
    let scene = Scene::new().await;
    let code = scene.code_for("SEC").await;
    let bare = Params::redeem("SEC", &code);
    for empty in [
        bare.clone(),
        bare.clone().set("client_secret", ""),
        bare.clone().set("client_assertion", ""),
    ] {
        refused(scene.token_with(None, &empty).await, ErrorCode::InvalidClient);
    }
    challenged(scene.token_with(Some(&basic_pair("SEC:")), &bare).await);
    // A row whose secret was lost equals no secret, least of all an empty one.
    let mut lost = mcp_authflow_testkit::cast::client("LOST", &["https://client.example/cb"]);
    lost.profile.token_endpoint_auth_method = mcp_authflow_types::TokenEndpointAuthMethod::ClientSecretBasic;
    mcp_authflow_testkit::cast::add_client(&*scene.store, &lost).await;
    for pair in ["LOST:", "LOST: ", "LOST:null"] {
        challenged(
            scene
                .token_with(Some(&basic_pair(pair)), &bare.clone().unset("client_id"))
                .await,
        );
    }
    scene.token("SEC", &bare).await.unwrap();
}

/// CA-07: a public client proves nothing by a secret, so it may not seem to.
#[tokio::test]
async fn a_public_client_brings_no_secret() {
    let scene = Scene::new().await;
    let code = scene.code_for("PUB").await;
    let good = Params::redeem("PUB", &code);
    refused(
        scene
            .token_with(None, &good.clone().set("client_secret", "x"))
            .await,
        ErrorCode::InvalidClient,
    );
    challenged(scene.token_with(Some(&basic("PUB")), &good).await);
    let by_basic = scene
        .token_with(Some(&basic_pair("PUB:")), &good.set("client_secret", ""))
        .await;
    by_basic.unwrap();
}

/// CA-08
#[tokio::test]
async fn a_secret_matches_itself_alone() {
    let scene = Scene::new().await;
    let right = secret_of("SVC");
    let hash: Vec<String> = TokenHash::of(&right)
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for wrong in [
        &right[..right.len() - 1],
        &format!("{right}x"),
        &right.to_uppercase(),
        &format!("{right} "),
        &format!(" {right}"),
        &secret_of("SEC"),
        &hash.concat(),
        "%00",
        &"x".repeat(600),
    ] {
        challenged(
            scene
                .token_with(
                    Some(&basic_pair(&format!("SVC:{wrong}"))),
                    &Params::client_credentials(),
                )
                .await,
        );
        refused(
            scene.token_with(None, &in_body("SVC", wrong)).await,
            ErrorCode::InvalidClient,
        );
    }
}

/// CA-13
#[tokio::test]
async fn a_client_is_unknown_from_the_second_it_expires() {
    let scene = Scene::new().await;
    let unknown = scene.token("SECX", &Params::client_credentials()).await;
    challenged(unknown);
}

/// TI-02: nobody learns which clients there are.
#[tokio::test]
async fn an_unknown_client_and_a_wrong_secret_look_alike() {
    let scene = Scene::new().await;
    for pair in ["nobody:x", "SVC:x", "SECX:x", "RS1:x"] {
        let answer = scene
            .token_with(Some(&basic_pair(pair)), &Params::client_credentials())
            .await;
        challenged(answer);
    }
}

/// CA-19: a resource server's credential mints no tokens.
#[tokio::test]
async fn who_introspects_gets_no_tokens() {
    let scene = Scene::new().await;
    refused(
        scene.token("RS1", &Params::client_credentials()).await,
        ErrorCode::UnauthorizedClient,
    );
    let code = scene.code_for("SEC").await;
    let theft = Params::redeem("SEC", &code).unset("client_id");
    refused(scene.token("RS1", &theft).await, ErrorCode::InvalidGrant);
    scene.token("SEC", &Params::redeem("SEC", &code)).await.unwrap();
}

/// CA-21
#[tokio::test]
async fn an_old_secret_works_inside_its_overlap_and_never_after() {
    let scene = Scene::new().await;
    let id = "SVC".parse().unwrap();
    let new = |number: u8| format!("the new secret number {number}, long enough");
    let works = async |secret: &str| scene.token_with(None, &in_body("SVC", secret)).await.is_ok();
    let until = scene.clock.now() + Duration::from_secs(100);
    let replaced = scene
        .store
        .replace_client_secret(&id, &TokenHash::of(&new(1)), Some(until))
        .await;
    assert!(replaced.unwrap());
    assert!(works(&secret_of("SVC")).await && works(&new(1)).await);
    scene.wait(99);
    assert!(works(&secret_of("SVC")).await);
    scene.wait(1);
    assert!(!works(&secret_of("SVC")).await && works(&new(1)).await);

    // At most two live at once, and none but the new one without an overlap.
    let until = scene.clock.now() + Duration::from_secs(100);
    for (number, overlap) in [(2, Some(until)), (3, Some(until)), (4, None)] {
        let hash = TokenHash::of(&new(number));
        assert!(
            scene
                .store
                .replace_client_secret(&id, &hash, overlap)
                .await
                .unwrap()
        );
        assert!(works(&new(number)).await);
        assert_eq!(works(&new(number - 1)).await, overlap.is_some());
        assert!(!works(&new(number - 2)).await || number == 2);
    }
}

#[tokio::test]
async fn without_an_identifier_there_is_nothing_to_prove() {
    let scene = Scene::new().await;
    let anonymous = scene.token_with(None, &Params::client_credentials()).await;
    assert_eq!(anonymous.unwrap_err(), ErrorResponse::missing("client_id"));
}
