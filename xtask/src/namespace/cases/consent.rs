//! `cimd`, in front of a person: what the page shows of a client that describes itself, and where its codes may go.

use anyhow::{Context, Result, bail};
use mcp_authflow_jose::SigningKey;
use serde_json::json;

use crate::namespace::dns::Answer;
use crate::namespace::door::{JWT_BEARER, REDIRECT_URI, VERIFIER, assertion, authorize_path};
use crate::namespace::house::{AuthServer, PASSWORD, RESOURCE, USERNAME};
use crate::namespace::judgement::Judgement;
use crate::namespace::peers::{Serve, client_metadata};
use crate::namespace::visitor::{Reply, Visitor};
use crate::namespace::world::World;

/// A client's access to a person's resource, as the client holds it.
pub(super) struct Grant {
    application: Visitor,
    client_id: String,
    refresh_token: String,
}

impl Grant {
    /// The person signs in and allows, and the client redeems its code; with its key, where it has one.
    pub(super) async fn obtain(
        world: &World,
        server: &AuthServer,
        client_id: &str,
        key: Option<&SigningKey>,
    ) -> Result<Self> {
        let browser = world.visitor_of(server)?;
        let (place, page) = consent_page(&browser, client_id, REDIRECT_URI).await?;
        let reply = browser.allow(&place, &page).await?;
        let code = code_of(&reply)?;
        let application = world.visitor_of(server)?;
        let tokens = redeem(&application, client_id, &code, key).await?;
        let refresh_token = refresh_token_of(&tokens)?;
        Ok(Self {
            application,
            client_id: client_id.to_owned(),
            refresh_token,
        })
    }

    /// Gets new tokens, and keeps the newest.
    pub(super) async fn refresh(&mut self, key: Option<&SigningKey>) -> Result<Reply> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client_id.as_str()),
            ("refresh_token", self.refresh_token.as_str()),
        ];
        let reply = post_proven(&self.application, &self.client_id, key, &form).await?;
        if reply.status == 200 {
            self.refresh_token = refresh_token_of(&reply)?;
        }
        Ok(reply)
    }
}

/// Asks for tokens, with an assertion by the client's key where it has one.
async fn post_proven(
    application: &Visitor,
    client_id: &str,
    key: Option<&SigningKey>,
    form: &[(&str, &str)],
) -> Result<Reply> {
    let assertion = key.map(|key| assertion(client_id, key, &json!({}))).transpose()?;
    let mut form = form.to_vec();
    if let Some(assertion) = &assertion {
        form.push(("client_assertion_type", JWT_BEARER));
        form.push(("client_assertion", assertion));
    }
    application.post("/token", &form).await
}

fn refresh_token_of(reply: &Reply) -> Result<String> {
    let token = reply.json()["refresh_token"].as_str().map(str::to_owned);
    token.with_context(|| format!("no refresh token ({}): {}", reply.status, reply.brief()))
}

fn code_of(reply: &Reply) -> Result<String> {
    let location: url::Url = reply.location().context("no redirect to the client")?.parse()?;
    let code = location.query_pairs().find(|(name, _)| name == "code");
    code.map(|(_, code)| code.into_owned())
        .with_context(|| format!("no code in {location}"))
}

async fn redeem(
    application: &Visitor,
    client_id: &str,
    code: &str,
    key: Option<&SigningKey>,
) -> Result<Reply> {
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", REDIRECT_URI),
        ("resource", RESOURCE),
    ];
    post_proven(application, client_id, key, &form).await
}

/// Asks for approval and signs in: where the consent page is, and the page.
async fn consent_page(browser: &Visitor, client_id: &str, redirect_uri: &str) -> Result<(String, Reply)> {
    let reply = browser.get(&authorize_path(client_id, redirect_uri)).await?;
    let Some(place) = reply.location().map(str::to_owned) else {
        bail!("{client_id} is refused ({}): {}", reply.status, reply.brief());
    };
    let page = browser.sign_in(&place, USERNAME, PASSWORD).await?;
    anyhow::ensure!(
        page.asks_for("consent"),
        "no consent page ({}): {}",
        page.status,
        page.brief()
    );
    Ok((place, page))
}

