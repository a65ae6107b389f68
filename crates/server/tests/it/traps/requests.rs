//! What clients ask for.

use mcp_authflow_testkit::browser::Decision;
use serde_json::Value;

use super::{authorize_url, metadata, register, tokens};
use crate::house::{House, PASSWORD, R1, builder, page, text};

const WEB: &str = "https://client.example/cb";

/// M-151, M-087, M-152; M §6.4 trap 6: clients ask for all that the metadata list, or for what another product wants. What can be
/// granted is granted, and said; only when nothing is left it is an error. A registration's scope pins nobody.
#[tokio::test]
async fn trap_06_scopes_are_narrowed_and_said_and_never_pinned() {
    let house = House::open();
    let on_offer = metadata(&house).await["scopes_supported"].clone();
    let all: Vec<&str> = on_offer
        .as_array()
        .unwrap()
        .iter()
        .map(|scope| scope.as_str().unwrap())
        .collect();
    let too_much = format!("{} openid profile email admin", all.join(" "));
    let given = tokens(&house, "web", WEB, &[("resource", R1), ("scope", &too_much)]).await;
    assert_eq!(text(&given, "scope"), "mcp:read mcp:write offline_access");
    let refused = authorize_url(&house, "web", WEB, &[("resource", R1), ("scope", "openid email")]);
    let left = house
        .browser()
        .sign_in_and(&refused, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    assert_eq!(left.parameter("error").unwrap().as_deref(), Some("invalid_scope"));
    let pinned = serde_json::json!({ "redirect_uris": [WEB], "token_endpoint_auth_method": "none", "scope": "mcp:read" });
    let (_, made) = register(&house, &pinned).await;
    let wider = [("resource", R1), ("scope", "mcp:read mcp:write")];
    let given = tokens(&house, text(&made, "client_id"), WEB, &wider).await;
    assert_eq!(text(&given, "scope"), "mcp:read mcp:write");
}

/// M-048, M-093; M §6.4 trap 11: `iss` is advertised, and there on every answer that leaves: approved, denied, refused, not
/// possible without a person.
#[tokio::test]
async fn trap_11_iss_is_advertised_and_sent_on_every_answer() {
    let house = House::of(builder().issuer_path("/tenant").start().unwrap());
    assert_eq!(
        metadata_at_path(&house).await["authorization_response_iss_parameter_supported"],
        true
    );
    let good = [("resource", R1)];
    for (decision, more, error) in [
        (Decision::Allow, &good[..], None),
        (Decision::Deny, &good, Some("access_denied")),
        (
            Decision::Allow,
            &[("resource", R1), ("scope", "nothing")],
            Some("invalid_scope"),
        ),
        (
            Decision::Allow,
            &[("resource", "https://nobody.test/mcp")],
            Some("invalid_target"),
        ),
        (
            Decision::Allow,
            &[("resource", R1), ("prompt", "none")],
            Some("login_required"),
        ),
        (
            Decision::Allow,
            &[("resource", R1), ("request", "x")],
            Some("request_not_supported"),
        ),
        (
            Decision::Allow,
            &[("resource", R1), ("response_mode", "fragment")],
            Some("invalid_request"),
        ),
    ] {
        let url = authorize_url(&house, "web", WEB, more);
        let left = house
            .browser()
            .sign_in_and(&url, "alice", PASSWORD, decision)
            .await
            .unwrap();
        let parameter = |name| left.parameter(name).unwrap();
        assert_eq!(
            parameter("iss").as_deref(),
            Some(house.server.issuer()),
            "{more:?}"
        );
        assert_eq!(parameter("state").as_deref(), Some("s"), "{more:?}");
        assert_eq!(parameter("error").as_deref(), error, "{more:?}");
    }
}

async fn metadata_at_path(house: &House) -> Value {
    let url = format!(
        "{}/.well-known/oauth-authorization-server/tenant",
        house.server.origin()
    );
    crate::house::answer(house.http.get(url)).await.1
}

/// M §6.4 trap 12: FastMCP asks for the page itself, without cookies, and only then opens the browser. Both answers are fine, and the
/// first took nothing from the second.
#[tokio::test]
async fn trap_12_fastmcps_probe_without_cookies_costs_nothing() {
    let house = House::open();
    let url = authorize_url(&house, "web", WEB, &[("resource", R1), ("prompt", "consent")]);
    let mut ways = Vec::new();
    for _ in 0..3 {
        let probe = house
            .http
            .get(&url)
            .header("user-agent", "python-httpx")
            .send()
            .await
            .unwrap();
        assert_eq!(probe.status(), 303);
        ways.push(probe.headers()["location"].to_str().unwrap().to_owned());
    }
    ways.dedup();
    assert_eq!(ways.len(), 3, "each is a request of its own");
    let left = house
        .browser()
        .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    assert!(left.parameter("code").unwrap().is_some());
    // What was begun without a browser is nobody's: another browser does not get on with it.
    let way = reqwest::Url::parse(&url).unwrap().join(&ways[0]).unwrap();
    let elsewhere = page(house.browser().open(way.as_str()).await.unwrap());
    assert!(elsewhere.status >= 400 && elsewhere.form_with("step", "login").is_none());
    // A client that is gone is what it looks for: 400, and it registers anew.
    let gone = authorize_url(&house, "nobody", WEB, &[("resource", R1)]);
    assert_eq!(house.http.get(gone).send().await.unwrap().status(), 400);
}

/// M-114, M-116; M §6.4 trap 13: `prompt=consent` comes along with `offline_access`, and means that the person is asked, whether or not
/// there is OpenID Connect.
#[tokio::test]
async fn trap_13_prompt_consent_with_offline_access_is_taken() {
    let house = House::open();
    let all = metadata(&house).await;
    assert!(
        all["scopes_supported"]
            .as_array()
            .unwrap()
            .iter()
            .any(|scope| scope == "offline_access")
    );
    let asked = [
        ("resource", R1),
        ("scope", "mcp:read offline_access"),
        ("prompt", "consent"),
    ];
    let given = tokens(&house, "web", WEB, &asked).await;
    assert_eq!(text(&given, "scope"), "mcp:read offline_access");
    let (status, refreshed) = house.refresh("web", text(&given, "refresh_token")).await;
    assert_eq!(status, 200, "{refreshed}");
}

/// M-083; M §6.4 trap 14: `resource` together with `scope`, on every leg; servers that cannot have both lock clients out.
#[tokio::test]
async fn trap_14_resource_and_scope_go_together_on_every_leg() {
    let house = House::open();
    let both = [("resource", R1), ("scope", "mcp:read mcp:write")];
    let url = authorize_url(&house, "web", WEB, &both);
    let left = house
        .browser()
        .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    let code = left.parameter("code").unwrap().expect("a code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("client_id", "web"),
        ("code_verifier", crate::house::VERIFIER),
        ("redirect_uri", WEB),
        both[0],
        both[1],
    ];
    let (status, given) = house.post("/token", &form).await;
    assert_eq!((status, text(&given, "scope")), (200, "mcp:read mcp:write"));
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&given, "refresh_token")),
        ("client_id", "web"),
        both[0],
        ("scope", "mcp:read"),
    ];
    let (status, given) = house.post("/token", &form).await;
    assert_eq!((status, text(&given, "scope")), (200, "mcp:read"));
}

