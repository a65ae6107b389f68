//! An answer as it leaves a handler, in the form of the files: `{"http": …}`.

use axum::response::Response;
use serde_json::{Value, json};

/// The answer with all its headers; `None` when its body is no text.
pub(super) async fn shown(answer: Response) -> Option<Value> {
    let (parts, body) = answer.into_parts();
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let body = axum::body::to_bytes(body, usize::MAX).await.ok()?;
    let text = String::from_utf8(body.to_vec()).ok()?;
    Some(json!({ "http": {
        "status": parts.status.as_u16(),
        "headers": headers,
        "body": serde_json::from_str::<Value>(&text).unwrap_or_default(),
        "body_text": text,
    } }))
}
