//! What may be asked for at the authorization endpoint: a code, with PKCE.

use mcp_authflow_testkit::params::{CHALLENGE, Params};

use crate::scene::Scene;

/// AZ-06; OAuth 2.1 §1.8
/// M-002
#[tokio::test]
async fn the_only_answer_is_a_code_in_the_query() {
    let scene = Scene::new().await;
    for response_type in [
        "token",
        "id_token",
        "code token",
        "code id_token token",
        "none",
        "CODE",
        "code code",
    ] {
        let request = Params::authorize("WEB").set("response_type", response_type);
        let answer = scene.sent_back(&request).await;
        assert_eq!(answer.value("error"), Some("unsupported_response_type"));
        assert_eq!(answer.value("access_token"), None, "{response_type}");
    }
    for mode in ["form_post", "jwt", "query.jwt", "QUERY"] {
        let request = Params::authorize("WEB").set("response_mode", mode);
        assert_eq!(
            scene.sent_back(&request).await.value("error"),
            Some("invalid_request")
        );
    }
    scene
        .pending(&Params::authorize("WEB").set("response_mode", "query"))
        .await;
}

/// PK-03, PK-05
/// M-002, M-082
#[tokio::test]
async fn pkce_is_asked_of_everyone_and_only_with_s256() {
    let scene = Scene::new().await;
    for client in ["PUB", "WEB", "SEC"] {
        for method in ["plain", "s256", "S512", "none", "", "S256 ", "S256,plain"] {
            let request = Params::authorize(client).set("code_challenge_method", method);
            let answer = scene.sent_back(&request).await;
            assert_eq!(
                answer.value("error_description"),
                Some("code_challenge_method is not S256"),
                "{method}"
            );
        }
        for challenge in [
            &CHALLENGE[..42],
            &format!("{CHALLENGE}A"),
            &CHALLENGE.replace('-', "+"),
            &CHALLENGE.replace('-', "/"),
            &CHALLENGE.replace('-', " "),
            &format!("{CHALLENGE}="),
            &"a".repeat(128),
        ] {
            let request = Params::authorize(client).set("code_challenge", challenge);
            let answer = scene.sent_back(&request).await;
            assert_eq!(
                answer.value("error_description"),
                Some("code_challenge is malformed"),
                "{challenge}"
            );
        }
    }
}
