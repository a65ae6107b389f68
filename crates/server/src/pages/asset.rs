//! The stylesheet and the icon: the only two things a page loads.

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};

/// The name of the stylesheet's source in `templates/`.
pub(super) const STYLESHEET: &str = "authflow.css";
const BUILT_IN_STYLESHEET: &str = include_str!("../../templates/authflow.css");
const ICON: &str = include_str!("../../templates/icon.svg");

/// What is served below `/ui/assets/`, each under a name that changes with its content.
#[derive(Debug)]
pub(super) struct Assets {
    stylesheet: Asset,
    icon: Asset,
}

#[derive(Debug)]
struct Asset {
    name: String,
    content_type: HeaderValue,
    content: Bytes,
}

impl Assets {
    /// Takes the operator's stylesheet, or the built-in one.
    pub(super) fn new(stylesheet: Option<String>) -> Self {
        let stylesheet = match stylesheet {
            Some(own) => Bytes::from(own),
            None => Bytes::from_static(BUILT_IN_STYLESHEET.as_bytes()),
        };
        Self {
            stylesheet: Asset {
                name: name_of(&stylesheet, "css"),
                content_type: HeaderValue::from_static("text/css; charset=utf-8"),
                content: stylesheet,
            },
            icon: Asset {
                name: name_of(ICON.as_bytes(), "svg"),
                content_type: HeaderValue::from_static("image/svg+xml"),
                content: Bytes::from_static(ICON.as_bytes()),
            },
        }
    }

    pub(super) fn stylesheet_name(&self) -> &str {
        &self.stylesheet.name
    }

    pub(super) fn icon_name(&self) -> &str {
        &self.icon.name
    }

    /// The address of an asset below the issuer's path.
    #[expect(clippy::unused_self, reason = "an address exists only for an asset of ours")]
    pub(super) fn path(&self, base_path: &str, name: &str) -> String {
        format!("{base_path}/ui/assets/{name}")
    }

    /// The asset of exactly this name. A name is its content's, so it may be kept for ever.
    pub(super) fn response(&self, name: &str) -> Option<Response> {
        let asset = [&self.stylesheet, &self.icon]
            .into_iter()
            .find(|asset| asset.name == name)?;
        let mut response = Response::new(Body::from(asset.content.clone()));
        response.headers_mut().extend([
            (header::CONTENT_TYPE, asset.content_type.clone()),
            (
                header::CACHE_CONTROL,
                HeaderValue::from_static("public, max-age=31536000, immutable"),
            ),
            (
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            // An SVG is a document when it is opened by itself; here it may do nothing.
            (
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                HeaderValue::from_static("same-origin"),
            ),
        ]);
        Some(response)
    }
}

/// `authflow-` and the first 16 hexadecimal digits of the content's SHA-256.
fn name_of(content: &[u8], extension: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::from("authflow-");
    for byte in Sha256::digest(content).iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.push('.');
    name.push_str(extension);
    name
}
