//! Calls of the area `discovery`: an app with the routes of the Python package, asked over HTTP.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::{HeaderName, HeaderValue, StatusCode, header};
use mcp_authflow_resource::well_known::{CorsHeaderBuilder, DiscoveryEndpoints, DiscoverySettings};
use mcp_authflow_types::cors::{AllowedOrigins, CorsPolicy};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::case::Case;
use super::http_answer;
use super::rig::Rig;

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, _rig: &Rig) -> Option<Value> {
    if case.call != "discovery_request" {
        return None;
    }
    let Ok(endpoints) = endpoints(case.arg("config"))? else {
        return Some(json!({ "error": { "kind": "invalid_argument" } }));
    };
    let app: Router = Router::new()
        .fallback(|| async { (StatusCode::NOT_FOUND, "Not Found") })
        .layer(endpoints);
    let answer = app.oneshot(request(case.arg("request"))?).await.ok()?;
    http_answer::shown(answer).await
}

/// `None` when the settings are of a kind that is not known here.
fn endpoints(
    config: &Value,
) -> Option<Result<DiscoveryEndpoints, mcp_authflow_resource::well_known::InvalidDiscoveryEndpoints>> {
    let text = |name: &str| config[name].as_str();
    let scopes = config["scopes"].as_array().map(|scopes| {
        // A scope that is no text is none.
        let scope = |scope: &Value| scope.as_str().unwrap_or_default().to_owned();
        scopes.iter().map(scope).collect()
    });
    let settings = DiscoverySettings {
        scopes,
        cors: match &config["cors"] {
            Value::Null => None,
            cors => Some(cors_headers(cors)?),
        },
        resource_documentation: text("resource_documentation").map(str::to_owned),
    };
    Some(DiscoveryEndpoints::new(
        text("server_url")?,
        text("auth_server_public_url")?,
        settings,
    ))
}

fn cors_headers(cors: &Value) -> Option<CorsHeaderBuilder> {
    Some(match cors["kind"].as_str()? {
        "static" => {
            let headers: Option<Vec<_>> = cors["headers"]
                .as_object()?
                .iter()
                .map(|(name, value)| {
                    let name = HeaderName::try_from(name).ok()?;
                    Some((name, HeaderValue::try_from(value.as_str()?).ok()?))
                })
                .collect();
            let headers = headers?;
            CorsHeaderBuilder::new(move |_| headers.clone())
        }
        "echo_origin" => CorsHeaderBuilder::new(|request| {
            let origin = request.headers.get(header::ORIGIN).cloned();
            origin
                .into_iter()
                .map(|origin| (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin))
                .collect()
        }),
        "allowlist" => {
            let origins: Option<Vec<&str>> = cors["allowed_origins"]
                .as_array()?
                .iter()
                .map(Value::as_str)
                .collect();
            CorsPolicy::discovery(AllowedOrigins::as_listed(origins?)).into()
        }
        "empty" => CorsHeaderBuilder::new(|_| Vec::new()),
        _ => return None,
    })
}

fn request(request: &Value) -> Option<Request> {
    let path = request["path"].as_str()?;
    let target = match request["query"].as_str() {
        Some(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path.to_owned(),
    };
    let mut built = Request::builder()
        .method(request["method"].as_str().unwrap_or("GET"))
        .uri(target);
    for header in request["headers"].as_array().into_iter().flatten() {
        built = built.header(header[0].as_str()?, header[1].as_str()?);
    }
    built.body(Body::empty()).ok()
}
