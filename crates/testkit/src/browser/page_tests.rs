#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

const CONSENT: &str = r#"<!doctype html>
<html lang="en"><head><title>Allow
  access?</title><style>p { color: red }</style></head>
<body><main><h1>Hello &amp; welcome</h1><p>One</p><p hidden>Secret</p><p>two <b>three</b>!</p>
<form method="POST" action="/ui/interaction/7?x=1&amp;y=2">
  <input type="hidden" name="csrf" value="a&quot;b">
  <input type="hidden" name="step" value="consent">
  <label><input type="checkbox" name="scope" value="hello:read" checked> Read</label>
  <label><input type="checkbox" name="scope" value="hello:write"> Write</label>
  <button name="decision" value="allow">Allow</button>
  <button type="submit" name="decision" value="deny">Deny</button>
  <input name="off" value="1" disabled><button type="button" name="b">Nothing</button>
</form>
<form><input name="q"><button>Find</button></form>
</main></body></html>"#;

fn page(body: &str) -> Result<Page> {
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", "text/html; charset=utf-8".parse().unwrap());
    Page::parse(
        "http://127.0.0.1:8000/ui/here".parse().unwrap(),
        200,
        headers,
        body,
    )
}

fn sent(form: &Form, fields: &[(&str, &str)]) -> Vec<String> {
    form.fill(fields)
        .unwrap()
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

#[test]
fn a_page_has_its_title_the_text_that_shows_and_its_forms() {
    let page = page(CONSENT).unwrap();
    assert_eq!(page.title, "Allow access?");
    assert_eq!(
        page.text,
        "Hello & welcome One two three! Read Write Allow Deny Nothing Find"
    );
    assert_eq!(page.forms.len(), 2);
    assert_eq!(
        page.forms[0].action.as_str(),
        "http://127.0.0.1:8000/ui/interaction/7?x=1&y=2"
    );
    assert!(page.forms[0].is_post);
    assert_eq!(page.forms[0].value("csrf"), Some("a\"b"));
    assert_eq!(page.forms[1].action.as_str(), "http://127.0.0.1:8000/ui/here");
    assert!(!page.forms[1].is_post);
    assert_eq!(page.form_with("step", "consent"), Some(&page.forms[0]));
    assert_eq!(page.form_with("step", "login"), None);
}

#[test]
fn a_form_sends_its_defaults_and_the_button_pressed() {
    let page = page(CONSENT).unwrap();
    assert_eq!(
        sent(&page.forms[0], &[("decision", "deny")]),
        ["csrf=a\"b", "step=consent", "scope=hello:read", "decision=deny"]
    );
    assert_eq!(sent(&page.forms[1], &[("q", "cats & dogs")]), ["q=cats & dogs"]);
}

#[test]
fn naming_a_checkbox_ticks_exactly_the_boxes_given() {
    let page = page(CONSENT).unwrap();
    assert_eq!(
        sent(&page.forms[0], &[("scope", "hello:write"), ("decision", "allow")]),
        ["csrf=a\"b", "step=consent", "scope=hello:write", "decision=allow"]
    );
}

#[test]
fn a_form_refuses_what_a_person_could_not_do() {
    let page = page(CONSENT).unwrap();
    let form = &page.forms[0];
    for (fields, complaint) in [
        (
            &[("scope", "admin"), ("decision", "allow")][..],
            "no control `scope` that could be `admin`",
        ),
        (&[("decision", "maybe")][..], "no control `decision`"),
        (&[("off", "1"), ("decision", "allow")][..], "no control `off`"),
        (&[][..], "which button"),
    ] {
        let error = format!("{:#}", form.fill(fields).unwrap_err());
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn pages_with_stray_or_unknown_controls_are_refused() {
    for (body, complaint) in [
        ("<input name=a>", "in no form"),
        ("<form><form></form></form>", "form inside a form"),
        ("<form><select></select></form>", "<select>"),
        ("<form><input type=color name=a></form>", "color"),
        ("<form method=dialog></form>", "dialog"),
        ("<form enctype='multipart/form-data'></form>", "multipart"),
        (
            "<form><button name=a formaction=/x>x</button></form>",
            "formaction",
        ),
    ] {
        let error = format!("{:#}", page(body).unwrap_err());
        assert!(error.contains(complaint), "{body}: {error}");
    }
}

#[test]
fn an_answer_that_is_no_html_is_text_as_it_came() {
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let url: Url = "http://127.0.0.1:8000/x".parse().unwrap();
    let page = Page::parse(url, 400, headers, "{\"error\":\"<\"}").unwrap();
    assert_eq!(
        (page.status, page.text.as_str(), page.title.as_str()),
        (400, "{\"error\":\"<\"}", "")
    );
}