/// Serves the document of a client with these members changed; its identifier and host.
fn client_with(world: &World, members: &serde_json::Value) -> (String, String) {
    let host = world.host("shown");
    let id = format!("https://{host}/client.json");
    serve(world, &host, members);
    (id, host)
}

fn serve(world: &World, host: &str, members: &serde_json::Value) {
    let mut document = client_metadata(&format!("https://{host}/client.json"));
    for (name, value) in members.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    world.peers.serve(host, "/client.json", Serve::json(&document));
}

const SWAPPED: &str = "https://swapped.test/cb";

/// CM-08: a document that swaps its redirect URI while somebody decides: the code goes to the one that was shown, or
/// nowhere.
pub(super) async fn cm_08(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let swapped = json!({ "redirect_uris": [SWAPPED] });
    let (shared, nodes) = world.two_nodes()?;
    for moment in [
        "never",
        "before signing in",
        "before allowing",
        "before redeeming",
        "another node",
    ] {
        judgement.input();
        let (id, host) = client_with(world, &json!({}));
        let swap = |now: &str| {
            if now == moment {
                serve(world, &host, &swapped);
            }
        };
        let browser = world.visitor_of(&nodes[0])?;
        let reply = browser.get(&authorize_path(&id, REDIRECT_URI)).await?;
        let place = reply
            .location()
            .with_context(|| format!("refused: {}", reply.brief()))?
            .to_owned();
        swap("before signing in");
        let page = browser.sign_in(&place, USERNAME, PASSWORD).await?;
        judgement.demand(page.body.contains("client.test"), || {
            format!("{moment}: the page hides where it leads")
        });
        swap("before allowing");
        if moment == "another node" {
            // It has no copy, and reads the swapped one.
            serve(world, &host, &swapped);
            let other = world.visitor_of(&nodes[1])?;
            let reply = other.get(&authorize_path(&id, SWAPPED)).await?;
            judgement.demand([303, 400].contains(&reply.status), || {
                format!("the other node: {}", reply.status)
            });
        }
        let reply = browser.allow(&place, &page).await?;
        let location = reply.location().unwrap_or("");
        judgement.demand(!location.contains("swapped.test"), || {
            format!("{moment}: A CODE WENT TO {location}")
        });
        swap("before redeeming");
        match code_of(&reply) {
            Ok(code) => {
                judgement.demand(location.starts_with(REDIRECT_URI), || {
                    format!("{moment}: {location}")
                });
                let application = world.visitor_of(&nodes[0])?;
                let form = [
                    ("grant_type", "authorization_code"),
                    ("client_id", id.as_str()),
                    ("code", code.as_str()),
                    ("code_verifier", VERIFIER),
                    ("redirect_uri", SWAPPED),
                ];
                let wrong = application.post("/token", &form).await?;
                judgement.demand(wrong.status == 400, || {
                    format!("{moment}: redeemed for another address: {}", wrong.brief())
                });
                let right = redeem(&application, &id, &code, None).await?;
                judgement.demand([200, 400].contains(&right.status), || {
                    format!("{moment}: {}", right.brief())
                });
            }
            Err(_) => judgement.demand(moment != "never" && reply.status == 400, || {
                format!("{moment}: no code: {} {}", reply.status, reply.brief())
            }),
        }
    }
    nodes.into_iter().try_for_each(AuthServer::stop)?;
    drop(shared);
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// CM-10: a client whose codes go to this computer says who it is by its host only: the page shows both hosts, warns, and is
/// not skipped.
pub(super) async fn cm_10(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    for redirect in ["http://127.0.0.1/cb", "http://localhost/cb", "http://[::1]/cb"] {
        judgement.input();
        let (id, host) = client_with(world, &json!({ "redirect_uris": [redirect] }));
        let browser = world.visitor()?;
        for round in ["first", "second"] {
            let (place, page) = consent_page(&browser, &id, redirect)
                .await
                .with_context(|| round.to_owned())?;
            let text = page.body.to_lowercase();
            judgement.demand(text.contains(&host), || {
                format!("{round}: the client's host is not shown: {}", page.brief())
            });
            judgement.demand(text.contains("computer"), || {
                format!("{round}: no warning: {}", page.brief())
            });
            let reply = browser.allow(&place, &page).await?;
            let location = reply.location().unwrap_or("");
            judgement.demand(location.starts_with(redirect), || format!("{round}: {location}"));
        }
    }
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// CM-11: a name is a text that anybody can choose: what deceives in it is taken out or refused, and the host stands above
/// it.
pub(super) async fn cm_11(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    for name in [
        "Claude\u{202e}🔒 by Anthropic".to_owned(),
        "x".repeat(9 * 1_024),
        "\u{200b}\u{200c}\u{2060}".to_owned(),
        "Claude".to_owned(),
        "🔒 Verified".to_owned(),
        "as.test".to_owned(),
        "<b>bold</b><script>alert(1)</script>".to_owned(),
        "two\nlines\u{7}".to_owned(),
        "a\u{301}".repeat(400),
        "\u{2066}isolated\u{2069}\u{feff}".to_owned(),
    ] {
        judgement.input();
        let short: String = name.chars().take(40).collect();
        let (id, host) = client_with(world, &json!({ "client_name": name }));
        let browser = world.visitor()?;
        let reply = browser.get(&authorize_path(&id, REDIRECT_URI)).await?;
        if reply.status == 400 {
            continue;
        }
        let place = reply
            .location()
            .with_context(|| format!("{short:?}: {}", reply.status))?
            .to_owned();
        let page = browser.sign_in(&place, USERNAME, PASSWORD).await?;
        let deceives = |character: char| {
            matches!(character,
                '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{7}')
        };
        judgement.demand(!page.body.contains(deceives), || {
            format!("{short:?}: shown as it came")
        });
        judgement.demand(!page.body.contains("<script>alert"), || {
            format!("{short:?}: run as it came")
        });
        judgement.demand(!page.body.contains(&"x".repeat(81)), || {
            format!("{short:?}: shown at any length")
        });
        judgement.demand(!page.body.contains(&"a\u{301}".repeat(81)), || {
            format!("{short:?}: shown at any length")
        });
        let is_large = page.body.contains(&format!("<p class=\"big\"><bdi>{host}</bdi>"));
        judgement.demand(is_large, || {
            format!(
                "{short:?}: the host does not stand above the name: {}",
                page.brief()
            )
        });
    }
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// CM-12: a picture comes from us or not at all: the browser is told of no other place, and asks no other.
pub(super) async fn cm_12(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let elsewhere = world.host("pictures");
    let inner = world.host_with("pictures", vec![Answer::of(&["10.0.0.5"])]);
    judgement.input();
    let is_shown = shows_logo(world, &elsewhere).await?;
    judgement.demand(is_shown, || "a good picture is not shown".to_owned());
    let redirect = "location: https://10.0.0.5/logo.png\r\n";
    world
        .peers
        .serve(&elsewhere, "/moved.png", Serve::text(302, redirect, ""));
    let drawing = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    for kind in ["image/svg+xml", "image/png"] {
        let path = format!("/{}.svg", &kind[6..9]);
        let headers = format!("content-type: {kind}\r\n");
        world
            .peers
            .serve(&elsewhere, &path, Serve::text(200, &headers, drawing));
    }
    for logo in [
        format!("https://{inner}/logo.png"),
        format!("https://{elsewhere}/moved.png"),
        format!("https://{elsewhere}/svg.svg"),
        format!("https://{elsewhere}/png.svg"),
        "javascript:alert(1)".to_owned(),
        "data:image/svg+xml,<svg onload='alert(1)'/>".to_owned(),
        format!("http://{elsewhere}/logo.png"),
        format!("https://{elsewhere}/logo.png"),
        format!("//{elsewhere}/logo.png"),
        "https://10.0.0.5/logo.png".to_owned(),
        "https://169.254.169.254/logo.png".to_owned(),
        "\"><script>alert(1)</script>".to_owned(),
    ] {
        judgement.input();
        let (id, _) = client_with(world, &json!({ "logo_uri": logo }));
        let browser = world.visitor()?;
        let before = world.peers.contacts().len();
        let reply = browser.get(&authorize_path(&id, REDIRECT_URI)).await?;
        if reply.status == 400 {
            continue;
        }
        let place = reply
            .location()
            .with_context(|| format!("{logo}: {}", reply.status))?
            .to_owned();
        let page = browser.sign_in(&place, USERNAME, PASSWORD).await?;
        judgement.demand(page.asks_for("consent"), || format!("{logo}: no consent page"));
        judgement.demand(
            !page.body.contains(&logo) && !page.body.contains(&elsewhere),
            || format!("{logo}: the page names it: {}", page.brief()),
        );
        let policy = page
            .headers
            .get("content-security-policy")
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        let images = policy
            .split(';')
            .map(str::trim)
            .find_map(|part| part.strip_prefix("img-src"))
            .or_else(|| {
                policy
                    .split(';')
                    .map(str::trim)
                    .find_map(|part| part.strip_prefix("default-src"))
            })
            .unwrap_or("*");
        let are_ours = images
            .split_whitespace()
            .all(|source| ["'self'", "'none'", "data:"].contains(&source));
        judgement.demand(are_ours, || format!("{logo}: images from {images}"));
        for piece in page.body.split("src=\"").skip(1) {
            let source = piece.split('"').next().unwrap_or("");
            judgement.demand(source.starts_with('/') && !source.starts_with("//"), || {
                format!("{logo}: shows {source}")
            });
            let picture = browser.get(source).await?;
            let kind = picture
                .headers
                .get("content-type")
                .and_then(|kind| kind.to_str().ok())
                .unwrap_or("");
            judgement.demand(
                !kind.contains("svg") && !kind.contains("html") || picture.status != 200,
                || format!("{logo}: {source} is {kind}"),
            );
        }
        let contacts = world.peers.contacts().split_off(before);
        let private = contacts
            .iter()
            .find(|contact| !crate::namespace::peers::is_global(contact.to.ip()));
        judgement.demand(private.is_none(), || format!("{logo}: {private:?} was dialled"));
    }
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// Whether the consent page shows a picture that this host has, fetched by the server.
async fn shows_logo(world: &World, host: &str) -> Result<bool> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header()?.write_image_data(&[7])?;
    let kind = "content-type: image/png\r\n".to_owned();
    world
        .peers
        .serve(host, "/good.png", Serve::Answer(200, kind, bytes));
    let (id, _) = client_with(world, &json!({ "logo_uri": format!("https://{host}/good.png") }));
    let browser = world.visitor()?;
    let (_, page) = consent_page(&browser, &id, REDIRECT_URI).await?;
    let Some(source) = page
        .body
        .split("src=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
    else {
        return Ok(false);
    };
    let picture = browser.get(source).await?;
    Ok(picture.status == 200 && world.peers.hits(host, "/good.png") == 1)
}

/// CM-19: two installs of one client have a grant each; the second does not end the first.
pub(super) async fn cm_19(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let (id, _) = client_with(world, &json!({}));
    let mut first = Grant::obtain(world, &world.server, &id, None).await?;
    let mut second = Grant::obtain(world, &world.server, &id, None).await?;
    for (what, grant) in [("the first", &mut first), ("the second", &mut second)] {
        for _ in 0..2 {
            judgement.input();
            let reply = grant.refresh(None).await?;
            judgement.demand(reply.status == 200, || {
                format!("{what} install: {} {}", reply.status, reply.brief())
            });
        }
    }
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}
