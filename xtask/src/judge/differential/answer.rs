//! What of an answer is compared.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use reqwest::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, LOCATION, WWW_AUTHENTICATE};
use serde_json::Value;
use url::Url;

/// The parts, in the order of the table.
pub(super) const PARTS: [&str; 7] = [
    "status",
    "goes to",
    "error",
    "no-store",
    "type",
    "challenge",
    "says",
];

/// An answer, part by part; a part that is not there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    parts: BTreeMap<&'static str, String>,
}

impl Answer {
    #[cfg(test)]
    pub(super) fn of<const N: usize>(parts: [(&'static str, &str); N]) -> Self {
        Self {
            parts: parts.map(|(name, value)| (name, value.to_owned())).into(),
        }
    }

    /// Reads an answer; of its JSON the values of `members`, where lists are sets and long texts are only there or not.
    pub(super) async fn read(
        response: reqwest::Response,
        issuer: &str,
        members: &[&str],
    ) -> Result<(Self, Value)> {
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.text().await?;
        let json: Value = serde_json::from_str(&body).unwrap_or_default();
        let mut parts = BTreeMap::from([("status", status.as_u16().to_string())]);
        if let Some(location) = text(&headers, &LOCATION) {
            let (place, error) = destination(location, issuer)?;
            parts.insert("goes to", place);
            parts.insert("error", error);
        } else {
            let media_type = text(&headers, &CONTENT_TYPE).unwrap_or_default();
            let media_type = media_type.split(';').next().unwrap_or_default().trim();
            // A success without a body has no type that anybody would read.
            let shown = if body.is_empty() { "" } else { media_type };
            parts.insert("type", shown.to_owned());
            parts.insert("error", json["error"].as_str().unwrap_or_default().to_owned());
        }
        let cache = text(&headers, &CACHE_CONTROL).unwrap_or_default();
        parts.insert("no-store", cache.contains("no-store").to_string());
        let challenge = text(&headers, &WWW_AUTHENTICATE).unwrap_or_default();
        let scheme = challenge.split(' ').next().unwrap_or_default();
        parts.insert("challenge", scheme.to_ascii_lowercase());
        if status == 405 {
            let allow = text(&headers, &ALLOW).unwrap_or_default();
            parts.insert("says", format!("allow {allow}"));
        } else if !members.is_empty() {
            let said: Vec<String> = members
                .iter()
                .map(|name| format!("{name}={}", plain(&json[*name])))
                .collect();
            parts.insert("says", said.join(" "));
        }
        Ok((Self { parts }, json))
    }

    pub(super) fn part(&self, name: &str) -> String {
        self.parts.get(name).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = PARTS.iter().map(|name| (name, self.part(name)));
        let said = parts.filter(|(_, value)| !value.is_empty() && value != "false");
        for (index, (name, value)) in said.enumerate() {
            let gap = if index == 0 { "" } else { ", " };
            match *name {
                "status" | "error" | "says" => write!(out, "{gap}{value}")?,
                "no-store" => write!(out, "{gap}no-store")?,
                name => write!(out, "{gap}{name} {value}")?,
            }
        }
        Ok(())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Where a redirect goes, with the names of what it carries, and the error among them.
fn destination(location: &str, issuer: &str) -> Result<(String, String)> {
    let base: Url = issuer.parse()?;
    let url = base.join(location)?;
    if url.origin() == base.origin() {
        return Ok(("the person".to_owned(), String::new()));
    }
    let is_in_fragment = url.fragment().is_some();
    let carried = url.fragment().or_else(|| url.query()).unwrap_or_default();
    let parameters: BTreeMap<_, _> = form_urlencoded::parse(carried.as_bytes()).collect();
    let names: Vec<_> = parameters
        .keys()
        .map(AsRef::as_ref)
        .filter(|name| !matches!(*name, "error_description" | "error_uri"))
        .collect();
    let error = parameters
        .get("error")
        .map(ToString::to_string)
        .unwrap_or_default();
    let part = if is_in_fragment { "fragment" } else { "query" };
    let iss = match parameters.get("iss") {
        Some(iss) if iss == issuer => "",
        Some(_) => " of somebody else",
        None => "",
    };
    Ok((format!("the client, {part} with {}{iss}", names.join(" ")), error))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Array(values) => {
            let mut values: Vec<String> = values.iter().map(plain).collect();
            values.sort();
            format!("[{}]", values.join(","))
        }
        Value::String(text) if text.len() > 60 => "a long text".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
