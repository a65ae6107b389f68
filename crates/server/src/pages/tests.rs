//! Laws that hold for every page.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use axum::body::to_bytes;
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};

use super::rehearsal::{
    applications, apps, consents, devices, disconnects, errors, homes, logins, setups, sign_outs,
};
use super::*;

/// Text that tries to be markup, an attribute, a template, an address, or something else to the eye. Each keeps
/// visible characters, so that it fills the same places as ordinary text.
const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' autofocus onfocus='alert(1)",
    "`x` style=\"background:url(https://evil.example)\"",
    "</title></textarea></style><base href=//evil.example>",
    "{{ site.name|upper }}{% raw %}{# x #}",
    "javascript:alert(document.domain)",
    "safe\u{202e}exe.\u{200b}\u{2066}\u{1b}\r\nSet-Cookie: a=b",
    "<!-- --!> &lt;script&gt; &#x3c;",
];

fn site() -> Site {
    Site {
        name: OneLine::name("authflow"),
        host: OneLine::long("auth.example"),
        base_path: "/tenant".to_owned(),
    }
}

fn pages() -> Pages {
    Pages::new(&site(), None).unwrap()
}

/// Every page in every state, with `text` in each place that a client, a person or an operator fills.
fn every_page(pages: &Pages, text: &str) -> Vec<Page> {
    let mut all: Vec<Page> = SignedOut::ALL.map(|what| pages.signed_out(what)).into();
    all.extend(apps(text).iter().map(|view| pages.apps(view)));
    all.extend(disconnects(text).iter().map(|view| pages.disconnect(view)));
    all.extend(sign_outs(text).iter().map(|view| pages.sign_out_everywhere(view)));
    all.extend(logins(text).iter().map(|view| pages.login(view)));
    all.extend(consents(text).iter().map(|view| pages.consent(view)));
    all.extend(devices(text).iter().map(|view| pages.device(view)));
    all.extend([true, false].map(|is_approved| pages.device_decided(DeviceDecidedView { is_approved })));
    all.extend(errors(text).iter().map(|view| pages.error(view)));
    all.extend(homes(text).iter().map(|view| pages.home(view)));
    all.extend(setups(text).iter().map(|view| pages.setup(view)));
    all
}

/// A start or end tag and its attributes in order.
#[derive(Debug, PartialEq, Eq)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The tags and the text of a document. Reads only the HTML that our templates write: double-quoted attributes.
fn parse(html: &str) -> (Vec<Tag>, String) {
    let (mut tags, mut text) = (Vec::new(), String::new());
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let (mut end, mut quoted) = (None, false);
        for (at, character) in after.char_indices() {
            quoted ^= character == '"';
            if character == '>' && !quoted {
                end = Some(at);
                break;
            }
        }
        let (tag, remainder) = after.split_at(end.unwrap());
        rest = &remainder[1..];
        let tag = tag.strip_suffix('/').unwrap_or(tag);
        let (name, mut inside) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        let mut attributes = Vec::new();
        while !inside.trim().is_empty() {
            inside = inside.trim_start();
            let stop = inside
                .find(|c: char| c == '=' || c.is_whitespace())
                .unwrap_or(inside.len());
            let (name, after) = inside.split_at(stop);
            let mut value = "";
            inside = after;
            if let Some(quoted) = after.strip_prefix("=\"") {
                (value, inside) = quoted.split_once('"').unwrap();
            }
            assert!(!inside.starts_with('='), "an unquoted attribute in {tag:?}");
            attributes.push((name.to_owned(), value.to_owned()));
        }
        tags.push(Tag {
            name: name.to_owned(),
            attributes,
        });
    }
    text.push_str(rest);
    (tags, text)
}

/// Tag and attribute names, and the values of those attributes that never hold anyone's text.
fn markup(html: &str) -> Vec<String> {
    let own = [
        "id",
        "class",
        "type",
        "name",
        "for",
        "autocomplete",
        "role",
        "aria-describedby",
        "href",
        "method",
    ];
    parse(html)
        .0
        .iter()
        .map(|tag| {
            let mut line = tag.name.clone();
            for (name, value) in &tag.attributes {
                let value = if own.contains(&name.as_str()) { value } else { "" };
                line.extend([" ", name, "=", value]);
            }
            line
        })
        .collect()
}