/// M-084; M §6.4 trap 15: `audience` stands for `resource` by a switch alone, and never beside it; a resource may have a query; what
/// must not come twice is refused when it does.
#[tokio::test]
async fn trap_15_audience_counts_only_by_the_switch_and_odd_parameters_have_their_rules() {
    let audience = [("audience", "https://rs2.test/mcp"), ("scope", "mcp:read")];
    let both = [("audience", "https://rs2.test/mcp"), ("resource", R1)];
    // Two resources and none named: nothing to go by.
    let off = House::open();
    let url = authorize_url(&off, "web", WEB, &audience);
    let left = off
        .browser()
        .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    assert_eq!(
        left.parameter("error").unwrap().as_deref(),
        Some("invalid_target")
    );

    let on = House::of(
        builder()
            .config("accept_audience_parameter = true\n")
            .start()
            .unwrap(),
    );
    let aud = async |given: &Value, server: &str| {
        let request = on
            .http
            .post(on.server.url("/introspect"))
            .form(&[("token", text(given, "access_token"))])
            .basic_auth(server, Some(crate::house::RS_SECRET));
        crate::house::answer(request).await.1["aud"].clone()
    };
    let given = tokens(&on, "web", WEB, &audience).await;
    assert_eq!(aud(&given, "rs2").await, "https://rs2.test/mcp");
    let given = tokens(&on, "web", WEB, &both).await;
    assert_eq!(aud(&given, "rs1").await, R1, "resource is what counts");
    let form = [("grant_type", "client_credentials"), ("audience", R1)];
    for (house, wanted) in [(&on, 200), (&off, 400)] {
        let request = house.http.post(house.server.url("/token")).form(&form);
        let request = request.basic_auth("svc", Some(crate::house::SVC_SECRET));
        let (status, said) = crate::house::answer(request).await;
        assert_eq!(status, wanted, "{said}");
    }

    let twice = authorize_url(
        &off,
        "web",
        WEB,
        &[("resource", R1), ("scope", "mcp:read"), ("scope", "mcp:write")],
    );
    let left = off
        .browser()
        .sign_in_and(&twice, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    assert_eq!(
        left.parameter("error").unwrap().as_deref(),
        Some("invalid_request")
    );
    // RFC 8707 §2: "The client MAY include … more than one", and a query is part of the name.
    let queried = authorize_url(&off, "web", WEB, &[("resource", "https://rs1.test/mcp?tenant=7")]);
    let left = off
        .browser()
        .sign_in_and(&queried, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    assert_eq!(
        left.parameter("error").unwrap().as_deref(),
        Some("invalid_target"),
        "it is another resource"
    );
    let two = [("resource", R1), ("resource", "https://rs2.test/mcp")];
    assert_eq!(tokens(&off, "web", WEB, &two).await["token_type"], "Bearer");
}
