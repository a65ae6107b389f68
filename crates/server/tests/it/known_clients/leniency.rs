//! What is let pass is let pass for that client alone, by switch, and nothing else with it.

use serde_json::json;

use crate::house::{BOOTSTRAP, House, answer, builder};

const SECRET: &str = "known-client-secret-0123456789abcdef";
const CLAUDE: &str = "https://claude.ai/api/mcp/auth_callback";
const TWIN: &str = "https://claude.com/api/mcp/auth_callback";

/// A server with a strict rule about secrets, and two clients for Basic: Claude, and somebody who calls himself so.
fn strict(known_clients: &str) -> House {
    let client = |id: &str, redirect: &str| {
        format!(
            "[[client]]\nclient_id = \"{id}\"\nname = \"Claude\"\ntoken_endpoint_auth_method = \"client_secret_basic\"\n\
             client_secret = \"{SECRET}\"\nredirect_uris = {redirect}\n"
        )
    };
    let clients = [
        client("claude", &json!([CLAUDE]).to_string()),
        client("other", &json!([CLAUDE, "https://other.example/cb"]).to_string()),
    ]
    .concat();
    let configuration = format!("let_basic_and_post_swap = false\n[known_clients]\n{known_clients}\n");
    House::of(
        builder()
            .bootstrap(format!("{BOOTSTRAP}{clients}"))
            .config(configuration)
            .start()
            .unwrap(),
    )
}

/// How a secret in the body is answered, apart from the code, which is no good.
async fn in_the_body(house: &House, client: &str, secret: &str) -> (u16, String) {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", "mcpac_x"),
        ("code_verifier", crate::house::VERIFIER),
        ("client_id", client),
        ("client_secret", secret),
    ];
    let (status, refusal) = house.post("/token", &form).await;
    (status, refusal["error"].as_str().unwrap().to_owned())
}

/// Whether an authorization request at a redirect URI gets as far as a person.
async fn is_taken(house: &House, client: &str, redirect: &str) -> bool {
    let mut url = reqwest::Url::parse(&house.authorize_url(client, "")).unwrap();
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| match &*name {
            "redirect_uri" => (name.into_owned(), redirect.to_owned()),
            _ => (name.into_owned(), value.into_owned()),
        })
        .collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    let response = house.http.get(url).send().await.unwrap();
    response.status() == 303
}

#[tokio::test]
async fn a_secret_in_the_body_is_let_pass_for_claude_alone_and_has_to_be_right() {
    let refused = (401, "invalid_client".to_owned());
    let let_in = (400, "invalid_grant".to_owned());
    let house = strict("");
    assert_eq!(in_the_body(&house, "claude", SECRET).await, let_in);
    assert_eq!(in_the_body(&house, "claude", "wrong").await, refused);
    assert_eq!(
        in_the_body(&house, "other", SECRET).await,
        refused,
        "a name and one of its redirects prove nothing"
    );
    for off in ["off = [\"secret-in-body\"]", "off = [\"claude/secret-in-body\"]"] {
        let house = strict(off);
        assert_eq!(in_the_body(&house, "claude", SECRET).await, refused, "{off}");
    }
}

/// M-089, M-067
#[tokio::test]
async fn another_host_is_let_pass_only_once_it_is_switched_on() {
    let house = strict("");
    assert!(is_taken(&house, "claude", CLAUDE).await);
    assert!(!is_taken(&house, "claude", TWIN).await, "off by default");
    let house = strict("on = [\"claude/redirect-host\"]");
    assert!(is_taken(&house, "claude", TWIN).await);
    assert!(!is_taken(&house, "other", TWIN).await);
    for other in [
        "https://claude.com/api/mcp/auth_callback/",
        "https://claude.com.evil.example/api/mcp/auth_callback",
        "http://claude.com/api/mcp/auth_callback",
    ] {
        assert!(!is_taken(&house, "claude", other).await, "{other}");
    }
}

/// M-090: who registers OpenCode's name and callback for himself gets his own registration, and no other path with it.
#[tokio::test]
async fn a_claim_opens_nothing() {
    let house = House::of(
        builder()
            .config("[known_clients]\non = [\"loopback-path\", \"redirect-host\", \"assertion-left-out\"]\n")
            .start()
            .unwrap(),
    );
    let asked = json!({
        "client_name": "OpenCode", "software_id": "opencode", "client_uri": "https://opencode.ai",
        "redirect_uris": ["http://127.0.0.1:19876/callback"], "token_endpoint_auth_method": "none",
    });
    let (status, made) = answer(house.http.post(house.server.url("/register")).json(&asked)).await;
    assert_eq!(status, 201, "{made}");
    let id = made["client_id"].as_str().unwrap();
    assert!(is_taken(&house, id, "http://127.0.0.1:19876/callback").await);
    assert!(!is_taken(&house, id, "http://127.0.0.1:19876/mcp/oauth/callback").await);
    assert!(!house.server.output().text().contains("let pass"));
}

/// M-200: a client that may leave its assertion out and does has proven nothing, and gets nothing for its own sake.
#[tokio::test]
async fn without_an_assertion_nobody_is_a_machine_or_a_resource_server() {
    const ID: &str = "https://chatgpt.com/oauth/client.json";
    let key = mcp_authflow_jose::SigningKey::generate(mcp_authflow_jose::Algorithm::Es256).unwrap();
    let house = House::of(
        builder()
            .bootstrap([BOOTSTRAP, &crate::client_assertion::machine(ID, &key)].concat())
            .config("[known_clients]\non = [\"assertion-left-out\"]\n")
            .start()
            .unwrap(),
    );
    let bare = [
        ("grant_type", "client_credentials"),
        ("resource", crate::house::R1),
        ("client_id", ID),
    ];
    let (status, refusal) = house.post("/token", &bare).await;
    assert_eq!((status, &refusal["error"]), (400, &json!("unauthorized_client")));
    let claims = crate::client_assertion::claims(ID, house.server.issuer(), "once");
    let assertion = key.sign("JWT", &claims).unwrap();
    let mut signed = bare.to_vec();
    signed.push((
        "client_assertion_type",
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    ));
    signed.push(("client_assertion", &assertion));
    let (status, given) = house.post("/token", &signed).await;
    assert_eq!(status, 200, "{given}");
    let (status, refusal) = house
        .post(
            "/introspect",
            &[
                ("token", given["access_token"].as_str().unwrap()),
                ("client_id", ID),
            ],
        )
        .await;
    assert_eq!((status, &refusal["error"]), (401, &json!("invalid_client")));
}