/// XS-01, XS-02
#[test]
fn nobodys_text_becomes_markup() {
    let pages = pages();
    let plain = every_page(&pages, "sample");
    for hostile in HOSTILE {
        for (page, expected) in every_page(&pages, hostile).iter().zip(&plain) {
            assert_eq!(markup(&page.html), markup(&expected.html), "{hostile}");
            assert_eq!(page.status, expected.status);
        }
    }
}

/// CD-12: look-alike tricks
#[test]
fn nobodys_text_is_hidden_or_turned_round() {
    let pages = pages();
    for page in every_page(&pages, "x\u{202e}\u{2067}\u{200b}\u{feff}\u{7f}\u{1b}y") {
        let (_, text) = parse(&page.html);
        assert!(
            text.chars()
                .all(|c| c == '\n' || OneLine::name(&c.to_string()).to_string() == c.to_string() || c == ' '),
            "{text}"
        );
    }
}

/// XS-05, CO-16, M-172
#[test]
fn pages_hold_no_script_no_inline_style_and_nothing_from_elsewhere() {
    // "html" is the doctype's.
    let allowed: BTreeSet<&str> = "action alt aria-describedby aria-hidden aria-invalid aria-label aria-labelledby \
        autocapitalize autocomplete autocorrect autofocus charset checked class content cx cy d fill focusable for \
        height href html id lang maxlength method minlength name r rel required role rx spellcheck src stroke stroke-linecap \
        stroke-linejoin stroke-width type value viewBox width x y"
        .split_whitespace()
        .collect();
    let pages = pages();
    for text in ["sample", HOSTILE[1], HOSTILE[3]] {
        for page in every_page(&pages, text) {
            for tag in parse(&page.html).0 {
                assert!(
                    !["script", "style", "iframe", "object", "embed", "base", "template"]
                        .contains(&tag.name.as_str()),
                    "{tag:?}"
                );
                for (name, value) in &tag.attributes {
                    assert!(allowed.contains(name.as_str()), "{tag:?}");
                    match (&*tag.name, &**name) {
                        ("a", "href") => assert!(value.starts_with("/tenant/ui/"), "{tag:?}"),
                        ("img", "src") => assert!(value.starts_with("/tenant/ui/client-logo/"), "{tag:?}"),
                        (_, "href") => assert!(value.starts_with("/tenant/ui/assets/authflow-"), "{tag:?}"),
                        (_, "src") => panic!("{tag:?}"),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[test]
fn pages_can_be_used_by_everyone() {
    let pages = pages();
    for page in every_page(&pages, "sample") {
        let (tags, _) = parse(&page.html);
        let count = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
        assert!(page.html.starts_with("<!doctype html>\n"), "{}", page.html);
        assert_eq!((count("main"), count("h1"), count("title")), (1, 1, 1));
        assert!(
            tags.iter()
                .any(|tag| tag.name == "html" && tag.attribute("lang") == Some("en"))
        );
        assert!(tags.iter().any(|tag| tag.attribute("name") == Some("viewport")));

        let ids: Vec<&str> = tags.iter().filter_map(|tag| tag.attribute("id")).collect();
        assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "{ids:?}");
        for tag in &tags {
            for reference in ["for", "aria-describedby", "aria-labelledby"] {
                for id in tag.attribute(reference).unwrap_or("").split_whitespace() {
                    assert!(ids.contains(&id), "{tag:?} points at nothing");
                }
            }
            if matches!(tag.attribute("type"), Some("text" | "password")) {
                let id = tag.attribute("id").unwrap();
                assert!(
                    tags.iter().any(|label| label.attribute("for") == Some(id)),
                    "{tag:?}"
                );
                assert!(tag.attribute("autocomplete").is_some());
            }
        }
        // A field marked wrong is marked so for a reason that is announced.
        if tags.iter().any(|tag| tag.attribute("aria-invalid").is_some()) {
            assert!(tags.iter().any(|tag| tag.attribute("role") == Some("alert")));
        }
    }
}

fn consent_html(kind: usize, redirect_uri: &str) -> String {
    let mut view = consents("sample").swap_remove(0);
    view.application = applications("Some Name").swap_remove(kind);
    view.destination = Some(Destination::of(redirect_uri));
    pages().consent(&view).html
}

const OPERATOR: usize = 0;
const DOCUMENT: usize = 1;
const STRANGER: usize = 2;
const OLD_STRANGER: usize = 3;

/// M-098, M-171, CD-08, CD-12
#[test]
fn consent_shows_what_is_known_large_and_what_is_claimed_as_a_claim() {
    let stranger = consent_html(STRANGER, "https://client.example/cb");
    assert!(stranger.contains("<p class=\"big\">Unverified application</p>"));
    assert!(stranger.contains("Registered itself just now"));
    assert!(stranger.contains("<p class=\"small\">Calls itself “<bdi>Some Name</bdi>”"));
    assert!(stranger.contains("<p class=\"big\"><bdi class=\"host\">client.example</bdi></p>"));
    assert!(stranger.contains("less than a day"));
    assert!(!stranger.contains("Registered by the operator"));
    assert!(!consent_html(OLD_STRANGER, "https://client.example/cb").contains("less than a day"));

    let known = consent_html(OPERATOR, "https://client.example/cb");
    assert!(known.contains("<p class=\"big\"><bdi>Some Name</bdi></p>"));
    assert!(known.contains("Registered by the operator"));
    assert!(!known.contains("Check before you allow"));

    let document = consent_html(DOCUMENT, "https://client.example/cb");
    assert!(document.contains("web address") && !document.contains("Registered by the operator"));
}

/// M-099
#[test]
fn consent_warns_of_addresses_that_any_program_can_claim() {
    for kind in [OPERATOR, STRANGER] {
        let loopback = consent_html(kind, "http://127.0.0.1:4711/cb");
        assert!(
            loopback.contains("a program on this computer <span class=\"big-note\">(<bdi>127.0.0.1</bdi>)")
        );
        assert!(loopback.contains("Any program on this computer can receive the answer"));
        let app = consent_html(kind, "sample-app://x/cb");
        assert!(app.contains("the app that opens <bdi class=\"host\">sample-app://…</bdi>"));
        assert!(app.contains("Any app on this device can claim"));
        assert!(consent_html(kind, "https://a@b/").contains("cannot tell for certain"));
    }
}

/// M-098, M-100, M-171, CM-08, CM-11, CD-08: the host is large and the name small; what is new, has changed or leads
/// elsewhere is marked.
#[test]
fn consent_shows_a_document_client_by_its_host_and_marks_what_is_new_about_it() {
    let shown = |redirect_uri: &str, acquaintance| {
        let mut view = consents("sample").swap_remove(0);
        view.application = Application {
            identity: Identity::MetadataDocument {
                host: OneLine::long("app.example"),
            },
            claimed_name: OneLine::optional_name(Some("Your Bank")),
            client_id: OneLine::long("https://app.example/client.json"),
            logo: None,
        };
        view.destination = Some(Destination::of(redirect_uri));
        view.acquaintance = acquaintance;
        pages().consent(&view).html
    };
    let (own, other) = ("https://app.example/cb", "https://collect.example/cb");
    let new = Acquaintance {
        is_first_time: true,
        first_seen_seconds_ago: Some(180),
        changed_seconds_ago: None,
    };
    let html = shown(own, new);
    for said in [
        "<p class=\"big\"><bdi>app.example</bdi></p>",
        "<p class=\"small\">Calls itself “<bdi>Your Bank</bdi>”",
        "Identified by its web address",
        "First time for you",
        "New here: first seen 3 minutes ago",
    ] {
        assert!(html.contains(said), "{said} is not in\n{html}");
    }
    assert!(!html.contains("Another address than its own") && !html.contains("Changed"));

    let html = shown(other, Acquaintance::default());
    assert!(html.contains("Another address than its own"));
    assert!(html.contains("<bdi class=\"host\">collect.example</bdi>, which is not the address"));
    assert!(!html.contains("First time") && !html.contains("New here"));
    // A name that is spelled like the host's beginning is another host.
    assert!(shown("https://app.example.evil.test/cb", new).contains("Another address than its own"));

    let changed = Acquaintance {
        changed_seconds_ago: Some(172_800),
        ..Acquaintance::default()
    };
    let html = shown(own, changed);
    assert!(html.contains("Changed 2 days ago") && html.contains("has changed since you last allowed it"));
    assert!(
        shown("http://127.0.0.1:4711/cb", new)
            .contains("Any program on this computer can receive the answer")
    );
}

/// M-172, CM-12, CD-12: a picture comes from this server alone, and never for whom nobody vouches.
#[test]
fn a_picture_is_ours_and_says_nothing_by_itself() {
    let mut view = consents("sample").swap_remove(0);
    view.application.logo = Some("/tenant/ui/client-logo/a".to_owned());
    let page = pages().consent(&view);
    assert!(
        page.html
            .contains("<img class=\"logo\" src=\"/tenant/ui/client-logo/a\" alt=\"\"")
    );
    let (_, headers) = headers(page);
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("img-src 'self';"), "{policy}");
}

#[test]
fn consent_lets_each_scope_be_refused_and_denies_by_default() {
    let html = pages().consent(&consents("sample")[0]).html;
    let (tags, _) = parse(&html);
    let boxes: Vec<_> = tags
        .iter()
        .filter(|tag| tag.attribute("type") == Some("checkbox"))
        .map(|tag| {
            (
                tag.attribute("name").unwrap(),
                tag.attribute("value").unwrap(),
                tag.attribute("checked").is_some(),
            )
        })
        .collect();
    assert_eq!(
        boxes,
        [
            ("scope", "sample", true),
            ("scope", "sample", false),
            ("scope", "offline_access", true)
        ]
    );
    let steps: Vec<_> = tags
        .iter()
        .filter(|tag| tag.attribute("name") == Some("step"))
        .filter_map(|tag| tag.attribute("value"))
        .collect();
    assert_eq!(steps, ["sign_out", "consent"]);
    let decisions: Vec<_> = tags
        .iter()
        .filter(|tag| tag.attribute("name") == Some("decision"))
        .filter_map(|tag| tag.attribute("value"))
        .collect();
    assert_eq!(decisions, ["deny", "allow"]);
}

fn headers(page: Page) -> (StatusCode, HeaderMap) {
    let response = page.into_response();
    (response.status(), response.headers().clone())
}

/// CS-05, CS-09, CH-02, CH-04, M-142
#[test]
fn every_page_carries_the_headers_that_hold_browsers_to_it() {
    let pages = pages();
    for page in every_page(&pages, "sample").into_iter().chain([Page::plain()]) {
        let (asks, targets) = (page.keeps_opener, page.form_targets.join(" "));
        let (_, headers) = headers(page);
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value);
        }
        assert_eq!(headers.contains_key("cross-origin-opener-policy"), !asks);
        let policy = headers["content-security-policy"].to_str().unwrap();
        let expected = format!("; form-action 'self' {targets}");
        assert!(policy.ends_with(expected.trim_end()), "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
    }
}

/// CS-09
#[test]
fn only_consent_may_lead_elsewhere_to_the_client_and_on_from_there_by_https() {
    let pages = pages();
    let mut view = consents("sample").swap_remove(0);
    for (uri, targets) in [
        (
            "https://client.example:8443/cb",
            vec!["https://client.example:8443", "https:"],
        ),
        ("http://127.0.0.1:1/cb", vec!["http://127.0.0.1:*", "https:"]),
        ("sample-app://x", vec!["sample-app:", "https:"]),
        ("javascript:x", vec![]),
    ] {
        view.destination = Some(Destination::of(uri));
        assert_eq!(pages.consent(&view).form_targets, targets);
    }
    assert_eq!(
        pages.login(&logins("sample")[0]).form_targets,
        Vec::<String>::new()
    );
}

#[test]
fn a_problem_decides_the_status_and_when_to_come_back() {
    let pages = pages();
    let error = |problem| {
        let (status, headers) = headers(pages.error(&ErrorView::new(problem)));
        let wait = headers.get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        (status.as_u16(), wait)
    };
    assert_eq!(error(Problem::NotFound), (404, None));
    assert_eq!(error(Problem::MethodNotAllowed), (405, None));
    assert_eq!(error(Problem::Internal), (500, None));
    assert_eq!(error(Problem::Unavailable), (503, Some("5".to_owned())));
    assert_eq!(
        error(Problem::TooManyRequests {
            retry_after_seconds: 7
        }),
        (429, Some("7".to_owned()))
    );
    let mut login = logins("sample").swap_remove(0);
    login.problem = Some(LoginProblem::TooManyTries {
        retry_after_seconds: 90,
    });
    let page = pages.login(&login);
    assert_eq!((page.status.as_u16(), page.retry_after), (429, Some(90)));
    assert!(page.html.contains("Wait 90 seconds"));
}

/// XS-07
#[tokio::test]
async fn assets_are_served_under_their_own_name_only_and_for_ever() {
    let pages = pages();
    let (tags, _) = parse(&pages.signed_out(SignedOut::Here).html);
    let links: Vec<_> = tags
        .iter()
        .filter(|tag| tag.name == "link")
        .filter_map(|tag| tag.attribute("href"))
        .collect();
    assert_eq!(links.len(), 2);
    for (link, content_type) in links.iter().zip(["text/css; charset=utf-8", "image/svg+xml"]) {
        let name = link.strip_prefix("/tenant/ui/assets/").unwrap();
        let (stem, _) = name.split_once('.').unwrap();
        let digest = stem.strip_prefix("authflow-").unwrap();
        assert!(digest.len() == 16 && digest.bytes().all(|b| b.is_ascii_hexdigit()));
        let response = pages.asset(name).unwrap();
        assert_eq!(response.headers()["content-type"], content_type);
        assert_eq!(
            response.headers()["cache-control"],
            "public, max-age=31536000, immutable"
        );
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert!(
            response.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("sandbox")
        );
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert!(!body.is_empty() && !String::from_utf8_lossy(&body).contains("url("));
    }
    for other in [
        "",
        "authflow.css",
        "authflow-0000000000000000.css",
        "../login.html",
    ] {
        assert!(pages.asset(other).is_none());
    }
}

#[test]
fn an_operators_templates_replace_ours_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("signed_out.html"),
        "<p>Bye from {{ site.name }}</p>",
    )
    .unwrap();
    std::fs::write(dir.path().join("authflow.css"), "body{}").unwrap();
    let own = Pages::new(&site(), Some(dir.path())).unwrap();
    assert_eq!(own.signed_out(SignedOut::Here).html, "<p>Bye from authflow</p>");
    let home = own.home(&homes("sample")[0]).html;
    assert!(home.contains("Not signed in"));
    assert_ne!(
        home,
        pages().home(&homes("sample")[0]).html,
        "the stylesheet has another name"
    );
}

#[test]
fn a_broken_template_is_refused_at_the_start() {
    for broken in [
        "{{ view.nothing }}",
        "{% if %}",
        "{{ none }}",
        "{{ site.name|safe }}",
        "{% include 'x' %}",
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("home.html"), broken).unwrap();
        let error = Pages::new(&site(), Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("home.html"), "{error}");
    }
}

#[test]
fn a_page_that_cannot_be_rendered_is_a_plain_one() {
    let mut pages = pages();
    pages
        .templates
        .add_template("home.html", "{{ view.nothing }}")
        .unwrap();
    let page = pages.home(&homes("sample")[0]);
    assert_eq!(page, Page::plain());
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn ages_are_told_in_the_largest_whole_unit() {
    for (seconds, words) in [
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7_199, "1 hour ago"),
        (7_200, "2 hours ago"),
        (86_400, "1 day ago"),
        (u64::MAX, "213503982334601 days ago"),
    ] {
        assert_eq!(ago(seconds), words);
    }
}

/// WCAG 2.2 §1.4.3 and §1.4.11, in both colour schemes.
#[test]
fn colours_can_be_told_apart() {
    let css = include_str!("../../templates/authflow.css");
    let (light, dark) = css.split_once("@media (prefers-color-scheme: dark)").unwrap();
    let colour = |scheme: &str, name: &str| {
        let (_, after) = scheme.split_once(&format!("--{name}: #")).unwrap();
        let value = u32::from_str_radix(&after[..6], 16).unwrap();
        let channel = |shift: u32| {
            let part = f64::from((value >> shift) & 0xff) / 255.0;
            if part <= 0.040_45 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
    };
    for scheme in [light, dark] {
        for (front, back, least) in [
            ("ink", "paper", 7.0),
            ("ink", "card", 7.0),
            ("ink", "sunken", 7.0),
            ("muted", "paper", 4.5),
            ("muted", "card", 4.5),
            ("muted", "sunken", 4.5),
            ("on-main", "main", 4.5),
            ("on-main", "main-hover", 4.5),
            ("on-deny", "deny", 4.5),
            ("on-deny", "deny-hover", 4.5),
            ("good", "good-paper", 4.5),
            ("warn", "warn-paper", 4.5),
            ("bad", "bad-paper", 4.5),
            ("field-line", "card", 3.0),
            ("main", "card", 3.0),
            ("deny", "card", 3.0),
            ("focus", "card", 3.0),
            ("bad", "card", 3.0),
        ] {
            let (a, b) = (colour(scheme, front), colour(scheme, back));
            let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(ratio >= least, "{front} on {back}: {ratio:.2}");
        }
    }
}
